"""An input that fails, wherever it fails: it is applied wholly or not at all, and told of."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import pytest

from edge_agent.domain import effects
from edge_agent.domain.ids import ProductId
from edge_agent.domain.time import MINUTE_MS, SECOND_MS
from edge_agent.hq.keys import public_text
from edge_agent.shell.pending_rows import PendingRows
from edge_agent.shell.signing import DEMO_KEY_ID, demo_private_key, sign_command
from edge_agent.shell.unit_of_work import UnitOfWork
from edge_agent.shell.visit_rows import VisitRows
from edge_agent.wire import topics
from edge_agent.wire.downlink import StockBody, StockCommand, StockRow
from tests.factories import T0
from tests.integration.driven_agent import STORE, DrivenAgent, driven_agent, entered, told

KEY: Final = demo_private_key()
ACCEPTED: Final = ("good-1", "good-2")


@contextmanager
def a_store(folder: Path) -> Iterator[DrivenAgent]:
    """An agent that hears HQ."""
    with driven_agent(folder, key=public_text(KEY)) as agent:
        yield agent


def three() -> list[dict[str, Any]]:
    """Returns that three people came in; the second one's decision is what fails."""
    return [
        entered(T0, 1, event_id="good-1"),
        entered(T0 + 1, 2, event_id="bad"),
        entered(T0 + 2, 3, event_id="good-2"),
    ]


@contextmanager
def failing(method: str, kind: Any, *, of: str = "bad") -> Iterator[list[Any]]:
    """Has the unit of work fail at the decision on one event, with much of it put already."""
    real = getattr(UnitOfWork, method)
    seen: list[Any] = []

    def fails(unit: UnitOfWork, given: Any) -> None:
        if isinstance(given, kind) and given.decision.moment.cause.id == of:
            seen.append(given)
            raise RuntimeError("a slip of ours")
        real(unit, given)

    with patch.object(UnitOfWork, method, fails):
        yield seen


def kept(agent: DrivenAgent) -> dict[str, int]:
    """Returns how many rows the tables of people hold."""
    names = ("inbox", "visitor", "visit", "decision", "showing")
    return {name: agent.rows(f"SELECT count(*) FROM {name}")[0][0] for name in names}  # noqa: S608


def dead_letters(agent: DrivenAgent) -> list[tuple[str, str | None]]:
    """Returns why what is in the dead letters, by event."""
    return agent.rows("SELECT reason, event FROM dead_letter ORDER BY event")


def n_acknowledged(agent: DrivenAgent) -> int:
    """Returns how many messages of devices the broker may forget."""
    link: Any = agent.agent._store_link
    return sum("/event/" in each.topic for each in link.acked)


def test_an_event_that_fails_half_way_leaves_nothing_and_spares_its_neighbours(
    tmp_path: Path,
) -> None:
    """Its visitor and visit were put before its decision failed: none of that is committed."""
    with a_store(tmp_path / "with") as agent:
        with failing("carry_out", effects.RecordDecision) as seen:
            agent.take(*three())
        assert len(seen) == 1
        assert dead_letters(agent) == [("failed", "bad")]
        found = kept(agent)
        assert n_acknowledged(agent) == 3
        # It comes again, and nothing of the first time stands in its way.
        agent.take(three()[1])
        whole = kept(agent)
    with a_store(tmp_path / "without") as other:
        good = three()
        other.take(good[0], good[2])
        assert found == kept(other)
        other.take(good[1])
        assert whole == kept(other)


def test_a_wake_up_that_fails_does_not_end_the_agent(tmp_path: Path) -> None:
    """Its visit stays as it was; what comes with it is taken."""
    with a_store(tmp_path) as agent:
        agent.take(entered(T0, 1))
        with patch.object(VisitRows, "put", side_effect=RuntimeError("a slip of ours")):
            agent.tick(T0 + 300 * MINUTE_MS)
        assert agent.road.counters["wakes_failed"] > 0
        agent.take(entered(T0 + 300 * MINUTE_MS, 2, event_id="later"))
        assert agent.rows("SELECT count(*) FROM decision WHERE level <> 'silence'")[0][0] > 0


