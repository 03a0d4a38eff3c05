"""Fakes of the core's ports: a state in memory, a tiny scorer, a catalogue, and a world to drive.

`MemoryState` is written for obviousness, not for speed: it keeps everything and looks through all
of it. The real store is held to it by `tests/contract/test_state_contract.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from edge_agent.domain import effects
from edge_agent.domain.basket import Basket
from edge_agent.domain.calls import UNASKED, Call, alert_key
from edge_agent.domain.contacts import ANSWERS, CampaignUses, Contact
from edge_agent.domain.decisions import Cause, Decision, contact_from
from edge_agent.domain.effects import Change, Effect, Step, VisitsChanged
from edge_agent.domain.ids import (
    BasketId,
    CampaignId,
    DecisionId,
    ProductId,
    ScreenId,
    SourceId,
    StoreId,
    UnitId,
    VisitId,
    VisitorId,
    ZoneId,
)
from edge_agent.domain.inputs import (
    Arrival,
    Asked,
    Commanded,
    Input,
    OfferAsked,
    StaffAnswered,
    Unlink,
    Wake,
)
from edge_agent.domain.offers import Offer
from edge_agent.domain.policy import Policy
from edge_agent.domain.rules import NEUTRAL, FactValue, Rules
from edge_agent.domain.scoring import PromotionPlan, ScoredProduct, ScoringRequest
from edge_agent.domain.store import AtRegister, Fact, Layout, Level, Product, Showing
from edge_agent.domain.time import DAY_MS, SECOND_MS, local_time, ms_from_datetime
from edge_agent.domain.visitor import Link, Subject, Visit, Visitor
from edge_agent.engine import Context, step
from edge_agent.engine.draft import Draft
from edge_agent.engine.persons import is_silenced, person_behind
from edge_agent.identify.pseudonyms import Pseudonymiser
from edge_agent.ingest.ordering import mark_of, timing_of
from edge_agent.ports import Stopwatch
from edge_agent.runner.wakes import Wakes, rebuilt
from edge_agent.state.visits import all_stays
from edge_agent.wire.base import VisitorRef
from edge_agent.wire.downlink import AnyCommand
from edge_agent.wire.events import Event
from edge_agent.wire.offers import OfferReply, OfferRequest
from edge_agent.wire.screens import RecommendRequest

NEW_YORK: Final = ZoneInfo("America/New_York")
N_DAYS: Final = 90
STORE_KEY: Final = b"store-key-of-the-tests".ljust(32, b".")
OFFER_KEY: Final = b"offer-key-of-the-tests"
UNIT_KEY: Final = b"unit-key-of-the-tests".ljust(32, b".")


class MemoryState:
    """The engine's `State`, in dictionaries."""

    def __init__(self, layout: Layout, *, departments: Mapping[ProductId, str]) -> None:
        self._layout = layout
        self._departments = dict(departments)
        self.visitors: dict[VisitorId, Visitor] = {}
        self.visits: dict[VisitorId, dict[VisitId, Visit]] = {}
        self.baskets: dict[BasketId, Basket] = {}
        self.showings: dict[ScreenId, Showing] = {}
        self.calls: dict[DecisionId, Call] = {}
        self.decisions: list[Decision] = []
        self.outcomes: dict[tuple[DecisionId, str, str], int] = {}
        self.counted: dict[tuple[str, str, int], tuple[int, int]] = {}
        self.levels: dict[tuple[str, ZoneId], tuple[int, int]] = {}
        self.returns: dict[int, effects.CountReturn] = {}
        self.stock: dict[ProductId, float] = {}
        self.products: dict[ProductId, Product] = {}
        self.told: dict[str, Fact] = {}
        self.reported: dict[tuple[VisitorId, str], Contact] = {}
        self.offers: dict[str, Offer] = {}
        self.promotions: tuple[PromotionPlan, ...] = ()
        self.campaigns: dict[CampaignId, effects.SetCampaign] = {}
        self.uses: dict[tuple[CampaignId, str], tuple[int, int]] = {}
        # Contacts that are purged: of which campaigns it is kept that they said them.
        self.faded: dict[str, frozenset[CampaignId]] = {}

    # --- State --------------------------------------------------------------------------------

    def visitor_of(self, subject: Subject) -> Visitor | None:
        """Returns the visitor that an identifier leads to."""
        for visitor in self.visitors.values():
            if (visitor.kind, visitor.pseudonym) == (subject.kind, subject.pseudonym):
                return visitor
        return None

    def visitor(self, visitor: VisitorId) -> Visitor | None:
        """Returns a visitor by his id."""
        return self.visitors.get(visitor)

    def links_to(self, person: VisitorId) -> tuple[Link, ...]:
        """Returns the links that lead to a person, ended ones too."""
        return tuple(
            link
            for visitor in self.visitors.values()
            for link in visitor.links
            if link.visitor == person
        )

    def complainers(self) -> frozenset[VisitorId]:
        """Returns everybody who ever complained."""
        return frozenset(each.id for each in self.visitors.values() if each.complaints)

    def visit_of(self, visitor: VisitorId) -> Visit | None:
        """Returns a visitor's newest visit."""
        return max(
            self._visits(visitor),
            key=lambda each: (each.started_at_ms, each.last_order),
            default=None,
        )

    def visits_between(self, visitor: VisitorId, *, from_ms: int, to_ms: int) -> tuple[Visit, ...]:
        """Returns a visitor's visits that lie in an interval at least in part."""
        return tuple(
            visit
            for visit in self._visits(visitor)
            if visit.started_at_ms <= to_ms and visit.last_at_ms >= from_ms
        )

    def present_in(self, zone: ZoneId) -> tuple[Visit, ...]:
        """Returns the open visits of whoever is in a zone now, those first who came first."""
        newest = (self.visit_of(visitor) for visitor in self.visits)
        here = [each for each in newest if each is not None and each.zone == zone]
        return tuple(sorted(here, key=lambda each: (each.zone_entered_at_ms, each.visitor)))

    def basket(self, basket: BasketId) -> Basket | None:
        """Returns a basket."""
        return self.baskets.get(basket)

    def baskets_of(self, visitor: VisitorId) -> tuple[Basket, ...]:
        """Returns the baskets that a visitor carries."""
        found = (each for each in self.baskets.values() if each.carrier == visitor)
        return tuple(sorted(found, key=lambda each: (each.first_at_ms, each.id)))

    def baskets_near(self, zone: ZoneId, *, from_ms: int, to_ms: int) -> tuple[Basket, ...]:
        """Returns baskets opened in an interval at the registers of a zone."""
        registers = {each.id for each in self._layout.registers.values() if each.zone == zone}
        found = [
            (each.opened_at_ms, each.id, each)
            for each in self.baskets.values()
            if each.opened_at_ms is not None
            and from_ms <= each.opened_at_ms <= to_ms
            and each.register in registers
        ]
        return tuple(basket for _, _, basket in sorted(found, key=lambda each: each[:2]))

    def at_register(self, zone: ZoneId, *, from_ms: int, to_ms: int) -> tuple[AtRegister, ...]:
        """Returns who stood in a register's zone at some time of an interval."""
        found: dict[tuple[VisitorId, int], AtRegister] = {}
        for visitor in self.visits:
            for visit in self._visits(visitor):
                for stay in _stays_at(visit, zone):
                    is_over = stay.left_at_ms is not None and stay.left_at_ms < from_ms
                    if stay.entered_at_ms <= to_ms and not is_over:
                        found[visitor, stay.entered_at_ms] = stay
        return tuple(found[key] for key in sorted(found))

    def showing(self, screen: ScreenId) -> Showing | None:
        """Returns what a screen shows."""
        return self.showings.get(screen)

    def n_decisions(self, visit: VisitId, visitor: VisitorId, *, since_ms: int) -> int:
        """Returns how many decisions a visitor's visit has had over all channels."""
        return sum(
            each.moment.visit == visit or each.decided_at_ms >= since_ms
            for each in self.decisions
            if each.moment.visitor == visitor
        )

    def unit_of(self, visitor: VisitorId) -> UnitId | None:
        """Returns the unit that a visitor's arms are drawn for; None before the first was."""
        his = (each for each in self.decisions if each.exposed == visitor)
        return next((each.unit for each in his if each.assignments), None)

    def last_alert_ms(self, zone: ZoneId) -> int | None:
        """Returns when staff were last alerted to a zone."""
        times = [each.decided_at_ms for each in self._alerts() if each.moment.place.zone == zone]
        return max(times, default=None)

    def has_alerted(self, cause: str) -> bool:
        """Returns whether staff were alerted for this cause already."""
        return any(alert_key(each.moment) == cause for each in self._alerts())

    def live_calls(self) -> tuple[Call, ...]:
        """Returns the calls that are open, or whose matter goes on, oldest first."""
        return tuple(self.calls[each] for each in sorted(self.calls) if self.calls[each].is_live)

    def call(self, decision: DecisionId) -> Call | None:
        """Returns the call that a decision made."""
        return self.calls.get(decision)

    def out_of_stock(self) -> frozenset[ProductId]:
        """Returns the products that the store has none of."""
        return frozenset(product for product, n in self.stock.items() if n <= 0)

    def departments(self) -> Mapping[ProductId, str]:
        """Returns the department of each product of the catalogue."""
        return self._departments

    def minimum_ages(self) -> Mapping[ProductId, int]:
        """Returns the years from which somebody may be sold them, of products that have any."""
        return {each.id: each.minimum_age for each in self.products.values() if each.minimum_age}

    def facts(self, now_ms: int) -> Mapping[str, FactValue]:
        """Returns what HQ says of the day and is still true at an instant."""
        return {key: each.value for key, each in self.told.items() if each.valid_until_ms > now_ms}

    def level(self, kind: str, zone: ZoneId) -> Level | None:
        """Returns a zone's level as last measured."""
        known = self.levels.get((kind, zone))
        return None if known is None else Level(at_ms=known[0], value=known[1])

    def contacts_of(self, visitor: VisitorId, *, since_ms: int) -> tuple[Contact, ...]:
        """Returns what was said to a visitor from an instant on over all channels."""
        said = ((each.moment, each) for each in self.decisions)
        his = (each for at, each in said if visitor in {at.visitor, at.counts_to})
        found = [self._with_outcomes(each) for each in map(contact_from, his) if each is not None]
        found += [each for (whose, _), each in self.reported.items() if whose == visitor]
        kept = (each for each in map(self._as_kept, found) if each is not None)
        recent = (each for each in kept if each.at_ms >= since_ms)
        return tuple(sorted(recent, key=lambda each: each.order))

    def _as_kept(self, contact: Contact) -> Contact | None:
        names = self.faded.get(contact.id)
        if names is None:
            return contact
        said, missed = (sorted(names & {*each}) for each in (contact.campaigns, contact.missed))
        if not (said or missed):
            return None
        kept = replace(contact, channel="", products=(), outcomes=frozenset())
        return replace(kept, campaigns=tuple(said), missed=tuple(missed))

    def purge_contacts(self, before_ms: int, *, capped: Iterable[CampaignId]) -> None:
        """Keeps of what was said before an instant only who was told of these campaigns."""
        for contact in (*map(contact_from, self.decisions), *self.reported.values()):
            if contact is not None and contact.at_ms < before_ms:
                self.faded.setdefault(contact.id, frozenset(capped))

    def told_by(self, decision: DecisionId) -> tuple[VisitorId, ...]:
        """Returns for whom something was decided, and to whom it counts."""
        moments = (each.moment for each in self.decisions if each.id == decision)
        people = ({each.visitor, each.counts_to} - {None} for each in moments)
        return tuple(sorted(each for found in people for each in found if each is not None))

    def offered(self, decision: DecisionId, campaign: CampaignId) -> tuple[ProductId, ...]:
        """Returns the products that a decision named of a campaign, best first."""
        named = (each.offered_of(campaign) for each in self.decisions if each.id == decision)
        return next(named, ())

    def _with_outcomes(self, contact: Contact) -> Contact:
        for decision, kind, product in self.outcomes:
            if decision == contact.id and kind in {"shown", *ANSWERS}:
                contact = contact.with_outcome(kind, ProductId(product) if product else None)
        return contact

    def hq_campaigns(self) -> Mapping[CampaignId, str]:
        """Returns HQ's campaigns as sections of a policy."""
        return {key: each.section for key, each in self.campaigns.items()}

    def plans(self) -> tuple[PromotionPlan, ...]:
        """Returns HQ's plans of promotions."""
        return self.promotions

    def offer(self, mark: str) -> Offer | None:
        """Returns the limited offer whose code has this digest."""
        return self.offers.get(mark)

    def offers_of(self, visitor: VisitorId) -> tuple[Offer, ...]:
        """Returns the limited offers that a visitor was given."""
        his = (each for each in self.offers.values() if each.visitor == visitor)
        return tuple(sorted(his, key=lambda each: each.mark))

    def campaign_uses(self, campaign: CampaignId) -> CampaignUses:
        """Returns how often a campaign was said and redeemed in this store."""
        uses = CampaignUses()
        for (known, day), (given, redeemed) in self.uses.items():
            if known == campaign:
                uses = uses.with_more(day, given=given, redeemed=redeemed)
        return uses

    def tried(
        self, day: str, *, begins_ms: int, window_days: int
    ) -> Mapping[str, tuple[int, int]]:
        """Returns how often each action stood first and was answered in the days before one."""
        since = (date.fromisoformat(day) - timedelta(days=window_days)).isoformat()
        found: dict[str, tuple[int, int]] = {}
        for decision in self.decisions:
            at, _, action = (decision.tried or "").partition(" ")
            if since <= at < day:
                shown, answered = found.get(action, (0, 0))
                is_answered = self._is_answered(decision, before_ms=begins_ms)
                found[action] = (shown + 1, answered + is_answered)
        return found

    def _is_answered(self, decision: Decision, *, before_ms: int) -> bool:
        first = decision.chosen[0].scored.product
        keys = [(decision.id, kind, first) for kind in ("bought", "redeemed", "tapped")]
        return any(self.outcomes[key] < before_ms for key in keys if key in self.outcomes)

    # --- what a step changes ------------------------------------------------------------------

    def put(self, change: Change) -> None:
        """Takes in one changed value."""
        if isinstance(change, Visitor):
            self.visitors[change.id] = change
        elif isinstance(change, VisitsChanged):
            known = self.visits.setdefault(change.visitor, {})
            for visit_id in change.removed:
                known.pop(visit_id, None)
            known.update({visit.id: visit for visit in change.visits})
        elif isinstance(change, Basket):
            self.baskets[change.id] = change
        elif isinstance(change, Call):
            self.calls[change.id] = change
        else:
            self.showings[change.screen] = change

    def carry_out(self, effect: Effect, *, period_ms: int) -> None:
        """Takes in one effect that is written down."""
        match effect:
            case effects.RecordDecision():
                self.decisions.append(effect.decision)
            case effects.RecordOutcome():
                key = (effect.decision, effect.kind, effect.product or "")
                self.outcomes.setdefault(key, effect.at_ms)
            case effects.CountReturn():
                self.returns[effect.tie] = effect
            case effects.SetStock():
                self.stock.update(dict(effect.rows))
            case effects.SetCatalogue():
                self._take_products(effect.rows)
            case effects.CountPeople() | effects.SetLevel():
                self._measure(effect, period_ms)
            case effects.JoinPurchases():
                self._join(effect)
            case _:
                self._take_told(effect)

    def _take_told(self, effect: Effect) -> None:  # noqa: C901 - one case an effect
        match effect:
            case effects.AddPlan():
                self.promotions = (*self.promotions, effect.plan)
            case effects.SetCampaign():
                told = {**self.campaigns, effect.campaign: effect}
                self.campaigns = {k: c for k, c in told.items() if c.ends_at_ms > effect.at_ms}
            case effects.GiveOffer():
                self.offers.setdefault(effect.offer.mark, effect.offer)
            case effects.RedeemOffer():
                offer = self.offers[effect.mark]
                if offer.redeemed is None:
                    self.offers[effect.mark] = replace(offer, redeemed=effect.redemption)
            case effects.SetFact():
                self.told[effect.fact.name] = effect.fact
            case effects.RecordContact():
                self.reported[effect.visitor, effect.contact.id] = effect.contact
            case effects.ForgetContacts():
                self.reported = {
                    key: each
                    for key, each in self.reported.items()
                    if key[0] != effect.visitor or not each.is_hqs
                }
            case effects.CountCampaign():
                given, redeemed = self.uses.get((effect.campaign, effect.day), (0, 0))
                both = (given + effect.given, redeemed + effect.redeemed)
                self.uses[effect.campaign, effect.day] = both
            case _:
                pass

    def _join(self, join: effects.JoinPurchases) -> None:
        for decision in self.decisions:
            if (
                decision.moment.visitor in join.visitors
                and join.since_ms <= decision.decided_at_ms <= join.at_ms
            ):
                for each in decision.chosen:
                    if each.scored.product in join.products:
                        key = (decision.id, "bought", each.scored.product)
                        self.outcomes.setdefault(key, join.at_ms)

    def _measure(self, effect: effects.CountPeople | effects.SetLevel, period_ms: int) -> None:
        if isinstance(effect, effects.SetLevel):
            level_key = (effect.kind, effect.zone)
            if effect.at_ms >= self.levels.get(level_key, (0, 0))[0]:
                self.levels[level_key] = (effect.at_ms, effect.value)
            return
        key = (effect.source, effect.zone or "", effect.at_ms - effect.at_ms % period_ms)
        entries, exits = self.counted.get(key, (0, 0))
        self.counted[key] = (entries + effect.entries, exits + effect.exits)

    def all_visits(self) -> tuple[Visit, ...]:
        """Returns every visit, oldest first."""
        found = (visit for visits in self.visits.values() for visit in visits.values())
        return tuple(sorted(found, key=lambda each: (each.started_at_ms, each.id)))

    def snapshot(self) -> dict[str, Any]:
        """Returns all of it, in a form that compares; marks and stays as tuples."""
        return {
            "visitors": {key: self.visitors[key] for key in sorted(self.visitors)},
            "visits": [comparable(visit) for visit in self.all_visits()],
            "baskets": {key: self.baskets[key] for key in sorted(self.baskets)},
            "showings": {key: self.showings[key] for key in sorted(self.showings)},
            "counted": dict(sorted(self.counted.items())),
            "levels": dict(sorted(self.levels.items())),
            "returns": dict(sorted(self.returns.items())),
            "stock": dict(sorted(self.stock.items())),
        }

    def _take_products(self, products: Iterable[Product]) -> None:
        for product in products:
            self.products[product.id] = product
            if product.department is not None:
                self._departments[product.id] = product.department

    def _visits(self, visitor: VisitorId) -> Iterable[Visit]:
        return self.visits.get(visitor, {}).values()

    def _alerts(self) -> Iterable[Decision]:
        return (each for each in self.decisions if each.moment.kind in UNASKED)


