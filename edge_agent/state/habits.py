"""What an identified visitor's own earlier baskets say about this very visit.

How often, how lately and how regularly an item was bought; which of the baskets were like the
present one (in their items, in their kinds or categories of items), which were at this time of day
or on this weekday. All of it comes with the request; tables only say how rare an item is, of which
kind, and after how many days it is usually bought again.

Theory of operation. Nearly every habit is the sum, over the earlier baskets with an item, of some
weight of the basket. So baskets are weighed first, in a dozen ways, and one pass over the history
adds all of them up. Each sum adds its terms one by one, oldest first, in double precision.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Items = NDArray[np.int64]

FAST_HALF_LIFE_DAYS = 14.0
SLOW_HALF_LIFE_DAYS = 60.0
TOGETHER_HALF_LIFE_DAYS = 120.0
LONG_HALF_LIFE_DAYS = 240.0
HALF_LIVES_DAYS: Doubles = np.array(
    [FAST_HALF_LIFE_DAYS, SLOW_HALF_LIFE_DAYS, TOGETHER_HALF_LIFE_DAYS, LONG_HALF_LIFE_DAYS]
)
LAST_BASKETS = 5
LONG_AGO_DAYS = 400.0
LONG_AGO_BASKETS = 400.0
NO_RANK = 1000.0
"""Place in the repertoire of what is not in it."""
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

NEVER_BOUGHT: dict[str, float] = {
    "history_count": 0.0,
    "history_share": 0.0,
    "history_fast": 0.0,
    "history_slow": 0.0,
    "days_since_bought": LONG_AGO_DAYS,
    "gap_ratio": -1.0,
    "in_last_baskets": 0.0,
    "history_together": 0.0,
    "history_together_share": 0.0,
    "history_hour_share": 0.0,
    "history_weekday_share": 0.0,
    "history_long": 0.0,
    "baskets_since_bought": LONG_AGO_BASKETS,
    "history_rate": 0.0,
    "history_recent": 0.0,
    "history_together_sharp": 0.0,
    "history_together_lift": 1.0,
    "history_kinds_share": 0.0,
    "history_kinds_lift": 1.0,
    "history_categories_lift": 1.0,
    "history_due": -1.0,
    "history_rank": NO_RANK,
}
"""Every habit, and what it is for an item that was not bought before.

- history_count: Earlier baskets with the item.
- history_fast, history_slow, history_long: The same, a basket halved in weight every 14, 60 or
  240 days; history_share: history_slow, to that of the likeliest item.
- days_since_bought, baskets_since_bought: Since the last basket with it.
- gap_ratio: Days since the last purchase, to the visitor's own mean of the days between two;
  history_due: to the usual days, the visitor's own and everybody's. Both at most 20.
- in_last_baskets: How many of the last five it is in.
- history_hour_share, history_weekday_share: Share of its purchases at this time of day, on this
  weekday.
- history_rate: Share of the earlier baskets with it, since the first.
- history_recent: Share of the earlier baskets, each counting 0.9 of the next younger.
- history_rank: Place in the repertoire, by history_slow; the likeliest has 0.
- history_together: Earlier baskets with it, weighed by what they share with the present one;
  history_together_share: as share of all that weight; history_together_sharp: by the square of
  what is shared; history_together_lift: the share, to that among all earlier baskets.
- history_kinds_share, history_kinds_lift, history_categories_lift: The same by shared kinds, by
  shared categories.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Assortment:
    """What the tables say of all items.

    Attributes:
        pop, kind_pop: Share of baskets with each item, with each kind.
        codes: Kind and category of each item are its first two, (n_items, n).
        n_codes: How many codes there are.
        usual_gap: Days after which an item is bought again, float32 (n_items,).
    """

    pop: Floats
    kind_pop: Floats
    codes: NDArray[np.int32]
    n_codes: int
    usual_gap: Floats


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """The earlier baskets, and where each item is in them.

    Attributes:
        bought_basket: Which earlier basket each entry belongs to, ascending from 0; an entry is
            an item in a basket, the oldest first.
        ago_days: Age of each earlier basket, descending.
        items: Distinct items bought before, ascending.
        codes: Codes of each of them.
        row: Position in `items` of each entry.
        row_of: The same of every item of the tables; len(items) where it was never bought.
        younger: How many of the baskets are younger than each.
    """

    bought_basket: NDArray[np.int64]
    ago_days: Doubles
    items: NDArray[np.intp]
    codes: NDArray[np.int32]
    row: NDArray[np.intp]
    row_of: NDArray[np.intp]
    younger: NDArray[np.intp]

    def summed(self, weights: Doubles) -> Floats:
        """Adds up for each item the weights of the baskets with it.

        Args:
            weights: A row for each way of weighing the baskets, (n_ways, n_baskets).

        Returns:
            Shape (n_ways, n_items_bought).
        """
        weighed = weights.take(self.bought_basket, axis=1)
        return added_up(self.row, weighed, len(self.items)).astype(np.float32)


