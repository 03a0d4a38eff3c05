"""What happened between a till and us, and the same read once: events, repeats, requests. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from edge_agent.conformance.reading import MESSAGE_BYTES_MAX, Told, told_in
from edge_agent.conformance.transcript import is_below
from edge_agent.ingest.decode import decode_request
from edge_agent.wire import topics
from edge_agent.wire.screens import RecommendRequest

if TYPE_CHECKING:
    from datetime import datetime

    from edge_agent.conformance.transcript import Heard

Outcome = Literal["committed", "refused"]
Content = tuple[str, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptSent:
    """A receipt that the till was given."""

    id: str
    outcome: Outcome
    at_s: float


@dataclass(frozen=True, kw_only=True)
class TillRecord:
    """All that happened in a run.

    Attributes:
        source: The till's name on the broker.
        tolerance_s: How wrong the till's clock may be.
        repeat_within_s: How soon an event is told again that got no receipt.
        asks_always: Whether the store's configuration asks for receipts in the till's name.
        receipts: What the till was given, in order.
        withheld: The id whose receipt was withheld; `refused`: the one that was refused.
        steps: Steps that were asked for: when each began and ended; or why it was not tried.
        answers: What somebody said, by check: `yes`, `no`, or why nobody was asked.
        ended_at_s: When listening ended.
    """

    store: str
    source: str
    tolerance_s: float
    repeat_within_s: float
    asks_always: bool = False
    heard: tuple[Heard, ...] = ()
    receipts: tuple[ReceiptSent, ...] = ()
    withheld: str | None = None
    refused: str | None = None
    steps: Mapping[str, tuple[float, float] | str] = field(default_factory=dict)
    answers: Mapping[str, str] = field(default_factory=dict)
    ended_at_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request for a recommendation, as it came."""

    heard: Heard
    request: RecommendRequest | None
    fault: str


class TillReading:
    """What a till has said, read once."""

    def __init__(self, heard: tuple[Heard, ...], *, store: str, source: str) -> None:
        self.heard = heard
        self.store = store
        self.source = source
        self.own_topic = topics.event(store, source)

    @cached_property
    def told(self) -> tuple[Told, ...]:
        """Every telling of an event, repeats too, in the order of arrival."""
        return tuple(
            told
            for each in self.heard
            if each.topic != topics.request(self.store)
            for told in told_in(each)
            if each.topic == self.own_topic or _is_event_of(told.raw, self.source)
        )

    @cached_property
    def by_id(self) -> dict[str, list[Told]]:
        """All tellings of each id."""
        found: dict[str, list[Told]] = {}
        for told in self.told:
            if told.id:
                found.setdefault(told.id, []).append(told)
        return found

    @cached_property
    def first(self) -> tuple[Told, ...]:
        """The first telling of each event, in the order of arrival."""
        found: dict[tuple[str, Content], Told] = {}
        for told in self.told:
            found.setdefault((told.id, content_of(told)), told)
        return tuple(found.values())

    @cached_property
    def events(self) -> tuple[Told, ...]:
        """The first telling of each valid event, in the order of their own times."""
        valid = [each for each in self.first if each.event is not None]
        return tuple(sorted(valid, key=_happened_at))

    def again(self, event_id: str) -> list[Told]:
        """Returns the tellings of the event that had an id first."""
        tellings = self.by_id.get(event_id, [])
        return [each for each in tellings if content_of(each) == content_of(tellings[0])]

    @cached_property
    def requests(self) -> tuple[Asked, ...]:
        """The till's requests: those that name it, or whose answer would go to it."""
        own_reply = topics.reply(self.store, self.source)
        return tuple(
            _asked(each)
            for each in self.heard
            if each.topic == topics.request(self.store)
            and (
                is_below(each.response_topic, own_reply)
                or f'"{self.source}"'.encode() in each.payload
            )
        )


def content_of(told: Told) -> Content:
    """Returns what an event says, its id left out."""
    return told.type, repr(told.raw.get("time")), repr(told.raw.get("data"))


def _asked(heard: Heard) -> Asked:
    found = decode_request(heard.payload, max_bytes=MESSAGE_BYTES_MAX)
    if isinstance(found, RecommendRequest):
        return Asked(heard=heard, request=found, fault="")
    return Asked(heard=heard, request=None, fault=f"{found.reason}: {found.detail}")


def _is_event_of(raw: dict[str, Any], source: str) -> bool:
    return raw.get("source") == source and "specversion" in raw


def _happened_at(told: Told) -> datetime:
    return told.time or told.heard.at
