"""The fast ways past paho read and write what paho itself does."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt import _packet
from paho.mqtt.enums import MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge_agent.shell.paho_client import PackedProperties, plain_publish


def packet_of(topic: bytes, payload: bytes, *, mid: int | None, properties: bytes) -> bytes:
    """Returns what follows the length of a PUBLISH."""
    identity = b"" if mid is None else struct.pack("!H", mid)
    return struct.pack("!H", len(topic)) + topic + identity + properties + payload


@given(
    topic=st.binary(max_size=60),
    payload=st.binary(max_size=60),
    mid=st.none() | st.integers(1, 65_535),
    retain=st.booleans(),
)
def test_a_plain_message_reads_as_paho_reads_it(
    topic: bytes, payload: bytes, mid: int | None, *, retain: bool
) -> None:
    """Topic, payload, packet id, QoS and flags are the same, whatever the bytes."""
    header = 0x30 | (mid is not None) << 1 | retain
    packet = packet_of(topic, payload, mid=mid, properties=b"\0")
    found = plain_publish(header, packet)
    theirs = _packet.decode_publish(header, packet, MQTTProtocolVersion.MQTTv5)
    assert found is not None
    assert (found.topic, found.payload, found.mid, found.qos, found.retain, found.dup) == (
        theirs.topic,
        theirs.payload,
        theirs.mid,
        theirs.qos,
        theirs.retain,
        theirs.dup,
    )


@given(header=st.integers(0x30, 0x3F), packet=st.binary(max_size=40))
def test_whatever_is_not_plain_is_left_to_paho(header: int, packet: bytes) -> None:
    """No bytes make it raise, and what it reads has neither properties nor QoS 2."""
    found = plain_publish(header, packet)
    if found is not None:
        theirs = _packet.decode_publish(header, packet, MQTTProtocolVersion.MQTTv5)
        assert (found.topic, found.payload, found.mid) == (
            theirs.topic,
            theirs.payload,
            theirs.mid,
        )
        assert theirs.qos < 2
        assert theirs.properties is not None
        assert theirs.properties.isEmpty()


def test_a_message_with_properties_is_left_to_paho() -> None:
    """A request's response topic must not be lost."""
    properties = Properties(PacketTypes.PUBLISH)
    properties.ResponseTopic = "store/s/reply/kiosk-1"
    packet = packet_of(b"store/s/recommend/request", b"{}", mid=7, properties=properties.pack())
    assert plain_publish(0x32, packet) is None


def test_properties_that_are_packed_once_have_pahos_bytes() -> None:
    """Also the second time."""
    ours, theirs = PackedProperties(PacketTypes.PUBLISH), Properties(PacketTypes.PUBLISH)
    ours.MessageExpiryInterval = theirs.MessageExpiryInterval = 60
    assert [ours.pack(), ours.pack()] == [theirs.pack()] * 2
