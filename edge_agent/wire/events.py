"""The canonical events: CloudEvents 1.0 in structured mode, one class per type.

`Event` is the union that `ingest.decode` parses, told apart by `type`.
Source: CloudEvents specification 1.0.2, sections 3.1 and 3.2.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from edge_agent.wire.base import (
    WHOLE_MAX,
    Amount,
    Currency,
    Identifier,
    Instant,
    Message,
    Name,
    Quantity,
    Text,
    TopicLevel,
    VisitorRef,
)
from edge_agent.wire.offers import Code
from edge_agent.wire.sales import Receipt

PURPOSES_MAX = 16
POINTS_MAX = 1_000_000_000

# Strength of a radio signal as it was received.
Dbm = Annotated[float, Field(ge=-200, le=200)]


class CloudEvent(Message):
    """The envelope; `(source, id)` identifies an event."""

    specversion: Literal["1.0"]
    id: Name
    source: Name
    time: Instant | None = None
    subject: Name | None = None
    datacontenttype: Literal["application/json"] | None = None
    dataschema: Name | None = None
    # Extension attribute: the sender repeats until the topic of event receipts names the id.
    receipt: bool = False


# --- presence -------------------------------------------------------------------------------


class VisitorData(Message):
    """Somebody, and where if the sensor knows."""

    visitor: VisitorRef
    zone: Name | None = None


class VisitorDetectedData(VisitorData):
    """Somebody sensed, and how well the nearest receiver heard him."""

    rssi_dbm: Dbm | None = None
    distance_m: Annotated[float, Field(ge=0, le=100_000)] | None = None


class VisitorInZone(Message):
    """Somebody in a zone."""

    visitor: VisitorRef
    zone: Name


class DwellData(Message):
    """Somebody has been in a zone for `dwell_s` seconds, up to the event's time.

    Without a visitor: a sensor's average over those it saw of late, and the longest of them.
    """

    visitor: VisitorRef | None = None
    zone: Name
    dwell_s: Annotated[float, Field(ge=0, le=86_400)]
    longest_s: Annotated[float, Field(ge=0, le=86_400)] | None = None


class OccupancyData(Message):
    """How many are in a zone now: a level, set and never added."""

    zone: Name
    count: Annotated[int, Field(ge=0, le=100_000)]


class PeopleCountedData(Message):
    """How many crossed a line in the interval that ends at the event's time."""

    zone: Name | None = None
    entries: Annotated[int, Field(ge=0, le=100_000)] = 0
    exits: Annotated[int, Field(ge=0, le=100_000)] = 0
    passers_by: Annotated[int, Field(ge=0, le=100_000)] | None = None
    interval_s: Annotated[float, Field(ge=0, le=604_800)] | None = None


class QueueData(Message):
    """Length of a queue, in persons, and the wait if it is measured."""

    zone: Name
    length: Annotated[int, Field(ge=0, le=10_000)]
    wait_s: Annotated[float, Field(ge=0, le=86_400)] | None = None


class HelpRequestedData(Message):
    """Where somebody asks for a member of staff; a button says nothing of who.

    An app may name its user, who asks in his own name then.
    """

    zone: Name
    visitor: VisitorRef | None = None


class VisitStarted(CloudEvent):
    """Somebody came into the store."""

    type: Literal["visit.started"]
    data: VisitorData


class VisitEnded(CloudEvent):
    """Somebody left the store."""

    type: Literal["visit.ended"]
    data: VisitorData


class VisitorDetected(CloudEvent):
    """Somebody was sensed; says nothing about moving between zones unless it names one."""

    type: Literal["visitor.detected"]
    data: VisitorDetectedData


class ZoneEntered(CloudEvent):
    """Somebody came into a zone."""

    type: Literal["zone.entered"]
    data: VisitorInZone


class ZoneLeft(CloudEvent):
    """Somebody left a zone."""

    type: Literal["zone.left"]
    data: VisitorInZone


class ZoneDwell(CloudEvent):
    """Somebody is still in a zone."""

    type: Literal["zone.dwell"]
    data: DwellData


class ZoneOccupancy(CloudEvent):
    """How many are in a zone; belongs to nobody."""

    type: Literal["zone.occupancy"]
    data: OccupancyData


class PeopleCounted(CloudEvent):
    """How many went in and out; belongs to nobody."""

    type: Literal["people.counted"]
    data: PeopleCountedData


class QueueMeasured(CloudEvent):
    """How long a queue is; belongs to nobody."""

    type: Literal["queue.measured"]
    data: QueueData


