"""How the agent is, read beside it from its database: no raw identifier is ever among it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edge_agent.domain.time import rfc3339_from_ms
from edge_agent.shell.sqlite_db import open_for_reading

if TYPE_CHECKING:
    import sqlite3

_COUNTED: Final = (
    ("visitors", "SELECT count(*) FROM visitor"),
    (
        "identified_visitors",
        "SELECT count(*) FROM visitor WHERE kind NOT IN ('ble', 'wifi', 'track', 'basket')",
    ),
    ("visits", "SELECT count(*) FROM visit"),
    ("open_visits", "SELECT count(*) FROM visit WHERE ended_at_ms IS NULL"),
    ("sales", "SELECT count(*) FROM sale"),
    ("decisions", "SELECT count(*) FROM decision"),
    ("events", "SELECT count(*) FROM inbox"),
    ("dead_letters", "SELECT count(*) FROM dead_letter"),
    ("waiting_for_broker", "SELECT count(*) FROM outbox WHERE link = 'store'"),
    ("waiting_for_hq", "SELECT count(*) FROM outbox WHERE link = 'hq'"),
    (
        "open_complaints",
        "SELECT count(*) FROM complaint WHERE opened_at_ms IS NOT NULL AND"
        " (closed_at_ms IS NULL OR closed_at_ms < opened_at_ms)",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """A reading of the database."""

    database: str
    size_bytes: int
    last_seen: str | None
    counts: dict[str, int]
    counters: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        """Returns the reading as plain values."""
        return {
            "database": self.database,
            "size_bytes": self.size_bytes,
            "last_seen": self.last_seen,
            "counts": self.counts,
            "counters": self.counters,
        }


def read_health(path: Path) -> Health:
    """Returns how the agent with this database is.

    Raises:
        StoreError: There is no database, or it cannot be read.
    """
    connection = open_for_reading(path)
    try:
        return Health(
            database=str(path),
            size_bytes=sum(
                each.stat().st_size for each in path.parent.glob(path.name + "*") if each.is_file()
            ),
            last_seen=_last_seen(connection),
            counts={name: int(connection.execute(sql).fetchone()[0]) for name, sql in _COUNTED},
            counters={
                key.partition(".")[2]: int(value)
                for key, value in connection.execute(
                    "SELECT key, value FROM meta WHERE key LIKE 'counter.%' ORDER BY key"
                )
            },
        )
    finally:
        connection.close()


def _last_seen(connection: sqlite3.Connection) -> str | None:
    row = connection.execute("SELECT value FROM meta WHERE key = 'now_ms'").fetchone()
    return None if row is None else rfc3339_from_ms(int(row[0]))
