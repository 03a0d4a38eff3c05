"""A recorded day taken again from its records: nothing differs, and what was changed is found."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest

from tests.e2e.store import unbroken
from tests.e2e.stream import morning
from tests.integration.commands import ran

pytestmark = pytest.mark.broker

BASKETS: Final = 5
Change = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an agent left of a short morning: its configuration and its state folder."""
    folder = tmp_path_factory.mktemp("recorded")
    unbroken(folder, morning(baskets=BASKETS))
    return folder


@pytest.fixture
def folder(recorded: Path, tmp_path: Path) -> Path:
    """A copy of it, in another place and in the form that a demo leaves."""
    shutil.copy(recorded / "agent.toml", tmp_path)
    shutil.copytree(
        recorded / "state", tmp_path / "agent", ignore=shutil.ignore_patterns("control")
    )
    return tmp_path


def verified(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Runs the command."""
    return ran("replay", "--verify", folder, *options)


def changed(folder: Path, change: Change, *, level: str = "model") -> str:
    """Changes the record of the newest decision of a level, and returns its id."""
    with closing(sqlite3.connect(folder / "agent" / "state.db")) as connection, connection:
        decision, record = connection.execute(
            "SELECT id, record FROM decision WHERE level = ? ORDER BY id DESC LIMIT 1", (level,)
        ).fetchone()
        told = json.loads(record)
        change(told)
        text = json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        connection.execute("UPDATE decision SET record = ? WHERE id = ?", (text, decision))
    return str(decision)


def test_every_decision_comes_out_as_recorded(folder: Path) -> None:
    """Model, gates, order, comparison and id: all bytes of all records are made again."""
    found = verified(folder, "--json")
    assert found.returncode == 0, found.stderr
    report = json.loads(found.stdout)
    assert report["differing"] == 0
    with closing(sqlite3.connect(folder / "agent" / "state.db")) as connection:
        (n_decisions,) = connection.execute("SELECT count(*) FROM decision").fetchone()
    assert report["decisions"] == n_decisions > 100


@pytest.mark.parametrize(
    ("change", "level", "what"),
    [
        (lambda told: told["chosen"].append("1"), "model", "chosen"),
        (lambda told: told["candidates"][0].__setitem__(1, 0.999), "model", "candidates"),
        (lambda told: told["request"]["basket"].append("1029743"), "model", "candidates"),
        (lambda told: told["popular"].pop(), "model", "popular"),
        (lambda told: told.update(now=told["now"] + 1), "model", "decision"),
        (lambda told: told.update(level="popularity"), "model", "level"),
        (lambda told: told.update(action_probability=0.5), "model", "action_probability"),
        (lambda told: told["chosen"].reverse(), "default", "chosen"),
        (lambda told: told.update(model="ranker-2020.1.1"), "model", "record"),
        (lambda told: told.pop("place"), "model", "record"),
        (lambda told: told.update(request=7), "model", "record"),
    ],
)
def test_a_changed_record_is_found(folder: Path, change: Change, level: str, what: str) -> None:
    """Whatever was changed in it, the decision is named with the key that differs."""
    decision = changed(folder, change, level=level)
    found = verified(folder, "--json")
    assert found.returncode == 1, found.stderr
    differences = json.loads(found.stdout)["differences"]
    assert {each["decision"] for each in differences} == {decision}
    assert what in {each["what"] for each in differences}
    assert decision in verified(folder).stdout


def test_a_folder_without_a_day_says_what_to_give(tmp_path: Path) -> None:
    """No trace of Python, and the way to a right one."""
    found = verified(tmp_path)
    assert found.returncode not in {0, 1}
    assert "demo --state DIR" in found.stderr
    assert "Traceback" not in found.stderr
