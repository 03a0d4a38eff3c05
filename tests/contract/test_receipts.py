"""What a decision's row says of itself: whatever is changed in it is found, and said in words."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlite_utils import Database

from edge_agent.domain.ids import ProductId
from edge_agent.domain.policy import Retention
from edge_agent.domain.time import DAY_MS
from edge_agent.replay.receipts import RECORD_CHANGED, ROW_CHANGED, changes_in
from edge_agent.shell.kept_goods import KeptGoods
from edge_agent.shell.retention import purge
from edge_agent.shell.row_digest import COLUMNS
from edge_agent.shell.schema import migrations
from edge_agent.shell.sqlite_db import open_for_writing
from tests.factories import T0, command, entered, lifted, world
from tests.fakes import NEW_YORK
from tests.properties.test_laws_state_store import DiskWorld

BEFORE = "m030_receipts"
Row = dict[str, Any]


@pytest.fixture
def heard(tmp_path: Path) -> Iterator[DiskWorld]:
    """A store on a disk."""
    disk = DiskWorld(tmp_path / "state.db", world())
    yield disk
    disk.connection.close()


def rows_of(disk: DiskWorld) -> list[Row]:
    """Returns what is written of decisions, the oldest first."""
    disk.unit.commit()
    cursor = disk.connection.execute("SELECT * FROM decision ORDER BY id")
    names = [name for name, *_ in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def found_in(row: Row) -> dict[str, str]:
    """Returns what is found in a row: where, and the words."""
    changes = changes_in(row, json.loads(row["record"]), zone=NEW_YORK)
    return {each.what: each.recorded for each in changes}


def decided(disk: DiskWorld) -> Row:
    """Returns the row of a decision for a visitor, which has chosen something."""
    disk.take(entered("dairy"), lifted("d0", 5))
    return next(row for row in reversed(rows_of(disk)) if row["visitor"] and row["items"] != "[]")


def test_nothing_is_found_in_what_nobody_changed(heard: DiskWorld) -> None:
    """Neither in a visitor's decisions nor in the store's defaults."""
    decided(heard)
    assert [found_in(row) for row in rows_of(heard)] == [{} for _ in rows_of(heard)]


def test_every_digit_of_a_record_is_covered(heard: DiskWorld) -> None:
    """Whichever is another one: dwell, an instant, a visitor, a factor."""
    row = decided(heard)
    record = row["record"]
    for place, letter in enumerate(record):
        if not letter.isdigit():
            continue
        other = f"{record[:place]}{(int(letter) + 1) % 10}{record[place + 1 :]}"
        try:
            json.loads(other)
        except ValueError:
            continue
        assert found_in({**row, "record": other})["record"] == RECORD_CHANGED, other[place - 20 :]


@pytest.mark.parametrize("column", [name for name in COLUMNS if name != "record"])
def test_every_column_of_a_row_is_covered(heard: DiskWorld, column: str) -> None:
    """Those that the record does not hold, too; what it holds is told beside what it says."""
    row = decided(heard)
    other = "other" if row[column] is None or isinstance(row[column], str) else row[column] + 1
    assert found_in({**row, column: other})


def test_a_visitor_that_was_changed_is_told_with_whom_the_record_names(heard: DiskWorld) -> None:
    """Caps count by the row: who it says is said in words."""
    row = decided(heard)
    told = found_in({**row, "visitor": "ble-0"})
    assert told == {"visitor": f"the row says ble-0, its record {row['visitor']}"}
    assert found_in({**row, "spent_us": 1}) == {"row": ROW_CHANGED}


def test_an_hour_is_that_of_the_instant_in_the_store(heard: DiskWorld) -> None:
    """What follows from the instant is looked at where no digest says that it was changed."""
    row = decided(heard)
    told = json.loads(row["record"])
    told["request"]["hour"] += 1
    bare = {**row, "record": json.dumps(told), "digest": None, "goods": None}
    assert list(found_in(bare)) == ["hour"]


def test_a_digest_that_was_taken_away_is_missed(heard: DiskWorld) -> None:
    """Whoever wrote the rest of the row wrote one."""
    assert found_in({**decided(heard), "digest": None}) == {"row": ROW_CHANGED}


def test_a_decision_of_before_has_no_digest_and_is_not_blamed(tmp_path: Path) -> None:
    """The database comes forward by itself, its rows as they were."""
    path = tmp_path / "state.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        migrations.apply(Database(connection), stop_before=BEFORE)
        connection.execute(
            "INSERT INTO decision (id, at_ms, moment, channel, level, items, popular, record)"
            " VALUES ('01OLD', 1, 'request', 'reply', 'silence', '[]', '[]', '{}')"
        )
        connection.execute("INSERT INTO catalogue (product, title) VALUES ('d0', 'Milk')")
    with closing(open_for_writing(path)) as connection:
        row = connection.execute("SELECT terms, goods, digest FROM decision").fetchone()
        assert tuple(row) == (None, None, None)
        assert connection.execute("SELECT since FROM catalogue").fetchone()[0] == 0


def told_by_hq(disk: DiskWorld, **product: Any) -> int:
    """Has HQ tell of a product; returns the number of the goods from then on."""
    row = {"product": "d0", "title": "Milk", "department": "DAIRY", **product}
    disk.command(command("catalogue", {"rows": [row]}))
    return disk.store.goods.number


def test_a_decision_names_the_goods_that_it_was_taken_on(heard: DiskWorld) -> None:
    """What HQ changed before it counts, what comes after it does not."""
    numbers = [told_by_hq(heard)]
    heard.take(entered("dairy"))
    numbers.append(told_by_hq(heard, department="WINE", minimum_age=18))
    heard.take(lifted("d0", 5))
    assert sorted({row["goods"] for row in rows_of(heard)}) == numbers == [1, 2]


def test_what_a_product_was_is_known_at_each_number(heard: DiskWorld) -> None:
    """Before HQ told of it, between two changes, within one batch, and after a restart."""
    told_by_hq(heard, department="DAIRY", brand="Farm")
    told_by_hq(heard, department="WINE", minimum_age=18)
    heard.unit.commit()
    heard.connection.close()
    heard.connect(heard.layout, heard)
    told_by_hq(heard, department="DAIRY")
    heard.unit.commit()
    kept = KeptGoods(heard.connection)
    was = [kept.feed_at(number).get(ProductId("d0")) for number in range(4)]
    assert [each and (each.department, each.brand, each.minimum_age) for each in was] == [
        None,
        ("DAIRY", "Farm", 0),
        ("WINE", None, 18),
        ("DAIRY", None, 0),
    ]
    assert [kept.stretch_of(number) for number in (1, 2, 3, 9)] == [1, 2, 3, 3]


def test_what_no_decision_rests_on_is_no_change(heard: DiskWorld) -> None:
    """A price or a title that HQ sends each morning costs no row."""
    told_by_hq(heard, price="1.00")
    assert told_by_hq(heard, title="Fresh milk", price="2.00") == 1
    heard.unit.commit()
    (n_before,) = heard.connection.execute("SELECT count(*) FROM catalogue_before").fetchone()
    assert n_before == 0
    assert heard.connection.execute("SELECT price, since FROM catalogue").fetchone() == ("2.00", 1)


def test_a_product_that_loses_its_department_has_the_bundles_again(heard: DiskWorld) -> None:
    """As it has after a restart."""
    at_first = dict(heard.store.departments())
    told_by_hq(heard, department="WINE")
    told_by_hq(heard, department=None)
    assert dict(heard.store.departments()) == at_first


def test_what_goods_were_goes_with_the_last_decision_that_rests_on_it(heard: DiskWorld) -> None:
    """Not before: it is taken again on what they were."""
    count = "SELECT count(*) FROM catalogue_before"
    told_by_hq(heard, department="DAIRY")
    heard.take(entered("dairy"))
    told_by_hq(heard, department="WINE")
    heard.unit.commit()
    purge(heard.connection, Retention(), now_ms=T0 + DAY_MS)
    assert heard.connection.execute(count).fetchone() == (1,)
    purge(heard.connection, Retention(), now_ms=T0 + 400 * DAY_MS)
    assert heard.connection.execute(count).fetchone() == (0,)
