"""What people say about themselves: consent and complaints. Effective at the next decision."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from edge_agent.decide.moments import store_default
from edge_agent.domain.decisions import Cause
from edge_agent.domain.effects import Count
from edge_agent.domain.time import ms_from_datetime
from edge_agent.domain.visitor import Complaint, ConsentStatement
from edge_agent.engine import deciding
from edge_agent.identify.consent import PURPOSES, with_statements
from edge_agent.wire import events as wire

if TYPE_CHECKING:
    from edge_agent.domain.inputs import Arrival
    from edge_agent.domain.visitor import Visitor
    from edge_agent.engine.draft import Draft


def stated(draft: Draft, arrival: Arrival) -> None:
    """Takes in a consent, its withdrawal, a complaint or its closing."""
    event = arrival.event
    if arrival.subject is None:
        draft.add(Count("event_of_nobody"))
        return
    visitor = draft.visitor_for(arrival.subject, day=arrival.day, at_ms=arrival.at_ms)
    if isinstance(event, (wire.ConsentGranted, wire.ConsentWithdrawn)):
        statements = _statements(event, at_ms=arrival.at_ms)
        visitor = replace(visitor, consents=with_statements(visitor, statements))
        draft.put_visitor(visitor)
    elif arrival.case is not None:
        opened = isinstance(event, wire.ComplaintOpened)
        # A complaint follows its person: it is his under whichever identifier he made it.
        for person in (visitor, draft.visitor(visitor.alias_of)):
            if person is not None:
                changed = with_complaint(person, arrival.case, at_ms=arrival.at_ms, opened=opened)
                draft.put_visitor(changed)
                cause = Cause(source=event.source, id=event.id)
                silence_screens(draft, changed, cause=cause)


def with_complaint(visitor: Visitor, case: str, *, at_ms: int, opened: bool) -> Visitor:
    """Returns the visitor after a complaint was opened or closed; the latest word counts."""
    known = next((each for each in visitor.complaints if each.case == case), None)
    complaint = known or Complaint(case=case, opened_at_ms=None)
    if opened:
        complaint = replace(complaint, opened_at_ms=max(at_ms, complaint.opened_at_ms or at_ms))
    else:
        complaint = replace(complaint, closed_at_ms=max(at_ms, complaint.closed_at_ms or at_ms))
    others = [each for each in visitor.complaints if each.case != case]
    ordered = sorted((*others, complaint), key=lambda each: each.case)
    return replace(visitor, complaints=tuple(ordered))


def silence_screens(draft: Draft, visitor: Visitor, *, cause: Cause) -> None:
    """Gives back at once every screen that shows something for somebody who now has silence."""
    if not visitor.has_open_complaint:
        return
    for screen in draft.context.layout.screens.values():
        showing = draft.showing(screen.id)
        shown_to = None if showing is None else draft.visitor(showing.visitor)
        if shown_to is not None and visitor.id in {shown_to.id, shown_to.alias_of}:
            deciding.decide(draft, store_default(screen, cause=cause, policy=draft.context.policy))


def _statements(
    event: wire.ConsentGranted | wire.ConsentWithdrawn, *, at_ms: int
) -> tuple[ConsentStatement, ...]:
    granted = isinstance(event, wire.ConsentGranted)
    purposes = event.data.purposes or PURPOSES
    expires_at = event.data.expires_at if isinstance(event, wire.ConsentGranted) else None
    text_version = event.data.text_version if isinstance(event, wire.ConsentGranted) else None
    return tuple(
        ConsentStatement(
            purpose=purpose,
            granted=granted,
            stated_at_ms=at_ms,
            source=event.source,
            text_version=text_version,
            channel=event.data.channel,
            expires_at_ms=None if expires_at is None else ms_from_datetime(expires_at),
        )
        for purpose in sorted(set(purposes))
    )
