"""What a score rests on: candidates and their features, from tables and one situation.

Training and serving both call `describe`, so there is no second definition of a feature. A
situation names items by their position in the tables; nobody's identity reaches this file. All
functions are pure: the same tables and situation give the same matrix, bit for bit.

Theory of operation. Everything that depends on store, week, hour and weekday alone is worked out
once as dense vectors over all items (`Surroundings`, which a caller may keep). A decision then adds
what the basket and the history say: sparse sums over item-to-item neighbours and one dense product
with the item embedding. The best of each signal become candidates, and only they get features.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Items = NDArray[np.int64]

FEATURES: tuple[str, ...] = (
    "n_basket",
    "n_history",
    "days_since_visit",
    "mean_history_size",
    "hour",
    "weekday",
    "log_pop_all",
    "log_pop_recent",
    "log_pop_latest",
    "trend",
    "log_pop_store",
    "store_lift",
    "hour_lift",
    "weekday_lift",
    "log_price",
    "private_label",
    "rebuy_share",
    "basket_cosine_sum",
    "basket_cosine_max",
    "basket_cosine_last",
    "basket_household_sum",
    "basket_same_kind",
    "basket_same_category",
    "basket_same_department",
    "history_household_sum",
    "history_household_max",
    "history_count",
    "history_share",
    "history_fast",
    "history_slow",
    "days_since_bought",
    "gap_ratio",
    "in_last_baskets",
    "kind_slow",
    "kind_share",
    "days_since_kind",
    "category_slow",
    "department_slow",
    "private_share",
    "display_lift",
    "mailer_lift",
    "chain_display",
    "chain_mailer",
    "own_promotion_lift",
    "latent_basket",
    "latent_all",
)
"""Names in the order of the matrix's columns; a bundle with another order is refused."""

HOUR_BINS = 8
HOURS_PER_BIN = 3
WEEKDAYS = 7
CODES = 16
FAST_HALF_LIFE_DAYS = 14.0
SLOW_HALF_LIFE_DAYS = 60.0
LAST_BASKETS = 5
LONG_AGO_DAYS = 400.0
MAX_BASKET = 40
MAX_HISTORY_ITEMS = 160
TINY = 1e-6
PER_SIGNAL = 60
"""Candidates taken from each signal; set by the trials in the model card."""
N_LATENT = 120
STORE_PRIOR_BASKETS = 300.0
"""Weight of the chain's share against a store's own, in baskets."""


@dataclass(frozen=True, slots=True, eq=False)
class Neighbours:
    """For each item its strongest others.

    Attributes:
        index: Positions, shape (n_items, k).
        weight: float16, same shape; 0 where there are fewer than k.
    """

    index: NDArray[np.uint16] | NDArray[np.int32]
    weight: NDArray[np.float16]


@dataclass(frozen=True, slots=True, eq=False)
class Latent:
    """The item embedding: which items a basket, a history and a context point to.

    Attributes:
        item: float32 (n_items, d), what an item answers to.
        basket: float16 (n_items, d), what an item in the basket asks for.
        history: float16 (n_items, d), what an item bought earlier asks for.
        bias: float32 (n_items,).
        context: float32 (n_hour_bins + weekdays + stores, d).
    """

    item: Floats
    basket: NDArray[np.float16]
    history: NDArray[np.float16]
    bias: Floats
    context: Floats


@dataclass(frozen=True, slots=True, eq=False)
class RankerTables:
    """All learned statistics, aggregated over households; none of them is anybody's record.

    Attributes:
        pop_all, pop_recent, pop_latest: Share of baskets with the item, float32 (n_items,).
        hour_lift, weekday_lift: Log ratio to the item's own mean, float16 (bins, n_items).
        store_starts, store_items, store_share: Per store, items and their share of its baskets.
        log_price, private, rebuy, own_lift: float32 (n_items,).
        kind, category, department: Codes, (n_items,).
        basket_near, household_near: Items bought together, in one visit or by one household.
        display_lift, mailer_lift: Log lift of each of 16 codes.
        plan_stores: Store codes with a promotion plan.
        plans: (week, position in plan_stores) -> zlib of one byte for each item.
        chain_plans: week -> uint8 (2, n_items), share of stores with display, mailer, in 1/255.
        latent: The embedding, or None.
    """

    pop_all: Floats
    pop_recent: Floats
    pop_latest: Floats
    hour_lift: NDArray[np.float16]
    weekday_lift: NDArray[np.float16]
    store_starts: NDArray[np.int64]
    store_items: NDArray[np.int32]
    store_share: Floats
    store_weight: Floats
    log_price: Floats
    private: Floats
    rebuy: Floats
    own_lift: Floats
    kind: NDArray[np.int32]
    category: NDArray[np.int32]
    department: NDArray[np.int32]
    basket_near: Neighbours
    household_near: Neighbours
    display_lift: Floats
    mailer_lift: Floats
    plan_stores: NDArray[np.int32]
    plans: dict[tuple[int, int], bytes]
    chain_plans: dict[int, NDArray[np.uint8]]
    latent: Latent | None = None

    @property
    def n_items(self) -> int:
        """How many items can be ranked."""
        return len(self.pop_all)


