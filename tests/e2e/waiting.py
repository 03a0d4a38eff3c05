"""Waiting on a condition with a deadline: the only way in which these tests let time pass."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

DEADLINE_S: Final = 90.0
"""Longest wait for anything; what has not come by then, on however loaded a machine, is lost."""
POLL_S: Final = 0.01


class NotInTimeError(AssertionError):
    """The condition did not come true before its deadline."""


class EndedTooSoonError(AssertionError):
    """The process ended that was to bring the condition about."""


def wait_for(
    condition: Callable[[], bool],
    what: str,
    *,
    deadline_s: float = DEADLINE_S,
    while_true: Callable[[], bool] | None = None,
    poll_s: float = POLL_S,
) -> None:
    """Returns as soon as the condition holds.

    Args:
        condition: What is waited for.
        what: Its name in the message when it does not come.
        deadline_s: Longest wait, seconds.
        while_true: What must stay true meanwhile, such as a process being alive.
        poll_s: Time between two looks, seconds.

    Raises:
        NotInTimeError: It does not hold in time.
        EndedTooSoonError: It cannot come any more.
    """
    deadline = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > deadline:
            raise NotInTimeError(f"not within {deadline_s:.0f} s: {what}")
        if while_true is not None and not while_true():
            raise EndedTooSoonError(f"the process ended before: {what}")
        time.sleep(poll_s)


def wait_until(moment_s: float) -> None:
    """Returns at an instant of the monotonic clock: for faults that are to strike at a time."""
    left_s = moment_s - time.monotonic()
    if left_s > 0:
        time.sleep(left_s)
