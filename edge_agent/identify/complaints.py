"""Whether somebody who is known by several identifiers has a complaint open.

A case opened under one identifier is closed under another only if the two were known to be one
person by then: a merge alone lifts no silence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_agent.domain.ids import VisitorId
    from edge_agent.domain.visitor import Complaint, Visitor


def have_open_complaint(people: tuple[Visitor, ...]) -> bool:
    """Returns whether any of the people that are one, as far as is known, has silence."""
    return any(
        complaint.is_open and not _is_closed_elsewhere(complaint, person, people)
        for person in people
        for complaint in person.complaints
    )


def _is_closed_elsewhere(
    complaint: Complaint, person: Visitor, people: tuple[Visitor, ...]
) -> bool:
    for other in people:
        since_ms = None if other.id == person.id else _one_since_ms(person, other, people)
        for each in other.complaints if since_ms is not None else ():
            closed_ms = each.closed_at_ms
            if each.case != complaint.case or closed_ms is None or since_ms is None:
                continue
            if closed_ms > (complaint.opened_at_ms or 0) and closed_ms >= since_ms:
                return not each.is_open
    return False


def _one_since_ms(one: Visitor, other: Visitor, people: tuple[Visitor, ...]) -> int | None:
    """Returns since when two were known to be one, directly or by way of a third."""
    direct = list(_claims(one, other.id)) + list(_claims(other, one.id))
    shared = [
        max(first, second)
        for person in people
        for first in _claims(one, person.id)
        for second in _claims(other, person.id)
    ]
    return min((*direct, *shared), default=None)


def _claims(visitor: Visitor, person: VisitorId) -> Iterator[int]:
    return (link.since_ms for link in visitor.links if link.is_claim and link.visitor == person)
