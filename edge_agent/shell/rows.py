"""Domain values to rows and back. No SQL and no rule lives here."""

from __future__ import annotations

import json
from decimal import Decimal
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final
from zlib import crc32

from edge_agent.domain.basket import Basket, CardReading, Line, LineChange, Sale
from edge_agent.domain.chain import Chain, values_of
from edge_agent.domain.ids import (
    BasketId,
    CampaignId,
    ProductId,
    Pseudonym,
    RegisterId,
    VisitId,
    VisitorId,
    ZoneId,
)
from edge_agent.domain.offers import Offer, Redemption
from edge_agent.domain.scoring import PastBasket, PromotionPlan
from edge_agent.domain.time import datetime_from_ms, ms_from_datetime
from edge_agent.domain.visitor import (
    Complaint,
    ConsentStatement,
    Link,
    Mark,
    Profile,
    Purchase,
    Return,
    Visit,
    Visitor,
    ZoneStay,
)

if TYPE_CHECKING:
    import sqlite3

    from edge_agent.domain.effects import RecordContact

Row = tuple[Any, ...]

GOAL_BYTES: Final = 8

_ENCODER: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def canonical_json(document: object) -> str:
    """Returns JSON with sorted keys and no white space: equal values, equal bytes."""
    return _ENCODER.encode(document)


# The same few are recommended over and over.
@lru_cache(maxsize=1_024)
def products_json(products: tuple[ProductId, ...]) -> str:
    """Returns products as a JSON array."""
    return canonical_json(list(products))


@lru_cache(maxsize=1_024)
def campaigns_json(campaigns: tuple[CampaignId, ...]) -> str:
    """Returns campaigns as a JSON array."""
    return canonical_json(list(campaigns))


def contact_row(effect: RecordContact) -> Row:
    """Returns what HQ told of, or what was said to several people, as a row of `contact`."""
    contact = effect.contact
    outcome = next((kind for kind, _ in sorted(contact.outcomes, key=str)), "")
    return (
        effect.visitor,
        contact.id,
        contact.at_ms,
        contact.channel,
        products_json(contact.products),
        campaigns_json(contact.campaigns),
        outcome,
        campaigns_json(contact.missed),
        effect.known_at_ms,
    )


@lru_cache(maxsize=1_024)
def goal_of(products: frozenset[ProductId]) -> tuple[str, str]:
    """Returns a set of products as a JSON array, and its name before it: a digest of that."""
    text = canonical_json(sorted(products))
    return blake2b(text.encode(), digest_size=GOAL_BYTES).hexdigest(), text


def offer_row(offer: Offer) -> Row:
    """Returns an offer as (mark, campaign, products, given, valid until, decision, visitor)."""
    return (
        offer.mark,
        offer.campaign,
        products_json(offer.products),
        offer.given_at_ms,
        offer.valid_until_ms,
        offer.decision,
        offer.visitor,
    )


def offer_from(row: Row) -> Offer:
    """Returns an offer from its row; who redeemed it stands in the last three columns."""
    mark, campaign, products, given_at_ms, valid_until_ms, decision, visitor, *used = row
    at_ms, by, basket = used
    redeemed = None if at_ms is None else Redemption(at_ms=at_ms, by=by or "", basket=basket)
    return Offer(
        mark=mark,
        campaign=campaign,
        products=tuple(json.loads(products)),
        given_at_ms=given_at_ms,
        valid_until_ms=valid_until_ms,
        decision=decision,
        visitor=visitor,
        redeemed=redeemed,
    )


def plan_row(plan: PromotionPlan) -> Row:
    """Returns a plan as (number, from_day, until_day, displayed, mailed)."""
    products = (canonical_json(sorted(each)) for each in (plan.displayed, plan.mailed))
    return (plan.number, plan.from_day, plan.until_day, *products)


