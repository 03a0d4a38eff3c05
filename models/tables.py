"""Learns the ranker's statistics from the baskets before a cutoff.

Every number is an aggregate over households. Pairs of items that fewer than `MIN_PAIR` baskets or
households share are dropped: they are noise, and they could single somebody out.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from edge_agent.state.features import (
    CODES,
    HOUR_BINS,
    HOURS_PER_BIN,
    WEEKDAYS,
    Neighbours,
    RankerTables,
)
from models.dataset import Dataset, Promotions, Ragged
from models.groups import fit_groups

MIN_PAIR = 3
RECENT_DAYS = 56
LATEST_DAYS = 14
STORE_DAYS = 140
NEAR_BASKET = 80
NEAR_HOUSEHOLD = 60
NEAR_KIND = 60
STEP = 512
SHRINK_BASKET = 20.0
SHRINK_HOUSEHOLD = 20.0
LIFT_PRIOR = 20.0
PROMOTION_WEEKS = 16
OWN_LIFT_PRIOR = 5.0
GAP_PRIOR = 5.0
SHORTEST_GAP_DAYS = 0.5
NO_GAP_DAYS = 30.0
"""Where nothing at all was bought twice."""
STORE_PRIOR = 150.0
DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Learning:
    """The baskets that may be learned from.

    Attributes:
        data: The data set.
        items: Rankable items, positions in `data.products`.
        lines: All baskets' rankable items.
        n: How many baskets (the first ones) may be used.
        until_s: The cutoff, raw seconds.
        promotions: The plan of the items.
        prices: Unit price of each product in `data.products`; NaN where unknown.
    """

    data: Dataset
    items: NDArray[np.int32]
    lines: Ragged
    n: int
    until_s: int
    promotions: Promotions
    prices: NDArray[np.float64]

    def matrix(self, since_s: int | None = None) -> sparse.csr_matrix:
        """Returns baskets x items, ones, of the baskets since an instant."""
        first = 0 if since_s is None else self.data.n_before(since_s)
        starts = self.lines.starts[first : self.n + 1]
        values = self.lines.values[starts[0] : starts[-1]]
        ones = np.ones(len(values), dtype=np.float32)
        shape = (self.n - first, len(self.items))
        return sparse.csr_matrix((ones, values, starts - starts[0]), shape=shape)

    def since(self, days: int) -> int:
        """Returns the instant so many days before the cutoff."""
        return self.until_s - days * DAY_S


def fit_tables(learning: Learning, weeks: list[int]) -> RankerTables:
    """Learns all tables.

    Args:
        learning: What may be learned from.
        weeks: Weeks whose promotion plan goes into the tables.
    """
    data, n_items = learning.data, len(learning.items)
    every = learning.matrix()
    pop_all = _share(every)
    department, category, kind, maker = (
        np.unique(column[learning.items], return_inverse=True)[1].astype(np.int32)
        for column in (
            data.products.department,
            data.products.category,
            data.products.kind,
            data.products.manufacturer,
        )
    )
    starts, store_items, store_share, store_weight = _stores(learning)
    display, mailer, own = _promotion_lifts(learning, pop_all)
    price = learning.prices[learning.items]
    kinds = _by_kind(every, kind)
    households = _by_household(learning, every)
    plans, chain = pack_plans(learning.promotions, weeks)
    return RankerTables(
        pop_all=pop_all,
        pop_recent=_share(learning.matrix(learning.since(RECENT_DAYS))),
        pop_latest=_share(learning.matrix(learning.since(LATEST_DAYS))),
        hour_lift=_lift(every, data.hour[: learning.n] // HOURS_PER_BIN, HOUR_BINS),
        weekday_lift=_lift(every, data.weekday[: learning.n], WEEKDAYS),
        store_starts=starts,
        store_items=store_items,
        store_share=store_share,
        store_weight=store_weight,
        log_price=np.log(np.clip(np.nan_to_num(price, nan=2.0), 0.05, 200.0)).astype(np.float32),
        private=(data.products.brand[learning.items] == "Private").astype(np.float32),
        rebuy=_rebuy(learning, n_items),
        usual_gap=_usual_gap(learning, n_items),
        own_lift=own,
        kind=kind,
        category=category,
        department=department,
        maker=maker,
        kind_pop=np.maximum(_share(kinds), 1e-6).astype(np.float32),
        basket_near=_near(every, NEAR_BASKET, SHRINK_BASKET, _by_size(every)),
        household_near=_near(
            households, NEAR_HOUSEHOLD, SHRINK_HOUSEHOLD, np.ones(households.shape[0], np.float32)
        ),
        kind_near=_near(kinds, NEAR_KIND, SHRINK_BASKET, _by_size(kinds)),
        groups=fit_groups(
            every,
            household=data.household[: learning.n],
            store=data.store[: learning.n],
            age_days=(learning.until_s - data.at_s[: learning.n]) / DAY_S,
            n_stores=len(data.stores),
        ),
        display_lift=display,
        mailer_lift=mailer,
        plan_stores=learning.promotions.stores,
        plans=plans,
        chain_plans=chain,
    )


def _share(matrix: sparse.csr_matrix) -> NDArray[np.float32]:
    counts = np.asarray(matrix.sum(axis=0)).ravel()
    return (counts / max(matrix.shape[0], 1)).astype(np.float32)


def _lift(matrix: sparse.csr_matrix, bins: NDArray[np.int32], n_bins: int) -> NDArray[np.float16]:
    """Returns log(observed / expected) of each item in each bin, pulled towards 0."""
    n_rows = matrix.shape[0]
    select = sparse.csr_matrix(
        (np.ones(n_rows, np.float32), (bins, np.arange(n_rows))), shape=(n_bins, n_rows)
    )
    seen = np.asarray((select @ matrix).todense())
    share = np.bincount(bins, minlength=n_bins) / max(n_rows, 1)
    expected = share[:, None] * seen.sum(axis=0)[None, :]
    return np.log((seen + LIFT_PRIOR) / (expected + LIFT_PRIOR)).astype(np.float16)


def _stores(
    learning: Learning,
) -> tuple[
    NDArray[np.int64],
    NDArray[np.int32],
    NDArray[np.float32],
    NDArray[np.float32],
]:
    """Returns per store its items, their share of its baskets and how far to trust that."""
    first = learning.data.n_before(learning.since(STORE_DAYS))
    matrix = learning.matrix(learning.since(STORE_DAYS))
    store = learning.data.store[first : learning.n]
    n_stores = len(learning.data.stores)
    n_rows = matrix.shape[0]
    select = sparse.csr_matrix(
        (np.ones(n_rows, np.float32), (store, np.arange(n_rows))), shape=(n_stores, n_rows)
    )
    counts = (select @ matrix).tocsr()
    counts.sort_indices()
    n_baskets = np.bincount(store, minlength=n_stores).astype(np.float32)
    owners = np.repeat(np.arange(n_stores), np.diff(counts.indptr))
    share = (counts.data / n_baskets[owners]).astype(np.float32)
    weight = (n_baskets / (n_baskets + STORE_PRIOR)).astype(np.float32)
    return counts.indptr.astype(np.int64), counts.indices.astype(np.int32), share, weight


def _by_household(learning: Learning, every: sparse.csr_matrix) -> sparse.csr_matrix:
    """Returns households x items, ones."""
    household = learning.data.household[: learning.n]
    n_rows = every.shape[0]
    select = sparse.csr_matrix(
        (np.ones(n_rows, np.float32), (household, np.arange(n_rows))),
        shape=(len(learning.data.households), n_rows),
    )
    bought = (select @ every).tocsr()
    bought.data = np.ones_like(bought.data)
    return bought


def _near(
    matrix: sparse.csr_matrix, k: int, shrink: float, weight_of_row: NDArray[np.float32]
) -> Neighbours:
    """Returns each item's k strongest others by cosine, shrunk for small counts.

    Args:
        matrix: Baskets (or households) x items, ones.
        k: Neighbours kept.
        shrink: Added to the denominator, in baskets.
        weight_of_row: A large basket says less about any two of its items. Weights and counts
            are summed in one product, as real and imaginary part.
    """
    columns = matrix.tocsc()
    counts = np.diff(columns.indptr).astype(np.float32)
    n = matrix.shape[1]
    index = np.zeros((n, k), dtype=_small(n))
    weight = np.zeros((n, k), dtype=np.float16)
    transposed = columns.T.tocsr().astype(np.complex64)
    both = sparse.diags(weight_of_row + 1j).dot(matrix).tocsr().astype(np.complex64)
    for start in range(0, n, STEP):
        pairs = (transposed[start : start + STEP] @ both).tocsr()
        for row in range(pairs.shape[0]):
            item = start + row
            span = slice(pairs.indptr[row], pairs.indptr[row + 1])
            others, found = pairs.indices[span], pairs.data[span]
            keep = (found.imag >= MIN_PAIR) & (others != item)
            others, found = others[keep], found.real[keep]
            score = found / (np.sqrt(counts[item] * counts[others]) + shrink)
            if len(score) > k:
                least = np.partition(score, -k)[-k]
                others, score = others[score >= least], score[score >= least]
            top = np.lexsort((others, -score))[:k]
            index[item, : len(top)] = others[top]
            weight[item, : len(top)] = score[top]
    return Neighbours(index=index, weight=weight)


def _small(n: int) -> type[np.uint16 | np.int32]:
    """Returns the smallest type that numbers so many items."""
    return np.uint16 if n <= np.iinfo(np.uint16).max else np.int32


def _by_size(matrix: sparse.csr_matrix) -> NDArray[np.float32]:
    """Returns 1 / sqrt(1 + size) of each row, scaled so that the items' mean weight is 1."""
    sizes = np.asarray(matrix.sum(axis=1)).ravel()
    raw = 1.0 / np.sqrt(sizes + 1.0)
    return (raw * sizes.sum() / max(float((raw * sizes).sum()), 1.0)).astype(np.float32)


