"""The gateway's clock: what it follows, what it does not believe, and when it may be trusted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import pytest

from edge_agent.domain.time import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS
from edge_agent.shell.clock import (
    BELIEVED_AFTER_S,
    NEVER_SET_BEFORE_MS,
    TRUSTED_AFTER_S,
    SystemClock,
)

# 2026-11-22T10:00:00Z
NOW: Final = 1_795_341_600_000
IN_2038: Final = 2_147_483_648_000


@dataclass(slots=True)
class Machine:
    """What a clock is made of, moved by hand."""

    wall_ms: int = NOW
    uptime_s: float = 100.0
    synchronised: bool = False

    def clock(self, *, floor_ms: int = 0) -> SystemClock:
        """Returns a clock that is started now."""
        return SystemClock(
            floor_ms=floor_ms,
            wall_ms=lambda: self.wall_ms,
            monotonic_s=lambda: self.uptime_s,
            is_synchronised=lambda: self.synchronised,
        )

    def pass_s(self, seconds: float) -> None:
        """Lets time pass, for both clocks."""
        self.uptime_s += seconds
        self.wall_ms += round(seconds * SECOND_MS)


def test_a_good_clock_is_followed() -> None:
    """It says what the machine says, slewed or not."""
    machine = Machine()
    clock = machine.clock(floor_ms=NOW - MINUTE_MS)
    for _ in range(100):
        machine.pass_s(60)
        machine.wall_ms += 5
        assert clock.now_ms() == machine.wall_ms
    assert clock.is_in_step


@pytest.mark.parametrize("said_ms", [0, 5_000, 946_684_800_000])
def test_a_clock_that_was_never_set_goes_on_from_what_is_known(said_ms: int) -> None:
    """1970 or 2000 at the start: time passes from the last instant on the disk."""
    machine = Machine(wall_ms=said_ms)
    clock = machine.clock(floor_ms=NOW)
    machine.pass_s(600)
    assert clock.now_ms() == NOW + 600 * SECOND_MS
    assert not clock.is_trusted
    assert not clock.is_in_step


def test_without_anything_known_it_is_not_1970() -> None:
    """A new gateway whose clock was never set begins when its software was installed."""
    assert Machine(wall_ms=0).clock().now_ms() > NEVER_SET_BEFORE_MS


@pytest.mark.parametrize("said_ms", [IN_2038, NOW + 200 * DAY_MS, 2**53])
@pytest.mark.parametrize("when", ["running", "start"])
def test_a_leap_that_nobody_vouches_for_is_not_believed(said_ms: int, when: str) -> None:
    """It neither counts nor stays: the right time is believed again when it is back."""
    machine = Machine()
    clock = machine.clock(floor_ms=NOW)
    machine.wall_ms = said_ms
    if when == "start":
        clock = machine.clock(floor_ms=NOW)
    machine.pass_s(7_200)
    assert clock.now_ms() == NOW + 2 * HOUR_MS
    assert not clock.is_trusted
    machine.wall_ms = NOW + 3 * HOUR_MS
    machine.uptime_s += 3_600
    assert clock.now_ms() == NOW + 3 * HOUR_MS
    assert clock.is_in_step


@pytest.mark.parametrize("by_ms", [HOUR_MS, 30 * DAY_MS, IN_2038 - NOW])
def test_ntp_s_word_is_believed(by_ms: int) -> None:
    """A synchronised clock is followed ahead, however far."""
    machine = Machine(synchronised=True)
    clock = machine.clock(floor_ms=NOW)
    machine.wall_ms += by_ms
    assert clock.now_ms() == NOW + by_ms
    assert clock.is_trusted


def test_a_clock_set_by_hand_is_believed_once_it_goes_on() -> None:
    """A month ahead, and no NTP in the store: a minute later it counts, not at once."""
    machine = Machine()
    clock = machine.clock(floor_ms=NOW)
    machine.wall_ms += 30 * DAY_MS
    assert clock.now_ms() == NOW
    machine.pass_s(BELIEVED_AFTER_S / 2)
    assert clock.now_ms() < NOW + DAY_MS
    machine.pass_s(BELIEVED_AFTER_S / 2)
    assert clock.now_ms() == machine.wall_ms


@pytest.mark.parametrize("synchronised", [False, True])
def test_a_step_back_is_not_followed(synchronised: bool) -> None:  # noqa: FBT001 - a parameter
    """Time never goes back; under NTP it slows down until it is right again."""
    machine = Machine(synchronised=synchronised)
    clock = machine.clock(floor_ms=NOW)
    machine.wall_ms -= HOUR_MS
    last_ms = clock.now_ms()
    assert last_ms == NOW
    for _ in range(180):
        machine.pass_s(60)
        assert clock.now_ms() > last_ms
        last_ms = clock.now_ms()
    assert (last_ms <= machine.wall_ms + MINUTE_MS) is synchronised


def test_a_day_in_step_is_as_good_as_ntp() -> None:
    """Only then may old rows be deleted in a store without any time server."""
    machine = Machine()
    clock = machine.clock(floor_ms=NOW - 10 * DAY_MS)
    clock.now_ms()
    trusted = [clock.is_trusted]
    for _ in range(round(TRUSTED_AFTER_S) // 3_600):
        machine.pass_s(3_600)
        clock.now_ms()
    assert [*trusted, clock.is_trusted] == [False, True]
    # Restarted a moment later, it goes on where it was.
    assert machine.clock(floor_ms=machine.wall_ms - MINUTE_MS).is_trusted
