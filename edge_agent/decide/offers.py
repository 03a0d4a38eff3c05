"""Candidates under rules: every product that passed its gates, plainly and as campaigns offer it.

Of each campaign those products compete that the scorer placed or that sell best; where none of
these passes its gates, the first by id that does. One that the scorer did not place is taken to be
as likely as the last that it did, or as popularity says, whichever is less.
"""

from __future__ import annotations

from heapq import merge
from typing import TYPE_CHECKING, Final, NamedTuple

from edge_agent.decide.pressure import lever_of
from edge_agent.domain.decisions import Candidate, Notice
from edge_agent.domain.identity import once_each
from edge_agent.domain.rules import OFFER
from edge_agent.domain.scoring import ScoredProduct

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from edge_agent.decide.gates import Gates
    from edge_agent.decide.known import Known
    from edge_agent.decide.rule_book import Saying
    from edge_agent.domain.ids import ProductId
    from edge_agent.domain.rules import Campaign, Caps, Rules

PER_CAMPAIGN: Final = 8
"""Products of one campaign that compete: more than a slate shows of it."""
UNTRIED_PROPENSITY: Final = 0.5
"""Of a text, of whose being taken up nothing is known: the mean of a uniform prior."""
_KEPT: Final = 64


class Entry(NamedTuple):
    """A candidate before it is known whether it matters.

    The first four order it: the best first, then by product, of one product its offers first, then
    by campaign. No two are alike in these, so that nothing else is ever compared.
    """

    against: float
    product: ProductId
    is_plain: bool
    name: str
    scored: ScoredProduct
    value: float
    context: float
    lever: float
    campaign: Campaign | None

    @property
    def score(self) -> float:
        """Propensity x value x context weight x lever."""
        return -self.against

    def candidate(self) -> Candidate:
        """Returns it as a record and a message have it."""
        return Candidate(
            scored=self.scored,
            value=self.value,
            context=self.context,
            lever=self.lever,
            campaign=self.campaign,
        )


def plain(
    scored: tuple[ScoredProduct, ...], gates: Gates, known: Known, rules: Rules
) -> list[Entry]:
    """Returns the scored products that pass their gates, with their factors."""
    margins, ignored = rules.margins, known.ignored
    least = min(margins.values(), default=1.0)
    found: list[Entry] = []
    for each in scored:
        product = each.product
        said = gates.passed(product)
        if said is None:
            continue
        value = margins.get(gates.departments[product] or "", least) if margins else 1.0
        weight = said.weight
        lever = lever_of(ignored.get(product, 0), rules.caps) if ignored else 1.0
        against = -(each.propensity * value * weight * lever)
        found.append(Entry(against, product, True, "", each, value, weight, lever, None))  # noqa: FBT003 - a row
    return found


def default(popular: tuple[ScoredProduct, ...], gates: Gates, rules: Rules) -> list[Entry]:
    """Returns what sells best of the products that pass their gates, best first.

    No margin and no rule's weight moves it, so that it is the same whatever else is tried. What
    somebody ignored steps back for him here too, behind what sells better than its lever leaves
    of it.
    """
    ignored = gates.scene.known.ignored
    ahead: list[Entry] = []
    back: list[Entry] = []
    for each in popular:
        product = each.product
        if gates.passed(product) is None:
            continue
        lever = lever_of(ignored.get(product, 0), rules.caps) if ignored else 1.0
        against = -(each.propensity * lever)
        entry = Entry(against, product, True, "", each, 1.0, 1.0, lever, None)  # noqa: FBT003 - a row
        (ahead if lever == 1.0 else back).append(entry)
    # What sells best in this hour may sell less over all hours: its own order stays.
    return list(merge(ahead, sorted(back), key=lambda each: each.against)) if back else ahead


