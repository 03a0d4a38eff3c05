"""Wall time that is never behind what was seen nor ahead of what can be believed; monotonic time.

Gateways often have no battery-backed clock: they start in 1970, or anywhere, and are put right by
NTP once there is a network. Between two looks time passes as the monotonic clock says. The wall
clock is followed where it agrees with that, where it leaps ahead by no more than may be, or where
it is known to be synchronised; it is never followed back.
"""

from __future__ import annotations

import ctypes
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edge_agent.domain.time import DAY_MS, SECOND_MS

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

_NANOSECONDS_PER_MS: Final = 1_000_000
# Two clocks within this are in step: NTP slews by less between two looks.
IN_STEP_MS: Final = 2 * SECOND_MS
# A leap ahead that needs nobody's word: setting the time by hand, waking up from a sleep.
BELIEVED_LEAP_MS: Final = DAY_MS
# So long may a gateway have been off, a season in a store room; a clock that is set so far ahead
# while we run is believed once it has gone on from there for a while.
BELIEVED_PAUSE_MS: Final = 180 * DAY_MS
BELIEVED_AFTER_S: Final = 60.0
# After a day in step a clock is as good as a synchronised one.
TRUSTED_AFTER_S: Final = 86_400.0
# While a synchronised clock is behind us we go at half speed until it has come up.
SLOWED: Final = 0.5
# Nothing ran before this (2017-01-01T00:00:00Z): a clock that says so was never set.
NEVER_SET_BEFORE_MS: Final = 1_483_228_800_000
# adjtimex(2): what the kernel calls a clock that nobody disciplines; larger than its struct timex.
_TIME_ERROR: Final = 5
_TIMEX_BYTES: Final = 512
# The unit may not ask the kernel (`ProtectClock=yes`); systemd-timesyncd leaves this behind.
_SYNCHRONISED: Final = Path("/run/systemd/timesync/synchronized")


def is_synchronised() -> bool:
    """Returns whether something, such as NTP, keeps the machine's clock right."""
    if _SYNCHRONISED.exists():
        return True
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    except (OSError, AttributeError):
        return False
    return bool(0 <= state < _TIME_ERROR)


def wall_ms() -> int:
    """Returns what the machine's clock says, in ms since the epoch."""
    return time.time_ns() // _NANOSECONDS_PER_MS


def monotonic_ns() -> int:
    """Returns nanoseconds that only ever grow, for what is measured (`ports.Stopwatch`)."""
    return time.monotonic_ns()


class SystemClock:
    """The gateway's clock, made out of a wall clock that may be wrong and one that only grows."""

    def __init__(
        self,
        *,
        floor_ms: int = 0,
        wall_ms: Callable[[], int] = wall_ms,
        monotonic_s: Callable[[], float] = time.monotonic,
        is_synchronised: Callable[[], bool] = is_synchronised,
    ) -> None:
        """Starts a clock.

        Args:
            floor_ms: The last instant that the database knows; 0 if it knows none.
            wall_ms: The machine's clock.
            monotonic_s: A clock that only grows.
            is_synchronised: Whether something keeps the machine's clock right.
        """
        self._wall_ms = wall_ms
        self._monotonic_s = monotonic_s
        self._is_synchronised = is_synchronised
        self._last_s = self._in_step_since_s = monotonic_s()
        self._is_in_step = True
        self._leapt_by_ms = 0.0
        self._leapt_at_s = self._last_s
        self._last_ms = float(self._first_ms(floor_ms))

    def now_ms(self) -> int:
        """Returns the present instant, in ms since the epoch; never an earlier one than before."""
        now_s = self._monotonic_s()
        passed_ms = (now_s - self._last_s) * SECOND_MS
        ahead_ms = self._wall_ms() - self._last_ms - passed_ms
        is_in_step = True
        if -IN_STEP_MS <= ahead_ms <= BELIEVED_LEAP_MS:
            passed_ms = max(0.0, passed_ms + ahead_ms)
        elif self._is_synchronised() or self._has_held(ahead_ms, now_s):
            passed_ms = passed_ms + ahead_ms if ahead_ms > 0 else passed_ms * SLOWED
        else:
            is_in_step = False
        self._note(is_in_step, now_s)
        self._last_s = now_s
        self._last_ms += passed_ms
        return int(self._last_ms)

    @property
    def is_in_step(self) -> bool:
        """Whether the machine's clock can be believed."""
        return self._is_in_step

    @property
    def is_trusted(self) -> bool:
        """Whether what is old by this clock may be deleted."""
        if self._is_synchronised():
            return True
        steady_s = self._monotonic_s() - self._in_step_since_s
        return self._is_in_step and steady_s >= TRUSTED_AFTER_S

    def monotonic_s(self) -> float:
        """Returns seconds that only ever grow."""
        return self._monotonic_s()

    def _first_ms(self, floor_ms: int) -> int:
        said_ms = self._wall_ms()
        if floor_ms == 0:
            return said_ms if said_ms >= NEVER_SET_BEFORE_MS else _installed_ms()
        gap_ms = said_ms - floor_ms
        if 0 <= gap_ms <= BELIEVED_LEAP_MS:
            # It goes on where it was: nothing happened to it meanwhile.
            self._in_step_since_s -= TRUSTED_AFTER_S
        if gap_ms >= 0 and (gap_ms <= BELIEVED_PAUSE_MS or self._is_synchronised()):
            return said_ms
        return floor_ms

    def _has_held(self, ahead_ms: float, now_s: float) -> bool:
        """Returns whether a clock that was set far ahead has gone on steadily from there."""
        if not 0 < ahead_ms <= BELIEVED_PAUSE_MS:
            return False
        if abs(ahead_ms - self._leapt_by_ms) > IN_STEP_MS:
            self._leapt_by_ms, self._leapt_at_s = ahead_ms, now_s
        return now_s - self._leapt_at_s >= BELIEVED_AFTER_S

    def _note(self, is_in_step: bool, now_s: float) -> None:  # noqa: FBT001 - one value of a look
        if not is_in_step:
            self._in_step_since_s = now_s
        if is_in_step != self._is_in_step:
            self._is_in_step = is_in_step
            log.warning("clock_in_step" if is_in_step else "clock_not_believed")


def _installed_ms() -> int:
    return int(Path(__file__).stat().st_mtime * SECOND_MS)


class ReplayClock:
    """A clock that a replay's ticks set; it stands still between them."""

    is_in_step: Final = True
    is_trusted: Final = True

    def __init__(self, *, floor_ms: int = 0) -> None:
        self._now_ms = floor_ms

    def tick(self, now_ms: int) -> None:
        """Moves the clock on; it never moves back."""
        self._now_ms = max(self._now_ms, now_ms)

    def now_ms(self) -> int:
        """Returns the last tick."""
        return self._now_ms

    def monotonic_s(self) -> float:
        """Returns seconds that only ever grow."""
        return time.monotonic()
