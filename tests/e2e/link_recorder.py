"""A way to a broker that keeps every byte that crosses it, connection by connection."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

from tests.integration.broker import LOOPBACK, free_port

CHUNK: Final = 65_536
UP: Final = "up"
DOWN: Final = "down"


@dataclass(slots=True)
class Connection:
    """What crossed one connection, in order.

    Attributes:
        crossed: (direction, bytes) as they were handed on; `up` is towards the broker.
    """

    crossed: list[tuple[str, bytes]] = field(default_factory=list)

    def bytes_of(self, direction: str) -> bytes:
        """Returns everything that went one way."""
        return b"".join(data for way, data in list(self.crossed) if way == direction)


class LinkRecorder:
    """Listens on a port of its own and hands everything on to a broker's."""

    def __init__(self, broker_port: int) -> None:
        self.port = free_port()
        self.connections: list[Connection] = []
        self._broker_port = broker_port
        self._listener = socket.create_server((LOOPBACK, self.port))
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def bytes_of(self, direction: str) -> bytes:
        """Returns everything that ever went one way."""
        return b"".join(each.bytes_of(direction) for each in list(self.connections))

    def close(self) -> None:
        """Ends every connection."""
        for each in (self._listener, *self._sockets):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                inner, _ = self._listener.accept()
                self._join(inner)

    def _join(self, inner: socket.socket) -> None:
        try:
            outer = socket.create_connection((LOOPBACK, self._broker_port))
        except OSError:
            inner.close()
            return
        for each in (inner, outer):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets.append(each)
        connection = Connection()
        self.connections.append(connection)
        for way, source, target in ((UP, inner, outer), (DOWN, outer, inner)):
            arguments = (connection, way, source, target)
            threading.Thread(target=_hand_on, args=arguments, daemon=True).start()


def _hand_on(
    connection: Connection, way: str, source: socket.socket, target: socket.socket
) -> None:
    with suppress(OSError):
        while data := source.recv(CHUNK):
            # Noted first: what has arrived is in the record.
            connection.crossed.append((way, data))
            target.sendall(data)
    for each in (source, target):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


@contextmanager
def recorded_link(broker_port: int) -> Iterator[LinkRecorder]:
    """A recorder in front of a broker for the length of a block."""
    recorder = LinkRecorder(broker_port)
    try:
        yield recorder
    finally:
        recorder.close()
