"""One or more valid examples per message, shown in the schema documents and used by the tests.

They are JSON values, not models, so that they show what is really on the wire. Identifiers are
invented; product numbers are those of the public grocery data that the replay uses.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

Json = Mapping[str, Any]

_BEACON: Final = {"kind": "ble", "value": "AC:23:3F:5E:07:41"}
_CARD: Final = {"kind": "loyalty", "value": "6400000017482"}
_TRACK: Final = {"kind": "track", "value": "cam-2:1187"}
_BASKET: Final = "31198570131"
_TILL: Final = {"basket": _BASKET, "register": "pos-3"}
_LINE: Final = {"product": "1029743", "quantity": 2, "amount": "2.58", "discount": "0.40"}
_CAUSE: Final = {"source": "ble-gw-1", "id": "e-20171202-000417"}
_MODEL: Final = {"model": "ranker-2026.11.1", "policy": "nba-3"}
_LIFE: Final = {"issued": "2017-12-02T15:20:11Z", "valid_until": "2017-12-02T15:22:11Z"}
_ITEM: Final = {
    "rank": 1,
    "product": "1082185",
    "title": "Bananas",
    "price": {"amount": "0.59", "currency": "USD"},
    "image": None,
    "reason": {"code": "bought_together", "text": "Goes with your basket"},
    "offer": {
        "campaign": "18",
        "text": "20 % off this week",
        "valid_until": "2017-12-03T05:00:00Z",
        "code": "7Q4K9ZD2M0XT",
    },
}
_WEIGHED: Final = {"product": "995242", "quantity": "0.482", "amount": "1.11"}
_FIGURES: Final = {
    "tax": "0.45",
    "tax_included": True,
    "taxes": [{"rate": 0.14, "tax": "0.45", "amount": "3.69"}],
    "discount": "0.40",
    "tenders": [{"kind": "cash", "amount": "5.00"}],
    "change": "1.31",
    "receipt": "4711",
}


def _event(kind: str, source: str, data: Json, **more: Any) -> Json:
    return {
        "specversion": "1.0",
        "id": f"{source}-000417",
        "source": source,
        "type": kind,
        "time": "2017-12-02T15:20:11.250Z",
        **more,
        "data": data,
    }


_FEEDBACK: Final = {"decision": "01JDF6Q0ZK4H", "screen": "dairy-1", "product": "1082185"}
_COMPLAINT: Final = {"visitor": _CARD, "complaint": "case-2291"}
_EVENTS: Final[tuple[Json, ...]] = (
    _event("visit.started", "door-1", {"visitor": _TRACK, "zone": "entrance"}),
    _event("visit.ended", "door-1", {"visitor": _TRACK, "zone": "entrance"}),
    _event(
        "visitor.detected",
        "ble-gw-1",
        {"visitor": _BEACON, "zone": "dairy", "rssi_dbm": -61, "distance_m": 1.8},
    ),
    _event(
        "zone.entered",
        "ble-gw-1",
        {"visitor": _BEACON, "zone": "dairy"},
        dataschema="urn:edge-agent:schema:zone.entered:1",
    ),
    _event("zone.left", "ble-gw-1", {"visitor": _BEACON, "zone": "dairy"}),
    _event("zone.dwell", "ble-gw-1", {"visitor": _BEACON, "zone": "dairy", "dwell_s": 62.5}),
    _event("zone.occupancy", "radar-4", {"zone": "dairy", "count": 7}),
    _event(
        "people.counted",
        "door-1",
        {"zone": "entrance", "entries": 12, "exits": 9, "passers_by": 40, "interval_s": 60},
    ),
    _event("queue.measured", "cam-2", {"zone": "checkout-2", "length": 4, "wait_s": 95}),
    _event("help.requested", "button-2", {"zone": "dairy"}),
    _event("item.lifted", "shelf-9", {"product": "1029743", "visitor": _TRACK, "zone": "dairy"}),
    _event("item.returned", "shelf-9", {"product": "1029743", "zone": "dairy"}),
    _event(
        "item.scanned",
        "scanner-12",
        {
            "product": "1029743",
            "visitor": _CARD,
            "basket": _BASKET,
            "quantity": 1,
            "lot": "L-42",
            "business_step": "retail_selling",
            "disposition": "in_progress",
            "read_point": "urn:epc:id:sgln:9529999.99999.12",
            "business_location": "urn:epc:id:sgln:9529999.99999.0",
        },
    ),
    _event("basket.opened", "pos-3", _TILL, receipt=True),
    _event("basket.item_added", "pos-3", {**_TILL, **_WEIGHED, "currency": "USD"}),
    _event("basket.item_voided", "pos-3", {**_TILL, "product": "1029743", "quantity": 1}),
    _event("loyalty.scanned", "pos-3", {"basket": _BASKET, "visitor": _CARD}),
    _event(
        "sale.completed",
        "pos-3",
        {
            **_TILL,
            "visitor": _CARD,
            "currency": "USD",
            "lines": [_LINE, _WEIGHED],
            "total": "3.69",
            **_FIGURES,
        },
        receipt=True,
    ),
    _event("sale.voided", "pos-3", _TILL, receipt=True),
    _event(
        "sale.returned",
        "pos-3",
        {"basket": _BASKET, "currency": "USD", "lines": [_LINE], "total": "2.58"},
        receipt=True,
    ),
    _event("screen.shown", "dairy-1", _FEEDBACK),
    _event("screen.tapped", "dairy-1", _FEEDBACK),
    _event("screen.dismissed", "dairy-1", _FEEDBACK),
    _event(
        "offer.redeemed",
        "pos-3",
        {"campaign": "18", "code": "7Q4K-9ZD2-M0XT", "basket": _BASKET, "visitor": _CARD},
    ),
    _event(
        "consent.granted",
        "pos-3",
        {
            "visitor": _CARD,
            "purposes": ["personal_recommendations", "sending_to_hq"],
            "text_version": "2017-10",
            "channel": "till",
            "basis": "dpv:ExplicitlyExpressedConsent",
            "expires_at": "2018-12-02T00:00:00Z",
        },
    ),
    _event(
        "consent.withdrawn",
        "pos-3",
        {
            "visitor": _CARD,
            "purposes": ["marketing"],
            "channel": "till",
            "only_on": ["e-mail", "receipt"],
        },
    ),
    _event(
        "complaint.opened",
        "desk-1",
        {**_COMPLAINT, "story": "The scale at counter 2 weighs too much."},
    ),
    _event("complaint.closed", "desk-1", _COMPLAINT),
)

_OFFER_HEAD: Final = {"decision": "01JDF6Q0ZK4H", "cause": _CAUSE, **_LIFE, "schema_version": 1}
_STORE: Final[dict[str, Json]] = {
    "recommendation": {
        **_OFFER_HEAD,
        "screen": "dairy-1",
        "audience": "public",
        "locale": "en",
        "items": [_ITEM],
        **_MODEL,
    },
    "receipt.offer": {
        **_OFFER_HEAD,
        "register": "pos-3",
        "locale": "en",
        "items": [_ITEM],
        **_MODEL,
    },
    "recommend.request": {
        "schema_version": 1,
        "source": "kiosk-1",
        "id": "q-88",
        "visitor": _CARD,
        "zone": "dairy",
        "products": ["1029743"],
        "limit": 3,
    },
    "recommend.reply": {
        **_OFFER_HEAD,
        "cause": {"source": "kiosk-1", "id": "q-88"},
        "locale": "en",
        "items": [],
        "silence": "complaint",
        **_MODEL,
    },
    "offer.request": {
        "schema_version": 1,
        "source": "pos-3",
        "id": "r-41",
        "action": "redeem",
        "code": "7Q4K-9ZD2-M0XT",
        "basket": _BASKET,
    },
    "offer.reply": {
        "cause": {"source": "pos-3", "id": "r-41"},
        "issued": _LIFE["issued"],
        "schema_version": 1,
        "action": "redeem",
        "outcome": "good",
        "campaign": "18",
        "products": ["1029743"],
        "valid_until": "2017-12-03T15:31:00Z",
    },
    "staff.alert": {
        **_OFFER_HEAD,
        "team": "floor",
        "kind": "long_dwell",
        "zone": "dairy",
        "text": "Somebody has been at the dairy shelves for 3 minutes",
        "dwell_s": 184.0,
        "status": "open",
        "acknowledge_by": "2017-12-02T15:21:11Z",
        "context": {"departments": ["DAIRY"]},
    },
    "staff.feedback": {
        "decision": "01JDF6Q0ZK4H",
        "outcome": "helped",
        "at": "2017-12-02T15:21:02Z",
        "schema_version": 1,
    },
    "agent.state": {
        "status": "online",
        "store": "s42",
        "version": "0.1.0",
        "at": "2017-12-02T12:00:03Z",
        "health": "degraded",
        "problems": ["hq_unreachable"],
        "schema_version": 1,
    },
    "event.receipt": {
        "source": "pos-3",
        "id": "pos-3-000417",
        "outcome": "committed",
        "schema_version": 1,
    },
    "deadletter": {
        "id": "01JDF6Q11M7C",
        "reason": "invalid",
        "detail": "data.total: money is a decimal string",
        "topic": "store/s42/event/pos-3",
        "source": "pos-3",
        "event": "pos-3-000418",
        "received_at": "2017-12-02T15:20:12Z",
        "schema_version": 1,
    },
    "consent.receipt": {
        "record_id": "01601485-c800-75e4-910b-7297fee0fe2a-1512227402000",
        "standard": "ISO/IEC TS 27560:2023",
        "pii_principal_id": "01601485-c800-75e4-910b-7297fee0fe2a",
        "issued": "2017-12-02T15:10:02Z",
        "parties": [{"party_id": "s42", "party_role": "dpv:DataController"}],
        "purposes": [
            {
                "purpose": "profiling",
                "purpose_type": "dpv:Personalisation",
                "processing": "dpv:Profiling",
                "lawful_basis": "dpv:Consent",
                "recipients": [],
                "status": "dpv:ConsentGiven",
                "channels": [{"channel": "screen", "status": "dpv:ConsentWithdrawn"}],
                "events": [
                    {
                        "event_time": "2017-12-01T09:00:00Z",
                        "event_type": "given",
                        "event_state": "dpv:ConsentGiven",
                        "entity_id": "consent-desk",
                        "channel": "desk",
                        "lawful_basis": "dpv:Consent",
                        "only_on": None,
                        "notice_version": "2017-11",
                        "valid_until": None,
                    }
                ],
            }
        ],
        "withdrawal_method": "At any till or desk, in the app, or at head office.",
        "schema_version": 1,
    },
    "clock": {"now": "2017-12-02T15:20:00Z", "schema_version": 1},
}

_UP: Final[dict[str, Json]] = {
    "up.summary": {
        "summary_id": "s42/footfall/2017-12-02T15/1",
        "store": "s42",
        "kind": "footfall",
        "period_start": "2017-12-02T15:00:00Z",
        "period_end": "2017-12-02T16:00:00Z",
        "revision": 1,
        "k": 10,
        "n_suppressed_cells": 2,
        "cells": [
            {
                "keys": {"zone": "dairy"},
                "n_visitors": 41,
                "counts": {"visits": 44},
                "sums": {"dwell_s": "2711.5"},
                "histogram": [3, 18, 16, 7],
            }
        ],
        "schema_version": 1,
    },
    "up.customer": {
        "update_id": "s42/9f31c0/2017-12-02/1",
        "reference": "9f31c0",
        "store": "s42",
        "activity_date": "2017-12-02",
        "revision": 1,
        "segments": ["weekly-shopper"],
        "interests": [{"category": "DAIRY", "strength": 0.8}],
        "choices": ["1029743", "995242"],
        "schema_version": 1,
    },
    "up.state": {
        "state_id": "s42/state/2017-12-02T15:00:00Z",
        "store": "s42",
        "at": "2017-12-02T15:00:00Z",
        "version": "0.1.0",
        "model": "ranker-2026.11.1",
        "health": "good",
        "problems": [],
        "counters": {"events_accepted": 48211, "dead_letters": 3},
        "devices": [
            {
                "device": "xovis-00:11:22:33:44:55",
                "last_seen": "2017-12-02T14:59:00Z",
                "per_hour": 212.4,
                "skew_s": -0.3,
                "is_silent": False,
                "inside_at_closing": 2,
                "is_drifting": False,
            }
        ],
        "schema_version": 1,
    },
    "up.confirm": {
        "confirm_id": "s42/confirm/c-1187",
        "store": "s42",
        "command": "c-1187",
        "outcome": "refused",
        "reason": "expired",
        "schema_version": 1,
    },
    "up.erasure": {
        "erasure_id": "5f0c9f0a0c9b4f5d8c1e2a3b4c5d6e7f",
        "store": "s42",
        "reference": "crm-000123",
        "at": "2026-11-02T17:05:00Z",
        "schema_version": 1,
    },
}


def _command(kind: str, key: str, body: Json) -> Json:
    return {
        "command": "c-1187",
        "store": "s42",
        "version": 7,
        "key": key,
        "issued_at": "2017-12-02T05:00:00Z",
        "expires_at": "2017-12-03T05:00:00Z",
        "schema_version": 1,
        "kind": kind,
        "body": body,
    }


_DOWN: Final[tuple[Json, ...]] = (
    _command("ack", "-", {"ids": ["s42/footfall/2017-12-02T15/1"]}),
    _command(
        "profile",
        "9f31c0",
        {
            "visitor": _CARD,
            "reference": "9f31c0",
            "history": [{"at": "2017-11-25T16:04:00Z", "products": ["1029743", "1082185"]}],
            "segments": ["weekly-shopper"],
            "interests": [{"category": "DAIRY", "strength": 0.8}],
        },
    ),
    _command(
        "consent",
        "9f31c0",
        {
            "visitor": _CARD,
            "action": "withdraw",
            "purposes": ["marketing"],
            "stated_at": "2017-12-01T18:00:00Z",
        },
    ),
    _command(
        "complaint",
        "case-2291",
        {
            "visitor": _CARD,
            "action": "close",
            "complaint": "case-2291",
            "stated_at": "2017-12-01T18:00:00Z",
        },
    ),
    _command(
        "campaign",
        "18",
        {
            "campaign": "18",
            "starts_at": "2017-11-27T05:00:00Z",
            "ends_at": "2017-12-04T05:00:00Z",
            "products": ["1082185"],
            "text": "20 % off this week",
            "value": "0.12",
            "currency": "USD",
            "budget": 500,
        },
    ),
    _command("journey", "welcome", {"name": "welcome", "document": {"stages": ["first_visit"]}}),
    _command(
        "segment",
        "dairy-lovers",
        {"name": "dairy-lovers", "document": {"when": "interests.dairy > 0.5"}},
    ),
    _command("config", "caps", {"name": "caps", "document": {"offers_per_visit": 5}}),
    _command(
        "catalogue",
        "-",
        {
            "rows": [
                {
                    "product": "1082185",
                    "title": "Bananas",
                    "price": "0.59",
                    "currency": "USD",
                    "department": "PRODUCE",
                }
            ]
        },
    ),
    _command("stock", "-", {"rows": [{"product": "1082185", "quantity": 120.5}]}),
    _command(
        "promotion",
        "-",
        {"rows": [{"product": "1082185", "week": 49, "display": True, "mailer": False}]},
    ),
    _command(
        "fact",
        "temperature",
        {"name": "temperature", "value": -4.5, "valid_until": "2017-12-02T18:00:00Z"},
    ),
    _command(
        "contact",
        "9f31c0",
        {
            "visitor": _CARD,
            "contacts": [
                {
                    "id": "mail-2017-48-000123",
                    "at": "2017-12-01T05:00:00Z",
                    "channel": "e-mail",
                    "campaign": "18",
                    "products": ["1082185"],
                    "outcome": "tapped",
                }
            ],
        },
    ),
    _command(
        "model",
        "-",
        {
            "bundle": "ranker-2026.12.0",
            "manifest_sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "path": "bundles/ranker-2026.12.0",
        },
    ),
)

EXAMPLES: Final[Mapping[str, Json]] = {
    **{event["type"]: event for event in _EVENTS},
    **_STORE,
    **_UP,
    **{f"down.{command['kind']}": command for command in _DOWN},
}
