"""Calls for help to rows and back. No SQL and no rule lives here."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from edge_agent.decide.trace import concern_from
from edge_agent.domain.calls import Call
from edge_agent.domain.decisions import Cause
from edge_agent.domain.ids import DecisionId, TeamId, VisitorId, ZoneId
from edge_agent.shell.rows import canonical_json

if TYPE_CHECKING:
    from edge_agent.shell.rows import Row


def call_row(call: Call) -> Row:
    """Returns a call in the order of the table's columns."""
    return (
        call.id,
        call.kind,
        call.zone,
        canonical_json(list(call.teams)),
        canonical_json(asdict(call.cause)),
        call.visitor,
        int(call.is_signed),
        canonical_json(asdict(call.concern)),
        call.dwell_ms,
        call.presses,
        call.opened_at_ms,
        call.ends_at_ms,
        call.escalates_at_ms,
        call.acknowledged_at_ms,
        call.closed_at_ms,
        call.outcome,
        int(call.is_lasting),
    )


def call_from(row: Row) -> Call:
    """Returns a call from its row."""
    call, kind, zone, teams, cause, visitor, is_signed, concern, dwell_ms, presses, *times = row
    opened_ms, ends_ms, escalates_ms, acknowledged_ms, closed_ms, outcome, is_lasting = times
    return Call(
        id=DecisionId(call),
        kind=kind,
        zone=ZoneId(zone),
        teams=tuple(TeamId(each) for each in json.loads(teams)),
        cause=Cause(**json.loads(cause)),
        visitor=None if visitor is None else VisitorId(visitor),
        is_signed=bool(is_signed),
        concern=concern_from(json.loads(concern)),
        dwell_ms=dwell_ms,
        presses=presses,
        opened_at_ms=opened_ms,
        ends_at_ms=ends_ms,
        escalates_at_ms=escalates_ms,
        acknowledged_at_ms=acknowledged_ms,
        closed_at_ms=closed_ms,
        outcome=outcome,
        is_lasting=bool(is_lasting),
    )
