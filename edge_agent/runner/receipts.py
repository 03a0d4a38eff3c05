"""Receipts: a source is told what became of its event, if it asks for that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_agent.domain.effects import Publish
from edge_agent.wire import topics
from edge_agent.wire.notices import EventReceipt

if TYPE_CHECKING:
    from edge_agent.ingest.decode import Refusal
    from edge_agent.ports import Delivery
    from edge_agent.runner.outgoing import Outgoing
    from edge_agent.runner.settings import RoadSettings
    from edge_agent.wire.events import Event

# Levels of `store/{store}/event/{source}`.
_KIND_LEVEL: Final = 2
_EVENT_LEVELS: Final = 4


class Receipts:
    """Gives receipts, each to whoever owns the topic that its event came on."""

    def __init__(self, settings: RoadSettings, outgoing: Outgoing) -> None:
        self._settings = settings
        self._outgoing = outgoing

    def committed(self, delivery: Delivery, event: Event) -> None:
        """Says that an event is taken in; it leaves after the commit that makes it so."""
        if topic_source(delivery) != event.source:
            return
        if event.receipt or event.source in self._settings.layout.receipt_sources:
            self._tell(event.source, event.id, outcome="committed")

    def refused(self, delivery: Delivery, refusal: Refusal) -> None:
        """Says that an event is refused, so that its source does not repeat it."""
        asks = self._settings.layout.receipt_sources
        source, event = refusal.source, refusal.event
        # Only who owns the topic is told: a forged refusal would make a till give up.
        is_own = source is not None and topic_source(delivery) == source
        if is_own and source is not None and event is not None and source in asks:
            self._tell(source, event, outcome="refused")

    def _tell(self, source: str, event: str, *, outcome: str) -> None:
        receipt = EventReceipt.model_validate({"source": source, "id": event, "outcome": outcome})
        topic = topics.event_receipt(self._settings.store, source)
        payload = receipt.model_dump_json().encode()
        self._outgoing.send_to_store_soon(Publish(topic=topic, payload=payload))


def topic_source(delivery: Delivery) -> str | None:
    """Returns the source whose event topic a message came on; None for any other topic."""
    levels = delivery.topic.split("/")
    if len(levels) != _EVENT_LEVELS or levels[0] != topics.STORE_LEVEL:
        return None
    return levels[-1] if levels[_KIND_LEVEL] == "event" else None
