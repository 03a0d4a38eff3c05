"""Mapping files: what they can say, and what the check finds wrong, with its line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from edge_agent.cli import command_line
from edge_agent.cli.check import problems_of
from edge_agent.cli.map import check_mapping, line_of
from edge_agent.ingest.mapping import (
    CompiledMapping,
    Entry,
    Lookups,
    Mapped,
    applied,
    interpret,
    read_mapping,
)

HEAD = """schema_version = 1
vendor = "acme"
device = "ACME"
tier = "listed"
documentation = "https://example.com"
topics = ["a/#"]
"""
NOW = 1_772_445_600_000


def compiled(rules: str, head: str = HEAD) -> CompiledMapping:
    """A mapping with these rules."""
    made = read_mapping(head + rules)
    assert isinstance(made, CompiledMapping), made
    return made


def run(
    rules: str,
    payload: Any,
    *,
    topic: str = "a/b",
    state: dict[str, Entry] | None = None,
    lookups: Lookups | None = None,
    head: str = HEAD,
) -> Mapped:
    """Maps one message."""
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return interpret(
        compiled(rules, head),
        topic,
        body,
        state=state or {},
        received_at_ms=NOW,
        lookups=lookups or Lookups(),
    )


def data(mapped: Mapped) -> list[dict[str, Any]]:
    """The events' data."""
    return [json.loads(line_of(each))["data"] for each in mapped.events]


LEVEL = """
[[rules]]
name = "level"
event = "zone.occupancy"
[rules.data]
zone = "'z'"
"""


@pytest.mark.parametrize(
    ("value", "payload", "count"),
    [
        ('"n"', {"n": "7"}, 7),
        ('{ path = "n", minus = "m" }', {"n": 9, "m": 2}, 7),
        ('{ sum = ["n", "m[]"] }', {"n": 1, "m": [2, 4]}, 7),
        ('{ product = ["n", "m"], scale = 0.5 }', {"n": 7, "m": 2}, 7),
        ('{ first = ["x", "n"] }', {"x": "", "n": 7}, 7),
        ('{ path = "n", pattern = "n=([0-9]+)" }', {"n": "a n=7 b"}, 7),
        ('{ path = "n", map = { many = 7 }, default = 1 }', {"n": "many"}, 7),
        ('{ path = "n", unpack = "base64", bytes = { at = 1, size = 2 } }', {"n": "AQAHAA=="}, 7),
        ('{ path = "n", unpack = ["hex", "json"], select = "deep.n" }',
         {"n": b'{"deep":{"n":7}}'.hex()}, 7),
        ('{ path = "n", from = "cent", to = "unit" }', {"n": 700}, 7),
        ('{ path = "n", absolute = true }', {"n": -7}, 7),
        ('{ path = "n", max = 7.0 }', {"n": 70}, 7),
        ('{ path = "n", when = "m", default = 7 }', {"n": 1}, 7),
        ('{ setting = "n", default = 7 }', {}, 7),
    ],
)  # fmt: skip
def test_value_is_made(value: str, payload: Any, count: int) -> None:
    """Sources and steps, one at a time."""
    assert data(run(f"{LEVEL}count = {value}\n", payload)) == [{"zone": "z", "count": count}]


def test_message_that_no_rule_knows_is_refused() -> None:
    """Nothing is dropped unsaid."""
    mapped = run(LEVEL.replace("name", 'when = "n"\nname') + 'count = "n"\n', {"x": 1})
    assert [each.reason for each in mapped.refusals] == ["no_rule"]


def test_setting_that_the_store_owes_is_named() -> None:
    """A sale without a currency would count as none; the refusal says what to give."""
    rules = LEVEL + 'count = { setting = "seats", required = true }\n'
    (refusal,) = run(rules, {}).refusals
    assert refusal.detail == "data.count: no value: give the store's seats in [settings]"
    lookups = Lookups(settings={"seats": 4})
    assert data(run(rules, {}, lookups=lookups)) == [{"zone": "z", "count": 4}]


def test_rule_may_reject_with_its_reason() -> None:
    """A rejected message is a refusal with the file's own words."""
    mapped = run('\n[[rules]]\nname = "r"\nreject = "firmware too old"\n', {})
    assert [(each.reason, each.detail) for each in mapped.refusals] == [
        ("rejected", "firmware too old")
    ]


