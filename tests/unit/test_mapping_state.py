"""What a mapping remembers: totals, levels, pairs, sets and places."""

from __future__ import annotations

import pytest

from edge_agent.ingest.counters import (
    Entry,
    Finding,
    change,
    delta,
    once,
    presence,
    set_change,
    since,
)
from edge_agent.wire.mapping import Presence
from edge_agent.wire.mapping_state import Change, Delta

T = 1_772_445_600_000


def counted(totals: list[tuple[int, int]], spec: Delta, marker: str | None = None) -> list[str]:
    """Results and news of a run of (seconds, total)."""
    old: Entry | None = None
    found = []
    for seconds, total in totals:
        finding = delta(old, total, marker, T + seconds * 1_000, spec)
        old = finding.entry or old
        found.append(f"{finding.result} {finding.news}")
    return found


def test_first_total_is_a_baseline() -> None:
    """A total read alone counts nobody."""
    assert counted([(0, 70), (1, 72), (2, 72)], Delta()) == [
        "None baseline",
        "2 new",
        "0 unchanged",
    ]


def test_first_total_counts_where_the_file_says_so() -> None:
    """A device that starts at zero with the agent need not lose its first count."""
    assert counted([(0, 3)], Delta(first="count")) == ["3 new"]


def test_smaller_total_is_a_reset() -> None:
    """After a reset the total itself is what was counted since."""
    assert counted([(0, 70), (1, 2)], Delta()) == ["None baseline", "2 new"]


def test_marker_that_is_written_in_another_way_is_no_reset() -> None:
    """A firmware's new way to write its start time must not count everybody again."""
    first = delta(None, 70, "2026-03-01T06:00:00Z", T, Delta())
    for marker, result in (
        ("2026-03-01T07:00:00+01:00", 2),
        ("2026-03-02T06:00:00Z", 72),
        ("b", 72),
    ):
        assert delta(first.entry, 72, marker, T + 1, Delta()).result == result


def test_total_wraps_around_near_its_end() -> None:
    """A counter of 16 bits goes on after 65535."""
    assert counted([(0, 65_530), (1, 4)], Delta(wrap=65_536))[1] == "10 new"


def test_smaller_total_far_from_the_end_is_no_wrap() -> None:
    """A reset in the middle of the range is not taken for a wrap-around."""
    assert counted([(0, 30_000), (1, 4)], Delta(wrap=65_536))[1] == "4 new"


def test_late_total_changes_nothing() -> None:
    """A message older than the newest one neither counts nor moves the baseline."""
    found = counted([(0, 10), (5, 14), (3, 12), (6, 15)], Delta())
    assert found == ["None baseline", "4 new", "0 late", "1 new"]


def test_step_too_large_is_a_new_baseline() -> None:
    """A fault of the device does not become a crowd."""
    assert counted([(0, 10), (1, 50_000), (2, 50_001)], Delta(max_step=100))[1:] == [
        "None jump",
        "1 new",
    ]


def test_marker_tells_a_reset_that_the_total_hides() -> None:
    """Another start time means the total began again, even when it is larger."""
    old = delta(None, 10, "a", T, Delta()).entry
    assert delta(old, 12, "b", T + 1, Delta()).result == 12


def levels(values: list[tuple[int, object]], spec: Change) -> list[str]:
    """News of a run of (seconds, level)."""
    old: Entry | None = None
    found: list[str] = []
    for seconds, value in values:
        finding = change(old, value, T + seconds * 1_000, spec)  # type: ignore[arg-type] # levels are scalars
        old = finding.entry or old
        found.append(finding.news)
    return found


def test_repeated_level_is_told_once() -> None:
    """The whole state sent again tells nothing."""
    assert levels([(0, True), (1, True), (2, False)], Change()) == ["new", "unchanged", "new"]


def test_level_before_the_first_message_is_taken_as_said() -> None:
    """A free place that says it is free tells nothing."""
    assert levels([(0, 0), (1, 1)], Change(initial=0)) == ["unchanged", "new"]


def test_edge_is_told_in_one_direction() -> None:
    """Only the values named are events."""
    spec = Change(only=(True,), initial=False)
    assert levels([(0, True), (1, False), (2, True)], spec) == ["new", "unchanged", "new"]


def test_silent_sensor_is_rearmed() -> None:
    """A sensor that never says it is free is free again after a while."""
    spec = Change(initial=False, rearm_s=60.0)
    assert levels([(0, True), (30, True), (80, True), (200, True)], spec) == [
        "new",
        "unchanged",
        "unchanged",
        "new",
    ]


