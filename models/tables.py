"""Makes the ranker's tables of what an engine counts in the baskets before a cutoff.

What lives here is arithmetic on aggregates: shares, logarithms of ratios, packing. Counting itself
is the engine's (`models.aggregates`). Every number is an aggregate over households.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
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
from models.aggregates import (
    NEAR_BASKET,
    NEAR_HOUSEHOLD,
    NEAR_KIND,
    SHRINK,
    Asked,
    asked_of,
    gather,
)
from models.dataset import Dataset, Promotions, Ragged
from models.groups import Habits, fit_groups
from models.statistics import UNIT
from models.workers import Columns

LIFT_PRIOR = 20.0
OWN_LIFT_PRIOR = 5.0
GAP_PRIOR = 5.0
NO_GAP_DAYS = 30.0
"""Where nothing at all was bought twice."""
STORE_PRIOR = 150.0

Found = Mapping[str, Columns]
"""Statistics by name, column by column."""


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

    def matrix(self) -> sparse.csr_matrix:
        """Returns baskets x items, ones."""
        starts = self.lines.starts[: self.n + 1]
        values = self.lines.values[: starts[-1]]
        ones = np.ones(len(values), dtype=np.float32)
        return sparse.csr_matrix((ones, values, starts), shape=(self.n, len(self.items)))


def fit_tables(learning: Learning, weeks: list[int]) -> RankerTables:
    """Learns all tables.

    Args:
        learning: What may be learned from.
        weeks: Weeks whose promotion plan goes into the tables.
    """
    data = learning.data
    asked = asked_of(data, learning.items, learning.until_s)
    found = gather(data.engine, data.source, asked)
    return tables_of(learning, weeks, asked, found)


def tables_of(learning: Learning, weeks: list[int], asked: Asked, found: Found) -> RankerTables:
    """Returns the tables that statistics make.

    Args:
        learning: What may be learned from.
        weeks: Weeks whose promotion plan goes into the tables.
        asked: What the statistics are of.
        found: The statistics, by name.
    """
    data, n_items, n_kinds = learning.data, len(asked.items), int(asked.kinds.max()) + 1
    department, category, maker = (
        np.unique(column[learning.items], return_inverse=True)[1].astype(np.int32)
        for column in (
            data.products.department,
            data.products.category,
            data.products.manufacturer,
        )
    )
    n_visits = _one(found["visits"], "n")
    starts, store_items, store_share, store_weight = _stores(found, len(asked.stores))
    display, mailer, own = _promotion_lifts(found, n_items)
    price = learning.prices[learning.items]
    plans, chain = pack_plans(learning.promotions, weeks)
    kind_counts = _dense(found["kind_sizes"], ("i",), (n_kinds,))
    return RankerTables(
        pop_all=_share(found, "n", n_items),
        pop_recent=_share(found, "recent", n_items),
        pop_latest=_share(found, "latest", n_items),
        hour_lift=_lift(*_by_hour(found, n_items)),
        weekday_lift=_lift(
            _dense(found["items_by_weekday"], ("weekday", "i"), (WEEKDAYS, n_items)),
            _dense(found["visits_by_weekday"], ("weekday",), (WEEKDAYS,)),
        ),
        store_starts=starts,
        store_items=store_items,
        store_share=store_share,
        store_weight=store_weight,
        log_price=np.log(np.clip(np.nan_to_num(price, nan=2.0), 0.05, 200.0)).astype(np.float32),
        private=(data.products.brand[learning.items] == "Private").astype(np.float32),
        rebuy=_rebuy(found, n_items),
        usual_gap=_usual_gap(found, n_items),
        own_lift=own,
        kind=asked.kinds,
        category=category,
        department=department,
        maker=maker,
        kind_pop=np.maximum(kind_counts / max(n_visits, 1), 1e-6).astype(np.float32),
        basket_near=_near(found, "basket", n_items, NEAR_BASKET),
        household_near=_near(found, "household", n_items, NEAR_HOUSEHOLD),
        kind_near=_near(found, "kind", n_kinds, NEAR_KIND),
        groups=fit_groups(_habits(found, asked)),
        display_lift=display,
        mailer_lift=mailer,
        plan_stores=learning.promotions.stores,
        plans=plans,
        chain_plans=chain,
    )


def _one(columns: Columns, name: str) -> int:
    """Returns the number in a single row; without rows a sum is nothing."""
    return int(np.ma.filled(np.ma.asarray(columns[name]), 0)[0])


def _dense(
    columns: Columns, by: tuple[str, ...], shape: tuple[int, ...], value: str = "n"
) -> NDArray[np.int64]:
    """Returns counts as an array by their positions; what was not counted is 0."""
    dense = np.zeros(shape, dtype=np.int64)
    dense[tuple(columns[name] for name in by)] = columns[value]
    return dense


def _share(found: Found, of: str, n_items: int) -> NDArray[np.float32]:
    counts = _dense(found["items"], ("i",), (n_items,), of)
    return (counts / max(_one(found["visits"], of), 1)).astype(np.float32)


def _by_hour(found: Found, n_items: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns counts of items and of visits by bins of hours."""
    hours = HOUR_BINS * HOURS_PER_BIN
    items = _dense(found["items_by_hour"], ("hour", "i"), (hours, n_items))
    visits = _dense(found["visits_by_hour"], ("hour",), (hours,))
    return (
        items.reshape(HOUR_BINS, HOURS_PER_BIN, n_items).sum(axis=1),
        visits.reshape(HOUR_BINS, HOURS_PER_BIN).sum(axis=1),
    )


