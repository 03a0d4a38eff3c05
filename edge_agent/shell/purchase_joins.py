"""Purchases joined with what was decided for whoever bought: did it recommend what he took?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_agent.shell import rows

if TYPE_CHECKING:
    import sqlite3

    from edge_agent.domain.effects import JoinPurchases

# What was recommended, and what sold best beside it: the comparison.
_KINDS: Final = (("bought", "d.items"), ("popular_bought", "d.popular"))
_JOIN: Final = (
    "INSERT OR IGNORE INTO outcome (decision, kind, product, at_ms)"
    " SELECT d.id, ?1, j.value, ?2 FROM decision d, json_each({column}) j"
    " WHERE d.visitor = ?3 AND d.at_ms >= ?4 AND d.at_ms <= ?2"
    " AND j.value IN (SELECT value FROM json_each(?5))"
)


def join_purchases(connection: sqlite3.Connection, join: JoinPurchases) -> None:
    """Writes as outcomes which goods of a purchase were in a decision of the time before it."""
    products = rows.canonical_json(list(join.products))
    for visitor in join.visitors:
        for kind, column in _KINDS:
            connection.execute(
                _JOIN.format(column=column),
                (kind, join.at_ms, visitor, join.since_ms, products),
            )
