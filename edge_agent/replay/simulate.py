"""A real day of sales becomes a day in one supermarket: everything its sensors and tills report.

Real: products, quantities, amounts, discounts, the instant of each payment, which household it
was, what that household bought before. Simulated, and following from the seed alone: the ways
through the zones, dwell, beacons and camera tracks, items noticed at shelves, people counters, the
speed of the tills, which fifth of the receipts goes with a loyalty card, and which cardholders
consented.

Payment happens at its real instant unless all tills are busy; then the visit moves to the first
that is free, and `DayCounts` says how many did and by how much.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final

from edge_agent.domain.scoring import PastBasket
from edge_agent.replay.chance import Chance
from edge_agent.replay.dataset import SalesDay
from edge_agent.replay.identifiers import (
    RawIdentifier,
    card_digest,
    customer_handle,
    loyalty_number,
)
from edge_agent.replay.layout import Layout, Register
from edge_agent.replay.sensors import (
    TillVisit,
    consent_events,
    counter_events,
    occupancy_events,
    visit_events,
)
from edge_agent.replay.shopper import Trip, hurried, trip_of
from edge_agent.wire.base import VisitorRef
from edge_agent.wire.downlink import PastPurchase, ProfileBody, ProfileCommand
from edge_agent.wire.events import ConsentGranted, Event

CARD_SHARE: Final = 0.2
CONSENT_SHARE: Final = 0.7
OPENING_S: Final = 60.0
"""Consents of before the day are timed in its first two seconds; visits begin after a minute."""
TILL_PAUSE: Final = timedelta(seconds=12)
"""Between two customers of a till; longer than twice the lateness that a replay may add."""
_PROFILES_BEFORE: Final = timedelta(hours=6)
_PROFILES_FOR: Final = timedelta(days=7)


@dataclass(frozen=True, slots=True, kw_only=True)
class DayCounts:
    """What a simulated day holds.

    Attributes:
        baskets: Receipts, and so sales and visits.
        lines: Lines on them.
        amount: Their sum, US dollars.
        cards: Receipts that go with a loyalty card.
        cardholders: Households behind those.
        consents: How many of them consented.
        moved_sales: Sales that had to wait for a till, and `moved_most_s` the longest wait.
        skipped: Lines and baskets of the data that are left out, by reason.
    """

    baskets: int
    lines: int
    amount: Decimal
    cards: int
    cardholders: int
    consents: int
    moved_sales: int
    moved_most_s: float
    skipped: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedDay:
    """All events of a day.

    Attributes:
        sales_day: The local date.
        opening: The consents that were on file before the day.
        events: Everything else, in a total order of time.
        identifiers: Every raw identifier in either, ascending.
        cardholders: Households that show their card today, and the card.
        starts_at: The day's first instant (UTC).
        ends_at: The first instant of the day after.
    """

    sales_day: date
    opening: tuple[Event, ...]
    events: tuple[Event, ...]
    identifiers: tuple[RawIdentifier, ...]
    cardholders: Mapping[str, str]
    starts_at: datetime
    ends_at: datetime
    counts: DayCounts

    @property
    def opened_at(self) -> datetime:
        """From here on people may be in the store; before it, consents arrive."""
        return self.starts_at + timedelta(seconds=OPENING_S)

    def without_opening(self) -> SimulatedDay:
        """Returns the same day with nothing on file before it."""
        return replace(self, opening=())


def simulate_day(sales: SalesDay, layout: Layout, *, seed: int) -> SimulatedDay:
    """Returns the day in the simulated store; the same arguments give the same events.

    Args:
        sales: The real baskets.
        layout: The store.
        seed: Where all chance comes from.
    """
    lasting = Chance(seed)
    chance = Chance(seed, sales.day.isoformat())
    carded = lasting.some((basket.number for basket in sales.baskets), CARD_SHARE, "cards")
    holders = {
        b.household: loyalty_number(b.household) for b in sales.baskets if b.number in carded
    }
    cards = {b.number: holders[b.household] for b in sales.baskets if b.number in carded}
    consenting = lasting.some(holders, CONSENT_SHARE, "consents")
    visits = _visits(sales, layout, cards, chance)
    opening = consent_events(
        sorted(holders[household] for household in consenting), sales.starts_at, chance
    )
    events: list[Event] = []
    for visit in visits:
        events += visit_events(visit, chance)
    events += counter_events(visits, sales.starts_at, chance)
    events += occupancy_events(visits, layout, sales.starts_at, chance)
    # Stable, so what happens in one millisecond to one person keeps its order.
    events.sort(key=lambda event: event.time or sales.starts_at)
    return SimulatedDay(
        sales_day=sales.day,
        opening=tuple(opening),
        events=tuple(events),
        identifiers=_identifiers(visits, holders.values()),
        cardholders=dict(sorted(holders.items())),
        starts_at=sales.starts_at,
        ends_at=sales.ends_at,
        counts=_counts(sales, visits, n_holders=len(holders), n_consents=len(consenting)),
    )


def profile_commands(
    day: SimulatedDay, histories: Mapping[str, tuple[PastBasket, ...]], *, store: str
) -> tuple[ProfileCommand, ...]:
    """Returns what HQ tells the store before the day: earlier purchases of whoever consented.

    Args:
        day: The day, whose opening says which of its cardholders consented; the agent would
            refuse the others, and their purchases are none of the store's.
        histories: Their earlier baskets, oldest first.
        store: The store's name.
    """
    local_day = day.sales_day
    consenting = {e.data.visitor.value for e in day.opening if isinstance(e, ConsentGranted)}
    return tuple(
        ProfileCommand(
            kind="profile",
            command=f"profile-{card_digest(card)}-{local_day.isoformat()}",
            store=store,
            version=local_day.toordinal(),
            key=card_digest(card),
            issued_at=day.starts_at - _PROFILES_BEFORE,
            expires_at=day.starts_at + _PROFILES_FOR,
            body=ProfileBody(
                visitor=VisitorRef(kind="loyalty", value=card),
                reference=customer_handle(household),
                history=tuple(
                    PastPurchase(at=past.at, products=past.products)
                    for past in histories.get(household, ())
                ),
            ),
        )
        for household, card in day.cardholders.items()
        if card in consenting
    )


def _visits(
    sales: SalesDay, layout: Layout, cards: Mapping[str, str], chance: Chance
) -> tuple[TillVisit, ...]:
    first_at = sales.starts_at + timedelta(seconds=OPENING_S)
    trips: list[Trip] = []
    for basket in sales.baskets:
        available_s = max(1.0, (basket.paid_at - first_at).total_seconds())
        trips.append(hurried(trip_of(basket, layout, chance), available_s))
    # In the order in which they reach the tills.
    trips.sort(key=lambda t: (t.basket.paid_at + timedelta(seconds=t.checkout_s), t.basket.number))
    free_at = dict.fromkeys(layout.registers, sales.starts_at)
    return tuple(_at_a_till(trip, cards.get(trip.basket.number), free_at) for trip in trips)


def _at_a_till(trip: Trip, card: str | None, free_at: dict[Register, datetime]) -> TillVisit:
    """Returns the visit at a free till, or at the one that is free first, and occupies it."""
    wanted_at = trip.basket.paid_at + timedelta(seconds=trip.checkout_s)
    register = next((r for r, at in free_at.items() if at <= wanted_at), None)
    moved = timedelta()
    if register is None:
        register = min(free_at, key=lambda r: free_at[r])
        wait = free_at[register] - wanted_at
        moved = timedelta(seconds=-(-wait // timedelta(seconds=1)))
    visit = TillVisit(trip=trip, register=register, paid_at=trip.basket.paid_at + moved, card=card)
    free_at[register] = visit.at(trip.left_s) + TILL_PAUSE
    return visit


def _identifiers(visits: tuple[TillVisit, ...], cards: Iterable[str]) -> tuple[RawIdentifier, ...]:
    found = {RawIdentifier("loyalty", card) for card in cards}
    for visit in visits:
        found.add(RawIdentifier("basket", visit.trip.basket.number))
        found.add(RawIdentifier(visit.trip.visitor.kind, visit.trip.visitor.value))
    return tuple(sorted(found))


def _counts(
    sales: SalesDay, visits: tuple[TillVisit, ...], *, n_holders: int, n_consents: int
) -> DayCounts:
    waits_s = [(v.paid_at - v.trip.basket.paid_at).total_seconds() for v in visits]
    return DayCounts(
        baskets=len(visits),
        lines=sum(len(visit.trip.basket.lines) for visit in visits),
        amount=sum((visit.trip.basket.total for visit in visits), Decimal("0.00")),
        cards=sum(visit.card is not None for visit in visits),
        cardholders=n_holders,
        consents=n_consents,
        moved_sales=sum(wait_s > 0 for wait_s in waits_s),
        moved_most_s=max(waits_s, default=0.0),
        skipped=sales.skipped,
    )