ROWS = """
[[rules]]
name = "rows"
device = "{id}"
each = { path = "rows", as = "row" }
event = "people.counted"
[rules.data]
zone = "id"
entries = { path = "n", delta = {} }
"""


def test_bad_row_spoils_neither_neighbours_nor_memory() -> None:
    """A refused row is told with its place, and its state is as it was."""
    good = run(ROWS, {"rows": [{"id": "a", "n": 1}, {"id": "b", "n": 1}]})
    state = applied({}, good)
    bad = {"rows": [{"id": "a", "n": "x"}, {"id": "b", "n": 3}, 5]}
    mapped = run(ROWS, bad, state=state)
    assert data(mapped) == [{"zone": "b", "entries": 2, "exits": 0}]
    assert [each.place for each in mapped.refusals] == ["row 1", "row 3"]
    again = run(ROWS, {"rows": [{"id": "a", "n": 4}]}, state=applied(state, mapped))
    assert data(again) == [{"zone": "a", "entries": 3, "exits": 0}]


def test_state_of_one_device_is_not_anothers() -> None:
    """Totals are kept per device."""
    state = applied({}, run(ROWS, {"rows": [{"id": "a", "n": 1}]}))
    assert data(run(ROWS, {"rows": [{"id": "b", "n": 9}]}, state=state)) == []


def test_a_device_that_tells_nothing_new_is_named() -> None:
    """A counter at night sends the same total again and again, and has not fallen silent."""
    rows = {"rows": [{"id": "a", "n": 1}, {"id": "b", "n": 1}]}
    first = run(ROWS, rows)
    assert first.unchanged == ("acme-a", "acme-b")
    rows["rows"][1]["n"] = 2
    second = run(ROWS, rows, state=applied({}, first))
    assert [each.source for each in second.events] == ["acme-b"]
    assert second.unchanged == ("acme-a",)


def test_store_tables_go_before_the_files() -> None:
    """A store's own rows override those that come with the mapping."""
    head = HEAD + '[tables.zones]\nq = "file"\nr = "file"\n'
    rules = LEVEL.replace("\"'z'\"", '{ path = "z", lookup = "zones" }') + 'count = "`1`"\n'
    lookups = Lookups(tables={"zones": {"q": "store"}})
    zones = [data(run(rules, {"z": z}, head=head, lookups=lookups))[0]["zone"] for z in "qrs"]
    assert zones == ["store", "file", "s"]


def test_numbered_fields_and_object_keys_become_rows() -> None:
    """Tables that are spread over names are read as rows."""
    numbered = LEVEL.replace("\"'z'\"", '"n"').replace(
        "event", 'each = { path = "@", fields = "zone_{n}_{field}" }\nevent'
    )
    assert data(run(numbered + 'count = "now"\n', {"zone_1_now": 3, "zone_2_now": 4, "x": 1})) == [
        {"zone": "1", "count": 3},
        {"zone": "2", "count": 4},
    ]
    keyed = LEVEL.replace("\"'z'\"", '"$key"').replace(
        "event", 'each = { path = "zones", keys = true }\nevent'
    )
    assert data(run(keyed + 'count = "@"\n', {"zones": {"a": 1, "b": 2}})) == [
        {"zone": "a", "count": 1},
        {"zone": "b", "count": 2},
    ]


def test_set_is_compared_with_the_message_before() -> None:
    """Zones listed as a whole give who entered and who left."""
    rules = """
[[rules]]
name = "zones"
each = { path = "zones", changes = true, key = "{id}", as = "zone" }
where = "$zone.change == 'left'"
event = "zone.left"
[rules.data]
zone = "value"
visitor = { kind = { const = "track" }, value = "$message.id" }
"""
    first = run(rules, {"id": 5, "zones": ["a", "b"]})
    mapped = run(rules, {"id": 5, "zones": ["b"]}, state=applied({}, first))
    assert [each["zone"] for each in data(mapped)] == ["a"]


def test_document_inside_text_becomes_the_message() -> None:
    """JSON in base64 in JSON, with the envelope still at hand."""
    rules = """
[[rules]]
name = "inner"
unpack = { path = "body", format = ["base64", "json"] }
event = "zone.occupancy"
[rules.data]
zone = "$outer.place"
count = "n"
"""
    assert data(run(rules, {"place": "z", "body": "eyJuIjogM30="})) == [{"zone": "z", "count": 3}]


