"""Who one person is to the store: how he is recognised, what he stated, what he is known for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from edge_agent.domain.visitor import RESTRICTION_CASE
from edge_agent.shell.derived import derived_of
from edge_agent.shell.held_reading import when

if TYPE_CHECKING:
    from edge_agent.shell.held_reading import Reading, Table


def is_restricted(reading: Reading) -> bool:
    """Returns whether his data is held and not used."""
    rows = reading.of_visitors(
        "SELECT 1 FROM complaint WHERE opened_at_ms IS NOT NULL"
        " AND (closed_at_ms IS NULL OR closed_at_ms < opened_at_ms) AND visitor IN"
        " (SELECT value FROM json_each(?1))"
        " AND case_hash = 'restriction'"
    )
    return bool(rows)


def identifiers(reading: Reading) -> Table:
    """Returns how he is recognised."""
    rows = reading.of_visitors(
        "SELECT kind, pseudonym, since_ms, until_ms, basis, source, confidence FROM link"
        " WHERE visitor IN (SELECT value FROM json_each(?1))"
        " ORDER BY since_ms, kind, pseudonym"
    )
    return [
        {
            "kind": "linked to your card" if kind == "visitor" else kind,
            "keyed_hash": pseudonym,
            "since": when(since),
            "until": when(until),
            "basis": basis,
            "source": source,
            "confidence": confidence,
        }
        for kind, pseudonym, since, until, basis, source, confidence in rows
    ]


def statements(reading: Reading) -> Table:
    """Returns what he allowed and forbade."""
    rows = reading.of_visitors(
        "SELECT purpose, granted, stated_at_ms, source, text_version, channel, expires_at_ms,"
        " basis, only_on"
        " FROM consent WHERE visitor IN"
        " (SELECT value FROM json_each(?1)) ORDER BY stated_at_ms, purpose, only_on"
    )
    return [
        {
            "purpose": purpose,
            "said": "allowed" if granted else "forbidden",
            "at": when(at_ms),
            "where": source,
            "text_version": text_version,
            "channel": channel,
            "only_on": only_on or None,
            "basis": basis,
            "expires": when(expires_ms),
        }
        for (
            purpose,
            granted,
            at_ms,
            source,
            text_version,
            channel,
            expires_ms,
            basis,
            only_on,
        ) in rows
    ]


def complaints(reading: Reading) -> Table:
    """Returns his complaints and restrictions."""
    rows = reading.of_visitors(
        "SELECT case_hash, opened_at_ms, closed_at_ms FROM complaint WHERE visitor IN"
        " (SELECT value FROM json_each(?1)) ORDER BY opened_at_ms, case_hash"
    )
    return [
        {
            "what": "restriction" if case == RESTRICTION_CASE else "complaint",
            "opened": when(opened),
            "closed": when(closed),
        }
        for case, opened, closed in rows
    ]


def profile(reading: Reading) -> Table:
    """Returns what was worked out about him."""
    rows = reading.of_visitors(
        "SELECT profile, first_seen_at_ms, last_seen_at_ms FROM visitor WHERE profile IS NOT"
        " NULL AND id IN (SELECT value FROM json_each(?1)) ORDER BY id"
    )
    return [_profile(json.loads(text), first, last) for text, first, last in rows]


def derived(reading: Reading) -> Table:
    """Returns what is said of him now."""
    return derived_of(
        reading.person, query=reading.query, shop=reading.shop, now_ms=reading.now_ms
    )


def _profile(document: dict[str, Any], first_ms: int, last_ms: int) -> dict[str, Any]:
    return {
        "first_seen": when(first_ms),
        "last_seen": when(last_ms),
        "headquarters_handle": document.get("reference"),
        "segments": document.get("segments", []),
        "interests_when_last_bought": [
            {"interest": name, "strength": round(share, 3)}
            for name, share, *_ in document.get("interests", [])
        ],
        "remembered_purchases": [
            {"at": when(at_ms), "products": products}
            for at_ms, products in document.get("history", [])
        ],
        "remembered_baskets": [
            {
                "basket": basket,
                "at": when(at_ms),
                "total": f"{total} {currency}",
                "event": event[0] if event else None,
            }
            for basket, at_ms, _products, total, currency, *event in document.get("purchases", [])
        ],
        "remembered_returns": [
            {"at": when(at_ms), "of_basket": basket, "products": [each for each, _ in lines]}
            for at_ms, _tie, basket, lines, _currency in document.get("returns", [])
        ],
        "headquarters_told_at": when(document.get("told_at")),
    }
