"""Laws of deciding: silence in a complaint, nothing held twice, nobody's history in public."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.domain.decisions import Decision
from edge_agent.domain.effects import Publish
from edge_agent.domain.ids import BasketId, ProductId
from edge_agent.domain.scoring import PastBasket
from edge_agent.domain.time import DAY_MS, datetime_from_ms
from edge_agent.engine import step
from edge_agent.wire.events import Event
from edge_agent.wire.screens import Recommendation
from tests.factories import (
    CARD,
    PHONE,
    T0,
    at,
    complained,
    entered,
    granted,
    left,
    lifted,
    presence,
    ref,
    request,
    sale,
    scanned_card,
    till,
    withdrawn,
    world,
)
from tests.fakes import World

PRODUCTS = ("d0", "d1", "d2", "k0", "k1")

# Around a basket that nobody was sensed with.
BY_NOBODY = (
    lambda s: till("basket.opened", s, basket="b2"),
    lambda s: till("basket.item_added", s, product="d2", basket="b2"),
    lambda s: scanned_card(s, basket="b2"),
    lambda s: complained(s, who=ref("basket", "b2"), case="c3"),
    lambda s: sale(s, "d2", basket="b2"),
)
# Every way of asking with a basket: by it alone, and by somebody else who names it.
OTHER = ref("ble", "AC:23:3F:A0:11:33")
ASKED = tuple(
    fields
    for number in ("b1", "b2")
    for fields in (
        {"basket": number},
        {"basket": number, "visitor": OTHER},
        {"basket": number, "visitor": ref()},
        {"visitor": ref("basket", number)},
    )
)


def steps() -> st.SearchStrategy[Any]:
    """One thing that happens around one shopper with one card, a number of seconds later."""
    return st.one_of(
        st.sampled_from(("dairy", "bakery", "checkout")).map(lambda z: lambda s: entered(z, s)),
        st.sampled_from(("dairy", "bakery")).map(lambda z: lambda s: left(z, s)),
        st.sampled_from(PRODUCTS).map(lambda p: lambda s: lifted(p, s)),
        st.sampled_from(PRODUCTS).map(
            lambda p: lambda s: till("basket.item_added", s, product=p, visitor=ref())
        ),
        st.just(lambda s: till("basket.opened", s, visitor=ref())),
        st.just(scanned_card),
        st.just(granted),
        st.just(withdrawn),
        st.booleans().map(lambda o: lambda s: complained(s, opened=o)),
        st.booleans().map(lambda o: lambda s: complained(s, who=ref(), case="c2", opened=o)),
        st.sampled_from(PRODUCTS).map(lambda p: lambda s: sale(s, p, visitor=ref())),
        st.just(lambda s: presence("visit.ended", s)),
        st.sampled_from(BY_NOBODY),
    )


stories = st.lists(steps(), max_size=14)


def marketing(found: list[Decision]) -> list[Decision]:
    """Returns the decisions that say something to somebody in particular."""
    return [
        each
        for each in found
        if each.moment.visitor is not None and each.chosen and each.moment.kind != "long_dwell"
    ]


def open_complaints(heard: World) -> bool:
    """Whether the shopper, by phone or by card, has a complaint open as far as is known."""
    people = (heard.visitor("ble", PHONE), heard.visitor("loyalty", CARD))
    return any(person is not None and person.has_open_complaint for person in people)


def asked_by_basket(heard: World, n: int) -> list[Decision]:
    """Returns what is decided on every way of asking with a basket."""
    return [
        decision
        for k, fields in enumerate(ASKED)
        for decision in heard.decisions(heard.ask(request(**fields), cause=f"basket-{n}-{k}"))
    ]


def was_read(heard: World, decision: Decision, card: str = CARD) -> bool:
    """Whether a card was recognised with the basket that a decision is about."""
    basket = heard.memory.baskets.get(decision.moment.basket or BasketId(""))
    person = heard.visitor("loyalty", card)
    read = set() if basket is None else {each.member for each in basket.cards}
    return person is not None and person.id in read


def are_linked(heard: World) -> bool:
    """Whether the phone is known to be the card holder's."""
    card = heard.visitor("loyalty", CARD)
    return card is not None and heard.person_behind("ble", PHONE) == card.id


@given(stories)
def test_an_open_complaint_silences_everything(story: list[Any]) -> None:
    """Merge, complaint, consent and card in any order: no offer while a complaint is open."""
    heard = world()
    for n, make in enumerate(story):
        heard.tick(at(5 * n))
        found = heard.decisions(heard.take(make(5 * n)))
        asked = heard.ask(request(visitor=ref("loyalty", CARD)), cause=f"ask-{n}")
        silent = are_linked(heard) and open_complaints(heard)
        by_basket = asked_by_basket(heard, n)
        card = heard.visitor("loyalty", CARD)
        for decision in marketing([*found, *heard.decisions(asked), *by_basket]):
            assert not (was_read(heard, decision) and card is not None and card.has_open_complaint)
            people = (heard.visitor("ble", PHONE), heard.visitor("loyalty", CARD))
            named = {decision.moment.visitor, decision.moment.member, decision.moment.holder}
            his = [each for each in people if each is not None and each.id in named]
            assert not any(each.has_open_complaint for each in his)
            # A basket that nothing ties to either is a stranger's, who complained of nothing.
            assert not (his and silent)


