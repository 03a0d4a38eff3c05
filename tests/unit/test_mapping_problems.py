"""Mistakes in mapping files: each is told with its line, its key, and what to write instead."""

from __future__ import annotations

import pytest

from edge_agent.ingest.mapping import CompiledMapping, read_mapping

GOOD = """schema_version = 1
vendor = "acme"
device = "ACME"
tier = "listed"
documentation = "https://example.com"
topics = ["a/#"]

[tables.zones]

[[rules]]
name = "level"
topic = "a/{id}"
event = "zone.occupancy"
time = { path = "ts", unit = "s" }
[rules.data]
zone = { path = "zone", lookup = "zones" }
count = "n"
"""
COUNT = 'count = "n"\n'
ZONE = 'zone = { path = "zone", lookup = "zones" }'
EVENT = "event ="


def problems(text: str) -> tuple[str, ...]:
    """What the check says of a file."""
    made = read_mapping(text)
    return () if isinstance(made, CompiledMapping) else made


def test_file_without_a_mistake_has_no_problem() -> None:
    """What the mistakes below are made in is good."""
    assert problems(GOOD) == ()


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("topic =", "topics =", 12, "topics: unknown word; did you mean topic?"),
        ("lookup =", "look_up =", 16, "look_up: unknown word; did you mean lookup?"),
        (COUNT, 'count = { path = "n", multiply = 2 }\n', 17, "unknown word; there are path"),
        ('"a/{id}"', "7", 12, "topic: needs a text, in quotes"),
        (COUNT, 'count = { path = "n", scale = "x" }\n', 17, "scale: needs a number"),
        (COUNT, 'count = { path = "n", absolute = "yes" }\n', 17, "needs true or false"),
        (COUNT, 'count = { path = "n", delta = 1 }\n', 17, "delta: needs a table"),
        ('unit = "s"', 'unit = "sec"', 14, "unit: must be 's', 'ms'"),
        ('unit = "s"', 'zone = "Helsinki"', 14, "write Europe/Helsinki, or UTC+2:00"),
        ('"acme"', '"ACME"', 2, "vendor: takes letters"),
        ('vendor = "acme"\n', "", 1, "vendor: is missing: add it"),
        ("schema_version = 1", "schema_version = 2", 1, "must be 1"),
        (COUNT, 'count = "n\n', 17, "not TOML: Illegal character '\\n': is a quote missing"),
        (COUNT, COUNT + COUNT, 18, "a key there twice"),
        ("zone.occupancy", "zone.ocupancy", 13, "did you mean zone.occupancy?"),
        ("zone.occupancy", "x", 13, "no canonical event type; there are visit.started"),
        (COUNT, 'persons = "n"\n', 17, "no such field; there are zone, count"),
        (COUNT, COUNT + 'when = "x"\n', 18, "stands above its tables"),
        (COUNT, 'count = { const = "many" }\n', 17, "a constant of the wrong kind"),
        (COUNT, 'count = { as = "integer" }\n', 17, "give exactly one of path"),
        (COUNT, 'count = "n[?x = 1]"\n', 17, "unexpected = at column 6; == compares"),
        (COUNT, 'count = "n["\n', 17, "ends too early"),
        (COUNT, 'count = "len(n)"\n', 17, "no function len(); there are abs"),
        (COUNT, 'count = "length(n, m)"\n', 17, "length() takes 1 values, not 2"),
        (COUNT, 'count = "$total"\n', 17, "known are $key, $message"),
        (EVENT, 'when = "n > 0"\nevent =', 13, "at column 5; a number stands in backticks"),
        (EVENT, 'when = "n and m"\nevent =', 13, "&& is and"),
        (EVENT, 'when = "!a.b || n"\nevent =', 13, "write !(a.b), or a not in front"),
        (EVENT, 'when = "!a[?b]"\nevent =', 13, "! is of the first name alone"),
        (EVENT, 'when = "test == true"\nevent =', 13, "stands in backticks, `true`"),
        (EVENT, "when = 'kind == \"in\"'\nevent =", 13, "a text stands in single quotes, 'in'"),
        (EVENT, 'let = { topic = "x" }\nevent =', 13, "$topic is something else already"),
        (EVENT, 'reject = "x"\nevent =', 10, "exactly one of event, ignore, reject, remember"),
        ("[tables.zones]\n", "", 15, "no table zones: add [tables.zones]"),
        (ZONE, 'zone = { text = "{a}-{b" }', 16, "a brace without its partner"),
        (ZONE, 'zone = "customer.email"', 16, "email is personal and never passes"),
        ('["a/#"]', '["a/#/b"]', 6, "# stands last"),
        ('["a/#"]', '["b/#"]', 12, "no filter of the file's topics brings it"),
    ],
)  # fmt: skip
def test_mistake_is_told_with_line_key_and_cure(old: str, new: str, line: int, words: str) -> None:
    """A technician reads where it is and what to write, and needs nobody else."""
    told = problems(GOOD.replace(old, new, 1))
    assert any(each.startswith(f"line {line}: ") and words in each for each in told), told


