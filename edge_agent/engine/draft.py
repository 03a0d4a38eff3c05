"""What one step has changed so far, laid over the state that it reads.

It lives for one step only. The state itself is never written, so a step that fails leaves
nothing behind: that is each event's savepoint.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from edge_agent.domain.decisions import contact_from, heeded_by, shared_contact_from
from edge_agent.domain.effects import (
    CountCampaign,
    GiveOffer,
    RecordContact,
    RecordDecision,
    ScheduleWake,
    Step,
    SummaryTouched,
    VisitsChanged,
)
from edge_agent.domain.time import DAY_MS, SECOND_MS
from edge_agent.domain.visitor import Visitor
from edge_agent.identify.pseudonyms import visitor_id_from
from edge_agent.state.visits import (
    advance,
    follows,
    in_order_of_coming,
    is_in_order,
    reach_ms,
    refolded,
    timed_out,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge_agent.domain.basket import Basket
    from edge_agent.domain.calls import Call
    from edge_agent.domain.contacts import CampaignUses, Contact
    from edge_agent.domain.decisions import Decision
    from edge_agent.domain.effects import Change, Effect
    from edge_agent.domain.ids import (
        BasketId,
        CampaignId,
        DecisionId,
        ScreenId,
        UnitId,
        VisitId,
        VisitorId,
        ZoneId,
    )
    from edge_agent.domain.offers import Offer
    from edge_agent.domain.store import Showing
    from edge_agent.domain.visitor import Link, Mark, Subject, Visit
    from edge_agent.engine.context import Context
    from edge_agent.ports import State


class Draft:
    """Reads through to the state, collects changes and effects."""

    def __init__(self, state: State, context: Context) -> None:
        self.state = state
        self.context = context
        # What a late mark folded again, as it was and as it is.
        self.refolded: list[Visit] = []
        self._effects: list[Effect] = []
        self._marked: list[VisitsChanged] = []
        self._visitors: dict[VisitorId, Visitor] = {}
        self._visits: dict[VisitorId, Visit | None] = {}
        self._put: dict[VisitorId, dict[VisitId, Visit | None]] = {}
        self._baskets: dict[BasketId, Basket] = {}
        self._showings: dict[ScreenId, Showing] = {}
        self._calls: dict[DecisionId, Call] = {}
        self._spent_us: dict[DecisionId, int] = {}

    def finished(self) -> Step:
        """Returns all that was collected; visitors first, because the rest refers to them."""
        changes: list[Change] = [*self._visitors.values(), *self._marked]
        changes += self._baskets.values()
        changes += self._showings.values()
        changes += self._calls.values()
        return Step(tuple(changes), tuple(self._effects))

    def add(self, *effects: Effect) -> None:
        """Collects effects, in the order in which they are to be carried out."""
        self._effects.extend(effects)

    def touch_summaries(self, at_ms: int) -> None:
        """Notes that a period whose summaries were made already has changed."""
        if at_ms < self.context.closed_until_ms:
            self._effects.append(SummaryTouched(at_ms=at_ms))

    def touch_span(self, from_ms: int, to_ms: int) -> None:
        """Notes the same for every period from one instant to another."""
        period_ms = self.context.policy.summary_period_s * SECOND_MS
        for at_ms in range(from_ms - from_ms % period_ms, to_ms + 1, period_ms):
            if at_ms >= self.context.closed_until_ms:
                return
            self._effects.append(SummaryTouched(at_ms=at_ms))

    # --- visitors -----------------------------------------------------------------------------

    def visitor(self, visitor: VisitorId | None) -> Visitor | None:
        """Returns a visitor by id."""
        if visitor is None:
            return None
        return self._visitors.get(visitor) or self.state.visitor(visitor)

    def visitor_of(self, subject: Subject) -> Visitor | None:
        """Returns the visitor that an identifier leads to."""
        known = self.state.visitor_of(subject)
        return known if known is None else self._visitors.get(known.id, known)

    def visitor_for(self, subject: Subject, *, day: str, at_ms: int) -> Visitor:
        """Returns the visitor that an identifier leads to, a new one if it leads to none."""
        known = self.visitor_of(subject)
        if known is not None:
            return known
        visitor_id = visitor_id_from(subject, day=day)
        if visitor_id in self._visitors:
            return self._visitors[visitor_id]
        fresh = Visitor(
            id=visitor_id,
            kind=subject.kind,
            pseudonym=subject.pseudonym,
            first_seen_at_ms=at_ms - at_ms % DAY_MS,
            last_seen_at_ms=at_ms - at_ms % DAY_MS,
        )
        self._visitors[visitor_id] = fresh
        return fresh

    def links_to(self, person: VisitorId) -> tuple[Link, ...]:
        """Returns the links that lead to a person, ended ones too."""
        known = self.state.links_to(person)
        if not self._visitors:
            return known
        fresh = (
            link
            for visitor in self._visitors.values()
            for link in visitor.links
            if link.visitor == person
        )
        return (*(link for link in known if link.of not in self._visitors), *fresh)

    def has_complained(self, visitor: VisitorId) -> bool:
        """Returns whether somebody ever complained."""
        changed = self._visitors.get(visitor)
        if changed is not None:
            return bool(changed.complaints)
        return visitor in self.state.complainers()

    def put_visitor(self, visitor: Visitor) -> None:
        """Replaces a visitor."""
        self._visitors[visitor.id] = visitor

    # --- visits -------------------------------------------------------------------------------

    def visit_of(self, visitor: VisitorId) -> Visit | None:
        """Returns a visitor's newest visit."""
        if visitor in self._visits:
            return self._visits[visitor]
        return self.state.visit_of(visitor)

    def present_in(self, zone: ZoneId) -> tuple[Visit, ...]:
        """Returns the open visits of whoever is in a zone now, those first who came first."""
        known = self.state.present_in(zone)
        if not self._visits:
            return known
        changed = (each for each in self._visits.values() if each is not None)
        return in_order_of_coming(
            (
                *(each for each in known if each.visitor not in self._visits),
                *(each for each in changed if each.zone == zone),
            )
        )

    def n_decisions(self, visit: Visit) -> int:
        """Returns how many decisions a visit had over all channels, this step's among them."""
        own = (each.decision.moment for each in self._effects if isinstance(each, RecordDecision))
        before = self.state.n_decisions(visit.id, visit.visitor, since_ms=visit.started_at_ms)
        n = before + sum(each.visitor == visit.visitor for each in own)
        return n + self._n_shared(visit) if self.context.rules.sharing else n

    def _n_shared(self, visit: Visit) -> int:
        whom = (self.visitor(visit.visitor),)
        contacts = self.contacts_with(whom, since_ms=visit.started_at_ms)
        return sum(each.is_shared for each in contacts)

    def note_spent(self, decision: DecisionId, spent_us: int) -> None:
        """Notes how long it took to decide; it is written down beside the decision."""
        self._spent_us[decision] = spent_us

    def record(self, decision: Decision) -> None:
        """Writes a decision into the log and counts the campaigns that it says to somebody.

        What is said to several people is noted as a contact of each.
        """
        self.add(RecordDecision(decision=decision, spent_us=self._spent_us.get(decision.id)))
        heeded = heeded_by(decision.moment)
        contact = shared_contact_from(decision) if heeded else None
        if contact is not None:
            for visitor in heeded:
                self.add(RecordContact(visitor=visitor, contact=contact))
        if decision.moment.is_for_nobody:
            return
        for campaign in decision.campaigns:
            self.add(CountCampaign(campaign=campaign, day=self.context.local.day, given=1))

    def contacts_with(
        self, people: Iterable[Visitor | None], *, since_ms: int
    ) -> tuple[Contact, ...]:
        """Returns what was said to people over all channels, this step's words among it.

        Args:
            people: Those who count as one: `engine.persons.circle_of` says who they are.
            since_ms: From when on.
        """
        ids = {each.id for each in people if each is not None}
        found = self._shared_with(ids, since_ms=since_ms) if self.context.rules.sharing else {}
        found |= {
            contact.id: contact
            for visitor in ids
            for contact in self.state.contacts_of(visitor, since_ms=since_ms)
            if contact.whose in ids or not self._was_another(contact.whose, visitor)
        }
        for effect in self._effects:
            if isinstance(effect, RecordContact) and effect.visitor in ids:
                found[effect.contact.id] = effect.contact
            if not isinstance(effect, RecordDecision):
                continue
            moment = effect.decision.moment
            if moment.visitor in ids or moment.counts_to in ids:
                contact = contact_from(effect.decision)
                if contact is not None:
                    found[contact.id] = contact
        return tuple(sorted(found.values(), key=lambda each: each.order))

    def _shared_with(self, ids: set[VisitorId], *, since_ms: int) -> dict[str, Contact]:
        """Returns what was said to several people, whoever is taken for one of these among them.

        It is noted of whom the screen saw alone: what a telephone saw in company is its owner's as
        long as nobody says that it is not his.
        """
        links = (link for person in ids for link in self.links_to(person) if link.is_claim)
        behind = {link.of for link in links} - ids
        noted = {
            contact.id: contact
            for visitor in behind
            for contact in self.state.contacts_of(visitor, since_ms=since_ms)
            if contact.is_shared
        }
        own = (each for each in self._effects if isinstance(each, RecordContact))
        noted |= {each.contact.id: each.contact for each in own if each.visitor in behind}
        return noted

    def told_by(self, decision: DecisionId) -> tuple[VisitorId, ...]:
        """Returns to whom a decision counts, as `contacts_with` says of contacts."""
        people = self.state.told_by(decision)
        taken = [each for each in people if any(self._was_another(one, each) for one in people)]
        return tuple(each for each in people if each not in taken)

    def _was_another(self, whose: VisitorId | None, person: VisitorId) -> bool:
        """Returns whether somebody said that a visitor is not the person he was taken for."""
        visitor = self.visitor(whose)
        links = () if visitor is None else visitor.links
        claims = [link.is_claim for link in links if link.visitor == person]
        return bool(claims) and not any(claims)

    def offers_of(self, visitor: VisitorId) -> tuple[Offer, ...]:
        """Returns the limited offers that somebody was given, this step's among them."""
        own = (each.offer for each in self._effects if isinstance(each, GiveOffer))
        return (
            *self.state.offers_of(visitor),
            *(offer for offer in own if offer.visitor == visitor),
        )

    def campaign_uses(self, campaign: CampaignId) -> CampaignUses:
        """Returns how often a campaign was said and redeemed, this step's words among it."""
        uses = self.state.campaign_uses(campaign)
        for effect in self._effects:
            if isinstance(effect, CountCampaign) and effect.campaign == campaign:
                more = {"given": effect.given, "redeemed": effect.redeemed}
                uses = uses.with_more(effect.day, **more)
        return uses

    def unit_of(self, visitor: VisitorId | None) -> UnitId | None:
        """Returns the unit that a visitor's arms are drawn for; None before the first was."""
        if visitor is None:
            return None
        known = self.state.unit_of(visitor)
        if known is not None:
            return known
        decided = (each.decision for each in self._effects if isinstance(each, RecordDecision))
        own = (each.unit for each in decided if each.exposed == visitor and each.assignments)
        return next(own, None)

    def add_mark(self, visitor: Visitor, mark: Mark) -> Visit:
        """Folds a mark into its visitor's visits and returns the visit that it is now part of."""
        newest = self.visit_of(visitor.id)
        context = self.context
        if not is_in_order(newest, mark) or self._reopens(newest, mark):
            return self._refold_with(visitor.id, mark)
        ended, visit = advance(
            newest, mark, visitor=visitor.id, policy=context.policy, exits=context.exits
        )
        visits = (visit,) if ended is None else (ended, visit)
        self.put_visits(visitor.id, visits, mark=mark)
        if newest is None or newest.id != visit.id:
            self.watch((visit,))
        self.see(visitor, mark.at_ms)
        self.touch_summaries(mark.at_ms)
        return visit

    def _reopens(self, newest: Visit | None, mark: Mark) -> bool:
        # Time ended the visit before this late mark told that it was still going on.
        if newest is None or newest.ended_by != "timeout":
            return False
        gap_ms = mark.at_ms - newest.last_at_ms
        return gap_ms <= self.context.policy.visit_timeout_s * SECOND_MS

    def see(self, visitor: Visitor, at_ms: int) -> None:
        """Notes that somebody was here: what is kept of him counts from the last time."""
        # To the day: the same in whatever order marks arrive, and seldom a row to write.
        day_ms = at_ms - at_ms % DAY_MS
        if visitor.first_seen_at_ms <= day_ms <= visitor.last_seen_at_ms:
            return
        known = self._visitors.get(visitor.id, visitor)
        self.put_visitor(
            replace(
                known,
                first_seen_at_ms=min(known.first_seen_at_ms, day_ms),
                last_seen_at_ms=max(known.last_seen_at_ms, day_ms),
            )
        )

    def _refold_with(self, visitor: VisitorId, mark: Mark) -> Visit:
        from_ms = mark.at_ms - mark.dwell_ms
        visits = self._refold(visitor, mark, from_ms=from_ms, to_ms=mark.at_ms, without=None)
        return next(visit for visit in visits if visit.last_order >= mark.order)

    def refold_without(self, visitor: VisitorId, *, at_ms: int, tie: int) -> None:
        """Folds the visits around an instant again, without the mark that is taken back."""
        self._refold(visitor, None, from_ms=at_ms, to_ms=at_ms, without=tie)

    def _refold(
        self,
        visitor: VisitorId,
        mark: Mark | None,
        *,
        from_ms: int,
        to_ms: int,
        without: int | None,
    ) -> tuple[Visit, ...]:
        context = self.context
        newest = self.visit_of(visitor)
        near = self._chained(visitor, from_ms=from_ms, to_ms=to_ms)
        visits = refolded(
            near,
            mark,
            visitor=visitor,
            policy=context.policy,
            exits=context.exits,
            without=without,
        )
        if newest is not None and newest not in near and visits and visits[-1].is_open:
            # A later visit exists, so time has ended this one.
            visits = (*visits[:-1], timed_out(visits[-1]))
        kept = {visit.id for visit in visits}
        removed = tuple(sorted(visit.id for visit in near if visit.id not in kept))
        self.put_visits(visitor, visits, removed=removed)
        self.refolded += (*near, *visits)
        for visit in (*near, *visits):
            self.touch_span(visit.started_at_ms, visit.last_at_ms)
        self.watch(visits)
        return visits

    def _chained(self, visitor: VisitorId, *, from_ms: int, to_ms: int) -> tuple[Visit, ...]:
        """Returns every visit that a change in an interval can touch, oldest first.

        Where one visit ends decides how the next one begins if it is within the time-out of it,
        or if one of its dwell reports reaches back that far. So does that one's end for the one
        after: the visits are taken until a gap on both sides is wider than any of that.
        """
        margin_ms = self.context.policy.visit_timeout_s * SECOND_MS
        near: tuple[Visit, ...] = ()
        while True:
            found = self.visits_between(
                visitor, from_ms=from_ms - margin_ms, to_ms=to_ms + margin_ms
            )
            if len(found) == len(near):
                return found
            near = found
            from_ms = min(from_ms, *(reach_ms(visit) for visit in near))
            to_ms = max(to_ms, *(visit.last_at_ms for visit in near))

    def visits_between(self, visitor: VisitorId, *, from_ms: int, to_ms: int) -> tuple[Visit, ...]:
        """Returns a visitor's visits that lie in an interval at least in part, oldest first."""
        found: dict[VisitId, Visit | None] = {
            visit.id: visit
            for visit in self.state.visits_between(visitor, from_ms=from_ms, to_ms=to_ms)
        }
        found |= self._put.get(visitor, {})
        within = (
            visit
            for visit in found.values()
            if visit is not None and visit.started_at_ms <= to_ms and visit.last_at_ms >= from_ms
        )
        return tuple(sorted(within, key=lambda each: (each.started_at_ms, each.last_order)))

    def put_visits(
        self,
        visitor: VisitorId,
        visits: tuple[Visit, ...],
        *,
        removed: tuple[VisitId, ...] = (),
        mark: Mark | None = None,
    ) -> None:
        """Replaces visits; the visitor's newest one is current from then on."""
        newest = self.visit_of(visitor)
        if newest is not None:
            # Shorter by a mark that was taken back, it is the newest all the same.
            kept = newest.id
            newest = next((visit for visit in visits if visit.id == kept), newest)
        last = visits[-1] if visits else None
        if last is not None and (newest is None or newest.id in removed or follows(last, newest)):
            self._visits[visitor] = last
        elif last is None and newest is not None and newest.id in removed:
            self._visits[visitor] = None
        put = self._put.setdefault(visitor, {})
        put.update(dict.fromkeys(removed))
        put.update({visit.id: visit for visit in visits})
        self._marked.append(
            VisitsChanged(visitor=visitor, visits=visits, removed=removed, mark=mark)
        )

    def watch(self, visits: tuple[Visit, ...]) -> None:
        """Asks to be woken when open visits have timed out."""
        timeout_ms = self.context.policy.visit_timeout_s * SECOND_MS
        for visit in visits:
            if visit.is_open:
                due_ms = visit.last_at_ms + timeout_ms
                self.add(ScheduleWake(due_ms=due_ms, kind="visit_timeout", key=visit.visitor))

    # --- baskets and screens ------------------------------------------------------------------

    def basket(self, basket: BasketId) -> Basket | None:
        """Returns a basket."""
        return self._baskets.get(basket) or self.state.basket(basket)

    def baskets_of(self, visitor: VisitorId) -> tuple[Basket, ...]:
        """Returns the baskets that a visitor carries, as this step leaves them."""
        known = self.state.baskets_of(visitor)
        if not self._baskets:
            return known
        found = {each.id: each for each in known} | self._baskets
        return tuple(each for each in found.values() if each.carrier == visitor)

    def put_basket(self, basket: Basket) -> None:
        """Replaces a basket."""
        self._baskets[basket.id] = basket

    def showing(self, screen: ScreenId) -> Showing | None:
        """Returns what a screen shows."""
        return self._showings.get(screen) or self.state.showing(screen)

    def shows_anew(self, screen: ScreenId) -> bool:
        """Returns whether this very step has changed what a screen shows."""
        return screen in self._showings

    def put_showing(self, showing: Showing) -> None:
        """Replaces what a screen shows."""
        self._showings[showing.screen] = showing

    # --- calls for help -----------------------------------------------------------------------

    def calls(self) -> tuple[Call, ...]:
        """Returns the calls that are open, or whose matter goes on, as this step leaves them."""
        known = self.state.live_calls()
        if not self._calls:
            return known
        found = {each.id: each for each in known} | self._calls
        return tuple(each for each in found.values() if each.is_live)

    def call(self, decision: DecisionId) -> Call | None:
        """Returns the call that a decision made."""
        return self._calls.get(decision) or self.state.call(decision)

    def put_call(self, call: Call) -> None:
        """Replaces a call."""
        self._calls[call.id] = call

    def has_moved(self, visitor: VisitorId) -> bool:
        """Returns whether a visitor's visits changed in this step."""
        return visitor in self._put

    @property
    def has_restated(self) -> bool:
        """Whether what is known of anybody beside his visits changed in this step."""
        return bool(self._visitors)
