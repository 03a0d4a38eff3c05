"""Queue to batch to commit to acknowledgement to outbox: the loop that proves progress.

Two lanes. A batch in which something asks for a decision commits as soon as what already waits is
taken in, within a small bound; a batch of quiet events may wait `quiet_wait_ms` for company,
which spares the disk. It never waits for a number of messages: the broker may not send more
before it is acknowledged.

When the disk is full nothing is acknowledged: the batch is tried again from its messages until it
holds. Only what restricts, such as a consent that is withdrawn, is written and acknowledged
meanwhile, into room that is kept for it; nothing else is written before that room is kept again.
"""

from __future__ import annotations

import logging
from collections import deque
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final

from edge_agent.domain.effects import SendToHq
from edge_agent.domain.time import SECOND_MS
from edge_agent.errors import StoreError, StoreFull, StoreRefused
from edge_agent.runner.calls import Calls
from edge_agent.runner.parts import parts_of
from edge_agent.runner.restricting import restricts
from edge_agent.runner.steps import HalfApplied
from edge_agent.wire import topics

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from edge_agent.ports import Clock, Delivery, Link, Reserve, UnitOfWork
    from edge_agent.runner.dead_letters import DeadLetters
    from edge_agent.runner.hold_back import HoldBack
    from edge_agent.runner.outbox import HqOutbox, StoreOutbox
    from edge_agent.runner.road import Road
    from edge_agent.runner.settings import RoadSettings
    from edge_agent.runner.summarise import Summariser
    from edge_agent.wire.summaries import GatewayState

log = logging.getLogger(__name__)

# Longest sleep: time must pass, and the watchdog be fed, when nothing comes.
IDLE_S: Final = 0.25
TICK_MS: Final = 1_000
# What is taken in after the first urgent event of a batch, if it waits already.
URGENT_COMPANY: Final = 100
QUEUE_SHARES: Final = 4
RETRY_FIRST_S: Final = 0.5
RETRY_CEILING_S: Final = 5.0
# Broker acknowledgements of our own messages that are worth a commit by themselves.
SENT_ROWS_PER_COMMIT: Final = 200
# Messages that are decoded and looked up together.
LOOK_AHEAD: Final = 200
META_EVERY_S: Final = 60.0
DECIDE_WITHIN_MS: Final = 1_000
"""The time budget of an answer, from when its event came: what a screen may take at most."""

Message = tuple[str, Any]


