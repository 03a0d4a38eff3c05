"""Devices in trouble on a real broker: everybody who should hear of it does, once."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import pytest

from edge_agent.domain.time import HOUR_MS, datetime_from_ms, ms_from_datetime
from edge_agent.state.drift import last_day_ms
from tests.integration.broker import Broker
from tests.integration.commands import ran
from tests.integration.running_agent import (
    STORE,
    Device,
    RunningAgent,
    device,
    event,
    visitor,
    wait_for,
)

pytestmark = pytest.mark.broker

STATE: Final = f"store/{STORE}/agent/state"
HQ_STATE: Final = f"hq/{STORE}/up/state"
SILENT: Final = "device_silent:ble-1"
CLOCK: Final = "device_clock:ble-2"


def _status(agent: RunningAgent, *options: str) -> tuple[int, str]:
    done = ran("status", "--config", agent.config, *options)
    return done.returncode, done.stdout


def _speak(store: Device, source: str, number: int, *, ahead_s: float = 0.0) -> None:
    who = visitor("ble", f"p{number}")
    told = event(source, "zone.entered", zone="dairy", visitor=who)
    at = datetime.now(UTC) + timedelta(seconds=ahead_s)
    store.send({**told, "time": at.isoformat()})


def _states(store: Device, topic: str) -> list[tuple[str, tuple[str, ...]]]:
    return [(each["health"], tuple(each["problems"])) for each in store.documents(topic)]


def test_a_silent_device_and_a_wrong_clock_are_told_once_and_their_end_too(
    broker: Broker, tmp_path: Path
) -> None:
    """In the agent's state, at HQ, by `status` and its exit code, and by two lines of the log."""
    hq = f'[hq]\nhost = "127.0.0.1"\nport = {broker.port}\n'
    agent = RunningAgent(
        folder=tmp_path / "agent",
        port=broker.port,
        has_model=True,
        extra=f"[sources.ble-1]\nsilent_after_s = 5\n{hq}",
        policy="summary_period_s = 2\nsummary_grace_s = 0",
    )
    agent.start()
    try:
        with device(broker.port) as store:
            _speak(store, "ble-1", 1)
            _speak(store, "ble-2", 2, ahead_s=250)
            wrong = ("degraded", (SILENT, CLOCK))
            wait_for(lambda: wrong in _states(store, STATE), what="a state that tells of both")
            kinds = ("degraded", ("device_silent", "device_clock"))
            wait_for(lambda: kinds in _states(store, HQ_STATE), what="the same at HQ")
            devices = store.documents(HQ_STATE)[-1]["devices"]
            assert [each["device"] for each in devices if each["is_silent"]] == ["ble-1"]
            code, text = _status(agent, "--json")
            told: dict[str, Any] = json.loads(text)
            assert (code, told["health"], told["problems"]) == (1, *wrong[:1], [SILENT, CLOCK])
            assert "clock off" in _status(agent)[1]
            n_before = len(_states(store, STATE))

            def is_over() -> bool:
                _speak(store, "ble-1", 3)
                return ("degraded", (CLOCK,)) in _states(store, STATE)[n_before:]

            wait_for(is_over, what="the end of the silence")
    finally:
        agent.stop()
    alarms = [
        line for line in agent.log.splitlines() if '"device_alarm' in line and "ble-1" in line
    ]
    assert [json.loads(each)["event"] for each in alarms[:2]] == [
        "device_alarm",
        "device_alarm_over",
    ]
    assert _status(agent, "--json")[0] == 0


def _count(store: Device, source: str, *, entries: int, exits: int) -> None:
    """Tells of a count at noon of the last whole day, as a counter that was cut off does."""
    begin_ms, _ = last_day_ms(ms_from_datetime(datetime.now(UTC)), ZoneInfo("America/New_York"))
    at = datetime_from_ms(begin_ms + 8 * HOUR_MS)
    told = event(source, "people.counted", zone="dairy", entries=entries, exits=exits)
    store.send({**told, "time": at.isoformat()})


def test_a_counter_that_does_not_return_to_zero_is_told_until_it_does(
    broker: Broker, tmp_path: Path
) -> None:
    """By the store's own limits: one door is known to miss some, and another is wrong."""
    limits = "[devices]\nclock_behind_s = 604800\n[sources.door-3]\ndrift_people = 60\n"
    agent = RunningAgent(folder=tmp_path / "agent", port=broker.port, has_model=True, extra=limits)
    drifting = "device_drifting:door-1"
    agent.start()
    try:
        with device(broker.port) as store:
            _count(store, "door-1", entries=100, exits=50)
            _count(store, "door-2", entries=60, exits=60)
            _count(store, "door-3", entries=100, exits=60)
            wrong = ("degraded", (drifting,))
            wait_for(lambda: wrong in _states(store, STATE), what="a state that tells of it")
            code, text = _status(agent, "--json")
            told: dict[str, Any] = json.loads(text)
            assert (code, told["problems"]) == (1, [drifting])
            found = {each["source"]: each for each in told["devices"]}
            assert {name: each["inside"] for name, each in found.items()} == {
                "door-1": 50, "door-2": 0, "door-3": 40,
            }  # fmt: skip
            assert [name for name, each in found.items() if each["is_drifting"]] == ["door-1"]
            assert "+50 of 100" in _status(agent)[1]
            # Who left by the door was counted after all.
            _count(store, "door-1", entries=0, exits=50)
            wait_for(
                lambda: _states(store, STATE)[-1] == ("good", ()), what="the end of the drift"
            )
            assert _status(agent, "--json")[0] == 0
    finally:
        agent.stop()
    alarms = [json.loads(line) for line in agent.log.splitlines() if '"device_alarm' in line]
    assert [(each["event"], each["devices"]) for each in alarms] == [
        ("device_alarm", ["door-1"]),
        ("device_alarm_over", ["door-1"]),
    ]
