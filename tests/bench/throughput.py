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
from pathlib import Path
from typing import Final

from tests.bench.processes import (
    BROKER,
    NO_SCREEN,
    ONE_SCREEN,
    BenchedAgent,
    benched_agent,
    paho_peer,
    profile_path,
    profile_text,
    said,
)
from tests.bench.setting import Setting
from tests.bench.wire_client import flood
from tests.integration.broker import running_broker

COUNTING: Final = "paho 5 counting"

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
    """

    name: str
    n_events: int
    events: Events
    asks: bool = False
    before: Events | None = None
    n_before: int = 0


def rates(
    setting: Setting, given: Flood, *, n_rounds: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Returns the events/s of the agent and of the counting client, by rounds."""
    ours, theirs = [], []
    with running_broker(setting.place("broker"), config=BROKER) as broker:
        for number in range(1, n_rounds + 1):
            theirs.append(counted_rate(broker.port, given))
            ours.append(agent_rate(setting, broker.port, given))
            setting.say(
                f"{given.name} {number}/{n_rounds}: {ours[-1]:,.0f} of {theirs[-1]:,.0f}/s"
            )
    return tuple(ours), tuple(theirs)


def agent_rate(setting: Setting, port: int, given: Flood, *, profile: Path | None = None) -> float:
    """Returns the events/s that a new agent commits."""
    made = BenchedAgent(
        folder=setting.place(given.name),
        port=port,
        layout=ONE_SCREEN if given.asks else NO_SCREEN,
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
        began_s = time.monotonic()
        agent.thaw()
        ended_s = agent.wait_events(given.n_before + given.n_events)
        wanted = given.n_events if given.asks else 0
        decided = agent.n_rows("decision") - n_decisions
        assert decided == wanted, f"{decided} decisions, not {wanted}"
    return given.n_events / (ended_s - began_s)


def counted_rate(port: int, given: Flood) -> float:
    """Returns the events/s that the counting client takes."""
    with paho_peer("count", port, "store/counted/event/+", str(given.n_events)) as process:
        os.kill(process.pid, signal.SIGSTOP)
        flood(port, given.events("counted"))
        began_s = time.monotonic()
        os.kill(process.pid, signal.SIGCONT)
        ended_s = float(said(process, "done"))
    return given.n_events / (ended_s - began_s)


def explained(setting: Setting, given: Flood) -> str:
    """Returns where the agent's time goes in such a flood."""
    path = profile_path(given.name)
    with running_broker(setting.place("broker"), config=BROKER) as broker:
        agent_rate(setting, broker.port, given, profile=path)
    return profile_text(path)
