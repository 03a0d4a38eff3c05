"""Acknowledgements: the broker forgets a message only after all that came of it is on the disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_agent.ports import Link
    from edge_agent.runner.hold_back import HoldBack
    from edge_agent.runner.waiting import Message


class Acknowledgements:
    """Acknowledges messages, each to the broker that it came from."""

    def __init__(
        self, store_link: Link, hq_link: Link | None, *, hold_back: HoldBack | None
    ) -> None:
        self._store_link = store_link
        self._hq_link = hq_link
        self._hold_back = hold_back

    def send(self, messages: list[Message]) -> None:
        """Acknowledges messages that are committed; called after the commit alone."""
        store = [delivery for link, delivery in messages if link == "store"]
        if self._hold_back is not None:
            store = self._hold_back.acknowledgeable(store)
        if store:
            self._store_link.ack(store)
        if self._hq_link is not None:
            theirs = [delivery for link, delivery in messages if link == "hq"]
            if theirs:
                self._hq_link.ack(theirs)
