"""The receiver on real brokers: nothing is acknowledged before it is on disk, nothing is lost."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest

from edge_agent.errors import StoreBusy
from edge_agent.hq import schema
from edge_agent.hq.inbox import Refused, UpMessage, message_from, message_id
from edge_agent.hq.receiver import HqReceiver, MessageStore
from edge_agent.hq.store import HqStore, opened_store
from edge_agent.shell.embedded_broker import EmbeddedBroker
from edge_agent.shell.mqtt_client import Incoming, LinkSettings, MqttLink, Subscription
from edge_agent.shell.signing import demo_private_key, verify_command
from edge_agent.wire import topics
from edge_agent.wire.downlink import AckCommand
from edge_agent.wire.summaries import (
    Confirmation,
    CustomerUpdate,
    Erasure,
    GatewayState,
    Summary,
    SummaryCell,
)
from tests.integration.broker import keeps_sessions, running_broker

pytestmark = pytest.mark.broker

DEADLINE_S: Final = 20.0
POLL_S: Final = 0.01
KEY = demo_private_key()
KEYS = {"demo": KEY.public_key()}
OPENING = datetime(2017, 12, 2, 13, tzinfo=UTC)


def wait_for(condition: Callable[[], bool]) -> None:
    """Returns as soon as the condition holds; fails when it does not in time."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(POLL_S)


class StoreSide:
    """A store's end of the HQ link: publishes upwards, collects verified acks."""

    def __init__(self, port: int, *, store: str = "s42") -> None:
        self.store = store
        self.acks: list[AckCommand] = []
        self.n_published = 0
        self.link = MqttLink(
            LinkSettings(host="127.0.0.1", port=port, client_id=f"agent-{store}"),
            subscriptions=(Subscription(topic_filter=topics.hq_down(store, "ack")),),
            on_message=self._collect,
            on_published=self._count,
        )
        self.link.start()
        assert self.link.wait_connected(DEADLINE_S)

    def _count(self, _token: object) -> None:
        self.n_published += 1

    def _collect(self, message: Incoming) -> None:
        command = verify_command(message.payload, keys=KEYS)
        assert isinstance(command, AckCommand)
        self.acks.append(command)

    @property
    def acked(self) -> list[str]:
        """The message ids that HQ says it has."""
        return [each for ack in self.acks for each in ack.body.ids]

    def send(self, messages: Sequence[UpMessage]) -> None:
        """Publishes messages on their topics."""
        for message in messages:
            self.link.publish(topic_of(message), message.model_dump_json().encode())


def topic_of(message: UpMessage) -> str:
    """Where a store publishes the message."""
    match message:
        case Summary():
            return topics.hq_summary(message.store, message.kind)
        case CustomerUpdate():
            return topics.hq_up(message.store, "customer")
        case GatewayState():
            return topics.hq_up(message.store, "state")
        case Confirmation():
            return topics.hq_up(message.store, "confirm")
        case Erasure():
            return topics.hq_up(message.store, "erasure")


def summary(hour: int, *, store: str = "s42", revision: int = 1) -> Summary:
    """An hour's footfall."""
    start = OPENING + timedelta(hours=hour)
    return Summary(
        summary_id=f"{store}-footfall-{hour}-{revision}",
        store=store,
        kind="footfall",
        period_start=start,
        period_end=start + timedelta(hours=1),
        revision=revision,
        k=10,
        cells=(SummaryCell(n_visitors=10 + hour, counts={"visits": 10 + hour}),),
    )


def one_of_each(store: str = "s42") -> tuple[UpMessage, ...]:
    """A message of every kind."""
    return (
        summary(0, store=store),
        CustomerUpdate(
            update_id="u-1",
            reference="crm-1",
            store=store,
            activity_date="2017-12-02",
            revision=1,
        ),
        GatewayState(state_id="g-1", store=store, at=OPENING, version="0.1.0", health="good"),
        Confirmation(confirm_id="c-1", store=store, command="cmd-1", outcome="taken"),
    )


