"""A vendor's device on a real broker: a client of its own, of MQTT 5 or 3.1.1, and its timers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge_agent.domain.time import datetime_from_ms
from edge_agent.shell.clock import SystemClock
from tests.integration.broker import Broker
from tests.vendor_world import Device

WAIT_S = 20.0


class LiveWorld:
    """What a device needs of its surroundings, on a real broker."""

    def __init__(self, filters: tuple[str, ...], *, mount: str, version: int) -> None:
        self.device: Device | None = None
        self.is_subscribed = threading.Event()
        self._filters = [(mount + each, 1) for each in filters]
        self._mount = mount
        self._clock = SystemClock()
        self._lock = threading.RLock()
        self._timers: set[threading.Timer] = set()
        self.client = mqtt.Client(
            CallbackAPIVersion.VERSION2, "device", protocol=MQTTProtocolVersion(version)
        )
        self.client.on_connect = lambda client, *_: client.subscribe(self._filters)
        self.client.on_subscribe = lambda *_: self.is_subscribed.set()
        self.client.on_message = lambda _client, _data, message: self._hear(message)

    def _hear(self, message: mqtt.MQTTMessage) -> None:
        with self._lock:
            if self.device is not None:
                self.device.hear(message.topic.removeprefix(self._mount), bytes(message.payload))

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
        properties = None
        if response_topic is not None:
            properties = Properties(PacketTypes.PUBLISH)
            properties.ResponseTopic = self._mount + response_topic
            properties.CorrelationData = correlation
        topic = self._mount + topic
        self.client.publish(topic, payload, qos=qos, retain=retain, properties=properties)

    def close(self) -> None:
        """Ends the client and all timers."""
        with self._lock:
            for timer in self._timers:
                timer.cancel()
        self.client.disconnect()
        self.client.loop_stop()
        # paho leaves its wake-up sockets to its own end, which the timers put off.
        self.client._reset_sockets(sockpair_only=True)


@contextmanager
def live_world(
    broker: Broker, filters: tuple[str, ...], *, mount: str = "", version: int = mqtt.MQTTv5
) -> Iterator[LiveWorld]:
    """A device's world, subscribed, for the length of a block."""
    world = LiveWorld(filters, mount=mount, version=version)
    world.client.connect(broker.host, broker.port)
    world.client.loop_start()
    try:
        assert world.is_subscribed.wait(WAIT_S)
        yield world
    finally:
        world.close()
