"""Every table with personal data has a period, and the agent keeps to it."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

import pytest

from edge_agent.domain.policy import Retention
from edge_agent.domain.time import DAY_MS, HOUR_MS
from edge_agent.shell.personal_data import (
    IMPERSONAL,
    KEPT,
    markdown_rows,
    report_of,
    unused_periods,
)
from edge_agent.shell.retention import RULES, purge
from edge_agent.shell.sqlite_db import open_for_writing
from tests.factories import T0
from tests.integration.driven_agent import driven_agent, told

README: Final = Path(__file__).parents[2] / "README.md"
CARD: Final = {"kind": "loyalty", "value": "6400000009005"}
PHONE: Final = {"kind": "ble", "value": "AC:23:3F:A0:11:22"}


def plain(table: str) -> str:
    """Returns a table's own name, without what tells its rows apart."""
    return re.split(r"[ .]", table)[0]


def test_every_table_has_a_period_or_a_reason_to_need_none(tmp_path: Path) -> None:
    """A new table without either fails here, before it reaches a store."""
    with closing(open_for_writing(tmp_path / "state.db")) as database:
        names = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        tables = {name for (name,) in names}
    kept = {plain(table) for each in KEPT for table in each.tables}
    assert not kept & set(IMPERSONAL)
    assert tables == kept | (set(IMPERSONAL) & tables)


def test_every_period_is_enforced_and_every_setting_means_something() -> None:
    """Whatever the report promises there is a rule for, by the same setting, and the reverse."""
    rules = {(plain(table), period) for table, period, _ in RULES}
    promised = {(plain(each.tables[0]), each.period) for each in KEPT}
    assert promised <= rules
    assert {table for table, _ in rules} <= {plain(t) for each in KEPT for t in each.tables}
    assert unused_periods() == set()


def test_the_readme_has_the_table() -> None:
    """What the shopper is told is what the agent does, with its defaults."""
    text = README.read_text(encoding="utf-8")
    rows = markdown_rows()
    assert [row for row in rows if row not in text] == []
    assert "\n".join(rows) in text


@pytest.mark.parametrize("document", ["README.md", "provisioning/dpia-template.md"])
def test_what_a_document_rests_on_is_there(document: str) -> None:
    """Every test and setting that the data-protection texts name exists."""
    root = README.parent
    text = (root / document).read_text(encoding="utf-8")
    named = set(re.findall(r"`(tests/[a-z0-9_/]+\.py)`", text))
    assert named
    assert {each for each in named if not (root / each).exists()} == set()
    days = set(re.findall(r"`([a-z]+_days)`", text))
    assert days <= {field.name for field in fields(Retention)}


def lived_in(folder: Path) -> None:
    """Leaves a state folder in which every kind of personal data is."""
    with driven_agent(folder) as agent:
        agent.take(told("ble-1", "zone.entered", T0, "e1", visitor=PHONE, zone="dairy"))
        agent.take(told("desk", "consent.granted", T0, "e2", visitor=CARD, purposes=["profiling"]))
        agent.take(told("pos-2", "basket.opened", T0, "e3", basket="b1", visitor=CARD))
        line = {"product": "p1", "quantity": 1, "amount": "1.00"}
        sale = {"basket": "b1", "visitor": CARD, "currency": "USD", "total": "1.00"}
        agent.take(told("pos-2", "sale.completed", T0 + 9_000, "e4", lines=[line], **sale))
        agent.take(told("pos-2", "sale.returned", T0 + 9_500, "e5", lines=[line], currency="USD",
                        total="1.00"))  # fmt: skip
        agent.take(told("door", "people.counted", T0, "e6", entries=3))
        agent.raw("store/s1/event/x", b"{")
        agent.turn()
        agent.tick(T0 + 6 * HOUR_MS)
        agent.agent._save_counters()


def rows_by_group(folder: Path, now_ms: int) -> dict[str, dict[str, Any]]:
    """Returns the report, by each group's first table."""
    with closing(sqlite3.connect(folder / "state.db")) as database:
        found = report_of(database, Retention(), now_ms=now_ms)
    return {each["tables"][0]: each for each in found}


def test_what_is_over_goes_and_what_is_not_stays(tmp_path: Path) -> None:
    """A day before the end of every period all is there, and an hour after it nothing is."""
    folder = tmp_path / "state"
    lived_in(folder)
    held = rows_by_group(folder, T0)
    filled = {name for name, each in held.items() if each["oldest"] is not None}
    assert filled >= {
        "inbox", "visit", "visitor (anonymous)", "visitor", "basket", "sale_return", "decision",
        "showing", "people_count", "summary_watermark", "dead_letter", "device",
    }  # fmt: skip
    with closing(open_for_writing(folder / "state.db")) as database:
        for days in sorted({getattr(Retention(), field.name) for field in fields(Retention)}):
            purge(database, Retention(), now_ms=T0 + days * DAY_MS - DAY_MS)
            names = {name for name in filled if held[name]["days"] >= days}
            left = rows_by_group(folder, T0)
            assert {name for name in names if not left[name]["rows"]} == set(), days
            purge(database, Retention(), now_ms=T0 + days * DAY_MS + DAY_MS)
        left = rows_by_group(folder, T0)
    assert {name: left[name]["rows"] for name in filled if left[name]["rows"]} == {}


def test_what_should_have_gone_and_has_not_is_told(tmp_path: Path) -> None:
    """Overdue is what lies there hours after its period; nothing is before that."""
    folder = tmp_path / "state"
    lived_in(folder)
    assert not any(each["is_overdue"] for each in rows_by_group(folder, T0 + DAY_MS).values())
    late = rows_by_group(folder, T0 + 31 * DAY_MS)
    assert late["visitor (anonymous)"]["is_overdue"]
    assert not late["visitor"]["is_overdue"]


@pytest.mark.parametrize("is_json", [True, False])
def test_the_command_tells_rows_oldest_and_next_purge(tmp_path: Path, *, is_json: bool) -> None:
    """`edge-agent privacy report`, for people and for programs."""
    folder = tmp_path / "state"
    lived_in(folder)
    config = tmp_path / "agent.toml"
    config.write_text(
        'store = "s1"\ntimezone = "America/New_York"\ncurrency = "USD"\n[state]\n'
        f'directory = "{folder}"\n[retention]\nvisits_days = 20\n',
        encoding="utf-8",
    )
    arguments = ["--json"] if is_json else []
    result = subprocess.run(
        [sys.executable, "-m", "edge_agent", "privacy", "report", "-c", config, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env={"COLUMNS": "250", "PATH": "", "PYTHONPATH": ":".join(sys.path)},
    )
    assert CARD["value"] not in result.stdout
    if not is_json:
        assert "2017-12-22" in result.stdout
        return
    tables = {each["tables"][0]: each for each in json.loads(result.stdout)["tables"]}
    assert tables["visitor (anonymous)"]["rows"] == 1
    assert tables["visitor (anonymous)"]["days"] == 20
    assert tables["visitor (anonymous)"]["next_purge"].startswith("2017-12-22")
