"""Plays a stream at a chosen speed: paces it, publishes it, counts it.

What is played is decided by `ReplayOptions` alone; how fast the machine is changes only when a
message is published, never which, nor in which order.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time
from itertools import count
from pathlib import Path
from typing import Final, Protocol

from edge_agent.errors import ConfigError
from edge_agent.replay.dataset import (
    DEFAULT_DAY,
    DEFAULT_TIMEZONE,
    SalesDay,
    load_day,
    load_histories,
)
from edge_agent.replay.identifiers import RawIdentifier
from edge_agent.replay.layout import Layout, store_layout
from edge_agent.replay.simulate import SimulatedDay, profile_commands, simulate_day
from edge_agent.replay.stream import Disturbance, Publication, closes_at, publications
from edge_agent.wire.downlink import ProfileCommand

PROGRESS_EVERY: Final = 50
"""Messages between two calls of the progress callback."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayOptions:
    """Which day, and what is done to it.

    Attributes:
        speed: Simulated seconds in one real second; None for as fast as the broker takes it.
        loop: Whether the same sales come again as the next day's, for ever.
        duplicates: Share of messages published twice, 0..1.
        shuffle: Whether messages come late and out of order.
        baskets: Only the first so many receipts of the day.
        until: Only receipts paid before this local time.
    """

    day: date = DEFAULT_DAY
    timezone: str = DEFAULT_TIMEZONE
    store: str = "s42"
    seed: int = 0
    speed: float | None = None
    loop: bool = False
    duplicates: float = 0.0
    shuffle: bool = False
    baskets: int | None = None
    until: time | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a replay has come.

    Attributes:
        published: Messages so far, ticks included.
        now: The simulated instant.
        share: Share of the day's simulated time, 0..1.
    """

    published: int
    now: datetime
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayReport:
    """What was published.

    Attributes:
        events: Messages with an event, repeated ones included.
        duplicates: How many of them were repeats.
        ticks: Messages of the clock.
        n_bytes: Payload bytes of the events.
        wall_s: Real seconds from the first message to the last acknowledgement.
        is_complete: False when it was stopped before the end.
    """

    events: int
    duplicates: int
    ticks: int
    n_bytes: int
    wall_s: float
    is_complete: bool


class Publisher(Protocol):
    """Where messages go."""

    def publish(self, topic: str, payload: bytes) -> None:
        """Publishes after all earlier messages."""

    def flush(self) -> None:
        """Returns when all of them have arrived."""


def _ignore(*_: object) -> None:
    """Does nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """Who is told how a replay goes on; all are called in the thread that plays.

    Attributes:
        on_publish: Called with each message right before it is published.
        on_progress: Called now and then, and at the end.
        on_opened: Called once, when the broker has the consents from before the day and before
            anybody is in the store: the moment at which HQ sends its profiles.
        on_day: Called with each day before its first message.
    """

    on_publish: Callable[[Publication], None] = _ignore
    on_progress: Callable[[Progress], None] = _ignore
    on_opened: Callable[[], None] = _ignore
    on_day: Callable[[SimulatedDay], None] = _ignore


NOBODY_WATCHES: Final = Watch()


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """A prepared day: the real sales, the store, and what its sensors report."""

    options: ReplayOptions
    sales: SalesDay
    layout: Layout
    first: SimulatedDay

    def days(self) -> Iterator[SimulatedDay]:
        """Yields the day; with `loop`, the same sales as every following day's too."""
        yield self.first
        if self.options.loop:
            for n in count(1):
                later = simulate_day(self.sales.moved(n), self.layout, seed=self.options.seed)
                # Whoever consented on the first day need not do so again.
                yield later.without_opening()

    def profiles(self, *, folder: Path | None = None) -> tuple[ProfileCommand, ...]:
        """Reads what HQ knows of those who consented, as its commands to the store."""
        first = self.first
        histories = load_histories(first.cardholders, first.starts_at, folder=folder)
        return profile_commands(first, histories, store=self.options.store)

    def publications(
        self, *, on_day: Callable[[SimulatedDay], None] = _ignore
    ) -> Iterator[Publication]:
        """Yields every message in its order."""
        options = self.options
        disturbance = Disturbance(
            seed=options.seed, duplicates=options.duplicates, shuffle=options.shuffle
        )
        days = (_told(day, on_day) for day in self.days())
        return publications(days, store=options.store, disturbance=disturbance)


def prepare(options: ReplayOptions, *, folder: Path | None = None) -> Replay:
    """Reads the day and simulates it.

    Raises:
        DataSetError: The data set is not there, or has no such day.
    """
    return replay_of(load_day(options.day, timezone=options.timezone, folder=folder), options)