@pytest.fixture(params=["mosquitto", "iotcore"])
def port(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[int]:
    """A broker's port; shared subscriptions must work on both."""
    with ExitStack() as stack:
        if request.param == "mosquitto":
            yield stack.enter_context(running_broker(tmp_path / "broker")).port
        else:
            yield stack.enter_context(EmbeddedBroker()).port


@contextmanager
def running_receiver(
    port: int, store: MessageStore, *, client_id: str = "hq-1", shared: bool = True
) -> Iterator[HqReceiver]:
    """A connected receiver, stopped when the block ends."""
    settings = LinkSettings(host="127.0.0.1", port=port, client_id=client_id)
    receiver = HqReceiver(settings, store, KEY, shared=shared)
    receiver.start()
    try:
        assert receiver.wait_connected(DEADLINE_S), receiver.link.last_error
        yield receiver
        assert not receiver.failed.is_set()
    finally:
        receiver.stop()


@pytest.fixture
def hq(tmp_path: Path) -> Iterator[HqStore]:
    """HQ's database on SQLite."""
    with closing(opened_store(str(tmp_path / "hq.db"))) as store:
        yield store


@pytest.mark.parametrize("shared", [True, False])
def test_every_kind_is_kept_and_acknowledged_by_id(
    port: int, hq: HqStore, *, shared: bool
) -> None:
    """A message of every kind ends in the database, and its store is told its id."""
    with running_receiver(port, hq, shared=shared) as receiver:
        agent = StoreSide(port)
        agent.send(one_of_each())
        wait_for(lambda: len(agent.acked) == 4)
        agent.link.stop()
    assert sorted(agent.acked) == sorted(message_id(each) for each in one_of_each())
    assert hq.counts() == {
        "summary": 1,
        "customer": 1,
        "state": 1,
        "confirm": 1,
        "erasure": 0,
        "refused": 0,
    }
    counters = receiver.counters()
    assert (counters.n_summaries, counters.n_customers, counters.n_messages) == (1, 1, 4)
    assert counters.n_bytes == sum(len(each.model_dump_json().encode()) for each in one_of_each())
    assert set(counters.bytes_by_kind) == {"summary", "customer", "state", "confirm"}


def test_acks_go_to_the_store_that_sent(port: int, hq: HqStore) -> None:
    """A store learns of its own messages alone."""
    with running_receiver(port, hq):
        agents = [StoreSide(port, store=name) for name in ("s42", "s43")]
        for agent in agents:
            agent.send([summary(hour, store=agent.store) for hour in range(20)])
        wait_for(lambda: all(len(agent.acked) == 20 for agent in agents))
        for agent in agents:
            agent.link.stop()
            assert all(name.startswith(f"{agent.store}-") for name in agent.acked)
            versions = [ack.version for ack in agent.acks]
            assert versions == sorted(set(versions))


@pytest.mark.parametrize(
    ("topic", "payload", "reason"),
    [
        ("hq/s42/up/summary/footfall", b"\xff\xfe", "invalid"),
        ("hq/s42/up/summary/footfall", b"{}", "invalid"),
        ("hq/s42/up/summary/footfall", b"[" * 10_000, "invalid"),
        ("hq/s42/up/raw", b"{}", "unknown_topic"),
        ("hq/s42/up/customer/more", b"{}", "unknown_topic"),
        ("hq/s43/up/summary/footfall", summary(0).model_dump_json().encode(), "store_mismatch"),
        ("hq/s42/up/summary/sales", summary(0).model_dump_json().encode(), "kind_mismatch"),
        (
            "hq/s42/up/summary/footfall",
            summary(0).model_dump_json().replace('"n_visitors":10', '"n_visitors":9').encode(),
            "below_k",
        ),
        (
            "hq/s42/up/summary/footfall",
            summary(0).model_dump_json().replace('"visits":10', f'"visits":{2**64}').encode(),
            "invalid",
        ),
    ],
)
def test_bad_message_is_told_apart(topic: str, payload: bytes, reason: str) -> None:
    """Each kind of bad message has its reason, and nothing of its content is kept."""
    told = message_from(topic, payload)
    assert isinstance(told, Refused)
    assert told.reason == reason


def test_bad_messages_are_noted_and_spare_the_others(port: int, hq: HqStore) -> None:
    """The receiver notes bad messages, takes the good one between them and goes on."""
    with running_receiver(port, hq) as receiver:
        agent = StoreSide(port)
        agent.link.publish("hq/s42/up/summary/footfall", b"\x00\xff")
        agent.send([summary(1)])
        agent.link.publish(
            "hq/s42/up/customer", json.dumps({"reference": "6400000009005"}).encode()
        )
        wait_for(lambda: hq.counts()["refused"] == 2 and agent.acked == [message_id(summary(1))])
        agent.link.stop()
        assert receiver.counters().n_refused == 2
    details = hq.rows("SELECT reason, detail FROM refused ORDER BY id")
    assert [row["reason"] for row in details] == ["invalid", "invalid"]
    assert "6400000009005" not in str(details)


class AwayStore:
    """A store whose database is away until told otherwise; it remembers what was tried."""

    def __init__(self, inner: HqStore) -> None:
        self.inner = inner
        self.is_away = True
        self.n_tries = 0

    def take(
        self,
        messages: Sequence[UpMessage],
        *,
        received_at: datetime,
        refusals: Sequence[Refused] = (),
    ) -> tuple[UpMessage, ...]:
        """Refuses while away."""
        self.n_tries += 1
        if self.is_away:
            raise StoreBusy("away")
        return self.inner.take(messages, received_at=received_at, refusals=refusals)


def test_nothing_is_acknowledged_while_the_database_is_away(port: int, hq: HqStore) -> None:
    """Neither broker nor store gets an acknowledgement before the commit; afterwards both do."""
    away = AwayStore(hq)
    with running_receiver(port, away):
        agent = StoreSide(port)
        agent.send([summary(hour) for hour in range(5)])
        wait_for(lambda: away.n_tries >= 2)
        assert agent.acked == []
        assert hq.counts()["summary"] == 0
        away.is_away = False
        wait_for(lambda: len(agent.acked) >= 5)
        agent.link.stop()
    assert hq.counts()["summary"] == 5


def test_receiver_that_dies_before_the_commit_is_served_again(tmp_path: Path, hq: HqStore) -> None:
    """What one receiver took and never committed comes to the next of the same session."""
    with running_broker(tmp_path / "broker", config=keeps_sessions()) as broker:
        agent = StoreSide(broker.port)
        away = AwayStore(hq)
        with running_receiver(broker.port, away):
            agent.send([summary(hour) for hour in range(5)])
            wait_for(lambda: away.n_tries >= 1 and agent.n_published == 5)
        broker.restart()
        with running_receiver(broker.port, hq):
            wait_for(lambda: len(set(agent.acked)) == 5)
        agent.link.stop()
    assert hq.counts()["summary"] == 5


def test_receivers_share_the_messages(port: int, tmp_path: Path, hq: HqStore) -> None:
    """Two receivers of one subscription take each message once between them."""
    with (
        closing(opened_store(str(tmp_path / "hq.db"))) as second,
        running_receiver(port, hq) as one,
        running_receiver(port, second, client_id="hq-2") as other,
    ):
        agent = StoreSide(port)
        agent.send([summary(hour) for hour in range(40)])
        wait_for(lambda: len(agent.acked) == 40)
        agent.link.stop()
        shares = (one.counters().n_messages, other.counters().n_messages)
    assert sum(shares) == 40
    assert min(shares) > 0
    assert hq.counts()["summary"] == 40


def test_database_is_readable_while_receiving(port: int, tmp_path: Path, hq: HqStore) -> None:
    """Another process may read the figures of a running receiver's file."""
    with running_receiver(port, hq):
        agent = StoreSide(port)
        agent.send([summary(hour) for hour in range(10)])
        wait_for(lambda: len(agent.acked) == 10)
        agent.link.stop()
        with closing(sqlite3.connect(f"file:{tmp_path / 'hq.db'}?mode=ro", uri=True)) as reader:
            (n_rows,) = reader.execute("SELECT COUNT(*) FROM summaries").fetchone()
    assert n_rows == len(hq.rows(schema.SELECT_SUMMARIES)) == 10
