"""What HQ's store asks of a database.

Two adapters keep this promise, `sqlite_database` and `postgres_database`; one contract suite runs
against both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

Value = str | int | None
Row = Mapping[str, Value]


class BadValueError(Exception):
    """A value that the database will never take, such as a number beyond 64 bits."""


class Database(Protocol):
    """A connection; usable from several threads, one transaction at a time.

    A `StoreError` means that the same transaction may be tried again later; a `BadValueError`
    that this row will never do.
    """

    @property
    def spelling(self) -> Mapping[str, str]:
        """How this database writes the words in braces of `schema.py`."""

    def transaction(self) -> AbstractContextManager[None]:
        """Commits durably at the end, rolls back on an exception."""

    def migration(self) -> AbstractContextManager[None]:
        """A transaction that no other process shares, for changing the tables."""

    def savepoint(self) -> AbstractContextManager[None]:
        """Rolls back to its beginning on an exception; inside a transaction only."""

    def execute(self, sql: str, parameters: Row) -> int:
        """Runs a statement and returns how many rows it changed."""

    def execute_many(self, sql: str, rows: Sequence[Row]) -> None:
        """Runs a statement for each row."""

    def query(self, sql: str, parameters: Row) -> list[Row]:
        """Returns a statement's rows, column name to value."""

    def close(self) -> None:
        """Gives the connection back."""
