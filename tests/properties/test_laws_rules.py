"""Laws of deciding under rules: any rules, any order of events, and no gate or cap is broken.

A random day is played and judged by a book of its own, kept from the events and messages alone:
it shares no code with the gates that it watches.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from edge_agent.decide.control import arm_of
from edge_agent.domain.decisions import Decision
from edge_agent.domain.effects import Confirm, Publish
from edge_agent.domain.ids import BasketId, CampaignId, ProductId, ScreenId
from edge_agent.domain.rules import (
    CONTROL_GETS,
    SHARING_MODES,
    Campaign,
    Caps,
    Exploration,
    Rule,
    Rules,
    Sharing,
)
from edge_agent.domain.store import AUDIENCES
from edge_agent.domain.time import (
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    SECOND_MS,
    local_day_start_ms,
    local_time,
    rfc3339_from_ms,
)
from edge_agent.replay.again import Knowledge
from edge_agent.replay.verification import Verifier
from edge_agent.wire.screens import ReceiptOffer, Recommendation
from tests import factories
from tests.conftest import SOAK
from tests.factories import (
    CARD,
    PHONE,
    T0,
    at,
    campaign,
    command,
    complained,
    entered,
    granted,
    left,
    lifted,
    ref,
    request,
    sale,
    scanned_card,
    till,
    world,
)
from tests.fakes import NEW_YORK, MemoryCatalogue, When, World

OTHER: Final = "AC:23:3F:A0:11:33"
PHONES: Final = (PHONE, OTHER)
ZONES: Final = ("dairy", "bakery", "checkout")
PRODUCTS: Final = tuple(f"d{n}" for n in range(4)) + tuple(f"k{n}" for n in range(3)) + ("x0",)
DEPARTMENTS: Final = ("DAIRY", "BAKERY", "PHARMACY")

# Mostly open, so that what is behind a gate is reached.
conditions = (
    st.none()
    | st.none()
    | st.dictionaries(
        st.sampled_from(("zone", "hour", "basket_size", "identified", "channel")),
        st.sampled_from(("dairy", "bakery", 10, 11, 0, 1, True, "screen", "receipt")),
        min_size=1,
        max_size=2,
    ).map(lambda facts: When(facts=facts))
)
channels = st.just(frozenset({"screen", "receipt", "reply"})) | st.frozensets(
    st.sampled_from(("screen", "receipt"))
)
counts = st.none() | st.integers(0, 3)
some_products = st.frozensets(st.sampled_from(PRODUCTS), max_size=3)


@st.composite
def campaigns(draw: Any) -> tuple[Campaign, ...]:
    """Returns some campaigns, offers and texts, of which the first has limits alone."""
    limits = st.none() | st.integers(1, 3)
    given = {"value": 9.0, "budget": draw(limits), "per_visitor": draw(limits)}
    made = [campaign("c0", *sorted(draw(some_products)), **given)]
    for n in range(1, draw(st.integers(1, 4))):
        more = {
            "when": draw(conditions),
            "value": draw(st.sampled_from((0.1, 9.0, 9.0))),
            "budget": draw(counts),
            "per_day": draw(counts),
            "per_visitor": draw(counts),
            "minimum_age": draw(st.sampled_from((0, 0, 0, 18))),
            "control_share": draw(st.sampled_from((0.0, 0.0, 0.5, 1.0))),
            "starts_at_ms": T0 + draw(st.sampled_from((-DAY_MS, -DAY_MS, HOUR_MS))),
            "ends_at_ms": T0 + draw(st.sampled_from((2 * HOUR_MS, 3 * DAY_MS, 3 * DAY_MS))),
            "channels": draw(channels),
        }
        products = draw(some_products)
        if not products:
            more["kind"] = draw(st.sampled_from(("content", "service", "question")))
        made.append(campaign(f"c{n}", *sorted(products), **more))
    return tuple(made)


@st.composite
def said_rules(draw: Any) -> tuple[Rule, ...]:
    """Returns up to three rules."""
    made = tuple(
        Rule(
            id=f"r{n}",
            when=draw(conditions),
            products=draw(some_products),
            departments=draw(st.frozensets(st.sampled_from(DEPARTMENTS), max_size=1)),
            campaigns=draw(st.frozensets(st.sampled_from(("c0", "c1")), max_size=1)),
            weight=draw(st.sampled_from((0.5, 1.0, 3.0))),
            is_forbidden=draw(st.sampled_from((False, False, True))),
        )
        for n in range(draw(st.integers(0, 3)))
    )
    priced: tuple[Rule, ...] = draw(priced_rules())
    return made + priced


@st.composite
def priced_rules(draw: Any) -> tuple[Rule, ...]:
    """Returns a rule that selects by price, or none."""
    limits = ((None, None), (None, None), (2, None), (None, 2), (1, 100))
    least, end = draw(st.sampled_from(limits))
    if least is None and end is None:
        return ()
    return (
        Rule(
            id="by-price",
            when=draw(conditions),
            departments=draw(st.frozensets(st.sampled_from(DEPARTMENTS), max_size=1)),
            price_from=None if least is None else Decimal(least),
            price_below=None if end is None else Decimal(end),
            weight=draw(st.sampled_from((0.5, 3.0))),
            is_forbidden=draw(st.booleans()),
        ),
    )


caps = st.builds(
    Caps,
    per_visitor_day=st.none() | st.none() | st.integers(0, 4),
    cooldown_s=st.sampled_from((0, 60, 3_600)),
    ignored_after=st.integers(0, 2),
    quiet_hours=st.sampled_from(((), (), ((0, 6 * 60),), ((22 * 60, 10 * 60 + 5),))),
)


@st.composite
def all_rules(draw: Any) -> Rules:
    """Returns rules of every sort at once."""
    return Rules(
        version="r",
        digest=f"d{draw(st.integers(0, 999))}",
        campaigns=draw(campaigns()),
        rules=draw(said_rules()),
        caps=draw(caps),
        exploration=Exploration(share=draw(st.sampled_from((0.0, 0.5))), draws=16),
        sensitive_departments=draw(st.sampled_from((frozenset(), frozenset({"PHARMACY"})))),
        margins=draw(st.sampled_from(({}, {"DAIRY": 0.2}))),
        control_gets=draw(st.sampled_from(CONTROL_GETS)),
        hurry_ms=(20, 5),
        sharing={
            ScreenId("dairy-1"): Sharing(mode=draw(st.sampled_from(SHARING_MODES)), turn_s=30)
        },
    )


@dataclass(frozen=True, kw_only=True)
class Told:
    """What was said to somebody, by all that he was known as then."""

    people: frozenset[str]
    at_ms: int
    day: str
    campaigns: tuple[str, ...]


class Book:
    """What was said to whom, kept from decisions alone, and the laws that it must obey."""

    def __init__(self, heard: World) -> None:
        self.heard = heard
        self.said: Counter[str] = Counter()
        self.said_today: Counter[tuple[str, str]] = Counter()
        self.told: list[Told] = []
        self.bought: dict[str, set[tuple[str, str]]] = defaultdict(set)
        self.none_left: set[str] = set()
        self.mailed: Counter[str] = Counter()

    def judge(self, decision: Decision) -> None:
        """Holds a decision against every law, then writes it down."""
        rules, moment = self.heard.rules, decision.moment
        record = json.loads(decision.record)
        day = local_time(self.heard.now_ms, NEW_YORK).day
        assert 0.0 < record["action_probability"] <= 1.0
        if moment.place.channel == "staff" or decision.level == "silence":
            assert not decision.chosen
            assert not decision.campaigns
            return
        self._judge_products(decision, rules, day)
        for name in decision.campaigns:
            self._judge_campaign(name, decision, rules, day)
        if decision.chosen or decision.campaigns:
            self._judge_caps(decision, rules, day)
        if moment.kind == "company" and moment.visitor is None:
            self._judge_company(decision)
        if moment.visitor is not None or moment.kind == "company":
            self._judge_hours(decision, rules)
        self._write(decision, day)

    def _judge_products(self, decision: Decision, rules: Rules, day: str) -> None:
        moment, facts = decision.moment, self._facts(decision)
        chosen = {each.scored.product for each in decision.chosen}
        assert len(chosen) == len(decision.chosen) <= moment.limit
        assert not chosen & set(moment.in_basket)
        assert not chosen & self.none_left
        if moment.visitor is not None:
            assert not {(each, day) for each in chosen} & self.bought[moment.visitor]
        departments = {each: self.heard.catalogue.department(ProductId(each)) for each in chosen}
        if moment.place.audience == "public":
            assert not rules.sensitive_departments & set(departments.values())
        for each in rules.rules:
            if not each.is_forbidden or not (each.when is None or each.when.holds(facts)):
                continue
            is_all = not (each.products or each.departments or each.campaigns)
            meant = {product for product in chosen if self._costs(product, each)}
            assert not (is_all and meant)
            assert not meant & each.products
            assert not each.departments & {departments[product] for product in meant}
            assert not each.campaigns & set(decision.campaigns)

    def _costs(self, product: str, rule: Rule) -> bool:
        """Returns whether a product's price is within a rule's; where it has none, any is."""
        least, end = rule.price_from, rule.price_below
        if least is None and end is None:
            return True
        known = self.heard.catalogue.product(ProductId(product))
        if known is None or known.price is None:
            return False
        price = Decimal(known.price)
        return (least is None or least <= price) and (end is None or price < end)

    def _judge_campaign(self, name: str, decision: Decision, rules: Rules, day: str) -> None:
        known = next(each for each in rules.campaigns if each.id == name)
        moment, now_ms = decision.moment, self.heard.now_ms
        assert known.starts_at_ms <= now_ms < known.ends_at_ms
        assert moment.place.channel in known.channels
        assert known.when is None or known.when.holds(self._facts(decision))
        assert known.minimum_age == 0 or moment.place.audience == "private"
        assert known.budget is None or self.said[name] < known.budget
        assert known.per_day is None or self.said_today[name, day] < known.per_day
        if known.control_share > 0:
            assert decision.unit is not None
            assert arm_of(decision.unit, known.id, share=known.control_share) == "treated"
        most = known.per_visitor
        services = {each.id for each in rules.campaigns if each.kind == "service"}
        for told in map(self._told_to, self._groups(decision)):
            said = [each for each in told if name in each.campaigns]
            assert most is None or sum(each.at_ms >= known.starts_at_ms for each in said) < most
            for each in () if known.kind == "service" else told:
                is_long_ago = now_ms - each.at_ms >= rules.caps.cooldown_s * SECOND_MS
                assert set(each.campaigns) <= services or is_long_ago

    def _judge_caps(self, decision: Decision, rules: Rules, day: str) -> None:
        most = rules.caps.per_visitor_day
        card = self.heard.visitor("loyalty", CARD)
        for people in self._groups(decision):
            is_his = card is not None and card.id in people
            told = sum(each.day == day for each in self._told_to(people))
            assert most is None or told + (self.mailed[day] if is_his else 0) < most

    def _judge_company(self, decision: Decision) -> None:
        """Several people are there, each counts once, and the record names none of them."""
        told = [each for people in self._groups(decision) for each in people]
        held = json.loads(decision.record)["company"]["held"]
        assert len(told) == len(set(told)) == len(held) > 0
        assert not any(each in decision.record for each in told)

    def _groups(self, decision: Decision) -> list[frozenset[str]]:
        """Returns whom a decision speaks to: one, several before a screen, or nobody."""
        moment = decision.moment
        if moment.visitor is not None:
            return [self._people(decision)]
        several = () if moment.company is None else moment.company.heeded
        return [frozenset({str(each)}) for each in several]

    def _people(self, decision: Decision) -> frozenset[str]:
        """Returns all that whoever a decision speaks to is known as: with his basket, his card."""
        moment = decision.moment
        basket = self.heard.memory.baskets.get(moment.basket or BasketId(""))
        read = () if basket is None else basket.cards
        cards = (each.member for each in read if not each.is_silent)
        return frozenset(
            str(each) for each in (moment.visitor, moment.member, *cards) if each is not None
        )

    def _told_to(self, people: frozenset[str]) -> list[Told]:
        """Returns what was said to somebody before, under whatever he was known."""
        return [each for each in self.told if each.people & people]

    def _judge_hours(self, decision: Decision, rules: Rules) -> None:
        local = local_time(self.heard.now_ms, NEW_YORK)
        minute = local.hour * 60 + self.heard.now_ms // MINUTE_MS % 60
        for begin, end in rules.caps.quiet_hours:
            within = begin <= minute < end if begin <= end else not end <= minute < begin
            assert decision.moment.kind == "request" or not within

    def _facts(self, decision: Decision) -> dict[str, Any]:
        facts: dict[str, Any] = json.loads(decision.record)["rules"]["known"].get("facts", {})
        if decision.moment.place.audience == "public":
            assert "identified" not in facts
        return facts

    def purge(self, before_ms: int, *, capped: frozenset[CampaignId]) -> None:
        """Forgets who was told of campaigns without a limit for each visitor; the others hold."""
        self.told = [
            each
            if each.at_ms >= before_ms
            else replace(each, campaigns=tuple(capped.intersection(each.campaigns)))
            for each in self.told
        ]

    def _write(self, decision: Decision, day: str) -> None:
        for name in () if decision.moment.kind == "store_default" else decision.campaigns:
            self.said[name] += 1
            self.said_today[name, day] += 1
        if decision.chosen or decision.campaigns:
            for people in self._groups(decision):
                at_ms, said = decision.decided_at_ms, decision.campaigns
                self.told.append(Told(people=people, at_ms=at_ms, day=day, campaigns=said))


class AnyDay(RuleBasedStateMachine):
    """A day in which anything happens, under rules that anybody may have written."""

    @initialize(rules=all_rules(), audience=st.sampled_from(AUDIENCES))
    def begin(self, rules: Rules, audience: str) -> None:
        """Opens the store; events of every day get the same ids, and chance with them."""
        factories._numbers = itertools.count(1)
        self.n = self.n_paid = self.n_asked = 0
        self.heard = world(audience=audience)
        self.heard.rules = rules
        self.book = Book(self.heard)
        self.complaints: set[str] = set()
        self.look(self.heard.begin_day())

    def now_s(self) -> float:
        """Returns the present, in seconds since the store opened."""
        return (self.heard.now_ms - T0) / SECOND_MS

    @rule(
        minutes=st.sampled_from((0, 1, 1, 5, 40, 700)),
        left_ms=st.sampled_from((None, None, None, None, 10, 1)),
    )
    def time_passes(self, minutes: int, left_ms: int | None) -> None:
        """By nothing or most of a day; with more or less time to answer from then on."""
        self.heard.left_ms = left_ms
        for _ in range(minutes // 40 + 1):
            self.look(self.heard.tick(self.heard.now_ms + min(minutes, 40) * MINUTE_MS))

    @rule(
        way=st.lists(st.sampled_from(ZONES), min_size=1, max_size=5), who=st.sampled_from(PHONES)
    )
    def walks(self, way: list[str], who: str) -> None:
        """Somebody comes into one zone after the other."""
        for zone in way:
            self.look(self.heard.take(entered(zone, self.now_s(), who=who)))
            self.look(self.heard.tick(self.heard.now_ms + 20 * SECOND_MS))

    @rule(product=st.sampled_from(PRODUCTS), n=st.integers(1, 3))
    def meet(self, product: str, n: int) -> None:
        """Both stand before the dairy's screen and take something in hand, one after the other."""
        for who in PHONES * n:
            self.look(self.heard.take(entered("dairy", self.now_s(), who=who)))
            self.look(self.heard.take(lifted(product, self.now_s(), who=who)))
            self.look(self.heard.tick(self.heard.now_ms + 20 * SECOND_MS))

    @rule(zone=st.sampled_from(ZONES), who=st.sampled_from(PHONES))
    def leaves(self, zone: str, who: str) -> None:
        """Somebody leaves a zone."""
        self.look(self.heard.take(left(zone, self.now_s(), who=who)))

    @rule(product=st.sampled_from(PRODUCTS), who=st.sampled_from(PHONES))
    def lifts(self, product: str, who: str) -> None:
        """Somebody takes something in hand."""
        self.look(self.heard.take(lifted(product, self.now_s(), who=who)))

    @rule(product=st.sampled_from(PRODUCTS), what=st.sampled_from(("line", "card", "sale")))
    def at_till(self, product: str, what: str) -> None:
        """The first one's basket gets a line, is paid, or a card is read with it."""
        basket = f"b{self.n}"
        if what == "line":
            event = till(
                "basket.item_added", self.now_s(), basket=basket, product=product, visitor=ref()
            )
        elif what == "card":
            event = scanned_card(self.now_s(), basket=basket)
        else:
            event = sale(self.now_s(), product, basket=basket, visitor=ref())
            self.n += 1
        self.look(self.heard.take(event))
        if what == "sale":
            visitor = self.heard.visitor("ble", PHONE)
            assert visitor is not None
            day = local_time(self.heard.now_ms, NEW_YORK).day
            self.book.bought[visitor.id].add((product, day))

    @rule(
        product=st.sampled_from(PRODUCTS),
        what=st.sampled_from(("line", "line", "card", "card", "sale")),
    )
    def at_nobodys_till(self, product: str, what: str) -> None:
        """The same with a basket that nobody is sensed with: a card alone says whose it is."""
        basket = f"nobodys-{self.n_paid}"
        if what == "line":
            event = till("basket.item_added", self.now_s(), basket=basket, product=product)
        elif what == "card":
            event = scanned_card(self.now_s(), basket=basket)
        else:
            event = sale(self.now_s(), product, basket=basket)
            self.n_paid += 1
        self.look(self.heard.take(event))

    @rule(
        whose=st.sampled_from(("nobodys", "nobodys", "phone's")),
        as_visitor=st.booleans(),
        own=st.booleans(),
    )
    def asks_by_basket(self, whose: str, *, as_visitor: bool, own: bool) -> None:
        """A till or a kiosk asks, and all that it names is a basket."""
        number = f"nobodys-{self.n_paid}" if whose == "nobodys" else f"b{self.n}"
        named = {"visitor": ref("basket", number)} if as_visitor else {"basket": number}
        source = "kiosk-1" if own else "pos-1"
        self.look(self.heard.ask(request(source=source, **named), cause=f"by-{self.n_asked}"))
        self.n_asked += 1

    @rule(who=st.sampled_from(("phone", "card")), opened=st.sampled_from((False, False, True)))
    def complains(self, who: str, *, opened: bool) -> None:
        """Somebody complains, or his complaint is settled."""
        of = ref() if who == "phone" else ref("loyalty", CARD)
        self.look(self.heard.take(complained(self.now_s(), who=of, case=who, opened=opened)))

    @rule()
    def consents(self) -> None:
        """The card holder agrees to everything."""
        self.look(self.heard.take(granted(self.now_s())))

    @rule(who=st.sampled_from(("phone", "card", None)), zone=st.sampled_from(ZONES))
    def asks(self, who: str | None, zone: str) -> None:
        """A kiosk asks, for somebody or for nobody."""
        self.n += 1
        of = {"phone": ref(), "card": ref("loyalty", CARD)}.get(who or "")
        more = {} if of is None else {"visitor": of}
        self.look(self.heard.ask(request(zone=zone, **more), cause=f"ask-{self.n}"))

    @rule(product=st.sampled_from(PRODUCTS), quantity=st.integers(0, 1))
    def stock_comes_or_goes(self, product: str, quantity: int) -> None:
        """HQ says what the store has."""
        self.n += 1
        body = {"rows": [{"product": product, "quantity": quantity}]}
        self.heard.command(command("stock", body, version=self.n))
        (self.book.none_left.discard if quantity else self.book.none_left.add)(product)

    @rule(
        product=st.sampled_from(PRODUCTS), price=st.sampled_from((None, "0.50", "2.00", "150.00"))
    )
    def price_changes(self, product: str, price: str | None) -> None:
        """The catalogue's feed says what something costs from now on, or no longer says it."""
        self.heard.catalogue.reprice(ProductId(product), price)

    @rule(n=st.integers(1, 2))
    def hq_mails(self, n: int) -> None:
        """HQ tells that the card holder was sent so many e-mails just now."""
        self.n += 1
        contacts = [
            {"id": f"m{self.n}-{k}", "at": rfc3339_from_ms(self.heard.now_ms), "channel": "e-mail"}
            for k in range(n)
        ]
        body = {"visitor": ref("loyalty", CARD), "contacts": contacts}
        found = self.heard.command(command("contact", body, version=self.n))
        if all(each.reason is None for each in found if isinstance(each, Confirm)):
            self.book.mailed[local_time(self.heard.now_ms, NEW_YORK).day] += n

    @rule()
    def what_is_old_is_purged(self) -> None:
        """Decisions and contacts of past days go, and what was noted of HQ's mails."""
        day = self.heard.context().local.day
        before_ms = local_day_start_ms(day, NEW_YORK) - HOUR_MS
        campaigns = self.heard.rules.campaigns
        capped = frozenset(each.id for each in campaigns if each.per_visitor is not None)
        self.heard.memory.purge_contacts(before_ms, capped=capped)
        self.book.purge(before_ms, capped=capped)

    @rule(rules=all_rules())
    def rules_change(self, rules: Rules) -> None:
        """The chain loads another file."""
        self.heard.rules = rules

    def look(self, found: list[Any]) -> None:
        """Judges all that was decided and published."""
        heard = self.heard
        # Prices change; what decided stands in the record.
        goods = (replace(each, price=None) for each in factories.products())
        known = Knowledge(
            scorer=heard.scorer,
            catalogue=MemoryCatalogue(goods, heard.layout),
            departments=heard.catalogue.departments,
            policy=heard.policy,
            rules=heard.rules,
        )
        for decision in heard.decisions(found):
            self.book.judge(decision)
            assert Verifier(known).differences(decision.id, decision.record) == []
            self._judge_silence(decision)
        for message in heard.published(found):
            _judge_message(message)
        for screen in heard.layout.screens:
            assert heard.state.showing(screen) is not None

    def _judge_silence(self, decision: Decision) -> None:
        named = {decision.moment.visitor, decision.moment.member} - {None}
        people = [each for each in self.heard.memory.visitors.values() if each.id in named]
        if any(each.has_open_complaint for each in people) and decision.level != "rule":
            assert decision.level == "silence"


