"""A complaint by the number of a basket that nobody known carries: over restarts, till he is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest

from edge_agent.domain.time import DAY_MS
from tests.factories import T0
from tests.integration.driven_agent import DrivenAgent, driven_agent, told

BASKET: Final = {"kind": "basket", "value": "b1"}
PHONE: Final = {"kind": "track", "value": "t1"}
TABLES: Final = ("visitor", "link", "complaint", "consent")


def rung_up(agent: DrivenAgent, n: int, basket: str = "b1") -> list[str]:
    """Returns the gates of what is decided for the next item in a basket."""
    agent.take(told("pos-2", "basket.item_added", T0 + n, f"i{n}", basket=basket, product=f"p{n}"))
    return newest(agent, "receipt")


def newest(agent: DrivenAgent, channel: str) -> list[str]:
    """Returns the gates of the newest decision on a channel."""
    query = "SELECT record FROM decision WHERE channel = ? ORDER BY id DESC LIMIT 1"
    record: dict[str, Any] = json.loads(agent.rows(query, channel)[0][0])
    return [gate for product, gate, _ in record["ruled_out"] if product == "*"]


def n_rows(agent: DrivenAgent) -> dict[str, int]:
    """Returns how many rows each table of people has."""
    return {each: agent.rows(f"SELECT count(*) FROM {each}")[0][0] for each in TABLES}  # noqa: S608


@pytest.mark.parametrize(
    ("kind", "data", "gate"),
    [
        ("complaint.opened", {"complaint": "1"}, "complaint"),
        ("consent.withdrawn", {"purposes": ["marketing"]}, "refused"),
    ],
)
def test_it_outlasts_a_restart(tmp_path: Path, kind: str, data: dict[str, Any], gate: str) -> None:
    """Said once, it holds for the basket and for no other; closed, it is over after one too."""
    with driven_agent(tmp_path) as agent:
        assert rung_up(agent, 1) == []
        assert sum(n_rows(agent).values()) == 0
        agent.take(told("desk", kind, T0 + 2, "c", visitor=BASKET, **data))
        assert rung_up(agent, 3) == [gate]
    with driven_agent(tmp_path, now_ms=T0 + 4) as agent:
        assert rung_up(agent, 5) == [gate]
        assert rung_up(agent, 6, "b2") == []
        if gate == "complaint":
            agent.take(told("desk", "complaint.closed", T0 + 7, "d", visitor=BASKET, **data))
    with driven_agent(tmp_path, now_ms=T0 + 8) as agent:
        assert rung_up(agent, 9) == ([] if gate == "complaint" else [gate])


def test_it_is_the_carrier_s_once_he_is_known(tmp_path: Path) -> None:
    """A late sensor tells who stood at the till: he is left alone, before his screens too."""
    with driven_agent(tmp_path) as agent:
        agent.take(told("pos-2", "basket.opened", T0, "o", basket="b1", register="pos-2"))
        agent.take(told("desk", "complaint.opened", T0 + 1, "c", visitor=BASKET, complaint="1"))
        here = {"visitor": PHONE, "zone": "checkout-2"}
        agent.take(told("cam-1", "zone.entered", T0 - 9, "e", **here))
        (carrier,) = agent.rows("SELECT carrier FROM basket")[0]
        assert agent.rows("SELECT kind FROM visitor WHERE id = ?", carrier) == [("track",)]
    with driven_agent(tmp_path, now_ms=T0 + 10) as agent:
        agent.take(told("cam-1", "zone.entered", T0 + 11, "f", visitor=PHONE, zone="dairy"))
        assert newest(agent, "screen") == ["complaint"]
        assert rung_up(agent, 12) == ["complaint"]


def test_it_goes_with_its_period(tmp_path: Path) -> None:
    """The number is another basket's the next day; the row goes as every daily pseudonym's."""
    with driven_agent(tmp_path) as agent:
        rung_up(agent, 1)
        agent.take(told("desk", "complaint.opened", T0 + 2, "c", visitor=BASKET, complaint="1"))
        assert n_rows(agent)["complaint"] == 1
    short = "[retention]\nvisits_days = 2\n"
    with driven_agent(tmp_path, now_ms=T0 + 4 * DAY_MS, extra=short) as agent:
        for _ in range(10):
            agent.idle()
        assert sum(n_rows(agent).values()) == 0