def offered(
    campaigns: Iterable[Campaign],
    scored: tuple[ScoredProduct, ...],
    popular: tuple[ScoredProduct, ...],
    gates: Gates,
    known: Known,
    rules: Rules,
    *,
    by_campaign: bool,
    reason: str = "on_offer",
) -> tuple[list[Entry], list[Campaign]]:
    """Returns candidates of offers, and the offers none of whose products can be one.

    Args:
        campaigns: Those that no gate of theirs keeps out.
        scored: What the scorer placed.
        popular: What sells best.
        gates: Of the products.
        known: Says what was ignored.
        rules: Say what then.
        by_campaign: Whether some rule that holds names campaigns.
        reason: Why they are said.
    """
    likely = _Likely(scored, popular, reason)
    found: list[Entry] = []
    empty: list[Campaign] = []
    ignored = known.ignored
    for campaign in campaigns:
        if campaign.kind != OFFER:
            continue
        products = likely.of(campaign, gates)
        if not products:
            empty.append(campaign)
        name, value = campaign.id, campaign.value
        for product in products:
            said = gates.said_of_offer(product, name) if by_campaign else gates.passed(product)
            weight = 1.0 if said is None else said.weight
            lever = campaign.lever
            if ignored:
                lever *= lever_of(ignored.get(product, 0), rules.caps)
            offer = likely.offer(product)
            against = -(offer.propensity * value * weight * lever)
            found.append(
                Entry(against, product, False, name, offer, value, weight, lever, campaign)  # noqa: FBT003 - a row
            )
    return found, empty


def notices(
    campaigns: Iterable[Campaign], saying: Saying, known: Known, caps: Caps
) -> tuple[Notice, ...]:
    """Returns the texts that may be said, best first; ties by campaign id."""
    ignored = known.ignored_texts
    found = [
        Notice(
            campaign=each,
            propensity=UNTRIED_PROPENSITY,
            context=saying.of(None, campaign=each.id).weight,
            lever=each.lever * lever_of(ignored.get(each.id, 0), caps),
        )
        for each in campaigns
        if each.kind != OFFER
    ]
    return tuple(sorted(found, key=lambda each: (-each.score, each.campaign.id)))


def first_of(texts: Iterable[Notice]) -> Notice | None:
    """Returns the best text that has not stepped back; one place has no room to step back within.

    So what was ignored so often gives way to the next text, and where there is none to nothing.
    """
    return next((each for each in texts if not each.has_stepped_back), None)


class _Likely:
    """How likely products are to be bought, of those that were placed and of the others."""

    def __init__(
        self, scored: tuple[ScoredProduct, ...], popular: tuple[ScoredProduct, ...], reason: str
    ) -> None:
        self._reason = reason
        self._placed = {each.product: each for each in scored}
        self._sold = {each.product: each for each in popular}
        self._competing = self._placed.keys() | self._sold.keys()
        least = (
            min([each.propensity for each in some], default=0.0) for some in (scored, popular)
        )
        self._floor = min(least)
        self._offers: dict[ProductId, ScoredProduct] = {}

    def of(self, campaign: Campaign, gates: Gates) -> list[ProductId]:
        """Returns the products of a campaign that compete, likeliest first."""
        if self._competing.isdisjoint(campaign.products):
            return list(_first(campaign, gates))
        found: list[ProductId] = []
        for known in (self._placed, self._sold):
            both = [each for each in _sorted(campaign) if each in known]
            both.sort(key=lambda each: -known[each].propensity)
            found += [each for each in both if each not in found and gates.passed(each)]
        return found[:PER_CAMPAIGN] or list(_first(campaign, gates))

    def offer(self, product: ProductId) -> ScoredProduct:
        """Returns a product as offers have it."""
        known = self._offers.get(product)
        if known is None:
            propensity = self._propensity(product)
            known = ScoredProduct(product=product, propensity=propensity, reason=self._reason)
            self._offers[product] = known
        return known

    def _propensity(self, product: ProductId) -> float:
        placed = self._placed.get(product)
        if placed is not None:
            return placed.propensity
        sold = self._sold.get(product)
        return self._floor if sold is None else min(self._floor, sold.propensity)


def _first(campaign: Campaign, gates: Gates) -> Iterator[ProductId]:
    for product in _sorted(campaign)[: 2 * PER_CAMPAIGN]:
        if gates.passed(product) is not None:
            yield product
            return


@once_each(_KEPT)
def _sorted(campaign: Campaign) -> tuple[ProductId, ...]:
    return tuple(sorted(campaign.products))


@once_each(_KEPT)
def _by_product(
    scored: tuple[ScoredProduct, ...],
) -> tuple[Mapping[ProductId, ScoredProduct], float]:
    """Returns products by id, and the least propensity among them."""
    least = min([each.propensity for each in scored], default=0.0)
    return {each.product: each for each in scored}, least
