"""Which devices were heard and when: counted on the road, saved now and then with its batches."""

from __future__ import annotations

import json
from contextlib import suppress
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, Protocol

from edge_agent.domain.time import HOUR_MS, MINUTE_MS, SECOND_MS, datetime_from_ms
from edge_agent.state.devices import (
    BUCKETS,
    LONGEST_HALF_LIFE_MS,
    LONGEST_PAUSE_MS,
    PAUSES_KEPT,
    RATE_HALF_LIFE_MS,
    DeviceRecord,
    Standing,
    bucket_of,
    decay,
    standing_of,
)
from edge_agent.state.drift import DayCount, last_day_ms, with_drift
from edge_agent.state.tolerances import Tolerances
from edge_agent.sync.egress import may_name
from edge_agent.wire.summaries import DeviceState

if TYPE_CHECKING:
    from datetime import tzinfo

    from edge_agent.wire.events import Event

# More are not told apart: whoever was heard longest ago makes room.
DEVICES_MAX: Final = 1_000
SAVED_EVERY_MS: Final = MINUTE_MS
BUSY_KEY: Final = "devices.busy_ms"
# Busy time passes for so long after people were reported.
_BUSY_FOR_MS: Final = MINUTE_MS
_READ: Final = "SELECT source, last_at_ms, record FROM device"
_BUSY: Final = "SELECT value FROM meta WHERE key = ?"
_COUNTS: Final = (
    "SELECT source, sum(entries), sum(exits) FROM people_count"
    " WHERE period_start_ms >= ? AND period_start_ms < ? GROUP BY source"
)
_LABEL_BYTES: Final = 4
_LEVELS: Final = frozenset({"zone.occupancy", "queue.measured"})

Row = tuple[str, int, str]


