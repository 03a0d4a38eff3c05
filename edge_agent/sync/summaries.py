"""Period summaries from the state's rows: deterministic ids, revisions, nothing under k.

A summary is computed whole from the state, never added to: so a late event needs no rule of its
own, and the same state gives the same bytes.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from edge_agent.domain.time import SECOND_MS, datetime_from_ms
from edge_agent.sync.histograms import dwell_histogram
from edge_agent.sync.privacy import RawCell
from edge_agent.wire.summaries import Summary, SummaryCell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import tzinfo

    from edge_agent.wire.summaries import Dimension, SummaryKind

_REDEEMED: Final = "redeemed"
KINDS: Final[tuple[SummaryKind, ...]] = ("footfall", "dwell", "sales", "funnel")
_DIMENSION: Final[dict[SummaryKind, Dimension | None]] = {
    "footfall": None,
    "dwell": "zone",
    "sales": "department",
    "funnel": "place",
}
UNKNOWN_DEPARTMENT: Final = "unknown"
DOORS: Final = "doors"


def footfall_cells(
    visitors: Iterable[str],
) -> tuple[RawCell, ...]:
    """Returns the period's one cell: visits begun.

    Args:
        visitors: The visitor of each visit that began in the period.
    """
    begun = Counter(visitors)
    parts = {visitor: str(n) for visitor, n in begun.items()}
    return (RawCell(key="", parts=parts, counts={"visits": begun.total()}),)


def door_cell(counters: Iterable[tuple[int, int]], *, k: int) -> SummaryCell | None:
    """Returns what the door counters counted; None when it is a few people only.

    Nobody is known behind it, but whoever was alone in the store would be.

    Args:
        counters: (entries, exits) of each counter.
        k: Smallest number of people, in or out, that may leave the store; nobody at all may.
    """
    pairs = list(counters)
    entries = sum(entries for entries, _ in pairs)
    exits = sum(exits for _, exits in pairs)
    if not pairs or any(0 < count < k for count in (entries, exits)):
        return None
    return SummaryCell(keys={"place": DOORS}, counts={"entries": entries, "exits": exits})


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
            parts=_parts((visitor, str(seconds)) for visitor, seconds in found),
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
    people: dict[str, list[tuple[str, str]]] = defaultdict(list)
    n_lines: dict[str, int] = defaultdict(int)
    sums: dict[str, dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    for visitor, product, quantity, amount, discount in lines:
        key = department(product) or UNKNOWN_DEPARTMENT
        people[key].append((visitor, f"{product} {quantity} {amount} {discount}"))
        n_lines[key] += 1
        for name, text in (("units", quantity), ("revenue", amount), ("discount", discount)):
            sums[key][name] += Decimal(text)
    return tuple(
        RawCell(
            key=key,
            parts=_parts(people[key]),
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
        outcomes: (decision, kind) of each outcome of those decisions: of each product that is
            bought, and of each that a redeemed offer is of, which is one redemption.
    """
    kinds: dict[str, list[str]] = defaultdict(list)
    for decision, kind in outcomes:
        if kind != _REDEEMED or kind not in kinds[decision]:
            kinds[decision].append(kind)
    people: dict[str, list[tuple[str, str]]] = defaultdict(list)
    counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for decision, place, visitor, n_items in decisions:
        people[place].append((visitor, f"{n_items} {sorted(kinds[decision])}"))
        counts[place]["decisions"] += 1
        counts[place]["items"] += n_items
        for kind in kinds[decision]:
            counts[place][kind] += 1
    return tuple(
        RawCell(key=place, parts=_parts(people[place]), counts=dict(counts[place]))
        for place in people
    )


def summary_of(
    kind: SummaryKind,
    kept: tuple[RawCell, ...],
    *,
    n_dropped: int,
    doors: SummaryCell | None,
    store: str,
    start_ms: int,
    end_ms: int,
    zone: tzinfo,
    revision: int,
    k: int,
) -> Summary:
    """Returns the message of one period.

    Args:
        kind: What is summarised.
        kept: The cells that may leave.
        n_dropped: How many may not.
        doors: What belongs to nobody.
        store: This store.
        start_ms: The period's first instant.
        end_ms: The first instant after it.
        zone: The store's time zone.
        revision: 1 for the first, higher for each that replaces it.
        k: Smallest number of visitors behind a cell.
    """
    cells = [_wire_cell(cell, _DIMENSION[kind]) for cell in kept]
    if doors is not None:
        cells.append(doors)
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
        cells=tuple(cells),
    )


def content_of(summary: Summary) -> dict[str, Any]:
    """Returns what makes a revision differ from another, in a form that compares."""
    return summary.model_dump(mode="json", include={"cells", "n_suppressed_cells"})


def _parts(added: Iterable[tuple[str, str]]) -> dict[str, str]:
    parts: dict[str, list[str]] = defaultdict(list)
    for visitor, part in added:
        parts[visitor].append(part)
    return {visitor: ",".join(sorted(each)) for visitor, each in parts.items()}


def _wire_cell(cell: RawCell, dimension: Dimension | None) -> SummaryCell:
    return SummaryCell(
        keys={dimension: cell.key} if dimension is not None else {},
        n_visitors=cell.n_visitors,
        counts=dict(sorted(cell.counts.items())),
        sums={name: f"{amount:f}" for name, amount in sorted(cell.sums.items())},
        histogram=cell.histogram,
    )
