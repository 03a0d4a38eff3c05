"""A request that names a basket: whoever's card was read with it is heeded as on its receipt."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, Final

import pytest

from edge_agent.domain.decisions import Decision
from edge_agent.domain.ids import ProductId
from edge_agent.domain.policy import Policy
from edge_agent.domain.rules import Caps
from edge_agent.domain.scoring import PastBasket
from edge_agent.domain.time import DAY_MS, SECOND_MS, datetime_from_ms
from edge_agent.replay.again import Knowledge
from edge_agent.replay.verification import Verifier
from tests.factories import (
    CARD,
    T0,
    campaign,
    complained,
    entered,
    event,
    granted,
    ref,
    request,
    scanned_card,
    till,
    withdrawn,
    world,
)
from tests.fakes import World
from tests.unit.test_under_rules import ruled, under

OTHER: Final = ref("ble", "AC:23:3F:A0:11:33")
UNHEARD_DAYS: Final = Policy().hq_stale_after_days
# Who may ask of a basket: its till, a phone that nobody saw with it, a card that nobody knows.
ASKERS: Final[tuple[dict[str, Any], ...]] = (
    {"source": "pos-1"},
    {"source": "kiosk-1"},
    {"visitor": OTHER},
    {"visitor": ref("loyalty", "6400000099999")},
    {"visitor": ref("basket", "b1"), "basket": None},
)


def answered(heard: World, *, basket: str | None = "b1", **fields: Any) -> Decision:
    """Returns what is decided on a request of the basket; it comes out of its record again."""
    (decision,) = heard.decisions(heard.ask(request(basket=basket, **fields), cause=repr(fields)))
    known = Knowledge(
        scorer=heard.scorer,
        catalogue=heard.catalogue,
        departments=heard.catalogue.departments,
        policy=heard.policy,
        rules=heard.rules,
    )
    assert Verifier(known).differences(decision.id, decision.record) == []
    return decision


def gates(decision: Decision) -> list[str]:
    """Returns the gates that ruled everything out."""
    return [each.gate for each in decision.suppressions if each.product == "*"]


def at_nobodys_basket(*before: Any, days: int | None = None, **more: Any) -> World:
    """Returns a private store: after this a card was read with a basket that nobody carries."""
    heard = world(audience="private", **more)
    heard.hq_heard_ms = None if days is None else T0 - days * DAY_MS
    heard.take(*before, till("basket.opened", 10), scanned_card(11))
    heard.take(till("basket.item_added", 12, product="d0"), entered("bakery", 13, who="AC:0"))
    return heard


@pytest.mark.parametrize("asker", ASKERS)
@pytest.mark.parametrize(
    ("before", "gate"),
    [
        ((granted(0), complained(1)), "complaint"),
        ((granted(0), complained(1), withdrawn(2)), "complaint"),
        ((complained(1),), "complaint"),
        ((granted(0), withdrawn(1, purposes=("marketing",))), "refused"),
    ],
)
def test_who_complained_or_refused_is_left_alone_whoever_asks_of_his_basket(
    before: tuple[Any, ...], gate: str, asker: dict[str, Any]
) -> None:
    """His card was read with it; nobody was sensed there; and no record of it names him."""
    heard = at_nobodys_basket(*before)
    heard.take(entered("bakery", 14, who=OTHER["value"]))
    decision = answered(heard, **asker)
    assert gates(decision) == [gate]
    assert decision.chosen == ()
    card = heard.visitor("loyalty", CARD)
    assert card is not None
    assert card.id not in decision.record


def test_a_basket_is_asked_of_again_after_its_complaint_is_settled() -> None:
    """Before the card was read, and then after."""
    heard = at_nobodys_basket(granted(0), complained(1))
    assert gates(answered(heard)) == ["complaint"]
    heard.take(complained(20, opened=False))
    assert answered(heard, limit=2).chosen


def test_a_complaint_after_the_card_was_read_counts_from_then_on() -> None:
    """What the till asked before was answered."""
    heard = at_nobodys_basket(granted(0))
    assert answered(heard).chosen
    heard.take(complained(20))
    assert gates(answered(heard, limit=2)) == ["complaint"]


def test_a_complaint_by_the_baskets_number_silences_whoever_else_names_it() -> None:
    """A phone that names another's basket is answered about that one's goods."""
    heard = world()
    heard.take(till("basket.opened", 0), complained(1, who=ref("basket", "b1")))
    heard.take(entered("bakery", 2, who=OTHER["value"]))
    assert gates(answered(heard, visitor=OTHER)) == ["complaint"]


def test_a_screen_before_which_such_a_basket_stands_says_nothing_of_it_either() -> None:
    """A scanner that is known by its basket's number: what was shown for it is taken back."""
    heard = at_nobodys_basket(granted(0))
    seen = event("zone.entered", 14, source="nvr", zone="dairy", visitor=ref("basket", "b1"))
    (shown,) = heard.decisions(heard.take(seen))
    assert shown.chosen
    taken_back = heard.decisions(heard.take(complained(20)))
    assert [each.moment.kind for each in taken_back] == ["store_default"]
    again = event("zone.entered", 25, source="nvr", zone="bakery", visitor=ref("basket", "b1"))
    assert [gates(each) for each in heard.decisions(heard.take(again))] == [["complaint"]]