def test_dwell_is_paired_from_two_messages() -> None:
    """A begin and an end give the seconds between them."""
    rules = """
[[rules]]
name = "dwell"
device = "{id}"
time = { path = "t", unit = "s" }
event = "zone.dwell"
[rules.data]
zone = "'z'"
visitor = { kind = { const = "track" }, value = "id" }
dwell_s.since = { key = "{id}", begin = "e == 'in'", end = "e == 'out'" }
"""
    begun = run(rules, {"id": "7", "e": "in", "t": 1_772_445_000})
    ended = run(rules, {"id": "7", "e": "out", "t": 1_772_445_042}, state=applied({}, begun))
    assert (data(begun), data(ended)[0]["dwell_s"]) == ([], 42.0)


def test_email_does_not_pass_as_a_name() -> None:
    """What looks like an address of a person is refused, and not quoted."""
    mapped = run(LEVEL.replace("\"'z'\"", '"who"') + 'count = "`1`"\n', {"who": "jo@example.com"})
    assert [each.reason for each in mapped.refusals] == ["personal"]
    assert "jo@" not in str(mapped.refusals)


def test_equal_message_is_the_same_event_only_with_its_own_time() -> None:
    """A button pressed twice is two events; a reading sent again is one."""
    untimed = compiled(LEVEL + 'count = "n"\n')
    timed = compiled(
        LEVEL.replace("event", 'time = { path = "t", unit = "s" }\nevent') + 'count = "n"\n'
    )
    body = b'{"n": 1, "t": 1772445000}'
    ids = [
        [interpret(each, "a/b", body, received_at_ms=NOW + later).events[0].id for later in (0, 9)]
        for each in (untimed, timed)
    ]
    assert ids[0][0] != ids[0][1]
    assert ids[1][0] == ids[1][1]


@pytest.mark.parametrize(
    ("rules", "line", "words"),
    [
        ("[[rules]\n", 7, "not TOML"),
        (LEVEL + 'count = "a["\n', 13, "count"),
        (LEVEL + 'count = { path = "n", chnge = {} }\n', 13, "chnge: unknown word"),
        (LEVEL + 'count = "n"\nnumber = "n"\n', 14, "no such field"),
        (LEVEL, 11, "count is missing"),
        (LEVEL + 'count = "$zone"\n', 13, "not known here"),
        (LEVEL + 'count = "nope(n)"\n', 13, "no function nope"),
        (LEVEL + 'count = { path = "n", lookup = "x" }\n', 13, "no table x"),
        (LEVEL + 'count = { path = "n", decode = "x" }\n', 13, "no such decoder"),
        (LEVEL + 'count = { path = "n", pattern = "(a+)+" }\n', 13, "never end"),
        (LEVEL + 'count = { path = "n", pattern = "(" }\n', 13, "not a pattern"),
        (LEVEL + 'count = "customer.email"\n', 13, "personal"),
        (LEVEL + 'count = "$topic.x"\n', 13, "no capture"),
        (LEVEL.replace("zone.occ", "zone.oc") + 'count = "n"\n', 10, "no canonical event"),
        (LEVEL.replace("event", 'topic = "a/{b"\nevent') + 'count = "n"\n', 10, "capture"),
        (LEVEL.replace("event", 'time = { path = "t", zone = "Mars" }\nevent') + 'count = "n"\n',
         10, "time zone"),
        (LEVEL + 'count = { path = "n", const = 1 }\n', 13, "exactly one"),
    ],
)  # fmt: skip
def test_problem_has_its_line(rules: str, line: int, words: str) -> None:
    """Every mistake is told with the line it stands on."""
    made = read_mapping(HEAD + rules)
    assert not isinstance(made, CompiledMapping)
    assert any(each.startswith(f"line {line}: ") and words in each for each in made), made


def test_all_problems_are_told_at_once() -> None:
    """A technician does not mend one mistake to find the next."""
    other = LEVEL.replace('"level"', '"other"')
    first = LEVEL.replace('"level"', '"level"\ngo_on = true')
    made = read_mapping(HEAD + first + 'count = "a["\n' + other + 'count = "nope(n)"\n')
    assert not isinstance(made, CompiledMapping)
    assert len(made) == 2


