"""The simulated day tells the real receipts exactly, and only plausible things around them."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cache
from itertools import pairwise
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.replay.chance import Chance
from edge_agent.replay.dataset import SalesDay, load_day
from edge_agent.replay.identifiers import (
    beacon_address,
    customer_handle,
    ean_check_digit,
    loyalty_number,
    track_id,
)
from edge_agent.replay.layout import store_layout
from edge_agent.replay.play import ReplayOptions, replay_of
from edge_agent.replay.simulate import SimulatedDay, simulate_day
from edge_agent.replay.stream import event_payload
from edge_agent.wire.downlink import COMMAND
from edge_agent.wire.events import (
    EVENT,
    BasketItemAdded,
    BasketOpened,
    CloudEvent,
    ConsentGranted,
    Event,
    ItemLifted,
    LoyaltyScanned,
    PeopleCounted,
    SaleCompleted,
    VisitEnded,
    VisitStarted,
    ZoneDwell,
    ZoneEntered,
    ZoneLeft,
    ZoneOccupancy,
)

E = TypeVar("E", bound=CloudEvent)

SEED = 7
LAYOUT = store_layout()


@cache
def sales() -> SalesDay:
    """The real day, read once."""
    return load_day()


@cache
def simulated(seed: int = SEED) -> SimulatedDay:
    """The whole day in the simulated store."""
    return simulate_day(sales(), LAYOUT, seed=seed)


def of_type(kind: type[E], day: SimulatedDay | None = None) -> list[E]:
    """The day's events of one type."""
    day = day or simulated()
    return [each for each in (*day.opening, *day.events) if isinstance(each, kind)]


def when(event: Event) -> datetime:
    """The event's time, which the replay always gives."""
    assert event.time is not None
    return event.time


def presence() -> dict[str, list[Event]]:
    """What sensors tell of each visit, in the order of the stream."""
    found: dict[str, list[Event]] = defaultdict(list)
    for event in simulated().events:
        match event:
            case VisitStarted() | VisitEnded() | ZoneEntered() | ZoneLeft():
                found[event.data.visitor.value].append(event)
            case ItemLifted() | ZoneDwell() if event.data.visitor is not None:
                found[event.data.visitor.value].append(event)
            case _:
                pass
    return found


def test_same_seed_gives_the_same_day() -> None:
    """Nothing but the arguments decides."""
    again = simulate_day(sales(), LAYOUT, seed=SEED)
    assert again == simulated()


def test_another_seed_gives_another_day_with_the_same_sales() -> None:
    """Chance moves people, never money."""
    other = simulated(SEED + 1)
    assert other.events != simulated().events
    totals = [sorted(each.data.total for each in of_type(SaleCompleted, d)) for d in (other, None)]
    assert totals[0] == totals[1]


def test_sales_are_the_datas_own_line_by_line() -> None:
    """Products, quantities, amounts, discounts, totals and instants are real."""
    told = {each.data.basket: each for each in of_type(SaleCompleted)}
    assert len(told) == len(sales().baskets)
    for basket in sales().baskets:
        sale = told[basket.number]
        assert [(n.product, n.quantity, n.amount, n.discount) for n in sale.data.lines] == [
            (n.product, Decimal(n.quantity), n.amount, n.discount) for n in basket.lines
        ]
        assert sale.data.total == basket.total
        assert sale.time == basket.paid_at


def test_scanned_lines_are_those_of_the_sale_in_its_order() -> None:
    """What goes over the scanner is what is paid."""
    scanned: dict[str, list[tuple[str, Decimal, Decimal | None]]] = defaultdict(list)
    for each in of_type(BasketItemAdded):
        scanned[each.data.basket].append((each.data.product, each.data.quantity, each.data.amount))
    for sale in of_type(SaleCompleted):
        assert scanned[sale.data.basket] == [
            (n.product, n.quantity, n.amount) for n in sale.data.lines
        ]


def test_every_event_is_read_back_as_what_it_is() -> None:
    """What is published passes the wire's own strict models."""
    for event in (*simulated().opening, *simulated().events):
        assert EVENT.validate_json(event_payload(event)) == event


def test_quantities_are_numbers_and_money_is_text() -> None:
    """As a till sends them."""
    sale = json.loads(event_payload(of_type(SaleCompleted)[0]))["data"]
    assert isinstance(sale["lines"][0]["quantity"], int)
    assert re.fullmatch(r"\d+\.\d\d", sale["lines"][0]["amount"])
    assert re.fullmatch(r"\d+\.\d\d", sale["total"])


def test_event_ids_are_unique_and_hold_no_identifier() -> None:
    """An id is a hash: no receipt's number, card or address is in it."""
    events = (*simulated().opening, *simulated().events)
    ids = [event.id for event in events]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[0-9a-f]{24}", each) for each in ids)
    all_ids = "\n".join(ids)
    for identifier in simulated().identifiers:
        assert identifier.value.lower().replace(":", "") not in all_ids


