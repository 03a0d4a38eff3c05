"""An answer that is late becomes a simpler one, and its record says which rung it stood on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from typing_extensions import override

from edge_agent.domain.inputs import Arrival
from edge_agent.runner.steps import HalfApplied, Steps
from edge_agent.shell.clock import SystemClock
from edge_agent.wire import topics
from tests.factories import T0
from tests.integration.driven_agent import STORE, DrivenAgent, driven_agent, entered

POLICY = """version = "v1"
[hurry]
model_ms = 400
rules_ms = 200
"""


class HandClock(SystemClock):
    """A clock whose hands are moved."""

    elapsed_s = 0.0

    @override
    def now_ms(self) -> int:
        """Returns the present instant."""
        return T0 + round(self.elapsed_s * 1_000)

    @override
    def monotonic_s(self) -> float:
        """Returns seconds that only ever grow."""
        return self.elapsed_s


def rungs(agent: DrivenAgent) -> list[str]:
    """Returns the rung of each decision for somebody, oldest first."""
    rows = agent.rows("SELECT record FROM decision WHERE visitor IS NOT NULL ORDER BY id")
    records: list[dict[str, Any]] = [json.loads(record) for (record,) in rows]
    return [each["rules"]["known"]["rung"] for each in records]


@contextmanager
def live_agent(folder: Path, policy: str = POLICY) -> Iterator[tuple[DrivenAgent, HandClock]]:
    """Yields an agent that is not a replay's, and its clock."""
    options: dict[str, Any] = {}
    if policy:
        options["rules"] = folder / "policy.toml"
        options["rules"].write_text(policy, encoding="utf-8")
    clock = HandClock(floor_ms=T0)
    with driven_agent(
        folder / "state", clock="system", system_clock=lambda **_: clock, **options
    ) as agent:
        agent.turn()
        yield agent, clock


def arrive(agent: DrivenAgent, clock: HandClock) -> None:
    """Has somebody come to the dairy: whoever asks there asks for him."""
    agent.raw("store/s1/event/cam-1", json.dumps(entered(clock.now_ms(), 1)).encode())
    agent.turn()


def ask(agent: DrivenAgent, **fields: Any) -> None:
    """Has a kiosk ask, and waits not for the answer."""
    visitor = {"kind": "track", "value": "t1"}
    body = json.dumps({"source": "kiosk-1", "visitor": visitor, "zone": "dairy", **fields})
    answered_to = topics.reply(STORE, "kiosk-1")
    agent.raw(topics.request(STORE), body.encode(), response_topic=answered_to)


def rung_of(agent: DrivenAgent, question: str) -> tuple[str, int | None]:
    """Returns how far down the answer to a question was taken, and what of the time was left."""
    for (text,) in agent.rows("SELECT record FROM decision"):
        record = json.loads(text)
        if record["cause"]["id"] == question:
            # Without a policy there is nothing between the model and what sells best.
            plain = {"rung": "store" if "left_ms" in record else "model", **record}
            known = record.get("rules", {}).get("known", plain)
            return known["rung"], known.get("left_ms")
    raise AssertionError(f"nothing was answered to {question}")


@pytest.mark.parametrize(
    ("late_s", "rung"),
    [(0.0, "model"), (0.5, "model"), (0.7, "rules"), (0.9, "segment"), (1.5, "store")],
)
def test_the_longer_an_event_waited_the_simpler_its_answer(
    tmp_path: Path, late_s: float, rung: str
) -> None:
    """Of a second's budget what is left says how far down the ladder an answer is taken."""
    with live_agent(tmp_path) as (agent, clock):
        agent.raw("store/s1/event/cam-1", json.dumps(entered(clock.now_ms(), 1)).encode())
        clock.elapsed_s += late_s
        agent.turn()
        assert rungs(agent) == [rung]


@pytest.mark.parametrize(
    ("budget_ms", "late_s", "rung", "left_ms"),
    [
        (None, 0.3, "model", None),
        (None, 0.7, "rules", 300),
        (3_000, 0.7, "model", None),
        (3_000, 2.9, "segment", 100),
        (500, 0.0, "model", None),
        (500, 0.2, "rules", 300),
        (500, 0.4, "segment", 100),
        (500, 0.6, "store", -100),
        (100, 0.0, "segment", 100),
    ],
)
def test_whoever_asks_may_name_his_own_budget(
    tmp_path: Path, budget_ms: int | None, late_s: float, rung: str, left_ms: int | None
) -> None:
    """Of what he waits at most, and no longer of the second, what is left says how it is found."""
    with live_agent(tmp_path) as (agent, clock):
        arrive(agent, clock)
        ask(agent, id="q1", **({} if budget_ms is None else {"budget_ms": budget_ms}))
        clock.elapsed_s += late_s
        agent.turn()
        assert rung_of(agent, "q1") == (rung, left_ms)
        assert len(agent.documents(topics.reply(STORE, "kiosk-1"))) == 1


