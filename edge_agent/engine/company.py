"""Who stands before a screen right now, and how an answer there must take heed of it.

It reads and changes nothing. People count, not identifiers: a telephone and a card that are known
to be one person's are one. What cannot be told apart, such as a telephone and a camera's track of
its owner, counts as two: then too little of him is said before others. Each of the two has caps of
its own; an answer to both at once is within those of both, and counts to both.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from edge_agent.decide.audience import audience_before
from edge_agent.domain.decisions import Company
from edge_agent.domain.rules import Sharing
from edge_agent.domain.time import SECOND_MS
from edge_agent.engine import persons

if TYPE_CHECKING:
    from edge_agent.domain.decisions import Moment
    from edge_agent.domain.ids import ScreenId, VisitorId, ZoneId
    from edge_agent.domain.visitor import Visit
    from edge_agent.engine.draft import Draft

OCCUPANCY: Final = "occupancy"
NEWEST: Final = "newest"
MIXED: Final = "mixed"
ROTATION: Final = "rotation"
_ALONE: Final = Sharing()


def sharing_of(draft: Draft, screen: ScreenId) -> Sharing:
    """Returns how several people share a screen."""
    return draft.context.rules.sharing.get(screen, _ALONE)


def people_in(
    draft: Draft,
    zone: ZoneId,
    *,
    also: Visit | None = None,
    without: frozenset[VisitorId] = frozenset(),
) -> tuple[Visit, ...]:
    """Returns one visit of each person in a zone, those first who came first.

    Args:
        draft: The step.
        zone: The zone.
        also: A visit of somebody who does something there, wherever he was seen last.
        without: Who is not to be heeded any more.
    """
    visits = draft.present_in(zone)
    if also is not None and all(each.visitor != also.visitor for each in visits):
        visits = (*visits, also)
    found: dict[VisitorId, Visit] = {}
    for visit in visits:
        if visit.visitor not in without:
            # Where one person is known by two identifiers, what was sensed last tells more.
            found.pop(person := _person(draft, visit.visitor), None)
            found[person] = visit
    return tuple(found.values())


def n_people(
    draft: Draft, zone: ZoneId, people: tuple[Visit, ...], *, counted: int | None = None
) -> int:
    """Returns how many are in a zone: whoever is known to be, or as many as a sensor counts.

    Args:
        draft: The step.
        zone: The zone.
        people: Who is known to be there.
        counted: What a sensor tells in this very step.
    """
    level = draft.state.level(OCCUPANCY, zone) if counted is None else None
    if level is not None:
        # A sensor that says nothing for as long as a visit lasts unsensed is not believed.
        oldest_ms = draft.context.now_ms - draft.context.policy.visit_timeout_s * SECOND_MS
        counted = level.value if level.at_ms >= oldest_ms else None
    return max(len(people), counted or 0)


def fitted(draft: Draft, moment: Moment) -> Moment:
    """Returns a moment as whoever stands before its screen allows; the same where that is all.

    Every decision on a screen passes here, whatever asked for it.
    """
    place = moment.place
    if place.screen is None or place.zone is None or moment.company is not None:
        return moment
    seen_by = audience_before(place.audience, 0)
    if moment.visitor is None:
        is_same = seen_by == place.audience
        return moment if is_same else replace(moment, place=replace(place, audience=seen_by))
    mode = sharing_of(draft, place.screen).mode
    if seen_by == place.audience and mode == NEWEST:
        return moment
    people = people_in(draft, place.zone, also=draft.visit_of(moment.visitor))
    together = Company(
        audience=place.audience, n_people=n_people(draft, place.zone, people), mode=mode
    )
    seen_by = audience_before(place.audience, together.n_people)
    return replace(moment, place=replace(place, audience=seen_by), company=together)


def fitted_reply(draft: Draft, moment: Moment) -> Moment:
    """Returns a request's moment as whoever is around its asker allows.

    A device that one person at a time can read says in which zone it is asked. Where it does not,
    nobody knows who else reads the answer.
    """
    place = moment.place
    seen_by = audience_before(place.audience, 0)
    if seen_by == place.audience:
        return moment
    together = Company(audience=place.audience, n_people=_n_around(draft, moment))
    seen_by = audience_before(place.audience, together.n_people)
    return replace(moment, place=replace(place, audience=seen_by), company=together)


def _n_around(draft: Draft, moment: Moment) -> int:
    """Returns how many are in the zone of a request, its asker among them; 0 for not known."""
    if moment.place.zone is None:
        return 0
    people = people_in(draft, moment.place.zone)
    asker = None if moment.visitor is None else _person(draft, moment.visitor)
    is_among_them = any(_person(draft, each.visitor) == asker for each in people)
    n_counted = n_people(draft, moment.place.zone, people)
    return max(n_counted, len(people) + (not is_among_them))


def _person(draft: Draft, visitor_id: VisitorId) -> VisitorId:
    visitor = draft.visitor(visitor_id)
    if visitor is None:
        return visitor_id
    return persons.member_of(draft, visitor) or visitor_id