def stored_plans(connection: sqlite3.Connection) -> tuple[PromotionPlan, ...]:
    """Returns HQ's plans of promotions, oldest first."""
    found = connection.execute(
        "SELECT number, from_day, until_day, displayed, mailed FROM promotion_plan ORDER BY number"
    )
    return tuple(
        PromotionPlan(
            number=number,
            from_day=from_day,
            until_day=until_day,
            displayed=frozenset(json.loads(displayed)),
            mailed=frozenset(json.loads(mailed)),
        )
        for number, from_day, until_day, displayed, mailed in found
    )


def visitor_row(visitor: Visitor) -> Row:
    """Returns a visitor as (id, kind, first_seen_at_ms, last_seen_at_ms, profile)."""
    profile = visitor.profile
    text = None if profile == Profile() else canonical_json(_profile_document(profile))
    return (visitor.id, visitor.kind, visitor.first_seen_at_ms, visitor.last_seen_at_ms, text)


def visitor_from(
    row: Row,
    *,
    pseudonym: str,
    links: list[Row],
    consents: list[Row],
    complaints: list[Row],
) -> Visitor:
    """Returns the visitor of a row and of what refers to it."""
    visitor_id, kind, first_seen_at_ms, last_seen_at_ms, profile = row
    return Visitor(
        id=VisitorId(visitor_id),
        kind=kind,
        pseudonym=Pseudonym(pseudonym),
        first_seen_at_ms=first_seen_at_ms,
        last_seen_at_ms=last_seen_at_ms,
        links=tuple(sorted(map(link_from, links), key=lambda each: each.order)),
        consents=tuple(_consent(each) for each in consents),
        complaints=tuple(
            Complaint(case=case, opened_at_ms=opened, closed_at_ms=closed)
            for case, opened, closed in complaints
        ),
        profile=Profile() if profile is None else _profile_in(profile),
    )


def own_link_row(visitor: Visitor) -> Row:
    """Returns the link from a visitor's identifier to him as a row of `link`."""
    since_ms = visitor.first_seen_at_ms
    own = (visitor.kind, visitor.pseudonym, visitor.id, since_ms, None, "seen")
    return (*own, None, "", 1.0)


def link_row(link: Link) -> Row:
    """Returns a link between two visitors as a row of `link`."""
    return (
        "visitor",
        link.of,
        link.visitor,
        link.since_ms,
        link.until_ms,
        link.basis,
        link.ended_by,
        link.source,
        link.confidence,
    )


def link_from(row: Row) -> Link:
    """Returns a link from the kind of the linked visitor and a row of `link`."""
    kind, of, visitor, since_ms, until_ms, basis, ended_by, source, confidence = row
    return Link(
        kind=kind,
        of=VisitorId(of),
        visitor=VisitorId(visitor),
        since_ms=since_ms,
        until_ms=until_ms,
        basis=basis,
        ended_by=ended_by,
        source=source,
        confidence=confidence,
    )


def consent_row(visitor: VisitorId, statement: ConsentStatement) -> Row:
    """Returns a statement as a row of `consent`."""
    return (
        visitor,
        statement.purpose,
        statement.stated_at_ms,
        int(statement.granted),
        statement.source,
        statement.text_version,
        statement.channel,
        statement.expires_at_ms,
        statement.basis,
        statement.only_on or "",
    )


def visit_row(visit: Visit) -> Row:
    """Returns a visit as a row; its marks go in only when it is closed."""
    trail = (
        None if visit.is_open else canonical_json([_mark_list(m) for m in values_of(visit.marks)])
    )
    return (
        visit.id,
        visit.visitor,
        visit.started_at_ms,
        visit.last_at_ms,
        visit.ended_at_ms,
        visit.ended_by,
        int(visit.has_paid),
        trail,
    )


def marks_from_trail(trail: str | None) -> tuple[Mark, ...]:
    """Returns the marks of a closed visit."""
    return tuple(mark_from(tuple(each)) for each in json.loads(trail or "[]"))


