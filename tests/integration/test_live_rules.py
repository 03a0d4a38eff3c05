"""The chain's policy in a running agent: as a whole or not at all, over reload and kill."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest

from edge_agent.shell.rule_versions import unpacked
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

STATE: Final = f"store/{STORE}/agent/state"
WINDOW: Final = f"store/{STORE}/screen/window/recommendation"
SCREENS: Final = '[screens.window]\nzone = "bakery"\naudience = "private"\n'
V1: Final = """version = "v1"
[screens.window]
audience = "semi_private"
[rules.evening]
when = 'hour >= 17 && zone == "bakery"'
weight = 1.5
"""
V2: Final = V1.replace("v1", "v2").replace("semi_private", "public")
BROKEN: Final = V2.replace("hour >= 17 &&", "hour >= 17 and")


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """The chain's file."""
    path = tmp_path / "policy.toml"
    path.write_text(V1, encoding="utf-8")
    return path


@pytest.fixture
def agent(broker: Broker, tmp_path: Path, policy: Path) -> Iterator[RunningAgent]:
    """An agent that is told where that file is."""
    made = RunningAgent(
        folder=tmp_path / "agent", port=broker.port, extra=SCREENS, rules=policy, has_model=True
    )
    made.start()
    yield made
    made.stop()


@pytest.fixture
def store(broker: Broker) -> Iterator[Device]:
    """What is heard in the store."""
    with device(broker.port) as made:
        yield made


CAMPAIGN: Final = """
[caps]
per_visitor_day = 50
[rules.less]
departments = ["GROCERY"]
weight = 0.9
[campaigns.bread]
kind = "service"
text = "Warm bread at four"
from = 2020-01-01
until = 2090-01-01
when = 'zone == "bakery" && moment == "zone_entered"'
"""


def told(agent: RunningAgent) -> tuple[int, Any]:
    """What `edge-agent status` says of the rules, and its exit code."""
    done = ran("status", "-c", agent.config, "--json")
    return done.returncode, json.loads(done.stdout)["rules"]


def audience(store: Device) -> str:
    """To whom the window speaks when somebody comes by, alone."""
    somebody = _somebody()
    (sent,) = store.send(event("gate", "zone.entered", zone="bakery", visitor=somebody))
    found = str(store.answer(WINDOW, sent["id"])["audience"])
    store.send(event("gate", "zone.left", zone="bakery", visitor=somebody))
    return found


def _somebody() -> dict[str, str]:
    number = event("gate", "none")["id"].removeprefix("e")
    return visitor("track", f"t{number}")


def problems(store: Device) -> list[str]:
    """What the agent's state tells as wrong."""
    found: list[str] = store.documents(STATE)[-1]["problems"]
    return found


def test_a_policy_holds_as_a_whole_or_not_at_all(
    agent: RunningAgent, store: Device, policy: Path
) -> None:
    """A slip anywhere in the file leaves all of the last good one in force, also after a kill."""
    assert audience(store) == "semi_private"
    code, rules = told(agent)
    assert (code, rules["version"], rules["problem"]) == (0, "v1", None)
    policy.write_text(BROKEN, encoding="utf-8")
    agent.reload()
    assert audience(store) == "semi_private"
    wait_for(lambda: problems(store) == ["rules_refused"], what="the alarm")
    code, after = told(agent)
    assert code == 1
    assert after["problem"] == f"{policy}:5: rules.evening.when: column 20: and is &&"
    assert {**after, "problem": None} == rules
    agent.kill()
    agent.start()
    assert audience(store) == "semi_private"
    assert told(agent)[1] == after
    policy.write_text(V2, encoding="utf-8")
    agent.reload()
    assert audience(store) == "public"
    wait_for(lambda: problems(store) == [], what="the end of the alarm")
    code, rules = told(agent)
    assert (code, rules["version"], rules["problem"]) == (0, "v2", None)
    assert rules["digest"] != after["digest"]


def test_one_name_never_stands_for_two_contents(
    agent: RunningAgent, store: Device, policy: Path
) -> None:
    """A decision names its policy's version: other contents under it are refused."""
    policy.write_text("# a comment\n" + V2.replace("v2", "v1"), encoding="utf-8")
    agent.reload()
    assert audience(store) == "semi_private"
    assert ":2: version: 'v1' is the name of other contents since 20" in told(agent)[1]["problem"]
    policy.write_text(f"# another comment\n\n{V1}", encoding="utf-8")
    agent.reload()
    assert told(agent)[1]["problem"] is None
    policy.write_text(V2, encoding="utf-8")
    agent.reload()
    assert audience(store) == "public"
    policy.write_text(V1, encoding="utf-8")
    agent.reload()
    assert audience(store) == "semi_private"
    with closing(sqlite3.connect(f"file:{agent.state}/state.db?mode=ro", uri=True)) as database:
        rows = database.execute("SELECT version, text FROM rule_set ORDER BY 1").fetchall()
        assert [(version, unpacked(text)) for version, text in rows] == [("v1", V1), ("v2", V2)]


def test_a_file_that_is_gone_ends_nothing_and_a_key_taken_out_does(
    agent: RunningAgent, store: Device, policy: Path
) -> None:
    """What is missing is a slip; what the configuration no longer names is meant so."""
    policy.unlink()
    agent.reload()
    assert audience(store) == "semi_private"
    assert ":1: cannot be read: No such file" in told(agent)[1]["problem"]
    agent.write_config("[nonsense]\n")
    agent.reload()
    assert audience(store) == "semi_private"
    agent.write_config()
    assert "nonsense" in told(agent)[1]["problem"]
    agent.rules = None
    agent.write_config()
    agent.reload()
    assert audience(store) == "private"
    assert told(agent) == (0, None)


def test_a_policy_goes_on_in_a_store_that_lost_a_screen_of_it(
    agent: RunningAgent, store: Device, policy: Path
) -> None:
    """The rest of it stays in force, and what no longer fits is told."""
    agent.stop()
    policy.write_text(f"{V1}[screens.gone]\naudience = 'public'\n", encoding="utf-8")
    agent.extra += '[screens.gone]\nzone = "dairy"\n'
    agent.start()
    # The same name with another screen in it is another content.
    assert told(agent)[1]["version"] == "v1"
    policy.write_text(V2 + "[screens.gone]\naudience = 'public'\n", encoding="utf-8")
    agent.reload()
    assert audience(store) == "public"
    agent.extra = SCREENS
    agent.stop()
    agent.start()
    assert audience(store) == "public"
    assert "there is no such screen" in told(agent)[1]["problem"]


def test_decisions_under_each_policy_are_taken_again(
    agent: RunningAgent, store: Device, policy: Path
) -> None:
    """Every record comes out byte for byte under the version that it names, both of them."""
    for text in (V2, V1.replace("v1", "v3") + CAMPAIGN):
        policy.write_text(text, encoding="utf-8")
        agent.reload()
        assert [audience(store) for _ in range(3)]
    agent.stop()
    with closing(sqlite3.connect(f"file:{agent.state}/state.db?mode=ro", uri=True)) as database:
        records = [json.loads(row[0]) for row in database.execute("SELECT record FROM decision")]
    assert {each["rules"]["version"] for each in records} >= {"v2", "v3"}
    done = ran("replay", "--verify", agent.folder)
    assert done.stdout == f"{len(records)} decisions taken again, 0 differ\n", done.stderr
