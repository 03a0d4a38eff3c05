"""Counters that drift: by closing, all who came in must have left.

A store's counters are judged together first: with two doors, people come in by one and leave by
the other, and neither is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from edge_agent.domain.time import local_time, ms_from_datetime
from edge_agent.state.tolerances import DEFAULT, Limits

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import tzinfo

    from edge_agent.state.devices import Standing

# A store's day ends at four in the morning: some are open past midnight, none then.
CLOSED_AT_HOUR: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class DayCount:
    """Entries and exits that one source counted in a day."""

    source: str
    entries: int
    exits: int

    @property
    def counts_both(self) -> bool:
        """Whether it tells coming from going; else nothing can balance."""
        return self.entries > 0 and self.exits > 0

    @property
    def inside(self) -> int:
        """Who came in and was not seen to leave."""
        return self.entries - self.exits


def last_day_ms(now_ms: int, zone: tzinfo) -> tuple[int, int]:
    """Returns when the last whole day of the store began and ended."""
    local = local_time(now_ms, zone)
    today = date.fromisoformat(local.day) - timedelta(days=local.hour < CLOSED_AT_HOUR)
    begin, end = (today - timedelta(days=n) for n in (1, 0))
    return _closing_ms(begin, zone), _closing_ms(end, zone)


def _closing_ms(day: date, zone: tzinfo) -> int:
    closing = datetime(day.year, day.month, day.day, CLOSED_AT_HOUR, tzinfo=zone)
    return ms_from_datetime(closing.astimezone(UTC))


def with_drift(
    standings: Iterable[Standing],
    counts: Iterable[DayCount],
    *,
    store: Limits = DEFAULT,
    own: Mapping[str, Limits] = MappingProxyType({}),
) -> list[Standing]:
    """Returns the devices with what they counted on the last whole day.

    Args:
        standings: The devices.
        counts: What they counted.
        store: What is still well of all counters together.
        own: ... of a device, where that is another.
    """
    both = {each.source: each for each in counts if each.counts_both}
    entries = sum(each.entries for each in both.values())
    exits = sum(each.exits for each in both.values())
    store_drifts = store.is_off(entries - exits, max(entries, exits))
    found = []
    for standing in standings:
        count = both.get(standing.source)
        if count is None:
            found.append(standing)
            continue
        limits = own.get(standing.source, store)
        is_off = limits.is_off(count.inside, max(count.entries, count.exits))
        found.append(
            replace(
                standing,
                inside=count.inside,
                entries=count.entries,
                is_drifting=store_drifts and is_off,
            )
        )
    return found
