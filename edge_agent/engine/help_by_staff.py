"""Help by a person: somebody asked for it, or seems to need it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.domain.decisions import Cause, Moment, Place
from edge_agent.domain.effects import Count, Publish, RecordDecision
from edge_agent.domain.ids import ZoneId
from edge_agent.engine import deciding
from edge_agent.publish.staff import alert_of
from edge_agent.wire import events as wire
from edge_agent.wire import topics

if TYPE_CHECKING:
    from edge_agent.domain.inputs import Arrival
    from edge_agent.domain.store import Zone
    from edge_agent.engine.draft import Draft


def requested(draft: Draft, arrival: Arrival) -> None:
    """Calls staff to where somebody asks for them.

    A complaint does not silence this, and no cool-down either: it was asked for. A late request,
    or one of a zone that the store does not have, is counted alone.
    """
    event = arrival.event
    if not isinstance(event, wire.HelpRequested):
        return
    zone = draft.context.layout.zones.get(ZoneId(event.data.zone))
    if zone is None or not arrival.may_decide:
        draft.add(Count("help_request_unheeded"))
        return
    moment = Moment(
        kind="help_requested",
        cause=Cause(source=event.source, id=event.id),
        place=Place(channel="staff", team=zone.team, zone=zone.id),
        limit=0,
    )
    call_staff(draft, moment, zone)


def call_staff(draft: Draft, moment: Moment, zone: Zone) -> None:
    """Decides by rule to call a zone's team, and tells its handhelds."""
    decision = deciding.rule_decision(draft, moment)
    draft.add(RecordDecision(decision=decision))
    alert = alert_of(decision, zone=zone, locale=draft.context.locale)
    draft.add(
        Publish(
            topic=topics.alert(draft.context.store, zone.team),
            payload=alert.model_dump_json().encode(),
            expires_at_ms=decision.valid_until_ms,
        )
    )
