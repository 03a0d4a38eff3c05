"""How fast what waits at the broker is taken in: the agent and a counting client by turns.

The subscriber is frozen while the events are published, so that the broker holds all of them,
and let go at the instant from which its time counts. So neither starting nor publishing is
measured, and the load does not fight with what is measured for the processor.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from tests.bench.measured import Aim, Measured
from tests.bench.processes import (
    BROKER,
    NO_SCREEN,
    ONE_SCREEN,
    BenchedAgent,
    benched_agent,
    paho_peer,
    processor_s,
    profile_path,
    profile_text,
    said,
)
from tests.bench.setting import Setting
from tests.bench.wire_client import flood
from tests.integration.broker import running_broker

COUNTING: Final = "paho 5 counting"
# The store's name under which the counting client's events are asked for.
COUNTED: Final = "counted"

Events = Callable[[str], Iterable[tuple[str, bytes]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flood:
    """What is sent to the agent and to the counting client.

    Attributes:
        name: Of its folders and profile.
        n_events: How many events `events` yields for a store.
        events: What is measured.
        asks: Whether each of them asks for a decision.
        before: What is sent to the agent first, and not measured.
        n_before: How many events that is.
        layout: The agent's zones, screens and mappings, in TOML.
        counted_on: The filter that brings the counting client's events.
    """

    name: str
    n_events: int
    events: Events
    asks: bool = False
    before: Events | None = None
    n_before: int = 0
    layout: str = NO_SCREEN
    counted_on: str = f"store/{COUNTED}/event/+"


@dataclass(frozen=True, slots=True)
class Pace:
    """Events a second, and microseconds of processor time for each."""

    events_s: float
    processor_us: float


def measured(
    setting: Setting, given: Flood, *, name: str, note: str, n_rounds: int, aim: Aim | None
) -> tuple[Measured, ...]:
    """Returns the rate and the processor time of the agent beside the counting client's.

    The processor time hardly changes when others use the machine as well; the rate does.
    """
    ours, theirs = _paces(setting, given, n_rounds=n_rounds)
    rate = Measured(
        name=name,
        unit="events/s",
        values=tuple(each.events_s for each in ours),
        baseline=tuple(each.events_s for each in theirs),
        against=COUNTING,
        aim=aim,
        note=note,
        explain=partial(_explained, setting, given),
    )
    cost = Measured(
        name=f"{name}: processor time each",
        unit="us",
        values=tuple(each.processor_us for each in ours),
        baseline=tuple(each.processor_us for each in theirs),
        against=COUNTING,
        note="user and system, all threads",
    )
    return rate, cost


def agent_pace(setting: Setting, port: int, given: Flood, *, profile: Path | None = None) -> Pace:
    """Returns the pace at which a new agent commits."""
    made = BenchedAgent(
        folder=setting.place(given.name),
        port=port,
        layout=ONE_SCREEN if given.asks else given.layout,
        profile=profile,
    )
    with benched_agent(made) as agent:
        if given.asks:
            agent.wait_default()
        if given.before is not None:
            flood(port, given.before(agent.store))
            agent.wait_events(given.n_before)
        agent.freeze()
        flood(port, given.events(agent.store))
        n_decisions = agent.n_rows("decision")
        before_s, began_s = processor_s(agent.pid), time.monotonic()
        agent.thaw()
        ended_s = agent.wait_events(given.n_before + given.n_events)
        taken_s = processor_s(agent.pid) - before_s
        wanted = given.n_events if given.asks else 0
        decided = agent.n_rows("decision") - n_decisions
        assert decided == wanted, f"{decided} decisions, not {wanted}"
    return _pace(given, ended_s - began_s, taken_s)


def counted_pace(port: int, given: Flood) -> Pace:
    """Returns the pace at which the counting client takes them."""
    with paho_peer("count", port, given.counted_on, str(given.n_events)) as process:
        os.kill(process.pid, signal.SIGSTOP)
        flood(port, given.events(COUNTED))
        before_s, began_s = processor_s(process.pid), time.monotonic()
        os.kill(process.pid, signal.SIGCONT)
        ended_s = float(said(process, "done"))
        taken_s = processor_s(process.pid) - before_s
    return _pace(given, ended_s - began_s, taken_s)


def _paces(setting: Setting, given: Flood, *, n_rounds: int) -> tuple[list[Pace], list[Pace]]:
    ours: list[Pace] = []
    theirs: list[Pace] = []
    for number in range(1, n_rounds + 1):
        # A broker of its own: it would keep a vendor's messages for the agents of earlier rounds.
        with running_broker(setting.place("broker"), config=BROKER) as broker:
            theirs.append(counted_pace(broker.port, given))
            ours.append(agent_pace(setting, broker.port, given))
        shown = f"{ours[-1].events_s:,.0f} of {theirs[-1].events_s:,.0f}/s"
        setting.say(f"{given.name} {number}/{n_rounds}: {shown}")
    return ours, theirs


def _pace(given: Flood, elapsed_s: float, processor: float) -> Pace:
    return Pace(given.n_events / elapsed_s, 1e6 * processor / given.n_events)


def _explained(setting: Setting, given: Flood) -> str:
    path = profile_path(given.name)
    with running_broker(setting.place("broker"), config=BROKER) as broker:
        agent_pace(setting, broker.port, given, profile=path)
    return profile_text(path)
