"""What is said of a customer: how much, why and when, and what is not."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_agent.domain.effects import Confirm
from edge_agent.domain.ids import BasketId, DecisionId, ProductId, VisitId, ZoneId
from edge_agent.domain.scoring import PastBasket
from edge_agent.domain.store import Layout, Product
from edge_agent.domain.time import DAY_MS, HOUR_MS, datetime_from_ms, rfc3339_from_ms
from edge_agent.domain.visitor import Profile, Purchase, Return
from edge_agent.shell.bundles import Catalogue as BundleCatalogue
from edge_agent.shell.catalogue import BundleDepartments, Feed, StoreCatalogue
from edge_agent.shell.rows import visitor_from, visitor_row
from edge_agent.state.profile import bought_in, with_purchase, with_return, without_purchase
from edge_agent.state.traits import Evidence, Knowledge, Response, Stay, Trait, traits_from
from tests.factories import (
    CARD,
    T0,
    at,
    command,
    event,
    granted,
    ref,
    request,
    sale,
    scanned_card,
    till,
    withdrawn,
    world,
)
from tests.fakes import NEW_YORK, World

CARD_HOLDER: Final = ref("loyalty", CARD)

THRILLER, NOVEL, COOKBOOK = (ProductId(each) for each in ("t1", "n1", "c1"))
SHELVES = {THRILLER: "THRILLERS", NOVEL: "NOVELS", COOKBOOK: "COOKBOOKS"}
NOW_MS = T0 + 30 * DAY_MS
KNOWN = Knowledge(
    departments=SHELVES,
    brands={THRILLER: "Noir House", NOVEL: "Pilcrow"},
    price_levels={THRILLER: 0.8, NOVEL: 0.4},
    zone=NEW_YORK,
    now_ms=NOW_MS,
)


def bought(name: str, day: float, *products: ProductId, total: str = "9.90") -> Purchase:
    """Returns a purchase so many days after the first of all."""
    return Purchase(
        basket=BasketId(name),
        at_ms=T0 + round(day * DAY_MS),
        products=tuple(sorted(products)),
        total=Decimal(total),
        currency="USD",
    )


def said(evidence: Evidence) -> dict[str, Trait]:
    """Returns the traits by kind; of interests the strongest."""
    return {each.kind: each for each in reversed(traits_from(evidence, KNOWN))}


def test_who_repeatedly_buys_thrillers_is_interested_in_thrillers() -> None:
    """Once is chance; from the second on it is an interest, and the baskets are the reason."""
    baskets = (bought("b1", 0, THRILLER, COOKBOOK), bought("b2", 7, THRILLER))
    assert "interest" not in said(Evidence(purchases=baskets[:1]))
    interest = said(Evidence(purchases=baskets))["interest"]
    assert (interest.of, interest.n) == ("THRILLERS", 2)
    assert interest.why == ("b2", "b1")
    assert (interest.first_at_ms, interest.last_at_ms) == (T0, T0 + 7 * DAY_MS)


def test_what_headquarters_told_counts_and_names_no_basket() -> None:
    """Its baskets make an interest grow; the reason here is the own one."""
    told = PastBasket(at=datetime_from_ms(T0 - DAY_MS), products=(THRILLER,))
    own = bought("b1", 0, THRILLER)
    interest = said(Evidence(purchases=(own,), told=(told,)))["interest"]
    assert (interest.n, interest.why, interest.first_at_ms) == (2, ("b1",), T0 - DAY_MS)


def test_recency_frequency_and_value_are_of_the_last_ninety_days() -> None:
    """What is older counts for none of them, and money of another kind is not added."""
    other = Purchase(
        basket=BasketId("b2"), at_ms=T0, products=(), total=Decimal(5), currency="EUR"
    )
    found = said(
        Evidence(purchases=(bought("b0", -80, NOVEL), other, bought("b1", 10), bought("b3", 20)))
    )
    assert found["recency"].measure == 10
    assert found["recency"].why == ("b3",)
    assert found["frequency"].measure == 3
    assert found["frequency"].why == ("b3", "b1", "b2")
    assert found["value"].measure == "19.80 USD"
    assert found["value"].why == ("b3", "b1")


def test_the_usual_hour_is_the_store_s_and_from_the_second_purchase_on() -> None:
    """Ten in the morning in New York, whatever UTC says."""
    assert "usual_hour" not in said(Evidence(purchases=(bought("b1", 0),)))
    evening = bought("b2", 1 + 8 / 24)
    hour = said(Evidence(purchases=(bought("b1", 0), evening, bought("b3", 2))))["usual_hour"]
    assert (hour.of, hour.why) == ("10", ("b3", "b1"))
    assert isinstance(hour.measure, float)
    assert 0.6 < hour.measure < 0.7


def test_the_usual_zone_needs_two_visits() -> None:
    """Where most of the time went, if it was more than once; visits and events are the reason."""

    def stay(visit: str, zone: str, hours: int) -> Stay:
        return Stay(VisitId(visit), ZoneId(zone), T0, T0 + hours * HOUR_MS, f"e-{visit}")

    once = (stay("v1", "wine", 3), stay("v2", "dairy", 1))
    assert "usual_zone" not in said(Evidence(stays=once))
    zone = said(Evidence(stays=(*once, stay("v2", "wine", 1))))["usual_zone"]
    assert (zone.of, zone.measure) == ("wine", 0.8)
    assert zone.why == ("v2 (event e-v2)", "v1 (event e-v1)")


def test_the_price_level_is_where_he_buys_among_prices() -> None:
    """The mean of where his products stand; what has no price says nothing."""
    found = said(Evidence(purchases=(bought("b1", 0, THRILLER, COOKBOOK), bought("b2", 1, NOVEL))))
    assert found["price_level"].measure == pytest.approx(0.6)
    assert found["price_level"].why == ("b2", "b1")
    unpriced = (bought("b1", 0, COOKBOOK), bought("b2", 1, COOKBOOK))
    assert "price_level" not in said(Evidence(purchases=unpriced))


def test_the_usual_brand_needs_two_purchases_and_newer_ones_count_more() -> None:
    """What has no brand says nothing; the baskets are the reason."""
    once = (bought("b1", 0, THRILLER, COOKBOOK), bought("b2", 1, COOKBOOK))
    assert "brand" not in said(Evidence(purchases=once))
    even = (*once, bought("b3", 2, NOVEL), bought("b4", 3, THRILLER), bought("b5", 29, NOVEL))
    brand = said(Evidence(purchases=even))["brand"]
    assert (brand.of, brand.why) == ("Pilcrow", ("b5", "b3"))
    assert isinstance(brand.measure, float)
    assert 0.5 < brand.measure < 0.6


def test_brands_are_those_of_the_feed_and_of_a_bundle_that_has_them() -> None:
    """A bundle without brands is read as before."""
    plain = bundle_of({"m0": ("MILK", 1), "m1": ("MILK", 2)})
    fed = Feed()
    fed.put(
        (
            Product(id=ProductId("f0"), title="fed", brand="Own"),
            Product(id=ProductId("f1"), title="fed"),
        )
    )
    asked = [ProductId(each) for each in ("m0", "m1", "f0", "f1", "nothing")]

    def brands(bundle: BundleCatalogue) -> dict[ProductId, str]:
        return StoreCatalogue(
            bundle, fed=fed, may_rank=lambda _: True, layout=Layout(), currency="USD"
        ).brands(asked)

    assert brands(plain) == {"f0": "Own"}
    branded = bundle_of(
        {"m0": ("MILK", 1), "m1": ("MILK", 2)},
        brand=np.array([1, 0]),
        brands=np.array(["", "Alm"]),
    )
    assert brands(branded) == {"f0": "Own", "m0": "Alm"}


def test_the_response_is_what_he_took_up_of_what_was_offered() -> None:
    """Tapped, redeemed or bought is taken up; shown or sent away is not."""
    kinds = (("shown",), ("shown", "tapped"), ("dismissed",), ())
    responses = tuple(
        Response(DecisionId(f"d{n}"), T0 + n, frozenset(each)) for n, each in enumerate(kinds)
    )
    response = said(Evidence(responses=responses))["response_to_offers"]
    assert (response.measure, response.of, response.why) == (0.25, "1 of 4", ("d1",))


def test_of_nobody_s_doings_nothing_is_said() -> None:
    """No evidence, no trait."""
    assert traits_from(Evidence(), KNOWN) == ()


def test_a_cancelled_sale_is_remembered_by_nobody() -> None:
    """The void takes it out, with all that followed from it."""
    heard = world()
    heard.take(granted(-60), till("basket.opened", 0), scanned_card(1), sale(2, "d0"))
    card = heard.visitor("loyalty", CARD)
    assert card is not None
    assert [each.total for each in card.profile.purchases] == [Decimal("1.00")]
    heard.take(till("sale.voided", 9))
    card = heard.visitor("loyalty", CARD)
    assert card is not None
    assert card.profile == Profile()


@pytest.mark.parametrize(
    ("data", "left"),
    [
        ({"visitor": CARD_HOLDER}, {"d1": "1.00"}),
        ({"visitor": CARD_HOLDER, "basket": "b1"}, {"d1": "1.00"}),
        ({"basket": "b1"}, {"d1": "1.00"}),
        ({"basket": "another"}, {"d0": "2.00", "d1": "2.00"}),
        ({}, {"d0": "2.00", "d1": "2.00"}),
        ({"visitor": ref("loyalty", "6400000000002")}, {"d0": "2.00", "d1": "2.00"}),
        ({"visitor": CARD_HOLDER, "currency": "EUR"}, {"d0": "2.00", "d1": "2.00"}),
    ],
)
def test_goods_that_came_back_take_back_what_the_sale_gave(
    data: dict[str, Any], left: dict[str, str]
) -> None:
    """By the card that is shown, or by the sale of that day; nobody else's profile changes."""
    heard = world()
    heard.tick(at(60))
    heard.take(granted(-60), granted(-60, card="6400000000002"))
    heard.take(till("basket.opened", 0), scanned_card(1), sale(2, "d0", "d1"))
    line = {"product": "d0", "quantity": 1, "amount": "1.00"}
    whole: dict[str, Any] = {"currency": "USD", "lines": [line], "total": "1.00", **data}
    heard.take(event("sale.returned", 50, source="pos-1", **whole))
    card = heard.visitor("loyalty", CARD)
    assert card is not None
    found = {p: str(each.total) for each in bought_in(card.profile) for p in each.products}
    assert found == left
    assert {p for each in card.profile.history for p in each.products} == set(left)


