"""Who stood at which till in the last hours, and which baskets began there: an index in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_agent.domain.ids import BasketId, VisitId, VisitorId
from edge_agent.domain.store import AtRegister
from edge_agent.domain.time import HOUR_MS
from edge_agent.state.visits import all_stays

if TYPE_CHECKING:
    import sqlite3

    from edge_agent.domain.basket import Basket
    from edge_agent.domain.effects import VisitsChanged
    from edge_agent.domain.ids import RegisterId, ZoneId
    from edge_agent.domain.store import Layout
    from edge_agent.domain.visitor import Visit

# How far back the index goes; older questions, which only late events ask, go to the database.
HORIZON_MS: Final = 3 * HOUR_MS

# When each stay began, and when it ended if it did.
_Stays = dict[int, int | None]


class RegisterStays:
    """Stays in register zones, by zone and visitor, and baskets by zone."""

    def __init__(self, layout: Layout) -> None:
        self._zone_of: dict[RegisterId, ZoneId] = {
            register.id: register.zone
            for register in layout.registers.values()
            if register.zone is not None
        }
        self.zones = tuple(sorted(set(self._zone_of.values())))
        self._stays: dict[ZoneId, dict[VisitorId, dict[VisitId, _Stays]]] = {
            zone: {} for zone in self.zones
        }
        self._baskets: dict[ZoneId, dict[BasketId, int]] = {zone: {} for zone in self.zones}
        self._tracked: set[VisitorId] = set()
        self._newest_ms = 0
        self._from_ms = 0

    def read(self, connection: sqlite3.Connection) -> None:
        """Takes in what the disk has of the last hours; open visits come by `put_visits`."""
        row = connection.execute("SELECT max(last_at_ms) FROM basket").fetchone()
        self._newest_ms = 0 if row is None or row[0] is None else int(row[0])
        self._from_ms = max(0, self._newest_ms - HORIZON_MS)
        for zone in self.zones:
            for visitor, visit, entered_at_ms, left_at_ms in connection.execute(
                "SELECT s.visitor, s.visit, s.entered_at_ms, s.left_at_ms FROM zone_stay s"
                " JOIN visit v"
                " ON v.id = s.visit WHERE s.zone = ? AND s.left_at_ms >= ?"
                " AND v.ended_at_ms IS NOT NULL",
                (zone, self._from_ms),
            ):
                self.put_stay(
                    zone,
                    VisitorId(visitor),
                    VisitId(visit),
                    entered_at_ms=entered_at_ms,
                    left_at_ms=left_at_ms,
                )
        for basket, register, opened_at_ms in connection.execute(
            "SELECT id, register, opened_at_ms FROM basket WHERE opened_at_ms >= ?",
            (self._from_ms,),
        ):
            self.put_opening(register, BasketId(basket), opened_at_ms)

    def reaches(self, from_ms: int) -> bool:
        """Returns whether everything since an instant is in memory."""
        return from_ms >= self._from_ms

    def of_zone(self, zone: ZoneId) -> tuple[RegisterId, ...]:
        """Returns a zone's registers."""
        return tuple(register for register, at in self._zone_of.items() if at == zone)

    def stays(self, zone: ZoneId, *, from_ms: int, to_ms: int) -> tuple[AtRegister, ...]:
        """Returns who was in a zone at some time of an interval, in a fixed order."""
        found = [
            AtRegister(visitor=visitor, entered_at_ms=entered, left_at_ms=left)
            for visitor, visits in self._stays.get(zone, {}).items()
            for stays in visits.values()
            for entered, left in stays.items()
            if entered <= to_ms and (left is None or left >= from_ms)
        ]
        return tuple(sorted(found, key=lambda each: (each.visitor, each.entered_at_ms)))

    def baskets(self, zone: ZoneId, *, from_ms: int, to_ms: int) -> tuple[BasketId, ...]:
        """Returns the baskets that began at a zone's registers in an interval."""
        found = [
            (opened_at_ms, basket)
            for basket, opened_at_ms in self._baskets.get(zone, {}).items()
            if from_ms <= opened_at_ms <= to_ms
        ]
        return tuple(basket for _, basket in sorted(found))

    def put_visits(self, visitor: VisitorId, change: VisitsChanged) -> None:
        """Takes in a visitor's changed visits."""
        if not self.zones or not self._concerns(visitor, change):
            return
        self._tracked.add(visitor)
        for zone in self.zones:
            known = self._stays[zone].setdefault(visitor, {})
            for visit_id in change.removed:
                known.pop(visit_id, None)
            for visit in change.visits:
                stays = _stays_in(visit, zone)
                if stays:
                    known[visit.id] = stays
                else:
                    known.pop(visit.id, None)
            if not known:
                del self._stays[zone][visitor]
        newest_ms = max((visit.last_at_ms for visit in change.visits), default=0)
        self._newest_ms = max(self._newest_ms, newest_ms)

    def _concerns(self, visitor: VisitorId, change: VisitsChanged) -> bool:
        if visitor in self._tracked or change.mark is None:
            return True
        visit = change.visits[-1]
        last_stay = None if visit.stays is None else visit.stays.last.zone
        return visit.zone in self._stays or last_stay in self._stays

    def put_stay(
        self,
        zone: ZoneId,
        visitor: VisitorId,
        visit: VisitId,
        *,
        entered_at_ms: int,
        left_at_ms: int,
    ) -> None:
        """Takes in one stay that is over."""
        self._tracked.add(visitor)
        visits = self._stays[zone].setdefault(visitor, {})
        visits.setdefault(visit, {})[entered_at_ms] = left_at_ms

    def put_basket(self, basket: Basket) -> None:
        """Takes in a basket."""
        if basket.opened_at_ms is not None:
            self.put_opening(basket.register, basket.id, basket.opened_at_ms)

    def put_opening(self, register: RegisterId, basket: BasketId, opened_at_ms: int) -> None:
        """Takes in when a basket began."""
        zone = self._zone_of.get(register)
        if zone is not None:
            self._baskets[zone][basket] = opened_at_ms
            self._newest_ms = max(self._newest_ms, opened_at_ms)

    def prune(self) -> None:
        """Lets go of what is older than the horizon, an hour at a time."""
        if self._newest_ms - self._from_ms < HORIZON_MS + HOUR_MS:
            return
        self._from_ms = self._newest_ms - HORIZON_MS
        for zone in self.zones:
            self._baskets[zone] = {
                basket: opened
                for basket, opened in self._baskets[zone].items()
                if opened >= self._from_ms
            }
            for visitor, visits in list(self._stays[zone].items()):
                kept = {
                    visit: stays
                    for visit, stays in visits.items()
                    if any(left is None or left >= self._from_ms for left in stays.values())
                }
                if kept:
                    self._stays[zone][visitor] = kept
                else:
                    del self._stays[zone][visitor]
        self._tracked = {visitor for stays in self._stays.values() for visitor in stays}


def _stays_in(visit: Visit, zone: ZoneId) -> _Stays:
    found: _Stays = {
        stay.entered_at_ms: stay.left_at_ms for stay in all_stays(visit) if stay.zone == zone
    }
    if visit.zone == zone:
        found[visit.zone_entered_at_ms] = None
    return found