def _by_kind(every: sparse.csr_matrix, kind: NDArray[np.int32]) -> sparse.csr_matrix:
    """Returns baskets x kinds, ones."""
    n = len(kind)
    shape = (n, int(kind.max()) + 1)
    of_kind = sparse.csr_matrix((np.ones(n, np.float32), (np.arange(n), kind)), shape=shape)
    bought = (every @ of_kind).tocsr()
    bought.data = np.ones_like(bought.data)
    return bought


def _rebuy(learning: Learning, n_items: int) -> NDArray[np.float32]:
    """Returns the share of (household, item) pairs bought again within the period, smoothed."""
    owner = learning.data.household[: learning.n]
    end = learning.lines.starts[learning.n]
    household = owner[learning.lines.owners()[:end]].astype(np.int64)
    pair = household * n_items + learning.lines.values[:end]
    distinct, counts = np.unique(pair, return_counts=True)
    item = distinct % n_items
    buyers = np.bincount(item, minlength=n_items)
    again = np.bincount(item, weights=counts - 1, minlength=n_items)
    total = np.bincount(item, weights=counts, minlength=n_items)
    return (again / (total + np.where(buyers > 0, 2.0, 1.0))).astype(np.float32)


def _usual_gap(learning: Learning, n_items: int) -> NDArray[np.float32]:
    """Returns the geometric mean of days between two purchases of a household, smoothed."""
    end = learning.lines.starts[learning.n]
    basket, item = learning.lines.owners()[:end], learning.lines.values[:end]
    pair = learning.data.household[basket].astype(np.int64) * n_items + item
    at_s = learning.data.at_s[basket]
    order = np.lexsort((at_s, pair))
    pair, at_s = pair[order], at_s[order]
    again = np.flatnonzero(pair[1:] == pair[:-1])
    days = np.maximum((at_s[again + 1] - at_s[again]) / DAY_S, SHORTEST_GAP_DAYS)
    gaps, bought = np.log(days), pair[again] % n_items
    mean = float(gaps.mean()) if len(gaps) else float(np.log(NO_GAP_DAYS))
    total = np.bincount(bought, weights=gaps, minlength=n_items)
    count = np.bincount(bought, minlength=n_items)
    return np.exp((total + GAP_PRIOR * mean) / (count + GAP_PRIOR)).astype(np.float32)


