"""The look at the devices now and then: what began and what ended is told once."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from edge_agent.domain.time import SECOND_MS
from edge_agent.state.alarms import KINDS, Alarm, Kind, alarms_of, problems_of
from edge_agent.wire.base import NAME_MAX

if TYPE_CHECKING:
    from edge_agent.runner.devices import Devices

log = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 10.0
# The clock was set when it went on by so much more than time passed: nobody was silent meanwhile.
_CLOCK_SET_MS: Final = 30 * SECOND_MS
# Devices that one line of the log names.
_LOGGED_MAX: Final = 20


class DeviceWatch:
    """Looks at the devices; only the core thread calls it."""

    def __init__(self, devices: Devices, *, k: int, now_s: float) -> None:
        self._devices = devices
        self._k = k
        self._next_s = now_s
        self._seen: tuple[int, float] | None = None
        self._alarms: frozenset[Alarm] = frozenset()
        self.problems: tuple[str, ...] = ()

    def look(self, now_ms: int, now_s: float) -> bool:
        """Looks when it is time to; returns whether something began or ended.

        Args:
            now_ms: The present.
            now_s: The monotonic clock.
        """
        if now_s < self._next_s:
            return False
        self._next_s = now_s + LOOK_EVERY_S
        self._follow(now_ms, now_s)
        standings = self._devices.standings(now_ms)
        found = alarms_of(standings, before=self._alarms, k=self._k)
        began, ended = found - self._alarms, self._alarms - found
        self._alarms = found
        told = problems_of(found, n_devices=len(standings))
        self.problems = tuple(each[:NAME_MAX] for each in told)
        for kind in KINDS:
            if names := _names(began, kind):
                log.warning("device_alarm", extra={"fields": _told(kind, names)})
            if names := _names(ended, kind):
                log.info("device_alarm_over", extra={"fields": _told(kind, names)})
        return bool(began or ended)

    def _follow(self, now_ms: int, now_s: float) -> None:
        if self._seen is not None:
            passed_ms = round((now_s - self._seen[1]) * SECOND_MS)
            leapt_ms = now_ms - self._seen[0] - passed_ms
            if abs(leapt_ms) > _CLOCK_SET_MS:
                self._devices.excuse(leapt_ms)
        self._seen = (now_ms, now_s)


def _names(alarms: frozenset[Alarm], kind: Kind) -> list[str]:
    return sorted(each.source for each in alarms if each.kind == kind)


def _told(kind: Kind, names: list[str]) -> dict[str, object]:
    return {"kind": kind, "devices": names[:_LOGGED_MAX], "n_devices": len(names)}
