"""What a score rests on: candidates and their features, from tables and one situation.

Training and serving both call `describe`, so there is no second definition of a feature. A
situation names items by their position in the tables; nobody's identity reaches this file. All
functions are pure: the same tables and situation give the same matrix, bit for bit.

Theory of operation. What is known of an item wherever and whenever it is sold stands in the
tables; what depends on store, week, hour and weekday alone is worked out once as dense vectors
over all items (`Surroundings`, which a caller may keep). Either keeps the features of an item next
to each other, because a decision asks for a few hundred items that lie far apart. A decision then
adds what the basket and the history say: sparse sums over item-to-item neighbours. The best of
each signal become candidates, and only they get features.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edge_agent.state.groups import Groups, Likeness, LocalGroups, groups_at, likeness
from edge_agent.state.habits import (
    LONG_AGO_DAYS,
    NEVER_BOUGHT,
    Assortment,
    History,
    habits,
    history_of,
    looked_up,
)

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
        features: Those of `OF_ITEMS`, together for each item, (n_items, n).
        codes: `kind`, `category`, `department` and `maker`, the codes of each counted on from
            those of the one before, so that no two mean the same; int32 (n_items, 4).
        n_codes: How many codes there are.
        root_pop: Square root of `pop_all`.
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
    features: Floats = field(init=False, repr=False)
    codes: NDArray[np.int32] = field(init=False, repr=False)
    n_codes: int = field(init=False)
    root_pop: Floats = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Works out what every decision would otherwise work out again."""
        codes = np.stack([self.kind, self.category, self.department, self.maker], axis=1)
        ends = np.cumsum(codes.max(axis=0, initial=-1) + 1)
        codes[:, 1:] += ends[:-1]
        object.__setattr__(self, "codes", codes)
        object.__setattr__(self, "n_codes", int(ends[-1]))
        object.__setattr__(self, "root_pop", np.sqrt(self.pop_all))
        object.__setattr__(self, "features", self._features())

    def _features(self) -> Floats:
        tiny = np.float32(TINY)
        pop = self.pop_all + tiny
        recent, latest = np.log(self.pop_recent + tiny), np.log(self.pop_latest + tiny)
        of_kind = np.log(pop / self.kind_pop[self.kind])
        columns = (np.log(pop), recent, latest, latest - recent, of_kind)
        return np.stack(
            [*columns, self.log_price, self.private, self.rebuy, self.usual_gap], axis=1
        )

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
    """Dense vectors over all items for one store, week, hour bin and weekday.

    Attributes:
        features: Those of `OF_PLACE`, together for each item, (n_items, n).
        log_store, store_lift, hour_lift, weekday_lift, chain_mailer: Columns of it.
        now: Log share of this store's baskets with the item, at this time.
        popular: All items, by `now`.
        groups: The groups of households that shop here.
    """

    features: Floats
    log_store: Floats
    store_lift: Floats
    hour_lift: Floats
    weekday_lift: Floats
    chain_mailer: Floats
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


OF_ITEMS = (
    "log_pop_all",
    "log_pop_recent",
    "log_pop_latest",
    "trend",
    "log_share_of_kind",
    "log_price",
    "private_label",
    "rebuy_share",
    "usual_gap",
)
"""Features that stand in `RankerTables.features`, in the order of its columns."""

