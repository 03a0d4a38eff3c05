"""Ten ways in which a broker fails: the agent works again soon, asks gently, and loses nothing."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
from typing_extensions import override

from edge_agent.ingest.ordering import mark_of
from tests.integration.bad_link import BadLink, bad_link
from tests.integration.broker import LOOPBACK, Broker, keeps_sessions, running_broker
from tests.integration.running_agent import (
    STORE,
    Device,
    RunningAgent,
    device,
    event,
    wait_for,
)

pytestmark = pytest.mark.broker

TILL: Final = "pos-2"
WORKS_AGAIN_S: Final = 20.0
CONNECTS_A_MINUTE: Final = 60
N_EVENTS: Final = 10
ROUNDS: Final = 5
"""Of each fault, in a soak."""
KEEPALIVE_S: Final = 5
REPEAT_S: Final = 1.0
"""A till repeats what it has no receipt for."""
DOWN_S: Final = 1.5
KICKS: Final = 6
GARBAGE: Final = (
    bytes(8),
    b"\xff" * 16,
    # A message whose topic is longer than itself, and one with a topic and properties of nonsense.
    b"\x30\x03\x00\xff\x00",
    b"\x32\x0a\x00\x02\xff\xfe\x00\x01\xff\xff\xff\xff",
    # An answer to a subscription that is too short, a disconnect with a reason that there is not.
    b"\x90\x01\x00",
    b"\xe0\x02\x11\x00",
)
BURST_S: Final = 5.0
BURST: Final = 7
"""Two quick tries and then one a second at most, whatever happens to the connections."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rig:
    """A store whose agent reaches its broker over a link that can be made bad."""

    broker: Broker
    link: BadLink
    agent: RunningAgent
    till: Device

    def told(self) -> set[str]:
        """Returns the events that the till has a receipt for."""
        documents = self.till.documents(f"store/{STORE}/event/{TILL}/receipt")
        return {each["id"] for each in documents}

    def n_noticed(self) -> int:
        """Returns how often the agent noticed that its broker was gone."""
        return self.agent.log.count('"broker_lost"')

    def wait_noticed(self, n_before: int) -> None:
        """Returns when it noticed once more."""
        wait_for(lambda: self.n_noticed() > n_before, what="the loss of the broker")


class Impatient(RunningAgent):
    """An agent that pings its broker often, so that the tests need not wait long."""

    @override
    def write_config(self, extra: str = "") -> None:
        """Writes the configuration file."""
        super().write_config(extra)
        text = self.config.read_text(encoding="utf-8")
        ping = f"[broker]\nkeepalive_s = {KEEPALIVE_S}\n"
        self.config.write_text(text.replace("[broker]\n", ping), encoding="utf-8")


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """One store for all faults: what one of them leaves behind, the next one meets."""
    folder = tmp_path_factory.mktemp("faults")
    with (
        running_broker(folder / "broker", config=keeps_sessions()) as broker,
        bad_link(broker.port) as link,
        device(broker.port) as till,
    ):
        agent = Impatient(folder=folder / "agent", port=link.port)
        agent.start()
        yield Rig(broker=broker, link=link, agent=agent, till=till)
        agent.stop()


Ended = Callable[[], None]


def restarted(rig: Rig) -> Ended:
    """It is restarted in order."""
    rig.broker.stop()
    return rig.broker.start


def killed(rig: Rig) -> Ended:
    """It is killed, and has forgotten what it had not saved."""
    rig.broker.kill()
    return rig.broker.start


def frozen(rig: Rig) -> Ended:
    """It hangs, connections and all, until the agent gives it up."""
    before = rig.n_noticed()
    rig.broker.freeze()

    def thaw() -> None:
        rig.wait_noticed(before)
        rig.broker.thaw()

    return thaw


def half_open(rig: Rig) -> Ended:
    """The connection leads nowhere any more, and nobody says so."""
    before = rig.n_noticed()
    rig.link.swallow()
    return lambda: rig.wait_noticed(before)


