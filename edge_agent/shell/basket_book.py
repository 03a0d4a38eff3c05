"""Baskets by id, by who carries them and by where they began, few of them held in memory."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from edge_agent.domain.ids import BasketId
from edge_agent.shell import rows

if TYPE_CHECKING:
    import sqlite3

    from edge_agent.domain.basket import Basket
    from edge_agent.domain.ids import VisitorId, ZoneId
    from edge_agent.shell.register_stays import RegisterStays

# Several times what a large store holds at once; the rest waits on the disk.
CACHED_BASKETS: Final = 1_000


class BasketBook:
    """Baskets: the disk's, and those of the batch that is open.

    Args:
        connection: The writer's.
        registers: Knows which baskets began at a till of late, and is told of new ones.
    """

    def __init__(self, connection: sqlite3.Connection, registers: RegisterStays) -> None:
        self._db = connection
        self._registers = registers
        self._baskets: OrderedDict[BasketId, Basket] = OrderedDict()
        self._carried: dict[VisitorId, tuple[BasketId, ...]] = {}

    def basket(self, basket: BasketId) -> Basket | None:
        """Returns a basket."""
        known = self._baskets.get(basket)
        if known is None:
            known = self._load(basket)
            if known is not None:
                self._baskets[basket] = known
        return known

    def baskets_of(self, visitor: VisitorId) -> tuple[Basket, ...]:
        """Returns the baskets that a visitor carries, oldest first."""
        if visitor not in self._carried:
            self._carried[visitor] = tuple(
                BasketId(basket)
                for (basket,) in self._db.execute(
                    "SELECT id FROM basket WHERE carrier = ? ORDER BY first_at_ms, id", (visitor,)
                )
            )
        ids = self._carried[visitor]
        if not ids:
            return ()
        found = (self.basket(each) for each in ids)
        # One that changed hands in this batch is still the other's on the disk.
        carried = (each for each in found if each is not None and each.carrier == visitor)
        # A late line makes a basket older than it was when it came.
        return tuple(sorted(carried, key=lambda each: (each.first_at_ms, each.id)))

    def baskets_near(self, zone: ZoneId, *, from_ms: int, to_ms: int) -> tuple[Basket, ...]:
        """Returns baskets opened in an interval at the registers of a zone."""
        ids = self._registers.baskets(zone, from_ms=from_ms, to_ms=to_ms)
        if self._registers.reaches(from_ms):
            found = (self.basket(each) for each in ids)
            return tuple(each for each in found if each is not None)
        registers = self._registers.of_zone(zone)
        marks = ",".join("?" for _ in registers)
        query = (
            f"SELECT id FROM basket WHERE register IN ({marks})"  # noqa: S608 - placeholders only
            " AND opened_at_ms BETWEEN ? AND ? ORDER BY opened_at_ms, id"
        )
        stored = [BasketId(b) for (b,) in self._db.execute(query, (*registers, from_ms, to_ms))]
        found = (self.basket(each) for each in dict.fromkeys((*stored, *ids)))
        return tuple(each for each in found if each is not None)

    # --- what a batch changes -----------------------------------------------------------------

    def put(self, basket: Basket) -> None:
        """Lays a basket over what is known of it; it is on the disk with the batch."""
        before = self._baskets.get(basket.id)
        previous = None if before is None else before.carrier
        self._baskets[basket.id] = basket
        if previous != basket.carrier or before is None:
            if previous is not None and previous in self._carried:
                rest = tuple(each for each in self._carried[previous] if each != basket.id)
                self._carried[previous] = rest
            if basket.carrier is not None:
                self.baskets_of(basket.carrier)
                known = self._carried[basket.carrier]
                if basket.id not in known:
                    self._carried[basket.carrier] = (*known, basket.id)
        self._registers.put_basket(basket)

    def keep_bounds(self) -> None:
        """Lets go of the baskets that are held longest."""
        while len(self._baskets) > CACHED_BASKETS:
            self._baskets.popitem(last=False)

    def forget_carrier(self, visitor: VisitorId) -> None:
        """Lets go of what a visitor carries; it is read from the disk when asked for."""
        self._carried.pop(visitor, None)

    # --- reading ------------------------------------------------------------------------------

    def _load(self, basket: BasketId) -> Basket | None:
        row = self._db.execute(
            "SELECT id, day, register, first_at_ms, last_at_ms, opened_at_ms, carrier, shared,"
            " member, voided_at_ms, paid_mark_at_ms, cards FROM basket WHERE id = ?",
            (basket,),
        ).fetchone()
        if row is None:
            return None
        changes = self._db.execute(
            "SELECT at_ms, tie, product, quantity FROM basket_line WHERE basket = ?"
            " ORDER BY at_ms, tie",
            (basket,),
        ).fetchall()
        sale = self._db.execute(
            "SELECT completed_at_ms, currency, total, revision, event FROM sale WHERE basket = ?",
            (basket,),
        ).fetchone()
        lines = self._db.execute(
            "SELECT product, quantity, amount, discount FROM sale_line WHERE basket = ?"
            " ORDER BY position",
            (basket,),
        ).fetchall()
        return rows.basket_from(tuple(row), changes, sale, lines)
