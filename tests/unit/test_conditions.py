"""Conditions: what is taken, what is refused and where, and what they say of a moment."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from typing import Any

import pytest

from edge_agent.decide.condition_syntax import BadCondition
from edge_agent.decide.conditions import checked
from edge_agent.domain.fact_names import FACT_NAMES, PYTHON_TYPES
from edge_agent.shell.conditions import Facts, compiled

FACTS: dict[str, Any] = {
    "moment": "zone_entered",
    "channel": "screen",
    "zone": "dairy",
    "hour": 17,
    "weekday": 5,
    "basket": ("1029743", "1095275"),
    "basket_departments": ["GROCERY"],
    "queue": 3,
    "identified": True,
    "segments": ["regular"],
    "fact": {"weather": "rain", "temp_c": 3.5, "holiday": True},
}


@pytest.mark.parametrize(
    "text",
    [
        'zone == "dairy" && hour >= 17',
        "zone == 'dairy' // the cold corner\n && hour in [17, 18]",
        "weekday in [5, 6] && !(hour < 9)",
        '"regular" in segments && size(basket) == 2 && basket.size() > 1',
        'fact.weather == "rain" && fact["temp_c"] < 4',
        "fact.holiday",
        'has(fact.weather) && "weather" in fact && !has(fact.snow)',
        'zone.startsWith("d") && zone.endsWith("y") && zone.contains("air")',
        r'zone.matches("^d.*\\w$") && zone.matches(r"^\w+$")',
        'hour > 12 ? zone == "dairy" : zone == "bakery"',
        "double(queue) * 1.5 > 4.0 && queue * 2 - 1 == 5 && hour % 2 == 1",
        "queue > 2.5 && -queue < 0",
        'string(hour) + ":00" == "17:00" && int("3") == queue',
        'basket[0] == "1029743"',
        "true",
    ],
)
def test_what_is_true_of_a_moment_holds(text: str) -> None:
    """Names, lists, HQ's facts, arithmetic and the functions that are offered."""
    assert compiled(text).holds(FACTS)
    assert not compiled(f"!({text})").holds(FACTS)


@pytest.mark.parametrize(
    ("text", "at", "what"),
    [
        ("hourr > 3", 0, "nothing is called hourr; did you mean hour?"),
        ("weather == 'rain'", 0, "nothing is called weather; if HQ sends it: fact.weather"),
        ('hour == "17"', 5, "an int never equals a text; write the number without quotes"),
        ("weekday == 7", 11, "weekday is never 7; it goes from 0 to 6"),
        ("hour in [22, 24]", 13, "hour is never 24; it goes from 0 to 23"),
        ("zone == 3", 5, "a text never equals an int; write the text in quotes"),
        ("hour = 3", 5, "= compares nothing; write =="),
        ('hour > 3 and zone == "a"', 9, "and is &&"),
        ("hour > 3 & identified", 9, "and is &&"),
        ("not identified", 0, "not is !"),
        ("channel == null", 11, "what is not known makes a condition false"),
        ("hour", 0, "must be true or false, but is an int; compare it"),
        ("size(basket)", 0, "must be true or false, but is an int"),
        ('basket.exists(x, x == "1")', 7, "comprehensions are refused: ask a list with in"),
        ("basket.all(x, true)", 7, "comprehensions are refused"),
        ("weekday in 5", 11, "in asks a list, not an int"),
        ("hour in basket", 0, "an int is never in a list of texts"),
        ('weekday in [5, "6"]', 15, "a list holds texts, or ints, or numbers, alike"),
        ("queue * 1.5 > 3.0", 6, "double(…) makes a number of an int"),
        ("fact.temp_c + 1.0 > 3.0", 12, "* must know what HQ's value is".replace("*", "+")),
        ("fact == fact", 5, "ask for one: fact.weather"),
        ("zone.x == 3", 5, "a text has no .x; only fact has parts"),
        ("now() > 3", 0, "there is no function now; there are double, has, int"),
        ("zone.upper() == zone", 5, "there is no function upper"),
        ('zone.matches("(")', 13, "no regular expression: unclosed group"),
        ("zone.matches(zone)", 13, "a regular expression is written out"),
        ("has(zone)", 0, "has asks for one of HQ's facts"),
        ("size(hour) > 1", 0, "an int has no size"),
        ("size(basket, 1) > 1", 0, "size takes 1 in its brackets, not 2"),
        ("hour > 3 ? 1 : true", 9, "one side of : is an int, the other a bool"),
        ("hour ? true : false", 0, "? asks for true or false, not an int"),
        ("-zone == zone", 0, "- of a text is nothing"),
        ("1 < 2 < 3", 6, "a bool is neither under nor over an int"),
        ("hour >", 6, "a name or value is expected here, but the condition ends"),
        ("(hour > 3", 9, ") is expected here, not the end"),
        ('zone == "a" zone', 12, "zone is not expected here"),
        ('zone == "a', 8, "this text has no end on its line"),
        ("{}", 0, "maps and messages are not offered"),
        ("1u == 1", 1, "u is not expected here"),
        ("[] == []", 0, "nothing is in an empty list"),
        ("hour > 99999999999999999999", 7, "no whole number of CEL is so large"),
        (r'zone == "\q"', 0, "CEL refuses it: "),
        ("", 0, "a name or value is expected here"),
        ("(" * 100 + "true" + ")" * 100, 51, "too deeply nested; make two rules of it"),
        ("!" * 100 + "true", 51, "too deeply nested"),
        (" || ".join(["identified"] * 60), 697, "too deeply nested"),
        ("x" * 3_000, 0, "longer than 2000 characters"),
    ],
)
def test_what_cannot_be_meant_is_refused_where_it_stands(text: str, at: int, what: str) -> None:
    """Each with the place in the text and what to do, before anything is asked of a moment."""
    with pytest.raises(BadCondition) as refused:
        compiled(text)
    assert what in refused.value.what
    assert refused.value.at == at


