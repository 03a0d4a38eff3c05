"""A record in words: every fact has its line, and what was not chosen has its reason."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from edge_agent.cli.explanation import explanation, why_not
from edge_agent.domain.rules import Caps, Exploration, Rule, Rules
from edge_agent.shell import held_decisions
from tests.factories import campaign, complained, entered, lifted, ref, world
from tests.fakes import When

RULES = Rules(
    version="r1",
    digest="0123456789abcdef",
    campaigns=(
        campaign("c1", "k3", value=5.0, control_share=0.01),
        campaign("c2"),
        campaign("c3", kind="service"),
        campaign("c4", "d1", when=When(facts={"hour": 3})),
        campaign("c5", "d5", value=0.1),
    ),
    rules=(
        Rule(
            id="sat",
            when=When(facts={"weekday": 5, "zone": "dairy"}),
            departments=frozenset({"BAKERY"}),
            weight=1.5,
        ),
    ),
    caps=Caps(per_visitor_day=9),
)


def record_of(*before: Any, rules: Rules = RULES) -> dict[str, Any]:
    """Returns the record of the decision on somebody who takes something in hand."""
    heard = world()
    heard.rules = rules
    heard.take(*before)
    found: dict[str, Any] = json.loads(heard.decisions(heard.take(lifted("d0", 1)))[-1].record)
    return found


def test_every_line_of_a_record_is_told() -> None:
    """Moment, rules in force, facts, factors, texts, arms, and what was kept out by what."""
    text = "\n".join(explanation(record_of(), [("bought", "k3")]))
    for said in (
        "item_handled on screen dairy-1 (public)",
        "rules      r1 (0123456789ab), of which hold: sat",
        "fact       weekday = 5",
        "chosen   1. k3           score 3.075000 = propensity 0.410000 x value 5 x context 1.5",
        "(on_offer, offer of c1)",
        "beside      c2",
        "lower       c3",
        "arm        campaign c1: treated",
        "ruled out  d0: in_basket, already in hand or basket",
        "kept out   campaign c4: when, its condition does not hold",
        "outcome    bought k3",
    ):
        assert said in text


@pytest.mark.parametrize(
    ("spent_us", "said"), [(1_834, "1.8 ms"), (12_349, "12.3 ms"), (45, "0.045 ms"), (0, "0 ms")]
)
def test_the_time_that_it_took_is_told(spent_us: int, said: str) -> None:
    """In milliseconds, beside what the record says."""
    told = explanation(record_of(), [("bought", "k3")], spent_us=spent_us)
    assert told[-2:] == [f"  took       {said}", "  outcome    bought k3"]


def test_a_time_that_nobody_measured_is_not_told() -> None:
    """As of a decision that an older agent took."""
    assert not [line for line in explanation(record_of(), []) if "took" in line]


@pytest.mark.parametrize(
    ("wanted", "outcome", "gate", "said"),
    [
        ("k3", "chosen", None, "it was chosen"),
        ("c1", "chosen", None, "it was chosen"),
        ("d0", "refused", "in_basket", "already in hand"),
        ("c4", "refused", "when", "its condition does not hold"),
        ("d2", "lower", None, "it came 7."),
        ("c3", "lower", None, "c2 stands beside the products instead"),
        ("c5", "unplaced", None, "not among the best 10 of 11"),
        ("nothing", "unplaced", None, "the last of them has score"),
    ],
)
def test_what_was_not_chosen_has_its_reason(
    wanted: str, outcome: str, gate: str | None, said: str
) -> None:
    """By product or campaign: the gate, or its place with all four factors."""
    found = why_not(record_of(), wanted)
    assert (found.outcome, found.gate) == (outcome, gate)
    assert said in found.text


def control_record() -> dict[str, Any]:
    """Returns the record of what a control group gets."""
    c1, *others = RULES.campaigns
    return record_of(rules=replace(RULES, campaigns=(replace(c1, control_share=1.0), *others)))


@pytest.mark.parametrize(
    ("wanted", "outcome", "said"),
    [
        ("c1", "refused", "which gets the store's default"),
        ("c2", "refused", "the store's default stands in place of c1"),
        ("k3", "lower", "the last one chosen has 0.3"),
        ("d4", "lower", "in place of c1 stands what sells best, varied"),
        ("nothing", "unplaced", "what sells best stands here, in place of c1"),
    ],
)
def test_what_a_control_group_is_not_told_has_its_reason(
    wanted: str, outcome: str, said: str
) -> None:
    """What sells best stands there, and nothing was weighed against it."""
    record = control_record()
    near = next(each for each in record["candidates"] if each[0] == "d4")
    near[5] += 0.01
    found = why_not(record, wanted)
    assert (found.outcome, said in found.text) == (outcome, True), found.text
    assert "  instead    of campaign c1: what sells best, for its control group" in explanation(
        record, []
    )


def test_what_stands_first_by_chance_is_told_with_its_place_by_score() -> None:
    """Of the one that chance put first alone, and of none where the best stands there."""
    rules, seen = replace(RULES, exploration=Exploration(share=1.0, draws=64)), set()
    for n in range(40):
        heard = world(seed=str(n))
        heard.rules = rules
        record = json.loads(heard.decisions(heard.take(lifted("d0", 1)))[-1].record)
        lines = explanation(record, [])
        names = [each[0] for each in record["candidates"]]
        rank = 1 + names.index(record["chosen"][0])
        (first,) = (line for line in lines if f" {record['chosen'][0]} " in line)
        assert (f"(first by chance, {rank}. by score, " in first) is (rank > 1)
        assert sum("by chance" in line for line in lines) == (rank > 1)
        if rank > 1:
            least = min(each[5] for each in record["candidates"] if each[0] in record["chosen"])
            higher = [each for each in record["candidates"] if each[0] not in record["chosen"]]
            for each in higher:
                told = f"or to {record['chosen'][0]}, which stands first by chance"
                assert (told in why_not(record, each[0]).text) is (each[5] > least)
        seen.add(rank > 1)
    assert seen == {False, True}


def test_a_silence_is_the_reason_for_everything() -> None:
    """Whatever is asked about."""
    found = why_not(record_of(complained(0, who=ref())), "d1")
    assert (found.outcome, found.gate) == ("silence", "complaint")


def test_a_decision_without_rules_is_told_as_before() -> None:
    """No line speaks of rules."""
    heard = world()
    (decision,) = heard.decisions(heard.take(entered("dairy")))
    text = "\n".join(explanation(json.loads(decision.record), []))
    assert "rules " not in text
    assert "chosen   1. d0" in text
    assert why_not(json.loads(decision.record), "d4").outcome == "lower"


def test_who_asks_for_his_data_is_told_what_rules_looked_at() -> None:
    """Facts, how often he was told of something that day, and whose words it was."""
    told = held_decisions._under_rules(record_of()["rules"])
    assert told == {
        "looked_at": {"hour": 10, "weekday": 5, "zone": "dairy"},
        "campaigns": ["c1", "c2"],
    }
    again = held_decisions._under_rules(record_of(entered("dairy", 0))["rules"])
    assert again["told_that_day"] == 1
    assert held_decisions._under_rules({}) == {}
    instead = held_decisions._under_rules(control_record()["rules"])
    assert (instead["in_place_of"], "campaigns" in instead) == (["c1"], False)
