"""Nothing leaves the store except through here: groups under k are folded or dropped.

Small cells are folded into one cell `other`. While that is under k itself, the smallest cell
that could stand alone is folded in as well (complementary suppression), so that nobody's figures
follow by subtracting. What cannot reach k is dropped and only counted.

The difference of two revisions is a cell too. So each revision leaves a digest of what every
visitor added to each cell behind, inside the store, and the next one is held back until in every
cell nothing changed or what at least k visitors added did: against each revision that left before.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from edge_agent.sync.histograms import summed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

OTHER: Final = "other"
# 64 bits tell the visitors of one cell apart; a collision only holds a revision back.
DIGEST_BYTES: Final = 8
# Each further revision could be subtracted from all before it; after these a period is settled.
REVISIONS_MAX: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class RawCell:
    """A cell as counted, with the visitors behind it; it never leaves as it is.

    Attributes:
        parts: What each visitor added to it, as text that differs when that does.
    """

    key: str
    parts: Mapping[str, str]
    counts: Mapping[str, int] = field(default_factory=dict)
    sums: Mapping[str, Decimal] = field(default_factory=dict)
    histogram: tuple[int, ...] | None = None

    @property
    def n_visitors(self) -> int:
        """Distinct visitors behind the cell."""
        return len(self.parts)


def safe_cells(cells: tuple[RawCell, ...], *, k: int) -> tuple[tuple[RawCell, ...], int]:
    """Returns the cells that may leave, by key, and how many were dropped altogether.

    Args:
        cells: All cells of one period and kind.
        k: Smallest number of distinct visitors behind a cell.
    """
    ordered = sorted(cells, key=lambda cell: (cell.n_visitors, cell.key))
    small = [cell for cell in ordered if cell.n_visitors < k]
    large = [cell for cell in ordered if cell.n_visitors >= k]
    if not small:
        return _by_key(large), 0
    other = _folded(small)
    while other.n_visitors < k and large:
        small.append(large.pop(0))
        other = _folded(small)
    if other.n_visitors < k:
        return (), len(small)
    return (*_by_key(large), other), 0


def digests_of(cells: tuple[RawCell, ...], *, salt: str) -> dict[str, list[str]]:
    """Returns, by cell, a digest of what each visitor added, in ascending order.

    Args:
        cells: The cells that leave.
        salt: Tells periods apart, so that nobody can be followed from one to the next.
    """
    return {
        cell.key: sorted(
            blake2b(
                f"{salt}\x00{visitor}\x00{part}".encode(), digest_size=DIGEST_BYTES
            ).hexdigest()
            for visitor, part in cell.parts.items()
        )
        for cell in cells
    }


def may_follow(
    released: Sequence[Mapping[str, Sequence[str]]], after: Mapping[str, Sequence[str]], *, k: int
) -> bool:
    """Returns whether a new revision singles nobody out beside any that left before.

    Args:
        released: Digests by cell of every revision that left, oldest first.
        after: Digests by cell of the new one.
        k: Smallest number of visitors behind a difference.
    """
    return len(released) < REVISIONS_MAX and all(
        may_revise(before, after, k=k) for before in released
    )


def may_revise(
    before: Mapping[str, Sequence[str]], after: Mapping[str, Sequence[str]], *, k: int
) -> bool:
    """Returns whether the difference of two revisions singles nobody out.

    Args:
        before: Digests by cell of a revision that left.
        after: Digests by cell of the new one.
        k: Smallest number of visitors behind a difference.
    """
    if before and set(before) != set(after):
        # A group that left the folded cell, or joined it, follows from the two by subtraction.
        return False
    for key in after:
        old, new = set(before.get(key, ())), set(after.get(key, ()))
        n_changed = max(len(old - new), len(new - old))
        if 0 < n_changed < k:
            return False
    return True


def _by_key(cells: list[RawCell]) -> tuple[RawCell, ...]:
    return tuple(sorted(cells, key=lambda cell: cell.key))


def _folded(cells: list[RawCell]) -> RawCell:
    parts: dict[str, str] = {}
    counts: dict[str, int] = {}
    sums: dict[str, Decimal] = {}
    histogram: tuple[int, ...] | None = None
    # By key and not by size: who added the same as before must look the same as before.
    for cell in _by_key(cells):
        for visitor, part in cell.parts.items():
            parts[visitor] = f"{parts.get(visitor, '')}|{cell.key}:{part}"
        for name, count in cell.counts.items():
            counts[name] = counts.get(name, 0) + count
        for name, amount in cell.sums.items():
            sums[name] = sums.get(name, Decimal(0)) + amount
        if cell.histogram is not None:
            histogram = cell.histogram if histogram is None else summed(histogram, cell.histogram)
    return RawCell(key=OTHER, parts=parts, counts=counts, sums=sums, histogram=histogram)