def added_up(places: NDArray[np.intp], weights: NDArray[np.floating], n: int) -> Doubles:
    """Adds up each row of weights by place, in order: float64 (n_rows, n)."""
    n_rows = len(weights)
    cells = places + n * np.arange(n_rows)[:, None]
    sums = np.bincount(cells.ravel(), weights=weights.ravel(), minlength=n_rows * n)
    return sums.astype(np.float64, copy=False).reshape(n_rows, n)


def history_of(
    bought: Items,
    bought_basket: NDArray[np.int64],
    ago_days: Doubles,
    codes: NDArray[np.int32],
) -> History:
    """Looks up which items were bought before, among all of which there are codes."""
    n_items = len(codes)
    is_bought = np.zeros(n_items, dtype=bool)
    is_bought[bought] = True
    items = is_bought.nonzero()[0]
    row_of = np.full(n_items, len(items), dtype=np.intp)
    row_of[items] = np.arange(len(items))
    return History(
        bought_basket=bought_basket,
        ago_days=ago_days,
        items=items,
        codes=codes.take(items, axis=0),
        row=row_of.take(bought),
        row_of=row_of,
        younger=np.searchsorted(ago_days[::-1], ago_days, side="left"),
    )


def habits(past: History, basket: Items, assortment: Assortment) -> dict[str, Floats]:
    """Works out the habits.

    Args:
        past: The earlier baskets; there is at least one.
        basket: Items of this visit.
        assortment: What the tables say of all items.

    Returns:
        By the names of `NEVER_BOUGHT`, one value for each distinct item bought before; what is
        not named is as for an item never bought.
    """
    weights = _by_age(past)
    if len(basket):
        weights |= _by_likeness(past, basket, assortment, weights["usual"])
    stacked = np.array(list(weights.values()))
    sums = dict(zip(weights, past.summed(stacked), strict=True))
    totals = dict(zip(weights, stacked.sum(axis=1).tolist(), strict=True))
    return {
        **_of_weight(sums, totals),
        **_of_rhythm(past, assortment),
        **_of_likeness(sums, totals),
    }


def _by_age(past: History) -> dict[str, Doubles]:
    """Weighs the earlier baskets by when they were."""
    ago_days, n = past.ago_days, len(past.ago_days)
    fast, slow, usual, long = np.exp2(-ago_days / HALF_LIVES_DAYS[:, None])
    from_now = (ago_days * DAY_H + DAY_H / 2) % DAY_H - DAY_H / 2
    return {
        "fast": fast,
        "slow": slow,
        "usual": usual,
        "long": long,
        "hour": long * np.exp(-0.5 * (from_now / HOURS_ALIKE) ** 2),
        "weekday": long * (np.rint(ago_days) % WEEK_D == 0),
        "recent": RECENT_DECAY ** past.younger.astype(np.float64),
        "last": (np.arange(n) >= n - LAST_BASKETS).astype(np.float64),
    }


def _by_likeness(
    past: History, basket: Items, assortment: Assortment, usual: Doubles
) -> dict[str, Doubles]:
    """Weighs the earlier baskets by what they share with the present one, large ones less."""
    rarity = np.zeros(len(assortment.pop), dtype=np.float32)
    rarity[basket] = -np.log(assortment.pop[basket] + np.float32(TINY))
    kinds, categories = assortment.codes[basket, :2].T
    of_code = np.zeros(assortment.n_codes, dtype=np.float32)
    of_code[kinds] = -np.log(np.minimum(assortment.kind_pop[kinds], np.float32(MAX_KIND_SHARE)))
    of_code[categories] = 1.0
    marks = np.empty((3, len(past.items)), dtype=np.float32)
    marks[0] = rarity.take(past.items)
    marks[1:] = of_code.take(past.codes[:, :2]).T
    n = len(past.ago_days)
    size = np.bincount(past.bought_basket, minlength=n)
    marked = added_up(past.bought_basket, marks.take(past.row, axis=1), n)
    shared = marked / np.sqrt(np.maximum(size, 1))
    like, by_kind, by_category = usual * shared
    return {
        "together": like,
        "sharp": like * shared[0],
        "kinds": by_kind,
        "categories": by_category,
    }


