"""Has an engine work out all statistics at a cutoff; only aggregates come back.

Visits and what was bought in them are worked out once and stay with the engine, as do the members
of pairs. What is read are counts by item, by item and hour, by item and store, by household and
item, and each item's strongest others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from ibis.expr.types import Table
from numpy.typing import NDArray

from models import expressions, pairs, statistics
from models.dataset import Dataset
from models.statistics import DAY_S, STEP_S, UNIT
from models.workers import Columns, Engine

RECENT_DAYS: Final = 56
LATEST_DAYS: Final = 14
STORE_DAYS: Final = 140
PROMOTION_WEEKS: Final = 16
HALF_LIFE_DAYS: Final = 120.0
"""After so long a basket weighs half, where households are grouped."""
NEAR_BASKET: Final = 80
NEAR_HOUSEHOLD: Final = 60
NEAR_KIND: Final = 60
SHRINK: Final = 20.0
"""Added to the denominator of a pair's cosine, in baskets or households."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the statistics are of.

    Attributes:
        items, stores, households: Ids as text; what comes back holds positions in them.
        kinds: The kind of each item, from 0.
        first_s, until_s: The first basket's instant and the cutoff, raw seconds.
        last_week: The last week that was sold in.
        zone: The stores' time zone.
    """

    items: Sequence[str]
    stores: Sequence[str]
    households: Sequence[str]
    kinds: NDArray[np.int32]
    first_s: int
    until_s: int
    last_week: int
    zone: str

    def since(self, days: int) -> int:
        """Returns the instant so many days before the cutoff."""
        return self.until_s - days * DAY_S

    @property
    def days(self) -> NDArray[np.float64]:
        """All ages and gaps there can be, in days, one for each step."""
        n_steps = max(self.until_s - self.first_s, DAY_S) // STEP_S + 2
        return np.arange(n_steps, dtype=np.float64) * (STEP_S / DAY_S)


def asked_of(data: Dataset, items: NDArray[np.int32], until_s: int) -> Asked:
    """Returns what to ask for at a cutoff.

    Args:
        data: All baskets.
        items: The rankable items, positions in the products.
        until_s: The cutoff.
    """
    kinds = np.unique(data.products.kind[items], return_inverse=True)[1]
    return Asked(
        items=data.products.ids[items].tolist(),
        stores=data.stores.tolist(),
        households=data.households.tolist(),
        kinds=kinds.astype(np.int32),
        first_s=int(data.at_s[0]),
        until_s=until_s,
        last_week=int(data.week[: data.n_before(until_s)].max(initial=0)),
        zone=data.zone,
    )


def gather(engine: Engine, folder: Path, asked: Asked) -> dict[str, Columns]:
    """Returns every statistic, by name."""
    lines = engine.table(folder, "transactions")
    shops = engine.lookup("shops", asked.stores)
    seen = engine.keep("visits", _visits(engine, lines, shops, asked))
    wanted = engine.lookup("wanted", asked.items)
    sold = engine.keep("bought", statistics.bought(lines, seen, wanted))
    plan = engine.table(folder, "promotions")
    found = {
        **_counts(seen, sold, asked),
        "gaps": statistics.gaps(sold, _logs(engine, asked)),
        **_promotions(plan, shops, wanted, seen, sold, asked),
    }
    return {
        **{name: engine.columns(expression) for name, expression in found.items()},
        **_pairs(engine, sold, asked),
    }


def _visits(engine: Engine, lines: Table, shops: Table, asked: Asked) -> Table:
    fading = np.maximum(np.rint(UNIT * np.exp2(-asked.days / HALF_LIFE_DAYS)), 1).astype(np.int64)
    return statistics.visits(
        lines,
        shops=shops,
        buyers=engine.lookup("buyers", asked.households),
        fades=engine.numbers("fades", fading.tolist()),
        until_s=asked.until_s,
        ahead=statistics.shifts(asked.first_s, asked.until_s, asked.zone),
    )


def _logs(engine: Engine, asked: Asked) -> Table:
    days = np.maximum(asked.days, statistics.MIN_GAP_STEPS * STEP_S / DAY_S)
    return engine.numbers("logs", np.rint(UNIT * np.log(days)).astype(np.int64).tolist())


def _counts(seen: Table, sold: Table, asked: Asked) -> dict[str, Table]:
    """Returns how often what was bought: at all, lately, by hour, weekday, store, household."""
    ages = {"recent_s": asked.since(RECENT_DAYS), "latest_s": asked.since(LATEST_DAYS)}
    in_stores = asked.since(STORE_DAYS)
    return {
        "visits": statistics.by_age(seen, **ages),
        "items": statistics.by_age(sold, "i", **ages),
        "visits_by_hour": statistics.counted(seen, "hour"),
        "items_by_hour": statistics.counted(sold, "i", "hour"),
        "visits_by_weekday": statistics.counted(seen, "weekday"),
        "items_by_weekday": statistics.counted(sold, "i", "weekday"),
        "visits_by_store": statistics.counted(seen.filter(seen.t >= in_stores), "s"),
        "items_by_store": statistics.counted(sold.filter(sold.t >= in_stores), "s", "i"),
        "visits_by_household": statistics.habits(seen, "h", "s"),
        "items_by_household": statistics.habits(sold, "h", "i"),
    }


def _promotions(
    plan: Table, shops: Table, wanted: Table, seen: Table, sold: Table, asked: Asked
) -> dict[str, Table]:
    """Returns what sold under the plan of the last weeks, and what was bought there in all."""
    weeks = range(asked.last_week - PROMOTION_WEEKS + 1, asked.last_week + 1)
    here = statistics.under_plan(seen, plan=plan, shops=shops, weeks=weeks)
    there = statistics.under_plan(sold, plan=plan, shops=shops, weeks=weeks)
    codes = expressions.promotions(plan, wanted=wanted, planned=shops)
    late = codes.filter((codes.w >= weeks.start) & (codes.w < weeks.stop))
    return {
        "promoted": statistics.promoted(late, seen=here, purchases=sold),
        "visits_under_plan": statistics.counted(here, "w"),
        "items_under_plan": statistics.counted(there, "w"),
    }


def _pairs(engine: Engine, sold: Table, asked: Asked) -> dict[str, Columns]:
    """Returns the strongest pairs in baskets, in households, and of kinds in baskets."""
    n_items, n_kinds = len(asked.items), int(asked.kinds.max(initial=-1)) + 1
    kinds = engine.numbers("kinds", asked.kinds.tolist())
    in_kinds = engine.keep("kinds_bought", pairs.of_kinds(sold, kinds))
    found: dict[str, Columns] = {}
    for name, rows, n, k in (
        ("basket", pairs.by_size(sold), n_items, NEAR_BASKET),
        ("household", pairs.by_household(sold), n_items, NEAR_HOUSEHOLD),
        ("kind", pairs.by_size(in_kinds), n_kinds, NEAR_KIND),
    ):
        kept = engine.keep(f"{name}_members", rows)
        sizes = engine.keep(f"{name}_sizes", statistics.counted(kept, "i"))
        members = pairs.Members(rows=kept, sizes=sizes)
        parts = [
            engine.columns(pairs.strongest(members, some, k=k, shrink=SHRINK))
            for some in ranges(n, engine.pairs_of)
        ]
        found[f"{name}_sizes"] = engine.columns(sizes)
        found[f"{name}_totals"] = engine.columns(pairs.totals(kept))
        found[f"{name}_pairs"] = {
            column: np.concatenate([part[column] for part in parts])
            for column in ("i", "j", "v", "r")
        }
    return found


def ranges(n: int, size: int) -> list[range]:
    """Returns the numbers below n in parts of a size; one empty part when there are none."""
    return [range(start, min(start + size, n)) for start in range(0, max(n, 1), size)]
