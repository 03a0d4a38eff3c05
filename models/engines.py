"""The engines that work expressions out: DuckDB in this process, or Spark wherever it runs.

    python -m models.engines --data DIR --cutoff 2017-12-01 --engine spark --out rows.jsonl

writes all that training reads, a row a line, so that two engines can be compared row for row.
Spark takes its master and resources from its own settings (`spark-submit`, or
`spark-defaults.conf`); without any it runs in this machine's memory.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Protocol

import ibis
import numpy as np
from ibis.expr.types import Table
from numpy.typing import NDArray

from models import expressions

ENGINES = ("duckdb", "spark")
Columns = Mapping[str, NDArray[Any]]


class Engine(Protocol):
    """Reads parquet tables and works expressions out."""

    def table(self, folder: Path, name: str) -> Table:
        """Returns a folder's table."""
        ...

    def lookup(self, name: str, ids: Sequence[str]) -> Table:
        """Returns a small table of ids and their positions (i), under a name."""
        ...

    def columns(self, expression: Table) -> Columns:
        """Returns the rows of an expression, column by column."""
        ...


class DuckDb:
    """DuckDB, in this process, on one thread."""

    def __init__(self) -> None:
        self._connection = ibis.duckdb.connect(threads=1)
        # It would be drawn into what the caller reads.
        self._connection.raw_sql("SET enable_progress_bar = false")

    def table(self, folder: Path, name: str) -> Table:
        """Returns a folder's table."""
        return self._connection.read_parquet(str(folder / f"{name}.parquet"))

    def lookup(self, name: str, ids: Sequence[str]) -> Table:
        """Returns a small table of ids and their positions (i), under a name."""
        raw = self._connection.con
        raw.execute(f"CREATE OR REPLACE TEMP TABLE {name} (id VARCHAR, i INTEGER)")
        if ids:
            values = [list(ids), list(range(len(ids)))]
            raw.execute(f"INSERT INTO {name} SELECT unnest(?), unnest(?)", values)
        return self._connection.table(name)

    def columns(self, expression: Table) -> Columns:
        """Returns the rows of an expression, column by column."""
        # Not `execute`, which wants pandas.
        found = self._connection.raw_sql(self._connection.compile(expression)).fetchnumpy()
        return dict(found)


class Spark:
    """Spark, as its own settings say where."""

    def __init__(self) -> None:
        # Half a gigabyte that only this engine needs.
        from pyspark.sql import SparkSession  # noqa: PLC0415

        builder = SparkSession.builder.appName("edge-agent models")
        # Raw time stamps carry no zone: they are counted as they stand, wherever this runs.
        self._session = builder.config("spark.sql.session.timeZone", "UTC").getOrCreate()
        self._connection = ibis.pyspark.connect(self._session)

    def table(self, folder: Path, name: str) -> Table:
        """Returns a folder's table."""
        return self._connection.read_parquet(str(folder / f"{name}.parquet"))

    def lookup(self, name: str, ids: Sequence[str]) -> Table:
        """Returns a small table of ids and their positions (i), under a name."""
        rows = list(zip(ids, range(len(ids)), strict=True))
        self._session.createDataFrame(rows, "id string, i int").createOrReplaceTempView(name)
        return self._connection.table(name)

    def columns(self, expression: Table) -> Columns:
        """Returns the rows of an expression, column by column."""
        found = self._session.sql(self._connection.compile(expression)).toArrow()
        return {name: found[name].to_numpy() for name in found.column_names}


def engine_of(name: str) -> Engine:
    """Returns the engine of a name."""
    return Spark() if name == "spark" else DuckDb()


def everything(engine: Engine, folder: Path, cutoff: date) -> dict[str, Columns]:
    """Returns all that training reads, by expression."""
    lines, plan = engine.table(folder, "transactions"), engine.table(folder, "promotions")
    products = engine.columns(expressions.sold_products(lines, engine.table(folder, "products")))
    stores = engine.columns(expressions.planned_stores(plan))
    wanted = engine.lookup("wanted", sorted(str(each) for each in products["id"]))
    planned = engine.lookup("planned", sorted(str(each) for each in stores["id"]))
    return {
        "baskets": engine.columns(expressions.baskets(lines)),
        "basket_lines": engine.columns(expressions.basket_lines(lines)),
        "sold_products": products,
        "unit_prices": engine.columns(expressions.unit_prices(lines, before=cutoff)),
        "planned_stores": stores,
        "promotions": engine.columns(expressions.promotions(plan, wanted=wanted, planned=planned)),
    }


def rows_of(columns: Columns) -> list[tuple[Any, ...]]:
    """Returns the rows of columns, in order of their columns' names, as plain values."""
    plain = [np.ma.filled(np.ma.asarray(columns[name]), None).tolist() for name in sorted(columns)]
    return list(zip(*plain, strict=True))


def main() -> None:
    """Reads the arguments and writes what the engine gives."""
    parser = argparse.ArgumentParser(description="what training reads, as an engine gives it")
    parser.add_argument("--data", required=True, type=Path, help="folder of parquet tables")
    parser.add_argument("--cutoff", required=True, type=date.fromisoformat)
    parser.add_argument("--engine", choices=ENGINES, default="duckdb")
    parser.add_argument("--out", required=True, type=Path)
    args = parser.parse_args()
    found = everything(engine_of(args.engine), args.data, args.cutoff)
    with args.out.open("w", encoding="utf-8") as file:
        for name, columns in found.items():
            # What has no order is given one, so that two engines' files can be compared.
            rows = rows_of(columns) if name == "baskets" else sorted(rows_of(columns))
            file.writelines(json.dumps([name, *row]) + "\n" for row in rows)


if __name__ == "__main__":
    main()