def test_identifiers_name_every_raw_one_that_is_told() -> None:
    """Whoever looks for raw identifiers knows them all from this list."""
    told: set[tuple[str, str]] = set()
    for event in (*simulated().opening, *simulated().events):
        data = event.model_dump()["data"]
        if data.get("visitor"):
            told.add((data["visitor"]["kind"], data["visitor"]["value"]))
        if data.get("basket"):
            told.add(("basket", data["basket"]))
    assert {(each.kind, each.value) for each in simulated().identifiers} == told
    assert {kind for kind, _ in told} == {"ble", "track", "loyalty", "basket"}


def test_a_fifth_of_the_receipts_goes_with_a_card_and_most_holders_consented() -> None:
    """Shares are exact to the nearest whole number."""
    cards = of_type(LoyaltyScanned)
    assert len(cards) == round(0.2 * len(sales().baskets))
    holders = {each.data.visitor.value for each in cards}
    consents = of_type(ConsentGranted)
    assert len(consents) == round(0.7 * len(holders))
    assert {each.data.visitor.value for each in consents} < holders


def test_a_household_shows_the_same_card_with_every_receipt() -> None:
    """The card follows from the household."""
    number = {b.number: b.household for b in sales().baskets}
    for each in of_type(LoyaltyScanned):
        assert each.data.basket is not None
        assert each.data.visitor.value == loyalty_number(number[each.data.basket])


def test_card_is_read_right_after_the_till_began_the_basket() -> None:
    """Before the first line, so that the whole basket is its holder's."""
    opened = {each.data.basket: each for each in of_type(BasketOpened)}
    first_line = {each.data.basket: when(each) for each in reversed(of_type(BasketItemAdded))}
    for card in of_type(LoyaltyScanned):
        assert card.data.basket is not None
        begun = opened[card.data.basket]
        assert card.source == begun.source
        assert when(begun) < when(card) < first_line[card.data.basket]


def test_consents_come_before_anybody_is_in_the_store() -> None:
    """From their own desk, in the day's first minute."""
    consents = of_type(ConsentGranted)
    assert {each.source for each in consents} == {"consent-desk"}
    assert max(when(each) for each in consents) < simulated().opened_at
    assert min(when(each) for each in simulated().events) >= simulated().opened_at


def test_presence_of_a_visit_is_a_chain_of_stays() -> None:
    """In at the entrance, one zone after the other, never in two at once, and out."""
    visits = presence()
    assert len(visits) == len(sales().baskets)
    for told in visits.values():
        assert isinstance(told[0], VisitStarted)
        assert isinstance(told[-1], VisitEnded)
        assert all(when(a) <= when(b) for a, b in pairwise(told))
        here = None
        for event in told[1:-1]:
            match event:
                case ZoneEntered():
                    assert here is None
                    here = event.data.zone
                case ZoneLeft():
                    assert here == event.data.zone
                    here = None
                case ZoneDwell() | ItemLifted():
                    assert here == event.data.zone
                case _:
                    pytest.fail(f"{event.type} within a visit")
        assert here is None


def test_lifted_items_are_on_the_receipt_and_sold_where_they_are_lifted() -> None:
    """Nobody lifts what he did not buy, or lifts it elsewhere."""
    department = {str(n.product): n.department for b in sales().baskets for n in b.lines}
    bought = Counter(n.product for b in sales().baskets for n in b.lines)
    lifted = of_type(ItemLifted)
    assert 0.3 < len(lifted) / bought.total() < 0.4
    for each in lifted:
        assert each.data.zone == LAYOUT.zone_of(department[each.data.product])


def test_till_is_used_by_one_customer_at_a_time() -> None:
    """Who stands in a checkout zone is whose basket is open there."""
    events = simulated().events
    standing: dict[str, str] = {}
    open_at: dict[str, str] = {}
    for event in events:
        match event:
            case ZoneEntered() if event.data.zone.startswith("checkout-"):
                assert event.data.zone not in standing
                standing[event.data.zone] = event.data.visitor.value
            case ZoneLeft() if event.data.zone.startswith("checkout-"):
                assert standing.pop(event.data.zone) == event.data.visitor.value
            case BasketOpened():
                assert event.source not in open_at
                assert event.source.replace("pos", "checkout") in standing
                open_at[event.source] = event.data.basket
            case SaleCompleted():
                assert open_at.pop(event.source) == event.data.basket
                assert event.source.replace("pos", "checkout") in standing
            case _:
                pass
    assert not standing
    assert not open_at


def test_sales_wait_when_the_only_till_is_busy() -> None:
    """They move to later, are counted, and one customer follows the other."""
    day = simulate_day(sales(), store_layout(n_registers=1), seed=SEED)
    paid = {basket.number: basket.paid_at for basket in sales().baskets}
    waits = [when(each) - paid[each.data.basket] for each in of_type(SaleCompleted, day)]
    assert min(waits) >= timedelta()
    assert sum(wait > timedelta() for wait in waits) == day.counts.moved_sales > 0
    assert max(waits).total_seconds() == day.counts.moved_most_s


def test_counter_counts_everybody_in_and_out() -> None:
    """Entries less exits is nobody, and both are the visits."""
    counted = of_type(PeopleCounted)
    assert sum(each.data.entries for each in counted) == len(sales().baskets)
    assert sum(each.data.exits for each in counted) == len(sales().baskets)
    assert all(
        a.time and b.time and b.time - a.time == timedelta(minutes=1) for a, b in pairwise(counted)
    )


