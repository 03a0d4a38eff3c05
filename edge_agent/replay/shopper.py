"""One receipt becomes one person's way through the store.

Real are the receipt, its lines and the instant of payment. Simulated, from the seed, is all that
leads up to it: who is sensed by a beacon and who by cameras, which zones he passes, how long he
stays, which items a shelf notices, how fast the till goes. The way is built from the departments
on the receipt, so people walk where they bought; nobody in this store leaves without buying.

A trip is a plan in seconds relative to payment (negative before it); `simulate` puts it on the
clock and at a till.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from edge_agent.domain.ids import ZoneId
from edge_agent.replay.chance import Chance
from edge_agent.replay.dataset import Basket
from edge_agent.replay.identifiers import beacon_address, track_id
from edge_agent.replay.layout import Layout, Zone
from edge_agent.wire.base import VisitorRef

# None of these is measured in a shop: they are plausible, not known. They are set so that visits
# on 2017-12-02 last from a minute and a half to half an hour, with a median of six minutes.
BEACON_SHARE: Final = 0.4
"""Visits with an opted-in app or beacon; cameras count the others without knowing them."""
PASSING_SHARE: Final = 0.12
"""Chance of walking through a zone without buying there."""
LIFT_SHARE: Final = 0.35
"""Items whose lifting a shelf or camera notices."""
NAMED_LIFT_SHARE: Final = 0.8
"""Noticed liftings of which it is known whose hand it was."""
LINGER_SHARE: Final = 0.06
"""Visits with one long stay without lifting anything: somebody who may need help."""
HEARTBEAT_SHARE: Final = 0.5
"""Visits whose sensors repeat that the person is still there."""
HEARTBEAT_S: Final = 60.0

_ZONE_S: Final = (15.0, 45.0)
_ITEM_S: Final = (6.0, 22.0)
_PASSING_S: Final = (8.0, 25.0)
_LINGER_S: Final = (45.0, 240.0)
_WALK_S: Final = (5.0, 20.0)
_QUEUE_S: Final = (10.0, 90.0)
_GREETING_S: Final = (5.0, 15.0)
_CARD_S: Final = (1.0, 3.0)
_SCAN_S: Final = (1.6, 4.0)
_PAYING_S: Final = (12.0, 40.0)
_PACKING_S: Final = (5.0, 20.0)
_WAY_OUT_S: Final = (15.0, 60.0)
_MESS: Final = 2.5
"""By how many places in the walking order somebody may depart from it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lift:
    """An item noticed as it leaves its shelf."""

    line: int
    at_s: float
    is_named: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Stay:
    """One stay in one zone."""

    zone: ZoneId
    entered_s: float
    left_s: float
    lifts: tuple[Lift, ...] = ()
    has_heartbeats: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Trip:
    """A visit, in seconds relative to payment.

    Attributes:
        visitor: How sensors name the person.
        line_s: When each line goes over the scanner.
        card_s: When a loyalty card would be read, right after the till began the basket.
    """

    basket: Basket
    visitor: VisitorRef
    started_s: float
    stays: tuple[Stay, ...]
    checkout_s: float
    opened_s: float
    card_s: float
    line_s: tuple[float, ...]
    left_s: float
    ended_s: float


def trip_of(basket: Basket, layout: Layout, chance: Chance) -> Trip:
    """Returns the way of the person who paid this basket."""
    number = basket.number
    paying_s = chance.between(*_PAYING_S, "paying", number)
    n_lines = len(basket.lines)
    scan_s = [chance.between(*_SCAN_S, "scan", number, i) for i in range(n_lines)]
    line_s = tuple(-paying_s - sum(scan_s[i + 1 :]) for i in range(n_lines))
    card_s = line_s[0] - scan_s[0]
    opened_s = card_s - chance.between(*_CARD_S, "card", number)
    checkout_s = opened_s - chance.between(*_GREETING_S, "greeting", number)
    stays = _stays(basket, layout, chance)
    walked_s = stays[-1].left_s if stays else 0.0
    queued_s = chance.between(*_QUEUE_S, "queue", number)
    started_s = checkout_s - queued_s - walked_s
    left_s = chance.between(*_PACKING_S, "packing", number)
    return Trip(
        basket=basket,
        visitor=_visitor(number, chance),
        started_s=started_s,
        stays=tuple(_later(stay, started_s) for stay in stays),
        checkout_s=checkout_s,
        opened_s=opened_s,
        card_s=card_s,
        line_s=line_s,
        left_s=left_s,
        ended_s=left_s + chance.between(*_WAY_OUT_S, "way out", number),
    )