@pytest.mark.parametrize("path", ["A/B[", "nope(A)", "$n", "x:A"])
def test_bad_xpath_is_told_with_its_line(path: str) -> None:
    """The paths of XML are checked as those of JSON are."""
    text = GOOD.replace("topics", 'format = "xml"\ntopics', 1).replace('"n"', f'"{path}"')
    assert [each for each in problems(text) if each.startswith("line 18: ")]


FIRST = '[[rules]]\nname = "first"\n'


def test_problems_are_told_by_their_lines() -> None:
    """Whoever mends a file goes through it once, from its top."""
    text = GOOD.replace(ZONE, ZONE.replace('"zones"', '"zone"')).replace(COUNT, "cuont = 'a ='\n")
    text += GOOD[GOOD.index("[[rules]]") :].replace(COUNT, "count = 'b ='\n")
    said = problems(text)
    lines = [int(each.split()[1].rstrip(":")) for each in said]
    assert len(lines) > 2
    assert lines == sorted(lines)


@pytest.mark.parametrize(
    ("first", "is_taken"),
    [
        ('ignore = "all"\n', True),
        ('topic = "a/+"\nignore = "the same topics"\n', True),
        ('topic = "#"\nignore = "more topics"\n', True),
        ('topic = "a/x{n}"\nignore = "fewer topics"\n', False),
        ('topic = "b/+"\nignore = "other topics"\n', False),
        ('when = "x"\nignore = "some"\n', False),
        ('event = "zone.left"\ndata = { zone = "z", visitor = "v" }\n', True),
        ('format = "text"\nevent = "zone.left"\ndata = { zone = "@", visitor = "@" }\n', False),
    ],
)
def test_rule_that_is_never_reached_is_a_problem(first: str, *, is_taken: bool) -> None:
    """A rule behind one that takes everything would count nothing, unsaid."""
    rule = FIRST + first
    told = problems(
        GOOD.replace('["a/#"]', '["a/#", "b/#"]').replace("[[rules]]", f"{rule}[[rules]]")
    )
    line = GOOD.split("[[rules]]", maxsplit=1)[0].count("\n") + rule.count("\n") + 2
    expected = f'line {line}: rules[2].name: is never reached: rule 1 "first" takes'
    assert any(each.startswith(expected) for each in told) is is_taken, told


def test_no_rule_is_out_of_reach_where_all_are_run() -> None:
    """With `mode = "all"` or `go_on` a rule takes nothing from the next."""
    rule = FIRST + 'ignore = "all"\n'
    every = GOOD.replace("topics", 'mode = "all"\ntopics', 1)
    assert problems(every.replace("[[rules]]", f"{rule}[[rules]]")) == ()
    assert problems(GOOD.replace("[[rules]]", f"{rule}go_on = true\n[[rules]]")) == ()


def test_rule_for_what_cannot_be_read_is_reached() -> None:
    """A last rule that need not read the payload takes what is no JSON."""
    last = '[[rules]]\nname = "last"\nignore = "no JSON"\n'
    assert problems(GOOD.replace('topic = "a/{id}"\n', "") + last) == ()
