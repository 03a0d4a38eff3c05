"""Every device folder: its own samples give exactly its expected events; recorded payloads too.

A folder holds `mapping.toml`, `README.md`, `samples.jsonl` (topic, payload, arrival) and
`expected.jsonl` (one line for each sample). `python -m tests.contract.test_devices` prints what
the samples give now, for a person to read and to keep.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from edge_agent.cli.map import check_mapping, line_of, load_mapping, payload_bytes
from edge_agent.domain.time import ms_from_datetime
from edge_agent.ingest.mapping import (
    CompiledMapping,
    Entry,
    Lookups,
    Mapped,
    applied,
    interpret,
    read_mapping,
)
from edge_agent.wire.events import EVENT
from tests.contract.recorded import READINGS, Reading

ROOT = Path(__file__).resolve().parents[2]
HARDWARE = ROOT / "hardware"
RECORDED = Path(os.environ.get("EDGE_AGENT_PAYLOADS", ROOT.parent / "shared" / "payloads"))
DEVICES = sorted(path.parent.name for path in HARDWARE.glob("*/mapping.toml"))

# As in the running agent, where a store's own currency goes to every mapping that asks for it.
STORE = Lookups(secret=b"test", settings={"currency": "EUR"})

# Names, addresses, plates and card data of the samples, ours and the recorded ones.
PERSONAL = re.compile(
    r"jane|roe\b|john|smith|bob\b|erika|mustermann|heidestr|sherlock|\bhomes\b|steve|shipper|"
    r"pixel-8|@example|@email|ABC12345|XY-123|did:example|4111|4000\*|sq-1-|555-555|"
    r"123 (elm|shipping)|K2H7A8|51147|1964|last_4|fingerprint",
    re.IGNORECASE,
)


@dataclass
class Played:
    """What a device's samples gave, one entry for each."""

    mapped: list[Mapped] = field(default_factory=list)

    @property
    def lines(self) -> list[str]:
        """The events as lines of JSON."""
        return [line_of(event) for each in self.mapped for event in each.events]


def play(device: str, messages: list[tuple[str, bytes, int]]) -> Played:
    """Plays messages through a device's mapping, from an empty state."""
    mapping = load_mapping(HARDWARE / device / "mapping.toml")
    state: dict[str, Entry] = {}
    played = Played()
    for topic, payload, received_at_ms in messages:
        mapped = interpret(
            mapping,
            topic,
            payload,
            state=state,
            received_at_ms=received_at_ms,
            lookups=STORE,
        )
        state = applied(state, mapped)
        played.mapped.append(mapped)
    return played


def samples(device: str) -> list[tuple[str, bytes, int]]:
    """A folder's own samples: topic, payload, arrival."""
    rows = [json.loads(line) for line in _lines(HARDWARE / device / "samples.jsonl")]
    return [(row["topic"], payload_bytes(row["payload"]), _ms(row["received_at"])) for row in rows]


def outcome(mapped: Mapped) -> dict[str, Any]:
    """What is kept as expected of one sample."""
    found: dict[str, Any] = {"events": [json.loads(line_of(event)) for event in mapped.events]}
    if mapped.refusals:
        found["refused"] = [
            {"reason": each.reason, "place": each.place} for each in mapped.refusals
        ]
    if mapped.ignored:
        found["ignored"] = list(mapped.ignored)
    return found


@pytest.mark.parametrize("device", DEVICES)
def test_mapping_file_is_good(device: str) -> None:
    """The check finds nothing to say about a mapping that is shipped."""
    assert check_mapping(HARDWARE / device / "mapping.toml") == []


@pytest.mark.parametrize("device", DEVICES)
def test_samples_give_the_expected_events(device: str) -> None:
    """A device is supported only when its samples give exactly its expected events."""
    played = play(device, samples(device))
    expected = [json.loads(line) for line in _lines(HARDWARE / device / "expected.jsonl")]
    assert [outcome(each) for each in played.mapped] == expected


