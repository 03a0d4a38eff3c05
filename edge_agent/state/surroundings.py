"""What a place and a time of day alone say of every item, whoever asks."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_agent.state.groups import LocalGroups, groups_at
from edge_agent.state.tables import (
    CODES,
    HOUR_BINS,
    HOURS_PER_BIN,
    TINY,
    WEEKDAYS,
    Floats,
    RankerTables,
)

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
