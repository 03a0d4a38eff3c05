"""What an identified, consenting customer's own sales here and HQ's word say about him.

A profile is what was remembered, and never a running total: whatever is said of somebody is worked
out of it anew. So the order in which sales are heard of is nothing, and one that is taken back
leaves no trace, as long as no more than `PURCHASES_MAX` were made.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from edge_agent.domain.ids import ProductId
from edge_agent.domain.scoring import PastBasket
from edge_agent.domain.time import datetime_from_ms

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from edge_agent.domain.ids import BasketId
    from edge_agent.domain.visitor import Profile, Purchase
    from edge_agent.wire.downlink import ProfileBody

HISTORY_BASKETS_MAX: Final = 200
# Two years of a weekly shopper; what is older counts for less than a hundredth.
PURCHASES_MAX: Final = 100
INTERESTS_MAX: Final = 5
# A department is an interest from the second basket on: once is chance.
INTEREST_BASKETS_MIN: Final = 2
# A basket counts half as much after two months: a season is over by then, a habit is not.
HALF_LIFE_S: Final = 60 * 86_400
# So many fresh baskets make half of the greatest strength.
HALF_STRENGTH: Final = 2.0
# Weaker than this it is over: two baskets after half a year.
STRENGTH_MIN: Final = 0.1
_DIGITS: Final = 3


def with_hq_profile(profile: Profile, body: ProfileBody) -> Profile:
    """Returns the profile with HQ's knowledge in it; baskets known from both count once."""
    theirs = tuple(
        PastBasket(at=each.at, products=tuple(sorted({ProductId(p) for p in each.products})))
        for each in body.history
    )
    return replace(
        profile,
        reference=body.reference,
        history=_merged(profile.history, theirs),
        segments=tuple(sorted(set(body.segments))),
    )


def with_purchase(
    profile: Profile, purchase: Purchase, departments: Mapping[ProductId, str]
) -> Profile:
    """Returns the profile after a sale in this store, interests derived anew."""
    profile = _without(profile, {purchase.basket})
    purchases = sorted((*profile.purchases, purchase), key=lambda each: (each.at_ms, each.basket))
    history = _merged(profile.history, (past_basket(purchase),))
    return _derived(
        replace(profile, history=history, purchases=tuple(purchases[-PURCHASES_MAX:])),
        departments,
    )


def without_purchase(
    profile: Profile, purchase: Purchase, departments: Mapping[ProductId, str]
) -> Profile:
    """Returns the profile without a sale in this store, interests derived anew."""
    kept = _without(profile, {purchase.basket})
    if kept is profile:
        # It is older than what is kept of purchases, or was remembered before baskets were.
        gone = past_basket(purchase)
        history = tuple(each for each in profile.history if each != gone)
        if len(history) == len(profile.history):
            return profile
        kept = replace(profile, history=history)
    return _derived(kept, departments)


def only_since(
    profile: Profile, since_ms: int | None, departments: Mapping[ProductId, str]
) -> Profile:
    """Returns the profile without the sales here of before consent was given; None is all."""
    gone = {each.basket for each in profile.purchases if since_ms is None or each.at_ms < since_ms}
    kept = _without(profile, gone)
    if since_ms is None:
        return replace(kept, interests=()) if kept.interests else kept
    return _derived(kept, departments) if kept is not profile else profile


def interests_from(
    history: Iterable[PastBasket], departments: Mapping[ProductId, str], *, now: datetime
) -> tuple[tuple[str, float], ...]:
    """Returns the strongest interests: each basket makes one grow, and time lets it go.

    Args:
        history: Baskets, always in the same order.
        departments: The department of each product that has one.
        now: As of when; what is later counts as of now.
    """
    known: dict[ProductId, str | None] = {}
    weights: dict[str, float] = {}
    counts: dict[str, int] = {}
    for basket in history:
        weight = 0.5 ** (max((now - basket.at).total_seconds(), 0.0) / HALF_LIFE_S)
        for department in departments_in(basket.products, departments, known):
            weights[department] = weights.get(department, 0.0) + weight
            counts[department] = counts.get(department, 0) + 1
    found = [
        (name, round(weight / (weight + HALF_STRENGTH), _DIGITS))
        for name, weight in weights.items()
        if counts[name] >= INTEREST_BASKETS_MIN
    ]
    found.sort(key=lambda pair: (-pair[1], pair[0]))
    return tuple(pair for pair in found[:INTERESTS_MAX] if pair[1] >= STRENGTH_MIN)


def departments_in(
    products: tuple[ProductId, ...],
    departments: Mapping[ProductId, str],
    known: dict[ProductId, str | None],
) -> set[str]:
    """Returns the departments of products; each product is looked up once into `known`."""
    found: set[str] = set()
    for product in products:
        if product not in known:
            known[product] = departments.get(product)
        department = known[product]
        if department is not None:
            found.add(department)
    return found


def past_basket(purchase: Purchase) -> PastBasket:
    """Returns a sale as a scorer is told of it."""
    return PastBasket(at=datetime_from_ms(purchase.at_ms), products=purchase.products)


def _without(profile: Profile, baskets: set[BasketId]) -> Profile:
    gone = [each for each in profile.purchases if each.basket in baskets]
    if not gone:
        return profile
    kept = tuple(each for each in profile.purchases if each.basket not in baskets)
    # Two baskets of one instant with the same in them are one in a history.
    dropped = {past_basket(each) for each in gone} - {past_basket(each) for each in kept}
    history = tuple(each for each in profile.history if each not in dropped)
    return replace(profile, history=history, purchases=kept)


def _derived(profile: Profile, departments: Mapping[ProductId, str]) -> Profile:
    history = profile.history
    if not history:
        return replace(profile, interests=())
    interests = interests_from(history, departments, now=history[-1].at)
    return replace(profile, interests=interests)


def _merged(
    first: tuple[PastBasket, ...], second: tuple[PastBasket, ...]
) -> tuple[PastBasket, ...]:
    unique = {(basket.at, basket.products): basket for basket in (*first, *second)}
    ordered = [unique[key] for key in sorted(unique)]
    return tuple(ordered[-HISTORY_BASKETS_MAX:])
