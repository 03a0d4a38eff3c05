"""What other threads want done in the core thread: asked there, done here, answered there."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from edge_agent.errors import AgentUnreachable

if TYPE_CHECKING:
    from collections.abc import Callable

    Answer = dict[str, Any]
    Asked = tuple[Callable[[], Answer], Future[Answer], bool]


class Calls:
    """A queue of things to do, each with somebody who waits for its answer."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._waiting: deque[Asked] = deque()
        self._has_ended = False

    def __bool__(self) -> bool:
        """Whether anything waits."""
        return bool(self._waiting)

    def call(
        self, do: Callable[[], Answer], *, timeout_s: float, is_restricting: bool = False
    ) -> Answer:
        """Has something done in the core thread and returns its answer; called in any other.

        It is done between two batches, in a batch of its own: what it queued for the disk is
        there before this returns. When it raises, nothing of it is written and this raises.

        Args:
            do: What is to be done; done again when the disk refused it at first.
            timeout_s: How long to wait; what has not begun by then is not done.
            is_restricting: Whether it does nothing but erase or forbid: then a full disk's reserve
                is there for it.

        Raises:
            AgentUnreachable: The core thread is busy or ending.
        """
        future: Future[Answer] = Future()
        self._waiting.append((do, future, is_restricting))
        self._wake()
        if self._has_ended:
            self.end()
        try:
            return future.result(timeout_s)
        except TimeoutError as error:
            future.cancel()
            raise AgentUnreachable(
                "the agent was too busy to do it", hint="ask again; see its log for disk trouble"
            ) from error

    def next(self, *, is_restricting: bool = False) -> Asked | None:
        """Returns the next one whose caller still waits; called in the core thread.

        Args:
            is_restricting: Whether only what restricts is wanted; the others keep their places.
        """
        passed: list[Asked] = []
        found = None
        while self._waiting and found is None:
            asked = self._waiting.popleft()
            if is_restricting and not asked[2]:
                passed.append(asked)
            elif asked[1].set_running_or_notify_cancel():
                found = asked
        self._waiting.extendleft(reversed(passed))
        return found

    def end(self) -> None:
        """Tells everybody who waits, now and later, that nothing is done any more."""
        self._has_ended = True
        while (asked := self.next()) is not None:
            asked[1].set_exception(AgentUnreachable("the agent is ending"))
