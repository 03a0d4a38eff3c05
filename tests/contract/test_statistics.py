"""The statistics that an engine gives are those that plain counting gives, to the last unit."""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise, product
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import duckdb
import numpy as np
import pytest

from models import aggregates
from models.aggregates import Asked, gather
from models.dataset import seconds
from models.statistics import DAY_S, STEP_S, UNIT
from models.workers import Columns, DuckDb

ZONE: Final = "America/New_York"
FIRST: Final = datetime(2020, 1, 20, tzinfo=UTC)
CUTOFF: Final = date(2020, 4, 1)
"""The clocks are put forward on 8 March."""
UNTIL_S: Final = seconds(CUTOFF)
PRODUCTS: Final = [f"p{n:02d}" for n in range(12)]
WANTED: Final = PRODUCTS[1:]
"""The first one is sold, and may not be ranked."""
KINDS: Final = [n % 4 for n in range(len(WANTED))]
STORES: Final = ["s0", "s1", "s2"]
HOUSEHOLDS: Final = [f"h{n}" for n in range(6)]
LAST_WEEK: Final = 11
KEPT: Final = 4
PLAN: Final = [
    (WANTED[n % 7], STORES[n % 2], "012"[n % 3], "0AB"[n // 2 % 3], 1 + n % LAST_WEEK)
    for n in range(160)
    if n % LAST_WEEK != 7
]
"""Not all stores and weeks have a plan; displays 1 and 2, mailers A and B are their own codes."""


@dataclass(frozen=True, slots=True)
class Visit:
    """A basket; its items are positions in `WANTED`."""

    id: str
    household: int
    store: int
    at: datetime
    products: tuple[str, ...]

    @property
    def at_s(self) -> int:
        """Its instant, seconds since 1970."""
        return int(self.at.timestamp())

    @property
    def week(self) -> int:
        """Its week, the first is 1."""
        return 1 + (self.at - FIRST).days // 7

    @property
    def items(self) -> tuple[int, ...]:
        """Its distinct rankable products."""
        return tuple(sorted({WANTED.index(p) for p in self.products if p in WANTED}))


def visits() -> list[Visit]:
    """Returns invented baskets, some of them on the cutoff and later, some of nothing rankable."""
    chance = random.Random(5)
    found = []
    for n in range(150):
        at = FIRST + timedelta(seconds=chance.randrange(80 * DAY_S))
        if n == 0:
            at = datetime.fromtimestamp(UNTIL_S, UTC)
        products = chance.choices(PRODUCTS, weights=range(12, 0, -1), k=chance.randint(1, 7))
        home = chance.randrange(len(HOUSEHOLDS))
        found.append(Visit(f"b{n:03d}", home, (home + (n % 5 == 0)) % 3, at, tuple(products)))
    return found


EARLY: Final = [visit for visit in visits() if visit.at_s < UNTIL_S]
BOUGHT: Final = [(visit, item) for visit in EARLY for item in visit.items]
Rows = set[tuple[Any, ...]]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Columns]:
    """What DuckDB counts, with pairs asked for in several parts and cut off at a few."""
    folder = tmp_path_factory.mktemp("shop")
    lines = [
        (HOUSEHOLDS[v.household], STORES[v.store], v.id, p, v.week, v.at.replace(tzinfo=None))
        for v in visits()
        for p in v.products
    ]
    columns = "household_id,store_id,basket_id,product_id,week,transaction_timestamp"
    write(folder / "transactions.parquet", columns, lines)
    columns = "product_id,store_id,display_location,mailer_location,week"
    write(folder / "promotions.parquet", columns, PLAN)
    asked = Asked(
        items=WANTED,
        stores=STORES,
        households=HOUSEHOLDS,
        kinds=np.array(KINDS, dtype=np.int32),
        first_s=min(visit.at_s for visit in visits()),
        until_s=UNTIL_S,
        last_week=LAST_WEEK,
        zone=ZONE,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DuckDb, "pairs_of", 5)
        patch.setattr(aggregates, "PROMOTION_WEEKS", 6)
        for name in ("NEAR_BASKET", "NEAR_HOUSEHOLD", "NEAR_KIND"):
            patch.setattr(aggregates, name, KEPT)
        return gather(DuckDb(), folder, asked)


def write(path: Path, columns: str, rows: list[tuple[Any, ...]]) -> None:
    """Writes a table as parquet; types are those of the values."""
    connection = duckdb.connect()
    marks = "(" + ",".join("?" * len(rows[0])) + ")"
    connection.execute(
        f"CREATE TABLE t AS SELECT * FROM (VALUES {','.join([marks] * len(rows))}) t({columns})",  # noqa: S608 - question marks
        [value for row in rows for value in row],
    )
    connection.execute(f"COPY t TO '{path}'")


def rows(columns: Columns, names: str) -> Rows:
    """Returns the rows of some columns; each comes once, as whole numbers."""
    found = list(zip(*(columns[name].tolist() for name in names.split()), strict=True))
    assert len(found) == len(set(found))
    assert all(isinstance(value, int) for row in found for value in row)
    return set(found)


def tally(keys: Iterable[tuple[int, ...]]) -> Rows:
    """Returns the keys with how often each comes."""
    return {(*key, n) for key, n in Counter(keys).items()}


def local(visit: Visit) -> datetime:
    """Returns the wall clock at a visit."""
    return visit.at.astimezone(ZoneInfo(ZONE))


def fade(visit: Visit) -> int:
    """Returns what a visit weighs at the cutoff."""
    steps = (UNTIL_S - visit.at_s + STEP_S // 2) // STEP_S
    return round(UNIT * 2 ** (-steps * STEP_S / DAY_S / aggregates.HALF_LIFE_DAYS))


def test_the_day_of_the_cutoff_is_not_counted(found: dict[str, Columns]) -> None:
    """Of 150 baskets those before it count, the recent ones also apart."""
    assert len(EARLY) < len(visits())
    since = [UNTIL_S - days * DAY_S for days in (56, 14)]
    expected = [sum(v.at_s >= start for v in EARLY) for start in since]
    assert rows(found["visits"], "n recent latest") == {(len(EARLY), *expected)}
    counts = [Counter(i for v, i in BOUGHT if v.at_s >= start) for start in (0, *since)]
    items = {(i, *(count[i] for count in counts)) for i in counts[0]}
    assert rows(found["items"], "i n recent latest") == items


def test_hours_and_weekdays_are_those_of_the_wall_clock(found: dict[str, Columns]) -> None:
    """Before and after the clocks are put forward."""
    assert {visit.at_s < seconds(date(2020, 3, 8)) for visit in EARLY} == {True, False}
    assert rows(found["visits_by_hour"], "hour n") == tally((local(v).hour,) for v in EARLY)
    expected = tally((i, local(v).hour) for v, i in BOUGHT)
    assert rows(found["items_by_hour"], "i hour n") == expected
    expected = tally((local(v).weekday(),) for v in EARLY)
    assert rows(found["visits_by_weekday"], "weekday n") == expected
    expected = tally((i, local(v).weekday()) for v, i in BOUGHT)
    assert rows(found["items_by_weekday"], "i weekday n") == expected


def test_what_stores_and_households_buy_is_counted_and_fades(found: dict[str, Columns]) -> None:
    """A basket's weight halves in `HALF_LIFE_DAYS`."""
    assert rows(found["visits_by_store"], "s n") == tally((v.store,) for v in EARLY)
    assert rows(found["items_by_store"], "s i n") == tally((v.store, i) for v, i in BOUGHT)
    visited: dict[tuple[int, int], list[int]] = defaultdict(list)
    bought: dict[tuple[int, int], list[int]] = defaultdict(list)
    for visit in EARLY:
        visited[visit.household, visit.store].append(fade(visit))
        for item in visit.items:
            bought[visit.household, item].append(fade(visit))
    expected = {(*key, len(some), sum(some)) for key, some in visited.items()}
    assert rows(found["visits_by_household"], "h s n f") == expected
    expected = {(*key, len(some), sum(some)) for key, some in bought.items()}
    assert rows(found["items_by_household"], "h i n f") == expected


def test_gaps_are_logarithms_between_two_purchases_of_a_household(
    found: dict[str, Columns],
) -> None:
    """In steps of ten minutes, half a day at least."""
    gaps: dict[int, list[int]] = defaultdict(list)
    for household, item in product(range(len(HOUSEHOLDS)), range(len(WANTED))):
        at = sorted(v.at_s for v, i in BOUGHT if (v.household, i) == (household, item))
        for first, second in pairwise(at):
            steps = max((second - first + STEP_S // 2) // STEP_S, DAY_S // 2 // STEP_S)
            gaps[item].append(round(UNIT * math.log(steps * STEP_S / DAY_S)))
    assert any(min(some) < 0 for some in gaps.values())
    expected = {(item, len(some), sum(some)) for item, some in gaps.items()}
    assert rows(found["gaps"], "i n v") == expected


def test_what_sold_under_the_plan_is_held_against_what_is_usual(
    found: dict[str, Columns],
) -> None:
    """In the last weeks, and where there is a plan at all."""
    weeks = {row[-1] for row in PLAN} & set(range(LAST_WEEK - 5, LAST_WEEK + 1))
    assert len(weeks) < 6
    here = [visit for visit in EARLY if visit.week in weeks and visit.store < 2]
    sold = Counter((v.week, v.store, i) for v in here for i in v.items)
    carts, usual = Counter((v.week, v.store) for v in here), Counter(i for _, i in BOUGHT)
    codes: dict[tuple[int, int, int], tuple[int, int]] = {}
    for name, store, shown, sent, week in PLAN:
        key = week, STORES.index(store), WANTED.index(name)
        codes[key] = max(("0AB".index(sent), int(shown)), codes.get(key, (0, 0)))
    expected: Counter[tuple[int, int, int, str]] = Counter()
    for (number, place, item), (mailer, display) in codes.items():
        if carts[number, place]:
            expected[item, display, mailer, "n"] += sold[number, place, item]
            expected[item, display, mailer, "e"] += carts[number, place] * usual[item]
    assert rows(found["promoted"], "i x y n e") == {
        (i, x, y, expected[i, x, y, "n"], expected[i, x, y, "e"]) for i, x, y, _ in expected
    }
    assert rows(found["visits_under_plan"], "w n") == tally((v.week,) for v in here)
    assert rows(found["items_under_plan"], "w n") == tally(
        (v.week,) for v in here for _ in v.items
    )


def strongest(units: list[tuple[set[int], int]], n: int) -> Rows:
    """Returns each item's strongest others by counting every pair in every unit.

    Args:
        units: What each unit holds, and what it says about any two of its items.
        n: How many items there are.
    """
    size = Counter(item for members, _ in units for item in members)
    best: Rows = set()
    for item in range(n):
        scores = []
        for other in set(range(n)) - {item}:
            shared = [weight for members, weight in units if {item, other} <= members]
            root = math.sqrt(size[item] * size[other])
            if len(shared) >= 3:
                scores.append((-sum(shared) / (root + aggregates.SHRINK), other, sum(shared)))
        ranked = enumerate(sorted(scores)[:KEPT])
        best |= {(item, other, total, rank) for rank, (_, other, total) in ranked}
    return best


def test_pairs_are_the_strongest_of_those_that_three_share(found: dict[str, Columns]) -> None:
    """In baskets and in households, of items and of kinds; of equals the lower position first."""
    of_items = [set(visit.items) for visit in EARLY]
    of_kinds = [{KINDS[item] for item in members} for members in of_items]
    of_homes = [
        {i for v, i in BOUGHT if v.household == household} for household in range(len(HOUSEHOLDS))
    ]
    for name, units, n in (
        ("basket", of_items, len(WANTED)),
        ("household", of_homes, len(WANTED)),
        ("kind", of_kinds, max(KINDS) + 1),
    ):
        weighed = [
            (members, 1 if name == "household" else round(UNIT / math.sqrt(1 + len(members))))
            for members in units
        ]
        pairs = strongest(weighed, n)
        assert len(pairs) > n
        assert rows(found[f"{name}_pairs"], "i j v r") == pairs
        expected = tally((i,) for members in units for i in members)
        assert rows(found[f"{name}_sizes"], "i n") == expected
        total = sum(len(members) * weight for members, weight in weighed)
        expected = {(sum(map(len, units)), total)}
        assert rows(found[f"{name}_totals"], "n q") == expected
