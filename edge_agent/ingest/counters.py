"""What a mapping remembers between messages: totals, levels, pairs, sets and places.

Each function takes what was remembered and what came, and returns what to remember and what is
new. What is remembered is a short tuple of JSON values that names nobody: keys are hashed by the
caller. A message older than the newest one changes nothing.
"""

from __future__ import annotations

from typing import Any, Final, Literal, NamedTuple

from edge_agent.domain.time import DAY_MS, SECOND_MS
from edge_agent.ingest.conversions import NotConvertible
from edge_agent.ingest.instants import seconds_since_1970
from edge_agent.wire.mapping import Presence
from edge_agent.wire.mapping_state import Change, Delta

Json = str | int | float | bool | None
Memory = tuple[Json, ...]

# A counter that was silent for longer starts with a new baseline.
COUNTER_KEPT_MS: Final = 400 * DAY_MS
LEVEL_KEPT_MS: Final = 30 * DAY_MS
SET_KEPT_MS: Final = DAY_MS
# A total near the end of its range that is followed by a small one has wrapped around.
_WRAP_FROM: Final = 0.9
_WRAP_TO: Final = 0.1

News = Literal[
    "new",
    "absent",
    "baseline",
    "unchanged",
    "late",
    "jump",
    "not paired",
    "not settled",
    "duplicate",
]


# Tuples, since several are made for every value that is compared.
class Entry(NamedTuple):
    """What is remembered under one key, and until when."""

    value: Memory
    until_ms: int


class Finding(NamedTuple):
    """What came of a value: the entry to keep (None: as it was), the result, and its news."""

    entry: Entry | None
    result: Any
    news: News


# There was no value to compare.
ABSENT: Final = Finding(entry=None, result=None, news="absent")


def delta(  # noqa: PLR0911 - one line for each fate of a counter
    old: Entry | None, total: int, marker: Json, at_ms: int, spec: Delta
) -> Finding:
    """Returns what was added to a running total since the message before."""
    old = _of_size(old, 3)
    new = Entry(value=(total, at_ms, marker), until_ms=at_ms + COUNTER_KEPT_MS)
    if old is None:
        if spec.first == "count":
            return _step(new, total, spec)
        return Finding(entry=new, result=None, news="baseline")
    before, before_ms, before_marker = old.value
    if not isinstance(before, int) or not isinstance(before_ms, int):
        return Finding(entry=new, result=None, news="baseline")
    if at_ms < before_ms:
        return Finding(entry=None, result=0, news="late")
    if marker != before_marker and not _same_instant(marker, before_marker):
        return _step(new, total, spec)
    if total >= before:
        return _step(new, total - before, spec)
    if spec.wrap and before > spec.wrap * _WRAP_FROM and total < spec.wrap * _WRAP_TO:
        return _step(new, total + spec.wrap - before, spec)
    return _step(new, total, spec)


def _same_instant(one: Json, other: Json) -> bool:
    # A firmware that writes its start time in another way has not begun anew.
    try:
        return seconds_since_1970(one) == seconds_since_1970(other)
    except NotConvertible:
        return False


def _step(new: Entry, step: int, spec: Delta) -> Finding:
    if not 0 <= step <= spec.max_step:
        return Finding(entry=new, result=None, news="jump")
    return Finding(entry=new, result=step, news="new" if step else "unchanged")


def change(old: Entry | None, level: Json, at_ms: int, spec: Change) -> Finding:
    """Returns a level, and whether it changed since the message before."""
    old = _of_size(old, 2)
    new = Entry(value=(level, at_ms), until_ms=at_ms + LEVEL_KEPT_MS)
    before: Json = spec.initial
    if old is not None and isinstance(old.value[1], int):
        if at_ms < old.value[1]:
            return Finding(entry=None, result=level, news="late")
        if spec.rearm_s is not None and at_ms - old.value[1] > spec.rearm_s * SECOND_MS:
            # Nobody was told that the level lapsed, so whatever it is now is news.
            is_news = _is_wanted(level, spec)
            return Finding(entry=new, result=level, news="new" if is_news else "unchanged")
        before = old.value[0]
    elif spec.initial is None:
        is_news = spec.first == "emit" and _is_wanted(level, spec)
        return Finding(entry=new, result=level, news="new" if is_news else "baseline")
    if not _differs(before, level, spec.band):
        # The level that was told stays the one to compare with; only its time moves on.
        kept = Entry(value=(before, at_ms), until_ms=new.until_ms)
        return Finding(entry=kept, result=level, news="unchanged")
    return Finding(entry=new, result=level, news="new" if _is_wanted(level, spec) else "unchanged")


def _is_wanted(level: Json, spec: Change) -> bool:
    return spec.only is None or any(
        level == each and type(level) is type(each) for each in spec.only
    )


