"""What screens, kiosks, handhelds and tills are told, and what they may ask."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from edge_agent.wire.base import (
    SCHEMA_VERSION,
    Cause,
    Instant,
    Message,
    Money,
    Name,
    Text,
    VisitorRef,
)
from edge_agent.wire.offers import Code

ITEMS_MAX = 20
BUDGET_MS_MAX = 10_000

Audience = Literal["public", "semi_private", "private"]
NoticeKind = Literal["content", "service", "question"]
ReasonCode = Literal[
    "bought_together", "you_often_buy", "on_offer", "popular_now", "popular", "store_default"
]


class Reason(Message):
    """Why an item stands here, for machines (`code`) and for people (`text`)."""

    code: ReasonCode
    text: Text


class Offer(Message):
    """An offer that comes with an item; with a `code` a till of the store takes it once."""

    campaign: Name
    text: Text
    valid_until: Instant
    code: Annotated[Code | None, Field(exclude_if=lambda code: code is None)] = None


class Notice(Message):
    """A text of a campaign beside the items: content, a service message or a question."""

    campaign: Name
    kind: NoticeKind
    text: Text
    valid_until: Instant


# Left out where there is none, so that who has no campaigns is sent what he was always sent.
_MaybeNotice = Annotated[Notice | None, Field(exclude_if=lambda notice: notice is None)]


class RecommendedItem(Message):
    """One place on a screen, 1 is the best."""

    rank: Annotated[int, Field(ge=1, le=ITEMS_MAX)]
    product: Name
    title: Text
    price: Money | None = None
    image: Text | None = None
    reason: Reason
    offer: Offer | None = None


class Recommendation(Message):
    """`store/{store}/screen/{screen}/recommendation`: what a screen shows until `valid_until`."""

    decision: Name
    cause: Cause
    screen: Name
    issued: Instant
    valid_until: Instant
    audience: Audience
    schema_version: Literal[1] = SCHEMA_VERSION
    locale: Name
    items: Annotated[tuple[RecommendedItem, ...], Field(min_length=1, max_length=ITEMS_MAX)]
    notice: _MaybeNotice = None
    model: Name
    policy: Name


class ReceiptOffer(Message):
    """`store/{store}/receipt/{register}/offer`: printed on the receipt of the cause's basket.

    It names no basket: the till knows it by the id of its own event.
    """

    decision: Name
    cause: Cause
    register_: Name = Field(alias="register")
    issued: Instant
    valid_until: Instant
    schema_version: Literal[1] = SCHEMA_VERSION
    locale: Name
    items: Annotated[tuple[RecommendedItem, ...], Field(min_length=1, max_length=ITEMS_MAX)]
    notice: _MaybeNotice = None
    model: Name
    policy: Name


class RecommendRequest(Message):
    """`store/{store}/recommend/request`: a kiosk, handheld or till asks (MQTT 5 request/response).

    The answer goes to the request's response topic, with its correlation data: to
    `store/{store}/reply/{source}` or below, where only the asker may read; only there can it be
    personal. `id` and `source` become the answer's `cause`; without an `id` the correlation data
    stands for it. `budget_ms` is how long the asker waits, from when the agent gets the request:
    with little of it left a simpler answer is given, with none the simplest, at once.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    source: Name
    id: Name | None = None
    visitor: VisitorRef | None = None
    zone: Name | None = None
    basket: Name | None = None
    products: Annotated[tuple[Name, ...], Field(max_length=200)] = ()
    limit: Annotated[int, Field(ge=1, le=ITEMS_MAX)] = 5
    budget_ms: Annotated[int, Field(ge=1, le=BUDGET_MS_MAX)] | None = None


class RecommendReply(Message):
    """The answer to a request; `items` is empty when silence is due, or a notice is all there is.

    `silence` then says why: by which gate (`complaint`, `refused`, `unknown`, `hq_unheard`, `cap`,
    `quiet`, `day_cap`, `rule`), or `nothing_left`, where each product was kept out by one of its
    own. Others may be added.
    """

    decision: Name
    cause: Cause
    issued: Instant
    valid_until: Instant
    schema_version: Literal[1] = SCHEMA_VERSION
    locale: Name
    items: Annotated[tuple[RecommendedItem, ...], Field(max_length=ITEMS_MAX)]
    silence: Name | None = None
    notice: _MaybeNotice = None
    model: Name
    policy: Name
