"""Who competes for the places of an answer: everything, or what sells best for a control group.

Where a campaign would be said to its control group, the store's default stands in its place, and
nothing beside it. Whether it would be said is seen from what would be shown were everybody told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from edge_agent.decide import ladder, offers
from edge_agent.decide.arbitration import firsts, slate
from edge_agent.domain.rules import GETS_DEFAULT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_agent.decide.gates import Gates
    from edge_agent.decide.offers import Entry
    from edge_agent.domain.decisions import Candidate, Moment, Notice
    from edge_agent.domain.ids import CampaignId
    from edge_agent.domain.rules import Rules
    from edge_agent.domain.scoring import ScoredProduct


class Lineup(NamedTuple):
    """What competes for the places of an answer.

    Attributes:
        best: Products, each once, best first.
        texts: What may stand beside them, best first.
        missed: Campaigns in whose place all this is what sells best, without any text.
    """

    best: list[Entry]
    texts: tuple[Notice, ...]
    missed: frozenset[CampaignId] = frozenset()


def lineup_of(
    entries: list[Entry],
    texts: tuple[Notice, ...],
    left_out: frozenset[CampaignId],
    rules: Rules,
    popular: tuple[ScoredProduct, ...],
    gates: Gates,
) -> Lineup:
    """Returns what competes, without the campaigns of whose control group this is.

    Args:
        entries: All candidates, those of the campaigns that are left out too.
        texts: All texts, best first, theirs too.
        left_out: Campaigns of whose control group this is.
        rules: Say what it gets instead.
        popular: What sells best.
        gates: Of the products.
    """
    # Below the rungs that weigh, the order is that of what sells best.
    every = sorted(entries) if gates.scene.known.rung in ladder.WEIGHED else entries
    if not left_out:
        return Lineup(firsts(every), texts)
    if rules.control_gets == GETS_DEFAULT:
        missed = left_out & _told(firsts(every), texts, gates)
        if missed:
            default = offers.default(popular, gates, rules)
            return Lineup(default or [each for each in every if each.is_plain], (), missed)
    kept = [each for each in every if each.name not in left_out]
    said = tuple(each for each in texts if each.campaign.id not in left_out)
    return Lineup(firsts(kept), said)


def may_notice(shown: Sequence[Entry | Candidate], moment: Moment) -> bool:
    """Returns whether a text may stand beside what is shown: no receipt is of a text alone."""
    return bool(shown) or moment.place.channel != "receipt"


def _told(best: list[Entry], texts: tuple[Notice, ...], gates: Gates) -> frozenset[CampaignId]:
    """Returns the campaigns that would be said of ranked candidates, were nothing explored."""
    moment = gates.scene.moment
    shown = slate(best, limit=moment.limit, departments=gates.departments)
    named = {each.campaign.id for each in shown if each.campaign is not None}
    text = offers.first_of(texts)
    if text is not None and may_notice(shown, moment):
        named.add(text.campaign.id)
    return frozenset(named)
