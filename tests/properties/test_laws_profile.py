"""Laws of the profile: order is nothing, what is taken back was never, and no means nothing."""

from __future__ import annotations

import random
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.domain.ids import BasketId, ProductId
from edge_agent.domain.time import DAY_MS, datetime_from_ms
from edge_agent.domain.visitor import Profile, Purchase, Return
from edge_agent.shell.derived import Shop, derived_of
from edge_agent.shell.person import find_person
from edge_agent.state.profile import (
    HISTORY_BASKETS_MAX,
    PURCHASES_MAX,
    bought_in,
    interests_from,
    past_basket,
    with_purchase,
    with_return,
    without_purchase,
)
from edge_agent.state.traits import WHY_MAX, Evidence, Knowledge, traits_from
from edge_agent.wire.events import Event
from tests.factories import (
    CARD,
    T0,
    at,
    entered,
    event,
    granted,
    left,
    products,
    sale,
    scanned_card,
    till,
    withdrawn,
    world,
)
from tests.fakes import NEW_YORK, World
from tests.properties.test_laws_links import without_links
from tests.properties.test_laws_state_store import DiskWorld

DEPARTMENTS: Final = {each.id: str(each.department) for each in products()}
LEVELS: Final = {ProductId("d0"): 0.9, ProductId("d1"): 0.2, ProductId("k0"): 0.5}
# As far back as an event still corrects.
WEEK_S: Final = 600_000
HOUR_S: Final = 3_600
seconds = st.integers(0, WEEK_S)


def bought(number: int, day: int, named: tuple[str, ...]) -> Purchase:
    """Returns a purchase of one day."""
    return Purchase(
        basket=BasketId(f"b{number:03d}"),
        at_ms=T0 + day * DAY_MS,
        products=tuple(ProductId(each) for each in sorted(set(named))),
        total=Decimal(len(named)),
        currency="USD",
    )


def numbered(max_size: int) -> st.SearchStrategy[list[Purchase]]:
    """Purchases of different baskets."""
    made = st.tuples(
        st.integers(0, 400),
        st.lists(st.sampled_from(("d0", "d1", "k0", "unknown")), max_size=3).map(tuple),
    )
    return st.lists(made, max_size=max_size).map(
        lambda found: [bought(n, day, named) for n, (day, named) in enumerate(found)]
    )


def remembered(found: list[Purchase], profile: Profile | None = None) -> Profile:
    """Returns the profile after purchases, heard of in this order."""
    profile = profile or Profile()
    for each in found:
        profile = with_purchase(profile, each, DEPARTMENTS)
    return profile


def known_at(day: int) -> Knowledge:
    """Returns what the store knows on one day."""
    now_ms = T0 + day * DAY_MS
    return Knowledge(
        departments=DEPARTMENTS, brands={}, price_levels=LEVELS, zone=NEW_YORK, now_ms=now_ms
    )


@given(numbered(12), st.randoms(use_true_random=False))
def test_the_order_of_purchases_does_not_matter(
    found: list[Purchase], chance: random.Random
) -> None:
    """Heard of in any order, the profile and all that is said of it are the same."""
    other = list(found)
    chance.shuffle(other)
    one, two = remembered(found), remembered(other)
    assert one == two
    told = [traits_from(Evidence(purchases=each.purchases), known_at(401)) for each in (one, two)]
    assert told[0] == told[1]
    assert told[0] == traits_from(Evidence(purchases=tuple(other)), known_at(401))


@given(numbered(12), st.data())
def test_a_purchase_that_is_taken_back_leaves_no_trace(
    found: list[Purchase], data: st.DataObject
) -> None:
    """What is left is what the others alone would have made."""
    gone = data.draw(st.lists(st.sampled_from(found), unique=True)) if found else []
    profile = remembered(found)
    for each in gone:
        profile = without_purchase(profile, each, DEPARTMENTS)
    assert profile == remembered([each for each in found if each not in gone])


came_back = st.lists(
    st.builds(
        Return,
        at_ms=st.integers(200, 400).map(lambda day: T0 + day * DAY_MS),
        tie=st.integers(0, 3),
        basket=st.sampled_from((None, BasketId("b000"), BasketId("b001"), BasketId("another"))),
        lines=st.lists(
            st.tuples(st.sampled_from(("d0", "d1", "k0")).map(ProductId), st.just(Decimal(1))),
            max_size=2,
        ).map(tuple),
        currency=st.sampled_from(("USD", "USD", "EUR")),
    ),
    max_size=6,
    unique_by=lambda each: (each.at_ms, each.tie),
)


