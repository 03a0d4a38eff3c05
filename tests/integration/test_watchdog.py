"""What the service manager is told: ready when events are heard, alive while all parts get on."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import pytest

from edge_agent import app, config
from edge_agent.bridge import settings as bridge_settings
from edge_agent.bridge.service import Bridge
from edge_agent.shell import mqtt_client
from tests.integration.broker import LOOPBACK, Broker, free_port
from tests.integration.packets import packet_from
from tests.integration.running_agent import DEADLINE_S, STORE, wait_for

pytestmark = pytest.mark.broker

CONFIG: Final = """
store = "{store}"
timezone = "America/New_York"
[state]
directory = "{folder}"
durability = "process-crash"
[broker]
port = {port}
[hq]
port = {hq_port}
"""
WATCHDOG_US: Final = 400_000
SILENCE_S: Final = 1.2
"""Nearly five turns of the idle core, each of which would feed."""
SOON_S: Final = 0.6
"""In place of 15 s: more than two turns of a link that is well."""
FEED: Final = "WATCHDOG=1"
CONNACK: Final = b"\x20\x03\x00\x00\x00"
SUBSCRIBE: Final = 0x82


class Manager:
    """The service manager's end of the socket."""

    def __init__(self, address: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(address))
        self.told: list[str] = []

    def close(self) -> None:
        """Hears nothing any more."""
        self._socket.close()

    def wait_ready(self) -> None:
        """Returns when the agent says that it is ready."""
        wait_for(lambda: self._hear(DEADLINE_S).startswith("READY=1"), what="a word of readiness")

    def wait_fed(self, times: int = 3) -> None:
        """Returns when the watchdog was fed so often from now on."""
        self._drain()
        for _ in range(times):
            wait_for(lambda: self._hear(DEADLINE_S) == FEED, what="a feed")

    def wait_unfed(self) -> None:
        """Returns when nothing came for long enough to say that it is fed no more."""
        deadline = time.monotonic() + DEADLINE_S
        while self._hear(SILENCE_S):
            assert time.monotonic() < deadline, "it is fed on and on"

    def _drain(self) -> None:
        while self._hear(0.0):
            pass

    def _hear(self, wait_s: float) -> str:
        self._socket.settimeout(wait_s)
        try:
            self.told.append(self._socket.recv(400).decode())
        except (TimeoutError, BlockingIOError):
            return ""
        return self.told[-1]


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    """A service manager that wants to be told of life five times a second."""
    address = tmp_path / "notify"
    monkeypatch.setenv("NOTIFY_SOCKET", str(address))
    monkeypatch.setenv("WATCHDOG_USEC", str(WATCHDOG_US))
    listening = Manager(address)
    yield listening
    listening.close()


@contextmanager
def an_agent(folder: Path, port: int) -> Iterator[Any]:
    """The whole agent in this process; its HQ's broker is the store's too."""
    text = CONFIG.format(store=STORE, folder=folder / "state", port=port, hq_port=port)
    agent = app.Agent(config.parse(text, name="agent.toml"))
    thread = threading.Thread(target=agent.run)
    thread.start()
    try:
        yield agent
    finally:
        agent.stopping.set()
        thread.join(DEADLINE_S)
        assert not thread.is_alive()


class SlowBroker:
    """Lets everybody in, and grants what they subscribe only when it is told to."""

    def __init__(self) -> None:
        self._listener = socket.create_server((LOOPBACK, 0))
        self.port: int = self._listener.getsockname()[1]
        self._connections: list[socket.socket] = []
        self._may_grant = threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()

    def grant(self) -> None:
        """Grants what was and will be subscribed."""
        self._may_grant.set()

    def close(self) -> None:
        """Ends every connection."""
        self._may_grant.set()
        for each in (self._listener, *self._connections):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _listen(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._connections.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError, ValueError), connection.makefile("rb") as stream:
            packet_from(stream)
            connection.sendall(CONNACK)
            while (packet := packet_from(stream))[0] != SUBSCRIBE:
                pass
            self._may_grant.wait(DEADLINE_S)
            # The packet's own number, no properties, one filter granted.
            connection.sendall(b"\x90\x04" + packet[1:3] + bytes(2))


@contextmanager
def held_up(do: Callable[[threading.Event], object]) -> Iterator[None]:
    """Something that waits for the block's end."""
    release = threading.Event()
    do(release)
    try:
        yield
    finally:
        release.set()


def test_it_is_ready_only_once_it_is_subscribed(tmp_path: Path, manager: Manager) -> None:
    """A connection alone brings no event: until the broker grants them, it is alive, not ready."""
    with closing(SlowBroker()) as broker, an_agent(tmp_path, broker.port) as agent:
        manager.wait_fed(times=5)
        assert not any(each.startswith("READY=1") for each in manager.told)
        assert not agent._store_link.connected
        broker.grant()
        manager.wait_ready()
        assert agent._store_link.connected
        broker.close()


def test_it_is_fed_while_the_broker_comes_and_goes(
    tmp_path: Path, broker: Broker, manager: Manager
) -> None:
    """A broker's absence is none of the agent's faults, however it ends."""
    with an_agent(tmp_path, broker.port) as agent:
        manager.wait_ready()
        manager.wait_fed()
        broker.kill()
        wait_for(lambda: not agent._store_link.connected, what="the loss of the broker")
        manager.wait_fed(times=5)
        broker.start()
        wait_for(lambda: agent._store_link.connected, what="the broker's return")
        manager.wait_fed()
    assert manager.told[-1] == FEED
    manager.wait_unfed()
    assert "STOPPING=1" in manager.told


