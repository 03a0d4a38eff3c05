"""What a quiet shop writes: bytes and syncs for each presence or dwell event.

Two agents get the same events at the same time: one whose writes the kernel counts, one whose
syncs a tracer counts, because the tracer slows what it traces.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.bench.load import N_QUIET_ZONES, dwelt, entered, event_topic, now_ms
from tests.bench.measured import Aim, Measured
from tests.bench.processes import BROKER, BenchedAgent, benched_agent
from tests.bench.setting import Setting, file_system
from tests.bench.wire_client import wire_client
from tests.e2e.waiting import wait_until
from tests.integration.broker import running_broker

TITLE: Final = "Disk, quiet events"
RATE: Final = 20
N_VISITORS: Final = 100
# One entry into a zone, then dwell reports until the next.
EVENTS_A_ZONE: Final = 4
KIB: Final = 1_024
_SYNCS: Final = ("fdatasync(", "fsync(")


def measure(setting: Setting) -> tuple[Measured, ...]:
    """Measures a minute of presence and dwell with synced commits."""
    seconds = setting.sized(60, quick=10)
    n_events = seconds * RATE
    trace = setting.folder / "syncs.txt"
    with running_broker(setting.place("broker"), config=BROKER) as broker:
        counted = BenchedAgent(folder=setting.place("written"), port=broker.port)
        traced = BenchedAgent(
            folder=setting.place("synced"), port=broker.port, under=_tracer(trace)
        )
        with benched_agent(counted), benched_agent(traced):
            setting.say(f"disk: {n_events} events in {seconds} s")
            bytes_before, began_s = written_bytes(counted.pid), time.time()
            _send(broker.port, (counted.store, traced.store), n_events=n_events)
            counted.wait_events(n_events)
            traced.wait_events(n_events)
            n_bytes, ended_s = written_bytes(counted.pid) - bytes_before, time.time()
        n_syncs = _n_syncs(trace, began_s, ended_s)
    what = f"{n_events:,} events at {RATE}/s, {N_VISITORS} visitors, power-loss"
    note = f"{what}; {file_system(setting.folder)}"
    return (
        Measured(
            name="bytes written per quiet event",
            unit="KiB",
            values=(n_bytes / n_events / KIB,),
            aim=Aim("most", 8.0),
            note=f"{note}; write_bytes of /proc/PID/io, all files",
        ),
        Measured(
            name="syncs per quiet event",
            unit="syncs",
            values=(n_syncs / n_events,),
            aim=Aim("most", 0.3),
            note=f"{note}; fsync and fdatasync by strace",
        ),
    )


def written_bytes(pid: int) -> int:
    """Returns the bytes that a process caused to be sent to the disk so far."""
    for line in Path(f"/proc/{pid}/io").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name == "write_bytes":
            return int(value)
    raise OSError("the kernel does not count a process's writes")


def _send(port: int, stores: Sequence[str], *, n_events: int) -> None:
    begins_s = time.monotonic()
    with wire_client(port, "bench-gateway") as client:
        for number in range(n_events):
            wait_until(begins_s + number / RATE)
            event = _event(number)
            for store in stores:
                client.publish(event_topic(store), event)
            client.turn(0.0)
        while client.n_unacknowledged:
            client.turn(1.0)


def _event(number: int) -> bytes:
    turn, visitor = divmod(number, N_VISITORS)
    zone = f"zone-{(visitor + turn // EVENTS_A_ZONE) % N_QUIET_ZONES}"
    build = dwelt if turn % EVENTS_A_ZONE else entered
    return build(number, at_ms=now_ms(), visitor=visitor, zone=zone)


def _tracer(trace: Path) -> tuple[str, ...]:
    strace = shutil.which("strace")
    assert strace is not None, "strace is missing: run tests/tools/setup.sh"
    return (strace, "-f", "-ttt", "-e", "trace=fdatasync,fsync", "-o", str(trace))


def _n_syncs(trace: Path, began_s: float, ended_s: float) -> int:
    # A line: process id, seconds since 1970, call. A call that another thread cut in two has a
    # second line, "<... fdatasync resumed>", which is not counted again.
    lines = [line.split(maxsplit=2) for line in trace.read_text(encoding="utf-8").splitlines()]
    return sum(
        began_s <= float(at_s) <= ended_s for _, at_s, call in lines if call.startswith(_SYNCS)
    )
