"""Which visitor a basket belongs to, and when an anonymous one turns out to be somebody known.

Linking moves nothing: it records `alias_of` on the anonymous visitor, so it can be ended.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from edge_agent.domain.time import SECOND_MS
from edge_agent.identify.consent import has_any_consent

if TYPE_CHECKING:
    from edge_agent.domain.basket import Basket
    from edge_agent.domain.ids import VisitorId
    from edge_agent.domain.policy import Policy
    from edge_agent.domain.store import AtRegister
    from edge_agent.domain.visitor import Visitor


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


def alias_after(visitor: Visitor, members: frozenset[VisitorId]) -> VisitorId | None:
    """Returns whom a visitor is linked to, given the card holders of his baskets.

    One visitor with two different cards is linked to neither: a borrowed card must not make
    strangers one.
    """
    others = members - {visitor.id}
    return next(iter(others)) if len(others) == 1 else None


def with_complaints_of(member: Visitor, visitor: Visitor) -> Visitor:
    """Returns a person with the complaints that he made before he was recognised."""
    known = {complaint.case: complaint for complaint in visitor.complaints}
    known.update({complaint.case: complaint for complaint in member.complaints})
    return replace(member, complaints=tuple(known[case] for case in sorted(known)))
