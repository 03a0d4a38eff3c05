"""What an identified, consenting customer's own sales here and HQ's word say about him.

A profile is what was remembered, and never a running total: whatever is said of somebody is worked
out of it anew. So the order in which sales are heard of is nothing, and one that is taken back
leaves no trace, as long as no more than `PURCHASES_MAX` were made.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from edge_agent.domain.ids import ProductId
from edge_agent.domain.scoring import PastBasket
from edge_agent.domain.time import datetime_from_ms
from edge_agent.domain.visitor import Profile

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from edge_agent.domain.ids import BasketId
    from edge_agent.domain.visitor import Purchase, Return
    from edge_agent.wire.downlink import ProfileBody

HISTORY_BASKETS_MAX: Final = 200
# Two years of a weekly shopper; what is older counts for less than a hundredth.
PURCHASES_MAX: Final = 100
# Who brings back more than he keeps is not told apart any more.
RETURNS_MAX: Final = 100
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


def with_hq_profile(profile: Profile, body: ProfileBody, *, at_ms: int) -> Profile:
    """Returns the profile with HQ's knowledge in it; baskets known from both count once.

    Args:
        profile: What is known.
        body: What HQ tells.
        at_ms: When it is heard of.
    """
    theirs = tuple(
        PastBasket(at=each.at, products=tuple(sorted({ProductId(p) for p in each.products})))
        for each in body.history
    )
    return replace(
        profile,
        reference=body.reference,
        history=_merged(profile.history, theirs),
        segments=tuple(sorted(set(body.segments))),
        told_at_ms=at_ms,
    )


def with_purchase(
    profile: Profile, purchase: Purchase, departments: Mapping[ProductId, str]
) -> Profile:
    """Returns the profile after a sale in this store, interests derived anew."""
    others = (each for each in profile.purchases if each.basket != purchase.basket)
    return _derived(_remembering(profile, (*others, purchase), profile.returns), departments)


def without_purchase(
    profile: Profile, purchase: Purchase, departments: Mapping[ProductId, str]
) -> Profile:
    """Returns the profile without a sale in this store, interests derived anew."""
    others = tuple(each for each in profile.purchases if each.basket != purchase.basket)
    if len(others) != len(profile.purchases):
        return _derived(_remembering(profile, others, profile.returns), departments)
    # It is older than what is kept of purchases, or was remembered before baskets were.
    gone = past_basket(purchase)
    if gone in map(past_basket, bought_in(profile)):
        # It went already; another basket of that instant has the same in it.
        return profile
    history = tuple(each for each in profile.history if each != gone)
    if len(history) == len(profile.history):
        return profile
    return _derived(replace(profile, history=history), departments)


def with_return(profile: Profile, back: Return, departments: Mapping[ProductId, str]) -> Profile:
    """Returns the profile after goods came back: what the sale gave is taken back."""
    others = (each for each in profile.returns if (each.at_ms, each.tie) != (back.at_ms, back.tie))
    return _derived(_remembering(profile, profile.purchases, (*others, back)), departments)


def only_since(
    profile: Profile, since_ms: int | None, departments: Mapping[ProductId, str]
) -> Profile:
    """Returns the profile without what was remembered or told before consent was given.

    Args:
        profile: What is known.
        since_ms: When that was; None where there is no consent. HQ's handle alone is left then: by
            it HQ is told that somebody wants to be forgotten.
        departments: The department of each product that has one.
    """
    if since_ms is None:
        bare = Profile(reference=profile.reference)
        return profile if profile == bare else bare
    own = {past_basket(each) for each in bought_in(profile)}
    told_ms = profile.told_at_ms
    is_told_before = told_ms is not None and told_ms < since_ms
    since = datetime_from_ms(since_ms)
    kept = replace(
        profile,
        # Of what is neither a purchase here nor told since it is not known whose it is.
        history=tuple(
            each
            for each in profile.history
            if each in own or (not is_told_before and (told_ms is not None or each.at >= since))
        ),
        segments=() if is_told_before else profile.segments,
        told_at_ms=None if is_told_before else told_ms,
    )
    kept = _remembering(
        kept,
        tuple(each for each in kept.purchases if each.at_ms >= since_ms),
        tuple(each for each in kept.returns if each.at_ms >= since_ms),
    )
    return profile if kept == profile else _derived(kept, departments)


def bought_in(profile: Profile) -> tuple[Purchase, ...]:
    """Returns the purchases that are remembered, less what came back of them, oldest first.

    A product comes back from the sale that the till named, else from the newest one before that
    has it. What came back in part counts as not bought, and a sale of which nothing is left as
    none. So it follows from what is remembered, in whatever order that was heard of.
    """
    return _less(profile.purchases, profile.returns)


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


def _remembering(
    profile: Profile, purchases: Iterable[Purchase], returns: Iterable[Return]
) -> Profile:
    """Returns the profile with other purchases and returns, and the history that follows."""
    ordered = tuple(sorted(purchases, key=_order))
    back = tuple(sorted(returns, key=lambda each: (each.at_ms, each.tie)))[-RETURNS_MAX:]
    before, after = bought_in(profile), _less(ordered, back)
    was, now = ({each.basket: each for each in some} for some in (before, after))
    # Nearly always one is new and none is gone: the others need not be looked at.
    fresh = [past_basket(each) for each in after if was.get(each.basket) is not each]
    left = {past_basket(each) for each in before if now.get(each.basket) is not each}
    # Two baskets of one instant with the same in them are one in a history.
    gone = left.difference(map(past_basket, after)) if left else left
    history = profile.history
    if gone:
        history = tuple(each for each in history if each not in gone)
    kept = ordered[-PURCHASES_MAX:]
    return replace(profile, history=_with_each(history, fresh), purchases=kept, returns=back)


def _less(purchases: tuple[Purchase, ...], returns: tuple[Return, ...]) -> tuple[Purchase, ...]:
    if not returns:
        return purchases
    left = {each.basket: each for each in purchases}
    named = set(left)
    holding = _holding(left.values(), returns)
    for back in returns:
        only = back.basket if back.basket in named else None
        for product, amount in back.lines:
            baskets = holding[product]
            of = next((b for b in baskets if only in {None, b} and _is_of(left[b], back)), None)
            if of is None:
                continue
            baskets.remove(of)
            products = tuple(each for each in left[of].products if each != product)
            total = max(left[of].total - amount, Decimal(0))
            left[of] = replace(left[of], products=products, total=total)
            if not products:
                del left[of]
    return tuple(left.values())


def _holding(
    purchases: Iterable[Purchase], returns: tuple[Return, ...]
) -> dict[ProductId, list[BasketId]]:
    """Returns in which baskets each product is that came back, the newest first."""
    came_back = {product for back in returns for product, _ in back.lines}
    holding: dict[ProductId, list[BasketId]] = {product: [] for product in came_back}
    for each in sorted(purchases, key=_order, reverse=True):
        for product in came_back.intersection(each.products):
            holding[product].append(each.basket)
    return holding


def _is_of(purchase: Purchase, back: Return) -> bool:
    return purchase.at_ms <= back.at_ms and purchase.currency == back.currency


def _order(purchase: Purchase) -> tuple[int, BasketId]:
    return purchase.at_ms, purchase.basket


def _derived(profile: Profile, departments: Mapping[ProductId, str]) -> Profile:
    history = profile.history
    if not history:
        return replace(profile, interests=())
    interests = interests_from(history, departments, now=history[-1].at)
    return replace(profile, interests=interests)


def _with_each(
    history: tuple[PastBasket, ...], fresh: Iterable[PastBasket]
) -> tuple[PastBasket, ...]:
    """Returns a history, which is in order and has each basket once, with others in their places.

    Nearly always one is new: the others need not be put in order again.
    """
    baskets = list(history)
    for each in fresh:
        place = bisect_left(baskets, _place(each), key=_place)
        if baskets[place : place + 1] != [each]:
            baskets.insert(place, each)
    return tuple(baskets[-HISTORY_BASKETS_MAX:])


def _place(basket: PastBasket) -> tuple[datetime, tuple[ProductId, ...]]:
    return basket.at, basket.products


def _merged(first: Iterable[PastBasket], second: Iterable[PastBasket]) -> tuple[PastBasket, ...]:
    unique = {_place(basket): basket for basket in (*first, *second)}
    ordered = [unique[key] for key in sorted(unique)]
    return tuple(ordered[-HISTORY_BASKETS_MAX:])
