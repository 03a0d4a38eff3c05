"""Laws of screens: nobody's history in public, one person's answer for one person's eyes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any, Final

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.domain.ids import CampaignId, ProductId, VisitorId
from edge_agent.domain.rules import SHARING_MODES, Campaign, Caps, Rule, Rules, Sharing
from edge_agent.domain.scoring import PastBasket
from edge_agent.domain.store import Showing
from edge_agent.domain.time import DAY_MS, datetime_from_ms
from edge_agent.domain.visitor import Visit
from edge_agent.replay.again import Knowledge
from edge_agent.replay.verification import Verifier
from edge_agent.wire.events import Event
from tests.factories import (
    CARD,
    PHONE,
    T0,
    at,
    command,
    complained,
    entered,
    event,
    granted,
    left,
    lifted,
    presence,
    ref,
    sale,
    scanned_card,
    till,
    world,
)
from tests.fakes import World

Made = Callable[[float], Event]

PEOPLE = (PHONE, "AC:23:3F:A0:11:33", "AC:23:3F:A0:11:44")
ZONES = ("dairy", "bakery", "wine")
PRODUCTS = ("d0", "d1", "d2", "k0", "k1")
LATENESS = (0.0, 0.0, 0.0, 3.0, 12.0, 40.0)

who = st.sampled_from(PEOPLE)
where = st.sampled_from(ZONES)


def movements() -> st.SearchStrategy[Made]:
    """One thing that one of three people does before the screens, or that a sensor counts."""
    return st.one_of(
        st.tuples(who, where).map(lambda x: lambda s: entered(x[1], s, who=x[0])),
        st.tuples(who, where).map(lambda x: lambda s: left(x[1], s, who=x[0])),
        st.tuples(who, where).map(
            lambda x: lambda s: presence("visitor.detected", s, who=x[0], zone=x[1])
        ),
        st.tuples(who, where, st.sampled_from(PRODUCTS)).map(
            lambda x: lambda s: lifted(x[2], s, who=x[0], zone=x[1])
        ),
        who.map(lambda x: lambda s: presence("visit.ended", s, who=x)),
        st.tuples(where, st.integers(0, 3)).map(
            lambda x: lambda s: event("zone.occupancy", s, source="cam-1", zone=x[0], count=x[1])
        ),
        st.tuples(who, st.booleans()).map(
            lambda x: lambda s: complained(s, who=ref("ble", x[0]), case=x[0], opened=x[1])
        ),
    )


def identities() -> st.SearchStrategy[Made]:
    """One thing that tells of somebody beyond this visit."""
    everything = ("personal_recommendations", "profiling", "sending_to_hq", "staff_assistance")
    return st.one_of(
        st.just(granted),
        st.sampled_from(everything).map(lambda p: lambda s: granted(s, purposes=(p,))),
    )


APP: Final = ref("app", "token-1")


def steps_of(someone: dict[str, str], basket: str, *zones: str) -> st.SearchStrategy[Made]:
    """One thing that somebody does who gives an identifier of his own, in one of these zones."""
    where, what = st.sampled_from(zones), st.sampled_from(PRODUCTS)
    return st.one_of(
        where.map(lambda z: lambda s: event("zone.entered", s, visitor=someone, zone=z)),
        where.map(lambda z: lambda s: event("zone.left", s, visitor=someone, zone=z)),
        st.tuples(where, what).map(
            lambda x: lambda s: event("item.lifted", s, visitor=someone, zone=x[0], product=x[1])
        ),
        what.map(
            lambda p: (
                lambda s: till("basket.item_added", s, basket=basket, product=p, visitor=someone)
            )
        ),
        what.map(lambda p: lambda s: sale(s, p, basket=f"{basket}-paid", visitor=someone)),
    )


def under_other_names() -> st.SearchStrategy[Made]:
    """One thing that a card's holder does by its number or his app, where no screen is.

    Before one he would be one person where it is known and several where it is not, and both may
    be silent for what one complained of.
    """
    by_card = steps_of(ref("loyalty", CARD), "b-card", "wine")
    return st.one_of(by_card, steps_of(APP, "b-app", "wine"))


def tills() -> st.SearchStrategy[Made]:
    """One thing that happens at the till to one of three people, his card among it."""
    return st.one_of(
        st.just(scanned_card),
        who.map(lambda x: lambda s: till("basket.opened", s, visitor=ref("ble", x))),
        st.tuples(who, st.sampled_from(PRODUCTS)).map(
            lambda x: (
                lambda s: till("basket.item_added", s, product=x[1], visitor=ref("ble", x[0]))
            )
        ),
        st.sampled_from(PRODUCTS).map(lambda p: lambda s: sale(s, p)),
    )


modes = st.sampled_from(SHARING_MODES)
Told = tuple[Made, float]
days = st.lists(st.tuples(movements(), st.sampled_from(LATENESS)), min_size=6, max_size=25)


def shared(heard: World, mode: str) -> World:
    """Returns the same store with each screen shared by a rule."""
    sharing = {screen: Sharing(mode=mode, most=2, turn_s=7) for screen in heard.layout.screens}
    heard.rules = Rules(version="shared", sharing=MappingProxyType(sharing))
    return heard


@dataclass(frozen=True, slots=True)
class IsGold:
    """A condition on who somebody is."""

    text: str = "identified && 'gold' in segments"
    names: frozenset[str] = frozenset({"identified", "segments", "interests", "audience"})

    def holds(self, facts: Mapping[str, object]) -> bool:
        """Returns whether he is known and in the segment."""
        segments = facts.get("segments")
        return bool(facts.get("identified")) and isinstance(segments, list) and "gold" in segments


def with_campaigns(heard: World, mode: str) -> World:
    """Returns the same store with a campaign and a weight for some that it knows alone."""
    heard = shared(heard, mode)
    offer = Campaign(
        id=CampaignId("for-gold"),
        starts_at_ms=T0 - DAY_MS,
        ends_at_ms=T0 + DAY_MS,
        products=frozenset({ProductId("k3"), ProductId("d3")}),
        text="For you",
        value=9.0,
        when=IsGold(),
    )
    for_all = Campaign(
        id=CampaignId("for-all"),
        starts_at_ms=T0 - DAY_MS,
        ends_at_ms=T0 + DAY_MS,
        products=frozenset({ProductId("d2"), ProductId("k1")}),
        text="For everybody",
    )
    weight = Rule(id="gold", when=IsGold(), products=frozenset({ProductId("k2")}), weight=5.0)
    caps = Caps(ignored_after=2)
    heard.rules = replace(heard.rules, campaigns=(offer, for_all), rules=(weight,), caps=caps)
    return heard


def with_codes(heard: World, mode: str) -> World:
    """Returns the same store whose campaign for everybody is a limited offer, said with a code."""
    heard = with_campaigns(heard, mode)
    for_gold, for_all = heard.rules.campaigns
    limited = replace(for_all, value=900.0, redeem_within_s=86_400)
    heard.rules = replace(heard.rules, campaigns=(for_gold, limited))
    return heard


def shows_his_card() -> tuple[Event, ...]:
    """Returns that one card was read with a basket of the first telephone, and long before of APP.

    One card that is read twice within a minute would make neither of them known.
    """
    with_app = till("basket.opened", -125, basket="b-app", visitor=APP)
    with_phone = till("basket.opened", -25, visitor=ref())
    return (with_app, scanned_card(-120, basket="b-app"), with_phone, scanned_card(-20))


def knows_the_customer(heard: World, past: tuple[str, ...]) -> None:
    """Has the card's holder be the one with the first telephone, and have bought all this."""
    heard.take(granted(-130), *shows_his_card())
    member = heard.visitor("loyalty", CARD)
    assert member is not None
    basket = PastBasket(at=datetime_from_ms(T0 - DAY_MS), products=tuple(map(ProductId, past)))
    profile = replace(member.profile, history=(basket,), segments=("gold",))
    heard.memory.put(replace(member, profile=profile))


