"""A call for a person's help from its first alert to its end.

Theory of operation. A call is open until it has an outcome, and keeps the one that it gets first.
Three things move it: what staff answer, what the one it is for does (`settle`, after every step),
and time (`due`). Time asks the next team of the chain when nobody answers, each team once, and
ends the call when nobody ever does. Every change is told to every team that was asked, under the
id of the decision that made the call. All of it is in the state: a restart changes nothing.

Rules that tell of no team and no trigger leave all of this out.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from edge_agent.decide.calls import (
    chain_from,
    first_team,
    next_team,
    queue_told,
    same_call,
    still_to_ask,
    team_for,
)
from edge_agent.domain.calls import (
    CALL_WAKE,
    COMPLAINT,
    HELP_REQUESTED,
    LONG_QUEUE,
    NO_CONCERN,
    Call,
    closed,
)
from edge_agent.domain.decisions import Concern
from edge_agent.domain.effects import Count, Publish, RecordOutcome, ScheduleWake
from edge_agent.domain.time import SECOND_MS
from edge_agent.engine import deciding, persons
from edge_agent.identify.consent import PROFILING, STAFF_ASSISTANCE, has_consent, may_use
from edge_agent.publish.staff import alert_json, call_alert
from edge_agent.wire import topics
from edge_agent.wire.staff import AlertCustomer

if TYPE_CHECKING:
    from edge_agent.domain.decisions import Cause, Decision, Moment
    from edge_agent.domain.ids import DecisionId, ProductId, TeamId, VisitorId
    from edge_agent.domain.inputs import StaffAnswered
    from edge_agent.domain.store import Zone
    from edge_agent.domain.visitor import Visitor
    from edge_agent.engine.draft import Draft
    from edge_agent.wire.staff import AlertStatus

# What a handheld shows of somebody known at a glance.
INTERESTS_TOLD: Final = 3


def concern_of(
    draft: Draft, zone: Zone, product: ProductId | None = None, **counts: int
) -> Concern:
    """Returns what help seems to be wanted with.

    Args:
        draft: The step.
        zone: Where.
        product: What was handled last; one of a sensitive department is told to nobody.
        counts: `lifts_and_returns` or `queue_length`.
    """
    department = None if product is None else draft.state.departments().get(product)
    sensitive = _sensitive(draft)
    if department is None or department in sensitive:
        product, department = None, None
    own = tuple(each for each in zone.departments if each not in sensitive)
    departments = own if department is None else (department,)
    return Concern(departments=departments, product=product, **counts)


def may_open(draft: Draft, moment: Moment, zone: Zone) -> TeamId | None:
    """Returns whom a call is to be made to; None when it must not be made, which is counted."""
    calls, rules = draft.calls(), draft.context.rules
    is_asked_for = moment.kind in {HELP_REQUESTED, COMPLAINT}
    known = same_call(calls, zone=zone.id, visitor=moment.visitor)
    if not is_asked_for and known is not None:
        draft.add(Count("call_open_already"))
        return None
    about = () if moment.concern is None else moment.concern.departments
    own = team_for(zone.team, about, rules.teams)
    chain = chain_from(own, rules.teams)
    team = first_team(chain, rules.teams, calls, is_asked_for=is_asked_for)
    if team is None:
        draft.add(Count("call_held_back"))
    return team


def open_call(
    draft: Draft,
    moment: Moment,
    zone: Zone,
    *,
    story: str | None = None,
    about: VisitorId | None = None,
    is_signed: bool = False,
) -> None:
    """Decides to call a team, if it may be called, and tells it.

    Args:
        draft: The step.
        moment: What asks for it.
        zone: Where to.
        story: What a customer told; it is told once and is no part of the call.
        about: Which customer that was, or who asked in his own name.
        is_signed: Whether he did.
    """
    team = may_open(draft, moment, zone)
    if team is None:
        return
    moment = replace(moment, place=replace(moment.place, team=team))
    decision = deciding.rule_decision(draft, moment)
    draft.record(decision)
    call = _asked(draft, _call_of(decision, team, about, is_signed=is_signed))
    _put(draft, call)
    tell(draft, call, team, status="open", story=story)


def _call_of(
    decision: Decision, team: TeamId, about: VisitorId | None, *, is_signed: bool
) -> Call:
    moment = decision.moment
    zone = moment.place.zone
    if zone is None:
        msg = "help is called to a zone"
        raise ValueError(msg)
    return Call(
        id=decision.id,
        kind=moment.kind,
        zone=zone,
        teams=(team,),
        cause=moment.cause,
        opened_at_ms=decision.decided_at_ms,
        ends_at_ms=decision.valid_until_ms,
        visitor=about or moment.visitor,
        is_signed=is_signed,
        concern=moment.concern or NO_CONCERN,
        dwell_ms=moment.dwell_ms,
        is_lasting=moment.kind == LONG_QUEUE,
    )


def _asked(draft: Draft, call: Call) -> Call:
    """Returns a call as it stands when its last team was just asked."""
    context = draft.context
    rules, now_ms = context.rules, context.now_ms
    team = rules.teams.get(call.team)
    ends_at_ms = now_ms + context.policy.alert_valid_s * SECOND_MS
    rest = still_to_ask(call, rules.teams)
    if team is None or team.acknowledge_within_s == 0 or not rest:
        return replace(call, ends_at_ms=ends_at_ms, escalates_at_ms=None)
    within_ms = team.acknowledge_within_s * SECOND_MS
    return replace(call, ends_at_ms=ends_at_ms + within_ms, escalates_at_ms=now_ms + within_ms)


def join(draft: Draft, zone: Zone, visitor: VisitorId | None, *, cause: Cause) -> bool:
    """Lets a request for help join one that nobody has answered yet; returns whether it did.

    Its team is told again: whoever presses a second time, or stands beside, is not left waiting.
    Of who asks in his own name an earlier call from another zone is taken back.
    """
    waiting = [
        each
        for each in draft.calls()
        if each.is_open
        and (each.kind, each.visitor) == (HELP_REQUESTED, visitor)
        and each.acknowledged_at_ms is None
    ]
    call = next((each for each in waiting if each.zone == zone.id), None)
    if call is None:
        for each in waiting if visitor is not None else ():
            withdraw(draft, each)
        return False
    call = replace(call, presses=call.presses + 1)
    _put(draft, call)
    tell(draft, call, call.team, status="open", cause=cause)
    draft.add(Count("help_request_joined"))
    return True


def answered(draft: Draft, call: Call, given: StaffAnswered) -> None:
    """Takes in what a team answers; a call that is over stays as it is."""
    now_ms, outcome = draft.context.now_ms, given.feedback.outcome
    if given.team is not None and given.team not in call.teams:
        draft.add(Count("answer_of_others"))
        return
    if not call.is_open or (outcome == "acknowledged" and call.acknowledged_at_ms is not None):
        draft.add(Count("answer_repeated"))
        return
    if call.acknowledged_at_ms is None:
        ends_at_ms = now_ms + draft.context.policy.alert_valid_s * SECOND_MS
        call = replace(
            call, acknowledged_at_ms=now_ms, escalates_at_ms=None, ends_at_ms=ends_at_ms
        )
    if outcome != "acknowledged":
        _end(draft, call, outcome, status="closed")
        return
    draft.add(RecordOutcome(decision=call.id, kind=outcome, at_ms=given.at_ms))
    draft.touch_summaries(call.opened_at_ms)
    _put(draft, call)
    for team in call.teams:
        tell(draft, call, team, status="acknowledged")


def due(draft: Draft, decision: DecisionId) -> None:
    """Escalates or ends a call whose time has come."""
    call, now_ms = draft.call(decision), draft.context.now_ms
    if call is None or not call.is_open:
        return
    if now_ms >= call.ends_at_ms:
        _end(draft, call, "expired", status="closed")
    elif call.escalates_at_ms is not None and now_ms >= call.escalates_at_ms:
        _escalate(draft, call)
    else:
        draft.add(ScheduleWake(due_ms=call.due_ms, kind=CALL_WAKE, key=call.id))


def _escalate(draft: Draft, call: Call) -> None:
    before, teams = call.team, draft.context.rules.teams
    team = next_team(call, teams, draft.calls())
    if team is None:
        # Nobody has room, or the rules changed: whoever was asked goes on being asked.
        draft.add(Count("call_not_escalated"))
        again = teams.get(before)
        within_s = 0 if again is None else again.acknowledge_within_s
        later_ms = draft.context.now_ms + within_s * SECOND_MS
        _put(draft, replace(call, escalates_at_ms=later_ms if within_s else None))
        return
    call = _asked(draft, replace(call, teams=(*call.teams, team)))
    _put(draft, call)
    draft.add(Count("call_escalated"))
    tell(draft, call, before, status="escalated")
    tell(draft, call, team, status="open")
    _look_at_queues(draft)


def settle(draft: Draft) -> None:
    """Withdraws the calls whose visitor is not there any more, after what a step changed."""
    for call in draft.calls():
        if not call.is_open or call.visitor is None:
            continue
        visitor, parts = draft.visitor(call.visitor), {call.visitor}
        if visitor is not None and call.is_asked_for:
            # Who asked by his card walks about as his telephone.
            parts = persons.parts_of(draft, visitor)
        if not (draft.has_restated or any(draft.has_moved(each) for each in parts)):
            continue
        if _has_left(draft, call, parts) if call.is_asked_for else _is_away(draft, call, visitor):
            withdraw(draft, call)


def withdraw(draft: Draft, call: Call, outcome: str = "gone") -> None:
    """Takes a call back from everybody whom it was made to."""
    draft.add(Count("call_withdrawn"))
    _end(draft, call, outcome, status="withdrawn")


def end_queue(draft: Draft, call: Call) -> None:
    """Notes that a queue is none any more: the next one is told, and nobody comes for this."""
    if call.is_open:
        withdraw(draft, replace(call, is_lasting=False))
    else:
        draft.put_call(replace(call, is_lasting=False))


def _has_left(draft: Draft, call: Call, parts: set[VisitorId]) -> bool:
    """Whether somebody who asked has left since; wherever in the store he stands he is helped."""
    visits = [draft.visit_of(each) for each in sorted(parts)]
    since = [each for each in visits if each and each.last_at_ms >= call.opened_at_ms]
    is_here = any(each is not None and each.is_open for each in visits)
    return bool(since) and not is_here


def _is_away(draft: Draft, call: Call, visitor: Visitor | None) -> bool:
    """Whether somebody who asked for nothing is not where he was noticed, or wants no notice."""
    visit = None if call.visitor is None else draft.visit_of(call.visitor)
    if visit is None or not visit.is_open or visit.has_paid or visit.zone != call.zone:
        return True
    return visitor is not None and not persons.may_be_noticed(draft, visitor)


def _end(draft: Draft, call: Call, outcome: str, *, status: AlertStatus) -> None:
    now_ms = draft.context.now_ms
    call = closed(call, outcome, at_ms=now_ms)
    draft.put_call(call)
    draft.add(
        RecordOutcome(decision=call.id, kind=outcome, at_ms=now_ms), Count(f"call_{outcome}")
    )
    draft.touch_summaries(call.opened_at_ms)
    for team in call.teams:
        tell(draft, call, team, status=status)
    _look_at_queues(draft)


def _look_at_queues(draft: Draft) -> None:
    """Has queues looked at again that were not told of while their team or zone had its calls.

    A sensor that tells of changes alone is silent while nobody moves on.
    """
    context = draft.context
    least, now_ms = context.rules.help.queue_length, context.now_ms
    if least == 0:
        return
    for zone in sorted(context.layout.zones):
        level = draft.state.level("queue", zone)
        is_long = level is not None and level.value >= least
        if is_long and queue_told(draft.calls(), zone) is None:
            draft.add(ScheduleWake(due_ms=now_ms, kind=LONG_QUEUE, key=zone))


def _put(draft: Draft, call: Call) -> None:
    draft.put_call(call)
    draft.add(ScheduleWake(due_ms=call.due_ms, kind=CALL_WAKE, key=call.id))


def tell(
    draft: Draft,
    call: Call,
    team: TeamId,
    *,
    status: AlertStatus,
    story: str | None = None,
    cause: Cause | None = None,
) -> None:
    """Tells one team how a call stands."""
    context = draft.context
    zone = context.layout.zones.get(call.zone)
    if zone is None:
        # The store was laid out anew while it was open.
        return
    handled = call.concern.product
    product = None if handled is None else context.catalogue.product(handled)
    customer = _customer(draft, call) if call.is_open else None
    alert = call_alert(
        call,
        team,
        status=status,
        zone=zone,
        locale=context.locale,
        title=None if product is None else product.title,
        customer=customer,
        story=story,
        cause=cause,
    )
    expires_at_ms = max(call.ends_at_ms, context.now_ms + context.policy.alert_valid_s * SECOND_MS)
    draft.add(
        Publish(
            topic=topics.alert(context.store, team),
            payload=alert_json(alert),
            expires_at_ms=expires_at_ms,
            about=None if story is None and customer is None else call.visitor,
        )
    )


def _customer(draft: Draft, call: Call) -> AlertCustomer | None:
    """Returns who asks: of somebody known who asked in his own name and lets staff know him."""
    if not call.is_signed or call.visitor is None:
        return None
    visitor: Visitor | None = draft.visitor(call.visitor)
    if visitor is None or persons.refuses_help(draft, visitor):
        return None
    now_ms = draft.context.now_ms
    if not may_use(visitor, STAFF_ASSISTANCE, "staff", now_ms=now_ms):
        return None
    if not has_consent(visitor, PROFILING, now_ms=now_ms):
        return AlertCustomer()
    profile, sensitive = visitor.profile, _sensitive(draft)
    interests = [name for name, _ in profile.interests if name not in sensitive]
    told = tuple(interests[:INTERESTS_TOLD])
    return AlertCustomer(reference=profile.reference, interests=told)


def _sensitive(draft: Draft) -> frozenset[str]:
    context = draft.context
    return context.rules.sensitive_departments.union(context.policy.sensitive_departments)