@pytest.mark.parametrize("asker", ASKERS)
@pytest.mark.parametrize("before", [(), (granted(0),)])
@pytest.mark.parametrize(("days", "is_silent"), [(UNHEARD_DAYS - 1, False), (UNHEARD_DAYS, True)])
def test_with_hq_unheard_a_basket_with_a_card_is_left_alone(
    days: int, before: tuple[Any, ...], asker: dict[str, Any], *, is_silent: bool
) -> None:
    """Known here or not: he may have complained at HQ since."""
    heard = at_nobodys_basket(*before, days=days)
    assert gates(answered(heard, **asker)) == (["hq_unheard"] if is_silent else [])


def test_with_hq_unheard_an_unknown_card_gets_nothing_by_a_basket_either() -> None:
    """Naming a basket of nobody's makes it no less the card's request."""
    heard = world()
    heard.hq_heard_ms = T0 - UNHEARD_DAYS * DAY_MS
    heard.take(till("basket.opened", 0), till("basket.item_added", 1, product="d0"))
    assert answered(heard).chosen
    assert gates(answered(heard, visitor=ref("loyalty", CARD))) == ["hq_unheard"]


def test_no_code_goes_to_a_till_that_asks_of_a_complaining_customers_basket() -> None:
    """An offer that is good at the till is marketing as well."""
    rules = ruled(campaign("c1", "k3", value=99.0, redeem_within_s=86_400))
    for has_complained in (False, True):
        heard = under(rules, audience="private")
        heard.take(granted(0), *([complained(1)] if has_complained else []))
        heard.take(till("basket.opened", 3), scanned_card(4))
        decision = answered(heard, zone="dairy")
        assert decision.campaigns == (() if has_complained else ("c1",))
        assert len(heard.memory.offers) == (0 if has_complained else 1)


@pytest.mark.parametrize(
    "limits",
    [{"caps": Caps(per_visitor_day=1)}, {"per_visitor": 1}, {"caps": Caps(cooldown_s=3_600)}],
)
def test_what_a_basket_is_answered_counts_to_whose_card_was_read_with_it(
    limits: dict[str, Any],
) -> None:
    """Once by the first basket, and then neither by the second nor to himself by card."""
    more = {key: limits[key] for key in limits if key == "per_visitor"}
    rules = ruled(campaign("c1", "k3", value=99.0, **more), caps=limits.get("caps", Caps()))
    heard = under(rules)
    heard.take(granted(0))
    said = []
    for n in (1, 2, 3):
        heard.tick(T0 + n * 600 * SECOND_MS)
        heard.take(till("basket.opened", n * 600, basket=f"b{n}"))
        heard.take(scanned_card(n * 600, basket=f"b{n}"))
        said.append(answered(heard, basket=f"b{n}").campaigns)
    said.append(answered(heard, basket=None, visitor=ref("loyalty", CARD)).campaigns)
    assert said == [("c1",), (), (), ()]


def test_a_record_under_rules_names_the_holder_that_caps_count_where_it_is_his_basket() -> None:
    """So that it is found and erased with him; what somebody else asks is not of him."""
    heard = under(ruled(campaign("c1", "k3", value=99.0)))
    heard.take(granted(0), till("basket.opened", 1), scanned_card(2))
    heard.take(entered("bakery", 3, who=OTHER["value"]))
    card = heard.visitor("loyalty", CARD)
    assert card is not None
    assert json.loads(answered(heard).record)["holder"] == card.id
    assert card.id not in answered(heard, visitor=OTHER).record


def test_a_basket_gives_no_asker_the_history_of_the_card_that_was_read_with_it() -> None:
    """Whoever names a basket is not thereby its owner, were the device his alone."""
    heard = at_nobodys_basket(granted(0))
    card = heard.visitor("loyalty", CARD)
    assert card is not None
    past = (PastBasket(at=datetime_from_ms(T0 - DAY_MS), products=(ProductId("k4"),)),)
    heard.memory.put(replace(card, profile=replace(card.profile, history=past)))
    decision = answered(heard, zone="dairy")
    assert decision.moment.place.audience == "private"
    assert json.loads(decision.record)["request"]["history"] == []
    himself = answered(heard, zone="dairy", visitor=ref("loyalty", CARD))
    assert json.loads(himself.record)["request"]["history"] != []
