"""What sensors and tills report of the trips, as canonical events.

Every event is built as a wire model, so nothing invalid can be published. An event's id is a keyed
hash of the seed and of what happened: nobody gets from it to a receipt or a card.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from edge_agent.domain.ids import ZoneId
from edge_agent.replay.chance import Chance
from edge_agent.replay.dataset import Line
from edge_agent.replay.layout import ENTRANCE, Layout, Register
from edge_agent.replay.shopper import HEARTBEAT_S, Stay, Trip
from edge_agent.wire.base import VisitorRef
from edge_agent.wire.events import (
    BasketData,
    BasketItemAdded,
    BasketItemData,
    BasketOpened,
    ConsentGranted,
    ConsentGrantedData,
    DwellData,
    Event,
    ItemData,
    ItemLifted,
    LoyaltyData,
    LoyaltyScanned,
    OccupancyData,
    PeopleCounted,
    PeopleCountedData,
    Purpose,
    SaleCompleted,
    SaleData,
    VisitEnded,
    VisitorData,
    VisitorInZone,
    VisitStarted,
    ZoneDwell,
    ZoneEntered,
    ZoneLeft,
    ZoneOccupancy,
)
from edge_agent.wire.sales import SaleLine

CURRENCY: Final = "USD"
DOOR_COUNTER: Final = f"counter-{ENTRANCE}"
COUNTING: Final = timedelta(minutes=1)
"""How often the people counter at the entrance reports."""
OCCUPANCY: Final = timedelta(minutes=5)
"""How often each zone's occupancy is reported."""
CONSENT_DESK: Final = "consent-desk"
CONSENT_TEXT: Final = "2017-11"
PURPOSES: Final[tuple[Purpose, ...]] = (
    "personal_recommendations",
    "profiling",
    "staff_assistance",
    "sending_to_hq",
    "marketing",
)
_BETWEEN_CONSENTS: Final = timedelta(milliseconds=20)


@dataclass(frozen=True, slots=True, kw_only=True)
class TillVisit:
    """A trip with its place: which till, when it was paid, and which card was read."""

    trip: Trip
    register: Register
    paid_at: datetime
    card: str | None

    def at(self, offset_s: float) -> datetime:
        """Returns an instant of the trip, to the millisecond."""
        return self.paid_at + timedelta(milliseconds=round(offset_s * 1000))


def visit_events(visit: TillVisit, chance: Chance) -> Iterator[Event]:
    """Yields everything that is sensed of one person, in order of time."""
    trip = visit.trip
    sensor = "ble" if trip.visitor.kind == "ble" else "cam"
    entrance = VisitorData(visitor=trip.visitor, zone=ENTRANCE)
    head = _Head(chance, trip.basket.number)
    yield VisitStarted(
        type="visit.started",
        data=entrance,
        **head.of(f"{sensor}-{ENTRANCE}", visit.at(trip.started_s), "start"),
    )
    for stay in trip.stays:
        yield from _stay_events(visit, stay, sensor, head)
    checkout = Stay(zone=visit.register.zone, entered_s=trip.checkout_s, left_s=trip.left_s)
    presence = list(_stay_events(visit, checkout, sensor, head))
    yield presence[0]
    yield from _till_events(visit, head)
    yield from presence[1:]
    yield VisitEnded(
        type="visit.ended",
        data=entrance,
        **head.of(f"{sensor}-{ENTRANCE}", visit.at(trip.ended_s), "end"),
    )


def consent_events(cards: Iterable[str], at: datetime, chance: Chance) -> Iterator[Event]:
    """Yields the cardholders' consents, one after the other from `at` on."""
    for card in cards:
        head = _Head(chance, card)
        yield ConsentGranted(
            type="consent.granted",
            data=ConsentGrantedData(
                visitor=VisitorRef(kind="loyalty", value=card),
                purposes=PURPOSES,
                text_version=CONSENT_TEXT,
                channel="desk",
            ),
            **head.of(CONSENT_DESK, at, "consent"),
        )
        at += _BETWEEN_CONSENTS