def _promotion_lifts(
    learning: Learning, pop: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Returns log lifts of display codes, of mailer codes, and each item's own under a mailer."""
    data, plan = learning.data, learning.promotions
    n_items = len(learning.items)
    seen, expected = np.zeros((2, CODES)), np.zeros((2, CODES))
    own_seen, own_expected = np.zeros(n_items), np.zeros(n_items)
    at = np.full(len(data.stores) + 1, -1)
    at[plan.stores] = np.arange(len(plan.stores))
    week = data.week[: learning.n]
    last = int(week.max(initial=0))
    for number in sorted(plan.weeks):
        if not last - PROMOTION_WEEKS < number <= last:
            continue
        rows = np.flatnonzero((week == number) & (at[data.store[: learning.n]] >= 0))
        if not len(rows):
            continue
        store = at[data.store[rows]]
        bought = np.zeros((len(plan.stores), n_items), dtype=np.float32)
        for row, code in zip(rows, store, strict=True):
            bought[code, learning.lines[int(row)]] += 1
        n_baskets = np.bincount(store, minlength=len(plan.stores)).astype(np.float32)
        usual = n_baskets[:, None] * pop[None, :]
        for part, codes in enumerate((plan.weeks[number] % CODES, plan.weeks[number] // CODES)):
            seen[part] += np.bincount(codes.ravel(), weights=bought.ravel(), minlength=CODES)
            expected[part] += np.bincount(codes.ravel(), weights=usual.ravel(), minlength=CODES)
        mailed = plan.weeks[number] >= CODES
        own_seen += (bought * mailed).sum(axis=0)
        own_expected += (usual * mailed).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        lifts = np.log((seen + 1.0) / (expected + 1.0))
    base = lifts[:, :1]
    usual_own = np.exp(lifts[1, 1]) if expected[1, 1] > 0 else 1.0
    own = np.log((own_seen + OWN_LIFT_PRIOR * usual_own) / (own_expected + OWN_LIFT_PRIOR)).astype(
        np.float32
    )
    lifts = (lifts - base).astype(np.float32)
    return lifts[0], lifts[1], own


def pack_plans(
    plan: Promotions, weeks: list[int]
) -> tuple[dict[tuple[int, int], bytes | memoryview], dict[int, NDArray[np.uint8]]]:
    """Returns the stores' plans compressed one by one, and the chain's shares."""
    plans: dict[tuple[int, int], bytes | memoryview] = {}
    chain: dict[int, NDArray[np.uint8]] = {}
    for week in weeks:
        if week not in plan.weeks:
            continue
        codes = plan.weeks[week]
        active = codes.any(axis=1)
        for store in np.flatnonzero(active):
            plans[(week, int(store))] = zlib.compress(codes[store].tobytes(), 9)
        n_active = max(int(active.sum()), 1)
        shares = np.stack([(codes % CODES > 0).sum(axis=0), (codes // CODES > 0).sum(axis=0)])
        chain[week] = np.rint(255.0 * shares / n_active).astype(np.uint8)
    return plans, chain
