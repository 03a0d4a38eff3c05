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

from edge_agent.domain.effects import SetCatalogue
from edge_agent.domain.ids import ProductId
from edge_agent.domain.store import Layout, Product
from edge_agent.domain.time import HOUR_MS
from edge_agent.shell.sqlite_db import open_for_writing
from edge_agent.shell.state_store import StateStore
from edge_agent.shell.unit_of_work import UnitOfWork
from tests.contract.sealed import release
from tests.e2e.store import BUNDLE, unbroken
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
        (lambda told: told.update(rules="x"), "model", "record"),
        (lambda told: told.update(now=10**30), "model", "record"),
        (lambda told: told["request"].update(hour=float("nan")), "model", "record"),
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


@pytest.mark.parametrize(
    ("column", "value"), [("visitor", "'ble-0'"), ("at_ms", "at_ms + 1"), ("spent_us", "1")]
)
def test_a_changed_row_is_found(folder: Path, column: str, value: str) -> None:
    """Caps count by the row, not by the record: it is held against it and against its digest."""
    with closing(sqlite3.connect(folder / "agent" / "state.db")) as connection, connection:
        (decision,) = connection.execute(
            "SELECT max(id) FROM decision WHERE visitor IS NOT NULL"
        ).fetchone()
        change = f"UPDATE decision SET {column} = {value} WHERE id = ?"  # noqa: S608 - literals
        connection.execute(change, (decision,))
    found = verified(folder)
    assert found.returncode == 1, found.stderr
    (line, *_) = found.stdout.splitlines()
    assert line.startswith(f"{decision}  {'row' if column == 'spent_us' else column}: ")


def test_a_day_is_taken_again_on_the_terms_that_it_was_taken_on(folder: Path) -> None:
    """Whatever `agent.toml` says since: numbers, what zones sell, the time zone."""
    path = folder / "agent.toml"
    text = path.read_text().replace("America/New_York", "Europe/Berlin")
    text = text.replace('["PRODUCE"]', '["FLORAL"]')
    numbers = 'version = "nba-2"\nn_logged_candidates = 40\nn_items = 1\n'
    path.write_text(f'{text}\n[policy]\n{numbers}sensitive_departments = ["GROCERY"]\n')
    found = verified(folder)
    assert found.returncode == 0, found.stdout


def test_a_day_is_taken_again_on_the_goods_as_they_were(folder: Path) -> None:
    """HQ told later that what was recommended most is of another department, or for adults."""
    database = folder / "agent" / "state.db"
    with closing(open_for_writing(database)) as connection:
        products = connection.execute(
            "SELECT value FROM decision, json_each(items) GROUP BY 1"
            " ORDER BY count(*) DESC LIMIT 9"
        ).fetchall()
        state = StateStore(connection, layout=Layout(), departments={})
        unit = UnitOfWork(connection, state, path=database, period_ms=HOUR_MS)
        for department, age in (("WINE", 18), ("FLORAL", 0)):
            rows = tuple(
                Product(id=ProductId(name), title="it", department=department, minimum_age=age)
                for (name,) in products
            )
            unit.carry_out(SetCatalogue(rows=rows))
            unit.commit()
    found = verified(folder)
    assert found.returncode == 0, found.stdout


def test_a_model_that_is_kept_takes_its_decisions_again(folder: Path, tmp_path: Path) -> None:
    """Another decides by now; without the one before nothing differs, and nothing is proven."""
    path = folder / "agent.toml"
    newer = release(tmp_path / "newer", "ranker-2099.1.1")
    path.write_text(path.read_text().replace(str(BUNDLE), str(newer)))
    found = verified(folder)
    assert found.returncode == 3, found.stdout
    assert "which is not here any more" in found.stdout
    assert "\n0 decisions taken again, 0 differ" in found.stdout
    shutil.copytree(BUNDLE, folder / "agent" / "models" / "before")
    found = verified(folder)
    assert found.returncode == 0, found.stdout


@pytest.mark.parametrize(
    ("wanted", "outcome"), [("no such thing", "unknown"), ("1029743", "unplaced")]
)
def test_a_name_that_nobody_knows_is_no_candidate(folder: Path, wanted: str, outcome: str) -> None:
    """A misspelt product was not weighed; one of the catalogue may have been."""
    database = folder / "agent" / "state.db"
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute(
            "SELECT id FROM decision WHERE level = 'model' AND record NOT LIKE '%1029743%'"
        )
        (decision,) = rows.fetchone()
    told = ("--config", folder / "agent.toml", "--database", database, "--json")
    found = ran("explain", str(decision), "--why-not", wanted, *told)
    assert json.loads(found.stdout)["outcome"] == outcome


def test_a_folder_without_a_day_says_what_to_give(tmp_path: Path) -> None:
    """No trace of Python, and the way to a right one."""
    found = verified(tmp_path)
    assert found.returncode not in {0, 1}
    assert "demo --state DIR" in found.stderr
    assert "Traceback" not in found.stderr
