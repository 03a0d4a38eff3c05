"""Laws of taking in: any bytes give events or refusals, and a refusal repeats nothing of them."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from edge_agent.domain.policy import Policy
from edge_agent.domain.time import DAY_MS, SECOND_MS
from edge_agent.ingest.decode import (
    DETAIL_CHARACTERS,
    Refusal,
    decode_events,
    decode_offer_request,
    decode_request,
    decode_staff_feedback,
    decode_tick,
)
from edge_agent.ingest.ordering import mark_of, timing_of
from edge_agent.wire.events import CloudEvent
from edge_agent.wire.notices import DeadLetterNotice
from tests.factories import T0
from tests.strategies import events, json_values

MAX = 50_000
CANARY = "6400000009005"


def texts(values: st.SearchStrategy[Any]) -> st.SearchStrategy[bytes]:
    """JSON of any values."""
    return values.map(lambda value: json.dumps(value).encode())


almost = st.one_of(
    st.binary(max_size=200),
    st.text(max_size=100).map(lambda text: text.encode("utf-8", "surrogatepass")),
    texts(json_values()),
    texts(st.lists(json_values(), max_size=4)),
    texts(
        st.fixed_dictionaries(
            {"specversion": st.just("1.0"), "type": st.sampled_from(["zone.entered", "x", 7])},
            optional={"id": json_values(), "source": json_values(), "data": json_values()},
        )
    ),
)


@given(almost)
@example(b"")
@example(b"[]")
@example(b"[" * 5_000)
@example(b'{"a":' * 3_000)
@example(b"\xff\xfe{}")
@example(b"\xef\xbb\xbf{}")
@example(b'{"type":"zone.entered","type":"zone.left"}')
@example(b'[{"x":NaN},{"y":1e999},{"z":123456789012345678901234567890}]')
@example(b'{"id":' + b"9" * 5_000 + b"}")
@example(b'["\\ud800"]')
def test_any_bytes_give_events_or_refusals(payload: bytes) -> None:
    """Decoding is total: it never raises, and never answers nothing."""
    found = decode_events(payload, max_bytes=MAX)
    assert found
    for each in found:
        assert isinstance(each, (CloudEvent, Refusal))
        if isinstance(each, Refusal):
            _can_be_told(each)
    for decode in (
        decode_request,
        decode_offer_request,
        decode_staff_feedback,
        decode_tick,
    ):
        refused = decode(payload, max_bytes=MAX)
        if isinstance(refused, Refusal):
            _can_be_told(refused)


def _can_be_told(refusal: Refusal) -> None:
    assert len(refusal.detail) <= DETAIL_CHARACTERS
    notice = {
        "id": "1",
        "topic": "store/s1/event/x",
        "received_at": "2017-12-02T15:00:00Z",
        "reason": refusal.reason,
        "detail": refusal.detail,
        "source": refusal.source,
        "event": refusal.event,
    }
    DeadLetterNotice.model_validate_json(json.dumps(notice))


@given(st.lists(events(), min_size=1, max_size=4), st.lists(almost, max_size=3), st.randoms())
def test_a_bad_event_of_a_batch_spares_its_neighbours(
    good: list[CloudEvent], bad: list[bytes], chance: Any
) -> None:
    """Each event of a batch is judged by itself; the order is kept."""
    elements = [each.model_dump_json() for each in good]
    elements += [json.dumps(text.decode("latin-1")) for text in bad]
    chance.shuffle(elements)
    found = decode_events(f"[{','.join(elements)}]".encode(), max_bytes=10_000_000)
    assert len(found) == len(elements)
    taken = [each for each in found if not isinstance(each, Refusal)]
    assert sorted(each.id for each in taken) == sorted(each.id for each in good)


def shaken(document: Any, where: list[int], value: Any) -> Any:
    """Returns a document with one of its leaves replaced."""
    if isinstance(document, dict) and document:
        key = sorted(document)[where[0] % len(document)]
        return {**document, key: shaken(document[key], where[1:] or [0], value)}
    return value


@given(events(), st.lists(st.integers(0, 20), min_size=1, max_size=4), json_values())
def test_a_refusal_repeats_no_value_of_the_payload(
    good: CloudEvent, where: list[int], value: Any
) -> None:
    """Whatever is wrong with an event, its refusal's words are ours alone."""
    document = shaken(json.loads(good.model_dump_json()), where, value)
    document["data"] = (
        {"canary": CANARY, **(document.get("data") or {})}
        if isinstance(document.get("data"), dict)
        else CANARY
    )
    document["id"], document["source"] = "e1", "s1"
    for each in decode_events(json.dumps(document).encode(), max_bytes=10_000_000):
        if isinstance(each, Refusal):
            assert CANARY not in each.detail
            assert CANARY not in f"{each.source}{each.event}"


@given(st.one_of(st.none(), st.integers(-(2**40), 2**43)), st.integers(T0, T0 + DAY_MS))
def test_the_time_that_counts_is_never_impossible(event_ms: int | None, now_ms: int) -> None:
    """Whatever a device's clock says, the time that counts is near the agent's or before it."""
    policy = Policy()
    timing = timing_of(event_ms, now_ms=now_ms, watermark_ms=now_ms - 10_000, policy=policy)
    assert timing.at_ms <= now_ms + policy.future_tolerance_s * SECOND_MS
    if timing.may_decide:
        assert timing.may_correct
        assert now_ms - timing.at_ms <= policy.decide_within_s * SECOND_MS


@given(st.text(max_size=20), st.text(max_size=20), st.text(max_size=20), st.text(max_size=20))
def test_marks_tell_events_apart(one: str, first: str, other: str, second: str) -> None:
    """Two events share a mark only when source and id are the same."""
    same = (one, first) == (other, second)
    if "\x00" not in one + other:
        assert (mark_of(one, first) == mark_of(other, second)) == same
    assert 0 <= mark_of(one, first) < 2**63
