"""Fourteen steps of the clock: nothing lost, nothing deleted, who complained is left alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import paho.mqtt.client as paho
import pytest

from edge_agent.domain.time import (
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    SECOND_MS,
    ms_from_datetime,
    rfc3339_from_ms,
)
from edge_agent.shell.clock import SystemClock
from edge_agent.wire import topics
from tests.integration.driven_agent import (
    STORE,
    DrivenAgent,
    crowd,
    driven_agent,
    entered,
    told,
)

# A summer's day; the night in which New York's clocks go back is 1 November 2026.
NOW: Final = ms_from_datetime(datetime(2026, 7, 1, 15, tzinfo=UTC))
CLOCKS_GO_BACK: Final = ms_from_datetime(datetime(2026, 11, 1, 5, 55, tzinfo=UTC))
CLOCKS_GO_AHEAD: Final = ms_from_datetime(datetime(2027, 3, 14, 6, 55, tzinfo=UTC))
N_PEOPLE: Final = 6
ANGRY: Final = 1
"""Of those people, who complained."""
KEPT: Final = ("inbox", "visit", "visitor", "link", "complaint", "decision", "basket")


@dataclass(slots=True)
class Machine:
    """A machine whose clocks are moved by hand; `true_ms` is what time it really is."""

    true_ms: int = NOW
    off_by_ms: int = 0
    synchronised: bool = False
    _started_ms: int = NOW

    def pass_s(self, seconds: float) -> None:
        """Lets time pass."""
        self.true_ms += round(seconds * SECOND_MS)

    def says(self, wall_ms: int) -> None:
        """Sets the machine's clock."""
        self.off_by_ms = wall_ms - self.true_ms

    def clock(self, *, floor_ms: int) -> SystemClock:
        """Returns the product's clock on this machine."""
        return SystemClock(
            floor_ms=floor_ms,
            wall_ms=lambda: self.true_ms + self.off_by_ms,
            monotonic_s=lambda: (self.true_ms - self._started_ms) / SECOND_MS,
            is_synchronised=lambda: self.synchronised,
        )


def never_set(machine: Machine) -> None:
    """1970: no battery, no network."""
    machine.says(0)


def year_2000(machine: Machine) -> None:
    """Where some batteryless clocks begin."""
    machine.says(946_684_800_000)


def year_2038(machine: Machine) -> None:
    """One second after 32 bits."""
    machine.says(2_147_483_648_000)


def year_2106(machine: Machine) -> None:
    """One second after 32 bits without a sign."""
    machine.says(4_294_967_296_000)


def ntp_ahead(machine: Machine) -> None:
    """NTP says that it was slow by four minutes."""
    machine.synchronised = True
    machine.off_by_ms += 4 * MINUTE_MS


def ntp_back(machine: Machine) -> None:
    """NTP says that it was fast by an hour."""
    machine.synchronised = True
    machine.off_by_ms -= HOUR_MS


def days_ahead(machine: Machine) -> None:
    """Set wrongly by hand, and no NTP; what comes in is no older than may still be corrected."""
    machine.off_by_ms += 5 * DAY_MS


STEPS: Final = (
    never_set,
    year_2000,
    year_2038,
    year_2106,
    ntp_ahead,
    ntp_back,
    days_ahead,
)


@pytest.mark.parametrize("when", ["running", "start"])
@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)
def test_a_step_loses_and_deletes_nothing(
    tmp_path: Path, step: Callable[[Machine], None], when: str
) -> None:
    """Events before, during and after it are all kept, and a complaint silences throughout."""
    machine = Machine()
    begin = partial(driven_agent, tmp_path, clock="system", system_clock=machine.clock)
    with begin() as agent:
        _busy(agent, machine, "before")
        agent.take(_complaint(machine.true_ms))
        kept = _counts(agent)
        if when == "running":
            step(machine)
            _after(agent, machine, kept)
    if when == "start":
        machine.pass_s(60)
        step(machine)
        with begin() as agent:
            _after(agent, machine, kept)
    with begin() as agent:
        assert _counts(agent)["inbox"] == kept["inbox"] + 2 * N_PEOPLE


