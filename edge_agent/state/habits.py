"""What an identified visitor's own earlier baskets say about this very visit.

Which of them were like the present basket, which were at this time of day or on this weekday, and
how regularly an item is in them. All of it comes with the request; no table is asked but for how
rare an item is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Items = NDArray[np.int64]

TOGETHER_HALF_LIFE_DAYS = 120.0
LONG_HALF_LIFE_DAYS = 240.0
HOURS_ALIKE = 2.5
DAY_H = 24.0
WEEK_D = 7.0
TINY = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Habits:
    """One value for each distinct item bought before, float32.

    Attributes:
        together: Earlier baskets with it, weighed by what they share with the present one.
        together_share: The same as share of all that weight.
        at_hour, on_weekday: Share of its purchases at this time of day, on this weekday.
        long: Purchases, halved in weight every 240 days.
        baskets_since: Earlier baskets since the last with it.
        rate: Share of the earlier baskets with it, since the first.
    """

    together: Floats
    together_share: Floats
    at_hour: Floats
    on_weekday: Floats
    long: Floats
    baskets_since: Floats
    rate: Floats


def habits(
    items: Items,
    *,
    bought: Items,
    bought_basket: NDArray[np.int64],
    ago_days: NDArray[np.float64],
    basket: Items,
    pop: Floats,
) -> Habits:
    """Works out the habits.

    Args:
        items: Distinct items bought before, ascending.
        bought: The history, as in a situation; not empty.
        bought_basket: Which earlier basket each entry belongs to.
        ago_days: Age of each earlier basket, descending.
        basket: Items of this visit.
        pop: Share of baskets with each item.
    """
    n = len(items)
    row = np.searchsorted(items, bought)
    like = _likeness(bought, bought_basket, ago_days, basket, pop)
    decay = np.exp2(-ago_days / LONG_HALF_LIFE_DAYS)
    from_now = (ago_days * DAY_H + DAY_H / 2) % DAY_H - DAY_H / 2
    hour = decay * np.exp(-0.5 * (from_now / HOURS_ALIKE) ** 2)
    weekday = decay * (np.rint(ago_days) % WEEK_D == 0)

    def summed(weights: NDArray[np.float64]) -> Floats:
        weighed = weights[bought_basket]
        return np.bincount(row, weights=weighed, minlength=n).astype(np.float32)

    total, together = summed(decay), summed(like)
    known: Floats = np.maximum(total, np.float32(TINY))
    first, last = np.zeros(n), np.zeros(n)
    last[row] = ago_days[bought_basket]
    first[row[::-1]] = ago_days[bought_basket[::-1]]
    ages = ago_days[::-1]
    count = np.bincount(row, minlength=n)
    return Habits(
        together=together,
        together_share=together / np.float32(max(float(like.sum()), TINY)),
        at_hour=summed(hour) / known,
        on_weekday=summed(weekday) / known,
        long=total,
        baskets_since=np.searchsorted(ages, last, side="left").astype(np.float32),
        rate=(count / np.searchsorted(ages, first, side="right")).astype(np.float32),
    )


def _likeness(
    bought: Items,
    bought_basket: NDArray[np.int64],
    ago_days: NDArray[np.float64],
    basket: Items,
    pop: Floats,
) -> NDArray[np.float64]:
    """Returns how much each earlier basket shares with the present one, old ones less."""
    n = len(ago_days)
    rarity = np.zeros(len(pop), dtype=np.float32)
    rarity[basket] = -np.log(pop[basket] + np.float32(TINY))
    shared = np.bincount(bought_basket, weights=rarity[bought], minlength=n)
    size = np.bincount(bought_basket, minlength=n)
    decay = np.exp2(-ago_days / TOGETHER_HALF_LIFE_DAYS)
    return np.asarray(decay * shared / np.sqrt(np.maximum(size, 1)))