def test_a_return_of_another_day_goes_by_the_card_to_the_newest_sale_before_it() -> None:
    """The sale's number leads nowhere the next day, and a later sale is not what came back."""
    heard = world()
    heard.take(granted(-60))
    for n, day_s in enumerate((0, 86_400, 3 * 86_400)):
        heard.tick(at(day_s + 9))
        basket = f"b{n}"
        heard.take(till("basket.opened", day_s, basket=basket))
        heard.take(scanned_card(day_s + 1, basket=basket), sale(day_s + 2, "d0", basket=basket))
    line = {"product": "d0", "quantity": 1, "amount": "1.00"}
    whole: dict[str, Any] = {"currency": "USD", "lines": [line], "visitor": CARD_HOLDER}
    whole |= {"basket": "b0", "total": "1.00"}
    heard.take(event("sale.returned", 2 * 86_400, source="pos-1", **whole))
    card = heard.visitor("loyalty", CARD)
    assert card is not None
    assert [each.at_ms for each in bought_in(card.profile)] == [at(2), at(3 * 86_400 + 2)]


def test_reasons_name_the_events() -> None:
    """A sale's, with its basket; and the one that asked for a decision that he answered to."""
    heard = world()
    heard.take(granted(-60), till("basket.opened", 0), scanned_card(1), paid := sale(2, "d0"))
    card = heard.visitor("loyalty", CARD)
    assert card is not None
    (purchase,) = card.profile.purchases
    assert purchase.event == f"{paid.source} {paid.id}"
    said_of = said(Evidence(purchases=card.profile.purchases))
    assert said_of["recency"].why == (f"{purchase.basket} (event {paid.source} {paid.id})",)
    answered = Response(DecisionId("D1"), NOW_MS, frozenset({"tapped"}), "cam-1 e7")
    told = said(Evidence(responses=(answered,)))
    assert told["response_to_offers"].why == ("D1 (event cam-1 e7)",)


