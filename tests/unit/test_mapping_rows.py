"""Rows that no rule takes are told; those that a rule knows and does not want are silent."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edge_agent.ingest.device_mapping import DeviceMapping, reading_of, refusal_of
from edge_agent.ingest.mapping import CompiledMapping, Lookups, Mapped, interpret, read_mapping
from edge_agent.ingest.passed_over import SHOWN_MAX

NOW = 1_772_445_600_000

HEAD = """schema_version = 1
vendor = "acme"
device = "ACME"
tier = "listed"
documentation = "https://example.com"
topics = ["a/#"]
"""
IN = """
[[rules]]
name = "in"
when = "events != null"
each = { path = "events", as = "event", where = "type == 'IN'" }
event = "people.counted"
data = { entries = "n" }
"""
OUT = IN.replace('"in"', '"out"').replace("'IN'", "'OUT'").replace("entries", "exits")
TICKS = """
[[rules]]
name = "ticks"
when = "events != null"
each = { path = "events", as = "event", where = "type == 'TICK'" }
ignore = "the sensor lives"
"""
ALL = 'mode = "all"\n'


def compiled(rules: str, head: str = HEAD) -> CompiledMapping:
    """A mapping with these rules."""
    made = read_mapping(head + rules)
    assert isinstance(made, CompiledMapping), made
    return made


def run(rules: str, payload: Any, head: str = HEAD) -> Mapped:
    """Maps one message."""
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return interpret(compiled(rules, head), "a/b", body, received_at_ms=NOW)


def told(mapped: Mapped) -> list[tuple[str, str | None]]:
    """What was refused, and where."""
    return [(each.reason, each.place) for each in mapped.refusals]


def batch(*kinds: str) -> dict[str, Any]:
    """A message with a row of each kind."""
    return {"events": [{"type": kind, "n": 1} for kind in kinds]}


def test_row_of_a_kind_that_no_rule_takes_is_refused_alone() -> None:
    """The good neighbours are served, and the place of the unknown one is told."""
    mapped = run(IN, batch("IN", "FALL", "IN"))
    assert len(mapped.events) == 2
    assert told(mapped) == [("no_rule", "event 2")]


def test_row_that_another_rule_takes_is_known() -> None:
    """With `mode = "all"` every rule has its rows of a message; none is told twice."""
    mapped = run(IN + OUT, batch("IN", "OUT", "FALL"), HEAD + ALL)
    assert len(mapped.events) == 2
    assert told(mapped) == [("no_rule", "event 3")]


def test_go_on_lets_another_rule_take_the_rest() -> None:
    """In a file of first matches `go_on` does the same for one rule."""
    rule = IN.replace("event =", "go_on = true\nevent =")
    assert told(run(rule + OUT, batch("OUT"))) == []
    made = read_mapping(HEAD + IN + OUT)
    assert isinstance(made, tuple)
    assert "go_on = true" in made[0]


def test_ignored_rows_are_known_and_the_message_says_so_once() -> None:
    """A rule that ignores may be about rows, and leaves the others alone."""
    mapped = run(IN + TICKS, batch("TICK", "IN", "TICK", "FALL"), HEAD + ALL)
    assert mapped.ignored == ("the sensor lives",)
    assert len(mapped.events) == 1
    assert told(mapped) == [("no_rule", "event 4")]


def test_rejected_rows_are_refused_one_by_one() -> None:
    """A rule that rejects may be about rows too."""
    rules = IN + TICKS.replace("ignore", "reject")
    assert told(run(rules, batch("TICK", "IN"), HEAD + ALL)) == [("rejected", "event 1")]


def test_row_that_a_rule_filters_is_known() -> None:
    """What a rule takes and then leaves out by its own `where` is silent."""
    rule = IN.replace(", where = \"type == 'IN'\"", "").replace(
        "event =", "where = \"type == 'IN'\"\nevent ="
    )
    mapped = run(rule, batch("IN", "OUT"))
    assert (len(mapped.events), told(mapped)) == (1, [])
    assert mapped.counts["filtered"] == 1


def test_condition_at_the_end_of_a_path_counts_as_where() -> None:
    """A filter inside the expression hides no row either."""
    rule = IN.replace(
        'path = "events", as = "event", where = "type == \'IN\'"',
        'path = "events[?type == \'IN\']", as = "event"',
    )
    mapped = run(rule, batch("FALL", "IN"))
    assert (len(mapped.events), told(mapped)) == (1, [("no_rule", "event 1")])


def test_bad_row_is_told_once() -> None:
    """A row whose condition cannot be evaluated is invalid, not unknown as well."""
    rule = IN.replace("type == 'IN'", "starts_with(type, 'IN')")
    payload = {"events": [{"type": 5, "n": 1}, {"type": "IN", "n": 1}]}
    assert told(run(rule, payload)) == [("invalid", "event 1")]


def test_empty_batch_is_quiet() -> None:
    """A sensor that has nothing to tell says so with an empty array."""
    mapped = run(IN, {"events": []})
    assert (mapped.events, told(mapped)) == ((), [])


NESTED = """
[[rules]]
name = "nested"
when = "gate"
each = [{ path = "frames", as = "frame" }, { path = "events", as = "event" }]
event = "people.counted"
data = { entries = "n" }
"""


@pytest.mark.parametrize(
    ("frames", "place"),
    [
        ("x", "frame"),
        (5, "frame"),
        (["x"], "frame 1.event"),
        ([{"events": 5}], "frame 1.event"),
        ([{"events": "x"}], "frame 1.event"),
        ([{"events": True}], "frame 1.event"),
    ],
)
def test_place_of_rows_that_holds_something_else_is_refused(frames: Any, place: str) -> None:
    """A text or a number where rows should stand is told with its place, its neighbours pass."""
    mapped = run(NESTED, {"gate": 1, "frames": frames})
    assert (mapped.events, told(mapped)) == ((), [("invalid", place)])
    if isinstance(frames, list):
        good = {"events": [{"n": 1}]}
        mapped = run(NESTED, {"gate": 1, "frames": [*frames, good]})
        assert (len(mapped.events), told(mapped)) == (1, [("invalid", place)])


def test_place_of_rows_that_several_rules_look_at_is_told_once() -> None:
    """Two rules that find the same wrong place refuse it as one."""
    rules = NESTED + NESTED.replace('"nested"', '"other"').replace("entries", "exits")
    assert told(run(rules, {"gate": 1, "frames": "x"}, HEAD + ALL)) == [("invalid", "frame")]


@pytest.mark.parametrize("frame", [{}, {"events": None}, {"events": []}])
def test_nested_rows_that_are_not_there_are_quiet(frame: dict[str, Any]) -> None:
    """Makers leave out an empty array."""
    mapped = run(NESTED, {"gate": 1, "frames": [frame, {"events": [{"n": 1}]}]})
    assert (len(mapped.events), told(mapped)) == (1, [])


@pytest.mark.parametrize("how", ["keys = true", 'fields = "line_{n}_{field}"'])
@pytest.mark.parametrize("found", ["x", 5, [1]])
def test_object_of_rows_that_is_none_is_refused(how: str, found: Any) -> None:
    """Rows that are an object's fields are refused where something else stands; `[]` is empty."""
    rule = NESTED.replace('{ path = "frames", as = "frame" }, ', "").replace(
        '"events", as', f'"frames", {how}, as'
    )
    assert told(run(rule, {"gate": 1, "frames": found})) == [("invalid", "event")]
    assert told(run(rule, {"gate": 1, "frames": []})) == []