def _share(name: str, sums: dict[str, Floats], totals: dict[str, float]) -> Floats:
    """Returns for each item the share of all weight that is on baskets with it."""
    return sums[name] / np.float32(max(totals[name], TINY))


def _of_weight(sums: dict[str, Floats], totals: dict[str, float]) -> dict[str, Floats]:
    """Returns how much each item was bought, of late and at times like this."""
    slow, long = sums["slow"], sums["long"]
    known = np.maximum(long, np.float32(TINY))
    rank = np.empty(len(slow), dtype=np.float32)
    rank[np.argsort(-slow, kind="stable")] = np.arange(len(slow))
    return {
        "history_fast": sums["fast"],
        "history_slow": slow,
        "history_long": long,
        "history_share": slow / np.float32(max(float(slow.max(initial=0.0)), TINY)),
        "history_rank": rank,
        "history_hour_share": sums["hour"] / known,
        "history_weekday_share": sums["weekday"] / known,
        "history_recent": _share("recent", sums, totals),
        "in_last_baskets": sums["last"],
    }


def _of_rhythm(past: History, assortment: Assortment) -> dict[str, Floats]:
    """Returns how often and how regularly each item was bought, and whether it is due."""
    ago_days, row, n = past.ago_days, past.row, len(past.items)
    count = np.bincount(row, minlength=n)
    # Of several entries of an item the last one written stays.
    newest, oldest = np.zeros(n, dtype=np.intp), np.zeros(n, dtype=np.intp)
    newest[row] = past.bought_basket
    oldest[row[::-1]] = past.bought_basket[::-1]
    last, first = ago_days[newest], ago_days[oldest]
    own_gap = (first - last) / np.maximum(count - 1, 1)
    ratio = np.where(count > 1, last / np.maximum(own_gap, 1.0), -1.0)
    usual = assortment.usual_gap[past.items]
    gap = (first - last + GAP_PRIOR * usual) / (count - 1 + GAP_PRIOR)
    not_older = np.searchsorted(ago_days[::-1], ago_days, side="right")
    return {
        "history_count": count.astype(np.float32),
        "days_since_bought": last.astype(np.float32),
        "baskets_since_bought": past.younger[newest].astype(np.float32),
        "gap_ratio": np.minimum(ratio, MAX_DUE).astype(np.float32),
        "history_due": np.minimum(last / np.maximum(gap, TINY), MAX_DUE).astype(np.float32),
        "history_rate": (count / not_older[oldest]).astype(np.float32),
    }


def _of_likeness(sums: dict[str, Floats], totals: dict[str, float]) -> dict[str, Floats]:
    """Returns what was in the earlier baskets that share most with the present one."""
    if "together" not in sums:
        return {}
    shares = {
        name: _share(name, sums, totals) for name in ("usual", "together", "kinds", "categories")
    }
    return {
        "history_together": sums["together"],
        "history_together_share": shares["together"],
        "history_together_sharp": sums["sharp"],
        "history_together_lift": _lift("together", shares, totals),
        "history_kinds_share": shares["kinds"],
        "history_kinds_lift": _lift("kinds", shares, totals),
        "history_categories_lift": _lift("categories", shares, totals),
    }


def _lift(name: str, shares: dict[str, Floats], totals: dict[str, float]) -> Floats:
    """Returns how much commoner an item is among the weighted baskets than among all."""
    if not totals[name] > 0.0:
        return np.ones(len(shares[name]), dtype=np.float32)
    prior = np.float32(LIFT_PRIOR)
    return (shares[name] + prior) / (shares["usual"] + prior)


def looked_up(by_name: dict[str, Floats], rows: NDArray[np.intp]) -> dict[str, Floats]:
    """Returns the habits of some items.

    Args:
        by_name: Values of each item bought before.
        rows: The items' places in `History.row_of`.
    """
    n = len(next(iter(by_name.values())))
    block = np.empty((len(by_name), n + 1), dtype=np.float32)
    for row, (name, values) in enumerate(by_name.items()):
        block[row, :n] = values
        block[row, n] = NEVER_BOUGHT[name]
    return dict(zip(by_name, block.take(rows, axis=1), strict=True))
