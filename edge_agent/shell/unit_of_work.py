"""One batch, one transaction: dedupe marks, state, decisions, dead letters and outbox rows.

Steps are laid over the state as they come. `commit` writes everything they led to in one
transaction; only after it returns may messages be acknowledged and the outbox sent. Whatever
fails before leaves the disk as it was, and the state is read again from it.
"""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING, Any

from edge_agent.errors import StoreCorrupt, StoreError, StoreRefused
from edge_agent.shell.changed_values import ChangedValues
from edge_agent.shell.effect_rows import EffectRows
from edge_agent.shell.pending_rows import OUTBOX, PendingRows
from edge_agent.shell.purchase_joins import join_purchases
from edge_agent.shell.sqlite_db import store_error

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from edge_agent.domain.effects import Change, Effect
    from edge_agent.ports import SecondCopy
    from edge_agent.shell.rows import Row
    from edge_agent.shell.state_store import StateStore


class UnitOfWork:
    """Collects what a batch changes and writes it at once.

    Args:
        connection: The writer's.
        state: What is held in memory of it.
        path: Of the database, for errors.
        period_ms: Length of a summary's period.
        second_copy: What people state goes there too, before it is committed; None keeps one copy.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        state: StateStore,
        *,
        path: Path,
        period_ms: int,
        second_copy: SecondCopy | None = None,
    ) -> None:
        self._db = connection
        self._second_copy = second_copy
        self._state = state
        self._path = path
        self._period_ms = period_ms
        row = connection.execute(
            "SELECT seq FROM sqlite_sequence WHERE name = 'outbox'"
        ).fetchone()
        # Never used twice, also after the newest rows were sent and deleted.
        self._next_outbox_id = 1 if row is None else int(row[0]) + 1
        self._begin()

    def _begin(self) -> None:
        self._pending = PendingRows()
        self._values = ChangedValues(self._pending, self._state)
        self._effects = EffectRows(self._pending, self._state, period_ms=self._period_ms)
        self._erased: list[tuple[str, Row]] = []

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write."""
        return (
            self._pending.is_empty
            and self._values.is_empty
            and not self._effects.joins
            and not self._erased
        )

    # --- what was written before this batch ---------------------------------------------------

    def has_seen(self, mark: int) -> bool:
        """Returns whether an event was taken in before this batch."""
        found = self._db.execute("SELECT 1 FROM inbox WHERE mark = ?", (mark,)).fetchone()
        return found is not None

    def seen_among(self, marks: set[int]) -> set[int]:
        """Returns those marks whose events were taken in before this batch."""
        if not marks:
            return set()
        found = self._db.execute(
            "SELECT i.mark FROM json_each(?) j JOIN inbox i ON i.mark = j.value",
            (json.dumps(list(marks)),),
        )
        return {int(mark) for (mark,) in found}

    def query(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[Row]:
        """Returns rows of the state as it was before this batch; literal SQL of ours only."""
        return self._db.execute(sql, parameters).fetchall()

    def is_rot(self, error: Exception) -> bool:
        """Returns whether an error says that the database is damaged, and nothing else."""
        if isinstance(error, sqlite3.Error):
            return isinstance(store_error(error, self._path), StoreCorrupt)
        return isinstance(error, StoreCorrupt)

    # --- collecting ---------------------------------------------------------------------------

    def add(self, table: str, row: Row) -> None:
        """Queues a row for one of the statements in `batch_sql`."""
        self._pending.add(table, row)

    def put(self, change: Change) -> None:
        """Takes in one changed value."""
        self._values.put(change)
        self._state.put(change)

    def carry_out(self, effect: Effect) -> None:
        """Queues the rows of one effect that is written down."""
        self._effects.take(effect)

    def erase(self, statements: Iterable[tuple[str, Row]]) -> None:
        """Queues deletions that come after all else of this batch; literal SQL of ours only.

        What is held in memory is read again right after the commit, before anything else is
        taken in: a cached visit of somebody who is gone must not be written again.
        """
        self._erased.extend(statements)

    # --- writing ------------------------------------------------------------------------------

    def commit(self) -> list[int]:
        """Writes everything in one transaction and returns the ids of the new outbox rows.

        Raises:
            StoreError: Nothing was written; the state was read again from the disk.
        """
        try:
            outbox_ids = self._write()
        except sqlite3.Error as error:
            self.roll_back()
            raise store_error(error, self._path) from error
        except StoreError:
            self.roll_back()
            raise
        except Exception as error:
            # No row comes of it, or none that SQLite has a type for: an error of ours.
            self.roll_back()
            what = f"{self._path}: {type(error).__name__}: {error}"
            raise StoreRefused(what, hint="see edge-agent doctor") from error
        if self._second_copy is not None:
            self._second_copy.committed()
        self._state.forget_unsaved()
        if self._erased:
            self._state.reload()
        self._begin()
        return outbox_ids

    def roll_back(self) -> None:
        """Leaves the disk as it was and reads the state again from it."""
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")
        if self._second_copy is not None:
            self._second_copy.rolled_back()
        self._begin()
        self._state.reload()

    def _write(self) -> list[int]:
        self._db.execute("BEGIN IMMEDIATE")
        self._values.queue()
        self._pending.write(self._db)
        for join in self._effects.joins:
            join_purchases(self._db, join)
        for statement, parameters in self._erased:
            self._db.execute(statement, parameters)
        first_id = self._next_outbox_id
        self._next_outbox_id += len(self._pending.of(OUTBOX))
        outbox_ids = self._pending.write_outbox(self._db, first_id=first_id)
        self._stage()
        self._db.execute("COMMIT")
        return outbox_ids

    def _stage(self) -> None:
        if self._second_copy is not None:
            tombstones = self._pending.of("tombstone")
            if self._erased:
                # Whoever is gone leaves the second copy too, as soon as this is committed.
                self._second_copy.stage_anew()
            elif self._pending.stating or tombstones:
                self._second_copy.stage(
                    self._pending.stating, [(row[0], row[1]) for row in tombstones]
                )
