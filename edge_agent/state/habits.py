"""What an identified visitor's own earlier baskets say about this very visit.

Which of them were like the present basket (in their items, in their kinds or categories of items),
which were at this time of day or on this weekday, how regularly an item is in them and whether it
is due. All of it comes with the request; tables only say how rare an item is, of which kind, and
after how many days it is usually bought again.
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
RECENT_DECAY = 0.9
"""Weight of a basket relative to the next younger one."""
LIFT_PRIOR = 0.02
"""Added to both shares of a lift."""
MAX_KIND_SHARE = 0.9
GAP_PRIOR = 2.0
"""How many of the visitor's own gaps the usual gap counts as."""
MAX_DUE = 20.0


@dataclass(frozen=True, slots=True, eq=False)
class Assortment:
    """What the tables say of all items.

    Attributes:
        pop, kind_pop: Share of baskets with each item, with each kind.
        kind, category: Codes, (n_items,).
        usual_gap: Days after which an item is bought again, float32 (n_items,).
    """

    pop: Floats
    kind_pop: Floats
    kind: NDArray[np.int32]
    category: NDArray[np.int32]
    usual_gap: Floats


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
        recent: Share of the earlier baskets with it, each counting 0.9 of the next younger.
        together_sharp: As `together`, by the square of what is shared.
        together_lift: `together_share` to the share among all earlier baskets, 1 when alike.
        kinds_share, kinds_lift: As `together_share`, `together_lift`, by shared kinds.
        categories_lift: The same by shared categories.
        due: Days since the last purchase, to the usual days between two; at most 20.
    """

    together: Floats
    together_share: Floats
    at_hour: Floats
    on_weekday: Floats
    long: Floats
    baskets_since: Floats
    rate: Floats
    recent: Floats
    together_sharp: Floats
    together_lift: Floats
    kinds_share: Floats
    kinds_lift: Floats
    categories_lift: Floats
    due: Floats


@dataclass(frozen=True, slots=True, eq=False)
class _History:
    """The earlier baskets, as `habits` gets them, and each entry's row among the items."""

    items: Items
    bought: Items
    bought_basket: NDArray[np.int64]
    ago_days: NDArray[np.float64]
    row: NDArray[np.intp]
    root_size: NDArray[np.float64]
    decay: NDArray[np.float64]

    def summed(self, weights: NDArray[np.float64]) -> Floats:
        """Returns for each item the weights of the baskets with it, added."""
        weighed = weights[self.bought_basket]
        found = np.bincount(self.row, weights=weighed, minlength=len(self.items))
        return found.astype(np.float32)

    def alike(self, marks: Floats) -> NDArray[np.float64]:
        """Returns each basket's sum of its entries' marks, large baskets counting less."""
        n = len(self.ago_days)
        shared = np.bincount(self.bought_basket, weights=marks, minlength=n)
        return np.asarray(shared / self.root_size)

    def share(self, weights: NDArray[np.float64]) -> Floats:
        """Returns for each item the share of all weight that is on baskets with it."""
        return self.summed(weights) / np.float32(max(float(weights.sum()), TINY))


def habits(
    items: Items,
    *,
    bought: Items,
    bought_basket: NDArray[np.int64],
    ago_days: NDArray[np.float64],
    basket: Items,
    assortment: Assortment,
) -> Habits:
    """Works out the habits.

    Args:
        items: Distinct items bought before, ascending.
        bought: The history, as in a situation; not empty.
        bought_basket: Which earlier basket each entry belongs to.
        ago_days: Age of each earlier basket, descending.
        basket: Items of this visit.
        assortment: What the tables say of all items.
    """
    size = np.bincount(bought_basket, minlength=len(ago_days))
    past = _History(
        items=items,
        bought=bought,
        bought_basket=bought_basket,
        ago_days=ago_days,
        row=np.searchsorted(items, bought),
        root_size=np.sqrt(np.maximum(size, 1)),
        decay=np.exp2(-ago_days / TOGETHER_HALF_LIFE_DAYS),
    )
    return Habits(**_of_time(past, assortment), **_of_likeness(past, basket, assortment))


def _of_time(past: _History, assortment: Assortment) -> dict[str, Floats]:
    """Returns when and how regularly each item was bought."""
    ago_days, row, n = past.ago_days, past.row, len(past.items)
    decay = np.exp2(-ago_days / LONG_HALF_LIFE_DAYS)
    from_now = (ago_days * DAY_H + DAY_H / 2) % DAY_H - DAY_H / 2
    hour = decay * np.exp(-0.5 * (from_now / HOURS_ALIKE) ** 2)
    weekday = decay * (np.rint(ago_days) % WEEK_D == 0)
    total = past.summed(decay)
    known: Floats = np.maximum(total, np.float32(TINY))
    first, last = np.zeros(n), np.zeros(n)
    last[row] = ago_days[past.bought_basket]
    first[row[::-1]] = ago_days[past.bought_basket[::-1]]
    ages = ago_days[::-1]
    count = np.bincount(row, minlength=n)
    usual = assortment.usual_gap[past.items]
    gap = (first - last + GAP_PRIOR * usual) / (count - 1 + GAP_PRIOR)
    younger = np.searchsorted(ages, ago_days, side="left")
    return {
        "at_hour": past.summed(hour) / known,
        "on_weekday": past.summed(weekday) / known,
        "long": total,
        "baskets_since": np.searchsorted(ages, last, side="left").astype(np.float32),
        "rate": (count / np.searchsorted(ages, first, side="right")).astype(np.float32),
        "recent": past.share(RECENT_DECAY ** younger.astype(np.float64)),
        "due": np.minimum(last / np.maximum(gap, TINY), MAX_DUE).astype(np.float32),
    }


def _of_likeness(past: _History, basket: Items, assortment: Assortment) -> dict[str, Floats]:
    """Returns what was in the earlier baskets that share most with the present one."""
    rarity = np.zeros(len(assortment.pop), dtype=np.float32)
    rarity[basket] = -np.log(assortment.pop[basket] + np.float32(TINY))
    shared = past.alike(rarity[past.bought])
    like = past.decay * shared
    usual = past.share(past.decay)
    kind, category = assortment.kind, assortment.category
    rare_kind = np.zeros(len(assortment.kind_pop), dtype=np.float32)
    mine = kind[basket]
    rare_kind[mine] = -np.log(np.minimum(assortment.kind_pop[mine], np.float32(MAX_KIND_SHARE)))
    of_category = np.zeros(int(category.max()) + 1, dtype=np.float32)
    of_category[category[basket]] = 1.0
    by_kind = past.decay * past.alike(rare_kind[kind[past.bought]])
    by_category = past.decay * past.alike(of_category[category[past.bought]])
    return {
        "together": past.summed(like),
        "together_share": past.share(like),
        "together_sharp": past.summed(like * shared),
        "together_lift": _lift(past, like, usual),
        "kinds_share": past.share(by_kind),
        "kinds_lift": _lift(past, by_kind, usual),
        "categories_lift": _lift(past, by_category, usual),
    }


def _lift(past: _History, weights: NDArray[np.float64], usual: Floats) -> Floats:
    """Returns how much commoner an item is among the weighted baskets than among all."""
    if not weights.sum() > 0.0:
        return np.ones(len(past.items), dtype=np.float32)
    prior = np.float32(LIFT_PRIOR)
    return (past.share(weights) + prior) / (usual + prior)
