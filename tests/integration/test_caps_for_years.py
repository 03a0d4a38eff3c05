"""Caps and budgets hold in a campaign's whole time, whatever is purged meanwhile."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest

from edge_agent.domain.ids import VisitorId
from edge_agent.domain.time import DAY_MS, rfc3339_from_ms
from edge_agent.domain.visitor import Subject
from edge_agent.shell import erasing
from edge_agent.shell.held import held_of
from edge_agent.shell.person import Person, find_person
from tests.factories import T0
from tests.integration.driven_agent import DrivenAgent, driven_agent, entered, told

APP: Final = {"kind": "app", "value": "A-100"}
ALL: Final = ["personal_recommendations", "profiling", "marketing"]
# What takes years in a store takes days here.
SHORT: Final = "[retention]\ndecisions_days = 1\ncounts_days = 2\n"
POLICY: Final = """version = "v1"
[campaigns.hello]
kind = "content"
text = "Join the club"
from = 2017-01-01
until = {until}
{limit}
"""


def policy(folder: Path, limit: str, *, days: int = 800) -> Path:
    """Writes a policy whose one campaign goes on for so many days."""
    path = folder / "policy.toml"
    until = rfc3339_from_ms(T0 + days * DAY_MS)
    path.write_text(POLICY.format(until=until, limit=limit), encoding="utf-8")
    return path


def agree(agent: DrivenAgent) -> None:
    """Has the app's holder agree to everything."""
    agent.take(told("desk", "consent.granted", T0, "c", visitor=APP, purposes=ALL))


def comes(agent: DrivenAgent, day: int) -> int:
    """Has the app's holder come on a day; returns how often he is told of the campaign."""
    at_ms = T0 + day * DAY_MS
    agent.tick(at_ms)
    purge(agent)
    at = {"visitor": APP, "zone": "dairy"}
    agent.take(told("app-gw", "zone.entered", at_ms, f"e{day}", **at))
    agent.take(told("app-gw", "zone.left", at_ms + 60_000, f"l{day}", **at))
    return n_said(agent, at_ms)


def n_said(agent: DrivenAgent, since_ms: int) -> int:
    """Returns how often the campaign was said to somebody since."""
    query = "SELECT campaigns FROM decision WHERE at_ms >= ? AND visitor IS NOT NULL"
    return sum("hello" in json.loads(names) for (names,) in agent.rows(query, since_ms))


def purge(agent: DrivenAgent) -> None:
    """Has all deleted that is over."""
    for _ in range(4):
        agent.idle()


def person_of(agent: DrivenAgent) -> Person:
    """Returns all that the app's holder is stored as."""
    ((kind, name),) = agent.rows("SELECT kind, pseudonym FROM link WHERE kind = 'app'")
    subject = Subject(kind=kind, pseudonym=name)
    state, unit = agent.agent._state, agent.agent._unit
    return find_person(unit.query, (subject,), state=state, policy=agent.agent.config.policy)


def held(agent: DrivenAgent, person: Person) -> list[dict[str, Any]]:
    """Returns what he is told of the campaigns of long ago."""
    document = held_of(
        person,
        query=agent.agent._unit.query,
        shop=agent.agent._shop(),
        retention=agent.agent.config.retention,
        title_of=str,
        store="s1",
        now_ms=agent.road.present.now_ms,
    )
    return next(each["rows"] for each in document["sections"] if each["name"] == "told")


@pytest.mark.parametrize(
    ("extra", "stretches"),
    [("", ((0, 1, 3), (33, 34))), (SHORT, ((0, 1, 3), (5, 6), (9, 15)))],
    ids=["default", "short"],
)
def test_a_limit_for_each_visitor_holds_in_all_its_time_and_over_restarts(
    tmp_path: Path, extra: str, stretches: tuple[tuple[int, ...], ...]
) -> None:
    """Told twice in all, though decisions are gone after their days."""
    rules = policy(tmp_path, "per_visitor = 2")
    said = []
    for days in stretches:
        now_ms = T0 + days[0] * DAY_MS
        with driven_agent(tmp_path / "s", now_ms=now_ms, rules=rules, extra=extra) as agent:
            agree(agent)
            said += [comes(agent, day) for day in days]
    assert said == [1, 1, *(0 for _ in said[2:])]
    with closing(sqlite3.connect(tmp_path / "s" / "state.db")) as database:
        (oldest_ms,) = database.execute("SELECT min(at_ms) FROM decision").fetchone()
    assert oldest_ms >= T0 + 2 * DAY_MS


def test_who_was_told_is_forgotten_when_the_campaign_is_over(tmp_path: Path) -> None:
    """Once it was not in force for as many days as decisions are kept."""
    rules = policy(tmp_path, "per_visitor = 1", days=20)
    with driven_agent(tmp_path / "s", rules=rules, extra=SHORT) as agent:
        agree(agent)
        assert comes(agent, 0) == 1
        kept = []
        for day in (1, 3, 19, 22):
            comes(agent, day)
            kept += agent.rows("SELECT count(*) FROM campaign_told")
    assert kept == [(0,), (1,), (1,), (0,)]


def test_nothing_is_kept_of_a_campaign_without_a_limit_for_each(tmp_path: Path) -> None:
    """Whom it was said to need not be known for longer than the decision."""
    rules = policy(tmp_path, "budget = 2000")
    with driven_agent(tmp_path / "s", rules=rules, extra=SHORT) as agent:
        agree(agent)
        assert [comes(agent, day) for day in (0, 3)] == [1, 1]
        assert agent.rows("SELECT count(*) FROM campaign_told") == [(0,)]


def test_a_budget_counts_all_of_its_campaign_s_time(tmp_path: Path) -> None:
    """Counts of days are kept for as long as the campaign is in force, and their days beyond."""
    rules = policy(tmp_path, "budget = 3", days=20)
    with driven_agent(tmp_path / "s", rules=rules, extra=SHORT) as agent:
        said = []
        for day in (0, 4, 8, 12, 16):
            at_ms = T0 + day * DAY_MS
            agent.tick(at_ms)
            purge(agent)
            agent.take(entered(at_ms, day))
            said.append(n_said(agent, at_ms))
        assert said == [1, 1, 1, 0, 0]
        assert len(agent.rows("SELECT day FROM campaign_use")) == 3
        agent.tick(T0 + 24 * DAY_MS)
        purge(agent)
        assert agent.rows("SELECT day FROM campaign_use") == []
        assert agent.rows("SELECT campaign FROM campaign_run") == []


def test_what_caps_count_is_told_and_forgotten_with_its_person(tmp_path: Path) -> None:
    """An export names campaign and time; nothing of him is left once he is forgotten."""
    rules = policy(tmp_path, "per_visitor = 1")
    with driven_agent(tmp_path / "s", rules=rules, extra=SHORT) as agent:
        agree(agent)
        comes(agent, 0)
        comes(agent, 3)
        person = person_of(agent)
        (told_of,) = held(agent, person)
        assert told_of["campaign"] == "hello"
        assert told_of["at"].startswith("2017-12-02")
        other = VisitorId("0123")
        agent.rows("INSERT INTO visitor VALUES (?, 'loyalty', 0, ?, NULL)", other, T0 + 9 * DAY_MS)
        agent.rows(
            "INSERT INTO campaign_told SELECT ?, campaign, 'd', at_ms, 0, visitor"
            " FROM campaign_told",
            other,
        )
        unit = agent.agent._unit
        unit.erase(erasing.statements_for(person, query=unit.query, words=(), period_ms=900_000))
        unit.commit()
        assert agent.rows("SELECT * FROM campaign_told") == []