def told_by_hq(heard: World, *products: str) -> str | None:
    """Has HQ tell of the card holder; returns why it is refused."""
    body = {
        "visitor": CARD_HOLDER,
        "reference": "crm-7",
        "segments": ["gold"],
        "history": [{"at": "2017-11-01T12:00:00Z", "products": list(products)}],
    }
    found = heard.command(command("profile", body))
    (confirm,) = (each for each in found if isinstance(each, Confirm))
    return confirm.reason


@pytest.mark.parametrize(
    ("purposes", "kept"),
    [
        (("profiling",), Profile(reference="crm-7", segments=("gold",))),
        (("sending_to_hq",), Profile(reference="crm-7")),
        (("personal_recommendations",), None),
        (("marketing", "staff_assistance"), None),
    ],
)
def test_what_hq_knows_is_kept_with_consent_to_profiling_alone(
    purposes: tuple[str, ...], kept: Profile | None
) -> None:
    """To send HQ something needs its handle, and nothing else of it."""
    heard = world()
    heard.take(granted(-60, purposes=purposes))
    reason = told_by_hq(heard, "k4")
    assert (reason is None) is (kept is not None)
    card = heard.visitor("loyalty", CARD)
    assert card is not None
    assert bool(card.profile.history) is (purposes == ("profiling",))
    bare = replace(card.profile, history=(), told_at_ms=None)
    assert bare == (kept or Profile())


