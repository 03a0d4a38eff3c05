"""Marks of what was taken in: a message that comes again changes nothing.

The marks of the open batch are on the disk once it is committed. Those of messages that wait are
looked up ahead, all at once: a query for each event would cost a quarter of its way, because each
lets the network thread in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.domain.time import DAY_MS

if TYPE_CHECKING:
    from edge_agent.ports import UnitOfWork


class Marks:
    """Knows what was taken in, on the disk or in the open batch."""

    def __init__(self, unit: UnitOfWork) -> None:
        self._unit = unit
        self._in_batch: set[int] = set()
        # Marks that were looked up ahead, and those of them that are on the disk.
        self._looked_up: set[int] = set()
        self._seen: set[int] = set()

    def begin_batch(self) -> None:
        """Starts a batch: nothing of it is on the disk yet."""
        self._in_batch.clear()

    def note_committed(self) -> None:
        """Notes that the batch's marks are on the disk."""
        self._seen |= self._in_batch

    def look_up(self, marks: set[int]) -> None:
        """Asks for marks of what waits in one query; those asked for before are forgotten."""
        self._looked_up = marks
        self._seen = self._unit.seen_among(marks)

    def has_seen(self, mark: int) -> bool:
        """Returns whether what bears a mark was taken in before."""
        if mark in self._in_batch:
            return True
        if mark in self._looked_up:
            return mark in self._seen
        return self._unit.has_seen(mark)

    def add(self, mark: int, *, now_ms: int) -> None:
        """Marks what is taken in with the open batch."""
        self._in_batch.add(mark)
        self._unit.add("inbox", (mark, now_ms // DAY_MS))
