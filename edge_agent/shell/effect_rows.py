"""Effects that are written down: their rows for the disk, and what they change of what is known.

Publishing, waking and counting are the runner's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.domain import effects
from edge_agent.domain.contacts import HQ_PREFIX
from edge_agent.shell import rows
from edge_agent.shell.decision_rows import record_decision

if TYPE_CHECKING:
    from edge_agent.domain.effects import Effect
    from edge_agent.shell.pending_rows import PendingRows
    from edge_agent.shell.state_store import StateStore


class EffectRows:
    """The written effects of the batch that is open.

    Args:
        pending: Where the rows go.
        state: What is known; it takes each effect in at once.
        period_ms: Length of a summary's period.

    Attributes:
        joins: Purchases to be joined with decisions, once those are written.
    """

    def __init__(self, pending: PendingRows, state: StateStore, *, period_ms: int) -> None:
        self._pending = pending
        self._state = state
        self._period_ms = period_ms
        self.joins: list[effects.JoinPurchases] = []

    def take(self, effect: Effect) -> None:
        """Queues the rows of one effect, if it is written down."""
        match effect:
            case effects.RecordDecision():
                record_decision(
                    effect.decision, effect.spent_us, pending=self._pending, state=self._state
                )
            case effects.RecordOutcome() | effects.JoinPurchases():
                self._take_outcome(effect)
            case effects.RecordContact() | effects.ForgetContacts():
                self._take_contact(effect)
            case (
                effects.AddPlan()
                | effects.SetCampaign()
                | effects.CountCampaign()
                | effects.GiveOffer()
                | effects.RedeemOffer()
            ):
                self._take_campaign(effect)
            case effects.SetFact() | effects.SetLevel():
                self._take_surroundings(effect)
            case effects.SetStock() | effects.SetCatalogue():
                self._take_goods(effect)
            case effects.CountPeople() | effects.CountReturn() | effects.SummaryTouched():
                self._take_count(effect)
            case _:
                pass

    def _take_outcome(self, effect: effects.RecordOutcome | effects.JoinPurchases) -> None:
        if isinstance(effect, effects.JoinPurchases):
            self.joins.append(effect)
            self._state.contacts.note_purchases(effect)
            return
        row = (effect.decision, effect.kind, effect.product or "", effect.at_ms)
        self._pending.add("outcome", row)
        self._state.contacts.note_outcome(effect)

    def _take_contact(self, effect: effects.RecordContact | effects.ForgetContacts) -> None:
        gone = effect.visitor
        if isinstance(effect, effects.RecordContact):
            self._pending.add("contact", rows.contact_row(effect))
            self._state.contacts.note_reported(effect.visitor, effect.contact)
            return
        self._pending.drop("contact", lambda row: row[0] == gone and row[1].startswith(HQ_PREFIX))
        self._pending.add("contacts_delete", (gone,))
        self._pending.add("contacts_told_delete", (gone,))
        self._state.contacts.forget_reported(gone)

    def _take_campaign(
        self,
        effect: effects.AddPlan
        | effects.SetCampaign
        | effects.CountCampaign
        | effects.GiveOffer
        | effects.RedeemOffer,
    ) -> None:
        match effect:
            case effects.AddPlan():
                self._pending.add("promotion_plan", rows.plan_row(effect.plan))
                self._state.campaigns.add_plan(effect.plan)
            case effects.SetCampaign():
                row = (effect.campaign, effect.section, effect.ends_at_ms)
                self._pending.add("campaign", row)
                self._pending.add("campaign_over", (effect.at_ms,))
                self._state.campaigns.put(effect)
            case effects.CountCampaign():
                use = (effect.campaign, effect.day, effect.given, effect.redeemed)
                self._pending.add("campaign_use", use)
                self._state.campaigns.note_use(effect)
            case effects.GiveOffer():
                self._pending.add("offer", rows.offer_row(effect.offer))
                self._state.campaigns.note_offer(effect)
            case effects.RedeemOffer():
                used = effect.redemption
                redeemed = (used.at_ms, used.by, used.basket, effect.mark)
                self._pending.add("offer_redeemed", redeemed)
                self._state.campaigns.note_offer(effect)

    def _take_surroundings(self, effect: effects.SetFact | effects.SetLevel) -> None:
        if isinstance(effect, effects.SetFact):
            fact = effect.fact
            value = rows.canonical_json(fact.value)
            self._pending.add("fact", (fact.name, value, fact.valid_until_ms))
            self._state.surroundings.put_fact(fact)
            return
        self._pending.add("level", (effect.kind, effect.zone, effect.at_ms, effect.value))
        self._state.surroundings.put_level(effect)

    def _take_goods(self, effect: effects.SetStock | effects.SetCatalogue) -> None:
        if isinstance(effect, effects.SetStock):
            self._pending.extend("stock", effect.rows)
            self._state.goods.put_stock(effect.rows)
            return
        self._state.goods.put_products(effect.rows)
        for each in effect.rows:
            what = (each.title, each.price, each.currency, each.department)
            row = (each.id, *what, each.image, each.brand, each.minimum_age)
            self._pending.add("catalogue", (*row, self._state.goods.number))

    def _take_count(
        self, effect: effects.CountPeople | effects.CountReturn | effects.SummaryTouched
    ) -> None:
        match effect:
            case effects.CountPeople():
                start_ms = effect.at_ms - effect.at_ms % self._period_ms
                counts = (effect.entries, effect.exits)
                row = (effect.source, effect.zone or "", start_ms, *counts)
                self._pending.add("people", row)
            case effects.CountReturn():
                lines = rows.canonical_json([list(each) for each in effect.lines])
                head = (effect.tie, effect.at_ms, effect.currency, effect.total)
                self._pending.add("return", (*head, lines))
            case effects.SummaryTouched():
                self._pending.add("dirty", (effect.at_ms - effect.at_ms % self._period_ms,))
