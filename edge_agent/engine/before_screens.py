"""People come to a screen and go: what it shows follows them within the same step.

Three things happen here. A moment at a screen that several people share is answered by that
screen's rule. An answer for one person's eyes gives way when somebody else comes or he himself
goes, also when that is heard of late: to take something back is no decision for anybody. And what
several people are shown together changes with them.

What was taken back never returns by itself: it takes a new moment of the one who is alone then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_agent.decide.audience import SEMI_PRIVATE, audience_before, held_together
from edge_agent.decide.moments import screen_place, store_default
from edge_agent.domain.decisions import Cause, Company, Moment
from edge_agent.domain.effects import ScheduleWake
from edge_agent.domain.ids import ScreenId
from edge_agent.domain.time import SECOND_MS
from edge_agent.engine import company, deciding, persons

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge_agent.domain.decisions import Place
    from edge_agent.domain.ids import VisitorId, ZoneId
    from edge_agent.domain.inputs import Wake
    from edge_agent.domain.store import Screen, Showing
    from edge_agent.domain.visitor import Mark, Visit
    from edge_agent.engine.draft import Draft

AGENT_SOURCE: Final = "edge-agent"
TURN: Final = "screen_turn"
"""The wake-up of a screen that answers several people in turn."""
KIND: Final = "company"
"""The moment of several people, or of who is next among them."""
SEVERAL: Final = 2
_HANDLING: Final = frozenset({"lift", "scan"})


def answer(draft: Draft, moment: Moment, visit: Visit) -> None:
    """Decides on somebody's moment at a screen, as those who stand before it share it."""
    screen = draft.context.layout.screens.get(moment.place.screen or ScreenId(""))
    mode = company.NEWEST if screen is None else company.sharing_of(draft, screen.id).mode
    if screen is None or mode == company.NEWEST:
        deciding.decide(draft, moment)
        return
    people = company.people_in(draft, screen.zone, also=visit)
    if len(people) < SEVERAL:
        deciding.decide(draft, moment)
    elif mode == company.ROTATION:
        deciding.decide(draft, moment)
        _ask_for_turn(draft, screen, shown_ms=draft.context.now_ms)
    elif not deciding.may_answer(draft, moment) or not _answer_together(
        draft, screen, people, cause=moment.cause
    ):
        # Whoever is to be left alone has not even asked for an answer to the others.
        deciding.decide(draft, moment)


def follow(
    draft: Draft,
    visitor: VisitorId,
    before: Visit | None,
    *,
    mark: Mark,
    cause: Cause,
    is_late: bool,
) -> None:
    """Has screens follow somebody whose visits have just changed.

    Args:
        draft: The step, with what he asked for by that already decided.
        visitor: Who came, went or was sensed.
        before: His newest visit before that.
        mark: What was sensed.
        cause: The event that told of it.
        is_late: Its moment is over: what is shown is taken back, and nothing is decided anew.
    """
    now = draft.visit_of(visitor)
    at = None if now is None else now.zone
    for screen in draft.context.layout.personal_screens:
        showing = draft.showing(screen.id)
        if showing is None or not showing.is_personal:
            continue
        is_abandoned = showing.visitor == visitor and not _stands_before(screen, now, mark)
        if is_abandoned or (screen.zone == at and _is_overlooked(draft, screen, showing)):
            _give_back(draft, screen, cause)
    if before is not None and before.zone is not None and before.zone != at:
        _regroup(draft, _together_in(draft, before.zone), cause=cause, is_late=is_late)
        _hand_on(draft, before.zone)


def follow_count(draft: Draft, zone: ZoneId, counted: int, *, cause: Cause) -> None:
    """Has screens follow a sensor that counts who is in a zone."""
    for screen in draft.context.layout.personal_screens:
        showing = draft.showing(screen.id)
        if (
            screen.zone == zone
            and showing is not None
            and showing.is_personal
            and _is_overlooked(draft, screen, showing, counted=counted)
        ):
            _give_back(draft, screen, cause)


def follow_end(draft: Draft, visit: Visit, *, cause: Cause) -> None:
    """Has screens follow a visit that time has ended."""
    if visit.zone is not None:
        deciding.revert_screens(draft, visit.zone, visit.visitor, cause=cause)
        _regroup(draft, _together_in(draft, visit.zone), cause=cause)
        _hand_on(draft, visit.zone)


def follow_word(
    draft: Draft, *, cause: Cause, without: frozenset[VisitorId] = frozenset()
) -> None:
    """Takes whoever is to be left alone now out of what several people are shown together.

    Args:
        draft: The step, in which somebody has just said so.
        cause: What told of it.
        without: Who is not to be heeded any more, whatever is on record.
    """
    there = draft.context.layout.screens
    # A screen that the store no longer has may be named by its rules and by its state.
    shared = (each for each in draft.context.rules.sharing if each in there)
    screens = [there[each] for each in sorted(shared) if _is_together(draft, each)]
    for screen in screens:
        people = company.people_in(draft, screen.zone)
        heeded = _heeded(draft, screen, people, cause=cause)
        if len(heeded) < len(people) or any(each.visitor in without for each in people):
            _regroup(draft, (screen,), cause=cause, without=without)


