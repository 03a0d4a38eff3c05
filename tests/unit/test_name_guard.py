"""The guard of names: who is written where a thing is named stops the event, however optional."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from edge_agent.ingest.decode import Refusal, decode_events
from edge_agent.runner.name_guard import NameGuard
from edge_agent.wire.events import Event

CARD: Final = "6400000009005"
MAC: Final = "AC:23:3F:00:00:01"
MAIL: Final = "jane@example.com"
KNOWN: Final = frozenset({"dairy", "pos-2", "0011223344556"})
DAY: Final = "2026-03-02"
PHONE: Final = {"kind": "ble", "value": "AC:23:3F:00:00:09"}


def told(kind: str, **data: Any) -> Event:
    """Returns an event as the road gets it."""
    body = {
        "specversion": "1.0",
        "id": "e-1",
        "source": "d-1",
        "type": kind,
        "time": "2026-03-02T10:00:00Z",
        "data": data,
    }
    (event,) = decode_events(json.dumps(body).encode(), max_bytes=10_000)
    assert not isinstance(event, Refusal)
    return event


@pytest.fixture
def guard() -> NameGuard:
    """A guard that has heard of a card."""
    made = NameGuard(KNOWN.__contains__, b"key")
    scanned = told("loyalty.scanned", visitor={"kind": "loyalty", "value": CARD})
    assert made.refused_field(scanned, day=DAY) is None
    return made


@pytest.mark.parametrize(
    ("kind", "data", "field"),
    [
        ("visitor.detected", {"visitor": PHONE, "zone": CARD}, "zone"),
        ("item.scanned", {"product": "milk", "zone": CARD}, "zone"),
        ("people.counted", {"zone": CARD, "entries": 1}, "zone"),
        ("zone.entered", {"visitor": PHONE, "zone": CARD}, "zone"),
        ("basket.opened", {"basket": "b1", "register": CARD}, "register"),
        ("basket.opened", {"basket": "b1", "register": MAIL}, "register"),
        ("loyalty.scanned", {"visitor": PHONE, "register": CARD}, "register"),
        ("screen.tapped", {"screen": "s-1", "decision": "d", "product": CARD}, "product"),
        ("consent.withdrawn", {"visitor": PHONE, "channel": CARD}, "channel"),
        ("item.scanned", {"product": "milk", "zone": MAIL}, "zone"),
        ("zone.entered", {"visitor": PHONE, "zone": MAC}, "zone"),
        (
            "sale.completed",
            {
                "basket": "b1",
                "currency": "EUR",
                "total": "1.00",
                "lines": [{"product": CARD, "quantity": 1, "amount": "1.00"}],
            },
            "lines",
        ),
    ],
)
def test_a_person_where_a_thing_is_named_is_refused(
    guard: NameGuard, kind: str, data: dict[str, Any], field: str
) -> None:
    """Whether the field has to be there or may be."""
    assert guard.refused_field(told(kind, **data), day=DAY) == field


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("visitor.detected", {"visitor": PHONE, "zone": MAC}),
        ("visitor.detected", {"visitor": PHONE}),
        ("visitor.detected", {"visitor": PHONE, "zone": "dairy"}),
        ("item.scanned", {"product": "0011223344556", "lot": CARD, "instance": CARD}),
        ("basket.opened", {"basket": CARD, "register": "pos-2"}),
        ("item.scanned", {"product": "6400000009999", "zone": "dairy"}),
    ],
)
def test_what_names_a_thing_or_is_not_kept_passes(
    guard: NameGuard, kind: str, data: dict[str, Any]
) -> None:
    """A receiver's own address stands for a zone until a mapping gives it a name."""
    assert guard.refused_field(told(kind, **data), day=DAY) is None


def test_what_was_heard_yesterday_is_forgotten(guard: NameGuard) -> None:
    """A number that nobody named as an identifier today passes as the name of a thing."""
    named = told("item.scanned", product=CARD)
    assert guard.refused_field(named, day=DAY) == "product"
    assert guard.refused_field(named, day="2026-03-03") is None
