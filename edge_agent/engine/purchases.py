"""What a sale adds to a consenting customer's profile, and what HQ may hear of it."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from edge_agent.domain.effects import SendToHq
from edge_agent.domain.ids import ProductId
from edge_agent.domain.time import SECOND_MS, local_time, ms_from_datetime
from edge_agent.domain.visitor import Profile, Purchase, Return
from edge_agent.identify.consent import PROFILING, has_consent, refuses, unbroken_since
from edge_agent.state.profile import only_since, with_purchase, with_return, without_purchase
from edge_agent.sync.customers import update_for
from edge_agent.sync.egress import may_name
from edge_agent.wire import topics

if TYPE_CHECKING:
    from datetime import tzinfo

    from edge_agent.domain.basket import Basket, Sale
    from edge_agent.domain.inputs import Arrival
    from edge_agent.domain.visitor import Visitor
    from edge_agent.engine.draft import Draft
    from edge_agent.wire.events import SaleReturnedData


def remember(draft: Draft, basket: Basket) -> None:
    """Adds a sale to its member's profile and sends his day to HQ, each if he allows it."""
    member = draft.visitor(basket.member)
    if member is None or basket.sale is None or basket.voided_at_ms is not None:
        return
    at_ms = basket.sale.completed_at_ms
    context = draft.context
    carrier = draft.visitor(basket.carrier)
    # Whatever was said before and taken back since, nothing of that time is learnt.
    since_ms = unbroken_since(member, PROFILING, now_ms=context.now_ms)
    is_new = since_ms is not None and since_ms <= at_ms
    # To work out what he likes is profiling, whoever hears of it.
    is_profiled = is_new and _may(draft, member, carrier, PROFILING, at_ms=at_ms)
    if is_profiled:
        departments = draft.state.departments()
        profile = with_purchase(member.profile, _purchase(basket, basket.sale), departments)
        member = replace(member, profile=profile)
        draft.put_visitor(member)
    if _may(draft, member, carrier, "sending_to_hq", at_ms=at_ms):
        update = update_for(
            member,
            store=context.store,
            day=basket.day,
            revision=_revision(at_ms),
            choices=(*_bought_on(member, basket.day, zone=context.zone), *basket.products),
            may_tell=lambda each: context.catalogue.product(each) is not None or may_name(each),
            interests=member.profile.interests if is_profiled else (),
        )
        if update is not None:
            draft.add(
                SendToHq(
                    message_id=update.update_id,
                    topic=topics.hq_up(context.store, "customer"),
                    payload=update.model_dump_json().encode(),
                    kind="customer",
                    visitor=member.id,
                )
            )


def forget(draft: Draft, basket: Basket) -> None:
    """Takes a sale out of its member's profile again: another's, another sale, or cancelled."""
    member = draft.visitor(basket.member)
    if member is None or basket.sale is None:
        return
    purchase = _purchase(basket, basket.sale)
    profile = without_purchase(member.profile, purchase, draft.state.departments())
    if profile != member.profile:
        draft.put_visitor(replace(member, profile=profile))


def take_back(draft: Draft, arrival: Arrival, data: SaleReturnedData) -> None:
    """Takes what came back out of the profile of whose card was shown, or else whose sale it was.

    Later than its day a sale's number leads to it no more: then the card alone tells whose it was.
    """
    member = None
    if arrival.subject is not None and arrival.subject.is_identified:
        member = draft.visitor_of(arrival.subject)
    elif arrival.basket is not None:
        basket = draft.basket(arrival.basket)
        member = None if basket is None else draft.visitor(basket.member)
    if member is None or unbroken_since(member, PROFILING, now_ms=draft.context.now_ms) is None:
        return
    back = Return(
        at_ms=arrival.at_ms,
        tie=arrival.tie,
        basket=arrival.basket,
        lines=tuple((ProductId(each.product), each.amount) for each in data.lines),
        currency=data.currency,
    )
    profile = with_return(member.profile, back, draft.state.departments())
    draft.put_visitor(replace(member, profile=profile))


def obeying(draft: Draft, visitor: Visitor) -> Visitor:
    """Returns somebody without the sales that his consents, as they are now, leave no room for."""
    if visitor.profile == Profile():
        return visitor
    since_ms = unbroken_since(visitor, PROFILING, now_ms=draft.context.now_ms)
    profile = only_since(visitor.profile, since_ms, draft.state.departments())
    return visitor if profile is visitor.profile else replace(visitor, profile=profile)


def _purchase(basket: Basket, sale: Sale) -> Purchase:
    return Purchase(
        basket=basket.id,
        at_ms=sale.completed_at_ms,
        products=tuple(sorted(set(basket.products))),
        total=sale.total,
        currency=sale.currency,
        event=sale.event,
    )


def _may(
    draft: Draft, member: Visitor, carrier: Visitor | None, purpose: str, *, at_ms: int
) -> bool:
    """Returns whether he allowed it when he bought, and still does; his telephone's no is his."""
    now_ms = draft.context.now_ms
    if carrier is not None and refuses(carrier, purpose, now_ms=now_ms):
        return False
    return all(has_consent(member, purpose, now_ms=each) for each in (at_ms, now_ms))


def _revision(at_ms: int) -> int:
    # Rises with every sale of a day, in whatever order they are heard of.
    return at_ms // SECOND_MS + 1


def _bought_on(member: Visitor, day: str, *, zone: tzinfo) -> tuple[ProductId, ...]:
    history = member.profile.history
    # In no zone does a day begin sooner: the years before need not be told by the calendar.
    before = datetime.fromisoformat(day).replace(tzinfo=UTC) - timedelta(days=1)
    return tuple(
        product
        for past in history[bisect_left(history, before, key=lambda each: each.at) :]
        if local_time(ms_from_datetime(past.at), zone).day == day
        for product in past.products
    )