def test_free_is_told_after_a_long_stay_in_silence() -> None:
    """A presence sensor is quiet while somebody stays; the zone must not stay taken for ever."""
    spec = Change(initial=False, rearm_s=60.0)
    assert levels([(0, True), (200, False), (210, False)], spec) == ["new", "new", "unchanged"]


def test_number_changes_by_its_band() -> None:
    """Small steps add up until they reach the band."""
    assert levels([(0, 20.0), (1, 20.4), (2, 20.9), (3, 21.0)], Change(band=1.0)) == [
        "new",
        "unchanged",
        "unchanged",
        "new",
    ]


def test_late_level_changes_nothing() -> None:
    """A replayed old state does not undo the newer one."""
    assert levels([(5, 2), (3, 0), (6, 2)], Change()) == ["new", "late", "unchanged"]


def test_pair_gives_its_seconds() -> None:
    """Dwell is the time from a begin to its end, once."""
    begun = since(None, begins=True, ends=False, at_ms=T, max_s=60.0)
    ended = since(begun.entry, begins=False, ends=True, at_ms=T + 12_500, max_s=60.0)
    again = since(ended.entry, begins=False, ends=True, at_ms=T + 13_000, max_s=60.0)
    assert (ended.result, again.result) == (12.5, None)


def test_pair_that_took_too_long_is_no_pair() -> None:
    """A missed end does not become a day of dwell."""
    begun = since(None, begins=True, ends=False, at_ms=T, max_s=60.0)
    assert since(begun.entry, begins=False, ends=True, at_ms=T + 61_000, max_s=60.0).result is None


def test_set_tells_who_came_and_who_left() -> None:
    """The difference to the set before."""
    first = set_change(None, ("a", "b"), T)
    second = set_change(first.entry, ("b", "c"), T + 1)
    assert second.result == (("c",), ("a",))


def test_same_happening_counts_once() -> None:
    """The second telling is a duplicate."""
    first = once(None, T, 60.0)
    assert once(first.entry, T + 1, 60.0).news == "duplicate"


def seen(sightings: list[tuple[int, str, float]], spec: Presence) -> list[str]:
    """What becomes of sightings (second, place, strength)."""
    old: Entry | None = None
    found = []
    for second, place, strength in sightings:
        finding: Finding = presence(old, place, strength, T + second * 1_000, spec)
        old = finding.entry or old
        found.append(finding.result["change"] if finding.news == "new" else finding.news)
    return found


SPEC = Presence(key="x", place="y", margin=6.0, settle_s=5.0, hold_s=30.0, gone_s=120.0)


def test_flapping_beacon_stays_where_it_is() -> None:
    """Receivers that hear a beacon alike do not pass it to and fro."""
    run = [(at, "ab"[at % 2], -60.0 - at % 3) for at in range(20)]
    assert set(seen(run, SPEC)[1:]) == {"unchanged"}


def test_beacon_moves_after_settling() -> None:
    """A place that is nearer by the margin, for long enough, takes over."""
    run = [(0, "a", -60.0), (1, "b", -50.0), (4, "b", -50.0), (7, "b", -50.0)]
    assert seen(run, SPEC) == ["entered", "not settled", "not settled", "moved"]


def test_silent_place_no_longer_holds() -> None:
    """A weaker receiver takes over when the held one hears nothing."""
    run = [(0, "a", -50.0), (40, "b", -80.0), (46, "b", -80.0)]
    assert seen(run, SPEC) == ["entered", "not settled", "moved"]


def test_beacon_is_new_after_it_was_gone() -> None:
    """Who was away for long enough comes in again."""
    assert seen([(0, "a", -50.0), (200, "a", -50.0)], SPEC) == ["entered", "entered"]


def test_stay_is_told_again_at_intervals() -> None:
    """Who stays is refreshed, and no more often."""
    run = [(at, "a", -50.0) for at in range(0, 130, 10)]
    assert seen(run, SPEC).count("seen") == 2


@pytest.mark.parametrize("value", [("x", "y"), (None, None, None), ()])
def test_memory_of_another_version_is_a_new_baseline(value: tuple[object, ...]) -> None:
    """What cannot be read back is forgotten, not a crash."""
    old = Entry(value=value, until_ms=T)  # type: ignore[arg-type] # what a broken file would hold
    assert delta(old, 5, None, T, Delta()).news in {"baseline", "jump"}
    assert presence(old, "a", 0.0, T, SPEC).news == "new"
