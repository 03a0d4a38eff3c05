"""What was said to whom over all channels, held in memory for those who were asked about of late.

Nobody is read from the disk until a rule asks about him. From then on what a batch adds is laid
over what was read, so that the disk is asked once for each person. What the batch that is open
has said to others is kept until it is committed: on the disk it is found only from then on.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from edge_agent.domain.contacts import ANSWERS, HQ_PREFIX, SHOWN, Contact
from edge_agent.domain.decisions import contact_from
from edge_agent.domain.ids import CampaignId, DecisionId, ProductId, VisitorId

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from edge_agent.domain.decisions import Decision
    from edge_agent.domain.effects import JoinPurchases, RecordOutcome

# Several times the visitors that a large store holds at once.
CACHED_PEOPLE: Final = 2_000
# What a contact is told of: the comparison with popularity and staff's answers are none of its.
KINDS: Final = frozenset({*ANSWERS, SHOWN})

_DECIDED: Final = (
    "SELECT id, at_ms, channel, items, campaigns, missed, visitor FROM decision"
    " WHERE visitor = ?1 AND at_ms >= ?2 AND channel <> 'staff'"
    " AND (items <> '[]' OR campaigns <> '[]' OR missed <> '[]')"
    # To whoever was taken for him then, such as a basket that his card was shown with.
    " UNION ALL SELECT id, at_ms, channel, items, campaigns, missed, visitor FROM decision"
    " WHERE member = ?1 AND at_ms >= ?2 AND channel <> 'staff' AND NOT is_mistaken"
    " AND (items <> '[]' OR campaigns <> '[]' OR missed <> '[]')"
)
_CAME_OF_IT: Final = (
    "SELECT o.decision, o.kind, o.product FROM json_each(?) j JOIN outcome o"
    " ON o.decision = j.value"
)
# What HQ told of, and what a screen said to several people, him among them.
_NOTED: Final = (
    "SELECT id, at_ms, channel, products, campaigns, outcome, missed FROM contact"
    " WHERE visitor = ? AND at_ms >= ?"
)
_ALL_NOTED: Final = (
    "SELECT id, at_ms, channel, products, campaigns, outcome, {}, {}, visitor FROM contact"
)

# Of decisions that are purged: what the caps of campaigns count (`shell.campaign_told`).
_FADED: Final = (
    "SELECT id, at_ms, campaign, is_missed, whose FROM campaign_told"
    " WHERE visitor = ? AND at_ms >= ? ORDER BY campaign"
)


class _Known:
    """What is known of one person, from an instant on."""

    __slots__ = ("contacts", "from_ms", "in_order")

    def __init__(self, from_ms: int, contacts: dict[str, Contact]) -> None:
        self.from_ms = from_ms
        self.contacts = contacts
        self.in_order: tuple[Contact, ...] | None = None

    def put(self, contact: Contact) -> None:
        self.contacts[contact.id] = contact
        self.in_order = None

    def since(self, since_ms: int) -> tuple[Contact, ...]:
        if self.in_order is None:
            self.in_order = tuple(sorted(self.contacts.values(), key=lambda each: each.order))
        first = self.in_order[0].at_ms if self.in_order else since_ms
        if first >= since_ms:
            return self.in_order
        return tuple(each for each in self.in_order if each.at_ms >= since_ms)


class ContactBook:
    """Contacts by visitor: the disk's, and those of the batch that is open."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self._known: OrderedDict[VisitorId, _Known] = OrderedDict()
        # Of people in `_known`: to whom a decision counts.
        self._whose: dict[str, set[VisitorId]] = {}
        # Who else knows what was said to somebody: whom he was taken for.
        self._told_with: dict[VisitorId, set[VisitorId]] = {}
        # Where no campaign is limited for each visitor, nothing is kept beyond decisions.
        found = connection.execute("SELECT EXISTS (SELECT 1 FROM campaign_told)").fetchone()
        self._is_any_faded = bool(found[0])
        self._begin_batch()

    def _begin_batch(self) -> None:
        self._decisions: list[Decision] = []
        self._reported: list[tuple[VisitorId, Contact]] = []
        self._outcomes: list[RecordOutcome] = []
        self._joins: list[JoinPurchases] = []
        # Whose rows of HQ's are still on the disk, and gone with the batch.
        self._forgotten: set[VisitorId] = set()

    def of(self, visitor: VisitorId, *, since_ms: int) -> tuple[Contact, ...]:
        """Returns what was said to a visitor from an instant on, oldest first."""
        known = self._known.get(visitor)
        if known is None or since_ms < known.from_ms:
            known = self._read(visitor, since_ms)
            self._known[visitor] = known
            for contact in known.contacts.values():
                self._index(visitor, contact)
        return known.since(since_ms)

    def told_by(self, decision: DecisionId) -> tuple[VisitorId, ...]:
        """Returns for whom something was decided, and to whom it counts, in ascending order."""
        for each in self._decisions:
            if each.id == decision:
                return tuple(sorted(_people_of(each)))
        row = self._db.execute(
            "SELECT visitor, iif(is_mistaken, NULL, member) FROM decision WHERE id = ?",
            (decision,),
        ).fetchone()
        people = () if row is None else (each for each in row if each is not None)
        return tuple(sorted({VisitorId(each) for each in people}))

    # --- what a batch adds --------------------------------------------------------------------

    def note_decision(self, decision: Decision) -> None:
        """Takes in what was decided."""
        contact = contact_from(decision)
        if contact is None:
            return
        self._decisions.append(decision)
        for join in self._joins:
            contact = _bought(contact, join)
        for person in _people_of(decision):
            known = self._known.get(person)
            if known is not None:
                self._index(person, contact)
                known.put(contact)

    def note_reported(self, visitor: VisitorId, contact: Contact) -> None:
        """Takes in what HQ says was said to somebody elsewhere, or a screen to several people."""
        self._reported.append((visitor, contact))
        known = self._known.get(visitor)
        if known is not None:
            known.put(contact)

    def forget_reported(self, visitor: VisitorId) -> None:
        """Forgets what HQ said was said to somebody."""
        kept = (each for each in self._reported if each[0] != visitor or not each[1].is_hqs)
        self._reported = list(kept)
        self._forgotten.add(visitor)
        known = self._known.get(visitor)
        if known is not None:
            own = {key: each for key, each in known.contacts.items() if not each.is_hqs}
            self._known[visitor] = _Known(known.from_ms, own)

    def note_outcome(self, outcome: RecordOutcome) -> None:
        """Takes in what came of a decision."""
        if outcome.kind not in KINDS:
            return
        self._outcomes.append(outcome)
        for person in self._whose.get(outcome.decision, ()):
            known = self._known.get(person)
            contact = None if known is None else known.contacts.get(outcome.decision)
            if known is not None and contact is not None:
                known.put(contact.with_outcome(outcome.kind, outcome.product))

    def note_purchases(self, join: JoinPurchases) -> None:
        """Takes in what visitors paid for."""
        self._joins.append(join)
        people = {*join.visitors}.union(*(self._told_with.get(v, ()) for v in join.visitors))
        for person in sorted(people):
            known = self._known.get(person)
            for contact in () if known is None else tuple(known.contacts.values()):
                bought = _bought(contact, join)
                if known is not None and bought is not contact:
                    known.put(bought)

    def forget_unsaved(self) -> None:
        """Lets go of what is on the disk by now, and of whom nobody asked about for long."""
        self._begin_batch()
        while len(self._known) > CACHED_PEOPLE:
            person, gone = self._known.popitem(last=False)
            for contact in gone.contacts.values():
                self._forget_index(person, contact)

    def _index(self, person: VisitorId, contact: Contact) -> None:
        if contact.is_shared or contact.is_faded:
            # Whoever answered it, nobody knows that it was he; nor is an answer so late any.
            return
        self._whose.setdefault(contact.id, set()).add(person)
        if contact.whose not in {None, person}:
            self._told_with.setdefault(contact.whose or person, set()).add(person)

    def _forget_index(self, person: VisitorId, contact: Contact) -> None:
        _without(self._whose, contact.id, person)
        if contact.whose is not None:
            _without(self._told_with, contact.whose, person)

    # --- reading ------------------------------------------------------------------------------

    def _read(self, visitor: VisitorId, since_ms: int) -> _Known:
        found = self._faded(visitor, since_ms) | self._decided(visitor, since_ms)
        noted = self._db.execute(_NOTED, (visitor, since_ms)).fetchall()
        told = [_noted_from(tuple(row)) for row in noted]
        is_forgotten = visitor in self._forgotten
        found.update({each.id: each for each in told if not (each.is_hqs and is_forgotten)})
        for decision in self._decisions:
            contact_of_batch = contact_from(decision)
            if visitor in _people_of(decision) and contact_of_batch is not None:
                found[contact_of_batch.id] = contact_of_batch
        found.update({each.id: each for whose, each in self._reported if whose == visitor})
        for outcome in self._outcomes:
            contact_with = found.get(outcome.decision)
            if contact_with is not None and not contact_with.is_shared:
                found[outcome.decision] = contact_with.with_outcome(outcome.kind, outcome.product)
        for join in self._joins:
            found = {key: _bought(each, join) for key, each in found.items()}
        return _Known(since_ms, found)

    def _faded(self, visitor: VisitorId, since_ms: int) -> dict[str, Contact]:
        rows = self._db.execute(_FADED, (visitor, since_ms)) if self._is_any_faded else ()
        found: dict[str, Contact] = {}
        for key, at_ms, campaign, is_missed, whose in rows:
            if visitor in self._forgotten and key.startswith(HQ_PREFIX):
                continue
            known = found.get(key) or Contact(id=key, at_ms=at_ms, channel="", whose=whose)
            name = CampaignId(campaign)
            found[key] = (
                replace(known, missed=(*known.missed, name))
                if is_missed
                else replace(known, campaigns=(*known.campaigns, name))
            )
        return found

    def _decided(self, visitor: VisitorId, since_ms: int) -> dict[str, Contact]:
        rows = self._db.execute(_DECIDED, (visitor, since_ms)).fetchall()
        outcomes: dict[str, set[tuple[str, ProductId | None]]] = {}
        ids = json.dumps([row[0] for row in rows])
        for decision, kind, product in self._db.execute(_CAME_OF_IT, (ids,)):
            if kind in KINDS:
                named = ProductId(product) if product else None
                outcomes.setdefault(decision, set()).add((kind, named))
        return {
            decision: Contact(
                id=DecisionId(decision),
                at_ms=at_ms,
                channel=channel,
                products=_products(items),
                campaigns=_campaigns(campaigns),
                missed=_campaigns(missed),
                outcomes=frozenset(outcomes.get(decision, ())),
                whose=VisitorId(whose),
            )
            for decision, at_ms, channel, items, campaigns, missed, whose in rows
        }