OF_PLACE = (
    "log_pop_store",
    "store_lift",
    "hour_lift",
    "weekday_lift",
    "display_lift",
    "mailer_lift",
    "chain_display",
    "chain_mailer",
    "own_promotion_lift",
)
"""Features that stand in `Surroundings.features`, in the order of its columns."""


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
    columns = (log_store, log_store - np.log(chain), hour_lift, weekday_lift)
    features = np.stack([*columns, display, mailer, *chain_plan, own], axis=1)
    return Surroundings(
        features=features,
        log_store=features[:, 0],
        store_lift=features[:, 1],
        hour_lift=features[:, 2],
        weekday_lift=features[:, 3],
        chain_mailer=features[:, 7],
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
    """What the history says of each distinct item in it.

    Attributes:
        history: Which items, and where; None when nothing was bought before.
        habits: As from `habits`.
        items: Distinct items bought before, ascending.
        codes: Kind, category, department and maker of each, as in the tables.
        slow: `history_slow` of each.
        rank: `history_rank` of each.
    """

    history: History | None
    habits: dict[str, Floats]
    items: NDArray[np.intp]
    codes: NDArray[np.int32]
    slow: Floats
    rank: Floats


_NO_PAST = _Past(
    history=None,
    habits={},
    items=np.zeros(0, dtype=np.intp),
    codes=np.zeros((0, 4), dtype=np.int32),
    slow=np.zeros(0, dtype=np.float32),
    rank=np.zeros(0, dtype=np.float32),
)


def _past(tables: RankerTables, situation: Situation, basket: Items) -> _Past:
    """Returns what the history says, also of this basket."""
    if not len(situation.bought):
        return _NO_PAST
    history = history_of(
        situation.bought, situation.bought_basket, situation.ago_days, tables.codes
    )
    assortment = Assortment(
        pop=tables.pop_all,
        kind_pop=tables.kind_pop,
        codes=tables.codes,
        n_codes=tables.n_codes,
        usual_gap=tables.usual_gap,
    )
    found = habits(history, basket, assortment)
    return _Past(
        history=history,
        habits=found,
        items=history.items,
        codes=history.codes,
        slow=found["history_slow"],
        rank=found["history_rank"],
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Links:
    """The neighbours of some items, looked up once for several ways of weighing them.

    Attributes:
        places: Every neighbour's position, item after item.
        weight: How strong each link is, a row for each item.
        n: How many positions there are.
    """

    places: NDArray[np.intp]
    weight: Floats
    n: int

    def total(self, weights: Floats | None = None) -> Floats:
        """Returns for every item the sum of its links, weighted or not, float32 (n,)."""
        if not len(self.places):
            return np.zeros(self.n, np.float32)
        found = np.bincount(self.places, weights=self._weighted(weights), minlength=self.n)
        return found.astype(np.float32)

    def strongest(self, weights: Floats | None = None) -> Floats:
        """Returns for every item its strongest link, weighted or not, float32 (n,)."""
        best = np.zeros(self.n, np.float32)
        if len(self.places):
            np.maximum.at(best, self.places, self._weighted(weights))
        return best

    def _weighted(self, weights: Floats | None) -> Floats:
        return (self.weight if weights is None else self.weight * weights[:, None]).ravel()


def _links(near: Neighbours, items: NDArray[np.intp]) -> _Links:
    return _Links(
        places=near.index.take(items, axis=0).ravel().astype(np.intp),
        weight=near.weight.take(items, axis=0).astype(np.float32),
        n=len(near.index),
    )


def _best(signal: Floats, n: int) -> Items:
    """Returns the positions of the n largest positive values."""
    found = (signal > 0).nonzero()[0]
    if len(found) <= n:
        return found
    return found[_largest(signal.take(found), n)]


def _largest(values: Floats, n: int) -> NDArray[np.intp]:
    """Returns where the n largest values are, in no order; there are more than n.

    A threshold finds them in half the time of `argpartition`, which only has to decide which of
    several equal values are among them.
    """
    least = np.partition(values, len(values) - n)[len(values) - n]
    found = (values >= least).nonzero()[0]
    return found if len(found) == n else np.argpartition(-values, n - 1)[:n]


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
    past = _past(tables, situation, basket)
    signals = _signals(tables, basket, past, around)
    items = _candidates(tables, situation, signals, around)
    return Description(items=items, matrix=_matrix(tables, situation, signals, around, items))


def _signals(tables: RankerTables, basket: Items, past: _Past, around: Surroundings) -> _Signals:
    popular = tables.pop_all[basket] + np.float32(TINY)
    rarity = np.float32(1.0) / np.sqrt(popular)
    together, shared = _links(tables.basket_near, basket), _links(tables.household_near, basket)
    kinds = np.array(sorted({*tables.kind[basket].tolist()}), dtype=np.intp)
    top, weights = past.items, past.slow
    if len(top) > MAX_HISTORY_ITEMS:
        chosen = np.sort(_largest(weights, MAX_HISTORY_ITEMS))
        top, weights = top[chosen], weights[chosen]
    scale = weights / np.float32(max(float(weights.sum()), TINY))
    earlier = _links(tables.household_near, top)
    return _Signals(
        past=past,
        cosine_sum=together.total(),
        cosine_max=together.strongest(),
        cosine_rare=together.total(-np.log(popular)),
        conditional=together.total(rarity),
        conditional_max=together.strongest(rarity),
        shared_sum=shared.total(),
        shared_conditional=shared.total(rarity),
        kind_cosine=_links(tables.kind_near, kinds).total(),
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
    usual = past.items[past.rank < 2 * PER_SIGNAL]
    popular = around.popular if allowed is None else around.popular[free[around.popular]]
    lists = [usual, popular[:PER_SIGNAL]]
    for signal, n in (
        (signals.cosine_rare, N_TOGETHER),
        (signals.conditional * tables.root_pop, PER_SIGNAL),
        (signals.shared_sum, PER_SIGNAL),
        (signals.history_sum, PER_SIGNAL),
        (signals.like_basket.share, PER_SIGNAL),
    ):
        lists.append(_best(signal if allowed is None else signal * allowed, n))
    chosen = np.zeros(tables.n_items, dtype=bool)
    chosen[np.concatenate(lists)] = True
    return (chosen & free).nonzero()[0]


@dataclass(frozen=True, slots=True, eq=False)
class _Chosen:
    """The candidates, and what several groups of features need of them.

    Attributes:
        items: Their positions.
        root: Square root of the share of baskets with each.
        codes: Kind, category, department and maker of each, as in the tables.
    """

    items: Items
    root: Floats
    codes: NDArray[np.int32]


def _matrix(
    tables: RankerTables,
    situation: Situation,
    signals: _Signals,
    around: Surroundings,
    items: Items,
) -> Floats:
    pop = tables.pop_all.take(items) + np.float32(TINY)
    codes = tables.codes.take(items, axis=0)
    chosen = _Chosen(items=items, root=np.sqrt(pop), codes=codes)
    basket = situation.basket[-MAX_BASKET:]
    columns: dict[str, Floats | float] = {
        **_whole_visit(situation, signals.past, tables),
        **dict(zip(OF_ITEMS, _columns(tables.features, items), strict=True)),
        **dict(zip(OF_PLACE, _columns(around.features, items), strict=True)),
        **_of_basket(tables, basket, signals, chosen),
        **_of_whole_basket(tables, basket, signals),
        **_of_history(tables, signals, chosen),
        **_of_groups(signals, around, items),
    }
    matrix = np.empty((len(FEATURES), len(items)), dtype=np.float32)
    for row, name in enumerate(FEATURES):
        matrix[row] = columns[name]
    return np.ascontiguousarray(matrix.T)


def _columns(features: Floats, items: Items) -> Floats:
    """Returns of a table with a row for each item some items' columns."""
    return np.ascontiguousarray(features.take(items, axis=0).T)


def _whole_visit(
    situation: Situation, past: _Past, tables: RankerTables
) -> dict[str, Floats | float]:
    n_history = len(situation.ago_days)
    private = past.slow @ tables.private.take(past.items) / max(float(past.slow.sum()), TINY)
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
    known[past.codes[:, 0]] = True
    return int(known[tables.kind[basket]].sum()) / len(basket)


def _of_basket(
    tables: RankerTables, basket: Items, signals: _Signals, chosen: _Chosen
) -> dict[str, Floats | float]:
    items, root = chosen.items, chosen.root
    cosine_sum = signals.cosine_sum.take(items)
    largest = max(float(signals.cosine_sum.max(initial=0.0)), TINY)
    n_of_code = np.bincount(tables.codes[basket].ravel(), minlength=tables.n_codes)
    same = n_of_code.astype(np.float32).take(chosen.codes.T)
    return {
        "basket_cosine_sum": cosine_sum,
        "basket_cosine_max": signals.cosine_max.take(items),
        "basket_cosine_rare": signals.cosine_rare.take(items),
        "basket_conditional": signals.conditional.take(items) * root,
        "basket_conditional_max": signals.conditional_max.take(items) * root,
        "basket_household_conditional": signals.shared_conditional.take(items) * root,
        "basket_kind_cosine": signals.kind_cosine.take(chosen.codes[:, 0]),
        "basket_best_cosine": cosine_sum / np.float32(largest),
        "basket_household_sum": signals.shared_sum.take(items),
        "basket_same_kind": same[0],
        "basket_same_category": same[1],
        "basket_same_department": same[2] / np.float32(max(len(basket), 1)),
        "basket_same_maker": same[3],
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


NO_HISTORY: dict[str, float] = {
    **NEVER_BOUGHT,
    "history_household_sum": 0.0,
    "history_household_max": 0.0,
    "history_conditional": 0.0,
    "kind_slow": 0.0,
    "kind_share": 0.0,
    "days_since_kind": LONG_AGO_DAYS,
    "kind_rate": 0.0,
    "category_slow": 0.0,
    "maker_slow": 0.0,
    "department_slow": 0.0,
}
"""What `_of_history` says of every item when nothing was bought before."""


def _of_history(
    tables: RankerTables, signals: _Signals, chosen: _Chosen
) -> dict[str, Floats | float]:
    """Returns what the visitor's own earlier baskets say of each candidate."""
    past, items = signals.past, chosen.items
    if past.history is None:
        return {**NO_HISTORY}
    own = looked_up(past.habits, past.history.row_of.take(items))
    return {
        **NEVER_BOUGHT,
        **own,
        **_of_codes(tables, past, past.history, chosen, own["history_slow"]),
        "history_household_sum": signals.history_sum.take(items),
        "history_household_max": signals.history_max.take(items),
        "history_conditional": signals.history_conditional.take(items) * chosen.root,
    }


def _of_codes(
    tables: RankerTables, past: _Past, history: History, chosen: _Chosen, slow: Floats
) -> dict[str, Floats | float]:
    """Returns what was bought before of each candidate's kind, category, department, maker."""
    codes, of_kind = past.codes, chosen.codes[:, 0]
    weights = past.slow.repeat(codes.shape[1])
    sums = np.bincount(codes.ravel(), weights=weights, minlength=tables.n_codes)
    by_code = sums.astype(np.float32).take(chosen.codes.T)
    kind_ago = np.full(len(tables.kind_pop), LONG_AGO_DAYS, dtype=np.float32)
    np.minimum.at(kind_ago, codes[:, 0], past.habits["days_since_bought"])
    return {
        "kind_slow": by_code[0],
        "kind_share": slow / np.maximum(by_code[0], np.float32(TINY)),
        "days_since_kind": kind_ago.take(of_kind),
        "kind_rate": _kind_rate(tables, history, codes[:, 0]).take(of_kind),
        "category_slow": by_code[1],
        "maker_slow": by_code[3],
        "department_slow": by_code[2] / np.float32(max(float(past.slow.sum()), TINY)),
    }


def _kind_rate(tables: RankerTables, history: History, kinds: NDArray[np.int32]) -> Floats:
    """Returns the share of the earlier baskets with each kind, float32 (n_kinds,).

    Args:
        tables: The learned statistics.
        history: The earlier baskets.
        kinds: Of each distinct item bought before.
    """
    n_kinds = len(tables.kind_pop)
    pairs = np.sort(history.bought_basket * n_kinds + kinds.take(history.row))
    distinct = np.concatenate([pairs[:1], pairs[1:][pairs[1:] > pairs[:-1]]])
    n_with = np.bincount(distinct % n_kinds, minlength=n_kinds)
    return n_with.astype(np.float32) / np.float32(len(history.ago_days))


def _of_groups(signals: _Signals, around: Surroundings, items: Items) -> dict[str, Floats | float]:
    """Returns what those groups of households buy that the basket looks like."""
    like = signals.like_basket
    if not like.certainty > 0.0:
        return {
            "basket_group_share": 0.0,
            "basket_group_lift": 0.0,
            "basket_group_certainty": 0.0,
        }
    share = like.share.take(items)
    return {
        "basket_group_share": share,
        "basket_group_lift": np.log(share + np.float32(GROUP_TINY)) - around.log_store[items],
        "basket_group_certainty": like.certainty,
    }
