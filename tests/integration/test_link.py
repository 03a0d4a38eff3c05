"""The link to a broker that owes answers: a kept session before them, and an end without them."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final

import pytest

from edge_agent.errors import BrokerError
from edge_agent.shell.mqtt_client import (
    Incoming,
    LinkSettings,
    MqttLink,
    Subscription,
    connect_or_raise,
)
from tests.integration.broker import LOOPBACK, Broker, free_port
from tests.integration.packets import packet_from
from tests.integration.running_agent import DEADLINE_S, wait_for

pytestmark = pytest.mark.broker

CONNACK: Final = b"\x20\x03\x01\x00\x00"
"""It kept the session."""
SUBSCRIBE: Final = 0x82
PUBACK: Final = 0x40
PUBLISH_QOS_1: Final = 0x32
KEPT: Final = tuple(range(1, 101))
"""The packets that it kept, as many as some brokers leave unacknowledged."""


class HeldBroker:
    """Sends what it kept, and answers no subscription before the last of that is acknowledged."""

    def __init__(self) -> None:
        self._listener = socket.create_server((LOOPBACK, 0))
        self.port: int = self._listener.getsockname()[1]
        self._connection: socket.socket | None = None
        self.acknowledged: list[int] = []
        self.n_published = 0
        threading.Thread(target=self._listen, daemon=True).start()

    def close(self) -> None:
        """Ends the connection."""
        for each in (self._listener, self._connection):
            if each is not None:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
                each.close()

    def _listen(self) -> None:
        with suppress(OSError, ValueError):
            self._connection, _ = self._listener.accept()
            with self._connection.makefile("rb") as stream:
                self._serve(self._connection, stream)

    def _serve(self, connection: socket.socket, stream: Any) -> None:
        packet_from(stream)
        connection.sendall(CONNACK)
        owed: bytes | None = None
        for mid in KEPT:
            # Topic "a", the packet's number, no properties, "x".
            connection.sendall(b"\x32\x07\x00\x01a" + mid.to_bytes(2, "big") + b"\x00x")
        while True:
            packet = packet_from(stream)
            if packet[0] == SUBSCRIBE:
                owed = packet[1:3]
            elif packet[0] == PUBACK:
                self.acknowledged.append(int.from_bytes(packet[1:3], "big"))
            elif packet[0] == PUBLISH_QOS_1:
                self.n_published += 1
            if owed is not None and len(self.acknowledged) == len(KEPT):
                connection.sendall(b"\x90\x04" + owed + bytes(2))
                owed = None


@pytest.fixture
def held() -> Iterator[HeldBroker]:
    """Such a broker."""
    with closing(HeldBroker()) as broker:
        yield broker


def linked(held: HeldBroker, heard: list[Incoming]) -> MqttLink:
    """Returns a link, not started, that keeps what it hears to be acknowledged later."""
    return MqttLink(
        LinkSettings(host=LOOPBACK, port=held.port, client_id="late"),
        subscriptions=(Subscription(topic_filter="a"),),
        on_message=heard.append,
        manual_ack=True,
    )


def test_what_was_kept_is_acknowledged_before_the_subscription_is_granted(
    held: HeldBroker,
) -> None:
    """Else both would wait for ever; what is to be published waits for the grant, in its order."""
    heard: list[Incoming] = []
    link = linked(held, heard)
    link.publish("b", b"first")
    link.start()
    try:
        wait_for(lambda: len(heard) == len(KEPT), what="what was kept")
        assert not link.connected
        link.ack(heard[:-1])
        wait_for(lambda: len(held.acknowledged) == len(KEPT) - 1, what="all but one of them")
        assert not link.connected
        assert held.n_published == 0
        link.ack(heard[-1:])
        assert link.wait_connected(DEADLINE_S)
        wait_for(lambda: held.n_published == 1, what="what waited")
        assert held.acknowledged == list(KEPT)
    finally:
        link.stop(timeout_s=0.1)


def test_a_link_whose_broker_acknowledges_nothing_ends_when_it_is_stopped(
    held: HeldBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not acknowledged in time is given up, and its thread ends without a trace."""
    died: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", died.append)
    heard: list[Incoming] = []
    link = linked(held, heard)
    link.start()
    wait_for(lambda: len(heard) == len(KEPT), what="what was kept")
    link.ack(heard)
    assert link.wait_connected(DEADLINE_S)
    link.publish("b", b"never acknowledged")
    wait_for(lambda: held.n_published == 1, what="what is published")
    link.stop(timeout_s=0.1)
    assert not link._thread.is_alive()
    assert not died


def test_who_needs_a_broker_is_told_at_once_that_nobody_listens() -> None:
    """Its patience is for a broker that is slow; one line says what and where, one what to do."""
    settings = LinkSettings(host=LOOPBACK, port=free_port(), client_id="lone")
    link, began_s = MqttLink(settings), time.monotonic()
    with pytest.raises(BrokerError, match="refused") as raised:
        connect_or_raise(link, settings, timeout_s=2 * DEADLINE_S)
    assert time.monotonic() - began_s < DEADLINE_S
    assert raised.value.message.startswith(f"no broker at {LOOPBACK}:{settings.port}: ")
    assert raised.value.hint
    assert not link._thread.is_alive()


def test_who_needs_a_broker_waits_for_one_that_is_slow(held: HeldBroker) -> None:
    """It listens, and answers the subscription only when what it kept is acknowledged."""
    heard: list[Incoming] = []
    link = linked(held, heard)
    told = threading.Event()

    def connect() -> None:
        connect_or_raise(link, link._settings, timeout_s=DEADLINE_S)
        told.set()

    threading.Thread(target=connect, daemon=True).start()
    wait_for(lambda: len(heard) == len(KEPT), what="what was kept")
    assert not told.is_set()
    link.ack(heard)
    assert told.wait(DEADLINE_S)
    link.stop(timeout_s=0.1)


def test_a_link_that_was_refused_goes_on_trying(tmp_path: Path) -> None:
    """An agent outlives its broker: only who cannot wait for one takes the first word for all."""
    broker = Broker(folder=tmp_path)
    link = MqttLink(LinkSettings(host=LOOPBACK, port=broker.port, client_id="patient"))
    link.start()
    try:
        assert not link.wait_connected_or_refused(DEADLINE_S)
        broker.start()
        assert link.wait_connected(DEADLINE_S)
        assert not link.wait_connected_or_refused(DEADLINE_S)
    finally:
        link.stop()
        broker.stop()
