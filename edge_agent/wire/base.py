"""What all messages share: strictness, text limits, money, quantities and visitor references."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

# Longest accepted values. Generous against real devices, small against a flood of nonsense.
NAME_MAX = 128
IDENTIFIER_MAX = 256
TEXT_MAX = 2_000

SCHEMA_VERSION: Final = 1

_DECIMAL = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,9})?")


class Message(BaseModel):
    """Base of all messages: immutable, strict types, unknown fields dropped.

    Dropped, not refused: a newer device may say more than we know, and what we do not know
    must never be stored or sent on.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", populate_by_name=True)


def _without_control_characters(value: str) -> str:
    if not value.isprintable():
        msg = "control characters are not allowed"
        raise ValueError(msg)
    return value


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
        raise ValueError(msg)
    return _decimal(str(value))


def _decimal(text: str) -> Decimal:
    # `Decimal` also reads underscores, other scripts' digits and "NaN"; a till sends none of them.
    if not _DECIMAL.fullmatch(text):
        msg = "not a decimal number"
        raise ValueError(msg)
    return Decimal(text)


Name = Annotated[
    str, Field(min_length=1, max_length=NAME_MAX), AfterValidator(_without_control_characters)
]
# A name that becomes one level of a topic, so it holds no separator and no wildcard.
TopicLevel = Annotated[str, Field(min_length=1, max_length=NAME_MAX, pattern=r"^[^/+#\x00-\x1f]+$")]
Identifier = Annotated[
    str, Field(min_length=1, max_length=IDENTIFIER_MAX), AfterValidator(_without_control_characters)
]
Text = Annotated[str, Field(max_length=TEXT_MAX)]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$", description="ISO 4217 code")]
Amount = Annotated[
    Decimal,
    BeforeValidator(_decimal_from_text),
    Field(ge=0, max_digits=14, decimal_places=4, description="decimal string, never negative"),
]
Quantity = Annotated[
    Decimal,
    BeforeValidator(_decimal_from_number),
    Field(gt=0, le=100_000, max_digits=14, decimal_places=6, description="may be fractional"),
]
Instant = AwareDatetime

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
    """The event or request that a message answers; lets tracing and measuring do without a clock."""

    source: Name
    id: Name
