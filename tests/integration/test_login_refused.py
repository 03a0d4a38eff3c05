"""A broker that refuses the login: who cannot wait is told at once, an agent goes on trying."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from edge_agent.errors import BrokerError
from edge_agent.shell.mqtt_client import LinkSettings, MqttLink, connect_or_raise
from provisioning.enrol import password_hash
from tests.integration.broker import LOOPBACK, Broker, running_broker
from tests.integration.commands import ran
from tests.integration.packets import packet_from
from tests.integration.running_agent import DEADLINE_S, wait_for

pytestmark = pytest.mark.broker

GUARDED: Final = "allow_anonymous false\npassword_file {folder}/passwords\n"
AT_ONCE_S: Final = 5.0
"""A command's own time on a loaded machine; patience with a slow broker takes 10 s."""
FACT: Final = ("name=rain", "value:=true", "valid_until=2099-12-02T18:00:00Z")
COMMANDS: Final = {
    "replay": ("replay", "--until", "08:05", "--baskets", "1"),
    "send": (
        "hq", "send", "fact", "--store", "s1", "--key", "demo", "--database", "{folder}/hq.db",
        *(word for each in FACT for word in ("--set", each)),
    ),
    "conformance": (
        "conformance", "screen", "--store", "s1", "--screen", "a", "--no-interaction",
    ),
    "screens": ("screens", "--store", "s1", "--port", "0", "--no-wait"),
}  # fmt: skip


def answer(code: int) -> bytes:
    """Returns a CONNACK with a reason code and no properties."""
    return bytes((0x20, 3, 0, code, 0))


@contextmanager
def answering(*codes: int) -> Iterator[LinkSettings]:
    """Where a broker answers each login with the next of some codes, then with the last."""
    listener = socket.create_server((LOOPBACK, 0))
    taken: list[socket.socket] = []

    def listen() -> None:
        with suppress(OSError, ValueError):
            while True:
                connection, _ = listener.accept()
                taken.append(connection)
                packet_from(connection.makefile("rb"))
                connection.sendall(answer(codes[min(len(taken), len(codes)) - 1]))
                if len(taken) < len(codes):
                    connection.shutdown(socket.SHUT_RDWR)

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    with closing(listener):
        port = listener.getsockname()[1]
        yield LinkSettings(host=LOOPBACK, port=port, client_id="lone")
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(DEADLINE_S)
    for each in taken:
        each.close()


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Broker]:
    """A broker that knows nobody but `agent`, whose password is `old`."""
    (tmp_path / "passwords").write_text(f"agent:{password_hash('old')}\n")
    with running_broker(tmp_path, config=GUARDED) as broker:
        yield broker


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (0x86, "Bad user name or password"),
        (0x87, "Not authorized"),
        (0x8A, "Banned"),
        (0x8C, "Bad authentication method"),
    ],
)
def test_who_needs_a_broker_is_told_at_once_that_it_refuses_the_login(
    caplog: pytest.LogCaptureFixture, code: int, reason: str
) -> None:
    """The same login gets the same answer; the error says so alone, and the log nothing."""
    with answering(code) as settings:
        link, began_s = MqttLink(settings), time.monotonic()
        with pytest.raises(BrokerError) as raised:
            connect_or_raise(link, settings, timeout_s=2 * DEADLINE_S)
        assert time.monotonic() - began_s < DEADLINE_S
    where = f"{LOOPBACK}:{settings.port}"
    assert raised.value.message == f"the broker at {where} refuses the login: {reason}"
    assert "--password-file" in raised.value.hint
    assert not link._thread.is_alive()
    assert [each for each in caplog.records if each.levelno >= logging.WARNING] == []


def test_who_needs_a_broker_waits_for_one_that_is_busy() -> None:
    """That passes by itself: it lets the same login in a moment later."""
    busy, unavailable, welcome = 0x89, 0x88, 0
    with answering(busy, unavailable, welcome) as settings:
        link = MqttLink(settings)
        connect_or_raise(link, settings, timeout_s=DEADLINE_S)
        assert link.connected
        link.stop(timeout_s=0.1)


