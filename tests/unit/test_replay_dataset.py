"""What the replay takes from the public data set is what the data set holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from edge_agent.errors import DataSetError
from edge_agent.replay import dataset
from edge_agent.replay.dataset import SalesDay, data_folder, load_day, load_histories

DAY = date(2017, 12, 2)
# In winter the stores' midnight is 05:00 UTC.
STARTS_AT = datetime(2017, 12, 2, 5)  # noqa: DTZ001 - the file's time stamps carry no zone
ENDS_AT = datetime(2017, 12, 3, 5)  # noqa: DTZ001 - the same


@cache
def real_day() -> SalesDay:
    """The default day, read once."""
    return load_day(DAY)


@cache
def real_rows() -> Sequence[Mapping[str, Any]]:
    """The same day's rows, read without the code under test."""
    filters = [("transaction_timestamp", ">=", STARTS_AT), ("transaction_timestamp", "<", ENDS_AT)]
    table = parquet.read_table(data_folder() / "transactions.parquet", filters=filters)
    rows: Sequence[Mapping[str, Any]] = table.to_pylist()
    return rows


def write_tables(folder: Path, sales: Sequence[Mapping[str, Any]]) -> None:
    """A small data set in a folder."""
    products = {"product_id": [1, 2, 3], "department": ["GROCERY", "DELI", None]}
    parquet.write_table(pa.table(products), folder / "products.parquet")
    parquet.write_table(pa.Table.from_pylist(list(sales)), folder / "transactions.parquet")


def row(**changes: Any) -> Mapping[str, Any]:
    """One row of the sales table; the test says what matters to it."""
    plain = {
        "household_id": 7,
        "basket_id": 31198570044,
        "product_id": 1,
        "quantity": 1,
        "sales_value": 1.29,
        "retail_disc": 0.0,
        "coupon_disc": 0.0,
        "coupon_match_disc": 0.0,
        "transaction_timestamp": datetime(2017, 12, 2, 15),  # noqa: DTZ001 - as in the file
    }
    return {**plain, **changes}


def test_day_holds_every_line_with_a_quantity_and_its_exact_amount() -> None:
    """Baskets, lines, amounts and discounts equal those of the file, line by line."""
    expected = Counter(
        (
            str(r["basket_id"]),
            str(r["household_id"]),
            str(r["product_id"]),
            r["quantity"],
            f"{r['sales_value']:.2f}",
            f"{r['retail_disc'] + r['coupon_match_disc']:.2f}",
        )
        for r in real_rows()
        if r["quantity"] > 0
    )
    found = Counter(
        (b.number, b.household, str(n.product), n.quantity, str(n.amount), str(n.discount))
        for b in real_day().baskets
        for n in b.lines
    )
    assert found == expected
    assert len(real_day().baskets) == 468
    assert found.total() == 4_820


def test_what_is_left_out_is_counted_with_its_reason() -> None:
    """The 4,849 lines of the file are the lines of the day and those counted as skipped."""
    skipped = real_day().skipped
    assert skipped == {"basket_without_lines": 1, "coupon_line": 6, "line_without_quantity": 23}
    n_lines = sum(len(basket.lines) for basket in real_day().baskets)
    assert n_lines + skipped["coupon_line"] + skipped["line_without_quantity"] == len(real_rows())


def test_baskets_are_paid_at_the_files_instants_read_as_utc() -> None:
    """Every payment is where the file has it, in order of time, within the local day."""
    times = {
        str(r["basket_id"]): r["transaction_timestamp"].replace(tzinfo=UTC) for r in real_rows()
    }
    baskets = real_day().baskets
    assert all(basket.paid_at == times[basket.number] for basket in baskets)
    assert [b.paid_at for b in baskets] == sorted(b.paid_at for b in baskets)
    assert real_day().starts_at <= baskets[0].paid_at
    assert baskets[-1].paid_at < real_day().ends_at


def test_lines_of_a_basket_keep_the_files_order() -> None:
    """A receipt's lines come as they were scanned into the file."""
    longest = max(real_day().baskets, key=lambda basket: len(basket.lines))
    expected = [
        str(r["product_id"])
        for r in real_rows()
        if str(r["basket_id"]) == longest.number and r["quantity"] > 0
    ]
    assert [line.product for line in longest.lines] == expected


def test_summer_day_begins_an_hour_earlier_in_utc() -> None:
    """The local day follows the zone's summer time."""
    day = SalesDay(day=date(2017, 7, 1), timezone="America/New_York", baskets=(), skipped={})
    assert day.starts_at == datetime(2017, 7, 1, 4, tzinfo=UTC)


