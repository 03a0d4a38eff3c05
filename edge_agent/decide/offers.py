"""Candidates under rules: every product that passed its gates, plainly and as campaigns offer it.

Of each campaign as many products compete as have a chance: those that the scorer placed, then the
best sold, then the first by id. One that the scorer did not place is taken to be as likely as the
last that it did, or as popularity says, whichever is less.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge_agent.decide.gates import gate_of, said_of
from edge_agent.decide.pressure import lever_of
from edge_agent.domain.decisions import Candidate, Notice
from edge_agent.domain.identity import once_each
from edge_agent.domain.scoring import ScoredProduct

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from edge_agent.decide.gates import Shelf
    from edge_agent.decide.known import Known
    from edge_agent.decide.rule_book import Saying
    from edge_agent.domain.decisions import Moment, Suppression
    from edge_agent.domain.ids import ProductId
    from edge_agent.domain.policy import Policy
    from edge_agent.domain.rules import Campaign, Rules

OFFER: Final = "offer"
PER_CAMPAIGN: Final = 8
"""Products of one campaign that compete: more than any slate shows."""
UNTRIED_PROPENSITY: Final = 0.5
"""Of a text, of whose being taken up nothing is known: the mean of a uniform prior."""
_KEPT: Final = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What candidates are weighed against, the same for all of them."""

    moment: Moment
    known: Known
    saying: Saying
    rules: Rules
    policy: Policy
    shelf: Shelf


class Refusals:
    """The gate of each product, looked at once."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self.found: dict[ProductId, Suppression | None] = {}

    def passes(self, product: ProductId) -> bool:
        """Returns whether no gate refuses a product."""
        if product not in self.found:
            scene = self._scene
            self.found[product] = gate_of(
                product,
                scene.moment,
                scene.known,
                scene.saying,
                shelf=scene.shelf,
                policy=scene.policy,
            )
        return self.found[product] is None

    @property
    def refused(self) -> tuple[Suppression, ...]:
        """All that were refused, in the order in which they were looked at."""
        return tuple(each for each in self.found.values() if each is not None)


def plain(scored: tuple[ScoredProduct, ...], refusals: Refusals, scene: Scene) -> list[Candidate]:
    """Returns the scored products that pass their gates, with their factors."""
    return [
        _weighed(each, scene, value=margin_of(each.product, scene), lever=1.0)
        for each in scored
        if refusals.passes(each.product)
    ]


def offered(
    campaigns: Iterable[Campaign],
    scored: tuple[ScoredProduct, ...],
    popular: tuple[ScoredProduct, ...],
    refusals: Refusals,
    scene: Scene,
) -> tuple[list[Candidate], list[Campaign]]:
    """Returns candidates of offers, and the offers none of whose products can be one."""
    placed, sold = _placed(scored), _placed(popular)
    floor = min(_least(scored), _least(popular))
    candidates: list[Candidate] = []
    empty: list[Campaign] = []
    for campaign in campaigns:
        if campaign.kind != OFFER:
            continue
        n_before = len(candidates)
        for product in _of(campaign, placed, sold):
            forbidden = said_of(product, scene.saying, scene.shelf, campaign=campaign.id).forbidden
            if forbidden is not None or not refusals.passes(product):
                continue
            known = placed.get(product)
            likely = floor if product not in sold else min(floor, sold[product].propensity)
            propensity = likely if known is None else known.propensity
            offer = ScoredProduct(product=product, propensity=propensity, reason="on_offer")
            candidates.append(
                _weighed(
                    offer, scene, value=campaign.value, lever=campaign.lever, campaign=campaign
                )
            )
        if len(candidates) == n_before:
            empty.append(campaign)
    return candidates, empty


def notices(campaigns: Iterable[Campaign], scene: Scene) -> tuple[Notice, ...]:
    """Returns the texts that may be said, best first; ties by campaign id."""
    found = [
        Notice(
            campaign=each,
            propensity=UNTRIED_PROPENSITY,
            context=scene.saying.of(None, campaign=each.id).weight,
        )
        for each in campaigns
        if each.kind != OFFER
    ]
    return tuple(sorted(found, key=lambda each: (-each.score, each.campaign.id)))


def margin_of(product: ProductId, scene: Scene) -> float:
    """Returns what a piece of a product is worth to the chain.

    1 for each where the chain says nothing; a department that it does not name is worth the least
    that it does name, so that it never gets ahead by having been left out.
    """
    margins = scene.rules.margins
    if not margins:
        return 1.0
    known = margins.get(scene.shelf.departments.get(product, ""))
    return min(margins.values()) if known is None else known


def _weighed(
    scored: ScoredProduct,
    scene: Scene,
    *,
    value: float,
    lever: float,
    campaign: Campaign | None = None,
) -> Candidate:
    named = None if campaign is None else campaign.id
    said = said_of(scored.product, scene.saying, scene.shelf, campaign=named)
    n_ignored = scene.known.ignored.get(scored.product, 0)
    return Candidate(
        scored=scored,
        value=value,
        context=said.weight,
        lever=lever * lever_of(n_ignored, scene.rules.caps) if n_ignored else lever,
        campaign=campaign,
    )


def _of(
    campaign: Campaign,
    placed: Mapping[ProductId, ScoredProduct],
    sold: Mapping[ProductId, ScoredProduct],
) -> list[ProductId]:
    """Returns the products of a campaign that compete, likeliest first."""
    found: dict[ProductId, None] = {}
    for known in (placed, sold):
        both = campaign.products & known.keys()
        found.update(dict.fromkeys(sorted(both, key=lambda p: (-known[p].propensity, p))))
        if len(found) >= PER_CAMPAIGN:
            return list(found)[:PER_CAMPAIGN]
    found.update(dict.fromkeys(_first(campaign)))
    return list(found)[:PER_CAMPAIGN]


@once_each(_KEPT)
def _first(campaign: Campaign) -> tuple[ProductId, ...]:
    return tuple(sorted(campaign.products)[: 2 * PER_CAMPAIGN])


@once_each(_KEPT)
def _placed(scored: tuple[ScoredProduct, ...]) -> dict[ProductId, ScoredProduct]:
    return {each.product: each for each in scored}


@once_each(_KEPT)
def _least(scored: tuple[ScoredProduct, ...]) -> float:
    return min((each.propensity for each in scored), default=0.0)
