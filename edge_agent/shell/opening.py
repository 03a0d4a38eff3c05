"""Opening the state at a start: the database held against its second copy, or one made from that.

A database that cannot be read, or cannot be brought to say what its second copy knows, is set
aside under another name, and a new one is begun with what the second copy holds.
"""

from __future__ import annotations

import json
import logging
import sqlite3
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Final

from edge_agent.errors import EdgeAgentError, StoreCorrupt, StoreFull
from edge_agent.shell.second_copy import Compared
from edge_agent.shell.sqlite_db import open_for_writing, rot_of, store_error

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_agent.ports import Clock
    from edge_agent.shell.reserve import Reserve
    from edge_agent.shell.second_copy import SecondCopy

log = logging.getLogger(__name__)

ENDS_OF_ROT: Final = 2
"""Ends in a row by SQL that was never wrong, after which a database is set aside: one may be an
accident. What SQLite itself calls damage is enough once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a start made of the database that it found.

    Attributes:
        compared: What the second copy said about it, or about the one begun anew.
        set_aside: Why it was set aside; empty when it was not.
    """

    compared: Compared = field(default_factory=Compared)
    set_aside: str = ""

    def counts(self) -> dict[str, int]:
        """Returns what is counted of it, by counter."""
        counts = {
            "databases_set_aside": int(bool(self.set_aside)),
            "second_copy_restored": self.compared.n_restored,
            "second_copy_refused": self.compared.n_refused,
            "second_copy_damaged": int(self.compared.was_damaged),
        }
        return {name: n for name, n in counts.items() if n}

    def problems(self) -> tuple[str, ...]:
        """Returns what the agent's state says of it."""
        told = {
            "database_set_aside": self.set_aside,
            "statements_lost": self.compared.lost_at_ms is not None,
        }
        return tuple(name for name, is_so in told.items() if is_so)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Noted:
    """How often in a row the agent ended because of its database, and why."""

    n_ends: int
    why: str


class Opening:
    """Opens the database, and begins a new one where it must.

    Args:
        path: Of the database.
        durability: What a commit survives.
        second_copy: What people stated, a second time.
        reserve: Given up when even opening finds no room.
        clock: Tells the present.
        open_keys: Makes the store's keys ready; given the database, or None where there is none.
    """

    def __init__(
        self,
        path: Path,
        *,
        durability: str,
        second_copy: SecondCopy,
        reserve: Reserve,
        clock: Clock,
        open_keys: Callable[[sqlite3.Connection | None], None],
    ) -> None:
        self._path = path
        self._durability = durability
        self._second_copy = second_copy
        self._reserve = reserve
        self._clock = clock
        self._open_keys = open_keys
        self.found = Found()
        self._mark = path.with_name(f"{path.name}.rotten")

    def open(self) -> sqlite3.Connection:
        """Returns the writer's connection to a database that says what people stated.

        Raises:
            StoreError: Not even a new one can be opened.
        """
        noted = self._noted()
        if noted is not None and noted.n_ends >= ENDS_OF_ROT:
            return self.begin_anew(noted.why)
        try:
            return self._compared(self._connect())
        except StoreCorrupt as error:
            return self.begin_anew(error.message)

    def note_end(self, error: Exception | None) -> None:
        """Notes for the next start how the agent ended; None is in order.

        What rots while it runs shows where it is read, which a start need not do: without this
        the agent would start and end for ever.
        """
        if error is None:
            self._mark.unlink(missing_ok=True)
            return
        found = store_error(error, self._path) if isinstance(error, sqlite3.Error) else error
        if isinstance(found, StoreCorrupt):
            n_ends = ENDS_OF_ROT
        elif isinstance(error, sqlite3.Error) and rot_of(error, self._path) is not None:
            before = self._noted()
            n_ends = 1 + (0 if before is None else before.n_ends)
        else:
            return
        noted = {"n_ends": n_ends, "why": str(found)}
        try:
            self._mark.write_text(json.dumps(noted), encoding="utf-8")
        except OSError:
            # A disk that rots may be full or read-only as well; how it ended must still be told.
            log.exception("end_not_noted")

    def _noted(self) -> _Noted | None:
        try:
            told = json.loads(self._mark.read_text(encoding="utf-8"))
            return _Noted(n_ends=int(told["n_ends"]), why=str(told["why"]))
        except (OSError, ValueError, LookupError, TypeError):
            return None

    def begin_anew(self, why: str) -> sqlite3.Connection:
        """Sets a damaged database aside and returns the connection to a new one.

        Args:
            why: What is wrong with it; its connections are closed.
        """
        log.error("database_set_aside", extra={"fields": {"error": why}})
        self._mark.unlink(missing_ok=True)
        self._open_keys(None)
        self._second_copy.brace(now_ms=self._now_ms())
        for suffix in ("", "-wal", "-shm"):
            # Kept for whoever looks into it.
            damaged = self._path.with_name(self._path.name + suffix)
            if damaged.exists():
                damaged.rename(self._path.with_name(f"{self._path.name}{suffix}.damaged"))
        self.found = Found(set_aside=why)
        return self._compared(self._connect())

    def _connect(self) -> sqlite3.Connection:
        try:
            return open_for_writing(self._path, durability=self._durability)
        except StoreFull:
            # Even opening takes some room.
            self._reserve.release()
            return open_for_writing(self._path, durability=self._durability)

    def _compared(self, connection: sqlite3.Connection) -> sqlite3.Connection:
        try:
            self._open_keys(connection)
            compared = self._second_copy.compare(connection, now_ms=self._now_ms())
        except EdgeAgentError:
            connection.close()
            raise
        self.found = replace(self.found, compared=compared)
        if self.found.counts():
            log.warning("statements_compared", extra={"fields": asdict(compared)})
        return connection

    def _now_ms(self) -> int:
        """Returns the present, as far as clock and database know it."""
        try:
            with closing(sqlite3.connect(f"file:{self._path}?mode=ro", uri=True)) as database:
                row = database.execute("SELECT value FROM meta WHERE key = 'now_ms'").fetchone()
                last_ms = 0 if row is None else int(row[0])
        except (sqlite3.Error, ValueError):
            last_ms = 0
        return max(last_ms, self._clock.now_ms())
