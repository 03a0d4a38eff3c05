"""MQTT control packets as a broker of the tests' own reads them from a socket."""

from __future__ import annotations

from typing import BinaryIO


def packet_from(stream: BinaryIO) -> bytes:
    """Returns a packet's first byte, and what follows its length.

    Raises:
        ValueError: The stream has ended.
    """
    kind, length, shift = stream.read(1), 0, 0
    while True:
        (byte,) = stream.read(1)
        length |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return bytes(kind + stream.read(length))
