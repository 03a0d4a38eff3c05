"""What each person allows. Nothing on record means no; a tie means no.

A ledger of statements, not a switch: statements arrive late and out of order, and the newest one
holds whatever order they came in.

A statement is about every channel or only on one. On a channel the newest holds of those about it
and those about every one; but a no to the channel itself is lifted by a yes to that channel alone,
never in passing by a yes to everything.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from edge_agent.domain.visitor import ConsentStatement

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge_agent.domain.visitor import Visitor

MARKETING: Final = "marketing"
PROFILING: Final = "profiling"
STAFF_ASSISTANCE: Final = "staff_assistance"
PURPOSES: Final = (
    MARKETING,
    "personal_recommendations",
    PROFILING,
    "sending_to_hq",
    STAFF_ASSISTANCE,
)


# Where an offer may reach somebody. By e-mail it comes from HQ: the store keeps what was said.
CHANNELS: Final = ("app", "e-mail", "handheld", "receipt", "screen")

# The channels that the answer in a place may be on. Where it is not sure what device asked for a
# reply, a no to one of them is a no to it.
CHANNELS_OF_PLACE: Final = {
    "app": ("app",),
    "handheld": ("handheld",),
    "screen": ("screen",),
    "receipt": ("receipt",),
    "staff": ("handheld",),
    "reply": ("app", "handheld", "screen"),
}


def has_consent(
    visitor: Visitor, purpose: str, *, now_ms: int, channel: str | None = None
) -> bool:
    """Returns whether consent for a purpose is in force at an instant, and not suspended.

    Args:
        visitor: Whose.
        purpose: One of `PURPOSES`.
        now_ms: The instant.
        channel: Where it is to be used, of `CHANNELS`; None where no channel has a part in it,
            and then what was said of one channel counts for nothing.
    """
    if visitor.complaints and visitor.is_restricted:
        return False
    newest = statement_on(visitor, purpose, channel)
    return newest is not None and newest.granted and not _is_over(newest, now_ms)


def may_use(visitor: Visitor, purpose: str, place: str, *, now_ms: int) -> bool:
    """Returns whether consent for a purpose is in force on all that a place's answer may be on."""
    return all(
        has_consent(visitor, purpose, now_ms=now_ms, channel=channel)
        for channel in CHANNELS_OF_PLACE[place]
    )


def forbids_offers(visitor: Visitor, place: str, *, now_ms: int) -> bool:
    """Returns whether somebody refused marketing in a place.

    Who was never asked refused nothing, and neither did a yes that ran out: what was said before
    it holds again.
    """
    said = [
        each
        for each in visitor.consents
        if each.purpose == MARKETING and not (each.granted and _is_over(each, now_ms))
    ]
    held = [_holding(said, channel) for channel in CHANNELS_OF_PLACE[place]] if said else []
    return any(each is not None and not each.granted for each in held)


def statement_on(visitor: Visitor, purpose: str, channel: str | None) -> ConsentStatement | None:
    """Returns which statement on a purpose holds on a channel, over or not; None means neither."""
    return _holding([each for each in visitor.consents if each.purpose == purpose], channel)


def unbroken_since(visitor: Visitor, purpose: str, *, now_ms: int) -> int | None:
    """Returns since when consent for a purpose is in force without a break; None when it is not.

    A withdrawal or an expiry breaks it, whenever it was heard of; saying yes once more does not.
    What was said of one channel counts for nothing.
    """
    said = [each for each in visitor.consents if each.purpose == purpose and each.only_on is None]
    newest = _newest(said)
    if newest is None or not newest.granted or _is_over(newest, now_ms):
        return None
    since_ms = newest.stated_at_ms
    for each in sorted(said, key=_weight, reverse=True):
        if not each.granted or _is_over(each, since_ms):
            break
        since_ms = each.stated_at_ms
    return since_ms


def has_any_consent(visitor: Visitor, *, now_ms: int) -> bool:
    """Returns whether any purpose is consented to, were it on one channel alone."""
    return any(
        has_consent(visitor, purpose, now_ms=now_ms, channel=channel)
        for channel in _named(visitor)
        for purpose in PURPOSES
    )


