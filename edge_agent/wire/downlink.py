"""HQ's commands: the signed envelope and one body per kind.

A command travels as a JWS in compact form (RFC 7515) with `alg` EdDSA over an Ed25519 key
(RFC 8037), so that neither HQ's broker nor a device on it can write one.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from edge_agent.wire.base import (
    SCHEMA_VERSION,
    WHOLE_MAX,
    Amount,
    Currency,
    Instant,
    Message,
    Name,
    Text,
    VisitorRef,
)
from edge_agent.wire.events import LegalBasis, OfferChannels, Purpose
from edge_agent.wire.summaries import Interest

HISTORY_MAX = 1_000
BASKET_PRODUCTS_MAX = 1_000
IDS_MAX = 5_000
ROWS_MAX = 50_000
CONTACTS_MAX = 1_000
CONTACT_PRODUCTS_MAX = 200


class Command(Message):
    """The signed content's envelope.

    Attributes:
        command: Identifies the command; a repeat is harmless.
        store: The store it is for; `all` for every store.
        version: Rises with every command of the same kind and `key`; a lower one is refused.
        key: What the version counts: a campaign, a loyalty number's digest, a product feed.
    """

    command: Name
    store: Name
    version: Annotated[int, Field(ge=1, le=WHOLE_MAX)]
    key: Name = "-"
    issued_at: Instant
    expires_at: Instant
    schema_version: Literal[1] = SCHEMA_VERSION


class AckBody(Message):
    """HQ has these messages on disk: their outbox rows may go."""

    ids: Annotated[tuple[Name, ...], Field(min_length=1, max_length=IDS_MAX)]


class PastPurchase(Message):
    """One earlier basket of a customer, from any of the chain's stores."""

    at: Instant
    products: Annotated[tuple[Name, ...], Field(max_length=BASKET_PRODUCTS_MAX)]


class ProfileBody(Message):
    """What the CRM knows of a customer that helps the encounter."""

    visitor: VisitorRef
    reference: Name
    history: Annotated[tuple[PastPurchase, ...], Field(max_length=HISTORY_MAX)] = ()
    segments: Annotated[tuple[Name, ...], Field(max_length=64)] = ()
    interests: Annotated[tuple[Interest, ...], Field(max_length=64)] = ()


class ConsentBody(Message):
    """A statement about consent made to HQ at `stated_at`."""

    visitor: VisitorRef
    action: Literal["grant", "withdraw"]
    purposes: Annotated[tuple[Purpose, ...], Field(max_length=16)] = ()
    stated_at: Instant
    text_version: Name | None = None
    only_on: OfferChannels | None = None
    basis: LegalBasis = "dpv:Consent"
    expires_at: Instant | None = None


class ComplaintBody(Message):
    """A complaint opened or closed at HQ at `stated_at`."""

    visitor: VisitorRef
    action: Literal["open", "close"]
    complaint: Name
    stated_at: Instant
    story: Text | None = None


class CampaignBody(Message):
    """A campaign with its offer, limited in time and number.

    Attributes:
        definition: All else that a section `[campaigns.NAME]` of a `policy.toml` may say, in its
            words. One whose `ends_at` is past takes the campaign back.
    """

    campaign: Name
    starts_at: Instant
    ends_at: Instant
    products: Annotated[tuple[Name, ...], Field(max_length=5_000)] = ()
    text: Text
    value: Amount | None = None
    currency: Currency | None = None
    budget: Annotated[int, Field(ge=0, le=WHOLE_MAX)] | None = None
    definition: dict[str, Any] = {}


class DocumentBody(Message):
    """A journey, a segment or a piece of configuration, as the file it would be in the store."""

    name: Name
    document: dict[str, Any]


class CatalogueRow(Message):
    """One product as the store sells it."""

    product: Name
    title: Text
    price: Amount | None = None
    currency: Currency | None = None
    department: Name | None = None
    brand: Name | None = None
    image: Text | None = None
    minimum_age: Annotated[int, Field(ge=0, le=99)] | None = None


class CatalogueBody(Message):
    """Products to add or change."""

    rows: Annotated[tuple[CatalogueRow, ...], Field(max_length=ROWS_MAX)]


