"""Whose a basket is, and when a visitor turns out to be somebody known.

A link is evidence: a card was read with a basket that somebody carried. It moves nothing, and who
a visitor is follows from the links in force, whatever order they came in:

1. A link ends when no consent of the card's holder is in force any more, and by the word that it
   was wrong (`unlink`). A later consent begins no old link again: the card must be read anew.
2. A visitor whose links in force lead to two people is neither of them.
3. A card read with the baskets of two people within `card_apart_s` is neither's.
4. A card that gathers more identifiers of a kind within a day than `LINKS_PER_CARD` is a house
   card, and makes nobody known.
5. Links lead from a visitor to a card holder and never on from there: strangers who share a card
   are never made one. Only silence passes between them, because it harms nobody.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from edge_agent.domain.policy import LINKS_PER_CARD
from edge_agent.domain.time import DAY_MS, SECOND_MS
from edge_agent.domain.visitor import UNKNOWN_MEMBER, Link
from edge_agent.identify.consent import has_any_consent, lapse_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from edge_agent.domain.basket import Basket
    from edge_agent.domain.ids import VisitorId
    from edge_agent.domain.policy import Policy
    from edge_agent.domain.store import AtRegister
    from edge_agent.domain.visitor import Visitor

NAMED: Final = 1.0
STOOD_THERE: Final = 0.5


def carrier_of(
    basket: Basket, at_register: tuple[AtRegister, ...], *, policy: Policy
) -> VisitorId | None:
    """Returns the visitor whose visit a basket belongs to; None means a visit of its own.

    First who shares an identifier with it. Else the only one who stands at the register when it
    begins; when nobody does, the only one who arrives within `basket_stay_s`. Two people at one
    register are never guessed between.
    """
    if basket.shared is not None:
        return basket.shared
    if basket.opened_at_ms is None:
        return None
    at_ms = basket.opened_at_ms
    standing = {
        stay.visitor
        for stay in at_register
        if stay.entered_at_ms <= at_ms and (stay.left_at_ms is None or at_ms < stay.left_at_ms)
    }
    if not standing:
        soon_ms = at_ms + policy.basket_stay_s * SECOND_MS
        standing = {stay.visitor for stay in at_register if at_ms < stay.entered_at_ms <= soon_ms}
    return next(iter(standing)) if len(standing) == 1 else None


def may_link(member: Visitor, *, now_ms: int) -> bool:
    """Returns whether a card holder may be recognised: only with a consent in force."""
    return member.is_identified and has_any_consent(member, now_ms=now_ms)


def links_from(
    visitor: Visitor, baskets: Iterable[Basket], *, before: Iterable[Basket]
) -> tuple[Link, ...]:
    """Returns a visitor's links as his baskets tell them, and what was said against them.

    Evidence outlives its basket: a link that none of the baskets of before told is of one that was
    kept long enough, or is lost with a database. It stays, and so does the silence that it passes.
    """
    told = {reading for basket in before for reading in basket.first_readings.items()}
    stays = (each for each in visitor.links if (each.visitor, each.since_ms) not in told)
    found = {(each.visitor, each.since_ms): each for each in stays if each.basis != "unlink"} | {
        (member, since_ms): Link(
            kind=visitor.kind,
            of=visitor.id,
            visitor=member,
            since_ms=since_ms,
            source=basket.register,
            confidence=NAMED if basket.shared == visitor.id else STOOD_THERE,
        )
        for basket in sorted(baskets, key=lambda each: each.id)
        for member, since_ms in basket.first_readings.items()
        if member not in {visitor.id, UNKNOWN_MEMBER}
    }
    said = (link for link in visitor.links if link.basis == "unlink")
    return tuple(sorted((*found.values(), *said), key=lambda each: each.order))


def unlinked(
    visitor: Visitor, persons: frozenset[VisitorId], *, at_ms: int, source: str
) -> tuple[Link, ...]:
    """Returns a visitor's links after the word that he is none of these people."""
    # Evidence of a clock that is ahead was seen before the word all the same.
    newest_ms = max((link.since_ms for link in visitor.links), default=at_ms)
    said = (
        Link(
            kind=visitor.kind,
            of=visitor.id,
            visitor=person,
            since_ms=max(at_ms, newest_ms),
            until_ms=max(at_ms, newest_ms),
            basis="unlink",
            source=source,
        )
        for person in persons
    )
    return tuple(sorted({*visitor.links, *said}, key=lambda each: each.order))


def with_ends(
    visitor: Visitor, links: tuple[Link, ...], person_of_id: Callable[[VisitorId], Visitor | None]
) -> tuple[Link, ...]:
    """Returns links, each with the instant at which it ends as far as is known."""
    said = [(each.visitor, each.since_ms) for each in links if each.basis == "unlink"]
    ended = []
    for link in links:
        if link.basis == "unlink":
            ended.append(link)
            continue
        taken_back = [at for who, at in said if who == link.visitor and at >= link.since_ms]
        person = person_of_id(link.visitor)
        lapse = None if person is None else lapse_of(person, visitor, since_ms=link.since_ms)
        until_ms, by = lapse or (None, None)
        if taken_back:
            until_ms, by = min((*taken_back, *(() if until_ms is None else (until_ms,)))), "unlink"
        ended.append(replace(link, until_ms=until_ms, ended_by=by))
    return tuple(ended)


def person_among(
    links: tuple[Link, ...],
    links_to: Callable[[VisitorId], tuple[Link, ...]],
    *,
    now_ms: int,
    policy: Policy,
) -> VisitorId | None:
    """Returns whom a visitor's links lead to at an instant; None when nobody or not surely."""
    held = [link for link in links if link.is_in_force(now_ms)]
    if len({link.visitor for link in held}) != 1:
        return None
    theirs = [link for link in links_to(held[0].visitor) if link.is_claim]
    sure = any(not _is_contested(link, theirs, policy=policy) for link in held)
    return held[0].visitor if sure else None


def _is_contested(link: Link, theirs: list[Link], *, policy: Policy) -> bool:
    apart_ms = policy.card_apart_s * SECOND_MS
    gathered = {link.of}
    for other in theirs:
        gap_ms = abs(other.since_ms - link.since_ms)
        if other.of != link.of and gap_ms < apart_ms:
            return True
        if other.kind == link.kind and gap_ms < DAY_MS:
            gathered.add(other.of)
    return len(gathered) > LINKS_PER_CARD.get(link.kind, 1)
