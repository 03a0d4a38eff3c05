"""The time that a decision took, in the database: a column beside the record."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlite_utils import Database

from edge_agent.domain.policy import Retention
from edge_agent.domain.time import DAY_MS
from edge_agent.shell.clock import monotonic_ns
from edge_agent.shell.retention import purge
from edge_agent.shell.schema import migrations
from edge_agent.shell.sqlite_db import SCHEMA_VERSION, open_for_writing
from tests.factories import T0, entered, lifted, world
from tests.properties.test_laws_state_store import DiskWorld

BEFORE = "m024_time_spent"
OLD = (
    "INSERT INTO decision (id, at_ms, moment, channel, level, items, popular, record)"
    " VALUES ('01OLD', 1, 'request', 'reply', 'silence', '[]', '[]', '{}')"
)
ROWS = "SELECT id, spent_us, record FROM decision ORDER BY id"


def test_a_row_has_the_time_and_its_record_has_not(tmp_path: Path) -> None:
    """By a real clock, of each decision that was committed; another one gives the same record."""
    come, lift = entered("dairy"), lifted("d0", 5)
    kept = []
    for name, stopwatch in (("timed", monotonic_ns), ("bare", None)):
        heard = DiskWorld(tmp_path / f"{name}.db", world())
        heard.stopwatch = stopwatch
        heard.take(come, lift)
        heard.unit.commit()
        kept.append(heard.connection.execute(ROWS).fetchall())
        heard.connection.close()
    timed, bare = kept
    assert timed
    assert all(0 < spent_us < 10_000_000 for _, spent_us, _ in timed)
    assert {spent_us for _, spent_us, _ in bare} == {None}
    assert [(each, record) for each, _, record in timed] == [(each, rec) for each, _, rec in bare]


def test_the_time_goes_with_its_decision(tmp_path: Path) -> None:
    """There is no other place that it is kept in."""
    heard = DiskWorld(tmp_path / "state.db", world())
    heard.stopwatch = monotonic_ns
    heard.take(entered("dairy"))
    heard.unit.commit()
    assert heard.connection.execute(ROWS).fetchall()
    purge(heard.connection, Retention(), now_ms=T0 + 400 * DAY_MS)
    assert not heard.connection.execute(ROWS).fetchall()
    heard.connection.close()


def test_a_decision_of_before_is_kept_and_nobody_knows_its_time(tmp_path: Path) -> None:
    """The database comes forward by itself at the start, its rows as they were."""
    path = tmp_path / "state.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        migrations.apply(Database(connection), stop_before=BEFORE)
        connection.execute(OLD)
        with pytest.raises(sqlite3.OperationalError, match="spent_us"):
            connection.execute(ROWS)
    with closing(open_for_writing(path)) as connection:
        assert connection.execute(ROWS).fetchall() == [("01OLD", None, "{}")]
        version = connection.execute("SELECT value FROM meta WHERE key = 'schema_version'")
        assert version.fetchone() == (str(SCHEMA_VERSION),)