def stock(version: int) -> bytes:
    """Returns a signed command of HQ."""
    issued_at = datetime.fromtimestamp(T0 / SECOND_MS, UTC)
    command = StockCommand(
        command=f"stock-{version}",
        store=STORE,
        version=version,
        key="stock",
        issued_at=issued_at,
        expires_at=issued_at + timedelta(days=1),
        kind="stock",
        body=StockBody(rows=(StockRow(product=ProductId("d0"), quantity=0),)),
    )
    return sign_command(command, key=KEY, key_id=DEMO_KEY_ID)


@pytest.mark.parametrize("where", ["edge_agent.runner.steps.step", "put"])
def test_a_command_that_fails_is_refused_with_the_reason_and_the_next_is_taken(
    tmp_path: Path, where: str
) -> None:
    """HQ is told; the agent does not end over it at every start."""
    with a_store(tmp_path) as agent:
        slip = RuntimeError("a slip of ours")
        target = (
            patch.object(UnitOfWork, "carry_out", side_effect=slip)
            if where == "put"
            else patch(where, side_effect=slip)
        )
        with target:
            agent.raw(topics.hq_down(STORE, "stock"), stock(1), link="hq")
            agent.turn()
        (confirmed,) = [each for each in agent.for_hq() if "outcome" in each]
        assert (confirmed["command"], confirmed["outcome"]) == ("stock-1", "refused")
        assert "the agent's own" in confirmed["reason"]
        agent.raw(topics.hq_down(STORE, "stock"), stock(2), link="hq")
        agent.turn()
        assert agent.rows("SELECT product FROM stock") == [("d0",)]


def refusing(agent: DrivenAgent, table: str, when: str) -> None:
    """Has the database refuse rows of a table."""
    agent.agent._db.execute(
        f"CREATE TEMP TRIGGER refuse BEFORE INSERT ON main.{table} WHEN {when}"
        " BEGIN SELECT RAISE(ABORT, 'no such row'); END"
    )


def test_an_event_that_cannot_be_written_spares_the_others_of_its_message(tmp_path: Path) -> None:
    """Of an array of three the bad one becomes a dead letter; all are acknowledged."""
    with a_store(tmp_path) as agent:
        who = {"kind": "track", "value": "t2"}
        bad = told("cam-1", "zone.entered", T0 + 1, "bad", zone="entrance", visitor=who)
        good = three()
        refusing(agent, "mark", "NEW.zone = 'entrance'")
        batch = json.dumps([good[0], bad, good[2]]).encode()
        agent.raw(topics.event(STORE, "cam-1"), batch)
        agent.turn()
        assert agent.rows("SELECT count(*) FROM inbox") == [(2,)]
        ((reason, payload),) = agent.rows("SELECT reason, payload FROM dead_letter")
        assert reason == "failed"
        assert b"t2" not in (payload or b"")
        assert n_acknowledged(agent) == 1
        assert agent.loop.trouble.problem == ""


def test_what_restricts_is_never_given_up(tmp_path: Path) -> None:
    """A complaint that cannot be written stays with the broker, and the agent says so."""
    with a_store(tmp_path) as agent:
        refusing(agent, "inbox", "1")
        who = {"kind": "track", "value": "t2"}
        agent.take(told("desk-1", "complaint.opened", T0, "c1", complaint="x1", visitor=who))
        assert n_acknowledged(agent) == 0
        assert agent.loop.trouble.problem == "database_failed"
        agent.agent._db.execute("DROP TRIGGER refuse")
        assert agent.rows("SELECT count(*) FROM dead_letter") == [(0,)]


def test_what_is_no_row_at_all_is_an_error_of_one_event(tmp_path: Path) -> None:
    """A number that no column holds ends neither the batch nor the agent."""
    with a_store(tmp_path) as agent:
        real = PendingRows.add

        def too_large(pending: PendingRows, table: str, row: tuple[Any, ...]) -> None:
            is_bad = table == "decision" and row[6] == "dairy-1"
            real(pending, table, (*row[:-1], 1 << 70) if is_bad else row)

        with patch.object(PendingRows, "add", too_large):
            agent.take(
                entered(T0, 1, event_id="good-1", zone="entrance"),
                entered(T0 + 1, 2, event_id="bad"),
            )
        assert [reason for reason, _ in dead_letters(agent)] == ["failed"]
        assert agent.rows("SELECT count(*) FROM inbox") == [(1,)]
