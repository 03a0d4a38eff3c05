"""Visits and zone stays, folded from marks.

Theory of operation. A visit is never edited: it is a fold over its marks in event order. A mark
that comes in order extends the fold by one step. A mark that comes late makes the marks around
it be folded again from the start. So the same marks give the same visits in whatever order they
arrive, and a late event needs no rules of its own.

A gap longer than the visit time-out ends a visit at its last mark; so does the mark of leaving
the store, and leaving an exit zone after the mark of having paid.
"""

from __future__ import annotations

from dataclasses import replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from edge_agent.domain.chain import Chain, values_of
from edge_agent.domain.ids import VisitId
from edge_agent.domain.time import SECOND_MS
from edge_agent.domain.visitor import Mark, Visit, ZoneStay

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge_agent.domain.ids import ProductId, VisitorId, ZoneId
    from edge_agent.domain.policy import Policy

VISIT_ID_BYTES: Final = 6
HANDLED_KINDS: Final = frozenset({"lift", "scan"})
_PARTING: Final = frozenset({"leave", "end"})
IN_HAND_MAX: Final = 200


def advance(
    visit: Visit | None,
    mark: Mark,
    *,
    visitor: VisitorId,
    policy: Policy,
    exits: frozenset[ZoneId] = frozenset(),
) -> tuple[Visit | None, Visit]:
    """Returns the visit that a mark in order ends, if any, and the one it belongs to.

    Args:
        visit: The visitor's newest visit; None when there is none.
        mark: The next mark, not older than the visit's last one.
        visitor: Whose mark it is.
        policy: Holds the visit time-out.
        exits: Zones whose leaving ends a visit that has paid.
    """
    if visit is not None and visit.is_open:
        if _is_near(visit, mark, policy):
            return None, _extended(visit, mark, exits)
        return timed_out(visit), _begun(mark, visitor, exits, after_ms=visit.last_at_ms + 1)
    if visit is not None and mark.kind in _PARTING and _is_near(visit, mark, policy):
        # A second door sensor tells again that somebody left: no new visit.
        return None, replace(
            visit, last_at_ms=mark.at_ms, last_order=mark.order, marks=Chain(mark, visit.marks)
        )
    after_ms = 0 if visit is None else visit.last_at_ms + 1
    return None, _begun(mark, visitor, exits, after_ms=after_ms)


def timed_out(visit: Visit) -> Visit:
    """Returns a visit ended at its last mark, because nothing was sensed since."""
    return _ended(visit, at_ms=visit.last_at_ms, by="timeout")


def is_in_order(visit: Visit | None, mark: Mark) -> bool:
    """Returns whether a mark follows everything that was folded so far."""
    return visit is None or mark.order >= visit.last_order


def follows(visit: Visit, other: Visit) -> bool:
    """Returns whether a visit is not older than another one of the same visitor."""
    at = (visit.started_at_ms, visit.last_order)
    return at >= (other.started_at_ms, other.last_order)


def in_order_of_coming(visits: Iterable[Visit]) -> tuple[Visit, ...]:
    """Returns visits of people in one zone, those first who came into it first."""
    return tuple(sorted(visits, key=lambda each: (each.zone_entered_at_ms, each.visitor)))


def reach_ms(visit: Visit) -> int:
    """Returns the earliest instant that any of a visit's marks tells of."""
    return min(mark.at_ms - mark.dwell_ms for mark in values_of(visit.marks))


def refolded(
    visits: tuple[Visit, ...],
    mark: Mark | None,
    *,
    visitor: VisitorId,
    policy: Policy,
    exits: frozenset[ZoneId] = frozenset(),
    without: int | None = None,
) -> tuple[Visit, ...]:
    """Returns the visits that replace `visits` after a late mark, oldest first.

    Args:
        visits: Every visit of this visitor that the mark can touch.
        mark: The late mark; None to fold again without one.
        visitor: Whose mark it is.
        policy: Holds the visit time-out.
        exits: Zones whose leaving ends a visit that has paid.
        without: Tie of a mark that was taken back.
    """
    marks = [each for visit in visits for each in values_of(visit.marks) if each.tie != without]
    if mark is not None:
        marks.append(mark)
    marks.sort(key=lambda each: each.order)
    return folded(tuple(marks), visitor=visitor, policy=policy, exits=exits)


def folded(
    marks: tuple[Mark, ...],
    *,
    visitor: VisitorId,
    policy: Policy,
    exits: frozenset[ZoneId] = frozenset(),
) -> tuple[Visit, ...]:
    """Returns the visits that ordered marks make, oldest first; the last one may be open."""
    visits: list[Visit] = []
    current: Visit | None = None
    for mark in marks:
        ended, following = advance(current, mark, visitor=visitor, policy=policy, exits=exits)
        if ended is not None:
            visits[-1] = ended
        if current is None or following.id != current.id:
            visits.append(following)
        else:
            visits[-1] = following
        current = following
    return tuple(visits)


def one_visit(
    marks: tuple[Mark, ...],
    *,
    visitor: VisitorId,
    exits: frozenset[ZoneId] = frozenset(),
    after_ms: int = 0,
) -> Visit:
    """Returns the one visit that ordered marks are known to be, whatever gaps are between them.

    Args:
        marks: At least one mark, oldest first.
        visitor: Whose marks they are.
        exits: Zones whose leaving ends a visit that has paid.
        after_ms: The visit did not begin before this instant.
    """
    visit = _begun(marks[0], visitor, exits, after_ms=after_ms)
    for mark in marks[1:]:
        visit = _extended(visit, mark, exits)
    return visit


