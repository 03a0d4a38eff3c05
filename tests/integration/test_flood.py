"""One device floods: the others are served as before, and nothing is lost."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from edge_agent.ingest.ordering import mark_of
from tests.integration.broker import Broker
from tests.integration.running_agent import (
    STORE,
    Device,
    device,
    event,
    running_agent,
    visitor,
    wait_for,
)

pytestmark = [pytest.mark.broker, pytest.mark.slow]

SCREEN: Final = f"store/{STORE}/screen/dairy-1/recommendation"
A_SECOND: Final = 20
N_WARM: Final = 40
N_MEASURED: Final = 200
TIMES: Final = 10
MOST_RATIO: Final = 2.0


def test_a_flood_by_one_device_slows_nobody_else(tmp_path: Path, broker: Broker) -> None:
    """At ten times the others' rate, their p99 is at most doubled, and of both all is taken in."""
    sent: list[tuple[str, str]] = []
    with (
        running_agent(tmp_path / "agent", broker.port, has_model=True) as agent,
        device(broker.port) as others,
        device(broker.port) as flooding,
    ):
        heard = _heard_at(others)
        _p99_ms(others, heard, sent, name="warm", n=N_WARM)
        calm_ms = _p99_ms(others, heard, sent, name="calm", n=N_MEASURED)
        stop = threading.Event()
        flood = threading.Thread(target=_flood, args=(flooding, sent, stop))
        flood.start()
        flooded_ms = _p99_ms(others, heard, sent, name="flood", n=N_MEASURED)
        stop.set()
        flood.join()
        database = agent.state / "state.db"
        wait_for(lambda: not _missing(database, sent), what="every event on the disk")
        print(f"p99 {calm_ms:.0f} ms calm, {flooded_ms:.0f} ms in a flood, {len(sent)} events")
    assert len(sent) > TIMES * N_MEASURED
    assert flooded_ms <= MOST_RATIO * calm_ms


def _heard_at(store: Device) -> dict[str, float]:
    """Notes when each event's recommendation came."""
    heard: dict[str, float] = {}
    keep = store.link._on_message

    def note(message: object) -> None:
        if getattr(message, "topic", "") == SCREEN:
            cause = json.loads(getattr(message, "payload", b""))["cause"]["id"]
            heard.setdefault(cause, time.monotonic())
        if keep is not None:
            keep(message)  # type: ignore[arg-type]  # what the link hands on

    store.link._on_message = note
    return heard


def _missing(database: Path, sent: list[tuple[str, str]]) -> set[int]:
    """Returns the marks of what was sent and is not on the disk."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        taken = {mark for (mark,) in connection.execute("SELECT mark FROM inbox")}
    return {mark_of(source, event_id) for source, event_id in sent} - taken


def _p99_ms(
    store: Device, heard: dict[str, float], told: list[tuple[str, str]], *, name: str, n: int
) -> float:
    """Has so many people come in at an even pace; returns the 99th percentile of the answers."""
    pace = threading.Event()
    sent: dict[str, float] = {}
    for number in range(n):
        who = visitor("ble", f"{name}-{number}")
        come = event("ble-1", "zone.entered", visitor=who, zone="dairy")
        sent[come["id"]] = time.monotonic()
        told.append((come["source"], come["id"]))
        store.send(come)
        pace.wait(1 / A_SECOND)
    wait_for(lambda: sent.keys() <= heard.keys(), what="an answer to every event")
    taken_s = sorted(heard[each] - at_s for each, at_s in sent.items())
    return 1_000 * taken_s[round(0.99 * len(taken_s)) - 1]


def _flood(device_: Device, told: list[tuple[str, str]], stop: threading.Event) -> None:
    number = 0
    while not stop.wait(1 / A_SECOND):
        for _ in range(TIMES):
            number += 1
            count = event("cam-9", "zone.occupancy", zone="bakery", count=number % 9)
            told.append((count["source"], count["id"]))
            device_.send(count)
