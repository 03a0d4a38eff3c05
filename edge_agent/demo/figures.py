"""What happened in a demo, read from the databases that the agent and HQ left."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edge_agent.runner.outbox import SCREENS_EXPIRED
from edge_agent.shell.sqlite_db import open_for_reading

# A purchase follows a visit, not a decision: the same product on three screens is bought once.
_PAIRS: Final = """
    SELECT count(*) FROM (
        SELECT DISTINCT coalesce(d.visit, d.visitor), j.value
        FROM decision d, json_each({column}) j
        WHERE d.visitor IS NOT NULL AND d.channel IN ('screen', 'receipt')
    )
"""
_HITS: Final = """
    SELECT count(*) FROM (
        SELECT DISTINCT coalesce(d.visit, d.visitor), o.product
        FROM decision d JOIN outcome o ON o.decision = d.id
        WHERE d.visitor IS NOT NULL AND d.channel IN ('screen', 'receipt') AND o.kind = ?
    )
"""
# People are counted by their visits: whoever only consented was not in the store.
_PEOPLE: Final = """
    WITH person AS (
        SELECT DISTINCT coalesce(l.visitor, v.visitor) AS id
        FROM visit v LEFT JOIN link l
            ON l.kind = 'visitor' AND l.pseudonym = v.visitor AND l.basis = 'consent'
            AND (l.until_ms IS NULL OR l.until_ms > v.last_at_ms)
    )
    SELECT p.kind NOT IN ('ble', 'wifi', 'track', 'basket'), count(*)
    FROM person JOIN visitor p ON p.id = person.id GROUP BY 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentFigures:
    """The agent's day.

    Attributes:
        accepted: Events that were taken in, each once.
        duplicates: Events that came again and were recognised.
        dead_letters: Messages that were refused.
        too_late: Events that were too old to be applied.
        identified: Persons with a visit whose consented loyalty card is known.
        unidentified: Visitors with a visit of whom no card is known.
        visits: Stays in the store.
        decisions: Decisions that concern a visitor.
        store_defaults: Decisions on a screen before which nobody stands.
        shown: Distinct pairs of visit and product on a screen or receipt.
        bought: Those of them that the visit's sale held afterwards.
        popular_shown: The same pairs, had popularity alone filled the same places.
        popular_bought: Those of them that the visit's sale held afterwards.
        staff_alerts: Alerts to staff.
        not_sent_in_time: Contents for screens whose time was over before they could be sent.
    """

    accepted: int
    duplicates: int
    dead_letters: int
    too_late: int
    identified: int
    unidentified: int
    visits: int
    decisions: int
    store_defaults: int
    shown: int
    bought: int
    popular_shown: int
    popular_bought: int
    staff_alerts: int
    not_sent_in_time: int


def agent_figures(database: Path) -> AgentFigures:
    """Returns the figures of an agent that has ended: its counters are then on disk.

    Raises:
        StoreError: There is no database.
    """
    with closing(open_for_reading(database)) as connection:
        counters = _counters(connection)
        people = {bool(kind): int(n) for kind, n in connection.execute(_PEOPLE)}
        decisions = "SELECT count(*) FROM decision WHERE visitor IS {}"
        return AgentFigures(
            accepted=counters.get("accepted", 0),
            duplicates=counters.get("duplicates", 0),
            dead_letters=counters.get("dead_letters", 0),
            too_late=counters.get("too_late", 0),
            identified=people.get(True, 0),
            unidentified=people.get(False, 0),
            visits=_number(connection, "SELECT count(*) FROM visit"),
            decisions=_number(connection, decisions.format("NOT NULL")),
            store_defaults=_number(connection, decisions.format("NULL")),
            shown=_number(connection, _PAIRS.format(column="d.items")),
            bought=_number(connection, _HITS, "bought"),
            popular_shown=_number(connection, _PAIRS.format(column="d.popular")),
            popular_bought=_number(connection, _HITS, "popular_bought"),
            staff_alerts=_number(connection, "SELECT count(*) FROM alert"),
            not_sent_in_time=counters.get(SCREENS_EXPIRED, 0),
        )


def n_waiting_for_hq(database: Path) -> int:
    """Returns how many messages HQ has not acknowledged; may be asked beside a running agent."""
    with closing(open_for_reading(database)) as connection:
        return _number(connection, "SELECT count(*) FROM outbox WHERE link = 'hq'")


def agent_now_ms(database: Path) -> int:
    """Returns up to which instant the agent's work is on disk, in its replay's time."""
    with closing(open_for_reading(database)) as connection:
        return _number(connection, "SELECT ifnull(max(value), 0) FROM meta WHERE key = 'now_ms'")


def n_on_screens(database: Path) -> int:
    """Returns how many recommendations were made for screens, the store's defaults included."""
    sql = "SELECT count(*) FROM decision WHERE channel = 'screen' AND level != 'silence'"
    with closing(open_for_reading(database)) as connection:
        return _number(connection, sql)


def _counters(connection: sqlite3.Connection) -> dict[str, int]:
    rows = connection.execute("SELECT key, value FROM meta WHERE key LIKE 'counter.%'")
    return {key.partition(".")[2]: int(value) for key, value in rows}


def _number(connection: sqlite3.Connection, sql: str, *parameters: str) -> int:
    return int(connection.execute(sql, parameters).fetchone()[0])
