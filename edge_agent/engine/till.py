"""What happens at a till: baskets, cards, sales, and whose they are.

Whose a basket is follows from who stood at the register, and is read again whenever a late event
changes that. So the answer does not depend on the order in which events arrive.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from edge_agent.decide.moments import at_receipt
from edge_agent.domain.decisions import Cause
from edge_agent.domain.effects import Count, JoinPurchases
from edge_agent.domain.ids import ProductId, Pseudonym, RegisterId
from edge_agent.domain.store import AtRegister
from edge_agent.domain.time import SECOND_MS
from edge_agent.domain.visitor import UNKNOWN_MEMBER, Mark, Subject
from edge_agent.engine import deciding, goods, persons, purchases
from edge_agent.identify.links import carrier_of, may_link
from edge_agent.identify.pseudonyms import visitor_id_from
from edge_agent.state import baskets
from edge_agent.state.visits import all_stays, one_visit
from edge_agent.wire import events as wire

if TYPE_CHECKING:
    from edge_agent.domain.basket import Basket
    from edge_agent.domain.ids import VisitorId, ZoneId
    from edge_agent.domain.inputs import Arrival
    from edge_agent.domain.visitor import Visit
    from edge_agent.engine.draft import Draft

# Shortens a basket's pseudonym to a mark's tie: 60 bits, positive in SQLite.
_TIE_HEX_DIGITS: Final = 15


def at_till(draft: Draft, arrival: Arrival) -> None:
    """Takes in one till event."""
    event = arrival.event
    if arrival.basket is None:
        _card_away_from_till(draft, arrival)
        return
    named = getattr(event.data, "register_", None)
    before = draft.basket(arrival.basket)
    basket = baskets.touched(
        before,
        basket_id=arrival.basket,
        day=arrival.day,
        register=RegisterId(named or event.source),
        at_ms=arrival.at_ms,
    )
    basket = _with_people(draft, arrival, _with_event(basket, arrival))
    basket = _resolve(draft, basket, fresh=None)
    _touch(draft, arrival, before, basket)
    if isinstance(event, wire.SaleCompleted) or _is_newly_known(before, basket):
        _sold(draft, before, basket)
    if isinstance(event, wire.SaleVoided):
        purchases.forget(draft, basket)
    if isinstance(event, wire.BasketItemAdded) and arrival.may_decide:
        _offer(draft, arrival, basket, item=ProductId(event.data.product))


def resolve_near(
    draft: Draft, visitor: VisitorId, *, zones: frozenset[ZoneId], from_ms: int, to_ms: int
) -> None:
    """Reads again whose the baskets are that were opened while somebody came to or left a till.

    Args:
        draft: The step.
        visitor: Whose visits have just changed.
        zones: Register zones that the change may concern.
        from_ms: Baskets opened before this are settled.
        to_ms: Baskets opened after this, as far as that is past, are settled.
    """
    span_ms = draft.context.policy.basket_stay_s * SECOND_MS
    for zone in sorted(zones):
        # A basket begun since may rest on his still standing there.
        until_ms = max(to_ms, draft.context.now_ms)
        near = draft.state.baskets_near(zone, from_ms=from_ms - span_ms, to_ms=until_ms)
        for basket in near:
            _resolve(draft, draft.basket(basket.id) or basket, fresh=visitor)


def _touch(draft: Draft, arrival: Arrival, before: Basket | None, basket: Basket) -> None:
    sales = (before.sale if before is not None else None, basket.sale)
    for at_ms in {arrival.at_ms, *(sale.completed_at_ms for sale in sales if sale is not None)}:
        draft.touch_summaries(at_ms)


def _is_newly_known(before: Basket | None, basket: Basket) -> bool:
    # The card was read, or its event arrived, after the sale.
    known = None if before is None else before.member
    return basket.sale is not None and basket.member is not None and basket.member != known


def _with_event(basket: Basket, arrival: Arrival) -> Basket:
    event, at_ms = arrival.event, arrival.at_ms
    if isinstance(event, wire.BasketOpened):
        return baskets.with_opening(basket, at_ms=at_ms)
    if isinstance(event, (wire.BasketItemAdded, wire.BasketItemVoided)):
        quantity = event.data.quantity
        if isinstance(event, wire.BasketItemVoided):
            quantity = Decimal(0) - quantity
        return baskets.with_line(
            basket,
            at_ms=at_ms,
            tie=arrival.tie,
            product=ProductId(event.data.product),
            quantity=quantity,
        )
    if isinstance(event, wire.SaleCompleted):
        named = f"{event.source} {event.id}"
        return baskets.with_sale(basket, event.data, at_ms=at_ms, event=named)
    if isinstance(event, wire.SaleVoided):
        return baskets.with_void(basket, at_ms=at_ms)
    return basket


def _with_people(draft: Draft, arrival: Arrival, basket: Basket) -> Basket:
    subject = arrival.subject
    if subject is None or subject.kind == "basket":
        return basket
    if subject.kind != "loyalty":
        shared = draft.visitor_for(subject, day=arrival.day, at_ms=arrival.at_ms)
        return replace(basket, shared=shared.id)
    member = draft.visitor_of(subject)
    is_known = member is not None and may_link(member, now_ms=arrival.at_ms)
    if member is None or not (is_known or persons.is_left_alone(draft, member)):
        # Nothing on record means no: an unconsented card leaves no trace. But who complained or
        # refused marketing is recognised, in order to be left alone.
        draft.add(Count("card_without_consent"))
        if persons.may_be_silent_stranger(draft):
            # He may be one of those: that a card was shown is kept, and not whose.
            whose = UNKNOWN_MEMBER
            return baskets.with_card(basket, at_ms=arrival.at_ms, member=whose, is_silent=True)
        return basket
    if is_known:
        draft.see(member, arrival.at_ms)
    return baskets.with_card(basket, at_ms=arrival.at_ms, member=member.id, is_silent=not is_known)


def _resolve(draft: Draft, basket: Basket, *, fresh: VisitorId | None) -> Basket:
    """Settles whose basket it is, as far as is known now, and moves what follows from that."""
    own = visitor_id_from(_own_subject(basket), day=basket.day)
    carrier = carrier_of(basket, _people_at(draft, basket, fresh), policy=draft.context.policy)
    carrier = carrier or own
    previous = basket.carrier
    if previous is not None and previous != carrier:
        basket = _given_up(draft, basket, previous, own=own)
    basket = replace(basket, carrier=carrier)
    if carrier == own:
        _visit_of_its_own(draft, basket)
    else:
        basket = _with_paid_mark(draft, basket, carrier)
    draft.put_basket(basket)
    for visitor in (carrier, previous):
        if visitor not in {None, own}:
            _link(draft, visitor)
    return basket


def _people_at(draft: Draft, basket: Basket, fresh: VisitorId | None) -> tuple[AtRegister, ...]:
    register = draft.context.layout.registers.get(basket.register)
    if basket.opened_at_ms is None or register is None or register.zone is None:
        return ()
    from_ms = basket.opened_at_ms
    to_ms = from_ms + draft.context.policy.basket_stay_s * SECOND_MS
    people = draft.state.at_register(register.zone, from_ms=from_ms, to_ms=to_ms)
    if fresh is None:
        return people
    # The state does not know yet what this very step changed.
    others = tuple(each for each in people if each.visitor != fresh)
    # Who is still here stands where he was seen last, however long ago.
    known = (*draft.visits_between(fresh, from_ms=from_ms, to_ms=to_ms), draft.visit_of(fresh))
    visits = {visit.id: visit for visit in known if visit is not None}
    stays = (stay for visit in visits.values() for stay in _stays_at(visit, register.zone))
    return (*others, *(stay for stay in stays if _is_within(stay, from_ms, to_ms)))


def _stays_at(visit: Visit, zone: ZoneId) -> tuple[AtRegister, ...]:
    stays = [
        AtRegister(visitor=visit.visitor, entered_at_ms=s.entered_at_ms, left_at_ms=s.left_at_ms)
        for s in all_stays(visit)
        if s.zone == zone
    ]
    if visit.zone == zone:
        stays[-1] = replace(stays[-1], left_at_ms=None)
    return tuple(stays)


def _is_within(stay: AtRegister, from_ms: int, to_ms: int) -> bool:
    is_over = stay.left_at_ms is not None and stay.left_at_ms < from_ms
    return stay.entered_at_ms <= to_ms and not is_over


def _own_subject(basket: Basket) -> Subject:
    return Subject(kind="basket", pseudonym=Pseudonym(basket.id))


def _tie(basket: Basket) -> int:
    return int(basket.id[:_TIE_HEX_DIGITS], 16)


def _given_up(draft: Draft, basket: Basket, previous: VisitorId, *, own: VisitorId) -> Basket:
    if previous == own:
        visit = draft.visit_of(own)
        if visit is not None:
            draft.put_visits(own, (), removed=(visit.id,))
        return basket
    if basket.paid_mark_at_ms is not None:
        draft.refold_without(previous, at_ms=basket.paid_mark_at_ms, tie=_tie(basket))
    return replace(basket, paid_mark_at_ms=None)


def _visit_of_its_own(draft: Draft, basket: Basket) -> None:
    visitor = draft.visitor_for(_own_subject(basket), day=basket.day, at_ms=basket.first_at_ms)
    tie = _tie(basket)
    marks = [Mark(basket.first_at_ms, tie, "seen"), Mark(basket.last_at_ms, tie + 1, "seen")]
    if basket.sale is not None:
        marks.append(Mark(basket.sale.completed_at_ms, tie + 2, "paid"))
    marks.sort(key=lambda mark: mark.order)
    before = draft.visit_of(visitor.id)
    # One basket is one visit, however long its till took over it.
    visit = one_visit(tuple(marks), visitor=visitor.id)
    removed = () if before is None or before.id == visit.id else (before.id,)
    draft.put_visits(visitor.id, (visit,), removed=removed)
    draft.watch((visit,))


def _with_paid_mark(draft: Draft, basket: Basket, carrier: VisitorId) -> Basket:
    if basket.sale is None or basket.paid_mark_at_ms == basket.sale.completed_at_ms:
        return basket
    visitor = draft.visitor(carrier)
    if visitor is None:
        return basket
    if basket.paid_mark_at_ms is not None:
        draft.refold_without(carrier, at_ms=basket.paid_mark_at_ms, tie=_tie(basket))
    at_ms = basket.sale.completed_at_ms
    draft.add_mark(visitor, Mark(at_ms, _tie(basket), "paid"))
    return replace(basket, paid_mark_at_ms=at_ms)


def _link(draft: Draft, visitor_id: VisitorId | None) -> None:
    visitor = draft.visitor(visitor_id)
    if visitor is None or visitor_id is None or visitor.kind == "loyalty":
        return
    persons.link_by_baskets(draft, visitor)


def _card_away_from_till(draft: Draft, arrival: Arrival) -> None:
    if arrival.subject is None or not isinstance(arrival.event, wire.LoyaltyScanned):
        draft.add(Count("event_of_nobody"))
        return
    member = draft.visitor_of(arrival.subject)
    if member is None or not may_link(member, now_ms=arrival.at_ms):
        draft.add(Count("card_without_consent"))
        return
    draft.add_mark(member, Mark(arrival.at_ms, arrival.tie, "seen"))


def _sold(draft: Draft, before: Basket | None, basket: Basket) -> None:
    if basket.sale is None or basket.carrier is None:
        return
    at_ms = basket.sale.completed_at_ms
    since_ms = at_ms - draft.context.policy.bought_within_s * SECOND_MS
    draft.add(
        JoinPurchases(
            visitors=(basket.carrier,), products=basket.products, at_ms=at_ms, since_ms=since_ms
        )
    )
    if before is not None and (before.sale, before.member) != (basket.sale, basket.member):
        purchases.forget(draft, before)
    purchases.remember(draft, basket)


def _offer(draft: Draft, arrival: Arrival, basket: Basket, *, item: ProductId) -> None:
    visit = None if basket.carrier is None else draft.visit_of(basket.carrier)
    member = persons.spoken_to(draft, basket, place="receipt")
    # Who stood here alone as two baskets began carries both, as far as a store can know.
    visits = goods.visits_spoken_to(draft, basket.carrier, member)
    held = goods.held_in(draft, visits, beside=basket.id)
    moment = at_receipt(
        basket,
        cause=Cause(source=arrival.event.source, id=arrival.event.id),
        visit=visit,
        member=member,
        in_basket=tuple(dict.fromkeys((*held, *basket.products))),
        item=item,
        policy=draft.context.policy,
    )
    deciding.decide(draft, moment)