def _lift(seen: NDArray[np.int64], visits: NDArray[np.int64]) -> NDArray[np.float16]:
    """Returns log(observed / expected) of each item in each bin, pulled towards 0."""
    share = visits / max(int(visits.sum()), 1)
    expected = share[:, None] * seen.sum(axis=0)[None, :]
    return np.log((seen + LIFT_PRIOR) / (expected + LIFT_PRIOR)).astype(np.float16)


def _stores(
    found: Found, n_stores: int
) -> tuple[
    NDArray[np.int64],
    NDArray[np.int32],
    NDArray[np.float32],
    NDArray[np.float32],
]:
    """Returns per store its items, their share of its baskets and how far to trust that."""
    n_baskets = _dense(found["visits_by_store"], ("s",), (n_stores,))
    sold = found["items_by_store"]
    order = np.lexsort((sold["i"], sold["s"]))
    store = sold["s"][order]
    starts = np.concatenate([[0], np.cumsum(np.bincount(store, minlength=n_stores))])
    share = (sold["n"][order] / n_baskets[store]).astype(np.float32)
    weight = (n_baskets / (n_baskets + STORE_PRIOR)).astype(np.float32)
    return starts.astype(np.int64), sold["i"][order].astype(np.int32), share, weight


def _near(found: Found, name: str, n: int, k: int) -> Neighbours:
    """Returns each item's k strongest others by cosine, shrunk for small counts.

    A large basket says less about any two of its items: weights are scaled so that the mean of
    all items' is 1.
    """
    pairs, totals = found[f"{name}_pairs"], found[f"{name}_totals"]
    scale = _one(totals, "n") / max(_one(totals, "q"), 1)
    counts = _dense(found[f"{name}_sizes"], ("i",), (n,)).astype(np.float64)
    item, other, rank = pairs["i"], pairs["j"], pairs["r"]
    score = scale * pairs["v"] / (np.sqrt(counts[item] * counts[other]) + SHRINK)
    index = np.zeros((n, k), dtype=np.int32)
    weight = np.zeros((n, k), dtype=np.float16)
    index[item, rank], weight[item, rank] = other, score
    if n <= np.iinfo(np.uint16).max:
        return Neighbours(index=index.astype(np.uint16), weight=weight)
    return Neighbours(index=index, weight=weight)


