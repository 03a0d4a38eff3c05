"""Kills starts of an agent, wherever they are or where they have got to a place.

Most of a start is imports: an instant drawn over all of it seldom finds the database open. So half
of the kills wait until the start is seen to have opened it, or to have connected. A new machine's
first starts are killed while they make the tables.
"""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from enum import Enum, auto
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Final

from edge_agent.shell.sqlite_db import SCHEMA_VERSION
from tests.e2e.store import StoreUnderTest
from tests.e2e.waiting import wait_for, wait_until

FIRST_STARTS: Final = 4
"""Kills before the database has all its tables."""
TABLES_LOG_BYTES: Final = 200_000
"""So far at least the write-ahead log grows while the tables of a new database are made."""
ANYWHERE: Final = 1.1
"""An instant is drawn over this much of the last start's time until it was subscribed."""
OPEN: Final = 0.25
"""And after the database was opened, over so much of it: about what is left then."""
CONNECTING_S: Final = 0.02
"""Subscribing follows on the connection within less."""
LOOK_EVERY_S: Final = 0.005
LOOK_CLOSELY_S: Final = 0.001


class Aim(Enum):
    """Where a start is killed: at any instant, soon after a place, right after it."""

    ANYWHERE = auto()
    OPEN = auto()
    CONNECTED = auto()


AIMS: Final = (Aim.ANYWHERE, Aim.OPEN, Aim.ANYWHERE, Aim.CONNECTED)
"""Aims of a run's start kills, taken in turn."""


class Reached(Enum):
    """How far a start had got, at the least, when it was killed."""

    NOTHING = "no database open"
    MAKING_TABLES = "making its tables"
    OPEN = "database open"
    CONNECTED = "connected"


def kill_first_starts(
    store: StoreUnderTest, chance: Random, *, n: int = FIRST_STARTS
) -> list[Reached]:
    """Kills starts on a new machine, each where the one before had not come, and tells where."""
    reached = []
    for number in range(n):
        if n_migrations(store.database) == SCHEMA_VERSION:
            # It was quicker than we looked. Nothing was published yet: the next one is new again.
            shutil.rmtree(store.database.parent)
        grown = (number + chance.random()) / n * TABLES_LOG_BYTES
        reached.append(_kill_making_tables(store, grown))
    return reached


def kill_start(store: StoreUnderTest, aim: Aim, chance: Random) -> Reached:
    """Kills a start on a machine that had one which was ready, and tells how far it had got."""
    ready_s = store.ready_s[-1]
    began_s = time.monotonic()
    store.agent.start()
    match aim:
        case Aim.ANYWHERE:
            wait_until(began_s + chance.uniform(0.0, ANYWHERE * ready_s))
        case Aim.OPEN:
            _watch(store, lambda: _is_open(store), every_s=LOOK_EVERY_S)
            wait_until(time.monotonic() + chance.uniform(0.0, OPEN * ready_s))
        case Aim.CONNECTED:
            _watch(store, lambda: _is_open(store), every_s=LOOK_EVERY_S)
            _watch(store, lambda: _is_connected(store), every_s=LOOK_CLOSELY_S)
            wait_until(time.monotonic() + chance.uniform(0.0, CONNECTING_S))
    return _kill(store)


def n_migrations(database: Path) -> int:
    """Returns how many migrations a database has that nobody has open, and leaves it untouched."""
    if not database.exists():
        return 0
    with TemporaryDirectory() as folder:
        for each in database.parent.glob(f"{database.name}*"):
            shutil.copy(each, folder)
        with closing(sqlite3.connect(Path(folder) / database.name)) as copy:
            query = "SELECT count(*) FROM sqlite_master WHERE name = '_sqlite_migrations'"
            if not copy.execute(query).fetchone()[0]:
                return 0
            return int(copy.execute("SELECT count(*) FROM _sqlite_migrations").fetchone()[0])


def _kill_making_tables(store: StoreUnderTest, grown: float) -> Reached:
    """Kills a start whose log of the database has grown so far, in bytes, and beyond before."""
    log, second_copy = (Path(f"{store.database}{suffix}") for suffix in ("-wal", ".second"))
    wanted = max(grown, _size(log) + 1)
    store.agent.start()
    # The second copy comes right after the tables.
    _watch(store, lambda: _size(log) >= wanted or second_copy.exists(), every_s=LOOK_CLOSELY_S)
    return _kill(store)


def _kill(store: StoreUnderTest) -> Reached:
    is_open, is_connected = _is_open(store), _is_connected(store)
    store.agent.kill()
    if not is_open:
        return Reached.NOTHING
    if n_migrations(store.database) < SCHEMA_VERSION:
        return Reached.MAKING_TABLES
    return Reached.CONNECTED if is_connected else Reached.OPEN


def _watch(store: StoreUnderTest, condition: Callable[[], bool], *, every_s: float) -> None:
    wait_for(
        condition,
        f"a start gets as far as it is to be killed; its log: {store.agent.log}",
        while_true=lambda: store.agent.is_alive,
        poll_s=every_s,
    )


def _is_open(store: StoreUnderTest) -> bool:
    return store.agent.has_open(store.database)


def _is_connected(store: StoreUnderTest) -> bool:
    return store.agent.is_connected_to(store.link.port)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