def comparable(visit: Visit) -> tuple[Any, ...]:
    """Returns a visit as plain values: its chains compare by what is in them."""
    return (
        visit.id,
        visit.visitor,
        visit.started_at_ms,
        visit.last_at_ms,
        visit.ended_at_ms,
        visit.ended_by,
        visit.zone,
        visit.has_paid,
        () if visit.marks is None else visit.marks.values(),
        () if visit.stays is None else visit.stays.values(),
    )


def _stays_at(visit: Visit, zone: ZoneId) -> list[AtRegister]:
    stays = [
        AtRegister(visitor=visit.visitor, entered_at_ms=s.entered_at_ms, left_at_ms=s.left_at_ms)
        for s in all_stays(visit)
        if s.zone == zone
    ]
    if visit.zone == zone:
        stays[-1] = replace(stays[-1], left_at_ms=None)
    return stays


@dataclass(frozen=True, slots=True, kw_only=True)
class When:
    """A condition: every fact that it names has the value that it says."""

    facts: Mapping[str, object]

    @property
    def text(self) -> str:
        """The expression as it was written."""
        return repr(sorted(self.facts.items()))

    @property
    def names(self) -> frozenset[str]:
        """What it asks of."""
        return frozenset(self.facts)

    def holds(self, facts: Mapping[str, object]) -> bool:
        """Returns whether it is true."""
        return all(name in facts and facts[name] == each for name, each in self.facts.items())


