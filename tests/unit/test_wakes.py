"""Wake-ups: one of a kind and key, the earliest, in order of time."""

from __future__ import annotations

from edge_agent.domain.inputs import Wake
from edge_agent.runner.wakes import Wakes, rebuilt
from tests.factories import T0, at, entered, layout, policy, world


def test_the_earliest_of_a_kind_and_key_is_kept() -> None:
    """Asking twice wakes once."""
    wakes = Wakes()
    wakes.ask(20, "visit_timeout", "v")
    wakes.ask(10, "visit_timeout", "v")
    wakes.ask(30, "visit_timeout", "v")
    assert wakes.due(100) == [Wake(10, "visit_timeout", "v")]
    assert wakes.due(100) == []


def test_wake_ups_come_in_order_and_not_before_their_time() -> None:
    """Time, then kind, then key."""
    wakes = Wakes()
    for due_ms, kind, key in ((20, "b", "x"), (10, "c", "x"), (20, "a", "y"), (20, "a", "x")):
        wakes.ask(due_ms, kind, key)
    assert wakes.due(9) == []
    assert wakes.due(20) == [
        Wake(10, "c", "x"),
        Wake(20, "a", "x"),
        Wake(20, "a", "y"),
        Wake(20, "b", "x"),
    ]


def test_one_that_was_answered_may_be_asked_for_again() -> None:
    """The next time-out of the same visitor is another wake-up."""
    wakes = Wakes()
    wakes.ask(10, "a", "x")
    wakes.due(10)
    wakes.ask(30, "a", "x")
    assert wakes.due(30) == [Wake(30, "a", "x")]


def test_after_a_start_the_wake_ups_follow_from_the_state() -> None:
    """Open visits, long dwell and every screen are watched again."""
    heard = world()
    heard.take(entered("wine", 0))
    wakes = rebuilt(
        heard.memory.all_visits(),
        {"dairy-1": None, "bakery-1": None},
        layout=layout(),
        policy=policy(),
        now_ms=T0,
    )
    kinds = [(wake.due_ms, wake.kind) for wake in wakes.due(at(7_200))]
    assert kinds == [
        (T0, "screen_default"),
        (T0, "screen_default"),
        (at(180), "long_dwell"),
        (at(1_800), "visit_timeout"),
    ]
