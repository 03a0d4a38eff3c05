"""What goes to the broker, and what became of it: every message has one answer.

Over `MqttLink`, QoS 1. A message counts as delivered when the broker's PUBACK says that it was
taken, and that somebody subscribes its topic: mosquitto acknowledges a message that it then drops
because nobody does (reason 0x10), and one that the sender may not publish (0x87).
"""

from __future__ import annotations

from concurrent.futures import Future, InvalidStateError
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from edge_agent.shell.links import link_settings
from edge_agent.shell.mqtt_client import NO_SUBSCRIBERS, REFUSED, MqttLink

if TYPE_CHECKING:
    from edge_agent.bridge.settings import BrokerSection

DEFAULT_CLIENT_ID: Final = "bridge"
# A packet's head, its topic's length and its properties, generously.
PACKET_HEAD_BYTES: Final = 64


class Answer(StrEnum):
    """What became of a message."""

    DELIVERED = "delivered"
    NO_BROKER = "no_broker"
    LATE = "no_answer_in_time"
    BUSY = "too_many_pending"
    NOBODY = "nobody_subscribes"
    REFUSED = "refused_by_broker"
    TOO_LARGE = "too_large_for_broker"


class Publisher:
    """The link to the store's broker; `offer` may be called from any thread."""

    def __init__(self, section: BrokerSection) -> None:
        self._needs_subscriber = section.needs_subscriber
        self._pending_max = section.pending_max
        self.answer_within_s = section.answer_within_s
        # It subscribes nothing, so a session would hold nothing.
        settings = link_settings(
            section, key="broker", client_id=DEFAULT_CLIENT_ID, session_expiry_s=0
        )
        self._link = MqttLink(settings, on_answered=self._answered)

    def start(self) -> None:
        """Connects, and goes on doing so."""
        self._link.start()

    def stop(self) -> None:
        """Sends what is queued and disconnects."""
        self._link.stop()

    @property
    def is_linked(self) -> bool:
        """Whether the broker is there."""
        return self._link.connected

    @property
    def is_turning(self) -> bool:
        """Whether the link's thread lives and gets on, with a broker or without."""
        return self._link.is_turning

    @property
    def link_error(self) -> str:
        """Why the broker is not there, in its own words."""
        return self._link.last_error

    @property
    def n_connects(self) -> int:
        """How often a connection was tried."""
        return self._link.n_connects

    @property
    def n_pending(self) -> int:
        """How many messages the broker has not acknowledged yet."""
        return self._link.n_unacknowledged

    def offer(self, topic: str, payload: bytes) -> Future[Answer]:
        """Sends a message; the future holds its answer, perhaps at once, perhaps never.

        A message whose answer did not come is sent again by the link when the broker is back: it
        may arrive although its sender was told to repeat it.
        """
        answer: Future[Answer] = Future()
        at_once = self._refusal(topic, payload)
        if at_once is None:
            self._link.publish(topic, payload, token=answer)
        else:
            answer.set_result(at_once)
        return answer

    def _refusal(self, topic: str, payload: bytes) -> Answer | None:
        if not self._link.connected:
            return Answer.NO_BROKER
        if self._link.n_unacknowledged >= self._pending_max:
            return Answer.BUSY
        largest = self._link.broker_packet_bytes
        size = len(payload) + len(topic.encode()) + PACKET_HEAD_BYTES
        return Answer.TOO_LARGE if largest is not None and size > largest else None

    def _answered(self, token: object, reason: int) -> None:
        if not isinstance(token, Future):
            return
        answer = Answer.DELIVERED
        if reason >= REFUSED:
            answer = Answer.REFUSED
        elif reason == NO_SUBSCRIBERS and self._needs_subscriber:
            answer = Answer.NOBODY
        try:
            token.set_result(answer)
        except InvalidStateError:
            return  # whoever asked has gone
