"""Alarms of devices: told once when they begin and once when they end, and never in a storm."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import pytest

from edge_agent.domain.time import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, ms_from_datetime
from edge_agent.runner.devices import Devices
from edge_agent.runner.watch import LOOK_EVERY_S, DeviceWatch
from edge_agent.state.alarms import Alarm, alarms_of, problems_of
from edge_agent.state.devices import Standing
from edge_agent.state.tolerances import DEFAULT, Limits, Tolerances
from tests.unit.device_book import Book, opened_book

HELSINKI: Final = ZoneInfo("Europe/Helsinki")
MIDNIGHT: Final = ms_from_datetime(datetime(2026, 3, 2, 22, tzinfo=UTC))
WELL: Final = Standing(source="door", last_at_ms=0, per_hour=1, skew_s=None, is_silent=False)


class Watched:
    """Devices under watch, and a clock that is moved by hand."""

    def __init__(self, book: Book, tolerances: Tolerances | None = None) -> None:
        self.now_ms = MIDNIGHT
        self.now_s = 1_000.0
        self.devices = Devices(book, HELSINKI, now_ms=MIDNIGHT, tolerances=tolerances)
        self.watch = DeviceWatch(self.devices, k=10, now_s=self.now_s)
        self.n_changes = 0

    def pass_ms(self, ms: int) -> None:
        """Lets time pass on both clocks, and looks."""
        self.now_ms += ms
        self.now_s += ms / SECOND_MS
        self.n_changes += self.watch.look(self.now_ms, self.now_s)

    def told(self) -> tuple[str, ...]:
        """What is wrong, as the agent's state tells it."""
        return self.watch.problems

    def hear(self, *names: str, own_ms: int | None = None, mapping: str = "") -> None:
        """Has devices speak."""
        for name in names:
            self.devices.heard(
                name, own_ms=own_ms, now_ms=self.now_ms, is_of_people=True, mapping=mapping
            )


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Book]:
    """A new database."""
    with opened_book(tmp_path) as opened:
        yield opened


def test_a_silence_is_logged_once_when_it_begins_and_once_when_it_ends(
    book: Book, caplog: pytest.LogCaptureFixture
) -> None:
    """However long it lasts and however often it is looked at."""
    caplog.set_level(logging.INFO, logger="edge_agent.runner.watch")
    store = Watched(book, Tolerances(sources={"door": {"silent_after_s": 60}}))
    store.hear("door", "till")
    for _ in range(60):
        store.pass_ms(MINUTE_MS)
    assert store.told() == ("device_silent:door",)
    store.hear("door")
    store.pass_ms(10 * SECOND_MS)
    assert store.told() == ()
    assert [each.getMessage() for each in caplog.records] == ["device_alarm", "device_alarm_over"]
    assert store.n_changes == 2


def test_looks_are_apart(book: Book) -> None:
    """A busy loop that asks at every turn has the devices looked at now and then."""
    store = Watched(book, Tolerances(sources={"door": {"silent_after_s": 5}}))
    store.hear("door")
    store.pass_ms(0)
    store.pass_ms(round(LOOK_EVERY_S * SECOND_MS) - 100)
    assert store.told() == ()
    store.pass_ms(100)
    assert store.told() == ("device_silent:door",)


@pytest.mark.parametrize(
    ("tolerances", "is_missed"),
    [
        (Tolerances(), False),
        (Tolerances(sources={"door": {"silent_after_s": 600}}), True),
        (Tolerances(sources={"door": {"silent_after_s": 7_200}}), False),
        (Tolerances(mappings={"acme": {"silent_after_s": 600}}), True),
        (Tolerances(mappings={"other": {"silent_after_s": 600}}), False),
        (
            Tolerances(
                sources={"door": {"silent_after_s": 0}}, mappings={"acme": {"silent_after_s": 600}}
            ),
            False,
        ),
    ],
)
def test_the_store_may_say_after_how_much_silence_a_device_is_missed(
    book: Book, tolerances: Tolerances, *, is_missed: bool
) -> None:
    """By the device's name before its mapping's; 0 is never; after a restart too."""
    store = Watched(book, tolerances)
    store.hear("door", mapping="acme")
    store.devices.save(MIDNIGHT + 2 * MINUTE_MS)
    for each in (store, Watched(book, tolerances)):
        each.pass_ms(SECOND_MS)
        each.pass_ms(HOUR_MS)
        assert (each.told() == ("device_silent:door",)) == is_missed


