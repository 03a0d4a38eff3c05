"""HQ's figures, store by store: read from the store, added up, and given names people know.

Counts and sums add up over periods and stores. The visitors of two hours are not told apart, since
their identities never left the store: who stays from one hour into the next counts in both.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from edge_agent.hq import schema
from edge_agent.hq.database import Row
from edge_agent.hq.device_rows import device_json
from edge_agent.hq.inbox import SUM_SCALE
from edge_agent.hq.store import HqStore

KINDS: Final = {
    "footfall": "Footfall: who came in",
    "dwell": "Dwell: how long visitors stayed where",
    "sales": "Sales: what was bought",
    "funnel": "Recommendations: decided, shown, bought",
}
VISITORS: Final = "visitors"
_MINUTE_S: Final = 60
_HOUR_S: Final = 3_600
# The funnel reads from left to right; other counts by name.
_STEPS: Final = {
    name: number
    for number, name in enumerate(("decisions", "items", "shown", "tapped", "bought"), start=1)
}
_CENT: Final = Decimal("0.01")

Keys = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One added-up measure of one store's cell.

    Attributes:
        keys: The cell, such as `(("zone", "dairy"),)`; empty for the total.
        what: `visitors`, `count`, `sum`, `bucket`, or `mean` where two of them were divided.
    """

    store: str
    kind: str
    keys: Keys
    what: str
    name: str
    value: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One table: a row per store or per cell, a column per measure or per store.

    Attributes:
        cells: One row each: its name, then one text per column; `-` where nothing was reported.
        shares: The same rows' first figure as a share of the largest, for bars.
        n_more: Rows left out because they are the smallest.
        n_texts: How many columns after the first hold words, not figures.
        marked: Rows, by number, that somebody should look at.
        note: What to know about the table.
    """

    title: str
    first_column: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]
    shares: tuple[float, ...]
    n_more: int = 0
    n_texts: int = 0
    marked: frozenset[int] = frozenset()
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that HQ's pages and the command line show."""

    store: str
    day: str
    figures: tuple[Figure, ...]
    coverage: tuple[Row, ...]
    customers: tuple[Row, ...]
    gateways: tuple[Row, ...]
    devices: tuple[Row, ...]
    confirmations: tuple[Row, ...]
    refused: tuple[Row, ...]

    @property
    def is_empty(self) -> bool:
        """Whether no store has sent anything that matches."""
        return not (self.coverage or self.customers or self.gateways)


def report_from(hq: HqStore, *, store: str = "", day: str = "") -> Report:
    """Returns the report of a store and day; of all of them when not given."""
    return Report(
        store=store,
        day=day,
        figures=figures_from(hq, store=store, day=day),
        coverage=tuple(hq.rows(schema.SELECT_COVERAGE, store=store, day=day)),
        customers=tuple(hq.rows(schema.SELECT_CUSTOMER_COUNTS, store=store, day=day)),
        gateways=tuple(hq.rows(schema.SELECT_LATEST_STATES, store=store)),
        devices=tuple(hq.rows(schema.SELECT_DEVICES, store=store)),
        confirmations=tuple(hq.rows(schema.SELECT_CONFIRMATION_COUNTS, store=store)),
        refused=tuple(hq.rows(schema.SELECT_REFUSED_COUNTS)),
    )


def figures_from(hq: HqStore, *, store: str = "", day: str = "") -> tuple[Figure, ...]:
    """Returns every figure of a store and day; of all of them when not given."""
    rows = hq.rows(schema.SELECT_FIGURES, store=store, day=day)
    return tuple(_figure(row) for row in rows)


