"""A text or null where a device sends a row: told, or no event fewer, in every mapping."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any, Final

import pytest

from edge_agent.cli.map import load_mapping, payload_bytes
from edge_agent.ingest.mapping import CompiledMapping, Entry, Mapped, applied, interpret
from tests.contract.test_devices import DEVICES, HARDWARE, STORE

NOW: Final = 1_772_452_800_000
# JMESPath leaves nulls out where an expression joins arrays, as EPCIS' lists of items.
JOINED: Final = frozenset({"gs1-epcis", "emqx-neuron"})
Path = tuple[str | int, ...]


def rows(value: Any, path: Path = ()) -> Iterator[Path]:
    """The places of the objects in a document's arrays."""
    is_array = isinstance(value, list)
    for key, each in enumerate(value) if is_array else value.items():
        if is_array and isinstance(each, dict):
            yield (*path, key)
        if isinstance(each, (dict, list)):
            yield from rows(each, (*path, key))


def with_odd(payload: Any, path: Path, odd: Any) -> Any:
    """A document with something odd in place of a row."""
    whole = copy.deepcopy(payload)
    found = whole
    for step in path[:-1]:
        found = found[step]
    found[path[-1]] = odd
    return whole


def read(mapping: CompiledMapping, row: Any, payload: Any, state: dict[str, Entry]) -> Mapped:
    """What a payload means."""
    body = payload_bytes(payload)
    topic = row["topic"]
    return interpret(mapping, topic, body, state=state, received_at_ms=NOW, lookups=STORE)


@pytest.mark.parametrize("device", DEVICES)
def test_odd_row_loses_no_event_in_silence(device: str) -> None:
    """Every row of every sample: what it told, or its neighbours, is missed by nobody unsaid."""
    mapping = load_mapping(HARDWARE / device / "mapping.toml")
    state: dict[str, Entry] = {}
    for line in (HARDWARE / device / "samples.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        good = read(mapping, row, row["payload"], state)
        if good.events and not good.refusals and isinstance(row["payload"], (dict, list)):
            for path in rows(row["payload"]):
                for odd in ("x", 5) if device in JOINED else ("x", 5, None):
                    found = read(mapping, row, with_odd(row["payload"], path, odd), state)
                    is_whole = len(found.events) >= len(good.events)
                    assert found.refusals or is_whole, (line, path, odd)
        state = applied(state, good)
