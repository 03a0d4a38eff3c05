"""Baskets: lines in and out, the sale, and what a void undoes. Any order gives the same basket."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from edge_agent.domain.basket import Basket, CardReading, Line, LineChange, Sale
from edge_agent.domain.ids import BasketId, ProductId, RegisterId, VisitorId

if TYPE_CHECKING:
    from decimal import Decimal

    from edge_agent.wire.events import SaleData


def touched(
    basket: Basket | None, *, basket_id: BasketId, day: str, register: RegisterId, at_ms: int
) -> Basket:
    """Returns the basket, begun if it is new, after anything was heard of it."""
    if basket is None:
        return Basket(
            id=basket_id, day=day, register=register, first_at_ms=at_ms, last_at_ms=at_ms
        )
    if basket.first_at_ms <= at_ms <= basket.last_at_ms:
        return basket
    return replace(
        basket,
        first_at_ms=min(basket.first_at_ms, at_ms),
        last_at_ms=max(basket.last_at_ms, at_ms),
    )


def with_opening(basket: Basket, *, at_ms: int) -> Basket:
    """Returns the basket after the till said when it began; the earliest word counts."""
    opened_at_ms = at_ms if basket.opened_at_ms is None else min(basket.opened_at_ms, at_ms)
    return replace(basket, opened_at_ms=opened_at_ms)


def with_card(basket: Basket, *, at_ms: int, member: VisitorId, is_silent: bool) -> Basket:
    """Returns the basket after a card that is recognised was read with it."""
    readings = {*basket.cards, CardReading(at_ms, member, is_silent)}
    return replace(basket, cards=tuple(sorted(readings)))


def with_line(
    basket: Basket, *, at_ms: int, tie: int, product: ProductId, quantity: Decimal
) -> Basket:
    """Returns the basket after a line came in (`quantity` > 0) or went out (< 0)."""
    change = LineChange(at_ms, tie, product, quantity)
    changes = basket.changes
    if not changes or (changes[-1].at_ms, changes[-1].tie) <= (at_ms, tie):
        return replace(basket, changes=(*changes, change))
    ordered = sorted((*changes, change), key=lambda each: (each.at_ms, each.tie))
    return replace(basket, changes=tuple(ordered))


def with_sale(basket: Basket, data: SaleData, *, at_ms: int, event: str | None = None) -> Basket:
    """Returns the basket after it was paid; the newest statement of a sale counts.

    Newest is the highest revision, then the latest time. Of two that a till made at one instant
    the greater one counts, whichever came first.
    """
    lines = tuple(
        Line(ProductId(line.product), line.quantity, line.amount, line.discount)
        for line in data.lines
    )
    sale = Sale(
        completed_at_ms=at_ms,
        currency=data.currency,
        total=data.total,
        lines=lines,
        revision=data.revision or 0,
        event=event,
    )
    if basket.sale is not None and _statement(basket.sale) > _statement(sale):
        return basket
    return replace(basket, sale=sale)


def with_void(basket: Basket, *, at_ms: int) -> Basket:
    """Returns the basket after its sale was cancelled."""
    return replace(basket, voided_at_ms=max(at_ms, basket.voided_at_ms or at_ms))


def _statement(sale: Sale) -> tuple[object, ...]:
    lines = [(each.product, each.quantity, each.amount, each.discount) for each in sale.lines]
    told = sale.revision, sale.completed_at_ms, sale.total, lines, sale.currency
    return *told, sale.event or ""