def _habits(found: Found, asked: Asked) -> Habits:
    """Returns what households bought and where, as matrices."""
    bought, visits = found["items_by_household"], found["visits_by_household"]
    n = len(asked.households)
    items, stores = (n, len(asked.items)), (n, len(asked.stores))
    place = (bought["h"], bought["i"])
    return Habits(
        count=_matrix(bought["n"], place, items),
        bought=_matrix(bought["f"] / UNIT, place, items),
        at_store=_matrix(visits["f"] / UNIT, (visits["h"], visits["s"]), stores),
    )


def _matrix(
    values: NDArray[np.float64] | NDArray[np.int64],
    place: tuple[NDArray[np.int32], NDArray[np.int32]],
    shape: tuple[int, int],
) -> sparse.csr_matrix:
    """Returns a matrix with its entries in order, whatever order they came in."""
    matrix = sparse.csr_matrix((values.astype(np.float64), place), shape=shape)
    matrix.sort_indices()
    return matrix


def _rebuy(found: Found, n_items: int) -> NDArray[np.float32]:
    """Returns the share of (household, item) pairs bought again within the period, smoothed."""
    buyers = _dense(found["household_sizes"], ("i",), (n_items,))
    total = _dense(found["items"], ("i",), (n_items,))
    return ((total - buyers) / (total + np.where(buyers > 0, 2.0, 1.0))).astype(np.float32)


def _usual_gap(found: Found, n_items: int) -> NDArray[np.float32]:
    """Returns the geometric mean of days between two purchases of a household, smoothed."""
    count = _dense(found["gaps"], ("i",), (n_items,))
    total = _dense(found["gaps"], ("i",), (n_items,), "v") / UNIT
    n_gaps = int(count.sum())
    mean = float(total.sum()) / n_gaps if n_gaps else float(np.log(NO_GAP_DAYS))
    return np.exp((total + GAP_PRIOR * mean) / (count + GAP_PRIOR)).astype(np.float32)


def _promotion_lifts(
    found: Found, n_items: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Returns log lifts of display codes, of mailer codes, and each item's own under a mailer."""
    rows = found["promoted"]
    n_visits = max(_one(found["visits"], "n"), 1)
    all_sold = int(found["items_under_plan"]["n"].sum())
    all_usual = int(found["visits_under_plan"]["n"].sum()) * int(found["items"]["n"].sum())
    seen = [_summed(rows, rows[part], "n", CODES) for part in ("x", "y")]
    usual = [_summed(rows, rows[part], "e", CODES) for part in ("x", "y")]
    for sold, chance in zip(seen, usual, strict=True):
        # What no plan names sold under no code.
        sold[0] += all_sold - sold.sum()
        chance[0] += all_usual - chance.sum()
    expected = np.stack(usual) / n_visits
    lifts = np.log((np.stack(seen) + 1.0) / (expected + 1.0))
    mailed = {name: column[rows["y"] > 0] for name, column in rows.items()}
    own_seen = _summed(mailed, mailed["i"], "n", n_items)
    own_expected = _summed(mailed, mailed["i"], "e", n_items) / n_visits
    usual_own = np.exp(lifts[1, 1]) if expected[1, 1] > 0 else 1.0
    own = np.log((own_seen + OWN_LIFT_PRIOR * usual_own) / (own_expected + OWN_LIFT_PRIOR))
    lifts = (lifts - lifts[:, :1]).astype(np.float32)
    return lifts[0], lifts[1], own.astype(np.float32)


def _summed(rows: Columns, at: NDArray[np.int64], value: str, n: int) -> NDArray[np.int64]:
    """Returns the sums of whole numbers by position."""
    total = np.zeros(n, dtype=np.int64)
    np.add.at(total, at, rows[value])
    return total


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
