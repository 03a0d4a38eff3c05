"""What is still done when the disk is full: what restricts, in the room that is kept for it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from edge_agent.runner.restricting import restricts

if TYPE_CHECKING:
    from edge_agent.ports import Reserve
    from edge_agent.runner.acknowledgements import Acknowledgements
    from edge_agent.runner.calls import Calls
    from edge_agent.runner.store_trouble import StoreTrouble
    from edge_agent.runner.taking import Taking
    from edge_agent.runner.waiting import Message, Waiting
    from edge_agent.runner.writing import Writing


class FullDisk:
    """Writes into the reserve; a batch that could not be written waits meanwhile."""

    def __init__(
        self,
        *,
        reserve: Reserve,
        waiting: Waiting,
        taking: Taking,
        writing: Writing,
        trouble: StoreTrouble,
        acknowledgements: Acknowledgements,
        calls: Calls,
        max_bytes: int,
    ) -> None:
        self._reserve = reserve
        self._waiting = waiting
        self._taking = taking
        self._writing = writing
        self._trouble = trouble
        self._acknowledgements = acknowledgements
        self._calls = calls
        self._max_bytes = max_bytes

    def take_restrictions(self, messages: list[Message]) -> None:
        """Writes what restricts, of all that waits, and acknowledges it.

        Args:
            messages: The batch that cannot be written; what was written of it is taken out.
        """
        for message in [*messages, *self._waiting.all()]:
            link, delivery = message
            if not restricts(link, delivery, max_bytes=self._max_bytes):
                continue
            self._reserve.release()
            take = partial(self._taking.take_all, [message], with_time=False)
            error = self._writing.written_alone(take)
            if error is not None:
                self._trouble.note(error)
                break
            self._acknowledgements.send([message])
            if message in messages:
                messages.remove(message)
            else:
                self._waiting.take_out(message)
        self._taking.begin()

    def answer_calls(self) -> None:
        """Does what erases or forbids, of all that is asked."""
        while (asked := self._calls.next(is_restricting=True)) is not None:
            do, future, _ = asked
            self._reserve.release()
            try:
                answer = self._taking.called(do)
                self._writing.write()
            except Exception as error:  # noqa: BLE001 - it belongs to whoever called
                self._taking.undo()
                future.set_exception(error)
            else:
                future.set_result(answer)
        self._taking.begin()