def hurried(trip: Trip, available_s: float) -> Trip:
    """Returns the trip with everything before payment squeezed into `available_s` seconds.

    The first receipts of a day are paid just after midnight; their visits begin on that day too.
    """
    pace = min(1.0, available_s / -trip.started_s)
    return replace(
        trip,
        started_s=trip.started_s * pace,
        stays=tuple(_scaled(stay, pace) for stay in trip.stays),
        checkout_s=trip.checkout_s * pace,
        opened_s=trip.opened_s * pace,
        card_s=trip.card_s * pace,
        line_s=tuple(at * pace for at in trip.line_s),
    )


def _visitor(number: str, chance: Chance) -> VisitorRef:
    if chance.share("beacon or camera", number) < BEACON_SHARE:
        return VisitorRef(kind="ble", value=beacon_address(chance, number))
    return VisitorRef(kind="track", value=track_id(chance, number))


def _stays(basket: Basket, layout: Layout, chance: Chance) -> list[Stay]:
    """Returns the stays in sales zones, in seconds from the start of the visit."""
    number = basket.number
    wanted = _lines_by_zone(basket, layout)
    if not wanted:
        return []
    path = _path(layout, wanted, number, chance)
    lingers_in = None
    if chance.share("linger", number) < LINGER_SHARE:
        lingers_in = path[int(chance.share("linger where", number) * len(path))].id
    has_heartbeats = chance.share("heartbeats", number) < HEARTBEAT_SHARE
    stays: list[Stay] = []
    at_s = 0.0
    for zone in path:
        at_s += chance.between(*_WALK_S, "walk", number, zone.id)
        stay = _stay(zone, wanted.get(zone.id, ()), number, chance)
        if zone.id == lingers_in:
            stay = _lingering(zone, stay, number, chance)
        stays.append(
            replace(_later(stay, at_s), has_heartbeats=has_heartbeats or zone.id == lingers_in)
        )
        at_s = stays[-1].left_s
    return stays


def _lines_by_zone(basket: Basket, layout: Layout) -> dict[ZoneId, tuple[int, ...]]:
    wanted: dict[ZoneId, tuple[int, ...]] = {}
    for i, line in enumerate(basket.lines):
        zone = layout.zone_of(line.department)
        if zone is not None:
            wanted[zone] = (*wanted.get(zone, ()), i)
    return wanted


def _path(
    layout: Layout, wanted: dict[ZoneId, tuple[int, ...]], number: str, chance: Chance
) -> list[Zone]:
    places = {
        zone.id: place + chance.between(0, _MESS, "order", number, zone.id)
        for place, zone in enumerate(layout.sales_zones)
        if zone.id in wanted or chance.share("passing", number, zone.id) < PASSING_SHARE
    }
    walked = [zone for zone in layout.sales_zones if zone.id in places]
    return sorted(walked, key=lambda zone: (places[zone.id], zone.id))


def _stay(zone: Zone, lines: tuple[int, ...], number: str, chance: Chance) -> Stay:
    if not lines:
        passing_s = chance.between(*_PASSING_S, "pass", number, zone.id)
        return Stay(zone=zone.id, entered_s=0.0, left_s=passing_s)
    at_s = chance.between(*_ZONE_S, "zone", number, zone.id) / 2
    lifts: list[Lift] = []
    for i in lines:
        at_s += chance.between(*_ITEM_S, "item", number, i)
        if chance.share("lift", number, i) < LIFT_SHARE:
            is_named = chance.share("whose hand", number, i) < NAMED_LIFT_SHARE
            lifts.append(Lift(line=i, at_s=at_s, is_named=is_named))
    left_s = at_s + chance.between(*_ZONE_S, "leave", number, zone.id) / 2
    return Stay(zone=zone.id, entered_s=0.0, left_s=left_s, lifts=tuple(lifts))


def _lingering(zone: Zone, stay: Stay, number: str, chance: Chance) -> Stay:
    enough_s = zone.long_dwell_s or 0
    left_s = enough_s + chance.between(*_LINGER_S, "linger how long", number)
    return replace(stay, left_s=max(stay.left_s, left_s), lifts=())


def _later(stay: Stay, by_s: float) -> Stay:
    return replace(
        stay,
        entered_s=stay.entered_s + by_s,
        left_s=stay.left_s + by_s,
        lifts=tuple(replace(lift, at_s=lift.at_s + by_s) for lift in stay.lifts),
    )


def _scaled(stay: Stay, pace: float) -> Stay:
    return replace(
        stay,
        entered_s=stay.entered_s * pace,
        left_s=stay.left_s * pace,
        lifts=tuple(replace(lift, at_s=lift.at_s * pace) for lift in stay.lifts),
    )
