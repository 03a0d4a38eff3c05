"""A busy hour of a shop, and people of the days before, as a replay: ticks are the clock.

Under a replay's clock an hour passes as fast as the agent takes it in, with its time-outs,
decisions, expiries and summaries. Everything here follows from the numbers alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from tests.bench.load import event_topic, known_products, rfc3339

RATE: Final = 20
HOUR_S: Final = 3_600
# Somebody is sensed every ten seconds, and stays for a quarter of an hour.
PRESENT: Final = 200
STAY_EVENTS: Final = 90
# Of the public data's departments; the first zones have a screen each.
DEPARTMENTS: Final = (
    "GROCERY",
    "PRODUCE",
    "DRUG GM",
    "MEAT",
    "DELI",
    "PASTRY",
    "MEAT-PCKGD",
    "SEAFOOD",
    "NUTRITION",
    "FLORAL",
    "COSMETICS",
    "GARDEN CENTER",
)
N_ZONES: Final = len(DEPARTMENTS)
N_SCREENS: Final = 6
N_LINES: Final = 8
TILL: Final = "pos-1"
# A Saturday, ten in the morning.
OPENS_MS: Final = 1_512_208_800_000
SECOND_MS: Final = 1_000
# How fast the people of the days before came: all within ten hours of one day.
EARLIER_RATE: Final = 5

LAYOUT: Final = "\n".join(
    [f'[zones.zone-{n}]\ndepartments = ["{name}"]' for n, name in enumerate(DEPARTMENTS)]
    + [f'[screens.screen-{n}]\nzone = "zone-{n}"' for n in range(N_SCREENS)]
    + [f'[zones.till]\nexit = true\n[registers.{TILL}]\nzone = "till"']
)

Message = tuple[str, bytes]


def hour(store: str, n_events: int) -> Iterator[Message]:
    """Yields so many events at `RATE` a second, with a tick each second."""
    yield from _ticked(store, (_event(n) for n in range(n_events)), rate=RATE, from_ms=OPENS_MS)


def earlier_visitors(store: str, n_visitors: int) -> Iterator[Message]:
    """Yields the coming and going of so many people, ten hours and more before the hour."""
    from_ms = OPENS_MS - (n_visitors // EARLIER_RATE + HOUR_S) * SECOND_MS
    numbers = range(2 * n_visitors)
    events = (("door-1", *_passing(number)) for number in numbers)
    yield from _ticked(store, events, rate=2 * EARLIER_RATE, from_ms=from_ms, kind="e")


def _ticked(
    store: str,
    events: Iterator[tuple[str, str, dict[str, Any]]],
    *,
    rate: int,
    from_ms: int,
    kind: str = "h",
) -> Iterator[Message]:
    for number, (source, event_type, data) in enumerate(events):
        at_ms = from_ms + number * SECOND_MS // rate
        if number % rate == 0:
            yield f"store/{store}/clock", json.dumps({"now": rfc3339(at_ms)}).encode()
        document = {
            "specversion": "1.0",
            "id": f"{kind}-{number}",
            "source": source,
            "type": event_type,
            "time": rfc3339(at_ms),
            "data": data,
        }
        yield event_topic(store, source), json.dumps(document, separators=(",", ":")).encode()


def _passing(number: int) -> tuple[str, dict[str, Any]]:
    kind = "visit.started" if number % 2 == 0 else "visit.ended"
    return kind, {"visitor": _phone(number // 2, first=0x10)}


def _event(number: int) -> tuple[str, str, dict[str, Any]]:
    turn, slot = divmod(number, PRESENT)
    # Not all come at the same time: a slot's guests change at its own turn.
    guest, step = divmod(turn + slot * STAY_EVENTS // PRESENT, STAY_EVENTS)
    person = guest * PRESENT + slot
    if step >= STAY_EVENTS - N_LINES - 2:
        return TILL, *_paying(person, step - (STAY_EVENTS - N_LINES - 2))
    return "ble-gw-1", *_walking(person, step)


def _walking(person: int, step: int) -> tuple[str, dict[str, Any]]:
    visitor = _phone(person, first=0x20)
    zone = f"zone-{(person + step // 4) % N_ZONES}"
    if step == STAY_EVENTS - N_LINES - 3:
        return "zone.entered", {"visitor": visitor, "zone": "till"}
    if step % 4 == 0:
        return "zone.entered", {"visitor": visitor, "zone": zone}
    if step % 4 == 3:
        return "item.lifted", {"visitor": visitor, "zone": zone, "product": _product(person, step)}
    return "zone.dwell", {"visitor": visitor, "zone": zone, "dwell_s": 9.0}


def _paying(person: int, step: int) -> tuple[str, dict[str, Any]]:
    basket = f"basket-{person}"
    if step == 0:
        return "basket.opened", {"basket": basket, "register": TILL}
    lines = [
        {"product": _product(person, 4 * n + 3), "quantity": 1, "amount": "1.50"}
        for n in range(N_LINES)
    ]
    if step <= N_LINES:
        return "basket.item_added", {"basket": basket, "register": TILL, **lines[step - 1]}
    sale = {"currency": "USD", "lines": lines, "total": f"{1.5 * N_LINES:.2f}"}
    return "sale.completed", {"basket": basket, "register": TILL, **sale}


def _phone(person: int, *, first: int) -> dict[str, str]:
    octets = bytes([first, *person.to_bytes(3, "big")]).hex(":").upper()
    return {"kind": "ble", "value": f"AC:23:{octets}"}


def _product(person: int, step: int) -> str:
    products = known_products()
    return products[(person * 131 + step * 17) % len(products)]
