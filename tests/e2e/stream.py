"""A replayed morning as messages: what opens the day, what HQ sends, and the day itself.

The stream is the replay's own, of receipts from a busy hour so that groups are large enough to be
reported; the hours before it, in which nothing happens, are left out. Added are probes: events of
nobody (a counter that counted nothing) that ask for a receipt. A probe's receipt says that
everything before it is committed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta
from functools import cache
from typing import Final
from zoneinfo import ZoneInfo

from edge_agent.replay.dataset import SalesDay, load_day
from edge_agent.replay.identifiers import RawIdentifier, customer_handle
from edge_agent.replay.play import Replay, ReplayOptions, replay_of
from edge_agent.replay.stream import Publication
from edge_agent.shell.signing import DEMO_KEY_ID, demo_private_key, sign_command
from edge_agent.wire import topics
from edge_agent.wire.events import Event
from edge_agent.wire.notices import ClockTick

STORE: Final = "s42"
SEED: Final = 7
PROBE: Final = "probe"
RECEIPTS: Final = f"store/{STORE}/event/+/receipt"
FROM: Final = time(10)
"""Local time from which receipts are taken: about 28 an hour are paid then."""
BEFORE: Final = timedelta(minutes=2)
"""So long before the first visitor the clock ticks again."""
PROBE_EVERY: Final = 30
"""Ticks between two probes: how finely a test can tell how far the agent is.

Ticks are counted, because they are the same whatever disturbs the events.
"""


@dataclass(frozen=True, slots=True)
class Message:
    """What is published: a topic and its payload."""

    topic: str
    payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Morning:
    """Everything that is published, in its order.

    Attributes:
        opening: Ticks and consents; ends with a probe.
        profiles: HQ's signed commands about consenting customers, taken after the opening.
        day: Everything else, a probe after every `PROBE_EVERY` ticks; ends with a probe.
        n_probes: How many probes it holds before the last one, named by `probe_name`.
        identifiers: Every raw identifier in any of it.
        references: HQ's handles of the customers who consented.
    """

    opening: tuple[Message, ...]
    profiles: tuple[Message, ...]
    day: tuple[Message, ...]
    n_probes: int
    identifiers: tuple[RawIdentifier, ...]
    references: frozenset[str]


def probe_name(number: int) -> str:
    """Returns the name of a probe within the day, counted from 0."""
    return f"probe-{number}"


def probe(name: str, at: datetime) -> Message:
    """Returns an event of nobody that asks for a receipt."""
    event = {
        "specversion": "1.0",
        "id": name,
        "source": PROBE,
        "type": "people.counted",
        "time": at.isoformat().replace("+00:00", "Z"),
        "receipt": True,
        "data": {"zone": "entrance", "entries": 0, "exits": 0, "interval_s": 60.0},
    }
    return Message(topics.event(STORE, PROBE), json.dumps(event).encode())


def tick(at: datetime) -> Message:
    """Returns a tick of the replay's clock."""
    return Message(topics.clock(STORE), ClockTick(now=at).model_dump_json().encode())


def with_last_ticks(day: Morning) -> Morning:
    """Returns the same morning for an agent that holds back: each part ends with a later tick.

    Without it the last events of a part would wait for the next one.
    """
    opened = json.loads(day.opening[-1].payload)["time"]
    closed = json.loads(day.day[-1].payload)["time"]
    return replace(
        day,
        opening=(*day.opening[:-1], tick(_later(opened)), day.opening[-1]),
        day=(*day.day[:-1], tick(_later(closed)), day.day[-1]),
    )


def _later(instant: str) -> datetime:
    return datetime.fromisoformat(instant) + timedelta(minutes=1)


@cache
def morning(
    *, baskets: int, duplicates: float = 0.0, shuffle: bool = False, seed: int = SEED
) -> Morning:
    """Returns some baskets of the morning as messages; equal arguments give equal bytes."""
    options = ReplayOptions(
        store=STORE, seed=seed, baskets=baskets, duplicates=duplicates, shuffle=shuffle
    )
    replay = prepared(options)
    return morning_of(replay, replay.publications())


def prepared(options: ReplayOptions) -> Replay:
    """Returns the replay of as many receipts from a busy hour as the options say."""
    return replay_of(_sales(options.baskets), options)


def morning_of(replay: Replay, publications: Iterable[Publication]) -> Morning:
    """Returns a replay as messages, published in the order given."""
    opened_at = replay.first.opened_at
    first_at = min(filter(None, map(_arrived_at, replay.first.events))) - BEFORE
    opening: list[Message] = []
    day: list[Message] = []
    n_probes = n_ticks = 0
    last_at = opened_at
    for each in publications:
        message = Message(each.topic, each.payload)
        if each.at < opened_at:
            opening.append(message)
            continue
        if each.at < first_at:
            continue
        last_at = max(last_at, each.at)
        day.append(message)
        n_ticks += each.is_tick
        if each.is_tick and n_ticks % PROBE_EVERY == 0:
            day.append(probe(probe_name(n_probes), each.at))
            n_probes += 1
    opening.append(probe("opened", opened_at - timedelta(seconds=1)))
    day.append(probe("closed", last_at))
    consented = _consented(replay)
    holders = {h: card for h, card in replay.first.cardholders.items() if card in consented}
    return Morning(
        opening=tuple(opening),
        profiles=tuple(_profiles(replay, holders.values())),
        day=tuple(day),
        n_probes=n_probes,
        identifiers=replay.first.identifiers,
        references=frozenset(customer_handle(household) for household in holders),
    )


def _sales(baskets: int | None) -> SalesDay:
    sales = load_day()
    zone = ZoneInfo(sales.timezone)
    late = [each for each in sales.baskets if each.paid_at.astimezone(zone).time() >= FROM]
    return replace(sales, baskets=tuple(late[:baskets]))


def _arrived_at(event: Event) -> datetime | None:
    return event.time if event.type == "visit.started" else None


def _consented(replay: Replay) -> set[str]:
    return {
        event.data.visitor.value
        for event in replay.first.opening
        if event.type == "consent.granted"
    }


def _profiles(replay: Replay, cards: Iterable[str]) -> Iterable[Message]:
    wanted, key = set(cards), demo_private_key()
    for command in replay.profiles():
        if command.body.visitor.value in wanted:
            token = sign_command(command, key=key, key_id=DEMO_KEY_ID)
            yield Message(topics.hq_down(STORE, "profile"), token)
