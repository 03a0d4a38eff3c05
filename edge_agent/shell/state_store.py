"""The state in SQLite, with what is in use held in memory: the engine's `State`.

One process and one writer own the database, so what is cached here is never stale. Changes of a
batch are laid over the cache first and written by the unit of work; if that fails, the cache is
forgotten and read again. Reading is all that happens here.
"""

from __future__ import annotations

import json
import sys
from collections import OrderedDict
from contextlib import closing
from dataclasses import replace
from datetime import date, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeVar

from edge_agent.domain.basket import Basket
from edge_agent.domain.calls import Call
from edge_agent.domain.contacts import UNUSED
from edge_agent.domain.effects import (
    GiveOffer,
    JoinPurchases,
    RecordContact,
    RecordOutcome,
    VisitsChanged,
)
from edge_agent.domain.ids import (
    BasketId,
    CampaignId,
    DecisionId,
    ProductId,
    ScreenId,
    UnitId,
    VisitId,
    VisitorId,
    ZoneId,
)
from edge_agent.domain.store import AtRegister, Fact, Level, Product, Showing
from edge_agent.domain.time import HOUR_MS
from edge_agent.domain.visitor import Link, Visitor
from edge_agent.errors import StoreCorrupt
from edge_agent.shell import rows
from edge_agent.shell.call_rows import call_from
from edge_agent.shell.catalogue import Feed, StoreDepartments
from edge_agent.shell.contact_book import ContactBook
from edge_agent.shell.register_stays import RegisterStays
from edge_agent.state.visits import follows, in_order_of_coming, one_visit

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

    from edge_agent.domain.contacts import CampaignUses, Contact
    from edge_agent.domain.decisions import Decision
    from edge_agent.domain.effects import Change, CountCampaign, RedeemOffer, SetCampaign, SetLevel
    from edge_agent.domain.offers import Offer
    from edge_agent.domain.policy import Policy
    from edge_agent.domain.rules import FactValue
    from edge_agent.domain.scoring import PromotionPlan
    from edge_agent.domain.store import Layout
    from edge_agent.domain.visitor import Mark, Subject, Visit

K = TypeVar("K")
V = TypeVar("V")

# Visitors and baskets in memory, several times what a large store holds at once; the rest waits on
# the disk.
CACHED_VISITORS: Final = 5_000
CACHED_ABSENT: Final = 5_000
CACHED_BASKETS: Final = 1_000
CACHED_PERSONS: Final = 5_000
CACHED_EXPOSURES: Final = 5_000
# A device's clock may be ahead: what its event asked for was decided before the event's own time.
DECIDED_BEFORE_MS: Final = HOUR_MS

_LINKS_OF: Final = (
    "SELECT ?, pseudonym, visitor, since_ms, until_ms, basis, ended_by, source, confidence"
    " FROM link WHERE kind = 'visitor' AND pseudonym = ?"
)
# The plus keeps SQLite from looking through every link between visitors instead of the person's.
_LINKS_TO: Final = (
    "SELECT v.kind, l.pseudonym, l.visitor, l.since_ms, l.until_ms, l.basis, l.ended_by,"
    " l.source, l.confidence FROM link l JOIN visitor v ON v.id = l.pseudonym"
    " WHERE l.visitor = ? AND +l.kind = 'visitor'"
)

_CLOSED: Final = (
    "SELECT id, visitor, started_at_ms, last_at_ms, ended_at_ms, ended_by, has_paid, trail"
    " FROM visit WHERE visitor = ? AND ended_at_ms IS NOT NULL"
)
_CLOSED_NEWEST_FIRST: Final = f"{_CLOSED} ORDER BY started_at_ms DESC"
_CLOSED_BETWEEN: Final = f"{_CLOSED} AND started_at_ms <= ? AND last_at_ms >= ?"
_OFFER: Final = (
    "SELECT mark, campaign, products, given_at_ms, valid_until_ms, decision, visitor,"
    " redeemed_at_ms, redeemed_by, basket FROM offer WHERE"
)
_STARTED: Final = 2
_TRIED: Final = (
    "SELECT substr(what, 12), sum(shown), sum(answered) FROM tried"
    " WHERE what >= ? AND what < ? GROUP BY 1 ORDER BY 1"
)
# Since and until when the facts that are laid out hold: at no time.
NEVER: Final = (0, 0)
_CALLS: Final = (
    "SELECT id, kind, zone, teams, cause, visitor, is_signed, concern, dwell_ms, presses,"
    " opened_at_ms, ends_at_ms, escalates_at_ms, acknowledged_at_ms, closed_at_ms, outcome,"
    " is_lasting FROM help_call"
)


