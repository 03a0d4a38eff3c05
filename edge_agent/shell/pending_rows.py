"""The rows of the batch that is open, by table, until they are written in one go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_agent.domain.visitor import IDENTIFIED_KINDS
from edge_agent.shell.batch_sql import ORDER, SQL

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Sequence

    from edge_agent.shell.rows import Row

# Its rows get their ids when they are written, and go last.
OUTBOX: Final = "outbox"


class PendingRows:
    """Rows by the name of the statement that writes them.

    Attributes:
        stating: Whose statements, or identifiers, these rows touch.
    """

    def __init__(self) -> None:
        self._rows: dict[str, list[Row]] = {}
        self.stating: set[str] = set()

    def add(self, table: str, row: Row) -> None:
        """Queues a row for one of the batch's statements."""
        self._rows.setdefault(table, []).append(row)
        if table in {"consent", "complaint"}:
            self.stating.add(row[0])
        elif table == "link" and (row[0] == "visitor" or row[0] in IDENTIFIED_KINDS):
            self.stating.update(row[1:3])
        elif table == "link_moved":
            self.stating.update(row[:2])

    def extend(self, table: str, rows: Iterable[Row]) -> None:
        """Queues rows of a table that holds nothing of people."""
        self._rows.setdefault(table, []).extend(rows)

    def drop(self, table: str, is_gone: Callable[[Row], bool]) -> None:
        """Takes queued rows out again."""
        waiting = self._rows.get(table, [])
        waiting[:] = [row for row in waiting if not is_gone(row)]

    def of(self, table: str) -> Sequence[Row]:
        """Returns the rows that are queued for a table."""
        return self._rows.get(table, ())

    @property
    def is_empty(self) -> bool:
        """Whether nothing was queued."""
        return not self._rows

    def write(self, connection: sqlite3.Connection) -> None:
        """Writes all but the outbox, parents before what refers to them."""
        for table in ORDER:
            pending = self._rows.get(table)
            if pending and table != OUTBOX:
                connection.executemany(SQL[table], pending)

    def write_outbox(self, connection: sqlite3.Connection, *, first_id: int) -> list[int]:
        """Writes the outbox and returns the ids of its rows, which begin with the first."""
        waiting = self.of(OUTBOX)
        ids = list(range(first_id, first_id + len(waiting)))
        connection.executemany(
            SQL[OUTBOX], [(i, *row) for i, row in zip(ids, waiting, strict=True)]
        )
        return ids
