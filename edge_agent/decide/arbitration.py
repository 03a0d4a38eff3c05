"""Next best action: candidates in order of propensity x value x context weight x lever.

Ties are broken by product id, so that the same candidates always give the same order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_agent.domain.identity import once_each

if TYPE_CHECKING:
    from edge_agent.domain.decisions import Candidate

# Sets of candidates whose order is kept.
KEPT_ORDERS: Final = 128


def arbitrated(candidates: tuple[Candidate, ...], *, limit: int) -> tuple[Candidate, ...]:
    """Returns the best candidates, best first, at most `limit`."""
    return _ordered(candidates)[:limit]


@once_each(KEPT_ORDERS)
def _ordered(candidates: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
    return tuple(sorted(candidates, key=lambda each: (-each.score, each.scored.product)))
