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
    from collections.abc import Iterable

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
_KEPT_CAMPAIGNS: Final = 1_024


class Entry(NamedTuple):
    """A candidate before it is known whether it matters.

    The first four order it: the best first, then by product, of one product its offers first, then
    by campaign. No two are alike in these, so that nothing else is ever compared.
    """

    against: float
    product: ProductId
    is_plain: bool
    name: str
    propensity: float
    reason: str
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
            scored=ScoredProduct(
                product=self.product, propensity=self.propensity, reason=self.reason
            ),
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
    found: list[Entry] = []
    for each in scored:
        product = each.product
        said = gates.passed(product)
        if said is None:
            continue
        value = margins.get(gates.departments[product] or "", 1.0) if margins else 1.0
        weight = said.weight
        lever = lever_of(ignored.get(product, 0), rules.caps) if ignored else 1.0
        likely = each.propensity
        against = -(likely * value * weight * lever)
        found.append(
            Entry(against, product, True, "", likely, each.reason, value, weight, lever, None)  # noqa: FBT003 - a row
        )
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
        likely = each.propensity
        against = -(likely * lever)
        entry = Entry(against, product, True, "", likely, each.reason, 1.0, 1.0, lever, None)  # noqa: FBT003 - a row
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
    likely = _Likely(scored, popular)
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
            taken = likely.propensity(product)
            against = -(taken * value * weight * lever)
            found.append(
                Entry(against, product, False, name, taken, reason, value, weight, lever, campaign)  # noqa: FBT003 - a row
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
        self, scored: tuple[ScoredProduct, ...], popular: tuple[ScoredProduct, ...]
    ) -> None:
        self._placed = _Placed(scored)
        # Of what sells best a whole hour gets the same.
        self._sold = _placed_once(popular)
        self._floor = min(self._placed.least, self._sold.least)

    def of(self, campaign: Campaign, gates: Gates) -> list[ProductId]:
        """Returns the products of a campaign that compete, likeliest first."""
        competing = self._sold.once_of(campaign)
        if not self._placed.propensity.keys().isdisjoint(campaign.products):
            placed = self._placed.of(campaign)
            competing = (*placed, *(each for each in competing if each not in placed))
        passed = [each for each in competing if gates.passed(each) is not None]
        return passed[:PER_CAMPAIGN] or _first(campaign, gates)

    def propensity(self, product: ProductId) -> float:
        """Returns how likely a product is to be bought, as offers have it."""
        placed = self._placed.propensity.get(product)
        if placed is not None:
            return placed
        return min(self._floor, self._sold.propensity.get(product, self._floor))


class _Placed:
    """Products that were placed: their propensities, and the least of these."""

    def __init__(self, scored: tuple[ScoredProduct, ...]) -> None:
        self.propensity = {each.product: each.propensity for each in scored}
        self.least = min(self.propensity.values(), default=0.0)
        self.once_of = once_each(_KEPT_CAMPAIGNS)(self.of)

    def of(self, campaign: Campaign) -> tuple[ProductId, ...]:
        """Returns those of a campaign's products that are among them, likeliest first."""
        known = self.propensity
        both = [each for each in _sorted(campaign) if each in known]
        return tuple(sorted(both, key=lambda each: -known[each]))


def _first(campaign: Campaign, gates: Gates) -> list[ProductId]:
    for product in _sorted(campaign)[: 2 * PER_CAMPAIGN]:
        if gates.passed(product) is not None:
            return [product]
    return []


@once_each(_KEPT_CAMPAIGNS)
def _sorted(campaign: Campaign) -> tuple[ProductId, ...]:
    return tuple(sorted(campaign.products))


@once_each(_KEPT)
def _placed_once(popular: tuple[ScoredProduct, ...]) -> _Placed:
    return _Placed(popular)
