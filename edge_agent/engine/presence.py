"""Somebody was sensed, moved, or took something in hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_agent.decide.moments import at_screens
from edge_agent.domain.decisions import Cause
from edge_agent.domain.effects import Count, ScheduleWake
from edge_agent.domain.ids import ProductId, ZoneId
from edge_agent.domain.time import SECOND_MS
from edge_agent.domain.visitor import Mark
from edge_agent.engine import before_screens, deciding, help_by_staff, persons, till
from edge_agent.state.visits import all_stays

if TYPE_CHECKING:
    from edge_agent.domain.inputs import Arrival
    from edge_agent.domain.visitor import Visit, Visitor
    from edge_agent.engine.draft import Draft

_MARK_KINDS: Final = {
    "visit.started": "start",
    "visit.ended": "end",
    "visitor.detected": "seen",
    "zone.entered": "enter",
    "zone.left": "leave",
    "zone.dwell": "dwell",
    "item.lifted": "lift",
    "item.returned": "return",
    "item.scanned": "scan",
}
_HANDLING: Final = frozenset({"lift", "scan"})


def sensed(draft: Draft, arrival: Arrival) -> None:
    """Folds one presence event into its visitor's visit, and decides if it asks for it."""
    if arrival.subject is None:
        # A shelf that saw a product lifted by nobody in particular, or a key that is gone.
        draft.add(Count("event_of_nobody"))
        return
    visitor = draft.visitor_for(arrival.subject, day=arrival.day, at_ms=arrival.at_ms)
    before = draft.visit_of(visitor.id)
    mark = _mark(arrival)
    visit = draft.add_mark(visitor, mark)
    _watch_dwell(draft, before, visit)
    _resolve_baskets(draft, before, visit, mark)
    if mark.kind == "return" and arrival.may_decide:
        help_by_staff.put_back(draft, visit)
    is_late = not (arrival.may_decide and visit.last_order == mark.order)
    if not is_late:
        _decide(draft, arrival, visitor, visit, before=before, mark=mark)
    if draft.context.layout.personal_screens or draft.context.rules.sharing:
        cause = Cause(source=arrival.event.source, id=arrival.event.id)
        before_screens.follow(draft, visitor.id, before, mark=mark, cause=cause, is_late=is_late)


def _mark(arrival: Arrival) -> Mark:
    data = vars(arrival.event.data)
    zone, product, dwell_s = data.get("zone"), data.get("product"), data.get("dwell_s", 0)
    return Mark(
        arrival.at_ms,
        arrival.tie,
        _MARK_KINDS[arrival.event.type],
        None if zone is None else ZoneId(zone),
        None if product is None else ProductId(product),
        round(dwell_s * SECOND_MS),
    )


def _resolve_baskets(draft: Draft, before: Visit | None, visit: Visit, mark: Mark) -> None:
    seen = {mark.zone, visit.zone, None if before is None else before.zone}
    seen.update(stay.zone for each in draft.refolded for stay in all_stays(each))
    zones = frozenset(zone for zone in seen if zone in draft.context.register_zones)
    if not zones:
        return
    from_ms = min((mark.at_ms, *(each.started_at_ms for each in draft.refolded)))
    if before is not None and before.zone is not None:
        from_ms = min(from_ms, before.zone_entered_at_ms)
    to_ms = max((visit.last_at_ms, *(each.last_at_ms for each in draft.refolded)))
    till.resolve_near(draft, visit.visitor, zones=zones, from_ms=from_ms, to_ms=to_ms)


def _watch_dwell(draft: Draft, before: Visit | None, visit: Visit) -> None:
    if visit.zone is None:
        return
    if before is not None and (before.id, before.zone) == (visit.id, visit.zone):
        return
    zone = draft.context.layout.zones.get(visit.zone)
    if zone is None or zone.long_dwell_s is None:
        return
    due_ms = visit.zone_entered_at_ms + zone.long_dwell_s * SECOND_MS
    draft.add(ScheduleWake(due_ms=due_ms, kind="long_dwell", key=visit.visitor))


def _decide(
    draft: Draft,
    arrival: Arrival,
    visitor: Visitor,
    visit: Visit,
    *,
    before: Visit | None,
    mark: Mark,
) -> None:
    cause = Cause(source=arrival.event.source, id=arrival.event.id)
    if before is not None and before.zone is not None and before.zone != visit.zone:
        deciding.revert_screens(draft, before.zone, visitor.id, cause=cause)
    zone = visit.zone or mark.zone
    if zone is None:
        return
    has_moved = mark.kind == "enter" and mark.zone == visit.zone
    if not (has_moved or mark.kind in _HANDLING):
        return
    moments = at_screens(
        "zone_entered" if has_moved else "item_handled",
        visit,
        zone,
        cause=cause,
        member=persons.member_of(draft, draft.visitor(visitor.id) or visitor),
        in_basket=deciding.in_basket(draft, visit),
        item=mark.product if mark.kind in _HANDLING else None,
        layout=draft.context.layout,
        policy=draft.context.policy,
    )
    for moment in moments:
        before_screens.answer(draft, moment, visit)
