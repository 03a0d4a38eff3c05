"""Visits that a batch changed, and the rows that it leads to.

An open visit stands on the disk as a journal of its marks, one row a mark, until it is over; then
its marks stand in its own row. What a late mark made anew is written anew as a whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.domain.chain import values_of
from edge_agent.shell import rows

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge_agent.domain.effects import VisitsChanged
    from edge_agent.domain.ids import VisitId
    from edge_agent.domain.visitor import Visit, ZoneStay
    from edge_agent.shell.pending_rows import PendingRows
    from edge_agent.shell.state_store import StateStore


class VisitRows:
    """Changed visits, each written once however often it changed.

    Args:
        pending: Where the rows go.
        state: Its visits' journal says which marks are on the disk, and numbers new ones.
    """

    def __init__(self, pending: PendingRows, state: StateStore) -> None:
        self._pending = pending
        self._state = state
        self._visits: dict[VisitId, Visit] = {}
        self._removed: set[VisitId] = set()
        self._rewritten: set[VisitId] = set()
        self._fresh_marks: dict[VisitId, list[rows.Row]] = {}

    def put(self, change: VisitsChanged) -> None:
        """Takes in a visitor's changed visits."""
        for visit_id in change.removed:
            self._visits.pop(visit_id, None)
            self._fresh_marks.pop(visit_id, None)
            self._removed.add(visit_id)
        for visit in change.visits:
            self._visits[visit.id] = visit
            self._removed.discard(visit.id)
            if change.mark is None:
                self._rewritten.add(visit.id)
        if change.mark is not None:
            visit = change.visits[-1]
            book = self._state.visits
            row = rows.mark_row(book.next_mark_id, visit.id, change.mark)
            book.next_mark_id += 1
            self._fresh_marks.setdefault(visit.id, []).append(row)

    @property
    def is_empty(self) -> bool:
        """Whether no visit changed."""
        return not (self._visits or self._removed)

    def queue(self) -> None:
        """Queues what becomes of the visits."""
        for visit_id in sorted(self._removed):
            self._queue_removal(visit_id)
        for visit in self._visits.values():
            self._queue_visit(visit)

    def _queue_removal(self, visit_id: VisitId) -> None:
        self._pending.add("visit_delete", (visit_id,))
        self._pending.add("stay_delete", (visit_id,))
        self._forget_marks(visit_id)

    def _queue_visit(self, visit: Visit) -> None:
        known = self._state.visits.journal.get(visit.id)
        is_rewritten = visit.id in self._rewritten
        if known is None or is_rewritten or not visit.is_open:
            self._pending.add("visit", rows.visit_row(visit))
        if is_rewritten:
            self._pending.add("stay_delete", (visit.id,))
            self._queue_stays(visit, values_of(visit.stays))
        else:
            # In order, a mark closes one stay at most, and a batch holds few marks of a visit.
            n_marks = len(self._fresh_marks.get(visit.id, ())) + 1
            self._queue_stays(visit, values_of(visit.stays)[-n_marks:])
        self._queue_marks(visit, is_rewritten=is_rewritten)

    def _queue_stays(self, visit: Visit, stays: tuple[ZoneStay, ...]) -> None:
        for stay in stays:
            row = (visit.id, stay.entered_at_ms, stay.zone, stay.left_at_ms, visit.visitor)
            self._pending.add("stay", row)

    def _queue_marks(self, visit: Visit, *, is_rewritten: bool) -> None:
        book = self._state.visits
        fresh: Iterable[rows.Row] = self._fresh_marks.get(visit.id, ())
        if is_rewritten or not visit.is_open:
            self._forget_marks(visit.id)
            fresh = ()
        if is_rewritten and visit.is_open:
            first = book.next_mark_id
            marks = values_of(visit.marks)
            book.next_mark_id += len(marks)
            fresh = [rows.mark_row(first + n, visit.id, mark) for n, mark in enumerate(marks)]
        if visit.is_open:
            journal = book.journal.setdefault(visit.id, [])
            for row in fresh:
                journal.append(row[0])
                self._pending.add("mark", row)

    def _forget_marks(self, visit_id: VisitId) -> None:
        for row_id in self._state.visits.journal.pop(visit_id, ()):
            self._pending.add("mark_delete", (row_id,))
