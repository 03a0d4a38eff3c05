"""The events that are sent, as devices send them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final

import numpy as np

from tests.bench.setting import BUNDLE

EVENT_BYTES: Final = 227
"""Length of a presence event: that of a real gateway's, so that runs can be compared."""
GATEWAY: Final = "ble-gw-3"
N_QUIET_ZONES: Final = 10
ITEMS_IN_HAND: Final = 3
# Events of one flood follow each other so closely in their own time.
APART_MS: Final = 0.25


def event_topic(store: str, source: str = GATEWAY) -> str:
    """Returns where a source of a store publishes."""
    return f"store/{store}/event/{source}"


def entered(number: int, *, at_ms: float, visitor: int, zone: str) -> bytes:
    """Returns somebody's coming into a zone, `EVENT_BYTES` long."""
    data = {"visitor": _visitor(visitor), "zone": zone}
    return _padded(number, "zone.entered", at_ms=at_ms, data=data)


def dwelt(number: int, *, at_ms: float, visitor: int, zone: str) -> bytes:
    """Returns somebody's being in a zone still."""
    data = {"visitor": _visitor(visitor), "zone": zone, "dwell_s": 5.0}
    return _padded(number, "zone.dwell", at_ms=at_ms, data=data)


def lifted(number: int, *, at_ms: float, visitor: int, product: str) -> bytes:
    """Returns somebody's taking a product, no matter where."""
    data = {"product": product, "visitor": _visitor(visitor)}
    return _padded(number, "item.lifted", at_ms=at_ms, data=data)


def quiet_events(store: str, n_events: int, *, n_visitors: int) -> Iterator[tuple[str, bytes]]:
    """Yields presence in zones without a screen, in the order of its time, ending now."""
    topic, from_ms = event_topic(store), now_ms() - n_events * APART_MS
    for number in range(n_events):
        zone = f"zone-{(number // n_visitors) % N_QUIET_ZONES}"
        at_ms = from_ms + number * APART_MS
        yield topic, entered(number, at_ms=at_ms, visitor=number % n_visitors, zone=zone)


def screen_events(
    store: str, n_events: int, *, n_visitors: int, first: int = 0
) -> Iterator[tuple[str, bytes]]:
    """Yields entries into the zone with the screen, each of which asks for a decision."""
    topic, from_ms = event_topic(store), now_ms() - n_events * APART_MS
    for number in range(n_events):
        at_ms = from_ms + number * APART_MS
        payload = entered(first + number, at_ms=at_ms, visitor=number % n_visitors, zone="dairy")
        yield topic, payload


def in_hand(store: str, *, n_visitors: int) -> Iterator[tuple[str, bytes]]:
    """Yields what puts other products into each visitor's hand; longer ago than the lateness."""
    topic, products = event_topic(store, "shelf-1"), known_products()
    at_ms = now_ms() - 15_000.0
    for number in range(n_visitors * ITEMS_IN_HAND):
        product = products[number * 7 % len(products)]
        visitor, place = divmod(number, ITEMS_IN_HAND)
        event = lifted(number, at_ms=at_ms + place, visitor=visitor, product=product)
        yield topic, event.replace(GATEWAY.encode(), b"shelf-1")


@cache
def known_products() -> tuple[str, ...]:
    """Returns the products of the released model's catalogue."""
    with np.load(BUNDLE / "catalogue.npz", allow_pickle=False) as catalogue:
        return tuple(each.decode() for each in catalogue["ids"].tolist())


def now_ms() -> float:
    """Returns the wall clock's present."""
    return time.time() * 1_000


def rfc3339(at_ms: float) -> str:
    """Returns an instant as it stands on the wire."""
    text = datetime.fromtimestamp(at_ms / 1_000, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def _visitor(number: int) -> dict[str, str]:
    octets = number.to_bytes(3, "big").hex(":").upper()
    return {"kind": "ble", "value": f"AC:23:3F:{octets}"}


def _padded(number: int, kind: str, *, at_ms: float, data: dict[str, Any]) -> bytes:
    document = {
        "specversion": "1.0",
        "id": f"bench-{number:09d}-",
        "source": GATEWAY,
        "type": kind,
        "time": rfc3339(at_ms),
        "data": data,
    }
    missing = EVENT_BYTES - len(json.dumps(document, separators=(",", ":")))
    document["id"] = f"bench-{number:09d}-{'0' * missing}"
    return json.dumps(document, separators=(",", ":")).encode()
