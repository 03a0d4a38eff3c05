"""The delay line: what is late within it goes on in the order in which it happened."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.domain.time import ms_from_datetime
from edge_agent.runner.hold_back import MOST_HELD, HoldBack
from edge_agent.wire import topics
from edge_agent.wire.notices import ClockTick
from tests.fakes import FakeDelivery

NOON: Final = datetime(2017, 12, 2, 12, tzinfo=UTC)
HOLD_S: Final = 5
GRID_S: Final = 5
Message = tuple[str, Any]


def line(*, is_replay: bool = False, now_ms: int = 1) -> HoldBack:
    """A delay line of 5 s."""
    return HoldBack(
        hold_ms=HOLD_S * 1000,
        store="s1",
        max_bytes=10_000,
        is_replay=is_replay,
        now_ms=now_ms,
        counters=Counter(),
    )


def entered(after_s: float, name: str = "e1", **changes: Any) -> Message:
    """Somebody comes into a zone, so many seconds after noon."""
    event = {
        "specversion": "1.0",
        "id": name,
        "source": "gw",
        "type": "zone.entered",
        "time": (NOON + timedelta(seconds=after_s)).isoformat(),
        "data": {"visitor": {"kind": "track", "value": "7"}, "zone": "dairy"},
        **changes,
    }
    return "store", FakeDelivery(topic="store/s1/event/gw", payload=json.dumps(event).encode())


def tick(after_s: float) -> Message:
    """A tick of the replay's clock."""
    payload = ClockTick(now=NOON + timedelta(seconds=after_s)).model_dump_json().encode()
    return "store", FakeDelivery(topic=topics.clock("s1"), payload=payload)


def at_ms(after_s: float) -> int:
    """The system's clock."""
    return ms_from_datetime(NOON + timedelta(seconds=after_s))


def test_two_events_within_the_time_go_on_in_their_own_order() -> None:
    """The later one came first and waits for the earlier one."""
    held = line()
    later, earlier = entered(2, "b"), entered(1, "a")
    assert held.pass_on([later], now_ms=at_ms(3)) == []
    assert held.pass_on([earlier], now_ms=at_ms(4)) == []
    assert held.pass_on([], now_ms=at_ms(8)) == [earlier, later]


def test_event_goes_on_when_its_time_is_over() -> None:
    """Not before, and the line says how long that takes."""
    held = line()
    held.pass_on([entered(1)], now_ms=at_ms(3))
    assert held.wait_s(at_ms(3)) == pytest.approx(3.001)
    assert held.pass_on([], now_ms=at_ms(6)) == []
    assert len(held.pass_on([], now_ms=at_ms(6.001))) == 1
    assert held.wait_s(at_ms(7)) is None


@pytest.mark.parametrize(
    "message",
    [
        entered(1, type="consent.withdrawn", data={"visitor": {"kind": "app", "value": "x"}}),
        entered(1, type="people.counted", data={"zone": "dairy", "entries": 1, "exits": 0}),
        entered(-60),
        entered(3600),
        ("store", FakeDelivery(topic="store/s1/event/gw", payload=b"no json")),
        ("store", FakeDelivery(topic="xovis/1", payload=entered(1)[1].payload)),
        ("hq", FakeDelivery(topic="store/s1/event/gw", payload=entered(1)[1].payload)),
        ("call", None),
    ],
    ids=["consent", "counter", "late", "ahead", "refused", "device", "hq", "call"],
)
def test_what_is_no_event_of_somebody_now_goes_on_at_once(message: Message) -> None:
    """Waiting would help nobody, or keep back what a person says of himself."""
    assert line().pass_on([message], now_ms=at_ms(3)) == [message]


def test_acknowledgements_keep_the_order_of_delivery() -> None:
    """What overtook a held message is settled sooner, and acknowledged after it."""
    held = line()
    first, second = entered(2, "b"), entered(-60, "c")
    assert held.pass_on([first, second], now_ms=at_ms(3)) == [second]
    assert held.acknowledgeable([second[1]]) == []
    assert held.pass_on([], now_ms=at_ms(8)) == [first]
    assert held.acknowledgeable([first[1]]) == [first[1], second[1]]


def test_message_that_cannot_be_written_keeps_no_acknowledgement_back() -> None:
    """It stays with the broker; those after it are acknowledged."""
    held = line()
    first, second = entered(-60, "a"), entered(-60, "b")
    held.pass_on([first, second], now_ms=at_ms(3))
    held.leave_open(first[1])
    assert held.acknowledgeable([second[1]]) == [second[1]]


def test_more_than_the_broker_would_leave_open_goes_on_early_and_is_counted() -> None:
    """The oldest first: the line must never fill the window of unacknowledged messages."""
    held = line()
    came = [entered(number / 1000, f"e{number}") for number in range(MOST_HELD + 2)]
    assert held.pass_on(came, now_ms=at_ms(1)) == came[:2]
    assert held._counters["released_early"] == 2
    assert len(held) == MOST_HELD


def test_first_tick_of_an_agent_without_a_clock_is_not_held() -> None:
    """Whatever goes on at once needs a present to be taken in at."""
    assert line(is_replay=True, now_ms=0).pass_on([tick(0)], now_ms=0) == [tick(0)]
    assert line(is_replay=True, now_ms=1).pass_on([tick(0)], now_ms=0) == []


@given(
    st.lists(
        st.tuples(st.integers(0, 60_000), st.integers(0, HOLD_S * 1000)), min_size=1, max_size=40
    )
)
def test_any_disorder_within_the_time_comes_out_as_over_a_perfect_link(
    sent: list[tuple[int, int]],
) -> None:
    """Law: ticks and events come out as a stream without delays would have brought them."""
    events = [
        (at / 1000, entered(at / 1000, f"e{number:02}"), delay / 1000)
        for number, (at, delay) in enumerate(sent)
    ]
    ticks = [(float(at), tick(at), 0.0) for at in range(0, 90, GRID_S)]
    # At one instant the tick comes first, then by id: the replay's own order.
    perfect = sorted(
        [*ticks, *events], key=lambda each: (each[0], _is_event(each[1]), _name(each[1]))
    )
    came = sorted([*ticks, *events], key=lambda each: (each[0] + each[2], _is_event(each[1])))
    held = line(is_replay=True)
    out: list[Message] = []
    for _, message, _ in came:
        out += held.pass_on([message], now_ms=0)
    assert out == [message for _, message, _ in perfect][: len(out)]
    assert len(out) >= len(perfect) - 2


def _is_event(message: Message) -> bool:
    return str(message[1].topic).startswith("store/s1/event")


def _name(message: Message) -> str:
    return str(json.loads(message[1].payload).get("id", ""))