def test_lines_without_quantity_and_coupons_are_left_out(tmp_path: Path) -> None:
    """Neither becomes a line, and a basket of nothing else is no basket."""
    write_tables(
        tmp_path,
        [
            row(),
            row(product_id=2, quantity=0, sales_value=0.0),
            row(product_id=2, quantity=0, sales_value=0.0, coupon_disc=1.5),
            row(basket_id=31198570045, quantity=0, sales_value=0.0),
        ],
    )
    day = load_day(DAY, folder=tmp_path)
    assert [line.product for line in day.baskets[0].lines] == ["1"]
    assert len(day.baskets) == 1
    assert day.skipped == {
        "basket_without_lines": 1,
        "coupon_line": 1,
        "line_without_quantity": 2,
    }


def test_discount_is_the_stores_own_and_a_coupon_is_a_means_of_payment(tmp_path: Path) -> None:
    """`amount` is what the store got; the maker's coupon takes nothing off it."""
    write_tables(tmp_path, [row(retail_disc=0.3, coupon_disc=0.5, coupon_match_disc=0.2)])
    line = load_day(DAY, folder=tmp_path).baskets[0].lines[0]
    assert (line.amount, line.discount) == (Decimal("1.29"), Decimal("0.50"))


def test_product_without_a_department_has_an_empty_one(tmp_path: Path) -> None:
    """Listed without a department or not listed at all: both are sold all the same."""
    write_tables(tmp_path, [row(product_id=3), row(product_id=99)])
    lines = load_day(DAY, folder=tmp_path).baskets[0].lines
    assert [line.department for line in lines] == ["", ""]


def test_history_holds_only_what_was_bought_before(tmp_path: Path) -> None:
    """A basket of the day itself, or of another household, is no history."""
    early, late = datetime(2017, 3, 1, 15), datetime(2017, 4, 1, 15)  # noqa: DTZ001 - as in the file
    write_tables(
        tmp_path,
        [
            row(basket_id=1, product_id=2, transaction_timestamp=early),
            row(basket_id=1, product_id=1, transaction_timestamp=early),
            row(basket_id=1, product_id=3, quantity=0, transaction_timestamp=early),
            row(basket_id=2, household_id=8, transaction_timestamp=early),
            row(basket_id=3, product_id=3, transaction_timestamp=late),
            row(),
        ],
    )
    before = STARTS_AT.replace(tzinfo=UTC)
    history = load_histories(["7"], before, folder=tmp_path)["7"]
    assert [past.products for past in history] == [("1", "2"), ("3",)]
    newest = load_histories(["7"], before, folder=tmp_path, limit=1)["7"]
    assert [past.products for past in newest] == [("3",)]


def test_household_that_never_bought_has_an_empty_history(tmp_path: Path) -> None:
    """It is named all the same."""
    write_tables(tmp_path, [row()])
    assert load_histories(["9"], STARTS_AT.replace(tzinfo=UTC), folder=tmp_path) == {"9": ()}


def test_cut_keeps_the_first_baskets_paid_before_a_local_time() -> None:
    """`until` is local time, and the number counts from the day's start."""
    day = real_day()
    morning = day.cut(until=time(10))
    assert 0 < len(morning.baskets) < len(day.baskets)
    assert morning.baskets[-1].paid_at < datetime(2017, 12, 2, 15, tzinfo=UTC)
    assert day.cut(baskets=5).baskets == day.baskets[:5]


def test_moved_day_keeps_the_time_of_day() -> None:
    """Across the end of summer time too: nine o'clock stays nine o'clock."""
    summer = load_day(date(2017, 11, 4))
    winter = summer.moved(1)
    assert winter.day == date(2017, 11, 5)
    gap = summer.baskets[0].paid_at - summer.starts_at
    assert winter.baskets[0].paid_at - winter.starts_at == gap


def test_missing_package_is_told_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The error says what to type."""
    monkeypatch.setattr(dataset, "PACKAGE", "a_package_that_nobody_has")
    with pytest.raises(DataSetError) as caught:
        load_day(DAY)
    assert "pip install" in caught.value.hint
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("day", "timezone", "words"),
    [
        (date(2017, 12, 25), "America/New_York", "no sales on 2017-12-25"),
        (date(2031, 1, 1), "America/New_York", "no sales on 2031-01-01"),
        (DAY, "America/Nowhere", "no time zone"),
        (DAY, "../../etc/passwd", "no time zone"),
    ],
)
def test_day_or_zone_that_is_not_there_is_told(day: date, timezone: str, words: str) -> None:
    """Neither ends in a trace back."""
    with pytest.raises(DataSetError, match=words):
        load_day(day, timezone=timezone)


def test_missing_table_is_told(tmp_path: Path) -> None:
    """A folder without the tables is named as such."""
    with pytest.raises(DataSetError, match="no table"):
        load_day(DAY, folder=tmp_path)
