"""What was said to one person, or because of him to staff or headquarters."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from edge_agent.shell.held_reading import when

if TYPE_CHECKING:
    from edge_agent.shell.held_reading import Reading, Table


def offers(reading: Reading) -> Table:
    """Returns the limited offers that he was given, or used."""
    rows = reading.query(
        "SELECT campaign, products, given_at_ms, valid_until_ms, redeemed_at_ms FROM offer"
        " WHERE visitor IN (SELECT value FROM json_each(?1)) OR decision IN"
        " (SELECT value FROM json_each(?2)) OR basket IN (SELECT value FROM json_each(?3))"
        " ORDER BY given_at_ms, mark",
        (
            reading.visitors,
            json.dumps(reading.person.decisions),
            json.dumps(reading.person.baskets),
        ),
    )
    return [
        {
            "campaign": campaign,
            "products": [reading.named(each) for each in json.loads(products)],
            "given": when(given),
            "valid_until": when(until),
            "used": when(used),
        }
        for campaign, products, given, until, used in rows
    ]


def contacts(reading: Reading) -> Table:
    """Returns what HQ says he was told elsewhere."""
    rows = reading.of_visitors(
        "SELECT at_ms, channel, products, campaigns, outcome FROM contact WHERE visitor IN"
        " (SELECT value FROM json_each(?1)) AND id GLOB 'hq/*' ORDER BY at_ms, id"
    )
    return [
        _said(reading, at_ms, channel, products, campaigns) | {"came_of_it": outcome or None}
        for at_ms, channel, products, campaigns, outcome in rows
    ]


def shared(reading: Reading) -> Table:
    """Returns what a screen said to several people, him among them."""
    rows = reading.of_visitors(
        "SELECT at_ms, channel, products, campaigns, missed FROM contact WHERE visitor IN"
        " (SELECT value FROM json_each(?1)) AND id NOT GLOB 'hq/*' ORDER BY at_ms, id"
    )
    # What sells best stood there, for the control group of these.
    return [
        _said(reading, *said) | ({"in_place_of": json.loads(missed)} if missed != "[]" else {})
        for *said, missed in rows
    ]


def told(reading: Reading) -> Table:
    """Returns of which campaigns he was told longer ago than decisions are kept."""
    rows = reading.of_visitors(
        "SELECT at_ms, campaign, max(is_missed) FROM campaign_told WHERE visitor IN"
        " (SELECT value FROM json_each(?1)) GROUP BY id, campaign ORDER BY at_ms, id, campaign"
    )
    return [
        {"at": when(at_ms), "campaign": campaign, "left_without_it": bool(is_missed)}
        for at_ms, campaign, is_missed in rows
    ]


def _said(
    reading: Reading, at_ms: int, channel: str, products: str, campaigns: str
) -> dict[str, Any]:
    return {
        "at": when(at_ms),
        "channel": channel,
        "campaigns": json.loads(campaigns),
        "products": [reading.named(each) for each in json.loads(products)],
    }


def alerts(reading: Reading) -> Table:
    """Returns when staff were called to where he stood."""
    found = []
    for visit in reading.person.visits:
        found += [
            {"at": when(at_ms), "zone": zone}
            for zone, at_ms in reading.query(
                "SELECT zone, at_ms FROM alert WHERE cause >= ? AND cause < ? ORDER BY at_ms",
                (f"dwell-{visit}-", f"dwell-{visit}."),
            )
        ]
    return found


def calls(reading: Reading) -> Table:
    """Returns the calls for help that were made for him, and what became of each."""
    rows = reading.of_visitors(
        "SELECT kind, zone, opened_at_ms, acknowledged_at_ms, closed_at_ms, outcome, concern,"
        " is_signed FROM help_call WHERE visitor IN (SELECT value FROM json_each(?1))"
        " ORDER BY id"
    )
    return [
        {
            "at": when(at_ms),
            "why": kind.replace("_", " "),
            "zone": zone,
            "about": {k: v for k, v in json.loads(concern).items() if v},
            "in_your_name": bool(is_signed),
            "answered": when(answered_ms),
            "ended": when(ended_ms),
            "came_of_it": outcome,
        }
        for kind, zone, at_ms, answered_ms, ended_ms, outcome, concern, is_signed in rows
    ]


def sent(reading: Reading) -> Table:
    """Returns what HQ was sent of him."""
    rows = reading.of_visitors(
        "SELECT s.at_ms, s.payload, o.id IS NULL FROM customer_sent s LEFT JOIN outbox o"
        " ON o.message_id = s.message_id AND o.link = 'hq'"
        " WHERE s.visitor IN (SELECT value FROM json_each(?1)) ORDER BY s.at_ms, s.message_id"
    )
    return [
        {
            "at": when(at_ms),
            "state": "acknowledged" if is_acked else "waiting",
            "message": json.loads(bytes(payload)),
        }
        for at_ms, payload, is_acked in rows
    ]
