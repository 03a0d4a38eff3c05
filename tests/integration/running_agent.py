"""The installed agent as a process of its own on a real broker, and a device that talks to it."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from edge_agent.shell.mqtt_client import Incoming, LinkSettings, MqttLink, Subscription
from edge_agent.wire import topics

DEADLINE_S: Final = 20.0
POLL_S: Final = 0.01
STORE: Final = "s1"
BUNDLE: Final = Path(__file__).parents[2] / "models" / "artifacts"

CONFIG: Final = """
store = "{store}"
clock = "{clock}"
timezone = "America/New_York"
currency = "USD"
{rules}
[state]
directory = "{folder}/state"
[broker]
port = {port}
{model}
[policy]
alert_cooldown_s = 0
{policy}
[zones.dairy]
departments = ["GROCERY"]
[zones.bakery]
departments = ["GROCERY"]
[zones.wine]
long_dwell_s = 10
team = "cellar"
[zones.checkout-2]
[screens.dairy-1]
zone = "dairy"
[screens.bakery-1]
zone = "bakery"
[registers.pos-2]
zone = "checkout-2"
[sources.pos-2]
receipt = true
[sources.kiosk-1]
audience = "private"
"""

_numbers = itertools.count(1)


def wait_for(condition: Callable[[], Any], *, what: str = "it") -> Any:
    """Returns what a condition returns as soon as that is true; fails when it is not in time."""
    deadline = time.monotonic() + DEADLINE_S
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what} did not come true in time"
        time.sleep(POLL_S)
    return found


def event(source: str, kind: str, *, event_id: str | None = None, **data: Any) -> dict[str, Any]:
    """Returns a canonical event of now, with an id of its own."""
    return {
        "specversion": "1.0",
        "id": event_id or f"e{next(_numbers)}",
        "source": source,
        "type": kind,
        "time": datetime.now(UTC).isoformat(),
        "data": data,
    }


def visitor(kind: str, value: str) -> dict[str, str]:
    """Returns a visitor as a device names him."""
    return {"kind": kind, "value": value}


class Device:
    """All that talks to the agent, in one: publishes, and keeps what the store hears."""

    def __init__(self, port: int) -> None:
        self._lock = threading.Lock()
        self._heard: list[Incoming] = []
        self.link = MqttLink(
            LinkSettings(host="127.0.0.1", port=port, client_id=f"device-{next(_numbers)}"),
            subscriptions=(Subscription(topic_filter="#", no_local=True),),
            on_message=self._hear,
        )
        self.link.start()
        assert self.link.wait_connected(DEADLINE_S)

    def _hear(self, message: Incoming) -> None:
        with self._lock:
            self._heard.append(message)

    def send(self, *events: dict[str, Any]) -> list[dict[str, Any]]:
        """Publishes events, each on its source's topic."""
        for each in events:
            self.raw(topics.event(STORE, each["source"]), json.dumps(each).encode())
        return list(events)

    def raw(self, topic: str, payload: bytes, **options: Any) -> None:
        """Publishes bytes."""
        self.link.publish(topic, payload, **options)

    def heard(self, topic: str) -> list[Incoming]:
        """Returns what was heard on one topic."""
        with self._lock:
            return [message for message in self._heard if message.topic == topic]

    def documents(self, topic: str) -> list[dict[str, Any]]:
        """Returns the documents that were heard on one topic."""
        return [json.loads(message.payload) for message in self.heard(topic) if message.payload]

    def everything(self) -> bytes:
        """Returns every topic and byte that was heard."""
        with self._lock:
            return b"\n".join(m.topic.encode() + b" " + m.payload for m in self._heard)

    def answer(self, topic: str, cause: str) -> dict[str, Any]:
        """Waits for the message on a topic that answers an event."""

        def found() -> dict[str, Any] | None:
            for each in self.documents(topic):
                if each["cause"]["id"] == cause:
                    return each
            return None

        answer: dict[str, Any] = wait_for(found, what=f"an answer to {cause} on {topic}")
        return answer


@dataclass(slots=True, kw_only=True)
class RunningAgent:
    """An agent's process and its folder."""

    folder: Path
    port: int
    has_model: bool = False
    store: str = STORE
    extra: str = ""
    clock: str = "system"
    policy: str = ""
    rules: Path | None = None
    shadow_rules: Path | None = None
    bundle: Path = BUNDLE
    _process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def config(self) -> Path:
        """The agent's configuration file."""
        return self.folder / "agent.toml"

    @property
    def state(self) -> Path:
        """The agent's state folder."""
        return self.folder / "state"

    @property
    def log(self) -> str:
        """All it logged."""
        return (self.folder / "agent.log").read_text(encoding="utf-8")

    @property
    def is_running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    def write_config(self, extra: str = "") -> None:
        """Writes the configuration file."""
        self.folder.mkdir(parents=True, exist_ok=True)
        model = f'[model]\nbundle = "{self.bundle}"' if self.has_model else ""
        files = {"rules": self.rules, "shadow_rules": self.shadow_rules}
        text = CONFIG.format(
            rules="\n".join(
                f'{key} = "{path}"' for key, path in files.items() if path is not None
            ),
            policy=self.policy,
            store=self.store,
            folder=self.folder,
            port=self.port,
            model=model,
            clock=self.clock,
        )
        self.config.write_text(text + self.extra + extra, encoding="utf-8")

    def start(self) -> None:
        """Starts it and waits until it is subscribed."""
        self.write_config()
        log = self.folder / "agent.log"
        n_before = log.read_text(encoding="utf-8").count('"ready"') if log.exists() else 0
        with log.open("ab") as stream:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "edge_agent", "run", "--config", str(self.config)],
                stdout=stream,
                stderr=stream,
                stdin=subprocess.DEVNULL,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
        wait_for(
            lambda: self.log.count('"ready"') > n_before or not self.is_running,
            what="the agent's start",
        )
        assert self.is_running, self.log

    def stop(self) -> int:
        """Ends it as systemd does and returns its exit code."""
        return self._end(signal.SIGTERM)

    def reload(self) -> None:
        """Has it load mappings and rules again, as `systemctl reload` does, and waits for it."""
        assert self._process is not None
        n_before = self.log.count('"reloaded"')
        self._process.send_signal(signal.SIGHUP)
        wait_for(lambda: self.log.count('"reloaded"') > n_before, what="the reload")

    def kill(self) -> None:
        """Ends it at once."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(how)
        try:
            return process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


@contextmanager
def running_agent(
    folder: Path,
    port: int,
    *,
    has_model: bool = False,
    extra: str = "",
    bundle: Path = BUNDLE,
) -> Iterator[RunningAgent]:
    """An agent that is subscribed, ended when the block ends; `extra` joins its configuration."""
    agent = RunningAgent(folder=folder, port=port, has_model=has_model, extra=extra, bundle=bundle)
    agent.start()
    try:
        yield agent
    finally:
        agent.stop()


@contextmanager
def device(port: int) -> Iterator[Device]:
    """A connected device, disconnected when the block ends."""
    made = Device(port)
    try:
        yield made
    finally:
        made.link.stop()
