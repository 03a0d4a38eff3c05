"""A real `edge-agent bridge` process, whoever posts to it, and whoever listens behind it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.e2e.waiting import wait_for
from tests.integration.broker import Broker
from tests.integration.enrolled import Client, Login

STOP_S: Final = 20.0
ANSWER_S: Final = 30.0
SECRET: Final = "a-webhook-signature-key"
SQUARE_URL: Final = "https://gateway-42.example.net/square"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What an HTTP request was answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def reason(self) -> str:
        """Why it was refused."""
        return str(json.loads(self.body)["error"])


@dataclass(slots=True, kw_only=True)
class BridgeProcess:
    """One bridge process over one settings file; it can be killed and started again.

    Attributes:
        folder: Where its settings, secrets, log and watched folder are.
        sections: TOML text after `[broker]` and `[http]`.
        broker_port: Where its broker is, or will be.
        broker_more: More lines of `[broker]`.
        before: A command that runs it, such as strace.
    """

    folder: Path
    sections: str
    broker_port: int
    broker_more: str = ""
    http_more: str = ""
    before: tuple[str, ...] = ()
    port: int = 0
    _process: subprocess.Popen[str] | None = field(default=None, init=False)

    @property
    def settings(self) -> Path:
        """Its TOML file."""
        return self.folder / "bridge.toml"

    @property
    def drop(self) -> Path:
        """The folder that it may watch."""
        return self.folder / "drop"

    @property
    def log(self) -> str:
        """Everything that it wrote to standard error so far."""
        return (self.folder / "bridge.log").read_text(errors="replace")

    @property
    def events(self) -> list[dict[str, Any]]:
        """Its log lines."""
        return [json.loads(line) for line in self.log.splitlines() if line.startswith("{")]

    def write(self) -> None:
        """Writes settings and secret, and makes the watched folder."""
        self.drop.mkdir(parents=True, exist_ok=True)
        (self.folder / "secret").write_text(f"{SECRET}\n")
        self.settings.write_text(
            f"[broker]\nport = {self.broker_port}\n{self.broker_more}\n"
            f"[http]\nport = {self.port}\n{self.http_more}\n" + self.filled(self.sections)
        )

    def filled(self, text: str) -> str:
        """A text with this bridge's own paths in it."""
        return text.replace("@SECRET@", str(self.folder / "secret")).replace(
            "@DROP@", str(self.drop)
        )

    def start(self) -> None:
        """Starts it and waits until it listens."""
        self.write()
        command = [*self.before, sys.executable, "-m", "edge_agent", "bridge"]
        with (self.folder / "bridge.log").open("a") as log:
            self._process = subprocess.Popen(
                [*command, "--config", str(self.settings)],
                stdout=subprocess.DEVNULL,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        started = self.log.count('"bridge_started"') + 1
        wait_for(
            lambda: self.log.count('"bridge_started"') >= started or not self.is_alive,
            "the bridge listens",
        )
        told = [one for one in self.events if one["event"] == "bridge_started"]
        assert told or not self.is_alive, self.log
        if told:
            self.port = int(told[-1]["url"].rstrip("/").rpartition(":")[2])

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def wait_linked(self) -> None:
        """Waits until the broker is there."""
        wait_for(lambda: bool(self.health()["broker"]["connected"]), "the bridge has its broker")

    def kill(self) -> None:
        """Ends it at once, with no chance to do anything."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Ends it as systemd does; returns its exit code."""
        return self._end(signal.SIGTERM)

    def wait_ended(self) -> None:
        """Waits until it has ended by itself."""
        process, self._process = self._process, None
        assert process is not None
        process.wait(ANSWER_S)

    def _end(self, how: signal.Signals) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        if process.poll() is None:
            os.killpg(process.pid, how)
        return process.wait(STOP_S)

    def request(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
    ) -> Answered:
        """Sends a request and returns its answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_S)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            told = {name.lower(): value for name, value in response.getheaders()}
            return Answered(status=response.status, headers=told, body=response.read())
        finally:
            connection.close()

    def post(self, path: str, body: bytes, headers: dict[str, str] | None = None) -> Answered:
        """Posts a body and returns the answer."""
        return self.request("POST", path, body, headers)

    def post_square(self, body: bytes) -> Answered:
        """Posts as Square does."""
        return self.post("/square", body, square_headers(body))

    def health(self) -> dict[str, Any]:
        """What `/health` tells."""
        told: dict[str, Any] = json.loads(self.request("GET", "/health").body)
        return told

    def drop_file(self, name: str, content: bytes) -> Path:
        """Writes a file as a careful writer does: under another name, then renamed."""
        partial = self.drop / ".writing.tmp"
        partial.write_bytes(content)
        return partial.rename(self.drop / name)

    def names(self, place: str) -> list[str]:
        """The original names of the files in `working`, `done` or `refused`."""
        folder = self.drop / place
        if not folder.is_dir():
            return []
        return sorted(each.name[21:] for each in folder.iterdir())

    def reason(self, name: str) -> str:
        """Why a file lies in `refused`."""
        told = next((self.drop / "refused").glob(f"*-{name}.reason.json"))
        return str(json.loads(told.read_text())["reason"])


@contextmanager
def running_bridge(
    folder: Path,
    sections: str,
    *,
    broker_port: int,
    more: str = "",
    http_more: str = "",
    port: int = 0,
    has_broker: bool = True,
) -> Iterator[BridgeProcess]:
    """A bridge that listens, linked if its broker is there; ended when the block ends."""
    bridge = BridgeProcess(
        folder=folder,
        sections=sections,
        broker_port=broker_port,
        broker_more=more,
        http_more=http_more,
        port=port,
    )
    folder.mkdir(parents=True, exist_ok=True)
    bridge.start()
    try:
        if has_broker:
            bridge.wait_linked()
        yield bridge
    finally:
        bridge.kill()


def square_headers(body: bytes, *, secret: str = SECRET) -> dict[str, str]:
    """The header with which Square signs a body."""
    digest = hmac.digest(secret.encode(), SQUARE_URL.encode() + body, hashlib.sha256)
    return {"x-square-hmacsha256-signature": base64.b64encode(digest).decode()}


def watcher(broker: Broker, *filters: str) -> Client:
    """A client that hears what the bridge publishes."""
    client = Client(Login(port=broker.port, name="watcher"))
    client.subscribe(filters)
    return client


def heard(client: Client, n: int) -> list[tuple[str, bytes]]:
    """The first messages that come, so many of them."""
    return [client.got.get(timeout=ANSWER_S) for _ in range(n)]