@pytest.mark.parametrize("device", DEVICES)
def test_events_are_canonical(device: str) -> None:
    """Whatever a mapping makes is read back by the model that the road takes."""
    for line in play(device, samples(device)).lines:
        assert line_of(EVENT.validate_json(line)) == line


@pytest.mark.parametrize("device", DEVICES)
def test_nothing_personal_passes(device: str) -> None:
    """Names, addresses, plates and card data of the samples are in no event and no refusal."""
    played = play(device, samples(device))
    refusals = [
        f"{each.detail} {each.place}" for mapped in played.mapped for each in mapped.refusals
    ]
    assert not [line for line in [*played.lines, *refusals] if PERSONAL.search(line)]


@pytest.mark.parametrize("device", DEVICES)
def test_state_names_nobody(device: str) -> None:
    """What is remembered between messages holds no address, card or track of anybody."""
    played = play(device, samples(device))
    kept = json.dumps(
        [[key, entry.value] for mapped in played.mapped for key, entry in mapped.changes.items()]
    )
    people = {
        found["data"]["visitor"]["value"]
        for found in map(json.loads, played.lines)
        if "visitor" in found["data"]
    }
    assert not [value for value in people if len(value) > 2 and value in kept]


@pytest.mark.parametrize("device", DEVICES)
def test_second_play_gives_the_same_ids(device: str) -> None:
    """Event ids come from what is told alone, so that a redelivery is a duplicate."""
    first, second = (play(device, samples(device)).lines for _ in range(2))
    assert first == second


@pytest.mark.parametrize("device", DEVICES)
def test_readme_says_what_a_technician_needs(device: str) -> None:
    """Each folder names the device's settings, topic, firmware, tier and source."""
    text = (HARDWARE / device / "README.md").read_text(encoding="utf-8")
    tier = tomllib.loads((HARDWARE / device / "mapping.toml").read_text(encoding="utf-8"))["tier"]
    assert f"Tier: **{tier}**" in text
    for heading in ("## Set the device to", "## What comes of it", "## Source"):
        assert heading in text, heading


def test_table_of_devices_is_what_the_folders_say() -> None:
    """Whoever looks for a device finds its folder, name, tier and events in one table."""
    text = (HARDWARE / "README.md").read_text(encoding="utf-8")
    listed: dict[str, tuple[Any, ...]] = {}
    for row in text.splitlines():
        if row.startswith("| ["):
            folder, device, tier, events = [each.strip() for each in row.strip("| ").split(" | ")]
            name = folder.partition("]")[0].lstrip("[")
            listed[name] = (device, tier, set(re.findall(r"`([a-z.]+)`", events)))
    found: dict[str, tuple[Any, ...]] = {}
    for name in DEVICES:
        mapping = load_mapping(HARDWARE / name / "mapping.toml")
        told = {rule.event for rule in mapping.spec.rules if rule.event is not None}
        found[name] = (mapping.spec.device, mapping.spec.tier, told)
    assert listed == found


def test_front_page_counts_the_devices_by_tier() -> None:
    """The project's README says how many there are of each tier, as the folders do."""
    text = (HARDWARE.parent / "README.md").read_text(encoding="utf-8")
    tiers = Counter(load_mapping(HARDWARE / each / "mapping.toml").spec.tier for each in DEVICES)
    assert f"{tiers.total()} devices" in text
    for tier, n in tiers.items():
        assert f"{n} *{tier}*" in text, tier


def test_half_hour_example_does_what_the_page_says() -> None:
    """The mapping that a technician copies is good, and counts three people."""
    text = (HARDWARE / "README.md").read_text(encoding="utf-8")
    payload = json.loads(text.split("```json\n")[1].split("```")[0])
    made = read_mapping(text.split("```toml\n")[1].split("```")[0])
    assert isinstance(made, CompiledMapping), made
    later = {**payload, "total_in": "1 207"}
    state: dict[str, Entry] = {}
    counted = []
    for each in (payload, later):
        body = json.dumps(each).encode()
        at_ms = _ms("2026-03-02T10:00:00Z")
        mapped = interpret(made, "counter/door-7", body, state=state, received_at_ms=at_ms)
        state = applied(state, mapped)
        counted += [json.loads(line_of(event))["data"] for event in mapped.events]
    assert counted == [{"zone": "entrance", "entries": 3, "exits": 0}]


