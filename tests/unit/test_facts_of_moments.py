"""Every name that a condition may use is a fact of some moment, of the type that was promised."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from edge_agent.decide.conditions import checked
from edge_agent.domain.decisions import Decision
from edge_agent.domain.fact_names import BOOL, FACT_NAMES, INT, MAP, PYTHON_TYPES, TEXT, TEXTS
from edge_agent.domain.rules import Rules
from edge_agent.domain.time import rfc3339_from_ms
from edge_agent.shell.rule_files import rules_of
from tests.factories import (
    CARD,
    at,
    command,
    entered,
    event,
    granted,
    ref,
    request,
    scanned_card,
    till,
    world,
)
from tests.fakes import World

# So asked, a name is looked up whatever it is.
_ASKED: Final = {
    TEXT: "{} == {}",
    INT: "{} >= {} + 0",
    BOOL: "{} == {}",
    TEXTS: "size({}) >= size({})",
    MAP: "size({}) >= size({})",
}
EVERYTHING: Final = " && ".join(
    _ASKED[each.type].format(name, name) for name, each in FACT_NAMES.items()
)


def asking(when: str) -> Rules:
    """A policy with one rule that triples a product where a condition holds."""
    text = f"version = 'v1'\n[rules.x]\nweight = 3.0\nproducts = ['d2']\nwhen = '''{when}'''\n"
    return rules_of(text, name="policy.toml")


def known(decision: Decision) -> dict[str, Any]:
    """The facts that a decision's record holds."""
    found: dict[str, Any] = json.loads(decision.record)["rules"]["known"].get("facts", {})
    return found


def busy(audience: str) -> World:
    """A store in which everything is known of a card's holder and of his zone."""
    heard = world(audience=audience)
    end = rfc3339_from_ms(at(3_600))
    heard.command(command("fact", {"name": "weather", "value": "rain", "valid_until": end}))
    heard.take(
        granted(-60),
        till("basket.opened", 0, visitor=ref()),
        scanned_card(1),
        event("zone.occupancy", 1, source="cam-1", zone="dairy", count=4),
        event("queue.measured", 1, source="cam-1", zone="dairy", length=2),
    )
    body = {"visitor": ref("loyalty", CARD), "reference": "crm-1", "segments": ["weekly"]}
    heard.command(command("profile", body))
    return heard


def test_every_name_is_a_fact_of_the_promised_type() -> None:
    """None of them is always unknown, and none is what CEL would not take."""
    heard = busy("private")
    heard.rules = asking(EVERYTHING)
    assert checked(EVERYTHING).names == FACT_NAMES.keys()
    found = heard.take(entered("dairy", 2), till("basket.item_added", 3, product="d0"))
    found += heard.ask(request())
    facts = [known(each) for each in heard.decisions(found)]
    assert {name for each in facts for name in each} == FACT_NAMES.keys()
    for each in facts:
        for name, value in each.items():
            promised = FACT_NAMES[name]
            assert type(value) in PYTHON_TYPES[promised.type], name
            assert not promised.values or value in promised.values


def test_before_a_public_screen_no_personal_name_is_known() -> None:
    """Asked of everything, its record holds nothing of somebody's history."""
    heard = busy("public")
    heard.rules = asking(EVERYTHING)
    (decision,) = heard.decisions(heard.take(entered("dairy", 2)))
    assert not any(FACT_NAMES[name].is_personal for name in known(decision))
    assert known(decision)["fact"] == {"weather": "rain"}


@pytest.mark.parametrize(
    ("when", "is_first"),
    [
        ('fact.weather == "rain" && zone == "dairy"', True),
        ('fact.weather == "snow"', False),
        ("fact.snow > 3", False),
        ('moment == "zone_entered" && "weekly" in segments && stage == "new"', True),
        ("queue == 2 && occupancy == 4 && present == 1 && dwell_s == 0", True),
    ],
)
def test_a_rule_in_cel_weighs_in_a_decision(when: str, *, is_first: bool) -> None:
    """From the text of the file to what stands first on the screen."""
    heard = busy("private")
    heard.rules = asking(when)
    (decision,) = heard.decisions(heard.take(entered("dairy", 2)))
    assert (decision.chosen[0].scored.product == "d2") is is_first
