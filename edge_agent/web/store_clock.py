"""The store's time as the pages need it: what is over, how long is left, how old is this.

In a store that is the machine's clock, and a content's end is put on the monotonic clock when it
arrives, so that a step of the wall clock can neither end it early nor keep it. In a replay it
is the last tick; `rate` says how many of its seconds pass in a real one.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

# A replay's speed is measured over its last ticks: enough to be smooth, few enough to follow.
TICKS_KEPT: Final = 32
# Below this the speed of a replay is not known yet.
RATE_SPAN_S: Final = 0.2


class StoreClock:
    """Wall and monotonic time of a store, or of its replay."""

    def __init__(
        self,
        *,
        wall: Callable[[], datetime],
        monotonic: Callable[[], float],
        is_replay: bool = False,
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self.is_replay = is_replay
        self._ticks: deque[tuple[float, datetime]] = deque(maxlen=TICKS_KEPT)

    def tick(self, now: datetime) -> None:
        """Takes a replay's time; one that lies before the last means that it began anew."""
        if self._ticks and now < self._ticks[-1][1]:
            self._ticks.clear()
        self._ticks.append((self._monotonic(), now))

    def now(self) -> datetime | None:
        """Returns the store's time; None in a replay that has not ticked yet."""
        if not self.is_replay:
            return self._wall()
        return self._ticks[-1][1] if self._ticks else None

    @property
    def rate(self) -> float:
        """How many seconds of the store pass in a real second; 1 outside replays."""
        if not self.is_replay or not self._ticks:
            return 1.0
        span_s = self._ticks[-1][0] - self._ticks[0][0]
        if span_s < RATE_SPAN_S:
            return 1.0
        return max(1e-3, (self._ticks[-1][1] - self._ticks[0][1]).total_seconds() / span_s)

    def end_of(self, *, issued: datetime, valid_until: datetime) -> float | None:
        """Returns when something that arrives now ends, on the monotonic clock; None in a replay.

        Never later than its whole life from now: a clock that lags cannot prolong it.
        """
        if self.is_replay:
            return None
        whole_s = (valid_until - issued).total_seconds()
        left_s = (valid_until - self._wall()).total_seconds()
        return self._monotonic() + min(whole_s, left_s)

    def left_s(self, valid_until: datetime, *, end: float | None) -> float:
        """Returns the real seconds left, 0 or less when it is over."""
        if end is not None:
            return end - self._monotonic()
        now = self.now()
        return 1.0 if now is None else (valid_until - now).total_seconds() / self.rate

    def age_s(self, at: datetime) -> float:
        """Returns the store's seconds since an instant, never below 0."""
        now = self.now()
        return 0.0 if now is None else max(0.0, (now - at).total_seconds())
