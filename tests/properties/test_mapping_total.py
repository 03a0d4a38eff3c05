"""Laws of mapping: no payload makes it raise, and hostile bytes end soon."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edge_agent.cli.map import load_mapping, payload_bytes
from edge_agent.ingest.mapping import (
    CompiledMapping,
    Entry,
    Lookups,
    Mapped,
    applied,
    interpret,
    read_mapping,
)
from edge_agent.ingest.path_functions import Functions
from edge_agent.ingest.paths import BadExpression, jmespath_select
from edge_agent.wire.mapping import PAYLOAD_BYTES_MAX

HARDWARE = Path(__file__).resolve().parents[2] / "hardware"
NOW_MS = 1_772_445_600_000
# Of the thread's processor time: what else the machine does is none of it. A gateway's slowest
# core needs some milliseconds for the largest payload; this is a hang.
SOON_S = 2.0

MAPPINGS = {
    path.parent.name: load_mapping(path) for path in sorted(HARDWARE.glob("*/mapping.toml"))
}
SAMPLES = [
    (device, row["topic"], row["payload"])
    for device in MAPPINGS
    for row in map(
        json.loads, (HARDWARE / device / "samples.jsonl").read_text(encoding="utf-8").splitlines()
    )
]

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False),
    st.text(max_size=20),
    st.sampled_from(["", "1,000", "-1", "1e400", "2026-03-02T10:00:00", "\u202e", "a@b.example"]),
)
documents = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


def mapped(
    device: str, topic: str, payload: bytes, state: dict[str, Entry] | None = None
) -> Mapped:
    """Maps one message with a device's mapping."""
    return interpret(
        MAPPINGS[device],
        topic,
        payload,
        state=state or {},
        received_at_ms=NOW_MS,
        lookups=Lookups(secret=b"test"),
    )


