"""Playing paces, publishes and counts, and changes nothing of the stream."""

from __future__ import annotations

import json
import threading
from datetime import datetime, time, timedelta
from functools import cache
from pathlib import Path

import pytest
from typing_extensions import override

from edge_agent.replay.dataset import SalesDay, load_day
from edge_agent.replay.play import (
    Progress,
    Replay,
    ReplayOptions,
    Watch,
    play,
    replay_of,
    write_identifiers,
)
from edge_agent.replay.simulate import SimulatedDay
from edge_agent.replay.stream import closes_at
from edge_agent.wire.events import EVENT


@cache
def sales() -> SalesDay:
    """The real day, read once."""
    return load_day()


@cache
def prepared(*, speed: float | None = None, duplicates: float = 0.0) -> Replay:
    """An early morning."""
    return replay_of(
        sales(), ReplayOptions(seed=7, speed=speed, duplicates=duplicates, until=time(5))
    )


def length_s(replay: Replay) -> float:
    """Simulated seconds from the first message to the last."""
    return (closes_at(replay.first) - replay.first.starts_at).total_seconds()


class Recorder:
    """A publisher that keeps what it is given, and when it was asked to flush."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, bytes]] = []
        self.flushed_after: list[int] = []

    def publish(self, topic: str, payload: bytes) -> None:
        """Keeps the message."""
        self.messages.append((topic, payload))

    def flush(self) -> None:
        """Keeps how many there were."""
        self.flushed_after.append(len(self.messages))


class HandClock(threading.Event):
    """A clock that only waiting moves; it is also what the replay waits on."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 100.0

    def monotonic(self) -> float:
        """The present second."""
        return self.now_s

    @override
    def wait(self, timeout: float | None = None) -> bool:
        """Passes the time at once."""
        self.now_s += timeout or 0.0
        return self.is_set()


def test_everything_is_published_in_the_streams_order() -> None:
    """The player drops, adds and re-orders nothing."""
    recorder, clock = Recorder(), HandClock()
    report = play(prepared(), recorder, monotonic=clock.monotonic, stop=clock)
    expected = [(m.topic, m.payload) for m in prepared().publications()]
    assert recorder.messages == expected
    assert report.events + report.ticks == len(expected)
    assert report.is_complete
    assert recorder.flushed_after[-1] == len(expected)


def test_report_counts_repeats_and_bytes_of_events() -> None:
    """Ticks weigh nothing; a repeat counts as an event and as a duplicate."""
    replay = prepared(duplicates=0.05)
    recorder, clock = Recorder(), HandClock()
    report = play(replay, recorder, monotonic=clock.monotonic, stop=clock)
    told = [m for m in replay.publications() if not m.is_tick]
    assert report.events == len(told)
    assert report.duplicates == round(0.05 * (len(told) - report.duplicates)) > 0
    assert report.n_bytes == sum(len(m.payload) for m in told)


def test_speed_is_simulated_seconds_in_a_real_one() -> None:
    """At 3600 an hour takes one second, and each message comes when its time has come."""
    replay, clock = prepared(speed=3600.0), HandClock()
    late_s: list[float] = []

    def note(at: datetime) -> None:
        due_s = 100.0 + (at - replay.first.starts_at).total_seconds() / 3600.0
        late_s.append(clock.now_s - due_s)

    watch = Watch(on_publish=lambda message: note(message.at))
    report = play(replay, Recorder(), monotonic=clock.monotonic, stop=clock, watch=watch)
    assert max(map(abs, late_s)) < 1e-6
    assert report.wall_s == pytest.approx(length_s(replay) / 3600.0, abs=0.1)


def test_pause_at_the_opening_is_not_caught_up() -> None:
    """While HQ sends its profiles the simulated day waits."""
    clock = HandClock()

    def pause() -> None:
        clock.now_s += 30.0

    report = play(
        prepared(speed=3600.0),
        Recorder(),
        monotonic=clock.monotonic,
        stop=clock,
        watch=Watch(on_opened=pause),
    )
    assert report.wall_s == pytest.approx(30.0 + length_s(prepared()) / 3600.0, abs=0.1)


def test_opening_comes_once_after_all_consents_and_before_any_visit() -> None:
    """Everything published so far is acknowledged by then."""
    recorder, clock = Recorder(), HandClock()
    opened_after: list[int] = []
    watch = Watch(on_opened=lambda: opened_after.append(len(recorder.messages)))
    play(prepared(), recorder, monotonic=clock.monotonic, stop=clock, watch=watch)
    assert len(opened_after) == 1
    assert recorder.flushed_after[0] == opened_after[0]
    types = [
        EVENT.validate_json(payload).type
        for topic, payload in recorder.messages
        if "/event/" in topic
    ]
    before = [
        payload for topic, payload in recorder.messages[: opened_after[0]] if "/event/" in topic
    ]
    n_consents = len(prepared().first.opening)
    assert n_consents > 0
    assert types[:n_consents] == ["consent.granted"] * n_consents
    assert len(before) == n_consents


def test_stop_ends_the_replay_and_says_so() -> None:
    """What was published until then is still acknowledged."""
    recorder, clock = Recorder(), HandClock()

    def stop_soon(progress: Progress) -> None:
        if progress.published >= 100:
            clock.set()

    watch = Watch(on_progress=stop_soon)
    report = play(prepared(), recorder, monotonic=clock.monotonic, stop=clock, watch=watch)
    assert not report.is_complete
    assert len(recorder.messages) == 100
    assert recorder.flushed_after[-1] == 100


def test_progress_grows_from_nothing_to_the_whole() -> None:
    """A bar that is fed by it reaches its end."""
    seen: list[Progress] = []
    clock = HandClock()
    play(
        prepared(),
        Recorder(),
        monotonic=clock.monotonic,
        stop=clock,
        watch=Watch(on_progress=seen.append),
    )
    shares = [each.share for each in seen]
    assert shares == sorted(shares)
    assert shares[0] < 0.01
    assert shares[-1] > 0.999
    assert seen[-1].now - seen[0].now > timedelta(hours=23)


def test_watch_is_told_of_each_day_before_its_first_message() -> None:
    """So that its identifiers can be noted before anybody can see them."""
    recorder, clock = Recorder(), HandClock()
    told: list[tuple[SimulatedDay, int]] = []
    watch = Watch(on_day=lambda day: told.append((day, len(recorder.messages))))
    play(prepared(), recorder, monotonic=clock.monotonic, stop=clock, watch=watch)
    assert told == [(prepared().first, 0)]


def test_identifiers_are_written_as_json_lines(tmp_path: Path) -> None:
    """One object a line; more can be added."""
    path = tmp_path / "identifiers.jsonl"
    identifiers = prepared().first.identifiers
    write_identifiers(path, identifiers)
    read = [json.loads(line) for line in path.read_text().splitlines()]
    assert read == [{"kind": each.kind, "value": each.value} for each in identifiers]
    write_identifiers(path, identifiers[:2], more=True)
    assert len(path.read_text().splitlines()) == len(identifiers) + 2
