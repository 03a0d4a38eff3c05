"""Baskets, whose they are, and what consent lets the store remember."""

from __future__ import annotations

from edge_agent.domain.effects import SendToHq
from edge_agent.domain.time import DAY_MS, SECOND_MS
from tests.factories import (
    CARD,
    PHONE,
    at,
    command,
    complained,
    entered,
    event,
    granted,
    left,
    presence,
    ref,
    sale,
    scanned_card,
    till,
    withdrawn,
    world,
)
from tests.fakes import World

OTHER_PHONE = "AC:23:3F:A0:11:33"
DAY_S = DAY_MS // SECOND_MS


def at_the_till(*phones: str) -> World:
    """Returns a store in which these phones stand at the till."""
    heard = world()
    heard.take(*(entered("checkout", -30, who=phone) for phone in phones))
    return heard


def carrier_kind(heard: World, number: str = "b1") -> str | None:
    """Returns the kind of visitor that a basket belongs to."""
    basket = heard.basket(number)
    assert basket is not None
    visitor = None if basket.carrier is None else heard.state.visitor(basket.carrier)
    return None if visitor is None else visitor.kind


def test_a_basket_belongs_to_the_only_one_at_the_till() -> None:
    """Nobody needs to be named: who stands there alone is meant."""
    heard = at_the_till(PHONE)
    heard.take(till("basket.opened", 0))
    assert carrier_kind(heard) == "ble"


def test_between_two_at_the_till_nobody_is_guessed() -> None:
    """The basket gets a visit of its own."""
    heard = at_the_till(PHONE, OTHER_PHONE)
    heard.take(till("basket.opened", 0))
    assert carrier_kind(heard) == "basket"


def test_a_named_visitor_comes_before_who_stands_there() -> None:
    """A shared identifier is evidence, standing there is a guess."""
    heard = at_the_till(OTHER_PHONE)
    heard.take(till("basket.opened", 0, visitor=ref("ble", PHONE)))
    basket, phone = heard.basket("b1"), heard.visitor("ble", PHONE)
    assert basket is not None
    assert phone is not None
    assert basket.carrier == phone.id


def test_who_arrives_within_a_minute_may_still_own_it() -> None:
    """The till began before the sensor saw the customer."""
    heard = world()
    heard.take(till("basket.opened", 0))
    heard.pass_s(30)
    heard.take(entered("checkout", 30))
    assert carrier_kind(heard) == "ble"
    assert [visit.visitor for visit in heard.memory.all_visits()] == [
        heard.visitor("ble", PHONE).id  # type: ignore[union-attr]  # it was just sensed
    ]


def test_a_late_leaving_takes_a_basket_back() -> None:
    """When it turns out that he had left before, the basket is not his."""
    heard = at_the_till(PHONE)
    heard.take(till("basket.opened", 0))
    heard.take(left("checkout", -10))
    assert carrier_kind(heard) == "basket"


def test_lines_come_and_go() -> None:
    """What was voided is not in the basket."""
    heard = world()
    heard.take(
        till("basket.item_added", 0, product="d0", quantity=2),
        till("basket.item_added", 1, product="d1"),
        till("basket.item_voided", 2, product="d1"),
        till("basket.item_voided", 3, product="d0"),
    )
    basket = heard.basket("b1")
    assert basket is not None
    assert basket.products == ("d0",)


def test_the_newest_statement_of_a_sale_counts() -> None:
    """A correction replaces the sale; an older one that comes late does not."""
    heard = world()
    heard.pass_s(60)
    heard.take(sale(10, "d0"), sale(20, "d1", "k0"), sale(15, "d2"))
    basket = heard.basket("b1")
    assert basket is not None
    assert basket.products == ("d1", "k0")


def test_of_two_sales_of_one_instant_the_same_one_counts_in_any_order() -> None:
    """A till that repeats itself with other lines cannot make two stores of one."""
    one, other = sale(30, "d0"), sale(30, "k0")
    stated = []
    for order in ((one, other), (other, one)):
        heard = world()
        heard.tick(at(60))
        heard.take(*order)
        stated.append([each.sale for each in heard.memory.baskets.values()])
    assert stated[0] == stated[1]


def test_a_late_goodbye_does_not_take_the_basket_of_who_came_back() -> None:
    """A visit folded in two still stands at the till with its second part."""
    heard = world()
    heard.tick(at(60))
    heard.take(entered("dairy", 0), entered("checkout", 20), till("basket.opened", 25))
    assert carrier_kind(heard) == "ble"
    heard.take(presence("visit.ended", 10))
    assert carrier_kind(heard) == "ble"


def test_a_consenting_card_links_the_phone_to_its_holder() -> None:
    """The anonymous visitor turns out to be the card holder."""
    heard = at_the_till(PHONE)
    heard.take(granted(-60), till("basket.opened", 0), scanned_card(1))
    phone, card = heard.visitor("ble", PHONE), heard.visitor("loyalty", CARD)
    assert phone is not None
    assert card is not None
    assert heard.person_behind("ble", PHONE) == card.id


def test_an_unconsented_card_leaves_no_trace() -> None:
    """Nothing on record means no, and a withdrawal means no."""
    heard = world()
    for said in ((), (granted(-60), withdrawn(-50))):
        heard = at_the_till(PHONE)
        heard.take(*said, till("basket.opened", 0), scanned_card(1))
        phone, basket = heard.visitor("ble", PHONE), heard.basket("b1")
        assert phone is not None
        assert basket is not None
        assert heard.person_behind("ble", PHONE) is None
        assert basket.member is None
    assert heard.visitor("loyalty", "6400000009999") is None


