"""Event time against the clock: what is impossible, what is late, what is over.

Source: the watermark of the dataflow model (Akidau et al., VLDB 2015): the newest event time less
the allowed lateness; it never moves back.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from edge_agent.domain.time import DAY_MS, SECOND_MS

if TYPE_CHECKING:
    from edge_agent.domain.policy import Policy

# No event of this system is older than the data it can be replayed from (2017-01-01T00:00:00Z).
EARLIEST_POSSIBLE_MS: Final = 1_483_228_800_000
# SQLite's integers are signed: 63 bits make a positive row id.
_MARK_BITS: Final = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Timing:
    """How an event stands in time.

    Attributes:
        at_ms: The event time that counts: its own, or the arrival's when its own is impossible.
        may_decide: Whether its moment is still there.
        may_correct: Whether state and summaries still take it.
        was_impossible: Whether its own time was replaced.
    """

    at_ms: int
    may_decide: bool
    may_correct: bool
    was_impossible: bool


def timing_of(event_ms: int | None, *, now_ms: int, watermark_ms: int, policy: Policy) -> Timing:
    """Returns how an event stands in time.

    Args:
        event_ms: The event's own time; None when it has none.
        now_ms: The agent's clock.
        watermark_ms: Newest event time so far less the allowed lateness.
        policy: Lateness limits.
    """
    if event_ms is None:
        return Timing(now_ms, may_decide=True, may_correct=True, was_impossible=False)
    future_ms = now_ms + policy.future_tolerance_s * SECOND_MS
    if not EARLIEST_POSSIBLE_MS <= event_ms <= future_ms:
        return Timing(now_ms, may_decide=True, may_correct=True, was_impossible=True)
    age_ms = now_ms - event_ms
    may_decide = event_ms >= watermark_ms and age_ms <= policy.decide_within_s * SECOND_MS
    may_correct = age_ms <= policy.correct_within_days * DAY_MS
    return Timing(event_ms, may_decide=may_decide, may_correct=may_correct, was_impossible=False)


def mark_of(source: str, event: str) -> int:
    """Returns the 63-bit mark that recognises an event again.

    At 20 events a second, kept for 8 days, the chance that a new event meets a foreign mark is
    1.5e-12. The mark also orders events of the same instant, by what they are and not by arrival.
    """
    digest = blake2b(f"{source}\x00{event}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") & _MARK_BITS
