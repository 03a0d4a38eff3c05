"""The configuration: every problem at once, with its line and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent.config import layout_of, load, parse, tolerances_of
from edge_agent.domain.policy import Policy, Retention
from edge_agent.errors import ConfigError
from edge_agent.state.tolerances import Limits

GOOD = """store = "s1"
timezone = "America/New_York"
[zones.dairy]
departments = ["DAIRY"]
exit = true
[screens.dairy-1]
zone = "dairy"
[registers.pos-1]
zone = "dairy"
[sources.pos-1]
receipt = true
"""


def problems(text: str) -> tuple[str, ...]:
    """Returns what is wrong with a text."""
    with pytest.raises(ConfigError) as caught:
        parse(text, name="agent.toml")
    return caught.value.problems


def test_a_good_file_becomes_a_layout() -> None:
    """Zones, screens, tills and sources are found again."""
    layout = layout_of(parse(GOOD, name="agent.toml"))
    assert [screen.id for screen in layout.screens_by_zone["dairy"]] == ["dairy-1"]  # type: ignore[index]  # a NewType of str
    assert layout.zones["dairy"].is_exit  # type: ignore[index]  # a NewType of str
    assert layout.receipt_sources == {"pos-1"}
    assert layout.audience_of("kiosk-9") == "public"  # type: ignore[arg-type]  # a NewType of str


@pytest.mark.parametrize(
    ("line", "replacement", "place"),
    [
        ('timezone = "America/New_York"', 'timezone = "Mars/Olympus"', "agent.toml:2: timezone"),
        ('zone = "dairy"', 'zone = "diary"', "agent.toml:7: screens.dairy-1.zone"),
        ("exit = true", "exits = true", "agent.toml:5: zones.dairy.exits"),
        ("exit = true", 'exit = "yes"', "agent.toml:5: zones.dairy.exit"),
        ("receipt = true", 'audience = "everyone"', "agent.toml:11: sources.pos-1.audience"),
        ('store = "s1"', 'store = "a/b"', "agent.toml:1: store"),
        ('store = "s1"', 'store = "#"', "agent.toml:1: store"),
    ],
)
def test_a_problem_names_its_line_and_key(line: str, replacement: str, place: str) -> None:
    """An operator finds the place without searching."""
    found = problems(GOOD.replace(line, replacement, 1))
    assert len(found) == 1
    assert found[0].startswith(place)


def test_all_problems_are_told_at_once() -> None:
    """Nobody mends a file one error at a time."""
    text = GOOD.replace("exit = true", "exits = true").replace("receipt", "receipts")
    assert len(problems(text)) == 2


def test_an_unknown_number_of_the_policy_is_an_error_with_a_suggestion() -> None:
    """A misspelt limit must not silently be no limit."""
    (found,) = problems(GOOD + "[policy]\nvisit_timeout = 5\n")
    assert "visit_timeout_s" in found
    assert "agent.toml:12" in found or "agent.toml:13" in found


@pytest.mark.parametrize(
    ("section", "text"),
    [
        ("policy", "k = 9"),
        ("policy", "visit_timeout_s = -1"),
        ("policy", "n_items = 0"),
        ("policy", "summary_period_s = 0"),
        ("retention", "inbox_days = 6"),
        ("retention", "dead_letters_days = 2"),
        ("retention", "visits_days = 0"),
    ],
)
def test_a_number_that_would_break_a_promise_is_refused(section: str, text: str) -> None:
    """No file can make groups smaller than k, or keep refused payloads longer."""
    assert problems(f"{GOOD}[{section}]\n{text}\n")


def test_the_defaults_keep_the_promises() -> None:
    """Ten visitors behind a figure, repeats recognised for at least a week."""
    assert Policy().k >= 10
    assert Retention().inbox_days >= 7
    assert Retention().dead_letters_days == 1


def test_what_is_no_toml_is_told_with_its_line() -> None:
    """A syntax error is one problem, with the place that the parser gives."""
    (found,) = problems('store = "s1\n')
    assert "line 1" in found


def test_a_missing_file_says_where_to_begin(tmp_path: Path) -> None:
    """The hint names the example."""
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "none.toml")
    assert "agent.example.toml" in caught.value.hint


def test_a_quoted_table_name_is_found_as_well() -> None:
    """TOML lets names be quoted; their lines are found all the same."""
    text = GOOD.replace("[screens.dairy-1]", '[screens."dairy-1"]').replace(
        'zone = "dairy"', 'zone = "none"', 1
    )
    assert problems(text)[0].startswith("agent.toml:7: ")


@pytest.mark.parametrize("section", ["devices", "sources.door", "mappings.xovis"])
@pytest.mark.parametrize(
    "slip",
    ["drift_share = 1.5", "drift_people = -1", "clock_ahead_s = 0", "clock_behind_s = 604801"],
)
def test_a_limit_of_devices_is_within_bounds(section: str, slip: str) -> None:
    """A share above all of them, or a clock that may be off for ever, would be no limit."""
    text = f'store = "s"\ntimezone = "UTC"\n[{section}]\n{slip}\n'
    with pytest.raises(ConfigError) as caught:
        parse(text, name="agent.toml")
    (problem,) = caught.value.problems
    assert problem.startswith(f"agent.toml:4: {section}.{slip.split(maxsplit=1)[0]}: ")


def test_limits_of_devices_come_from_all_three_sections() -> None:
    """What a device's own section leaves out, its mapping's or that of all says."""
    text = """store = "s"
timezone = "UTC"
[devices]
drift_people = 20
[mappings.xovis]
drift_share = 0.2
[sources.door]
clock_ahead_s = 30
"""
    loaded = parse(text, name="agent.toml")
    found = tolerances_of(loaded, loaded.mappings).of("door", "xovis")
    assert found == Limits(drift_people=20, drift_share=0.2, clock_ahead_s=30)
