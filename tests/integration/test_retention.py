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

from edge_agent import config
from edge_agent.domain.policy import Retention
from edge_agent.domain.time import DAY_MS, HOUR_MS, rfc3339_from_ms
from edge_agent.errors import ConfigError
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
from tests.integration.driven_agent import DrivenAgent, crowd, driven_agent, told

README: Final = Path(__file__).parents[2] / "README.md"
CARD: Final = {"kind": "loyalty", "value": "6400000009005"}
# What takes years in a store takes days here.
SHORT: Final = "[retention]\nvisitors_days = 3\nvisits_days = 3\n"
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
        agent.take(*crowd(T0, range(12)))
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


def decided_at_till(agent: DrivenAgent, at_ms: int, name: str) -> dict[str, Any]:
    """Returns the record of what is decided for a basket with which the card is shown."""
    agent.tick(at_ms)
    agent.take(
        told("pos-2", "loyalty.scanned", at_ms, f"l-{name}", visitor=CARD, basket=name),
        told("pos-2", "basket.item_added", at_ms, f"i-{name}", basket=name, product="p2"),
    )
    query = "SELECT record FROM decision WHERE channel = 'receipt' ORDER BY id DESC LIMIT 1"
    record: dict[str, Any] = json.loads(agent.rows(query)[0][0])
    return record


def looked_over(agent: DrivenAgent) -> None:
    """Has an agent delete all that is over, its second copy's part too."""
    for _ in range(10):
        agent.idle()


def purged(folder: Path, now_ms: int) -> None:
    """Has everything deleted that is over at an instant."""
    with closing(open_for_writing(folder / "state.db")) as database:
        while purge(database, Retention(), now_ms=now_ms):
            pass


@pytest.mark.parametrize("opened", [True, False])
def test_a_card_that_a_telephone_s_complaint_silences_outlasts_its_period(
    tmp_path: Path, *, opened: bool
) -> None:
    """As long as that is open: the card comes back after it, and is still left alone."""
    kind = "complaint.opened" if opened else "complaint.closed"
    with driven_agent(tmp_path) as agent:
        agent.take(told("desk", "consent.granted", T0, "g", visitor=CARD, purposes=["profiling"]))
        agent.take(told("pos-2", "basket.opened", T0, "o", basket="b1", visitor=PHONE))
        agent.take(told("pos-2", "loyalty.scanned", T0, "l", basket="b1", visitor=CARD))
        agent.take(told("desk", "complaint.opened", T0 + 1, "c", visitor=PHONE, complaint="1"))
        agent.take(told("desk", kind, T0 + 2, "d", visitor=PHONE, complaint="1"))
    later_ms = T0 + 4 * DAY_MS
    with driven_agent(tmp_path, now_ms=later_ms, extra=SHORT) as agent:
        looked_over(agent)
        days = Retention(visitors_days=3, visits_days=3)
        told_of = report_of(agent.agent._db, days, now_ms=later_ms)
        report = next(each for each in told_of if each["tables"][0] == "visitor")
        assert (report["rows"], report["is_overdue"]) == (int(opened), False)
        grant = {"visitor": CARD, "purposes": ["profiling"]}
        agent.take(told("desk", "consent.granted", later_ms, "g2", **grant))
        gates = [gate for _, gate, _ in decided_at_till(agent, later_ms + 1, "b2")["ruled_out"]]
        assert ("complaint" in gates) is opened


def test_a_telephone_that_a_card_s_complaint_silences_outlasts_its_period(tmp_path: Path) -> None:
    """An app is somebody's own for years: its link to the card stays while the card complains."""
    app = {"kind": "app", "value": "token-1"}
    with driven_agent(tmp_path) as agent:
        agent.take(told("desk", "consent.granted", T0, "g", visitor=CARD, purposes=["profiling"]))
        agent.take(told("pos-2", "basket.opened", T0, "o", basket="b1", visitor=app))
        agent.take(told("pos-2", "loyalty.scanned", T0, "l", basket="b1", visitor=CARD))
        agent.take(told("desk", "complaint.opened", T0 + 1, "c", visitor=CARD, complaint="1"))
    later_ms = T0 + 4 * DAY_MS
    with driven_agent(tmp_path, now_ms=later_ms, extra=SHORT) as agent:
        looked_over(agent)
        agent.take(told("gate", "zone.entered", later_ms, "z", visitor=app, zone="dairy"))
        query = "SELECT record FROM decision WHERE visitor IS NOT NULL ORDER BY id DESC LIMIT 1"
        record = json.loads(agent.rows(query)[0][0])
        assert [gate for _, gate, _ in record["ruled_out"]] == ["complaint"]