@pytest.mark.parametrize("reading", READINGS, ids=lambda each: each.file)
def test_recorded_payload_gives_the_expected_reading(reading: Reading) -> None:
    """Payloads recorded by others, where they are there, read as their index says."""
    path = RECORDED / reading.file
    if not path.exists():
        pytest.skip("recorded payloads are not there")
    played = play(reading.device, list(recorded(path, reading)))
    found = reading.read([json.loads(line) for line in played.lines])
    assert found == list(reading.events)
    assert [each.reason for mapped in played.mapped for each in mapped.refusals] == []
    assert bool([each for mapped in played.mapped for each in mapped.ignored]) is reading.ignored
    assert not [line for line in played.lines if PERSONAL.search(line)]


def test_every_recorded_payload_has_a_reading() -> None:
    """No file of the recorded ones is left out of the table."""
    if not RECORDED.is_dir():
        pytest.skip("recorded payloads are not there")
    files = {f"{path.parent.name}/{path.name}" for path in RECORDED.glob("*/*")}
    assert files == {each.file for each in READINGS}


def test_running_total_counts_only_what_was_added() -> None:
    """Two recorded totals of cars give no visitor, and their difference only once."""
    path = RECORDED / "axis"
    if not path.is_dir():
        pytest.skip("recorded payloads are not there")
    topic = "axis/0123456789AB/event/CameraApplicationPlatform/ObjectAnalytics/Device1Scenario1"
    bodies = [(path / f"aoa-crossline-count-{n}.json").read_bytes() for n in (1, 2)]
    as_people = [
        body.replace(b"totalHuman", b"x").replace(b"totalCar", b"totalHuman") for body in bodies
    ]
    at_ms = 1_670_600_000_000
    assert play("axis", [(topic, body, at_ms) for body in bodies]).lines == []
    (line,) = play("axis", [(topic, body, at_ms) for body in as_people]).lines
    assert json.loads(line)["data"]["entries"] == 119


@pytest.mark.parametrize(("unit", "longest_s"), [("s", 2000.0), ("ms", 2.0), (None, None)])
def test_dwell_of_a_region_comes_out_in_the_stores_unit_alone(
    unit: str | None, longest_s: float | None
) -> None:
    """The message names no unit: with none in the settings there is no duration to tell."""
    mapping = load_mapping(HARDWARE / "milesight" / "mapping.toml")
    body = {
        "region_1_avg_dwell": 900,
        "region_1_max_dwell": 2000,
        "line_1_total_in": 7,
        "line_1_total_out": 7,
    }
    mapped = interpret(
        mapping,
        "milesight/door",
        json.dumps(body).encode(),
        received_at_ms=0,
        lookups=Lookups(settings={} if unit is None else {"dwell_unit": unit}),
    )
    told = [json.loads(line_of(each))["data"] for each in mapped.events]
    assert [each["longest_s"] for each in told] == ([] if longest_s is None else [longest_s])
    assert (mapped.refusals, mapped.counts["baseline"]) == ((), 1)


def recorded(path: Path, reading: Reading) -> Iterator[tuple[str, bytes, int]]:
    """A recorded file's messages."""
    if ".seq." in path.name:
        for row in json.loads(path.read_text(encoding="utf-8")):
            yield row["topic"], payload_bytes(row["payload"]), _ms(reading.received_at)
    else:
        yield reading.topic, path.read_bytes(), _ms(reading.received_at)


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _ms(text: str) -> int:
    return ms_from_datetime(datetime.fromisoformat(text))


if __name__ == "__main__":
    for name in sys.argv[1:] or DEVICES:
        for each in play(name, samples(name)).mapped:
            sys.stdout.write(json.dumps(outcome(each), ensure_ascii=False) + "\n")
