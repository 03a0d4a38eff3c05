"""A replayed morning as messages: what opens the day, what HQ sends, and the day itself.

The stream is the replay's own. Added are probes: events of nobody (a counter that counted
nothing) that ask for a receipt. A probe's receipt says that everything before it is committed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Final

from edge_agent.replay.identifiers import RawIdentifier, customer_handle
from edge_agent.replay.play import Replay, ReplayOptions, prepare
from edge_agent.shell.signing import DEMO_KEY_ID, demo_private_key, sign_command
from edge_agent.wire import topics

STORE: Final = "s42"
SEED: Final = 7
PROBE: Final = "probe"
RECEIPTS: Final = f"store/{STORE}/event/+/receipt"
PROBE_EVERY: Final = 100
"""Messages between two probes: how finely a test can tell how far the agent is."""


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
        day: Everything else, a probe after every `PROBE_EVERY` of them; ends with a probe.
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


@cache
def morning(
    *, baskets: int, duplicates: float = 0.0, shuffle: bool = False, seed: int = SEED
) -> Morning:
    """Returns the day's first baskets as messages; the same arguments give the same bytes."""
    options = ReplayOptions(
        store=STORE, seed=seed, baskets=baskets, duplicates=duplicates, shuffle=shuffle
    )
    replay = prepare(options)
    opened_at = replay.first.opened_at
    opening: list[Message] = []
    day: list[Message] = []
    n_probes = 0
    last_at = opened_at
    for each in replay.publications():
        message = Message(each.topic, each.payload)
        if each.at < opened_at:
            opening.append(message)
            continue
        last_at = max(last_at, each.at)
        day.append(message)
        if len(day) % PROBE_EVERY == 0:
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
