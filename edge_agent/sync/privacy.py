"""Nothing leaves the store except through here: groups under k are folded or dropped.

Small cells are folded into one cell `other`. While that is under k itself, the smallest cell
that could stand alone is folded in as well (complementary suppression), so that nobody's figures
follow by subtracting. What cannot reach k is dropped and only counted.

A revision is held back until what changed since the last one is nothing or at least k visitors
in every cell: the difference of two revisions is a cell too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from edge_agent.sync.histograms import summed

if TYPE_CHECKING:
    from collections.abc import Mapping

OTHER: Final = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class RawCell:
    """A cell as counted, with the visitors behind it; it never leaves as it is."""

    key: str
    visitors: frozenset[str]
    counts: Mapping[str, int] = field(default_factory=dict)
    sums: Mapping[str, Decimal] = field(default_factory=dict)
    histogram: tuple[int, ...] | None = None


def safe_cells(cells: tuple[RawCell, ...], *, k: int) -> tuple[tuple[RawCell, ...], int]:
    """Returns the cells that may leave, by key, and how many were dropped altogether.

    Args:
        cells: All cells of one period and kind.
        k: Smallest number of distinct visitors behind a cell.
    """
    ordered = sorted(cells, key=lambda cell: (len(cell.visitors), cell.key))
    small = [cell for cell in ordered if len(cell.visitors) < k]
    large = [cell for cell in ordered if len(cell.visitors) >= k]
    if not small:
        return _by_key(large), 0
    other = _folded(small)
    while len(other.visitors) < k and large:
        small.append(large.pop(0))
        other = _folded(small)
    if len(other.visitors) < k:
        return (), len(small)
    return (*_by_key(large), other), 0


def may_revise(before: Mapping[str, int], after: Mapping[str, int], *, k: int) -> bool:
    """Returns whether the difference of two revisions singles nobody out.

    Args:
        before: Visitors by cell of the last revision that left.
        after: Visitors by cell of the new one.
        k: Smallest number of visitors behind a difference.
    """
    for key in set(before) | set(after):
        change = abs(after.get(key, 0) - before.get(key, 0))
        if 0 < change < k:
            return False
    return True


def _by_key(cells: list[RawCell]) -> tuple[RawCell, ...]:
    return tuple(sorted(cells, key=lambda cell: cell.key))


def _folded(cells: list[RawCell]) -> RawCell:
    visitors: frozenset[str] = frozenset()
    counts: dict[str, int] = {}
    sums: dict[str, Decimal] = {}
    histogram: tuple[int, ...] | None = None
    for cell in cells:
        visitors |= cell.visitors
        for name, count in cell.counts.items():
            counts[name] = counts.get(name, 0) + count
        for name, amount in cell.sums.items():
            sums[name] = sums.get(name, Decimal(0)) + amount
        if cell.histogram is not None:
            histogram = cell.histogram if histogram is None else summed(histogram, cell.histogram)
    return RawCell(key=OTHER, visitors=visitors, counts=counts, sums=sums, histogram=histogram)