def refused(rig: Rig) -> Ended:
    """It takes no client for a while."""
    config = rig.broker.config
    rig.broker.stop()
    rig.broker.config = config.replace("allow_anonymous true", "allow_anonymous false")
    with suppress(Exception):
        rig.broker.start()

    def let_in() -> None:
        time.sleep(DOWN_S)
        rig.broker.stop()
        rig.broker.config = config
        rig.broker.start()

    return let_in


def wiped(rig: Rig) -> Ended:
    """It has lost every session: subscriptions and what was queued."""
    rig.broker.stop()
    rig.broker.wipe_sessions()
    return rig.broker.start


def slow(rig: Rig) -> Ended:
    """A few bytes at a time."""
    rig.link.is_slow = True

    def quicken() -> None:
        _repeat_until_told(rig, [event(TILL, "basket.opened", basket="slow")])
        rig.link.is_slow = False

    return quicken


def garbled(rig: Rig) -> Ended:
    """Bytes that are no MQTT."""
    for garbage in GARBAGE:
        rig.link.garble(garbage)
        _repeat_until_told(rig, [event(TILL, "basket.opened", basket=garbage.hex())])
    return lambda: None


def taken_over(rig: Rig) -> Ended:
    """Somebody connects under the agent's client id, again and again: it is disconnected."""
    for _ in range(KICKS):
        other = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=f"edge-agent-{STORE}", protocol=paho.MQTTv5
        )
        before = rig.n_noticed()
        other.connect(LOOPBACK, rig.broker.port, clean_start=False)
        deadline = time.monotonic() + DOWN_S
        while rig.n_noticed() == before and time.monotonic() < deadline:
            other.loop(0.05)
        other.loop_misc()
        sock = other.socket()
        if sock is not None:
            sock.close()
    return lambda: None


def closed(rig: Rig) -> Ended:
    """Nobody listens for a while."""
    rig.link.close()

    def listen() -> None:
        time.sleep(DOWN_S)
        rig.link.open()

    return listen


FAULTS: Final = (
    restarted,
    killed,
    frozen,
    half_open,
    refused,
    wiped,
    slow,
    garbled,
    taken_over,
    closed,
)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_the_agent_works_again(rig: Rig, fault: Callable[[Rig], Ended], *, soak: bool) -> None:
    """Soon after the fault every event has its receipt, is on disk once, and connects were few."""
    for _ in range(ROUNDS if soak else 1):
        opened = [
            event(TILL, "basket.opened", basket=f"{fault.__name__}") for _ in range(N_EVENTS)
        ]
        rig.till.send(*opened[: N_EVENTS // 2])
        end = fault(rig)
        rig.till.send(*opened[N_EVENTS // 2 :])
        end()
        ended_s = time.monotonic()
        _repeat_until_told(rig, opened)
        assert time.monotonic() - ended_s <= WORKS_AGAIN_S
        assert rig.agent.is_running
        assert _n_on_disk(rig.agent.state / "state.db", opened) == N_EVENTS
    assert _most_within(rig.link.connected_at_s, 60.0) <= CONNECTS_A_MINUTE
    assert _most_within(rig.link.connected_at_s, BURST_S) <= BURST


def _repeat_until_told(rig: Rig, events: list[dict[str, Any]]) -> None:
    deadline = time.monotonic() + 3 * WORKS_AGAIN_S
    while missing := [each for each in events if each["id"] not in rig.told()]:
        assert time.monotonic() < deadline, f"no receipt for {len(missing)} events"
        rig.till.send(*missing)
        with suppress(AssertionError):
            _wait_told(rig, missing)


def _wait_told(rig: Rig, events: list[dict[str, Any]]) -> None:
    deadline = time.monotonic() + REPEAT_S
    wanted = {str(each["id"]) for each in events}
    while not wanted <= rig.told():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _n_on_disk(database: Path, events: list[dict[str, Any]]) -> int:
    marks = [mark_of(str(each["source"]), str(each["id"])) for each in events]
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return sum(
            connection.execute("SELECT count(*) FROM inbox WHERE mark = ?", (mark,)).fetchone()[0]
            for mark in marks
        )


def _most_within(instants_s: list[float], span_s: float) -> int:
    return max(
        (sum(first <= other < first + span_s for other in instants_s) for first in instants_s),
        default=0,
    )
