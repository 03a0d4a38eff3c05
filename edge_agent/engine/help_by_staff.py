"""Help by a person: somebody asked for it, or seems to need it.

Here is what asks for it. Where the store's rules follow calls up, `engine.calls` goes on from it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from edge_agent.decide.calls import is_queue_over, queue_told
from edge_agent.decide.pressure import is_cooling_down
from edge_agent.domain.calls import (
    COMPLAINT,
    HELP_REQUESTED,
    LIFT_RETURN,
    LONG_DWELL,
    LONG_QUEUE,
    alert_key,
)
from edge_agent.domain.decisions import Cause, Moment, Place
from edge_agent.domain.effects import Count, Publish, ScheduleWake
from edge_agent.domain.ids import ZoneId
from edge_agent.domain.time import SECOND_MS
from edge_agent.engine import calls, deciding, persons
from edge_agent.publish.staff import alert_json, alert_of
from edge_agent.state.handling import put_back as put_back_in
from edge_agent.wire import events as wire
from edge_agent.wire import topics

if TYPE_CHECKING:
    from edge_agent.domain.decisions import Concern
    from edge_agent.domain.ids import VisitorId
    from edge_agent.domain.inputs import Arrival
    from edge_agent.domain.store import Zone
    from edge_agent.domain.visitor import Visit, Visitor
    from edge_agent.engine.draft import Draft

# In whose name time itself asks.
AGENT_SOURCE: Final = "edge-agent"
# A queue that nothing was heard of for so long may be gone; sensors report at least every minute
# or two, or when it changes, which within ten minutes every queue does.
QUEUE_BELIEVED_S: Final = 600


def requested(draft: Draft, arrival: Arrival) -> None:
    """Calls staff to where somebody asks for them.

    Nothing silences this, no complaint, refusal or cool-down: it was asked for. A late request,
    or one of a zone that the store does not have, is counted alone.
    """
    event = arrival.event
    if not isinstance(event, wire.HelpRequested):
        return
    zone = draft.context.layout.zones.get(ZoneId(event.data.zone))
    if zone is None or not arrival.may_decide:
        draft.add(Count("help_request_unheeded"))
        return
    cause = Cause(source=event.source, id=event.id)
    moment = Moment(kind=HELP_REQUESTED, cause=cause, place=_place(zone), limit=0)
    if not draft.context.rules.follows_up_calls:
        call_staff(draft, moment, zone)
        return
    visitor = None if arrival.subject is None else draft.visitor_of(arrival.subject)
    if calls.join(draft, zone, None if visitor is None else visitor.id, cause=cause):
        return
    call_staff(
        draft,
        replace(moment, concern=calls.concern_of(draft, zone)),
        zone,
        about=None if visitor is None else visitor.id,
        is_signed=visitor is not None and visitor.is_identified,
    )


def stayed_long(draft: Draft, visit: Visit, zone: Zone) -> None:
    """Calls staff to somebody who has stayed in a zone for long and taken nothing in hand."""
    concern = None
    if draft.context.rules.follows_up_calls:
        concern = calls.concern_of(draft, zone)
    _notice(draft, visit, zone, kind=LONG_DWELL, concern=concern)


def put_back(draft: Draft, visit: Visit) -> None:
    """Calls staff to somebody who has put back so many goods that he seems not to find his."""
    least = draft.context.rules.help.lifts_and_returns
    zone = None if visit.zone is None else draft.context.layout.zones.get(visit.zone)
    if least == 0 or zone is None or visit.has_paid:
        return
    goods = put_back_in(visit)
    if len(goods) >= least:
        concern = calls.concern_of(draft, zone, goods[-1], lifts_and_returns=len(goods))
        _notice(draft, visit, zone, kind=LIFT_RETURN, concern=concern)


def queue_measured(draft: Draft, arrival: Arrival) -> None:
    """Calls staff to a queue that has grown long: once, until it is one no more."""
    event, least = arrival.event, draft.context.rules.help.queue_length
    if least == 0 or not isinstance(event, wire.QueueMeasured) or not arrival.may_decide:
        return
    zone = draft.context.layout.zones.get(ZoneId(event.data.zone))
    if zone is None:
        return
    known = draft.state.level("queue", zone.id)
    if known is not None and known.at_ms > arrival.at_ms:
        # What was measured since says more.
        return
    told = queue_told(draft.calls(), zone.id)
    if told is not None and is_queue_over(event.data.length, least):
        calls.end_queue(draft, told)
    elif told is None and event.data.length >= least:
        cause = Cause(source=event.source, id=event.id)
        _tell_of_queue(draft, zone, event.data.length, cause)


def look_at_queue(draft: Draft, zone_id: ZoneId, *, due_ms: int) -> None:
    """Calls staff to a queue that was not told of so far, if it is still long."""
    context = draft.context
    least, zone = context.rules.help.queue_length, context.layout.zones.get(zone_id)
    level = draft.state.level("queue", zone_id)
    if least == 0 or zone is None or level is None or level.value < least:
        return
    if context.now_ms - level.at_ms > QUEUE_BELIEVED_S * SECOND_MS:
        return
    if queue_told(draft.calls(), zone_id) is None:
        cause = Cause(source=AGENT_SOURCE, id=f"queue-{zone_id}-{due_ms}")
        _tell_of_queue(draft, zone, level.value, cause)


def _tell_of_queue(draft: Draft, zone: Zone, length: int, cause: Cause) -> None:
    cool_ms = _cool_ms(draft, zone.id)
    if cool_ms is not None:
        draft.add(Count("alert_cooled_down"))
        # A sensor that tells of changes alone is silent while nobody moves on.
        draft.add(ScheduleWake(due_ms=cool_ms, kind=LONG_QUEUE, key=zone.id))
        return
    concern = calls.concern_of(draft, zone, queue_length=length)
    moment = Moment(kind=LONG_QUEUE, cause=cause, place=_place(zone), limit=0, concern=concern)
    if draft.state.has_alerted(alert_key(moment)):
        # Told, over, and long again, all in the instant of a second start: that is another call.
        due_ms = draft.context.now_ms + SECOND_MS
        draft.add(ScheduleWake(due_ms=due_ms, kind=LONG_QUEUE, key=zone.id))
        return
    call_staff(draft, moment, zone)


def _notice(draft: Draft, visit: Visit, zone: Zone, *, kind: str, concern: Concern | None) -> None:
    person = draft.visitor(visit.visitor)
    if person is not None and not persons.may_be_noticed(draft, person):
        draft.add(Count("alert_without_consent"))
        return
    # One stay is told once, whatever it is told for.
    cause = Cause(source=AGENT_SOURCE, id=f"dwell-{visit.id}-{visit.zone_entered_at_ms}")
    if draft.state.has_alerted(cause.id):
        return
    if _cool_ms(draft, zone.id) is not None:
        draft.add(Count("alert_cooled_down"))
        return
    moment = Moment(
        kind=kind,
        cause=cause,
        place=_place(zone),
        visitor=visit.visitor,
        visit=visit.id,
        dwell_ms=draft.context.now_ms - visit.zone_entered_at_ms,
        limit=0,
        concern=concern,
    )
    call_staff(draft, moment, zone)


def _cool_ms(draft: Draft, zone: ZoneId) -> int | None:
    """Returns when a zone has cooled down; None when it has."""
    cooldown_s = draft.context.policy.alert_cooldown_s
    last_ms = draft.state.last_alert_ms(zone)
    if last_ms is None or not is_cooling_down(
        last_ms, now_ms=draft.context.now_ms, cooldown_s=cooldown_s
    ):
        return None
    return last_ms + cooldown_s * SECOND_MS


def _place(zone: Zone) -> Place:
    return Place(channel="staff", team=zone.team, zone=zone.id)


def tell_story(draft: Draft, visitor: Visitor, story: str | None, *, cause: Cause) -> None:
    """Calls staff to where somebody stands who complained, and tells them his story, if any.

    The story is told once and kept nowhere; of who is not in the store nothing is told. His
    complaint asks for an answer, so it needs no consent; but who refused help by staff is not
    looked for.
    """
    zone = _zone_of(draft, visitor)
    if not story:
        return
    if persons.refuses_help(draft, visitor):
        draft.add(Count("story_unwanted"))
        return
    if zone is None:
        draft.add(Count("story_of_nobody_here"))
        return
    moment = Moment(kind=COMPLAINT, cause=cause, place=_place(zone), limit=0)
    call_staff(draft, moment, zone, story, about=visitor.id)


def _zone_of(draft: Draft, visitor: Visitor) -> Zone | None:
    visits = [draft.visit_of(each) for each in sorted(persons.parts_of(draft, visitor))]
    here = [each for each in visits if each is not None and each.is_open and each.zone is not None]
    newest = max(here, key=lambda each: each.last_order, default=None)
    known = draft.context.layout.zones
    return None if newest is None or newest.zone is None else known.get(newest.zone)


def call_staff(
    draft: Draft,
    moment: Moment,
    zone: Zone,
    story: str | None = None,
    *,
    about: VisitorId | None = None,
    is_signed: bool = False,
) -> None:
    """Decides by rule to call a team, and tells its handhelds.

    Args:
        draft: The step.
        moment: What asks for it.
        zone: Where to.
        story: What a customer told, in his words.
        about: Which customer that was, or who asked.
        is_signed: Whether he asked in a name by which he is known.
    """
    if draft.context.rules.follows_up_calls:
        calls.open_call(draft, moment, zone, story=story, about=about, is_signed=is_signed)
        return
    decision = deciding.rule_decision(draft, moment)
    draft.record(decision)
    alert = alert_of(decision, zone=zone, locale=draft.context.locale, story=story)
    draft.add(
        Publish(
            topic=topics.alert(draft.context.store, zone.team),
            payload=alert_json(alert),
            expires_at_ms=decision.valid_until_ms,
            about=about,
        )
    )
