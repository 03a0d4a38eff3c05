"""What people say about themselves: consent and complaints. Effective at the next decision."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from edge_agent.decide.moments import store_default
from edge_agent.domain.decisions import Cause
from edge_agent.domain.effects import Count, ForgetContacts
from edge_agent.domain.time import SECOND_MS, ms_from_datetime
from edge_agent.domain.visitor import (
    CONSENT_BASIS,
    RESTRICTION_CASE,
    Complaint,
    ConsentStatement,
)
from edge_agent.engine import (
    before_screens,
    calls,
    deciding,
    help_by_staff,
    persons,
    purchases,
)
from edge_agent.identify.consent import PURPOSES, has_any_consent, with_statements
from edge_agent.wire import events as wire

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge_agent.domain.inputs import Arrival, Forgotten, Restricted, Unlink
    from edge_agent.domain.visitor import Visitor
    from edge_agent.engine.draft import Draft

# Names the cause of what an unlink reverts.
UNLINK_SOURCE: Final = "edge-agent"
# In whose name the store's own staff act.
OPERATOR_SOURCE: Final = "operator"


def stated(draft: Draft, arrival: Arrival) -> None:
    """Takes in a consent, its withdrawal, a complaint or its closing."""
    event = arrival.event
    if arrival.subject is None:
        draft.add(Count("event_of_nobody"))
        return
    visitor = _whose_basket(draft, arrival) or draft.visitor_for(
        arrival.subject, day=arrival.day, at_ms=arrival.at_ms
    )
    cause = Cause(source=event.source, id=event.id)
    if isinstance(event, (wire.ConsentGranted, wire.ConsentWithdrawn)):
        granted = isinstance(event, wire.ConsentGranted)
        known = (each.stated_at_ms for each in visitor.consents if each.granted)
        at_ms = arrival.at_ms if granted else _not_outrun(draft, arrival, known)
        state_consent(draft, visitor, _statements(event, at_ms=at_ms), cause=cause)
    elif arrival.case is not None:
        opened = isinstance(event, wire.ComplaintOpened)
        known = (each.closed_at_ms or 0 for each in visitor.complaints)
        at_ms = _not_outrun(draft, arrival, known) if opened else arrival.at_ms
        draft.put_visitor(with_complaint(visitor, arrival.case, at_ms=at_ms, opened=opened))
        silence_screens(draft, cause=cause)
        if isinstance(event, wire.ComplaintOpened) and arrival.may_decide:
            help_by_staff.tell_story(draft, visitor, event.data.story, cause=cause)


def _whose_basket(draft: Draft, arrival: Arrival) -> Visitor | None:
    """Returns who speaks when a basket is named: its carrier, or else who showed a card with it.

    Nobody who is known allows anything by a basket's number: it is no identifier of his.
    """
    if arrival.basket is None or isinstance(arrival.event, wire.ConsentGranted):
        return None
    basket = draft.basket(arrival.basket)
    if basket is None:
        return None
    known = (draft.visitor(each) for each in (basket.carrier, basket.member))
    return next((each for each in known if each is not None and each.kind != "basket"), None)


def _not_outrun(draft: Draft, arrival: Arrival, known: Iterable[int]) -> int:
    """Returns when a no was said: a yes from a clock that is ahead does not outlast it."""
    context = draft.context
    soon_ms = context.now_ms + context.policy.lateness_s * SECOND_MS
    return max(arrival.at_ms, *(at_ms for at_ms in known if at_ms > soon_ms), 0)


def state_consent(
    draft: Draft, visitor: Visitor, statements: tuple[ConsentStatement, ...], *, cause: Cause
) -> None:
    """Writes down what somebody allows, and ends what rested on a consent that is gone."""
    stated = replace(visitor, consents=with_statements(visitor, statements))
    stated = purchases.obeying(draft, stated)
    draft.put_visitor(stated)
    linked = persons.end_links(draft, stated)
    if any(not each.granted for each in statements):
        if not has_any_consent(stated, now_ms=draft.context.now_ms):
            draft.add(ForgetContacts(visitor=stated.id))
        touched = frozenset({stated.id, *(each.id for each in linked)})
        deciding.revert_all_of(draft, touched, cause=cause)
        before_screens.follow_word(draft, cause=cause)


def unlink(draft: Draft, given: Unlink) -> None:
    """Ends the links of an identifier: from now on all is as if they had never been."""
    visitor = draft.visitor_of(given.subject)
    other = None if given.other is None else draft.visitor_of(given.other)
    if visitor is None or (given.other is not None and other is None):
        draft.add(Count("unlink_of_nobody"))
        return
    pairs = {(link.of, link.visitor) for link in visitor.links if link.is_claim}
    pairs |= {(link.of, visitor.id) for link in draft.links_to(visitor.id) if link.is_claim}
    if other is not None:
        pairs = {pair for pair in pairs if other.id in pair}
    for of in sorted({of for of, _ in pairs}):
        persons.unlink(
            draft,
            of,
            frozenset(person for each, person in pairs if each == of),
            source=given.source,
        )
    touched = frozenset(each for pair in pairs for each in pair)
    cause = Cause(source=UNLINK_SOURCE, id=f"unlink-{draft.context.now_ms}")
    deciding.revert_all_of(draft, touched, cause=cause)
    before_screens.follow_word(draft, cause=cause)
    draft.add(Count("unlinked" if pairs else "unlink_of_nobody"))


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


def silence_screens(draft: Draft, *, cause: Cause) -> None:
    """Gives back at once every screen that shows something for somebody who now has silence."""
    for screen in draft.context.layout.screens.values():
        showing = draft.showing(screen.id)
        shown_to = None if showing is None else draft.visitor(showing.visitor)
        if shown_to is not None and persons.is_silenced(draft, shown_to):
            deciding.decide(draft, store_default(screen, cause=cause, policy=draft.context.policy))
    before_screens.follow_word(draft, cause=cause)


def restrict(draft: Draft, given: Restricted) -> None:
    """Has what is held of somebody left unused under all that he is known as, or used again."""
    known = tuple(draft.visitor(each) for each in given.visitors)
    persons = [each for each in known if each is not None]
    if not persons and not given.is_lifted:
        persons = [draft.visitor_for(given.subject, day=given.day, at_ms=given.at_ms)]
    for person in persons:
        draft.put_visitor(_with_restriction(person, given))
    silence_screens(draft, cause=Cause(source=OPERATOR_SOURCE, id=f"restriction-{given.at_ms}"))


def leave(draft: Draft, given: Forgotten) -> None:
    """Gives back every screen that shows something for somebody forgotten, and calls for him."""
    for call in draft.calls():
        if call.is_open and call.visitor in given.visitors:
            calls.withdraw(draft, call)
    for screen in draft.context.layout.screens.values():
        showing = draft.showing(screen.id)
        if showing is not None and showing.visitor in given.visitors:
            cause = Cause(source=OPERATOR_SOURCE, id=f"back-{screen.id}-{given.at_ms}")
            deciding.decide(draft, store_default(screen, cause=cause, policy=draft.context.policy))
    cause = Cause(source=OPERATOR_SOURCE, id=f"left-{given.at_ms}")
    before_screens.follow_word(draft, cause=cause, without=frozenset(given.visitors))


def _with_restriction(visitor: Visitor, given: Restricted) -> Visitor:
    known = next((each for each in visitor.complaints if each.case == RESTRICTION_CASE), None)
    if known is None and given.is_lifted:
        return visitor
    # The operator's word is the latest, whatever the clock did since the one before.
    before_ms = 0 if known is None else max(known.opened_at_ms or 0, known.closed_at_ms or 0)
    at_ms = max(given.at_ms, before_ms + 1)
    return with_complaint(visitor, RESTRICTION_CASE, at_ms=at_ms, opened=not given.is_lifted)


def _statements(
    event: wire.ConsentGranted | wire.ConsentWithdrawn, *, at_ms: int
) -> tuple[ConsentStatement, ...]:
    granted = isinstance(event, wire.ConsentGranted)
    purposes = event.data.purposes or PURPOSES
    expires_at = event.data.expires_at if isinstance(event, wire.ConsentGranted) else None
    text_version = event.data.text_version if isinstance(event, wire.ConsentGranted) else None
    basis = event.data.basis if isinstance(event, wire.ConsentGranted) else CONSENT_BASIS
    return tuple(
        ConsentStatement(
            purpose=purpose,
            granted=granted,
            stated_at_ms=at_ms,
            source=event.source,
            text_version=text_version,
            channel=event.data.channel,
            expires_at_ms=None if expires_at is None else ms_from_datetime(expires_at),
            basis=basis,
            only_on=only_on,
        )
        for purpose in sorted(set(purposes))
        for only_on in sorted(set(event.data.only_on or ())) or (None,)
    )
