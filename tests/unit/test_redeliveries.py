"""Devices' messages that the broker brings again: known by packet id, topic and bytes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge_agent.runner.redeliveries import KEPT, Redeliveries
from edge_agent.runner.retries import Letter
from edge_agent.shell.sqlite_db import open_for_writing


class Ring:
    """A database as a batch writes it: at once."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self.database = database

    def query(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Rows of the database."""
        return self.database.execute(sql, parameters).fetchall()

    def add(self, table: str, row: tuple[Any, ...]) -> None:
        """Writes a row."""
        assert table == "mapped_message"
        self.database.execute("INSERT OR REPLACE INTO mapped_message VALUES (?, ?, ?)", row)


@pytest.fixture
def ring(tmp_path: Path) -> Iterator[Any]:
    """A new database."""
    with closing(open_for_writing(tmp_path / "state.db", durability="process-crash")) as database:
        yield Ring(database)


def beam(mid: int, payload: bytes = b"1") -> Letter:
    """A message that says nothing that tells it from others."""
    return Letter(topic="acme/north/beam", payload=payload, mid=mid)


def again(message: Letter) -> Letter:
    """The same as the broker repeats it."""
    return replace(message, dup=True)


def test_what_was_taken_is_known_after_a_restart_when_it_comes_again(ring: Any) -> None:
    """Also a baseline, of which no event came."""
    before = Redeliveries(ring)
    before.note(beam(1))
    before.note_committed()
    after = Redeliveries(ring)
    assert after.knows(again(beam(1)))


@pytest.mark.parametrize(
    "other",
    [
        beam(1),
        again(beam(2)),
        again(beam(1, b"2")),
        again(replace(beam(1), topic="acme/south/beam")),
    ],
)
def test_what_is_new_is_not_taken_for_a_repeat(ring: Any, other: Letter) -> None:
    """Without the broker's mark, under another packet id, with other bytes or elsewhere."""
    known = Redeliveries(ring)
    known.note(beam(1))
    known.note_committed()
    assert not known.knows(other)


def test_what_could_not_be_written_is_not_known(ring: Any) -> None:
    """Its batch is taken again, and this message with it."""
    known = Redeliveries(ring)
    known.note(beam(1))
    known.begin_batch()
    assert not known.knows(again(beam(1)))


def test_a_message_sent_at_most_once_leaves_no_mark(ring: Any) -> None:
    """It has no packet id and never comes again."""
    Redeliveries(ring).note(beam(0))
    assert ring.query("SELECT * FROM mapped_message") == []


def test_the_ring_is_bounded_and_the_oldest_go(ring: Any) -> None:
    """A busy year takes no more room than a minute."""
    known = Redeliveries(ring)
    ring.database.execute("BEGIN")
    for mid in range(1, KEPT + 101):
        known.note(beam(mid))
        known.note_committed()
    ring.database.execute("COMMIT")
    assert ring.query("SELECT count(*) FROM mapped_message") == [(KEPT,)]
    after = Redeliveries(ring)
    for each in (known, after):
        assert not each.knows(again(beam(100)))
        assert each.knows(again(beam(101)))
    after.note(beam(9_999))
    assert not after.knows(again(beam(101)))
