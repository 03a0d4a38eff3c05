"""One batch, one transaction: dedupe marks, state, decisions, dead letters and outbox rows.

Steps are laid over the state as they come. `commit` writes everything they led to in one
transaction; only after it returns may messages be acknowledged and the outbox sent. Whatever
fails before leaves the disk as it was, and the state is read again from it.
"""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING, Any, Final

from edge_agent.domain import effects
from edge_agent.domain.basket import Basket
from edge_agent.domain.calls import UNASKED, Call, alert_key
from edge_agent.domain.chain import values_of
from edge_agent.domain.contacts import HQ_PREFIX
from edge_agent.domain.decisions import contact_from
from edge_agent.domain.store import Showing
from edge_agent.domain.visitor import IDENTIFIED_KINDS, Link, Visitor
from edge_agent.errors import StoreCorrupt, StoreError, StoreRefused
from edge_agent.shell import rows
from edge_agent.shell.call_rows import call_row
from edge_agent.shell.sqlite_db import store_error

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from edge_agent.domain.decisions import Decision
    from edge_agent.domain.ids import VisitId, VisitorId
    from edge_agent.domain.visitor import Visit
    from edge_agent.ports import SecondCopy
    from edge_agent.shell.state_store import StateStore

_SQL: Final = {
    "inbox": "INSERT OR IGNORE INTO inbox (mark, day) VALUES (?, ?)",
    "visitor": (
        "INSERT INTO visitor (id, kind, first_seen_at_ms, last_seen_at_ms, profile)"
        " VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET"
        " first_seen_at_ms = min(first_seen_at_ms, excluded.first_seen_at_ms),"
        " last_seen_at_ms = max(last_seen_at_ms, excluded.last_seen_at_ms),"
        " profile = excluded.profile"
    ),
    "link": (
        "INSERT INTO link (kind, pseudonym, visitor, since_ms, until_ms, basis, ended_by, source,"
        " confidence) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (kind, pseudonym, visitor, since_ms, basis) DO UPDATE SET"
        " until_ms = excluded.until_ms, ended_by = excluded.ended_by, source = excluded.source,"
        " confidence = excluded.confidence"
    ),
    # The basket that it was seen with turned out to be another's: there is no such evidence.
    "link_moved": (
        "DELETE FROM link WHERE kind = 'visitor' AND pseudonym = ? AND visitor = ?"
        " AND since_ms = ? AND basis = ?"
    ),
    "consent": (
        "INSERT OR IGNORE INTO consent (visitor, purpose, stated_at_ms, granted, source,"
        " text_version, channel, expires_at_ms, basis, only_on)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    ),
    "complaint": (
        "INSERT INTO complaint (visitor, case_hash, opened_at_ms, closed_at_ms)"
        " VALUES (?, ?, ?, ?) ON CONFLICT (visitor, case_hash) DO UPDATE SET"
        " opened_at_ms = excluded.opened_at_ms, closed_at_ms = excluded.closed_at_ms"
    ),
    "visit_delete": "DELETE FROM visit WHERE id = ?",
    "stay_delete": "DELETE FROM zone_stay WHERE visit = ?",
    "mark_delete": "DELETE FROM mark WHERE id = ?",
    "visit": (
        "INSERT INTO visit (id, visitor, started_at_ms, last_at_ms, ended_at_ms, ended_by,"
        " has_paid, trail) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET"
        " last_at_ms = excluded.last_at_ms, ended_at_ms = excluded.ended_at_ms,"
        " ended_by = excluded.ended_by, has_paid = excluded.has_paid, trail = excluded.trail"
    ),
    "mark": (
        "INSERT INTO mark (id, visit, at_ms, tie, kind, zone, product, dwell_ms, checksum)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
    ),
    "stay": (
        "INSERT OR REPLACE INTO zone_stay (visit, entered_at_ms, zone, left_at_ms, visitor)"
        " VALUES (?, ?, ?, ?, ?)"
    ),
    "basket": (
        "INSERT INTO basket (id, day, register, first_at_ms, last_at_ms, opened_at_ms, carrier,"
        " shared, member, voided_at_ms, paid_mark_at_ms, cards)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (id) DO UPDATE SET first_at_ms = excluded.first_at_ms,"
        " last_at_ms = excluded.last_at_ms, opened_at_ms = excluded.opened_at_ms,"
        " carrier = excluded.carrier, shared = excluded.shared, member = excluded.member,"
        " voided_at_ms = excluded.voided_at_ms, paid_mark_at_ms = excluded.paid_mark_at_ms,"
        " cards = excluded.cards"
    ),
    "basket_line": (
        "INSERT OR IGNORE INTO basket_line (basket, at_ms, tie, product, quantity)"
        " VALUES (?, ?, ?, ?, ?)"
    ),
    "sale": (
        "INSERT OR REPLACE INTO sale (basket, completed_at_ms, currency, total, revision, event)"
        " VALUES (?, ?, ?, ?, ?, ?)"
    ),
    "sale_line_delete": "DELETE FROM sale_line WHERE basket = ?",
    "sale_line": (
        "INSERT INTO sale_line (basket, position, product, quantity, amount, discount)"
        " VALUES (?, ?, ?, ?, ?, ?)"
    ),
    "return": (
        "INSERT OR IGNORE INTO sale_return (id, at_ms, currency, total, lines)"
        " VALUES (?, ?, ?, ?, ?)"
    ),
    "showing": (
        "INSERT INTO showing (screen, decision, visitor, valid_until_ms, audience,"
        " is_shared) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (screen) DO UPDATE SET decision = excluded.decision,"
        " visitor = excluded.visitor, valid_until_ms = excluded.valid_until_ms,"
        " audience = excluded.audience, is_shared = excluded.is_shared"
    ),
    "decision": (
        "INSERT OR IGNORE INTO decision (id, at_ms, moment, visitor, visit, channel, place, zone,"
        " level, items, popular, record, campaigns, missed, tried, member, spent_us)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    ),
    "tried": (
        "INSERT INTO tried (what, shown, answered) VALUES (?, 1, 0)"
        " ON CONFLICT (what) DO UPDATE SET shown = shown + 1"
    ),
    # The first holds: a unit is in its arm from the first moment on that it could have mattered.
    "exposure": (
        "INSERT OR IGNORE INTO exposure (visitor, campaign, unit, member, arm, share, goal, at_ms)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
    ),
    "told": "UPDATE exposure SET told_ms = ? WHERE visitor = ? AND campaign = ?",
    "trial": "INSERT OR REPLACE INTO trial (period_start_ms, cells) VALUES (?, ?)",
    "goal": "INSERT OR IGNORE INTO goal (id, products, at_ms) VALUES (?, ?, ?)",
    "help_call": (
        "INSERT INTO help_call (id, kind, zone, teams, cause, visitor, is_signed, concern,"
        " dwell_ms, presses, opened_at_ms, ends_at_ms, escalates_at_ms, acknowledged_at_ms,"
        " closed_at_ms, outcome, is_lasting)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (id) DO UPDATE SET teams = excluded.teams, presses = excluded.presses,"
        " ends_at_ms = excluded.ends_at_ms, escalates_at_ms = excluded.escalates_at_ms,"
        " acknowledged_at_ms = excluded.acknowledged_at_ms,"
        " closed_at_ms = excluded.closed_at_ms, outcome = excluded.outcome,"
        " is_lasting = excluded.is_lasting"
    ),
    "alert": "INSERT OR IGNORE INTO alert (cause, zone, at_ms) VALUES (?, ?, ?)",
    "outcome": (
        "INSERT OR IGNORE INTO outcome (decision, kind, product, at_ms) VALUES (?, ?, ?, ?)"
    ),
    "contacts_delete": "DELETE FROM contact WHERE visitor = ? AND id GLOB 'hq/*'",
    "contact": (
        "INSERT INTO contact (visitor, id, at_ms, channel, products, campaigns, outcome)"
        " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (visitor, id) DO UPDATE SET"
        " at_ms = excluded.at_ms, channel = excluded.channel, products = excluded.products,"
        " campaigns = excluded.campaigns, outcome = excluded.outcome"
    ),
    # Whoever no sensor noticed has no row of his own.
    "offer": (
        "INSERT OR IGNORE INTO offer (mark, campaign, products, given_at_ms, valid_until_ms,"
        " decision, visitor) VALUES (?, ?, ?, ?, ?, ?, (SELECT id FROM visitor WHERE id = ?))"
    ),
    "offer_redeemed": (
        "UPDATE offer SET redeemed_at_ms = ?, redeemed_by = ?, basket = ?"
        " WHERE mark = ? AND redeemed_at_ms IS NULL"
    ),
    "promotion_plan": (
        "INSERT OR REPLACE INTO promotion_plan (number, from_day, until_day, displayed, mailed)"
        " VALUES (?, ?, ?, ?, ?)"
    ),
    "campaign_over": "DELETE FROM campaign WHERE ends_at_ms <= ?",
    "campaign": "INSERT OR REPLACE INTO campaign (id, section, ends_at_ms) VALUES (?, ?, ?)",
    "campaign_use": (
        "INSERT INTO campaign_use (campaign, day, given, redeemed) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (campaign, day) DO UPDATE SET given = given + excluded.given,"
        " redeemed = redeemed + excluded.redeemed"
    ),
    "fact": (
        "INSERT INTO fact (name, value, valid_until_ms) VALUES (?, ?, ?)"
        " ON CONFLICT (name) DO UPDATE SET value = excluded.value,"
        " valid_until_ms = excluded.valid_until_ms"
    ),
    "people": (
        "INSERT INTO people_count (source, zone, period_start_ms, entries, exits)"
        " VALUES (?, ?, ?, ?, ?) ON CONFLICT (period_start_ms, source, zone) DO UPDATE SET"
        " entries = entries + excluded.entries, exits = exits + excluded.exits"
    ),
    "level": (
        "INSERT INTO zone_level (kind, zone, at_ms, value) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (kind, zone) DO UPDATE SET at_ms = excluded.at_ms, value = excluded.value"
        " WHERE excluded.at_ms >= zone_level.at_ms"
    ),
    "stock": (
        "INSERT INTO stock (product, quantity) VALUES (?, ?)"
        " ON CONFLICT (product) DO UPDATE SET quantity = excluded.quantity"
    ),
    "catalogue": (
        "INSERT OR REPLACE INTO catalogue (product, title, price, currency, department, image,"
        " brand, minimum_age) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
    ),
    "outbox": (
        "INSERT INTO outbox (id, link, topic, payload, retain, expires_at_ms, correlation,"
        " message_id, kind, visitor) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    ),
    "outbox_sent": "DELETE FROM outbox WHERE id = ?",
    "outbox_acked": "DELETE FROM outbox WHERE message_id = ? AND link = 'hq'",
    "dead_letter": (
        "INSERT OR IGNORE INTO dead_letter (id, at_ms, reason, detail, topic, source, event,"
        " payload, form) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
    ),
    "dead_letter_delete": "DELETE FROM dead_letter WHERE id = ?",
    "mapping_state": (
        "INSERT INTO mapping_state (key, value, is_sealed, until_ms, updated_at_ms)"
        " VALUES (?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value,"
        " is_sealed = excluded.is_sealed, until_ms = excluded.until_ms,"
        " updated_at_ms = excluded.updated_at_ms"
    ),
    "mapped_message": (
        "INSERT OR REPLACE INTO mapped_message (slot, number, mark) VALUES (?, ?, ?)"
    ),
    "mapping": (
        "INSERT OR REPLACE INTO mapping (name, text, loaded_at_ms, problem) VALUES (?, ?, ?, ?)"
    ),
    "mapping_delete": "DELETE FROM mapping WHERE name = ?",
    "rule_set": (
        "INSERT OR REPLACE INTO rule_set (version, digest, text, since_ms) VALUES (?, ?, ?, ?)"
    ),
    "rule_set_delete": "DELETE FROM rule_set WHERE version = ?",
    "device": "INSERT OR REPLACE INTO device (source, last_at_ms, record) VALUES (?, ?, ?)",
    "dirty": "UPDATE summary_watermark SET is_dirty = 1 WHERE period_start_ms = ?",
    "summary": (
        "INSERT OR REPLACE INTO summary_watermark (kind, period_start_ms, revision, cells,"
        " is_dirty) VALUES (?, ?, ?, ?, 0)"
    ),
    "command": (
        "INSERT INTO command (kind, key, version, command, reason, at_ms)"
        " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (kind, key) DO UPDATE SET"
        " version = excluded.version, command = excluded.command, reason = excluded.reason,"
        " at_ms = excluded.at_ms"
    ),
    "tombstone": "INSERT OR REPLACE INTO tombstone (mark, at_ms) VALUES (?, ?)",
    "audit": "INSERT INTO audit (at_ms, uid, act, outcome) VALUES (?, ?, ?, ?)",
    "customer_sent": (
        "INSERT OR REPLACE INTO customer_sent (visitor, at_ms, message_id, payload)"
        " VALUES (?, ?, ?, ?)"
    ),
    "customer_unsent": "DELETE FROM customer_sent WHERE message_id = ?",
    "meta": "INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)",
}
# Deletions before insertions of the same table, parents before what refers to them.
_ORDER: Final = (
    "inbox",
    "visitor",
    "link_moved",
    "link",
    "consent",
    "complaint",
    "visit_delete",
    "stay_delete",
    "mark_delete",
    "visit",
    "mark",
    "stay",
    "basket",
    "basket_line",
    "sale",
    "sale_line_delete",
    "sale_line",
    "return",
    "showing",
    "decision",
    "tried",
    "exposure",
    "told",
    "trial",
    "goal",
    "help_call",
    "alert",
    "outcome",
    "contacts_delete",
    "contact",
    "promotion_plan",
    "campaign",
    "campaign_over",
    "offer",
    "offer_redeemed",
    "campaign_use",
    "fact",
    "people",
    "level",
    "stock",
    "catalogue",
    "outbox_sent",
    "outbox_acked",
    "outbox",
    "dead_letter_delete",
    "dead_letter",
    "mapping_state",
    "mapped_message",
    "mapping_delete",
    "mapping",
    "rule_set_delete",
    "rule_set",
    "device",
    "summary",
    "dirty",
    "command",
    "tombstone",
    "audit",
    "customer_sent",
    "customer_unsent",
    "meta",
)
_JOIN: Final = (
    "INSERT OR IGNORE INTO outcome (decision, kind, product, at_ms)"
    " SELECT d.id, ?1, j.value, ?2 FROM decision d, json_each({column}) j"
    " WHERE d.visitor = ?3 AND d.at_ms >= ?4 AND d.at_ms <= ?2"
    " AND j.value IN (SELECT value FROM json_each(?5))"
)


class UnitOfWork:
    """Collects what a batch changes and writes it at once.

    Args:
        connection: The writer's.
        state: What is held in memory of it.
        path: Of the database, for errors.
        period_ms: Length of a summary's period.
        second_copy: What people state goes there too, before it is committed; None keeps one copy.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        state: StateStore,
        *,
        path: Path,
        period_ms: int,
        second_copy: SecondCopy | None = None,
    ) -> None:
        self._db = connection
        self._second_copy = second_copy
        self._state = state
        self._path = path
        self._period_ms = period_ms
        row = connection.execute(
            "SELECT seq FROM sqlite_sequence WHERE name = 'outbox'"
        ).fetchone()
        # Never used twice, also after the newest rows were sent and deleted.
        self._next_outbox_id = 1 if row is None else int(row[0]) + 1
        self._begin()

    def _begin(self) -> None:
        self._pending: dict[str, list[rows.Row]] = {}
        self._visitors: dict[str, Visitor] = {}
        self._links_before: dict[str, tuple[Link, ...]] = {}
        self._visits: dict[VisitId, Visit] = {}
        self._removed: set[VisitId] = set()
        self._rewritten: set[VisitId] = set()
        self._fresh_marks: dict[VisitId, list[rows.Row]] = {}
        self._baskets: dict[str, Basket] = {}
        self._showings: dict[str, Showing] = {}
        self._joins: list[effects.JoinPurchases] = []
        # Whose statements, or identifiers, this batch touches.
        self._stating: set[str] = set()
        self._erased: list[tuple[str, rows.Row]] = []

    def erase(self, statements: Iterable[tuple[str, rows.Row]]) -> None:
        """Queues deletions that come after all else of this batch; literal SQL of ours only.

        What is held in memory is read again right after the commit, before anything else is
        taken in: a cached visit of somebody who is gone must not be written again.
        """
        self._erased.extend(statements)

    def add(self, table: str, row: rows.Row) -> None:
        """Queues a row for one of the statements above."""
        self._pending.setdefault(table, []).append(row)
        if table in {"consent", "complaint"}:
            self._stating.add(row[0])
        elif table == "link" and (row[0] == "visitor" or row[0] in IDENTIFIED_KINDS):
            self._stating.update(row[1:3])
        elif table == "link_moved":
            self._stating.update(row[:2])

    def has_seen(self, mark: int) -> bool:
        """Returns whether an event was taken in before this batch."""
        found = self._db.execute("SELECT 1 FROM inbox WHERE mark = ?", (mark,)).fetchone()
        return found is not None

    def seen_among(self, marks: set[int]) -> set[int]:
        """Returns those marks whose events were taken in before this batch."""
        if not marks:
            return set()
        found = self._db.execute(
            "SELECT i.mark FROM json_each(?) j JOIN inbox i ON i.mark = j.value",
            (json.dumps(list(marks)),),
        )
        return {int(mark) for (mark,) in found}

    def put(self, change: effects.Change) -> None:
        """Takes in one changed value."""
        if isinstance(change, Visitor):
            before = self._visitors.get(change.id) or self._state.visitor(change.id)
            self._put_visitor(before, change)
        elif isinstance(change, effects.VisitsChanged):
            self._put_visits(change)
        elif isinstance(change, Basket):
            self._baskets[change.id] = change
        elif isinstance(change, Call):
            self.add("help_call", call_row(change))
        else:
            self._showings[change.screen] = change
        self._state.put(change)

    def carry_out(self, effect: effects.Effect) -> None:  # noqa: C901, PLR0912 - one case an effect
        """Queues the rows of one effect that is written down."""
        match effect:
            case effects.RecordDecision():
                self._record(effect.decision, effect.spent_us)
            case effects.RecordOutcome():
                product = effect.product or ""
                self.add("outcome", (effect.decision, effect.kind, product, effect.at_ms))
                self._state.contacts.note_outcome(effect)
            case effects.JoinPurchases():
                self._joins.append(effect)
                self._state.contacts.note_purchases(effect)
            case effects.AddPlan():
                self.add("promotion_plan", rows.plan_row(effect.plan))
                self._state.campaigns.add_plan(effect.plan)
            case effects.GiveOffer() | effects.RedeemOffer() | effects.SetCampaign():
                self._take_offer(effect)
            case (
                effects.RecordContact()
                | effects.ForgetContacts()
                | effects.CountCampaign()
                | effects.SetFact()
            ):
                self._take_told(effect)
            case effects.CountPeople():
                start_ms = effect.at_ms - effect.at_ms % self._period_ms
                counts = (effect.entries, effect.exits)
                self.add("people", (effect.source, effect.zone or "", start_ms, *counts))
            case effects.SetLevel():
                self.add("level", (effect.kind, effect.zone, effect.at_ms, effect.value))
                self._state.surroundings.put_level(effect)
            case effects.CountReturn():
                lines = rows.canonical_json([list(each) for each in effect.lines])
                head = (effect.tie, effect.at_ms, effect.currency, effect.total)
                self.add("return", (*head, lines))
            case effects.SummaryTouched():
                self.add("dirty", (effect.at_ms - effect.at_ms % self._period_ms,))
            case effects.SetStock():
                self._pending.setdefault("stock", []).extend(effect.rows)
                self._state.goods.put_stock(effect.rows)
            case effects.SetCatalogue():
                self._state.goods.put_products(effect.rows)
                for each in effect.rows:
                    what = (each.title, each.price, each.currency, each.department)
                    self.add(
                        "catalogue", (each.id, *what, each.image, each.brand, each.minimum_age)
                    )
            case _:
                pass  # publishing, waking and counting are the runner's

    def _take_offer(
        self, effect: effects.GiveOffer | effects.RedeemOffer | effects.SetCampaign
    ) -> None:
        match effect:
            case effects.SetCampaign():
                self.add("campaign", (effect.campaign, effect.section, effect.ends_at_ms))
                self.add("campaign_over", (effect.at_ms,))
                self._state.campaigns.put(effect)
                return
            case effects.GiveOffer():
                self.add("offer", rows.offer_row(effect.offer))
            case effects.RedeemOffer():
                used = effect.redemption
                self.add("offer_redeemed", (used.at_ms, used.by, used.basket, effect.mark))
        self._state.campaigns.note_offer(effect)

    def _take_told(
        self,
        effect: effects.RecordContact
        | effects.ForgetContacts
        | effects.CountCampaign
        | effects.SetFact,
    ) -> None:
        match effect:
            case effects.ForgetContacts():
                waiting = self._pending.get("contact", [])
                gone = effect.visitor
                waiting[:] = [
                    row for row in waiting if row[0] != gone or not row[1].startswith(HQ_PREFIX)
                ]
                self.add("contacts_delete", (effect.visitor,))
                self._state.contacts.forget_reported(effect.visitor)
            case effects.RecordContact():
                self.add("contact", rows.contact_row(effect.visitor, effect.contact))
                self._state.contacts.note_reported(effect.visitor, effect.contact)
            case effects.CountCampaign():
                use = (effect.campaign, effect.day, effect.given, effect.redeemed)
                self.add("campaign_use", use)
                self._state.campaigns.note_use(effect)
            case effects.SetFact():
                fact = effect.fact
                value = rows.canonical_json(fact.value)
                self.add("fact", (fact.name, value, fact.valid_until_ms))
                self._state.surroundings.put_fact(fact)

    def query(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[rows.Row]:
        """Returns rows of the state as it was before this batch; literal SQL of ours only."""
        return self._db.execute(sql, parameters).fetchall()

    def is_rot(self, error: Exception) -> bool:
        """Returns whether an error says that the database is damaged, and nothing else."""
        if isinstance(error, sqlite3.Error):
            return isinstance(store_error(error, self._path), StoreCorrupt)
        return isinstance(error, StoreCorrupt)

    def commit(self) -> list[int]:
        """Writes everything in one transaction and returns the ids of the new outbox rows.

        Raises:
            StoreError: Nothing was written; the state was read again from the disk.
        """
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._flush()
            outbox_ids = self._insert_outbox()
            self._stage()
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            self.roll_back()
            raise store_error(error, self._path) from error
        except StoreError:
            self.roll_back()
            raise
        except Exception as error:
            # No row comes of it, or none that SQLite has a type for: an error of ours.
            self.roll_back()
            what = f"{self._path}: {type(error).__name__}: {error}"
            raise StoreRefused(what, hint="see edge-agent doctor") from error
        if self._second_copy is not None:
            self._second_copy.committed()
        self._state.forget_unsaved()
        if self._erased:
            self._state.reload()
        self._begin()
        return outbox_ids

    def roll_back(self) -> None:
        """Leaves the disk as it was and reads the state again from it."""
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")
        if self._second_copy is not None:
            self._second_copy.rolled_back()
        self._begin()
        self._state.reload()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write."""
        return not (
            self._pending
            or self._visits
            or self._removed
            or self._baskets
            or self._showings
            or self._visitors
            or self._joins
            or self._erased
        )

    # --- collecting ---------------------------------------------------------------------------

    def _put_visitor(self, known: Visitor | None, visitor: Visitor) -> None:
        if not self._is_kept(visitor):
            return
        before = known if known is not None and self._is_kept(known) else None
        self._visitors[visitor.id] = visitor
        if before is None:
            self.add("link", rows.own_link_row(visitor))
        links_before = () if before is None else before.links
        if visitor.links != links_before:
            self._links_before.setdefault(visitor.id, links_before)
        if visitor.consents != (() if before is None else before.consents):
            for statement in visitor.consents:
                self.add("consent", rows.consent_row(visitor.id, statement))
        if visitor.complaints != (() if before is None else before.complaints):
            for each in visitor.complaints:
                row = (visitor.id, each.case, each.opened_at_ms, each.closed_at_ms)
                self.add("complaint", row)

    @staticmethod
    def _is_kept(visitor: Visitor) -> bool:
        # Whom no sensor noticed is known by his basket alone: only what he forbade is worth a row.
        forbids = visitor.complaints or any(not each.granted for each in visitor.consents)
        return visitor.kind != "basket" or bool(forbids)

    def _put_visits(self, change: effects.VisitsChanged) -> None:
        for visit_id in change.removed:
            self._visits.pop(visit_id, None)
            self._fresh_marks.pop(visit_id, None)
            self._removed.add(visit_id)
        for visit in change.visits:
            self._visits[visit.id] = visit
            self._removed.discard(visit.id)
            if change.mark is None:
                self._rewritten.add(visit.id)
        if change.mark is not None:
            visit = change.visits[-1]
            row = rows.mark_row(self._state.visits.next_mark_id, visit.id, change.mark)
            self._state.visits.next_mark_id += 1
            self._fresh_marks.setdefault(visit.id, []).append(row)

    def _record(self, decision: Any, spent_us: int | None) -> None:
        moment, place = decision.moment, decision.moment.place
        where = place.screen or place.register or place.team
        items = rows.products_json(tuple([each.scored.product for each in decision.chosen]))
        popular = rows.products_json(decision.popular)
        self.add(
            "decision",
            (
                decision.id,
                decision.decided_at_ms,
                moment.kind,
                moment.visitor,
                moment.visit,
                place.channel,
                where,
                place.zone,
                decision.level,
                items,
                popular,
                decision.record,
                rows.campaigns_json(decision.campaigns),
                rows.campaigns_json(decision.missed),
                decision.tried,
                _told_with(decision),
                spent_us,
            ),
        )
        if decision.tried is not None:
            self.add("tried", (decision.tried,))
        self._state.note_decision(decision)
        if decision.assignments and moment.visitor is not None:
            self._expose(decision)
        if moment.kind in UNASKED and place.zone is not None:
            alert = (alert_key(moment), place.zone, decision.decided_at_ms)
            self.add("alert", alert)
            self._state.calls.note_alert(*alert)

    def _expose(self, decision: Decision) -> None:
        moment, unit, at_ms = decision.moment, decision.unit, decision.decided_at_ms
        carrier = decision.exposed
        if carrier is None or unit is None:
            return
        for each in decision.assignments:
            if not self._state.decisions.note_exposed(carrier, unit, each.campaign):
                continue
            goal, products = rows.goal_of(each.products)
            self.add("goal", (goal, products, at_ms))
            who = (carrier, each.campaign, unit, moment.counts_to)
            self.add("exposure", (*who, each.arm, each.share, goal, at_ms))

    # --- writing ------------------------------------------------------------------------------

    def _stage(self) -> None:
        if self._second_copy is not None:
            tombstones = self._pending.get("tombstone", ())
            if self._erased:
                # Whoever is gone leaves the second copy too, as soon as this is committed.
                self._second_copy.stage_anew()
            elif self._stating or tombstones:
                self._second_copy.stage(self._stating, [(row[0], row[1]) for row in tombstones])

    def _flush(self) -> None:  # noqa: C901 - one loop a kind of value
        for visitor in self._visitors.values():
            self.add("visitor", rows.visitor_row(visitor))
        for visitor_id, links in self._links_before.items():
            self._write_links(links, self._visitors[visitor_id].links)
        for visit_id in sorted(self._removed):
            self._delete_visit(visit_id)
        for visit in self._visits.values():
            self._write_visit(visit)
        for basket in self._baskets.values():
            self._write_basket(basket)
        for showing in self._showings.values():
            row = (showing.screen, showing.decision, showing.visitor, showing.valid_until_ms)
            self.add("showing", (*row, showing.audience, int(showing.is_shared)))
        for table in _ORDER:
            pending = self._pending.get(table)
            if pending and table != "outbox":
                self._db.executemany(_SQL[table], pending)
        for join in self._joins:
            self._join(join)
        for statement, parameters in self._erased:
            self._db.execute(statement, parameters)

    def _write_links(self, before: tuple[Link, ...], links: tuple[Link, ...]) -> None:
        kept = {(link.visitor, link.since_ms, link.basis) for link in links}
        for link in before:
            if (link.visitor, link.since_ms, link.basis) not in kept:
                self.add("link_moved", (link.of, link.visitor, link.since_ms, link.basis))
        for link in links:
            if link not in before:
                self.add("link", rows.link_row(link))

    def _delete_visit(self, visit_id: VisitId) -> None:
        self.add("visit_delete", (visit_id,))
        self.add("stay_delete", (visit_id,))
        self._forget_marks(visit_id)

    def _forget_marks(self, visit_id: VisitId) -> None:
        for row_id in self._state.visits.journal.pop(visit_id, ()):
            self.add("mark_delete", (row_id,))

    def _write_visit(self, visit: Visit) -> None:
        known = self._state.visits.journal.get(visit.id)
        is_rewritten = visit.id in self._rewritten
        if known is None or is_rewritten or not visit.is_open:
            self.add("visit", rows.visit_row(visit))
        if is_rewritten:
            self.add("stay_delete", (visit.id,))
            self._add_stays(visit, values_of(visit.stays))
        else:
            # In order, a mark closes one stay at most, and a batch holds few marks of a visit.
            n_marks = len(self._fresh_marks.get(visit.id, ())) + 1
            self._add_stays(visit, values_of(visit.stays)[-n_marks:])
        self._write_marks(visit, is_rewritten=is_rewritten)

    def _write_marks(self, visit: Visit, *, is_rewritten: bool) -> None:
        fresh: Iterable[rows.Row] = self._fresh_marks.get(visit.id, ())
        if is_rewritten or not visit.is_open:
            self._forget_marks(visit.id)
            fresh = ()
        if is_rewritten and visit.is_open:
            first = self._state.visits.next_mark_id
            marks = values_of(visit.marks)
            self._state.visits.next_mark_id += len(marks)
            fresh = [rows.mark_row(first + n, visit.id, mark) for n, mark in enumerate(marks)]
        if visit.is_open:
            journal = self._state.visits.journal.setdefault(visit.id, [])
            for row in fresh:
                journal.append(row[0])
                self.add("mark", row)

    def _add_stays(self, visit: Visit, stays: tuple[Any, ...]) -> None:
        for stay in stays:
            row = (visit.id, stay.entered_at_ms, stay.zone, stay.left_at_ms, visit.visitor)
            self.add("stay", row)

    def _write_basket(self, basket: Basket) -> None:
        self.add("basket", rows.basket_row(basket))
        for change in basket.changes:
            row = (basket.id, change.at_ms, change.tie, change.product, str(change.quantity))
            self.add("basket_line", row)
        if basket.sale is not None:
            head, lines = rows.sale_rows(basket.id, basket.sale)
            self.add("sale", head)
            self.add("sale_line_delete", (basket.id,))
            self._pending.setdefault("sale_line", []).extend(lines)

    def _join(self, join: effects.JoinPurchases) -> None:
        products = rows.canonical_json(list(join.products))
        for visitor in join.visitors:
            for kind, column in (("bought", "d.items"), ("popular_bought", "d.popular")):
                self._db.execute(
                    _JOIN.format(column=column),
                    (kind, join.at_ms, visitor, join.since_ms, products),
                )

    def _insert_outbox(self) -> list[int]:
        waiting = self._pending.get("outbox", ())
        first = self._next_outbox_id
        self._next_outbox_id += len(waiting)
        ids = list(range(first, self._next_outbox_id))
        self._db.executemany(
            _SQL["outbox"], [(i, *row) for i, row in zip(ids, waiting, strict=True)]
        )
        return ids


def _told_with(decision: Decision) -> VisitorId | None:
    """Returns who else was told something, with the visitor who was taken for him."""
    moment = decision.moment
    is_other = moment.counts_to not in {None, moment.visitor}
    return moment.counts_to if is_other and contact_from(decision) is not None else None
