"""Kills an agent again and again on its way through a morning.

Three kinds of kills, mixed by a seed: on a machine that has no database yet, within the first half
second of a start, and while the agent works through the morning, evenly spread over it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

from tests.e2e.store import Outcome, StoreUnderTest, running_store
from tests.e2e.stream import Morning, probe_name
from tests.e2e.waiting import DEADLINE_S, wait_until

STARTUP_SHARE: Final = 0.25
STARTUP_S: Final = 0.5
"""A start is killed this soon; an agent that is ready takes about a second."""
FIRST_STARTS: Final = 2
"""Kills before there is a database."""
AFTER_PROBE_S: Final = 0.05
"""A working agent is killed at most this long after it has passed a chosen place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CrashRun:
    """What a run with kills left behind.

    Attributes:
        ready_s: Seconds from each start that was waited for to its being subscribed.
        n_kills: How often it was killed.
    """

    outcome: Outcome
    ready_s: list[float]
    n_kills: int


def run_with_kills(
    folder: Path,
    day: Morning,
    *,
    n_kills: int,
    seed: int,
    fault: str | None = None,
    patience_s: float = DEADLINE_S,
    hold_back_s: float = 0.0,
) -> CrashRun:
    """Kills the agent so often, lets it finish, and returns what it left behind.

    Raises:
        NotInTimeError: It does not get as far as it must within `patience_s`.
    """
    chance = Random(seed)
    n_startup = round(n_kills * STARTUP_SHARE)
    n_working = n_kills - n_startup
    with running_store(folder, fault=fault, hold_back_s=hold_back_s) as store:
        store.patience_s = patience_s
        for _ in range(min(FIRST_STARTS, n_startup)):
            kill_while_starting(store, chance)
        store.start_agent()
        store.open_day(day)
        store.agent.kill()
        store.publish(day.day)
        kinds = ["starting"] * (n_startup - FIRST_STARTS) + ["working"] * (n_working - 1)
        chance.shuffle(kinds)
        places = sorted(chance.sample(range(day.n_probes), n_working - 1), reverse=True)
        for kind in kinds:
            if kind == "starting":
                kill_while_starting(store, chance)
            else:
                kill_while_working(store, places.pop(), chance)
        store.start_agent()
        store.close_day()
        return CrashRun(outcome=store.outcome(), ready_s=store.ready_s, n_kills=n_kills)


def kill_while_starting(store: StoreUnderTest, chance: Random) -> None:
    """Starts the agent and kills it before it can be ready."""
    moment_s = time.monotonic() + chance.uniform(0.0, STARTUP_S)
    store.agent.start()
    wait_until(moment_s)
    store.agent.kill()


def kill_while_working(store: StoreUnderTest, place: int, chance: Random) -> None:
    """Starts the agent and kills it soon after it has committed a place of the morning."""
    store.start_agent()
    store.wait_receipt(probe_name(place))
    wait_until(time.monotonic() + chance.uniform(0.0, AFTER_PROBE_S))
    store.agent.kill()