def counter_events(
    visits: Iterable[TillVisit], starts_at: datetime, chance: Chance
) -> Iterator[Event]:
    """Yields how many came in and went out in each minute, up to the last one who left."""
    entries: Counter[int] = Counter()
    exits: Counter[int] = Counter()
    for visit in visits:
        entries[(visit.at(visit.trip.started_s) - starts_at) // COUNTING] += 1
        exits[(visit.at(visit.trip.ended_s) - starts_at) // COUNTING] += 1
    head = _Head(chance, "counter")
    for minute in range(max(exits, default=-1) + 1):
        yield PeopleCounted(
            type="people.counted",
            data=PeopleCountedData(
                zone=ENTRANCE,
                entries=entries[minute],
                exits=exits[minute],
                interval_s=COUNTING.total_seconds(),
            ),
            **head.of(DOOR_COUNTER, starts_at + (minute + 1) * COUNTING, minute),
        )


def occupancy_events(
    visits: Iterable[TillVisit], layout: Layout, starts_at: datetime, chance: Chance
) -> Iterator[Event]:
    """Yields how many are in each sales zone, every few minutes, the zones a second apart."""
    moves: dict[ZoneId, list[tuple[datetime, int]]] = {z.id: [] for z in layout.sales_zones}
    ends_at = starts_at
    for visit in visits:
        ends_at = max(ends_at, visit.at(visit.trip.ended_s))
        for stay in visit.trip.stays:
            moves[stay.zone].append((visit.at(stay.entered_s), 1))
            moves[stay.zone].append((visit.at(stay.left_s), -1))
    for place, zone in enumerate(layout.sales_zones):
        head = _Head(chance, f"occupancy {zone.id}")
        waiting = iter([*sorted(moves[zone.id]), (datetime.max.replace(tzinfo=ends_at.tzinfo), 0)])
        moved_at, change = next(waiting)
        count = 0
        at = starts_at + OCCUPANCY + timedelta(seconds=place)
        while at <= ends_at:
            while moved_at <= at:
                count += change
                moved_at, change = next(waiting)
            yield ZoneOccupancy(
                type="zone.occupancy",
                data=OccupancyData(zone=zone.id, count=count),
                **head.of(f"occupancy-{zone.id}", at, at.isoformat()),
            )
            at += OCCUPANCY


class _Head:
    """Envelopes of the events about one subject."""

    __slots__ = ("_chance", "_subject")

    def __init__(self, chance: Chance, subject: str) -> None:
        self._chance = chance
        self._subject = subject

    def of(self, source: str, at: datetime, *what: object) -> dict[str, Any]:
        """Returns the envelope of what happened at `at`."""
        return {
            "specversion": "1.0",
            "id": self._chance.token("event", self._subject, *what),
            "source": source,
            "time": at,
        }


def _stay_events(visit: TillVisit, stay: Stay, sensor: str, head: _Head) -> Iterator[Event]:
    here = VisitorInZone(visitor=visit.trip.visitor, zone=stay.zone)
    source = f"{sensor}-{stay.zone}"
    yield ZoneEntered(
        type="zone.entered",
        data=here,
        **head.of(source, visit.at(stay.entered_s), "enter", stay.zone),
    )
    inside = [*_lift_events(visit, stay, head)]
    if stay.has_heartbeats:
        inside += _heartbeats(visit, stay, source, head)
    yield from sorted(inside, key=_time_of)
    yield ZoneLeft(
        type="zone.left", data=here, **head.of(source, visit.at(stay.left_s), "leave", stay.zone)
    )


def _lift_events(visit: TillVisit, stay: Stay, head: _Head) -> Iterator[Event]:
    for lift in stay.lifts:
        yield ItemLifted(
            type="item.lifted",
            data=ItemData(
                product=visit.trip.basket.lines[lift.line].product,
                visitor=visit.trip.visitor if lift.is_named else None,
                zone=stay.zone,
            ),
            **head.of(f"shelf-{stay.zone}", visit.at(lift.at_s), "lift", lift.line),
        )


def _heartbeats(visit: TillVisit, stay: Stay, source: str, head: _Head) -> Iterator[Event]:
    for n in range(1, int((stay.left_s - stay.entered_s) // HEARTBEAT_S) + 1):
        dwell_s = n * HEARTBEAT_S
        yield ZoneDwell(
            type="zone.dwell",
            data=DwellData(visitor=visit.trip.visitor, zone=stay.zone, dwell_s=dwell_s),
            **head.of(source, visit.at(stay.entered_s + dwell_s), "dwell", stay.zone, n),
        )


def _till_events(visit: TillVisit, head: _Head) -> Iterator[Event]:
    trip, till = visit.trip, visit.register.id
    basket = trip.basket
    holder = None if visit.card is None else VisitorRef(kind="loyalty", value=visit.card)
    yield BasketOpened(
        type="basket.opened",
        data=BasketData(basket=basket.number),
        **head.of(till, visit.at(trip.opened_s), "open"),
    )
    if holder is not None:
        yield LoyaltyScanned(
            type="loyalty.scanned",
            data=LoyaltyData(visitor=holder, basket=basket.number),
            **head.of(till, visit.at(trip.card_s), "card"),
        )
    for i, line in enumerate(basket.lines):
        yield BasketItemAdded(
            type="basket.item_added",
            data=BasketItemData(
                basket=basket.number,
                product=line.product,
                quantity=Decimal(line.quantity),
                amount=line.amount,
                discount=line.discount,
                currency=CURRENCY,
            ),
            **head.of(till, visit.at(trip.line_s[i]), "line", i),
        )
    yield SaleCompleted(
        type="sale.completed",
        data=SaleData(
            basket=basket.number,
            visitor=holder,
            currency=CURRENCY,
            lines=tuple(map(_sale_line, basket.lines)),
            total=basket.total,
        ),
        **head.of(till, visit.paid_at, "sale"),
    )


def _sale_line(line: Line) -> SaleLine:
    return SaleLine(
        product=line.product,
        quantity=Decimal(line.quantity),
        amount=line.amount,
        discount=line.discount,
    )


def _time_of(event: Event) -> datetime:
    assert event.time is not None  # noqa: S101 - every event here is built with its time
    return event.time
