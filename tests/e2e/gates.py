"""What the gates must have ruled, worked out from the stream alone, against what was decided.

The oracle knows raw identifiers, who really stood at each till, and the order in which messages
arrived; it shares no code with the agent. A decision answers an event (its cause), so whatever had
arrived by then is what the agent could know.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from tests.e2e.gates_stream import GatesMorning, Person, Till, events_of
from tests.e2e.stream import Message

LATENESS: Final = timedelta(seconds=10)
DECIDE_WITHIN: Final = timedelta(seconds=60)
CAP: Final = 40
"""Decisions of one visit over all channels, in the configuration of these tests."""
AGENT: Final = "edge-agent"
SILENT: Final = frozenset({"silence"})
WELCOME: Final = "welcome"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """One event as it reached the agent."""

    position: int
    event: Mapping[str, Any]
    is_late: bool

    @property
    def person(self) -> Person | None:
        """Whom it names."""
        visitor = self.event["data"].get("visitor")
        return None if visitor is None else (visitor["kind"], visitor["value"])


@dataclass(slots=True)
class Stream:
    """Everything that arrived, and what follows from it."""

    tills: Mapping[str, Till]
    arrived: dict[tuple[str, str], Arrived] = field(default_factory=dict)

    def until(self, position: int) -> Iterator[Arrived]:
        """Yields what had arrived by then, that event included."""
        for each in self.arrived.values():
            if each.position > position:
                return
            yield each

    def people_behind(self, cause: Arrived) -> set[Person]:
        """Returns everybody whom the agent must know by then to be the one behind an event."""
        people = {cause.person} if cause.person is not None else set()
        basket = cause.event["data"].get("basket")
        if basket is None:
            baskets = [each for each in self.tills.values() if each.person in people]
        else:
            baskets = [self.tills[basket]] if basket in self.tills else []
        for till in baskets:
            people |= self._known_at(till, cause.position)
        return people

    def held_by(self, cause: Arrived) -> set[str]:
        """Returns what the person behind an event visibly holds by then."""
        people = self.people_behind(cause)
        held: Counter[str] = Counter()
        for each in self.until(cause.position):
            data = each.event["data"]
            if each.person in people and each.event["type"] == "item.lifted":
                held[data["product"]] += 1
        basket = cause.event["data"].get("basket")
        if basket is not None:
            held.update(self._lines(basket, cause.position))
        return set(held)

    def silenced(self, position: int) -> set[Person]:
        """Returns everybody with an open complaint by then."""
        open_cases: dict[str, Person] = {}
        closed: set[str] = set()
        for each in self.until(position):
            case = each.event["data"].get("complaint")
            if each.event["type"] == "complaint.opened" and each.person is not None:
                open_cases[case] = each.person
            elif each.event["type"] == "complaint.closed":
                closed.add(case)
        return {person for case, person in open_cases.items() if case not in closed}

    def _known_at(self, till: Till, position: int) -> set[Person]:
        """Returns whose basket it is, by body and by card, as far as their events had arrived."""
        found: set[Person] = set()
        has_opened = has_stood = False
        for each in self.until(position):
            data, kind = each.event["data"], each.event["type"]
            is_mine = data.get("basket") == till.basket
            has_opened |= is_mine and kind == "basket.opened"
            at_till = kind == "zone.entered" and data["zone"].startswith("checkout")
            has_stood |= at_till and each.person == till.person
            if is_mine and kind == "loyalty.scanned" and each.person is not None:
                found.add(each.person)
        if has_opened and has_stood:
            return found | {till.person}
        return found

    def _lines(self, basket: str, position: int) -> set[str]:
        return {
            each.event["data"]["product"]
            for each in self.until(position)
            if each.event["type"] == "basket.item_added" and each.event["data"]["basket"] == basket
        }


def stream_of(day: GatesMorning, messages: Sequence[Message]) -> Stream:
    """Returns what arrived, with what was too late to decide."""
    stream = Stream(day.tills)
    newest: datetime | None = None
    for position, (now, event) in enumerate(events_of(messages)):
        at = datetime.fromisoformat(event["time"])
        is_behind = newest is not None and at < newest - LATENESS
        is_over = now is not None and now - at > DECIDE_WITHIN
        arrived = Arrived(position=position, event=event, is_late=is_behind or is_over)
        stream.arrived[event["source"], event["id"]] = arrived
        # The agent's watermark follows no clock that runs ahead of its own.
        capped = at if now is None else min(at, now)
        newest = capped if newest is None else max(newest, capped)
    return stream


def records_in(database: Path) -> list[dict[str, Any]]:
    """Returns every decision's record, in the order in which they were taken."""
    with closing(sqlite3.connect(database)) as connection:
        found = connection.execute("SELECT record FROM decision ORDER BY id")
        return [json.loads(record) for (record,) in found]


