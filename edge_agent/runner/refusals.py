"""Refused messages: each is kept as a dead letter, and told to whoever has to know.

A dead letter that is tried again is one already: what refuses it then is gathered, not kept.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from edge_agent.domain.effects import Publish
from edge_agent.ingest.decode import Refusal
from edge_agent.wire import topics

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator

    from edge_agent.ports import Delivery
    from edge_agent.runner.dead_letters import DeadLetters
    from edge_agent.runner.outgoing import Outgoing
    from edge_agent.runner.people import People
    from edge_agent.runner.present import Present
    from edge_agent.runner.receipts import Receipts
    from edge_agent.runner.settings import RoadSettings


class Refusals:
    """Refuses messages within the batch that is open."""

    def __init__(
        self,
        settings: RoadSettings,
        *,
        present: Present,
        people: People,
        dead_letters: DeadLetters,
        outgoing: Outgoing,
        receipts: Receipts,
        counters: Counter[str],
    ) -> None:
        self._settings = settings
        self._present = present
        self._people = people
        self._dead_letters = dead_letters
        self._outgoing = outgoing
        self._receipts = receipts
        self._counters = counters
        self._gathered: list[Refusal] | None = None

    @property
    def are_gathered(self) -> bool:
        """Whether what is taken in now is a dead letter that is tried again."""
        return self._gathered is not None

    @contextmanager
    def gathered(self) -> Iterator[list[Refusal]]:
        """Gathers what is refused meanwhile, while a dead letter is tried again."""
        found: list[Refusal] = []
        self._gathered = found
        try:
            yield found
        finally:
            self._gathered = None

    def refuse(
        self,
        delivery: Delivery,
        refusal: Refusal,
        *,
        heard_on: str | None = None,
        at_ms: int | None = None,
    ) -> None:
        """Refuses a message, or one event of it.

        Args:
            delivery: The message.
            refusal: Why.
            heard_on: What to show in its topic's place.
            at_ms: Its arrival; None for the present.
        """
        if self._gathered is not None:
            self._gathered.append(refusal)
            return
        self._counters["dead_letters"] += 1
        now_ms = self._present.now_ms
        notice = self._dead_letters.keep(
            delivery,
            refusal,
            now_ms=now_ms if at_ms is None else at_ms,
            key=self._people.today_key(now_ms),
            heard_on=heard_on,
        )
        if notice is not None:
            topic = topics.dead_letter(self._settings.store)
            self._outgoing.send_to_store(Publish(topic=topic, payload=notice))
        self._receipts.refused(delivery, refusal)

    def give_up(self, delivery: Delivery) -> None:
        """Keeps a message that can never be written as a dead letter."""
        detail = "it cannot be written, see the agent's log"
        self.refuse(delivery, Refusal(reason="failed", detail=detail))