@given(stories, st.integers(0, 2))
def test_while_hq_is_unheard_nobody_identified_is_offered_anything(
    story: list[Any], over: int
) -> None:
    """Whatever happens; with HQ heard all is as in a store without one, but for the records."""
    heard, plain = world(audience="private"), world(audience="private")
    days = heard.policy.hq_stale_after_days - 1 + over
    heard.hq_heard_ms = T0 - days * DAY_MS
    for n, make in enumerate(story):
        made = make(5 * n)
        told: list[list[Decision]] = []
        for each in (heard, plain):
            each.tick(at(5 * n))
            asked = each.ask(request(visitor=ref("loyalty", CARD)), cause=f"ask-{n}")
            told.append([*each.decisions(each.take(made)), *each.decisions(asked)])
        if not over:
            assert [each.chosen for each in told[0]] == [each.chosen for each in told[1]]
            continue
        card = heard.visitor("loyalty", CARD)
        known = set() if card is None else {card.id}
        if are_linked(heard):
            known.update(each.id for each in (heard.visitor("ble", PHONE),) if each is not None)
        for decision in marketing([*told[0], *asked_by_basket(heard, n)]):
            assert not was_read(heard, decision)
            assert not known & {decision.moment.visitor, decision.moment.member}
            assert "hq_silent_days" not in json.loads(decision.record)


@given(st.lists(st.sampled_from(("item", "card", "complain")), max_size=6))
def test_a_complaining_card_holder_gets_no_receipt_offer_without_consent_either(
    story: list[str],
) -> None:
    """Who complained and then withdrew his consent is recognised at least to be left alone."""
    heard = world()
    heard.take(granted(0), complained(1), withdrawn(2), till("basket.opened", 3), scanned_card(4))
    for n, kind in enumerate(story, start=5):
        heard.tick(at(n))
        if kind == "item":
            found = heard.decisions(heard.take(till("basket.item_added", n, product="d0")))
            assert marketing(found) == []
        elif kind == "card":
            heard.take(scanned_card(n))
        else:
            heard.take(complained(n))


def held_by(heard: World, decision: Decision) -> set[str]:
    """Returns what those whom a decision is about visibly hold; who has left holds nothing.

    That is what is in hand, or in a basket that is not paid; of whoever is known to be them too.
    """
    moment = decision.moment
    named = {each for each in (moment.visitor, moment.member, moment.holder) if each is not None}
    phone, card = heard.visitor("ble", PHONE), heard.visitor("loyalty", CARD)
    if phone is not None and card is not None and are_linked(heard) and card.id in named:
        named.add(phone.id)
    hand: set[str] = set()
    for who in named:
        visit = heard.state.visit_of(who)
        if visit is not None and visit.is_open:
            unpaid = (each for each in heard.state.baskets_of(who) if each.sale is None)
            hand.update(visit.in_hand, *(each.products for each in unpaid))
    return hand


@given(stories)
def test_what_is_in_hand_or_basket_is_never_recommended(story: list[Any]) -> None:
    """No screen, receipt or kiosk suggests what the shopper whom it speaks to already has."""
    heard = world()
    for n, make in enumerate(story):
        heard.tick(at(5 * n))
        found = heard.decisions(heard.take(make(5 * n)))
        asked = heard.decisions(heard.ask(request(visitor=ref(), basket="b1"), cause=f"ask-{n}"))
        by_card = heard.ask(request(visitor=ref("loyalty", CARD)), cause=f"card-{n}")
        for decision in marketing([*found, *asked, *heard.decisions(by_card)]):
            held = held_by(heard, decision)
            assert not held & {each.scored.product for each in decision.chosen}


histories = st.lists(
    st.frozensets(st.sampled_from(PRODUCTS), min_size=1).map(lambda some: tuple(sorted(some))),
    max_size=4,
)


def with_history(heard: World, baskets: Sequence[tuple[str, ...]]) -> None:
    """Gives the card holder these earlier baskets."""
    member = heard.visitor("loyalty", CARD)
    assert member is not None
    past = tuple(
        PastBasket(
            at=datetime_from_ms(T0 - 86_400_000 * (n + 1)), products=tuple(map(ProductId, p))
        )
        for n, p in enumerate(baskets)
    )
    heard.memory.put(replace(member, profile=replace(member.profile, history=past)))


