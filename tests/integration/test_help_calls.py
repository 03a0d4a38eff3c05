"""Calls for help in a running agent: on a real broker, over a kill, to their end and out of it."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from edge_agent.wire import topics
from tests.integration.broker import Broker
from tests.integration.commands import ran
from tests.integration.running_agent import (
    STORE,
    Device,
    RunningAgent,
    device,
    event,
    visitor,
    wait_for,
)

pytestmark = pytest.mark.broker

PHONE: Final = "AC:23:3F:A0:11:22"
START: Final = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)
RULES: Final = """version = "v1"
[help]
lifts_and_returns = 2
queue_length = 4
[teams.floor]
acknowledge_within_s = 60
escalate_to = "manager"
most_open = 2
[teams.manager]
"""


@dataclass(slots=True)
class Floor:
    """A store in replayed time: an agent, and all that is heard of it."""

    agent: RunningAgent
    device: Device
    at: datetime = field(default=START)

    def pass_s(self, seconds: float) -> None:
        """Moves the store's time on."""
        self.at += timedelta(seconds=seconds)
        tick = json.dumps({"now": self.at.isoformat()}).encode()
        self.device.raw(topics.clock(STORE), tick)

    def send(self, kind: str, *, source: str = "gate", **data: Any) -> str:
        """Sends an event of now; returns its id."""
        made = {**event(source, kind, **data), "time": self.at.isoformat()}
        self.device.send(made)
        return str(made["id"])

    def put_back(self) -> None:
        """A shopper takes something and lays it back."""
        for kind in ("item.lifted", "item.returned"):
            who = visitor("ble", PHONE)
            self.send(kind, source="shelf", product="1029743", zone="dairy", visitor=who)

    def told(self, team: str) -> list[dict[str, Any]]:
        """What a team's handhelds heard, oldest first; what a restart sends once more, once."""
        heard = self.device.documents(topics.alert(STORE, team))
        return [each for n, each in enumerate(heard) if each not in heard[:n]]

    def wait_told(self, team: str, *statuses: str) -> dict[str, Any]:
        """Waits until that is all that a team heard; returns the last message."""
        wait_for(
            lambda: tuple(each.get("status") for each in self.told(team)) == statuses,
            what=f"{statuses} to {team}",
        )
        return self.told(team)[-1]

    def answer(self, team: str, decision: str, outcome: str) -> None:
        """A team answers."""
        said = json.dumps({"decision": decision, "outcome": outcome}).encode()
        self.device.raw(topics.staff_feedback(STORE, team), said)

    def command(self, *arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
        """Runs `edge-agent ...` on this store to its end."""
        return ran(*arguments, "-c", self.agent.config, typed=typed)

    def rows(self) -> list[tuple[Any, ...]]:
        """The calls as they are on the disk."""
        with closing(sqlite3.connect(self.agent.state / "state.db")) as connection:
            query = "SELECT kind, teams, outcome, visitor IS NULL FROM help_call ORDER BY id"
            return connection.execute(query).fetchall()


@pytest.fixture
def floor(broker: Broker, tmp_path: Path) -> Iterator[Floor]:
    """A store with two teams."""
    rules = tmp_path / "policy.toml"
    rules.write_text(RULES, encoding="utf-8")
    folder = tmp_path / "agent"
    agent = RunningAgent(folder=folder, port=broker.port, clock="replay", rules=rules)
    agent.start()
    try:
        with device(broker.port) as heard:
            made = Floor(agent, heard)
            made.pass_s(0)
            yield made
    finally:
        agent.stop()


def undecided(floor: Floor) -> dict[str, Any]:
    """Has somebody put goods back twice; returns what the floor is told."""
    floor.send("zone.entered", zone="dairy", visitor=visitor("ble", PHONE))
    floor.put_back()
    floor.put_back()
    return floor.wait_told("floor", "open")


def test_a_call_outlives_a_kill_and_ends_when_its_visitor_goes(floor: Floor) -> None:
    """Told with its context, passed on after the kill, acknowledged, withdrawn everywhere."""
    told = undecided(floor)
    assert (told["kind"], told["zone"], told["context"]["lifts_and_returns"]) == (
        "lift_return",
        "dairy",
        2,
    )
    assert told["context"]["departments"] == ["GROCERY"]
    assert "customer" not in told["context"] or told["context"]["customer"] is None
    floor.agent.kill()
    floor.agent.start()
    floor.pass_s(61)
    assert floor.wait_told("floor", "open", "escalated")["escalated_to"] == "manager"
    assert floor.wait_told("manager", "open")["escalated_from"] == "floor"
    floor.answer("manager", told["decision"], "acknowledged")
    floor.wait_told("floor", "open", "escalated", "acknowledged")
    floor.send("zone.left", zone="dairy", visitor=visitor("ble", PHONE))
    last = floor.wait_told("floor", "open", "escalated", "acknowledged", "withdrawn")
    assert (last["outcome"], last["decision"]) == ("gone", told["decision"])
    floor.wait_told("manager", "open", "acknowledged", "withdrawn")
    assert floor.rows() == [("lift_return", '["floor","manager"]', "gone", 0)]
    shown = floor.command("explain", told["decision"])
    assert "help with" in shown.stdout
    assert "lifts and returns 2" in shown.stdout


def test_a_request_is_told_to_its_end_and_status_says_how_it_went(floor: Floor) -> None:
    """Pressed twice, answered late, helped; a late answer changes nothing."""
    asked = floor.send("help.requested", source="button-1", zone="bakery")
    floor.wait_told("floor", "open")
    again = floor.send("help.requested", source="button-1", zone="bakery")
    told = floor.wait_told("floor", "open", "open")
    assert [each["cause"]["id"] for each in floor.told("floor")] == [asked, again]
    assert told["context"]["presses"] == 2
    floor.pass_s(20)
    floor.answer("floor", told["decision"], "acknowledged")
    floor.wait_told("floor", "open", "open", "acknowledged")
    floor.answer("floor", told["decision"], "helped")
    floor.wait_told("floor", "open", "open", "acknowledged", "closed")
    floor.answer("floor", told["decision"], "not_needed")
    floor.send("queue.measured", source="cam-1", zone="checkout-2", length=5)
    floor.wait_told("floor", "open", "open", "acknowledged", "closed", "open")
    found = json.loads(floor.command("status", "--json").stdout)
    assert found["counts"]["open_calls"] == 1
    assert found["calls"] == [
        {
            "team": "floor",
            "calls": 2,
            "open": 1,
            "escalated": 0,
            "acknowledged_s": 20.0,
            "outcomes": {"helped": 1},
        }
    ]
    assert "calls for help" in floor.command("status").stdout


def test_a_call_is_in_an_export_and_gone_when_its_visitor_is_forgotten(floor: Floor) -> None:
    """He is told of it; his erasure takes it back from the handhelds and off the disk."""
    undecided(floor)
    out = floor.agent.folder / "held"
    floor.command("visitor", "export", "--out", str(out), typed=PHONE)
    held = json.loads((out / "visitor.json").read_text(encoding="utf-8"))
    (call,) = next(each["rows"] for each in held["sections"] if each["name"] == "calls")
    assert (call["why"], call["zone"], call["came_of_it"]) == ("lift return", "dairy", None)
    done = floor.command("visitor", "forget", "--json", typed=PHONE)
    assert json.loads(done.stdout)["outcome"] == "forgotten", done.stderr
    floor.wait_told("floor", "open", "withdrawn")
    assert floor.rows() == []
