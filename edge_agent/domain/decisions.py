"""Moments that ask for a decision, and decisions with everything they rest on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from edge_agent.domain.contacts import Contact
from edge_agent.domain.ids import (
    BasketId,
    CampaignId,
    DecisionId,
    ProductId,
    RegisterId,
    ScreenId,
    TeamId,
    UnitId,
    VisitId,
    VisitorId,
    ZoneId,
)
from edge_agent.domain.rules import Campaign
from edge_agent.domain.scoring import ScoredProduct

STORE_DEFAULT: Final = "store_default"
"""The moment of a screen that is given back to the store."""
# The arms of a campaign with a control group.
TREATED: Final = "treated"
CONTROL: Final = "control"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """The event, request or wake-up that a decision answers."""

    source: str
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a decision is answered: one of screen, register, team or a caller's own topic.

    Attributes:
        device: What it is that asked for a reply, of `identify.consent.CHANNELS`; None where that
            is not sure.
    """

    channel: str
    screen: ScreenId | None = None
    register: RegisterId | None = None
    team: TeamId | None = None
    zone: ZoneId | None = None
    audience: str = "private"
    device: str | None = None

    @property
    def said_of(self) -> str:
        """As what people speak of it, a key of `identify.consent.CHANNELS_OF_PLACE`."""
        return self.device or self.channel


