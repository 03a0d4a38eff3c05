"""Statements in the database: those of an older schema, and their text in the second copy."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest
from sqlite_utils import Database

from edge_agent.shell.schema import migrate, migrations
from edge_agent.shell.statements import Stated, put_back, stated_by

BEFORE = "m008_channels"
PERSON = "INSERT INTO visitor VALUES ('v1', 'loyalty', 1, 2, NULL)"
OLD = (
    "INSERT INTO consent (visitor, purpose, stated_at_ms, granted, source, text_version, channel,"
    " expires_at_ms) VALUES ('v1', 'marketing', 10, 1, 'desk', '2017-10', 'till', 99)"
)
SAID_ON = (
    "INSERT INTO consent (visitor, purpose, stated_at_ms, granted, source, basis, only_on)"
    " VALUES ('v1', 'marketing', 20, 0, 'desk', 'dpv:Contract', ?)"
)
# As it was written, and put under a MAC, before there were channels.
OLD_TEXT = b'["v1","loyalty",[],[],[],[["marketing",10,1,"desk","2017-10","till",99]],[]]'


@pytest.fixture
def database() -> Iterator[sqlite3.Connection]:
    """A database of the schema before, with one person and his word."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        migrations.apply(Database(connection), stop_before=BEFORE)
        connection.execute(PERSON)
        connection.execute(OLD)
        yield connection


def stated(connection: sqlite3.Connection) -> Stated:
    """Returns what the person stated."""
    (found,) = stated_by(connection, ["v1"])
    return found


def test_a_statement_of_before_rests_on_consent_and_is_about_every_channel(
    database: sqlite3.Connection,
) -> None:
    """And its text is what it was, so that the MAC on it is good."""
    migrate(database)
    row = database.execute("SELECT * FROM consent").fetchone()
    assert row[-3:] == (99, "dpv:Consent", "")
    assert stated(database).text == OLD_TEXT
    put_back(database, OLD_TEXT, now_ms=30)
    assert database.execute("SELECT * FROM consent").fetchone() == row


def test_each_channel_s_statement_is_a_row_and_is_put_back(database: sqlite3.Connection) -> None:
    """Said at one instant of two channels, restored from the second copy's text."""
    migrate(database)
    for channel in ("screen", "receipt"):
        database.execute(SAID_ON, (channel,))
    rows = database.execute("SELECT * FROM consent").fetchall()
    assert len(rows) == 3
    text = stated(database).text
    database.execute("DELETE FROM consent")
    put_back(database, text, now_ms=30)
    assert database.execute("SELECT * FROM consent").fetchall() == rows


@pytest.mark.parametrize("change", ["basis = 'dpv:Consent'", "only_on = ''"])
def test_a_changed_basis_or_channel_is_another_text(
    database: sqlite3.Connection, change: str
) -> None:
    """So no rot of either passes under the MAC."""
    migrate(database)
    database.execute(SAID_ON, ("screen",))
    before = stated(database).text
    database.execute(f"UPDATE consent SET {change} WHERE NOT granted")  # noqa: S608 - of this file
    assert stated(database).text != before
