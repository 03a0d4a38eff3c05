"""How long HQ keeps what stores sent, and when it deletes what is over.

What came again as a newer revision counts from then: a customer's day that is still corrected, or
a summary that is revised, is renewed by it. HQ goes by its own clock, as its commands do.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, Protocol

from edge_agent.errors import StoreError
from edge_agent.hq.clock import utc_now
from edge_agent.shell.clock import SystemClock

log = logging.getLogger(__name__)

KEEP_DAYS: Final = 400
"""As long as a store keeps those whom it knows and has not seen again (`visitors_days`)."""
KEEP_DAYS_MIN: Final = 8
"""So long a store may repeat what it sent; what came after it must still be there then."""
KEEP_DAYS_MAX: Final = 3_650
"""Ten years; more is a slip of the finger."""
LOOKS_EVERY_S: Final = 86_400.0
# A database that was away is asked again before the day is over.
RETRY_S: Final = 3_600.0


class OldRows(Protocol):
    """What is asked of HQ's store."""

    def delete_old(self, *, now: datetime, kept_for: timedelta) -> dict[str, int]:
        """Deletes what is over and returns how many rows of each table went."""
        ...


class Retention:
    """Deletes what is over: at the first look, then once a day.

    Args:
        store: HQ's.
        keep_days: How long rows are kept since they came or were renewed, days.
        now: HQ's clock.
        monotonic_s: A clock that only grows, for the days in between.
    """

    def __init__(
        self,
        store: OldRows,
        *,
        keep_days: int = KEEP_DAYS,
        now: Callable[[], datetime] = utc_now,
        monotonic_s: Callable[[], float] | None = None,
    ) -> None:
        self._store = store
        self._kept_for = timedelta(days=keep_days)
        self._now = now
        self._monotonic_s = monotonic_s or SystemClock().monotonic_s
        self._next_s = self._monotonic_s()

    def look(self) -> None:
        """Deletes what is over if it is time for that; else it costs next to nothing."""
        now_s = self._monotonic_s()
        if now_s < self._next_s:
            return
        try:
            gone = self._store.delete_old(now=self._now(), kept_for=self._kept_for)
        except StoreError as error:
            self._next_s = now_s + RETRY_S
            log.warning("hq_retention_failed", extra={"fields": {"reason": str(error)}})
            return
        self._next_s = now_s + LOOKS_EVERY_S
        if any(gone.values()):
            log.info("hq_rows_deleted", extra={"fields": {k: n for k, n in gone.items() if n}})