def lapse_of(person: Visitor, visitor: Visitor, *, since_ms: int) -> tuple[int, str] | None:
    """Returns when no consent was in force any more, and whether by a word or by `expiry`.

    Args:
        person: Whose consents it rests on.
        visitor: Who was linked to him; his own no counts as well.
        since_ms: The instant from which a consent must have been in force all the time.
    """
    statements = (*person.consents, *visitor.consents)
    edges = {each.expires_at_ms: "expiry" for each in statements if each.expires_at_ms is not None}
    edges |= {each.stated_at_ms: "consent" for each in statements}
    for at_ms in sorted({since_ms, *(edge for edge in edges if edge > since_ms)}):
        if not _had_any(person, visitor, at_ms):
            return at_ms, edges.get(at_ms, "consent")
    return None


def _had_any(person: Visitor, visitor: Visitor, at_ms: int) -> bool:
    people = [
        replace(each, consents=tuple(s for s in each.consents if s.stated_at_ms <= at_ms))
        for each in (person, visitor)
    ]
    return any(
        has_consent(people[0], purpose, now_ms=at_ms, channel=channel)
        and not refuses(people[1], purpose, now_ms=at_ms, channel=channel)
        for channel in _named(*people)
        for purpose in PURPOSES
    )


def refuses(visitor: Visitor, purpose: str, *, now_ms: int, channel: str | None = None) -> bool:
    """Returns whether somebody has said no, or let his yes expire; silence refuses nothing."""
    about = {None, channel}
    if not any(each.purpose == purpose and each.only_on in about for each in visitor.consents):
        return False
    return not has_consent(visitor, purpose, now_ms=now_ms, channel=channel)


def refuses_in(visitor: Visitor, purpose: str, place: str, *, now_ms: int) -> bool:
    """Returns whether somebody refuses a purpose on any channel of a place."""
    return any(
        refuses(visitor, purpose, now_ms=now_ms, channel=channel)
        for channel in CHANNELS_OF_PLACE[place]
    )


def with_statements(
    visitor: Visitor, statements: tuple[ConsentStatement, ...]
) -> tuple[ConsentStatement, ...]:
    """Returns the ledger with new statements in it, each once, in a fixed order."""
    merged = set(visitor.consents) | set(statements)
    return tuple(sorted(merged, key=_order))


def may_hq_loosen(visitor: Visitor, purpose: str, *, stated_at_ms: int) -> bool:
    """Returns whether HQ's grant is later than any withdrawal that the store knows.

    HQ may tighten at once; it may grant only what was said after the last no.
    """
    return all(
        statement.granted or statement.stated_at_ms < stated_at_ms
        for statement in visitor.consents
        if statement.purpose == purpose
    )


def _holding(said: list[ConsentStatement], channel: str | None) -> ConsentStatement | None:
    """Returns which statement on a purpose holds on a channel."""
    of_all = _newest(each for each in said if each.only_on is None)
    own = None if channel is None else _newest(each for each in said if each.only_on == channel)
    if own is None or not own.granted:
        return own or of_all
    return own if of_all is None else _newest((of_all, own))


def _newest(said: Iterable[ConsentStatement]) -> ConsentStatement | None:
    return max(said, key=_weight, default=None)


def _weight(statement: ConsentStatement) -> tuple[int, bool]:
    # At the same instant a no outweighs a yes.
    return statement.stated_at_ms, not statement.granted


def _is_over(statement: ConsentStatement, now_ms: int) -> bool:
    return statement.expires_at_ms is not None and now_ms >= statement.expires_at_ms


def _named(*visitors: Visitor) -> set[str | None]:
    """Returns the channels that somebody spoke of, and None for all."""
    return {None, *(each.only_on for visitor in visitors for each in visitor.consents)}


def _order(statement: ConsentStatement) -> tuple[object, ...]:
    return (
        statement.stated_at_ms,
        statement.purpose,
        statement.granted,
        statement.source,
        statement.text_version or "",
        statement.channel or "",
        statement.expires_at_ms or 0,
        statement.basis,
        statement.only_on or "",
    )
