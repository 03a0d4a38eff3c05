"""The replay on a real broker: every subscriber gets the same bytes in the same order."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import time
from pathlib import Path
from typing import Any, Final

import pytest

from edge_agent.cli import replay
from edge_agent.replay.play import ReplayOptions, prepare
from edge_agent.replay.publisher import BrokerPublisher
from edge_agent.shell.mqtt_client import Incoming, LinkSettings, MqttLink, Subscription
from edge_agent.shell.signing import demo_private_key, verify_command
from edge_agent.wire.downlink import ProfileCommand
from tests.integration.broker import Broker, free_port, running_broker
from tests.integration.commands import ran

pytestmark = pytest.mark.broker

DEADLINE_S: Final = 60.0
STORE: Final = "s42"
MORNING: Final = ("--until", "04:00", "--speed", "max", "--seed", "7", "--json")


class Listener:
    """A subscriber that keeps what it gets, in order."""

    def __init__(self, broker: Broker, topic_filter: str, *, client_id: str = "listener") -> None:
        self.messages: list[tuple[str, bytes]] = []
        self._arrived = threading.Condition()
        self.link = MqttLink(
            LinkSettings(host=broker.host, port=broker.port, client_id=client_id),
            subscriptions=(Subscription(topic_filter=topic_filter),),
            on_message=self._keep,
        )
        self.link.start()
        assert self.link.wait_connected(DEADLINE_S)

    def _keep(self, message: Incoming) -> None:
        with self._arrived:
            self.messages.append((message.topic, message.payload))
            self._arrived.notify_all()

    def wait_for(self, n_messages: int) -> None:
        """Returns when so many have come."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.messages) >= n_messages, DEADLINE_S)


@contextmanager
def listening(broker: Broker, topic_filter: str = "store/#") -> Iterator[Listener]:
    """A listener for the length of a block."""
    listener = Listener(broker, topic_filter)
    try:
        yield listener
    finally:
        listener.link.stop()


def command(broker: Broker, *options: str) -> Sequence[str]:
    """The words of a replay onto this broker."""
    return ["replay", "--broker", f"{broker.host}:{broker.port}", *options]


def report(broker: Broker, *options: str) -> dict[str, Any]:
    """What a replay that ends well reports."""
    done = ran(*command(broker, *options), timeout_s=DEADLINE_S)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def expected(**options: Any) -> list[tuple[str, bytes]]:
    """The stream as it is made in memory."""
    chosen = ReplayOptions(seed=7, until=time(4), store=STORE, **options)
    return [(each.topic, each.payload) for each in prepare(chosen).publications()]


def test_broker_hands_on_the_streams_bytes_in_its_order(broker: Broker) -> None:
    """What a subscriber gets is the stream, whole and in order, and the report counts it."""
    stream = expected(duplicates=0.05, shuffle=True)
    with listening(broker) as listener:
        answer = report(broker, *MORNING, "--duplicates", "0.05", "--shuffle")
        listener.wait_for(len(stream))
    assert listener.messages == stream
    n_ticks = sum(topic.endswith("/clock") for topic, _ in stream)
    assert answer["ticks"] == n_ticks
    assert answer["events"]["published"] == len(stream) - n_ticks
    assert answer["is_complete"] is True


def test_every_raw_identifier_of_the_stream_is_in_the_file(broker: Broker, tmp_path: Path) -> None:
    """Each value told in an event is listed with its kind, and nothing else is."""
    path = tmp_path / "identifiers.jsonl"
    n_messages = len(expected())
    with listening(broker) as listener:
        report(broker, *MORNING, "--identifiers", str(path))
        listener.wait_for(n_messages)
    told: set[tuple[str, str]] = set()
    for topic, payload in listener.messages:
        if "/event/" in topic:
            data = json.loads(payload)["data"]
            if "visitor" in data:
                told.add((data["visitor"]["kind"], data["visitor"]["value"]))
            if "basket" in data:
                told.add(("basket", data["basket"]))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert {(line["kind"], line["value"]) for line in lines} == told
    assert len(lines) == len(told)


def test_profiles_go_down_the_hq_broker_signed(broker: Broker, tmp_path: Path) -> None:
    """One verifiable command for each who consented, and nothing of it on the store's broker."""
    with (
        running_broker(tmp_path / "hq") as hq,
        listening(hq, "hq/#") as at_hq,
        listening(broker, "#") as in_store,
    ):
        answer = report(broker, *MORNING, "--hq-broker", f"{hq.host}:{hq.port}")
        n_consents = answer["simulated"]["consents"]
        at_hq.wait_for(n_consents)
        in_store.wait_for(answer["ticks"] + answer["events"]["published"])
    assert 0 < n_consents < answer["simulated"]["cardholders"]
    assert {topic for topic, _ in at_hq.messages} == {f"hq/{STORE}/down/profile"}
    keys = {"demo": demo_private_key().public_key()}
    commands = [verify_command(payload, keys=keys) for _, payload in at_hq.messages]
    assert all(isinstance(each, ProfileCommand) for each in commands)
    assert len(commands) == n_consents
    assert not [topic for topic, _ in in_store.messages if not topic.startswith("store/")]


