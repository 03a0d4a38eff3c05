"""Deletes what has been kept long enough, a little at a time, on a clock that can be trusted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from edge_agent.decide.trace import lowest_id_at
from edge_agent.domain.time import DAY_MS
from edge_agent.shell.campaign_told import keep_told, note_running
from edge_agent.shell.personal_data import SILENT_CIRCLE
from edge_agent.sync.privacy import REVISIONS_MAX

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from edge_agent.domain.policy import Retention
    from edge_agent.domain.rules import Campaign

# Rows deleted in one transaction: short enough that no event waits for it.
ROWS_AT_A_TIME: Final = 500

# What mappings remember at most; what would be over soonest goes first.
MAPPING_ROWS_MAX: Final = 200_000
# Tables that the engine's state does not rest on.
APART: Final = frozenset(
    {
        "campaign_run",
        "rule_set",
        "mapping_state",
        "mapping_state (over its bound)",
        "device",
        "outbox",
        "outbox (expired)",
        "audit",
        "customer_sent",
        "summary_watermark",
        "summary_watermark (newest)",
    }
)

# Revisions so many that none may follow.
_FROZEN: Final = json.dumps([{}] * REVISIONS_MAX)

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
        # Of the same rows is kept what caps count: see `shell.campaign_told`.
        "DELETE FROM decision WHERE id IN (SELECT id FROM decision"
        " WHERE id < :decision ORDER BY id LIMIT :limit)",
    ),
    ("rule_set", "decisions_days", "DELETE FROM rule_set WHERE until_ms < :before_ms"),
    (
        # The oldest decision says which changes none that is kept was taken before.
        "catalogue_before",
        "decisions_days",
        "DELETE FROM catalogue_before WHERE (product, until) IN (SELECT product, until"
        " FROM catalogue_before WHERE until <= coalesce((SELECT coalesce(goods, 0) FROM decision"
        " ORDER BY id LIMIT 1), (SELECT max(since) FROM catalogue)) LIMIT :limit)",
    ),
    (
        "contact",
        "decisions_days",
        "DELETE FROM contact WHERE (visitor, id) IN (SELECT visitor, id FROM contact WHERE"
        " at_ms < :before_ms ORDER BY visitor, id LIMIT :limit)",
    ),
    (
        "campaign_told",
        "decisions_days",
        "DELETE FROM campaign_told WHERE (visitor, campaign, id) IN (SELECT visitor, campaign, id"
        " FROM campaign_told WHERE campaign NOT IN (SELECT campaign FROM campaign_run WHERE"
        " capped_ms >= :before_ms) LIMIT :limit)",
    ),
    (
        "offer",
        "decisions_days",
        "DELETE FROM offer WHERE mark IN (SELECT mark FROM offer WHERE"
        " valid_until_ms < :before_ms LIMIT :limit)",
    ),
    (
        "campaign_use",
        "counts_days",
        # Its budget counts all of its time.
        "DELETE FROM campaign_use WHERE day"
        " < strftime('%Y-%m-%d', :before_ms / 1000, 'unixepoch') AND campaign NOT IN"
        " (SELECT campaign FROM campaign_run WHERE in_force_ms >= :before_ms)",
    ),
    (
        "campaign_run",
        "counts_days",
        "DELETE FROM campaign_run WHERE in_force_ms < :before_ms"
        " AND campaign NOT IN (SELECT campaign FROM campaign_use)"
        " AND campaign NOT IN (SELECT campaign FROM campaign_told)",
    ),
    (
        "tried",
        "counts_days",
        "DELETE FROM tried WHERE what < strftime('%Y-%m-%d', :before_ms / 1000, 'unixepoch')",
    ),
    (
        # Plans of the future stay, and those that a decision still kept was taken under.
        "promotion_plan",
        "decisions_days",
        "DELETE FROM promotion_plan WHERE until_day"
        " < strftime('%Y-%m-%d', :before_ms / 1000, 'unixepoch')",
    ),
    ("fact", "decisions_days", "DELETE FROM fact WHERE valid_until_ms < :before_ms"),
    (
        "exposure",
        "sales_days",
        "DELETE FROM exposure WHERE (visitor, campaign) IN (SELECT visitor, campaign"
        " FROM exposure WHERE at_ms < :before_ms LIMIT :limit)",
    ),
    (
        "goal",
        "sales_days",
        "DELETE FROM goal WHERE at_ms < :before_ms AND id NOT IN (SELECT goal FROM exposure)",
    ),
    ("trial", "counts_days", "DELETE FROM trial WHERE period_start_ms < :before_ms"),
    (
        "alert",
        "decisions_days",
        "DELETE FROM alert WHERE cause IN (SELECT cause FROM alert WHERE"
        " at_ms < :before_ms LIMIT :limit)",
    ),
    (
        "help_call",
        "decisions_days",
        "DELETE FROM help_call WHERE id IN (SELECT id FROM help_call WHERE"
        " opened_at_ms < :before_ms LIMIT :limit)",
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
        # Its consent ran out: a withdrawal takes it at once, an expiry is no event.
        "visitor.profile (no longer allowed)",
        "profiles_days",
        "UPDATE visitor SET profile = iif(json_extract(profile, '$.reference') IS NULL, NULL,"
        " json_object('history', json('[]'), 'interests', json('[]'), 'purchases', json('[]'),"
        " 'reference', json_extract(profile, '$.reference'), 'segments', json('[]')))"
        " WHERE id IN (SELECT v.id FROM (SELECT DISTINCT visitor FROM consent WHERE"
        " purpose = 'profiling' AND expires_at_ms <= :now_ms) x"
        " CROSS JOIN visitor v ON v.id = x.visitor WHERE v.profile IS NOT NULL"
        " AND json_valid(v.profile) AND (json_extract(v.profile, '$.history') <> '[]'"
        " OR json_extract(v.profile, '$.segments') <> '[]')"
        " AND NOT (SELECT c.granted AND coalesce(c.expires_at_ms > :now_ms, 1) FROM consent c"
        " WHERE c.visitor = v.id AND c.purpose = 'profiling' AND c.only_on = ''"
        " ORDER BY c.stated_at_ms DESC, c.granted LIMIT 1) LIMIT :limit)",
    ),
    (
        "visitor",
        "visitors_days",
        "DELETE FROM visitor WHERE id IN (SELECT id FROM visitor WHERE"  # noqa: S608 - of ours
        f" last_seen_at_ms < :before_ms AND id NOT IN ({SILENT_CIRCLE}) LIMIT :limit)",
    ),
    ("people_count", "counts_days", "DELETE FROM people_count WHERE period_start_ms < :before_ms"),
    (
        # The newest says how far summaries were made: without it they would be made once more.
        "summary_watermark",
        "watermarks_days",
        "DELETE FROM summary_watermark WHERE period_start_ms < :before_ms"
        " AND period_start_ms < (SELECT max(period_start_ms) FROM summary_watermark)",
    ),
    (
        "summary_watermark (newest)",
        "watermarks_days",
        "UPDATE summary_watermark SET is_dirty = 0, cells = json_set(cells,"
        " '$.digests', json('{}'), '$.earlier', json(:frozen)) WHERE period_start_ms < :before_ms"
        " AND json_valid(cells) AND json_extract(cells, '$.digests') <> '{}'",
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


def purge(
    connection: sqlite3.Connection,
    retention: Retention,
    *,
    now_ms: int,
    campaigns: Iterable[Campaign] = (),
) -> dict[str, int]:
    """Deletes one portion of each table's rows that are past their period.

    Args:
        connection: The writer's connection, outside a transaction.
        retention: Days by kind of data.
        now_ms: The present; only ever a clock that is known to be right.
        campaigns: Those in force, whose caps and budgets count what is deleted too.

    Returns:
        Rows deleted by table, where any were.

    Raises:
        sqlite3.Error: The disk did not take it; nothing was deleted.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        note_running(connection, campaigns, now_ms=now_ms)
        deleted = _purged(connection, retention, now_ms)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return deleted


def _purged(connection: sqlite3.Connection, retention: Retention, now_ms: int) -> dict[str, int]:
    keep_told(connection, _limits(now_ms, retention.decisions_days))
    deleted = {}
    for table, period, statement in RULES:
        cursor = connection.execute(statement, _limits(now_ms, getattr(retention, period)))
        if cursor.rowcount > 0:
            deleted[table] = cursor.rowcount
    return deleted


def _limits(now_ms: int, days: int) -> dict[str, Any]:
    before_ms = now_ms - days * DAY_MS
    return {
        "before_ms": before_ms,
        "now_ms": now_ms,
        "frozen": _FROZEN,
        "day": before_ms // DAY_MS,
        "decision": lowest_id_at(max(0, before_ms)),
        "limit": ROWS_AT_A_TIME,
        "most": MAPPING_ROWS_MAX,
    }