def all_stays(visit: Visit) -> tuple[ZoneStay, ...]:
    """Returns a visit's stays, the present one included as far as it is known."""
    stays = values_of(visit.stays)
    if visit.zone is None:
        return stays
    return (*stays, ZoneStay(visit.zone, visit.zone_entered_at_ms, visit.last_at_ms))


def visit_id_from(visitor: VisitorId, started_at_ms: int, first: Mark) -> VisitId:
    """Returns the id of the visit that a visitor's mark began.

    It begins with the visit's start, so that visits of the same hour lie side by side on the disk.
    The mark tells apart two visits that seem to begin at one instant: a dwell report reaches back.
    """
    text = f"{visitor}\x00{first.at_ms}\x00{first.tie}".encode()
    return VisitId(f"{started_at_ms:012x}{blake2b(text, digest_size=VISIT_ID_BYTES).hexdigest()}")


def _is_near(visit: Visit, mark: Mark, policy: Policy) -> bool:
    return mark.at_ms - visit.last_at_ms <= policy.visit_timeout_s * SECOND_MS


def _begun(mark: Mark, visitor: VisitorId, exits: frozenset[ZoneId], *, after_ms: int) -> Visit:
    # Never before the visit that came first, and never after the mark itself.
    started_at_ms = min(mark.at_ms, max(after_ms, mark.at_ms - mark.dwell_ms))
    visit = Visit(
        id=visit_id_from(visitor, started_at_ms, mark),
        visitor=visitor,
        started_at_ms=started_at_ms,
        last_at_ms=started_at_ms,
        last_order=mark.order,
    )
    return _extended(visit, mark, exits)


def _extended(visit: Visit, mark: Mark, exits: frozenset[ZoneId]) -> Visit:
    zone, entered_at_ms, stays = visit.zone, visit.zone_entered_at_ms, visit.stays
    n_handled, in_hand = visit.n_handled_in_zone, visit.in_hand
    if mark.kind in HANDLED_KINDS or mark.kind == "return":
        in_hand = _in_hand_after(in_hand, mark)
        n_handled += mark.kind in HANDLED_KINDS
    elif _moves(zone, mark):
        # A dwell report tells of the past, but of no more than nobody else has told already.
        moved_at_ms = max(visit.last_at_ms, mark.at_ms - mark.dwell_ms)
        if zone is not None:
            stays = _with_stay(stays, ZoneStay(zone, entered_at_ms, moved_at_ms))
        zone = mark.zone if mark.kind not in {"leave", "end"} else None
        entered_at_ms = moved_at_ms if zone is not None else 0
        n_handled = 0
    extended = Visit(
        id=visit.id,
        visitor=visit.visitor,
        started_at_ms=visit.started_at_ms,
        last_at_ms=mark.at_ms,
        last_order=mark.order,
        zone=zone,
        zone_entered_at_ms=entered_at_ms,
        n_handled_in_zone=n_handled,
        in_hand=in_hand,
        has_paid=visit.has_paid or mark.kind == "paid",
        marks=Chain(mark, visit.marks),
        stays=stays,
    )
    if mark.kind == "end":
        return _ended(extended, at_ms=mark.at_ms, by="exit")
    if mark.kind == "leave" and visit.has_paid and mark.zone in exits:
        return _ended(extended, at_ms=mark.at_ms, by="sale_exit")
    return extended


def _with_stay(stays: Chain[ZoneStay] | None, stay: ZoneStay) -> Chain[ZoneStay]:
    if stays is None or stays.last.entered_at_ms != stay.entered_at_ms:
        return Chain(stay, stays)
    # Sensors of several zones may take turns within a millisecond. Zone and time of coming name
    # a stay, so coming back to where one was at that very instant continues the first.
    begun = {(each.entered_at_ms, each.zone): each for each in (*stays, stay)}
    ordered = sorted(begun.values(), key=lambda s: (s.entered_at_ms, s.left_at_ms, s.zone))
    chain: Chain[ZoneStay] | None = None
    for each in ordered[:-1]:
        chain = Chain(each, chain)
    return Chain(ordered[-1], chain)


def _moves(zone: ZoneId | None, mark: Mark) -> bool:
    if mark.kind == "end":
        return True
    if mark.kind == "leave":
        # Leaving a zone that one is not in tells nothing about where one is.
        return zone is not None and mark.zone == zone
    return mark.zone is not None and mark.zone != zone


def _in_hand_after(in_hand: tuple[ProductId, ...], mark: Mark) -> tuple[ProductId, ...]:
    if mark.product is None:
        return in_hand
    rest = tuple(product for product in in_hand if product != mark.product)
    if mark.kind == "return":
        return rest
    return (*rest, mark.product)[-IN_HAND_MAX:]


def _ended(visit: Visit, *, at_ms: int, by: str) -> Visit:
    stays = visit.stays
    if visit.zone is not None:
        stays = _with_stay(stays, ZoneStay(visit.zone, visit.zone_entered_at_ms, at_ms))
    return replace(
        visit, zone=None, zone_entered_at_ms=0, stays=stays, ended_at_ms=at_ms, ended_by=by
    )