def places(document: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a document."""
    found = [here]
    if isinstance(document, dict):
        steps: list[tuple[Any, Any]] = list(document.items())
    else:
        steps = list(enumerate(document)) if isinstance(document, list) else []
    for step, inner in steps:
        found += places(inner, (*here, step))
    return found


def replaced(document: Any, place: tuple[Any, ...], value: Any) -> Any:
    """The document with another value at a place."""
    if not place:
        return value
    copy = dict(document) if isinstance(document, dict) else list(document)
    copy[place[0]] = replaced(copy[place[0]], place[1:], value)
    return copy


def assert_sound(result: Mapped) -> None:
    """A result is events, refusals or reasons, and what is remembered is JSON."""
    known = result.events or result.refusals or result.ignored or result.counts
    assert known
    json.dumps([[key, entry.value, entry.until_ms] for key, entry in result.changes.items()])


@given(st.sampled_from(sorted(MAPPINGS)), st.text(max_size=40), st.binary(max_size=200))
def test_any_bytes_give_events_or_a_refusal(device: str, topic: str, payload: bytes) -> None:
    """Whatever comes on whatever topic, nothing is raised and nothing is dropped unsaid."""
    assert_sound(mapped(device, topic, payload))


@given(st.sampled_from(SAMPLES), st.data())
def test_any_change_to_a_sample_gives_events_or_a_refusal(
    sample: tuple[str, str, Any], data: st.DataObject
) -> None:
    """A payload that is almost right does not raise either, twice in a row with its state."""
    device, topic, payload = sample
    if isinstance(payload, str):
        at = data.draw(st.integers(0, len(payload)))
        changed = payload[:at] + data.draw(st.text(max_size=5)) + payload[at + 1 :]
        body = changed.encode("utf-8", "surrogatepass")
    else:
        place = data.draw(st.sampled_from(places(payload)))
        body = payload_bytes(replaced(payload, place, data.draw(documents)))
    first = mapped(device, topic, body)
    assert_sound(first)
    assert_sound(mapped(device, topic, body, applied({}, first)))


SHARED = """schema_version = 1
vendor = "acme"
device = "ACME"
tier = "listed"
documentation = "https://example.com"
topics = ["a"]
mode = "all"
""" + "".join(
    f"""
[[rules]]
name = "{kind}"
when = "rows != null"
each = {{ path = "rows", as = "row", where = "kind == '{kind}'" }}
{outcome}
"""
    for kind, outcome in {
        "in": 'event = "people.counted"\nwhere = "n > `0`"\ndata = { entries = "n" }',
        "out": 'event = "people.counted"\ndata = { exits = "n" }',
        "tick": 'ignore = "alive"',
        "old": 'reject = "old"',
    }.items()
)


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "kind": st.sampled_from(["in", "out", "tick", "old", "fall", "", None]),
                "n": st.integers(-1, 2),
            }
        ),
        max_size=12,
    )
)
def test_every_row_is_told_ignored_filtered_or_refused(found: list[dict[str, Any]]) -> None:
    """No row is lost between the rules of a message, whatever its neighbours are."""
    made = read_mapping(SHARED)
    assert isinstance(made, CompiledMapping), made
    body = json.dumps({"rows": found}).encode()
    result = interpret(made, "a", body, received_at_ms=NOW_MS)

    def places_of(*kinds: Any, where: Callable[[int], bool] = lambda _: True) -> list[str]:
        return [
            f"row {at}"
            for at, row in enumerate(found, 1)
            if row["kind"] in kinds and where(row["n"])
        ]

    refused = {
        reason: sorted(each.place or "" for each in result.refusals if each.reason == reason)
        for reason in ("no_rule", "rejected", "invalid")
    }
    assert refused == {
        "no_rule": sorted(places_of("fall", "", None)),
        "rejected": sorted(places_of("old")),
        "invalid": sorted(places_of("out", where=lambda n: n < 0)),
    }
    told = places_of("in", where=lambda n: n > 0) + places_of("out", where=lambda n: n >= 0)
    assert len(result.events) == len(told)
    assert result.counts["filtered"] == len(places_of("in", where=lambda n: n <= 0))
    assert result.ignored == (("alive",) if places_of("tick") else ())


def wide_xml() -> bytes:
    """Many receipts in one document."""
    return b"<POSLog>" + b"<Transaction><RetailTransaction/></Transaction>" * 5_000 + b"</POSLog>"


HOSTILE: dict[str, Callable[[], bytes]] = {
    "billion laughs": lambda: (
        b'<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "'
        + b"&a;" * 99
        + b'"><!ENTITY c "'
        + b"&b;" * 99
        + b'">]><POSLog>&c;</POSLog>'
    ),
    "outside entity": lambda: (
        b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><POSLog>&a;</POSLog>'
    ),
    "utf-16 entity": lambda: (
        '<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>'.encode(
            "utf-16"
        )
    ),
    "deep XML": lambda: b"<a>" * 60_000 + b"</a>" * 1,
    "wide XML": wide_xml,
    "deep JSON": lambda: b"[" * 100_000,
    "deep closed JSON": lambda: b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "long text": lambda: b'{"id":"' + b"x" * 200_000 + b'"}',
    "long number": lambda: b'{"ts":' + b"9" * 200_000 + b',"counts":{"person":1}}',
    "many rows": lambda: (
        b"[" + b",".join([b'{"type":"x","mac":"AC233F000001","rssi":1}'] * 5_000) + b"]"
    ),
    "many fields": lambda: b"&".join([b"a=1"] * 60_000),
    "one megabyte": lambda: b'"' + b"x" * 1_048_576 + b'"',
    "nul bytes": lambda: b"\x00" * 1_000,
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("device", MAPPINGS)
def test_hostile_payload_ends_soon(device: str, name: str) -> None:
    """Bombs, depth and length are refused, ignored or read within a bounded time."""
    payload = HOSTILE[name]()
    topics = {topic for of, topic, _ in SAMPLES if of == device}
    for topic in topics:
        started = time.thread_time()
        result = mapped(device, topic, payload)
        assert time.thread_time() - started < SOON_S
        assert_sound(result)
        assert not result.events or name in {"long number", "many rows", "long text"}


def test_payload_over_the_limit_is_not_looked_at() -> None:
    """A megabyte is refused by its length alone."""
    result = mapped("minew", "/gw/x/status", b"[" * (PAYLOAD_BYTES_MAX + 1))
    assert [each.reason for each in result.refusals] == ["too_large"]


expressions = st.sampled_from(
    ["a", "a.b", "a[0]", "a[-1].b", "a[]", "a[].b", "a[?b == `1`]", "a[?b].b | [0]", "a || b",
     "a && b", "!a", "!a || b.c", "[a, b]", "a > `1`", "a <= b", "a == b", "a != 'x'", "a[*].b",
     "*.a", "a[1:]", "{x: a, y: b}", "length(a || `[]`)", "a[][]", "@", "a[?b > `0`].[b, c]",
     "type(a) == 'string'", "not_null(a, b)", "a[?!b]", "a | b", "(a || b).c"]
)  # fmt: skip
small = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-2, 2), st.sampled_from(["", "x", "a"])),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "b", "c"]), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(expressions, small)
def test_expressions_mean_what_jmespath_says(expression: str, document: Any) -> None:
    """The closures select exactly what the library's interpreter selects."""
    import jmespath  # noqa: PLC0415 - the reference, for this test alone
    from jmespath.exceptions import JMESPathError  # noqa: PLC0415

    try:
        expected = jmespath.search(expression, document)
    except (JMESPathError, TypeError):
        return
    found = jmespath_select(expression)(document)
    assert found == expected
    assert json.dumps(found) == json.dumps(expected)


calls = st.sampled_from(
    ["type(a)", "keys(@)", "length(a)", "contains(a, b)", "contains(a, 'x')", "starts_with(a, b)",
     "ends_with(a, 'a')", "not_null(a, b, c)", "not_null(a)", "join('x', a)", "merge(a, b)",
     "keys(@)[?starts_with(@, 'a')]", "to_string(a)", "to_number(a)", "abs(a)", "sum(a)",
     "values(a)", "reverse(a)", "sort(a)", "max(a)", "map(&b, a)", "sort_by(a, &b)", "zip(a, b)",
     "split(a, b)", "lower(a)", "replace(a, b, 'y')", "items(a)", "from_items(a)", "to_array(a)"]
)  # fmt: skip


@given(calls, small)
def test_functions_take_and_refuse_what_the_library_does(expression: str, document: Any) -> None:
    """A call whose types were looked up once gives the same, or refuses in the same words."""
    import jmespath  # noqa: PLC0415 - the reference, for this test alone
    from jmespath.visitor import Options  # noqa: PLC0415

    options = Options(custom_functions=Functions())

    def outcome(select: Callable[[Any], Any]) -> str:
        try:
            return json.dumps(select(document))
        except Exception as error:  # noqa: BLE001 - that both raise the same is what is tested
            return f"{type(error).__name__}: {error}"

    theirs = outcome(lambda value: jmespath.search(expression, value, options))
    assert outcome(jmespath_select(expression)) == theirs


@given(st.text(max_size=300))
def test_any_text_is_a_mapping_or_has_problems_with_lines(text: str) -> None:
    """No mapping file makes the check raise."""
    made = read_mapping(text)
    assert isinstance(made, CompiledMapping) or all(each.startswith("line ") for each in made)


@given(st.text(max_size=60))
@example("``")
@example("a == `b`")
def test_any_expression_compiles_or_is_refused(text: str) -> None:
    """No expression makes the check raise anything but its own refusal."""
    with contextlib.suppress(BadExpression):
        jmespath_select(text)
