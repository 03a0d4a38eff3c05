"""Turns a basket of the data set into the situation in which its items were to be guessed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_agent.state.features import RankerTables, Situation, Surroundings, surroundings
from models.protocol import Case
from models.statistics import DAY_S
from models.tables import Learning

HISTORY_DAYS = 400


@dataclass(frozen=True, slots=True)
class Histories:
    """The baskets of each household before a cutoff, oldest first.

    Attributes:
        order: Basket positions, grouped by household.
        starts: int64 (n_households + 1,).
    """

    order: NDArray[np.int64]
    starts: NDArray[np.int64]

    def of(self, household: int) -> NDArray[np.int64]:
        """Returns the positions of a household's baskets."""
        return self.order[self.starts[household] : self.starts[household + 1]]


def histories(learning: Learning) -> Histories:
    """Groups the baskets before the cutoff by household; empty ones are left out."""
    household = learning.data.household[: learning.n]
    filled = np.flatnonzero(np.diff(learning.lines.starts[: learning.n + 1]) > 0)
    order = filled[np.argsort(household[filled], kind="stable")]
    n_households = len(learning.data.households)
    counts = np.bincount(household[filled], minlength=n_households)
    return Histories(order=order, starts=np.concatenate([[0], np.cumsum(counts)]))


def situation_of(learning: Learning, past: Histories, case: Case) -> Situation:
    """Returns what was known at the case's moment."""
    data, lines = learning.data, learning.lines
    baskets = past.of(case.household) if case.household is not None else np.empty(0, np.int64)
    sizes = lines.starts[baskets + 1] - lines.starts[baskets]
    ago = (int(data.at_s[case.basket]) - data.at_s[baskets]) / DAY_S
    parts = [lines[b] for b in baskets]
    bought = np.concatenate(parts) if parts else np.empty(0, np.int32)
    return Situation(
        hour=int(data.hour[case.basket]),
        weekday=int(data.weekday[case.basket]),
        week=int(data.week[case.basket]),
        store=int(data.store[case.basket]),
        basket=case.visible.astype(np.int64),
        bought=bought.astype(np.int64),
        bought_basket=np.repeat(np.arange(len(baskets)), sizes),
        ago_days=ago,
    )


class SurroundingsCache:
    """Keeps the latest surroundings, because neighbouring cases often share them."""

    def __init__(self, tables: RankerTables, size: int = 256) -> None:
        self._tables = tables
        self._size = size
        self._kept: dict[tuple[int | None, int | None, int, int], Surroundings] = {}

    def of(self, situation: Situation) -> Surroundings:
        """Returns the surroundings of a situation."""
        key = (situation.store, situation.week, situation.hour // 3, situation.weekday)
        found = self._kept.get(key)
        if found is None:
            if len(self._kept) >= self._size:
                self._kept.pop(next(iter(self._kept)))
            found = surroundings(
                self._tables,
                store=situation.store,
                week=situation.week,
                hour=situation.hour,
                weekday=situation.weekday,
            )
            self._kept[key] = found
        return found


def in_order_of_place(learning: Learning, cases: Sequence[Case]) -> list[int]:
    """Returns the cases' positions sorted by store, week and hour, which suits the cache."""
    data = learning.data
    return sorted(
        range(len(cases)),
        key=lambda i: (
            int(data.store[cases[i].basket]),
            int(data.week[cases[i].basket]),
            int(data.weekday[cases[i].basket]),
            int(data.hour[cases[i].basket]),
        ),
    )
