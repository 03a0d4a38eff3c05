"""A second policy beside the real one in a whole agent: told of in `status`, heard nowhere."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from edge_agent.shell.policy_shadow import Look, Means
from tests.factories import T0
from tests.integration.broker import Broker
from tests.integration.commands import ran
from tests.integration.driven_agent import DrivenAgent, driven_agent, entered
from tests.integration.running_agent import (
    STORE,
    Device,
    RunningAgent,
    device,
    event,
    visitor,
    wait_for,
)

ZONES: Final = ("dairy", "bakery")
SCREENS: Final = {zone: f"store/{STORE}/screen/{zone}-1/recommendation" for zone in ZONES}
LIVE: Final = 'version = "v1"\n'
SHADOW: Final = """version = "s1"
[rules.none]
when = 'zone == "dairy"'
departments = ["GROCERY", "PRODUCE"]
forbid = true
"""
EVERY_ONE: Final = "shadow_every = 1"
MORE: Final = f"""
[screens.bakery-1]
zone = "bakery"
[zones.bakery]
departments = ["GROCERY"]
[policy]
{EVERY_ONE}
[model]
bundle = "{Path(__file__).parents[2] / "models" / "artifacts"}"
"""


def edge_agent(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end."""
    return ran(*arguments, environment={**os.environ, "COLUMNS": "220", "NO_COLOR": "1"})


def told(agent: RunningAgent) -> Any:
    """Returns what `edge-agent status` says of the second policy."""
    return json.loads(edge_agent("status", "-c", agent.config, "--json").stdout)["shadow_policy"]


def by_zone(report: Any) -> dict[str, Any]:
    """Returns a report's rows by their zone."""
    return {each["zone"]: each for each in report["zones"]}


@pytest.fixture
def agent(broker: Broker, tmp_path: Path) -> Iterator[RunningAgent]:
    """An agent with a policy and another one beside it."""
    live, shadow = tmp_path / "policy.toml", tmp_path / "next.toml"
    live.write_text(LIVE, encoding="utf-8")
    shadow.write_text(SHADOW, encoding="utf-8")
    made = RunningAgent(
        folder=tmp_path / "agent",
        port=broker.port,
        has_model=True,
        rules=live,
        shadow_rules=shadow,
        policy=EVERY_ONE,
    )
    made.start()
    yield made
    made.stop()


@pytest.fixture
def store(broker: Broker) -> Iterator[Device]:
    """What is heard in the store."""
    with device(broker.port) as made:
        yield made


def come(store: Device) -> None:
    """Lets somebody new come to both screens; both speak to him."""
    who = visitor("track", f"t{event('gate', 'none')['id']}")
    for zone in ZONES:
        (sent,) = store.send(event("gate", "zone.entered", zone=zone, visitor=who))
        assert store.answer(SCREENS[zone], sent["id"])["items"]


def compared(agent: RunningAgent, n: int) -> Any:
    """Waits until a number of decisions was compared in each zone; returns the report."""

    def report() -> Any:
        found = told(agent)
        zones = by_zone(found)
        is_done = all(zones.get(zone, {}).get("compared", 0) >= n for zone in ZONES)
        return found if is_done else None

    return wait_for(report, what=f"{n} comparisons in each zone")


@pytest.mark.broker
def test_status_tells_where_a_muted_policy_differs_over_reload_and_restart(
    agent: RunningAgent, store: Device
) -> None:
    """Where it forbids a department; a broken file leaves it, a restart keeps its counts."""
    come(store)
    come(store)
    report = compared(agent, 2)
    zones = by_zone(report)
    assert (report["version"], report["problem"], report["stepped_out"]) == ("s1", None, None)
    assert (zones["dairy"]["compared"], zones["dairy"]["same_set"]) == (2, 0.0)
    assert zones["dairy"]["difference_per_decision"] < 0
    assert (zones["bakery"]["same_set"], zones["bakery"]["difference_per_decision"]) == (1.0, 0.0)
    assert agent.shadow_rules is not None
    agent.shadow_rules.write_text(SHADOW + "forbid = maybe\n", encoding="utf-8")
    agent.reload()
    come(store)
    refused = compared(agent, 3)
    assert refused["version"] == "s1"
    assert f"{agent.shadow_rules}:6: " in refused["problem"]
    checked = edge_agent("check", agent.config)
    assert (checked.returncode, f"{agent.shadow_rules}:6: " in checked.stdout) == (1, True)
    agent.shadow_rules.write_text(SHADOW, encoding="utf-8")
    agent.reload()
    assert told(agent) == {**refused, "problem": None}
    agent.stop()
    assert told(agent) == {**refused, "problem": None}
    agent.start()
    assert told(agent) == {**refused, "problem": None}
    shown = edge_agent("status", "-c", agent.config).stdout
    assert "shadow policy s1, muted" in shown


def _played(
    folder: Path, live: Path, shadow: Path | None, *, is_broken: bool = False
) -> tuple[list[Any], list[Any], DrivenAgent]:
    with driven_agent(folder, rules=live, shadow_rules=shadow, extra=MORE) as agent:
        beside = agent.agent._policy_shadow
        if is_broken:
            beside._ask = _fail
        for number in range(6):
            for zone in ZONES:
                agent.take(entered(T0 + number * 1_000, number, zone=zone))
                wait_for(lambda: not beside.is_busy, what="the comparison")
        agent.agent._save_counters()
        records = agent.rows("SELECT id, record FROM decision ORDER BY id")
        sent = [each for each in agent.sent if "/agent/state" not in each[0]]
        return records, sent, agent


def _fail(_look: Look, _means: Means) -> Any:
    raise RuntimeError("a slip")


def test_every_message_and_record_is_the_same_with_and_without_a_shadow(tmp_path: Path) -> None:
    """Byte for byte: beside none, beside one that differs, beside one that fails."""
    live, shadow = tmp_path / "policy.toml", tmp_path / "next.toml"
    live.write_text(LIVE, encoding="utf-8")
    shadow.write_text(SHADOW, encoding="utf-8")
    records, sent, alone = _played(tmp_path / "alone", live, None)
    others = _played(tmp_path / "beside", live, shadow)
    failing = _played(tmp_path / "failing", live, shadow, is_broken=True)
    assert len(records) >= 12
    assert any("/recommendation" in topic for topic, *_ in sent)
    assert records == others[0] == failing[0]
    assert sent == others[1] == failing[1]
    assert alone.agent._policy_shadow.report() is None
    report = others[2].agent._policy_shadow.report()
    assert report is not None
    assert {zone: each["same_set"] for zone, each in by_zone(report).items()} == {
        "dairy": 0.0,
        "bakery": 1.0,
    }
    stepped = failing[2].agent._policy_shadow.report()
    assert stepped is not None
    assert (stepped["stepped_out"], stepped["failed"]) == ("RuntimeError", 1)
