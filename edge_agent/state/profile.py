"""What an identified, consenting customer's own sales here and HQ's word say about him."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from edge_agent.domain.ids import ProductId
from edge_agent.domain.scoring import PastBasket
from edge_agent.domain.time import datetime_from_ms

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_agent.domain.visitor import Profile
    from edge_agent.wire.downlink import ProfileBody

HISTORY_BASKETS_MAX: Final = 200
INTERESTS_MAX: Final = 5
# A department is an interest from the second basket on: once is chance.
INTEREST_BASKETS_MIN: Final = 2


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
    profile: Profile,
    *,
    at_ms: int,
    products: tuple[ProductId, ...],
    departments: Mapping[ProductId, str],
) -> Profile:
    """Returns the profile after a sale in this store, interests derived anew."""
    bought = PastBasket(at=datetime_from_ms(at_ms), products=tuple(sorted(set(products))))
    history = _merged(profile.history, (bought,))
    return replace(profile, history=history, interests=interests_from(history, departments))


def without_purchase(
    profile: Profile,
    *,
    at_ms: int,
    products: tuple[ProductId, ...],
    departments: Mapping[ProductId, str],
) -> Profile:
    """Returns the profile without a sale in this store, interests derived anew."""
    bought = PastBasket(at=datetime_from_ms(at_ms), products=tuple(sorted(set(products))))
    if bought not in profile.history:
        return profile
    history = tuple(each for each in profile.history if each != bought)
    return replace(profile, history=history, interests=interests_from(history, departments))


def interests_from(
    history: tuple[PastBasket, ...], departments: Mapping[ProductId, str]
) -> tuple[tuple[str, float], ...]:
    """Returns the strongest interests: share of baskets with a product of the department."""
    counts: dict[str, int] = {}
    for basket in history:
        for department in {departments[p] for p in basket.products if p in departments}:
            counts[department] = counts.get(department, 0) + 1
    kept = [(name, n) for name, n in counts.items() if n >= INTEREST_BASKETS_MIN]
    kept.sort(key=lambda pair: (-pair[1], pair[0]))
    return tuple((name, round(n / len(history), 3)) for name, n in kept[:INTERESTS_MAX])


def _merged(
    first: tuple[PastBasket, ...], second: tuple[PastBasket, ...]
) -> tuple[PastBasket, ...]:
    unique = {(basket.at, basket.products): basket for basket in (*first, *second)}
    ordered = [unique[key] for key in sorted(unique)]
    return tuple(ordered[-HISTORY_BASKETS_MAX:])
