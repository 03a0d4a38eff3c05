"""Who is in which arm: the state in memory and on disk, fresh, committed and read again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edge_agent.domain.decisions import CONTROL, TREATED, Assignment, Decision
from edge_agent.domain.effects import RecordDecision, Step
from edge_agent.domain.ids import CampaignId, DecisionId, ProductId, UnitId, VisitorId
from edge_agent.domain.policy import Retention
from edge_agent.domain.time import DAY_MS
from edge_agent.shell.retention import purge
from tests.factories import T0, entered, world
from tests.fakes import World
from tests.properties.test_laws_state_store import DiskWorld

WHO = VisitorId("phone-1")
FIRST = UnitId("s" + "0" * 32)
LATER = UnitId("p" + "1" * 32)
TRIED = Assignment(
    campaign=CampaignId("18"), arm=CONTROL, share=0.5, products=frozenset({ProductId("d1")})
)


@pytest.fixture(params=["memory", "disk", "committed", "reloaded"])
def kind(request: pytest.FixtureRequest) -> str:
    """Which state: in memory; on disk before the commit, after it, after a start."""
    return str(request.param)


@pytest.fixture
def heard(kind: str, tmp_path: Path) -> Iterator[World]:
    """A store whose state is of that kind."""
    if kind == "memory":
        yield world()
        return
    on_disk = DiskWorld(tmp_path / "state.db", world())
    yield on_disk
    on_disk.connection.close()


def settled(heard: World, kind: str) -> World:
    """Commits and reads again, as far as the kind asks for it."""
    if isinstance(heard, DiskWorld) and kind in {"committed", "reloaded"}:
        heard.unit.commit()
        if kind == "reloaded":
            heard.connection.close()
            heard.connect(heard.layout, heard)
    return heard


def decided(
    heard: World, unit: UnitId, *assignments: Assignment, n: int = 0, at_ms: int = T0
) -> Decision:
    """Has a decision for the visitor written down, in whose unit and arms these are."""
    (taken,) = heard.decisions(heard.take(entered("dairy", n, who=f"AC:23:3F:A0:00:{n:02x}")))
    made = replace(
        taken,
        id=DecisionId(f"{n:026d}"),
        moment=replace(taken.moment, visitor=WHO),
        decided_at_ms=at_ms,
        unit=unit,
        assignments=assignments,
    )
    heard._apply(Step(effects=(RecordDecision(decision=made),)))
    return made


def test_a_unit_is_held_from_the_first_arm_on(heard: World, kind: str) -> None:
    """Also over the end of a batch and a start, whatever is decided for the visitor later."""
    assert heard.state.unit_of(WHO) is None
    decided(heard, FIRST, TRIED, n=1)
    assert settled(heard, kind).state.unit_of(WHO) == FIRST
    decided(heard, FIRST, replace(TRIED, campaign=CampaignId("19")), n=2)
    assert settled(heard, kind).state.unit_of(WHO) == FIRST


def test_a_decision_without_a_control_group_gives_no_unit(heard: World, kind: str) -> None:
    """What nobody draws an arm for leaves the next visit's first moment free."""
    decided(heard, FIRST, n=1)
    assert settled(heard, kind).state.unit_of(WHO) is None


def test_the_first_moment_is_the_one_that_counts(tmp_path: Path) -> None:
    """A row for each visitor and campaign, with the arm and products of its first moment."""
    heard = DiskWorld(tmp_path / "state.db", world())
    decided(heard, FIRST, TRIED, n=1)
    heard.unit.commit()
    decided(heard, FIRST, replace(TRIED, arm=TREATED, products=frozenset()), n=2, at_ms=T0 + 9)
    heard.unit.commit()
    found = heard.connection.execute(
        "SELECT e.campaign, e.unit, e.arm, e.share, g.products, e.at_ms, e.told_ms"
        " FROM exposure e JOIN goal g ON g.id = e.goal"
    ).fetchall()
    assert [tuple(row) for row in found] == [("18", FIRST, CONTROL, 0.5, '["d1"]', T0, None)]
    heard.connection.close()


def test_exposures_go_with_what_was_bought(tmp_path: Path) -> None:
    """Past the period of purchases there is nothing to measure by them, nor by their products."""
    heard = DiskWorld(tmp_path / "state.db", world())
    decided(heard, LATER, TRIED, n=1)
    heard.unit.commit()
    for days, left in ((89, 1), (91, 0)):
        for _ in range(2):
            purge(heard.connection, Retention(), now_ms=T0 + days * DAY_MS)
        for table in ("exposure", "goal"):
            (n_rows,) = heard.connection.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608 - names of ours
            assert n_rows == left
    heard.connection.close()
