"""Wall time with a floor, monotonic time, and the clock of a replay."""

from __future__ import annotations

import time
from typing import Final

_NANOSECONDS_PER_MS: Final = 1_000_000


class SystemClock:
    """The gateway's clock; it never goes behind the last instant that was seen.

    Gateways often have no battery-backed clock and start in 1970: `floor_ms` is the last instant
    that the database knows.
    """

    def __init__(self, *, floor_ms: int = 0) -> None:
        self._floor_ms = floor_ms

    def now_ms(self) -> int:
        """Returns the present instant, in ms since the epoch."""
        self._floor_ms = max(self._floor_ms, time.time_ns() // _NANOSECONDS_PER_MS)
        return self._floor_ms

    def monotonic_s(self) -> float:
        """Returns seconds that only ever grow."""
        return time.monotonic()


class ReplayClock:
    """A clock that a replay's ticks set; it stands still between them."""

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
