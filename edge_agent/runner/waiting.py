"""Messages that wait: queued by the network threads, taken off by the core thread.

Nothing that waits is acknowledged. Beyond a number of messages the store's link is paused, so that
the broker keeps the rest.
"""

from __future__ import annotations

from collections import deque
from queue import Empty, SimpleQueue
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from edge_agent.domain.time import SECOND_MS

if TYPE_CHECKING:
    from edge_agent.ports import Clock, Delivery, Link
    from edge_agent.runner.event_intake import EventIntake
    from edge_agent.runner.hold_back import HoldBack

# Messages that are decoded and looked up together.
LOOK_AHEAD: Final = 200
Message = tuple[str, Any]


class Waiting:
    """Hands messages on in the order that they came in, or that they are held back for."""

    def __init__(
        self,
        *,
        store_link: Link,
        clock: Clock,
        intake: EventIntake,
        hold_back: HoldBack | None,
        queue_messages: int,
    ) -> None:
        """Sets up an empty queue.

        Args:
            store_link: Paused while too much waits.
            clock: How long messages wait, and how long to wait for one.
            intake: Decodes events ahead.
            hold_back: Puts events of people in order; None where they go on as they come.
            queue_messages: Messages in memory before the socket is no longer read.
        """
        self._store_link = store_link
        self._clock = clock
        self._intake = intake
        self._hold_back = hold_back
        self._queue_messages = queue_messages
        self._queue: SimpleQueue[tuple[str, Any, float | None]] = SimpleQueue()
        # When messages came that wait, by identity.
        self._came_s: dict[int, float] = {}
        # Taken off the queue and looked at together, not yet in a batch.
        self._ready: deque[Message] = deque()
        # A network thread pauses the link and the core thread lets it read on: either wholly.
        self._pausing = Lock()
        self._is_paused = False

    # --- called by other threads --------------------------------------------------------------

    def put(self, link: str, delivery: Delivery) -> None:
        """Queues a message; called in a network thread. `link` is `store` or `hq`."""
        self._queue.put((link, delivery, self._clock.monotonic_s()))
        if self._queue.qsize() > self._queue_messages and not self._is_paused:
            with self._pausing:
                self._is_paused = True
                self._store_link.pause()

    def wake(self) -> None:
        """Wakes the core thread when it sleeps, by a message that asks for nothing."""
        self._queue.put(("call", None, None))

    @property
    def n_queued(self) -> int:
        """Messages that wait in the queue."""
        return self._queue.qsize()

    @property
    def is_queue_empty(self) -> bool:
        """Whether none waits in the queue."""
        return self._queue.empty()

    # --- called by the core thread ------------------------------------------------------------

    def next(self, wait_s: float) -> Message | None:
        """Returns the next message that may go on, or None when none comes in time.

        Args:
            wait_s: How long to wait when none does, in seconds.
        """
        if not self._ready:
            self._fill(wait_s)
        return self._ready.popleft() if self._ready else None

    def waited_ms(self, delivery: Delivery) -> float | None:
        """Returns how long a message waited for its turn; None where nobody waits for more."""
        # Kept until the batch is through: it may be begun again, and its answers are as late then.
        came_s = self._came_s.get(id(delivery))
        return None if came_s is None else (self._clock.monotonic_s() - came_s) * SECOND_MS

    def let_go(self, messages: list[Message]) -> None:
        """Forgets when messages came that are through."""
        for _, delivery in messages:
            self._came_s.pop(id(delivery), None)

    def forget_times(self) -> None:
        """Forgets when messages came: nobody waits for an answer to those that are still here."""
        self._came_s.clear()

    def resume(self) -> None:
        """Lets the store's link read on when enough of the queue is taken off."""
        if self._is_paused and self._queue.qsize() < self._queue_messages // 2:
            with self._pausing:
                self._is_paused = False
                self._store_link.resume()

    def all(self) -> list[Message]:
        """Returns all that may go on, decoded ahead or not; it waits on."""
        came = []
        while (message := self._wait(0.0)) is not None:
            came.append(message)
        if self._hold_back is not None:
            came = self._hold_back.pass_on(came, now_ms=self._clock.now_ms())
        self._ready.extend(came)
        return list(self._ready)

    def take_out(self, message: Message) -> None:
        """Takes one out of what `all` returned."""
        self._ready.remove(message)
        self.let_go([message])

    def _fill(self, wait_s: float) -> None:
        came = self._came(wait_s)
        if self._hold_back is not None:
            came = self._in_order(came, wait_s, self._hold_back)
        if came:
            self._ready.extend(came)
            self._intake.look_ahead([delivery for link, delivery in came if link == "store"])

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
