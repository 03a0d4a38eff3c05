"""A morning in which every gate is put to the test, and what a bad network makes of it.

Planted into the replayed morning: people who complain while they are in the store (one of them is
satisfied again), and a walk past a public screen after the card was shown, when the agent knows
who it is. The network then delays and disorders everything, and some events by so much that they
may no longer decide.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from edge_agent.replay.chance import Chance
from edge_agent.replay.play import Replay, ReplayOptions
from edge_agent.replay.stream import Publication
from edge_agent.wire import topics
from edge_agent.wire.base import VisitorRef
from edge_agent.wire.events import EVENT, Event
from tests.e2e.stream import SEED, STORE, Message, Morning, morning_of, prepared

LATE_SHARE: Final = 0.08
LATE_S: Final = (20.0, 50.0)
"""Later than any watermark lets decide, earlier than a period is closed (its grace is 120 s)."""
DESK: Final = "desk"
WALK_ZONE: Final = "produce"
AFTER_TILL: Final = timedelta(seconds=8)
SATISFIED_AFTER: Final = timedelta(seconds=90)
COMPLAINTS: Final = 4
"""Of people of whom only a beacon or a track is known; every other card holder complains too."""
FIRST_CASE: Final = 100

Person = tuple[str, str]
"""Kind and value of an identifier."""
_IN_STORE: Final = frozenset({"zone.entered", "zone.left", "item.lifted", "zone.dwell"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Till:
    """One basket as it really was: who stood there, and whose card was read."""

    basket: str
    person: Person
    card: str | None
    left_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class GatesMorning:
    """The morning, and what is true of it.

    Attributes:
        calm: Everything in its order, nothing late.
        disturbed: The same messages, disordered, some very late.
        tills: Basket number to who really stood there.
    """

    calm: Morning
    disturbed: Morning
    tills: Mapping[str, Till]


def gates_morning(*, baskets: int, seed: int = SEED) -> GatesMorning:
    """Returns the same planted morning twice: as it was, and as a bad network delivers it."""
    tills: dict[str, Till] = {}
    mornings = []
    for shuffle in (False, True):
        options = ReplayOptions(store=STORE, seed=seed, baskets=baskets, shuffle=shuffle)
        replay = prepared(options)
        tills = _tills(replay.first.events)
        replay = _planted(replay, tills)
        published: Iterable[Publication] = replay.publications()
        mornings.append(
            morning_of(replay, _delayed(published, replay, seed) if shuffle else published)
        )
    calm, disturbed = mornings
    return GatesMorning(calm=calm, disturbed=disturbed, tills=tills)


def events_of(messages: Iterable[Message]) -> Iterator[tuple[datetime | None, dict[str, Any]]]:
    """Yields the agent's clock and the event of each message, in order of arrival."""
    now: datetime | None = None
    for message in messages:
        document = json.loads(message.payload)
        if message.topic == topics.clock(STORE):
            now = datetime.fromisoformat(document["now"])
        else:
            yield now, document


def _tills(events: Iterable[Event]) -> dict[str, Till]:
    standing: dict[str, list[tuple[datetime, datetime, Person]]] = defaultdict(list)
    entered: dict[tuple[Person, str], datetime] = {}
    opened: dict[str, tuple[str, datetime]] = {}
    cards: dict[str, str] = {}
    for event in events:
        data = vars(event.data)
        assert event.time is not None
        if event.type == "zone.entered":
            entered[_person(data["visitor"]), data["zone"]] = event.time
        elif event.type == "zone.left" and data["zone"].startswith("checkout"):
            person = _person(data["visitor"])
            since = entered[person, data["zone"]]
            standing[data["zone"]].append((since, event.time, person))
        elif event.type == "basket.opened":
            opened[data["basket"]] = (event.source.replace("pos", "checkout"), event.time)
        elif event.type == "loyalty.scanned":
            cards[data["basket"]] = data["visitor"].value
    return {
        basket: Till(basket=basket, person=person, card=cards.get(basket), left_at=until)
        for basket, (zone, at) in opened.items()
        for since, until, person in standing[zone]
        if since <= at <= until
    }