class Loop:
    """Runs the road until it is told to stop."""

    def __init__(
        self,
        *,
        settings: RoadSettings,
        road: Road,
        unit: UnitOfWork,
        dead_letters: DeadLetters,
        store_link: Link,
        hq_link: Link | None,
        store_outbox: StoreOutbox,
        hq_outbox: HqOutbox | None,
        summariser: Summariser,
        clock: Clock,
        reserve: Reserve,
        hold_back: HoldBack | None = None,
        rebuild: Callable[[], None],
        on_progress: Callable[[], None],
        on_idle: Callable[[int], None],
        on_trouble: Callable[[], None],
        stopping: threading.Event,
        state_of: Callable[[int], GatewayState],
    ) -> None:
        self._settings = settings
        self._road = road
        self._unit = unit
        self._dead_letters = dead_letters
        self._store_link = store_link
        self._hq_link = hq_link
        self._store_outbox = store_outbox
        self._hq_outbox = hq_outbox
        self._summariser = summariser
        self._clock = clock
        self._reserve = reserve
        self._hold_back = hold_back
        self._rebuild = rebuild
        self._on_progress = on_progress
        self._on_idle = on_idle
        self._on_trouble = on_trouble
        self._stopping = stopping
        self._state_of = state_of
        self._queue: SimpleQueue[tuple[str, Any, float | None]] = SimpleQueue()
        # When messages came that wait, by identity, where that matters.
        self._came_s: dict[int, float] = {}
        # Taken off the queue and looked at together, not yet in a batch.
        self._ready: deque[Message] = deque()
        # A message that asks for nothing wakes this thread when it sleeps.
        self.calls = Calls(wake=partial(self._queue.put, ("call", None, None)))
        self._is_paused = False
        self._next_tick_ms = 0
        self._next_meta_s = 0.0
        self._store_trouble = ""
        self.problem = ""
        self._forgotten: list[int] = []
        road.present.closed_until_ms = summariser.closed_until_ms

    # --- called by the network threads --------------------------------------------------------

    def put(self, link: str, delivery: Delivery) -> None:
        """Queues a message; called in a network thread. `link` is `store` or `hq`."""
        # When it came matters only where the chain says what is too late.
        came_s = self._clock.monotonic_s() if self._road.present.hurry_ms else None
        self._queue.put((link, delivery, came_s))
        if self._queue.qsize() > self._settings.queue_messages and not self._is_paused:
            self._is_paused = True
            self._store_link.pause()

    @property
    def store_trouble(self) -> str:
        """What is wrong with the database now; empty when it is well.

        `problem` is its short name, as the agent's state tells it.
        """
        return self._store_trouble

    @property
    def n_queued(self) -> int:
        """Messages that wait."""
        return self._queue.qsize()

    # --- the core thread ----------------------------------------------------------------------

    def run(self) -> None:
        """Runs until stopped; the batch at hand is finished first."""
        self._close_periods()
        while not self._stopping.is_set():
            messages = self._gather()
            self._finish(messages)
            self._answer_calls()
            self._on_progress()
        self.calls.end()

    def _gather(self) -> list[Message]:
        road = self._road
        messages: list[Message] = []
        first = self._next(IDLE_S)
        self._take_all(messages)
        if first is None:
            # What was set aside meanwhile, or is held back, is not waited for by anybody.
            self._came_s.clear()
            return messages
        deadline_s = self._clock.monotonic_s() + self._settings.quiet_wait_ms / SECOND_MS
        n_events = company = 0
        message: Message | None = first
        while message is not None:
            messages.append(message)
            try:
                n_events += self._take(message)
            except HalfApplied:
                self._undo()
                n_events = self._take_all(messages)
            if self.calls:
                break
            if n_events >= self._settings.batch_events or self._summariser.is_due(
                road.present.now_ms
            ):
                # A period is closed on the state as it was when its time came, not on a batch's.
                break
            if road.outgoing.is_urgent:
                company += 1
                # In a flood nobody is served sooner by committing early: the more wait, the more
                # go together.
                bound = max(URGENT_COMPANY, self._queue.qsize() // QUEUE_SHARES)
                message = self._next(0.0) if company <= bound else None
            else:
                message = self._next(deadline_s - self._clock.monotonic_s())
        return messages

    def _take(self, message: Message) -> int:
        link, delivery = message
        if link == "call":
            return 0
        if link == "hq":
            self._road.commands.take(delivery)
            return 1
        if not self._settings.is_replay:
            now_ms = self._clock.now_ms()
            if now_ms != self._road.present.now_ms:
                self._road.present.set_now(now_ms)
        self._road.present.hurry(self._left_ms(delivery))
        n_events = self._road.take(delivery)
        self._road.present.hurry(None)
        return n_events

    def _left_ms(self, delivery: Delivery) -> float | None:
        """Returns what is left of the time for an answer to a message; None for enough."""
        came_s = self._came_s.pop(id(delivery), None) if self._came_s else None
        if came_s is None:
            return None
        left_ms = DECIDE_WITHIN_MS - (self._clock.monotonic_s() - came_s) * SECOND_MS
        return left_ms if left_ms < self._road.present.hurry_ms else None

    def _next(self, wait_s: float) -> Message | None:
        if not self._ready:
            self._fill(wait_s)
        return self._ready.popleft() if self._ready else None

    def _fill(self, wait_s: float) -> None:
        """Takes what waits off the queue and looks at it together.

        Args:
            wait_s: How long to wait when nothing does, in seconds.
        """
        came = self._came(wait_s)
        if self._hold_back is not None:
            came = self._in_order(came, wait_s, self._hold_back)
        if came:
            self._ready.extend(came)
            self._road.intake.look_ahead([delivery for link, delivery in came if link == "store"])

    def _came(self, wait_s: float) -> list[Message]:
        first = self._wait(wait_s)
        came = [] if first is None else [first]
        while came and len(came) <= LOOK_AHEAD:
            try:
                came.append(self._noted(self._queue.get_nowait()))
            except Empty:
                break
        return came

    def _in_order(self, came: list[Message], wait_s: float, line: HoldBack) -> list[Message]:
        """Returns what may go on of what came, waiting on as long as that is nothing."""
        until_s = self._clock.monotonic_s() + wait_s
        ready = line.pass_on(came, now_ms=self._clock.now_ms())
        while not ready and (left_s := until_s - self._clock.monotonic_s()) > 0:
            due_s = line.wait_s(self._clock.now_ms())
            came = self._came(left_s if due_s is None else min(left_s, due_s))
            ready = line.pass_on(came, now_ms=self._clock.now_ms())
        return ready

    def _wait(self, wait_s: float) -> Message | None:
        try:
            if wait_s > 0:
                return self._noted(self._queue.get(timeout=wait_s))
            return self._noted(self._queue.get_nowait())
        except Empty:
            return None

    def _noted(self, queued: tuple[str, Any, float | None]) -> Message:
        """Returns a message that was queued, and notes when it came."""
        link, delivery, came_s = queued
        if came_s is not None and link == "store":
            self._came_s[id(delivery)] = came_s
        return link, delivery

    def _begin(self) -> None:
        self._road.begin_batch()
        self._dead_letters.begin_batch()

    def _pass_time(self) -> None:
        if self._settings.is_replay:
            return
        now_ms = self._clock.now_ms()
        if now_ms >= self._next_tick_ms:
            self._next_tick_ms = now_ms + TICK_MS
            self._road.time.move_on(now_ms)

    def _finish(self, messages: list[Message]) -> None:
        self._commit(lambda: self._take_all(messages), messages)
        self._acknowledge(messages)
        if self._is_paused and self._queue.qsize() < self._settings.queue_messages // 2:
            self._is_paused = False
            self._store_link.resume()
        self._close_periods()
        if self._hq_outbox is not None:
            n_aside = self._hq_outbox.pump(self._unit)
            if n_aside:
                self._road.counters["hq_unanswered"] += n_aside
                log.warning("hq_answers_not", extra={"fields": {"set_aside": n_aside}})
        if not messages:
            self._on_idle(self._road.present.now_ms)

    def _commit(self, redo: Callable[[], object], messages: list[Message]) -> None:
        """Commits the batch; returns only when it is on the disk, or when told to stop.

        Args:
            redo: Does the batch's work again, after what was written of it was rolled back.
            messages: What is acknowledged afterwards; emptied when nothing may be.
        """
        wait_s = RETRY_FIRST_S
        while True:
            try:
                self._write_beside_the_reserve()
            except StoreError as error:
                self._note_trouble(error)
                self._rebuild()
                if not error.is_transient:
                    self._isolate(messages)
                    return
                if isinstance(error, StoreFull):
                    self._take_restrictions(messages)
                    self._answer_restricting_calls()
            else:
                self._note_well()
                return
            if self._stopping.wait(wait_s):
                messages.clear()
                return
            wait_s = min(RETRY_CEILING_S, wait_s * 2)
            self._on_progress()
            redo()

    def _write_beside_the_reserve(self) -> None:
        if not self._reserve.hold():
            self._unit.roll_back()
            raise StoreFull("no room is left", hint="free space on the disk")
        self._write()

    def _take_restrictions(self, messages: list[Message]) -> None:
        """Writes what restricts, of all that waits, into the reserve, and acknowledges it.

        Args:
            messages: The batch that cannot be written; what was written of it is taken out.
        """
        while (message := self._wait(0.0)) is not None:
            self._ready.append(message)
        max_bytes = self._settings.max_message_bytes
        for message in [*messages, *self._ready]:
            link, delivery = message
            if not restricts(link, delivery, max_bytes=max_bytes):
                continue
            self._reserve.release()
            error = self._tried(partial(self._take_all, [message], with_time=False))
            if error is not None:
                self._note_trouble(error)
                break
            self._acknowledge([message])
            (messages if message in messages else self._ready).remove(message)
        self._begin()

    def _answer_restricting_calls(self) -> None:
        """Does what erases or forbids, of all that is asked, with the room of the reserve."""
        while (asked := self.calls.next(is_restricting=True)) is not None:
            do, future, _ = asked
            self._reserve.release()
            try:
                answer = self._called(do)
                self._write()
            except Exception as error:  # noqa: BLE001 - it belongs to whoever called
                self._unit.roll_back()
                self._rebuild()
                future.set_exception(error)
            else:
                future.set_result(answer)
        self._begin()

    def _answer_calls(self) -> None:
        while (asked := self.calls.next()) is not None:
            do, future, _ = asked
            try:
                answer = self._called(do)
                self._commit(partial(self._called, do), [])
                self._check_written()
            except Exception as error:  # noqa: BLE001 - it belongs to whoever called
                # Reading a large state anew takes long: only where something has to be undone.
                if not self._unit.is_empty:
                    self._unit.roll_back()
                    self._rebuild()
                future.set_exception(error)
            else:
                future.set_result(answer)

    def _check_written(self) -> None:
        if self._store_trouble:
            raise StoreError(self._store_trouble, hint="mend it, then ask again")

    def _called(self, do: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        self._begin()
        return do()

    def _write(self) -> None:
        road = self._road
        if self._hq_outbox is not None:
            self._tidy(self._hq_outbox)
        self._forgotten = []
        if (
            not self._unit.is_empty
            or self._store_outbox.n_sent >= SENT_ROWS_PER_COMMIT
            or (self._store_outbox.n_sent and self._queue.empty() and self._is_meta_due())
        ):
            self._forgotten = self._store_outbox.forget_sent(self._unit)
        if self._unit.is_empty:
            return
        self._add_meta()
        row_ids = self._unit.commit()
        self._forgotten = []
        road.note_committed()
        for row_id, message in zip(row_ids, road.outgoing.messages, strict=True):
            if message is not None:
                self._store_outbox.send(row_id, message)
            elif self._hq_outbox is not None:
                self._hq_outbox.note_added()

    def _tidy(self, outbox: HqOutbox) -> None:
        for ids in self._road.commands.acked:
            outbox.acked(self._unit, ids)
        n_evicted = outbox.keep_bounds(self._unit)
        if n_evicted:
            self._road.counters["hq_evicted"] += n_evicted
            log.warning("hq_outbox_full", extra={"fields": {"evicted": n_evicted}})

    def _is_meta_due(self) -> bool:
        return self._clock.monotonic_s() >= self._next_meta_s

    def _add_meta(self) -> None:
        self._road.devices.save(self._road.present.now_ms)
        # A replay's clock must come back exactly; a system's needs only a floor.
        if not self._settings.is_replay and not self._is_meta_due():
            return
        self._next_meta_s = self._clock.monotonic_s() + META_EVERY_S
        self._unit.add("meta", ("now_ms", str(self._road.present.now_ms)))
        self._unit.add("meta", ("watermark_ms", str(self._road.intake.watermark_ms)))

    def _take_all(self, messages: list[Message], *, with_time: bool = True) -> int:
        """Begins a batch and takes messages into it; returns how many events they held."""
        while True:
            self._begin()
            try:
                if with_time:
                    self._pass_time()
                return sum(self._take(message) for message in messages)
            except HalfApplied:
                # Each time another input fails so, and is refused from then on.
                self._undo()

    def _undo(self) -> None:
        self._unit.roll_back()
        self._rebuild()

    def _isolate(self, messages: list[Message]) -> None:
        """Takes the messages of a batch that cannot be written one by one, each its own."""
        is_well = True
        for message in list(messages):
            error = self._written_alone(message)
            if error is not None:
                is_well = False
                self._note_trouble(error)
                messages.remove(message)
                if self._hold_back is not None:
                    self._hold_back.leave_open(message[1])
        if is_well:
            self._note_well()

    def _written_alone(self, message: Message) -> StoreError | None:
        """Writes the events of a message one by one; returns why it cannot be acknowledged.

        An event that the database refuses whatever else is written becomes a dead letter.
        """
        link, delivery = message
        for part in parts_of(delivery) if link == "store" else (delivery,):
            error = self._tried(partial(self._take_all, [(link, part)], with_time=False))
            if error is None:
                continue
            if not self._may_give_up(link, part, error):
                return error
            log.error("event_unwritable", extra={"fields": {"error": error.message}})
            if self._tried(partial(self._given_up, part)) is not None:
                return error
        return None

    def _may_give_up(self, link: str, delivery: Delivery, error: StoreError) -> bool:
        """Returns whether a message may go to the dead letters; never what restricts."""
        if link != "store" or not isinstance(error, StoreRefused):
            return False
        return not restricts(link, delivery, max_bytes=self._settings.max_message_bytes)

    def _tried(self, take: Callable[[], object]) -> StoreError | None:
        """Writes what is taken; returns why that cannot be, when nothing of it is left."""
        take()
        try:
            self._write()
        except StoreError as error:
            self._rebuild()
            self._begin()
            return error
        return None

    def _given_up(self, delivery: Delivery) -> None:
        self._begin()
        self._road.refusals.give_up(delivery)

    def _acknowledge(self, messages: list[Message]) -> None:
        store = [delivery for link, delivery in messages if link == "store"]
        if self._hold_back is not None:
            store = self._hold_back.acknowledgeable(store)
        if store:
            self._store_link.ack(store)
        if self._hq_link is not None:
            theirs = [delivery for link, delivery in messages if link == "hq"]
            if theirs:
                self._hq_link.ack(theirs)

    def _close_periods(self) -> None:
        starts = self._summariser.due(self._road.present.now_ms)
        for start_ms in starts:
            # The gateway's own state goes with the last of them, in one transaction: an end in
            # between must leave neither without the other.
            is_last = start_ms == starts[-1]
            self._summarise(start_ms, with_state=is_last)
            self._commit(partial(self._summarise, start_ms, with_state=is_last), [])
        if self._road.present.closed_until_ms != self._summariser.closed_until_ms:
            self._road.present.closed_until_ms = self._summariser.closed_until_ms
            self._road.present.set_now(self._road.present.now_ms)

    def _report(self) -> None:
        """Queues the gateway's own state for HQ, once a period."""
        state = self._state_of(self._summariser.closed_until_ms)
        self._road.outgoing.send_to_hq(
            SendToHq(
                message_id=state.state_id,
                topic=topics.hq_up(state.store, "state"),
                payload=state.model_dump_json().encode(),
                kind="state",
            )
        )

    def _summarise(self, start_ms: int, *, with_state: bool) -> None:
        self._begin()
        if with_state:
            self._report()
        for summary in self._summariser.make(start_ms):
            self._road.outgoing.send_to_hq(
                SendToHq(
                    message_id=summary.summary_id,
                    topic=self._summariser.topic(summary),
                    payload=summary.model_dump_json().encode(),
                    kind=summary.kind,
                )
            )

    def _note_trouble(self, error: StoreError) -> None:
        self._store_outbox.put_back(self._forgotten)
        self._forgotten = []
        if error.message != self._store_trouble:
            log.error(
                "store_trouble", extra={"fields": {"error": error.message, "hint": error.hint}}
            )
        self._store_trouble = error.message
        if error.problem != self.problem:
            self.problem = error.problem
            self._on_trouble()

    def _note_well(self) -> None:
        if self._store_trouble:
            log.info("store_well")
        self._store_trouble = ""
        if self.problem:
            self.problem = ""
            self._on_trouble()