@pytest.mark.parametrize("name", sorted(FACT_NAMES.keys() - FACTS.keys()))
def test_what_is_not_known_makes_a_condition_false(name: str) -> None:
    """Whichever way it is asked: a rule never rests on what nobody knows."""
    asked = {"text": "== 'a'", "int": "> 3", "bool": "== true", "list of texts": "== ['a']"}
    text = f"{name} {asked[FACT_NAMES[name].type]}"
    assert not compiled(text).holds(FACTS)
    assert not compiled(f"!({text})").holds(FACTS)
    assert compiled(f"{text} || hour == 17").holds(FACTS)


def test_a_fact_of_hq_that_ran_out_makes_a_condition_false() -> None:
    """Weather that nobody sent is neither rain nor no rain; a default is written with has."""
    assert not compiled('fact.snow == "deep"').holds(FACTS)
    assert not compiled('fact.snow != "deep"').holds(FACTS)
    assert compiled('!has(fact.snow) || fact.snow == "deep"').holds(FACTS)


def test_what_runs_wrong_is_false() -> None:
    """A division by nothing or a value of another type than was thought ends no decision."""
    assert not compiled("queue / (hour - 17) == 1").holds(FACTS)
    assert not compiled("fact.weather").holds(FACTS)
    assert not compiled("fact.weather > 3").holds(FACTS)
    assert not compiled("int(fact.weather) > 3").holds(FACTS)
    assert not compiled("basket[9] == '1'").holds(FACTS)
    assert not compiled("9223372036854775807 + queue > 1").holds(FACTS)


def test_a_number_without_room_is_not_known() -> None:
    """What HQ may send and CEL cannot hold spoils that fact alone."""
    facts = {**FACTS, "fact": {"n": 10**400}}
    assert not compiled("fact.n > 1").holds(facts)
    assert compiled("hour == 17").holds(facts)


def test_a_fact_that_is_no_plain_value_is_told() -> None:
    """A set instead of a list is a fault of ours: it must not look like a quiet false."""
    with pytest.raises(TypeError, match="the fact segments is no plain value but a frozenset"):
        compiled('"a" in segments').holds({"segments": frozenset("a")})


def test_conditions_that_share_facts_never_answer_of_another_moment() -> None:
    """What CEL was told is kept for one mapping only, whoever asks in between."""
    facts = Facts()
    evening, dairy = compiled("hour > 16", facts), compiled("zone == 'dairy'", facts)
    early = {"hour": 9, "zone": "bakery"}
    for _ in range(3):
        assert evening.holds(FACTS)
        assert dairy.holds(FACTS)
        assert not evening.holds(early)
        assert not dairy.holds(early)
        assert not evening.holds({})


def test_a_condition_says_what_it_asks_of() -> None:
    """Only these facts can change it, so only these need to be written down."""
    assert compiled('zone == "a" && fact.x == 1').names == {"zone", "fact"}
    assert [
        (each.name, each.text) for each in checked('"a" in segments || zone in ["b"]').compared
    ] == [("segments", "a"), ("zone", "b")]


def test_conditions_are_values() -> None:
    """Rules are compared, copied and sent to other processes."""
    one = compiled("hour > 3")
    assert one == compiled("hour > 3")
    assert one != compiled("hour > 4")
    assert one == copy.deepcopy(one) == pickle.loads(pickle.dumps(one))  # noqa: S301 - our own
    assert hash(one) == hash(compiled("hour > 3"))


def test_every_name_has_a_type_that_can_be_checked() -> None:
    """The table of names is what facts are made by and conditions are checked against."""
    assert {each.type for each in FACT_NAMES.values()} <= PYTHON_TYPES.keys()
    assert all(isinstance(value, PYTHON_TYPES[FACT_NAMES[n].type]) for n, value in FACTS.items())


def test_the_library_comes_with_the_first_condition_and_without_its_prompt() -> None:
    """A store without conditions pays nothing; one with them no command line it never uses."""
    program = (
        "import sys\n"
        "from edge_agent.shell.conditions import compiled\n"
        "assert not any(each.startswith('cel') for each in sys.modules)\n"
        "assert compiled('hour > 3').holds({'hour': 4})\n"
        "assert 'cel.cel' in sys.modules and 'prompt_toolkit' not in sys.modules\n"
        "import cel\n"
        "assert cel.evaluate('1 + 1') == 2\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