class HelpRequested(CloudEvent):
    """Somebody pressed a call button, or asked in an app."""

    type: Literal["help.requested"]
    data: HelpRequestedData


# --- goods ----------------------------------------------------------------------------------


class ItemData(Message):
    """A product in somebody's hand, or at a shelf when nobody is named.

    `instance` tells one piece of it from another, where its tag does: opaque, and never kept.
    """

    product: Name
    instance: Name | None = None
    visitor: VisitorRef | None = None
    zone: Name | None = None
    lot: Name | None = Field(default=None, description="batch or lot number")


class ItemScannedData(ItemData):
    """A product scanned by its customer, read by an antenna or observed on its way (EPCIS).

    What happened to it then and where is told as EPCIS and its vocabulary say it; a `zone` is
    the store's own word for the place.
    """

    basket: Name | None = None
    quantity: Quantity = Field(default=1, validate_default=True)
    business_step: Name | None = Field(default=None, description="such as receiving")
    disposition: Name | None = Field(default=None, description="such as in_progress")
    read_point: Identifier | None = Field(default=None, description="where it was observed")
    business_location: Identifier | None = Field(
        default=None, description="where it is from then on"
    )
    rssi_dbm: Dbm | None = None


class ItemLifted(CloudEvent):
    """A product was taken from its shelf."""

    type: Literal["item.lifted"]
    data: ItemData


class ItemReturned(CloudEvent):
    """A product was put back."""

    type: Literal["item.returned"]
    data: ItemData


class ItemScanned(CloudEvent):
    """A product was scanned by its customer (self-scanning, phone)."""

    type: Literal["item.scanned"]
    data: ItemScannedData


# --- till -----------------------------------------------------------------------------------


class BasketData(Message):
    """A basket at a till; `register` defaults to the event's source."""

    basket: Name
    register_: TopicLevel | None = Field(default=None, alias="register")
    visitor: VisitorRef | None = None


class BasketItemData(BasketData):
    """One line that came into, or went out of, an open basket."""

    product: Name
    quantity: Quantity = Field(default=1, validate_default=True)
    amount: Amount | None = None
    discount: Amount | None = None
    currency: Currency | None = None
    lot: Name | None = Field(default=None, description="batch or lot number")


class SaleData(Receipt, BasketData):
    """A finished sale, with all its lines.

    A till that corrects a sale tells it again, under another id: of two statements of a basket's
    sale the one with the higher `revision` holds, then the later one.
    """

    revision: Annotated[int, Field(ge=0, le=WHOLE_MAX)] | None = None


class SaleVoidedData(BasketData):
    """The sale of a basket was cancelled."""


class SaleReturnedData(Receipt):
    """Goods came back; positive quantities and amounts, an event of its own."""

    basket: Name | None = None
    register_: TopicLevel | None = Field(default=None, alias="register")
    visitor: VisitorRef | None = None


class LoyaltyData(Message):
    """A loyalty card was read, at a till (`basket`) or elsewhere (`zone`).

    `points` and `balance` where the loyalty system answered: what the basket changed, and what
    the card holds now. They are told on and kept nowhere.
    """

    visitor: VisitorRef
    basket: Name | None = None
    register_: TopicLevel | None = Field(default=None, alias="register")
    zone: Name | None = None
    points: Annotated[int, Field(ge=-POINTS_MAX, le=POINTS_MAX)] | None = None
    balance: Annotated[int, Field(ge=-POINTS_MAX, le=POINTS_MAX)] | None = None
    programme: Name | None = Field(default=None, description="whose points they are")
    terminal: Name | None = Field(default=None, description="of the payment, not the till")


class BasketOpened(CloudEvent):
    """A till began a basket."""

    type: Literal["basket.opened"]
    data: BasketData


class BasketItemAdded(CloudEvent):
    """A till added a line."""

    type: Literal["basket.item_added"]
    data: BasketItemData


class BasketItemVoided(CloudEvent):
    """A till took a line out again."""

    type: Literal["basket.item_voided"]
    data: BasketItemData


class LoyaltyScanned(CloudEvent):
    """A loyalty card was read."""

    type: Literal["loyalty.scanned"]
    data: LoyaltyData


class SaleCompleted(CloudEvent):
    """A basket was paid."""

    type: Literal["sale.completed"]
    data: SaleData


class SaleVoided(CloudEvent):
    """A paid basket was cancelled."""

    type: Literal["sale.voided"]
    data: SaleVoidedData


class SaleReturned(CloudEvent):
    """Goods came back."""

    type: Literal["sale.returned"]
    data: SaleReturnedData


