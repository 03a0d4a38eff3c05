"""What each person allows. Nothing on record means no; a tie means no.

A ledger of statements, not a switch: statements arrive late and out of order, and the newest one
holds whatever order they came in.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from edge_agent.domain.visitor import ConsentStatement

if TYPE_CHECKING:
    from edge_agent.domain.visitor import Visitor

PURPOSES: Final = (
    "marketing",
    "personal_recommendations",
    "profiling",
    "sending_to_hq",
    "staff_assistance",
)


def has_consent(visitor: Visitor, purpose: str, *, now_ms: int) -> bool:
    """Returns whether consent for a purpose is in force at an instant, and not suspended."""
    if visitor.complaints and visitor.is_restricted:
        return False
    newest = _newest(visitor, purpose)
    if newest is None or not newest.granted:
        return False
    return newest.expires_at_ms is None or now_ms < newest.expires_at_ms


def has_any_consent(visitor: Visitor, *, now_ms: int) -> bool:
    """Returns whether any purpose is consented to."""
    return any(has_consent(visitor, purpose, now_ms=now_ms) for purpose in PURPOSES)


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
        has_consent(people[0], purpose, now_ms=at_ms)
        and not refuses(people[1], purpose, now_ms=at_ms)
        for purpose in PURPOSES
    )


def refuses(visitor: Visitor, purpose: str, *, now_ms: int) -> bool:
    """Returns whether somebody has said no, or let his yes expire; silence refuses nothing."""
    if not any(each.purpose == purpose for each in visitor.consents):
        return False
    return not has_consent(visitor, purpose, now_ms=now_ms)


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


def _newest(visitor: Visitor, purpose: str) -> ConsentStatement | None:
    candidates = [each for each in visitor.consents if each.purpose == purpose]
    # At the same instant a no outweighs a yes.
    return max(candidates, key=lambda each: (each.stated_at_ms, not each.granted), default=None)


def _order(statement: ConsentStatement) -> tuple[object, ...]:
    return (
        statement.stated_at_ms,
        statement.purpose,
        statement.granted,
        statement.source,
        statement.text_version or "",
        statement.channel or "",
        statement.expires_at_ms or 0,
    )
