"""Limited offers at the till: is this code good, and take it in."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from edge_agent.wire.base import SCHEMA_VERSION, Cause, Instant, Message, Name

PRODUCTS_MAX = 20
# As it stands in a message or is typed in: hyphens, spaces and small letters are welcome.
Code = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[0-9A-Za-z -]+$")]


class OfferRequest(Message):
    """`store/{store}/offer/request`: a till asks about an offer's code (MQTT 5 request/response).

    `check` changes nothing. `redeem` takes the code in: one request of all tills of the store
    hears `good`, and so does the same `id` of the same `source` again, so that a till repeats
    until it has its answer; not for another `basket` of that day. The answer goes to the request's
    response topic, with its correlation data: to `store/{store}/reply/{source}` or below. It needs
    no HQ.

    Somebody may hold several codes of an offer, of a screen and of a receipt, say. They are one
    offer: when one of them is taken, the others are `used`.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    source: Name
    id: Name
    action: Literal["check", "redeem"]
    code: Code
    basket: Name | None = None


class OfferReply(Message):
    """What an offer's code is: `good`, `used`, `expired` or `unknown`, and what it is for.

    `campaign`, `products` and `valid_until` are there unless it is `unknown`.
    """

    cause: Cause
    issued: Instant
    schema_version: Literal[1] = SCHEMA_VERSION
    action: Literal["check", "redeem"]
    outcome: Literal["good", "used", "expired", "unknown"]
    campaign: Name | None = None
    products: Annotated[tuple[Name, ...], Field(max_length=PRODUCTS_MAX)] = ()
    valid_until: Instant | None = None
