"""What is not there, or null: no total is 0 because its sensor could not tell it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest

from edge_agent.cli.map import load_mapping
from edge_agent.ingest.mapping import Entry, Lookups, Mapped, applied, interpret, read_mapping
from tests.unit.test_mapping_rows import HEAD, compiled

HARDWARE: Final = Path(__file__).resolve().parents[2] / "hardware"
NOW: Final = 1_772_445_600_000
BOTH = """
[[rules]]
name = "both"
when = "id"
device = "{id}"
event = "people.counted"
data.entries = { path = "in", delta = {} }
data.exits = { path = "people.out", delta = {} }
"""
ALWAYS = BOTH.replace("delta = {}", 'delta = { missing = "refuse" }')


def play(mapping: Any, topic: str, payloads: list[Any]) -> list[Mapped]:
    """Maps messages, a second apart, each with what was remembered before it."""
    state: dict[str, Entry] = {}
    found = []
    for at, payload in enumerate(payloads):
        body = payload.encode() if isinstance(payload, str) else json.dumps(payload).encode()
        mapped = interpret(
            mapping, topic, body, state=state, received_at_ms=NOW + at * 1_000,
            lookups=Lookups(secret=b"test"),
        )  # fmt: skip
        state = applied(state, mapped)
        found.append(mapped)
    return found


def told(mapped: Mapped) -> tuple[list[tuple[int, int]], list[str | None]]:
    """Entries and exits of the events, and the places of the refusals."""
    counts: list[Any] = [each.data for each in mapped.events]
    return [(each.entries, each.exits) for each in counts], [
        each.place for each in mapped.refusals
    ]


def total(entries: Any, exits: Any) -> dict[str, Any]:
    """A message with both running totals."""
    return {"id": "a", "in": entries, "people": {"out": exits}}


def test_total_that_is_null_is_refused_and_made_up_by_the_next() -> None:
    """The other side counts; nobody is lost, and nobody is told that nobody left."""
    messages = play(compiled(BOTH), "a/b", [total(5, 5), total(7, None), total(8, 9)])
    assert [told(each) for each in messages] == [
        ([], []),
        ([(2, 0)], ["exits"]),
        ([(1, 4)], []),
    ]


def test_totals_that_are_both_null_are_told_with_their_places() -> None:
    """A sensor that knows nothing says nothing."""
    first, second = play(compiled(BOTH), "a/b", [total(5, 5), total(None, None)])
    assert told(first) == ([], [])
    assert told(second) == ([], ["entries", "exits"])


def test_null_above_a_total_is_a_null_too() -> None:
    """An object that is null holds no total."""
    messages = play(compiled(BOTH), "a/b", [total(5, 5), {"id": "a", "in": 6, "people": None}])
    assert told(messages[1]) == ([(1, 0)], ["exits"])


def test_total_that_is_not_there_is_quiet_unless_the_device_always_sends_it() -> None:
    """Who counts one way alone, or tells what moved, is well; `missing` says that it is not."""
    partly = {"id": "a", "in": 6}
    assert told(play(compiled(BOTH), "a/b", [total(5, 5), partly])[1]) == ([(1, 0)], [])
    assert told(play(compiled(ALWAYS), "a/b", [total(5, 5), partly])[1]) == ([(1, 0)], ["exits"])
    # It was never there: this one counts one way.
    assert told(play(compiled(ALWAYS), "a/b", [partly, {"id": "a", "in": 7}])[1]) == ([(1, 0)], [])


def test_total_below_zero_is_refused_and_no_new_beginning() -> None:
    """Taken for one, the next total would count everybody since the device was built."""
    messages = play(compiled(BOTH), "a/b", [total(500, 500), total(-1, 501), total(502, 502)])
    assert [told(each) for each in messages] == [([], []), ([], [None]), ([(2, 2)], [])]


@pytest.mark.parametrize("name", [None, ""])
def test_device_without_a_name_is_refused(name: str | None) -> None:
    """Two of them would share their totals, and each other's people would be counted."""
    rule = BOTH.replace('when = "id"\n', "")
    (mapped,) = play(compiled(rule), "a/b", [{**total(5, 5), "id": name}])
    assert (told(mapped), mapped.changes) == (([], [None]), {})


def test_missing_is_quiet_or_refuse() -> None:
    """Anything else is found by the check, with its line."""
    made = read_mapping(HEAD + ALWAYS.replace('"refuse"', '"reject"'))
    assert isinstance(made, tuple)
    assert "line 13" in made[0]
    assert "'quiet' or 'refuse'" in made[0]


