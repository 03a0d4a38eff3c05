"""Next best action: candidates in order of propensity x value x context weight x lever.

Ties are broken by product id, so that the same candidates always give the same order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_agent.domain.decisions import Candidate


def arbitrated(candidates: tuple[Candidate, ...], *, limit: int) -> tuple[Candidate, ...]:
    """Returns the best candidates, best first, at most `limit`."""
    ordered = sorted(candidates, key=lambda each: (-each.score, each.scored.product))
    return tuple(ordered[:limit])
