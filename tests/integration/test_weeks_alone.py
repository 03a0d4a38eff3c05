"""Weeks without HQ: what waits for it stays within its bound, and is there within minutes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from edge_agent.domain.time import DAY_MS, HOUR_MS, SECOND_MS
from edge_agent.hq.keys import public_text
from edge_agent.shell.signing import DEMO_KEY_ID, demo_private_key, sign_command
from edge_agent.wire import topics
from edge_agent.wire.downlink import AckBody, AckCommand
from tests.factories import T0
from tests.integration.driven_agent import STORE, DrivenAgent, crowd, driven_agent

WEEK: Final = 7
MONTH: Final = 30
BOUND_BYTES: Final = 64_000_000
SMALL_MB: Final = 1
A_CROWD: Final = 12
"""Visitors an hour: enough that cells leave."""
BUSY: Final = range(9, 18)
"""Hours after the first, of each day, in which anybody is there."""
DRAINED_WITHIN_S: Final = 60.0
KEY: Final = demo_private_key()


@pytest.fixture
def lonely(tmp_path: Path) -> Iterator[DrivenAgent]:
    """An agent whose HQ is not there."""
    with driven_agent(tmp_path, key=public_text(KEY)) as agent:
        _hq_is(agent, there=False)
        yield agent


def test_a_week_alone_loses_nothing_and_drains(lonely: DrivenAgent) -> None:
    """Each hour's summaries wait in bounded bytes; when HQ is back it gets them all, soon."""
    _live(lonely, days=WEEK)
    waiting = {str(name) for (name,) in lonely.rows(_NAMES)}
    kinds = dict(lonely.rows("SELECT kind, count(*) FROM outbox WHERE link = 'hq' GROUP BY kind"))
    assert kinds["footfall"] >= WEEK * 24 - 2
    assert kinds["state"] >= WEEK * 24 - 2
    assert _n_bytes(lonely) <= BOUND_BYTES
    assert lonely.road.counters["hq_evicted"] == 0
    assert _drained(lonely) == waiting


@pytest.mark.slow
def test_a_month_alone_stays_within_its_bound(tmp_path: Path) -> None:
    """A small store's month waits whole, in a megabyte; `test_outbox` is over the bound."""
    bound = f"outbox_max_mb = {SMALL_MB}\n"
    with driven_agent(tmp_path, key=public_text(KEY), hq=bound) as agent:
        _hq_is(agent, there=False)
        for day in range(MONTH):
            _live(agent, days=1, first=day)
            assert _n_bytes(agent) <= 1_000_000 * SMALL_MB
        sales = agent.rows("SELECT count(*) FROM outbox WHERE kind = 'sales'")[0][0]
        n_lost = agent.road.counters["hq_evicted"]
        assert sales >= MONTH * 24 - 2
        assert n_lost == 0


_NAMES: Final = "SELECT message_id FROM outbox WHERE link = 'hq' ORDER BY id"


def _hq_is(agent: DrivenAgent, *, there: bool) -> None:
    link: Any = agent.agent._hq_link
    link.connected = there


def _live(agent: DrivenAgent, *, days: int, first: int = 0) -> None:
    for day in range(first, first + days):
        for hour in range(24):
            at_ms = T0 + day * DAY_MS + hour * HOUR_MS
            agent.tick(at_ms)
            if hour in BUSY:
                agent.take(*crowd(at_ms, range(hour * 100, hour * 100 + A_CROWD)))
    agent.tick(T0 + (first + days) * DAY_MS)


def _n_bytes(agent: DrivenAgent) -> int:
    query = "SELECT coalesce(sum(length(payload)), 0) FROM outbox WHERE link = 'hq'"
    return int(agent.rows(query)[0][0])


def _drained(agent: DrivenAgent) -> set[str]:
    """Has HQ answer everything that comes up; returns what it got."""
    _hq_is(agent, there=True)
    link: Any = agent.agent._hq_link
    got: set[str] = set()
    version = 0
    deadline_s = time.monotonic() + DRAINED_WITHIN_S
    while agent.rows(_NAMES):
        assert time.monotonic() < deadline_s
        version += 1
        agent.turn()
        names = [_name(payload) for _, payload, _ in link.published]
        link.published.clear()
        if names:
            got.update(names)
            agent.raw(topics.hq_down(STORE, "ack"), _ack(agent, names, version), link="hq")
    return got


def _name(payload: bytes) -> str:
    document = json.loads(payload)
    return str(document.get("summary_id") or document.get("state_id"))


def _ack(agent: DrivenAgent, names: list[str], version: int) -> bytes:
    now = datetime.fromtimestamp(agent.road.present.now_ms / SECOND_MS, UTC)
    command = AckCommand(
        command=f"ack-{version}",
        store=STORE,
        version=version,
        key="ack",
        issued_at=now,
        expires_at=now + timedelta(days=1),
        kind="ack",
        body=AckBody(ids=tuple(names)),
    )
    return sign_command(command, key=KEY, key_id=DEMO_KEY_ID)
