"""What the agent and HQ keep, as comparable rows: two runs are equal when their dumps are.

What is left out says why, and is all that may differ between a run with faults and one without.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import closing
from pathlib import Path
from typing import Final

Dump = Mapping[str, Counter[str]]

IGNORED_TABLES: Final = {
    "outbox": "rows on their way; which are left says how far sending got, not what was decided",
    "sqlite_sequence": "the outbox's row numbers",
    "campaign_run": "the day on which it was last looked for what is over",
    "mapped_message": "under which packet ids devices' messages came; nothing of what they said",
    "device": "how often devices were heard, redeliveries included; no state rests on it",
    "_sqlite_migrations": "when the tables were made, in real time",
}
IGNORED_COLUMNS: Final = {
    ("decision", "spent_us"): "how long it took to decide, which no two runs agree on; whatever a"
    " decision rests on stands in its record, and a measured duration never does",
    ("decision", "digest"): "of the whole row, that time included",
    ("mark", "id"): "row numbers of a journal that a restart writes on",
    ("received_at_ms",): "HQ's own clock, in real time",
    ("refused", "id"): "row numbers",
}
IGNORED_META: Final = {
    "devices.": "for how long the store was busy, redeliveries included",
    "hq_heard_ms": "when HQ answered, in real time",
    "egress": "how often messages were sent, repeats after a kill included",
    "second_copy.": "line numbers of a file that grows with the batches, however they fell",
    "counter.": "counts of what happened on the way, such as redeliveries; none is a state",
}
STATE: Final = (
    "visitor",
    "link",
    "consent",
    "complaint",
    "visit",
    "mark",
    "zone_stay",
    "basket",
    "basket_line",
    "sale",
    "sale_line",
    "sale_return",
    "people_count",
    "zone_level",
)
"""Tables that say what was so, whatever order it was heard in."""
MOST_SHOWN: Final = 3


def dump_of(database: Path) -> Dump:
    """Returns every table's rows as canonical JSON, with how often each is there."""
    with closing(sqlite3.connect(database)) as connection:
        connection.row_factory = sqlite3.Row
        tables = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_stat%'"
        ).fetchall()
        return {
            str(name): _rows(connection, str(name))
            for (name,) in tables
            if name not in IGNORED_TABLES
        }


def records_of(database: Path) -> list[tuple[str, str]]:
    """Returns each decision's id and record, in order of id."""
    with closing(sqlite3.connect(database)) as connection:
        query = "SELECT id, record FROM decision ORDER BY id"
        return [(str(decision), str(record)) for decision, record in connection.execute(query)]


def differences(
    expected: Dump, found: Dump, *, tables: Collection[str] | None = None
) -> list[str]:
    """Returns what tells two dumps apart, a few rows of each table; empty when they are equal.

    Args:
        expected: The run without faults.
        found: The other one.
        tables: Only these; all by default.
    """
    told: list[str] = []
    for table in sorted({*expected, *found} if tables is None else tables):
        before, after = expected.get(table, Counter()), found.get(table, Counter())
        for name, rows in (("missing", before - after), ("too many", after - before)):
            if rows:
                shown = "\n    ".join(sorted(rows)[:MOST_SHOWN])
                told.append(f"{table}: {rows.total()} rows {name}, such as\n    {shown}")
    return told


def _rows(connection: sqlite3.Connection, table: str) -> Counter[str]:
    found: Counter[str] = Counter()
    for row in connection.execute(f'SELECT * FROM "{table}"'):  # noqa: S608 - its own table names
        values = {key: row[key] for key in row.keys() if not _is_ignored(table, key)}  # noqa: SIM118
        if table == "meta" and str(values["key"]).startswith(tuple(IGNORED_META)):
            continue
        found[json.dumps(values, sort_keys=True, default=bytes.hex)] += 1
    return found


def _is_ignored(table: str, column: str) -> bool:
    return (table, column) in IGNORED_COLUMNS or (column,) in IGNORED_COLUMNS
