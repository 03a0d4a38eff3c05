"""A database that the devices' book reads and writes, without a unit of work around it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from edge_agent.shell.sqlite_db import open_for_writing


class Book:
    """A database as a batch writes it, one row at a time."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self.database = database

    def query(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Rows of the database."""
        return self.database.execute(sql, parameters).fetchall()

    def add(self, table: str, row: tuple[Any, ...]) -> None:
        """Writes a row."""
        marks = ", ".join("?" * len(row))
        self.database.execute(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", row)  # noqa: S608 - names of ours


@contextmanager
def opened_book(folder: Path) -> Iterator[Book]:
    """A new database."""
    with closing(open_for_writing(folder / "state.db")) as database:
        # Each row would wait for the disk, and nobody asks here what a power cut leaves.
        database.execute("PRAGMA synchronous = OFF")
        yield Book(database)
