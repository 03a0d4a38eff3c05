"""Prices of the catalogue: what conditions know of them, and the rules that select by them."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import Any, Final

import pytest

from edge_agent.cli.explanation import explanation, why_not
from edge_agent.decide.known import Known, known_from
from edge_agent.domain.decisions import Decision, Moment
from edge_agent.domain.ids import ProductId, ScreenId
from edge_agent.domain.money import minor_units
from edge_agent.domain.rules import Rule, Rules, Sharing
from edge_agent.replay.again import Knowledge
from edge_agent.replay.verification import Verifier
from edge_agent.replay.what_if import taken_under
from edge_agent.shell.rule_files import rules_of
from tests.factories import (
    T0,
    campaign,
    entered,
    event,
    granted,
    layout,
    lifted,
    policy,
    presence,
    products,
    ref,
    request,
    scanned_card,
    till,
)
from tests.fakes import MemoryCatalogue, When, World

PRICES: Final = {"d0": "1.29", "d1": "0.335", "d2": "120.00", "d3": None, "k0": "2", "k1": "3.00"}
ASKED: Final = "basket_value >= 0 || item_price >= 0 || item != ''"
PRODUCTS: Final = tuple(each.id for each in products())
OTHER: Final = "AC:23:3F:A0:11:33"


def store(when: str = ASKED, *, audience: str = "public") -> World:
    """A store with prices, one of which nobody knows, and a rule that asks of them."""
    priced = {
        each.id: replace(each, price=PRICES[each.id]) if each.id in PRICES else each
        for each in products()
    }
    # Its price is one of another country.
    priced[ProductId("k2")] = replace(priced[ProductId("k2")], currency="EUR")
    heard = World(
        layout=layout(audience=audience),
        products=priced.values(),
        policy=policy(),
        now_ms=T0,
    )
    text = f'version = "v1"\n[rules.x]\nweight = 3.0\nproducts = ["k4"]\nwhen = "{when}"\n'
    heard.rules = rules_of(text, name="policy.toml")
    return heard


def known(heard: World, found: list[Any]) -> dict[str, Any]:
    """What the last decision among effects knew of goods and prices."""
    record = json.loads(heard.decisions(found)[-1].record)
    facts: dict[str, Any] = record["rules"]["known"].get("facts", {})
    return facts


def added(product: str, quantity: float = 1, *, seconds: float = 1, basket: str = "b1") -> Any:
    """A product as the till adds it."""
    return till("basket.item_added", seconds, product=product, quantity=quantity, basket=basket)


def test_a_lifted_product_is_the_item_and_has_its_price() -> None:
    """Before a public screen too: it is what anybody sees him do."""
    heard = store()
    assert known(heard, heard.take(lifted("d2"))) == {
        "item": "d2",
        "item_price": 12_000,
        "basket_value": 12_000,
    }


def test_whoever_enters_a_zone_handles_nothing() -> None:
    """What he took elsewhere is in his hand, and no item of this moment."""
    heard = store()
    assert known(heard, heard.take(entered("dairy"))) == {"basket_value": 0}
    heard.take(lifted("d0", 1))
    assert known(heard, heard.take(entered("bakery", 2))) == {"basket_value": 129}


def test_the_same_product_lifted_again_is_the_item() -> None:
    """Not what happens to stand last in his basket."""
    heard = store()
    heard.take(lifted("d0"), lifted("d2", 1))
    found = known(heard, heard.take(lifted("d0", 2)))
    assert (found["item"], found["item_price"], found["basket_value"]) == ("d0", 129, 12_129)


@pytest.mark.parametrize(
    ("lines", "value"),
    [
        ((("d0", 3),), 387),
        ((("d0", 1), ("d0", 1)), 258),
        # What was weighed counts by its weight, and only the whole is rounded.
        ((("k0", 0.532),), 106),
        ((("d1", 1), ("d1", 2)), 101),
        ((("d1", 1), ("k0", 1.5), ("d2", 2)), 24_334),
        ((("d0", 1), ("d3", 1)), None),
        ((("d0", 1), ("k2", 1)), None),
        ((("d0", 1), ("unheard-of", 1)), None),
    ],
)
def test_a_basket_costs_what_all_in_it_costs(
    lines: tuple[tuple[str, float], ...], value: int | None
) -> None:
    """As often as it was scanned; where one price is not known, neither is the sum."""
    heard = store()
    found: list[Any] = []
    for n, (product, quantity) in enumerate(lines):
        found = heard.take(added(product, quantity, seconds=n))
    assert known(heard, found).get("basket_value") == value


@pytest.mark.parametrize("product", ["d3", "k2", "unheard-of"])
def test_an_item_without_a_known_price_has_none(product: str) -> None:
    """The feed says none, or one in another currency, or nothing at all."""
    heard = store()
    assert known(heard, heard.take(added(product))) == {"item": product}


def test_what_was_taken_out_again_costs_nothing() -> None:
    """Pieces that the till voids are not in the basket."""
    heard = store()
    heard.take(added("d0", 3), till("basket.item_voided", 2, product="d0", quantity=2))
    assert known(heard, heard.take(added("k1", seconds=3)))["basket_value"] == 429


def test_a_card_holders_two_baskets_are_one_purchase_on_his_receipt() -> None:
    """His telephone was sensed with the first, nobody with the second; his card tells of both."""
    heard = store()
    heard.take(granted(0), entered("dairy", 1), scanned_card(2))
    heard.take(till("basket.item_added", 3, product="d0", quantity=2, visitor=ref()))
    heard.take(scanned_card(4, basket="b2"))
    found = heard.take(added("d2", seconds=5, basket="b2"))
    assert known(heard, found)["basket_value"] == 2 * 129 + 12_000
    (decision,) = (each for each in heard.decisions(found) if each.moment.basket is not None)
    assert set(decision.moment.in_basket) == {"d0", "d2"}
    assert "d0" not in {each.scored.product for each in decision.chosen}


def test_what_is_in_hand_and_then_scanned_costs_once() -> None:
    """The shelf saw it, and the till that he stands at: one thing."""
    heard = store()
    heard.take(lifted("d0"), lifted("d2", 1), entered("checkout", 2))
    heard.take(till("basket.opened", 3))
    found = known(heard, heard.take(added("d0", 2, seconds=4)))
    assert (found["basket_value"], found["item_price"]) == (12_258, 129)


def test_two_baskets_of_the_same_hands_cost_what_both_cost() -> None:
    """Each counts its pieces, at whichever receipt is asked."""
    heard = store()
    heard.take(entered("checkout"), till("basket.opened", 1))
    heard.take(added("d0", 3, seconds=2), till("basket.opened", 3, basket="b2"))
    second = till("basket.item_added", 4, product="k1", quantity=2, basket="b2")
    assert known(heard, heard.take(second))["basket_value"] == 387 + 600


@pytest.mark.parametrize(("audience", "value"), [("public", 129), ("private", 387)])
def test_what_his_app_holds_of_it_costs_nothing_before_others(audience: str, value: int) -> None:
    """Before him alone it counts as often as he has it by all his names."""
    heard, app = store(audience=audience), ref("app", "token-1")
    heard.take(granted(-300), till("basket.opened", -200, basket="b2", visitor=app))
    heard.take(scanned_card(-199, basket="b2"))
    heard.take(till("basket.opened", -25, visitor=ref()), scanned_card(-20))
    heard.take(event("zone.entered", visitor=app, zone="wine"))
    heard.take(added("d0", 3, seconds=1, basket="b2"))
    assert known(heard, heard.take(lifted("d0", 2)))["basket_value"] == value


def test_a_request_counts_what_it_names_and_its_basket() -> None:
    """One piece of what it names alone; no moment of asking is about one item."""
    heard = store()
    heard.take(added("d0", 2))
    asked = request(products=["k1", "d0"], basket="b1")
    assert known(heard, heard.ask(asked)) == {"basket_value": 558}


def test_several_people_hold_no_one_basket() -> None:
    """An answer to all of them knows no value, though each alone would have one."""
    heard = store(audience="semi_private")
    mixed = {ScreenId("dairy-1"): Sharing(mode="mixed")}
    heard.rules = replace(heard.rules, sharing=mixed)
    heard.take(lifted("d0"), entered("dairy", 1))
    found = heard.take(entered("dairy", 2, who=OTHER))
    assert heard.decisions(found)[-1].moment.kind == "company"
    assert known(heard, found) == {}


def test_a_condition_on_a_price_weighs() -> None:
    """From the file to what stands first: only beside a dear thing."""
    heard = store("item_price > 10000 && basket_value < 20000")
    (decision,) = heard.decisions(heard.take(lifted("d2")))
    assert decision.chosen[0].scored.product == "k4"
    (decision,) = heard.decisions(heard.take(lifted("d0", 1)))
    assert decision.chosen[0].scored.product != "k4"


def test_without_such_a_condition_no_record_speaks_of_prices() -> None:
    """Only what is asked of is looked up."""
    heard = store("basket_size > 0")
    assert known(heard, heard.take(lifted("d0"))) == {"basket_size": 1}


@pytest.mark.parametrize(
    ("amount", "currency", "units"),
    [("19.99", "USD", 1_999), ("0.005", "EUR", 1), ("150", "JPY", 150), ("1.2345", "KWD", 1_235)],
)
def test_money_is_counted_in_the_smallest_unit_of_its_currency(
    amount: str, currency: str, units: int
) -> None:
    """Rounded half up, as tills do."""
    assert minor_units(Decimal(amount), currency) == units


# --- rules that select by price ------------------------------------------------------------------


def selling(*rules: Rule, **more: Any) -> World:
    """The store under rules."""
    heard = store(audience=more.pop("audience", "public"))
    heard.rules = Rules(version="r1", digest="d1", rules=rules, **more)
    return heard


def told(decision: Decision) -> dict[str, Any]:
    """A decision's record."""
    found: dict[str, Any] = json.loads(decision.record)
    return found


