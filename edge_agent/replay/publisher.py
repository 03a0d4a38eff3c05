"""The stream's way onto a broker: one connection, QoS 1, a bounded number of messages in flight.

One connection and one quality of service keep the order: the broker hands the messages on as they
were published, so a replay is the same for every subscriber.
"""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Final, Self

from edge_agent.errors import BrokerError
from edge_agent.shell.mqtt_client import LinkSettings, MqttLink, connect_or_raise

IN_FLIGHT: Final = 200
"""Messages that the broker has not acknowledged; bounds memory and how far a replay runs ahead."""
CONNECT_S: Final = 10.0
GIVE_UP_S: Final = 60.0
"""So long a broker may acknowledge nothing; the link reconnects by itself meanwhile."""


class BrokerPublisher:
    """Publishes in order, and waits while too much is unacknowledged.

    Args:
        settings: Which broker, and as whom.
        in_flight: How many messages may be unacknowledged.

    Raises:
        BrokerError: On entering: the broker is not there. Later: it acknowledges nothing any more.
    """

    def __init__(self, settings: LinkSettings, *, in_flight: int = IN_FLIGHT) -> None:
        self._settings = settings
        self._in_flight = in_flight
        self._free = threading.Semaphore(in_flight)
        self._link = MqttLink(settings, on_published=self._release)

    def __enter__(self) -> Self:
        connect_or_raise(self._link, self._settings, timeout_s=CONNECT_S)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._link.stop()

    def publish(self, topic: str, payload: bytes) -> None:
        """Publishes one message after all earlier ones, at least once."""
        self._acquire()
        self._link.publish(topic, payload, qos=1)

    def flush(self) -> None:
        """Returns when the broker has acknowledged everything."""
        for _ in range(self._in_flight):
            self._acquire()
        self._free.release(self._in_flight)

    def _acquire(self) -> None:
        if not self._free.acquire(timeout=GIVE_UP_S):
            raise BrokerError(
                f"the broker at {self._settings.host}:{self._settings.port} has acknowledged"
                f" nothing for {GIVE_UP_S:.0f} s",
                hint="look at the broker's log, then start the replay again",
            )

    def _release(self, _token: object) -> None:
        self._free.release()
