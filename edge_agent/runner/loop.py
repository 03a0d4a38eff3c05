"""Queue to batch to commit to acknowledgement to outbox: the loop that proves progress.

Two lanes. A batch in which something asks for a decision commits as soon as what already waits is
taken in, within a small bound; a batch of quiet events may wait `quiet_wait_ms` for company,
which spares the disk. It never waits for a number of messages: the broker may not send more
before it is acknowledged.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Final

from edge_agent.domain.time import SECOND_MS
from edge_agent.runner.steps import HalfApplied

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from edge_agent.ports import Clock, UnitOfWork
    from edge_agent.runner.acknowledgements import Acknowledgements
    from edge_agent.runner.answering import Answering
    from edge_agent.runner.calls import Calls
    from edge_agent.runner.commits import Commits
    from edge_agent.runner.outbox import HqOutbox
    from edge_agent.runner.periods import Periods
    from edge_agent.runner.road import Road
    from edge_agent.runner.settings import RoadSettings
    from edge_agent.runner.store_trouble import StoreTrouble
    from edge_agent.runner.taking import Taking
    from edge_agent.runner.waiting import Message, Waiting

log = logging.getLogger(__name__)

# Longest sleep: time must pass, and the watchdog be fed, when nothing comes.
IDLE_S: Final = 0.25
# What is taken in after the first urgent event of a batch, if it waits already.
URGENT_COMPANY: Final = 100
QUEUE_SHARES: Final = 4


class Loop:
    """Runs the road until it is told to stop.

    Attributes:
        waiting: Where the network threads put messages.
        calls: Where other threads ask for something to be done.
        trouble: What is wrong with the database now.
    """

    def __init__(
        self,
        *,
        settings: RoadSettings,
        road: Road,
        unit: UnitOfWork,
        clock: Clock,
        waiting: Waiting,
        calls: Calls,
        taking: Taking,
        commits: Commits,
        acknowledgements: Acknowledgements,
        periods: Periods,
        answering: Answering,
        trouble: StoreTrouble,
        hq_outbox: HqOutbox | None,
        on_progress: Callable[[], None],
        on_idle: Callable[[int], None],
        stopping: threading.Event,
    ) -> None:
        self._settings = settings
        self._road = road
        self._unit = unit
        self._clock = clock
        self.waiting = waiting
        self.calls = calls
        self._taking = taking
        self._commits = commits
        self._acknowledgements = acknowledgements
        self._periods = periods
        self._answering = answering
        self.trouble = trouble
        self._hq_outbox = hq_outbox
        self._on_progress = on_progress
        self._on_idle = on_idle
        self._stopping = stopping

    def run(self) -> None:
        """Runs until stopped; the batch at hand is finished first."""
        self._periods.close()
        while not self._stopping.is_set():
            messages = self._gather()
            self._finish(messages)
            self._answering.answer_all()
            self._on_progress()
        self.calls.end()

    def _gather(self) -> list[Message]:
        """Takes a batch in; returns its messages."""
        messages: list[Message] = []
        message = self.waiting.next(IDLE_S)
        self._taking.take_all(messages)
        if message is None:
            # What was set aside meanwhile, or is held back, is not waited for by anybody.
            self.waiting.forget_times()
            return messages
        deadline_s = self._clock.monotonic_s() + self._settings.quiet_wait_ms / SECOND_MS
        n_events = company = 0
        while message is not None:
            messages.append(message)
            try:
                n_events += self._taking.take(message)
            except HalfApplied:
                self._taking.undo()
                n_events = self._taking.take_all(messages)
            if self._is_enough(n_events):
                break
            company += self._road.outgoing.is_urgent
            message = self._company(company, deadline_s)
        return messages

    def _is_enough(self, n_events: int) -> bool:
        # A period is closed on the state as it was when its time came, not on a batch's.
        is_full = n_events >= self._settings.batch_events
        return bool(self.calls) or is_full or self._periods.is_due

    def _company(self, company: int, deadline_s: float) -> Message | None:
        """Returns the next message for the open batch; None when it waits for no more."""
        if not self._road.outgoing.is_urgent:
            return self.waiting.next(deadline_s - self._clock.monotonic_s())
        # In a flood nobody is served sooner by committing early: the more wait, the more go
        # together.
        bound = max(URGENT_COMPANY, self.waiting.n_queued // QUEUE_SHARES)
        return self.waiting.next(0.0) if company <= bound else None

    def _finish(self, messages: list[Message]) -> None:
        """Sees a batch through: commit, acknowledgement, and what follows from them."""
        self._commits.commit(partial(self._taking.take_all, messages), messages)
        self._acknowledgements.send(messages)
        self.waiting.let_go(messages)
        self.waiting.resume()
        self._periods.close()
        self._send_to_hq()
        if not messages:
            self._on_idle(self._road.present.now_ms)

    def _send_to_hq(self) -> None:
        if self._hq_outbox is None:
            return
        n_aside = self._hq_outbox.pump(self._unit)
        if n_aside:
            self._road.counters["hq_unanswered"] += n_aside
            log.warning("hq_answers_not", extra={"fields": {"set_aside": n_aside}})
