"""Messages of a batch that cannot be written, each by itself: what spoils it spares the rest."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from edge_agent.errors import StoreRefused
from edge_agent.runner.parts import parts_of
from edge_agent.runner.restricting import restricts

if TYPE_CHECKING:
    from edge_agent.errors import StoreError
    from edge_agent.ports import Delivery
    from edge_agent.runner.hold_back import HoldBack
    from edge_agent.runner.store_trouble import StoreTrouble
    from edge_agent.runner.taking import Taking
    from edge_agent.runner.waiting import Message
    from edge_agent.runner.writing import Writing

log = logging.getLogger(__name__)


class Isolation:
    """Writes messages each by itself."""

    def __init__(
        self,
        *,
        taking: Taking,
        writing: Writing,
        trouble: StoreTrouble,
        hold_back: HoldBack | None,
        max_bytes: int,
    ) -> None:
        self._taking = taking
        self._writing = writing
        self._trouble = trouble
        self._hold_back = hold_back
        self._max_bytes = max_bytes

    def write_each(self, messages: list[Message]) -> None:
        """Writes the messages of a batch one by one.

        Args:
            messages: The batch; what must not be acknowledged is taken out.
        """
        # Without messages it was what somebody asked for, or the like: that is written by nobody.
        is_well = bool(messages)
        for message in list(messages):
            error = self._written(message)
            if error is not None:
                is_well = False
                self._trouble.note(error)
                messages.remove(message)
                if self._hold_back is not None:
                    self._hold_back.leave_open(message[1])
        if is_well:
            self._trouble.note_well()

    def _written(self, message: Message) -> StoreError | None:
        """Writes the events of a message one by one; returns why it cannot be acknowledged.

        An event that the database refuses whatever else is written becomes a dead letter.
        """
        link, delivery = message
        for part in parts_of(delivery) if link == "store" else (delivery,):
            take = partial(self._taking.take_all, [(link, part)], with_time=False)
            error = self._writing.written_alone(take)
            if error is None:
                continue
            if not self._may_give_up(link, part, error):
                return error
            log.error("event_unwritable", extra={"fields": {"error": error.message}})
            if self._writing.written_alone(partial(self._taking.give_up, part)) is not None:
                return error
        return None

    def _may_give_up(self, link: str, delivery: Delivery, error: StoreError) -> bool:
        """Returns whether a message may go to the dead letters; never what restricts."""
        if link != "store" or not isinstance(error, StoreRefused):
            return False
        return not restricts(link, delivery, max_bytes=self._max_bytes)