@pytest.mark.parametrize("lines", ["x", 5])
def test_receipt_whose_lines_are_no_array_is_refused(lines: Any) -> None:
    """Lines that cannot be read are no empty receipt."""
    rule = """
[[rules]]
name = "sale"
when = "total"
let.lines.rows.path = "lines"
let.lines.rows.where = "sku"
let.lines.rows.fields = { product = "sku", amount = "price" }
where = "$lines"
event = "sale.completed"
data = { basket = "b", currency = "c", total = "total", lines = "$lines" }
"""
    payload = {"b": "1", "c": "EUR", "total": 2, "lines": lines}
    assert told(run(rule, payload)) == [("invalid", None)]


def test_message_in_which_no_rule_finds_its_rows_is_refused() -> None:
    """Matched by its name alone, and the rows are somewhere else since the last firmware."""
    rule = IN.replace('when = "events != null"\n', "")
    assert told(run(rule, {"records": [{"type": "IN", "n": 1}]})) == [("no_rule", None)]


def test_rows_without_a_name_of_their_own_are_told_apart() -> None:
    """Texts by their place in the array, values of an object by their keys."""
    rule = IN.replace("type == 'IN'", "@ == 'a'").replace('data = { entries = "n" }', "")
    assert told(run(rule, {"events": ["a", "b", "a"]})) == [("no_rule", "event 2")]
    keyed = rule.replace('as = "event"', 'as = "event", keys = true').replace(
        "@ == 'a'", "$key == 'x'"
    )
    assert told(run(keyed, {"events": {"x": 1, "y": 1}})) == [("no_rule", "event 2")]