def knowledge(heard: World, *, currency: str | None = None) -> Knowledge:
    """What is at hand when a decision is taken again: of a catalogue that says other prices."""
    later = [replace(each, price="55.00", currency=None) for each in products()]
    return Knowledge(
        scorer=heard.scorer,
        catalogue=MemoryCatalogue(later, heard.layout),
        departments=heard.catalogue.departments,
        policy=heard.policy,
        rules=heard.rules,
        currency=currency,
    )


def on_screen(heard: World) -> Decision:
    """The decision on whoever enters the dairy; it comes out again from its record alone."""
    event = presence("zone.entered", event_id="e1", zone="dairy")
    (decision,) = heard.decisions(heard.take(event))
    verifier = Verifier(knowledge(heard))
    assert verifier.differences(decision.id, decision.record) == []
    return decision


def _always(known: Known, _: Moment) -> Known:
    return known


def ruled_out(decision: Decision) -> dict[str, str]:
    """Which products a rule forbade, with the words."""
    return {each.product: each.reason for each in decision.suppressions if each.gate == "rule"}


def test_what_costs_so_much_is_forbidden_and_what_costs_less_is_not() -> None:
    """From the very price on; what has no known price is not named."""
    dear = Rule(id="dear", price_from=Decimal("1.29"), is_forbidden=True, reason="too dear")
    decision = on_screen(selling(dear))
    out = ruled_out(decision)
    assert {"d0", "d2", "k1"} <= out.keys()
    assert out["d2"] == "dear: too dear"
    assert not {"d1", "d3", "k2"} & out.keys()


