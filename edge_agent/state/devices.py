"""How a device is, from when it was heard: its rate, its clock, whether it fell silent.

Nobody tells us opening hours, so silence is judged in two ways. A device that speaks regularly is
silent when it keeps quiet for three times its longest pause of late. One that speaks only of
people is measured in *busy* time, which passes while others report people: at night it stands
still, and no door counter is missed. Who sleeps at night has four days when no others are heard: a
store is closed for holidays. A configured `silent_after_s` stands above all of this.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from edge_agent.domain.time import HOUR_MS, MINUTE_MS, SECOND_MS
from edge_agent.state.tolerances import DEFAULT, Limits

# Pauses that must be known before a silence can be one.
PAUSES_NEEDED: Final = 20
# A pause of `2 ** n` seconds falls into bucket n: up to 12 days.
BUCKETS: Final = 21
# The share of pauses that are usual.
_USUAL_SHARE: Final = 0.995
_TIMES: Final = 3
_SHORTEST_SILENCE_MS: Final = 2 * MINUTE_MS
# No pause counts as longer: an outage must not teach patience.
LONGEST_PAUSE_MS: Final = 26 * HOUR_MS
# Who has once been quiet for so long sleeps when the store does, and that may be for days.
_SLEEPS_FROM_MS: Final = 4 * HOUR_MS
CLOSED_AT_MOST_MS: Final = 96 * HOUR_MS
# Once so many pauses are known, the older ones count half.
PAUSES_KEPT: Final = 512
RATE_HALF_LIFE_MS: Final = HOUR_MS
LONGEST_HALF_LIFE_MS: Final = 168 * HOUR_MS
_LN_2: Final = 0.693147


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRecord:
    """What is known of one device.

    Attributes:
        source: Its name, as its events carry it.
        first_at_ms: When it was first heard.
        last_at_ms: When it was last heard.
        quiet_since_ms: When its present silence began: then, or when the agent started to listen.
        busy_at_ms: Busy time at its last word.
        level: Its events, those of an hour ago counting half.
        longest_ms: Its longest pause of late.
        pauses: Its pauses in busy time, by their length.
        lead_ms: How far its clock was ahead of ours in the hour before; None when it sends none.
    """

    source: str
    first_at_ms: int
    last_at_ms: int
    quiet_since_ms: int
    busy_at_ms: int
    level: float
    longest_ms: float
    pauses: tuple[int, ...]
    lead_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How one device is now.

    Attributes:
        per_hour: Events an hour, of late.
        skew_s: How far its clock is ahead (negative: behind), seconds; None when it sends none.
        clock_share: How much of what its clock may be off it is; above 1 the clock is wrong.
        is_silent: Whether it keeps quiet for longer than it uses to.
        inside: Entries less exits of the last whole day; None when it does not count both.
        entries: Entries of that day.
        is_drifting: Whether too many came in who never left, or the other way round.
    """

    source: str
    last_at_ms: int
    per_hour: float
    skew_s: float | None
    is_silent: bool
    inside: int | None = None
    entries: int = 0
    is_drifting: bool = False
    clock_share: float = 0.0


def standing_of(
    record: DeviceRecord, *, now_ms: int, busy_ms: int, limits: Limits = DEFAULT
) -> Standing:
    """Returns how a device is at an instant.

    Args:
        record: What is known of it.
        now_ms: The present.
        busy_ms: Busy time.
        limits: What is still well of it.
    """
    age_ms = max(0, now_ms - record.last_at_ms)
    level = record.level * decay(age_ms, RATE_HALF_LIFE_MS)
    skew_s = None if record.lead_ms is None else round(record.lead_ms / SECOND_MS, 1)
    silent_after_s = limits.silent_after_s
    return Standing(
        source=record.source,
        last_at_ms=record.last_at_ms,
        per_hour=round(level * _LN_2, 1),
        skew_s=skew_s,
        clock_share=0.0 if skew_s is None else round(limits.clock_share(skew_s), 3),
        is_silent=(
            is_silent(record, now_ms=now_ms, busy_ms=busy_ms)
            if silent_after_s is None
            else 0 < silent_after_s * SECOND_MS < now_ms - record.quiet_since_ms
        ),
    )


def is_silent(record: DeviceRecord, *, now_ms: int, busy_ms: int) -> bool:
    """Returns whether a device keeps quiet for longer than it uses to."""
    quiet_ms = now_ms - record.quiet_since_ms
    if sum(record.pauses) < PAUSES_NEEDED:
        return quiet_ms > CLOSED_AT_MOST_MS
    usual_ms = usual_pause_ms(record.pauses)
    busy_quiet_ms = min(quiet_ms, busy_ms - record.busy_at_ms)
    if busy_quiet_ms > max(_TIMES * usual_ms, _SHORTEST_SILENCE_MS):
        return True
    # Who was heard through a night has shown whether it sleeps.
    knows_night = record.last_at_ms - record.first_at_ms > LONGEST_PAUSE_MS
    longest_ms = record.longest_ms if knows_night else LONGEST_PAUSE_MS
    least_ms = CLOSED_AT_MOST_MS if longest_ms >= _SLEEPS_FROM_MS else _SHORTEST_SILENCE_MS
    return quiet_ms > max(_TIMES * longest_ms, least_ms)


def usual_pause_ms(pauses: tuple[int, ...]) -> int:
    """Returns the pause that a device hardly ever exceeds.

    Example:
        >>> usual_pause_ms((0, 0, 0, 996, 0, 0, 4))
        8000
    """
    wanted = sum(pauses) * _USUAL_SHARE
    seen = 0
    for bucket, n in enumerate(pauses):
        seen += n
        if seen >= wanted:
            return SECOND_MS << bucket
    return SECOND_MS << len(pauses)


def bucket_of(pause_ms: int) -> int:
    """Returns the bucket of a pause.

    Example:
        >>> bucket_of(900), bucket_of(1_500), bucket_of(60_000)
        (0, 1, 6)
    """
    return min(BUCKETS - 1, (pause_ms // SECOND_MS).bit_length())


def decay(age_ms: int, half_life_ms: int) -> float:
    """Returns what is left of one after a time."""
    return float(2.0 ** (-age_ms / half_life_ms))