def test_a_refused_link_is_logged_once_it_has_been_connected(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What nobody waits for any more is told by the log alone."""
    with answering(0, 0x87) as settings:
        link = MqttLink(settings)
        connect_or_raise(link, settings, timeout_s=DEADLINE_S)
        wait_for(lambda: "broker_unreachable" in caplog.messages, what="the refusal")
        link.stop(timeout_s=0.1)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_says_at_once_that_its_login_is_refused(
    tmp_path: Path, guarded: Broker, name: str
) -> None:
    """Exit code 3; what is wrong and what helps, and no line beside them."""
    (tmp_path / "password").write_text("wrong\n")
    user = "--username" if name == "replay" else "--user"
    login = (user, "bench", "--password-file", str(tmp_path / "password"))
    at = ("--broker", f"{LOOPBACK}:{guarded.port}")
    began_s = time.monotonic()
    done = ran(*(each.format(folder=tmp_path) for each in COMMANDS[name]), *at, *login)
    assert time.monotonic() - began_s < AT_ONCE_S
    assert done.returncode == 3, done.stderr
    error, hint = [line for line in done.stderr.splitlines() if "demo's key" not in line]
    where = f"{LOOPBACK}:{guarded.port}"
    assert error == f"error: the broker at {where} refuses the login: Not authorized"
    assert hint.partition(": ")[2].startswith("give the name of a user whom it knows")


@contextmanager
def started(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A command that goes on until the block ends; what it says is in `said`."""
    with (folder / "said").open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "edge_agent", *arguments],
            stdout=said,
            stderr=said,
            stdin=subprocess.DEVNULL,
            text=True,
        )
    try:
        yield process
    finally:
        process.terminate()
        assert process.wait(DEADLINE_S) == 0


def test_pages_that_may_wait_say_at_once_what_they_wait_for(
    tmp_path: Path, guarded: Broker
) -> None:
    """They are served meanwhile; what is said holds no line of the log."""
    at = ("--broker", f"{LOOPBACK}:{guarded.port}")
    began_s = time.monotonic()
    with started(tmp_path, "screens", "--store", "s1", "--port", "0", *at):
        wait_for(lambda: "waiting" in (tmp_path / "said").read_text(), what="the word")
        assert time.monotonic() - began_s < AT_ONCE_S
        _url, waiting = (tmp_path / "said").read_text().splitlines()
    where = f"{LOOPBACK}:{guarded.port}"
    assert waiting.startswith(f"waiting: the broker at {where} refuses the login: Not authorized;")


def test_an_agent_whose_login_is_refused_goes_on_trying(tmp_path: Path, guarded: Broker) -> None:
    """A password may be rotated at the broker first, at its start or while it runs."""
    (tmp_path / "password").write_text("new")
    config = tmp_path / "agent.toml"
    config.write_text(
        f'store = "s1"\ntimezone = "UTC"\n[state]\ndirectory = "{tmp_path / "state"}"\n'
        f'[broker]\nport = {guarded.port}\nusername = "agent"\n'
        f'password_file = "{tmp_path / "password"}"\n'
    )

    def is_said(word: str, n: int) -> bool:
        return (tmp_path / "said").read_text().count(f'"{word}"') >= n

    with started(tmp_path, "run", "--config", str(config)) as agent:
        for n, password in enumerate(("newer", "newest"), start=1):
            wait_for(partial(is_said, "refused: Not authorized", n), what="a refusal")
            assert agent.poll() is None
            know(guarded, "new")
            wait_for(partial(is_said, "broker_connected", n), what="a connection")
            know(guarded, password)


def know(broker: Broker, password: str) -> None:
    """Has a broker know the agent by another password, and everybody log in again."""
    (broker.folder / "passwords").write_text(f"agent:{password_hash(password)}\n")
    broker.restart()
