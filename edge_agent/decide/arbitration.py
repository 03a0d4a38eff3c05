"""Next best action: candidates in order of propensity x value x context weight x lever.

Ties are broken by product id, so that the same candidates always give the same order; of a product
that is offered and recommended at the same score the offer stands first.

Under rules a slate is also to be varied: when `SAME_DEPARTMENT` items of one department have their
places, the next one of it gives way to the best one of another department whose score is near
(at least `NEAR` of its own). Where none is near, it stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_agent.domain.identity import once_each

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_agent.decide.offers import Entry
    from edge_agent.domain.decisions import Candidate
    from edge_agent.domain.ids import ProductId

# Sets of candidates whose order is kept.
KEPT_ORDERS: Final = 128
SAME_DEPARTMENT: Final = 2
NEAR: Final = 0.8


def arbitrated(candidates: tuple[Candidate, ...], *, limit: int) -> tuple[Candidate, ...]:
    """Returns the best candidates, best first, at most `limit`."""
    return _ordered(candidates)[:limit]


def firsts(entries: list[Entry]) -> list[Entry]:
    """Returns of candidates, best first, the first of each product: recommended, or offered."""
    found: dict[ProductId, Entry] = {}
    for each in entries:
        found.setdefault(each.product, each)
    return list(found.values())


def slate(
    entries: list[Entry], *, limit: int, departments: Mapping[ProductId, str | None]
) -> list[Entry]:
    """Returns what is shown of ranked candidates: the first, then the best that vary.

    Args:
        entries: Best first; what stands first stays first.
        limit: How many at most.
        departments: Of each product.
    """
    left = list(entries)
    taken: list[Entry] = []
    counts: dict[str | None, int] = {}
    while left and len(taken) < limit:
        chosen = left.pop(_next(left, counts, departments))
        taken.append(chosen)
        department = departments.get(chosen.product)
        counts[department] = counts.get(department, 0) + 1
    return taken


def _next(
    left: list[Entry],
    counts: dict[str | None, int],
    departments: Mapping[ProductId, str | None],
) -> int:
    best = left[0]
    if counts.get(departments.get(best.product), 0) < SAME_DEPARTMENT:
        return 0
    least = best.score * NEAR
    for index, each in enumerate(left):
        if each.score < least:
            return 0
        if counts.get(departments.get(each.product), 0) < SAME_DEPARTMENT:
            return index
    return 0


@once_each(KEPT_ORDERS)
def _ordered(candidates: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
    return tuple(sorted(candidates, key=lambda each: (-each.score, each.scored.product)))