def test_what_hq_told_goes_with_the_consent_and_its_handle_stays() -> None:
    """By the handle HQ is told to forget him; a new consent brings nothing back."""
    heard = world()
    heard.tick(at(60))
    heard.take(granted(-60))
    assert told_by_hq(heard, "k4") is None
    heard.take(withdrawn(10, purposes=("profiling",)), granted(11, purposes=("profiling",)))
    card = heard.visitor("loyalty", CARD)
    assert card is not None
    assert card.profile == Profile(reference="crm-7")


def test_a_withdrawal_heard_of_late_takes_what_hq_told_before_the_consent_after_it() -> None:
    """What was told between was told under a consent that was over."""
    heard = world()
    heard.tick(at(5))
    heard.take(granted(-60))
    assert told_by_hq(heard, "k4") is None
    heard.tick(at(60))
    heard.take(granted(50, purposes=("profiling",)), withdrawn(40, purposes=("profiling",)))
    card = heard.visitor("loyalty", CARD)
    assert card is not None
    assert (card.profile.history, card.profile.segments) == ((), ())


@pytest.mark.parametrize("who", [CARD_HOLDER, ref()])
def test_a_history_is_used_no_longer_than_profiling_is_allowed(who: dict[str, str]) -> None:
    """By his card or his telephone: of this visit alone once that consent is over."""
    heard = world()
    heard.take(granted(-60, purposes=("personal_recommendations",)))
    until: dict[str, Any] = {
        "visitor": CARD_HOLDER,
        "purposes": ["profiling"],
        "expires_at": rfc3339_from_ms(at(100)),
    }
    heard.take(event("consent.granted", -60, source="desk", **until))
    assert told_by_hq(heard, "k4") is None
    heard.take(till("basket.opened", 0, visitor=ref()), scanned_card(1))
    for seconds, is_used in ((99, True), (100, False)):
        heard.tick(at(seconds))
        asked = request(visitor=who, limit=1)
        (decision,) = heard.decisions(heard.ask(asked, cause=f"a{seconds}"))
        assert bool(json.loads(decision.record)["request"]["history"]) is is_used


def test_a_withdrawal_takes_what_was_remembered_under_the_consent() -> None:
    """Profiling's alone: another purpose's leaves it; a new consent brings nothing back."""
    heard = world()
    heard.tick(at(60))
    heard.take(granted(-60), till("basket.opened", 0), scanned_card(1), sale(2, "d0"))
    for told, n_left in (
        (withdrawn(10, purposes=("sending_to_hq",)), 1),
        (granted(11, purposes=("profiling",)), 1),
        (withdrawn(12, purposes=("profiling",)), 0),
        (granted(13, purposes=("profiling",)), 0),
    ):
        heard.take(told)
        card = heard.visitor("loyalty", CARD)
        assert card is not None
        assert len(card.profile.purchases) == len(card.profile.history) == n_left


