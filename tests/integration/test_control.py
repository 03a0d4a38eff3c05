"""The local way to ask the running agent: who may, what is refused, and that it never wedges."""

from __future__ import annotations

import json
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_agent.errors import AgentUnreachable, BundleError, RequestRefused
from edge_agent.shell.control import MAX_LINE_BYTES, ControlServer, ask
from tests.integration.broker import Broker
from tests.integration.running_agent import running_agent


def handle(request: dict[str, Any]) -> dict[str, Any]:
    """Answers as an agent may: with a document, a refusal or a fault of its own."""
    match request.get("do"):
        case "echo":
            return {"said": request["word"]}
        case "refuse":
            raise BundleError("it is damaged", hint="take another")
        case _:
            raise ZeroDivisionError


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """The socket of a server that listens."""
    server = ControlServer(tmp_path / "control", handle)
    server.start()
    yield tmp_path / "control"
    server.stop()
    assert not (tmp_path / "control").exists()


def said(path: Path, line: bytes) -> dict[str, Any]:
    """Returns the answer to raw bytes."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10.0)
        connection.connect(str(path))
        connection.sendall(line)
        found = b""
        while piece := connection.recv(4096):
            found += piece
    answer: dict[str, Any] = json.loads(found)
    return answer


def test_a_request_is_answered_and_only_its_owner_may_ask(path: Path) -> None:
    """A JSON line each way, over a socket that nobody else may open."""
    assert ask(path, {"do": "echo", "word": "moi"}) == {"said": "moi"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_refusal_comes_with_its_reason_and_what_to_do(path: Path) -> None:
    """An expected error of the agent is the caller's error."""
    with pytest.raises(RequestRefused, match="it is damaged") as refusal:
        ask(path, {"do": "refuse"})
    assert refusal.value.hint == "take another"


def test_a_fault_of_the_agent_leaves_it_listening(path: Path) -> None:
    """Whatever one request does, the next one is answered."""
    with pytest.raises(RequestRefused, match="see its log"):
        ask(path, {"do": "break"})
    assert ask(path, {"do": "echo", "word": "still"}) == {"said": "still"}


@pytest.mark.parametrize("line", [b"\n", b"[]\n", b"{\n", b"\xff\n", b"[" * 50_000 + b"\n"])
def test_nonsense_is_refused(path: Path, line: bytes) -> None:
    """What is no JSON object on one line is told so."""
    assert said(path, line)["error"] == "a request is a JSON object on one line"


def test_endless_data_is_cut_off(path: Path) -> None:
    """A line that never ends is refused at its bound, and the next caller is served."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            connection.sendall(b"x" * (100 * MAX_LINE_BYTES))
    assert ask(path, {"do": "echo", "word": "next"}) == {"said": "next"}


def test_without_an_agent_the_error_says_so(tmp_path: Path) -> None:
    """No socket, and a socket that an ended agent left, are both told as no agent."""
    with pytest.raises(AgentUnreachable) as absent:
        ask(tmp_path / "control", {"do": "echo"})
    assert absent.value.exit_code == 3
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "control"))
    with pytest.raises(AgentUnreachable):
        ask(tmp_path / "control", {"do": "echo"})


def test_a_socket_that_was_left_is_replaced_however_deep_it_lies(tmp_path: Path) -> None:
    """A path longer than an address may be works as well, also after a kill."""
    folder = tmp_path / ("deep" * 40)
    folder.mkdir()
    left, server = (ControlServer(folder / "control", handle) for _ in range(2))
    left.start()
    server.start()
    assert ask(folder / "control", {"do": "echo", "word": "ok"}) == {"said": "ok"}
    left.stop()
    server.stop()


def test_the_running_agent_answers_from_its_core_thread(broker: Broker, tmp_path: Path) -> None:
    """Several at once are all answered; an unknown request is refused; the socket goes with it."""
    with running_agent(tmp_path / "agent", broker.port) as agent:
        path = agent.state / "control"
        answers: list[dict[str, Any]] = []
        threads = [
            threading.Thread(target=lambda: answers.append(ask(path, {"do": "ping"})))
            for _ in range(5)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [each["store"] for each in answers] == ["s1"] * 5
        with pytest.raises(RequestRefused, match="does not know"):
            ask(path, {"do": "dance"})
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        agent.stop()
        assert not path.exists()
