"""A decision or a call as the staff's handhelds get it: where help may be wanted, and with what.

Never who wants it, but for somebody known who asked in his own name and allows staff to know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_agent.domain.calls import COMPLAINT, HELP_REQUESTED, LIFT_RETURN, LONG_DWELL, LONG_QUEUE
from edge_agent.domain.time import SECOND_MS, datetime_from_ms
from edge_agent.wire.base import Cause as WireCause
from edge_agent.wire.staff import (
    AlertContext,
    AlertCustomer,
    AlertKind,
    AlertOutcome,
    AlertStatus,
    StaffAlert,
)

if TYPE_CHECKING:
    from edge_agent.domain.calls import Call
    from edge_agent.domain.decisions import Cause, Decision
    from edge_agent.domain.ids import TeamId
    from edge_agent.domain.store import Zone

_KINDS: Final[dict[str, AlertKind]] = {
    LONG_DWELL: "long_dwell",
    HELP_REQUESTED: "help_requested",
    COMPLAINT: "complaint",
    LIFT_RETURN: "lift_return",
    LONG_QUEUE: "long_queue",
}
_OUTCOMES: Final[dict[str | None, AlertOutcome]] = {
    "helped": "helped",
    "not_needed": "not_needed",
    "gone": "gone",
    "expired": "expired",
}
_TEXTS: Final = {
    "en": "Somebody may want help in {zone}",
    "fi": "Joku saattaa kaivata apua: {zone}",
}
_TEXTS_OF: Final = {
    HELP_REQUESTED: {
        "en": "Somebody asks for help in {zone}",
        "fi": "Joku pyytää apua: {zone}",
    },
    LIFT_RETURN: {
        "en": "Somebody keeps putting goods back in {zone}",
        "fi": "Joku palauttaa tuotteita hyllyyn: {zone}",
    },
    LONG_QUEUE: {"en": "A long queue in {zone}", "fi": "Pitkä jono: {zone}"},
}
# Kinds in which somebody's stay is what staff are told of.
_OF_A_STAY: Final = frozenset({LONG_DWELL, LIFT_RETURN})
# What a call says beyond a plain alert, which is written without it.
_OF_CALLS: Final = frozenset(
    {"status", "outcome", "acknowledge_by", "escalated_from", "escalated_to", "context"}
)


def alert_of(
    decision: Decision, *, zone: Zone, locale: str, story: str | None = None
) -> StaffAlert:
    """Returns the alert of a decision to call staff: unasked, asked, or for a complaint."""
    moment = decision.moment
    return StaffAlert(
        decision=decision.id,
        cause=_cause(moment.cause),
        team=zone.team,
        kind=_KINDS.get(moment.kind, "long_dwell"),
        zone=zone.id,
        issued=datetime_from_ms(decision.decided_at_ms),
        valid_until=datetime_from_ms(decision.valid_until_ms),
        text=story or _text(moment.kind, zone, locale),
        dwell_s=moment.dwell_ms / SECOND_MS if moment.kind in _OF_A_STAY else None,
    )


def call_alert(
    call: Call,
    team: TeamId,
    *,
    status: AlertStatus,
    zone: Zone,
    locale: str,
    title: str | None = None,
    customer: AlertCustomer | None = None,
    story: str | None = None,
    cause: Cause | None = None,
) -> StaffAlert:
    """Returns what a team is told of a call now.

    Args:
        call: As it stands.
        team: Whom the message is for, one of those that the call was made to.
        status: What became of it.
        zone: Where it is.
        locale: The staff's language.
        title: What the product that it is about is called.
        customer: Who asks, if he may be named.
        story: What a customer told, in his words.
        cause: What this message answers, if that is not what the call itself does.
    """
    place = call.teams.index(team)
    ends_ms = call.escalates_at_ms
    following = call.teams[place + 1 : place + 2]
    return StaffAlert(
        decision=call.id,
        cause=_cause(cause or call.cause),
        team=team,
        kind=_KINDS[call.kind],
        zone=call.zone,
        issued=datetime_from_ms(call.opened_at_ms),
        valid_until=datetime_from_ms(call.ends_at_ms),
        text=story or _text(call.kind, zone, locale),
        dwell_s=call.dwell_ms / SECOND_MS if call.kind in _OF_A_STAY else None,
        status=status,
        outcome=_OUTCOMES.get(call.outcome),
        acknowledge_by=None if ends_ms is None else datetime_from_ms(ends_ms),
        escalated_from=call.teams[place - 1] if place else None,
        escalated_to=following[0] if following else None,
        context=_context(call, title, customer),
    )


def alert_json(alert: StaffAlert) -> bytes:
    """Returns an alert as it is published; one of no call says nothing of calls."""
    unsaid = {name for name in _OF_CALLS if getattr(alert, name) is None}
    return alert.model_dump_json(exclude=unsaid).encode()


def _context(call: Call, title: str | None, customer: AlertCustomer | None) -> AlertContext:
    concern = call.concern
    return AlertContext(
        departments=concern.departments,
        product=concern.product,
        title=title,
        lifts_and_returns=concern.lifts_and_returns,
        queue_length=concern.queue_length,
        presses=call.presses if call.kind == HELP_REQUESTED else None,
        customer=customer,
    )


def _text(kind: str, zone: Zone, locale: str) -> str:
    texts = _TEXTS_OF.get(kind, _TEXTS)
    return texts.get(locale, texts["en"]).format(zone=zone.name)


def _cause(cause: Cause) -> WireCause:
    return WireCause(source=cause.source, id=cause.id)
