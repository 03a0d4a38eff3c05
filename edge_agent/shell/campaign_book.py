"""HQ's campaigns in this store: their sections, their plans, their offers, their uses."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from edge_agent.domain.contacts import UNUSED
from edge_agent.domain.effects import GiveOffer, RedeemOffer
from edge_agent.domain.ids import CampaignId, ProductId
from edge_agent.shell import rows

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from edge_agent.domain.contacts import CampaignUses
    from edge_agent.domain.decisions import Decision
    from edge_agent.domain.effects import CountCampaign, SetCampaign
    from edge_agent.domain.ids import DecisionId, VisitorId
    from edge_agent.domain.offers import Offer
    from edge_agent.domain.scoring import PromotionPlan

_OFFER: Final = (
    "SELECT mark, campaign, products, given_at_ms, valid_until_ms, decision, visitor,"
    " redeemed_at_ms, redeemed_by, basket FROM offer WHERE"
)
_OFFERED: Final = (
    "SELECT j.key FROM decision d,"
    " json_each(iif(json_valid(d.record), d.record, '{}'), '$.rules.offers') j"
    " WHERE d.id = ? AND j.value = ? ORDER BY j.id"
)


class CampaignBook:
    """Campaigns, plans and limited offers: the disk's, and those of the batch that is open."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        # Of the batch that is open.
        self._offers: dict[str, Offer] = {}
        self._decisions: dict[DecisionId, Decision] = {}
        self._plans = rows.stored_plans(self._db)
        told = self._db.execute("SELECT id, section, ends_at_ms FROM campaign ORDER BY id")
        sections = {CampaignId(key): (section, ends_at_ms) for key, section, ends_at_ms in told}
        self._ends = {key: ends_at_ms for key, (_, ends_at_ms) in sections.items()}
        self._sections: Mapping[CampaignId, str] = MappingProxyType(
            {key: section for key, (section, _) in sections.items()}
        )
        self._uses: dict[CampaignId, CampaignUses] = {}
        for campaign, day, given, redeemed in self._db.execute(
            "SELECT campaign, day, given, redeemed FROM campaign_use ORDER BY campaign, day"
        ):
            before = self._uses.get(campaign, UNUSED)
            self._uses[campaign] = before.with_more(day, given=given, redeemed=redeemed)

    def hq_campaigns(self) -> Mapping[CampaignId, str]:
        """Returns HQ's campaigns as sections of a policy; another mapping once one changes."""
        return self._sections

    def plans(self) -> tuple[PromotionPlan, ...]:
        """Returns HQ's plans of promotions, oldest first; another tuple once one is added."""
        return self._plans

    def offered(self, decision: DecisionId, campaign: CampaignId) -> tuple[ProductId, ...]:
        """Returns the products that a decision named of a campaign, best first."""
        if decision in self._decisions:
            return self._decisions[decision].offered_of(campaign)
        rows_of = self._db.execute(_OFFERED, (decision, campaign))
        return tuple(ProductId(product) for (product,) in rows_of)

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

    # --- what a batch changes -----------------------------------------------------------------

    def add_plan(self, plan: PromotionPlan) -> None:
        """Adds a plan of promotions."""
        self._plans = (*self._plans, plan)

    def put(self, effect: SetCampaign) -> None:
        """Sets a campaign of HQ's; those that are over by now go."""
        self._ends[effect.campaign] = effect.ends_at_ms
        told = {**self._sections, effect.campaign: effect.section}
        self._sections = MappingProxyType(
            {key: each for key, each in told.items() if self._ends[key] > effect.at_ms}
        )

    def note_decision(self, decision: Decision) -> None:
        """Remembers a decision that says a campaign's words, until it is on the disk."""
        self._decisions[decision.id] = decision

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

    def forget_unsaved(self) -> None:
        """Lets go of what is on the disk by now."""
        self._offers.clear()
        self._decisions.clear()
