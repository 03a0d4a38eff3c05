"""An answer that is late becomes a simpler one, and its record says which rung it stood on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typing_extensions import override

from edge_agent.shell.clock import SystemClock
from tests.factories import T0
from tests.integration.driven_agent import DrivenAgent, driven_agent, entered

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


@pytest.mark.parametrize(
    ("late_s", "rung"),
    [(0.0, "model"), (0.5, "model"), (0.7, "rules"), (0.9, "segment"), (1.5, "store")],
)
def test_the_longer_an_event_waited_the_simpler_its_answer(
    tmp_path: Path, late_s: float, rung: str
) -> None:
    """Of a second's budget what is left says how far down the ladder an answer is taken."""
    policy = tmp_path / "policy.toml"
    policy.write_text(POLICY, encoding="utf-8")
    clock = HandClock(floor_ms=T0)
    with driven_agent(
        tmp_path / "state", clock="system", rules=policy, system_clock=lambda **_: clock
    ) as agent:
        agent.turn()
        agent.raw("store/s1/event/cam-1", json.dumps(entered(clock.now_ms(), 1)).encode())
        clock.elapsed_s += late_s
        agent.turn()
        assert rungs(agent) == [rung]
