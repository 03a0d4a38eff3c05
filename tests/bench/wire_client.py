"""The load: a bare MQTT 3.1.1 client in one thread, as a cheap device or screen speaks it.

It sends at instants and takes note of arrivals without a second thread: a library's network
thread would wait for the interpreter's lock, up to 5 ms, and that would be measured as the
agent's time. Source of the packets: MQTT 3.1.1, sections 2 and 3.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

LOOPBACK: Final = "127.0.0.1"
CONNECT_S: Final = 10.0
READ_BYTES: Final = 262_144
DEADLINE_S: Final = 120.0
# Unacknowledged publishes of a flood: enough to keep the broker busy, no more than it buffers.
WINDOW: Final = 2_000

_CONNECT, _PUBLISH, _PUBACK, _SUBSCRIBE, _SUBACK = 0x10, 0x30, 0x40, 0x82, 0x90
_CONNACK: Final = 0x20
_QOS_1: Final = 0x02
_MAX_ID: Final = 65_535
_SEVEN_BITS: Final = 0x7F
_MORE: Final = 0x80

Arrival = tuple[str, bytes]


class WireClient:
    """One connection; nothing happens on it but in `turn`."""

    def __init__(self, port: int, client_id: str, *, subscribe: tuple[str, ...] = ()) -> None:
        self._socket = socket.create_connection((LOOPBACK, port), timeout=CONNECT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.settimeout(0.0)
        self._out = bytearray()
        self._in = bytearray()
        self._next_id = 0
        self._awaited = 1
        self.n_unacknowledged = 0
        self._early: list[Arrival] = []
        # Protocol level 4, clean session, no keep-alive.
        self._add(_CONNECT, _text("MQTT") + b"\x04\x02\x00\x00" + _text(client_id))
        if subscribe:
            self._awaited += 1
            filters = b"".join(_text(each) + b"\x01" for each in subscribe)
            self._add(_SUBSCRIBE, b"\x00\x01" + filters)
        deadline = time.monotonic() + CONNECT_S
        while self._awaited and time.monotonic() < deadline:
            self._early.extend(self.turn(0.1))
        if self._awaited:
            raise TimeoutError("the broker does not answer")

    def publish(self, topic: str, payload: bytes) -> None:
        """Queues a QoS 1 message; `turn` sends it."""
        self._next_id = self._next_id % _MAX_ID + 1
        head = _text(topic) + self._next_id.to_bytes(2, "big")
        self.n_unacknowledged += 1
        self._add(_PUBLISH | _QOS_1, head + payload)

    def turn(self, wait_s: float) -> list[Arrival]:
        """Sends what is queued and returns what has come, waiting so long for anything at all."""
        found, self._early = self._early, []
        if self._out:
            self._send()
        writers = [self._socket] if self._out else []
        readable, writable, _ = select.select([self._socket], writers, [], 0 if found else wait_s)
        if writable:
            self._send()
        if readable:
            received = self._socket.recv(READ_BYTES)
            if not received:
                raise ConnectionError("the broker closed the connection")
            self._in += received
            found.extend(self._arrivals())
            if self._out:
                self._send()
        return found

    def close(self) -> None:
        """Ends the connection."""
        self._socket.close()

    def _send(self) -> None:
        try:
            sent = self._socket.send(self._out)
        except BlockingIOError:
            return
        del self._out[:sent]

    def _add(self, head: int, body: bytes) -> None:
        self._out.append(head)
        self._out += _length(len(body))
        self._out += body

    def _arrivals(self) -> Iterator[Arrival]:
        start = 0
        while (packet := _packet(self._in, start)) is not None:
            body, end = packet
            head = self._in[start]
            kind = head & 0xF0
            if kind == _PUBLISH:
                yield self._arrival(head, bytes(self._in[body:end]))
            elif kind == _PUBACK:
                self.n_unacknowledged -= 1
            elif kind in {_CONNACK, _SUBACK}:
                self._awaited -= 1
            start = end
        del self._in[:start]

    def _arrival(self, head: int, body: bytes) -> Arrival:
        end = 2 + int.from_bytes(body[:2], "big")
        topic = body[2:end].decode()
        if head & 0x06:
            self._out += bytes([_PUBACK, 2]) + body[end : end + 2]
            end += 2
        return topic, body[end:]


@contextmanager
def wire_client(
    port: int, client_id: str, *, subscribe: tuple[str, ...] = ()
) -> Iterator[WireClient]:
    """A connected client, closed when the block ends."""
    client = WireClient(port, client_id, subscribe=subscribe)
    try:
        yield client
    finally:
        client.close()


def flood(port: int, messages: Iterable[tuple[str, bytes]]) -> None:
    """Publishes as fast as the broker takes it; returns when it has all of it.

    Raises:
        TimeoutError: It did not take all of it in time.
    """
    deadline = time.monotonic() + DEADLINE_S
    with wire_client(port, "bench-flood") as client:
        for topic, payload in messages:
            client.publish(topic, payload)
            while client.n_unacknowledged >= WINDOW:
                client.turn(1.0)
                if time.monotonic() > deadline:
                    raise TimeoutError("the broker does not take the events")
        while client.n_unacknowledged and time.monotonic() < deadline:
            client.turn(1.0)


def _text(value: str) -> bytes:
    encoded = value.encode()
    return len(encoded).to_bytes(2, "big") + encoded


def _length(value: int) -> bytes:
    encoded = bytearray()
    while value > _SEVEN_BITS:
        encoded.append(value & _SEVEN_BITS | _MORE)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _packet(buffer: bytearray, start: int) -> tuple[int, int] | None:
    """Returns where the packet's body begins and ends; None when it is not complete."""
    value = shift = 0
    for position in range(start + 1, len(buffer)):
        byte = buffer[position]
        value |= (byte & _SEVEN_BITS) << shift
        shift += 7
        if byte < _MORE:
            end = position + 1 + value
            return (position + 1, end) if end <= len(buffer) else None
    return None
