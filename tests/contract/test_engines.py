"""What training reads is the same whichever engine reads it, and as simple code reads it."""

from __future__ import annotations

import statistics
import subprocess
from collections import defaultdict
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

import duckdb
import pytest

from models.dataset import data_folder
from models.engines import everything, rows_of
from models.workers import Columns

TREE: Final = Path(__file__).parents[2]
SPARK: Final = TREE / ".cache" / "spark" / "bin" / "python"
CUTOFF: Final = date(2020, 2, 1)

Row = tuple[Any, ...]


def lines() -> list[Row]:
    """Returns an invented journal: odd quantities, two lines of a product, ties in time."""
    rows: list[Row] = []
    for n in range(400):
        basket = n // 4
        at = datetime(2020, 1, 1 + basket % 28, 17, basket % 3, 0)  # noqa: DTZ001 - as tables have it
        if basket >= 90:
            at = at.replace(month=2)
        head = (f"h{basket % 7}", f"s{basket % 3}", f"b{basket:03d}", f"p{(n * 7) % 23:02d}")
        price = (1 + n % 2, round(0.37 * (1 + n % 11), 2), 0.1 * (n % 3), 0.0, 0.05 * (n % 2))
        rows.append((*head, *price, 1 + basket % 5, at))
    return [*rows, rows[0]]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tables of an invented shop; one product is missing from the item master."""
    folder = tmp_path_factory.mktemp("shop")
    write(
        folder / "transactions.parquet",
        "household_id VARCHAR, store_id VARCHAR, basket_id VARCHAR, product_id VARCHAR,"
        " quantity BIGINT, sales_value DOUBLE, retail_disc DOUBLE, coupon_disc DOUBLE,"
        " coupon_match_disc DOUBLE, week BIGINT, transaction_timestamp TIMESTAMP",
        lines(),
    )
    write(
        folder / "products.parquet",
        "product_id VARCHAR, manufacturer_id BIGINT, department VARCHAR, brand VARCHAR,"
        " product_category VARCHAR, product_type VARCHAR, package_size VARCHAR",
        [(f"p{n:02d}", n % 3, "DAIRY", "Private", f"C{n}", None, "1 LB") for n in range(22)],
    )
    write(
        folder / "promotions.parquet",
        "product_id VARCHAR, store_id VARCHAR, display_location VARCHAR, mailer_location VARCHAR,"
        " week BIGINT",
        [
            (f"p{n % 30:02d}", f"s{n % 4}", "0123456789ABCDEFGHI"[n % 19], "0ADH"[n % 4], n % 6)
            for n in range(300)
        ],
    )
    return folder


def write(path: Path, columns: str, rows: list[Row]) -> None:
    """Writes a table as parquet."""
    connection = duckdb.connect()
    connection.execute(f"CREATE TABLE t ({columns})")
    marks = ",".join("?" * (columns.count(",") + 1))
    connection.executemany(f"INSERT INTO t VALUES ({marks})", rows)  # noqa: S608 - question marks
    connection.execute(f"COPY t TO '{path}'")


@pytest.fixture(scope="module")
def read(shop: Path) -> dict[str, Columns]:
    """What DuckDB makes of the shop."""
    return everything("duckdb", shop, CUTOFF)


def test_baskets_come_in_order_of_time_then_id(read: dict[str, Columns]) -> None:
    """Their first instant counts; ties go by id."""
    first: dict[str, tuple[int, Row]] = {}
    for household, store, basket, *_, week, at in lines():
        seconds = int((at - datetime(1970, 1, 1)).total_seconds())  # noqa: DTZ001 - as tables have it
        first.setdefault(basket, (seconds, (household, store, week)))
    expected = sorted((at, basket, head) for basket, (at, head) in first.items())
    columns = read["baskets"]
    found = list(zip(*(columns[name].tolist() for name in "tbhsw"), strict=True))
    assert [(t, b, (h, s, w)) for t, b, h, s, w in found] == expected


def test_a_product_counts_once_a_basket(read: dict[str, Columns]) -> None:
    """However many lines it has there."""
    expected = {(basket, product) for _, _, basket, product, *_ in lines()}
    assert sorted(rows_of(read["basket_lines"])) == sorted(expected)


def test_the_price_is_the_median_before_the_day_without_discounts(
    read: dict[str, Columns],
) -> None:
    """Of an even number of prices it is the mean of the middle two."""
    prices: dict[str, list[float]] = defaultdict(list)
    for _, _, _, product, quantity, paid, off, _, matched, _, at in lines():
        if at.date() < CUTOFF:
            prices[product].append((paid + off + matched) / quantity)
    expected = {product: statistics.median(some) for product, some in prices.items()}
    assert dict(rows_of(read["unit_prices"])) == expected


def test_what_the_item_master_does_not_say_is_an_empty_text(read: dict[str, Columns]) -> None:
    """A product that it lacks was sold all the same."""
    columns = read["sold_products"]
    names = (columns[name].tolist() for name in ("id", "d", "k"))
    found = {product: known for product, *known in zip(*names, strict=True)}
    assert len(found) == 23
    assert found["p22"] == ["", ""]
    assert found["p03"] == ["DAIRY", ""]


def test_places_of_the_plan_are_numbered_in_order_of_their_text(
    read: dict[str, Columns],
) -> None:
    """Display in the low nibble, mailer in the high one; the sixteenth place and more are none."""
    displays = {place: n for n, place in enumerate("123456789ABCDEF", start=1)}
    mailers = {"A": 1, "D": 2, "H": 3}
    products = sorted({product for _, _, _, product, *_ in lines()})
    expected = [
        (
            displays.get("0123456789ABCDEFGHI"[n % 19], 0) + 16 * mailers.get("0ADH"[n % 4], 0),
            products.index(f"p{n % 30:02d}"),
            n % 4,
            n % 6,
        )
        for n in range(300)
        if f"p{n % 30:02d}" in products
    ]
    assert sorted(rows_of(read["promotions"])) == sorted(expected)


@pytest.mark.slow
def test_spark_reads_what_duckdb_reads_row_for_row(shop: Path, tmp_path: Path) -> None:
    """On the invented shop and on a sample of the public data: the same lines, byte for byte."""
    assert SPARK.exists(), "Spark is missing: run tests/tools/spark.sh"
    for number, folder in enumerate((shop, sample_of_the_public_data(tmp_path / "sample"))):
        found = {}
        for engine in ("duckdb", "spark"):
            out = tmp_path / f"{engine}-{number}.jsonl"
            cutoff = "2017-12-01" if number else CUTOFF.isoformat()
            command: list[str | Path] = [
                SPARK,
                "-m",
                "models.engines",
                "--data",
                folder,
                "--cutoff",
                cutoff,
            ]
            subprocess.run(
                [*command, "--engine", engine, "--out", out],
                check=True,
                cwd=TREE,
                timeout=1_800,
            )
            found[engine] = out.read_text().splitlines()
        assert found["duckdb"]
        assert found["duckdb"] == found["spark"]


def sample_of_the_public_data(folder: Path) -> Path:
    """Returns every fortieth household's sales, and a part of the promotion plan."""
    public = data_folder("completejourney")
    folder.mkdir()
    connection = duckdb.connect()
    for name, part in (
        ("transactions", "household_id % 40 = 0"),
        ("products", "true"),
        ("promotions", "store_id % 10 = 0 AND week % 13 = 0"),
    ):
        connection.execute(
            f"COPY (SELECT * FROM '{public}/{name}.parquet' WHERE {part})"  # noqa: S608 - literals
            f" TO '{folder}/{name}.parquet'"
        )
    return folder
