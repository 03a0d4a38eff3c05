"""A store under test: its broker, HQ's broker and receiver, and the agent as a process.

All of it is real. The agent's two links lead through recorders that keep every byte.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from edge_agent.hq.keys import public_text
from edge_agent.hq.receiver import HqReceiver
from edge_agent.hq.store import HqStore, opened_store
from edge_agent.replay.layout import layout_toml, store_layout
from edge_agent.replay.publisher import BrokerPublisher
from edge_agent.shell.mqtt_client import Incoming, LinkSettings, MqttLink, Subscription
from edge_agent.shell.signing import DEMO_KEY_ID, demo_private_key
from edge_agent.shell.sqlite_db import open_for_reading
from edge_agent.wire.notices import EventReceipt
from tests.e2e.agent_process import AgentProcess
from tests.e2e.link_recorder import LinkRecorder, recorded_link
from tests.e2e.state_dump import Dump, differences, dump_of, records_of
from tests.e2e.stream import RECEIPTS, SEED, STORE, Message, Morning
from tests.e2e.waiting import DEADLINE_S, wait_for
from tests.integration.broker import Broker, keeps_sessions, running_broker

BUNDLE: Final = Path(__file__).parents[2] / "models" / "artifacts"


class Receipts:
    """A subscriber that remembers which events the agent has committed."""

    def __init__(self, broker: Broker) -> None:
        self._names: set[str] = set()
        self._lock = threading.Lock()
        self._link = MqttLink(
            LinkSettings(host=broker.host, port=broker.port, client_id="receipts"),
            subscriptions=(Subscription(topic_filter=RECEIPTS),),
            on_message=self._keep,
        )
        self._link.start()
        assert self._link.wait_connected(30.0)

    def _keep(self, message: Incoming) -> None:
        receipt = EventReceipt.model_validate_json(message.payload)
        with self._lock:
            self._names.add(receipt.id)

    @property
    def names(self) -> frozenset[str]:
        """Ids of the events whose receipt has come."""
        with self._lock:
            return frozenset(self._names)

    @property
    def n_connects(self) -> int:
        """How often it was connected and subscribed, counting the present time."""
        return self._link.generation if self._link.connected else 0

    def close(self) -> None:
        """Disconnects."""
        self._link.stop()


@dataclass(slots=True, kw_only=True)
class StoreUnderTest:
    """What `running_store` yields."""

    folder: Path
    broker: Broker
    hq_broker: Broker
    agent: AgentProcess
    receipts: Receipts
    hq: HqStore
    link: LinkRecorder
    hq_link: LinkRecorder
    patience_s: float = DEADLINE_S
    ready_s: list[float] = field(default_factory=list)

    @property
    def database(self) -> Path:
        """The agent's database."""
        return self.folder / "state" / "state.db"

    @property
    def hq_database(self) -> Path:
        """HQ's database."""
        return self.folder / "hq.db"

    def start_agent(self) -> None:
        """Starts the agent and waits until it is subscribed."""
        self.agent.start()
        self.ready_s.append(self.agent.wait_ready())

    def publish(self, messages: Iterable[Message], *, client_id: str = "devices") -> None:
        """Publishes in order; returns when the broker has everything."""
        _publish(self.broker, messages, client_id)

    def open_day(self, day: Morning) -> None:
        """Has consents and HQ's profiles taken in; the agent must run."""
        self.publish(day.opening)
        self.wait_receipt("opened")
        _publish(self.hq_broker, day.profiles, "hq-commands")
        wait_for(
            lambda: self.hq.counts()["confirm"] == len(day.profiles),
            "every profile is confirmed at HQ",
            while_true=lambda: self.agent.is_alive,
        )

    def wait_receipt(self, name: str) -> None:
        """Returns when everything up to a probe is committed."""
        wait_for(
            lambda: name in self.receipts.names,
            f"the receipt of {name!r}; the agent's log: {self.agent.log}",
            deadline_s=self.patience_s,
            while_true=lambda: self.agent.is_alive,
        )

    def wait_drained(self) -> None:
        """Returns when HQ has acknowledged everything."""
        wait_for(
            lambda: self._n_waiting_for_hq() == 0,
            "HQ has acknowledged every row",
            deadline_s=self.patience_s,
            while_true=lambda: self.agent.is_alive,
        )

    def close_day(self) -> None:
        """Waits until the whole morning is committed and at HQ, then ends the agent in order."""
        self.wait_receipt("closed")
        self.wait_drained()
        self.agent.stop()

    def outcome(self) -> Outcome:
        """Returns what is on the disks; the agent must have ended."""
        return Outcome(
            state=dump_of(self.database),
            hq=dump_of(self.hq_database),
            records=records_of(self.database),
        )

    def _n_waiting_for_hq(self) -> int:
        with closing(open_for_reading(self.database)) as connection:
            query = "SELECT count(*) FROM outbox WHERE link = 'hq'"
            return int(connection.execute(query).fetchone()[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a run left behind: the agent's rows, HQ's rows, and the decisions' records."""

    state: Dump
    hq: Dump
    records: list[tuple[str, str]]

    def differences(self, other: Outcome) -> list[str]:
        """Returns what tells two runs apart; empty when nothing does."""
        return [
            *differences(self.state, other.state),
            *(f"at HQ, {each}" for each in differences(self.hq, other.hq)),
        ]


@contextmanager
def running_store(
    folder: Path,
    *,
    fault: str | None = None,
    under: Sequence[str] = (),
    durability: str = "power-loss",
    broker_config: str | None = None,
    hold_back_s: float = 0.0,
    rules: Path | None = None,
) -> Iterator[StoreUnderTest]:
    """A store whose brokers and receiver run and whose agent is still to be started.

    Args:
        folder: Where everything it writes goes.
        fault: The fault to plant in the agent.
        under: A tracer's command line.
        durability: The agent's setting.
        hold_back_s: The agent's setting.
        broker_config: The store broker's configuration; sessions outlive its restart by default.
        rules: The chain's policy.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        broker = stack.enter_context(
            running_broker(folder / "broker", config=broker_config or keeps_sessions())
        )
        hq_broker = stack.enter_context(running_broker(folder / "hq-broker"))
        hq = stack.enter_context(closing(opened_store(str(folder / "hq.db"))))
        receiver = HqReceiver(
            LinkSettings(host=hq_broker.host, port=hq_broker.port, client_id="hq"),
            hq,
            demo_private_key(),
            shared=False,
        )
        receiver.start()
        stack.callback(receiver.stop)
        assert receiver.wait_connected(30.0)
        receipts = Receipts(broker)
        stack.callback(receipts.close)
        link = stack.enter_context(recorded_link(broker.port))
        hq_link = stack.enter_context(recorded_link(hq_broker.port))
        config = folder / "agent.toml"
        config.write_text(
            agent_toml(
                folder / "state",
                broker_port=link.port,
                hq_port=hq_link.port,
                durability=durability,
                hold_back_s=hold_back_s,
                rules=rules,
            )
        )
        agent = AgentProcess(config=config, log=folder / "agent.log", fault=fault, under=under)
        stack.callback(agent.kill)
        yield StoreUnderTest(
            folder=folder,
            broker=broker,
            hq_broker=hq_broker,
            agent=agent,
            receipts=receipts,
            hq=hq,
            link=link,
            hq_link=hq_link,
        )


def agent_toml(
    state: Path,
    *,
    broker_port: int,
    hq_port: int,
    durability: str,
    hold_back_s: float = 0.0,
    rules: Path | None = None,
) -> str:
    """Returns the agent's configuration: the simulated supermarket on the replay's clock."""
    policy = "" if rules is None else f'rules = "{rules}"'
    key = public_text(demo_private_key())
    return f"""
store = "{STORE}"
timezone = "America/New_York"
currency = "USD"
clock = "replay"
seed = "{SEED}"
{policy}

[state]
directory = "{state}"
durability = "{durability}"

[ingest]
hold_back_s = {hold_back_s}

[broker]
host = "127.0.0.1"
port = {broker_port}

[hq]
host = "127.0.0.1"
port = {hq_port}
keys = {{ {DEMO_KEY_ID} = "{key}" }}

[model]
bundle = "{BUNDLE}"

{layout_toml(store_layout())}"""


def unbroken(
    folder: Path,
    day: Morning,
    *,
    fault: str | None = None,
    hold_back_s: float = 0.0,
    rules: Path | None = None,
) -> Outcome:
    """Returns what a run without any disturbance of the agent leaves behind."""
    with running_store(folder, fault=fault, hold_back_s=hold_back_s, rules=rules) as store:
        store.start_agent()
        store.open_day(day)
        store.publish(day.day)
        store.close_day()
        return store.outcome()


def _publish(broker: Broker, messages: Iterable[Message], client_id: str) -> None:
    settings = LinkSettings(
        host=broker.host, port=broker.port, client_id=client_id, clean_start=True
    )
    with BrokerPublisher(settings) as publisher:
        for message in messages:
            publisher.publish(message.topic, message.payload)
        publisher.flush()