def test_interrupted_replay_ends_in_order_and_says_so(broker: Broker) -> None:
    """Ctrl-C: what was published is acknowledged, the report is written, the exit code is 1."""
    slow = ("--speed", "60", "--json", "--baskets", "5")
    with listening(broker) as listener:
        process = subprocess.Popen(
            [sys.executable, "-m", "edge_agent", *command(broker, *slow)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        listener.wait_for(1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=DEADLINE_S)
        answer = json.loads(out)
        listener.wait_for(answer["ticks"] + answer["events"]["published"])
    assert process.returncode == 1, err
    assert answer["is_complete"] is False
    assert len(listener.messages) == answer["ticks"] + answer["events"]["published"]


def test_an_interrupt_while_it_is_just_starting_ends_it_too(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes before anybody waits for the thread that plays, which plays already."""
    submit = ThreadPoolExecutor.submit

    def interrupted(pool: ThreadPoolExecutor, *given: Any, **named: Any) -> Any:
        running = submit(pool, *given, **named)
        os.kill(os.getpid(), signal.SIGINT)
        return running

    monkeypatch.setattr(ThreadPoolExecutor, "submit", interrupted)
    settings = LinkSettings(host=broker.host, port=broker.port, client_id="short")
    before = signal.getsignal(signal.SIGINT)
    try:
        played, _ = replay._run(ReplayOptions(speed=60, baskets=1), settings, None, None)
    finally:
        signal.signal(signal.SIGINT, before)
    assert not played.is_complete


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--speed", "0"), 2, "a number above 0"),
        (("--speed", "quick"), 2, "a number above 0"),
        (("--store", "s42/event"), 2, "without / + #"),
        (("--hq-broker", "nowhere:0"), 2, "HOST:PORT"),
        (("--duplicates", "1.5"), 2, "duplicates"),
        (("--day", "tomorrow"), 2, "day"),
        (("--identifiers", "/nowhere/at/all.jsonl"), 2, "No such file"),
        (("--day", "2017-12-25"), 3, "no sales on 2017-12-25"),
        (("--timezone", "America/Nowhere"), 3, "no time zone"),
    ],
)
def test_wrong_use_and_missing_data_are_told_apart(
    broker: Broker, options: tuple[str, ...], code: int, words: str
) -> None:
    """Exit code 2 is the caller's mistake, 3 the environment's; both say what it is."""
    done = ran(*command(broker, *options), timeout_s=DEADLINE_S)
    assert done.returncode == code, done.stderr
    assert words in done.stderr


def test_missing_broker_is_told_with_what_to_do() -> None:
    """Exit code 3, and no trace back."""
    nobody = Broker(folder=Path("unused"), port=free_port())
    done = ran(*command(nobody, *MORNING), timeout_s=DEADLINE_S)
    assert done.returncode == 3
    assert "no broker at" in done.stderr
    assert "--broker" in done.stderr
    assert "Traceback" not in done.stderr


def test_publisher_waits_while_too_much_is_unacknowledged(broker: Broker) -> None:
    """A frozen broker holds the replay up at the window's size; thawed, everything arrives."""
    n_messages, window = 100, 10
    settings = LinkSettings(host=broker.host, port=broker.port, client_id="replay-test")
    published: list[int] = []
    with listening(broker) as listener, BrokerPublisher(settings, in_flight=window) as publisher:
        broker.freeze()

        def publish_all() -> None:
            for n in range(n_messages):
                publisher.publish("store/s42/clock", str(n).encode())
                published.append(n)
            publisher.flush()

        thread = threading.Thread(target=publish_all)
        thread.start()
        thread.join(1.0)
        held_up_after = len(published)
        broker.thaw()
        thread.join(DEADLINE_S)
        assert not thread.is_alive()
        listener.wait_for(n_messages)
    assert held_up_after == window
    assert [int(payload) for _, payload in listener.messages] == list(range(n_messages))


def test_publisher_goes_on_after_the_broker_came_back(tmp_path: Path) -> None:
    """A restart in between loses nothing; what was in flight may come twice."""
    with running_broker(tmp_path / "broker") as broker:
        settings = LinkSettings(host=broker.host, port=broker.port, client_id="replay-test")
        with BrokerPublisher(settings) as publisher:
            publisher.publish("store/s42/clock", b"1")
            publisher.flush()
            broker.restart()
            with listening(broker) as listener:
                publisher.publish("store/s42/clock", b"2")
                publisher.flush()
                listener.wait_for(1)
    assert {payload for _, payload in listener.messages} == {b"2"}
