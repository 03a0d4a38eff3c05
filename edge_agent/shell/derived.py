"""What is said of one person, worked out of what is held of him at that moment.

It follows from his links: after an un-merge it is what it would have been without the merge. Where
profiling is not allowed, by any of those who are taken for him, nothing is said.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from edge_agent.domain.ids import DecisionId, VisitId, ZoneId
from edge_agent.domain.time import rfc3339_from_ms
from edge_agent.identify.consent import has_consent, refuses, unbroken_since
from edge_agent.state.profile import bought_in, past_basket
from edge_agent.state.traits import Evidence, Knowledge, Response, Stay, traits_from

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import tzinfo

    from edge_agent.domain.ids import ProductId
    from edge_agent.domain.visitor import Visitor
    from edge_agent.ports import State
    from edge_agent.shell.person import Person
    from edge_agent.shell.rows import Row
    from edge_agent.state.traits import Trait

    Query = Callable[[str, Row], list[Row]]

PURPOSE: Final = "profiling"
# How each is measured, and what its evidence is.
MEASURES: Final = {
    "interest": ("strength from 0 to 1; a purchase counts half after 60 days", "basket"),
    "recency": ("days since the last purchase", "basket"),
    "frequency": ("purchases in the last 90 days", "basket"),
    "value": ("paid in the last 90 days", "basket"),
    "usual_hour": ("share of your purchases, newer ones counting more", "basket"),
    "usual_zone": ("share of your time in zones", "visit"),
    "brand": ("share of what you bought of any brand, newer counting more", "basket"),
    "price_level": ("from 0, the cheapest of each kind of product, to 1, the dearest", "basket"),
    "response_to_offers": ("share of recommendations that you took up", "decision"),
}
_STAYS: Final = (
    "SELECT s.visit, s.zone, s.entered_at_ms, s.left_at_ms FROM zone_stay s WHERE s.visit IN"
    " (SELECT value FROM json_each(?1)) AND s.entered_at_ms >= ?2"
)
# What each visit's events told of zones: those of a closed one lie in its trail.
_TOLD: Final = (
    "SELECT visit, zone, at_ms, tie FROM mark WHERE visit IN (SELECT value FROM json_each(?1))"
    " AND zone IS NOT NULL UNION ALL SELECT v.id, json_extract(j.value, '$[3]'),"
    " json_extract(j.value, '$[0]'), json_extract(j.value, '$[1]')"
    " FROM visit v, json_each(v.trail) j WHERE v.id IN (SELECT value FROM json_each(?1))"
    " AND json_extract(j.value, '$[3]') IS NOT NULL"
)
_RESPONSES: Final = (
    "SELECT d.id, d.at_ms, json_group_array(o.kind) FILTER (WHERE o.kind IS NOT NULL),"
    " json_extract(d.record, '$.cause.source') || ' ' || json_extract(d.record, '$.cause.id')"
    " FROM decision d LEFT JOIN outcome o ON o.decision = d.id"
    " WHERE d.id IN (SELECT value FROM json_each(?1)) AND d.at_ms >= ?2"
    " AND d.visitor IN (SELECT value FROM json_each(?3))"
    # Staff's alerts recommend nothing to him.
    " AND d.channel IN ('screen', 'receipt', 'reply') AND d.items <> '[]' GROUP BY d.id"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """What of the store is needed to say something of somebody.

    Attributes:
        state: Knows visitors and departments.
        brands: Of what brand products are, where they have one.
        price_levels: Where products stand among the prices of their kind, 0 to 1.
        passages: Zones where everybody comes by, such as a register's.
    """

    state: State
    brands: Callable[[Iterable[ProductId]], Mapping[ProductId, str]]
    price_levels: Callable[[Iterable[ProductId]], Mapping[ProductId, float]]
    passages: frozenset[ZoneId]
    zone: tzinfo


def derived_of(person: Person, *, query: Query, shop: Shop, now_ms: int) -> list[dict[str, Any]]:
    """Returns what is said of a person, each with how much, why and when."""
    evidence = evidence_of(person, query=query, shop=shop, now_ms=now_ms)
    if evidence is None:
        return []
    bought = {product for each in evidence.purchases for product in each.products}
    known = Knowledge(
        departments=shop.state.departments(),
        brands=shop.brands(sorted(bought)),
        price_levels=shop.price_levels(sorted(bought)),
        zone=shop.zone,
        now_ms=now_ms,
    )
    return [_row(each) for each in traits_from(evidence, known)]


def evidence_of(person: Person, *, query: Query, shop: Shop, now_ms: int) -> Evidence | None:
    """Returns what may be made use of; None where profiling is not allowed now."""
    known = (shop.state.visitor(each) for each in person.visitors)
    visitors = [each for each in known if each is not None]
    since_ms = _allowed_since(visitors, now_ms)
    if since_ms is None:
        return None
    purchases = tuple(
        {
            each.basket: each
            for visitor in visitors
            for each in bought_in(visitor.profile)
            if each.at_ms >= since_ms
        }.values()
    )
    own = {past_basket(each) for visitor in visitors for each in bought_in(visitor.profile)}
    told = {each for visitor in visitors for each in visitor.profile.history} - own
    ids, visits = json.dumps(person.visitors), json.dumps(person.visits)
    decisions = json.dumps(person.decisions)
    return Evidence(
        purchases=purchases,
        told=tuple(sorted(told, key=lambda each: (each.at, each.products))),
        stays=_stays(query, visits, since_ms=since_ms, passages=shop.passages),
        responses=tuple(
            Response(DecisionId(decision), at_ms, frozenset(json.loads(kinds)), event)
            for decision, at_ms, kinds, event in query(_RESPONSES, (decisions, since_ms, ids))
        ),
    )


def _stays(
    query: Query, visits: str, *, since_ms: int, passages: frozenset[ZoneId]
) -> tuple[Stay, ...]:
    told: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for visit, zone, at_ms, tie in query(_TOLD, (visits,)):
        told.setdefault((visit, zone), []).append((at_ms, tie))
    return tuple(
        Stay(
            VisitId(visit),
            ZoneId(zone),
            from_ms,
            to_ms,
            _number_of(told.get((visit, zone), []), from_ms, to_ms),
        )
        for visit, zone, from_ms, to_ms in query(_STAYS, (visits, since_ms))
        if zone not in passages
    )


def _number_of(told: list[tuple[int, int]], from_ms: int, to_ms: int) -> str:
    """Returns the number of the first event of a stay, as the table `inbox` has it."""
    return f"{min((each for each in told if from_ms <= each[0] <= to_ms), default=(0, 0))[1]:016x}"


def _allowed_since(visitors: list[Visitor], now_ms: int) -> int | None:
    """Returns since when he has allowed it without a break; the stricter of all that he is."""
    if any(each.is_restricted or refuses(each, PURPOSE, now_ms=now_ms) for each in visitors):
        return None
    allowing = (each for each in visitors if has_consent(each, PURPOSE, now_ms=now_ms))
    since = (unbroken_since(each, PURPOSE, now_ms=now_ms) for each in allowing)
    return max((each for each in since if each is not None), default=None)


def _row(trait: Trait) -> dict[str, Any]:
    measured, evidence = MEASURES[trait.kind]
    return {
        "what": trait.kind.replace("_", " "),
        "of": trait.of,
        "is": trait.measure,
        "measured": measured,
        "since": rfc3339_from_ms(trait.first_at_ms),
        "last": rfc3339_from_ms(trait.last_at_ms),
        "rests_on": trait.n,
        "why": [f"{evidence} {each}" for each in trait.why],
    }