def test_check_knows_a_mapping_by_what_is_in_it(tmp_path: Path) -> None:
    """A store may call its own mapping as it likes."""
    path = tmp_path / "acme.toml"
    path.write_text(HEAD + LEVEL + 'count = "n"\n', encoding="utf-8")
    assert problems_of(path) == []
    path.write_text(HEAD + LEVEL.replace("event", "evnt"), encoding="utf-8")
    assert any("did you mean event?" in each for each in problems_of(path))


def test_two_rules_of_one_name_are_told() -> None:
    """What is remembered is filed under a rule's name, so names tell rules apart."""
    made = read_mapping(HEAD + LEVEL + 'count = "n"\n' + LEVEL + 'count = "n"\n')
    assert not isinstance(made, CompiledMapping)
    assert [each for each in made if "another rule has this name" in each]


def invoke(tmp_path: Path, arguments: list[str], payload: str) -> Any:
    """Runs `edge-agent map` on a small mapping."""
    path = tmp_path / "mapping.toml"
    path.write_text(HEAD + ROWS + '\n[[rules]]\nname = "i"\nignore = "x"\n', encoding="utf-8")
    return CliRunner().invoke(
        command_line(only="map"), ["map", "--mapping", str(path), *arguments], input=payload
    )


def test_command_remembers_totals_between_calls(tmp_path: Path) -> None:
    """With a state file, the second total gives what was added."""
    state = ["--topic", "a/b", "--state", str(tmp_path / "state.json")]
    first = invoke(tmp_path, state, '{"rows":[{"id":"a","n":1}]}')
    second = invoke(tmp_path, [*state, "--explain"], '{"rows":[{"id":"a","n":4}]}')
    assert (first.exit_code, first.stdout) == (0, "")
    assert json.loads(second.stdout)["data"]["entries"] == 3
    assert 'rule 1 "rows": matched' in second.stderr


def test_command_takes_lines_and_tells_refusals(tmp_path: Path) -> None:
    """JSON lines in, events out; refusals as JSON on standard error, and exit code 1."""
    lines = "\n".join(
        json.dumps({"topic": "a/b", "payload": {"rows": [{"id": "a", "n": n}]}})
        for n in (1, "x", 3)
    )
    result = invoke(tmp_path, [], lines)
    assert result.exit_code == 1
    assert json.loads(result.stdout)["data"]["entries"] == 2
    refusal = json.loads(result.stderr)
    assert (refusal["reason"], refusal["rule"], refusal["place"]) == ("invalid", "rows", "row 1")


@pytest.mark.parametrize("bad", ["broken", '{"payload": 1}', "7", "[" * 100_000])
def test_a_line_that_is_no_message_spoils_no_other(tmp_path: Path, bad: str) -> None:
    """It is refused with its number; the recording goes on."""
    good = [
        json.dumps({"topic": "a/b", "payload": {"rows": [{"id": "a", "n": n}]}}) for n in (1, 3)
    ]
    result = invoke(tmp_path, [], "\n".join([good[0], bad, "", good[1]]))
    assert result.exit_code == 1
    assert json.loads(result.stdout)["data"]["entries"] == 2
    assert json.loads(result.stderr)["place"] == "line 2"


def test_what_is_no_lines_at_all_is_wrong_use(tmp_path: Path) -> None:
    """A payload without its topic: exit code 2, with a hint."""
    result = invoke(tmp_path, [], '{\n "a": 1\n}')
    assert result.exit_code == 2
    assert "--topic" in result.stderr


def test_command_refuses_a_wrong_file(tmp_path: Path) -> None:
    """A mapping that is wrong is wrong use: exit code 2, with its lines."""
    path = tmp_path / "mapping.toml"
    path.write_text(HEAD + LEVEL + 'count = "a["\n', encoding="utf-8")
    result = CliRunner().invoke(
        command_line(only="map"), ["map", "-m", str(path), "--topic", "a"], input="{}"
    )
    assert result.exit_code == 2
    assert "line 13" in result.stderr
    assert check_mapping(tmp_path / "none.toml") == ["no such file"]