def comparisons(report: Report, *, n_rows_max: int = 12) -> tuple[Comparison, ...]:
    """Returns the tables of a report, totals of each kind first, then its cells."""
    tables: list[Comparison] = []
    for kind, title in KINDS.items():
        figures = [each for each in report.figures if each.kind == kind and each.what != "bucket"]
        by_dimensions: defaultdict[tuple[str, ...], list[Figure]] = defaultdict(list)
        for each in figures:
            by_dimensions[tuple(name for name, _ in each.keys)].append(each)
        if figures:
            totals = by_dimensions.pop((), None) or _added_up(by_dimensions)
            tables.append(_by_store(title, _with_means(totals), report.coverage))
        for dimensions, cells in sorted(by_dimensions.items()):
            found = _with_means(cells)
            tables.extend(_by_cell(title, dimensions, found, n_rows_max=n_rows_max))
    return tuple(tables)


def as_json(report: Report) -> dict[str, Any]:
    """Returns the report for programs: figures as texts, so that no decimal is lost."""
    return {
        "store": report.store or None,
        "day": report.day or None,
        "figures": [
            {
                "store": each.store,
                "kind": each.kind,
                "keys": dict(each.keys),
                "what": each.what,
                "name": each.name,
                "value": f"{each.value:f}",
            }
            for each in report.figures
        ],
        "summaries": [dict(row) for row in report.coverage],
        "customers": [dict(row) for row in report.customers],
        "gateways": [_gateway(row) for row in report.gateways],
        "devices": [device_json(row) for row in report.devices],
        "confirmations": [dict(row) for row in report.confirmations],
        "refused": {str(row["reason"]): row["n"] for row in report.refused},
    }


def instant_text(at_ms: object) -> str:
    """Returns an instant for people, in UTC; `-` when there is none."""
    if not isinstance(at_ms, int):
        return "-"
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")


def figure_text(figure: Figure) -> str:
    """Returns a figure as people read it: `1 h 05 min` for seconds, two decimals for money.

    Example:
        >>> figure_text(Figure(store="s", kind="dwell", keys=(), what="sum", name="dwell_s",
        ...     value=Decimal(3900)))
        '1 h 05 min'
    """
    if figure.name.endswith("_s"):
        whole_s = int(figure.value)
        hours, rest_s = divmod(whole_s, _HOUR_S)
        minutes, seconds = divmod(rest_s, _MINUTE_S)
        return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {seconds:02} s"
    if figure.what == "sum":
        return f"{figure.value.quantize(_CENT):,}"
    return f"{figure.value:,f}"


def _figure(row: Row) -> Figure:
    keys: dict[str, str] = json.loads(str(row["keys"]))
    whole = Decimal(int(row["billions"] or 0) * schema.BILLION + int(row["rest"] or 0))
    is_sum = row["what"] == "sum"
    return Figure(
        store=str(row["store"]),
        kind=str(row["kind"]),
        keys=tuple(sorted(keys.items())),
        what=str(row["what"]),
        name=str(row["name"]),
        value=(whole / SUM_SCALE).normalize() if is_sum else whole,
    )


def _added_up(by_dimensions: Mapping[tuple[str, ...], Sequence[Figure]]) -> list[Figure]:
    # The cells of one dimension share everything out but the visitors, who are in many of them.
    totals: dict[tuple[str, str, str], Figure] = {}
    for each in by_dimensions[min(by_dimensions, key=lambda names: (len(names), names))]:
        if each.what == VISITORS:
            continue
        place = (each.store, each.what, each.name)
        so_far = totals[place].value if place in totals else Decimal(0)
        totals[place] = replace(each, keys=(), value=so_far + each.value)
    return list(totals.values())


def _with_means(figures: Sequence[Figure]) -> list[Figure]:
    # A total of durations compares nothing: busy stores have more of it.
    lengths = {(each.store, each.keys): each for each in figures if each.name == "dwell_s"}
    means = [
        replace(length, what="mean", name="mean_stay_s", value=length.value / each.value)
        for each in figures
        if each.name == "stays"
        and each.value
        and (length := lengths.get((each.store, each.keys))) is not None
    ]
    return [each for each in figures if each.name != "dwell_s"] + means


