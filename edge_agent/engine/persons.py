"""Who a visitor turned out to be, and who is silent with him; both follow from links."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from edge_agent.decide.eligibility import is_unheard
from edge_agent.domain.ids import BasketId, Pseudonym
from edge_agent.domain.time import DAY_MS
from edge_agent.domain.visitor import UNKNOWN_MEMBER, Subject
from edge_agent.identify.complaints import have_open_complaint
from edge_agent.identify.consent import (
    CHANNELS_OF_PLACE,
    STAFF_ASSISTANCE,
    forbids_offers,
    may_use,
    refuses_in,
)
from edge_agent.identify.links import links_from, person_among, unlinked, with_ends
from edge_agent.identify.pseudonyms import visitor_id_from

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from edge_agent.domain.basket import Basket
    from edge_agent.domain.ids import VisitorId
    from edge_agent.domain.visitor import Visit, Visitor
    from edge_agent.engine.draft import Draft


def person_behind(draft: Draft, visitor: Visitor) -> VisitorId | None:
    """Returns the card holder that a visitor is known to be now; None when nobody is known."""
    if not visitor.links:
        return None
    context = draft.context
    return person_among(
        visitor.links, draft.links_to, now_ms=context.now_ms, policy=context.policy
    )


def member_of(draft: Draft, visitor: Visitor) -> VisitorId | None:
    """Returns the identified person that a visitor is, or is known to be."""
    return visitor.id if visitor.is_identified else person_behind(draft, visitor)


def parts_of(draft: Draft, visitor: Visitor) -> set[VisitorId]:
    """Returns all that somebody walks about as: he, and whoever was taken for him."""
    links = (*visitor.links, *(draft.links_to(visitor.id) if visitor.is_identified else ()))
    return {visitor.id, *(link.of for link in links if link.is_claim)}


def carriers_of(draft: Draft, person: Visitor) -> tuple[Visitor, ...]:
    """Returns whoever is surely known now to be a card holder, such as his telephone."""
    linked = sorted({link.of for link in draft.links_to(person.id) if link.is_claim})
    known = (each for each in map(draft.visitor, linked) if each is not None)
    return tuple(each for each in known if person_behind(draft, each) == person.id)


def visits_beside(draft: Draft, visitor: Visitor) -> tuple[Visit, ...]:
    """Returns the visits that somebody is in now under his other names: his card, a telephone."""
    if not (visitor.links or visitor.is_identified):
        return ()
    person = draft.visitor(member_of(draft, visitor))
    if person is None:
        return ()
    others = (each for each in (person, *carriers_of(draft, person)) if each.id != visitor.id)
    visits = (draft.visit_of(each.id) for each in others)
    return tuple(each for each in visits if each is not None and each.is_open)


def circle_of(draft: Draft, visitors: Iterable[Visitor]) -> tuple[Visitor, ...]:
    """Returns everybody whose complaint silences these visitors, they themselves first.

    Whoever they were ever taken for counts, in force or not, as long as nobody said that it was
    wrong; and so does whoever was taken for the same people, if he complained.
    """
    found = {visitor.id: visitor for visitor in visitors}
    for visitor in tuple(found.values()):
        found.update((each.id, each) for each in _card_holders(draft, visitor))
        found.update((each.id, each) for each in _spoken_by_baskets(draft, visitor))
        for link in visitor.links:
            person = draft.visitor(link.visitor) if link.is_claim else None
            if person is not None:
                found.setdefault(person.id, person)
    # Links lead to identified people only.
    for person_id in [each.id for each in found.values() if each.is_identified]:
        for link in draft.links_to(person_id):
            if link.is_claim and link.of not in found and draft.has_complained(link.of):
                other = draft.visitor(link.of)
                if other is not None:
                    found[other.id] = other
    return tuple(found.values())


def own_basket(draft: Draft, visitor: Visitor | None) -> Basket | None:
    """Returns the basket that a visitor is nothing more than the number of; None for others."""
    if visitor is None or visitor.kind != "basket":
        return None
    return draft.basket(BasketId(visitor.pseudonym))


def _card_holders(draft: Draft, visitor: Visitor) -> Iterator[Visitor]:
    """Returns whose cards were read with a basket that has a visit of its own: it has no links."""
    basket = own_basket(draft, visitor)
    for member in () if basket is None else sorted(basket.first_readings):
        holder = draft.visitor(member)
        if holder is not None:
            yield holder


def _spoken_by_baskets(draft: Draft, visitor: Visitor) -> Iterator[Visitor]:
    """Returns who spoke by the number of a basket before it was known that this visitor has it."""
    since_ms = draft.context.now_ms - DAY_MS
    for basket in draft.baskets_of(visitor.id):
        if basket.last_at_ms < since_ms:
            # Its number is another basket's by now.
            continue
        subject = Subject(kind="basket", pseudonym=Pseudonym(basket.id))
        own = draft.visitor(visitor_id_from(subject, day=basket.day))
        if own is not None and (own.complaints or own.consents):
            yield own


def is_silenced(draft: Draft, *visitors: Visitor | None) -> bool:
    """Returns whether a complaint silences any of these visitors."""
    known = (visitor for visitor in visitors if visitor is not None)
    return have_open_complaint(circle_of(draft, known))


def may_be_unknown(draft: Draft, *visitors: Visitor | None) -> bool:
    """Returns whether what any of these visitors stated may be among what was lost."""
    lost_at_ms = draft.context.lost_at_ms
    if lost_at_ms is None:
        return False
    known = (visitor for visitor in visitors if visitor is not None)
    return any(each.may_be_unknown(lost_at_ms) for each in circle_of(draft, known))


def hq_silent_days(draft: Draft, circle: Iterable[Visitor]) -> int | None:
    """Returns for how many whole days HQ was not heard; None where it knows nobody of a circle.

    HQ knows people by what they gave on purpose. Who is nobody known is served without it.
    """
    if draft.context.hq_heard_ms is None or not any(each.is_identified for each in circle):
        return None
    return days_without_hq(draft)


def days_without_hq(draft: Draft) -> int | None:
    """Returns for how many whole days HQ was not heard; None where there is no HQ."""
    heard_ms = draft.context.hq_heard_ms
    return None if heard_ms is None else max(draft.context.now_ms - heard_ms, 0) // DAY_MS


def may_be_silent_stranger(draft: Draft) -> bool:
    """Returns whether a card of which nothing is on record may be that of somebody to leave alone.

    So it is when what was stated is lost, or may wait at an HQ that was not heard for too long.
    """
    context = draft.context
    return context.lost_at_ms is not None or is_unheard(days_without_hq(draft), context.policy)


def is_refused(circle: Iterable[Visitor], place: str, *, now_ms: int) -> bool:
    """Returns whether anybody of a circle refused marketing in a place.

    The stricter of both holds: a no of whoever a visitor was taken for counts as his own.
    """
    return any(each.consents and forbids_offers(each, place, now_ms=now_ms) for each in circle)


def may_be_noticed(draft: Draft, visitor: Visitor) -> bool:
    """Returns whether staff may be told what somebody's behaviour says: that he may want help.

    Of who is nobody known they may, unless he refused it. Of who is known nothing on record means
    no: he must have consented, and none of those who are taken for him may have refused.
    """
    if refuses_help(draft, visitor):
        return False
    person = draft.visitor(member_of(draft, visitor))
    now_ms = draft.context.now_ms
    return person is None or may_use(person, STAFF_ASSISTANCE, "staff", now_ms=now_ms)


def refuses_help(draft: Draft, visitor: Visitor) -> bool:
    """Returns whether he, or whoever he was taken for, wants no staff sent to him."""
    now_ms = draft.context.now_ms
    return any(
        each.is_restricted
        or (each.consents and refuses_in(each, STAFF_ASSISTANCE, "staff", now_ms=now_ms))
        for each in circle_of(draft, (visitor,))
    )


def is_left_alone(
    draft: Draft, visitor: Visitor | None, *, places: Iterable[str] = CHANNELS_OF_PLACE
) -> bool:
    """Returns whether somebody is to be left alone in one of these places at least."""
    if visitor is None:
        return False
    circle, now_ms = circle_of(draft, (visitor,)), draft.context.now_ms
    return have_open_complaint(circle) or any(
        is_refused(circle, place, now_ms=now_ms) for place in places
    )


def spoken_to(draft: Draft, basket: Basket, *, place: str) -> VisitorId | None:
    """Returns to whom what is said of a basket speaks; None where no card was read with it.

    Before anybody else to who complained or refused it, or may have: whichever card was read with
    it, and whenever. Where there is none such, to the card holder whose it is.
    """
    for member in sorted(basket.first_readings):
        holder = draft.visitor(member)
        if member == UNKNOWN_MEMBER or is_left_alone(draft, holder, places=(place,)):
            return member
    return basket.member


def link_by_baskets(draft: Draft, visitor: Visitor) -> None:
    """Derives a visitor's links anew from the baskets that are his."""
    baskets = draft.baskets_of(visitor.id)
    if not visitor.links and not any(each.cards for each in baskets):
        # Four in five people: nothing was ever read that leads to anybody.
        return
    before = draft.state.baskets_of(visitor.id)
    links = links_from(visitor, baskets, before=before)
    _put_links(draft, visitor, replace(visitor, links=links))


def end_links(draft: Draft, visitor: Visitor) -> tuple[Visitor, ...]:
    """Ends what rested on a consent, after somebody's statements changed.

    Returns:
        Whose links may lead elsewhere now.
    """
    theirs = draft.links_to(visitor.id) if visitor.is_identified else ()
    linked = dict.fromkeys((visitor.id, *(link.of for link in theirs)))
    found = [each for each in map(draft.visitor, linked) if each is not None and each.links]
    for each in found:
        _put_links(draft, each, each)
    return tuple(found)


def unlink(
    draft: Draft, visitor_id: VisitorId, persons: frozenset[VisitorId], *, source: str
) -> None:
    """Writes down that a visitor is none of these people."""
    visitor = draft.visitor(visitor_id)
    if visitor is None:
        return
    at_ms = draft.context.now_ms
    links = unlinked(visitor, persons, at_ms=at_ms, source=source)
    _put_links(draft, visitor, replace(visitor, links=links))


def _put_links(draft: Draft, before: Visitor, visitor: Visitor) -> None:
    links = with_ends(visitor, visitor.links, draft.visitor)
    if links != before.links:
        draft.put_visitor(replace(visitor, links=links))