def mark_row(row_id: int, visit: VisitId, mark: Mark) -> Row:
    """Returns a mark as a row of the journal, with its checksum."""
    row = (row_id, visit, *_mark_list(mark))
    return (*row, checksum_of(row))


def checksum_of(row: Row) -> int:
    """Returns the checksum of a journal's row, never 0.

    Who stood at a till, and so whose telephone it was, follows from marks alone: one that rotted
    must not tell something else than what was sensed.
    """
    return crc32(repr(row).encode()) or 1


def journal_mark(row: Row) -> Mark:
    """Returns the mark in a row of the journal.

    Raises:
        ValueError: It is not the row that was written; one of before checksums has 0.
    """
    *content, checksum = row
    if checksum and checksum != checksum_of(tuple(content)):
        raise ValueError("a mark is not as it was written")
    return mark_from(tuple(content[2:]))


def mark_from(row: Row) -> Mark:
    """Returns a mark from (at_ms, tie, kind, zone, product, dwell_ms)."""
    at_ms, tie, kind, zone, product, dwell_ms = row
    return Mark(
        at_ms,
        tie,
        kind,
        None if zone is None else ZoneId(zone),
        None if product is None else ProductId(product),
        dwell_ms,
    )


def closed_visit_from(row: Row, stays: list[Row]) -> Visit:
    """Returns a closed visit from its row and its stays (zone, entered, left)."""
    visit_id, visitor, started_at_ms, last_at_ms, ended_at_ms, ended_by, has_paid, trail = row
    marks = marks_from_trail(trail)
    return Visit(
        id=VisitId(visit_id),
        visitor=VisitorId(visitor),
        started_at_ms=started_at_ms,
        last_at_ms=last_at_ms,
        last_order=marks[-1].order if marks else (last_at_ms, 0, 0),
        has_paid=bool(has_paid),
        marks=chain_of(marks),
        stays=chain_of(
            tuple(ZoneStay(ZoneId(zone), entered, left) for zone, entered, left in stays)
        ),
        ended_at_ms=ended_at_ms,
        ended_by=ended_by,
    )


def chain_of(values: tuple[Any, ...]) -> Chain[Any] | None:
    """Returns a chain of values, oldest first."""
    chain: Chain[Any] | None = None
    for value in values:
        chain = Chain(value, chain)
    return chain


def basket_row(basket: Basket) -> Row:
    """Returns a basket as a row."""
    return (
        basket.id,
        basket.day,
        basket.register,
        basket.first_at_ms,
        basket.last_at_ms,
        basket.opened_at_ms,
        basket.carrier,
        basket.shared,
        basket.member,
        basket.voided_at_ms,
        basket.paid_mark_at_ms,
        canonical_json([[each.at_ms, each.member, each.is_silent] for each in basket.cards]),
    )


def basket_from(row: Row, changes: list[Row], sale: Row | None, lines: list[Row]) -> Basket:
    """Returns a basket from its rows."""
    (basket_id, day, register, first, last, opened, carrier, shared, *rest) = row
    member, voided, paid, cards = rest
    return Basket(
        id=BasketId(basket_id),
        day=day,
        register=RegisterId(register),
        first_at_ms=first,
        last_at_ms=last,
        opened_at_ms=opened,
        carrier=None if carrier is None else VisitorId(carrier),
        shared=None if shared is None else VisitorId(shared),
        cards=_cards(cards, member=member, at_ms=last),
        changes=tuple(
            LineChange(at_ms, tie, ProductId(product), Decimal(quantity))
            for at_ms, tie, product, quantity in changes
        ),
        sale=None if sale is None else _sale(sale, lines),
        voided_at_ms=voided,
        paid_mark_at_ms=paid,
    )


def _cards(text: str, *, member: str | None, at_ms: int) -> tuple[CardReading, ...]:
    read = tuple(CardReading(at, VisitorId(who), silent) for at, who, silent in json.loads(text))
    if not read and member is not None:
        # A basket from before readings were kept.
        return (CardReading(at_ms, VisitorId(member)),)
    return read


