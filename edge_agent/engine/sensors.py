"""Aggregate sensors, and goods that came back: they count for the store, belonging to nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.domain.decisions import Cause
from edge_agent.domain.effects import CountPeople, CountReturn, SetLevel
from edge_agent.domain.ids import ProductId, ZoneId
from edge_agent.engine import before_screens, company, help_by_staff, purchases
from edge_agent.wire import events as wire

if TYPE_CHECKING:
    from edge_agent.domain.inputs import Arrival
    from edge_agent.engine.draft import Draft


def measured(draft: Draft, arrival: Arrival) -> None:
    """Takes in a count, a level or a return."""
    event, at_ms = arrival.event, arrival.at_ms
    if isinstance(event, wire.PeopleCounted):
        data = event.data
        draft.add(
            CountPeople(
                source=event.source,
                zone=None if data.zone is None else ZoneId(data.zone),
                at_ms=at_ms,
                entries=data.entries,
                exits=data.exits,
            )
        )
    elif isinstance(event, wire.ZoneOccupancy):
        zone = ZoneId(event.data.zone)
        _counted(draft, arrival, zone, event.data.count)
        draft.add(SetLevel(kind="occupancy", zone=zone, at_ms=at_ms, value=event.data.count))
    elif isinstance(event, wire.QueueMeasured):
        zone = ZoneId(event.data.zone)
        draft.add(SetLevel(kind="queue", zone=zone, at_ms=at_ms, value=event.data.length))
        help_by_staff.queue_measured(draft, arrival)
    elif isinstance(event, wire.SaleReturned):
        draft.add(_returned(event, arrival))
        purchases.take_back(draft, arrival, event.data)
    draft.touch_summaries(at_ms)


def _counted(draft: Draft, arrival: Arrival, zone: ZoneId, n_people: int) -> None:
    known = draft.state.level(company.OCCUPANCY, zone)
    if known is None or known.at_ms <= arrival.at_ms:
        cause = Cause(source=arrival.event.source, id=arrival.event.id)
        before_screens.follow_count(draft, zone, n_people, cause=cause)


def _returned(event: wire.SaleReturned, arrival: Arrival) -> CountReturn:
    return CountReturn(
        tie=arrival.tie,
        at_ms=arrival.at_ms,
        currency=event.data.currency,
        total=str(event.data.total),
        lines=tuple(
            (ProductId(line.product), str(line.quantity), str(line.amount))
            for line in event.data.lines
        ),
    )