def test_a_profile_comes_back_from_its_row_as_it_was() -> None:
    """Purchases with their money; a row from before they were kept has none."""
    heard = world()
    heard.take(granted(-60))
    card = heard.visitor("loyalty", CARD)
    assert card is not None
    profile = with_purchase(Profile(), bought("b1", 0, THRILLER, total="10.00"), SHELVES)
    paid = replace(bought("b2", 1, NOVEL, THRILLER), event="pos-1 e2")
    profile = replace(with_purchase(profile, paid, SHELVES), told_at_ms=T0)
    back = Return(at_ms=NOW_MS, tie=7, basket=None, lines=((NOVEL, Decimal(2)),), currency="USD")
    profile = with_return(profile, back, SHELVES)
    row = visitor_row(replace(card, profile=profile))

    def read(text: str) -> Profile:
        return visitor_from(
            (*row[:4], text), pseudonym="p", links=[], consents=[], complaints=[]
        ).profile

    assert read(row[4]) == profile
    assert str(read(row[4]).purchases[0].total) == "10.00"
    old = '{"history":[],"interests":[],"reference":"crm-1","segments":[]}'
    assert read(old) == Profile(reference="crm-1")


def bundle_of(prices: dict[str, tuple[str, int]], **more: NDArray[Any]) -> BundleCatalogue:
    """Returns a bundle's catalogue of products, each with its category and cents."""
    names = sorted(prices)
    categories = sorted({prices[each][0] for each in names})
    return BundleCatalogue(
        {
            "ids": np.array([each.encode() for each in names]),
            "title": np.zeros(len(names), np.int32),
            "department": np.zeros(len(names), np.int32),
            "category": np.array([categories.index(prices[each][0]) for each in names]),
            "price_cents": np.array([prices[each][1] for each in names]),
            "titles": np.array(["title"]),
            "departments": np.array(["GROCERY"]),
            "categories": np.array(categories),
            **more,
        }
    )


def test_what_went_already_takes_nothing_of_another_basket_with_it() -> None:
    """Two baskets of one instant may have the same in them: one is voided, then corrected late."""
    one, two = bought("b1", 0, THRILLER), bought("b2", 0, THRILLER)
    profile = with_purchase(with_purchase(Profile(), one, SHELVES), two, SHELVES)
    voided = without_purchase(profile, one, SHELVES)
    assert without_purchase(voided, one, SHELVES) == voided
    assert voided.history == with_purchase(Profile(), two, SHELVES).history
    assert without_purchase(voided, two, SHELVES).history == ()


def test_prices_are_compared_within_their_kind() -> None:
    """A dear milk is dear among milks, though any wine costs more."""
    milk = {f"m{n}": ("MILK", 100 + n) for n in range(5)}
    wine = {f"w{n}": ("WINE", 1_000 + n) for n in range(5)}
    rare = {"r0": ("RARE", 5), "r1": ("RARE", 6), "free": ("MILK", -1)}
    fed = Feed()
    fed.put(
        Product(id=ProductId(f"f{n}"), title="fed", price=f"{n}.00", department="BOOKS")
        for n in range(5)
    )
    catalogue = StoreCatalogue(
        bundle_of({**milk, **wine, **rare}),
        fed=fed,
        may_rank=lambda _: True,
        layout=Layout(),
        currency="USD",
    )
    asked = ("m0", "m4", "w2", "r0", "free", "f4", "nothing")
    assert catalogue.price_levels(ProductId(each) for each in asked) == {
        "m0": 0.1,
        "m4": 0.9,
        "w2": 0.5,
        "f4": 0.9,
    }


def test_departments_are_those_of_the_bundle_in_use() -> None:
    """What was read of the one before is forgotten with it."""
    departments = BundleDepartments(bundle_of({"m0": ("MILK", 1)}))
    assert departments[ProductId("m0")] == "GROCERY"
    departments.use(None)
    assert ProductId("m0") not in departments
