"""Limited offers: said with a code to somebody, and good at the till once, until their end."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

import pytest

from edge_agent.domain.effects import Count, Effect, RecordOutcome
from edge_agent.domain.ids import CampaignId, ProductId
from edge_agent.domain.offers import CODE_DIGITS
from edge_agent.domain.rules import Campaign, Rules
from edge_agent.domain.time import ms_from_datetime
from edge_agent.wire.events import Event
from edge_agent.wire.offers import OfferReply, OfferRequest
from edge_agent.wire.screens import Recommendation, RecommendReply
from tests.factories import (
    CARD,
    at,
    entered,
    event,
    granted,
    ref,
    request,
    scanned_card,
    till,
    world,
)
from tests.fakes import World

DAY_S: Final = 86_400
CAMPAIGN: Final = Campaign(
    id=CampaignId("cheese"),
    starts_at_ms=at(-DAY_S),
    ends_at_ms=at(10 * DAY_S),
    products=frozenset({ProductId("d4"), ProductId("d5")}),
    text="A third off",
    value=1_000.0,
    redeem_within_s=DAY_S,
)


def shop(campaign: Campaign = CAMPAIGN) -> World:
    """Returns a store with one campaign that beats everything."""
    heard = world()
    heard.rules = Rules(version="test", campaigns=(campaign,))
    return heard


def shown(heard: World, found: Iterable[Effect]) -> Recommendation:
    """Returns the newest screen message among effects."""
    messages = [each for each in heard.published(found) if "/screen/" in each.topic]
    return Recommendation.model_validate_json(messages[-1].payload)


def given(heard: World, *events: Event) -> tuple[str, int]:
    """Takes events in; returns the code that a screen then shows, and until when it is good."""
    found = heard.take(*(events or (entered("dairy", 0),)))
    offers = [each.offer for each in shown(heard, found).items if each.offer is not None]
    assert len({each.code for each in offers}) == 1
    assert offers[0].code is not None
    return offers[0].code, ms_from_datetime(offers[0].valid_until)


def said(heard: World, found: Iterable[Effect]) -> list[str]:
    """Returns the codes in messages, each once."""
    bodies = [json.loads(each.payload) for each in heard.published(found)]
    offers = [item.get("offer") or {} for body in bodies for item in body.get("items", ())]
    return list(dict.fromkeys(each["code"] for each in offers if "code" in each))


def at_basket(heard: World, number: int) -> list[str]:
    """Returns the codes on a basket's receipt, with which the card holder's card was read."""
    name, seconds = f"b{number}", number * 100
    heard.tick(at(seconds))
    heard.take(till("basket.opened", seconds, basket=name), scanned_card(seconds, basket=name))
    line = till("basket.item_added", seconds, product="d0", basket=name)
    return said(heard, heard.take(line))


def by_card(heard: World, **fields: Any) -> list[str]:
    """Returns the codes that a kiosk of his own tells the card holder."""
    asking = request(zone="bakery", visitor=ref("loyalty", CARD), **fields)
    return said(heard, heard.ask(asking, cause="by-card"))


def private_shop() -> World:
    """Returns the store with a kiosk that its user alone reads, and a card holder."""
    heard = world(audience="private")
    heard.rules = Rules(version="test", campaigns=(CAMPAIGN,))
    heard.take(granted(0))
    return heard


def test_a_card_holder_gets_one_code_over_all_his_baskets_and_by_card() -> None:
    """Nobody is sensed with them; the code is his, and is good once."""
    heard = private_shop()
    codes = [at_basket(heard, n) for n in (1, 2, 3)] + [by_card(heard)]
    assert len(codes[0]) == 1
    assert codes == [codes[0]] * 4
    answers = [asked(heard, code, id=f"r{n}").outcome for n, (code,) in enumerate(codes)]
    assert answers == ["good", "used", "used", "used"]


def test_what_his_telephone_was_given_before_it_was_known_is_told_again_by_card() -> None:
    """A screen, then a card at the till, then a kiosk."""
    heard = private_shop()
    code, _ = given(heard, entered("dairy", 10))
    heard.take(till("basket.opened", 20, visitor=ref()), scanned_card(21))
    assert by_card(heard) == [code]


def test_a_code_of_another_basket_is_told_to_nobody_who_only_names_one() -> None:
    """Nor is there another made for him: he has one."""
    heard = private_shop()
    (code,) = at_basket(heard, 1)
    heard.take(till("basket.opened", 200, basket="b2"), scanned_card(201, basket="b2"))
    assert said(heard, heard.ask(request(zone="dairy", basket="b2"), cause="b2")) == []
    assert said(heard, heard.ask(request(zone="dairy", basket="b1"), cause="b1")) == [code]


def on_both(heard: World) -> tuple[str, str]:
    """Returns the code of a card holder's first basket, and that which a public screen says."""
    heard.layout = world().layout
    (code,) = at_basket(heard, 1)
    is_his(heard, 200)
    on_screen, _ = given(heard, entered("dairy", 210))
    return code, on_screen