@dataclass(frozen=True, slots=True, eq=False)
class Situation:
    """A request in the tables' own terms.

    Attributes:
        hour, weekday: Store-local.
        week: Week of the promotion plan; None when there is none.
        store: Store code; None when the tables do not know it.
        basket: Items of this visit, oldest first, distinct.
        bought: Items of earlier baskets, one entry for each basket and item, oldest first.
        bought_basket: Which earlier basket each entry belongs to, ascending from 0.
        ago_days: Age of each earlier basket, descending.
        allowed: bool (n_items,) of what may be a candidate; None means all.
    """

    hour: int
    weekday: int
    week: int | None
    store: int | None
    basket: Items
    bought: Items
    bought_basket: NDArray[np.int64]
    ago_days: NDArray[np.float64]
    allowed: NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Surroundings:
    """Dense vectors over all items for one store, week, hour bin and weekday."""

    log_store: Floats
    store_lift: Floats
    hour_lift: Floats
    weekday_lift: Floats
    display: Floats
    mailer: Floats
    chain_display: Floats
    chain_mailer: Floats
    own_lift: Floats
    now: Floats
    latent: Floats
    popular: Items


@dataclass(frozen=True, slots=True, eq=False)
class Description:
    """Candidates and what is known of them.

    Attributes:
        items: Candidate positions, ascending, distinct.
        matrix: float32 (n_candidates, n_features).
    """

    items: Items
    matrix: Floats