class TinyScorer:
    """Ranks a handful of products: history first, then what is listed first.

    It never leaves out what is in the basket: keeping that off a screen is the gates' work.
    """

    version = "tiny-1"
    level = "model"

    def __init__(self, products: Iterable[ProductId]) -> None:
        self._products = tuple(products)

    def rank(self, request: ScoringRequest) -> tuple[ScoredProduct, ...]:
        """Returns the best products, best first."""
        often = {product for past in request.history for product in past.products}
        scored = [
            ScoredProduct(
                product=product,
                propensity=0.9 - 0.01 * n if product in often else 0.5 - 0.01 * n,
                reason="you_often_buy" if product in often else "bought_together",
            )
            for n, product in enumerate(self._allowed(request))
        ]
        scored.sort(key=lambda each: (-each.propensity, each.product))
        return tuple(scored[: request.limit])

    def reasons(
        self, request: ScoringRequest, products: tuple[ProductId, ...]
    ) -> dict[ProductId, str]:
        """Returns the reasons that its ranking says already."""
        said = {each.product: each.reason for each in self.rank(request)}
        return {product: said[product] for product in products}

    def popular(self, request: ScoringRequest) -> tuple[ScoredProduct, ...]:
        """Returns the products in their own order."""
        allowed = self._allowed(request)[: request.limit]
        return tuple(
            ScoredProduct(product=product, propensity=0.3, reason="popular_now")
            for product in allowed
        )

    def _allowed(self, request: ScoringRequest) -> list[ProductId]:
        zone = request.zone_products
        return [each for each in self._products if zone is None or each in zone]


