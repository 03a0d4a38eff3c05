"""What somebody does with goods while he stays in one zone."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from edge_agent.domain.chain import values_of
from edge_agent.state.visits import HANDLED_KINDS

if TYPE_CHECKING:
    from edge_agent.domain.ids import ProductId
    from edge_agent.domain.visitor import Visit


def put_back(visit: Visit) -> tuple[ProductId | None, ...]:
    """Returns the goods that were lifted and put back since the zone was entered, oldest first.

    What was carried in from elsewhere and is laid down here was not looked at here.
    """
    held: Counter[ProductId | None] = Counter()
    found: list[ProductId | None] = []
    for mark in values_of(visit.marks):
        if mark.at_ms < visit.zone_entered_at_ms:
            continue
        if mark.kind in HANDLED_KINDS:
            held[mark.product] += 1
        elif mark.kind == "return" and held[mark.product] > 0:
            held[mark.product] -= 1
            found.append(mark.product)
    return tuple(found)
