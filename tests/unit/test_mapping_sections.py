"""The configuration's mappings: every slip is found, with its line, before the agent starts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from edge_agent import config as configuration
from edge_agent.errors import ConfigError
from edge_agent.ingest.places import line_of
from edge_agent.shell.mapping_files import problems_of, read_mappings
from tests.contract.test_devices import DEVICES, HARDWARE

HEAD: Final = 'store = "s1"\ntimezone = "Europe/Helsinki"\ncurrency = "EUR"\n[zones.door]\n'


def problems(text: str) -> list[str]:
    """What the check says of a configuration with these sections."""
    whole = HEAD + text
    return problems_of(configuration.parse(whole, name="agent.toml"), whole, name="agent.toml")


def test_every_shipped_mapping_can_be_named() -> None:
    """The name of its folder is enough, for all of them together."""
    assert problems("".join(f"[mappings.{name}]\n" for name in DEVICES)) == []


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("[mappings.xovi]\n", 5, "did you mean xovis?"),
        ('[mappings.mine]\nfile = "/nowhere.toml"\n', 6, "cannot be read"),
        ('[mappings.xovis.tables.zones]\n"a.b" = "dor"\n', 6, "there is no zone 'dor'"),
        ('[mappings.xovis.tables.zone]\n"a" = "door"\n', 5, "there are: forward, zones"),
        ('[mappings.lightspeed-x]\nsettings = { money = "EUR" }\n', 6, "no such setting"),
        (
            '[mappings.arts-poslog]\nsettings = { in_store_codes = "fin" }\n',
            6,
            "must be one of de",
        ),
    ],
)
def test_a_slip_is_told_with_its_line(text: str, line: int, words: str) -> None:
    """Names of folders, files, tables, zones and settings are all checked."""
    (problem,) = problems(text)
    assert problem.startswith(f"agent.toml:{line}: mappings.")
    assert words in problem


def test_a_broken_file_is_told_with_its_own_line(tmp_path: Path) -> None:
    """The line is that of the mapping's file, which is named."""
    path = tmp_path / "mine.toml"
    path.write_text((HARDWARE / "haltian/mapping.toml").read_text().replace("tsmTs", "a["))
    (problem,) = problems(f'[mappings.mine]\nfile = "{path}"\n')
    assert f"{path}: line " in problem


@pytest.mark.parametrize("topic", ["#", "store/+/event/#", "+/s1/deadletter"])
def test_a_mapping_cannot_take_the_agents_own_topics(tmp_path: Path, topic: str) -> None:
    """A canonical event must come once, on its own road."""
    path = tmp_path / "mine.toml"
    text = (HARDWARE / "haltian/mapping.toml").read_text()
    path.write_text(text.replace("haltian/#", topic))
    (problem,) = problems(f'[mappings.mine]\nfile = "{path}"\n')
    assert "the agent's own" in problem


def test_a_bad_mapping_spoils_no_other_one() -> None:
    """The good ones are in force; the store's zone and currency fill their settings."""
    text = HEAD + "[mappings.xovi]\n[mappings.lightspeed-x]\n[mappings.arts-poslog]\n"
    found = read_mappings(configuration.parse(text, name="agent.toml"), secret=b"")
    assert {each.name: dict(each.lookups.settings) for each in found.good} == {
        "lightspeed-x": {"currency": "EUR"},
        "arts-poslog": {"timezone": "Europe/Helsinki", "currency": "EUR"},
    }
    assert set(found.refused) == {"xovi"}


def test_the_stores_own_codes_are_the_default_of_every_mapping(tmp_path: Path) -> None:
    """A section goes before them, and so does what a mapping's own file says."""
    path = tmp_path / "own.toml"
    own = (HARDWARE / "zebra/mapping.toml").read_text()
    path.write_text(own.replace('# in_store_codes = "fi"', 'in_store_codes = "se"'))
    text = f"""{HEAD}[mappings.arts-poslog]
[mappings.nexo-terminal.settings]
in_store_codes = "de"
[mappings.own]
file = "{path}"
[mappings.lightspeed-x]
"""
    loaded = configuration.parse(f'in_store_codes = "fi"\n{text}', name="agent.toml")
    good = read_mappings(loaded, secret=b"").good
    codes = {each.name: each.lookups.settings.get("in_store_codes") for each in good}
    # What is not there, the file itself says.
    assert codes == {
        "arts-poslog": "fi", "nexo-terminal": "de", "own": None, "lightspeed-x": None,
    }  # fmt: skip


def test_the_stores_own_codes_must_be_known() -> None:
    """A slip is an error of the configuration, whether or not a mapping asks for them."""
    text = HEAD.replace("[zones", 'in_store_codes = "fin"\n[zones')
    with pytest.raises(ConfigError) as caught:
        configuration.parse(text, name="agent.toml")
    (problem,) = caught.value.problems
    assert problem.startswith("agent.toml:4: in_store_codes: ")
    assert "must be one of de" in problem


def test_what_was_good_before_is_taken_in_a_broken_ones_place() -> None:
    """After a restart the counters of a door still count."""
    text = HEAD + "[mappings.xovi]\n"
    before = (HARDWARE / "xovis/mapping.toml").read_text()
    loaded = configuration.parse(text, name="agent.toml")
    found = read_mappings(loaded, secret=b"", instead={"xovi": before})
    assert [each.text for each in found.good] == [before]
    assert set(found.refused) == {"xovi"}
    assert line_of(text, ("mappings", "xovi")) == 5


def test_an_agent_without_mappings_loads_no_interpreter() -> None:
    """A store whose devices speak canonical events spares its memory."""
    code = (
        "import sys, edge_agent.app\n"
        "print({'lxml', 'jmespath', 'edge_agent.ingest.mapping'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "set()\n"
