"""What was redeemed, in databases of before: a row said that it was, and not of what."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from sqlite_utils import Database

from edge_agent.shell.schema import migrations
from edge_agent.shell.sqlite_db import open_for_writing

BEFORE: Final = "m027_redeemed_products"
_DECISION: Final = (
    "INSERT INTO decision (id, at_ms, moment, channel, level, items, popular, record, tried)"
    " VALUES (?, 1, 'request', 'reply', 'model', '[]', '[]', '{}', ?)"
)
_OFFER: Final = (
    "INSERT INTO offer (mark, campaign, products, given_at_ms, valid_until_ms, decision,"
    " redeemed_at_ms, redeemed_by) VALUES (?, ?, ?, 1, 99, ?, ?, ?)"
)
_ROWS: Final = "SELECT decision, kind, product, at_ms FROM outcome ORDER BY 1, 2, 3"


def test_redemptions_of_before_are_of_what_their_codes_were_given_for(tmp_path: Path) -> None:
    """Exploration learns of each once; a text's stays, and so does every other answer."""
    path = tmp_path / "state.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        migrations.apply(Database(connection), stop_before=BEFORE)
        for day, shown, answered in (("2017-12-02 p1 c1", 3, 0), ("2017-12-02 p3 c1", 1, 0)):
            connection.execute("INSERT INTO tried VALUES (?, ?, ?)", (day, shown, answered))
        for decision, tried in (
            ("d1", "2017-12-02 p1 c1"),
            ("d2", "2017-12-02 p1 c1"),
            ("d3", "2017-12-02 p3 c1"),
            ("d4", None),
        ):
            connection.execute(_DECISION, (decision, tried))
        for row in (
            ("m1", "c1", '["p1","p2"]', "d1", 20, "pos-1/1"),
            # A tap came before it; of the other offer of this decision one code was taken along.
            ("m2", "c1", '["p1"]', "d2", 30, "pos-1/2"),
            ("m3", "c2", '["p9"]', "d2", 35, ""),
            # Taken along with the first, and no answer of its own.
            ("m4", "c1", '["p3"]', "d3", 20, ""),
        ):
            connection.execute(_OFFER, row)
        for decision, kind, product, at_ms in (
            ("d1", "redeemed", "", 20),
            ("d2", "redeemed", "", 30),
            ("d2", "tapped", "p1", 25),
            ("d4", "redeemed", "", 40),
        ):
            insert = "INSERT INTO outcome (decision, kind, product, at_ms) VALUES (?, ?, ?, ?)"
            connection.execute(insert, (decision, kind, product, at_ms))
    with closing(open_for_writing(path)) as connection:
        assert connection.execute(_ROWS).fetchall() == [
            ("d1", "redeemed", "p1", 20),
            ("d1", "redeemed", "p2", 20),
            ("d2", "redeemed", "p1", 30),
            ("d2", "tapped", "p1", 25),
            ("d4", "redeemed", "", 40),
        ]
        # The tap raised it at its time, and the redemption of the same decision does not again.
        counted = "SELECT what, shown, answered FROM tried ORDER BY 1"
        assert connection.execute(counted).fetchall() == [
            ("2017-12-02 p1 c1", 3, 2),
            ("2017-12-02 p3 c1", 1, 0),
        ]
