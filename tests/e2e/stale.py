"""A broker that forgets the agent's session while deliveries are being committed.

The first wave is in the agent's hands, its commit held up, when the session goes. The
second wave comes over the next connection, under packet ids that the first one had. Whoever
acknowledges the first wave now makes the broker forget the second one, which is not on the disk
yet; then the agent is killed. Devices repeat what they have no receipt for: the first wave.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from edge_agent.ingest.ordering import mark_of
from edge_agent.shell.mqtt_client import LinkSettings, MqttLink
from edge_agent.wire import topics
from edge_agent.wire.notices import ClockTick
from tests.e2e.link_recorder import DOWN, UP, Connection
from tests.e2e.mqtt_bytes import PUBACK, PUBLISH, acknowledged, packets, published
from tests.e2e.store import StoreUnderTest, running_store
from tests.e2e.stream import STORE, Message
from tests.e2e.waiting import wait_for
from tests.integration.broker import OPEN

HELD: Final = "held_commit"
FIRST_WAVE: Final = 90
SECOND_WAVE: Final = 20
"""Fewer than the first, so that a stale acknowledgement also names what was never delivered."""
OPENED_AT: Final = datetime(2017, 12, 2, 15, tzinfo=UTC)
CONNECTED: Final = "broker_connected"

Wipe = Callable[[StoreUnderTest], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class WipedRun:
    """What a run left behind.

    Attributes:
        lost: Ids of the events that are not in the database.
        n_entries: What the counters' events add up to; each event counted one.
        foreign_acks: Packet ids that were acknowledged on a connection that had not used them.
    """

    lost: list[str]
    n_entries: int
    foreign_acks: list[int]


def by_restart(store: StoreUnderTest) -> None:
    """The broker is killed and comes back knowing nothing."""
    n_connects = store.receipts.n_connects
    store.broker.kill()
    store.broker.start()
    # A receipt that is published before its reader is back would be lost, which is no fault here.
    wait_for(lambda: store.receipts.n_connects > n_connects, "the receipts' reader is back")


def by_take_over(store: StoreUnderTest) -> None:
    """Somebody connects under the agent's name, cleanly, and goes away."""
    thief = MqttLink(
        LinkSettings(
            host=store.broker.host,
            port=store.broker.port,
            client_id=f"edge-agent-{STORE}",
            clean_start=True,
            session_expiry_s=0,
        )
    )
    thief.start()
    assert thief.wait_connected(30.0)
    thief.stop()


def run_with_wiped_session(folder: Path, wipe: Wipe, *, fault: str = HELD) -> WipedRun:
    """Wipes the session between two waves, kills the agent, and returns what is left."""
    first, second = wave("first", FIRST_WAVE), wave("second", SECOND_WAVE)
    with running_store(folder, fault=fault, broker_config=OPEN) as store:
        store.start_agent()
        store.publish([tick()])
        store.publish(first)
        wait_for(lambda: n_delivered(store.link.connections[-1]) > FIRST_WAVE, "the first wave")
        wait_for((folder / "first.held").exists, "the first wave is about to be committed")
        wipe(store)
        wait_for(lambda: n_connected(store) > 1, "the agent is connected again")
        store.publish(second)
        wait_for(lambda: n_delivered(store.link.connections[-1]) >= SECOND_WAVE, "the second wave")
        let_commit(store, "first")
        # The receipt is sent after the commit, in one go with the acknowledgement.
        store.wait_receipt(name_of(first[0]))
        store.agent.kill()
        let_commit(store, "second")
        store.start_agent()
        repeat_until_received(store, first)
        told = foreign_acks(store.link.connections)
        wait_for(lambda: bool(told) or is_kept(store, second[-1]), "the second wave is committed")
        store.agent.stop()
        return WipedRun(
            lost=[name_of(each) for each in (*first, *second) if not is_kept(store, each)],
            n_entries=n_entries(store),
            foreign_acks=told,
        )


def let_commit(store: StoreUnderTest, source: str) -> None:
    """Lets batches with events of a source commit."""
    (store.folder / f"{source}.gate").touch()


def wave(name: str, n: int) -> list[Message]:
    """Returns events of a counter that counted one each, and asks for receipts."""
    return [
        Message(
            topics.event(STORE, name),
            json.dumps(
                {
                    "specversion": "1.0",
                    "id": f"{name}-{number}",
                    "source": name,
                    "type": "people.counted",
                    "time": (OPENED_AT - timedelta(seconds=1)).isoformat(),
                    "receipt": name == "first",
                    "data": {"zone": "entrance", "entries": 1, "exits": 0, "interval_s": 60.0},
                }
            ).encode(),
        )
        for number in range(n)
    ]


def tick() -> Message:
    """Returns the clock's only tick."""
    return Message(topics.clock(STORE), ClockTick(now=OPENED_AT).model_dump_json().encode())


def repeat_until_received(store: StoreUnderTest, messages: list[Message]) -> None:
    """Publishes what has no receipt, as tills do."""
    missing = [each for each in messages if name_of(each) not in store.receipts.names]
    store.publish(missing)
    for each in missing:
        store.wait_receipt(name_of(each))


def name_of(message: Message) -> str:
    """Returns an event's id."""
    return str(json.loads(message.payload)["id"])


def n_connected(store: StoreUnderTest) -> int:
    """Returns how often the agent was connected to the store's broker."""
    return sum(
        each["event"] == CONNECTED and each["client"] == f"edge-agent-{STORE}"
        for each in store.agent.events()
    )


def is_kept(store: StoreUnderTest, message: Message) -> bool:
    """Tells whether an event is in the database."""
    event = json.loads(message.payload)
    query = "SELECT count(*) FROM inbox WHERE mark = ?"
    return bool(_value(store, query, mark_of(event["source"], event["id"])))


def n_entries(store: StoreUnderTest) -> int:
    """Returns the sum of what was counted at the doors."""
    return int(_value(store, "SELECT coalesce(sum(entries), 0) FROM people_count"))


def n_delivered(connection: Connection) -> int:
    """Returns how many messages came over a connection."""
    return sum(each.type == PUBLISH for each in packets(bytearray(connection.bytes_of(DOWN))))


def foreign_acks(connections: list[Connection]) -> list[int]:
    """Returns packet ids that were acknowledged where they had not been delivered."""
    told = []
    for connection in connections:
        delivered: set[int] = set()
        buffers = {UP: bytearray(), DOWN: bytearray()}
        for way, data in list(connection.crossed):
            buffers[way] += data
            for packet in packets(buffers[way]):
                if way == DOWN and packet.type == PUBLISH:
                    delivered.add(published(packet).packet_id)
                elif way == UP and packet.type == PUBACK:
                    packet_id = acknowledged(packet)
                    told += [] if packet_id in delivered else [packet_id]
                    delivered.discard(packet_id)
    return told


def _value(store: StoreUnderTest, query: str, *parameters: Any) -> Any:
    with closing(sqlite3.connect(f"file:{store.database}?mode=ro", uri=True)) as database:
        return database.execute(query, parameters).fetchone()[0]
