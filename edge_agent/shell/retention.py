"""Deletes what has been kept long enough, a little at a time, on a clock that can be trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_agent.decide.trace import lowest_id_at
from edge_agent.domain.time import DAY_MS

if TYPE_CHECKING:
    import sqlite3

    from edge_agent.domain.policy import Retention

# Rows deleted in one transaction: short enough that no event waits for it.
ROWS_AT_A_TIME: Final = 500

# What mappings remember at most; what would be over soonest goes first.
MAPPING_ROWS_MAX: Final = 200_000
# Tables that the engine's state does not rest on.
APART: Final = frozenset(
    {
        "mapping_state",
        "mapping_state (over its bound)",
        "device",
        "outbox",
        "outbox (expired)",
        "audit",
        "customer_sent",
    }
)

# Every table that holds something of a person or an event: which period, and the rows past it.
# What each holds stands in `shell.personal_data`.
RULES: Final = (
    (
        "inbox",
        "inbox_days",
        "DELETE FROM inbox WHERE mark IN (SELECT mark FROM inbox WHERE day < :day LIMIT :limit)",
    ),
    (
        "zone_stay",
        "visits_days",
        "DELETE FROM zone_stay WHERE (visit, entered_at_ms, zone) IN"
        " (SELECT visit, entered_at_ms, zone FROM zone_stay WHERE"
        " visit < printf('%012x', :before_ms)"
        " LIMIT :limit)",
    ),
    (
        "visit",
        "visits_days",
        "DELETE FROM visit WHERE id IN (SELECT id FROM visit WHERE"
        " id < printf('%012x', :before_ms) AND ended_at_ms IS NOT NULL LIMIT :limit)",
    ),
    (
        "basket",
        "sales_days",
        "DELETE FROM basket WHERE id IN (SELECT id FROM basket WHERE"
        " last_at_ms < :before_ms LIMIT :limit)",
    ),
    (
        "sale_return",
        "sales_days",
        "DELETE FROM sale_return WHERE id IN (SELECT id FROM"
        " sale_return WHERE at_ms < :before_ms LIMIT :limit)",
    ),
    (
        "outcome",
        "decisions_days",
        "DELETE FROM outcome WHERE (decision, kind, product) IN"
        " (SELECT decision, kind, product FROM outcome WHERE decision < :decision LIMIT :limit)",
    ),
    (
        "decision",
        "decisions_days",
        "DELETE FROM decision WHERE id IN (SELECT id FROM decision"
        " WHERE id < :decision LIMIT :limit)",
    ),
    (
        "alert",
        "decisions_days",
        "DELETE FROM alert WHERE cause IN (SELECT cause FROM alert WHERE"
        " at_ms < :before_ms LIMIT :limit)",
    ),
    (
        "visitor (anonymous)",
        "visits_days",
        "DELETE FROM visitor WHERE id IN (SELECT id FROM"
        " visitor WHERE kind IN ('ble', 'wifi', 'track', 'basket')"
        " AND last_seen_at_ms < :before_ms"
        # His complaint silences whoever he turned out to be.
        " AND id NOT IN (SELECT c.visitor FROM complaint c JOIN link l ON l.kind = 'visitor'"
        " AND l.pseudonym = c.visitor WHERE c.opened_at_ms IS NOT NULL"
        " AND (c.closed_at_ms IS NULL OR c.closed_at_ms <= c.opened_at_ms))"
        " LIMIT :limit)",
    ),
    (
        "visitor.profile",
        "profiles_days",
        "UPDATE visitor SET profile = NULL WHERE id IN (SELECT id FROM visitor WHERE"
        " profile IS NOT NULL AND last_seen_at_ms < :before_ms LIMIT :limit)",
    ),
    (
        "visitor",
        "visitors_days",
        "DELETE FROM visitor WHERE id IN (SELECT id FROM visitor WHERE"
        " last_seen_at_ms < :before_ms AND id NOT IN"
        " (SELECT visitor FROM complaint WHERE opened_at_ms IS"
        " NOT NULL AND (closed_at_ms IS NULL OR closed_at_ms <= opened_at_ms)) LIMIT :limit)",
    ),
    ("people_count", "counts_days", "DELETE FROM people_count WHERE period_start_ms < :before_ms"),
    (
        "summary_watermark",
        "counts_days",
        "DELETE FROM summary_watermark WHERE period_start_ms < :before_ms",
    ),
    (
        "dead_letter",
        "dead_letters_days",
        "DELETE FROM dead_letter WHERE id IN (SELECT id FROM"
        " dead_letter WHERE at_ms < :before_ms LIMIT :limit)",
    ),
    (
        "mapping_state",
        "mapping_days",
        "DELETE FROM mapping_state WHERE key IN (SELECT key FROM mapping_state WHERE"
        " until_ms < :now_ms OR updated_at_ms < :before_ms LIMIT :limit)",
    ),
    (
        "mapping_state (over its bound)",
        "mapping_days",
        "DELETE FROM mapping_state WHERE key IN (SELECT key FROM mapping_state ORDER BY until_ms"
        " LIMIT min(:limit, max(0, (SELECT count(*) FROM mapping_state) - :most)))",
    ),
    ("device", "devices_days", "DELETE FROM device WHERE last_at_ms < :before_ms"),
    ("command", "commands_days", "DELETE FROM command WHERE at_ms < :before_ms"),
    ("showing", "decisions_days", "DELETE FROM showing WHERE valid_until_ms < :before_ms"),
    (
        "outbox",
        "outbox_days",
        "DELETE FROM outbox WHERE id IN (SELECT id FROM outbox WHERE kind = 'customer' AND"
        " json_extract(CAST(payload AS TEXT), '$.activity_date')"
        " < strftime('%Y-%m-%d', :before_ms / 1000, 'unixepoch') LIMIT :limit)",
    ),
    (
        "outbox (expired)",
        "outbox_days",
        "DELETE FROM outbox WHERE id IN (SELECT id FROM outbox WHERE"
        " expires_at_ms < :before_ms LIMIT :limit)",
    ),
    ("tombstone", "tombstones_days", "DELETE FROM tombstone WHERE at_ms < :before_ms"),
    ("audit", "audits_days", "DELETE FROM audit WHERE at_ms < :before_ms"),
    (
        "customer_sent",
        "sales_days",
        "DELETE FROM customer_sent WHERE (visitor, message_id) IN (SELECT visitor, message_id"
        " FROM customer_sent WHERE at_ms < :before_ms LIMIT :limit)",
    ),
)


def purge(connection: sqlite3.Connection, retention: Retention, *, now_ms: int) -> dict[str, int]:
    """Deletes one portion of each table's rows that are past their period.

    Args:
        connection: The writer's connection, outside a transaction.
        retention: Days by kind of data.
        now_ms: The present; only ever a clock that is known to be right.

    Returns:
        Rows deleted by table, where any were.

    Raises:
        sqlite3.Error: The disk did not take it; nothing was deleted.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        deleted = _purged(connection, retention, now_ms)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return deleted


def _purged(connection: sqlite3.Connection, retention: Retention, now_ms: int) -> dict[str, int]:
    deleted = {}
    for table, period, statement in RULES:
        before_ms = now_ms - getattr(retention, period) * DAY_MS
        limits = {
            "before_ms": before_ms,
            "now_ms": now_ms,
            "day": before_ms // DAY_MS,
            "decision": lowest_id_at(max(0, before_ms)),
            "limit": ROWS_AT_A_TIME,
            "most": MAPPING_ROWS_MAX,
        }
        cursor = connection.execute(statement, limits)
        if cursor.rowcount > 0:
            deleted[table] = cursor.rowcount
    return deleted
