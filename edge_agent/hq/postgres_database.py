"""HQ's database on PostgreSQL: many receivers beside each other, replicas, backups.

The only importer of psycopg, which is the extra `postgres`. A lost connection is opened again by
the next transaction.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, Final

import psycopg
from psycopg.rows import dict_row

from edge_agent.errors import StoreBusy
from edge_agent.hq.database import BadValueError, Row, Value

CONNECT_TIMEOUT_S: Final = 10
# Any number that no other program on the same database takes for its advisory lock.
_MIGRATION_LOCK: Final = 0x6564_6765
_PARAMETER: Final = re.compile(r":([a-z_]+)")


class PostgresDatabase:
    """One connection to HQ's PostgreSQL.

    Args:
        url: `postgresql://…`; a password is better kept in `~/.pgpass` or `PGPASSWORD`.

    Raises:
        StoreBusy: The server cannot be reached.
    """

    spelling: Mapping[str, str] = {
        "integer": "BIGINT",
        "identity": "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
        "strict": "",
    }

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = threading.RLock()
        self._connection = _connected(url)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commits durably at the end, rolls back on an exception."""
        with self._lock, _translated():
            if self._connection.closed:
                self._connection = _connected(self._url)
            with self._connection.transaction():
                yield

    @contextmanager
    def migration(self) -> Iterator[None]:
        """A transaction that waits for any other process's migration."""
        with self.transaction():
            self.query("SELECT pg_advisory_xact_lock(:lock)", {"lock": _MIGRATION_LOCK})
            yield

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Rolls back to its beginning on an exception."""
        with self._connection.transaction():
            yield

    def execute(self, sql: str, parameters: Row) -> int:
        """Runs a statement and returns how many rows it changed."""
        with self._lock, _translated():
            return self._connection.execute(_spelled(sql), parameters).rowcount

    def execute_many(self, sql: str, rows: Sequence[Row]) -> None:
        """Runs a statement for each row."""
        with self._lock, _translated(), self._connection.cursor() as cursor:
            cursor.executemany(_spelled(sql), rows)

    def query(self, sql: str, parameters: Row) -> list[Row]:
        """Returns a statement's rows; outside a transaction it sees the last commit."""
        with self.transaction():
            rows = self._connection.execute(_spelled(sql), parameters).fetchall()
        return [{name: _whole(value) for name, value in row.items()} for row in rows]

    def close(self) -> None:
        """Closes the connection."""
        with self._lock:
            self._connection.close()


def _connected(url: str) -> psycopg.Connection[dict[str, Any]]:
    with _translated():
        return psycopg.connect(
            url, row_factory=dict_row, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S
        )


def _spelled(sql: str) -> str:
    return _PARAMETER.sub(r"%(\1)s", sql)


def _whole(value: Any) -> Value:
    # PostgreSQL adds up whole numbers as NUMERIC.
    return int(value) if isinstance(value, Decimal) else value


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (UnicodeEncodeError, psycopg.DataError, psycopg.IntegrityError) as error:
        raise BadValueError(type(error).__name__) from error
    except psycopg.Error as error:
        # The message names host and user, never the password.
        raise StoreBusy(
            f"PostgreSQL: {str(error).strip() or type(error).__name__}",
            hint="is the server up, and may this user create tables?",
        ) from error