class Batch(Protocol):
    """What of a unit of work is needed; a reader of the database has the first alone."""

    def query(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Returns rows of the state as it was before this batch."""
        ...

    def add(self, table: str, row: tuple[Any, ...]) -> None:
        """Queues a row."""
        ...


class Device:
    """One device, changed by every word of it."""

    __slots__ = (
        "busy_at_ms",
        "first_at_ms",
        "hour_ms",
        "is_changed",
        "last_at_ms",
        "lead_ms",
        "level",
        "longest_ms",
        "mapping",
        "pauses",
        "quiet_since_ms",
        "top_lead_ms",
    )

    def __init__(self, now_ms: int, busy_ms: int) -> None:
        self.first_at_ms = self.last_at_ms = self.quiet_since_ms = self.hour_ms = now_ms
        self.busy_at_ms = busy_ms
        self.level = 0.0
        self.longest_ms = 0.0
        self.pauses = [0] * BUCKETS
        self.lead_ms: int | None = None
        self.top_lead_ms: int | None = None
        self.mapping = ""
        self.is_changed = True

    def spoke(self, now_ms: int, busy_ms: int) -> None:
        """Takes in a word after a pause of a second or more."""
        age_ms = now_ms - self.last_at_ms
        self.level *= decay(age_ms, RATE_HALF_LIFE_MS)
        pause_ms = min(now_ms - self.quiet_since_ms, LONGEST_PAUSE_MS)
        kept = self.longest_ms * decay(age_ms, LONGEST_HALF_LIFE_MS)
        self.longest_ms = max(float(pause_ms), kept)
        self.pauses[bucket_of(max(0, busy_ms - self.busy_at_ms))] += 1
        if sum(self.pauses) > PAUSES_KEPT:
            self.pauses = [n // 2 for n in self.pauses]
        if now_ms - self.hour_ms >= HOUR_MS:
            self.lead_ms, self.top_lead_ms, self.hour_ms = self.top_lead_ms, None, now_ms
        self.last_at_ms = self.quiet_since_ms = now_ms
        self.busy_at_ms = busy_ms

    def record(self, source: str) -> DeviceRecord:
        """Returns what is known of it."""
        return DeviceRecord(
            source=source,
            first_at_ms=self.first_at_ms,
            last_at_ms=self.last_at_ms,
            quiet_since_ms=self.quiet_since_ms,
            busy_at_ms=self.busy_at_ms,
            level=self.level,
            longest_ms=self.longest_ms,
            pauses=tuple(self.pauses),
            lead_ms=self.lead_ms if self.lead_ms is not None else self.top_lead_ms,
        )

    def saved(self) -> str:
        """Returns what is written of it."""
        skew = [self.hour_ms, self.top_lead_ms, self.lead_ms]
        times = [self.first_at_ms, self.busy_at_ms]
        shape = [round(self.level, 3), round(self.longest_ms), self.pauses]
        known = [times, *shape, skew, self.mapping]
        return json.dumps(known, separators=(",", ":"))

    def restore(self, last_at_ms: int, text: str) -> None:
        """Takes over what was written; its silence is counted from now on alone."""
        self.last_at_ms = last_at_ms
        # What older versions wrote ends before the mapping.
        times, self.level, self.longest_ms, self.pauses, skew, *mapping = json.loads(text)
        self.mapping = mapping[0] if mapping else ""
        self.first_at_ms, self.busy_at_ms = times
        self.hour_ms, self.top_lead_ms, self.lead_ms = skew
        self.is_changed = False


class Devices:
    """All devices that were heard, at most so many."""

    def __init__(
        self, unit: Batch, zone: tzinfo, *, now_ms: int, tolerances: Tolerances | None = None
    ) -> None:
        self.tolerances = tolerances or Tolerances()
        self._unit = unit
        self._zone = zone
        self._devices: dict[str, Device] = {}
        self._saved_at_ms = now_ms
        found = unit.query(_BUSY, (BUSY_KEY,))
        self._busy_ms = int(found[0][0]) if found else 0
        self._people_at_ms = now_ms
        for source, last_at_ms, text in unit.query(_READ):
            device = Device(now_ms, self._busy_ms)
            # What rot made of a record ends no start: its device is got to know anew.
            with suppress(ValueError, TypeError):
                device.restore(int(last_at_ms), str(text))
                self._devices[str(source)] = device

    def heard(
        self,
        source: str,
        *,
        own_ms: int | None,
        now_ms: int,
        is_of_people: bool = False,
        mapping: str = "",
    ) -> None:
        """Takes in that a device told something.

        Args:
            source: The device.
            own_ms: The event's own time; None when it has none.
            now_ms: The present.
            is_of_people: Whether somebody did what it told, so that the store is busy.
            mapping: The mapping that read it; empty when it spoke for itself.
        """
        if is_of_people:
            self._busy_ms += max(0, min(now_ms - self._people_at_ms, _BUSY_FOR_MS))
            self._people_at_ms = now_ms
        device = self._devices.get(source)
        if device is None:
            device = self._new(source, now_ms)
        elif now_ms - device.last_at_ms >= SECOND_MS:
            device.spoke(now_ms, self._busy_ms)
        device.mapping = mapping
        device.level += 1.0
        device.is_changed = True
        if own_ms is not None and own_ms != now_ms:
            lead_ms = own_ms - now_ms
            if device.top_lead_ms is None or lead_ms > device.top_lead_ms:
                device.top_lead_ms = lead_ms

    def save(self, now_ms: int) -> None:
        """Writes with the batch what changed, once a minute."""
        if now_ms - self._saved_at_ms < SAVED_EVERY_MS:
            return
        self._saved_at_ms = now_ms
        for row in self.unsaved():
            self._unit.add("device", row)
        self._unit.add("meta", (BUSY_KEY, str(self._busy_ms)))

    def unsaved(self) -> list[Row]:
        """Returns the rows of devices that were heard since they were saved."""
        changed = [(name, each) for name, each in self._devices.items() if each.is_changed]
        for _, device in changed:
            device.is_changed = False
        return [(name, each.last_at_ms, each.saved()) for name, each in changed]

    def standings(self, now_ms: int) -> list[Standing]:
        """Returns how every device is, those with trouble first."""
        counts = [
            DayCount(source=str(source), entries=int(entries), exits=int(exits))
            for source, entries, exits in self._unit.query(
                _COUNTS, last_day_ms(now_ms, self._zone)
            )
        ]
        limits = {
            name: self.tolerances.of(name, each.mapping) for name, each in self._devices.items()
        }
        found = [
            standing_of(
                each.record(name), now_ms=now_ms, busy_ms=self._busy_ms, limits=limits[name]
            )
            for name, each in self._devices.items()
        ]
        store = self.tolerances.everywhere
        return sorted(with_drift(found, counts, store=store, own=limits), key=_order)

    def excuse(self, ms: int) -> None:
        """Takes out of every silence that the clock was set, by so much."""
        for device in self._devices.values():
            device.quiet_since_ms += ms

    def _new(self, source: str, now_ms: int) -> Device:
        if len(self._devices) >= DEVICES_MAX:
            oldest = min(self._devices, key=lambda each: self._devices[each].last_at_ms)
            del self._devices[oldest]
        device = self._devices[source] = Device(now_ms, self._busy_ms)
        return device


def is_of_people(event: Event) -> bool:
    """Returns whether somebody did what an event tells; levels and zeros are sent all night."""
    if event.type == "people.counted":
        return event.data.entries > 0 or event.data.exits > 0
    return event.type not in _LEVELS


def told_of(standing: Standing, *, k: int, key: bytes) -> DeviceState:
    """Returns how HQ is told of a device: to the minute, and no count of fewer than k.

    Args:
        standing: How it is.
        k: Smallest count that leaves the store.
        key: Names by a keyed hash whatever calls itself by what may be somebody's identifier.
    """
    is_told = standing.inside is not None and standing.entries >= k
    minute_ms = standing.last_at_ms - standing.last_at_ms % MINUTE_MS
    return DeviceState(
        device=_told_name(standing.source, key),
        last_seen=datetime_from_ms(minute_ms),
        per_hour=standing.per_hour,
        skew_s=standing.skew_s,
        is_silent=standing.is_silent,
        inside_at_closing=standing.inside if is_told else None,
        is_drifting=standing.is_drifting and is_told,
    )


def _told_name(source: str, key: bytes) -> str:
    if may_name(source):
        return source
    return f"device {blake2b(source.encode(), key=key, digest_size=_LABEL_BYTES).hexdigest()}"


def _order(standing: Standing) -> tuple[Any, ...]:
    return (not standing.is_silent, not standing.is_drifting, standing.source)