def sale_rows(basket: BasketId, sale: Sale) -> tuple[Row, list[Row]]:
    """Returns a sale's row and those of its lines."""
    head = (
        basket,
        sale.completed_at_ms,
        sale.currency,
        str(sale.total),
        sale.revision,
        sale.event,
    )
    lines: list[Row] = [
        (basket, position, line.product, str(line.quantity), str(line.amount), str(line.discount))
        for position, line in enumerate(sale.lines)
    ]
    return head, lines


def _sale(row: Row, lines: list[Row]) -> Sale:
    completed_at_ms, currency, total, revision, event = row
    return Sale(
        completed_at_ms=completed_at_ms,
        currency=currency,
        total=Decimal(total),
        lines=tuple(
            Line(ProductId(product), Decimal(quantity), Decimal(amount), Decimal(discount))
            for product, quantity, amount, discount in lines
        ),
        revision=revision,
        event=event,
    )


def _mark_list(mark: Mark) -> list[Any]:
    return [mark.at_ms, mark.tie, mark.kind, mark.zone, mark.product, mark.dwell_ms]


def _consent(row: Row) -> ConsentStatement:
    purpose, stated_at_ms, granted, source, text_version, channel, expires_at_ms, *more = row
    basis, only_on = more
    return ConsentStatement(
        purpose=purpose,
        granted=bool(granted),
        stated_at_ms=stated_at_ms,
        source=source,
        text_version=text_version,
        channel=channel,
        expires_at_ms=expires_at_ms,
        basis=basis,
        only_on=only_on or None,
    )


def _profile_document(profile: Profile) -> dict[str, Any]:
    return {
        "reference": profile.reference,
        "history": [[ms_from_datetime(each.at), list(each.products)] for each in profile.history],
        "purchases": [
            [*_purchase_list(each), *([] if each.event is None else [each.event])]
            for each in profile.purchases
        ],
        "returns": [
            [
                each.at_ms,
                each.tie,
                each.basket,
                [[p, str(n)] for p, n in each.lines],
                each.currency,
            ]
            for each in profile.returns
        ],
        "told_at": profile.told_at_ms,
        "segments": list(profile.segments),
        "interests": [list(each) for each in profile.interests],
    }


def _profile_in(text: bytes) -> Profile:
    # Derived, and so no reason not to know who it is: what somebody stated silences him still.
    try:
        return _profile(json.loads(text))
    except (ValueError, LookupError, TypeError, ArithmeticError):
        return Profile()


def _profile(document: dict[str, Any]) -> Profile:
    return Profile(
        reference=document["reference"],
        history=tuple(
            PastBasket(at=datetime_from_ms(at_ms), products=tuple(map(ProductId, products)))
            for at_ms, products in document["history"]
        ),
        # Written by an agent that remembered no more than the history, there are none.
        purchases=tuple(_purchase(row) for row in document.get("purchases", ())),
        returns=tuple(_return(row) for row in document.get("returns", ())),
        told_at_ms=document.get("told_at"),
        segments=tuple(document["segments"]),
        interests=tuple((name, share) for name, share in document["interests"]),
    )


def _purchase_list(each: Purchase) -> list[Any]:
    return [each.basket, each.at_ms, list(each.products), str(each.total), each.currency]


def _return(row: list[Any]) -> Return:
    at_ms, tie, basket, lines, currency = row
    return Return(
        at_ms=at_ms,
        tie=tie,
        basket=None if basket is None else BasketId(basket),
        lines=tuple((ProductId(product), Decimal(amount)) for product, amount in lines),
        currency=currency,
    )


def _purchase(row: list[Any]) -> Purchase:
    basket, at_ms, products, total, currency, *event = row
    return Purchase(
        basket=BasketId(basket),
        at_ms=at_ms,
        products=tuple(map(ProductId, products)),
        total=Decimal(total),
        currency=currency,
        event=event[0] if event else None,
    )
