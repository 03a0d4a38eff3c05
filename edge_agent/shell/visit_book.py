"""Visits by visitor: who is in the store from memory, closed visits from the disk.

A visitor's newest visit is held while it is open. An open visit stands on the disk as a journal
of its marks, and is folded from them again at a start; the journal's row ids are held here.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Final

from edge_agent.domain.effects import VisitsChanged
from edge_agent.domain.ids import VisitId, VisitorId
from edge_agent.domain.store import AtRegister
from edge_agent.shell import rows
from edge_agent.state.visits import follows, in_order_of_coming, one_visit

if TYPE_CHECKING:
    import sqlite3

    from edge_agent.domain.ids import ZoneId
    from edge_agent.domain.store import Layout
    from edge_agent.domain.visitor import Mark, Visit
    from edge_agent.shell.register_stays import RegisterStays

_CLOSED: Final = (
    "SELECT id, visitor, started_at_ms, last_at_ms, ended_at_ms, ended_by, has_paid, trail"
    " FROM visit WHERE visitor = ? AND ended_at_ms IS NOT NULL"
)
_CLOSED_NEWEST_FIRST: Final = f"{_CLOSED} ORDER BY started_at_ms DESC"
_CLOSED_BETWEEN: Final = f"{_CLOSED} AND started_at_ms <= ? AND last_at_ms >= ?"
_STARTED: Final = 2


class VisitBook:
    """Visits: the disk's, and those of the batch that is open.

    Args:
        connection: The writer's.
        layout: Says which zones are exits.
        registers: Told of every stay at a till.
    """

    def __init__(
        self, connection: sqlite3.Connection, layout: Layout, registers: RegisterStays
    ) -> None:
        self._db = connection
        self._exits = frozenset(zone.id for zone in layout.zones.values() if zone.is_exit)
        self._registers = registers
        self._visits: dict[VisitorId, Visit | None] = {}
        self._present: dict[ZoneId, set[VisitorId]] = {}
        # Closed in the batch that is open, by visitor; and those on the disk that are none now.
        self._unsaved: dict[VisitorId, tuple[Visit, ...]] = {}
        self._superseded: set[VisitId] = set()
        # Row ids of the marks of each open visit, and the next one that is free.
        self.journal: dict[VisitId, list[int]] = {}
        self.next_mark_id = 1
        self._read_open(self._read_journal())

    def visit_of(self, visitor: VisitorId) -> Visit | None:
        """Returns a visitor's newest visit."""
        if visitor not in self._visits:
            self._visits[visitor] = self._newest_closed(visitor)
        return self._visits[visitor]

    def visits_between(self, visitor: VisitorId, *, from_ms: int, to_ms: int) -> tuple[Visit, ...]:
        """Returns a visitor's visits that lie in an interval at least in part."""
        newest = self.visit_of(visitor)
        found = {
            visit.id: visit
            for visit in map(
                self._closed_visit,
                self._db.execute(_CLOSED_BETWEEN, (visitor, to_ms, from_ms)).fetchall(),
            )
            if visit.id not in self._superseded
        }
        for visit in self._unsaved.get(visitor, ()):
            found[visit.id] = visit
        if newest is not None:
            found[newest.id] = newest
        return tuple(
            visit
            for visit in found.values()
            if visit.started_at_ms <= to_ms and visit.last_at_ms >= from_ms
        )

    def present_in(self, zone: ZoneId) -> tuple[Visit, ...]:
        """Returns the open visits of whoever is in a zone now, those first who came first."""
        here = self._present.get(zone)
        if not here:
            return ()
        found = (self._visits[visitor] for visitor in here)
        return in_order_of_coming(visit for visit in found if visit is not None)

    def at_register(self, zone: ZoneId, *, from_ms: int, to_ms: int) -> tuple[AtRegister, ...]:
        """Returns who stood in a register's zone at some time of an interval."""
        recent = self._registers.stays(zone, from_ms=from_ms, to_ms=to_ms)
        if self._registers.reaches(from_ms):
            return recent
        stored = {
            (visitor, entered): AtRegister(
                visitor=VisitorId(visitor), entered_at_ms=entered, left_at_ms=left
            )
            for visitor, entered, left in self._db.execute(
                "SELECT visitor, entered_at_ms, left_at_ms FROM zone_stay"
                " WHERE zone = ? AND entered_at_ms <= ? AND left_at_ms >= ?",
                (zone, to_ms, from_ms),
            )
        }
        for stay in recent:
            stored[stay.visitor, stay.entered_at_ms] = stay
        return tuple(stored[key] for key in sorted(stored))

    def open_visits(self) -> tuple[Visit, ...]:
        """Returns every open visit, in a fixed order."""
        found = (each for each in self._visits.values() if each is not None and each.is_open)
        return tuple(sorted(found, key=lambda each: each.id))

    def is_in_store(self, visitor: VisitorId) -> bool:
        """Returns whether a visitor's newest visit is held and open."""
        visit = self._visits.get(visitor)
        return visit is not None and visit.is_open

    # --- what a batch changes -----------------------------------------------------------------

    def put(self, change: VisitsChanged) -> None:
        """Lays a visitor's changed visits over what is known; they are written with the batch."""
        before = newest = self._visits.get(change.visitor)
        if newest is not None:
            kept = newest.id
            newest = next((visit for visit in change.visits if visit.id == kept), newest)
        last = change.visits[-1] if change.visits else None
        if newest is not None and newest.id in change.removed:
            newest = None
        if last is not None and (newest is None or follows(last, newest)):
            newest = last
        if newest is None and change.removed:
            newest = self._newest_closed(change.visitor, without=frozenset(change.removed))
        self._visits[change.visitor] = newest
        self._note_zone(change.visitor, before, newest)
        self._note_unsaved(change)
        self._registers.put_visits(change.visitor, change)

    def forget_unsaved(self) -> list[VisitorId]:
        """Lets go of closed visits that are on the disk by now; returns whose newest they were."""
        gone = [
            visitor
            for visitor in self._unsaved
            if (visit := self._visits.get(visitor)) is not None and not visit.is_open
        ]
        for visitor in gone:
            # Its marks are on the disk now, and seldom asked for again.
            del self._visits[visitor]
        self._unsaved.clear()
        self._superseded.clear()
        return gone

    def forget(self, visitor: VisitorId) -> None:
        """Lets go of a visitor's newest visit; it is read from the disk when asked for."""
        self._visits.pop(visitor, None)

    def _note_zone(self, visitor: VisitorId, before: Visit | None, now: Visit | None) -> None:
        # A visit that is over is in no zone.
        was_in = None if before is None else before.zone
        is_in = None if now is None else now.zone
        if was_in == is_in:
            return
        if was_in is not None:
            self._present[was_in].discard(visitor)
        if is_in is not None:
            self._present.setdefault(is_in, set()).add(visitor)

    def _note_unsaved(self, change: VisitsChanged) -> None:
        self._superseded.update(change.removed)
        self._superseded.difference_update(visit.id for visit in change.visits)
        unsaved = {visit.id: visit for visit in self._unsaved.get(change.visitor, ())}
        for visit_id in change.removed:
            unsaved.pop(visit_id, None)
        unsaved.update({visit.id: visit for visit in change.visits if not visit.is_open})
        if unsaved:
            self._unsaved[change.visitor] = tuple(unsaved.values())
        else:
            self._unsaved.pop(change.visitor, None)

    # --- reading ------------------------------------------------------------------------------

    def _newest_closed(
        self, visitor: VisitorId, *, without: frozenset[VisitId] = frozenset()
    ) -> Visit | None:
        unsaved = {visit.id: visit for visit in self._unsaved.get(visitor, ())}
        gone = without | self._superseded
        newest: Visit | None = None
        with closing(self._db.execute(_CLOSED_NEWEST_FIRST, (visitor,))) as found:
            for row in found:
                if newest is not None and row[_STARTED] < newest.started_at_ms:
                    break
                if row[0] not in gone and row[0] not in unsaved:
                    visit = self._closed_visit(row)
                    # Two visits may begin at one instant.
                    newest = visit if newest is None or follows(visit, newest) else newest
        for visit in unsaved.values():
            if visit.id not in gone and (newest is None or follows(visit, newest)):
                newest = visit
        return newest

    def _closed_visit(self, row: rows.Row) -> Visit:
        stays = self._db.execute(
            "SELECT zone, entered_at_ms, left_at_ms FROM zone_stay WHERE visit = ?"
            " ORDER BY entered_at_ms, left_at_ms, zone",
            (row[0],),
        ).fetchall()
        return rows.closed_visit_from(tuple(row), stays)

    def _read_journal(self) -> dict[VisitId, list[Mark]]:
        marks: dict[VisitId, list[Mark]] = {}
        for row in self._db.execute(
            "SELECT id, visit, at_ms, tie, kind, zone, product, dwell_ms, checksum FROM mark"
            " ORDER BY id"
        ):
            row_id, visit, *_ = row
            marks.setdefault(VisitId(visit), []).append(rows.journal_mark(row))
            self.journal.setdefault(VisitId(visit), []).append(row_id)
            self.next_mark_id = row_id + 1
        return marks

    def _read_open(self, marks: dict[VisitId, list[Mark]]) -> None:
        for visit_id, visitor, started_at_ms in self._db.execute(
            "SELECT id, visitor, started_at_ms FROM visit WHERE ended_at_ms IS NULL ORDER BY id"
        ).fetchall():
            ordered = sorted(marks.get(visit_id, ()), key=lambda each: each.order)
            if not ordered:
                continue
            # The journal says that these marks are one visit: a changed time-out splits nothing.
            visit = one_visit(
                tuple(ordered), visitor=visitor, exits=self._exits, after_ms=started_at_ms
            )
            change = VisitsChanged(visitor=VisitorId(visitor), visits=(visit,))
            self._note_zone(VisitorId(visitor), self._visits.get(VisitorId(visitor)), visit)
            self._visits[VisitorId(visitor)] = visit
            self._registers.put_visits(VisitorId(visitor), change)