def screen_bytes(heard: World, found: list[Any]) -> list[tuple[str, bytes]]:
    """Returns what screens were told, byte for byte."""
    told = heard.published(found)
    return [(each.topic, each.payload) for each in told if "/screen/" in each.topic]


CODE: Final = re.compile(rb'"valid_until":"[^"]+","code":"([0-9A-Z]+)"')


def uncoded(told: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    """Returns what screens were told, without the codes of offers and how long each is good."""
    return [(topic, CODE.sub(b"", body)) for topic, body in told]


@given(
    st.lists(under_other_names(), max_size=4),
    st.lists(
        st.one_of(
            st.tuples(movements(), st.just("seen")),
            st.tuples(tills(), st.just("seen")),
            st.tuples(identities(), st.just("identity")),
        ),
        max_size=20,
    ),
    modes,
    st.lists(st.sampled_from(PRODUCTS), max_size=3),
    st.sampled_from((shared, with_campaigns, with_codes)),
)
def test_who_somebody_is_changes_no_byte_of_a_public_screen(
    elsewhere: list[Made],
    story: list[tuple[Made, str]],
    mode: str,
    past: list[str],
    ruled: Callable[..., World],
) -> None:
    """With every consent, history and segment, or without any: the same items, texts and order.

    Whatever the same person carries by his card or his app is as a stranger's. At the end of each
    story he comes before a screen with his telephone.

    What he complained of or refused is no part of this law: for that he is left alone everywhere.
    Nor is which of his codes of this visit stands there, which tells nobody anything.
    """
    plain, known = (ruled(world(), mode) for _ in range(2))
    knows_the_customer(known, ("d3", "d4", *past))
    plain.take(*shows_his_card())
    body = {
        "visitor": ref("loyalty", CARD),
        "reference": "crm-7",
        "segments": ["gold"],
        "history": [{"at": "2017-11-01T12:00:00Z", "products": list(PRODUCTS)}],
    }
    known.command(command("profile", body))
    comes: Made = partial(entered, "dairy")
    seen_first = ((make, "seen") for make in elsewhere)
    for n, (make, kind) in enumerate((*seen_first, *story, (comes, "seen"))):
        made = make(5 * n)
        told = []
        for heard in (plain, known):
            found = heard.tick(at(5 * n))
            if heard is known or kind == "seen":
                found += heard.take(made)
            told.append(screen_bytes(heard, found))
        assert uncoded(told[0]) == uncoded(told[1])


def app_steps(basket: str) -> st.SearchStrategy[Made]:
    """One thing that somebody does who is known by his app, or another before the same screens."""
    zones = st.sampled_from(ZONES[:2])
    others = zones.map(lambda z: lambda s: entered(z, s, who=PEOPLE[1]))
    return st.one_of(steps_of(APP, basket, *ZONES[:2]), others)


@given(
    st.lists(app_steps("b-earlier"), max_size=8),
    st.lists(app_steps("b-now"), max_size=10),
    modes,
    st.sampled_from((shared, with_campaigns, with_codes)),
)
def test_what_he_did_in_earlier_visits_changes_no_byte_of_a_public_screen(
    earlier: list[Made], story: list[Made], mode: str, ruled: Callable[..., World]
) -> None:
    """Goods left in a basket, bought, shown and ignored, offers given: all of that is history.

    Nor does a code from then stand there. Which one does of his codes of this visit is no part of
    this law: it tells nobody anything.
    """
    fresh, known = (ruled(world(), mode) for _ in range(2))
    began_s = -7_200
    known.now_ms, codes = at(began_s), set[bytes]()
    known.take(granted(began_s, card=CARD))
    for n, make in enumerate(earlier):
        known.tick(at(began_s + 5 * n))
        found = known.take(make(began_s + 5 * n))
        codes.update(*(CODE.findall(each.payload) for each in known.published(found)))
    known.tick(at(-10))
    for n, make in enumerate(story):
        made = make(5 * n)
        told = []
        for heard in (fresh, known):
            found = heard.tick(at(5 * n)) + heard.take(made)
            told.append(screen_bytes(heard, found))
        assert not any(codes & set(CODE.findall(each)) for _, each in told[1])
        assert uncoded(told[0]) == uncoded(told[1])


def test_before_one_person_who_he_is_may_change_it() -> None:
    """The law above is not kept by ignoring people altogether."""
    told = []
    for past in ("d4", "d5"):
        heard = world(audience="semi_private")
        knows_the_customer(heard, (past,))
        told.append(screen_bytes(heard, heard.take(entered("dairy", 0))))
    heard = with_campaigns(world(audience="semi_private"), "newest")
    knows_the_customer(heard, ("d5",))
    told.append(screen_bytes(heard, heard.take(entered("dairy", 0))))
    assert len({told[0][-1], told[1][-1], told[2][-1]}) == len(told)
    assert b"For you" in told[2][-1][1]


def open_visits(heard: World) -> dict[VisitorId, Visit]:
    """Returns everybody's visit that is not over."""
    newest = {each: heard.memory.visit_of(each) for each in heard.memory.visits}
    return {who: each for who, each in newest.items() if each is not None and each.is_open}


@given(days, modes, st.sampled_from(("semi_private", "private")))
def test_an_answer_for_one_persons_eyes_is_shown_to_him_alone(
    day: list[Told], mode: str, audience: str
) -> None:
    """At the end of every step, in whatever order people come and go and however late it is told.

    Whom it is for stands there; on a semi-private screen nobody else does, nor is counted there.
    """
    heard = shared(world(audience=audience), mode)
    knows_the_customer(heard, ("d3", "d4"))
    counted: dict[str, tuple[float, int]] = {}
    for n, (make, late_s) in enumerate(day):
        heard.tick(at(5 * n))
        made = make(5 * n - late_s)
        heard.take(made)
        if made.type == "zone.occupancy":
            zone, told_s = made.data.zone, 5 * n - late_s
            if told_s >= counted.get(zone, (-1e9, 0))[0]:
                counted[zone] = (told_s, made.data.count)
        for screen in heard.layout.screens.values():
            showing = heard.state.showing(screen.id)
            if showing is not None and showing.is_personal:
                n_counted = counted.get(screen.zone, (0, 0))[1]
                check_alone(heard, showing, screen.zone, n_counted, audience)


def check_alone(heard: World, showing: Showing, zone: str, n_counted: int, audience: str) -> None:
    """Fails unless whom a personal answer is for is there, and alone where that counts."""
    visits = open_visits(heard)
    mine = visits.get(showing.visitor or VisitorId(""))
    assert mine is not None
    # A shelf may see somebody whom no other sensor has seen come.
    assert mine.zone in {zone, None}
    if audience == "semi_private":
        assert not [
            each for who, each in visits.items() if each.zone == zone and who != mine.visitor
        ]
        assert n_counted <= 1


@given(days, modes, st.sampled_from(("public", "semi_private", "private")))
def test_every_decision_before_people_comes_out_again_from_its_record(
    day: list[Told], mode: str, audience: str
) -> None:
    """Byte for byte; and what only the silent hold is in no answer to several."""
    heard = shared(world(audience=audience), mode)
    knows_the_customer(heard, ("d3", "d4"))
    knowledge = Knowledge(
        scorer=heard.scorer,
        catalogue=heard.catalogue,
        departments=heard.catalogue.departments,
        policy=heard.policy,
        rules=heard.rules,
    )
    for n, (make, late_s) in enumerate(day):
        heard.tick(at(5 * n))
        found = heard.decisions(heard.take(make(5 * n - late_s)))
        for decision in found:
            assert Verifier(knowledge).differences(decision.id, decision.record) == []
            record = json.loads(decision.record)
            if record["place"]["audience"] == "public" and record["request"] is not None:
                assert record["request"]["history"] == []
            if record["moment"] == "company" and record["visitor"] is None:
                check_company(heard, record)


def check_company(heard: World, record: dict[str, Any]) -> None:
    """Fails if an answer to several rests on what somebody has who is to be left alone."""
    allowed: set[str] = set()
    for visitor, visit in open_visits(heard).items():
        known = heard.memory.visitor(visitor)
        if known is not None and not known.has_open_complaint:
            allowed.update(visit.in_hand)
    assert set(record["request"]["basket"]) <= allowed
    assert 1 <= len(record["company"]["held"]) <= 2
    assert record["company"]["people"] >= 2


@given(days)
def test_by_default_public_screens_take_no_heed_of_company(day: list[Told]) -> None:
    """No record tells of people, and a screen shared as by default gives the same bytes."""
    plain, newest = world(), shared(world(), "newest")
    plain.rules = Rules(version="shared")
    for n, (make, late_s) in enumerate(day):
        made = make(5 * n - late_s)
        for heard in (plain, newest):
            heard.tick(at(5 * n))
            heard.take(made)
    assert plain.effects == newest.effects
    assert not any("company" in json.loads(each.record) for each in plain.decisions())
