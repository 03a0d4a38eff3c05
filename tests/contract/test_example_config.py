"""The example of the agent's settings: sound, complete, true about defaults, fit for the unit."""

from __future__ import annotations

import re
import tomllib
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import pytest
from pydantic import BaseModel

from edge_agent import config
from edge_agent.domain.policy import Policy, Retention

PROVISIONING: Final = Path(__file__).parents[2] / "provisioning"
HEADERS_BYTES: Final = 1024
"""What a message may have besides its payload: topic and properties."""
EXAMPLE: Final = PROVISIONING / "agent.example.toml"
SECTIONS: Final[dict[str, type[BaseModel]]] = {
    "state": config.StateSection,
    "broker": config.LinkSection,
    "hq": config.HqSection,
    "model": config.ModelSection,
    "ingest": config.IngestSection,
}


def _everything() -> dict[str, Any]:
    """The example with every commented key and table in force."""
    text = re.sub(r"(?m)^# ?(?=\[?[a-z_]+( = |\]))", "", EXAMPLE.read_text())
    return tomllib.loads(text)


def test_the_example_is_sound_as_it_stands() -> None:
    """It loads, and leads to the broker of the shipped settings."""
    loaded = config.load(EXAMPLE)
    broker = (PROVISIONING / "mosquitto.conf").read_text()
    assert f"listener {loaded.broker.port} {loaded.broker.host}\n" in broker
    assert loaded.hq is None


def test_every_commented_key_is_one_that_the_agent_knows() -> None:
    """With every comment turned into a setting it still loads."""
    config.Config.model_validate(config._tuples(_everything()))


def test_no_key_is_missing() -> None:
    """Every key that the agent takes is in the example, written or commented."""
    shown = _everything()
    assert set(config.Config.model_fields) <= set(shown)
    for name, kind in SECTIONS.items():
        known = set(kind.model_fields)
        own = {"keepalive_s", "cert_file", "key_file"} if name == "hq" else set()
        assert known - own <= set(shown[name]), name


@pytest.mark.parametrize(("table", "defaults"), [("policy", Policy()), ("retention", Retention())])
def test_the_numbers_shown_are_the_defaults(table: str, defaults: Policy | Retention) -> None:
    """What the example calls a default is the default, for every number a chain may set."""
    shown = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in _everything()[table].items()
    }
    assert shown == asdict(defaults)


def test_the_ingest_bounds_shown_are_the_defaults_and_the_brokers() -> None:
    """The agent and the broker agree on the largest message and on how many are in flight."""
    defaults = config.IngestSection()
    assert _everything()["ingest"] == defaults.model_dump()
    broker = (PROVISIONING / "mosquitto.conf").read_text()
    assert f"max_packet_size {defaults.max_message_bytes + HEADERS_BYTES}\n" in broker
    assert f"max_inflight_messages {defaults.batch_events}\n" in broker


def test_the_files_it_names_are_the_units_credentials() -> None:
    """Each secret of the example that is in force is handed over by the unit under that name."""
    unit = (PROVISIONING / "edge-agent.service").read_text()
    handed_over = set(re.findall(r"(?m)^LoadCredential=([^:]+):", unit))
    loaded = config.load(EXAMPLE)
    assert loaded.broker.password_file is not None
    place, _, name = loaded.broker.password_file.rpartition("/")
    assert place == "/run/credentials/edge-agent.service"
    assert name in handed_over
    assert Path(_everything()["hq"]["password_file"]).name in handed_over
