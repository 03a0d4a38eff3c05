"""What all messages share: strictness, text limits, money, quantities and visitor references."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any, Final, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

# Longest accepted values. Generous against real devices, small against a flood of nonsense.
NAME_MAX = 128
IDENTIFIER_MAX = 256
TEXT_MAX = 2_000

SCHEMA_VERSION: Final = 1

# No control, direction or invisible characters: names are compared and shown to people.
_PRINTABLE: Final = r"^[^\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2064\ufeff]+$"
_DECIMAL = re.compile(r"[0-9]{1,15}(\.[0-9]{1,9})?")


class Message(BaseModel):
    """Base of all messages: immutable, strict types, unknown fields dropped.

    Dropped, not refused: a newer device may say more than we know, and what we do not know
    must never be stored or sent on.
    """

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="ignore",
        populate_by_name=True,
        serialize_by_alias=True,
        allow_inf_nan=False,
    )


def _decimal_from_text(value: Any) -> Decimal:
    if isinstance(value, Decimal):
        return value
    if not isinstance(value, str):
        msg = 'money is a decimal string, such as "1.29"'
        raise ValueError(msg)  # noqa: TRY004 - pydantic turns only ValueError into a reason
    return _decimal(value)


def _decimal_from_number(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, (int, float, str, Decimal)):
        msg = "a quantity is a number"
        raise ValueError(msg)  # noqa: TRY004 - pydantic turns only ValueError into a reason
    if isinstance(value, (int, float)):
        return _decimal(_plain_number(value))
    return value if isinstance(value, Decimal) else _decimal(value)


def _decimal(text: str) -> Decimal:
    # `Decimal` also reads signs, exponents, underscores, other scripts' digits and "NaN"; a till
    # sends none of them.
    if not _DECIMAL.fullmatch(text):
        msg = "not a plain decimal number"
        raise ValueError(msg)
    return Decimal(text)


def _plain_number(value: float) -> str:
    # The shortest text that reads back as the same number, without an exponent.
    return f"{Decimal(repr(value)):f}"


Name = Annotated[str, Field(min_length=1, max_length=NAME_MAX, pattern=_PRINTABLE)]
# A name that becomes one level of a topic, so it holds no separator and no wildcard.
TopicLevel = Annotated[
    str, Field(min_length=1, max_length=NAME_MAX, pattern=r"^[^/+#\x00-\x1f]+$")
]
Identifier = Annotated[str, Field(min_length=1, max_length=IDENTIFIER_MAX, pattern=_PRINTABLE)]
Text = Annotated[str, Field(max_length=TEXT_MAX, pattern=r"^[^\x00]*$")]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$", description="ISO 4217 code")]
Amount = Annotated[
    Decimal,
    # Before the validator that follows, so that the limits are checked outside of Python.
    Field(ge=0, max_digits=14, decimal_places=4, description="decimal string, never negative"),
    BeforeValidator(_decimal_from_text),
]
Quantity = Annotated[
    Decimal,
    Field(gt=0, le=100_000, max_digits=14, decimal_places=6, description="may be fractional"),
    BeforeValidator(_decimal_from_number),
]
# The offset stays as sent: HQ reads the store's day off it.
Instant = AwareDatetime
# Counters and versions end up in 64-bit integers, and in HQ's JavaScript in 53 bits.
WHOLE_MAX: Final = 2**53 - 1

VisitorKind = Literal["ble", "wifi", "track", "app", "loyalty", "receipt", "basket", "customer"]


class VisitorRef(Message):
    """How a device or till names somebody: the kind of identifier and its raw value.

    It lives in memory only: `identify.pseudonyms` turns it into a keyed hash before anything
    is stored.
    """

    kind: VisitorKind
    value: Identifier


class Money(Message):
    """An amount with its currency."""

    amount: Amount
    currency: Currency


class Cause(Message):
    """The event or request that a message answers: tracing and measuring need no clock."""

    source: Name
    id: Name