@pytest.mark.parametrize("from_ms", [CLOCKS_GO_BACK, CLOCKS_GO_AHEAD])
def test_a_change_of_summer_time_is_no_step(tmp_path: Path, from_ms: int) -> None:
    """Over the hour that comes twice, or not at all, each hour's visits are counted once."""
    n_hours, people = 4, range(12)
    with driven_agent(tmp_path, now_ms=from_ms) as agent:
        for hour in range(n_hours):
            at_ms = from_ms + hour * HOUR_MS
            agent.tick(at_ms)
            agent.take(*crowd(at_ms, [100 * hour + phone for phone in people]))
        agent.tick(from_ms + (n_hours + 2) * HOUR_MS)
        found = agent.summaries("footfall")
    starts = [datetime.fromisoformat(each["period_start"]).astimezone(UTC) for each in found]
    assert len(set(starts)) == len(starts)
    assert [each["cells"][0]["counts"] for each in found if each["cells"]] == [
        {"visits": len(people)}
    ] * n_hours


def _busy(agent: DrivenAgent, machine: Machine, name: str) -> None:
    for phone in range(N_PEOPLE):
        machine.pass_s(2)
        at_ms = machine.true_ms
        agent.take(entered(at_ms, phone, event_id=f"{name}-{phone}"))


def _after(agent: DrivenAgent, machine: Machine, kept: dict[str, int]) -> None:
    assert _shown_to_the_angry(agent) == [f"before-{ANGRY}"]
    _busy(agent, machine, "during")
    agent.idle()
    # Minutes later, and again in the right time.
    machine.pass_s(300)
    machine.off_by_ms = 0
    _busy(agent, machine, "after")
    agent.idle()
    assert agent.road.counters["too_late"] == 0
    found = _counts(agent)
    assert all(found[table] >= kept[table] for table in KEPT), (kept, found)
    assert found["inbox"] == kept["inbox"] + 2 * N_PEOPLE
    assert _shown_to_the_angry(agent) == [f"before-{ANGRY}"]


@pytest.mark.parametrize("now", [rfc3339_from_ms(NOW + DAY_MS), "2001-01-01T00:00:00Z", "soon"])
def test_a_replays_tick_is_nothing_to_a_stores_agent(tmp_path: Path, now: str) -> None:
    """It goes by its own: the topic is not subscribed, and what comes on it moves nothing."""
    machine = Machine()
    tick = topics.clock(STORE)
    with driven_agent(tmp_path, clock="system", system_clock=machine.clock) as agent:
        agent.take(entered(NOW, 1))
        before = (agent.rows("SELECT * FROM visit"), agent.for_hq(), dict(agent.road.counters))
        agent.raw(tick, json.dumps({"now": now}).encode())
        agent.turn()
        machine.pass_s(1)
        agent.turn()
        assert agent.road.present.now_ms == NOW + SECOND_MS
        assert before == (
            agent.rows("SELECT * FROM visit"),
            agent.for_hq(),
            dict(agent.road.counters),
        )
        assert agent.link.acked[-1].topic == tick
        filters = [each.topic_filter for each in agent.agent._subscriptions()]
        assert not any(paho.topic_matches_sub(each, tick) for each in filters)


def _complaint(at_ms: int) -> dict[str, Any]:
    visitor = {"kind": "track", "value": f"t{ANGRY}"}
    return told("desk", "complaint.opened", at_ms, "angry", visitor=visitor, complaint="case-1")


def _shown_to_the_angry(agent: DrivenAgent) -> list[str]:
    """Returns the events of who complained that something was recommended for."""
    decided = agent.rows(
        "SELECT record FROM decision WHERE visitor IS NOT NULL AND level <> 'silence'"
    )
    causes = [json.loads(record)["cause"]["id"] for (record,) in decided]
    return [each for each in causes if each.endswith(f"-{ANGRY}")]


def _counts(agent: DrivenAgent) -> dict[str, int]:
    return {
        table: int(agent.rows(f"SELECT count(*) FROM {table}")[0][0])  # noqa: S608 - our own names
        for table in KEPT
    }