def personal(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the decisions for somebody that say something."""
    return [r for r in records if r["visitor"] is not None and r["chosen"]]


def shown_though_held(stream: Stream, records: Sequence[dict[str, Any]]) -> list[str]:
    """Returns what was recommended to somebody who had it already."""
    told = []
    for record in personal(records):
        cause = _cause(stream, record)
        has = set(record["request"]["basket"])
        has |= set() if cause is None else stream.held_by(cause)
        told += [f"{record['decision']}: {each}" for each in has & set(record["chosen"])]
    return told


def shown_though_silent(stream: Stream, records: Sequence[dict[str, Any]]) -> list[str]:
    """Returns the marketing for somebody with an open complaint."""
    told = []
    for record in personal(records):
        cause = _cause(stream, record)
        if cause is not None:
            bothered = stream.people_behind(cause) & stream.silenced(cause.position)
            told += [f"{record['decision']}: {kind}" for kind, _ in bothered]
    return told


def n_silenced(stream: Stream, records: Sequence[dict[str, Any]]) -> int:
    """Returns how often the complaints' gate was in the way of a decision."""
    return sum(
        stream.people_behind(cause) & stream.silenced(cause.position) != set()
        for record in records
        if (cause := _cause(stream, record)) is not None and record["level"] == "silence"
    )


def personal_in_public(records: Sequence[dict[str, Any]]) -> list[str]:
    """Returns what a public screen rests on that is somebody's history."""
    return [
        str(record["decision"])
        for record in records
        if record["place"]["audience"] == "public"
        and (
            (record["request"] or {}).get("history")
            or any(candidate[-1] == "you_often_buy" for candidate in record["candidates"])
        )
    ]


def decided_late(stream: Stream, records: Sequence[dict[str, Any]]) -> list[str]:
    """Returns the decisions for somebody that a late event caused."""
    told = []
    for record in records:
        cause = _cause(stream, record)
        if cause is not None and cause.is_late and record["visitor"] is not None:
            told.append(f"{record['decision']}: {cause.event['type']}")
    return told


def over_the_cap(database: Path, records: Sequence[dict[str, Any]]) -> list[str]:
    """Returns the visits in which more was said than a visit's cap allows."""
    times: dict[str, list[int]] = defaultdict(list)
    for record in personal(records):
        times[record["visitor"]].append(record["now"])
    with closing(sqlite3.connect(database)) as connection:
        visits = connection.execute("SELECT visitor, started_at_ms, last_at_ms FROM visit")
        return [
            f"{visitor}: {n}"
            for visitor, started_at_ms, last_at_ms in visits
            if (n := sum(started_at_ms <= at <= last_at_ms for at in times[visitor])) > CAP
        ]


def told_otherwise(heard: Sequence[Message], records: Sequence[dict[str, Any]]) -> list[str]:
    """Returns the messages that say something else than the decision that they name."""
    by_id = {record["decision"]: record for record in records}
    told = []
    for message in heard:
        document = json.loads(message.payload)
        record = by_id.get(document["decision"])
        items = [item["product"] for item in document.get("items", ())]
        if record is None:
            told.append(f"{message.topic}: a decision that is not on record")
        elif items not in (record["chosen"], [WELCOME]) or record["level"] in SILENT:
            told.append(f"{message.topic}: {document['decision']}")
    return told


def _cause(stream: Stream, record: Mapping[str, Any]) -> Arrived | None:
    cause = record["cause"]
    if cause["source"] == AGENT:
        # Time itself: a long dwell calls a person, a screen goes back to the store.
        return None
    return stream.arrived[cause["source"], cause["id"]]
