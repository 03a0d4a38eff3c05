"""Devices' own messages a second, mapped on their way, every commit synced.

A mix of what `hardware/` holds samples of, in a turn of twenty: nine of crossings and tracks of
3D sensors and cameras, six of running totals (XML among them), two beacons, an RFID tag, two
receipts. Each message is a sample with its number, time or total moved on: each tells one
event.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, partial
from typing import Final

from edge_agent.cli.map import payload_bytes
from tests.bench.load import now_ms, rfc3339
from tests.bench.measured import Measured
from tests.bench.processes import NO_SCREEN
from tests.bench.setting import ROOT, Setting
from tests.bench.throughput import COUNTED, Flood, measured

TITLE: Final = "Throughput of devices' own messages"
# The messages of one flood follow each other so closely in their own time.
APART_MS: Final = 0.25
# Where the counting client hears the same payloads: a vendor's topics are the agent's.
COUNTED_UNDER: Final = "counted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A device, the sample that it sends, and what of it moves on.

    Attributes:
        device: A folder of `hardware/`.
        line: Of its `samples.jsonl`.
        share: Messages in a turn.
        zone: What its mapping calls the zone.
        moves: Texts of the sample, and what stands there instead: `n` counts its messages, `ms`,
            `s`, `time` and `local` are the message's own time.
        has_total: Whether it sends a running total: its first message is a baseline.
    """

    device: str
    line: int
    share: int
    zone: str
    moves: tuple[tuple[str, str], ...]
    has_total: bool = False

    def message(self, n: int, at_ms: float) -> tuple[str, bytes]:
        """Returns its n-th message."""
        topic, text = _sample(self.device, self.line)
        time = rfc3339(at_ms)
        told = {"n": n, "ms": round(at_ms), "s": round(at_ms / 1_000, 3), "time": time}
        for old, new in self.moves:
            assert old in text, f"the sample of {self.device} has changed: no {old}"
            text = text.replace(old, new.format(**told, local=time.removesuffix("Z")))
        return topic, text.encode()


SOURCES: Final = (
    Source(
        device="xovis",
        line=0,
        share=5,
        zone="Door",
        moves=(("1772445541040", "{ms}"), ('"track_id":7', '"track_id":{n}')),
    ),
    Source(
        device="frigate",
        line=0,
        share=4,
        zone="door",
        moves=(("1772445500.5-abc", "{n}-abc"), ("1772445500.75", "{s}")),
    ),
    Source(
        device="hikvision",
        line=2,
        share=2,
        zone="44:19:B6:00:00:01/1",
        moves=(("2026-03-02T10:55:00+01:00", "{time}"), ("<enter>1<", "<enter>{n}<")),
        has_total=True,
    ),
    Source(
        device="axis",
        line=1,
        share=2,
        zone="B8A44F000001/Device1Scenario2",
        moves=(("1772442060000", "{ms}"), ('"totalHuman":"103"', '"totalHuman":"{n}"')),
        has_total=True,
    ),
    Source(
        device="irisys",
        line=1,
        share=2,
        zone="vector-1",
        moves=(('"name":"Enter","count":122', '"name":"Enter","count":{n}'),),
        has_total=True,
    ),
    Source(
        device="minew",
        line=1,
        share=2,
        zone="AC:23:3F:C0:00:01",
        moves=(("2026-03-02T09:59:00.100Z", "{time}"), ("AC233F00ABCD", "AC233F{n:06X}")),
    ),
    Source(
        device="impinj",
        line=0,
        share=1,
        zone="impinj-1/1",
        moves=(("2026-03-02T09:59:00.000Z", "{time}"), ("00001A85", "{n:08X}")),
    ),
    Source(
        device="square",
        line=4,
        share=1,
        zone="",
        moves=(("ord9", "ord{n}"), ("2026-03-02T09:40:00.000Z", "{time}")),
    ),
    Source(
        device="arts-poslog",
        line=0,
        share=1,
        zone="",
        moves=(
            (">11</Seq", ">{n}</Seq"),
            (">11</Rec", ">{n}</Rec"),
            ("2026-03-02T09:30:11", "{local}"),
        ),
    ),
)


def _section(source: Source, zone: str) -> str:
    if not source.zone:
        return f"[mappings.{source.device}]"
    return f'[mappings.{source.device}.tables.zones]\n"{source.zone}" = "{zone}"'


LAYOUT: Final = "\n".join(
    [NO_SCREEN, *(_section(each, f"zone-{n}") for n, each in enumerate(SOURCES))]
)


def measure(setting: Setting) -> tuple[Measured, ...]:
    """Measures the mix."""
    n_events = setting.sized(10_000, quick=4_000)
    given = Flood(
        name="mapped",
        n_events=n_events,
        events=partial(native_messages, n_messages=n_events),
        before=baselines,
        layout=LAYOUT,
        counted_on=f"{COUNTED_UNDER}/#",
    )
    n_bytes = sum(len(payload) for _, payload in native_messages("", 1_000)) // 1_000
    return measured(
        setting,
        given,
        name="devices' own messages, mapped (power-loss)",
        note=f"{n_events:,} messages of {len(SOURCES)} vendors, {n_bytes} bytes on average, "
        "one event each",
        n_rounds=setting.sized(5, quick=2),
        aim=None,
    )


def native_messages(store: str, n_messages: int) -> Iterator[tuple[str, bytes]]:
    """Yields the mix in the order of its time, ending now."""
    turn = _turn()
    counts = dict.fromkeys(SOURCES, 0)
    from_ms = now_ms() - n_messages * APART_MS
    for number in range(n_messages):
        source = turn[number % len(turn)]
        counts[source] += 1
        topic, payload = source.message(counts[source], from_ms + number * APART_MS)
        yield f"{COUNTED_UNDER}/{topic}" if store == COUNTED else topic, payload


def baselines(_store: str) -> Iterator[tuple[str, bytes]]:
    """Yields the first word of each running total, which tells nothing."""
    at_ms = now_ms() - 60_000.0
    yield from (each.message(0, at_ms) for each in SOURCES if each.has_total)


def _turn() -> tuple[Source, ...]:
    rounds = range(max(each.share for each in SOURCES))
    return tuple(each for number in rounds for each in SOURCES if number < each.share)


@cache
def _sample(device: str, line: int) -> tuple[str, str]:
    path = ROOT / "hardware" / device / "samples.jsonl"
    row = json.loads(path.read_text(encoding="utf-8").splitlines()[line])
    return str(row["topic"]), payload_bytes(row["payload"]).decode()