class MemoryCatalogue:
    """What the store sells, in a dictionary."""

    def __init__(self, products: Iterable[Product], layout: Layout) -> None:
        self._products = {product.id: product for product in products}
        self._layout = layout

    @property
    def departments(self) -> dict[ProductId, str]:
        """Returns the department of each product that has one."""
        return {p.id: p.department for p in self._products.values() if p.department is not None}

    def product(self, product: ProductId) -> Product | None:
        """Returns a product, or None when it is not known."""
        return self._products.get(product)

    def reprice(self, product: ProductId, price: str | None) -> None:
        """Gives a product another price, or none."""
        self._products[product] = replace(self._products[product], price=price)

    def products_in(self, zone: ZoneId) -> frozenset[ProductId] | None:
        """Returns the products that a zone sells; None when its departments are not known."""
        known = self._layout.zones.get(zone)
        if known is None or not known.departments:
            return None
        return frozenset(
            each.id for each in self._products.values() if each.department in known.departments
        )

    def department(self, product: ProductId) -> str | None:
        """Returns a product's department."""
        found = self._products.get(product)
        return None if found is None else found.department


def pseudonymiser() -> Pseudonymiser:
    """Returns the real pseudonymiser, with a key for every day that tests play in."""
    first = date(2017, 11, 1).toordinal()
    days = [date.fromordinal(first + n).isoformat() for n in range(N_DAYS)]
    keys = {day: day.encode().ljust(32, b"-") for day in days}
    return Pseudonymiser(store_key=STORE_KEY, day_keys=keys)


