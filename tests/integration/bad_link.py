"""A way to a broker that can be made bad: swallowing, slow, garbled, closed."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from tests.integration.broker import LOOPBACK, free_port

CHUNK: Final = 65_536
SLOW_CHUNK: Final = 128
SLOW_S: Final = 0.05


class BadLink:
    """Listens on a port of its own and hands everything on to a broker's, as well as it is let.

    Attributes:
        connected_at_s: When each connection came, by the monotonic clock.
        is_slow: Whether bytes go through a few at a time.
    """

    def __init__(self, broker_port: int) -> None:
        self.port = free_port()
        self.connected_at_s: list[float] = []
        self.is_slow = False
        self._broker_port = broker_port
        self._swallowed: set[socket.socket] = set()
        self._inner: list[socket.socket] = []
        self._outer: list[socket.socket] = []
        self._listener: socket.socket | None = None
        self.open()

    def open(self) -> None:
        """Listens."""
        self._listener = socket.create_server((LOOPBACK, self.port))
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def close(self) -> None:
        """Ends every connection and refuses new ones."""
        listener, self._listener = self._listener, None
        for each in (*([listener] if listener else []), *self._inner, *self._outer):
            _end(each)
            each.close()
        self._inner.clear()
        self._outer.clear()

    def swallow(self) -> None:
        """Lets nothing of what is connected now through any more, and tells nobody."""
        self._swallowed.update(self._inner, self._outer)

    def garble(self, garbage: bytes) -> None:
        """Sends bytes to whoever is connected, as if the broker had sent them."""
        for each in list(self._inner):
            with suppress(OSError):
                each.sendall(garbage)

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                inner, _ = listener.accept()
                self.connected_at_s.append(time.monotonic())
                self._join(inner)

    def _join(self, inner: socket.socket) -> None:
        try:
            outer = socket.create_connection((LOOPBACK, self._broker_port))
        except OSError:
            inner.close()
            return
        for each in (inner, outer):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._inner.append(inner)
        self._outer.append(outer)
        for pair in ((inner, outer), (outer, inner)):
            threading.Thread(target=self._hand_on, args=pair, daemon=True).start()

    def _hand_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(SLOW_CHUNK if self.is_slow else CHUNK):
                if self.is_slow:
                    time.sleep(SLOW_S)
                if source not in self._swallowed:
                    target.sendall(data)
        # Whoever is swallowed does not hear of the end either.
        if source not in self._swallowed:
            _end(source)
            _end(target)


def _end(each: socket.socket) -> None:
    with suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)


@contextmanager
def bad_link(broker_port: int) -> Iterator[BadLink]:
    """A link in front of a broker for the length of a block."""
    link = BadLink(broker_port)
    try:
        yield link
    finally:
        link.close()
