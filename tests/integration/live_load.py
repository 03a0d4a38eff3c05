"""All vendors' messages as one load, and what must come of them, read one by one."""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import dataclass, field
from itertools import chain, zip_longest
from pathlib import Path
from typing import Final

from edge_agent.cli.map import payload_bytes
from edge_agent.domain.time import DAY_MS, ms_from_datetime
from edge_agent.ingest.device_mapping import DeviceMapping, reading_of, refusal_of
from edge_agent.ingest.mapping import CompiledMapping, Entry, Lookups, applied, read_mapping
from edge_agent.ingest.ordering import mark_of
from tests.contract.recorded import READINGS
from tests.contract.test_devices import DEVICES, HARDWARE, samples

RECORDED: Final = Path(
    os.environ.get("EDGE_AGENT_PAYLOADS", HARDWARE.parents[1] / "shared" / "payloads")
)

Message = tuple[str, bytes]


def mixed_load() -> list[Message]:
    """Every vendor's messages, one of each in turn: own samples, then recorded ones."""
    streams = [[message[:2] for message in samples(device)] for device in DEVICES]
    for reading in READINGS:
        path = RECORDED / reading.file
        if not path.exists():
            continue
        if ".seq." in path.name:
            rows = json.loads(path.read_text(encoding="utf-8"))
            streams.append([(row["topic"], payload_bytes(row["payload"])) for row in rows])
        else:
            streams.append([(reading.topic, path.read_bytes())])
    turns = chain.from_iterable(zip_longest(*streams))
    # An equal message would be a new happening or a repeat: other tests tell the two apart.
    return list(dict.fromkeys(each for each in turns if each is not None))


def shipped(device: str) -> DeviceMapping:
    """A vendor's mapping as the agent uses it when the store adds nothing."""
    text = (HARDWARE / device / "mapping.toml").read_text(encoding="utf-8")
    compiled = read_mapping(text)
    assert isinstance(compiled, CompiledMapping)
    stores = {"timezone": "America/New_York", "currency": "USD"}
    return DeviceMapping(
        name=device, text=text, compiled=compiled, lookups=Lookups(settings=stores)
    )


@dataclass
class Expected:
    """What a load must lead to.

    Attributes:
        marks: Events, as the agent's `inbox` tells them apart.
        counted: Entries and exits by source, of events young enough to count.
        refused: Refused messages by reason.
    """

    marks: set[int] = field(default_factory=set)
    counted: dict[str, tuple[int, int]] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)


def expected_of(load: list[Message], *, now_ms: int) -> Expected:
    """Reads a load mapping by mapping, in order, without any agent."""
    mappings = [shipped(device) for device in DEVICES]
    states: dict[str, dict[str, Entry]] = {device: {} for device in DEVICES}
    found = Expected()
    for topic, payload in load:
        readings = []
        for mapping in mappings:
            if mapping.heard_on(topic) is None:
                continue
            reading = reading_of(
                mapping, topic, payload, state=states[mapping.name], received_at_ms=now_ms
            )
            states[mapping.name] = applied(states[mapping.name], reading.mapped)
            readings.append(reading)
        events = tuple(chain.from_iterable(each.mapped.events for each in readings))
        refusal = refusal_of(readings)
        if refusal is not None:
            found.refused[refusal.reason] += 1
        for event in events:
            mark = mark_of(event.source, event.id)
            if mark in found.marks:
                continue
            found.marks.add(mark)
            at_ms = now_ms if event.time is None else ms_from_datetime(event.time)
            is_young = now_ms - 7 * DAY_MS < at_ms <= now_ms + 300_000
            if event.type == "people.counted" and is_young:
                entries, exits = found.counted.get(event.source, (0, 0))
                data = event.data
                found.counted[event.source] = (entries + data.entries, exits + data.exits)
    return found