# --- feedback -------------------------------------------------------------------------------


class ScreenFeedbackData(Message):
    """What became of a decision on a screen."""

    decision: Name
    screen: Name
    product: Name | None = None


class OfferRedeemedData(Message):
    """An offer was used at a till; `code` of a limited one, which is used once."""

    campaign: Name
    code: Code | None = None
    decision: Name | None = None
    basket: Name | None = None
    visitor: VisitorRef | None = None


class ScreenShown(CloudEvent):
    """A screen showed a decision's content."""

    type: Literal["screen.shown"]
    data: ScreenFeedbackData


class ScreenTapped(CloudEvent):
    """Somebody tapped it."""

    type: Literal["screen.tapped"]
    data: ScreenFeedbackData


class ScreenDismissed(CloudEvent):
    """Somebody sent it away."""

    type: Literal["screen.dismissed"]
    data: ScreenFeedbackData


class OfferRedeemed(CloudEvent):
    """Somebody used an offer."""

    type: Literal["offer.redeemed"]
    data: OfferRedeemedData


# --- rights ---------------------------------------------------------------------------------

Purpose = Literal[
    "personal_recommendations", "profiling", "staff_assistance", "sending_to_hq", "marketing"
]


OfferChannel = Literal["app", "e-mail", "handheld", "receipt", "screen"]
# None of them means all: a yes to an empty list is none, a no to it is a no to everything.
OfferChannels = Annotated[tuple[OfferChannel, ...], Field(min_length=1, max_length=PURPOSES_MAX)]
# What somebody himself does: an interest of the store's own is no statement of his.
LegalBasis = Literal[
    "dpv:Consent", "dpv:ExpressedConsent", "dpv:ExplicitlyExpressedConsent", "dpv:Contract"
]


class ConsentGrantedData(Message):
    """A person's yes, to named purposes; nothing on record means no."""

    visitor: VisitorRef
    purposes: Annotated[tuple[Purpose, ...], Field(min_length=1, max_length=PURPOSES_MAX)]
    text_version: Name | None = None
    channel: Name | None = Field(default=None, description="by which way it was said")
    only_on: OfferChannels | None = Field(
        default=None, description="the channels that it is about, instead of all"
    )
    basis: LegalBasis = Field(default="dpv:Consent", description="a term of the W3C DPV")
    expires_at: Instant | None = None


class ConsentWithdrawnData(Message):
    """A person's no; without purposes it withdraws all."""

    visitor: VisitorRef
    purposes: Annotated[tuple[Purpose, ...], Field(max_length=PURPOSES_MAX)] | None = None
    channel: Name | None = Field(default=None, description="by which way it was said")
    only_on: Annotated[tuple[OfferChannel, ...], Field(max_length=PURPOSES_MAX)] | None = Field(
        default=None, description="the channels that it is about, instead of all"
    )


class ComplaintData(Message):
    """A complaint by its case number; `story` is for staff: nobody has to repeat himself."""

    visitor: VisitorRef
    complaint: Name
    story: Text | None = None


class ConsentGranted(CloudEvent):
    """Somebody consented."""

    type: Literal["consent.granted"]
    data: ConsentGrantedData


class ConsentWithdrawn(CloudEvent):
    """Somebody withdrew consent."""

    type: Literal["consent.withdrawn"]
    data: ConsentWithdrawnData


class ComplaintOpened(CloudEvent):
    """Somebody complained: all marketing to him is silent from here on."""

    type: Literal["complaint.opened"]
    data: ComplaintData


class ComplaintClosed(CloudEvent):
    """A complaint was settled."""

    type: Literal["complaint.closed"]
    data: ComplaintData


Event = (
    VisitStarted
    | VisitEnded
    | VisitorDetected
    | ZoneEntered
    | ZoneLeft
    | ZoneDwell
    | ZoneOccupancy
    | PeopleCounted
    | QueueMeasured
    | HelpRequested
    | ItemLifted
    | ItemReturned
    | ItemScanned
    | BasketOpened
    | BasketItemAdded
    | BasketItemVoided
    | LoyaltyScanned
    | SaleCompleted
    | SaleVoided
    | SaleReturned
    | ScreenShown
    | ScreenTapped
    | ScreenDismissed
    | OfferRedeemed
    | ConsentGranted
    | ConsentWithdrawn
    | ComplaintOpened
    | ComplaintClosed
)

EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="type")])
EVENT_TYPES: tuple[type[CloudEvent], ...] = Event.__args__