def test_what_costs_less_is_weighed_and_the_limit_itself_is_not() -> None:
    """The context weight of the others stays as it is."""
    cheap = Rule(id="cheap", price_below=Decimal("1.29"), weight=5.0)
    decision = on_screen(selling(cheap))
    weights = {each[0]: each[3] for each in told(decision)["candidates"]}
    assert {name for name, weight in weights.items() if weight != 1.0} == {"d1"}
    assert decision.chosen[0].scored.product == "d1"


def test_a_price_narrows_what_a_rule_names() -> None:
    """Of a department that which costs so much; not the department, nor all that does."""
    dairy = frozenset({"DAIRY"})
    rule = Rule(id="r", departments=dairy, price_from=Decimal(2), is_forbidden=True)
    assert ruled_out(on_screen(selling(rule))).keys() == {"d2"}


def test_an_offer_on_what_is_forbidden_by_its_price_is_kept_out() -> None:
    """It has a product that may be said, or it is not said."""
    rule = Rule(id="r", price_from=Decimal(100), is_forbidden=True)
    campaigns = (campaign("c1", "d2", value=9.0), campaign("c2", "k1", value=9.0))
    decision = on_screen(selling(rule, campaigns=campaigns))
    assert decision.campaigns == ("c2",)
    assert ["products", "none of its products can be offered here", ["c1"]] in (
        told(decision)["rules"]["shut"]
    )


