"""The commands that look at an agent, used rightly and wrongly."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.integration.broker import free_port, running_broker
from tests.integration.running_agent import (
    STORE,
    RunningAgent,
    device,
    event,
    running_agent,
    visitor,
)

pytestmark = pytest.mark.broker


def edge_agent(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "edge_agent", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200", "NO_COLOR": "1"},
    )


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningAgent]:
    """A running agent that has decided something."""
    folder = tmp_path_factory.mktemp("cli")
    with (
        running_broker(folder / "broker") as broker,
        running_agent(folder / "agent", broker.port) as running,
        device(broker.port) as store,
    ):
        come = event(
            "ble-1", "zone.entered", visitor=visitor("ble", "AC:23:3F:00:00:01"), zone="dairy"
        )
        store.send(come)
        store.answer(f"store/{STORE}/screen/dairy-1/recommendation", come["id"])
        yield running


def answered(*arguments: str | Path) -> Any:
    """Returns the JSON that a command prints, its exit code being 0."""
    done = edge_agent(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_check_finds_a_good_file_good(agent: RunningAgent) -> None:
    """Exit 0, and it says so."""
    done = edge_agent("check", agent.config)
    assert done.returncode == 0
    assert "good" in done.stdout


def test_check_tells_every_problem_with_its_line(tmp_path: Path) -> None:
    """Exit 1; file, line and key of each."""
    path = tmp_path / "agent.toml"
    path.write_text('store = "s1"\ntimezone = "Nowhere"\n[state]\nfolder = "x"\n')
    done = edge_agent("check", path)
    assert done.returncode == 1
    assert f"{path}:2: timezone" in done.stdout
    assert f"{path}:4: state.folder" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_check_of_nothing_there(tmp_path: Path) -> None:
    """A file that is missing is bad, not a crash."""
    done = edge_agent("check", tmp_path / "none.toml")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_check_refuses_an_empty_bundle(tmp_path: Path) -> None:
    """A folder is taken for a bundle."""
    done = edge_agent("check", tmp_path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_status_counts_what_the_agent_holds(agent: RunningAgent) -> None:
    """Read beside the running agent."""
    found = answered("status", "--config", agent.config)
    assert found["counts"]["visits"] >= 1
    assert found["counts"]["decisions"] >= 1
    shown = edge_agent("status", "--config", agent.config)
    assert shown.returncode == 0
    assert "visits" in shown.stdout


def test_doctor_finds_a_running_agent_well(agent: RunningAgent) -> None:
    """Nothing to mend: exit 0."""
    done = edge_agent("doctor", "--config", agent.config)
    assert done.returncode == 0, done.stdout
    assert "BAD" not in done.stdout


def test_doctor_says_how_to_mend(tmp_path: Path) -> None:
    """Without a broker and a state folder: exit 1, and what to do."""
    lonely = RunningAgent(folder=tmp_path / "agent", port=free_port())
    lonely.write_config()
    done = edge_agent("doctor", "--config", lonely.config)
    assert done.returncode == 1
    assert "mosquitto" in done.stdout
    assert "mkdir" in done.stdout
    assert "Traceback" not in done.stderr


def test_tail_shows_what_was_decided(agent: RunningAgent) -> None:
    """One JSON object a line, ids that `explain` takes."""
    done = edge_agent("tail", "--config", agent.config, "--no-follow", "--json")
    assert done.returncode == 0
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert rows
    explained = edge_agent("explain", rows[-1]["id"], "--config", agent.config)
    assert explained.returncode == 0
    assert rows[-1]["id"] in explained.stdout


def test_explain_tells_why_and_names_nobody(agent: RunningAgent) -> None:
    """The latest decision for somebody: moment, what it rests on, what was found how."""
    done = edge_agent("explain", "--config", agent.config)
    assert done.returncode == 0
    assert "zone_entered" in done.stdout
    assert "rests on" in done.stdout
    assert "AC:23" not in done.stdout
    told = answered("explain", "--config", agent.config)
    assert told["moment"] == "zone_entered"
    spent_ms = told["spent_us"] / 1_000
    assert 0 < spent_ms < 10_000
    said = f"{spent_ms:.1f}" if spent_ms >= 1 else f"{spent_ms:g}"
    assert f"took       {said} ms" in done.stdout


def test_how_long_a_decision_took_is_kept_beside_its_record(agent: RunningAgent) -> None:
    """Of each decision, the store's defaults among them, and in no record."""
    with closing(sqlite3.connect(agent.state / "state.db")) as database:
        rows = database.execute("SELECT spent_us, record FROM decision").fetchall()
    assert rows
    assert all(0 < spent_us < 10_000_000 for spent_us, _ in rows)
    assert not any("spent" in record for _, record in rows)


def test_explain_reads_a_recorded_day_of_before_times_were_kept(
    agent: RunningAgent, tmp_path: Path
) -> None:
    """The agent migrates its database; who only reads takes it as it is."""
    older = tmp_path / "older.db"
    with closing(sqlite3.connect(older)) as copy:
        with closing(sqlite3.connect(agent.state / "state.db")) as live:
            live.backup(copy)
        copy.execute("ALTER TABLE decision DROP COLUMN spent_us")
        copy.commit()
    assert answered("explain", "--database", older)["spent_us"] is None
    assert "took" not in edge_agent("explain", "--database", older).stdout


def test_explain_of_an_unknown_decision(agent: RunningAgent) -> None:
    """Exit 1 and where ids are found."""
    done = edge_agent("explain", "01NOTHING", "--config", agent.config)
    assert done.returncode == 1
    assert "tail" in done.stderr


@pytest.mark.parametrize("command", ["status", "tail", "explain"])
def test_without_a_database_the_environment_is_to_blame(tmp_path: Path, command: str) -> None:
    """Exit 3: the agent has not run here."""
    lonely = RunningAgent(folder=tmp_path / "agent", port=free_port())
    lonely.write_config()
    done = edge_agent(command, "--config", lonely.config)
    assert done.returncode == 3
    assert "no database" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("status", "--nonsense"),
        ("nonsense",),
        ("tail", "--lines", "-1"),
        ("tail", "--lines", "many"),
        ("run", "--config", "/nowhere/agent.toml"),
        ("status", "--config", "/nowhere/agent.toml"),
    ],
)
def test_wrong_use_is_exit_2(arguments: tuple[str, ...]) -> None:
    """A word of advice, and no trace."""
    done = edge_agent(*arguments)
    assert done.returncode == 2
    assert done.stderr
    assert "Traceback" not in done.stderr