def replay_of(whole: SalesDay, options: ReplayOptions) -> Replay:
    """Returns the replay of a day that is read already, cut as the options say."""
    sales = whole.cut(baskets=options.baskets, until=options.until)
    layout = store_layout()
    first = simulate_day(sales, layout, seed=options.seed)
    return Replay(options=options, sales=sales, layout=layout, first=first)


def play(
    replay: Replay,
    publisher: Publisher,
    *,
    monotonic: Callable[[], float],
    stop: threading.Event | None = None,
    watch: Watch = NOBODY_WATCHES,
) -> PlayReport:
    """Publishes the replay at its speed and returns what was published.

    Args:
        replay: What to play.
        publisher: Where to.
        monotonic: A clock in seconds that never steps back.
        stop: Set it to end the replay early.
        watch: Who is told of what.

    Raises:
        BrokerError: The broker acknowledges nothing any more.
    """
    stop = stop or threading.Event()
    pace = _Pace(replay, monotonic, stop)
    tally = _Tally()
    opened_at = replay.first.opened_at
    is_open = False
    for message in replay.publications(on_day=watch.on_day):
        if not is_open and message.at >= opened_at:
            is_open = True
            publisher.flush()
            pace.hold(watch.on_opened)
        if not pace.wait_for(message.at):
            break
        watch.on_publish(message)
        publisher.publish(message.topic, message.payload)
        tally.count(message)
        if tally.published % PROGRESS_EVERY == 0:
            watch.on_progress(pace.progress(tally.published, message.at))
    publisher.flush()
    watch.on_progress(pace.progress(tally.published, tally.last_at or opened_at))
    return tally.report(wall_s=pace.wall_s, is_complete=not stop.is_set())


def write_identifiers(
    path: Path, identifiers: Iterable[RawIdentifier], *, more: bool = False
) -> None:
    """Writes raw identifiers as JSON lines; `more` adds to what the file holds.

    Raises:
        ConfigError: The file cannot be written.
    """
    try:
        with path.open("a" if more else "w", encoding="utf-8") as file:
            for each in identifiers:
                file.write(json.dumps({"kind": each.kind, "value": each.value}) + "\n")
    except OSError as error:
        raise ConfigError(
            f"--identifiers {path}: {error.strerror}",
            hint="name a file in a folder that exists and may be written",
        ) from error


def _told(day: SimulatedDay, on_day: Callable[[SimulatedDay], None]) -> SimulatedDay:
    on_day(day)
    return day


class _Tally:
    """Counts what was published."""

    def __init__(self) -> None:
        self.published = 0
        self.last_at: datetime | None = None
        self._ticks = 0
        self._duplicates = 0
        self._n_bytes = 0

    def count(self, message: Publication) -> None:
        """Adds one message."""
        self.published += 1
        self.last_at = message.at
        if message.is_tick:
            self._ticks += 1
        else:
            self._duplicates += message.is_duplicate
            self._n_bytes += len(message.payload)

    def report(self, *, wall_s: float, is_complete: bool) -> PlayReport:
        """Returns the sums."""
        return PlayReport(
            events=self.published - self._ticks,
            duplicates=self._duplicates,
            ticks=self._ticks,
            n_bytes=self._n_bytes,
            wall_s=wall_s,
            is_complete=is_complete,
        )


class _Pace:
    """Ties simulated time to real time."""

    def __init__(
        self, replay: Replay, monotonic: Callable[[], float], stop: threading.Event
    ) -> None:
        self._speed = replay.options.speed
        self._monotonic = monotonic
        self._stop = stop
        self._first_at = replay.first.starts_at
        self._length = closes_at(replay.first) - self._first_at
        self._began_s = self._anchor_s = monotonic()

    @property
    def wall_s(self) -> float:
        """Real seconds since the beginning."""
        return self._monotonic() - self._began_s

    def hold(self, action: Callable[[], None]) -> None:
        """Does something while simulated time stands still."""
        held_s = self._monotonic()
        action()
        self._anchor_s += self._monotonic() - held_s

    def wait_for(self, at: datetime) -> bool:
        """Returns True when `at` has come, False when the replay is to stop."""
        if self._speed is not None:
            due_s = self._anchor_s + (at - self._first_at).total_seconds() / self._speed
            wait_s = due_s - self._monotonic()
            if wait_s > 0:
                return not self._stop.wait(wait_s)
        return not self._stop.is_set()

    def progress(self, published: int, at: datetime) -> Progress:
        """Returns how far things are."""
        return Progress(
            published=published, now=at, share=min(1.0, (at - self._first_at) / self._length)
        )
