"""Kills an agent again and again on its way through a morning.

Three kinds of kills, mixed by a seed: on a machine that has no whole database yet, in the course
of a start (both in `killed_starts`), and while the agent works through the morning, evenly spread
over it.
"""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from random import Random
from typing import Final

from edge_agent.shell.sqlite_db import open_for_reading
from tests.e2e.agent_process import SET_ASIDE
from tests.e2e.deliveries import forgotten
from tests.e2e.killed_starts import AIMS, FIRST_STARTS, Reached, kill_first_starts, kill_start
from tests.e2e.store import Outcome, StoreUnderTest, running_store
from tests.e2e.stream import Morning, probe_name
from tests.e2e.waiting import wait_until

STARTUP_SHARE: Final = 0.4
"""So many of the kills hit starts, few of them on a new machine."""
AFTER_PROBE_S: Final = 0.05
"""A working agent is killed at most this long after it has passed a chosen place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CrashRun:
    """What a run with kills left behind.

    Attributes:
        ready_s: Seconds from each start that was waited for to its being subscribed.
        n_kills: How often it was killed.
        starts: How far each start that was killed had got; the first ones are a new machine's.
        n_lost: Events that the broker was told to forget and the agent does not know.
        n_set_aside: How often a start took what a kill had left for a damaged database.
    """

    outcome: Outcome
    ready_s: list[float]
    n_kills: int
    starts: list[Reached]
    n_lost: int
    n_set_aside: int


def run_with_kills(
    folder: Path,
    day: Morning,
    *,
    n_kills: int,
    seed: int,
    hold_back_s: float = 0.0,
) -> CrashRun:
    """Kills the agent so often, lets it finish, and returns what it left behind.

    Args:
        folder: Where everything goes.
        day: What is published.
        n_kills: How often.
        seed: Decides where.
        hold_back_s: The agent's setting.
    """
    chance = Random(seed)
    n_starting = round(n_kills * STARTUP_SHARE)
    n_working = n_kills - n_starting
    with running_store(folder, hold_back_s=hold_back_s) as store:
        starts = kill_first_starts(store, chance, n=min(FIRST_STARTS, n_starting // 2))
        open_killed(store, day)
        aims = islice(cycle(AIMS), n_starting - len(starts))
        kinds = [*aims, *[None] * (n_working - 1)]
        chance.shuffle(kinds)
        places = sorted(chance.sample(range(day.n_probes), n_working - 1), reverse=True)
        for aim in kinds:
            if aim is None:
                kill_while_working(store, places.pop(), chance)
            else:
                starts.append(kill_start(store, aim, chance))
        store.start_agent()
        store.close_day()
        return CrashRun(
            outcome=store.outcome(),
            ready_s=store.ready_s,
            n_kills=n_kills,
            starts=starts,
            n_lost=n_lost(store),
            n_set_aside=n_set_aside(store),
        )


def open_killed(store: StoreUnderTest, day: Morning) -> None:
    """Opens the day, kills the agent, and publishes all the rest of it."""
    store.start_agent()
    store.open_day(day)
    store.agent.kill()
    store.publish(day.day)


def kill_while_working(store: StoreUnderTest, place: int, chance: Random) -> None:
    """Starts the agent and kills it soon after it has committed a place of the morning."""
    store.start_agent()
    store.wait_receipt(probe_name(place))
    wait_until(time.monotonic() + chance.uniform(0.0, AFTER_PROBE_S))
    store.agent.kill()


def kill_before_acknowledgement(store: StoreUnderTest, place: int) -> None:
    """Kills the agent when a place is committed and not acknowledged; needs `acknowledge_late`."""
    hold = store.folder / f"{probe_name(place)}.hold"
    hold.touch()
    store.start_agent()
    store.wait_receipt(probe_name(place))
    store.agent.kill()
    hold.unlink()


def n_lost(store: StoreUnderTest) -> int:
    """Returns how many events an ended agent does not know and told the broker to forget."""
    with closing(open_for_reading(store.database)) as database:
        kept = {int(mark) for (mark,) in database.execute("SELECT mark FROM inbox")}
    return len(forgotten(store.link) - kept)


def n_set_aside(store: StoreUnderTest) -> int:
    """Returns how often a start gave up the database that it found."""
    return sum(each["event"] == SET_ASIDE for each in store.agent.events())