def test_in_a_hurry_what_could_be_forbidden_by_its_price_is() -> None:
    """Nobody looks then whether the condition holds."""
    never = When(facts={"hour": 3})
    rule = Rule(id="r", when=never, price_from=Decimal(100), is_forbidden=True)
    heard = selling(rule, hurry_ms=(20, 5))
    assert ruled_out(on_screen(heard)) == {}
    heard.left_ms = 10
    (decision,) = heard.decisions(heard.take(lifted("d0", 1)))
    heard.left_ms = 1
    (decision,) = heard.decisions(heard.take(lifted("k1", 2)))
    assert ruled_out(decision).keys() == {"d2"}
    assert Verifier(knowledge(heard)).differences(decision.id, decision.record) == []


def test_the_record_holds_the_prices_that_decided_and_explains_them() -> None:
    """Of what was looked at and has one; with another price it comes out in another way."""
    rule = Rule(id="dear", price_from=Decimal(100), is_forbidden=True, reason="locked away")
    heard = selling(rule)
    decision = on_screen(heard)
    record = told(decision)
    prices = record["rules"]["known"]["prices"]
    assert (prices["d2"], prices["d1"]) == ("120.00", "0.335")
    assert not {"d3", "k2"} & prices.keys()
    lines = "\n".join(explanation(record, []))
    assert "ruled out  d2: rule, dear: locked away; it costs 120.00" in lines
    assert "(bought_together, it costs 1.29)" in lines
    assert why_not(record, "d2").text.endswith("locked away; it costs 120.00")
    prices["d2"] = "99.99"
    forged = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert Verifier(knowledge(heard)).differences(decision.id, forged) != []


def test_prices_are_in_no_record_where_no_rule_that_holds_selects_by_them() -> None:
    """It is the same bytes as beside a rule that names none of them."""
    weight = Rule(id="w", products=frozenset({ProductId("k0")}), weight=2.0)
    asleep = Rule(id="p", when=When(facts={"hour": 3}), is_forbidden=True)
    priced = replace(asleep, price_from=Decimal(1))
    decision = on_screen(selling(weight, priced))
    assert "prices" not in told(decision)["rules"]["known"]
    assert decision.record == on_screen(selling(weight, asleep)).record


def test_a_new_price_is_heeded_at_once() -> None:
    """What was said of a product at its old price is not remembered for the new one."""
    rule = Rule(id="dear", price_from=Decimal(100), is_forbidden=True)
    heard = selling(rule)
    assert ruled_out(on_screen(heard)).keys() == {"d2"}
    heard.catalogue.reprice(ProductId("d2"), "99.00")
    heard.catalogue.reprice(ProductId("d4"), "100.00")
    (decision,) = heard.decisions(heard.take(lifted("d0", 1)))
    assert ruled_out(decision).keys() == {"d4"}


def test_other_rules_take_recorded_prices_and_todays_beside_them() -> None:
    """A day that knew no prices is put to rules that select by them."""
    plain, dear = selling(), Rule(id="dear", price_from=Decimal(50), is_forbidden=True)
    with_prices = selling(Rule(id="w", price_from=Decimal(100), weight=2.0))
    for heard, out in ((plain, {*PRODUCTS}), (with_prices, {"d2", "d3", "k2"})):
        record = told(on_screen(heard))
        rules = Rules(version="r2", digest="d2", rules=(dear,))
        other = replace(knowledge(heard, currency="USD"), rules=rules)
        known = known_from(record["rules"]["known"])
        taken = taken_under(record, other, partial(_always, known))
        assert {each.product for each in taken.refused if each.gate == "rule"} == out