SETS = """
mode = "all"
[[rules]]
name = "entered"
each = { path = "zones", changes = true, key = "{id}", as = "zone" }
where = "$zone.change == 'entered'"
device = "sensor"
event = "zone.entered"
data = { zone = "$zone.value", visitor = { kind = { const = "track" }, value = "$message.id" } }
[[rules]]
name = "left"
each = { path = "zones", changes = true, key = "{id}", as = "zone" }
where = "$zone.change == 'left'"
device = "sensor"
event = "zone.left"
data = { zone = "$zone.value", visitor = { kind = { const = "track" }, value = "$message.id" } }
"""


def test_two_rules_each_remember_their_own_set() -> None:
    """The rule that tells who came in does not take the news from the one that tells who left."""
    first = run(SETS, {"id": "t", "zones": ["a"]})
    second = run(SETS, {"id": "t", "zones": ["b"]}, state=applied({}, first))
    assert [(each.type, each.data.zone) for each in second.events] == [  # type: ignore[union-attr]
        ("zone.entered", "b"),
        ("zone.left", "a"),
    ]


def test_state_outlives_a_rule_that_is_put_before_it() -> None:
    """A mapping that was mended counts on from the totals that it remembers."""
    total = (
        LEVEL.replace("zone.occupancy", "people.counted") + 'entries = { path = "n", delta = {} }'
    )
    state = applied({}, run(total, {"n": 5}))
    ahead = '\n[[rules]]\nname = "new"\nwhen = "x"\nignore = "new"\n'
    assert data(run(ahead + total, {"n": 7}, state=state)) == [
        {"zone": "z", "entries": 2, "exits": 0}
    ]


@pytest.mark.parametrize(
    ("where", "kept"),
    [
        ("n > `0` && $way == 'in'", ["1"]),
        ("$way == 'in' || $way == 'out'", ["1", "2"]),
        ("$way == $settings.wanted", ["2"]),
        ("contains([$settings.wanted, 'in'], $way)", ["1", "2"]),
        ("($message.rows[?way == $way].n)[0] == n", ["1", "2", "3"]),
        ("'$way' == 'in' || way == 'out'", ["2"]),
    ],
)
def test_name_may_stand_anywhere_in_an_expression(where: str, kept: list[str]) -> None:
    """A `$name` is a value like any other; in quotes it is text."""
    rules = f"""
[settings]
wanted = "out"
[[rules]]
name = "rows"
each = "rows"
let = {{ way = "way" }}
where = "{where}"
event = "zone.occupancy"
data = {{ zone = "n", count = "n" }}
"""
    rows = [{"n": n, "way": way} for n, way in ((1, "in"), (2, "out"), (3, "past"))]
    assert [each["zone"] for each in data(run(rules, {"rows": rows}))] == kept


def test_numbered_fields_take_numbers_alone() -> None:
    """`line_1_child_total_in` is no line of its own."""
    rules = """
[[rules]]
name = "lines"
each = { path = "@", fields = "line_{n}_total_{field}" }
event = "people.counted"
data = { zone = "n", entries = "in" }
"""
    payload = {"line_1_total_in": 3, "line_1_child_total_in": 1, "line_x_total_in": 9}
    assert data(run(rules, payload)) == [{"zone": "1", "entries": 3, "exits": 0}]


def test_two_arrays_are_one_table() -> None:
    """Names in one array and counts in another belong together by their place."""
    rules = """
[[rules]]
name = "regions"
each = "zip(names, counts)"
event = "zone.occupancy"
data = { zone = "[0]", count = "[1]" }
"""
    mapped = run(rules, {"names": ["a", "b", "c"], "counts": [4, 0]})
    assert [(each["zone"], each["count"]) for each in data(mapped)] == [("a", 4), ("b", 0)]


def test_names_and_values_become_one_object() -> None:
    """What a gateway writes one tag at a time is numbered fields like any other."""
    rules = """
[[rules]]
name = "tags"
each = { path = "from_items(tags[].[name, value])", fields = "door_{door}_{field}" }
event = "people.counted"
data = { zone = "door", entries = "in", exits = "out" }
"""
    tags = [{"name": "door_a_in", "value": 3}, {"name": "x"}, 7, {"name": 1, "value": 2}]
    mapped = run(rules, {"tags": [*tags, {"name": "door_a_out", "value": 1}]})
    assert data(mapped) == [{"zone": "a", "entries": 3, "exits": 1}]


