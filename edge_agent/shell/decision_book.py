"""What was decided for whom, as caps, control groups and exploration count it."""

from __future__ import annotations

import sys
from collections import OrderedDict
from datetime import date, timedelta
from typing import TYPE_CHECKING, Final

from edge_agent.decide.trace import lowest_id_at
from edge_agent.domain.ids import CampaignId, UnitId
from edge_agent.domain.time import HOUR_MS

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from edge_agent.domain.ids import VisitId, VisitorId

CACHED_EXPOSURES: Final = 5_000
# A device's clock may be ahead: what its event asked for was decided before the event's own time.
DECIDED_BEFORE_MS: Final = HOUR_MS

_TRIED: Final = (
    "SELECT substr(what, 12), sum(shown), sum(answered) FROM tried"
    " WHERE what >= ? AND what < ? GROUP BY 1 ORDER BY 1"
)
# What was answered since an instant of what was tried before it, as the trigger counted it:
# a decision once. Ids are in the order of time, so that what is of today is not looked up.
_ANSWERED_SINCE: Final = (
    "SELECT substr(d.tried, 12), count(DISTINCT d.id) FROM outcome o CROSS JOIN decision d"
    " ON d.id = o.decision WHERE o.at_ms >= :begins_ms AND o.decision < :first"
    " AND o.kind IN ('bought', 'redeemed', 'tapped') AND d.tried >= :since"
    " AND instr(substr(d.tried, 12) || ' ', o.product || ' ') = 1"
    " AND NOT EXISTS (SELECT 1 FROM outcome e WHERE e.decision = o.decision"
    " AND e.product = o.product AND e.kind IN ('bought', 'redeemed', 'tapped')"
    " AND e.at_ms < :begins_ms) GROUP BY 1"
)


class DecisionBook:
    """Decisions and drawn arms by visitor: the disk's, and those of the batch that is open."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self._decisions: dict[VisitorId, tuple[int, list[tuple[int, VisitId | None]]]] = {}
        self._exposures: OrderedDict[VisitorId, dict[CampaignId, UnitId]] = OrderedDict()
        self._tried: dict[str, tuple[int, int]] = {}
        self._tried_for = ("", 0)

    def n_decisions(self, visit: VisitId, visitor: VisitorId, *, since_ms: int) -> int:
        """Returns how many decisions a visitor's visit has had over all channels."""
        decided = self._decided(visitor, since_ms - DECIDED_BEFORE_MS)
        return sum(at_ms >= since_ms or under == visit for at_ms, under in decided)

    def unit_of(self, visitor: VisitorId) -> UnitId | None:
        """Returns the unit that a visitor's arms are drawn for; None before the first was."""
        return next(iter(self._exposed(visitor).values()), None)

    def tried(
        self, day: str, *, begins_ms: int, window_days: int
    ) -> Mapping[str, tuple[int, int]]:
        """Returns how often each action stood first and was answered in the days before one."""
        if self._tried_for != (day, window_days):
            since = (date.fromisoformat(day) - timedelta(days=window_days)).isoformat()
            first = lowest_id_at(begins_ms)
            given = {"begins_ms": begins_ms, "first": first, "since": since}
            late = dict(self._db.execute(_ANSWERED_SINCE, given).fetchall())
            self._tried = {
                str(action): (int(shown), int(answered) - int(late.get(action, 0)))
                for action, shown, answered in self._db.execute(_TRIED, (since, day))
            }
            self._tried_for = (day, window_days)
        return self._tried

    # --- what a batch changes -----------------------------------------------------------------

    def note(self, visitor: VisitorId, visit: VisitId | None, *, at_ms: int) -> None:
        """Counts a decision against its visit's cap."""
        self._decided(visitor, at_ms - DECIDED_BEFORE_MS).append((at_ms, visit))

    def note_exposed(self, visitor: VisitorId, unit: UnitId, campaign: CampaignId) -> bool:
        """Remembers that an arm was drawn for a visitor; returns whether it is the first time."""
        known = self._exposed(visitor)
        if campaign in known:
            return False
        known[campaign] = unit
        return True

    def keep_bounds(self) -> None:
        """Lets go of the arms that are held longest."""
        while len(self._exposures) > CACHED_EXPOSURES:
            self._exposures.popitem(last=False)

    def forget(self, visitor: VisitorId) -> None:
        """Lets go of what was decided for a visitor; it is read when asked for."""
        self._decisions.pop(visitor, None)

    # --- reading ------------------------------------------------------------------------------

    def _decided(self, visitor: VisitorId, from_ms: int) -> list[tuple[int, VisitId | None]]:
        """Returns when and under which visit was decided for somebody, from an instant on."""
        known_from_ms, known = self._decisions.get(visitor, (None, []))
        if known_from_ms is None or from_ms < known_from_ms:
            # What is not on the disk yet is in memory: it was read before that was added.
            until_ms = sys.maxsize if known_from_ms is None else known_from_ms
            rows = self._db.execute(
                "SELECT at_ms, visit FROM decision WHERE visitor = ? AND at_ms >= ? AND at_ms < ?",
                (visitor, from_ms, until_ms),
            )
            known = [*rows.fetchall(), *known]
            self._decisions[visitor] = (from_ms, known)
        return known

    def _exposed(self, visitor: VisitorId) -> dict[CampaignId, UnitId]:
        """Returns the campaigns whose arm was drawn for a visitor, with the unit it is of."""
        if visitor not in self._exposures:
            found = self._db.execute(
                "SELECT campaign, unit FROM exposure WHERE visitor = ? ORDER BY campaign",
                (visitor,),
            )
            self._exposures[visitor] = {CampaignId(each): UnitId(unit) for each, unit in found}
        return self._exposures[visitor]
