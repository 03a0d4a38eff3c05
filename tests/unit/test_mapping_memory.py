"""What mappings remember: saved with the batch, forgotten with it, text in it sealed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest

from edge_agent.domain.policy import Retention
from edge_agent.domain.time import DAY_MS
from edge_agent.ingest.mapping import CompiledMapping, Entry, interpret, read_mapping
from edge_agent.runner.mapping_memory import MappingMemory
from edge_agent.shell.cipher import DayCipher
from edge_agent.shell.retention import purge
from edge_agent.shell.sqlite_db import open_for_writing

KEY: Final = b"k" * 32
PHONE: Final = "AC:23:3F:00:11:22"
NOW: Final = 1_772_445_600_000


class Rows:
    """A database as a batch writes it: at once."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self.database = database

    def query(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Rows of the database."""
        return self.database.execute(sql, parameters).fetchall()

    def add(self, table: str, row: tuple[Any, ...]) -> None:
        """Writes a row."""
        assert table == "mapping_state"
        sql = "INSERT OR REPLACE INTO mapping_state VALUES (?, ?, ?, ?, ?)"
        self.database.execute(sql, row)


@pytest.fixture
def rows(tmp_path: Path) -> Iterator[Any]:
    """A new database."""
    with closing(open_for_writing(tmp_path / "state.db")) as database:
        yield Rows(database)


def memory_of(rows: Any, key: bytes = KEY, *, at_ms: int = NOW) -> MappingMemory:
    """A memory as it is after a start."""
    made = MappingMemory(rows, DayCipher(), key, today_key=day_key)
    made.begin_batch(at_ms)
    return made


def day_key(at_ms: int) -> bytes:
    """A key for each day."""
    return b"%032d" % (at_ms // DAY_MS)


TOTAL: Final = Entry(value=(1_204, NOW, None), until_ms=NOW + 400 * DAY_MS)
NAMED: Final = Entry(value=("open", NOW), until_ms=NOW + 400 * DAY_MS)
AROUND: Final = Entry(value=(NOW, PHONE, "x"), until_ms=NOW + DAY_MS)


def test_a_start_finds_what_was_remembered(rows: Any) -> None:
    """Totals and sets alike, each mapping its own."""
    memory_of(rows).put("acme", {"a#1": TOTAL, "b#2": AROUND}, now_ms=NOW)
    again = memory_of(rows)
    assert again.of("acme").get("a#1") == TOTAL
    assert again.of("acme").get("b#2") == AROUND
    assert again.of("other").get("a#1") is None


KNOWING: Final = """
schema_version = 1
vendor = "acme"
device = "ACME"
tier = "listed"
documentation = "https://example.com"
topics = ["a/#"]
[[rules]]
name = "what it is"
topic = "a/{id}/config"
remember = { as = "sensors", key = "{$topic.id}", value = "room" }
[[rules]]
name = "reading"
topic = "a/{id}/level"
event = "zone.occupancy"
data.zone = { text = "{$topic.id}", recall = "sensors", required = true }
data.count = "n"
"""


def test_what_a_device_is_outlives_a_start_and_the_day(rows: Any) -> None:
    """Told once and retained, it is known after the next start, a day later."""
    mapping = read_mapping(KNOWING)
    assert isinstance(mapping, CompiledMapping)
    told = interpret(mapping, "a/7/config", b'{"room": "bakery"}', received_at_ms=NOW)
    memory_of(rows).put("acme", told.changes, now_ms=NOW)
    later = NOW + DAY_MS
    state = memory_of(rows, at_ms=later).of("acme")
    read = interpret(mapping, "a/7/level", b'{"n": 3}', state=state, received_at_ms=later)
    assert [event.data.model_dump()["zone"] for event in read.events] == ["bakery"]
    written = b"".join(value for (value,) in rows.query("SELECT value FROM mapping_state"))
    assert b"bakery" not in written


def test_text_is_sealed_and_lost_with_its_key(rows: Any) -> None:
    """Nobody reads an address off the disk; under a new key there is a new baseline."""
    entries = {"b#2": AROUND, "a#1": TOTAL, "c#3": NAMED}
    memory_of(rows).put("acme", entries, now_ms=NOW)
    written = b"".join(value for (value,) in rows.query("SELECT value FROM mapping_state"))
    assert PHONE.encode() not in written
    assert b"open" not in written
    other = memory_of(rows, b"o" * 32)
    assert other.of("acme").get("c#3") is None
    assert other.of("acme").get("a#1") == TOTAL


def test_what_may_be_of_people_is_not_found_on_another_day(rows: Any) -> None:
    """Totals go on over midnight; who was around yesterday is filed under a key that is gone."""
    memory = memory_of(rows)
    memory.put("acme", {"b#2": AROUND, "a#1": TOTAL}, now_ms=NOW)
    memory.begin_batch(NOW + DAY_MS)
    for each in (memory, memory_of(rows, at_ms=NOW + DAY_MS)):
        assert each.of("acme").get("b#2") is None
        assert each.of("acme").get("a#1") == TOTAL
    filed = {key for (key,) in rows.query("SELECT key FROM mapping_state")}
    assert "acme/a#1" in filed
    assert "acme/b#2" not in filed


def test_what_a_batch_could_not_save_is_forgotten(rows: Any) -> None:
    """The message that changed it is taken again, against what was before."""
    memory = memory_of(rows)
    memory.put("acme", {"a#1": TOTAL}, now_ms=NOW)
    memory.note_committed()
    memory.put("acme", {"a#1": TOTAL._replace(value=(1_300, NOW, None))}, now_ms=NOW)
    rows.add("mapping_state", ("acme/a#1", b"[1204,1772445600000,null]", 0, TOTAL.until_ms, NOW))
    memory.begin_batch(NOW)
    assert memory.of("acme").get("a#1") == TOTAL


def test_what_is_over_is_purged_and_so_is_what_is_old(rows: Any) -> None:
    """Each entry's own end counts, and the configured days for all."""
    entries = {"over": -DAY_MS, "fresh": 100 * DAY_MS, "stale": DAY_MS}
    for name, until_ms in entries.items():
        at_ms = NOW - 500 * DAY_MS if name == "stale" else NOW
        entry = Entry(value=(1,), until_ms=NOW + until_ms)
        memory_of(rows).put("acme", {name: entry}, now_ms=at_ms)
    assert purge(rows.database, Retention(), now_ms=NOW) == {"mapping_state": 2}
    assert rows.query("SELECT key FROM mapping_state") == [("acme/fresh",)]