class StateStore:
    """What is known, as the engine reads it."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        layout: Layout,
        policy: Policy,
        departments: Mapping[ProductId, str],
    ) -> None:
        self._db = connection
        self._layout = layout
        self._policy = policy
        self._bundle_departments = departments
        self._exits = frozenset(zone.id for zone in layout.zones.values() if zone.is_exit)
        self.journal: dict[VisitId, list[int]] = {}
        self.next_mark_id = 1
        # The same one for good: the catalogue looks into it.
        self.products = Feed()
        self._true_facts: Mapping[str, FactValue] = MappingProxyType({})
        self._facts_hold: tuple[int, int] = NEVER
        self._hq_campaigns: Mapping[CampaignId, str] = MappingProxyType({})
        self._plans: tuple[PromotionPlan, ...] = ()
        self.reload()

    def reload(self) -> None:
        """Forgets all that is cached and reads again what must be in memory.

        Raises:
            StoreCorrupt: A row holds what the agent never wrote there.
        """
        try:
            self._reload()
        except (ValueError, LookupError, TypeError, ArithmeticError) as error:
            raise StoreCorrupt(
                f"the database holds a row that cannot be read ({type(error).__name__})",
                hint="it is set aside at the next start, and a new one begun",
            ) from error

    def _reload(self) -> None:
        self._visitors: OrderedDict[VisitorId, Visitor] = OrderedDict()
        # Under these ids nothing is kept: most of them would be of whoever spoke by a basket.
        self._absent: set[VisitorId] = set()
        self._ids: dict[tuple[str, str], VisitorId | None] = {}
        self._visits: dict[VisitorId, Visit | None] = {}
        self._present: dict[ZoneId, set[VisitorId]] = {}
        self._baskets: OrderedDict[BasketId, Basket] = OrderedDict()
        self._carried: dict[VisitorId, tuple[BasketId, ...]] = {}
        self._links_to: OrderedDict[VisitorId, dict[VisitorId, tuple[Link, ...]]] = OrderedDict()
        self._complainers = {
            VisitorId(visitor)
            for (visitor,) in self._db.execute("SELECT DISTINCT visitor FROM complaint")
        }
        self._decisions: dict[VisitorId, tuple[int, list[tuple[int, VisitId | None]]]] = {}
        self._exposures: OrderedDict[VisitorId, dict[CampaignId, UnitId]] = OrderedDict()
        self._registers = RegisterStays(self._layout)
        self._showings = {
            ScreenId(screen): Showing(
                screen=ScreenId(screen),
                decision=DecisionId(decision),
                visitor=None if visitor is None else VisitorId(visitor),
                valid_until_ms=valid_until_ms,
                audience=audience,
                is_shared=bool(is_shared),
            )
            for screen, decision, visitor, valid_until_ms, audience, is_shared in self._db.execute(
                "SELECT screen, decision, visitor, valid_until_ms, audience, is_shared"
                " FROM showing"
            )
        }
        self._live_calls = {
            call.id: call
            for call in map(
                call_from,
                self._db.execute(f"{_CALLS} WHERE closed_at_ms IS NULL OR is_lasting ORDER BY id"),
            )
        }
        self._live: tuple[Call, ...] | None = None
        # Closed in this batch: the disk has them open still.
        self._ended_calls: dict[DecisionId, Call] = {}
        self._alerts: dict[str, tuple[ZoneId, int]] = {}
        self._last_alerts = {
            ZoneId(zone): at_ms
            for zone, at_ms in self._db.execute("SELECT zone, max(at_ms) FROM alert GROUP BY zone")
        }
        self._out_of_stock = frozenset(
            ProductId(product)
            for (product,) in self._db.execute("SELECT product FROM stock WHERE quantity <= 0")
        )
        self._contacts = ContactBook(self._db)
        # Of the batch that is open.
        self._offers: dict[str, Offer] = {}
        self._tried: dict[str, tuple[int, int]] = {}
        self._tried_for = ("", 0)
        self._load_surroundings()
        self._load_catalogue()
        self._load_open_visits()

    # --- State, as the engine reads it --------------------------------------------------------

    def visitor_of(self, subject: Subject) -> Visitor | None:
        """Returns the visitor that an identifier leads to."""
        key = (subject.kind, subject.pseudonym)
        if key in self._ids:
            return self.visitor(self._ids[key])
        row = self._db.execute(
            "SELECT visitor FROM link WHERE kind = ? AND pseudonym = ? AND until_ms IS NULL", key
        ).fetchone()
        found = None if row is None else VisitorId(row[0])
        if found is not None:
            self._ids[key] = found
        return self.visitor(found)

    def visitor(self, visitor: VisitorId | None) -> Visitor | None:
        """Returns a visitor by his id."""
        if visitor is None:
            return None
        known = self._visitors.get(visitor)
        if known is None and visitor not in self._absent:
            known = self._load_visitor(visitor)
            if known is None:
                self._absent.add(visitor)
            else:
                self._visitors[visitor] = known
        return known

    def links_to(self, person: VisitorId) -> tuple[Link, ...]:
        """Returns the links that lead to a person, ended ones too."""
        known = self._links_to.get(person)
        if known is None:
            known = {}
            for row in self._db.execute(_LINKS_TO, (person,)):
                link = rows.link_from(tuple(row))
                known[link.of] = (*known.get(link.of, ()), link)
            self._links_to[person] = known
        return tuple(link for links in known.values() for link in links)

    def complainers(self) -> AbstractSet[VisitorId]:
        """Returns everybody who ever complained."""
        return self._complainers

    def visit_of(self, visitor: VisitorId) -> Visit | None:
        """Returns a visitor's newest visit."""
        if visitor not in self._visits:
            self._visits[visitor] = self._newest_closed(visitor)
        return self._visits[visitor]

    def visits_between(self, visitor: VisitorId, *, from_ms: int, to_ms: int) -> tuple[Visit, ...]:
        """Returns a visitor's visits that lie in an interval at least in part."""
        newest = self.visit_of(visitor)
        found = {
            visit.id: visit
            for visit in map(
                self._closed_visit,
                self._db.execute(_CLOSED_BETWEEN, (visitor, to_ms, from_ms)).fetchall(),
            )
            if visit.id not in self._superseded
        }
        for visit in self._unsaved.get(visitor, ()):
            found[visit.id] = visit
        if newest is not None:
            found[newest.id] = newest
        return tuple(
            visit
            for visit in found.values()
            if visit.started_at_ms <= to_ms and visit.last_at_ms >= from_ms
        )

    def present_in(self, zone: ZoneId) -> tuple[Visit, ...]:
        """Returns the open visits of whoever is in a zone now, those first who came first."""
        here = self._present.get(zone)
        if not here:
            return ()
        found = (self._visits[visitor] for visitor in here)
        return in_order_of_coming(visit for visit in found if visit is not None)

    def basket(self, basket: BasketId) -> Basket | None:
        """Returns a basket."""
        known = self._baskets.get(basket)
        if known is None:
            known = self._load_basket(basket)
            if known is not None:
                self._baskets[basket] = known
        return known

    def baskets_of(self, visitor: VisitorId) -> tuple[Basket, ...]:
        """Returns the baskets that a visitor carries, oldest first."""
        if visitor not in self._carried:
            self._carried[visitor] = tuple(
                BasketId(basket)
                for (basket,) in self._db.execute(
                    "SELECT id FROM basket WHERE carrier = ? ORDER BY first_at_ms, id", (visitor,)
                )
            )
        ids = self._carried[visitor]
        if not ids:
            return ()
        found = (self.basket(each) for each in ids)
        # One that changed hands in this batch is still the other's on the disk.
        carried = (each for each in found if each is not None and each.carrier == visitor)
        # A late line makes a basket older than it was when it came.
        return tuple(sorted(carried, key=lambda each: (each.first_at_ms, each.id)))

    def baskets_near(self, zone: ZoneId, *, from_ms: int, to_ms: int) -> tuple[Basket, ...]:
        """Returns baskets opened in an interval at the registers of a zone."""
        ids = self._registers.baskets(zone, from_ms=from_ms, to_ms=to_ms)
        if self._registers.reaches(from_ms):
            found = (self.basket(each) for each in ids)
            return tuple(each for each in found if each is not None)
        registers = self._registers.of_zone(zone)
        marks = ",".join("?" for _ in registers)
        query = (
            f"SELECT id FROM basket WHERE register IN ({marks})"  # noqa: S608 - placeholders only
            " AND opened_at_ms BETWEEN ? AND ? ORDER BY opened_at_ms, id"
        )
        stored = [BasketId(b) for (b,) in self._db.execute(query, (*registers, from_ms, to_ms))]
        found = (self.basket(each) for each in dict.fromkeys((*stored, *ids)))
        return tuple(each for each in found if each is not None)

    def at_register(self, zone: ZoneId, *, from_ms: int, to_ms: int) -> tuple[AtRegister, ...]:
        """Returns who stood in a register's zone at some time of an interval."""
        recent = self._registers.stays(zone, from_ms=from_ms, to_ms=to_ms)
        if self._registers.reaches(from_ms):
            return recent
        stored = {
            (visitor, entered): AtRegister(
                visitor=VisitorId(visitor), entered_at_ms=entered, left_at_ms=left
            )
            for visitor, entered, left in self._db.execute(
                "SELECT visitor, entered_at_ms, left_at_ms FROM zone_stay"
                " WHERE zone = ? AND entered_at_ms <= ? AND left_at_ms >= ?",
                (zone, to_ms, from_ms),
            )
        }
        for stay in recent:
            stored[stay.visitor, stay.entered_at_ms] = stay
        return tuple(stored[key] for key in sorted(stored))

    def showing(self, screen: ScreenId) -> Showing | None:
        """Returns what a screen shows."""
        return self._showings.get(screen)

    def n_decisions(self, visit: VisitId, visitor: VisitorId, *, since_ms: int) -> int:
        """Returns how many decisions a visitor's visit has had over all channels."""
        decided = self._decided(visitor, since_ms - DECIDED_BEFORE_MS)
        return sum(at_ms >= since_ms or under == visit for at_ms, under in decided)

    def _decided(self, visitor: VisitorId, from_ms: int) -> list[tuple[int, VisitId | None]]:
        """Returns when and under which visit was decided for somebody, from an instant on."""
        known_from_ms, known = self._decisions.get(visitor, (None, []))
        if known_from_ms is None or from_ms < known_from_ms:
            # What is not on the disk yet is in memory: it was read before that was added.
            until_ms = sys.maxsize if known_from_ms is None else known_from_ms
            rows = self._db.execute(
                "SELECT at_ms, visit FROM decision WHERE visitor = ? AND at_ms >= ? AND at_ms < ?",
                (visitor, from_ms, until_ms),
            )
            known = [*rows.fetchall(), *known]
            self._decisions[visitor] = (from_ms, known)
        return known

    def unit_of(self, visitor: VisitorId) -> UnitId | None:
        """Returns the unit that a visitor's arms are drawn for; None before the first was."""
        return next(iter(self._exposed(visitor).values()), None)

    def _exposed(self, visitor: VisitorId) -> dict[CampaignId, UnitId]:
        """Returns the campaigns whose arm was drawn for a visitor, with the unit it is of."""
        if visitor not in self._exposures:
            found = self._db.execute(
                "SELECT campaign, unit FROM exposure WHERE visitor = ? ORDER BY campaign",
                (visitor,),
            )
            self._exposures[visitor] = {CampaignId(each): UnitId(unit) for each, unit in found}
        return self._exposures[visitor]

    def has_alerted(self, cause: str) -> bool:
        """Returns whether staff were alerted for this cause already."""
        if cause in self._alerts:
            return True
        row = self._db.execute("SELECT 1 FROM alert WHERE cause = ?", (cause,)).fetchone()
        return row is not None

    def last_alert_ms(self, zone: ZoneId) -> int | None:
        """Returns when staff were last alerted to a zone."""
        return self._last_alerts.get(zone)

    def live_calls(self) -> tuple[Call, ...]:
        """Returns the calls for help that are open, or whose matter goes on, oldest first."""
        if self._live is None:
            self._live = tuple(self._live_calls[each] for each in sorted(self._live_calls))
        return self._live

    def call(self, decision: DecisionId) -> Call | None:
        """Returns the call that a decision made, a closed one too."""
        known = self._live_calls.get(decision) or self._ended_calls.get(decision)
        if known is not None:
            return known
        row = self._db.execute(f"{_CALLS} WHERE id = ?", (decision,)).fetchone()
        return None if row is None else call_from(tuple(row))

    def out_of_stock(self) -> frozenset[ProductId]:
        """Returns the products that the store has none of."""
        return self._out_of_stock

    def departments(self) -> Mapping[ProductId, str]:
        """Returns the department of each product of the catalogue."""
        return self._departments

    def minimum_ages(self) -> Mapping[ProductId, int]:
        """Returns the years from which somebody may be sold them, of products that have any."""
        return self._minimum_ages

    def facts(self, now_ms: int) -> Mapping[str, FactValue]:
        """Returns what HQ says of the day and is still true at an instant."""
        from_ms, until_ms = self._facts_hold
        if not from_ms <= now_ms < until_ms:
            true = {key: each for key, each in self._facts.items() if each.valid_until_ms > now_ms}
            self._true_facts = MappingProxyType({key: each.value for key, each in true.items()})
            ends = (each.valid_until_ms for each in true.values())
            # A clock that was put right is never behind what it said: what is over stays over.
            self._facts_hold = (now_ms, min(ends, default=sys.maxsize))
        return self._true_facts

    def level(self, kind: str, zone: ZoneId) -> Level | None:
        """Returns a zone's level as last measured: its time says whether it may be believed."""
        return self._levels.get((kind, zone))

    def contacts_of(self, visitor: VisitorId, *, since_ms: int) -> tuple[Contact, ...]:
        """Returns what was said to a visitor from an instant on over all channels."""
        return self._contacts.of(visitor, since_ms=since_ms)

    def told_by(self, decision: DecisionId) -> tuple[VisitorId, ...]:
        """Returns for whom something was decided, and to whom it counts; nobody once forgotten."""
        return self._contacts.told_by(decision)

    def hq_campaigns(self) -> Mapping[CampaignId, str]:
        """Returns HQ's campaigns as sections of a policy; another mapping once one changes."""
        return self._hq_campaigns

    def plans(self) -> tuple[PromotionPlan, ...]:
        """Returns HQ's plans of promotions, oldest first; another tuple once one is added."""
        return self._plans

    def offer(self, mark: str) -> Offer | None:
        """Returns the limited offer whose code has this digest."""
        if mark in self._offers:
            return self._offers[mark]
        row = self._db.execute(f"{_OFFER} mark = ?", (mark,)).fetchone()
        return None if row is None else rows.offer_from(tuple(row))

    def offers_of(self, visitor: VisitorId) -> tuple[Offer, ...]:
        """Returns the limited offers that a visitor was given."""
        stored = self._db.execute(f"{_OFFER} visitor = ?", (visitor,)).fetchall()
        found = {row[0]: rows.offer_from(tuple(row)) for row in stored}
        found |= {key: each for key, each in self._offers.items() if each.visitor == visitor}
        return tuple(found[mark] for mark in sorted(found))

    def campaign_uses(self, campaign: CampaignId) -> CampaignUses:
        """Returns how often a campaign was said and redeemed in this store, in all and by day."""
        return self._uses.get(campaign, UNUSED)

    def tried(self, day: str, *, window_days: int) -> Mapping[str, tuple[int, int]]:
        """Returns how often each action stood first and was answered in the days before one."""
        if self._tried_for != (day, window_days):
            since = (date.fromisoformat(day) - timedelta(days=window_days)).isoformat()
            found = self._db.execute(_TRIED, (since, day)).fetchall()
            self._tried = {
                str(action): (int(shown), int(answered)) for action, shown, answered in found
            }
            self._tried_for = (day, window_days)
        return self._tried

    # --- what a batch changes -----------------------------------------------------------------

    def put(self, change: Change) -> None:
        """Lays a change over the cache; it is on the disk once the batch is committed."""
        if isinstance(change, Visitor):
            self._put_links(self._visitors.get(change.id), change)
            if change.complaints:
                self._complainers.add(change.id)
            self._visitors[change.id] = change
            self._absent.discard(change.id)
            self._ids[change.kind, change.pseudonym] = change.id
        elif isinstance(change, VisitsChanged):
            self._put_visits(change)
        elif isinstance(change, Basket):
            self._put_basket(change)
        elif isinstance(change, Call):
            self._put_call(change)
        else:
            self._showings[change.screen] = change

    def _put_call(self, call: Call) -> None:
        self._live = None
        if call.is_live:
            self._live_calls[call.id] = call
        else:
            self._live_calls.pop(call.id, None)
            self._ended_calls[call.id] = call

    def _put_links(self, before: Visitor | None, visitor: Visitor) -> None:
        links_before = () if before is None else before.links
        if links_before is visitor.links or links_before == visitor.links:
            return
        for person in {link.visitor for link in (*links_before, *visitor.links)}:
            # What is not on the disk yet must be in memory.
            self.links_to(person)
            links = tuple(link for link in visitor.links if link.visitor == person)
            self._links_to[person][visitor.id] = links

    def note_decision(self, decision: Decision) -> None:
        """Counts a decision against its visit's cap, and among what was said to its visitor."""
        visitor, at_ms = decision.moment.visitor, decision.decided_at_ms
        if visitor is not None:
            decided = self._decided(visitor, at_ms - DECIDED_BEFORE_MS)
            decided.append((at_ms, decision.moment.visit))
            self._contacts.note_decision(decision)

    def note(self, effect: RecordContact | RecordOutcome | JoinPurchases) -> None:
        """Takes in what was said elsewhere, or what came of what was said."""
        match effect:
            case RecordContact():
                self._contacts.note_reported(effect.visitor, effect.contact)
            case RecordOutcome():
                self._contacts.note_outcome(effect)
            case JoinPurchases():
                self._contacts.note_purchases(effect)

    def forget_contacts(self, visitor: VisitorId) -> None:
        """Forgets what HQ told of a visitor."""
        self._contacts.forget_reported(visitor)

    def add_plan(self, plan: PromotionPlan) -> None:
        """Adds a plan of promotions."""
        self._plans = (*self._plans, plan)

    def put_campaign(self, effect: SetCampaign) -> None:
        """Sets a campaign of HQ's; those that are over by now go."""
        self._campaign_ends[effect.campaign] = effect.ends_at_ms
        told = {**self._hq_campaigns, effect.campaign: effect.section}
        self._hq_campaigns = MappingProxyType(
            {key: each for key, each in told.items() if self._campaign_ends[key] > effect.at_ms}
        )

    def note_offer(self, effect: GiveOffer | RedeemOffer) -> None:
        """Remembers an offer that was given or redeemed, until that is on the disk."""
        if isinstance(effect, GiveOffer):
            mark, known = effect.offer.mark, self.offer(effect.offer.mark)
            self._offers[mark] = effect.offer if known is None else known
            return
        offer = self.offer(effect.mark)
        if offer is not None and offer.redeemed is None:
            self._offers[effect.mark] = replace(offer, redeemed=effect.redemption)

    def note_use(self, use: CountCampaign) -> None:
        """Counts that a campaign was said or redeemed."""
        before = self._uses.get(use.campaign, UNUSED)
        more = before.with_more(use.day, given=use.given, redeemed=use.redeemed)
        self._uses[use.campaign] = more

    def put_fact(self, fact: Fact) -> None:
        """Sets something that HQ says of the day."""
        self._facts[fact.name] = fact
        self._facts_hold = NEVER

    def put_level(self, level: SetLevel) -> None:
        """Sets a level; the newest measurement holds."""
        known = self._levels.get((level.kind, level.zone))
        if known is None or level.at_ms >= known.at_ms:
            measured = Level(value=level.value, at_ms=level.at_ms)
            self._levels[level.kind, level.zone] = measured

    def note_exposed(self, visitor: VisitorId, unit: UnitId, campaign: CampaignId) -> bool:
        """Remembers that an arm was drawn for a visitor; returns whether it is the first time."""
        known = self._exposed(visitor)
        if campaign in known:
            return False
        known[campaign] = unit
        return True

    def note_alert(self, cause: str, zone: ZoneId, at_ms: int) -> None:
        """Remembers that staff were told."""
        self._alerts[cause] = (zone, at_ms)
        self._last_alerts[zone] = at_ms

    def put_stock(self, levels: tuple[tuple[ProductId, float], ...]) -> None:
        """Sets stock levels."""
        changed = dict(levels)
        kept = {product for product in self._out_of_stock if product not in changed}
        self._out_of_stock = frozenset(kept | {p for p, n in changed.items() if n <= 0})

    def put_products(self, products: tuple[Product, ...]) -> None:
        """Adds or changes products."""
        self.products.put(products)
        for product in products:
            self._minimum_ages.pop(product.id, None)
            if product.minimum_age > 0:
                self._minimum_ages[product.id] = product.minimum_age
            if product.department is not None:
                self._departments.fed[product.id] = product.department

    def open_visits(self) -> tuple[Visit, ...]:
        """Returns every open visit, in a fixed order."""
        found = (each for each in self._visits.values() if each is not None and each.is_open)
        return tuple(sorted(found, key=lambda each: each.id))

    def forget_unsaved(self) -> None:
        """Lets go of what is on the disk by now, and of what is beyond the cache's bounds."""
        for visitor in self._unsaved:
            visit = self._visits.get(visitor)
            if visit is not None and not visit.is_open:
                # Its marks are on the disk now, and seldom asked for again.
                del self._visits[visitor]
                self._decisions.pop(visitor, None)
        self._unsaved.clear()
        self._superseded.clear()
        self._alerts.clear()
        self._offers.clear()
        self._contacts.forget_unsaved()
        self._ended_calls.clear()
        self._registers.prune()
        while len(self._exposures) > CACHED_EXPOSURES:
            self._exposures.popitem(last=False)
        if len(self._absent) > CACHED_ABSENT:
            self._absent.clear()
        while len(self._links_to) > CACHED_PERSONS:
            self._links_to.popitem(last=False)
        while len(self._baskets) > CACHED_BASKETS:
            self._baskets.popitem(last=False)
        while len(self._visitors) > CACHED_VISITORS:
            self._evict_oldest()

    def _evict_oldest(self) -> None:
        visitor_id, visitor = self._visitors.popitem(last=False)
        visit = self._visits.get(visitor_id)
        if visit is not None and visit.is_open:
            self._visitors[visitor_id] = visitor
            if len(self._visitors) <= CACHED_VISITORS + len(self.journal):
                return
        self._ids.pop((visitor.kind, visitor.pseudonym), None)
        self._carried.pop(visitor_id, None)
        if visit is None or not visit.is_open:
            self._visits.pop(visitor_id, None)
            self._decisions.pop(visitor_id, None)

    def _put_visits(self, change: VisitsChanged) -> None:
        before = newest = self._visits.get(change.visitor)
        if newest is not None:
            kept = newest.id
            newest = next((visit for visit in change.visits if visit.id == kept), newest)
        last = change.visits[-1] if change.visits else None
        if newest is not None and newest.id in change.removed:
            newest = None
        if last is not None and (newest is None or follows(last, newest)):
            newest = last
        if newest is None and change.removed:
            newest = self._newest_closed(change.visitor, without=frozenset(change.removed))
        self._visits[change.visitor] = newest
        self._note_zone(change.visitor, before, newest)
        self._superseded.update(change.removed)
        self._superseded.difference_update(visit.id for visit in change.visits)
        unsaved = {visit.id: visit for visit in self._unsaved.get(change.visitor, ())}
        for visit_id in change.removed:
            unsaved.pop(visit_id, None)
        unsaved.update({visit.id: visit for visit in change.visits if not visit.is_open})
        if unsaved:
            self._unsaved[change.visitor] = tuple(unsaved.values())
        else:
            self._unsaved.pop(change.visitor, None)
        self._registers.put_visits(change.visitor, change)

    def _note_zone(self, visitor: VisitorId, before: Visit | None, now: Visit | None) -> None:
        # A visit that is over is in no zone.
        was_in = None if before is None else before.zone
        is_in = None if now is None else now.zone
        if was_in == is_in:
            return
        if was_in is not None:
            self._present[was_in].discard(visitor)
        if is_in is not None:
            self._present.setdefault(is_in, set()).add(visitor)

    def _newest_closed(
        self, visitor: VisitorId, *, without: frozenset[VisitId] = frozenset()
    ) -> Visit | None:
        unsaved = {visit.id: visit for visit in self._unsaved.get(visitor, ())}
        gone = without | self._superseded
        newest: Visit | None = None
        with closing(self._db.execute(_CLOSED_NEWEST_FIRST, (visitor,))) as found:
            for row in found:
                if newest is not None and row[_STARTED] < newest.started_at_ms:
                    break
                if row[0] not in gone and row[0] not in unsaved:
                    visit = self._closed_visit(row)
                    # Two visits may begin at one instant.
                    newest = visit if newest is None or follows(visit, newest) else newest
        for visit in unsaved.values():
            if visit.id not in gone and (newest is None or follows(visit, newest)):
                newest = visit
        return newest

    def _put_basket(self, basket: Basket) -> None:
        before = self._baskets.get(basket.id)
        previous = None if before is None else before.carrier
        self._baskets[basket.id] = basket
        if previous != basket.carrier or before is None:
            if previous is not None and previous in self._carried:
                rest = tuple(each for each in self._carried[previous] if each != basket.id)
                self._carried[previous] = rest
            if basket.carrier is not None:
                self.baskets_of(basket.carrier)
                known = self._carried[basket.carrier]
                if basket.id not in known:
                    self._carried[basket.carrier] = (*known, basket.id)
        self._registers.put_basket(basket)

    # --- reading ------------------------------------------------------------------------------

    def _load_visitor(self, visitor: VisitorId) -> Visitor | None:
        row = self._db.execute(
            "SELECT id, kind, first_seen_at_ms, last_seen_at_ms, CAST(profile AS BLOB)"
            " FROM visitor WHERE id = ?",
            (visitor,),
        ).fetchone()
        if row is None:
            return None
        link = self._db.execute(
            "SELECT pseudonym FROM link WHERE visitor = ? AND kind = ?", (visitor, row[1])
        ).fetchone()
        return rows.visitor_from(
            tuple(row),
            pseudonym="" if link is None else link[0],
            links=self._db.execute(_LINKS_OF, (row[1], visitor)).fetchall(),
            consents=self._db.execute(
                "SELECT purpose, stated_at_ms, granted, source, text_version, channel,"
                " expires_at_ms, basis, only_on FROM consent WHERE visitor = ?"
                " ORDER BY stated_at_ms, purpose, granted, source, only_on",
                (visitor,),
            ).fetchall(),
            complaints=self._db.execute(
                "SELECT case_hash, opened_at_ms, closed_at_ms FROM complaint WHERE visitor = ?"
                " ORDER BY case_hash",
                (visitor,),
            ).fetchall(),
        )

    def _closed_visit(self, row: rows.Row) -> Visit:
        stays = self._db.execute(
            "SELECT zone, entered_at_ms, left_at_ms FROM zone_stay WHERE visit = ?"
            " ORDER BY entered_at_ms, left_at_ms, zone",
            (row[0],),
        ).fetchall()
        return rows.closed_visit_from(tuple(row), stays)

    def _load_basket(self, basket: BasketId) -> Basket | None:
        row = self._db.execute(
            "SELECT id, day, register, first_at_ms, last_at_ms, opened_at_ms, carrier, shared,"
            " member, voided_at_ms, paid_mark_at_ms, cards FROM basket WHERE id = ?",
            (basket,),
        ).fetchone()
        if row is None:
            return None
        changes = self._db.execute(
            "SELECT at_ms, tie, product, quantity FROM basket_line WHERE basket = ?"
            " ORDER BY at_ms, tie",
            (basket,),
        ).fetchall()
        sale = self._db.execute(
            "SELECT completed_at_ms, currency, total, revision, event FROM sale WHERE basket = ?",
            (basket,),
        ).fetchone()
        lines = self._db.execute(
            "SELECT product, quantity, amount, discount FROM sale_line WHERE basket = ?"
            " ORDER BY position",
            (basket,),
        ).fetchall()
        return rows.basket_from(tuple(row), changes, sale, lines)

    def _load_surroundings(self) -> None:
        self._facts = {
            str(name): Fact(name=name, value=json.loads(value), valid_until_ms=valid_until_ms)
            for name, value, valid_until_ms in self._db.execute(
                "SELECT name, value, valid_until_ms FROM fact ORDER BY name"
            )
        }
        self._facts_hold = NEVER
        self._levels = {
            (str(kind), ZoneId(zone)): Level(value=value, at_ms=at_ms)
            for kind, zone, value, at_ms in self._db.execute(
                "SELECT kind, zone, value, at_ms FROM zone_level"
            )
        }
        self._plans = rows.stored_plans(self._db)
        told = self._db.execute("SELECT id, section, ends_at_ms FROM campaign ORDER BY id")
        sections = {CampaignId(key): (section, ends_at_ms) for key, section, ends_at_ms in told}
        self._campaign_ends = {key: ends_at_ms for key, (_, ends_at_ms) in sections.items()}
        self._hq_campaigns = MappingProxyType(
            {key: section for key, (section, _) in sections.items()}
        )
        self._uses: dict[CampaignId, CampaignUses] = {}
        for campaign, day, given, redeemed in self._db.execute(
            "SELECT campaign, day, given, redeemed FROM campaign_use ORDER BY campaign, day"
        ):
            before = self._uses.get(campaign, UNUSED)
            self._uses[campaign] = before.with_more(day, given=given, redeemed=redeemed)

    def _load_catalogue(self) -> None:
        self.products.read_again(
            Product(
                id=ProductId(product),
                title=title,
                price=price,
                currency=currency,
                department=department,
                image=image,
                brand=brand,
                minimum_age=minimum_age,
            )
            for (
                product,
                title,
                price,
                currency,
                department,
                image,
                brand,
                minimum_age,
            ) in self._db.execute(
                "SELECT product, title, price, currency, department, image, brand, minimum_age"
                " FROM catalogue"
            )
        )
        named = ((key, each.department) for key, each in self.products.items())
        fed = {key: department for key, department in named if department is not None}
        self._departments = StoreDepartments(fed, self._bundle_departments)
        ages = ((key, each.minimum_age) for key, each in self.products.items())
        self._minimum_ages = {product: age for product, age in ages if age > 0}

    def _load_open_visits(self) -> None:
        self._unsaved: dict[VisitorId, tuple[Visit, ...]] = {}
        self._superseded: set[VisitId] = set()
        self.journal = {}
        marks: dict[VisitId, list[Mark]] = {}
        self.next_mark_id = 1
        for row in self._db.execute(
            "SELECT id, visit, at_ms, tie, kind, zone, product, dwell_ms, checksum FROM mark"
            " ORDER BY id"
        ):
            row_id, visit, *_ = row
            marks.setdefault(VisitId(visit), []).append(rows.journal_mark(row))
            self.journal.setdefault(VisitId(visit), []).append(row_id)
            self.next_mark_id = row_id + 1
        for visit_id, visitor, started_at_ms in self._db.execute(
            "SELECT id, visitor, started_at_ms FROM visit WHERE ended_at_ms IS NULL ORDER BY id"
        ).fetchall():
            ordered = sorted(marks.get(visit_id, ()), key=lambda each: each.order)
            if not ordered:
                continue
            # The journal says that these marks are one visit: a changed time-out splits nothing.
            visit = one_visit(
                tuple(ordered), visitor=visitor, exits=self._exits, after_ms=started_at_ms
            )
            change = VisitsChanged(visitor=VisitorId(visitor), visits=(visit,))
            self._note_zone(VisitorId(visitor), self._visits.get(VisitorId(visitor)), visit)
            self._visits[VisitorId(visitor)] = visit
            self._registers.put_visits(VisitorId(visitor), change)
        self._load_recent_at_registers()

    def _load_recent_at_registers(self) -> None:
        row = self._db.execute("SELECT max(last_at_ms) FROM basket").fetchone()
        newest_ms = 0 if row is None or row[0] is None else int(row[0])
        from_ms = self._registers.begin_from(newest_ms)
        for zone in self._registers.zones:
            for visitor, visit, entered_at_ms, left_at_ms in self._db.execute(
                "SELECT s.visitor, s.visit, s.entered_at_ms, s.left_at_ms FROM zone_stay s"
                " JOIN visit v"
                " ON v.id = s.visit WHERE s.zone = ? AND s.left_at_ms >= ?"
                " AND v.ended_at_ms IS NOT NULL",
                (zone, from_ms),
            ):
                self._registers.put_stay(
                    zone,
                    VisitorId(visitor),
                    VisitId(visit),
                    entered_at_ms=entered_at_ms,
                    left_at_ms=left_at_ms,
                )
        for basket, register, opened_at_ms in self._db.execute(
            "SELECT id, register, opened_at_ms FROM basket WHERE opened_at_ms >= ?", (from_ms,)
        ):
            self._registers.put_opening(register, BasketId(basket), opened_at_ms)
