"""Request and response: a kiosk, handheld or till asks and gets the best there is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.domain.decisions import Moment, Place
from edge_agent.domain.effects import Publish
from edge_agent.domain.ids import BasketId, ProductId, SourceId, ZoneId
from edge_agent.domain.visitor import UNKNOWN_MEMBER
from edge_agent.engine import company, deciding, goods, offers, persons
from edge_agent.publish.screens import reply_of
from edge_agent.wire import topics

if TYPE_CHECKING:
    from edge_agent.domain.basket import Basket
    from edge_agent.domain.ids import VisitorId
    from edge_agent.domain.inputs import Asked
    from edge_agent.domain.visitor import Visitor
    from edge_agent.engine.draft import Draft


def answer(draft: Draft, asked: Asked) -> None:
    """Decides what was asked and publishes it to the asker's response topic."""
    moment = company.fitted_reply(draft, _moment(draft, asked))
    decision = deciding.decision_on(draft, moment)
    context = draft.context
    reply = reply_of(
        decision,
        products=context.catalogue.product,
        locale=context.locale,
        currency=context.currency,
        given=offers.given_with(draft, decision),
    )
    draft.record(decision)
    draft.add(
        Publish(
            topic=asked.response_topic,
            payload=reply.model_dump_json().encode(),
            expires_at_ms=decision.valid_until_ms,
            correlation=asked.correlation,
        ),
    )


def _moment(draft: Draft, asked: Asked) -> Moment:
    request = asked.request
    visitor = None if asked.subject is None else draft.visitor_of(asked.subject)
    named = asked.basket or _basket_named(asked)
    basket = None if asked.basket is None else draft.basket(asked.basket)
    if visitor is None and basket is not None:
        visitor = draft.visitor(basket.carrier)
    visit = None if visitor is None else draft.visit_of(visitor.id)
    is_present = visit is not None and visit.is_open
    place = _place(draft, asked)
    held = [ProductId(product) for product in request.products]
    if visitor is not None:
        visits = goods.visits_now(draft, visitor.id, audience=place.audience)
        held.extend(goods.held_in(draft, visits))
    if basket is not None:
        held.extend(basket.products)
    return Moment(
        kind="request",
        cause=asked.cause,
        place=place,
        visitor=None if visitor is None else visitor.id,
        visit=visit.id if visit is not None and is_present else None,
        member=_member(draft, asked, visitor),
        holder=_holder(visitor, None if named is None else draft.basket(named)),
        in_basket=tuple(dict.fromkeys(held)),
        basket=named,
        limit=request.limit,
    )


def _basket_named(asked: Asked) -> BasketId | None:
    # Named as who asks, it is the same basket.
    subject = asked.subject
    return (
        BasketId(subject.pseudonym) if subject is not None and subject.kind == "basket" else None
    )


def _member(draft: Draft, asked: Asked, visitor: Visitor | None) -> VisitorId | None:
    subject = asked.subject
    is_somebody = subject is not None and subject.is_identified
    is_stranger = subject is not None and is_somebody and draft.visitor_of(subject) is None
    if is_stranger and persons.may_be_silent_stranger(draft):
        # Nothing of him is on record: as of a card at the till, whatever basket he names.
        return UNKNOWN_MEMBER
    return None if visitor is None else persons.member_of(draft, visitor)


def _holder(visitor: Visitor | None, basket: Basket | None) -> VisitorId | None:
    # Who names another's basket is told it by himself.
    is_its_own = visitor is not None and basket is not None and visitor.id == basket.carrier
    return basket.member if basket is not None and is_its_own else None


def _place(draft: Draft, asked: Asked) -> Place:
    """Returns where the answer goes: who will see it, and on what.

    Whoever types a number is not thereby its owner, and a source's name is only a claim. So an
    answer is personal only where the configuration says that the asking device is seen by its
    user alone, and where it goes to that device's own reply topic, which the broker lets nobody
    else read. Nor is it sure otherwise what device it goes to.
    """
    source, zone = SourceId(asked.request.source), asked.request.zone
    own = topics.reply(draft.context.store, source)
    is_own = asked.response_topic == own or asked.response_topic.startswith(f"{own}/")
    layout = draft.context.layout
    return Place(
        channel="reply",
        zone=None if zone is None else ZoneId(zone),
        audience=layout.audience_of(source) if is_own else "public",
        device=layout.channels.get(source) if is_own else None,
    )
