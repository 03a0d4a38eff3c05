"""When HQ was last heard: by the newest signed word of it that was taken in.

A connection says nothing of HQ: a broker may stand between that keeps back what HQ said. Nor does
an old word that somebody repeats, because what counts is when HQ signed it. To the minute, so
that it is seldom a row to write; the days that rest on it are the same in a replay at any speed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_agent.decide.eligibility import is_unheard
from edge_agent.domain.time import DAY_MS, MINUTE_MS

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.domain.policy import Policy
    from edge_agent.ports import UnitOfWork

META_KEY: Final = "hq_heard_ms"


class HqHeard:
    """The instant, as of the open batch; it is on the disk once that is committed.

    Args:
        unit: Where it is written.
        saved_ms: As it was saved last; None for a store that begins with HQ, which is heard as
            of its first present.
        keep: Writes it down once more where the loss of the database does not reach.
    """

    def __init__(
        self, unit: UnitOfWork, saved_ms: int | None, *, keep: Callable[[int], None]
    ) -> None:
        self._unit = unit
        self._keep = keep
        self._committed_ms = saved_ms
        self.at_ms = saved_ms

    def begin_batch(self, now_ms: int) -> None:
        """Takes back what the batch before has not committed."""
        self.at_ms = self._committed_ms
        if self.at_ms is None and now_ms:
            self._put(now_ms)

    def note_committed(self) -> None:
        """Notes that it is on the disk."""
        self._committed_ms = self.at_ms
        if self.at_ms is not None:
            self._keep(self.at_ms)

    def hear(self, issued_at_ms: int, *, now_ms: int) -> bool:
        """Takes in when HQ signed a word of its own; returns whether that is newer.

        Of an HQ whose clock is ahead it is the present that counts.
        """
        heard_ms = min(issued_at_ms, now_ms)
        if self.at_ms is not None and heard_ms < self.at_ms + MINUTE_MS:
            return False
        self._put(heard_ms)
        return True

    def is_over(self, now_ms: int, policy: Policy) -> bool:
        """Returns whether it is so long ago that what is known of people may be out of date."""
        return self.at_ms is not None and is_unheard((now_ms - self.at_ms) // DAY_MS, policy)

    def _put(self, at_ms: int) -> None:
        self.at_ms = at_ms - at_ms % MINUTE_MS
        self._unit.add("meta", (META_KEY, str(self.at_ms)))
