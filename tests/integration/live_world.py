"""A vendor's device on a real broker: its link, its clock, its timers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from edge_agent.domain.time import datetime_from_ms
from edge_agent.shell.clock import SystemClock
from edge_agent.shell.mqtt_client import Incoming, LinkSettings, MqttLink, Subscription
from tests.integration.broker import Broker
from tests.vendor_world import Device

WAIT_S = 20.0


class LiveWorld:
    """What a device needs of its surroundings, on a real broker."""

    def __init__(self, broker: Broker, filters: tuple[str, ...], *, mount: str = "") -> None:
        self.device: Device | None = None
        self._mount = mount
        self._clock = SystemClock()
        self._lock = threading.RLock()
        self._timers: set[threading.Timer] = set()
        self.link = MqttLink(
            LinkSettings(host=broker.host, port=broker.port, client_id="device"),
            subscriptions=tuple(Subscription(topic_filter=mount + each) for each in filters),
            on_message=self._on_message,
        )

    def _on_message(self, message: Incoming) -> None:
        with self._lock:
            if self.device is not None:
                self.device.hear(message.topic.removeprefix(self._mount), message.payload)

    def now(self) -> datetime:
        """The machine's time."""
        return datetime_from_ms(self._clock.now_ms())

    def later(self, delay_s: float, do: Callable[[], None]) -> None:
        """Does something after a while, in a thread of its own."""

        def run() -> None:
            with self._lock:
                self._timers.discard(timer)
                do()

        timer = threading.Timer(max(0.0, delay_s), run)
        timer.daemon = True
        self._timers.add(timer)
        timer.start()

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 1,
        retain: bool = False,
        response_topic: str | None = None,
        correlation: bytes | None = None,
    ) -> None:
        """Publishes."""
        response_topic = response_topic and self._mount + response_topic
        self.link.publish(
            self._mount + topic,
            payload,
            qos=qos,
            retain=retain,
            response_topic=response_topic,
            correlation=correlation,
        )

    def close(self) -> None:
        """Ends the link and all timers."""
        with self._lock:
            for timer in self._timers:
                timer.cancel()
        self.link.stop()


@contextmanager
def live_world(
    broker: Broker, filters: tuple[str, ...], *, mount: str = ""
) -> Iterator[LiveWorld]:
    """A device's world, connected, for the length of a block."""
    world = LiveWorld(broker, filters, mount=mount)
    world.link.start()
    try:
        assert world.link.wait_connected(WAIT_S)
        yield world
    finally:
        world.close()
