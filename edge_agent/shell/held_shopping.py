"""One person's shopping as it is told to him: his visits, his baskets."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from edge_agent.shell.held_reading import when

if TYPE_CHECKING:
    from edge_agent.shell.held_reading import Reading, Table


def visits(reading: Reading) -> Table:
    """Returns his visits."""
    found = []
    for visit, started, last, ended, ended_by, has_paid, trail in reading.query(
        "SELECT id, started_at_ms, last_at_ms, ended_at_ms, ended_by, has_paid, trail"
        " FROM visit WHERE id IN (SELECT value FROM json_each(?1)) ORDER BY started_at_ms, id",
        (json.dumps(reading.person.visits),),
    ):
        found.append(
            {
                "visit": visit,
                "from": when(started),
                "to": when(last) if ended is not None else None,
                "ended_by": ended_by,
                "paid": bool(has_paid),
                "zones": _stays(reading, visit),
                "noticed": _marks(reading, visit, trail),
            }
        )
    return found


def _stays(reading: Reading, visit: str) -> Table:
    return [
        {"zone": zone, "from": when(entered), "to": when(left)}
        for zone, entered, left in reading.query(
            "SELECT zone, entered_at_ms, left_at_ms FROM zone_stay WHERE visit = ?"
            " ORDER BY entered_at_ms",
            (visit,),
        )
    ]


def _marks(reading: Reading, visit: str, trail: str | None) -> Table:
    rows: list[Any] = json.loads(trail or "[]") or reading.query(
        "SELECT at_ms, tie, kind, zone, product, dwell_ms FROM mark WHERE visit = ?"
        " ORDER BY at_ms, tie",
        (visit,),
    )
    return [
        {"at": when(at_ms), "what": kind, "zone": zone, "product": reading.named(product)}
        for at_ms, _tie, kind, zone, product, _dwell in rows
    ]


def purchases(reading: Reading) -> Table:
    """Returns his baskets."""
    his = [_basket(reading, basket) for basket in reading.person.baskets]
    borrowed = []
    for basket in reading.person.borrowed:
        (at_ms, register) = reading.query(
            "SELECT first_at_ms, register FROM basket WHERE id = ?", (basket,)
        )[0]
        told = {"at": when(at_ms), "register": register, "note": "your card was shown"}
        borrowed.append({"basket": basket, **told})
    return [each for each in his if each is not None] + borrowed


def _basket(reading: Reading, basket: str) -> dict[str, Any] | None:
    rows = reading.query(
        "SELECT register, first_at_ms, s.completed_at_ms, s.currency, s.total, s.event,"
        " voided_at_ms"
        " FROM basket LEFT JOIN sale s ON s.basket = id WHERE id = ?",
        (basket,),
    )
    if not rows:
        return None
    register, first, completed, currency, total, event, voided = rows[0]
    lines = reading.query(
        "SELECT product, quantity, amount FROM sale_line WHERE basket = ? ORDER BY position",
        (basket,),
    ) or reading.query(
        "SELECT product, quantity, NULL FROM basket_line WHERE basket = ? ORDER BY at_ms, tie",
        (basket,),
    )
    return {
        "basket": basket,
        "at": when(first),
        "register": register,
        "paid_at": when(completed),
        "paid_by_event": event,
        "voided_at": when(voided),
        "total": None if total is None else f"{total} {currency}",
        "lines": [
            {"product": reading.named(product), "quantity": quantity, "amount": amount}
            for product, quantity, amount in lines
        ],
    }
