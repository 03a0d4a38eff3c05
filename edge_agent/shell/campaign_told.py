"""What caps and budgets of a campaign count holds in its whole time, whatever is purged.

Before decisions and contacts are deleted, what they count against `per_visitor` is kept in
`campaign_told`: who was told of which campaign, and when; nothing else of them. It goes with its
visitor, or once the campaign has not been in force with such a limit for as long as decisions are
kept. `campaign_run` says when that was. The days of `campaign_use` stay as long.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from edge_agent.domain.time import DAY_MS

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping

    from edge_agent.domain.rules import Campaign

# To the day: one write a day for each campaign.
_RUNS: Final = (
    "INSERT INTO campaign_run (campaign, in_force_ms, capped_ms) VALUES (?, ?, ?)"
    " ON CONFLICT (campaign) DO UPDATE SET in_force_ms = excluded.in_force_ms,"
    " capped_ms = coalesce(excluded.capped_ms, capped_ms)"
    " WHERE in_force_ms < excluded.in_force_ms OR coalesce(capped_ms < excluded.capped_ms,"
    " excluded.capped_ms IS NOT NULL)"
)
_CAPPED: Final = "SELECT campaign FROM campaign_run WHERE capped_ms >= :before_ms"
_IS_CAPPED: Final = "c.value IN (SELECT value FROM json_each(:capped))"
_KEEP: Final = (
    "INSERT OR IGNORE INTO campaign_told (visitor, campaign, id, at_ms, is_missed, whose)"
)
# To whom it was said, and to whoever he was taken for. A visitor who is gone by now was he.
_OF_DECISIONS: Final = tuple(
    f"{_KEEP} SELECT p.id, c.value, d.id, d.at_ms, {is_missed},"  # noqa: S608 - literal SQL of ours
    " iif(EXISTS (SELECT 1 FROM visitor WHERE id = d.visitor), d.visitor, p.id)"
    " FROM (SELECT * FROM decision WHERE id < :decision ORDER BY id LIMIT :limit) d"
    f" JOIN json_each(iif(json_valid(d.{column}), d.{column}, '[]')) c"
    " JOIN visitor p ON p.id IN (d.visitor, iif(d.is_mistaken, NULL, d.member))"
    f" WHERE d.channel <> 'staff' AND {_IS_CAPPED}"
    for column, is_missed in (("campaigns", 0), ("missed", 1))
)
_OF_CONTACTS: Final = tuple(
    f"{_KEEP} SELECT t.visitor, c.value, t.id, t.at_ms, {is_missed}, NULL"  # noqa: S608 - literal SQL of ours
    " FROM (SELECT * FROM contact WHERE at_ms < :before_ms ORDER BY visitor, id LIMIT :limit) t"
    f" JOIN json_each(iif(json_valid(t.{column}), t.{column}, '[]')) c"
    f" WHERE {_IS_CAPPED}"
    for column, is_missed in (("campaigns", 0), ("missed", 1))
)


def note_running(
    connection: sqlite3.Connection, campaigns: Iterable[Campaign], *, now_ms: int
) -> None:
    """Notes which campaigns are in force, and which of them are limited for each visitor.

    Args:
        connection: The writer's, in a transaction.
        campaigns: Of the rules in force; those that are over run no more.
        now_ms: The present.
    """
    day_ms = now_ms - now_ms % DAY_MS
    rows = [
        (each.id, day_ms, None if each.per_visitor is None else day_ms)
        for each in campaigns
        if each.ends_at_ms > now_ms
    ]
    connection.executemany(_RUNS, rows)


def keep_told(connection: sqlite3.Connection, limits: Mapping[str, Any]) -> None:
    """Keeps what caps count of the decisions and contacts that are purged next.

    Args:
        connection: The writer's, in the transaction that purges them.
        limits: What the statements that purge them are given.
    """
    capped = [str(name) for (name,) in connection.execute(_CAPPED, limits)]
    if not capped:
        return
    for statement in (*_OF_DECISIONS, *_OF_CONTACTS):
        connection.execute(statement, {**limits, "capped": json.dumps(capped)})
