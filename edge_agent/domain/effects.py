"""What a step asks the shell to do, as data; the shell does all of it in one transaction."""

from __future__ import annotations

from dataclasses import dataclass, field

from edge_agent.domain.basket import Basket
from edge_agent.domain.calls import Call
from edge_agent.domain.contacts import Contact
from edge_agent.domain.decisions import Decision
from edge_agent.domain.ids import (
    CampaignId,
    DecisionId,
    ProductId,
    VisitId,
    VisitorId,
    ZoneId,
)
from edge_agent.domain.offers import Offer, Redemption
from edge_agent.domain.scoring import PromotionPlan
from edge_agent.domain.store import Fact, Product, Showing
from edge_agent.domain.visitor import Mark, Visit, Visitor


@dataclass(frozen=True, slots=True, kw_only=True)
class VisitsChanged:
    """A visitor's visits after a mark.

    Attributes:
        visits: New or changed ones, oldest first.
        removed: Ids of those that a late mark folded into others.
        mark: The mark that did it; None when time alone did.
    """

    visitor: VisitorId
    visits: tuple[Visit, ...]
    removed: tuple[VisitId, ...] = ()
    mark: Mark | None = None


Change = Visitor | VisitsChanged | Basket | Showing | Call


@dataclass(frozen=True, slots=True, kw_only=True)
class Publish:
    """A message for the store broker; it waits in the outbox until the broker has it.

    Attributes:
        replaces: Replaces an earlier message on the same topic that has not gone out yet.
        about: Who told what is in it: should he be forgotten, it is never sent.
    """

    topic: str
    payload: bytes
    retain: bool = False
    expires_at_ms: int | None = None
    correlation: bytes | None = None
    replaces: bool = False
    about: VisitorId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SendToHq:
    """A message for HQ; its row goes when HQ's own ack names `message_id`, and not before."""

    message_id: str
    topic: str
    payload: bytes
    kind: str
    visitor: VisitorId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordDecision:
    """Writes a decision into the log.

    Attributes:
        spent_us: How long it took to decide, on the monotonic clock; None where nobody measured
            it. It is kept beside the record and never within, and two effects that differ in it
            alone are the same: no two runs take the same time.
    """

    decision: Decision
    spent_us: int | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordOutcome:
    """Writes what became of a decision: `shown`, `tapped`, `dismissed`, `helped`, ..."""

    decision: DecisionId
    kind: str
    at_ms: int
    product: ProductId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinPurchases:
    """Joins a sale to the decisions that named its products before it."""

    visitors: tuple[VisitorId, ...]
    products: tuple[ProductId, ...]
    at_ms: int
    since_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CountPeople:
    """Adds an aggregate sensor's count to its period."""

    source: str
    zone: ZoneId | None
    at_ms: int
    entries: int
    exits: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SetLevel:
    """Sets a level that a sensor measured (occupancy, queue length); the newest one holds."""

    kind: str
    zone: ZoneId
    at_ms: int
    value: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CountReturn:
    """Writes goods that came back."""

    tie: int
    at_ms: int
    currency: str
    total: str
    lines: tuple[tuple[ProductId, str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleWake:
    """Asks to be woken: `kind` and `key` come back in a `Wake` once `due_ms` has passed."""

    due_ms: int
    kind: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SummaryTouched:
    """State of a past instant changed: its period's summaries are to be made again."""

    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SetStock:
    """Sets stock levels, in pieces or the product's unit."""

    rows: tuple[tuple[ProductId, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SetCatalogue:
    """Adds or changes products as the store sells them."""

    rows: tuple[Product, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SetFact:
    """Sets something that HQ says of the day; the newest holds, until its end."""

    fact: Fact


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordContact:
    """Writes what HQ says was said to somebody elsewhere; the same id again replaces it.

    So does what a screen said to several people at once, once for each of them.

    Attributes:
        known_at_ms: When HQ told of it; None where it was known as it happened.
    """

    visitor: VisitorId
    contact: Contact
    known_at_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetContacts:
    """Deletes the contacts that HQ told of a visitor: no consent of his is in force any more."""

    visitor: VisitorId


@dataclass(frozen=True, slots=True, kw_only=True)
class CountCampaign:
    """Counts that a campaign was said, or one of its offers redeemed, on a store-local day."""

    campaign: CampaignId
    day: str
    given: int = 0
    redeemed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SetCampaign:
    """Sets a campaign of HQ's; those that are over by now go, were it this one.

    Attributes:
        section: As a policy file would say it, in canonical JSON.
    """

    campaign: CampaignId
    section: str
    ends_at_ms: int
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AddPlan:
    """Adds a week's plan of promotions; the newest of a day holds."""

    plan: PromotionPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveOffer:
    """Writes a limited offer that was given; the same again changes nothing."""

    offer: Offer


@dataclass(frozen=True, slots=True, kw_only=True)
class RedeemOffer:
    """Writes that an offer was used; of one that was used already nothing changes."""

    mark: str
    redemption: Redemption


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirm:
    """Tells HQ what became of a command; `reason` is None when it was taken."""

    command: str
    reason: str | None


@dataclass(frozen=True, slots=True)
class Count:
    """Counts something for the health report."""

    name: str


Effect = (
    Publish
    | SendToHq
    | RecordDecision
    | RecordOutcome
    | JoinPurchases
    | CountPeople
    | SetLevel
    | CountReturn
    | ScheduleWake
    | SummaryTouched
    | SetStock
    | SetCatalogue
    | SetFact
    | RecordContact
    | ForgetContacts
    | CountCampaign
    | SetCampaign
    | AddPlan
    | GiveOffer
    | RedeemOffer
    | Confirm
    | Count
)


@dataclass(frozen=True, slots=True)
class Step:
    """What one input led to: the changed state, and what the shell is to do."""

    changes: tuple[Change, ...] = ()
    effects: tuple[Effect, ...] = ()