class FakeClock:
    """A clock advanced by hand."""

    def __init__(self, now_ms: int = 0) -> None:
        self._now_ms = now_ms

    def advance(self, seconds: float) -> None:
        """Moves time on."""
        self._now_ms += round(seconds * SECOND_MS)

    def now_ms(self) -> int:
        """Returns the present instant."""
        return self._now_ms

    def monotonic_s(self) -> float:
        """Returns seconds that only ever grow."""
        return self._now_ms / SECOND_MS


@dataclass(slots=True)
class FakeLink:
    """A connection to a broker that takes everything and keeps it."""

    connected: bool = True
    published: list[tuple[str, bytes, dict[str, Any]]] = field(default_factory=list)
    acked: list[Any] = field(default_factory=list)
    is_paused: bool = False

    def publish(self, topic: str, payload: bytes, **options: Any) -> None:
        """Keeps a message."""
        self.published.append((topic, payload, options))

    def ack(self, deliveries: Iterable[Any]) -> None:
        """Keeps acknowledgements."""
        self.acked.extend(deliveries)

    def unsend(self, tokens: Iterable[object]) -> None:
        """Forgets messages."""
        gone = set(tokens)
        self.published = [each for each in self.published if each[2].get("token") not in gone]

    def pause(self) -> None:
        """Stops reading."""
        self.is_paused = True

    def resume(self) -> None:
        """Reads on."""
        self.is_paused = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeDelivery:
    """One message as a link delivers it."""

    topic: str
    payload: bytes
    retain: bool = False
    dup: bool = False
    generation: int = 1
    mid: int = 1
    qos: int = 1
    response_topic: str | None = None
    correlation: bytes | None = None