@given(numbered(8), came_back, st.randoms(use_true_random=False))
def test_what_comes_back_is_of_the_sale_named_or_else_of_the_newest_before(
    found: list[Purchase], back: list[Return], chance: random.Random
) -> None:
    """Told in any order among the sales, each line takes its product out of one of them."""
    told: list[Purchase | Return] = [*found, *back]
    chance.shuffle(told)
    profile = Profile()
    for each in told:
        if isinstance(each, Return):
            profile = with_return(profile, each, DEPARTMENTS)
        else:
            profile = with_purchase(profile, each, DEPARTMENTS)
    left = {each.basket: list(each.products) for each in profile.purchases}
    for one in sorted(back, key=lambda each: (each.at_ms, each.tie)):
        for product, _ in one.lines:
            # The purchases are in order: the last of these is the newest.
            sales = [
                each.basket
                for each in profile.purchases
                if product in left[each.basket]
                and (one.basket not in left or one.basket == each.basket)
                and (each.at_ms <= one.at_ms and each.currency == one.currency)
            ]
            if sales:
                left[sales[-1]].remove(product)
    emptied = {
        each.basket for each in profile.purchases if each.products and not left[each.basket]
    }
    assert {each.basket: list(each.products) for each in bought_in(profile)} == {
        basket: products for basket, products in left.items() if basket not in emptied
    }
    own = {past_basket(each) for each in bought_in(profile)}
    assert profile.history == tuple(sorted(own, key=lambda each: (each.at, each.products)))


@given(st.integers(2, 30), st.integers(0, 60))
def test_an_interest_grows_with_repeats_and_fades_with_time(n: int, days: int) -> None:
    """One more purchase makes it stronger, every day without one weaker, and years end it."""
    history = [past_basket(bought(k, k, ("d0",))) for k in range(n + 1)]

    def strength(baskets: int, day: int) -> float:
        now = datetime_from_ms(T0 + day * DAY_MS)
        return dict(interests_from(history[:baskets], DEPARTMENTS, now=now)).get("DAIRY", 0.0)

    assert strength(n + 1, n + days) > strength(n, n + days)
    assert strength(n, n + days) > strength(n, n + days + 30) >= 0.0
    assert 0.0 < strength(n, n) < 1.0
    assert strength(n, n + 1_000) == 0.0


@given(st.integers(1, 3), st.integers(0, 30))
def test_a_profile_and_its_reasons_stay_bounded(times: int, more: int) -> None:
    """The newest are kept, and the newest few are named."""
    found = [bought(n, n, ("d0",)) for n in range(times * PURCHASES_MAX + more)]
    profile = remembered(found)
    assert profile.purchases == tuple(found[-PURCHASES_MAX:])
    assert len(profile.history) <= HISTORY_BASKETS_MAX
    traits = traits_from(Evidence(purchases=profile.purchases), known_at(len(found)))
    for each in traits:
        assert 0 < len(each.why) <= WHY_MAX
        assert each.first_at_ms <= each.last_at_ms
    # The clock is put back within a year: the usual hour need not be the newest's.
    newest = {each.why[0] for each in traits if each.kind != "usual_hour"}
    assert newest == {found[-1].basket}


# --- through the engine -------------------------------------------------------------------------

Told = tuple[str, int, str]
sold = st.lists(
    st.tuples(st.sampled_from(("b1", "b2", "b3")), seconds, st.sampled_from(("d0", "d1", "k0"))),
    max_size=6,
)


def events_of(found: list[Told], *, voided: frozenset[str] = frozenset()) -> list[Event]:
    """Returns the card, the sales and their corrections, and the voids, oldest first."""
    made: list[Event] = []
    for basket in sorted({each[0] for each in found}):
        first = min(at_s for each, at_s, _ in found if each == basket)
        made.append(till("basket.opened", first, basket=basket))
        made.append(scanned_card(first, basket=basket))
    made += [sale(at_s, product, basket=basket) for basket, at_s, product in found]
    made += [till("sale.voided", HOUR_S, basket=each) for each in sorted(voided)]
    return made


def lived(events: list[Event], *before: Event) -> World:
    """Returns a store that heard of events, in this order, a week after."""
    heard = world()
    heard.take(*before)
    heard.tick(at(WEEK_S + 60))
    heard.take(*events)
    return heard


def profile_of(heard: World) -> Any:
    """Returns the card holder's profile."""
    visitor = heard.visitor("loyalty", CARD)
    assert visitor is not None
    return visitor.profile


@given(sold, st.data())
def test_sales_corrections_and_voids_in_any_order_make_one_profile(
    found: list[Told], data: st.DataObject
) -> None:
    """A correction replaces, a void removes; which came first is nothing.

    Each basket's events are of one store day: later its number is another basket's.
    """
    found = [(basket, at_s % HOUR_S, product) for basket, at_s, product in found]
    voided = data.draw(st.frozensets(st.sampled_from(("b1", "b2", "b3"))))
    made = events_of(found, voided=voided)
    order = data.draw(st.permutations(made))
    profiles = [profile_of(lived(each, granted(-60))) for each in (made, order)]
    assert profiles[0] == profiles[1]
    kept = [each for each in found if each[0] not in voided]
    others = [each for each in made if vars(each.data)["basket"] not in voided]
    assert profiles[0] == profile_of(lived(others, granted(-60)))
    assert len(profiles[0].purchases) == len({each[0] for each in kept})