def test_a_store_that_is_closed_for_three_days_raises_no_alarm(book: Book) -> None:
    """Twenty doors in use by day, a freezer that speaks always: the freezer's end is one alarm."""
    doors = [f"door-{n}" for n in range(20)]
    store = Watched(book)
    told: set[str] = set()
    for quarter in range(8 * 96):
        day, hour = divmod(quarter // 4, 24)
        is_open = 9 <= hour < 21 and day not in {4, 5, 6}
        if is_open:
            store.hear(*doors)
        store.devices.heard("freezer", own_ms=None, now_ms=store.now_ms)
        store.pass_ms(15 * MINUTE_MS)
        told.update(store.told())
    assert told == set()
    store.pass_ms(2 * HOUR_MS)
    assert store.told() == ("device_silent:freezer",)


def test_a_clock_that_is_set_ahead_silences_nobody(book: Book) -> None:
    """NTP puts the gateway right by a day: no device kept quiet for it."""
    store = Watched(book, Tolerances(mappings={"acme": {"silent_after_s": 600}}))
    store.pass_ms(10 * SECOND_MS)
    store.hear("door", "shelf", mapping="acme")
    store.now_ms += DAY_MS
    store.pass_ms(10 * SECOND_MS)
    assert store.told() == ()
    store.pass_ms(HOUR_MS)
    assert store.told() == ("device_silent:door", "device_silent:shelf")


def test_when_all_are_silent_it_is_one_problem(book: Book) -> None:
    """The network, the broker, the power of the store: not thirty lines."""
    names = [f"door-{n}" for n in range(30)]
    store = Watched(book, Tolerances(mappings={"acme": {"silent_after_s": 600}}))
    store.hear(*names, mapping="acme")
    store.pass_ms(HOUR_MS)
    assert store.told() == ("device_silent:all",)
    store.hear(*names[:10], mapping="acme")
    store.pass_ms(10 * SECOND_MS)
    assert store.told() == (
        *(f"device_silent:{name}" for name in sorted(names[10:])[:5]),
        "device_silent:and 15 more",
    )


@pytest.mark.parametrize(
    ("skews", "are_wrong"),
    [
        ((119.0, 121.0, 100.0, 61.0, 59.0, 100.0), (False, True, True, True, False, False)),
        ((-5_000.0, -5_500.0, -3_000.0, -2_000.0), (False, True, True, False)),
        ((None, 1e9, None), (False, True, False)),
        ((-1.7e9,), (True,)),
    ],
)
def test_a_clock_on_the_edge_is_no_news_every_minute(
    skews: tuple[float | None, ...], are_wrong: tuple[bool, ...]
) -> None:
    """Wrong from two minutes ahead until one; an hourly counter's beginnings are no error."""
    before: frozenset[Alarm] = frozenset()
    for skew_s, is_wrong in zip(skews, are_wrong, strict=True):
        share = 0.0 if skew_s is None else DEFAULT.clock_share(skew_s)
        before = alarms_of([replace(WELL, clock_share=share)], before=before, k=10)
        assert (before == {Alarm(kind="clock", source="door")}) == is_wrong


def test_a_counter_of_few_people_tells_no_drift() -> None:
    """HQ hears of alarms, and fewer than k entries are somebody's coming and going."""
    drifting = replace(WELL, inside=9, entries=9, is_drifting=True)
    assert alarms_of([drifting], before=frozenset(), k=10) == frozenset()
    found = alarms_of([replace(drifting, entries=10)], before=frozenset(), k=10)
    assert problems_of(found, n_devices=1) == ("device_drifting:door",)


def test_what_is_said_of_a_device_goes_before_its_mappings_and_that_before_all() -> None:
    """Each limit by itself: a device may be given one and have the others from wider."""
    said = Tolerances(
        everywhere=Limits(drift_people=20, clock_ahead_s=10),
        sources={"door": {"drift_people": 3}},
        mappings={"acme": {"drift_people": 7, "drift_share": 0.5}},
    )
    assert said.of("door", "acme") == Limits(drift_people=3, drift_share=0.5, clock_ahead_s=10)
    assert said.of("gate", "acme") == Limits(drift_people=7, drift_share=0.5, clock_ahead_s=10)
    assert said.of("gate") == Limits(drift_people=20, clock_ahead_s=10)


def test_a_clock_is_wrong_by_the_devices_own_limits(book: Book) -> None:
    """A sensor without NTP may be given an hour."""
    store = Watched(book, Tolerances(sources={"door": {"clock_ahead_s": 3_600}}))
    store.hear("door", "gate", own_ms=MIDNIGHT + 30 * MINUTE_MS)
    store.pass_ms(SECOND_MS)
    assert store.told() == ("device_clock:gate",)