def test_occupancy_is_how_many_are_in_the_zone_then() -> None:
    """The level equals those who came in less those who left up to that instant."""
    moves: dict[str, list[tuple[datetime, int]]] = defaultdict(list)
    for event in simulated().events:
        if isinstance(event, ZoneEntered | ZoneLeft):
            moves[event.data.zone].append((when(event), 1 if event.type == "zone.entered" else -1))
    levels = of_type(ZoneOccupancy)
    assert any(each.data.count > 1 for each in levels)
    for each in levels:
        inside = sum(change for at, change in moves[each.data.zone] if at <= when(each))
        assert each.data.count == inside


def test_some_visits_linger_without_lifting() -> None:
    """Enough of them that staff have somebody to help, told by heartbeats."""
    limits = {str(zone.id): zone.long_dwell_s for zone in LAYOUT.sales_zones}
    long = {
        (each.data.visitor.value, each.data.zone)
        for each in of_type(ZoneDwell)
        if each.data.visitor is not None and each.data.dwell_s >= (limits[each.data.zone] or 0)
    }
    lifted_in = {
        (each.data.visitor.value, each.data.zone)
        for each in of_type(ItemLifted)
        if each.data.visitor is not None
    }
    assert 10 < len(long - lifted_in) < 50


def test_first_visits_begin_on_the_day_itself() -> None:
    """Those who pay at three minutes past midnight hurry, and their till with them."""
    first = of_type(SaleCompleted)[0]
    assert when(first) - simulated().starts_at < timedelta(minutes=5)
    assert when(of_type(VisitStarted)[0]) >= simulated().opened_at


def test_profile_tells_each_consenting_cardholders_history_before_the_day() -> None:
    """A valid command for this store, with nothing of the day itself, nor of anybody else."""
    replay = replay_of(sales(), ReplayOptions(seed=SEED, baskets=60, store="s9"))
    commands = replay.profiles()
    cards = {each.data.visitor.value for each in of_type(LoyaltyScanned, replay.first)}
    consenting = {each.data.visitor.value for each in of_type(ConsentGranted, replay.first)}
    assert {each.body.visitor.value for each in commands} == consenting < cards
    for command in commands:
        assert COMMAND.validate_json(command.model_dump_json()) == command
        assert command.store == "s9"
        assert command.issued_at < replay.first.starts_at < command.expires_at
        assert 0 < len(command.body.history) <= 60
        times = [past.at for past in command.body.history]
        assert times == sorted(times)
        assert times[-1] < replay.first.starts_at
        assert command.body.visitor.value not in command.body.reference + command.key


@given(st.integers(min_value=1, max_value=3_000))
def test_card_numbers_have_thirteen_digits_and_a_valid_check_digit(household: int) -> None:
    """Weighted 1 and 3 from the left, an EAN-13 sums to a multiple of ten."""
    number = loyalty_number(str(household))
    assert re.fullmatch(r"29\d{11}", number)
    assert sum(int(d) * (1, 3)[i % 2] for i, d in enumerate(number)) % 10 == 0


def test_check_digit_is_that_of_a_known_number() -> None:
    """The wire's own example of a card."""
    assert ean_check_digit("640000000900") == 5


def test_households_have_cards_and_handles_of_their_own() -> None:
    """Over all households of the data, no two share one."""
    households = [str(i) for i in range(1, 2_501)]
    assert len({loyalty_number(each) for each in households}) == len(households)
    assert len({customer_handle(each) for each in households}) == len(households)


@given(st.text(max_size=20), st.integers())
def test_beacons_are_individual_and_locally_administered(visit: str, seed: int) -> None:
    """No address can be one that a maker gave to a device."""
    address = beacon_address(Chance(seed), visit)
    assert re.fullmatch(r"([0-9A-F]{2}:){5}[0-9A-F]{2}", address)
    assert int(address[:2], 16) & 0b11 == 0b10
    assert re.fullmatch(r"trk-[0-9a-f]{10}", track_id(Chance(seed), visit))


@given(st.sets(st.text(max_size=5)), st.floats(min_value=0, max_value=1), st.integers())
def test_share_of_names_is_exact_and_does_not_depend_on_their_order(
    names: set[str], share: float, seed: int
) -> None:
    """Ranked by hash, so order and repetition of the names do not matter."""
    chosen = Chance(seed).some(names, share, "x")
    assert len(chosen) == round(share * len(names))
    assert chosen <= names
    assert chosen == Chance(seed).some([*sorted(names, reverse=True), *names], share, "x")


@given(st.integers(), st.text())
def test_draws_are_in_range_and_named(seed: int, name: str) -> None:
    """The same name draws the same; another name or scope draws its own."""
    chance = Chance(seed)
    assert 0 <= chance.share(name) < 1
    assert chance.share(name) == Chance(seed).share(name)
    assert chance.share(name) != chance.share(name, "again")
    assert chance.share(name) != Chance(seed, "scope").share(name)