def _by_store(title: str, figures: Sequence[Figure], coverage: Sequence[Row]) -> Comparison:
    measures = _measures(figures)
    found = {(each.store, each.what, each.name): each for each in figures}
    kind = figures[0].kind
    covered = {str(row["store"]): row for row in coverage if row["kind"] == kind}
    stores = sorted({each.store for each in figures})
    rows = tuple(
        (
            store,
            (
                *_texts(found, ((store, *each) for each in measures)),
                str(covered[store]["n_periods"]),
                str(covered[store]["n_suppressed_cells"]),
            ),
        )
        for store in stores
    )
    columns = (*(_label(name) for _, name in measures), "periods", "cells withheld")
    values = [found.get((store, *measures[0])) for store in stores]
    return Comparison(
        title=title, first_column="store", columns=columns, rows=rows, shares=_shares(values)
    )


def _by_cell(
    title: str, dimensions: tuple[str, ...], figures: Sequence[Figure], *, n_rows_max: int
) -> Iterator[Comparison]:
    # How many, and how much of it: the first measure that counts and the first that sums.
    measures = _measures(figures)
    summing = [each for each in measures if each[0] in {"sum", "mean"}]
    counting = [each for each in measures if each not in summing][:1]
    # Money before pieces and reductions.
    summing = sorted(summing, key=lambda each: each[1] != "revenue")[:1]
    for measure in (*counting, *summing):
        chosen = [each for each in figures if (each.what, each.name) == measure]
        yield _cells_compared(title, dimensions, chosen, n_rows_max=n_rows_max)


def _cells_compared(
    title: str, dimensions: tuple[str, ...], chosen: Sequence[Figure], *, n_rows_max: int
) -> Comparison:
    found = {(each.keys, each.store): each for each in chosen}
    totals: defaultdict[Keys, Decimal] = defaultdict(Decimal)
    for each in chosen:
        totals[each.keys] += each.value
    stores = sorted({each.store for each in chosen})
    largest = sorted(totals, key=lambda keys: (-totals[keys], keys))
    shown = largest[:n_rows_max]
    rows = tuple(
        (
            ", ".join(value for _, value in keys),
            _texts(found, ((keys, store) for store in stores)),
        )
        for keys in shown
    )
    top = totals[shown[0]] if shown else Decimal(0)
    shares = tuple(float(totals[keys] / top) if top > 0 else 0.0 for keys in shown)
    return Comparison(
        title=f"{title.partition(':')[0]} by {', '.join(dimensions)}: {_label(chosen[0].name)}",
        first_column=", ".join(dimensions),
        columns=tuple(stores),
        rows=rows,
        shares=shares,
        n_more=len(largest) - len(shown),
    )


def _measures(figures: Iterable[Figure]) -> list[tuple[str, str]]:
    # People first, then how often, then how much.
    order = {VISITORS: 0, "count": 1, "sum": 2, "mean": 3}
    found = {(each.what, each.name) for each in figures}
    return sorted(found, key=lambda each: (order[each[0]], _STEPS.get(each[1], 0), each[1]))


def _texts(found: dict[Any, Figure], places: Iterable[object]) -> tuple[str, ...]:
    figures = (found.get(place) for place in places)
    return tuple("-" if each is None else figure_text(each) for each in figures)


def _shares(figures: Sequence[Figure | None]) -> tuple[float, ...]:
    values = [max(Decimal(0), each.value) if each else Decimal(0) for each in figures]
    top = max(values, default=Decimal(0))
    return tuple(float(value / top) if top else 0.0 for value in values)


def _label(name: str) -> str:
    return name.removeprefix("n_").removesuffix("_s").replace("_", " ")


def _gateway(row: Row) -> dict[str, Any]:
    texts = {name: json.loads(str(row[name])) for name in ("problems", "counters")}
    return {**row, **texts}