@dataclass(frozen=True, slots=True, kw_only=True)
class Concern:
    """What help seems to be wanted with; nothing in it says who wants it.

    Attributes:
        departments: Of the product handled last, or else those of the zone.
        product: What was handled last, unless it is of a sensitive department.
        lifts_and_returns: How many goods were put back in this stay.
        queue_length: How many waited.
    """

    departments: tuple[str, ...] = ()
    product: ProductId | None = None
    lifts_and_returns: int | None = None
    queue_length: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Company:
    """Who stands before a screen, as far as its answer rests on that; it names nobody.

    Attributes:
        audience: Who can see the screen, as the configuration says; the place of the moment has
            who can see this answer.
        n_people: How many there are, whoever is silent among them.
        mode: How they share the screen, of `domain.rules.SHARING_MODES`.
        held: Of an answer to several at once, what each of them holds, oldest first.
        heeded: Who they are, whose caps hold for it and count it; in no record and no message.
    """

    audience: str
    n_people: int
    mode: str = "newest"
    held: tuple[tuple[ProductId, ...], ...] = ()
    heeded: tuple[VisitorId, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """Something that asks for a decision.

    Attributes:
        kind: `zone_entered`, `item_handled`, `basket_line`, `request`, `store_default`, `company`
            (an answer to several, or to who is next), or one of `domain.calls` that asks for a
            person.
        in_basket: What this visit visibly holds, oldest first; may always be used.
        visitor: For whom; None for the store's default and for a caller who names nobody.
        member: The identified, consenting person behind the visitor.
        holder: Whose card was read with the basket that alone was named: caps count him. Whoever
            names a basket is not thereby its owner, so his history is not used.
        item: The product that was just lifted, scanned or added; None where it is about none.
        basket: The basket that it is of, at the till or in a request.
        company: Who stands before the screen; None where no answer rests on that.
        concern: What help is wanted with, of moments that the store's rules on help look after.
    """

    kind: str
    cause: Cause
    place: Place
    visitor: VisitorId | None = None
    visit: VisitId | None = None
    member: VisitorId | None = None
    holder: VisitorId | None = None
    in_basket: tuple[ProductId, ...] = ()
    item: ProductId | None = None
    basket: BasketId | None = None
    limit: int = 3
    dwell_ms: int = 0
    concern: Concern | None = None
    company: Company | None = None

    @property
    def is_for_nobody(self) -> bool:
        """Whether nobody is answered: what a screen shows then uses up no budget."""
        return self.kind == STORE_DEFAULT

    @property
    def counts_to(self) -> VisitorId | None:
        """The card holder to whom what is said counts, beside the visitor; None for nobody."""
        return self.member if self.member is not None else self.holder


@dataclass(frozen=True, slots=True, kw_only=True)
class Suppression:
    """Something that was ruled out: which (`*` is everything), by which gate, why."""

    product: str
    gate: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A product that may be answered, with the four factors of its score.

    Attributes:
        value: What a purchase is worth to the chain, in the store's currency where it said so.
        context: Product of the weights of the rules that hold and name it.
        lever: What the chain, or its having been ignored, multiplies the score by.
        campaign: The campaign that offers it; None for a plain recommendation.
    """

    scored: ScoredProduct
    value: float = 1.0
    context: float = 1.0
    lever: float = 1.0
    campaign: Campaign | None = None

    @property
    def score(self) -> float:
        """Propensity x value x context weight x lever."""
        return self.scored.propensity * self.value * self.context * self.lever

    def because(self, reason: str) -> Candidate:
        """Returns the same with another reason."""
        scored = self.scored
        return Candidate(
            scored=ScoredProduct(
                product=scored.product, propensity=scored.propensity, reason=reason
            ),
            value=self.value,
            context=self.context,
            lever=self.lever,
            campaign=self.campaign,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """The arm that a decision's unit is in, of one campaign that has a control group.

    Attributes:
        arm: `TREATED` or `CONTROL`.
        share: Share of all units that are in the control group, 0..1.
        products: What the campaign offered then; bought within the window they are its outcome.
    """

    campaign: CampaignId
    arm: str
    share: float
    products: frozenset[ProductId] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A campaign's text beside the products: content, a service message or a question.

    Attributes:
        lever: The campaign's, times what its having been ignored multiplies the score by.
    """

    campaign: Campaign
    propensity: float
    context: float = 1.0
    lever: float = 1.0

    @property
    def has_stepped_back(self) -> bool:
        """Whether it was said so often for nothing that it gives way."""
        return self.lever < self.campaign.lever

    @property
    def score(self) -> float:
        """Propensity x value x context weight x lever."""
        return self.propensity * self.campaign.value * self.context * self.lever


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One answer to one moment; `record` holds what it rests on, in canonical JSON.

    Attributes:
        level: How it was found: `model`, `popularity`, `default`, `rule` or `silence`; under rules
            and in a hurry also `rules` or `segment`.
        popular: What popularity alone would have answered in the same place: the comparison.
        campaigns: Whose words are among what was chosen, each once: what budgets and caps count.
        missed: Campaigns in whose place what sells best stands, for their control group: no budget
            counts them, and what is capped for each visitor does.
        unit: What its arms are drawn for; None where no campaign with a control group was
            in question.
        lender: What carries the visitor through the store, where the unit is that one's: it is
            kept with it, and not with the visitor.
        assignments: The arm of every such campaign that could have been said here.
        tried: The store-local day and what stands first, where the store explores: showings and
            answers are counted under it. None where it does not.
    """

    id: DecisionId
    moment: Moment
    decided_at_ms: int
    chosen: tuple[Candidate, ...]
    popular: tuple[ProductId, ...]
    suppressions: tuple[Suppression, ...]
    level: str
    model: str
    policy: str
    valid_until_ms: int
    record: str
    campaigns: tuple[CampaignId, ...] = ()
    missed: tuple[CampaignId, ...] = ()
    unit: UnitId | None = None
    lender: VisitorId | None = None
    assignments: tuple[Assignment, ...] = ()
    notice: Notice | None = None
    tried: str | None = None

    @property
    def exposed(self) -> VisitorId | None:
        """With whom the unit is kept."""
        return self.lender if self.lender is not None else self.moment.visitor

    def offered_of(self, campaign: CampaignId) -> tuple[ProductId, ...]:
        """Returns the products that stand in it for a campaign, best first; none of a text."""
        return tuple(
            each.scored.product
            for each in self.chosen
            if each.campaign is not None and each.campaign.id == campaign
        )


def heeded_by(moment: Moment) -> tuple[VisitorId, ...]:
    """Returns the several people whom one answer is to; nobody where it is to one or to none."""
    return () if moment.company is None else moment.company.heeded


def shared_contact_from(decision: Decision) -> Contact | None:
    """Returns an answer to several people as a contact with each; None where nothing was said.

    What their slot missed as its control group counts with each, as what another's hears does.
    """
    if not (decision.chosen or decision.campaigns or decision.missed):
        return None
    return Contact(
        id=decision.id,
        at_ms=decision.decided_at_ms,
        channel=decision.moment.place.channel,
        products=tuple(each.scored.product for each in decision.chosen),
        campaigns=decision.campaigns,
        missed=decision.missed,
    )


def contact_from(decision: Decision) -> Contact | None:
    """Returns a decision as a contact with its visitor; None where that is of nobody.

    Where a control group was told nothing, it says nothing: it only counts what was missed.
    """
    moment = decision.moment
    if moment.visitor is None or moment.place.channel == "staff":
        return None
    if not (decision.chosen or decision.campaigns or decision.missed):
        return None
    return Contact(
        id=decision.id,
        at_ms=decision.decided_at_ms,
        channel=moment.place.channel,
        products=tuple(each.scored.product for each in decision.chosen),
        campaigns=decision.campaigns,
        missed=decision.missed,
        whose=moment.visitor,
    )