def test_nested_array_that_is_not_there_is_shown() -> None:
    """`--explain` has a line for it, and the agent counts it."""
    rule = """
[[rules]]
name = "nested"
each = [{ path = "frames", as = "frame" }, { path = "events", as = "event" }]
event = "people.counted"
data = { entries = "n" }
"""
    lines: list[str] = []
    body = json.dumps({"frames": [{}, {"events": [{"n": 1}]}]}).encode()
    mapped = interpret(compiled(rule), "a/b", body, received_at_ms=NOW, tell=lines.append)
    assert mapped.counts["not there"] == 1
    assert "  frame 1.event: not there" in lines


HIKVISION = (
    "<EventNotificationAlert><macAddress>44-19-b6-00-00-01</macAddress><channelID>1</channelID>"
    "<dateTime>2026-03-02T10:50:0{at}+01:00</dateTime><eventType>PeopleCounting</eventType>"
    "<peopleCounting><statisticalMethods>realTime</statisticalMethods>{counts}</peopleCounting>"
    "</EventNotificationAlert>"
)


def test_hikvision_total_that_is_gone_is_refused() -> None:
    """The camera always sends both; an empty one is no number either."""
    counts = (
        "<enter>40</enter><exit>41</exit>",
        "<enter>42</enter>",
        "<enter>43</enter><exit/>",
        "<enter>44</enter><exit>45</exit>",
    )
    bodies = [HIKVISION.format(at=at, counts=each) for at, each in enumerate(counts)]
    mapping = load_mapping(HARDWARE / "hikvision" / "mapping.toml")
    assert [told(each) for each in play(mapping, "hikvision/door", bodies)] == [
        ([], []),
        ([(2, 0)], ["exits"]),
        ([], [None]),
        ([(2, 4)], []),
    ]


LIVE: Final = "irisys/v/live_counts"
NOTIFIED: Final = {"method": "NotifyStatus", "params": {"input:0": "x"}}
OBSERVED: Final = {
    "type": "ObjectEvent", "eventTime": "2026-03-02T10:00:00Z", "action": "OBSERVE",
}  # fmt: skip


@pytest.mark.parametrize(
    ("device", "topic", "payload", "place"),
    [
        (
            "axis",
            "axis/A/event/x",
            {"serial": "A", "topic": "x/S", "message": {"data": {"totalHuman": None}}},
            None,
        ),
        ("irisys", LIVE, {"counts": [{"name": "Exit", "count": None}]}, "register 1.passed"),
        ("irisys", LIVE, {"counts": [{"count": 3}]}, "register 1"),
        ("irisys", LIVE, {"counts": [{"name": "North", "count": 3}]}, "register 1"),
        ("irisys", LIVE, {"counts": ["x"]}, "register 1"),
        ("haltian", "haltian/a", {"tsmId": 2100, "tsmTuid": "T", "state": None}, None),
        ("milesight", "milesight/a", {"region_1_count": None}, "region 1"),
        ("milesight", "milesight/a", {"people_count_all": None}, None),
        ("milesight", "application/1/device/2/event/up", {"data": "AQID"}, None),
        ("milesight", "milesight/a", {"event": "Line Crossing", "device_info": {}}, None),
        ("meraki-mv", "/merakimv/Q2/0", {"ts": NOW, "counts": {"person": None}}, None),
        ("loyverse", "loyverse/a", {"type": "receipts.update", "receipts": None}, None),
        ("frigate", "frigate/events", {"type": "update", "after": {}}, None),
        ("shelly", "shelly/a/events/rpc", NOTIFIED, "component 1"),
        ("nexo-terminal", "nexo/a", {"SaleToPOIRequest": {"LoyaltyRequest": {"a": 1}}}, None),
        ("gs1-epcis", "epcis/a", OBSERVED, "event 1"),
        ("milesight", "milesight/a", {"people_total_in": None, "people_total_out": None}, None),
        ("milesight", "milesight/a", {"line_1_total_in": None}, "line 1.entries"),
        (
            "vivotek",
            "vivotek/a",
            {"Source": {"MacAddress": "00:02:D1:31:00:08"}, "Data": [{"RuleType": "Counting"}]},
            "rule 1",
        ),
        ("xovis", "xovis/a", {"logics_data": {"logics": [{"id": 1, "name": "x"}]}}, "logic 1"),
        (
            "emqx-neuron",
            "/neuron/a",
            {"timestamp": NOW, "node": "n", "values": {}, "errors": {"door_a_in": 2014}},
            "tag 1",
        ),
    ],
)  # fmt: skip
def test_count_that_a_device_could_not_tell_is_refused(
    device: str, topic: str, payload: Any, place: str | None
) -> None:
    """Null, nameless or elsewhere: it never passes without a word."""
    mapping = load_mapping(HARDWARE / device / "mapping.toml")
    (mapped,) = play(mapping, topic, [payload])
    assert told(mapped) == ([], [place])
