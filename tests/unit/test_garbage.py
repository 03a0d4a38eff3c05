"""Looking for cycles: at the ends of batches, and by itself only in a flood."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from weakref import ReferenceType, ref

import pytest

from edge_agent.shell import garbage


class Node:
    """Something that holds itself, so that only the collector lets go of it."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def left_to_batches() -> Iterator[None]:
    """As in the agent; Python's own numbers come back afterwards."""
    before = gc.get_threshold()
    garbage.leave_to_batches()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


def cycles(n: int) -> list[ReferenceType[Node]]:
    """Returns watchers of as many objects that nobody holds any more."""
    return [ref(Node()) for _ in range(n)]


def n_alive(watchers: list[ReferenceType[Node]]) -> int:
    """Returns how many of them are still in memory."""
    return sum(each() is not None for each in watchers)


def test_a_batch_is_not_interrupted_and_leaves_nothing_behind() -> None:
    """What a decision makes is looked through at the batch's end, not in its midst."""
    watchers = cycles(5_000)
    assert n_alive(watchers) == 5_000
    garbage.collect_due()
    assert n_alive(watchers) == 0


def test_a_flood_within_one_batch_does_not_fill_the_memory() -> None:
    """Where very much is new it looks by itself."""
    assert n_alive(cycles(200_000)) < 100_000


def test_what_outlived_batches_goes_at_an_idle_moment() -> None:
    """Looked through twice and found in use, it is of the oldest; let go of, it waits for that."""
    held = [Node() for _ in range(1_000)]
    watchers = [ref(each) for each in held]
    gc.collect(1)
    held.clear()
    garbage.collect_due()
    assert n_alive(watchers) > 0
    garbage.collect_all()
    assert n_alive(watchers) == 0
