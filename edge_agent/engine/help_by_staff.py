"""Help by a person: somebody asked for it, or seems to need it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.domain.decisions import Cause, Moment, Place
from edge_agent.domain.effects import Count, Publish, RecordDecision
from edge_agent.domain.ids import ZoneId
from edge_agent.engine import deciding, persons
from edge_agent.publish.staff import alert_of
from edge_agent.wire import events as wire
from edge_agent.wire import topics

if TYPE_CHECKING:
    from edge_agent.domain.ids import VisitorId
    from edge_agent.domain.inputs import Arrival
    from edge_agent.domain.store import Zone
    from edge_agent.domain.visitor import Visitor
    from edge_agent.engine.draft import Draft


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
    moment = Moment(
        kind="help_requested",
        cause=Cause(source=event.source, id=event.id),
        place=Place(channel="staff", team=zone.team, zone=zone.id),
        limit=0,
    )
    call_staff(draft, moment, zone)


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
    place = Place(channel="staff", team=zone.team, zone=zone.id)
    moment = Moment(kind="complaint", cause=cause, place=place, limit=0)
    call_staff(draft, moment, zone, story, about=visitor.id)


def _zone_of(draft: Draft, visitor: Visitor) -> Zone | None:
    links = (*visitor.links, *(draft.links_to(visitor.id) if visitor.is_identified else ()))
    near = {visitor.id, *(link.of for link in links if link.is_claim)}
    visits = [draft.visit_of(each) for each in sorted(near)]
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
) -> None:
    """Decides by rule to call a zone's team, and tells its handhelds.

    Args:
        draft: The step.
        moment: What asks for it.
        zone: Where to.
        story: What a customer told, in his words.
        about: Which customer that was.
    """
    decision = deciding.rule_decision(draft, moment)
    draft.add(RecordDecision(decision=decision))
    alert = alert_of(decision, zone=zone, locale=draft.context.locale, story=story)
    draft.add(
        Publish(
            topic=topics.alert(draft.context.store, zone.team),
            payload=alert.model_dump_json().encode(),
            expires_at_ms=decision.valid_until_ms,
            about=about,
        )
    )
