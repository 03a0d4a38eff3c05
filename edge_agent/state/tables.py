"""What was learned of all items, and a request in the same terms.

Items, kinds and stores are named by their position; nobody's identity is here. Nothing is
learned in this file and nothing asked of it: a bundle brings the tables, a scorer the situation.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edge_agent.state.groups import Groups

Floats = NDArray[np.float32]
Items = NDArray[np.int64]

HOUR_BINS = 8
HOURS_PER_BIN = 3
WEEKDAYS = 7
CODES = 16
TINY = 1e-6

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
