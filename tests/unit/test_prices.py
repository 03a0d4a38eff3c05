"""Prices of the catalogue: what the conditions of a policy know of them."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

import pytest

from edge_agent.domain.ids import ProductId, ScreenId
from edge_agent.domain.money import minor_units
from edge_agent.domain.rules import Sharing
from edge_agent.shell.rule_files import rules_of
from tests.factories import T0, entered, layout, lifted, policy, products, request, till
from tests.fakes import World

PRICES: Final = {"d0": "1.29", "d1": "0.335", "d2": "120.00", "d3": None, "k0": "2", "k1": "3.00"}
ASKED: Final = "basket_value >= 0 || item_price >= 0 || item != ''"
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


def test_what_is_in_hand_and_then_scanned_costs_once() -> None:
    """The shelf saw it, and the till that he stands at: one thing."""
    heard = store()
    heard.take(lifted("d0"), lifted("d2", 1), entered("checkout", 2))
    heard.take(till("basket.opened", 3))
    found = known(heard, heard.take(added("d0", 2, seconds=4)))
    assert (found["basket_value"], found["item_price"]) == (12_258, 129)


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