@pytest.mark.parametrize("policy", ["", 'version = "v1"\n'])
@pytest.mark.parametrize(("late_s", "rung"), [(0.4, "model"), (0.6, "store")])
def test_a_budget_holds_without_a_word_of_the_policys(
    tmp_path: Path, policy: str, late_s: float, rung: str
) -> None:
    """Once it is over the simplest answer goes out at once; who names none waits as ever."""
    with live_agent(tmp_path, policy) as (agent, clock):
        arrive(agent, clock)
        ask(agent, id="q1", budget_ms=500)
        clock.elapsed_s += late_s
        agent.turn()
        assert rung_of(agent, "q1")[0] == rung
        ask(agent, id="q2")
        clock.elapsed_s += 5.0
        agent.turn()
        assert rung_of(agent, "q2")[0] == "model"


@pytest.mark.parametrize(
    ("late_s", "rung", "left_ms"), [(0.9, "model", None), (1.1, "store", -100)]
)
def test_what_is_enough_for_the_model_is_not_written_down(
    tmp_path: Path, late_s: float, rung: str, left_ms: int | None
) -> None:
    """Also where a policy asks for more time for the rules than for the model."""
    policy = 'version = "v1"\n[hurry]\nmodel_ms = 0\nrules_ms = 200\n'
    with live_agent(tmp_path, policy) as (agent, clock):
        arrive(agent, clock)
        ask(agent, id="q1")
        clock.elapsed_s += late_s
        agent.turn()
        assert rung_of(agent, "q1") == (rung, left_ms)


def test_one_askers_budget_is_not_the_next_ones(tmp_path: Path) -> None:
    """Two that waited alike in one batch are answered each within his own time."""
    with live_agent(tmp_path) as (agent, clock):
        arrive(agent, clock)
        ask(agent, id="q1", budget_ms=300)
        ask(agent, id="q2")
        clock.elapsed_s += 0.4
        agent.turn()
        assert rung_of(agent, "q1")[0] == "store"
        assert rung_of(agent, "q2")[0] == "model"


def test_whose_batch_is_done_again_hurries_nobody_else(tmp_path: Path) -> None:
    """What is taken in first of it, such as a command of HQ's, is waited for by nobody."""
    with live_agent(tmp_path) as (agent, clock):
        arrive(agent, clock)
        ask(agent, id="q1")
        clock.elapsed_s += 0.9
        with (
            patch.object(agent.agent._unit, "carry_out", side_effect=RuntimeError("planted")),
            pytest.raises(HalfApplied),
        ):
            agent.loop._taking.take(agent.loop.waiting.next(0.0))
        assert agent.road.present.context.left_ms is None


def test_a_batch_that_is_done_again_is_as_late_as_before(tmp_path: Path) -> None:
    """A neighbour that fails half-way gives nobody more time."""
    with live_agent(tmp_path) as (agent, clock):
        arrive(agent, clock)
        ask(agent, id="q1", budget_ms=500)
        agent.raw("store/s1/event/cam-1", json.dumps(entered(clock.now_ms(), 2)).encode())
        clock.elapsed_s += 0.6
        took, failing = Steps.run, iter([HalfApplied("planted")])

        def run(steps: Steps, given: Any, name: object = None) -> None:
            took(steps, given, name)
            if isinstance(given, Arrival):
                for error in failing:
                    raise error

        with patch.object(Steps, "run", run):
            agent.turn()
        assert next(failing, None) is None
        assert rung_of(agent, "q1") == ("store", -100)


@pytest.mark.parametrize("budget_ms", [0, -1, 10_001, 1.5, "soon"])
def test_a_budget_that_is_none_is_refused_with_the_reason(
    tmp_path: Path, budget_ms: object
) -> None:
    """It is a dead letter that names the field."""
    with live_agent(tmp_path) as (agent, _):
        ask(agent, id="q1", budget_ms=budget_ms)
        agent.turn()
        ((reason, detail),) = agent.rows("SELECT reason, detail FROM dead_letter")
        assert reason == "invalid"
        assert "budget_ms" in detail
