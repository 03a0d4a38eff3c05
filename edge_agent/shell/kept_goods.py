"""What the store's goods were to decisions at any time: HQ's feed as it was before a change."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from edge_agent.domain.ids import ProductId
from edge_agent.domain.store import Product
from edge_agent.shell.catalogue import Feed

if TYPE_CHECKING:
    import sqlite3

_NOW: Final = (
    "SELECT product, title, price, currency, department, brand, minimum_age, since FROM catalogue"
)
# A recorded day of an older agent has none of this.
_NOW_OF_OLD: Final = (
    "SELECT product, title, price, currency, department, brand, minimum_age, 0 FROM catalogue"
)
_BEFORE: Final = (
    "SELECT product, since, until, department, brand, minimum_age FROM catalogue_before"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Before:
    """What decisions rested on of a product, from one change until another."""

    since: int
    until: int
    department: str | None
    brand: str | None
    minimum_age: int


class KeptGoods:
    """HQ's feed at each number of changes that a decision's row may name.

    Args:
        connection: To the database.
        is_old: Whether an older agent made it, which kept nothing of what was before.

    Raises:
        sqlite3.Error: It cannot be read.
    """

    def __init__(self, connection: sqlite3.Connection, *, is_old: bool = False) -> None:
        self._now: dict[ProductId, tuple[int, Product]] = {}
        for product, *known, since in connection.execute(_NOW_OF_OLD if is_old else _NOW):
            self._now[ProductId(product)] = (int(since), _product(product, known))
        self._before: defaultdict[ProductId, list[_Before]] = defaultdict(list)
        for product, since, until, department, brand, minimum_age in (
            () if is_old else connection.execute(_BEFORE)
        ):
            self._before[ProductId(product)].append(
                _Before(
                    since=since,
                    until=until,
                    department=department,
                    brand=brand,
                    minimum_age=minimum_age,
                )
            )
        changes = {since for since, _ in self._now.values()}
        changes.update(each.since for kept in self._before.values() for each in kept)
        self._changes = sorted(changes)

    def stretch_of(self, number: int) -> int:
        """Returns a key that is the same for all numbers between which nothing changed."""
        return bisect_right(self._changes, number)

    def feed_at(self, number: int) -> Feed:
        """Returns what the feed said when HQ had changed the goods so often."""
        found = (self._at(product, number) for product in self._now)
        feed = Feed()
        feed.put(each for each in found if each is not None)
        return feed

    def _at(self, product: ProductId, number: int) -> Product | None:
        since, now = self._now[product]
        if since <= number:
            return now
        for was in self._before.get(product, ()):
            if was.since <= number < was.until:
                return replace(
                    now, department=was.department, brand=was.brand, minimum_age=was.minimum_age
                )
        return None


def _product(product: str, known: list[Any]) -> Product:
    title, price, currency, department, brand, minimum_age = known
    return Product(
        id=ProductId(product),
        title=title,
        price=price,
        currency=currency,
        department=department,
        brand=brand,
        minimum_age=minimum_age,
    )
