"""The passing of time: visits time out, long dwell calls staff, screens go back to the store.

A wake-up is a question, not an order: what it finds decides. So one that comes twice, or after a
restart, does nothing new.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.decide.moments import store_default
from edge_agent.domain.calls import CALL_WAKE, LONG_DWELL, LONG_QUEUE
from edge_agent.domain.decisions import Cause
from edge_agent.domain.effects import ScheduleWake
from edge_agent.domain.ids import DecisionId, ScreenId, VisitorId, ZoneId
from edge_agent.domain.time import SECOND_MS
from edge_agent.engine import before_screens, calls, deciding, help_by_staff
from edge_agent.engine.help_by_staff import AGENT_SOURCE
from edge_agent.state.visits import timed_out

if TYPE_CHECKING:
    from edge_agent.domain.inputs import Wake
    from edge_agent.engine.draft import Draft


def wake(draft: Draft, given: Wake) -> None:
    """Does what is due."""
    if given.kind == "visit_timeout":
        _visit_timeout(draft, VisitorId(given.key))
    elif given.kind == LONG_DWELL:
        _long_dwell(draft, VisitorId(given.key))
    elif given.kind == "screen_default":
        _screen_default(draft, ScreenId(given.key))
    elif given.kind == CALL_WAKE:
        calls.due(draft, DecisionId(given.key))
    elif given.kind == LONG_QUEUE:
        help_by_staff.look_at_queue(draft, ZoneId(given.key), due_ms=given.due_ms)
    elif given.kind == before_screens.TURN:
        before_screens.turn(draft, given)


def _visit_timeout(draft: Draft, visitor: VisitorId) -> None:
    visit = draft.visit_of(visitor)
    if visit is None or not visit.is_open:
        return
    policy = draft.context.policy
    due_ms = visit.last_at_ms + (policy.visit_timeout_s + policy.lateness_s) * SECOND_MS
    if draft.context.now_ms < due_ms:
        draft.add(ScheduleWake(due_ms=due_ms, kind="visit_timeout", key=visitor))
        return
    draft.put_visits(visitor, (timed_out(visit),))
    draft.touch_summaries(visit.last_at_ms)
    if visit.zone is not None:
        cause = Cause(source=AGENT_SOURCE, id=f"timeout-{visit.id}")
        before_screens.follow_end(draft, visit, cause=cause)


def _long_dwell(draft: Draft, visitor: VisitorId) -> None:
    visit = draft.visit_of(visitor)
    if visit is None or not visit.is_open or visit.zone is None:
        return
    zone = draft.context.layout.zones.get(visit.zone)
    if zone is None or zone.long_dwell_s is None:
        return
    due_ms = visit.zone_entered_at_ms + zone.long_dwell_s * SECOND_MS
    if draft.context.now_ms < due_ms:
        draft.add(ScheduleWake(due_ms=due_ms, kind="long_dwell", key=visitor))
    elif visit.n_handled_in_zone == 0 and not visit.has_paid:
        help_by_staff.stayed_long(draft, visit, zone)


def _screen_default(draft: Draft, screen_id: ScreenId) -> None:
    screen = draft.context.layout.screens.get(screen_id)
    if screen is None:
        return
    showing = draft.showing(screen_id)
    now_ms = draft.context.now_ms
    if showing is not None and now_ms < showing.valid_until_ms:
        due_ms = showing.valid_until_ms
        draft.add(ScheduleWake(due_ms=due_ms, kind="screen_default", key=screen_id))
        return
    due_ms = now_ms if showing is None else showing.valid_until_ms
    cause = Cause(source=AGENT_SOURCE, id=f"default-{screen_id}-{due_ms}")
    deciding.decide(draft, store_default(screen, cause=cause, policy=draft.context.policy))
