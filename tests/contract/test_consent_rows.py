"""Statements in the database: those of an older schema, and their text in the second copy."""

from __future__ import annotations

import hashlib
import json
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest
from sqlite_utils import Database

from edge_agent.shell.schema import migrate, migrations
from edge_agent.shell.statements import Stated, all_stated, put_back, stated_by

# Of the texts of all who are put below, as they were put under MACs since there are channels.
TEXTS = "c12d23f77e87f8db"
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


# A card holder with two cards who refused, his telephone, another who complained, and one who
# allowed all; each row as it is put.
_VISITOR = "INSERT INTO visitor VALUES (?, ?, 1, 2, NULL)"
_LINK = "INSERT INTO link VALUES (?, ?, ?, ?, NULL, ?, NULL, 'pos-2', 1.0)"
_CONSENT = (
    "INSERT INTO consent (visitor, purpose, stated_at_ms, granted, source, only_on)"
    " VALUES (?, ?, ?, ?, ?, ?)"
)
_COMPLAINT = "INSERT INTO complaint VALUES (?, ?, ?, NULL)"
SAID = (
    (_LINK, ("loyalty", "ab", "v2", 3, "seen")),
    (_LINK, ("loyalty", "aa", "v2", 4, "seen")),
    (_LINK, ("customer", "ff", "v2", 5, "seen")),
    (_LINK, ("ble", "01", "v3", 1, "seen")),
    (_LINK, ("visitor", "v3", "v2", 9, "consent")),
    (_LINK, ("visitor", "v3", "v2", 7, "consent")),
    (_LINK, ("visitor", "v3", "v4", 8, "consent")),
    (_LINK, ("loyalty", "cc", "v4", 1, "seen")),
    (_CONSENT, ("v2", "profiling", 20, 1, "desk", "")),
    (_CONSENT, ("v2", "profiling", 10, 0, "desk", "")),
    (_CONSENT, ("v2", "marketing", 30, 0, "hq", "screen")),
    (_CONSENT, ("v2", "marketing", 30, 0, "hq", "app")),
    (_CONSENT, ("v2", "marketing", 30, 0, "app", "")),
    (_CONSENT, ("v5", "marketing", 30, 1, "app", "")),
    (_COMPLAINT, ("v4", "c2", 5)),
    (_COMPLAINT, ("v4", "c1", 6)),
)
PEOPLE = (("v2", "loyalty"), ("v3", "ble"), ("v4", "loyalty"), ("v5", "app"), ("v6", "ble"))


@pytest.mark.parametrize("seed", range(5))
def test_the_same_rows_are_one_text_in_whatever_order_they_came(
    database: sqlite3.Connection, seed: int
) -> None:
    """So a start finds what was sealed; and who is asked for alone is told as all are."""
    migrate(database)
    rows = list(SAID)
    random.Random(seed).shuffle(rows)
    for each in PEOPLE:
        database.execute(_VISITOR, each)
    for statement, row in rows:
        database.execute(statement, row)
    found = list(all_stated(database))
    assert [each.visitor for each in found] == [b"v1", b"v2", b"v4", b"v5"]
    assert [bool(each.is_suppressed) for each in found] == [False, True, True, False]
    assert found == stated_by(database, ["v6", "v5", "v4", "v3", "v2", "v1"])
    _, _, links, circle, others, consents, complaints = json.loads(found[1].text)
    for told in (links, consents, complaints):
        assert told == sorted(told)
    assert (len(links), len(consents), len(circle), len(others)) == (3, 5, 2, 1)
    assert [each[0] for each in json.loads(found[2].text)[-1]] == ["c1", "c2"]
    assert hashlib.sha256(b"".join(each.text for each in found)).hexdigest()[:16] == TEXTS
