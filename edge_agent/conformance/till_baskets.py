"""Whether a till's events make sense as baskets: order, voids, lines, totals, cards. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING

from edge_agent.wire import events as wire

if TYPE_CHECKING:
    from edge_agent.conformance.till_record import TillReading
    from edge_agent.wire.sales import Receipt

_ITEM = wire.BasketItemAdded | wire.BasketItemVoided
_STRANGERS = frozenset({"ble", "wifi", "track"})


class Baskets:
    """The events of each basket in the order of their times."""

    def __init__(self, reading: TillReading) -> None:
        self._events = [each.event for each in reading.events if each.event is not None]
        self.baskets: dict[str, list[wire.Event]] = {}
        for event in self._events:
            number = getattr(event.data, "basket", None)
            if number is not None:
                self.baskets.setdefault(number, []).append(event)

    def order(self) -> Iterator[str]:
        """Yields baskets whose events are in no order that can be."""
        for events in self.baskets.values():
            kinds = [each.type for each in events]
            items = [n for n, each in enumerate(events) if isinstance(each, _ITEM)]
            if items and "basket.opened" in kinds and items[0] < kinds.index("basket.opened"):
                yield f"{kinds[items[0]]} lies before its basket.opened"
            if items and "sale.completed" in kinds and items[-1] > kinds.index("sale.completed"):
                yield f"{kinds[items[-1]]} lies after its basket's sale.completed"

    def voids(self) -> Iterator[str]:
        """Yields products of which more was voided than added."""
        for events in self._whole():
            for n, each in enumerate(events):
                if isinstance(each, wire.BasketItemVoided):
                    product = each.data.product
                    if _scanned(events[: n + 1])[product] < 0:
                        yield f"more of product {product} is voided than was added"

    def lines(self) -> Iterator[str]:
        """Yields products of which a sale has more or less than its basket."""
        for events in self._whole():
            scanned = _scanned(events)
            sales = [each for each in events if isinstance(each, wire.SaleCompleted)]
            if not sales or not any(isinstance(each, _ITEM) for each in events):
                continue
            sold: dict[str, Decimal] = {}
            for line in sales[-1].data.lines:
                sold[line.product] = sold.get(line.product, Decimal(0)) + line.quantity
            for product in sorted({*scanned, *sold}):
                paid, went_in = sold.get(product, 0), scanned.get(product, 0)
                # Less than nothing in the basket is a fault of its voids.
                if paid != went_in and went_in >= 0:
                    yield f"product {product}: {went_in} in the basket, {paid} in the sale"

    def totals(self) -> Iterator[str]:
        """Yields sales and returns whose total is not the sum of their lines."""
        for event in self._events:
            if isinstance(event, (wire.SaleCompleted, wire.SaleReturned)):
                sums = _totals_of(event.data)
                if event.data.total not in sums:
                    told = " or ".join(str(each) for each in sorted(sums))
                    yield f"{event.type}: total {event.data.total}, its parts make {told}"

    def currency(self) -> Iterator[str]:
        """Yields baskets with more than one currency."""
        for events in self.baskets.values():
            named = {getattr(each.data, "currency", None) for each in events} - {None}
            if len(named) > 1:
                yield f"{' and '.join(sorted(map(str, named)))} in one basket"

    def cards(self) -> Iterator[str]:
        """Yields cards that do not fit their basket."""
        for event in self._events:
            if not isinstance(event, wire.LoyaltyScanned):
                continue
            if event.data.basket is None:
                yield "loyalty.scanned at a till names no basket"
            if event.data.visitor.kind in _STRANGERS:
                yield f"loyalty.scanned names a visitor of kind {event.data.visitor.kind}"
        for events in self.baskets.values():
            read = {each.data.visitor for each in events if isinstance(each, wire.LoyaltyScanned)}
            for each in events:
                is_sale = isinstance(each, wire.SaleCompleted)
                named = each.data.visitor if isinstance(each, wire.SaleCompleted) else None
                if is_sale and read and named is not None and named not in read:
                    yield "sale.completed names another visitor than the card that was read"

    def _whole(self) -> Iterator[list[wire.Event]]:
        """Yields the baskets that were heard from their beginning."""
        for events in self.baskets.values():
            if any(isinstance(each, wire.BasketOpened) for each in events):
                yield events

    @property
    def n(self) -> int:
        """How many baskets there are."""
        return len(self.baskets)

    def n_of(self, *kinds: str) -> int:
        """Returns how many events of some types there are."""
        return sum(each.type in kinds for each in self._events)


def _totals_of(receipt: Receipt) -> set[Decimal]:
    """Returns what a receipt's parts make: two sums where it does not say if tax is in them."""
    net = sum((line.amount for line in receipt.lines), receipt.charges or Decimal(0))
    gross = net + (receipt.tax or Decimal(0))
    if receipt.tax_included is None:
        return {net, gross}
    return {net if receipt.tax_included else gross}


def _scanned(events: list[wire.Event]) -> dict[str, Decimal]:
    left: dict[str, Decimal] = {}
    for each in events:
        if isinstance(each, wire.BasketItemAdded):
            left[each.data.product] = left.get(each.data.product, Decimal(0)) + each.data.quantity
        elif isinstance(each, wire.BasketItemVoided):
            left[each.data.product] = left.get(each.data.product, Decimal(0)) - each.data.quantity
    return left