def _judge_message(message: Publish) -> None:
    if "/screen/" in message.topic:
        assert Recommendation.model_validate_json(message.payload).items
    elif "/receipt/" in message.topic:
        assert ReceiptOffer.model_validate_json(message.payload).items


@given(
    story=st.lists(
        st.sampled_from(("line", "basket", "number", "own kiosk", "card", "pay", "nights")),
        min_size=3,
        max_size=12,
    ),
    day=st.none() | st.integers(0, 2),
    each=st.integers(0, 2),
)
def test_a_card_holders_caps_hold_over_all_his_baskets_however_they_are_named(
    story: list[str], day: int | None, each: int
) -> None:
    """Nobody is sensed with them: receipts and requests, by basket and by card, count as one.

    After some nights the decisions are purged, and the campaign still counts them.
    """
    heard = world(audience="private")
    until_ms = T0 + 300 * DAY_MS
    offer = campaign("c1", "k3", value=99.0, per_visitor=each, ends_at_ms=until_ms)
    heard.rules = Rules(
        version="r", digest="d", campaigns=(offer,), caps=Caps(per_visitor_day=day)
    )
    heard.take(granted(0))
    found: list[Decision] = []
    n = now_s = 0
    for k, what in enumerate(story):
        now_s += 2 * DAY_MS // SECOND_MS if what == "nights" else 60
        heard.tick(at(now_s))
        number = f"b{n}"
        heard.take(scanned_card(now_s, basket=number))
        ways: dict[str, dict[str, Any]] = {
            "basket": {"source": "pos-1", "basket": number},
            "number": {"source": "pos-1", "visitor": ref("basket", number)},
            "own kiosk": {"zone": "dairy", "basket": number},
            "card": {"visitor": ref("loyalty", CARD)},
        }
        if what in ways:
            found += heard.decisions(heard.ask(request(**ways[what]), cause=f"a{k}"))
        elif what == "line":
            line = till("basket.item_added", now_s, product="d0", basket=number)
            found += heard.decisions(heard.take(line))
        elif what == "nights":
            heard.memory.purge_contacts(at(now_s) - DAY_MS, capped=[offer.id])
        else:
            heard.take(sale(now_s, "d0", basket=number))
            n += 1
    said = [one for one in found if one.chosen or one.campaigns]
    days = Counter(local_time(one.decided_at_ms, NEW_YORK).day for one in said)
    assert day is None or max(days.values(), default=0) <= day
    assert sum("c1" in one.campaigns for one in said) <= each


TestAnyDay = AnyDay.TestCase
TestAnyDay.settings = settings(
    max_examples=10_000 if SOAK else 40, stateful_step_count=25, deadline=None
)
