"""Just enough of MQTT 5 to read what crossed a connection: whole packets, and publishes.

Source: MQTT 5.0, sections 2.1 (fixed header) and 3.3 (PUBLISH).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

CONNECT: Final = 1
PUBLISH: Final = 3
PUBACK: Final = 4

_MORE: Final = 0x80


@dataclass(frozen=True, slots=True)
class Packet:
    """One control packet: its type, its flags and everything after its length."""

    type: int
    flags: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Published:
    """A PUBLISH; the packet id is 0 for quality of service 0."""

    topic: str
    payload: bytes
    packet_id: int


def packets(buffer: bytearray) -> Iterator[Packet]:
    """Takes whole packets off the front of a buffer; what is left is the beginning of one."""
    while len(buffer) > 1:
        found = _varint(buffer, 1)
        if found is None or len(buffer) < sum(found):
            return
        length, at = found
        packet = Packet(buffer[0] >> 4, buffer[0] & 0xF, bytes(buffer[at : at + length]))
        del buffer[: at + length]
        yield packet


def published(packet: Packet) -> Published:
    """Returns what a PUBLISH says."""
    body = packet.body
    at = 2 + int.from_bytes(body[:2], "big")
    topic, packet_id = body[2:at].decode(), 0
    if packet.flags & 0b110:
        packet_id = int.from_bytes(body[at : at + 2], "big")
        at += 2
    properties = _varint(body, at)
    assert properties is not None, "a PUBLISH without properties is not MQTT 5"
    return Published(topic, body[sum(properties) :], packet_id)


def acknowledged(packet: Packet) -> int:
    """Returns the packet id that a PUBACK names."""
    return int.from_bytes(packet.body[:2], "big")


def _varint(data: bytes | bytearray, at: int) -> tuple[int, int] | None:
    """Returns a number of variable length and where it ends; None when it is not all there."""
    value = shift = 0
    while at < len(data):
        value |= (data[at] & ~_MORE) << shift
        shift += 7
        at += 1
        if data[at - 1] < _MORE:
            return value, at
    return None