def brought_back(at_s: int, *named: str, basket: str = "r1", **data: Any) -> Event:
    """Returns that the card holder brought goods back."""
    lines = [{"product": each, "quantity": 1, "amount": "1.00"} for each in named]
    whole = {"basket": basket, "currency": "USD", "lines": lines, "total": f"{len(named)}.00"}
    visitor = {"kind": "loyalty", "value": CARD}
    return event("sale.returned", at_s, source="pos-1", visitor=visitor, **{**whole, **data})


@given(
    sold,
    st.lists(
        st.tuples(
            st.sampled_from(("b1", "b2", "r1")),
            st.integers(0, 2 * HOUR_S),
            st.sampled_from(("d0", "d1", "k0")),
        ),
        max_size=4,
    ),
    st.data(),
)
def test_sales_and_returns_in_any_order_make_one_profile(
    found: list[Told], backs: list[Told], data: st.DataObject
) -> None:
    """What came back is taken back, whichever was heard of first."""
    made = events_of([(basket, at_s % HOUR_S, product) for basket, at_s, product in found])
    made += [brought_back(at_s, product, basket=basket) for basket, at_s, product in backs]
    order = data.draw(st.permutations(made))
    one, two = (profile_of(lived(each, granted(-60))) for each in (made, order))
    assert one == two
    left = {past_basket(each) for each in bought_in(one)}
    assert left == set(one.history)
    assert sum(len(each.products) for each in one.history) <= sum(
        len(each.products) for each in one.purchases
    )


@given(sold)
def test_who_brings_everything_back_has_bought_nothing(found: list[Told]) -> None:
    """All that was said of him is as if there had been no sale."""
    made = events_of([(basket, at_s % HOUR_S, product) for basket, at_s, product in found])
    baskets = sorted({each[0] for each in found})
    back = [brought_back(2 * HOUR_S, "d0", "d1", "k0", basket=each) for each in baskets]
    profile = profile_of(lived([*made, *back], granted(-60)))
    assert (profile.history, profile.interests, bought_in(profile)) == ((), (), ())
    assert traits_from(Evidence(purchases=bought_in(profile)), known_at(1)) == ()


@given(
    st.lists(st.tuples(st.integers(0, 50), st.booleans()), max_size=5),
    st.lists(st.integers(0, 50), max_size=3),
    st.data(),
)
def test_nothing_is_remembered_without_consent(
    said: list[tuple[int, bool]], sales: list[int], data: st.DataObject
) -> None:
    """Whatever is heard first: only what was bought under a consent never taken back since."""
    made: list[Event] = [
        (granted if yes else withdrawn)(10 * n, purposes=("profiling",)) for n, yes in said
    ]
    for number, n in enumerate(sales, start=1):
        basket = f"b{number}"
        made += [scanned_card(10 * n + 1, basket=basket), sale(10 * n + 2, "d0", basket=basket)]
    order = data.draw(st.permutations(made))
    # Another purpose has the card recognised: what is remembered is profiling's alone to say.
    always = granted(-60, purposes=("personal_recommendations",))
    kept = {each.at_ms for each in profile_of(lived(order, always)).purchases}
    allowed = {at(10 * n + 2) for n in sales if is_allowed(said, n)}
    assert kept <= allowed
    statements = [each for each in made if each.type.startswith("consent.")]
    others = [each for each in made if not each.type.startswith("consent.")]
    told_first = profile_of(lived([*statements, *others], always))
    assert {each.at_ms for each in told_first.purchases} == allowed
    assert bool(told_first.interests) == (len(allowed) > 1)


def is_allowed(said: list[tuple[int, bool]], n: int) -> bool:
    """Whether what was bought in the n-th moment may be remembered; at one instant no holds."""
    before = [each for each in said if each[0] <= n]
    if not before or any(not yes for m, yes in said if m > n):
        return False
    newest = max(m for m, _ in before)
    return all(yes for m, yes in before if m == newest)


# --- over the links -----------------------------------------------------------------------------

