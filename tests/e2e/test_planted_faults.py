"""The tests of this folder fail when they should: each fault is planted, and each is seen."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Final

import pytest

from tests.e2e.crash import (
    kill_before_acknowledgement,
    kill_while_working,
    n_lost,
    n_set_aside,
    open_killed,
)
from tests.e2e.killed_starts import kill_first_starts
from tests.e2e.power_cut import faults_of, images, record
from tests.e2e.stale import FIRST_WAVE, HELD, SECOND_WAVE, by_restart, run_with_wiped_session
from tests.e2e.state_dump import STATE, differences
from tests.e2e.store import Outcome, running_store, unbroken
from tests.e2e.stream import morning
from tests.e2e.test_hq_link_privacy import crossed_in, leaks

pytestmark = pytest.mark.broker

BASKETS: Final = 4
KILLS: Final = 6
IMAGES: Final = 40
SEED: Final = 1
BUSY: Final = (2, 5, 7)
"""Places where much happens in a morning of so few baskets."""
MANY_REPEATED: Final = 0.3


@pytest.fixture(scope="module")
def small_morning(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """What a run without faults leaves behind."""
    return unbroken(tmp_path_factory.mktemp("small"), morning(baskets=BASKETS))


def test_kills_show_an_acknowledgement_from_the_queue(tmp_path: Path) -> None:
    """What was acknowledged on arrival and not committed yet is lost with the process."""
    day, chance = morning(baskets=BASKETS), Random(SEED)
    with running_store(tmp_path, fault="acknowledge_on_arrival") as store:
        open_killed(store, day)
        for place in range(KILLS):
            kill_while_working(store, place, chance)
            if n_lost(store):
                return
    pytest.fail("the agent knows all that the broker was told to forget")


@pytest.mark.parametrize(("fault", "is_seen"), [("", False), ("+no_dedupe", True)])
def test_kills_show_a_missing_dedupe(
    tmp_path: Path, small_morning: Outcome, fault: str, *, is_seen: bool
) -> None:
    """What is committed and not acknowledged comes again, and counts twice without it."""
    with running_store(tmp_path, fault=f"acknowledge_late{fault}") as store:
        open_killed(store, morning(baskets=BASKETS))
        for place in BUSY:
            kill_before_acknowledgement(store, place)
        store.start_agent()
        store.close_day()
        told = small_morning.differences(store.outcome())
    assert bool(told) is is_seen, "\n".join(told)


def test_killed_first_starts_show_a_migration_in_pieces(tmp_path: Path) -> None:
    """Half a migration is no database that the next start can go on with."""
    with running_store(tmp_path, fault="migrate_in_pieces") as store:
        kill_first_starts(store, Random(SEED))
        store.start_agent()
        assert n_set_aside(store)


@pytest.mark.parametrize("fault", ["acknowledge_before_commit", "normal_for_full"])
def test_power_cuts_show_what_is_acknowledged_unsynced(tmp_path: Path, fault: str) -> None:
    """Some disk images lack events that the broker was told to forget."""
    recording = record(tmp_path / "recorded", morning(baskets=BASKETS), fault=fault)
    told = [
        each
        for image in images(recording, tmp_path / "image", n=IMAGES, seed=SEED)
        for each in faults_of(image)
    ]
    assert any("acknowledged events lost" in each for each in told)


def test_repeats_show_a_missing_dedupe(tmp_path: Path, small_morning: Outcome) -> None:
    """Without it, what comes twice counts twice."""
    day = morning(baskets=BASKETS, duplicates=MANY_REPEATED)
    assert small_morning.differences(unbroken(tmp_path, day, fault="no_dedupe"))


def test_disorder_shows_that_arrival_is_taken_for_the_event(
    tmp_path: Path, small_morning: Outcome
) -> None:
    """Late events make another state when their own time does not count."""
    day = morning(baskets=BASKETS, shuffle=True)
    found = unbroken(tmp_path, day, fault="time_of_arrival")
    assert differences(small_morning.state, found.state, tables=STATE)


def test_records_show_a_look_at_the_machines_clock(tmp_path: Path, small_morning: Outcome) -> None:
    """A few milliseconds of the machine's own time are in the records."""
    found = unbroken(tmp_path, morning(baskets=BASKETS), fault="machine_time")
    assert found.records != small_morning.records


def test_comparison_shows_a_dropped_outbox_row(tmp_path: Path, small_morning: Outcome) -> None:
    """HQ lacks what was never queued for it."""
    found = unbroken(tmp_path, morning(baskets=BASKETS), fault="drop_outbox_row")
    told = small_morning.differences(found)
    assert any(each.startswith("at HQ, summaries") for each in told)


def test_wiped_session_shows_a_stale_acknowledgement(tmp_path: Path) -> None:
    """The broker forgets what came over the new connection under an old packet id."""
    run = run_with_wiped_session(tmp_path, by_restart, fault=f"{HELD}+acknowledge_stale")
    assert run.lost
    assert run.n_entries < FIRST_WAVE + SECOND_WAVE


def test_bytes_of_the_hq_link_show_a_raw_event(tmp_path: Path) -> None:
    """An event that goes up is found, by its form, its id and the visitor that it names."""
    day = morning(baskets=BASKETS)
    told = leaks(crossed_in(tmp_path, day, fault="event_to_hq+no_egress_gate"), day)
    assert "a CloudEvent" in told
    assert any(each.startswith("event ") for each in told)
    assert any(each.startswith(("ble ", "track ")) for each in told)


def test_the_gate_to_hq_stops_a_raw_event(tmp_path: Path) -> None:
    """The same fault with the gate in place: nothing of the event crosses the link."""
    day = morning(baskets=BASKETS)
    assert not leaks(crossed_in(tmp_path, day, fault="event_to_hq"), day)