def _person(visitor: VisitorRef) -> Person:
    return visitor.kind, visitor.value


def _planted(replay: Replay, tills: Mapping[str, Till]) -> Replay:
    consented = {
        event.data.visitor.value
        for event in replay.first.opening
        if event.type == "consent.granted"
    }
    known = sorted(
        (each for each in tills.values() if each.card in consented), key=lambda each: each.basket
    )
    planted: list[Event] = []
    for number, till in enumerate(known):
        planted += _walk(number, till)
        if number % 2:
            opened_at = till.left_at - timedelta(minutes=10)
            planted.append(_complaint(number, opened_at, ("loyalty", till.card or "")))
    planted += _complaints_of_the_unknown(replay.first.events)
    everything = sorted((*replay.first.events, *planted), key=_instant)
    return replace(replay, first=replace(replay.first, events=tuple(everything)))


def _instant(event: Event) -> datetime:
    assert event.time is not None
    return event.time


def _walk(number: int, till: Till) -> list[Event]:
    """Who was just recognised at the till walks past a public screen on the way out."""
    kind_of_person, value = till.person
    person = {"kind": kind_of_person, "value": value}
    walk = (
        ("zone.entered", 0, {"zone": WALK_ZONE}),
        ("item.lifted", 4, {"zone": WALK_ZONE, "product": "1029743"}),
        ("zone.left", 8, {"zone": WALK_ZONE}),
    )
    return [
        _event(
            f"cam-{WALK_ZONE}",
            kind,
            f"walk-{number}-{n}",
            till.left_at + AFTER_TILL + timedelta(seconds=n),
            visitor=person,
            **data,
        )
        for kind, n, data in walk
    ]


def _complaints_of_the_unknown(events: Iterable[Event]) -> list[Event]:
    by_person: dict[Person, list[Event]] = defaultdict(list)
    for event in events:
        visitor = vars(event.data).get("visitor")
        if event.type in _IN_STORE and visitor is not None:
            by_person[_person(visitor)].append(event)
    # Those who do most give the gate most to do.
    busiest = sorted(by_person, key=lambda person: (-len(by_person[person]), person))
    found = []
    for number, person in enumerate(busiest[:COMPLAINTS], start=FIRST_CASE):
        theirs = by_person[person]
        at = _instant(theirs[len(theirs) // 3]) + timedelta(milliseconds=7)
        found.append(_complaint(number, at, person))
        if number == FIRST_CASE:
            found.append(_complaint(number, at + SATISFIED_AFTER, person, opened=False))
    return found


def _complaint(number: int, at: datetime, person: Person, *, opened: bool = True) -> Event:
    kind, value = person
    what = "opened" if opened else "closed"
    return _event(
        DESK,
        f"complaint.{what}",
        f"{what}-{number}",
        at,
        visitor={"kind": kind, "value": value},
        complaint=f"case-{number}",
    )


def _event(source: str, kind: str, event_id: str, at: datetime, **data: Any) -> Event:
    return EVENT.validate_json(
        json.dumps(
            {
                "specversion": "1.0",
                "id": event_id,
                "source": source,
                "type": kind,
                "time": at.isoformat().replace("+00:00", "Z"),
                "data": data,
            }
        )
    )


def _delayed(published: Iterable[Publication], replay: Replay, seed: int) -> list[Publication]:
    """Returns the messages with some so late that they may correct and not decide."""
    chance = Chance(seed, "very-late")
    messages = list(published)
    # Consents from before the day are at the agent when the day begins.
    names = [event.id for event in replay.first.events]
    late = chance.some(names, LATE_SHARE, "late")
    moved = [
        replace(each, at=each.at + timedelta(seconds=chance.between(*LATE_S, "by", each.id)))
        if each.id in late
        else each
        for each in messages
    ]
    # A tick stands before the messages of its instant, as in the undisturbed stream.
    return sorted(moved, key=lambda each: (each.at, not each.is_tick))