def noted_contacts(connection: sqlite3.Connection) -> Iterator[tuple[str, int, Contact]]:
    """Returns what HQ told of and what several were told at once: to whom, known when, what."""
    # A database that no newer agent has opened since says less.
    has = {str(row[1]) for row in connection.execute("PRAGMA table_info(contact)")}
    columns = [
        each if each in has else instead
        for each, instead in (("missed", "'[]'"), ("known_at_ms", "NULL"))
    ]
    for *row, known_at_ms, visitor in connection.execute(_ALL_NOTED.format(*columns)):
        contact = _noted_from(tuple(row))
        yield visitor, contact.at_ms if known_at_ms is None else known_at_ms, contact


def _without(index: dict[Any, set[VisitorId]], key: str, person: VisitorId) -> None:
    people = index.get(key, set())
    people.discard(person)
    if not people:
        index.pop(key, None)


def _people_of(decision: Decision) -> set[VisitorId]:
    moment = decision.moment
    return {each for each in (moment.visitor, moment.counts_to) if each is not None}


def _bought(contact: Contact, join: JoinPurchases) -> Contact:
    is_in_time = join.since_ms <= contact.at_ms <= join.at_ms
    if contact.whose not in join.visitors or not is_in_time:
        return contact
    for product in contact.products:
        if product in join.products:
            contact = contact.with_outcome("bought", product)
    return contact


def _noted_from(row: tuple[str, int, str, str, str, str, str]) -> Contact:
    key, at_ms, channel, products, campaigns, outcome, missed = row
    return Contact(
        id=key,
        at_ms=at_ms,
        channel=channel,
        products=_products(products),
        campaigns=_campaigns(campaigns),
        outcomes=frozenset({(outcome, None)}) if outcome else frozenset(),
        missed=_campaigns(missed),
    )


def _products(text: str) -> tuple[ProductId, ...]:
    return tuple(ProductId(each) for each in json.loads(text))


def _campaigns(text: str) -> tuple[CampaignId, ...]:
    return tuple(CampaignId(each) for each in json.loads(text))
