"""Tells HQ what came of campaigns' arms, day by day, once every window of a day's units is over.

Exposures come from decisions alone, and decisions are never taken late: which units a day has is
settled when it ends. What they bought may still be corrected, and is told as a revision.
"""

from __future__ import annotations

import json
from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from edge_agent.decide.control import is_person
from edge_agent.domain.ids import UnitId
from edge_agent.domain.time import SECOND_MS, local_day_end_ms, local_time
from edge_agent.sync.egress import may_name
from edge_agent.sync.privacy import digests_of, may_follow
from edge_agent.sync.summaries import content_of
from edge_agent.sync.uplift import (
    KIND,
    Bought,
    Exposed,
    arm_cells,
    outcomes_of,
    paired,
    uplift_summary_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from edge_agent.ports import UnitOfWork
    from edge_agent.runner.settings import RoadSettings
    from edge_agent.sync.privacy import RawCell
    from edge_agent.sync.uplift import UnitOutcome
    from edge_agent.wire.summaries import Summary

_EXPOSED: Final = (
    "SELECT e.campaign, e.unit, e.visitor, e.member, e.arm, e.share, g.products, e.at_ms"
    " FROM exposure e JOIN goal g ON g.id = e.goal WHERE "
)
# A unit of which a summary told is counted: what it is met with later adds no unit.
_WAITING: Final = (
    f"{_EXPOSED} e.told_ms IS NULL AND e.at_ms < ?1"  # noqa: S608 - literal SQL of ours
    " AND NOT EXISTS (SELECT 1 FROM exposure t"
    " WHERE t.campaign = e.campaign AND t.unit = e.unit AND t.told_ms IS NOT NULL)"
)
_TOLD: Final = f"{_EXPOSED} e.told_ms = ?1"
_BOUGHT: Final = (
    "SELECT b.carrier, s.completed_at_ms, l.product, l.amount FROM sale s"
    " JOIN basket b ON b.id = s.basket JOIN sale_line l ON l.basket = s.basket"
    " WHERE s.completed_at_ms >= ? AND s.completed_at_ms < ? AND b.voided_at_ms IS NULL"
    " AND b.carrier IS NOT NULL"
)


class Trials:
    """Makes the summaries of campaigns' arms."""

    def __init__(self, unit: UnitOfWork, settings: RoadSettings) -> None:
        self._unit = unit
        self._settings = settings
        self._window_ms = settings.policy.bought_within_s * SECOND_MS
        # What changed before this start is not known: every day that may be told anew is.
        self._is_begun = False
        # The newest day of which nothing may leave: what waits is looked through once a day.
        self._waited_ms = 0

    def make(self, closed_until_ms: int, touched: Iterable[int]) -> list[Summary]:
        """Queues what is to be written of days that are over; returns what is to be sent.

        Args:
            closed_until_ms: Nothing of before this instant is waited for.
            touched: Starts of periods that a late event changed.
        """
        changed = tuple(touched) if self._is_begun else None
        self._is_begun = True
        sent = [self._told_anew(*each) for each in self._told_days(changed)]
        sent.append(self._told_first(*self._last_day(closed_until_ms)))
        return [summary for summary in sent if summary is not None]

    def _told_first(self, start_ms: int, end_ms: int) -> Summary | None:
        if start_ms == self._waited_ms:
            return None
        known = self._unit.query(
            "SELECT 1 FROM summary_watermark WHERE kind = ? AND period_start_ms = ?",
            (KIND, start_ms),
        )
        exposed = () if known else _exposed(self._unit.query(_WAITING, (end_ms,)))
        outcomes = self._outcomes(exposed)
        cells, n_waiting = paired(arm_cells(outcomes), k=self._settings.policy.k)
        if not cells:
            self._waited_ms = start_ms
            return None
        summary = self._summary(cells, start_ms, revision=1, n_waiting=n_waiting)
        leaving = {cell.key for cell in cells}
        counted = {(each.campaign, each.unit) for each in outcomes if each.cell in leaving}
        for row in exposed:
            if (row.campaign, row.unit) in counted:
                self._unit.add("told", (start_ms, row.visitor, row.campaign))
        self._keep(summary, digests=_digests(cells, start_ms), earlier=[], start_ms=start_ms)
        return summary

    def _told_anew(self, start_ms: int, revision: int, text: str) -> Summary | None:
        before = json.loads(text)
        outcomes = self._outcomes(_exposed(self._unit.query(_TOLD, (start_ms,))))
        cells, _ = paired(arm_cells(outcomes), k=self._settings.policy.k)
        n_waiting = int(before["content"]["n_suppressed_cells"])
        summary = self._summary(cells, start_ms, revision=revision + 1, n_waiting=n_waiting)
        released = [*before["earlier"], before["digests"]]
        after = _digests(cells, start_ms)
        is_same = content_of(summary) == before["content"]
        if is_same or not may_follow(released, after, k=self._settings.policy.k):
            return None
        self._keep(summary, digests=after, earlier=released, start_ms=start_ms)
        return summary

    def _told_days(self, changed: tuple[int, ...] | None) -> list[tuple[int, int, str]]:
        """Returns the days to be looked at anew, as (start, revision, what was told)."""
        if changed == ():
            return []
        found = self._unit.query(
            "SELECT w.period_start_ms, w.revision, w.cells, min(e.at_ms), max(e.at_ms)"
            " FROM summary_watermark w JOIN exposure e ON e.told_ms = w.period_start_ms"
            " WHERE w.kind = ? GROUP BY w.period_start_ms ORDER BY w.period_start_ms",
            (KIND,),
        )
        return [
            (int(start), int(revision), str(text))
            for start, revision, text, first, last in found
            if changed is None or self._reaches(int(first), int(last), changed)
        ]

    def _reaches(self, first_ms: int, last_ms: int, changed: tuple[int, ...]) -> bool:
        from_ms = first_ms - self._settings.policy.summary_period_s * SECOND_MS
        return any(from_ms < start_ms < last_ms + self._window_ms for start_ms in changed)

    def _last_day(self, closed_until_ms: int) -> tuple[int, int]:
        """Returns the newest local day of which every window is over: its start and its end."""
        zone = self._settings.zone
        today = date.fromisoformat(local_time(closed_until_ms - self._window_ms, zone).day)
        before, last = ((today - timedelta(days=n)).isoformat() for n in (2, 1))
        return local_day_end_ms(before, zone), local_day_end_ms(last, zone)

    def _outcomes(self, exposed: Sequence[Exposed]) -> tuple[UnitOutcome, ...]:
        if not exposed:
            return ()
        span = (
            min(each.at_ms for each in exposed),
            max(each.at_ms for each in exposed) + self._window_ms,
        )
        bought = (
            Bought(
                carrier=str(carrier),
                at_ms=int(at_ms),
                product=str(product),
                amount=Decimal(str(amount)),
            )
            for carrier, at_ms, product, amount in self._unit.query(_BOUGHT, span)
        )
        # What calls itself by what may be somebody's number does not leave, under any name.
        named = [each for each in exposed if may_name(each.campaign)]
        return outcomes_of(named, bought, window_ms=self._window_ms)

    def _summary(
        self, cells: tuple[RawCell, ...], start_ms: int, *, revision: int, n_waiting: int
    ) -> Summary:
        zone = self._settings.zone
        return uplift_summary_of(
            cells,
            n_waiting=n_waiting,
            store=self._settings.store,
            start_ms=start_ms,
            end_ms=local_day_end_ms(local_time(start_ms, zone).day, zone),
            zone=zone,
            revision=revision,
            k=self._settings.policy.k,
        )

    def _keep(
        self,
        summary: Summary,
        *,
        digests: dict[str, list[str]],
        earlier: list[dict[str, list[str]]],
        start_ms: int,
    ) -> None:
        content = content_of(summary)
        told = {"content": content, "digests": digests, "earlier": earlier}
        stored = json.dumps(told, sort_keys=True)
        self._unit.add("summary", (KIND, start_ms, summary.revision, stored))
        self._unit.add("trial", (start_ms, json.dumps(content["cells"], sort_keys=True)))


def _digests(cells: tuple[RawCell, ...], start_ms: int) -> dict[str, list[str]]:
    return digests_of(cells, salt=f"{KIND}.{start_ms}")


def _exposed(rows: Iterable[tuple[Any, ...]]) -> tuple[Exposed, ...]:
    return tuple(
        Exposed(
            campaign=str(campaign),
            unit=str(unit),
            is_person=is_person(UnitId(str(unit))),
            visitor=str(visitor),
            member=None if member is None else str(member),
            arm=str(arm),
            share=float(share),
            products=frozenset(json.loads(products)),
            at_ms=int(at_ms),
        )
        for campaign, unit, visitor, member, arm, share, products, at_ms in rows
    )