def test_a_profile_goes_when_its_consent_has_run_out(tmp_path: Path) -> None:
    """An expiry is no event: the next look deletes what was remembered, and HQ's handle stays."""
    other = {"kind": "loyalty", "value": "6400000000002"}
    until = rfc3339_from_ms(T0 + DAY_MS)
    with driven_agent(tmp_path) as agent:
        for n, (who, more) in enumerate(((CARD, {"expires_at": until}), (other, {}))):
            grant = {"visitor": who, "purposes": ["profiling"], **more}
            agent.take(told("desk", "consent.granted", T0, f"g{n}", **grant))
            line = {"product": "p1", "quantity": 1, "amount": "1.00"}
            sale = {"basket": f"b{n}", "visitor": who, "currency": "USD", "total": "1.00"}
            agent.take(told("pos-2", "loyalty.scanned", T0, f"l{n}", basket=f"b{n}", visitor=who))
            agent.take(told("pos-2", "sale.completed", T0 + 9, f"s{n}", lines=[line], **sale))
        query = (
            "UPDATE visitor SET profile = json_set(profile, '$.reference', 'crm-1')"
            " WHERE profile IS NOT NULL"
        )
        agent.rows(query)

    def kept() -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(tmp_path / "state.db")) as database:
            found = database.execute(
                "SELECT json_array_length(profile, '$.purchases'),"
                " json_array_length(profile, '$.history'), json_extract(profile, '$.reference')"
                " FROM visitor WHERE profile IS NOT NULL ORDER BY 1"
            )
            return [tuple(row) for row in found]

    purged(tmp_path, T0 + DAY_MS - 1)
    assert kept() == [(1, 1, "crm-1"), (1, 1, "crm-1")]
    purged(tmp_path, T0 + DAY_MS)
    assert kept() == [(0, 0, "crm-1"), (1, 1, "crm-1")]


def test_digests_go_once_no_event_can_change_their_period(tmp_path: Path) -> None:
    """How far summaries were made is still known, and no period is made a second time."""
    with driven_agent(tmp_path) as agent:
        agent.take(*crowd(T0, range(12)))
        agent.tick(T0 + 3 * HOUR_MS)
        made = {each["summary_id"] for each in agent.summaries("footfall")}
        assert made
        closed_ms = agent.road.present.closed_until_ms
    purged(tmp_path, T0 + 8 * DAY_MS - HOUR_MS)
    with closing(sqlite3.connect(tmp_path / "state.db")) as database:
        (n_kept,) = database.execute("SELECT count(*) FROM summary_watermark").fetchone()
    purged(tmp_path, T0 + 9 * DAY_MS)
    with closing(sqlite3.connect(tmp_path / "state.db")) as database:
        left = database.execute("SELECT kind, cells FROM summary_watermark").fetchall()
    assert 0 < len(left) < n_kept
    assert {json.dumps(json.loads(cells)["digests"]) for _, cells in left} == {"{}"}
    with driven_agent(tmp_path, now_ms=T0 + 4 * HOUR_MS) as agent:
        assert agent.road.present.closed_until_ms >= closed_ms
        # Late by hours on a clock that says so, and by more than a week of the purge's.
        agent.take(*crowd(T0 + 60_000, range(20, 40)))
        agent.tick(T0 + 6 * HOUR_MS)
        found = [each["summary_id"] for each in agent.summaries("footfall")]
        assert len(found) == len(set(found))
        assert made <= set(found)


def test_a_period_of_digests_that_is_too_short_is_refused() -> None:
    """A week of lateness, the longest visit and a period must fit."""
    with pytest.raises(ValueError, match="watermarks_days"):
        Retention(watermarks_days=7)
    text = 'store = "s1"\ntimezone = "UTC"\n[policy]\nsummary_period_s = 86400\n'
    with pytest.raises(ConfigError) as refused:
        config.parse(text, name="agent.toml")
    assert "watermarks_days" in refused.value.problems[0]
    config.parse(text + "[retention]\nwatermarks_days = 9\n", name="agent.toml")


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
    assert tables["visitor (anonymous)"]["rows"] == 13
    assert tables["visitor (anonymous)"]["days"] == 20
    assert tables["visitor (anonymous)"]["next_purge"].startswith("2017-12-22")