def turn(draft: Draft, given: Wake) -> None:
    """Answers whose turn it is at a screen; with fewer than two people there are no more turns."""
    screen = draft.context.layout.screens.get(ScreenId(given.key))
    if screen is None or company.sharing_of(draft, screen.id).mode != company.ROTATION:
        return
    cause = Cause(source=AGENT_SOURCE, id=f"turn-{screen.id}-{given.due_ms}")
    people = company.people_in(draft, screen.zone)
    heeded = _heeded(draft, screen, people, cause=cause)
    if len(heeded) < SEVERAL:
        return
    now_ms = draft.context.now_ms
    showing = draft.showing(screen.id)
    shown_to = None if showing is None else showing.visitor
    if showing is not None and shown_to is not None:
        shown_ms = showing.valid_until_ms - draft.context.policy.screen_show_s * SECOND_MS
        if now_ms < shown_ms + _turn_ms(draft, screen):
            _ask_for_turn(draft, screen, shown_ms=shown_ms)
            return
    visitors = [each.visitor for each in heeded]
    following = visitors.index(shown_to) + 1 if shown_to in visitors else 0
    next_one = heeded[following % len(heeded)]
    deciding.decide(draft, _moment_of(draft, next_one, screen_place(screen), cause=cause))
    _ask_for_turn(draft, screen, shown_ms=now_ms)


def _answer_together(
    draft: Draft, screen: Screen, people: tuple[Visit, ...], *, cause: Cause
) -> bool:
    """Answers several people at once; returns whether there is anybody who may be heeded."""
    most = company.sharing_of(draft, screen.id).most
    heeded = _heeded(draft, screen, people, cause=cause)[-most:]
    if not heeded:
        return False
    held = tuple(deciding.in_basket(draft, each) for each in heeded)
    n_people = company.n_people(draft, screen.zone, people)
    moment = Moment(
        kind=KIND,
        cause=cause,
        place=_place_before(screen, n_people),
        in_basket=held_together(held),
        limit=draft.context.policy.n_items,
        company=Company(
            audience=screen.audience,
            n_people=n_people,
            mode=company.MIXED,
            held=held,
            heeded=tuple(each.visitor for each in heeded),
        ),
    )
    deciding.decide(draft, moment)
    return True


def _regroup(
    draft: Draft,
    screens: Iterable[Screen],
    *,
    cause: Cause,
    is_late: bool = False,
    without: frozenset[VisitorId] = frozenset(),
) -> None:
    """Changes what several people are shown together, or gives it back with fewer than two."""
    for screen in screens:
        people = company.people_in(draft, screen.zone, without=without)
        is_over = is_late or len(people) < SEVERAL
        if is_over or not _answer_together(draft, screen, people, cause=cause):
            _give_back(draft, screen, cause)


def _hand_on(draft: Draft, zone: ZoneId) -> None:
    """Asks for the next one's turn at once where who had it has gone in this step."""
    if not draft.context.rules.sharing:
        return
    for screen in draft.context.layout.screens_by_zone.get(zone, ()):
        mode = company.sharing_of(draft, screen.id).mode
        if mode == company.ROTATION and draft.shows_anew(screen.id):
            now_ms = draft.context.now_ms
            draft.add(ScheduleWake(due_ms=now_ms, kind=TURN, key=screen.id))


def _together_in(draft: Draft, zone: ZoneId) -> tuple[Screen, ...]:
    if not draft.context.rules.sharing:
        return ()
    screens = draft.context.layout.screens_by_zone.get(zone, ())
    return tuple(screen for screen in screens if _is_together(draft, screen.id))


def _is_together(draft: Draft, screen: ScreenId) -> bool:
    showing = draft.showing(screen)
    return showing is not None and showing.is_shared and not draft.shows_anew(screen)


def _is_overlooked(
    draft: Draft, screen: Screen, showing: Showing, *, counted: int | None = None
) -> bool:
    """Returns whether more than one person can read a screen that one at a time may read."""
    if screen.audience != SEMI_PRIVATE or showing.visitor is None:
        return False
    # Whom it is for stands there, and be it that a shelf alone saw him.
    people = company.people_in(draft, screen.zone, also=draft.visit_of(showing.visitor))
    return company.n_people(draft, screen.zone, people, counted=counted) >= SEVERAL


def _stands_before(screen: Screen, visit: Visit | None, mark: Mark) -> bool:
    if visit is None or not visit.is_open:
        return False
    if visit.zone is None:
        # A shelf saw him, and nothing else has yet.
        return mark.kind in _HANDLING and mark.zone == screen.zone
    return visit.zone == screen.zone


def _heeded(
    draft: Draft, screen: Screen, people: tuple[Visit, ...], *, cause: Cause
) -> tuple[Visit, ...]:
    """Returns those people to whom something may be said where all of them see it."""
    place = _place_before(screen, len(people))
    return tuple(
        each
        for each in people
        if deciding.may_answer(draft, _moment_of(draft, each, place, cause=cause))
    )


def _place_before(screen: Screen, n_people: int) -> Place:
    return screen_place(screen, audience=audience_before(screen.audience, n_people))


def _moment_of(draft: Draft, visit: Visit, place: Place, *, cause: Cause) -> Moment:
    visitor = draft.visitor(visit.visitor)
    return Moment(
        kind=KIND,
        cause=cause,
        place=place,
        visitor=visit.visitor,
        visit=visit.id,
        member=None if visitor is None else persons.member_of(draft, visitor),
        in_basket=deciding.in_basket(draft, visit),
        limit=draft.context.policy.n_items,
    )


def _give_back(draft: Draft, screen: Screen, cause: Cause) -> None:
    deciding.decide(draft, store_default(screen, cause=cause, policy=draft.context.policy))


def _turn_ms(draft: Draft, screen: Screen) -> int:
    return company.sharing_of(draft, screen.id).turn_s * SECOND_MS


def _ask_for_turn(draft: Draft, screen: Screen, *, shown_ms: int) -> None:
    due_ms = shown_ms + _turn_ms(draft, screen)
    draft.add(ScheduleWake(due_ms=due_ms, kind=TURN, key=screen.id))
