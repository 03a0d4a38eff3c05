"""What was counted since the start, and log lines that a flood cannot multiply."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from edge_agent.ports import Clock

log = logging.getLogger(__name__)

# The same complaint again only after so long, with the number of times in between.
REPEAT_S: Final = 60.0


class Tally:
    """Counts by part (`hook square`, `folder poslog`) and kind; safe to use from any thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._counts: dict[str, Counter[str]] = {}
        self._told: dict[tuple[str, str], tuple[float, int]] = {}

    def add(self, part: str, kind: str) -> None:
        """Counts one."""
        with self._lock:
            self._counts.setdefault(part, Counter())[kind] += 1

    def of(self, part: str) -> dict[str, int]:
        """Returns what was counted of one part."""
        with self._lock:
            return dict(sorted(self._counts.get(part, Counter()).items()))

    def complain(self, event: str, part: str, reason: str, **fields: object) -> None:
        """Counts a trouble, and logs it unless the same was logged a moment ago."""
        self.add(part, reason)
        now_s = self._clock.monotonic_s()
        with self._lock:
            last_s, n_silent = self._told.get((part, reason), (-REPEAT_S, 0))
            if now_s - last_s < REPEAT_S:
                self._told[part, reason] = (last_s, n_silent + 1)
                return
            self._told[part, reason] = (now_s, 0)
        told = {"part": part, "reason": reason, **fields}
        if n_silent:
            told["silent_since"] = n_silent
        log.warning(event, extra={"fields": told})