def test_it_is_fed_without_any_broker(tmp_path: Path, manager: Manager) -> None:
    """It is alive, waits to connect again and again, and is never ready."""
    with an_agent(tmp_path, free_port()) as agent:
        wait_for(lambda: agent._store_link.n_connects > 2, what="a third try")
        manager.wait_fed(times=5)
        assert not any(each.startswith("READY=1") for each in manager.told)


def test_a_core_that_hangs_is_not_fed(tmp_path: Path, broker: Broker, manager: Manager) -> None:
    """The network threads go on, and that is not enough."""
    with an_agent(tmp_path, broker.port) as agent:
        manager.wait_ready()

        def hang(release: threading.Event) -> None:
            def ask() -> None:
                agent._loop.calls.call(
                    lambda: {"released": release.wait(DEADLINE_S)}, timeout_s=DEADLINE_S
                )

            threading.Thread(target=ask, daemon=True).start()

        with held_up(hang):
            manager.wait_unfed()
            assert agent._store_link.is_turning
        manager.wait_fed()


@pytest.mark.parametrize("name", ["store", "hq"])
def test_a_network_thread_that_hangs_is_not_fed(
    tmp_path: Path,
    broker: Broker,
    manager: Manager,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    """The core gets on, and nobody brings it anything; it is fed once that turns again."""
    monkeypatch.setattr(mqtt_client, "TURN_WITHIN_S", SOON_S)
    with an_agent(tmp_path, broker.port) as agent:
        link = links(agent)[name]
        manager.wait_ready()
        wait_for(lambda: link.connected, what="the link")
        with held_up(lambda release: link.ack(_held(release))):
            manager.wait_unfed()
            assert link.connected
        manager.wait_fed()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("name", ["store", "hq"])
def test_a_network_thread_that_died_is_not_fed(
    tmp_path: Path, broker: Broker, manager: Manager, name: str
) -> None:
    """It takes the link for connected still, and hears nothing ever again: systemd ends that."""
    with an_agent(tmp_path, broker.port) as agent:
        link = links(agent)[name]
        manager.wait_ready()
        wait_for(lambda: link.connected, what="the link")
        link.ack(_broken())
        wait_for(lambda: not link._thread.is_alive(), what="its thread's end")
        assert not link.is_turning
        manager.wait_unfed()
        assert link.connected


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_bridge_whose_network_thread_died_is_not_fed(
    tmp_path: Path, broker: Broker, manager: Manager
) -> None:
    """Its listener and its folder get on, and nothing of theirs reaches the broker any more."""
    folder = f'[folders.till]\npath = "{tmp_path}"\ntopic = "till/log"\npattern = "*.xml"\n'
    text = f"[broker]\nport = {broker.port}\n[http]\nport = 0\n{folder}"
    bridge = Bridge(bridge_settings.parse(text, name="bridge.toml"))
    bridge.start()
    running = threading.Thread(target=bridge.run)
    running.start()
    link = bridge._publisher._link
    try:
        manager.wait_ready()
        manager.wait_fed()
        link.ack(_broken())
        wait_for(lambda: not link._thread.is_alive(), what="its thread's end")
        manager.wait_unfed()
    finally:
        bridge.stop()
        running.join(DEADLINE_S)


def test_a_slow_name_server_is_no_hang(
    tmp_path: Path, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connect may take longer than any turn: its name, its addresses, TLS."""
    monkeypatch.setattr(mqtt_client, "TURN_WITHIN_S", 0.0)
    with names_looked_up_for_ever(monkeypatch) as end, an_agent(tmp_path, free_port()):
        manager.wait_fed(times=5)
        end()


def test_a_connect_that_never_ends_is_not_fed(
    tmp_path: Path, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Longer than any time-out of the C library it is no slow name server any more."""
    # It begins with the agent's start: on a busy machine that alone takes longer than SOON_S.
    monkeypatch.setattr(mqtt_client, "CONNECT_WITHIN_S", 5 * SOON_S)
    with names_looked_up_for_ever(monkeypatch) as end, an_agent(tmp_path, free_port()):
        manager.wait_fed(times=1)
        manager.wait_unfed()
        end()


def links(agent: Any) -> dict[str, Any]:
    """Returns an agent's links by their names."""
    return {"store": agent._store_link, "hq": agent._hq_link}


@contextmanager
def names_looked_up_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[[], None]]:
    """No name server answers, until what is yielded is called."""
    release = threading.Event()

    def look_up(*_: object, **__: object) -> list[Any]:
        release.wait(DEADLINE_S)
        raise socket.gaierror(socket.EAI_AGAIN, "no name server answers")

    with monkeypatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", look_up)
        yield release.set


def _held(release: threading.Event) -> Iterator[Any]:
    """Acknowledgements that hold the network thread up."""
    release.wait(DEADLINE_S)
    yield from ()


def _broken() -> Iterator[Any]:
    """Acknowledgements that end the network thread."""
    yield from ()
    raise RuntimeError("a fault that nobody foresaw")
