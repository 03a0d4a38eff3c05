"""A real mosquitto for a test: started on a free loopback port, stopped, killed or frozen at will.

Nothing here is a fake. A broker keeps its port over restarts, and its sessions too when its
configuration says `persistence true`.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

LOOPBACK: Final = "127.0.0.1"
START_S: Final = 15.0
"""How long a broker may take to answer; a loaded machine needs a few seconds."""
STOP_S: Final = 15.0
POLL_S: Final = 0.02

OPEN: Final = "allow_anonymous true\nmax_queued_messages 0\nmax_inflight_messages 100\n"
"""A broker that lets everyone do everything and keeps nothing over a restart."""

# MQTT 3.1.1, section 3.1: CONNECT, protocol level 4, clean session, client id "answers?".
_CONNECT: Final = b"\x10\x14\x00\x04MQTT\x04\x02\x00\x05\x00\x08answers?"
_CONNACK: Final = 0x20
_RELOADED: Final = "Reloading config."


class BrokerFailedError(Exception):
    """The broker did not start; what it said is in the message."""


def free_port() -> int:
    """A loopback port that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(slots=True, kw_only=True)
class Broker:
    """One mosquitto process; its listener of `port` is the first line of its configuration.

    Attributes:
        folder: Where its configuration, log and database are.
        config: Lines after the listener's; `{folder}` in them is this folder.
        port: The loopback port of the first listener.
        tls: Whether that listener speaks TLS, and so cannot be asked in plain MQTT.
    """

    folder: Path
    config: str = OPEN
    port: int = field(default_factory=free_port)
    tls: bool = False
    _process: subprocess.Popen[bytes] | None = None

    @property
    def host(self) -> str:
        """The address that the broker listens on."""
        return LOOPBACK

    @property
    def pid(self) -> int:
        """The process id of the running broker."""
        assert self._process is not None, "the broker is not running"
        return self._process.pid

    @property
    def log(self) -> str:
        """Everything the broker wrote so far."""
        return (self.folder / "mosquitto.log").read_text(errors="replace")

    def start(self) -> None:
        """Start the broker and wait until it answers.

        Raises:
            BrokerFailedError: It ended at once or stayed silent.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "mosquitto.conf"
        # As root mosquitto would become a user that cannot read the test's folder.
        as_root = "user root\n" if os.geteuid() == 0 else ""
        listener = f"listener {self.port} {LOOPBACK}\n"
        path.write_text(listener + self.config.replace("{folder}", str(self.folder)) + as_root)
        with (self.folder / "mosquitto.log").open("ab") as log:
            self._process = subprocess.Popen(
                [_mosquitto(), "-c", str(path)], stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        self._wait_for_answer()

    def _wait_for_answer(self) -> None:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                break
            if self.answers():
                return
            time.sleep(POLL_S)
        self.kill()
        raise BrokerFailedError(self.log)

    def answers(self) -> bool:
        """Tell whether the broker takes connections and, in plain MQTT, replies to them."""
        try:
            with socket.create_connection((LOOPBACK, self.port), timeout=1.0) as connection:
                if self.tls:
                    return True
                connection.sendall(_CONNECT)
                return connection.recv(1) == bytes([_CONNACK])
        except OSError:
            return False

    def stop(self) -> None:
        """End the broker as systemd does: it closes its connections and saves its sessions."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the broker at once; what it had not saved is lost."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        process.send_signal(signal.SIGCONT)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def restart(self) -> None:
        """Stop and start on the same port, sessions kept when the configuration keeps them."""
        self.stop()
        self.start()

    def reload(self) -> None:
        """Have the broker read its roles, passwords and certificates again, and wait for it."""
        before = self.log.count(_RELOADED)
        os.kill(self.pid, signal.SIGHUP)
        deadline = time.monotonic() + START_S
        while self.log.count(_RELOADED) == before:
            assert time.monotonic() < deadline, "the broker did not reload"
            time.sleep(POLL_S)

    def freeze(self) -> None:
        """Leave the connections open and answer nothing, as a hung machine does."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Go on after `freeze`."""
        os.kill(self.pid, signal.SIGCONT)

    def wipe_sessions(self) -> None:
        """Forget every session, queued message and packet id; the broker must be stopped."""
        assert self._process is None, "stop the broker first"
        for database in self.folder.glob("mosquitto.db*"):
            database.unlink()


@contextmanager
def running_broker(
    folder: Path, *, config: str = OPEN, port: int | None = None, tls: bool = False
) -> Iterator[Broker]:
    """A broker that answers, ended when the block ends.

    Example:
        >>> with running_broker(tmp_path) as broker:  # doctest: +SKIP
        ...     client.connect(broker.host, broker.port)
    """
    broker = Broker(folder=folder, config=config, port=port or free_port(), tls=tls)
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()


def keeps_sessions() -> str:
    """Configuration lines of a broker whose sessions outlive an orderly restart."""
    return f"{OPEN}persistence true\npersistence_location {{folder}}/\n"


def _mosquitto() -> str:
    # Debian puts it into /usr/sbin, which is not in a user's PATH.
    path = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
    assert path is not None, "mosquitto is missing: run tests/tools/setup.sh"
    return path
