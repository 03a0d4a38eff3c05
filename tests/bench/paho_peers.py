"""The baselines, each a process of its own: stock paho over MQTT 5 that counts, or that echoes.

They do the least that a client of the same library can do, and no work of ours. `TCP_NODELAY`,
which paho does not set, is set: an echo must not look slow because of Nagle's algorithm.
"""

from __future__ import annotations

import socket
import sys
import threading
import time
from typing import Any, Final

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

LOOPBACK: Final = "127.0.0.1"
# As many as the gateway's broker and the agent have in flight.
RECEIVE_MAXIMUM: Final = 1_000


def main(arguments: list[str]) -> None:
    """Runs `count PORT FILTER N` or `echo PORT FILTER TOPIC` until it is done or ended."""
    role, port, topic_filter, last = arguments
    if role == "count":
        _count(int(port), topic_filter, n_events=int(last))
    else:
        _echo(int(port), topic_filter, topic=last)


def _count(port: int, topic_filter: str, *, n_events: int) -> None:
    done = threading.Event()
    n = 0

    def received(_client: paho.Client, _data: object, _message: object) -> None:
        nonlocal n
        n += 1
        if n == n_events:
            _say("done", f"{time.monotonic():.6f}")
            done.set()

    _start(port, topic_filter, received)
    done.wait()


def _echo(port: int, topic_filter: str, *, topic: str) -> None:
    def received(client: paho.Client, _data: object, message: Any) -> None:
        client.publish(topic, message.payload, qos=1, retain=True)

    _start(port, topic_filter, received)
    threading.Event().wait()


def _start(port: int, topic_filter: str, received: Any) -> None:
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.on_message = received
    client.on_socket_open = _set_no_delay
    client.on_connect = lambda client, *_: client.subscribe(topic_filter, qos=1)
    client.on_subscribe = lambda *_: _say("ready", "now")
    properties = Properties(PacketTypes.CONNECT)
    properties.ReceiveMaximum = RECEIVE_MAXIMUM
    client.connect(LOOPBACK, port, clean_start=True, properties=properties)
    client.loop_start()


def _set_no_delay(_client: paho.Client, _data: object, sock: Any) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _say(what: str, value: str) -> None:
    sys.stdout.write(f"{what} {value}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
