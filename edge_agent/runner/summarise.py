"""Closes the periods that are over, and makes those again that a late event touched."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from edge_agent.decide.trace import lowest_id_at
from edge_agent.domain.time import HOUR_MS, SECOND_MS
from edge_agent.runner.trials import Trials
from edge_agent.sync.egress import may_name
from edge_agent.sync.privacy import RawCell, digests_of, may_follow, safe_cells
from edge_agent.sync.summaries import (
    KINDS,
    content_of,
    door_cell,
    dwell_cells,
    footfall_cells,
    funnel_cells,
    sales_cells,
    summary_of,
)
from edge_agent.wire import topics

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.domain.ids import ProductId
    from edge_agent.ports import UnitOfWork
    from edge_agent.runner.settings import RoadSettings
    from edge_agent.wire.summaries import Summary, SummaryCell, SummaryKind

# What calls itself by what may be somebody's identifier is summed up under this.
UNNAMED: Final = "unnamed"
# A visit that began this much earlier can still end a stay in a period.
LONGEST_VISIT_MS: Final = 12 * HOUR_MS


class Summariser:
    """Knows how far summaries were made, and makes the next ones."""

    def __init__(
        self,
        unit: UnitOfWork,
        settings: RoadSettings,
        *,
        department: Callable[[ProductId], str | None],
    ) -> None:
        self._unit = unit
        self._settings = settings
        self._department = department
        self._period_ms = settings.policy.summary_period_s * SECOND_MS
        self._trials = Trials(unit, settings)
        self._touched: tuple[int, ...] = ()
        row = unit.query("SELECT max(period_start_ms) FROM summary_watermark")[0]
        newest = row[0]
        self.closed_until_ms = 0 if newest is None else int(newest) + self._period_ms

    def is_due(self, now_ms: int) -> bool:
        """Returns whether a period is over that was not closed yet."""
        return self._end_ms(now_ms) > self.closed_until_ms

    def due(self, now_ms: int) -> list[int]:
        """Returns the starts of the periods to make, oldest first; empty most of the time."""
        end_ms = self._end_ms(now_ms)
        if end_ms <= self.closed_until_ms:
            return []
        dirty = self._unit.query(
            "SELECT DISTINCT period_start_ms FROM summary_watermark WHERE is_dirty = 1"
            " AND kind <> 'uplift'"
        )
        self._touched = tuple(sorted(int(start) for (start,) in dirty))
        starts = set(self._touched)
        first_ms = self.closed_until_ms or self._first_ms(end_ms)
        starts.update(range(first_ms, end_ms, self._period_ms))
        self.closed_until_ms = end_ms
        return sorted(starts)

    def make(self, start_ms: int) -> list[Summary]:
        """Queues the watermarks of one period; returns the summaries to be sent."""
        sent = []
        for kind in KINDS:
            summary = self._revise(kind, start_ms)
            if summary is not None:
                sent.append(summary)
        if start_ms + self._period_ms >= self.closed_until_ms:
            sent += self._trials.make(self.closed_until_ms, self._touched)
        return sent

    def topic(self, summary: Summary) -> str:
        """Returns where a summary goes."""
        return topics.hq_summary(self._settings.store, summary.kind)

    def _end_ms(self, now_ms: int) -> int:
        grace_ms = self._settings.policy.summary_grace_s * SECOND_MS
        return (now_ms - grace_ms) // self._period_ms * self._period_ms

    def _first_ms(self, end_ms: int) -> int:
        found = self._unit.query(
            "SELECT min(at_ms) FROM (SELECT min(started_at_ms) AS at_ms FROM visit UNION ALL"
            " SELECT min(period_start_ms) FROM people_count)"
        )[0][0]
        first_ms = end_ms - self._period_ms if found is None else int(found)
        return first_ms - first_ms % self._period_ms

    def _revise(self, kind: SummaryKind, start_ms: int) -> Summary | None:
        policy = self._settings.policy
        known = self._unit.query(
            "SELECT revision, cells FROM summary_watermark WHERE kind = ? AND period_start_ms = ?",
            (kind, start_ms),
        )
        revision = int(known[0][0]) if known else 0
        before = json.loads(known[0][1]) if known else None
        raw = self._cells(kind, start_ms, start_ms + self._period_ms)
        kept, n_dropped = safe_cells(raw, k=policy.k)
        summary = summary_of(
            kind,
            kept,
            n_dropped=n_dropped,
            doors=self._doors(start_ms) if kind == "footfall" else None,
            store=self._settings.store,
            start_ms=start_ms,
            end_ms=start_ms + self._period_ms,
            zone=self._settings.zone,
            revision=revision + 1,
            k=policy.k,
        )
        content = content_of(summary)
        after = digests_of(kept, salt=f"{kind}.{start_ms}")
        if before is not None and before["content"] == content:
            self._unit.add("summary", (kind, start_ms, revision, known[0][1]))
            return None
        released = [] if before is None else [*before.get("earlier", ()), before["digests"]]
        if not may_follow(released, after, k=policy.k):
            # It stays marked as touched, and goes once enough has changed.
            return None
        told = {"content": content, "digests": after, "earlier": released}
        stored = json.dumps(told, sort_keys=True)
        self._unit.add("summary", (kind, start_ms, revision + 1, stored))
        return summary

    def _cells(self, kind: SummaryKind, start_ms: int, end_ms: int) -> tuple[RawCell, ...]:
        query = self._unit.query
        if kind == "footfall":
            visitors = query(
                "SELECT visitor FROM visit WHERE id >= ? AND id < ?",
                (f"{start_ms:012x}", f"{end_ms:012x}"),
            )
            return footfall_cells(str(visitor) for (visitor,) in visitors)
        if kind == "dwell":
            stays = query(
                "SELECT zone, visitor, entered_at_ms, left_at_ms FROM zone_stay"
                " WHERE visit >= ? AND visit < ? AND left_at_ms >= ? AND left_at_ms < ?",
                (f"{start_ms - LONGEST_VISIT_MS:012x}", f"{end_ms:012x}", start_ms, end_ms),
            )
            return dwell_cells((_named(z), str(v), int(a), int(b)) for z, v, a, b in stays)
        if kind == "sales":
            return self._sales(start_ms, end_ms)
        return self._funnel(start_ms, end_ms)

    def _doors(self, start_ms: int) -> SummaryCell | None:
        counters = self._unit.query(
            "SELECT entries, exits FROM people_count WHERE period_start_ms = ?", (start_ms,)
        )
        pairs = ((int(entries), int(exits)) for entries, exits in counters)
        return door_cell(pairs, k=self._settings.policy.k)

    def _sales(self, start_ms: int, end_ms: int) -> tuple[RawCell, ...]:
        lines = self._unit.query(
            "SELECT b.carrier, l.product, l.quantity, l.amount, l.discount FROM sale s"
            " JOIN basket b ON b.id = s.basket JOIN sale_line l ON l.basket = s.basket"
            " WHERE s.completed_at_ms >= ? AND s.completed_at_ms < ? AND b.voided_at_ms IS NULL"
            " ORDER BY s.completed_at_ms, s.basket, l.position",
            (start_ms, end_ms),
        )
        return sales_cells(lines, department=self._department)  # type: ignore[arg-type]  # rows of our own STRICT tables

    def _funnel(self, start_ms: int, end_ms: int) -> tuple[RawCell, ...]:
        decisions = self._unit.query(
            "SELECT id, place, visitor, json_array_length(items) FROM decision"
            " WHERE id >= ? AND id < ? AND visitor IS NOT NULL AND place IS NOT NULL"
            " AND level <> 'silence' ORDER BY id",
            (lowest_id_at(start_ms), lowest_id_at(end_ms)),
        )
        outcomes = self._unit.query(
            "SELECT decision, kind FROM outcome WHERE decision >= ? AND decision < ?"
            " ORDER BY decision, kind, product",
            (lowest_id_at(start_ms), lowest_id_at(end_ms)),
        )
        return funnel_cells(
            ((str(i), _named(p), str(v), int(n)) for i, p, v, n in decisions),
            ((str(d), str(k)) for d, k in outcomes),
        )


def _named(name: object) -> str:
    text = str(name)
    return text if may_name(text) else UNNAMED
