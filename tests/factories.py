"""Builders of events, layouts, policies and worlds: a test says only what matters to it."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final

from edge_agent.domain.ids import (
    CampaignId,
    ProductId,
    RegisterId,
    ScreenId,
    SourceId,
    TeamId,
    ZoneId,
)
from edge_agent.domain.policy import Policy
from edge_agent.domain.rules import Campaign
from edge_agent.domain.store import Layout, Product, Register, Screen, Zone
from edge_agent.domain.time import DAY_MS, SECOND_MS, ms_from_datetime, rfc3339_from_ms
from edge_agent.wire.downlink import COMMAND, AnyCommand
from edge_agent.wire.events import EVENT, Event
from edge_agent.wire.screens import RecommendRequest
from tests.fakes import World

# A Saturday, ten in the morning in New York.
T0: Final = ms_from_datetime(datetime(2017, 12, 2, 15, tzinfo=UTC))
CARD: Final = "6400000009005"
PHONE: Final = "AC:23:3F:A0:11:22"

_numbers = itertools.count(1)


def at(seconds: float) -> int:
    """Returns the instant so many seconds after `T0`, in ms."""
    return T0 + round(seconds * SECOND_MS)


def ref(kind: str = "ble", value: str = PHONE) -> dict[str, str]:
    """Returns a visitor reference as it stands in an event."""
    return {"kind": kind, "value": value}


def event(
    kind: str, seconds: float = 0, *, source: str = "sensor-1", event_id: str = "", **data: Any
) -> Event:
    """Returns an event so many seconds after `T0`; `person` is short for the visitor."""
    document = {
        "specversion": "1.0",
        "id": event_id or f"n{next(_numbers)}",
        "source": source,
        "type": kind,
        "time": rfc3339_from_ms(at(seconds)),
        "data": data,
    }
    return EVENT.validate_json(json.dumps(document))


def presence(
    kind: str, seconds: float = 0, *, who: str = PHONE, source: str = "sensor-1", **data: Any
) -> Event:
    """Returns a presence event of an anonymous visitor."""
    return event(kind, seconds, source=source, visitor=ref("ble", who), **data)


def entered(zone: str, seconds: float = 0, *, who: str = PHONE) -> Event:
    """Returns that somebody came into a zone."""
    return presence("zone.entered", seconds, who=who, zone=zone)


def left(zone: str, seconds: float = 0, *, who: str = PHONE) -> Event:
    """Returns that somebody left a zone."""
    return presence("zone.left", seconds, who=who, zone=zone)


def lifted(product: str, seconds: float = 0, *, who: str = PHONE, zone: str = "dairy") -> Event:
    """Returns that somebody took a product in hand."""
    return presence("item.lifted", seconds, who=who, product=product, zone=zone)


def till(kind: str, seconds: float = 0, *, basket: str = "b1", **data: Any) -> Event:
    """Returns an event of till `pos-1`."""
    return event(kind, seconds, source="pos-1", basket=basket, **data)


def sale(seconds: float = 0, *products: str, basket: str = "b1", **data: Any) -> Event:
    """Returns that a basket of one piece of each product was paid, a unit of money each."""
    lines = [{"product": each, "quantity": 1, "amount": "1.00"} for each in products]
    total = f"{len(products)}.00"
    return till(
        "sale.completed", seconds, basket=basket, currency="USD", lines=lines, total=total, **data
    )


def granted(seconds: float = 0, *, card: str = CARD, purposes: tuple[str, ...] = ()) -> Event:
    """Returns a card holder's consent, to personal recommendations and all else by default."""
    named = purposes or ("personal_recommendations", "profiling", "sending_to_hq")
    return event(
        "consent.granted",
        seconds,
        source="desk",
        visitor=ref("loyalty", card),
        purposes=list(named),
    )


def withdrawn(seconds: float = 0, *, card: str = CARD, purposes: tuple[str, ...] = ()) -> Event:
    """Returns a card holder's withdrawal, of everything by default."""
    named: dict[str, Any] = {"purposes": list(purposes)} if purposes else {}
    return event(
        "consent.withdrawn", seconds, source="desk", visitor=ref("loyalty", card), **named
    )


