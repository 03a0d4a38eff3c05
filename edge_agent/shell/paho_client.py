"""paho's client with its busiest packets read and written faster: half of a message's cost there.

What is overridden here are paho's own points of reading and handling. Each leaves whatever is not
the plain case to paho; a paho that named them otherwise would only be slower.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import paho.mqtt.client as paho
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

# Socket reads gathered for paho in one go; it asks for a byte or two at a time.
READ_BUFFER_BYTES: Final = 65_536
# A PUBACK of this length holds the packet's id alone, which means success.
PLAIN_PUBACK_BYTES: Final = 2
_TAKEN: Final = ReasonCode(PacketTypes.PUBACK)


@dataclass(slots=True)
class PlainPublish:
    """A PUBLISH of QoS 0 or 1 without properties, as nearly all devices send it."""

    topic: bytes
    payload: bytes
    mid: int
    qos: int
    retain: bool
    dup: bool


def plain_publish(header: int, packet: bytes | bytearray) -> PlainPublish | None:
    """Returns the message of an MQTT 5 packet; None for every other kind, damaged ones too.

    Args:
        header: The packet's first byte.
        packet: What follows its length.

    Source: MQTT 5.0, section 3.3.
    """
    qos = header >> 1 & 3
    end = 2 + int.from_bytes(packet[:2], "big")
    properties_at = end + 2 * qos
    if qos > 1 or len(packet) <= properties_at or packet[properties_at]:
        return None
    return PlainPublish(
        topic=bytes(packet[2:end]),
        payload=bytes(packet[properties_at + 1 :]),
        mid=int.from_bytes(packet[end:properties_at], "big"),
        qos=qos,
        retain=bool(header & 1),
        dup=bool(header & 8),
    )


class PackedProperties(Properties):
    """Properties that many messages share: packed once, where paho would pack them each time."""

    def __init__(self, packet_type: int) -> None:
        super().__init__(packet_type)  # type: ignore[no-untyped-call]
        # paho's own assignment takes names of properties alone.
        object.__setattr__(self, "_packed", None)

    @override
    def pack(self) -> bytes:
        packed: bytes | None = vars(self)["_packed"]
        if packed is None:
            packed = super().pack()  # type: ignore[no-untyped-call]
            object.__setattr__(self, "_packed", packed)
        return packed


class FastClient(paho.Client):
    """A client over MQTT 5 whose plain messages go to `on_plain`, the others to `on_message`."""

    def __init__(self, *, on_plain: Callable[[PlainPublish], None], **arguments: Any) -> None:
        super().__init__(protocol=paho.MQTTv5, **arguments)
        self._on_plain = on_plain
        self._buffer = b""
        self._position = 0

    @override
    def _sock_recv(self, bufsize: int) -> bytes:
        # Without it a small packet costs three `recv` calls.
        position, buffer = self._position, self._buffer
        end = position + bufsize
        if end <= len(buffer):
            self._position = end
            return buffer[position:end]
        rest = buffer[position:]
        if rest:
            self._buffer, self._position = b"", 0
            return rest
        # Raises BlockingIOError when nothing is there, which paho understands.
        fresh = super()._sock_recv(READ_BUFFER_BYTES)
        self._buffer, self._position = fresh, min(bufsize, len(fresh))
        return fresh[:bufsize]

    @property
    def has_buffered(self) -> bool:
        """Whether something was read from the socket that paho has not asked for yet."""
        return self._position < len(self._buffer)

    def forget_buffered(self) -> None:
        """Drops what an earlier connection left behind."""
        self._buffer, self._position = b"", 0

    def blank(self, mid: int) -> None:
        """Forgets what a message said that waits for its acknowledgement."""
        with self._out_message_mutex:
            message = self._out_messages.get(mid)
            if message is not None:
                message.payload = b""

    def take_back(self, mid: int) -> None:
        """Forgets a message, so that the next connection does not send it; while there is none."""
        with self._out_message_mutex:
            self._out_messages.pop(mid, None)

    @override
    def _handle_publish(self) -> MQTTErrorCode:
        found = plain_publish(self._in_packet["command"], self._in_packet["packet"])
        if found is None:
            return super()._handle_publish()
        try:
            self._on_plain(found)
        except Exception:
            # As paho does with the exceptions of callbacks: the connection goes on.
            log.exception("message_not_taken", extra={"fields": {"bytes": len(found.payload)}})
        if found.qos and not self._manual_ack:
            return self._send_puback(found.mid)
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    @override
    def _handle_pubackcomp(self, cmd: Any) -> MQTTErrorCode:
        packet = self._in_packet["packet"]
        if cmd != "PUBACK" or len(packet) != PLAIN_PUBACK_BYTES:
            return super()._handle_pubackcomp(cmd)
        mid = int.from_bytes(packet, "big")
        with self._out_message_mutex:
            if mid in self._out_messages:
                return self._do_on_publish(mid, _TAKEN, None)  # type: ignore[arg-type]  # of no use to us
        return MQTTErrorCode.MQTT_ERR_SUCCESS
