"""Messages into a batch, which is begun again as often as it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from edge_agent.runner.steps import HalfApplied

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.ports import Clock, Delivery, UnitOfWork
    from edge_agent.runner.dead_letters import DeadLetters
    from edge_agent.runner.road import Road
    from edge_agent.runner.waiting import Message, Waiting

TICK_MS: Final = 1_000


class Taking:
    """Takes in what belongs to one batch."""

    def __init__(
        self,
        *,
        road: Road,
        unit: UnitOfWork,
        dead_letters: DeadLetters,
        waiting: Waiting,
        clock: Clock,
        rebuild: Callable[[], None],
        is_replay: bool,
    ) -> None:
        """Sets it up.

        Args:
            road: Takes one message in.
            unit: Undoes a batch.
            dead_letters: Keeps what is refused.
            waiting: Knows how long a message has waited for its turn.
            clock: The present, unless it is a replay's.
            rebuild: Makes what is in memory follow from the state, after a batch was undone.
            is_replay: Whether a replay's ticks are the clock.
        """
        self._road = road
        self._present = road.present
        self._unit = unit
        self._dead_letters = dead_letters
        self._waiting = waiting
        self._clock = clock
        self._rebuild = rebuild
        self._is_replay = is_replay
        self._next_tick_ms = 0

    def begin(self) -> None:
        """Begins a batch: nothing is in it yet."""
        self._road.begin_batch()
        self._dead_letters.begin_batch()

    def take_all(self, messages: list[Message], *, with_time: bool = True) -> int:
        """Begins a batch and takes messages into it; returns how many events they held."""
        while True:
            self.begin()
            try:
                if with_time:
                    self._pass_time()
                return sum(self.take(message) for message in messages)
            except HalfApplied:
                # Each time another input fails so, and is refused from then on.
                self.undo()

    def take(self, message: Message) -> int:
        """Takes one message into the open batch; returns how many events it held.

        Raises:
            HalfApplied: The batch is to be undone and taken in again.
        """
        link, delivery = message
        if link == "call":
            return 0
        if link == "hq":
            self._road.commands.take(delivery)
            return 1
        present = self._present
        if not self._is_replay:
            now_ms = self._clock.now_ms()
            if now_ms != present.now_ms:
                present.set_now(now_ms)
        present.hurry(self._waiting.waited_ms(delivery))
        try:
            return self._road.take(delivery)
        finally:
            # Nobody waits for what comes next, such as a command of HQ's.
            present.hurry(None)

    def called(self, do: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Begins a batch and does in it what somebody asked for."""
        while True:
            self.begin()
            try:
                return do()
            except HalfApplied:
                # As in `take_all`: what failed so is refused from then on.
                self.undo()

    def give_up(self, delivery: Delivery) -> None:
        """Begins a batch and keeps a message in it as a dead letter."""
        self.begin()
        self._road.refusals.give_up(delivery)

    def undo(self) -> None:
        """Leaves the state as it was before the open batch."""
        self._unit.roll_back()
        self._rebuild()

    def _pass_time(self) -> None:
        if self._is_replay:
            return
        now_ms = self._clock.now_ms()
        if now_ms >= self._next_tick_ms:
            self._next_tick_ms = now_ms + TICK_MS
            self._road.time.move_on(now_ms)
