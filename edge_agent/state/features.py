"""What a score rests on: candidates and their features, from tables and one situation.

Training and serving both call `describe`, so there is no second definition of a feature. A
situation names items by their position in the tables; nobody's identity reaches this file. All
functions are pure: the same tables and situation give the same matrix, bit for bit.

Theory of operation. Everything that depends on store, week, hour and weekday alone is worked out
once as dense vectors over all items (`Surroundings`, which a caller may keep). A decision then
adds what the basket and the history say: sparse sums over item-to-item neighbours. The best of
each signal become candidates, and only they get features.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_agent.state.groups import Groups, Likeness, LocalGroups, groups_at, likeness
from edge_agent.state.habits import Assortment, Habits, habits

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
    "log_share_of_kind",
    "store_lift",
    "hour_lift",
    "weekday_lift",
    "log_price",
    "private_label",
    "rebuy_share",
    "basket_cosine_sum",
    "basket_cosine_max",
    "basket_cosine_rare",
    "basket_conditional",
    "basket_conditional_max",
    "basket_household_conditional",
    "basket_kind_cosine",
    "basket_best_cosine",
    "basket_household_sum",
    "basket_same_kind",
    "basket_same_category",
    "basket_same_department",
    "history_household_sum",
    "history_household_max",
    "history_conditional",
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
    "basket_private_share",
    "basket_offer_share",
    "basket_mean_price",
    "basket_mean_pop",
    "basket_same_maker",
    "maker_slow",
    "display_lift",
    "mailer_lift",
    "chain_display",
    "chain_mailer",
    "own_promotion_lift",
    "basket_group_share",
    "basket_group_lift",
    "basket_group_certainty",
    "history_together",
    "history_together_share",
    "history_hour_share",
    "history_weekday_share",
    "history_long",
    "baskets_since_bought",
    "history_rate",
    "history_recent",
    "history_together_sharp",
    "history_together_lift",
    "history_kinds_share",
    "history_kinds_lift",
    "history_categories_lift",
    "history_due",
    "history_rank",
    "kind_rate",
    "usual_gap",
    "n_repertoire",
    "basket_known_kinds",
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
LONG_AGO_BASKETS = 400.0
NO_RANK = 1000.0
"""Place in the repertoire of what is not in it."""
MAX_BASKET = 40
MAX_HISTORY_ITEMS = 160
TINY = 1e-6
GROUP_TINY = 1e-4
PER_SIGNAL = 80
N_TOGETHER = 160
"""Candidates taken from each signal; set by the trials in the model card."""
FINALISTS = 60
"""Rows that a model's first stage lets through to its second; the others score 0."""


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
class RankerTables:
    """All learned statistics, aggregated over households; none of them is anybody's record.

    Attributes:
        pop_all, pop_recent, pop_latest: Share of baskets with the item, float32 (n_items,).
        hour_lift, weekday_lift: Log ratio to the item's own mean, float16 (bins, n_items).
        store_starts, store_items, store_share: Per store, items and their share of its baskets.
        log_price, private, rebuy, own_lift: float32 (n_items,).
        usual_gap: Days between two purchases of one household, float32 (n_items,).
        kind, category, department: Codes, (n_items,).
        basket_near, household_near: Items bought together, in one visit or by one household.
        display_lift, mailer_lift: Log lift of each of 16 codes.
        plan_stores: Store codes with a promotion plan.
        plans: (week, position in plan_stores) -> zlib of one byte for each item.
        groups: Groups of similar households.
        chain_plans: week -> uint8 (2, n_items), share of stores with display, mailer, in 1/255.
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
    usual_gap: Floats
    own_lift: Floats
    kind: NDArray[np.int32]
    category: NDArray[np.int32]
    department: NDArray[np.int32]
    maker: NDArray[np.int32]
    kind_pop: Floats
    basket_near: Neighbours
    household_near: Neighbours
    kind_near: Neighbours
    groups: Groups
    display_lift: Floats
    mailer_lift: Floats
    plan_stores: NDArray[np.int32]
    plans: dict[tuple[int, int], bytes | memoryview]
    chain_plans: dict[int, NDArray[np.uint8]]

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
    popular: NDArray[np.int32]
    groups: LocalGroups


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
        popular=np.argsort(-now, kind="stable").astype(np.int32),
        groups=groups_at(tables.groups, store),
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


_NONE: Floats = np.zeros(0, dtype=np.float32)
_NO_PAST = _Past(
    items=np.zeros(0, dtype=np.int64),
    count=_NONE,
    fast=_NONE,
    slow=_NONE,
    ago=_NONE,
    gap_ratio=_NONE,
    last=_NONE,
)


def _past(situation: Situation) -> _Past:
    """Returns counts, decayed counts, recency and rhythm of each item bought before."""
    if not len(situation.bought):
        return _NO_PAST
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


@dataclass(frozen=True, slots=True, eq=False)
class _Links:
    """The neighbours of some items, looked up once for several ways of weighing them."""

    index: NDArray[np.uint16] | NDArray[np.int32]
    weight: Floats
    n: int

    def total(self, weights: Floats) -> Floats:
        """Returns for every item the sum of its weighted links, float32 (n,)."""
        if not len(weights):
            return np.zeros(self.n, np.float32)
        links = (self.weight * weights[:, None]).ravel()
        return np.bincount(self.index.ravel(), weights=links, minlength=self.n).astype(np.float32)

    def strongest(self, weights: Floats) -> Floats:
        """Returns for every item its strongest weighted link, float32 (n,)."""
        best = np.zeros(self.n, np.float32)
        if not len(weights):
            return best
        np.maximum.at(best, self.index.ravel(), (self.weight * weights[:, None]).ravel())
        return best


def _links(near: Neighbours, items: Items) -> _Links:
    weight = near.weight[items].astype(np.float32)
    return _Links(index=near.index[items], weight=weight, n=len(near.index))


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
    cosine_rare: Floats
    conditional: Floats
    conditional_max: Floats
    shared_conditional: Floats
    history_conditional: Floats
    kind_cosine: Floats
    shared_sum: Floats
    history_sum: Floats
    history_max: Floats
    on_offer: Floats
    like_basket: Likeness


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
    popular = tables.pop_all[basket] + np.float32(TINY)
    ones, rarity = np.ones(len(basket), dtype=np.float32), np.float32(1.0) / np.sqrt(popular)
    together, shared = _links(tables.basket_near, basket), _links(tables.household_near, basket)
    # Sorted and distinct as from np.unique, which would import numpy.ma.
    kinds = np.flatnonzero(np.bincount(tables.kind[basket]))
    kind_links = _links(tables.kind_near, kinds)
    top, weights = past.items, past.slow
    if len(top) > MAX_HISTORY_ITEMS:
        chosen = np.sort(np.argpartition(-weights, MAX_HISTORY_ITEMS - 1)[:MAX_HISTORY_ITEMS])
        top, weights = top[chosen], weights[chosen]
    scale = weights / np.float32(max(float(weights.sum()), TINY))
    earlier = _links(tables.household_near, top)
    return _Signals(
        past=past,
        cosine_sum=together.total(ones),
        cosine_max=together.strongest(ones),
        cosine_rare=together.total(-np.log(popular)),
        conditional=together.total(rarity),
        conditional_max=together.strongest(rarity),
        shared_sum=shared.total(ones),
        shared_conditional=shared.total(rarity),
        kind_cosine=kind_links.total(np.ones(len(kinds), dtype=np.float32)),
        history_sum=earlier.total(scale),
        history_max=earlier.strongest(scale),
        history_conditional=earlier.total(scale / np.sqrt(tables.pop_all[top] + np.float32(TINY))),
        on_offer=around.chain_mailer[basket],
        like_basket=likeness(around.groups, basket, tables.pop_all),
    )


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
    for signal, n in (
        (signals.cosine_rare, N_TOGETHER),
        (signals.conditional * np.sqrt(tables.pop_all), PER_SIGNAL),
        (signals.shared_sum, PER_SIGNAL),
        (signals.history_sum, PER_SIGNAL),
        (signals.like_basket.share, PER_SIGNAL),
    ):
        lists.append(_best(signal if allowed is None else signal * allowed, n))
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
    columns.update(_of_groups(signals, around, items))
    columns.update(_of_habits(tables, situation, signals.past, items))
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
        "n_repertoire": float(len(past.items)),
        "basket_known_kinds": _known_kinds(situation.basket, past, tables),
    }


def _known_kinds(basket: Items, past: _Past, tables: RankerTables) -> float:
    """Returns the share of the basket that is of kinds bought before; -1 when nobody can say."""
    if not len(basket) or not len(past.items):
        return -1.0
    known = np.zeros(len(tables.kind_pop), dtype=bool)
    known[tables.kind[past.items]] = True
    return float(known[tables.kind[basket]].mean())


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
        "log_share_of_kind": np.log(
            (tables.pop_all[items] + np.float32(TINY)) / tables.kind_pop[tables.kind[items]]
        ),
        "store_lift": around.store_lift[items],
        "hour_lift": around.hour_lift[items],
        "weekday_lift": around.weekday_lift[items],
        "log_price": tables.log_price[items],
        "private_label": tables.private[items],
        "rebuy_share": tables.rebuy[items],
        "usual_gap": tables.usual_gap[items],
        "display_lift": around.display[items],
        "mailer_lift": around.mailer[items],
        "chain_display": around.chain_display[items],
        "chain_mailer": around.chain_mailer[items],
        "own_promotion_lift": around.own_lift[items],
    }


def _of_basket(
    tables: RankerTables, basket: Items, signals: _Signals, items: Items
) -> dict[str, Floats | float]:
    root = np.sqrt(tables.pop_all[items] + np.float32(TINY))
    return {
        "basket_cosine_sum": signals.cosine_sum[items],
        "basket_cosine_max": signals.cosine_max[items],
        "basket_cosine_rare": signals.cosine_rare[items],
        "basket_conditional": signals.conditional[items] * root,
        "basket_conditional_max": signals.conditional_max[items] * root,
        "basket_household_conditional": signals.shared_conditional[items] * root,
        "basket_kind_cosine": signals.kind_cosine[tables.kind[items]],
        "basket_best_cosine": signals.cosine_sum[items]
        / np.float32(max(float(signals.cosine_sum.max(initial=0.0)), TINY)),
        "basket_household_sum": signals.shared_sum[items],
        "basket_same_kind": _same(tables.kind, basket, items),
        "basket_same_category": _same(tables.category, basket, items),
        **_of_whole_basket(tables, basket, signals),
        "basket_same_maker": _same(tables.maker, basket, items),
        "basket_same_department": _same(tables.department, basket, items)
        / np.float32(max(len(basket), 1)),
    }


def _of_whole_basket(
    tables: RankerTables, basket: Items, signals: _Signals
) -> dict[str, Floats | float]:
    """Returns what kind of basket it is: own labels, offers, dear or cheap, usual or rare."""
    if not len(basket):
        return {
            "basket_private_share": -1.0,
            "basket_offer_share": -1.0,
            "basket_mean_price": 0.0,
            "basket_mean_pop": 0.0,
        }
    popular = np.log(tables.pop_all[basket] + np.float32(TINY))
    return {
        "basket_private_share": float(tables.private[basket].mean()),
        "basket_offer_share": float(signals.on_offer.mean()),
        "basket_mean_price": float(tables.log_price[basket].mean()),
        "basket_mean_pop": float(popular.mean()),
    }


def _same(codes: NDArray[np.int32], basket: Items, items: Items) -> Floats:
    same = codes[items][:, None] == codes[basket]
    counts: Floats = same.sum(axis=1, dtype=np.float32)
    return counts


_OF_NO_HISTORY: dict[str, Floats | float] = {
    "history_household_sum": 0.0,
    "history_household_max": 0.0,
    "history_conditional": 0.0,
    "history_count": 0.0,
    "history_share": 0.0,
    "history_fast": 0.0,
    "history_slow": 0.0,
    "days_since_bought": LONG_AGO_DAYS,
    "gap_ratio": -1.0,
    "in_last_baskets": 0.0,
    "kind_slow": 0.0,
    "kind_share": 0.0,
    "days_since_kind": LONG_AGO_DAYS,
    "category_slow": 0.0,
    "maker_slow": 0.0,
    "department_slow": 0.0,
}
"""What `_of_history` works out for every item when nothing was bought before."""


def _of_history(
    tables: RankerTables, signals: _Signals, items: Items
) -> dict[str, Floats | float]:
    past = signals.past
    if not len(past.items):
        return _OF_NO_HISTORY
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
        "history_conditional": signals.history_conditional[items]
        * np.sqrt(tables.pop_all[items] + np.float32(TINY)),
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
        "maker_slow": _sum_by(tables.maker, past, items),
        "department_slow": _sum_by(tables.department, past, items)
        / np.float32(max(float(past.slow.sum()), TINY)),
    }


def _sum_by(codes: NDArray[np.int32], past: _Past, items: Items) -> Floats:
    sums = np.bincount(
        codes[past.items], weights=past.slow, minlength=int(codes.max()) + 1
    ).astype(np.float32)
    return sums[codes[items]]


def _of_groups(signals: _Signals, around: Surroundings, items: Items) -> dict[str, Floats | float]:
    """Returns what those groups of households buy that the basket looks like."""
    like = signals.like_basket
    if not like.certainty > 0.0:
        return {
            "basket_group_share": 0.0,
            "basket_group_lift": 0.0,
            "basket_group_certainty": 0.0,
        }
    share = like.share[items]
    return {
        "basket_group_share": share,
        "basket_group_lift": np.log(share + np.float32(GROUP_TINY)) - around.log_store[items],
        "basket_group_certainty": like.certainty,
    }


NO_HABITS: dict[str, float] = {
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
    "kind_rate": 0.0,
}
"""What `_of_habits` says of an item that was not bought before."""


def _of_habits(
    tables: RankerTables, situation: Situation, past: _Past, items: Items
) -> dict[str, Floats | float]:
    """Returns what the visitor's own earlier baskets say of this very visit."""
    if not len(past.items):
        return {**NO_HABITS}
    found = _habits(tables, situation, past)
    at = np.full(tables.n_items, len(past.items), dtype=np.int64)
    at[past.items] = np.arange(len(past.items))
    row = at[items]
    by_name = {
        "history_together": found.together,
        "history_together_share": found.together_share,
        "history_hour_share": found.at_hour,
        "history_weekday_share": found.on_weekday,
        "history_long": found.long,
        "baskets_since_bought": found.baskets_since,
        "history_rate": found.rate,
        "history_recent": found.recent,
        "history_together_sharp": found.together_sharp,
        "history_together_lift": found.together_lift,
        "history_kinds_share": found.kinds_share,
        "history_kinds_lift": found.kinds_lift,
        "history_categories_lift": found.categories_lift,
        "history_due": found.due,
        "history_rank": _ranks(past),
    }
    columns: dict[str, Floats | float] = {
        name: np.append(values, np.float32(NO_HABITS[name]))[row]
        for name, values in by_name.items()
    }
    columns["kind_rate"] = _kind_rate(tables, situation)[tables.kind[items]]
    return columns


def _habits(tables: RankerTables, situation: Situation, past: _Past) -> Habits:
    return habits(
        past.items,
        bought=situation.bought,
        bought_basket=situation.bought_basket,
        ago_days=situation.ago_days,
        basket=situation.basket[-MAX_BASKET:],
        assortment=Assortment(
            pop=tables.pop_all,
            kind_pop=tables.kind_pop,
            kind=tables.kind,
            category=tables.category,
            usual_gap=tables.usual_gap,
        ),
    )


def _ranks(past: _Past) -> Floats:
    """Returns each item's place in the repertoire, the likeliest first."""
    ranks = np.empty(len(past.items), dtype=np.float32)
    ranks[np.argsort(-past.slow, kind="stable")] = np.arange(len(past.items))
    return ranks


def _kind_rate(tables: RankerTables, situation: Situation) -> Floats:
    """Returns the share of the earlier baskets with each kind, float32 (n_kinds,)."""
    n_kinds, n = len(tables.kind_pop), len(situation.ago_days)
    seen = np.zeros((n, n_kinds), dtype=bool)
    seen[situation.bought_basket, tables.kind[situation.bought]] = True
    rate: Floats = seen.sum(axis=0, dtype=np.float32)
    return rate / np.float32(n)
