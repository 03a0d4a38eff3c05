"""From an event to its recommendation at a screen, at fixed rates, against an echo.

An open loop: events are sent at their scheduled instants whatever comes back, and each latency
runs from the scheduled instant, so that a stall counts for all who waited behind it. An event
without an answer counts as one that took for ever.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from tests.bench.load import entered, event_topic, now_ms
from tests.bench.measured import Aim, Measured
from tests.bench.processes import (
    BROKER,
    ONE_SCREEN,
    BenchedAgent,
    benched_agent,
    paho_peer,
    profile_path,
    profile_text,
)
from tests.bench.setting import Setting
from tests.bench.wire_client import WireClient, wire_client
from tests.integration.broker import running_broker

TITLE: Final = "Event to screen"
RATES: Final = (100, 500, 1_000)
DURABILITIES: Final = ("process-crash", "power-loss")
# Of the p99 at the one rate that an aim is set for.
AIMED_RATE: Final = 500
AIMS: Final = {"process-crash": Aim("most", 3.0), "power-loss": Aim("most", 6.0)}
N_VISITORS: Final = 300
WARM_UP: Final = 100
# How long an answer may take before it counts as none.
PATIENCE_S: Final = 5.0
START_DELAY_S: Final = 0.05
ECHO: Final = "echo"

_NUMBER: Final = re.compile(rb'"id":"bench-(\d+)')


@dataclass(slots=True)
class Answering:
    """Something that answers events: where it is asked, and where it answers."""

    event_topic: str
    screen_topic: str
    _numbers: int = field(default=0)

    def numbers(self, n_events: int) -> range:
        """Returns numbers of events that it was never sent."""
        first, self._numbers = self._numbers, self._numbers + n_events
        return range(first, self._numbers)


Latencies = list[float]


def measure(setting: Setting) -> tuple[Measured, ...]:
    """Measures the echo, NORMAL and FULL by turns at each rate."""
    seconds, n_rounds = setting.sized(5, quick=2), setting.sized(3, quick=1)
    found: dict[tuple[str, int], list[Latencies]] = {}
    with _answering(setting) as (port, peers):
        for number in range(1, n_rounds + 1):
            for rate in RATES:
                for name, peer in peers.items():
                    latencies = open_loop(port, peer, rate=rate, n_events=rate * seconds)
                    found.setdefault((name, rate), []).append(latencies)
                shown = (
                    f"{name} {1e3 * quantile(found[name, rate][-1], 0.99):.1f}" for name in peers
                )
                setting.say(f"latency {number}/{n_rounds} at {rate}/s: p99 {', '.join(shown)} ms")
    return tuple(
        _measured(setting, found, durability=durability, rate=rate, share=share)
        for rate in RATES
        for durability in DURABILITIES
        for share in (0.5, 0.99)
    )


def open_loop(port: int, peer: Answering, *, rate: int, n_events: int) -> Latencies:
    """Returns the seconds from each event's scheduled instant to its answer."""
    with wire_client(port, "bench-screen", subscribe=(peer.screen_topic,)) as client:
        _run(client, peer, rate=AIMED_RATE, n_events=WARM_UP)
        return _run(client, peer, rate=rate, n_events=n_events)


def quantile(latencies: Latencies, share: float) -> float:
    """Returns the least latency that so large a share of all do not exceed."""
    ordered = sorted(latencies)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _run(client: WireClient, peer: Answering, *, rate: int, n_events: int) -> Latencies:
    numbers = peer.numbers(n_events)
    answered: dict[int, float] = {}
    begins_s = time.monotonic() + START_DELAY_S
    ends_s = begins_s + n_events / rate + PATIENCE_S
    n_sent = 0
    while len(answered) < n_events:
        now_s = time.monotonic()
        if now_s > ends_s:
            break
        while n_sent < n_events and begins_s + n_sent / rate <= now_s:
            client.publish(peer.event_topic, _event(numbers[n_sent]))
            n_sent += 1
        due_s = begins_s + n_sent / rate if n_sent < n_events else ends_s
        arrivals = client.turn(max(0.0, due_s - time.monotonic()))
        arrived_s = time.monotonic()
        for _, payload in arrivals:
            number = _number(payload)
            if number in numbers:
                answered.setdefault(number, arrived_s)
    return [
        answered.get(number, math.inf) - begins_s - place / rate
        for place, number in enumerate(numbers)
    ]


def _event(number: int) -> bytes:
    return entered(number, at_ms=now_ms(), visitor=number % N_VISITORS, zone="dairy")


def _number(payload: bytes) -> int:
    found = _NUMBER.search(payload)
    return -1 if found is None else int(found[1])


@contextmanager
def _answering(setting: Setting) -> Iterator[tuple[int, dict[str, Answering]]]:
    with ExitStack() as stack:
        broker = stack.enter_context(running_broker(setting.place("broker"), config=BROKER))
        echo = Answering(event_topic("echoed"), "store/echoed/screen/dairy-1/recommendation")
        stack.enter_context(paho_peer("echo", broker.port, echo.event_topic, echo.screen_topic))
        peers = {ECHO: echo}
        for durability in DURABILITIES:
            made = _agent(setting, broker.port, durability)
            agent = stack.enter_context(benched_agent(made))
            agent.wait_default()
            peers[durability] = _answers_of(agent)
        yield broker.port, peers


def _agent(
    setting: Setting, port: int, durability: str, *, profile: Path | None = None
) -> BenchedAgent:
    return BenchedAgent(
        folder=setting.place(durability),
        port=port,
        durability=durability,
        layout=ONE_SCREEN,
        profile=profile,
    )


def _answers_of(agent: BenchedAgent) -> Answering:
    screen_topic = f"store/{agent.store}/screen/dairy-1/recommendation"
    return Answering(event_topic(agent.store), screen_topic)


def _measured(
    setting: Setting,
    found: dict[tuple[str, int], list[Latencies]],
    *,
    durability: str,
    rate: int,
    share: float,
) -> Measured:
    rounds = found[durability, rate]
    is_aimed = rate == AIMED_RATE and share > 0.5
    n_silent = sum(math.isinf(each) for latencies in rounds for each in latencies)
    silent = f"; {n_silent} without an answer" if n_silent else ""
    return Measured(
        name=f"event to screen at {rate:,}/s, p{share * 100:.0f} ({durability})",
        unit="ms",
        values=tuple(1e3 * quantile(each, share) for each in rounds),
        baseline=tuple(1e3 * quantile(each, share) for each in found[ECHO, rate]),
        against="paho 5 echo",
        aim=AIMS[durability] if is_aimed else None,
        note=f"{len(rounds[0]):,} events a round, one screen{silent}",
        explain=partial(_explained, setting, durability) if is_aimed else None,
    )


def _explained(setting: Setting, durability: str) -> str:
    path = profile_path(f"latency-{durability}")
    with (
        running_broker(setting.place("broker"), config=BROKER) as broker,
        benched_agent(_agent(setting, broker.port, durability, profile=path)) as agent,
    ):
        agent.wait_default()
        seconds = setting.sized(5, quick=2)
        peer = _answers_of(agent)
        open_loop(broker.port, peer, rate=AIMED_RATE, n_events=AIMED_RATE * seconds)
    return profile_text(path)