def is_his(heard: World, seconds: float) -> None:
    """Has the telephone turn out to be the card holder's."""
    heard.tick(at(seconds))
    heard.take(till("basket.opened", seconds, basket="b2", visitor=ref()))
    heard.take(scanned_card(seconds + 1, basket="b2"))
    heard.tick(at(seconds + 10))


def apart() -> tuple[World, list[str]]:
    """Returns a store, and the codes of a telephone and of a card that nobody knows together."""
    heard = private_shop()
    phone, _ = given(heard, entered("dairy", 10))
    heard.tick(at(20))
    (card,) = by_card(heard)
    assert phone != card
    return heard, [phone, card]


def test_before_the_public_no_code_of_elsewhere_is_told_or_withheld() -> None:
    """What he holds from before is nobody else's business: a screen says what it says to all."""
    code, on_screen = on_both(private_shop())
    assert on_screen != code


@pytest.mark.parametrize("first", [0, 1])
def test_a_code_of_elsewhere_and_the_one_of_a_public_screen_are_one_offer(first: int) -> None:
    """Whichever is taken first, the other is used with it, and stays so; it is counted once."""
    heard = private_shop()
    codes = on_both(heard)
    heard.pass_s(60)
    assert [asked(heard, each, "check", id="c").outcome for each in codes] == ["good", "good"]
    assert asked(heard, codes[first], id="r1").outcome == "good"
    for action in ("check", "redeem", "redeem"):
        assert asked(heard, codes[1 - first], action, id="r1").outcome == "used"
    assert asked(heard, codes[first], id="r1").outcome == "good"
    assert heard.state.campaign_uses(CAMPAIGN.id).redeemed == 1


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("is_known_before", [True, False])
def test_codes_of_two_who_turn_out_to_be_one_are_one_offer(
    first: int, *, is_known_before: bool
) -> None:
    """Were it known only after one of them was taken; neither is told again then."""
    heard, codes = apart()
    if is_known_before:
        is_his(heard, 30)
    heard.tick(at(60))
    assert asked(heard, codes[first], id="r1").outcome == "good"
    if not is_known_before:
        is_his(heard, 70)
    assert by_card(heard)[0] not in codes
    assert asked(heard, codes[1 - first], "check", id="c1").outcome == "used"
    assert asked(heard, codes[1 - first], id="r2").outcome == "used"
    assert heard.state.campaign_uses(CAMPAIGN.id).redeemed == 1


def test_codes_of_two_whom_nothing_makes_one_are_two_offers() -> None:
    """A telephone and a card that were never seen together; nor does one with two cards join."""
    heard, codes = apart()
    assert [asked(heard, each, id=each).outcome for each in codes] == ["good", "good"]
    heard, codes = apart()
    is_his(heard, 30)
    heard.take(granted(40, card="6400000009012"))
    heard.take(scanned_card(41, basket="b2", card="6400000009012"))
    heard.tick(at(60))
    assert [asked(heard, each, id=each).outcome for each in codes] == ["good", "good"]


def test_what_he_is_given_after_he_used_one_is_another_offer() -> None:
    """Good once, like the first; the first's other code stays used."""
    heard = private_shop()
    codes = on_both(heard)
    assert asked(heard, codes[0], id="r1").outcome == "good"
    heard.pass_s(120)
    (third,) = by_card(heard)
    assert third not in codes
    answers = [asked(heard, each, id="r2").outcome for each in (*codes, third)]
    assert answers == ["used", "used", "good"]


def test_a_code_that_was_over_when_the_other_was_used_is_over() -> None:
    """Nobody took it."""
    heard, codes = apart()
    is_his(heard, 30)
    heard.now_ms = at(10 + DAY_S)
    assert asked(heard, codes[1], id="r1").outcome == "good"
    assert asked(heard, codes[0], id="r2").outcome == "expired"


@pytest.mark.parametrize("is_known_before", [True, False])
def test_a_till_that_only_tells_of_both_codes_used_the_offer_once(
    *, is_known_before: bool
) -> None:
    """What it gave is given; the second use is counted as such."""
    heard, codes = apart()
    if is_known_before:
        is_his(heard, 30)
    heard.take(redeemed(codes[0], 60, basket="b7"))
    if not is_known_before:
        is_his(heard, 70)
    heard.take(redeemed(codes[1], 90, basket="b7"), redeemed(codes[1], 91, basket="b7"))
    assert counted(heard).count("offer_redeemed_again") == 2
    assert heard.state.campaign_uses(CAMPAIGN.id).redeemed == 1


