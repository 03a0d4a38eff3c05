"""Decisions for one person, each with its reasons; arms of campaigns that he was in."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from edge_agent.shell.held_reading import when

if TYPE_CHECKING:
    from edge_agent.shell.held_reading import Reading, Table
    from edge_agent.shell.rows import Row

# Of a candidate in a record.
_REASON: Final = 6


def decisions(reading: Reading) -> Table:
    """Returns what was decided for him."""
    rows = reading.query(
        "SELECT id, at_ms, moment, channel, place, zone, level, visitor, record FROM decision"
        " WHERE id IN (SELECT value FROM json_each(?1)) ORDER BY at_ms, id",
        (json.dumps(reading.person.decisions),),
    )
    return [_decision(reading, row) for row in rows]


def _decision(reading: Reading, row: Row) -> dict[str, Any]:
    decision, at_ms, moment, channel, place, zone, level, visitor, text = row
    record = json.loads(text)
    request = record.get("request") or {}
    told = {
        "decision": decision,
        "at": when(at_ms),
        "moment": moment,
        "where": " ".join(each for each in (channel, place, zone) if each),
        "how": level,
        "your_history_used": bool(request.get("history")),
    }
    if visitor not in reading.person.visitors:
        return {**told, "note": "taken for a basket with which your card was shown"}
    reasons = {each[0]: each[_REASON] for each in record.get("candidates", ())}
    outcomes = reading.query(
        "SELECT kind, product, at_ms FROM outcome WHERE decision = ? ORDER BY at_ms, kind",
        (decision,),
    )
    return {
        **told,
        "recommended": [
            {"product": reading.named(each), "because": reasons.get(each)}
            for each in record["chosen"]
        ],
        **_under_rules(record.get("rules", {})),
        "held_back": sorted({reason for _, _, reason in record["ruled_out"] if reason}),
        "came_of_it": [
            {"what": kind, "product": reading.named(product), "at": when(at)}
            for kind, product, at in outcomes
        ],
    }


def _under_rules(rules: dict[str, Any]) -> dict[str, Any]:
    """Returns what a decision under the chain's rules looked at and said besides; of none nothing.

    Args:
        rules: What its record holds of them.
    """
    known, notice = rules.get("known", {}), rules.get("notice")
    campaigns = {*rules.get("offers", {}).values(), *(() if notice is None else (notice,))}
    told = {
        "looked_at": known.get("facts"),
        "told_that_day": known.get("n_contacts_day"),
        "campaigns": sorted(campaigns),
        # What sells best stood there, for the control group of these.
        "in_place_of": rules.get("missed"),
    }
    return {name: value for name, value in told.items() if value}


def campaigns(reading: Reading) -> Table:
    """Returns which arm he was in of which campaign."""
    rows = reading.of_visitors(
        "SELECT campaign, arm, share, at_ms FROM exposure WHERE visitor IN"
        " (SELECT value FROM json_each(?1)) OR member IN (SELECT value FROM json_each(?1))"
        " ORDER BY at_ms, campaign, visitor"
    )
    return [
        {"campaign": campaign, "arm": arm, "control_share": share, "since": when(at_ms)}
        for campaign, arm, share, at_ms in rows
    ]
