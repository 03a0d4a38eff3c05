"""Days of events become one ordered stream of messages, with the clock that the agent goes by.

The order is total and follows from the arguments alone: the same ones give the same bytes. Ticks
on `store/{store}/clock` stand on a grid of `TICK`; a message is published after the last tick at
or before its instant, so no event is ahead of the clock by a whole tick. After the last event the
ticks go on for `CLOSING` so that time-outs happen, and then, one every `NIGHT_TICK`, past the end
of the local day so that its last periods end.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from edge_agent.replay.chance import Chance
from edge_agent.replay.simulate import SimulatedDay
from edge_agent.wire import topics
from edge_agent.wire.events import Event
from edge_agent.wire.notices import ClockTick

TICK: Final = timedelta(seconds=5)
"""Simulated time between two ticks of the clock."""
CLOSING: Final = timedelta(minutes=45)
"""How long the clock ticks on after the last event; longer than a visit's time-out of 30 min."""
NIGHT_TICK: Final = timedelta(minutes=1)
"""The same when nobody is in the store any more."""
AFTER_MIDNIGHT: Final = timedelta(minutes=65)
"""So the hour in which the last people leave, be it after midnight, ends as well."""
LATENESS_S: Final = 5.0
"""With `shuffle` a message comes up to this much later than its event (simulated seconds)."""
DUPLICATE_AFTER_S: Final = (0.05, 120.0)
"""A repeated message comes this much after the first one (simulated seconds)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disturbance:
    """What a bad network does to the messages.

    Attributes:
        seed: Decides which messages, and how.
        duplicates: Share of messages that come a second time, 0..1.
        shuffle: Whether messages come late, and so out of order, by up to `LATENESS_S`.
    """

    seed: int = 0
    duplicates: float = 0.0
    shuffle: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """One message of the stream.

    Attributes:
        at: Its simulated instant of publishing.
        source: The event's source; None for a tick.
        id: The event's id; None for a tick.
        is_duplicate: Whether the same message was published before.
    """

    at: datetime
    topic: str
    payload: bytes
    source: str | None = None
    id: str | None = None
    is_duplicate: bool = False

    @property
    def is_tick(self) -> bool:
        """Whether this moves the clock and says nothing else."""
        return self.id is None


def publications(
    days: Iterable[SimulatedDay], *, store: str, disturbance: Disturbance
) -> Iterator[Publication]:
    """Yields every message of the days, the clock's ticks among them.

    Args:
        days: One after the other, without a gap; there may be endlessly many.
        store: The store's name in the topics.
        disturbance: Duplicates and disorder.
    """
    clock = _Clock(store)
    carried: list[Publication] = []
    ends_at: datetime | None = None
    last_at: datetime | None = None
    for day in days:
        messages = sorted([*carried, *_messages(day, store, disturbance)], key=_order)
        last_at = _last_event_at(day)
        ends_at = day.ends_at
        # What happens after midnight mingles with the next day, if there is one.
        carried = [each for each in messages if each.at >= ends_at]
        yield from clock.ticks(day.starts_at)
        for message in messages[: len(messages) - len(carried)]:
            yield from clock.ticks(message.at)
            yield message
    for message in carried:
        yield from clock.ticks(message.at)
        yield message
    if ends_at is not None and last_at is not None:
        yield from clock.ticks(last_at + CLOSING)
        yield from clock.ticks(ends_at + AFTER_MIDNIGHT, step=NIGHT_TICK)


def closes_at(day: SimulatedDay) -> datetime:
    """Returns when the undisturbed stream of a single day ends."""
    return max(_last_event_at(day) + CLOSING, day.ends_at + AFTER_MIDNIGHT)


def event_payload(event: Event) -> bytes:
    """Returns an event as a device publishes it: JSON, nothing that is not said."""
    said: dict[str, Any] = event.model_dump(mode="json", by_alias=True, exclude_none=True)
    if not event.receipt:
        said.pop("receipt", None)
    _numbers(said["data"])
    for line in said["data"].get("lines", ()):
        _numbers(line)
    return json.dumps(said, separators=(",", ":")).encode()


def _numbers(data: dict[str, Any]) -> None:
    # A till sends quantities as numbers; the model writes its decimals as strings.
    if "quantity" in data:
        data["quantity"] = int(data["quantity"])


class _Clock:
    """Emits the ticks that are due, on a grid that begins with the first instant asked for."""

    __slots__ = ("_next_at", "_topic")

    def __init__(self, store: str) -> None:
        self._topic = topics.clock(store)
        self._next_at: datetime | None = None

    def ticks(self, up_to: datetime, *, step: timedelta = TICK) -> Iterator[Publication]:
        """Yields every tick up to and including `up_to` that was not yielded before."""
        at = self._next_at or up_to
        while at <= up_to:
            payload = ClockTick(now=at).model_dump_json().encode()
            yield Publication(at=at, topic=self._topic, payload=payload)
            at += step
        self._next_at = at


def _messages(day: SimulatedDay, store: str, disturbance: Disturbance) -> Iterator[Publication]:
    chance = Chance(disturbance.seed, "disturbance")
    events = (*day.opening, *day.events)
    repeated = chance.some((event.id for event in events), disturbance.duplicates, "repeat")
    for event in events:
        at = event.time or day.starts_at
        if disturbance.shuffle:
            at += timedelta(seconds=chance.between(0.0, LATENESS_S, "late", event.id))
        topic, payload = topics.event(store, event.source), event_payload(event)
        delays_s = [0.0]
        if event.id in repeated:
            delays_s.append(chance.between(*DUPLICATE_AFTER_S, "again", event.id))
        for delay_s in delays_s:
            yield Publication(
                at=at + timedelta(seconds=delay_s),
                topic=topic,
                payload=payload,
                source=event.source,
                id=event.id,
                is_duplicate=delay_s > 0,
            )


def _last_event_at(day: SimulatedDay) -> datetime:
    # Of the events, not of the messages: the clock must not run longer because of a late repeat.
    return max((each.time for each in day.events if each.time), default=day.starts_at)


def _order(publication: Publication) -> tuple[datetime, str, str]:
    # One order for messages of one instant too: who puts them in order again finds the same.
    return publication.at, publication.source or "", publication.id or ""