PHONES: Final = ("AC:23:3F:A0:11:01", "AC:23:3F:A0:11:02")
OTHER_CARD: Final = "6400000000002"
EVERYBODY: Final = (
    *(("ble", each) for each in PHONES), ("loyalty", CARD), ("loyalty", OTHER_CARD),
)  # fmt: skip
trips = st.lists(
    st.tuples(
        st.sampled_from(PHONES),
        st.sampled_from((CARD, OTHER_CARD)),
        st.sampled_from(("dairy", "bakery")),
        st.sampled_from(("d0", "k0")),
        st.integers(1, 600),
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=25, deadline=None)
@given(trips)
def test_after_an_unmerge_all_that_is_said_is_as_if_never_merged(found: list[Any]) -> None:
    """Of phones and of cards, from the disk; while they were linked more was said."""
    with tempfile.TemporaryDirectory(prefix="edge-agent-law-") as folder:
        linked = DiskWorld(Path(folder) / "linked.db", world())
        never = DiskWorld(Path(folder) / "never.db", world())
        days = days_of(found)
        played(linked, days)
        with without_links():
            played(never, days)
        for who in EVERYBODY:
            linked.unlink(*who)
        for disk in (linked, never):
            disk.unit.commit()
        for who in EVERYBODY:
            assert said_on(linked, *who) == said_on(never, *who)
        for disk in (linked, never):
            disk.connection.close()


def test_the_law_sees_what_a_link_adds() -> None:
    """While the phone is his, its stays are said of the card's holder; its no ends all."""
    with tempfile.TemporaryDirectory(prefix="edge-agent-law-") as folder:
        disk = DiskWorld(Path(folder) / "linked.db", world())
        trip = (PHONES[0], CARD, "dairy", "d0", 60)
        shopped(disk, [trip, trip])
        disk.unit.commit()
        assert "usual zone" in {row["what"] for row in said_on(disk, "loyalty", CARD)}
        phone, purposes = {"kind": "ble", "value": PHONES[0]}, ["profiling"]
        disk.take(event("consent.withdrawn", 10_000, visitor=phone, purposes=purposes))
        disk.unit.commit()
        assert said_on(disk, "loyalty", CARD) == []
        disk.connection.close()


def test_what_was_done_before_the_consent_says_nothing() -> None:
    """Two visits, one of them from before it: no zone is usual, and the purchase since counts."""
    trip = (PHONES[0], CARD, "dairy", "d0", 60)
    known = granted(-60, purposes=("personal_recommendations",))
    for consent_s, is_usual in ((-60, True), (HOUR_S - 60, False)):
        allowed = granted(consent_s, purposes=("profiling",))
        with tempfile.TemporaryDirectory(prefix="edge-agent-law-") as folder:
            disk = DiskWorld(Path(folder) / "late.db", world())
            shopped(disk, [trip], known, *((allowed,) if is_usual else ()))
            shopped(disk, [trip], allowed, first=1)
            disk.unit.commit()
            told = {row["what"]: row for row in said_on(disk, "loyalty", CARD)}
            assert ("usual zone" in told) == is_usual
            assert told["frequency"]["is"] == (2 if is_usual else 1)
            disk.connection.close()


def shopped(disk: DiskWorld, found: list[Any], *consents: Event, first: int = 0) -> None:
    """Plays trips to the store, an hour apart, each on foot with a phone and paid with a card."""
    played(disk, days_of(found, *consents, first=first))


def days_of(
    found: list[Any], *consents: Event, first: int = 0
) -> list[tuple[int, tuple[Event, ...]]]:
    """Returns what happens on these trips, and when it is heard of."""
    said = consents or (granted(-60), granted(-60, card=OTHER_CARD))
    days: list[tuple[int, tuple[Event, ...]]] = [(HOUR_S * first, said)]
    for n, (phone, card, zone, product, stay_s) in enumerate(found, start=first):
        begun = HOUR_S * n
        who = {"visitor": {"kind": "ble", "value": phone}}
        happens = (
            entered(zone, begun, who=phone),
            left(zone, begun + stay_s, who=phone),
            till("basket.opened", begun + 610, basket=f"b{n}", **who),
            scanned_card(begun + 620, card=card, basket=f"b{n}"),
            sale(begun + 630, product, basket=f"b{n}", **who),
        )
        days.append((begun + 700, happens))
    return days


def played(disk: DiskWorld, days: list[tuple[int, tuple[Event, ...]]]) -> None:
    """Has a store hear of all that."""
    for heard_s, events in days:
        disk.tick(at(heard_s))
        disk.take(*events)


def said_on(disk: DiskWorld, kind: str, value: str) -> list[dict[str, Any]]:
    """Returns what is said of whoever an identifier leads to."""
    person = find_person(
        disk.unit.query, (disk.subject(kind, value),), state=disk.store, policy=disk.policy
    )
    shop = Shop(
        state=disk.store,
        brands=lambda asked: dict.fromkeys(asked, "Pilcrow"),
        price_levels=lambda asked: dict.fromkeys(asked, 0.5),
        passages=frozenset(),
        zone=NEW_YORK,
    )
    return derived_of(person, query=disk.unit.query, shop=shop, now_ms=at(WEEK_S))
