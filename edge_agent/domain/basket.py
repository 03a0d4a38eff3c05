"""Baskets at the till and what became of them."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from edge_agent.domain.ids import BasketId, ProductId, RegisterId, VisitorId


@dataclass(frozen=True, slots=True)
class LineChange:
    """A line that came into (`quantity` > 0) or went out of (< 0) an open basket."""

    at_ms: int
    tie: int
    product: ProductId
    quantity: Decimal


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a finished sale."""

    product: ProductId
    quantity: Decimal
    amount: Decimal
    discount: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Sale:
    """What was paid, as of the till's `revision` of it.

    Attributes:
        event: Source and id of the event that said so; None where it was not kept.
    """

    completed_at_ms: int
    currency: str
    total: Decimal
    lines: tuple[Line, ...]
    revision: int = 0
    event: str | None = None


@dataclass(frozen=True, slots=True, order=True)
class CardReading:
    """A card holder's card, read with a basket.

    Attributes:
        is_silent: He allows nothing, and is recognised only to be left alone: he complained.
    """

    at_ms: int
    member: VisitorId
    is_silent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Basket:
    """One basket, under its pseudonym.

    Attributes:
        carrier: The visitor it belongs to: who shares an identifier with it, else the only one
            standing at the register, else a visitor of its own.
        shared: A visitor named by one of the basket's own events (not by a loyalty card).
        cards: Every reading of a card that was recognised, oldest first.
        day: Store-local day of its first event, whose key its pseudonym was made with.
        paid_mark_at_ms: Time of the mark of having paid that the carrier's visit holds for it.
    """

    id: BasketId
    day: str
    register: RegisterId
    first_at_ms: int
    last_at_ms: int
    opened_at_ms: int | None = None
    carrier: VisitorId | None = None
    shared: VisitorId | None = None
    cards: tuple[CardReading, ...] = ()
    changes: tuple[LineChange, ...] = ()
    sale: Sale | None = None
    voided_at_ms: int | None = None
    paid_mark_at_ms: int | None = None

    @property
    def member(self) -> VisitorId | None:
        """The consenting card holder whose it is: of several cards the last one read."""
        read = (each.member for each in reversed(self.cards) if not each.is_silent)
        return next(read, None)

    @property
    def first_readings(self) -> dict[VisitorId, int]:
        """When each card was read with it for the first time."""
        return {each.member: each.at_ms for each in reversed(self.cards)}

    @property
    def quantities(self) -> dict[ProductId, Decimal]:
        """How much of each of `products` is in it now: pieces, or what was weighed."""
        if self.sale is None:
            return {product: n for product, n in self._totals().items() if n > 0}
        totals: dict[ProductId, Decimal] = {}
        for line in self.sale.lines:
            totals[line.product] = totals.get(line.product, Decimal(0)) + line.quantity
        return totals

    @property
    def products(self) -> tuple[ProductId, ...]:
        """Products in it now, in the order in which they first came in."""
        if self.sale is not None:
            return tuple(dict.fromkeys(line.product for line in self.sale.lines))
        return tuple(product for product, quantity in self._totals().items() if quantity > 0)

    def _totals(self) -> dict[ProductId, Decimal]:
        totals: dict[ProductId, Decimal] = {}
        for change in self.changes:
            totals[change.product] = totals.get(change.product, Decimal(0)) + change.quantity
        return totals
