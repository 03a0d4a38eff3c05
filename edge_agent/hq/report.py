"""HQ's figures, store by store: read from the store, added up, and given names people know.

Counts and sums add up over periods and stores. Visitors of different hours are not told apart
(their identities never left the store), so they are called visitors per period, added up.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal

from edge_agent.hq import schema
from edge_agent.hq.database import Row
from edge_agent.hq.inbox import SUM_SCALE
from edge_agent.hq.store import HqStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One added-up measure of one store's cell.

    Attributes:
        keys: The cell, such as `(("zone", "dairy"),)`; empty for the total.
        what: `visitors`, `count`, `sum` or `bucket`.
    """

    store: str
    kind: str
    keys: tuple[tuple[str, str], ...]
    what: str
    name: str
    value: Decimal


def figures_from(hq: HqStore, *, store: str = "", day: str = "") -> tuple[Figure, ...]:
    """Returns every figure of a store and day; of all of them when not given."""
    rows = hq.rows(schema.SELECT_FIGURES, store=store, day=day)
    return tuple(_figure(row) for row in rows)


def _figure(row: Row) -> Figure:
    keys: dict[str, str] = json.loads(str(row["keys"]))
    whole = Decimal(row["value"] or 0)
    is_sum = row["what"] == "sum"
    return Figure(
        store=str(row["store"]),
        kind=str(row["kind"]),
        keys=tuple(sorted(keys.items())),
        what=str(row["what"]),
        name=str(row["name"]),
        value=(whole / SUM_SCALE).normalize() if is_sum else whole,
    )
