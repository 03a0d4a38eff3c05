"""`edge-agent model` on a running agent under load: decisions never stop."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from tests.contract.sealed import CHAIN_KEY, FOREIGN_KEY, RELEASED, release
from tests.integration.broker import Broker
from tests.integration.commands import ran
from tests.integration.running_agent import (
    STORE,
    Device,
    RunningAgent,
    device,
    event,
    running_agent,
    visitor,
    wait_for,
)

pytestmark = pytest.mark.broker

SCREEN: Final = f"store/{STORE}/screen/dairy-1/recommendation"
ROLLBACK_MAX_S: Final = 60.0
SILENCE_MAX_S: Final = 5.0
"""A switch is between two batches; the rest is a loaded machine's."""
EVENTS_PER_S: Final = 40


def edge_agent(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end."""
    return ran(*arguments, environment={**os.environ, "COLUMNS": "200", "NO_COLOR": "1"})


def model(agent: RunningAgent, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs a command about this agent's bundles."""
    return edge_agent("model", *arguments, "--config", agent.config, "--json")


def done(agent: RunningAgent, *arguments: str | Path) -> Any:
    """Returns what a command that works prints."""
    result = model(agent, *arguments)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


class Shoppers:
    """Visitors who come in one after the other, and what the screen shows them."""

    def __init__(self, store: Device) -> None:
        self._store = store
        self._stopping = threading.Event()
        self.sent: list[str] = []
        self._thread = threading.Thread(target=self._come, daemon=True)
        self._thread.start()

    def _come(self) -> None:
        while not self._stopping.wait(1 / EVENTS_PER_S):
            number = len(self.sent)
            come = event(
                "ble-1",
                "zone.entered",
                visitor=visitor("ble", f"AC:23:3F:00:{number // 256:02X}:{number % 256:02X}"),
                zone="dairy",
            )
            self.sent.append(come["id"])
            self._store.send(come)

    @property
    def shown(self) -> list[dict[str, Any]]:
        """What the screen was told for a visitor."""
        asked = set(self.sent)
        return [each for each in self._store.documents(SCREEN) if each["cause"]["id"] in asked]

    @property
    def version(self) -> str | None:
        """The model behind what is shown now."""
        shown = self.shown
        return None if not shown else shown[-1]["model"]

    def stop(self) -> None:
        """Lets nobody in any more."""
        self._stopping.set()
        self._thread.join()


@contextmanager
def silence_measured(shoppers: Shoppers) -> Iterator[Callable[[], float]]:
    """Yields the longest time, in seconds, for which the screen was told nothing new."""
    stopping = threading.Event()
    longest = [0.0]

    def look() -> None:
        n_before, since_s = len(shoppers.shown), time.monotonic()
        while not stopping.wait(0.02):
            n, now_s = len(shoppers.shown), time.monotonic()
            longest[0] = max(longest[0], now_s - since_s)
            if n > n_before:
                n_before, since_s = n, now_s

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield lambda: longest[0]
    finally:
        stopping.set()
        thread.join()


@pytest.fixture
def agent(broker: Broker, tmp_path: Path) -> Iterator[RunningAgent]:
    """An agent with a bundle that the chain signed, ranker-2026.1.1."""
    release(tmp_path / "first", "ranker-2026.1.1")
    with running_agent(
        tmp_path / "agent", broker.port, has_model=True, bundle=tmp_path / "first"
    ) as running:
        yield running


@pytest.fixture
def shoppers(agent: RunningAgent) -> Iterator[Shoppers]:
    """People who come in all the time."""
    with device(agent.port) as store:
        coming = Shoppers(store)
        wait_for(lambda: coming.version, what="the first recommendation")
        yield coming
        coming.stop()


def test_decisions_go_on_through_refusal_install_and_rollback(
    agent: RunningAgent, shoppers: Shoppers, tmp_path: Path
) -> None:
    """A bad bundle is refused, a good one decides, and the one before within 60 s again."""
    bad = release(tmp_path / "bad", "ranker-2026.2.1")
    (bad / "tables.npz").write_bytes((bad / "tables.npz").read_bytes()[:-1])
    foreign = release(tmp_path / "foreign", "ranker-2026.2.1", key=FOREIGN_KEY)
    good = release(tmp_path / "good", "ranker-2026.2.1")
    with silence_measured(shoppers) as silence_s:
        for refused in (bad, foreign):
            result = model(agent, "install", refused, "--as", "live")
            assert result.returncode == 1
            assert "error:" in result.stderr
            assert "hint:" in result.stderr
        assert shoppers.version == "ranker-2026.1.1"
        assert done(agent, "install", good, "--as", "live")["version"] == "ranker-2026.2.1"
        wait_for(lambda: shoppers.version == "ranker-2026.2.1", what="the new bundle")
        begun_s = time.monotonic()
        assert done(agent, "rollback")["version"] == "ranker-2026.1.1"
        wait_for(lambda: shoppers.version == "ranker-2026.1.1", what="the bundle before")
        assert time.monotonic() - begun_s <= ROLLBACK_MAX_S
        assert silence_s() <= SILENCE_MAX_S
    shoppers.stop()
    wait_for(lambda: len(shoppers.shown) >= len(shoppers.sent), what="an answer to everybody")
    again = model(agent, "install", good, "--as", "live")
    assert again.returncode == 1
    assert "withdrawn" in again.stderr


def test_an_installed_bundle_outlives_a_kill(
    agent: RunningAgent, shoppers: Shoppers, tmp_path: Path
) -> None:
    """What was told to be live decides after the next start; `show` says so in both states."""
    done(agent, "install", release(tmp_path / "new", "ranker-2026.2.1"), "--as", "live")
    shoppers.stop()
    agent.kill()
    stopped = done(agent, "show")
    assert stopped["live"]["manifest"]["version"] == "ranker-2026.2.1"
    assert stopped["previous"]["name"] == "configured"
    assert stopped["agent"] is None
    agent.start()
    shown = done(agent, "show")
    assert shown["agent"]["live"] == "ranker-2026.2.1"
    assert shown["live"]["where"].startswith(str(agent.state))
    assert "recall" in shown["live"]["manifest"]["metrics"]["A"]
    assert "the key that it names" in shown["live"]["signature"]


def test_a_shadow_is_compared_and_changes_no_decision(
    agent: RunningAgent, shoppers: Shoppers, tmp_path: Path
) -> None:
    """The same model under another name agrees wholly; every record names the live one."""
    done(agent, "install", release(tmp_path / "shadow", "ranker-2026.2.1"))

    def compared() -> dict[str, Any] | None:
        found = json.loads(edge_agent("status", "-c", agent.config, "--json").stdout)["model"]
        assert found["live"] == "ranker-2026.1.1"
        enough = found["comparison"]["decisions_compared"] >= 3
        return found["comparison"] if enough else None

    comparison = wait_for(compared, what="a comparison")
    assert comparison["overlap_at_k"] == 1.0
    assert comparison["role"] == "shadow"
    shoppers.stop()
    agent.stop()
    with closing(sqlite3.connect(agent.state / "state.db")) as database:
        records = [json.loads(row[0]) for row in database.execute("SELECT record FROM decision")]
    assert {each["model"] for each in records} == {"ranker-2026.1.1"}


def test_verify_makes_every_check_and_tells_the_reason(tmp_path: Path) -> None:
    """Exit 0 for a sound bundle, 1 with the reason for another; no agent is needed."""
    nowhere = ("--config", tmp_path / "none.toml", "--json")
    good = edge_agent("model", "verify", RELEASED, *nowhere)
    assert good.returncode == 0
    assert json.loads(good.stdout)["good"] is True
    harmed = release(tmp_path / "harmed", "ranker-2026.2.1", key=CHAIN_KEY)
    (harmed / "ranker.onnx").write_bytes(b"no model")
    bad = edge_agent("model", "verify", harmed, *nowhere)
    assert bad.returncode == 1
    assert "ranker.onnx" in json.loads(bad.stdout)["error"]
    assert "Traceback" not in bad.stderr


def test_without_a_running_agent_nothing_is_installed(tmp_path: Path) -> None:
    """Exit 3: only the agent switches, and nothing is copied for one that is not there."""
    agent = RunningAgent(folder=tmp_path, port=1)
    agent.write_config()
    for arguments in (("install", RELEASED), ("rollback",)):
        result = model(agent, *arguments)
        assert result.returncode == 3
        assert "no agent answers" in result.stderr
    assert not (agent.state / "models").exists()
