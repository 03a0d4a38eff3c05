"""What a receipt says: its lines, and the figures beside them that tills may tell.

The figures (`FIGURES`) are told on and kept nowhere: no table has a place for them, and nothing of
them goes to HQ. Without them a receipt is as good as with them.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from edge_agent.wire.base import Amount, Currency, Message, Name, Quantity

LINES_MAX = 2_000
PARTS_MAX = 64

TenderKind = Literal["cash", "card", "voucher", "account", "mobile", "other"]


class SaleLine(Message):
    """One line of a sale; `amount` is what was paid for the line, discount already taken off."""

    product: Name
    quantity: Quantity
    amount: Amount
    discount: Amount = Field(default="0.00", validate_default=True)
    unit: Name | None = Field(
        default=None, description="what the quantity counts, as the till says"
    )
    unit_price: Amount | None = Field(default=None, description="of one, before any discount")
    tax: Amount | None = Field(default=None, description="in the amount or not: `tax_included`")
    lot: Name | None = Field(default=None, description="batch or lot number")


class TaxGroup(Message):
    """What of a receipt is taxed alike."""

    rate: Annotated[float, Field(ge=0, le=10)] | None = Field(
        default=None, description="share of the net amount: 0.14 is 14 %"
    )
    tax: Amount
    amount: Amount | None = Field(default=None, description="what is taxed, the tax in it")


class Tender(Message):
    """One way in which a receipt was paid, or paid back: never whose card it was."""

    kind: TenderKind
    amount: Amount


class Receipt(Message):
    """Lines, what they come to, and the figures that a till may tell beside them."""

    currency: Currency
    lines: Annotated[tuple[SaleLine, ...], Field(max_length=LINES_MAX)]
    total: Amount
    tax: Amount | None = Field(default=None, description="all tax in the total")
    tax_included: bool | None = Field(
        default=None, description="whether the lines' amounts have the tax in them"
    )
    taxes: Annotated[tuple[TaxGroup, ...], Field(max_length=PARTS_MAX)] | None = None
    discount: Amount | None = Field(default=None, description="all of it, of lines and basket")
    charges: Amount | None = Field(
        default=None, description="service, shipping or delivery, in the total"
    )
    tip: Amount | None = Field(default=None, description="not in the total")
    tenders: Annotated[tuple[Tender, ...], Field(max_length=PARTS_MAX)] | None = Field(
        default=None, description="what was handed over, or paid back; no revenue"
    )
    change: Amount | None = Field(default=None, description="what was given back of the tenders")
    receipt: Name | None = Field(default=None, description="the number printed on it")
    terminal: Name | None = Field(default=None, description="of the payment, not the till")


def _spare(model: type[Message]) -> frozenset[str]:
    return frozenset(
        name
        for name, field in model.model_fields.items()
        if not field.is_required() and field.default is None
    )


FIGURES: Final = _spare(Receipt)
LINE_FIGURES: Final = _spare(SaleLine)
