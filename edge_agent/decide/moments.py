"""What asks for a decision, found in what just happened."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.domain.decisions import Cause, Moment, Place

if TYPE_CHECKING:
    from edge_agent.domain.basket import Basket
    from edge_agent.domain.ids import ProductId, VisitorId, ZoneId
    from edge_agent.domain.policy import Policy
    from edge_agent.domain.store import Layout, Screen
    from edge_agent.domain.visitor import Visit


def at_screens(
    kind: str,
    visit: Visit,
    zone: ZoneId,
    *,
    cause: Cause,
    member: VisitorId | None,
    in_basket: tuple[ProductId, ...],
    item: ProductId | None,
    layout: Layout,
    policy: Policy,
) -> tuple[Moment, ...]:
    """Returns a moment for each screen of the zone that a visitor entered or handled goods in."""
    return tuple(
        Moment(
            kind=kind,
            cause=cause,
            place=screen_place(screen),
            visitor=visit.visitor,
            visit=visit.id,
            member=member,
            in_basket=in_basket,
            item=item,
            limit=policy.n_items,
        )
        for screen in layout.screens_by_zone.get(zone, ())
    )


def at_receipt(
    basket: Basket,
    *,
    cause: Cause,
    visit: Visit | None,
    member: VisitorId | None,
    in_basket: tuple[ProductId, ...],
    item: ProductId,
    policy: Policy,
) -> Moment:
    """Returns the moment of an open basket: what may be printed on its receipt."""
    return Moment(
        kind="basket_line",
        cause=cause,
        place=Place(channel="receipt", register=basket.register, audience="private"),
        visitor=basket.carrier,
        visit=None if visit is None else visit.id,
        member=member,
        in_basket=in_basket,
        item=item,
        basket=basket.id,
        limit=policy.n_receipt_items,
    )


def store_default(screen: Screen, *, cause: Cause, policy: Policy) -> Moment:
    """Returns the moment of a screen that nobody stands before."""
    return Moment(
        kind="store_default", cause=cause, place=screen_place(screen), limit=policy.n_items
    )


def screen_place(screen: Screen, *, audience: str | None = None) -> Place:
    """Returns a screen as the place of a decision, seen by its own audience or by another."""
    seen_by = screen.audience if audience is None else audience
    return Place(channel="screen", screen=screen.id, zone=screen.zone, audience=seen_by)
