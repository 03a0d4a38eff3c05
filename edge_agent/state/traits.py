"""What is said of a customer, worked out of what he did; each with why and when.

Behaviour only: what was bought, where somebody stood, what became of offers. Nothing of this is
stored: asked at any instant, it is what follows from what is remembered then.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Final, TypeVar

from edge_agent.domain.time import (
    DAY_MS,
    SECOND_MS,
    datetime_from_ms,
    local_time,
    ms_from_datetime,
)
from edge_agent.state.profile import HALF_LIFE_S, departments_in, interests_from, past_basket

if TYPE_CHECKING:
    from datetime import tzinfo

    from edge_agent.domain.ids import DecisionId, ProductId, VisitId, ZoneId
    from edge_agent.domain.scoring import PastBasket
    from edge_agent.domain.visitor import Purchase

# Newest pieces of evidence that a trait names.
WHY_MAX: Final = 5
RECENT_DAYS: Final = 90
# Once is chance.
EVIDENCE_MIN: Final = 2
_DIGITS: Final = 3
K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Stay:
    """A stay of his in a zone.

    Attributes:
        event: The event that told of it, by the number that the store knows it by.
    """

    visit: VisitId
    zone: ZoneId
    from_ms: int
    to_ms: int
    event: str


@dataclass(frozen=True, slots=True)
class Response:
    """What became of what was recommended to him.

    Attributes:
        kinds: Such as `shown`, `tapped`, `dismissed`, `redeemed`, `bought`.
        event: Source and id of the event that asked for the decision.
    """

    decision: DecisionId
    at_ms: int
    kinds: frozenset[str]
    event: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What traits rest on, in any order; he allowed profiling when each of it happened.

    Attributes:
        told: Baskets that HQ told of.
    """

    purchases: tuple[Purchase, ...] = ()
    told: tuple[PastBasket, ...] = ()
    stays: tuple[Stay, ...] = ()
    responses: tuple[Response, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Knowledge:
    """What of the store traits are worked out with.

    Attributes:
        brands: Of what brand each product is, of those that have one.
        price_levels: Where each product stands among the prices of its kind, 0 to 1.
    """

    departments: Mapping[ProductId, str]
    brands: Mapping[ProductId, str]
    price_levels: Mapping[ProductId, float]
    zone: tzinfo
    now_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Trait:
    """One thing that is said of somebody.

    Attributes:
        kind: `interest`, `recency`, `frequency`, `value`, `usual_hour`, `usual_zone`,
            `brand`, `price_level`, `response_to_offers`.
        of: Which interest, hour, zone or brand.
        measure: How much; what it counts in belongs to the kind.
        n: Pieces of evidence.
        first_at_ms: The oldest of them.
        last_at_ms: The newest of them.
        why: The newest: ids of baskets, visits or decisions, and of the events that told of them.
    """

    kind: str
    of: str | None = None
    measure: float | str
    n: int
    first_at_ms: int
    last_at_ms: int
    why: tuple[str, ...]


def traits_from(evidence: Evidence, known: Knowledge) -> tuple[Trait, ...]:
    """Returns all that is said of somebody, in a fixed order; nothing without evidence."""
    purchases = sorted(evidence.purchases, key=lambda each: (each.at_ms, each.basket))
    return (
        *_interests(purchases, evidence.told, known),
        *_recency_frequency_value(purchases, known.now_ms),
        *_usual_hour(purchases, known),
        *_usual_zone(evidence.stays),
        *_brand(purchases, known),
        *_price_level(purchases, known),
        *_responses(evidence.responses),
    )


def _interests(
    purchases: list[Purchase], told: tuple[PastBasket, ...], known: Knowledge
) -> list[Trait]:
    own = {past_basket(each) for each in purchases}
    history = sorted(own.union(told), key=lambda each: (each.at, each.products))
    seen: dict[ProductId, str | None] = {}
    found = []
    for name, strength in interests_from(
        history, known.departments, now=datetime_from_ms(known.now_ms)
    ):
        his = [
            (ms_from_datetime(each.at), None)
            for each in history
            if each not in own and name in departments_in(each.products, known.departments, seen)
        ]
        mine = [
            (each.at_ms, _named(each.basket, each.event))
            for each in purchases
            if name in departments_in(each.products, known.departments, seen)
        ]
        found.append(_trait("interest", strength, (*his, *mine), of=name))
    return found


def _recency_frequency_value(purchases: list[Purchase], now_ms: int) -> list[Trait]:
    if not purchases:
        return []
    newest = purchases[-1]
    days = max(now_ms - newest.at_ms, 0) // DAY_MS
    found = [_trait("recency", days, _dated([newest]))]
    recent = [each for each in purchases if each.at_ms > now_ms - RECENT_DAYS * DAY_MS]
    if recent:
        found.append(_trait("frequency", len(recent), _dated(recent)))
        # Sums of different money are none: the newest counts.
        alike = [each for each in recent if each.currency == newest.currency]
        total = sum((each.total for each in alike), Decimal(0))
        found.append(_trait("value", f"{total} {newest.currency}", _dated(alike)))
    return found


def _usual_hour(purchases: list[Purchase], known: Knowledge) -> list[Trait]:
    hours = [(local_time(each.at_ms, known.zone).hour, each) for each in purchases]
    weights = [(hour, _weight(each.at_ms, known.now_ms)) for hour, each in hours]
    best, share = _heaviest(weights)
    his = [each for hour, each in hours if hour == best]
    if len(his) < EVIDENCE_MIN:
        return []
    return [_trait("usual_hour", share, _dated(his), of=f"{best:02d}")]


def _usual_zone(stays: tuple[Stay, ...]) -> list[Trait]:
    lasting = [each for each in stays if each.to_ms > each.from_ms]
    best, share = _heaviest((each.zone, float(each.to_ms - each.from_ms)) for each in lasting)
    visits: dict[str, tuple[int, str]] = {}
    for each in lasting:
        if each.zone == best:
            told = (each.from_ms, f"{each.visit} (event {each.event})")
            visits[each.visit] = max(visits.get(each.visit, told), told)
    if len(visits) < EVIDENCE_MIN:
        return []
    return [_trait("usual_zone", share, sorted(visits.values()), of=best)]


def _brand(purchases: list[Purchase], known: Knowledge) -> list[Trait]:
    bought = [
        (brand, each)
        for each in purchases
        for product in each.products
        if (brand := known.brands.get(product)) is not None
    ]
    best, share = _heaviest((brand, _weight(each.at_ms, known.now_ms)) for brand, each in bought)
    his = {each.basket: each for brand, each in bought if brand == best}
    if len(his) < EVIDENCE_MIN:
        return []
    return [_trait("brand", share, _dated(list(his.values())), of=best)]


def _price_level(purchases: list[Purchase], known: Knowledge) -> list[Trait]:
    levels = known.price_levels
    priced = [each for each in purchases if any(p in levels for p in each.products)]
    bought = [levels[p] for each in priced for p in each.products if p in levels]
    if len(priced) < EVIDENCE_MIN:
        return []
    return [_trait("price_level", round(sum(bought) / len(bought), _DIGITS), _dated(priced))]


_TAKEN: Final = frozenset({"tapped", "redeemed", "bought"})


def _responses(responses: tuple[Response, ...]) -> list[Trait]:
    if not responses:
        return []
    taken = [each for each in responses if each.kinds & _TAKEN]
    # What he answered to tells more than what passed him by.
    told = taken or [each for each in responses if each.kinds] or list(responses)
    trait = _trait(
        "response_to_offers",
        round(len(taken) / len(responses), _DIGITS),
        [(each.at_ms, _named(each.decision, each.event)) for each in told],
        of=f"{len(taken)} of {len(responses)}",
    )
    return [trait]


def _heaviest(weighed: Iterable[tuple[K, float]]) -> tuple[K | None, float]:
    """Returns what weighs most, and its share of all; of two the one that sorts first."""
    weights: dict[K, float] = {}
    for key, weight in weighed:
        weights[key] = weights.get(key, 0.0) + weight
    if not weights:
        return None, 0.0
    best = min(weights, key=lambda key: (-weights[key], str(key)))
    return best, round(weights[best] / (sum(weights.values()) or 1.0), _DIGITS)


def _weight(at_ms: int, now_ms: int) -> float:
    return float(0.5 ** (max(now_ms - at_ms, 0) / (HALF_LIFE_S * SECOND_MS)))


def _dated(purchases: list[Purchase]) -> list[tuple[int, str | None]]:
    return [(each.at_ms, _named(each.basket, each.event)) for each in purchases]


def _named(thing: str, event: str | None) -> str:
    return thing if event is None else f"{thing} (event {event})"


def _trait(
    kind: str,
    measure: float | str,
    evidence: Iterable[tuple[int, str | None]],
    *,
    of: str | None = None,
) -> Trait:
    ordered = sorted(evidence, key=lambda each: (each[0], each[1] or ""))
    named = [name for _, name in ordered if name is not None]
    return Trait(
        kind=kind,
        of=of,
        measure=measure,
        n=len(ordered),
        first_at_ms=ordered[0][0],
        last_at_ms=ordered[-1][0],
        why=tuple(reversed(named[-WHY_MAX:])),
    )