class StockRow(Message):
    """How many of a product the store has; 0 takes it off every screen."""

    product: Name
    quantity: Annotated[float, Field(ge=0)]


class StockBody(Message):
    """Stock levels to set."""

    rows: Annotated[tuple[StockRow, ...], Field(max_length=ROWS_MAX)]


class PromotionRow(Message):
    """A product that is displayed or mailed in a week of ISO 8601, the one nearest to the command.

    A row says that the product is in the plan of its week; what is not named is in neither.
    """

    product: Name
    week: Annotated[int, Field(ge=0, le=10_000)]
    display: bool = False
    mailer: bool = False


class PromotionBody(Message):
    """The promotion plan: all of it for each week that it names; the newest word of one holds."""

    rows: Annotated[tuple[PromotionRow, ...], Field(max_length=ROWS_MAX)]


class FactBody(Message):
    """A fact that a rule may use, such as the weather, with its time to live."""

    name: Name
    value: str | float | bool
    valid_until: Instant


ContactChannel = Literal["app", "e-mail", "handheld", "letter", "phone", "sms"]


class ContactRow(Message):
    """One thing that a customer was told by a channel of HQ's, and what came of it so far.

    The same `id` again replaces what was known of it.
    """

    id: Name
    at: Instant
    channel: ContactChannel
    campaign: Name | None = None
    products: Annotated[tuple[Name, ...], Field(max_length=CONTACT_PRODUCTS_MAX)] = ()
    outcome: Literal["shown", "tapped", "dismissed", "bought", "redeemed", "ignored"] | None = None


class ContactBody(Message):
    """What a customer was told elsewhere: it counts against the caps of this store too."""

    visitor: VisitorRef
    contacts: Annotated[tuple[ContactRow, ...], Field(min_length=1, max_length=CONTACTS_MAX)]


class ModelBody(Message):
    """Where a new bundle lies and what its manifest hashes to."""

    bundle: Name
    manifest_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    path: Text


class AckCommand(Command):
    """`…/down/ack`."""

    kind: Literal["ack"]
    body: AckBody


class ProfileCommand(Command):
    """`…/down/profile`."""

    kind: Literal["profile"]
    body: ProfileBody


class ConsentCommand(Command):
    """`…/down/consent`."""

    kind: Literal["consent"]
    body: ConsentBody


class ComplaintCommand(Command):
    """`…/down/complaint`."""

    kind: Literal["complaint"]
    body: ComplaintBody


class CampaignCommand(Command):
    """`…/down/campaign`."""

    kind: Literal["campaign"]
    body: CampaignBody


class JourneyCommand(Command):
    """`…/down/journey`."""

    kind: Literal["journey"]
    body: DocumentBody


class SegmentCommand(Command):
    """`…/down/segment`."""

    kind: Literal["segment"]
    body: DocumentBody


class ConfigCommand(Command):
    """`…/down/config`."""

    kind: Literal["config"]
    body: DocumentBody


class CatalogueCommand(Command):
    """`…/down/catalogue`."""

    kind: Literal["catalogue"]
    body: CatalogueBody


class StockCommand(Command):
    """`…/down/stock`."""

    kind: Literal["stock"]
    body: StockBody


class PromotionCommand(Command):
    """`…/down/promotion`."""

    kind: Literal["promotion"]
    body: PromotionBody


class FactCommand(Command):
    """`…/down/fact`."""

    kind: Literal["fact"]
    body: FactBody


class ContactCommand(Command):
    """`…/down/contact`."""

    kind: Literal["contact"]
    body: ContactBody


class ModelCommand(Command):
    """`…/down/model`."""

    kind: Literal["model"]
    body: ModelBody


AnyCommand = (
    AckCommand
    | ProfileCommand
    | ConsentCommand
    | ComplaintCommand
    | CampaignCommand
    | JourneyCommand
    | SegmentCommand
    | ConfigCommand
    | CatalogueCommand
    | StockCommand
    | PromotionCommand
    | FactCommand
    | ContactCommand
    | ModelCommand
)

COMMAND: TypeAdapter[AnyCommand] = TypeAdapter(Annotated[AnyCommand, Field(discriminator="kind")])
COMMAND_TYPES: tuple[type[Command], ...] = AnyCommand.__args__
