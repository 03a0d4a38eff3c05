"""HQ's database as one SQLite file: the default, and all that a pilot needs.

The journal is a rollback journal, not a WAL: `hq run` and `hq send` are two processes that write,
and SQLite before 3.51.3 can corrupt a WAL database when two connections write or checkpoint at
once. HQ commits a batch at a time, so the slower journal is not what bounds it.

Source: https://sqlite.org/wal.html, "The WAL-reset bug".
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from edge_agent.errors import StoreBusy, StoreCorrupt, StoreError, StoreFull
from edge_agent.hq.database import BadValueError, Row

# How long a writer waits for another one: a batch commits in well under a second.
BUSY_TIMEOUT_MS: Final = 10_000

_PRAGMAS: Final = (
    f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}",
    "PRAGMA journal_mode = TRUNCATE",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA secure_delete = ON",
)


class SqliteDatabase:
    """One connection to HQ's file, which it makes when it is not there.

    Raises:
        StoreError: The file cannot be opened or is no database.
    """

    spelling: Mapping[str, str] = {
        "integer": "INTEGER",
        "identity": "INTEGER PRIMARY KEY",
        "strict": "STRICT",
    }

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        with _translated(path):
            # Autocommit mode: the transactions below are all there are.
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            for pragma in _PRAGMAS:
                self._connection.execute(pragma)
        self._connection.row_factory = sqlite3.Row
        self._path = path

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commits durably at the end, rolls back on an exception."""
        with self._lock, _translated(self._path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    # SQLite has one writer anyway.
    migration = transaction

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Rolls back to its beginning on an exception."""
        self._connection.execute("SAVEPOINT message")
        try:
            yield
        except BadValueError:
            self._connection.execute("ROLLBACK TO message")
            raise
        finally:
            # An error such as a full disk may have ended the transaction, savepoints and all.
            if self._connection.in_transaction:
                self._connection.execute("RELEASE message")

    def execute(self, sql: str, parameters: Row) -> int:
        """Runs a statement and returns how many rows it changed."""
        with self._lock, _translated(self._path):
            return self._connection.execute(sql, parameters).rowcount

    def execute_many(self, sql: str, rows: Sequence[Row]) -> None:
        """Runs a statement for each row."""
        with self._lock, _translated(self._path):
            self._connection.executemany(sql, rows)

    def query(self, sql: str, parameters: Row) -> list[Row]:
        """Returns a statement's rows."""
        with self._lock, _translated(self._path):
            return [dict(row) for row in self._connection.execute(sql, parameters)]

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            self._connection.close()


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except (OverflowError, UnicodeEncodeError, sqlite3.DataError, sqlite3.IntegrityError) as error:
        raise BadValueError(str(error)) from error
    except sqlite3.Error as error:
        raise _store_error(error, path) from error


def _store_error(error: sqlite3.Error, path: Path) -> StoreError:
    match getattr(error, "sqlite_errorname", ""):
        case "SQLITE_BUSY" | "SQLITE_LOCKED":
            return StoreBusy(f"{path} is held by another process")
        case "SQLITE_FULL":
            return StoreFull(f"no space is left for {path}", hint="free some space")
        case "SQLITE_CORRUPT" | "SQLITE_NOTADB":
            return StoreCorrupt(f"{path} is not a sound database", hint="restore it from a backup")
        case _:
            return StoreError(f"{path}: {error}", hint="is the folder there and writable?")
