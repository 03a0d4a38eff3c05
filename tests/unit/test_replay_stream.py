"""The stream is the same bytes for the same arguments, and disturbs only what it says."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, time, timedelta
from functools import cache
from itertools import islice, pairwise

import pytest

from edge_agent.replay.dataset import SalesDay, load_day
from edge_agent.replay.play import ReplayOptions, replay_of
from edge_agent.replay.stream import (
    AFTER_MIDNIGHT,
    CLOSING,
    LATENESS_S,
    TICK,
    Publication,
    closes_at,
)
from edge_agent.wire.events import EVENT
from edge_agent.wire.notices import ClockTick

LATENESS = timedelta(seconds=LATENESS_S)
MORNING = time(9)


@cache
def sales() -> SalesDay:
    """The real day, read once."""
    return load_day()


@cache
def stream(
    *, seed: int = 7, duplicates: float = 0.0, shuffle: bool = False
) -> tuple[Publication, ...]:
    """The messages of a morning."""
    options = ReplayOptions(seed=seed, duplicates=duplicates, shuffle=shuffle, until=MORNING)
    return tuple(replay_of(sales(), options).publications())


def events(messages: tuple[Publication, ...]) -> list[Publication]:
    """Those that are no ticks."""
    return [each for each in messages if not each.is_tick]


def event_time(message: Publication) -> datetime:
    """The time that the event itself tells."""
    told = EVENT.validate_json(message.payload).time
    assert told is not None
    return told


@pytest.mark.parametrize("duplicates", [0.0, 0.05])
@pytest.mark.parametrize("shuffle", [False, True])
def test_same_arguments_give_the_same_bytes(*, duplicates: float, shuffle: bool) -> None:
    """Read, simulated and streamed anew, every topic and payload is equal, in order."""
    once = stream(duplicates=duplicates, shuffle=shuffle)
    stream.cache_clear()
    sales.cache_clear()
    again = stream(duplicates=duplicates, shuffle=shuffle)
    assert [(m.topic, m.payload) for m in once] == [(m.topic, m.payload) for m in again]


def test_another_seed_gives_another_stream() -> None:
    """Else the seed would decide nothing."""
    assert stream(seed=8) != stream(seed=7)


@pytest.mark.parametrize("shuffle", [False, True])
def test_messages_stand_in_order_of_their_instants(*, shuffle: bool) -> None:
    """The clock never goes back, and every message is published when it says."""
    assert all(a.at <= b.at for a, b in pairwise(stream(shuffle=shuffle)))


@pytest.mark.parametrize("shuffle", [False, True])
def test_no_event_is_a_tick_ahead_of_the_clock(*, shuffle: bool) -> None:
    """An agent that goes by the ticks is never told of the future."""
    now = None
    for message in stream(shuffle=shuffle):
        if message.is_tick:
            now = ClockTick.model_validate_json(message.payload).now
        else:
            assert now is not None
            assert event_time(message) - now < TICK


def test_clock_ticks_evenly_until_after_the_last_event_then_past_midnight() -> None:
    """Time-outs happen, and the day's last periods end."""
    replay = replay_of(sales(), ReplayOptions(seed=7, until=MORNING))
    messages = stream()
    ticks = [ClockTick.model_validate_json(m.payload).now for m in messages if m.is_tick]
    last_event_at = events(messages)[-1].at
    assert ticks[0] == replay.first.starts_at
    assert all(b - a == TICK for a, b in pairwise(ticks) if b <= last_event_at + CLOSING)
    assert ticks[-1] > replay.first.ends_at
    assert replay.first.ends_at + AFTER_MIDNIGHT - ticks[-1] < timedelta(minutes=1)
    assert abs(closes_at(replay.first) - ticks[-1]) < timedelta(minutes=1)


def test_disturbance_does_not_touch_the_clock() -> None:
    """A late repeat of the last message makes the day no longer: the ticks are the same."""
    clean = [m.payload for m in stream() if m.is_tick]
    for shuffle in (False, True):
        disturbed = stream(duplicates=1.0, shuffle=shuffle)
        assert events(disturbed)[-1].at > events(stream())[-1].at
        assert [m.payload for m in disturbed if m.is_tick] == clean


def test_event_goes_to_its_sources_topic() -> None:
    """A source publishes under its own name, so an access list can hold it to that."""
    for message in events(stream()):
        told = EVENT.validate_json(message.payload)
        assert message.topic == f"store/s42/event/{told.source}"
        assert (message.source, message.id) == (told.source, told.id)


def test_shuffled_messages_are_the_same_ones_late_by_at_most_the_stated_lateness() -> None:
    """Nothing is lost, changed or added; much is out of order; nothing is early or too late."""
    shuffled, plain = events(stream(shuffle=True)), events(stream())
    assert Counter(m.payload for m in shuffled) == Counter(m.payload for m in plain)
    assert all(timedelta() <= m.at - event_time(m) <= LATENESS for m in shuffled)
    assert sum(event_time(b) < event_time(a) for a, b in pairwise(shuffled)) > len(plain) / 20


def test_shuffled_duplicates_stay_duplicates() -> None:
    """Both disturbances together: the same share is repeated, later than the first copy."""
    disturbed = events(stream(duplicates=0.05, shuffle=True))
    assert Counter(m.payload for m in disturbed if not m.is_duplicate) == Counter(
        m.payload for m in events(stream())
    )


@pytest.mark.parametrize("shuffle", [False, True])
def test_duplicates_repeat_that_share_of_messages_later_and_byte_for_byte(
    *, shuffle: bool
) -> None:
    """The repeat has the same id and payload and comes after the first."""
    messages = events(stream(duplicates=0.05, shuffle=shuffle))
    repeats = [m for m in messages if m.is_duplicate]
    assert len(repeats) == round(0.05 * (len(messages) - len(repeats)))
    seen: set[bytes] = set()
    for message in messages:
        assert (message.payload in seen) == message.is_duplicate
        seen.add(message.payload)


def test_loop_goes_on_with_the_next_day_and_new_ids() -> None:
    """The clock runs on over midnight; receipts come again as the next day's events."""
    replay = replay_of(sales(), ReplayOptions(seed=7, baskets=15, loop=True))
    n_ticks_a_day = timedelta(days=1) // TICK
    messages = list(islice(replay.publications(), 3 * n_ticks_a_day))
    assert all(a.at <= b.at for a, b in pairwise(messages))
    ticks = [m.at for m in messages if m.is_tick]
    assert all(b - a == TICK for a, b in pairwise(ticks))
    ids = [m.id for m in messages if not m.is_tick]
    assert len(set(ids)) == len(ids)
    paid = [m.at for m in messages if b'"sale.completed"' in m.payload]
    assert [b - a for a, b in zip(paid, paid[15:], strict=False)] == [timedelta(days=1)] * len(
        paid[15:]
    )
    assert len(paid) >= 30
    consents = [m for m in messages if m.source == "consent-desk"]
    assert consents
    assert all(m.at < replay.first.opened_at for m in consents)


def test_day_without_receipts_is_a_clock_alone() -> None:
    """Cutting everything off leaves nothing to sense."""
    messages = tuple(replay_of(sales(), ReplayOptions(until=time(0, 1))).publications())
    assert messages
    assert all(message.is_tick for message in messages)
