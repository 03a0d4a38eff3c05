"""Decoding and judging the time of events: every reason of refusal, every edge of lateness."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edge_agent.domain.policy import Policy
from edge_agent.domain.time import DAY_MS
from edge_agent.ingest.decode import (
    BATCH_EVENTS_MAX,
    Refusal,
    decode_events,
    refusal_of_feedback,
    refusal_of_source,
)
from edge_agent.ingest.ordering import EARLIEST_POSSIBLE_MS, timing_of
from tests.factories import T0, entered, event

GOOD = {
    "specversion": "1.0",
    "id": "e1",
    "source": "ble-1",
    "type": "zone.entered",
    "time": "2017-12-02T15:00:00Z",
    "data": {"visitor": {"kind": "ble", "value": "AC:23:3F:A0:11:22"}, "zone": "dairy"},
}


def with_data(**fields: Any) -> dict[str, Any]:
    """Returns the good event with other data."""
    return {**GOOD, "data": {**GOOD["data"], **fields}}  # type: ignore[dict-item]  # it is a dictionary


def bytes_of(document: Any) -> bytes:
    """Returns JSON."""
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"x" * 1_001, "too_large"),
        (b"\xff\xfe", "not_utf8"),
        (b"hello", "not_json"),
        (b"", "not_json"),
        (b"[" * 900, "too_deep"),
        (b"7", "not_an_event"),
        (b"[]", "not_an_event"),
        (b"{}", "not_an_event"),
        (bytes_of({**GOOD, "type": "zone.vanished"}), "unknown_type"),
        (bytes_of({**GOOD, "specversion": "0.3"}), "invalid"),
        (bytes_of({**GOOD, "time": "2017-12-02 15:00"}), "invalid"),
        (bytes_of({**GOOD, "time": "2017-12-02T15:00:00"}), "invalid"),
        (bytes_of({**GOOD, "id": ""}), "invalid"),
        (bytes_of({**GOOD, "id": "x" * 129}), "invalid"),
        (bytes_of({**GOOD, "source": "a\u202eb"}), "invalid"),
        (bytes_of(with_data(zone=7)), "invalid"),
        (bytes_of(with_data(visitor={"kind": "face", "value": "x"})), "invalid"),
    ],
)
def test_each_refusal_has_its_reason(payload: bytes, reason: str) -> None:
    """An operator reads from the reason what kind of thing is wrong."""
    (found,) = decode_events(payload, max_bytes=1_000)
    assert isinstance(found, Refusal)
    assert found.reason == reason


def test_too_many_events_of_one_message_are_refused_whole() -> None:
    """A message is bounded in events as well as in bytes."""
    payload = bytes_of([GOOD] * (BATCH_EVENTS_MAX + 1))
    (found,) = decode_events(payload, max_bytes=10_000_000)
    assert isinstance(found, Refusal)
    assert found.reason == "too_large"


def test_unknown_fields_are_dropped() -> None:
    """A newer device may say more; what we do not know is not kept."""
    (found,) = decode_events(bytes_of(with_data(mood="good")), max_bytes=1_000)
    assert not isinstance(found, Refusal)
    assert "mood" not in found.model_dump_json()


@pytest.mark.parametrize("amount", ["-1.00", "1e3", "NaN", "", "1.234567", 1.5, True])
def test_money_is_a_plain_decimal_string(amount: Any) -> None:
    """Nothing else passes for money."""
    sale = {
        **GOOD,
        "type": "sale.completed",
        "data": {"basket": "1", "currency": "USD", "lines": [], "total": amount},
    }
    (found,) = decode_events(bytes_of(sale), max_bytes=1_000)
    assert isinstance(found, Refusal)


def test_a_device_speaks_in_its_own_name_only() -> None:
    """The event's source is its topic's."""
    made = entered("dairy")
    assert refusal_of_source(made, source="sensor-1") is None
    refusal = refusal_of_source(made, source="sensor-2")
    assert refusal is not None
    assert refusal.reason == "source_mismatch"


def test_a_screen_s_topic_takes_its_feedback_only() -> None:
    """Not a sale, and not another screen's."""
    shown = event("screen.shown", source="dairy-1", decision="d", screen="dairy-1")
    assert refusal_of_feedback(shown, screen="dairy-1") is None
    assert refusal_of_feedback(shown, screen="bakery-1") is not None
    assert refusal_of_feedback(entered("dairy"), screen="dairy-1") is not None


@pytest.mark.parametrize(
    ("event_ms", "may_decide", "may_correct", "was_impossible"),
    [
        (T0, True, True, False),
        (None, True, True, False),
        (T0 - 10_000, True, True, False),
        (T0 - 10_001, False, True, False),
        (T0 - 7 * DAY_MS, False, True, False),
        (T0 - 7 * DAY_MS - 1, False, False, False),
        (T0 + 300_000, True, True, False),
        (T0 + 300_001, True, True, True),
        (EARLIEST_POSSIBLE_MS - 1, True, True, True),
        (0, True, True, True),
    ],
)
def test_how_an_event_stands_in_time(
    event_ms: int | None, *, may_decide: bool, may_correct: bool, was_impossible: bool
) -> None:
    """In time, late, too late, impossible: each to the millisecond."""
    timing = timing_of(event_ms, now_ms=T0, watermark_ms=T0 - 10_000, policy=Policy())
    assert timing.may_decide is may_decide
    assert timing.may_correct is may_correct
    assert timing.was_impossible is was_impossible
    assert timing.at_ms == (T0 if was_impossible or event_ms is None else event_ms)


def test_an_old_event_decides_nothing_even_if_it_is_the_newest() -> None:
    """After a silence the first event may be minutes old: its moment is over."""
    timing = timing_of(T0 - 60_001, now_ms=T0, watermark_ms=0, policy=Policy())
    assert not timing.may_decide
    assert timing.may_correct
