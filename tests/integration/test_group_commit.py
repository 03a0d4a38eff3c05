"""Two lanes and a bound: who waits for company, who does not, and when nothing more is read."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import pytest
from typing_extensions import override

from edge_agent.shell.clock import SystemClock
from tests.factories import T0
from tests.integration.broker import Broker
from tests.integration.driven_agent import DrivenAgent, driven_agent, entered, told
from tests.integration.running_agent import DEADLINE_S, Device, device, wait_for

QUIET_S: Final = 60.0
"""Longer than any of these tests: what waits for its end waits for the clock's hands."""
QUEUE: Final = 1_000
BATCH: Final = 50
BOUNDED: Final = f"quiet_wait_ms = 0\nqueue_messages = {QUEUE}\nbatch_events = {BATCH}"


class HandClock(SystemClock):
    """A clock whose hands are moved."""

    elapsed_s = 0.0

    @override
    def now_ms(self) -> int:
        """Returns the present instant, which stands still."""
        return T0

    @override
    def monotonic_s(self) -> float:
        """Returns seconds that only ever grow."""
        return self.elapsed_s


@dataclass(slots=True)
class Store:
    """An agent with nothing left to do, and every commit from then on."""

    agent: DrivenAgent
    clock: HandClock
    commits: list[str]

    @property
    def acked(self) -> list[int]:
        """The messages that were acknowledged, by their numbers."""
        return [each.mid for each in self.agent.link.acked]

    def comes(self, event: dict[str, Any]) -> None:
        """Hands one event to the batch that is open, and waits until it is taken off the queue."""
        self.agent.hand(event)
        wait_for(lambda: self.agent.loop.waiting.n_queued == 0, what="its taking")

    def quiet_time_ends(self) -> None:
        """Lets so much time pass that nobody waits for company any more."""
        self.clock.elapsed_s += QUIET_S
        self.agent.loop.calls._wake()

    @contextmanager
    def taking(self, first: dict[str, Any]) -> Iterator[None]:
        """Takes one batch beside the block, which that event begins."""
        self.agent.hand(first)
        thread = threading.Thread(target=self.agent.turn)
        thread.start()
        try:
            wait_for(lambda: self.agent.loop.waiting.n_queued == 0, what="its taking")
            yield
        finally:
            self.quiet_time_ends()
            thread.join(DEADLINE_S)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A store in which quiet events wait a minute for company."""
    clock = HandClock(floor_ms=T0)
    with driven_agent(tmp_path, clock="system", system_clock=lambda **_: clock) as agent:
        agent.turn()
        settings = agent.loop._settings
        agent.loop._settings = replace(settings, quiet_wait_ms=round(QUIET_S * 1_000))
        commits: list[str] = []
        agent.agent._db.set_trace_callback(
            lambda sql: commits.append(sql) if sql == "COMMIT" else None
        )
        yield Store(agent, clock, commits)
        agent.agent._db.set_trace_callback(None)


def seen(number: int) -> dict[str, Any]:
    """Returns that a receiver hears a phone."""
    visitor = {"kind": "track", "value": f"t{number}"}
    return told("ble-1", "visitor.detected", T0, f"seen-{number}", visitor=visitor)


def dwelt(number: int) -> dict[str, Any]:
    """Returns that somebody has been in a zone for a while."""
    visitor = {"kind": "track", "value": f"t{number}"}
    return told(
        "cam-1", "zone.dwell", T0, f"dwelt-{number}", visitor=visitor, zone="dairy", dwell_s=5
    )


def test_quiet_events_share_one_commit(store: Store) -> None:
    """Presence and dwell wait for each other, unacknowledged, and are written together."""
    with store.taking(seen(1)):
        for event in (dwelt(1), seen(2), dwelt(2)):
            store.comes(event)
        assert (store.commits, store.acked) == ([], [])
    assert len(store.commits) == 1
    assert store.acked == [1, 2, 3, 4]
    assert store.agent.rows("SELECT count(*) FROM inbox") == [(4,)]


def test_what_asks_for_a_decision_takes_the_quiet_ones_along_at_once(store: Store) -> None:
    """The clock stands still: nothing but its coming ends the wait of those before it."""
    with store.taking(seen(1)):
        store.comes(dwelt(1))
        assert store.commits == []
        store.agent.hand(entered(T0, 2))
        wait_for(lambda: len(store.acked) == 3, what="the end of the batch")
        assert len(store.commits) == 1
        assert any("/screen/" in topic for topic, _, _ in store.agent.sent)


def test_what_asks_for_a_decision_waits_for_nobody(store: Store) -> None:
    """Alone in its batch it is committed while the clock stands still."""
    with store.taking(entered(T0, 1)):
        wait_for(lambda: store.acked == [1], what="the end of the batch")
        assert len(store.commits) == 1


def test_over_its_bound_it_reads_no_more_until_half_is_done(tmp_path: Path) -> None:
    """Paused by the message over `queue_messages`, resumed below half of them, and so again."""
    with driven_agent(tmp_path, ingest=BOUNDED) as agent:
        n_before = len(agent.link.acked)
        for round_ in range(2):
            first = round_ * 2 * QUEUE
            while agent.loop.waiting.n_queued < QUEUE:
                agent.hand(seen(first + agent.loop.waiting.n_queued))
            assert not agent.link.is_paused
            agent.hand(seen(first + QUEUE))
            assert agent.link.is_paused
            for _ in range(QUEUE // BATCH):
                agent.turn()
                assert agent.link.is_paused == (agent.loop.waiting.n_queued >= QUEUE // 2)
            assert not agent.link.is_paused
        while agent.loop.waiting.n_queued or len(agent.link.acked) < agent._n_sent:
            agent.turn()
        assert agent.rows("SELECT count(*) FROM inbox") == [(agent._n_sent - n_before,)]


def test_a_link_is_not_left_paused_by_two_threads_at_once(tmp_path: Path) -> None:
    """The core thread takes the last message off while a network thread is about to pause."""
    with driven_agent(tmp_path, ingest=BOUNDED) as agent:
        waiting, link = agent.loop.waiting, agent.link

        def resume() -> None:
            while waiting.n_queued:
                waiting._queue.get_nowait()
            waiting.resume()

        core = threading.Thread(target=resume)

        def pause() -> None:
            core.start()
            core.join(0.2)
            link.is_paused = True

        with patch.object(type(link), "pause", lambda _: pause()):
            for n in range(QUEUE + 1):
                agent.hand(seen(n))
        core.join(DEADLINE_S)
        waiting.resume()
        assert not link.is_paused


@pytest.mark.broker
def test_a_paused_link_leaves_the_messages_with_the_broker(broker: Broker) -> None:
    """It reads nothing while another one hears all, and misses nothing when it reads on."""
    topics = [f"store/s1/event/{number}" for number in range(5)]
    with device(broker.port) as sender, device(broker.port) as paused, device(broker.port) as free:
        paused.link.pause()
        # The turn that had begun before may still read: this message is the end of it.
        paused.raw("turned", b"1")
        wait_for(lambda: free.heard("turned"), what="a turn")
        for topic in topics:
            sender.raw(topic, b"{}")
        wait_for(lambda: _heard(free, topics) == topics, what="all of them")
        assert _heard(paused, topics) == []
        assert paused.link.connected
        paused.link.resume()
        wait_for(lambda: _heard(paused, topics) == topics, what="all of them")


def _heard(listening: Device, topics: list[str]) -> list[str]:
    return [topic for topic in topics if listening.heard(topic)]