@pytest.mark.parametrize("inner", ['{"n": 7}', {"n": 7}])
def test_document_inside_may_be_text_or_object(inner: Any) -> None:
    """The same sender writes both; either is unpacked."""
    rules = LEVEL.replace('name = "level"', 'name = "level"\nunpack = { path = "payload" }')
    assert data(run(rules + 'count = "n"\n', {"payload": inner})) == [{"zone": "z", "count": 7}]


@pytest.mark.parametrize(
    ("zone", "hour"), [("UTC+8:00", 2), ("-0330", 13), ("GMT+2", 8), ("Europe/Helsinki", 8)]
)
def test_zone_may_be_an_offset_of_the_message(zone: str, hour: int) -> None:
    """A local time is read in the zone that the device states, as a name or an offset."""
    when = 'time = { path = "at", format = "%Y/%m/%d %H:%M:%S", zone = "$message.tz" }'
    timed = LEVEL.replace('name = "level"', f'name = "level"\n{when}')
    mapped = run(timed + 'count = "n"\n', {"n": 1, "at": "2026/03/02 10:00:00", "tz": zone})
    (event,) = mapped.events
    assert event.time is not None
    assert event.time.hour == hour


def test_zone_that_does_not_exist_gives_the_arrival_time() -> None:
    """A zone that nobody knows is no reason to lose a count, and is counted."""
    timed = LEVEL.replace(
        'name = "level"', 'name = "level"\ntime = { path = "at", zone = "$message.tz" }'
    )
    mapped = run(timed + 'count = "n"\n', {"n": 1, "at": "2026-03-02T10:00:00", "tz": "Mars"})
    assert len(mapped.events) == 1
    assert mapped.counts["time unreadable"] == 1


@pytest.mark.parametrize(
    ("condition", "is_kept"),
    [
        ("n > `0`", True),
        ("n == `2`", True),
        ("n != `2`", False),
        ("n <= `1.5`", False),
        ("n > m", True),
        ("m < `0`", True),
        ("word > `0`", False),
        ("word != `2`", True),
    ],
)
def test_number_as_text_counts_as_one_in_conditions(condition: str, *, is_kept: bool) -> None:
    """A till that quotes its numbers loses no line to a comparison."""
    rules = LEVEL.replace('name = "level"', f'name = "level"\nwhere = "{condition}"')
    for payload in ({"n": 2, "m": -1, "word": "a"}, {"n": "2", "m": " -1.0", "word": "a"}):
        assert bool(run(rules + 'count = "n"\n', payload).events) is is_kept


@pytest.mark.parametrize(("payload", "reasons"), [(b"{broken", ["not_json"]), (b"{}", [])])
def test_broken_payload_is_not_everything_else(payload: bytes, reasons: list[str]) -> None:
    """A rule that ignores the rest does not hide that a device sends rubbish."""
    rules = LEVEL.replace('name = "level"', 'name = "level"\nwhen = "n"') + 'count = "n"\n'
    mapped = run(rules + '[[rules]]\nname = "rest"\nignore = "no count"\n', payload)
    assert [each.reason for each in mapped.refusals] == reasons
    assert bool(mapped.ignored) is not bool(reasons)


def test_command_says_when_it_cannot_keep_its_state(tmp_path: Path) -> None:
    """A state file in a folder that does not exist is a mistake of the call, not a crash."""
    where = str(tmp_path / "nowhere" / "state.json")
    result = invoke(tmp_path, ["--topic", "a/b", "--state", where], '{"rows":[]}')
    assert (result.exit_code, "may be written" in result.stderr) == (2, True)


@pytest.mark.parametrize(
    ("when", "holds"),
    [
        ("A/B", True),
        ("A/@none", False),
        ("not A/C", True),
        ("count(A/C)", False),
        ("A/B[@x='1']", True),
        ("$message/A/B", True),
    ],
)
def test_xml_condition_is_whether_it_is_there(when: str, *, holds: bool) -> None:
    """An element without text is there all the same; a count of none is no."""
    rules = f"""
format = "xml"
[[rules]]
name = "level"
when = "{when}"
event = "zone.occupancy"
data = {{ zone = "A/@z", count = "A/@n" }}
"""
    mapped = run(rules, b'<T><A z="q" n="3"><B x="1"/></A></T>')
    assert bool(mapped.events) is holds