def test_rows_that_rules_make_anew_are_the_same_by_what_they_hold() -> None:
    """Numbered fields become objects that no other rule can hold."""
    rule = IN.replace('"events"', '"@"').replace(
        'as = "event"', 'fields = "{type}_{n}", as = "event"'
    )
    rule = rule.replace('when = "events != null"\n', "").replace(
        'entries = "n"', 'entries = "value"'
    )
    out = rule.replace('"in"', '"out"').replace("'IN'", "'OUT'")
    payload = {"IN_1": 1, "OUT_1": 2, "FALL_1": 3}
    mapped = run(rule + out, payload, HEAD + ALL)
    assert (len(mapped.events), told(mapped)) == (2, [("no_rule", "event 3")])


def test_rows_of_xml_are_told_apart() -> None:
    """Elements are the same for every rule that looks at them."""
    rules = (IN + OUT).replace('when = "events != null"', 'when = "event"')
    rules = (
        rules.replace('"events"', '"event"').replace("type ==", "@type =").replace('"n"', '"@n"')
    )
    body = b'<x><event type="IN" n="1"/><event type="OUT" n="2"/><event type="FALL" n="3"/></x>'
    mapped = run(rules, body, HEAD + ALL + 'format = "xml"\n')
    assert (len(mapped.events), told(mapped)) == (2, [("no_rule", "event 3")])


def test_many_unknown_rows_are_counted_rather_than_listed() -> None:
    """A flood of one kind makes a short dead letter."""
    mapped = run(IN, batch(*["FALL"] * (SHOWN_MAX + 7)))
    assert len(mapped.refusals) == SHOWN_MAX + 1
    assert mapped.refusals[-1].detail == "no rule knows 7 more rows"


@pytest.mark.parametrize("kinds", [("IN", "FALL"), ("FALL",)])
def test_message_with_an_unknown_row_is_known_to_its_mapping(kinds: tuple[str, ...]) -> None:
    """Another mapping that hears the topic and knows nothing of it does not hide the row."""
    texts = (IN, IN.replace("events", "people"))
    mappings = [
        DeviceMapping(name=name, text="", compiled=compiled(text), lookups=Lookups())
        for name, text in zip(("one", "two"), texts, strict=True)
    ]
    body = json.dumps(batch(*kinds)).encode()
    readings = [reading_of(each, "a/b", body, state={}, received_at_ms=NOW) for each in mappings]
    refusal = refusal_of(readings)
    assert refusal is not None
    assert (refusal.reason, refusal.detail) == (
        "no_rule",
        f"one, event {len(kinds)}: no rule knows this row",
    )


AROUND = """
[[rules]]
name = "{name}"
each = {{ path = "ids", changes = true, key = "door", as = "seen" }}
where = "$seen.change == 'entered'"
event = "zone.entered"
id = ["$seen.value"]
[rules.data]
zone = {{ const = "{name}" }}
visitor = {{ kind = {{ const = "ble" }}, value = "$seen.value" }}
"""


