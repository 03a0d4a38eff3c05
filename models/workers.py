"""The engines that work expressions out: DuckDB in this process, or Spark wherever it runs.

Spark takes its master and resources from its own settings (`spark-submit`, or
`spark-defaults.conf`); without any it runs in this machine's memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import ibis
from ibis.expr.types import Table
from numpy.typing import NDArray

ENGINES = ("duckdb", "spark")
Columns = Mapping[str, NDArray[Any]]


class Engine(Protocol):
    """Reads parquet tables and works expressions out.

    Attributes:
        pairs_of: How many items' pairs are asked for at once.
    """

    pairs_of: int

    def table(self, folder: Path, name: str) -> Table:
        """Returns a folder's table."""
        ...

    def lookup(self, name: str, ids: Sequence[str]) -> Table:
        """Returns a small table of ids and their positions (i), under a name."""
        ...

    def numbers(self, name: str, values: Sequence[int]) -> Table:
        """Returns a small table of whole numbers (v) and their positions (i), under a name."""
        ...

    def keep(self, name: str, expression: Table) -> Table:
        """Returns what an expression gives as a table that stays with the engine."""
        ...

    def columns(self, expression: Table) -> Columns:
        """Returns the rows of an expression, column by column."""
        ...


class DuckDb:
    """DuckDB, in this process, on one thread."""

    pairs_of = 128
    """More pairs at once leave the processor's cache: 1,024 items take 1.5 times as long each."""

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

    def numbers(self, name: str, values: Sequence[int]) -> Table:
        """Returns a small table of whole numbers (v) and their positions (i), under a name."""
        raw = self._connection.con
        raw.execute(f"CREATE OR REPLACE TEMP TABLE {name} (i INTEGER, v BIGINT)")
        if values:
            both = [list(range(len(values))), list(values)]
            raw.execute(f"INSERT INTO {name} SELECT unnest(?), unnest(?)", both)
        return self._connection.table(name)

    def keep(self, name: str, expression: Table) -> Table:
        """Returns what an expression gives as a table that stays with the engine."""
        asked = self._connection.compile(expression)
        self._connection.raw_sql(f"CREATE OR REPLACE TEMP TABLE {name} AS {asked}")
        return self._connection.table(name)

    def columns(self, expression: Table) -> Columns:
        """Returns the rows of an expression, column by column."""
        # Not `execute`, which wants pandas.
        found = self._connection.raw_sql(self._connection.compile(expression)).fetchnumpy()
        return dict(found)


class Spark:
    """Spark, as its own settings say where."""

    pairs_of = 1 << 30
    """All: it divides its work itself."""

    def __init__(self) -> None:
        # Half a gigabyte that only this engine needs.
        from pyspark.sql import SparkSession  # noqa: PLC0415

        builder = SparkSession.builder.appName("edge-agent models")
        # Raw time stamps carry no zone: they are counted as they stand, wherever this runs.
        self._session = builder.config("spark.sql.session.timeZone", "UTC").getOrCreate()
        self._connection = ibis.pyspark.connect(self._session)
        self._kept: dict[str, Any] = {}

    def table(self, folder: Path, name: str) -> Table:
        """Returns a folder's table."""
        return self._connection.read_parquet(str(folder / f"{name}.parquet"))

    def lookup(self, name: str, ids: Sequence[str]) -> Table:
        """Returns a small table of ids and their positions (i), under a name."""
        rows = list(zip(ids, range(len(ids)), strict=True))
        self._session.createDataFrame(rows, "id string, i int").createOrReplaceTempView(name)
        return self._connection.table(name)

    def numbers(self, name: str, values: Sequence[int]) -> Table:
        """Returns a small table of whole numbers (v) and their positions (i), under a name."""
        rows = list(enumerate(values))
        self._session.createDataFrame(rows, "i int, v bigint").createOrReplaceTempView(name)
        return self._connection.table(name)

    def keep(self, name: str, expression: Table) -> Table:
        """Returns what an expression gives as a table that stays with the engine."""
        found = self._session.sql(self._connection.compile(expression)).persist()
        if name in self._kept:
            self._kept[name].unpersist()
        self._kept[name] = found
        found.createOrReplaceTempView(name)
        return self._connection.table(name)

    def columns(self, expression: Table) -> Columns:
        """Returns the rows of an expression, column by column."""
        found = self._session.sql(self._connection.compile(expression)).toArrow()
        return {name: found[name].to_numpy() for name in found.column_names}


def engine_of(name: str) -> Engine:
    """Returns the engine of a name."""
    return Spark() if name == "spark" else DuckDb()
