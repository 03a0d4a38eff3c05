"""Which events the agent told its broker to forget, out of what crossed a connection."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from edge_agent.ingest.ordering import mark_of
from tests.e2e.link_recorder import UP, LinkRecorder
from tests.e2e.mqtt_bytes import PUBACK, PUBLISH, acknowledged, packets, published


class Deliveries:
    """One connection's packets: which event came under which packet id, and which was acked."""

    def __init__(self) -> None:
        self._inward = bytearray()
        self._outward = bytearray()
        self._events: dict[int, tuple[int, ...]] = {}

    def received(self, data: bytes) -> None:
        """Takes in what came from the broker."""
        self._inward += data
        for packet in packets(self._inward):
            if packet.type == PUBLISH:
                message = published(packet)
                self._events[message.packet_id] = tuple(_marks(message.topic, message.payload))

    def sent(self, data: bytes) -> Iterable[int]:
        """Takes in what went to the broker; yields the marks of the events that it forgets."""
        self._outward += data
        for packet in packets(self._outward):
            if packet.type == PUBACK:
                yield from self._events.pop(acknowledged(packet), ())


def forgotten(link: LinkRecorder) -> frozenset[int]:
    """Returns the marks of the events that the broker was told to forget on any connection."""
    found: set[int] = set()
    for connection in list(link.connections):
        deliveries = Deliveries()
        for way, data in list(connection.crossed):
            if way == UP:
                found.update(deliveries.sent(data))
            else:
                deliveries.received(data)
    return frozenset(found)


def _marks(topic: str, payload: bytes) -> Iterator[int]:
    levels = topic.split("/")
    if len(levels) == 4 and levels[2] == "event":
        event = json.loads(payload)
        yield mark_of(event["source"], event["id"])