def test_sets_of_two_rules_with_one_key_are_apart_and_survive_a_new_order() -> None:
    """What is remembered is filed under the rule's name, wherever the rule stands in its file."""
    one, two = AROUND.format(name="one"), AROUND.format(name="two")
    body = b'{"ids": ["AC:23:3F:00:00:01"]}'
    first = interpret(compiled(one + two, HEAD + ALL), "a/b", body, received_at_ms=NOW)
    assert len(first.events) == 2
    assert len(first.changes) == 2
    turned = compiled(two + one, HEAD + ALL)
    again = interpret(turned, "a/b", body, state=first.changes, received_at_ms=NOW + 1)
    assert again.events == ()
    renamed = compiled(AROUND.format(name="three"))
    anew = interpret(renamed, "a/b", body, state=first.changes, received_at_ms=NOW + 1)
    assert (len(anew.events), anew.counts["set begun"]) == (1, 1)


@pytest.mark.parametrize(("tags", "n"), [(["a", "b"], 2), ("a", 1), (None, 0)])
def test_single_text_may_stand_for_an_array(tags: Any, n: int) -> None:
    """A maker who writes one as a text and several as an array is said with `[tags][]`."""
    rule = """
[[rules]]
name = "tags"
when = "gate"
each = "[tags][]"
event = "item.scanned"
data = { product = "@" }
"""
    mapped = run(rule, {"gate": 1, "tags": tags})
    assert (len(mapped.events), told(mapped)) == (n, [])


@pytest.mark.parametrize("odd", ["x", 5, None, True, ["IN"]])
@pytest.mark.parametrize("where", ["", "where = \"type == 'IN'\"\n"])
def test_row_that_is_no_object_is_refused_alone(odd: Any, where: str) -> None:
    """On a text every field is null: read as a row it would pass without a word."""
    rule = f"""
[[rules]]
name = "in"
when = "events"
each = {{ path = "events", as = "event" }}
{where}event = "people.counted"
data = {{ entries = "n" }}
"""
    mapped = run(rule, {"events": [{"type": "IN", "n": 1}, odd, {"type": "IN", "n": 2}]})
    assert (len(mapped.events), told(mapped)) == (2, [("invalid", "event 2")])


def test_row_that_is_no_object_is_told_once_by_several_rules() -> None:
    """Rules that share out the rows of a message all pass it over."""
    rules = (IN + OUT).replace("type == 'IN'", "type != 'OUT'").replace("== 'OUT'", "!= 'IN'")
    assert told(run(rules, {"events": ["x"]}, HEAD + ALL)) == [("invalid", "event 1")]


@pytest.mark.parametrize("product", ["@", "$tag", "split(':', @) | [1]", "upper($tag)"])
def test_rows_that_are_texts_are_rows_of_a_rule_that_reads_them_whole(product: str) -> None:
    """An array of codes, or of codes and objects that hold one."""
    rule = f"""
[[rules]]
name = "tags"
each = {{ path = "tags", as = "tag" }}
event = "item.scanned"
data.product = {{ first = ["sku", "{product}"], as = "text" }}
"""
    mapped = run(rule, {"tags": ["a:1", {"sku": "b"}]})
    assert (len(mapped.events), told(mapped)) == (2, [])


def test_rows_that_are_arrays_are_rows_of_a_rule_that_reads_them_by_place() -> None:
    """Two arrays side by side, zipped."""
    rule = IN.replace('"events", as', '"zip(doors, events)", as').replace(
        ", where = \"type == 'IN'\"", ""
    )
    mapped = run(rule.replace('"n"', '"[1]"'), {"events": [1, 2], "doors": ["a", "b"]})
    assert (len(mapped.events), told(mapped)) == (2, [])


@pytest.mark.parametrize("odd", ["x", 5, None])
def test_line_of_a_receipt_that_is_no_object_is_refused_alone(odd: Any) -> None:
    """Whatever the lines' `where` would have said of it."""
    rule = """
[[rules]]
name = "sale"
when = "total"
let.lines.rows.path = "lines"
let.lines.rows.where = "sku"
let.lines.rows.fields = { product = "sku", quantity = { const = 1 }, amount = "price" }
event = "sale.completed"
data = { basket = "b", currency = "c", total = "total", lines = "$lines" }
"""
    payload = {"b": "1", "c": "EUR", "total": 2, "lines": [{"sku": "a", "price": 2}, odd]}
    mapped = run(rule, payload)
    assert (len(mapped.events), told(mapped)) == (1, [("invalid", "line 2")])