def surroundings(
    tables: RankerTables, *, store: int | None, week: int | None, hour: int, weekday: int
) -> Surroundings:
    """Returns what does not depend on the visitor."""
    chain = np.maximum(tables.pop_recent, TINY)
    share = chain.copy()
    if store is not None:
        here = slice(int(tables.store_starts[store]), int(tables.store_starts[store + 1]))
        weight = float(tables.store_weight[store])
        share *= 1.0 - weight
        share[tables.store_items[here]] += weight * tables.store_share[here]
    log_store = np.log(np.maximum(share, TINY))
    bin_ = min(max(hour, 0) // HOURS_PER_BIN, HOUR_BINS - 1)
    hour_lift = tables.hour_lift[bin_].astype(np.float32)
    weekday_lift = tables.weekday_lift[weekday % WEEKDAYS].astype(np.float32)
    display, mailer, chain_plan = _promotion(tables, store, week)
    own = tables.own_lift * np.maximum(mailer > 0, chain_plan[1])
    now = log_store + hour_lift + weekday_lift + display + mailer
    return Surroundings(
        log_store=log_store,
        store_lift=log_store - np.log(chain),
        hour_lift=hour_lift,
        weekday_lift=weekday_lift,
        display=display,
        mailer=mailer,
        chain_display=chain_plan[0],
        chain_mailer=chain_plan[1],
        own_lift=own.astype(np.float32),
        now=now,
        latent=_latent_context(tables, bin_, weekday % WEEKDAYS, store),
        popular=np.argsort(-now, kind="stable"),
    )


def _promotion(
    tables: RankerTables, store: int | None, week: int | None
) -> tuple[Floats, Floats, Floats]:
    n = tables.n_items
    if week is None or week not in tables.chain_plans:
        return np.zeros(n, np.float32), np.zeros(n, np.float32), np.zeros((2, n), np.float32)
    chain = tables.chain_plans[week].astype(np.float32) / np.float32(255)
    at = np.flatnonzero(tables.plan_stores == (-1 if store is None else store))
    packed = tables.plans.get((week, int(at[0]))) if len(at) else None
    if packed is None:
        mean_display = float(tables.display_lift[1:].mean())
        mean_mailer = float(tables.mailer_lift[1:].mean())
        return chain[0] * np.float32(mean_display), chain[1] * np.float32(mean_mailer), chain
    codes = np.frombuffer(zlib.decompress(packed), dtype=np.uint8)
    display = tables.display_lift[codes % CODES]
    return display, tables.mailer_lift[codes // CODES], chain


def _latent_context(tables: RankerTables, bin_: int, weekday: int, store: int | None) -> Floats:
    if tables.latent is None:
        return np.zeros(0, np.float32)
    context = tables.latent.context
    vector = context[bin_] + context[HOUR_BINS + weekday]
    if store is not None:
        vector = vector + context[HOUR_BINS + WEEKDAYS + store]
    return np.asarray(vector, dtype=np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class _Past:
    """What the history says of each distinct item in it."""

    items: Items
    count: Floats
    fast: Floats
    slow: Floats
    ago: Floats
    gap_ratio: Floats
    last: Floats


def _past(situation: Situation) -> _Past:
    """Returns counts, decayed counts, recency and rhythm of each item bought before."""
    items, inverse = np.unique(situation.bought, return_inverse=True)
    ago = situation.ago_days[situation.bought_basket]
    n = len(items)
    count = np.bincount(inverse, minlength=n)
    newest = np.full(n, LONG_AGO_DAYS)
    newest[inverse] = ago
    oldest = np.full(n, LONG_AGO_DAYS)
    oldest[inverse[::-1]] = ago[::-1]
    gap = (oldest - newest) / np.maximum(count - 1, 1)
    ratio = np.where(count > 1, newest / np.maximum(gap, 1.0), -1.0)
    recent = situation.bought_basket >= len(situation.ago_days) - LAST_BASKETS
    return _Past(
        items=items,
        count=count.astype(np.float32),
        fast=_decayed(inverse, ago, FAST_HALF_LIFE_DAYS, n),
        slow=_decayed(inverse, ago, SLOW_HALF_LIFE_DAYS, n),
        ago=newest.astype(np.float32),
        gap_ratio=np.minimum(ratio, 20.0).astype(np.float32),
        last=np.bincount(inverse, weights=recent, minlength=n).astype(np.float32),
    )


def _decayed(
    inverse: NDArray[np.int64], ago: NDArray[np.float64], half_life: float, n: int
) -> Floats:
    weights = np.exp2(-ago / half_life)
    return np.bincount(inverse, weights=weights, minlength=n).astype(np.float32)


def _spread(near: Neighbours, items: Items, weights: Floats, n: int) -> tuple[Floats, Floats]:
    """Returns for every item the sum and the maximum of its neighbours' weighted links."""
    if not len(items):
        return np.zeros(n, np.float32), np.zeros(n, np.float32)
    index = near.index[items].ravel()
    links = (near.weight[items].astype(np.float32) * weights[:, None]).ravel()
    total = np.bincount(index, weights=links, minlength=n).astype(np.float32)
    best = np.zeros(n, np.float32)
    np.maximum.at(best, index, links)
    return total, best


def _best(signal: Floats, n: int) -> Items:
    """Returns the positions of the n largest positive values."""
    found = np.flatnonzero(signal > 0)
    if len(found) <= n:
        return found
    return found[np.argpartition(-signal[found], n - 1)[:n]]


@dataclass(frozen=True, slots=True, eq=False)
class _Signals:
    """Dense or sparse evidence for every item, before candidates are chosen."""

    past: _Past
    cosine_sum: Floats
    cosine_max: Floats
    cosine_last: Floats
    shared_sum: Floats
    history_sum: Floats
    history_max: Floats
    latent_basket: Floats
    latent_all: Floats


def describe(tables: RankerTables, situation: Situation, around: Surroundings) -> Description:
    """Returns the candidates of a situation and their features.

    Args:
        tables: The learned statistics.
        situation: What is known of the visit.
        around: `surroundings` of the same store, week, hour and weekday.

    Returns:
        Candidates without the basket's own items; float32, shape (n_candidates, n_features).
    """
    basket = situation.basket[-MAX_BASKET:]
    past = _past(situation)
    signals = _signals(tables, basket, past, around)
    items = _candidates(tables, situation, signals, around)
    return Description(items=items, matrix=_matrix(tables, situation, signals, around, items))


def _signals(tables: RankerTables, basket: Items, past: _Past, around: Surroundings) -> _Signals:
    n = tables.n_items
    ones = np.ones(len(basket), dtype=np.float32)
    cosine_sum, cosine_max = _spread(tables.basket_near, basket, ones, n)
    cosine_last, _ = _spread(tables.basket_near, basket[-1:], ones[-1:], n)
    shared_sum, _ = _spread(tables.household_near, basket, ones, n)
    top = past.items
    weights = past.slow
    if len(top) > MAX_HISTORY_ITEMS:
        chosen = np.sort(np.argpartition(-weights, MAX_HISTORY_ITEMS - 1)[:MAX_HISTORY_ITEMS])
        top, weights = top[chosen], weights[chosen]
    scale = weights / np.float32(max(float(weights.sum()), TINY)) if len(top) else weights
    history_sum, history_max = _spread(tables.household_near, top, scale, n)
    latent_basket, latent_all = _latent(tables, basket, top, weights, around)
    return _Signals(
        past=past,
        cosine_sum=cosine_sum,
        cosine_max=cosine_max,
        cosine_last=cosine_last,
        shared_sum=shared_sum,
        history_sum=history_sum,
        history_max=history_max,
        latent_basket=latent_basket,
        latent_all=latent_all,
    )


def latent_query(
    latent: Latent, basket: Items, bought: Items, weights: Floats
) -> tuple[Floats, Floats]:
    """Returns what the basket and what the history ask for, each float32 (d,).

    A set of n items asks for the sum of their vectors divided by the root of n (of the weights'
    square sum): more items are more evidence, but less than proportionally.
    """
    d = latent.item.shape[1]
    by_basket, by_history = np.zeros(d, np.float32), np.zeros(d, np.float32)
    if len(basket):
        by_basket = latent.basket[basket].astype(np.float32).sum(axis=0)
        by_basket /= np.float32(np.sqrt(len(basket)))
    if len(bought):
        damped = np.sqrt(weights)
        by_history = damped @ latent.history[bought].astype(np.float32)
        by_history /= np.float32(np.sqrt(float(weights.sum()) + 1.0))
    return by_basket, by_history


def _latent(
    tables: RankerTables, basket: Items, bought: Items, weights: Floats, around: Surroundings
) -> tuple[Floats, Floats]:
    latent = tables.latent
    if latent is None:
        none = np.zeros(tables.n_items, np.float32)
        return none, none
    by_basket, by_history = latent_query(latent, basket, bought, weights)
    both = np.stack([around.latent + by_basket, around.latent + by_basket + by_history])
    scores = latent.item @ both.T + latent.bias[:, None]
    scores -= np.log(np.exp(scores).sum(axis=0))
    return scores[:, 0], scores[:, 1]


def _candidates(
    tables: RankerTables, situation: Situation, signals: _Signals, around: Surroundings
) -> Items:
    allowed = situation.allowed
    free = np.ones(tables.n_items, dtype=bool) if allowed is None else allowed.copy()
    free[situation.basket] = False
    past = signals.past
    usual = past.items[np.argsort(-past.slow, kind="stable")[: 2 * PER_SIGNAL]]
    popular = around.popular if allowed is None else around.popular[free[around.popular]]
    lists = [usual, popular[:PER_SIGNAL]]
    lists.extend(
        _best(signal if allowed is None else signal * allowed, PER_SIGNAL)
        for signal in (signals.cosine_sum, signals.shared_sum, signals.history_sum)
    )
    if tables.latent is not None:
        lowest = signals.latent_all - signals.latent_all.min()
        lists.append(_best(lowest if allowed is None else lowest * allowed, N_LATENT))
    chosen = np.zeros(tables.n_items, dtype=bool)
    chosen[np.concatenate(lists)] = True
    return np.flatnonzero(chosen & free)


def _matrix(
    tables: RankerTables,
    situation: Situation,
    signals: _Signals,
    around: Surroundings,
    items: Items,
) -> Floats:
    columns: dict[str, Floats | float] = {}
    columns.update(_whole_visit(situation, signals.past, tables))
    columns.update(_of_items(tables, around, items))
    columns.update(_of_basket(tables, situation.basket[-MAX_BASKET:], signals, items))
    columns.update(_of_history(tables, signals, items))
    matrix = np.empty((len(FEATURES), len(items)), dtype=np.float32)
    for row, name in enumerate(FEATURES):
        matrix[row] = columns[name]
    return np.ascontiguousarray(matrix.T)


def _whole_visit(
    situation: Situation, past: _Past, tables: RankerTables
) -> dict[str, Floats | float]:
    n_history = len(situation.ago_days)
    private = past.slow @ tables.private[past.items] / max(float(past.slow.sum()), TINY)
    return {
        "n_basket": float(len(situation.basket)),
        "n_history": float(n_history),
        "days_since_visit": float(situation.ago_days[-1]) if n_history else LONG_AGO_DAYS,
        "mean_history_size": len(situation.bought) / max(n_history, 1),
        "hour": float(situation.hour),
        "weekday": float(situation.weekday),
        "private_share": float(private) if n_history else -1.0,
    }


def _of_items(
    tables: RankerTables, around: Surroundings, items: Items
) -> dict[str, Floats | float]:
    recent = np.log(tables.pop_recent[items] + np.float32(TINY))
    latest = np.log(tables.pop_latest[items] + np.float32(TINY))
    return {
        "log_pop_all": np.log(tables.pop_all[items] + np.float32(TINY)),
        "log_pop_recent": recent,
        "log_pop_latest": latest,
        "trend": latest - recent,
        "log_pop_store": around.log_store[items],
        "store_lift": around.store_lift[items],
        "hour_lift": around.hour_lift[items],
        "weekday_lift": around.weekday_lift[items],
        "log_price": tables.log_price[items],
        "private_label": tables.private[items],
        "rebuy_share": tables.rebuy[items],
        "display_lift": around.display[items],
        "mailer_lift": around.mailer[items],
        "chain_display": around.chain_display[items],
        "chain_mailer": around.chain_mailer[items],
        "own_promotion_lift": around.own_lift[items],
    }


def _of_basket(
    tables: RankerTables, basket: Items, signals: _Signals, items: Items
) -> dict[str, Floats | float]:
    return {
        "basket_cosine_sum": signals.cosine_sum[items],
        "basket_cosine_max": signals.cosine_max[items],
        "basket_cosine_last": signals.cosine_last[items],
        "basket_household_sum": signals.shared_sum[items],
        "basket_same_kind": _same(tables.kind, basket, items),
        "basket_same_category": _same(tables.category, basket, items),
        "basket_same_department": _same(tables.department, basket, items)
        / np.float32(max(len(basket), 1)),
        "latent_basket": signals.latent_basket[items],
        "latent_all": signals.latent_all[items],
    }


def _same(codes: NDArray[np.int32], basket: Items, items: Items) -> Floats:
    counts = np.bincount(codes[basket], minlength=int(codes.max()) + 1)
    return counts[codes[items]].astype(np.float32)


def _of_history(
    tables: RankerTables, signals: _Signals, items: Items
) -> dict[str, Floats | float]:
    past = signals.past
    n, n_kinds = tables.n_items, int(tables.kind.max()) + 1
    at = np.full(n, len(past.items), dtype=np.int64)
    at[past.items] = np.arange(len(past.items))
    row = at[items]

    def known(values: Floats, otherwise: float) -> Floats:
        return np.append(values, np.float32(otherwise))[row]

    kinds, of_kind = tables.kind[past.items], tables.kind[items]
    kind_slow = np.bincount(kinds, weights=past.slow, minlength=n_kinds).astype(np.float32)
    kind_ago = np.full(n_kinds, LONG_AGO_DAYS, dtype=np.float32)
    np.minimum.at(kind_ago, kinds, past.ago)
    slow = known(past.slow, 0.0)
    return {
        "history_household_sum": signals.history_sum[items],
        "history_household_max": signals.history_max[items],
        "history_count": known(past.count, 0.0),
        "history_share": slow / np.float32(max(float(past.slow.max(initial=0.0)), TINY)),
        "history_fast": known(past.fast, 0.0),
        "history_slow": slow,
        "days_since_bought": known(past.ago, LONG_AGO_DAYS),
        "gap_ratio": known(past.gap_ratio, -1.0),
        "in_last_baskets": known(past.last, 0.0),
        "kind_slow": kind_slow[of_kind],
        "kind_share": slow / np.maximum(kind_slow[of_kind], np.float32(TINY)),
        "days_since_kind": kind_ago[of_kind],
        "category_slow": _sum_by(tables.category, past, items),
        "department_slow": _sum_by(tables.department, past, items)
        / np.float32(max(float(past.slow.sum()), TINY)),
    }


def _sum_by(codes: NDArray[np.int32], past: _Past, items: Items) -> Floats:
    sums = np.bincount(
        codes[past.items], weights=past.slow, minlength=int(codes.max()) + 1
    ).astype(np.float32)
    return sums[codes[items]]
