"""A device's own message on its way through the mappings that hear its topic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge_agent.ingest.device_mapping import reading_of, refusal_of
from edge_agent.wire import topics

if TYPE_CHECKING:
    from collections import Counter

    from edge_agent.ingest.decode import Refusal
    from edge_agent.ingest.device_mapping import DeviceMapping
    from edge_agent.ingest.mapping import Mapped
    from edge_agent.ports import Delivery
    from edge_agent.runner.mapping_memory import MappingMemory
    from edge_agent.runner.redeliveries import Redeliveries
    from edge_agent.wire.events import Event

# Topics whose mappings are remembered.
KNOWN_TOPICS: Final = 10_000
# Messages whose arrival is remembered: those of one millisecond, and some more.
KNOWN_ARRIVALS: Final = 256


@dataclass(slots=True, kw_only=True)
class MappedEvent:
    """An event that a mapping made, as if its device had published it itself.

    The bytes are made only when somebody asks for them: when the event is refused.
    """

    event: Event
    topic: str
    retain: bool = False
    dup: bool = False
    mid: int = 0
    generation: int = 0
    response_topic: str | None = None
    correlation: bytes | None = None

    @property
    def payload(self) -> bytes:
        """The event as its device would have written it."""
        return self.event.model_dump_json(exclude_none=True).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Understood:
    """What became of a message.

    Attributes:
        at_ms: Its arrival; no two equal messages have the same.
        events: Canonical events.
        refusal: Why it, or rows of it, were refused.
        heard_on: The filter that it was heard on; its topic may name somebody.
        unchanged: Devices that spoke and told nothing new.
        mapping: The first of the mappings that heard it.
    """

    at_ms: int
    events: tuple[Event, ...]
    refusal: Refusal | None
    heard_on: str
    unchanged: tuple[str, ...] = ()
    mapping: str = ""


class Mapper:
    """Holds the mappings in force and what they remember."""

    def __init__(
        self,
        memory: MappingMemory,
        redeliveries: Redeliveries,
        mappings: tuple[DeviceMapping, ...],
        counters: Counter[str],
    ) -> None:
        self._memory = memory
        self._redeliveries = redeliveries
        self.mappings = mappings
        self.counters = counters
        self._heard: dict[str, tuple[DeviceMapping, ...]] = {}
        self._arrivals: dict[int, int] = {}

    def begin_batch(self, now_ms: int) -> None:
        """Starts a batch: nothing of it is on the disk yet."""
        self._memory.begin_batch(now_ms)
        self._redeliveries.begin_batch()

    def note_committed(self) -> None:
        """Notes that what was taken in is on the disk."""
        self._memory.note_committed()
        self._redeliveries.note_committed()

    def has_taken(self, delivery: Delivery) -> bool:
        """Returns whether the broker brings again what was taken in before."""
        return self._redeliveries.knows(delivery)

    def replace(self, mappings: tuple[DeviceMapping, ...]) -> None:
        """Puts other mappings in force; what they remember stays."""
        self.mappings = mappings
        self._heard.clear()

    def hearing(self, topic: str) -> tuple[DeviceMapping, ...]:
        """Returns the mappings that hear a topic."""
        heard = self._heard.get(topic)
        if heard is None:
            if len(self._heard) >= KNOWN_TOPICS:
                self._heard.clear()
            found = (each for each in self.mappings if each.heard_on(topic) is not None)
            heard = self._heard[topic] = tuple(found)
        return heard

    def understand(
        self, delivery: Delivery, mappings: tuple[DeviceMapping, ...], *, now_ms: int
    ) -> Understood:
        """Returns what a message means; what it changes is remembered with the batch."""
        at_ms = self._arrival(delivery, now_ms)
        self._redeliveries.note(delivery)
        return self.understand_as_of(delivery, mappings, at_ms=at_ms)

    def understand_as_of(
        self, delivery: Delivery, mappings: tuple[DeviceMapping, ...], *, at_ms: int
    ) -> Understood:
        """Returns what a message means that arrived at an instant."""
        readings = []
        for mapping in mappings:
            state = self._memory.of(mapping.name)
            reading = reading_of(
                mapping, delivery.topic, delivery.payload, state=state, received_at_ms=at_ms
            )
            self._memory.put(mapping.name, reading.mapped.changes, now_ms=at_ms)
            readings.append(reading)
            self._count(reading.mapped)
        events = tuple(event for each in readings for event in each.mapped.events)
        return Understood(
            at_ms=at_ms,
            events=events,
            refusal=refusal_of(readings),
            heard_on=mappings[0].heard_on(delivery.topic) or "",
            unchanged=tuple(name for each in readings for name in each.mapped.unchanged),
            mapping=mappings[0].name,
        )

    def _arrival(self, delivery: Delivery, now_ms: int) -> int:
        """Returns the arrival, later by a millisecond than that of an equal message."""
        if len(self._arrivals) >= KNOWN_ARRIVALS:
            kept = {each: at for each, at in self._arrivals.items() if at >= now_ms}
            self._arrivals = kept if len(kept) < KNOWN_ARRIVALS else {}
        what = hash((delivery.topic, delivery.payload))
        at_ms = max(now_ms, self._arrivals.get(what, 0) + 1)
        self._arrivals[what] = at_ms
        return at_ms

    def _count(self, mapped: Mapped) -> None:
        if mapped.ignored:
            self.counters["mapping_ignored"] += len(mapped.ignored)
        for what, n in mapped.counts.items():
            self.counters[f"mapping_{what.replace(' ', '_')}"] += n


def as_published(event: Event, store: str) -> MappedEvent:
    """Returns an event as a message of its own source."""
    return MappedEvent(event=event, topic=topics.event(store, event.source))