def test_two_cards_make_two_strangers_not_one() -> None:
    """A borrowed card must not merge people."""
    heard = at_the_till(PHONE)
    other = "6400000000002"
    heard.take(granted(-60), granted(-60, card=other), till("basket.opened", 0), scanned_card(1))
    heard.take(till("basket.opened", 5, basket="b2", visitor=ref()), scanned_card(6, basket="b2"))
    heard.take(
        till("basket.opened", 7, basket="b3", visitor=ref()),
        scanned_card(8, card=other, basket="b3"),
    )
    phone = heard.visitor("ble", PHONE)
    assert phone is not None
    assert heard.person_behind("ble", PHONE) is None


def test_a_sale_is_remembered_only_where_profiling_is_allowed() -> None:
    """The history of a consenting customer grows; nobody else has one."""
    for purposes, n_baskets in ((("profiling",), 1), (("personal_recommendations",), 0)):
        heard = at_the_till(PHONE)
        heard.take(granted(-60, purposes=purposes), till("basket.opened", 0), scanned_card(1))
        heard.take(sale(2, "d0"))
        card = heard.visitor("loyalty", CARD)
        assert card is not None
        assert len(card.profile.history) == n_baskets


def test_the_order_of_card_and_sale_does_not_matter() -> None:
    """A card whose event arrives after the sale's is remembered all the same."""
    profiles = []
    for late in (False, True):
        heard = at_the_till(PHONE)
        events = [scanned_card(1, basket="b1"), sale(2, "d0", event_id="s1")]
        heard.take(granted(-60), till("basket.opened", 0), *(events[::-1] if late else events))
        card = heard.visitor("loyalty", CARD)
        assert card is not None
        profiles.append(card.profile)
    assert profiles[0] == profiles[1]
    assert profiles[0].history


def test_hq_hears_of_a_customer_only_with_consent_and_a_handle() -> None:
    """No handle, no consent: nothing; both: choices by the handle, never by the card."""
    profile = {"visitor": ref("loyalty", CARD), "reference": "crm-7", "history": []}
    for purposes, n_updates in ((("sending_to_hq",), 1), (("profiling",), 0)):
        heard = at_the_till(PHONE)
        heard.take(granted(-60, purposes=purposes))
        heard.command(command("profile", profile))
        found = heard.take(till("basket.opened", 0), scanned_card(1), sale(2, "d0"))
        updates = [each for each in found if isinstance(each, SendToHq)]
        assert len(updates) == n_updates
        for update in updates:
            assert b"crm-7" in update.payload
            assert CARD.encode() not in update.payload


def test_a_complaint_follows_whom_the_phone_turns_out_to_be() -> None:
    """Complained as a stranger, silenced as a customer."""
    heard = at_the_till(PHONE)
    heard.take(complained(-50, who=ref()), granted(-60), till("basket.opened", 0), scanned_card(1))
    card = heard.visitor("loyalty", CARD)
    assert card is not None
    assert heard.is_silenced("loyalty", CARD)


def test_goods_that_came_back_are_an_event_of_their_own() -> None:
    """A return changes no basket."""
    heard = world()
    heard.take(sale(0, "d0"))
    lines = [{"product": "d0", "quantity": 1, "amount": "1.00"}]
    heard.take(
        event("sale.returned", 5, source="pos-1", currency="USD", lines=lines, total="1.00")
    )
    assert len(heard.memory.returns) == 1
    assert heard.basket("b1").sale is not None  # type: ignore[union-attr]  # it was just sold


def test_a_card_at_the_till_is_its_holder_seen() -> None:
    """Who shops by card alone is no customer of long ago: his period counts from his last card."""
    heard = world()
    heard.take(granted(-60))
    heard.now_ms = at(3 * DAY_S)
    heard.take(till("basket.opened", 3 * DAY_S), scanned_card(3 * DAY_S + 1))
    member = heard.visitor("loyalty", CARD)
    assert member is not None
    assert member.last_seen_at_ms == at(3 * DAY_S) // DAY_MS * DAY_MS


def test_a_complaint_about_a_basket_is_of_whoever_carries_it_or_showed_a_card() -> None:
    """The desk has the basket's number alone: its person is silent, and stays so elsewhere."""
    for by_phone in (True, False):
        heard = world()
        heard.take(granted(-60))
        carrier = ref() if by_phone else ref("basket", "b1")
        heard.take(till("basket.opened", 0, visitor=carrier), scanned_card(1))
        heard.take(complained(2, who=ref("basket", "b1")))
        assert heard.is_silenced("loyalty", CARD)
        assert not by_phone or heard.is_silenced("ble", PHONE)
        heard.take(complained(3, who=ref("basket", "b1"), opened=False))
        assert not heard.is_silenced("loyalty", CARD)


def test_a_basket_s_number_grants_nothing_for_its_carrier() -> None:
    """It is printed on every receipt, and identifies nobody."""
    heard = world()
    heard.take(till("basket.opened", 0, visitor=ref()))
    heard.take(event("consent.granted", 1, visitor=ref("basket", "b1"), purposes=["profiling"]))
    phone = heard.visitor("ble", PHONE)
    assert phone is not None
    assert phone.consents == ()