def test_a_telephone_that_two_cards_may_be_of_is_told_neithers_code() -> None:
    """A link that leads to two people leads to nobody; each has a code of his own."""
    heard, other = private_shop(), "6400000009012"
    heard.take(granted(0, card=other))
    heard.take(till("basket.opened", 20, visitor=ref()), scanned_card(21))
    heard.take(scanned_card(22, card=other))
    (code,) = by_card(heard)
    heard.tick(at(60))
    phone, _ = given(heard, entered("dairy", 60))
    assert phone != code


def asked(heard: World, code: str, action: str = "redeem", **fields: Any) -> OfferReply:
    """Returns what a till is told of a code."""
    body = {"source": "pos-1", "id": "r1", "action": action, "code": code, **fields}
    return heard.ask_about(OfferRequest.model_validate_json(json.dumps(body)))


def test_a_code_is_good_for_one_basket_whatever_its_requests_are_called() -> None:
    """A till that numbers requests anew with each basket says one id twice; a repeat does too."""
    heard = shop()
    code, _ = given(heard)
    assert asked(heard, code, basket="b1").outcome == "good"
    assert asked(heard, code, basket="b1").outcome == "good"
    assert asked(heard, code, "check", basket="b2").outcome == "used"
    assert asked(heard, code, basket="b2").outcome == "used"
    assert asked(heard, code).outcome == "good"
    # Of another day's baskets nobody knows which is which.
    heard.tick(at(DAY_S - 60))
    assert asked(heard, code, basket="b1").outcome == "good"


def redeemed(code: str | None, seconds: float = 60, *, basket: str = "b1", **data: Any) -> Event:
    """Returns a till's word that it took an offer."""
    told = {"campaign": "cheese", "code": code, "basket": basket, **data}
    return event("offer.redeemed", seconds, source=data.pop("source", "pos-1"), **told)


def counted(heard: World) -> list[str]:
    """Returns what was counted, in order."""
    return [each.name for each in heard.effects if isinstance(each, Count)]


def test_a_screen_says_the_code_until_its_end() -> None:
    """Twelve figures and letters that nobody misreads, good for a day from now."""
    heard = shop()
    code, until_ms = given(heard)
    assert re.fullmatch(rf"[0-9A-HJKMNP-TV-Z]{{{CODE_DIGITS}}}", code)
    assert until_ms == at(DAY_S)
    assert code not in repr(heard.memory.offers)
    assert code not in heard.decisions()[-1].record


def test_an_offer_ends_with_its_campaign() -> None:
    """What the chain ends is not redeemable a day longer."""
    heard = shop(replace(CAMPAIGN, ends_at_ms=at(600)))
    assert given(heard)[1] == at(600)


def test_a_campaign_without_a_limit_has_no_code() -> None:
    """An ordinary offer is said as before, and the store keeps nothing of it."""
    heard = shop(replace(CAMPAIGN, redeem_within_s=None))
    (first, *_) = shown(heard, heard.take(entered("dairy", 0))).items
    assert first.offer is not None
    assert first.offer.code is None
    assert heard.memory.offers == {}


def test_nobody_in_particular_gets_no_code() -> None:
    """The store's own screen says the offer; whoever passes by first would use the code up."""
    heard = shop()
    for each in heard.published(heard.begin_day()):
        for item in Recommendation.model_validate_json(each.payload).items:
            assert item.offer is None or item.offer.code is None
    assert heard.memory.offers == {}


def test_a_claim_hears_no_code() -> None:
    """Whoever types in a number where others see the answer is told no code of its owner's."""
    heard = shop()
    given(heard)
    who = {"kind": "ble", "value": "AC:23:3F:A0:11:22"}
    for source, hears in (("totem-1", False), ("kiosk-1", True)):
        body = request(source=source, visitor=who, limit=5)
        (answer,) = heard.published(heard.ask(body, cause=source))
        reply = RecommendReply.model_validate_json(answer.payload)
        codes = {each.offer.code for each in reply.items if each.offer is not None}
        assert codes
        assert (codes != {None}) is hears


def test_who_holds_an_offer_is_told_it_again() -> None:
    """The same code on the next screen; after it is used, or over, a new one."""
    heard = shop()
    code, until_ms = given(heard)
    heard.pass_s(120)
    assert given(heard, entered("bakery", 120)) == (code, until_ms)
    assert len(heard.memory.offers) == 1
    assert asked(heard, code).outcome == "good"
    heard.pass_s(120)
    assert given(heard, entered("dairy", 240))[0] != code