def complained(
    seconds: float = 0, *, who: dict[str, str] | None = None, case: str = "c1", opened: bool = True
) -> Event:
    """Returns that somebody complained, or that his complaint was settled."""
    kind = "complaint.opened" if opened else "complaint.closed"
    return event(kind, seconds, source="desk", visitor=who or ref("loyalty", CARD), complaint=case)


def scanned_card(seconds: float = 0, *, card: str = CARD, basket: str | None = "b1") -> Event:
    """Returns that a loyalty card was read."""
    more = {} if basket is None else {"basket": basket}
    return event("loyalty.scanned", seconds, source="pos-1", visitor=ref("loyalty", card), **more)


def request(**fields: Any) -> RecommendRequest:
    """Returns a kiosk's request."""
    return RecommendRequest.model_validate_json(json.dumps({"source": "kiosk-1", **fields}))


def command(kind: str, body: dict[str, Any], **envelope: Any) -> AnyCommand:
    """Returns one of HQ's commands, valid for a day."""
    document = {
        "command": f"cmd-{next(_numbers)}",
        "store": "s1",
        "version": 1,
        "issued_at": rfc3339_from_ms(at(-60)),
        "expires_at": rfc3339_from_ms(at(86_400)),
        "kind": kind,
        "body": body,
        **envelope,
    }
    return COMMAND.validate_json(json.dumps(document))


def policy(**numbers: Any) -> Policy:
    """Returns the default policy but for some numbers."""
    return Policy(**numbers)


def layout(*, audience: str = "public") -> Layout:
    """Returns a small store: two zones with a screen each, wine with staff, a till, an exit."""
    zones = {
        ZoneId(zone.id): zone
        for zone in (
            Zone(id=ZoneId("entrance"), name="Entrance"),
            Zone(id=ZoneId("exit"), name="Exit", is_exit=True),
            Zone(id=ZoneId("dairy"), name="Dairy", departments=("DAIRY",)),
            Zone(id=ZoneId("bakery"), name="Bakery", departments=("BAKERY",)),
            Zone(id=ZoneId("wine"), name="Wine", long_dwell_s=180, team=TeamId("cellar")),
            Zone(id=ZoneId("checkout"), name="Checkout"),
        )
    }
    screens = {
        ScreenId(name): Screen(id=ScreenId(name), zone=ZoneId(zone), audience=audience)
        for name, zone in (("bakery-1", "bakery"), ("dairy-1", "dairy"))
    }
    registers = {RegisterId("pos-1"): Register(id=RegisterId("pos-1"), zone=ZoneId("checkout"))}
    return Layout(
        zones=MappingProxyType(zones),
        screens=MappingProxyType(screens),
        registers=MappingProxyType(registers),
        receipt_sources=frozenset({SourceId("pos-1")}),
        audiences=MappingProxyType({SourceId("kiosk-1"): "private"}),
        channels=MappingProxyType({SourceId("app-1"): "app", SourceId("totem-1"): "screen"}),
        screens_by_zone=MappingProxyType({each.zone: (each,) for each in screens.values()}),
    )


def products() -> tuple[Product, ...]:
    """Returns twelve products: six of the dairy, five of the bakery, one sensitive."""
    named = [(f"d{n}", "DAIRY") for n in range(6)] + [(f"k{n}", "BAKERY") for n in range(5)]
    named.append(("x0", "PHARMACY"))
    return tuple(
        Product(
            id=ProductId(name),
            title=f"Product {name}",
            price="1.29",
            currency="USD",
            department=department,
        )
        for name, department in named
    )


def campaign(name: str = "c1", *products: str, **more: Any) -> Campaign:
    """Returns a campaign of this day: an offer on products, or a text where there are none."""
    given: dict[str, Any] = {
        "id": CampaignId(name),
        "kind": "offer" if products else "content",
        "starts_at_ms": T0 - DAY_MS,
        "ends_at_ms": T0 + DAY_MS,
        "products": frozenset(ProductId(each) for each in products),
        "text": f"Text of {name}",
    }
    return Campaign(**given | more)


def world(*, audience: str = "public", seed: str = "0", **numbers: Any) -> World:
    """Returns a store in memory at `T0`; further arguments are numbers of its policy."""
    return World(
        layout=layout(audience=audience),
        products=products(),
        policy=policy(**numbers),
        now_ms=T0,
        seed=seed,
    )