@given(stories, histories, histories)
def test_a_public_screen_knows_nobodys_history(
    story: list[Any], one: list[tuple[str, ...]], other: list[tuple[str, ...]]
) -> None:
    """Another history of the card holder changes no byte that a public screen gets."""
    first, second = world(), world()
    for heard, history in ((first, one), (second, other)):
        heard.take(granted(-10, card=CARD))
        with_history(heard, history)
    for n, make in enumerate(story):
        event: Event = make(5 * n)
        told = []
        for heard in (first, second):
            heard.tick(at(5 * n))
            told.append([each for each in heard.published(heard.take(event)) if _is_screen(each)])
        assert told[0] == told[1]


def test_a_private_screen_may_know_it() -> None:
    """The law above is not kept by ignoring histories altogether."""
    told = []
    for history in ([("d5",)], [("d4",)]):
        heard = world(audience="private")
        heard.take(granted(-20), till("basket.opened", -15, visitor=ref()), scanned_card(-10))
        with_history(heard, history)
        told.append([each.chosen for each in heard.decisions(heard.take(entered("dairy", 0)))])
    assert told[0] != told[1]


def _is_screen(message: Publish) -> bool:
    return "/screen/" in message.topic


@given(stories)
def test_a_screen_is_never_empty(story: list[Any]) -> None:
    """From the start of the day on, every message to a screen shows something."""
    heard = world()
    heard.begin_day()
    for n, make in enumerate(story):
        heard.tick(at(5 * n))
        heard.take(make(5 * n))
    heard.pass_s(7_200)
    messages = [each for each in heard.published() if _is_screen(each)]
    assert {each.topic for each in messages} == {
        "store/s1/screen/bakery-1/recommendation",
        "store/s1/screen/dairy-1/recommendation",
    }
    for each in messages:
        assert each.retain
        assert Recommendation.model_validate_json(each.payload).items
    for showing in heard.memory.showings.values():
        assert showing.valid_until_ms > heard.now_ms


@given(stories)
def test_without_any_product_a_screen_still_says_something(story: list[Any]) -> None:
    """With nothing to recommend the store says welcome."""
    heard = world()
    heard.scorer._products = ()
    heard.begin_day()
    for n, make in enumerate(story):
        heard.tick(at(5 * n))
        heard.take(make(5 * n))
    for each in heard.published():
        if _is_screen(each):
            assert json.loads(each.payload)["items"]


@given(stories, st.text(max_size=5))
def test_the_same_story_gives_the_same_bytes(story: list[Any], seed: str) -> None:
    """Same events, same seed: equal decision records and messages, byte for byte."""
    events = [make(5 * n) for n, make in enumerate(story)]
    first, second = (_played(events, seed) for _ in range(2))
    assert first.effects == second.effects
    assert [each.record for each in first.decisions()] == [
        each.record for each in second.decisions()
    ]


@given(stories)
def test_a_step_leaves_the_state_as_it_was(story: list[Any]) -> None:
    """A step only reads: whatever it returns, nothing changed until it is put."""
    heard = world()
    for n, make in enumerate(story):
        heard.tick(at(5 * n))
        event: Event = make(5 * n)
        arrival = heard.arrival(event)
        assert arrival is not None
        before = heard.memory.snapshot()
        once = step(heard.state, arrival, heard.context())
        again = step(heard.state, arrival, heard.context())
        assert heard.memory.snapshot() == before
        assert once.effects == again.effects
        heard.run(arrival)


@given(stories, st.integers(1, 6))
def test_the_cap_of_a_visit_holds(story: list[Any], cap: int) -> None:
    """No visit gets more recommendations than the policy allows, over all channels."""
    heard = world(max_decisions_per_visit=cap)
    for n, make in enumerate(story):
        heard.tick(at(5 * n))
        heard.take(make(5 * n))
    by_visit: dict[Any, int] = {}
    for decision in marketing(heard.decisions()):
        by_visit[decision.moment.visit] = by_visit.get(decision.moment.visit, 0) + 1
    by_visit.pop(None, None)
    assert max(by_visit.values(), default=0) <= cap


@given(stories)
def test_a_record_holds_what_its_message_shows(story: list[Any]) -> None:
    """Each decision's record is canonical JSON and names what was chosen."""
    heard = _played([make(5 * n) for n, make in enumerate(story)], "0")
    for decision in heard.decisions():
        record = json.loads(decision.record)
        assert record["chosen"] == [each.scored.product for each in decision.chosen]
        compact = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert compact == decision.record


def _played(events: list[Event], seed: str) -> World:
    heard = world(seed=seed)
    heard.begin_day()
    for n, event in enumerate(events):
        heard.tick(at(5 * n))
        heard.take(event)
    heard.pass_s(7_200)
    return heard
