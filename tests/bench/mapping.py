"""What it costs to map one vendor message, as a ratio to `json.loads` of the same payload.

Every sample of `hardware/` is mapped with what was remembered before it. For a payload that is no
JSON the baseline is a JSON document of the same content, its time scaled to the payload's length.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl

from lxml import etree

from edge_agent.cli.map import load_mapping, payload_bytes
from edge_agent.domain.time import ms_from_datetime
from edge_agent.ingest.mapping import CompiledMapping, Entry, Lookups, applied, interpret
from tests.bench.measured import Aim, Measured
from tests.bench.setting import ROOT, Setting

TITLE: Final = "Mapping a vendor's message"
AIM: Final = Aim("most", 15)
US: Final = 1e6
CALLS_MIN: Final = 20
_LOOKUPS: Final = Lookups(secret=b"bench", settings={"currency": "EUR"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One message, ready to be mapped, and the document that is the measure."""

    device: str
    mapping: CompiledMapping
    topic: str
    payload: bytes
    received_at_ms: int
    state: dict[str, Entry]
    document: bytes

    def map(self) -> object:
        """Maps the message as the agent does."""
        return interpret(
            self.mapping,
            self.topic,
            self.payload,
            state=self.state,
            received_at_ms=self.received_at_ms,
            lookups=_LOOKUPS,
        )

    @property
    def scale(self) -> float:
        """The payload's length by the document's, 1 where they are the same."""
        return len(self.payload) / len(self.document)


def measure(setting: Setting) -> tuple[Measured, ...]:
    """Measures every sample in every round; a round's figure is the median over the samples."""
    found = samples(ROOT / "hardware")
    rounds = setting.sized(7, quick=3)
    span_s = setting.sized(8, quick=2) / 1_000
    ours: list[float] = []
    theirs: list[float] = []
    ratios: list[float] = []
    for _ in range(rounds):
        pairs = [_pair(each, span_s) for each in found]
        ours.append(statistics.median(each for each, _ in pairs))
        theirs.append(statistics.median(each for _, each in pairs))
        ratios.append(statistics.median(one / other for one, other in pairs))
    devices = len({each.device for each in found})
    return (
        Measured(
            name="mapping a message, by json.loads of it",
            unit="x",
            values=tuple(ratios),
            aim=AIM,
            note=f"median over {len(found)} samples of {devices} vendors, ratio sample by sample; "
            "for XML and form fields json.loads of the same content as JSON, scaled to the "
            "payload's length",
            explain=partial(_slowest, found, span_s),
        ),
        Measured(
            name="mapping a message",
            unit="us",
            values=tuple(ours),
            baseline=tuple(theirs),
            against="json.loads",
            note="medians over the same samples",
        ),
    )


def samples(hardware: Path) -> list[Sample]:
    """Returns every sample of every folder, each with the state before it."""
    found: list[Sample] = []
    for path in sorted(hardware.glob("*/samples.jsonl")):
        mapping = load_mapping(path.parent / "mapping.toml")
        state: dict[str, Entry] = {}
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            payload = payload_bytes(row["payload"])
            sample = Sample(
                device=path.parent.name,
                mapping=mapping,
                topic=row["topic"],
                payload=payload,
                received_at_ms=ms_from_datetime(datetime.fromisoformat(row["received_at"])),
                state=state,
                document=document(payload),
            )
            if payload:
                # What clears a retained message has nothing to be compared with.
                found.append(sample)
            state = applied(state, sample.map())  # type: ignore[arg-type] # what interpret returns
    return found


def document(payload: bytes) -> bytes:
    """Returns the payload if it is JSON, else a JSON document of what it holds."""
    try:
        json.loads(payload)
    except ValueError:
        pass
    else:
        return payload
    if payload.lstrip().startswith(b"<"):
        return json.dumps(_tree(etree.fromstring(payload.strip()))).encode()
    pairs = parse_qsl(payload.decode())
    return json.dumps(dict(pairs) if pairs else payload.decode()).encode()


def _tree(element: Any) -> Any:
    inner = [_tree(each) for each in element]
    return {"name": element.tag, **element.attrib, "text": element.text, "inner": inner}


def _pair(sample: Sample, span_s: float) -> tuple[float, float]:
    document = sample.document
    ours = _timed(sample.map, span_s)
    theirs = _timed(lambda: json.loads(document), span_s / 2)
    return ours * US, theirs * sample.scale * US


def _timed(call: Callable[[], object], span_s: float) -> float:
    times: list[float] = []
    until = time.perf_counter() + span_s
    while len(times) < CALLS_MIN or time.perf_counter() < until:
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def _slowest(found: list[Sample], span_s: float) -> str:
    rows = [(*_pair(each, span_s), each) for each in found]
    rows.sort(key=lambda row: row[1] / row[0])
    return "\n".join(
        f"{ours / theirs:6.1f} x {ours:8.1f} us {each.device:24} {each.topic}"
        for ours, theirs, each in rows
    )