def _differs(before: Json, level: Json, band: float | None) -> bool:
    if band is not None and isinstance(before, (int, float)) and isinstance(level, (int, float)):
        return abs(level - before) >= band
    return before != level or isinstance(before, bool) != isinstance(level, bool)


def since(old: Entry | None, *, begins: bool, ends: bool, at_ms: int, max_s: float) -> Finding:
    """Returns the seconds between a begin and its end."""
    old = _of_size(old, 1)
    if begins:
        new = Entry(value=(at_ms,), until_ms=at_ms + round(max_s * SECOND_MS))
        return Finding(entry=new, result=None, news="not paired")
    if not ends or old is None or not isinstance(old.value[0], int):
        return Finding(entry=None, result=None, news="not paired")
    seconds = (at_ms - old.value[0]) / SECOND_MS
    over = Entry(value=(None,), until_ms=at_ms)
    if not 0 <= seconds <= max_s:
        return Finding(entry=over, result=None, news="not paired")
    return Finding(entry=over, result=seconds, news="new")


def once(old: Entry | None, at_ms: int, within_s: float) -> Finding:
    """Returns whether a happening is told for the first time."""
    if old is not None:
        return Finding(entry=None, result=False, news="duplicate")
    new = Entry(value=(at_ms,), until_ms=at_ms + round(within_s * SECOND_MS))
    return Finding(entry=new, result=True, news="new")


def set_change(old: Entry | None, members: tuple[str, ...], at_ms: int) -> Finding:
    """Returns (entered, left) of a set against the one before."""
    new = Entry(value=(at_ms, *members), until_ms=at_ms + SET_KEPT_MS)
    before = tuple(str(each) for each in old.value[1:]) if old is not None else ()
    if old is not None and old.value and isinstance(old.value[0], int) and at_ms < old.value[0]:
        return Finding(entry=None, result=((), ()), news="late")
    entered = tuple(each for each in members if each not in before)
    left = tuple(each for each in before if each not in members)
    news: News = "new" if entered or left else "unchanged"
    return Finding(entry=new, result=(entered, left), news=news)


def presence(
    old: Entry | None, place: str, strength: float, at_ms: int, spec: Presence
) -> Finding:
    """Returns where somebody is, when that is news: entered, moved, or still seen.

    Remembered are the place, when it was last heard, how near it was, who wants to take over and
    since when, and when the place was last told.
    """
    old = _of_size(old, 6)
    told: dict[str, Json] = {"place": place, "previous": None, "change": "entered"}
    if old is None or _gone(old, at_ms, spec):
        return _placed(place, strength, at_ms, spec, told)
    held, heard_ms, held_strength, rival, rival_ms, told_ms = old.value
    heard, when_told = _int(heard_ms), _int(told_ms)
    if at_ms < heard:
        return Finding(entry=None, result=None, news="late")
    if place == held:
        is_due = at_ms - when_told >= spec.refresh_s * SECOND_MS
        value: Memory = (held, at_ms, strength, None, None, at_ms if is_due else when_told)
        result = {"place": place, "previous": None, "change": "seen"}
        return _kept(value, at_ms, spec, result, "new" if is_due else "unchanged")
    is_nearer = strength >= _float(held_strength) + spec.margin
    is_silent = at_ms - heard > spec.hold_s * SECOND_MS
    if not is_nearer and not is_silent:
        return Finding(entry=None, result=None, news="unchanged")
    started = _int(rival_ms) if rival == place and rival_ms is not None else at_ms
    if at_ms - started < spec.settle_s * SECOND_MS:
        value = (held, heard, held_strength, place, started, when_told)
        return _kept(value, at_ms, spec, None, "not settled")
    return _placed(
        place, strength, at_ms, spec, {"place": place, "previous": held, "change": "moved"}
    )


def _gone(old: Entry, at_ms: int, spec: Presence) -> bool:
    return at_ms - _int(old.value[1]) > spec.gone_s * SECOND_MS


def _placed(
    place: str, strength: float, at_ms: int, spec: Presence, result: dict[str, Json]
) -> Finding:
    return _kept((place, at_ms, strength, None, None, at_ms), at_ms, spec, result, "new")


def _kept(
    value: Memory, at_ms: int, spec: Presence, result: dict[str, Any] | None, news: News
) -> Finding:
    until_ms = at_ms + round(spec.gone_s * SECOND_MS)
    return Finding(entry=Entry(value=value, until_ms=until_ms), result=result, news=news)


def _of_size(old: Entry | None, size: int) -> Entry | None:
    # What another version remembered in another form is forgotten: a new baseline.
    return old if old is not None and len(old.value) == size else None


def _int(value: Json) -> int:
    return value if isinstance(value, int) else 0


def _float(value: Json) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0
