"""Period summaries from the state's rows: deterministic ids, revisions, nothing under k.

A summary is computed whole from the state, never added to: so a late event needs no rule of its
own, and the same state gives the same bytes.
"""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from edge_agent.domain.time import SECOND_MS, datetime_from_ms
from edge_agent.sync.histograms import dwell_histogram
from edge_agent.sync.privacy import RawCell, safe_cells
from edge_agent.wire.summaries import Summary, SummaryCell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import tzinfo

    from edge_agent.wire.summaries import Dimension, SummaryKind

KINDS: Final[tuple[SummaryKind, ...]] = ("footfall", "dwell", "sales", "funnel")
_DIMENSION: Final[dict[SummaryKind, Dimension | None]] = {
    "footfall": None,
    "dwell": "zone",
    "sales": "department",
    "funnel": "place",
}
UNKNOWN_DEPARTMENT: Final = "unknown"


def footfall_cells(
    visitors: Iterable[str], counters: Iterable[tuple[int, int]]
) -> tuple[RawCell, ...]:
    """Returns the period's one cell: visits begun, and what door counters counted.

    Args:
        visitors: The visitor of each visit that began in the period.
        counters: (entries, exits) of each counter.
    """
    begun = list(visitors)
    pairs = list(counters)
    counts = {
        "visits": len(begun),
        "entries": sum(entries for entries, _ in pairs),
        "exits": sum(exits for _, exits in pairs),
    }
    return (RawCell(key="", visitors=frozenset(begun), counts=counts),)


def dwell_cells(stays: Iterable[tuple[str, str, int, int]]) -> tuple[RawCell, ...]:
    """Returns a cell for each zone: stays that ended in the period.

    Args:
        stays: (zone, visitor, entered_at_ms, left_at_ms).
    """
    by_zone: dict[str, list[tuple[str, float]]] = defaultdict(list)
    for zone, visitor, entered_at_ms, left_at_ms in stays:
        by_zone[zone].append((visitor, max(0, left_at_ms - entered_at_ms) / SECOND_MS))
    return tuple(
        RawCell(
            key=zone,
            visitors=frozenset(visitor for visitor, _ in found),
            counts={"stays": len(found)},
            sums={"dwell_s": sum((Decimal(str(s)) for _, s in found), Decimal(0))},
            histogram=dwell_histogram(s for _, s in found),
        )
        for zone, found in by_zone.items()
    )


def sales_cells(
    lines: Iterable[tuple[str, str, str, str, str]], *, department: Callable[[str], str | None]
) -> tuple[RawCell, ...]:
    """Returns a cell for each department.

    Args:
        lines: (visitor, product, quantity, amount, discount) of each line sold in the period.
        department: Product to department.
    """
    people: dict[str, set[str]] = defaultdict(set)
    n_lines: dict[str, int] = defaultdict(int)
    sums: dict[str, dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    for visitor, product, quantity, amount, discount in lines:
        key = department(product) or UNKNOWN_DEPARTMENT
        people[key].add(visitor)
        n_lines[key] += 1
        for name, text in (("units", quantity), ("revenue", amount), ("discount", discount)):
            sums[key][name] += Decimal(text)
    return tuple(
        RawCell(
            key=key,
            visitors=frozenset(people[key]),
            counts={"lines": n_lines[key]},
            sums=dict(sums[key]),
        )
        for key in people
    )


def funnel_cells(
    decisions: Iterable[tuple[str, str, str, int]],
    outcomes: Iterable[tuple[str, str]],
) -> tuple[RawCell, ...]:
    """Returns a cell for each screen, till and team: decided, shown, tapped, bought after.

    Args:
        decisions: (id, place, visitor, number of items) of each decision for a visitor.
        outcomes: (decision, kind) of each outcome of those decisions.
    """
    kinds: dict[str, list[str]] = defaultdict(list)
    for decision, kind in outcomes:
        kinds[decision].append(kind)
    people: dict[str, set[str]] = defaultdict(set)
    counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for decision, place, visitor, n_items in decisions:
        people[place].add(visitor)
        counts[place]["decisions"] += 1
        counts[place]["items"] += n_items
        for kind in kinds[decision]:
            counts[place][kind] += 1
    return tuple(
        RawCell(key=place, visitors=frozenset(people[place]), counts=dict(counts[place]))
        for place in people
    )


def summary_of(
    kind: SummaryKind,
    cells: tuple[RawCell, ...],
    *,
    store: str,
    start_ms: int,
    end_ms: int,
    zone: tzinfo,
    revision: int,
    k: int,
) -> Summary:
    """Returns the message of one period, its cells made safe."""
    kept, n_dropped = safe_cells(cells, k=k)
    return Summary(
        summary_id=f"{store}.{kind}.{start_ms // SECOND_MS}.{revision}",
        store=store,
        kind=kind,
        # HQ reads the store's day and hour off the offset.
        period_start=datetime_from_ms(start_ms).astimezone(zone),
        period_end=datetime_from_ms(end_ms).astimezone(zone),
        revision=revision,
        k=k,
        n_suppressed_cells=n_dropped,
        cells=tuple(_wire_cell(cell, _DIMENSION[kind]) for cell in kept),
    )


def visitors_by_cell(summary: Summary) -> dict[str, int]:
    """Returns how many visitors stand behind each cell."""
    return {
        next(iter(cell.keys.values()), ""): cell.n_visitors or 0 for cell in summary.cells
    }


def content_of(summary: Summary) -> dict[str, Any]:
    """Returns what makes a revision differ from another, in a form that compares."""
    return summary.model_dump(mode="json", include={"cells", "n_suppressed_cells"})


def _wire_cell(cell: RawCell, dimension: Dimension | None) -> SummaryCell:
    return SummaryCell(
        keys={dimension: cell.key} if dimension is not None else {},
        n_visitors=len(cell.visitors),
        counts=dict(sorted(cell.counts.items())),
        sums={name: f"{amount:f}" for name, amount in sorted(cell.sums.items())},
        histogram=cell.histogram,
    )