def test_a_code_is_good_once_whoever_asks_after() -> None:
    """One till hears good, again for the same request; every other request hears used."""
    heard = shop()
    code, _ = given(heard)
    assert asked(heard, code, "check", id="c1").outcome == "good"
    first = asked(heard, code, basket="b1")
    assert (first.outcome, first.campaign) == ("good", "cheese")
    assert set(first.products) == {"d4", "d5"}
    assert asked(heard, code, basket="b1").outcome == "good"
    assert asked(heard, code, id="r2", basket="b1").outcome == "used"
    assert asked(heard, code, source="pos-2").outcome == "used"
    assert asked(heard, code, "check", id="c1").outcome == "used"
    uses = heard.state.campaign_uses(CAMPAIGN.id)
    assert (uses.redeemed, uses.redeemed_on("2017-12-02")) == (1, 1)
    (offer,) = heard.memory.offers.values()
    told = [each for each in heard.effects if isinstance(each, RecordOutcome)]
    assert [(each.decision, each.kind, each.product) for each in told] == [
        (offer.decision, "redeemed", product) for product in offer.products
    ]


def test_a_code_is_read_however_it_is_spelt() -> None:
    """Small letters, spaces, hyphens and what is misread."""
    heard = shop()
    code, _ = given(heard)
    spelt = " ".join(code.lower().replace("1", "l").replace("0", "o"))
    assert asked(heard, spelt, "check").outcome == "good"


@pytest.mark.parametrize("action", ["check", "redeem"])
def test_a_code_is_over_at_its_end_and_a_strange_one_is_unknown(action: str) -> None:
    """To the millisecond; and nothing is told of what is unknown."""
    heard = shop()
    code, until_ms = given(heard)
    heard.now_ms = until_ms - 1
    assert asked(heard, code, "check", id="c1").outcome == "good"
    heard.now_ms = until_ms
    over = asked(heard, code, action)
    assert over.valid_until is not None
    assert (over.outcome, ms_from_datetime(over.valid_until)) == ("expired", until_ms)
    strange = asked(heard, "0" * CODE_DIGITS, action)
    assert (strange.outcome, strange.campaign, strange.valid_until) == ("unknown", None, None)
    assert heard.state.campaign_uses(CAMPAIGN.id).redeemed == 0


def test_what_was_taken_before_its_end_stays_taken() -> None:
    """A till that repeats its request a day later still hears that it was good."""
    heard = shop()
    code, until_ms = given(heard)
    assert asked(heard, code).outcome == "good"
    heard.now_ms = until_ms + 1
    assert asked(heard, code).outcome == "good"
    assert asked(heard, code, id="r2").outcome == "used"


def test_a_till_that_only_tells_uses_the_offer_once() -> None:
    """Its event is the use; of the same basket again nothing, of another a count."""
    heard = shop()
    code, _ = given(heard)
    told = redeemed(code, 10)
    heard.take(told, told, redeemed(code, 20))
    assert asked(heard, code).outcome == "used"
    assert heard.state.campaign_uses(CAMPAIGN.id).redeemed == 1
    heard.take(redeemed(code, 30, basket="b2"))
    assert counted(heard).count("offer_redeemed_again") == 1
    assert heard.state.campaign_uses(CAMPAIGN.id).redeemed == 1


def test_a_till_that_asked_and_tells_used_it_once() -> None:
    """The event of the basket that the request named is no second use."""
    heard = shop()
    code, _ = given(heard)
    assert asked(heard, code, basket="b1").outcome == "good"
    heard.take(redeemed(code, 10))
    assert heard.state.campaign_uses(CAMPAIGN.id).redeemed == 1
    assert "offer_redeemed_again" not in counted(heard)


def test_a_till_that_did_not_ask_may_have_been_late() -> None:
    """What it gave is given; that it was over is counted, and an unknown code is too."""
    heard = shop()
    code, _ = given(heard)
    heard.now_ms = at(DAY_S + 60)
    heard.take(redeemed(code, DAY_S + 30), redeemed("0" * CODE_DIGITS, DAY_S + 31, basket="b9"))
    assert counted(heard)[-3:].count("offer_redeemed_late") == 1
    assert counted(heard).count("offer_redeemed_unknown") == 1


def test_an_offer_without_a_code_is_counted_as_told() -> None:
    """An ordinary campaign's redemption counts on its day, joined to the decision it names."""
    heard = shop(replace(CAMPAIGN, redeem_within_s=None))
    heard.take(entered("dairy", 0))
    decision = heard.decisions()[-1].id
    heard.take(redeemed(None, 10, decision=decision))
    assert heard.state.campaign_uses(CAMPAIGN.id).redeemed == 1
    assert set(heard.memory.outcomes) == {
        (decision, "redeemed", each) for each in CAMPAIGN.products
    }