class World:
    """A store in memory: events and ticks go in, steps come out.

    Does around `engine.step` what the road does: recognises repeats, judges times, makes
    pseudonyms, lays the changes over the state and keeps the wake-ups.
    """

    def __init__(
        self,
        *,
        layout: Layout,
        products: Iterable[Product],
        policy: Policy,
        now_ms: int,
        seed: str = "0",
        state: Any = None,
        apply: Callable[[Step], None] | None = None,
    ) -> None:
        self.layout = layout
        self.catalogue = MemoryCatalogue(products, layout)
        self.policy = policy
        self.now_ms = now_ms
        self.seed = seed
        self.scorer: Any = TinyScorer(sorted(self.catalogue._products))
        self.memory = MemoryState(layout, departments=self.catalogue.departments)
        self.state: Any = self.memory if state is None else state
        self._apply = apply or self._remember
        self.people = pseudonymiser()
        self.wakes = Wakes()
        self.closed_until_ms = 0
        self.hq_heard_ms: int | None = None
        self.rules: Rules = NEUTRAL
        self.left_ms: int | None = None
        self.stopwatch: Stopwatch | None = None
        self.watermark_ms = 0
        self.effects: list[Effect] = []
        self._marks: set[int] = set()

    @property
    def period_ms(self) -> int:
        """Length of a summary's period."""
        return self.policy.summary_period_s * SECOND_MS

    def context(self) -> Context:
        """Returns what a step may rest on now."""
        layout = self.layout
        return Context(
            now_ms=self.now_ms,
            local=local_time(self.now_ms, NEW_YORK),
            zone=NEW_YORK,
            seed=self.seed,
            store=StoreId("s1"),
            locale="en",
            currency="USD",
            policy=self.policy,
            layout=layout,
            catalogue=self.catalogue,
            scorer=self.scorer,
            closed_until_ms=self.closed_until_ms,
            hq_heard_ms=self.hq_heard_ms,
            rules=self.rules,
            left_ms=self.left_ms,
            stopwatch=self.stopwatch,
            unit_key=UNIT_KEY,
            offer_key=OFFER_KEY,
            exits=frozenset(zone.id for zone in layout.zones.values() if zone.is_exit),
            register_zones=frozenset(
                each.zone for each in layout.registers.values() if each.zone is not None
            ),
        )

    def arrival(self, event: Event) -> Arrival | None:
        """Returns an event as the engine gets it; None when it is a repeat or too late."""
        mark = mark_of(event.source, event.id)
        if mark in self._marks:
            return None
        own_ms = None if event.time is None else ms_from_datetime(event.time)
        timing = timing_of(
            own_ms, now_ms=self.now_ms, watermark_ms=self.watermark_ms, policy=self.policy
        )
        self._marks.add(mark)
        if not timing.may_correct:
            return None
        late_ms = self.policy.lateness_s * SECOND_MS
        self.watermark_ms = max(self.watermark_ms, min(timing.at_ms, self.now_ms) - late_ms)
        day = local_time(timing.at_ms, NEW_YORK).day
        data: Any = event.data
        visitor: VisitorRef | None = getattr(data, "visitor", None)
        basket: str | None = getattr(data, "basket", None)
        case: str | None = getattr(data, "complaint", None)
        if basket is None and visitor is not None and visitor.kind == "basket":
            basket = visitor.value
        return Arrival(
            event,
            timing.at_ms,
            mark,
            timing.may_decide,
            day,
            None if visitor is None else self.people.subject(visitor, day=day),
            None if basket is None else self.people.basket(basket, day=day),
            None if case is None else self.people.case(case),
        )

    def take(self, *events: Event) -> list[Effect]:
        """Takes events in, one after the other; returns the effects of all."""
        found: list[Effect] = []
        for event in events:
            arrival = self.arrival(event)
            if arrival is not None:
                found += self.run(arrival)
        return found

    def ask(
        self, request: RecommendRequest, *, cause: str = "ask-1", answered_to: str | None = None
    ) -> list[Effect]:
        """Takes a request in; `answered_to` has the answer sent to somebody else's topic."""
        day = local_time(self.now_ms, NEW_YORK).day
        visitor, basket = request.visitor, request.basket
        return self.run(
            Asked(
                request=request,
                cause=Cause(source=request.source, id=cause),
                response_topic=f"store/s1/reply/{answered_to or request.source}",
                correlation=b"c",
                subject=None if visitor is None else self.people.subject(visitor, day=day),
                basket=None if basket is None else self.people.basket(basket, day=day),
            )
        )

    def ask_about(self, question: OfferRequest) -> OfferReply:
        """Takes a till's question about an offer in and returns the answer."""
        day = local_time(self.now_ms, NEW_YORK).day
        found = self.run(
            OfferAsked(
                request=question,
                by=f"{question.source}/{mark_of(f'offer/{question.source}', question.id):x}",
                response_topic=f"store/s1/reply/{question.source}",
                correlation=b"c",
                basket=None
                if question.basket is None
                else self.people.basket(question.basket, day=day),
            )
        )
        (answer,) = self.published(found)
        return OfferReply.model_validate_json(answer.payload)

    def command(self, command: AnyCommand) -> list[Effect]:
        """Takes one of HQ's commands in."""
        day = local_time(self.now_ms, NEW_YORK).day
        visitor = getattr(command.body, "visitor", None)
        case = getattr(command.body, "complaint", None)
        return self.run(
            Commanded(
                command=command,
                day=day,
                subject=None if visitor is None else self.people.subject(visitor, day=day),
                case=None if case is None else self.people.case(case),
            )
        )

    def staff(self, answered: StaffAnswered) -> list[Effect]:
        """Takes staff's answer in."""
        return self.run(answered)

    def tick(self, now_ms: int) -> list[Effect]:
        """Moves time on and does what is due."""
        self.now_ms = max(self.now_ms, now_ms)
        found: list[Effect] = []
        for wake in self.wakes.due(self.now_ms):
            found += self.run(wake)
        return found

    def pass_s(self, seconds: float) -> list[Effect]:
        """Moves time on by seconds, second by second where something is due."""
        return self.tick(self.now_ms + round(seconds * SECOND_MS))

    def settle(self) -> None:
        """Lets so much time pass that every visit is over."""
        for _ in range(4):
            self.tick(self.now_ms + DAY_MS // 12)

    def run(self, given: Input) -> list[Effect]:
        """Takes one step."""
        result = step(self.state, given, self.context())
        self._apply(result)
        for effect in result.effects:
            if isinstance(effect, effects.ScheduleWake):
                self.wakes.ask(effect.due_ms, effect.kind, effect.key)
        self.effects.extend(result.effects)
        return list(result.effects)

    def wake(self, kind: str, key: str) -> list[Effect]:
        """Wakes by hand."""
        return self.run(Wake(self.now_ms, kind, key))

    def begin_day(self) -> list[Effect]:
        """Wakes what a start of the agent wakes: screens get their default."""
        showings: dict[str, Showing | None] = {
            screen: self.state.showing(screen) for screen in self.layout.screens
        }
        self.wakes = rebuilt(
            (),
            showings,
            layout=self.layout,
            policy=self.policy,
            now_ms=self.now_ms,
            rules=self.rules,
        )
        return self.tick(self.now_ms)

    def restart(self) -> list[Effect]:
        """Ends and begins again: what is to come follows from the state alone."""
        visits = (self.state.visit_of(each) for each in self.memory.visits)
        self.wakes = rebuilt(
            tuple(each for each in visits if each is not None and each.is_open),
            {},
            layout=self.layout,
            policy=self.policy,
            now_ms=self.now_ms,
            calls=self.state.live_calls(),
            queues=tuple(each for each in self.layout.zones if self.state.level("queue", each)),
        )
        return self.tick(self.now_ms)

    def _remember(self, result: Step) -> None:
        for change in result.changes:
            self.memory.put(change)
        for effect in result.effects:
            self.memory.carry_out(effect, period_ms=self.period_ms)

    # --- looking at what came out -------------------------------------------------------------

    def decisions(self, found: Iterable[Effect] | None = None) -> list[Decision]:
        """Returns the decisions among effects; of all so far by default."""
        given = self.effects if found is None else found
        return [each.decision for each in given if isinstance(each, effects.RecordDecision)]

    def published(self, found: Iterable[Effect] | None = None) -> list[effects.Publish]:
        """Returns the messages among effects; of all so far by default."""
        given = self.effects if found is None else found
        return [each for each in given if isinstance(each, effects.Publish)]

    def visitor(self, kind: str, value: str) -> Visitor | None:
        """Returns the visitor behind a raw identifier, today."""
        day = local_time(self.now_ms, NEW_YORK).day
        reference = VisitorRef.model_validate({"kind": kind, "value": value})
        subject = self.people.subject(reference, day=day)
        found: Visitor | None = None if subject is None else self.state.visitor_of(subject)
        return found

    def subject(self, kind: str, value: str) -> Subject:
        """Returns the pseudonym of a raw identifier, today."""
        day = local_time(self.now_ms, NEW_YORK).day
        found = self.people.subject(
            VisitorRef.model_validate_json(json.dumps({"kind": kind, "value": value})), day=day
        )
        assert found is not None
        return found

    def person_behind(self, kind: str, value: str) -> VisitorId | None:
        """Returns whom a raw identifier is known to be now."""
        visitor = self.visitor(kind, value)
        draft = Draft(self.state, self.context())
        return None if visitor is None else person_behind(draft, visitor)

    def unlink(
        self, kind: str, value: str, *, other: tuple[str, str] | None = None
    ) -> list[Effect]:
        """Takes in the word that an identifier is not the person it was taken for."""
        not_him = None if other is None else self.subject(*other)
        return self.run(Unlink(subject=self.subject(kind, value), other=not_him))

    def is_silenced(self, kind: str, value: str) -> bool:
        """Whether a complaint silences a raw identifier now."""
        return is_silenced(Draft(self.state, self.context()), self.visitor(kind, value))

    def visit(self, kind: str, value: str) -> Visit | None:
        """Returns the newest visit of whoever is behind a raw identifier."""
        visitor = self.visitor(kind, value)
        found: Visit | None = None if visitor is None else self.state.visit_of(visitor.id)
        return found

    def visits(self, kind: str, value: str) -> tuple[Visit, ...]:
        """Returns all visits of whoever is behind a raw identifier, oldest first."""
        visitor = self.visitor(kind, value)
        known = {} if visitor is None else self.memory.visits.get(visitor.id, {})
        return tuple(sorted(known.values(), key=lambda each: each.started_at_ms))

    def basket(self, number: str) -> Basket | None:
        """Returns a basket by its raw number, today."""
        day = local_time(self.now_ms, NEW_YORK).day
        basket = self.people.basket(number, day=day)
        found: Basket | None = None if basket is None else self.state.basket(basket)
        return found


def audience_of(layout: Layout, source: str) -> str:
    """Returns who can see what a source is answered."""
    return layout.audience_of(SourceId(source))
