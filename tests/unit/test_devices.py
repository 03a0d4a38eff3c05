"""Devices: who fell silent, whose clock is wrong, which counter drifts; bounded and saved."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import pytest

from edge_agent.domain.time import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, ms_from_datetime
from edge_agent.runner.devices import DEVICES_MAX, Devices, is_of_people, told_of
from edge_agent.state.devices import Standing
from edge_agent.state.drift import DayCount, last_day_ms, with_drift
from edge_agent.state.tolerances import Limits
from edge_agent.wire.events import EVENT
from tests.unit.device_book import Book, opened_book

HELSINKI: Final = ZoneInfo("Europe/Helsinki")
MIDNIGHT: Final = ms_from_datetime(datetime(2026, 3, 2, 22, tzinfo=UTC))


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Book]:
    """A new database."""
    with opened_book(tmp_path) as opened:
        yield opened


def standing(devices: Devices, source: str, now_ms: int) -> Standing:
    """How one device is."""
    (found,) = (each for each in devices.standings(now_ms) if each.source == source)
    return found


def test_a_regular_device_is_missed_after_three_pauses(book: Book) -> None:
    """Who speaks every minute is silent after four, and not after two."""
    devices = Devices(book, HELSINKI, now_ms=MIDNIGHT)
    last_ms = MIDNIGHT
    for minute in range(27 * 60):
        last_ms = MIDNIGHT + minute * MINUTE_MS
        devices.heard("thermo", own_ms=None, now_ms=last_ms)
    assert not standing(devices, "thermo", last_ms + 2 * MINUTE_MS).is_silent
    assert standing(devices, "thermo", last_ms + 4 * MINUTE_MS).is_silent
    assert standing(devices, "thermo", last_ms).per_hour == pytest.approx(60, abs=20)


def test_a_new_device_is_not_missed_at_once(book: Book) -> None:
    """Three words tell no habit."""
    devices = Devices(book, HELSINKI, now_ms=MIDNIGHT)
    for minute in range(3):
        devices.heard("new", own_ms=None, now_ms=MIDNIGHT + minute * MINUTE_MS)
    assert not standing(devices, "new", MIDNIGHT + 12 * HOUR_MS).is_silent


def test_the_night_is_no_silence_and_a_dead_door_by_day_is_one(book: Book) -> None:
    """Of two doors in use from nine to nine, one dies at noon of the fourth day."""
    devices = Devices(book, HELSINKI, now_ms=MIDNIGHT)
    chance = random.Random(7)
    told = [
        (MIDNIGHT + day * DAY_MS + 9 * HOUR_MS + chance.randrange(12 * HOUR_MS), door)
        for day in range(4)
        for door in ("north", "south")
        for _ in range(300)
    ]
    dies_ms = MIDNIGHT + 3 * DAY_MS + 12 * HOUR_MS
    silent_at: dict[int, bool] = {}
    for at_ms, door in sorted(told):
        hour = (at_ms - MIDNIGHT) // HOUR_MS
        if hour not in silent_at:
            silent_at[hour] = standing_or_none(devices, at_ms)
        if door == "north" or at_ms < dies_ms:
            devices.heard(door, own_ms=None, now_ms=at_ms, is_of_people=True)
    assert [
        hour for hour, is_silent in silent_at.items() if is_silent and hour < 3 * 24 + 12
    ] == []
    assert standing(devices, "south", MIDNIGHT + 3 * DAY_MS + 20 * HOUR_MS).is_silent
    assert not standing(devices, "north", MIDNIGHT + 4 * DAY_MS + 3 * HOUR_MS).is_silent


def standing_or_none(devices: Devices, at_ms: int) -> bool:
    """Whether the south door is silent just before an instant."""
    return any(each.is_silent for each in devices.standings(at_ms) if each.source == "south")


def test_a_clock_is_measured_by_its_freshest_events(book: Book) -> None:
    """A device ahead by a minute and a half is, though some of its events come late."""
    devices = Devices(book, HELSINKI, now_ms=MIDNIGHT)
    now_ms = MIDNIGHT
    for n in range(100):
        now_ms = MIDNIGHT + n * 10 * SECOND_MS
        late_ms = HOUR_MS if n % 3 == 0 else 0
        devices.heard("ahead", own_ms=now_ms + 90 * SECOND_MS - late_ms, now_ms=now_ms)
        devices.heard("timeless", own_ms=now_ms, now_ms=now_ms)
    assert standing(devices, "ahead", now_ms).skew_s == 90.0
    assert standing(devices, "timeless", now_ms).skew_s is None


def test_a_flood_of_names_is_bounded(book: Book) -> None:
    """Whoever was heard longest ago makes room."""
    devices = Devices(book, HELSINKI, now_ms=MIDNIGHT)
    for n in range(DEVICES_MAX + 50):
        devices.heard(f"d{n}", own_ms=None, now_ms=MIDNIGHT + n)
    names = {each.source for each in devices.standings(MIDNIGHT + HOUR_MS)}
    assert len(names) == DEVICES_MAX
    assert "d0" not in names


def test_what_is_known_outlives_a_restart_and_the_restart_is_no_silence(book: Book) -> None:
    """A gateway that was off for a day blames no device for it."""
    devices = Devices(book, HELSINKI, now_ms=MIDNIGHT)
    now_ms = MIDNIGHT
    for minute in range(27 * 60):
        now_ms = MIDNIGHT + minute * MINUTE_MS
        devices.heard("thermo", own_ms=now_ms - 5_000, now_ms=now_ms)
        devices.save(now_ms)
    before = standing(devices, "thermo", now_ms)
    back_ms = now_ms + DAY_MS
    again = Devices(book, HELSINKI, now_ms=back_ms)
    after = standing(again, "thermo", back_ms)
    assert (after.last_at_ms, after.skew_s) == (before.last_at_ms, before.skew_s)
    assert not after.is_silent
    assert standing(again, "thermo", back_ms + 4 * MINUTE_MS).is_silent


def test_a_drifting_counter_is_found_and_two_doors_are_not_confused() -> None:
    """One way in, another out is no drift; a store that never empties has one."""
    names = [
        Standing(source=name, last_at_ms=0, per_hour=0, skew_s=None, is_silent=False)
        for name in ("north", "south", "beam")
    ]

    def drifting(*counts: tuple[str, int, int]) -> list[str]:
        days = [DayCount(source=name, entries=i, exits=o) for name, i, o in counts]
        return [each.source for each in with_drift(names, days) if each.is_drifting]

    assert drifting(("north", 500, 300), ("south", 300, 498)) == []
    assert drifting(("north", 500, 300), ("south", 300, 301), ("beam", 900, 0)) == ["north"]
    assert drifting(("north", 12, 8)) == []


def test_a_store_may_say_how_many_are_no_drift() -> None:
    """Of all counters together, and of a device that is known to miss some."""
    names = [
        Standing(source=name, last_at_ms=0, per_hour=0, skew_s=None, is_silent=False)
        for name in ("north", "south")
    ]
    days = [
        DayCount(source="north", entries=500, exits=440),
        DayCount(source="south", entries=300, exits=260),
    ]

    def drifting(store: Limits, **own: Limits) -> list[str]:
        found = with_drift(names, days, store=store, own=own)
        return [each.source for each in found if each.is_drifting]

    assert drifting(Limits()) == ["north", "south"]
    assert drifting(Limits(), north=Limits(drift_people=60)) == ["south"]
    assert drifting(Limits(drift_share=0.2)) == []


def test_the_last_whole_day_ends_at_four_in_the_morning() -> None:
    """Also on the day when the clocks go forward, which has 23 hours."""
    noon = ms_from_datetime(datetime(2026, 3, 30, 12, tzinfo=HELSINKI))
    begin_ms, end_ms = last_day_ms(noon, HELSINKI)
    assert begin_ms == ms_from_datetime(datetime(2026, 3, 29, 4, tzinfo=HELSINKI))
    assert end_ms == ms_from_datetime(datetime(2026, 3, 30, 4, tzinfo=HELSINKI))
    assert last_day_ms(begin_ms - 1, HELSINKI)[1] < begin_ms


def test_hq_is_told_no_count_of_a_few_people() -> None:
    """Fewer than k entries are a person's coming and going."""
    few = Standing(
        source="north", last_at_ms=MIDNIGHT + 61_234, per_hour=1, skew_s=None, is_silent=False,
        inside=7, entries=9, is_drifting=True,
    )  # fmt: skip
    told = told_of(few, k=10, key=b"k")
    assert (told.inside_at_closing, told.is_drifting) == (None, False)
    assert told.last_seen.second == 0


@pytest.mark.parametrize(
    ("kind", "data", "n_busy"),
    [
        ("people.counted", {"entries": 0, "exits": 0}, 0),
        ("people.counted", {"entries": 0, "exits": 1}, 1),
        ("zone.occupancy", {"zone": "z", "count": 3}, 0),
        ("item.scanned", {"product": "p"}, 1),
    ],
)
def test_levels_and_zeros_do_not_keep_the_store_busy(
    kind: str, data: dict[str, Any], n_busy: int
) -> None:
    """Sensors send them all night."""
    body = {"specversion": "1.0", "id": "1", "source": "s", "type": kind, "data": data}
    body["time"] = "2026-03-02T10:00:00Z"
    event = EVENT.validate_python(body, strict=False)
    assert is_of_people(event) is bool(n_busy)
