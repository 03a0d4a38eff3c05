"""When HQ was last heard, kept over restarts: by its fresh, signed words to this store alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_agent.domain.policy import Policy
from edge_agent.domain.time import DAY_MS, MINUTE_MS, SECOND_MS, rfc3339_from_ms
from edge_agent.hq.keys import public_text
from edge_agent.shell.health import read_health
from edge_agent.shell.hq_mark import HqMark
from edge_agent.shell.signing import DEMO_KEY_ID, demo_private_key, sign_command
from edge_agent.wire import topics
from edge_agent.wire.downlink import AckBody, AckCommand
from tests.factories import CARD, T0
from tests.fakes import FakeDelivery
from tests.integration.commands import ran
from tests.integration.driven_agent import CONFIG, STORE, DrivenAgent, driven_agent, told

KEY: Final = demo_private_key()
OVER_MS: Final = Policy().hq_stale_after_days * DAY_MS
PRIVATE: Final = '[sources.kiosk-1]\naudience = "private"\n'


@contextmanager
def a_store(folder: Path, *, now_ms: int) -> Iterator[DrivenAgent]:
    """An agent with an HQ that is heard only where a test says so."""
    with driven_agent(folder, now_ms=now_ms, key=public_text(KEY), extra=PRIVATE) as agent:
        yield agent


def ack(issued_at_ms: int, *, store: str = STORE, key: Any = KEY) -> bytes:
    """Returns a signed word of HQ."""
    issued_at = datetime.fromtimestamp(issued_at_ms / SECOND_MS, UTC)
    command = AckCommand(
        command="ack-1",
        store=store,
        version=1,
        key="ack",
        issued_at=issued_at,
        expires_at=issued_at + timedelta(days=100),
        kind="ack",
        body=AckBody(ids=("x",)),
    )
    return sign_command(command, key=key, key_id=DEMO_KEY_ID)


def hears(agent: DrivenAgent, payload: bytes) -> None:
    """Hands a word of HQ in."""
    agent.raw(topics.hq_down(STORE, "ack"), payload, link="hq")
    agent.turn()


def decided(agent: DrivenAgent, now_ms: int) -> dict[str, Any]:
    """Returns the record of what is decided for a consenting card holder's basket."""
    agent.tick(now_ms)
    card = {"kind": "loyalty", "value": CARD}
    basket = f"b{now_ms}"
    purposes = ["personal_recommendations"]
    agent.take(
        told("desk", "consent.granted", now_ms, f"g{now_ms}", visitor=card, purposes=purposes),
        told("pos-2", "loyalty.scanned", now_ms, f"l{now_ms}", visitor=card, basket=basket),
        told("pos-2", "basket.item_added", now_ms, f"i{now_ms}", basket=basket, product="1"),
    )
    query = "SELECT record FROM decision WHERE channel = 'receipt' ORDER BY id DESC LIMIT 1"
    record: dict[str, Any] = json.loads(agent.rows(query)[0][0])
    return record


def gates(record: dict[str, Any]) -> list[str]:
    """Returns what ruled everything out."""
    return [gate for product, gate, _ in record["ruled_out"] if product == "*"]


def test_the_silence_begins_by_the_clock_and_outlasts_a_restart(tmp_path: Path) -> None:
    """From the first start with HQ on; it is told as a problem, and ends with HQ's next word."""
    with a_store(tmp_path, now_ms=T0) as agent:
        assert gates(decided(agent, T0 + OVER_MS - MINUTE_MS)) == []
    with a_store(tmp_path, now_ms=T0 + OVER_MS) as agent:
        record = decided(agent, T0 + OVER_MS + MINUTE_MS)
        assert (gates(record), record["hq_silent_days"]) == (["hq_unheard"], 35)
        assert "hq_unheard" in agent.agent._problems()
        agent.agent._progressed()
        state = agent.documents(topics.agent_state(STORE))[-1]
        assert "hq_unheard" in state["problems"]
        hears(agent, ack(T0 + OVER_MS + 2 * MINUTE_MS))
        assert gates(decided(agent, T0 + OVER_MS + 3 * MINUTE_MS)) == []
        agent.agent._progressed()
        state = agent.documents(topics.agent_state(STORE))[-1]
        assert "hq_unheard" not in state["problems"]
        heard_ms = read_health(tmp_path / "state.db").hq_heard_ms
        # HQ's clock is ahead of the store's: what counts is the store's present.
        assert heard_ms == T0 + OVER_MS + MINUTE_MS
    with a_store(tmp_path, now_ms=T0 + OVER_MS + DAY_MS) as agent:
        assert gates(decided(agent, T0 + OVER_MS + DAY_MS)) == []


@pytest.mark.parametrize("word", ["old", "other store", "forged"])
def test_nothing_but_a_fresh_word_of_hq_to_this_store_ends_it(tmp_path: Path, word: str) -> None:
    """A repeated message, one for another store, one under another key."""
    now_ms = T0 + OVER_MS
    payload = {
        "old": ack(T0 - DAY_MS),
        "other store": ack(now_ms, store="s2"),
        "forged": ack(now_ms, key=Ed25519PrivateKey.generate()),
    }[word]
    with a_store(tmp_path, now_ms=T0) as agent:
        agent.tick(now_ms)
        hears(agent, payload)
        assert gates(decided(agent, now_ms + MINUTE_MS)) == ["hq_unheard"]


def test_a_word_that_could_not_be_written_is_not_heard(tmp_path: Path) -> None:
    """What is rolled back counts again when it comes again."""
    now_ms = T0 + OVER_MS
    with a_store(tmp_path, now_ms=T0) as agent:
        agent.tick(now_ms)
        agent.loop._taking.begin()
        agent.road.commands.take(
            FakeDelivery(topic=topics.hq_down(STORE, "ack"), payload=ack(now_ms))
        )
        agent.loop._unit.roll_back()
        agent.loop._taking.begin()
        agent.road.present.set_now(now_ms)
        assert agent.road.present.is_hq_unheard
        hears(agent, ack(now_ms))
        assert not agent.road.present.is_hq_unheard


def test_a_lost_database_does_not_make_hq_heard(tmp_path: Path) -> None:
    """The silence goes on as it was."""
    with a_store(tmp_path, now_ms=T0) as agent:
        assert gates(decided(agent, T0 + MINUTE_MS)) == []
    (tmp_path / "state.db").write_bytes(b"\xff" * 4_096)
    for days, expected in ((34, []), (35, ["hq_unheard"]), (36, ["hq_unheard"])):
        with a_store(tmp_path, now_ms=T0 + days * DAY_MS) as agent:
            assert gates(decided(agent, T0 + days * DAY_MS + MINUTE_MS)) == expected


def test_an_instant_of_the_future_is_none(tmp_path: Path) -> None:
    """The file is no way to make HQ heard for ever."""
    mark = HqMark(tmp_path / "hq_heard")
    mark.keep(T0)
    assert mark.read(now_ms=T0) == mark.read(now_ms=0) == T0
    assert mark.read(now_ms=T0 - 1) == 0


@pytest.mark.parametrize("left", [None, b"", b"1 2\n", b"\xff"])
def test_with_both_copies_of_the_instant_lost_it_is_closed(
    tmp_path: Path, left: bytes | None
) -> None:
    """Until HQ is heard, over a restart too: nobody knows how old is what is known."""
    with a_store(tmp_path, now_ms=T0) as agent:
        assert gates(decided(agent, T0 + MINUTE_MS)) == []
    (tmp_path / "state.db").write_bytes(b"\xff" * 4_096)
    (tmp_path / "hq_heard").unlink()
    if left is not None:
        (tmp_path / "hq_heard").write_bytes(left)
    for start in (1, 2):
        with a_store(tmp_path, now_ms=T0 + start * DAY_MS) as agent:
            assert gates(decided(agent, T0 + start * DAY_MS + MINUTE_MS)) == ["hq_unheard"]
    with a_store(tmp_path, now_ms=T0 + 3 * DAY_MS) as agent:
        hears(agent, ack(T0 + 3 * DAY_MS))
        assert gates(decided(agent, T0 + 3 * DAY_MS + MINUTE_MS)) == []


def test_doctor_judges_a_replayed_day_by_its_last_tick(tmp_path: Path) -> None:
    """However long ago the day was: HQ's word is old when the day's own clock says so."""
    path, state = tmp_path / "agent.toml", tmp_path / "state"
    text = CONFIG.format(store=STORE, folder=state, clock="replay", hq="", top="")
    path.write_text(text, encoding="utf-8")
    found = []
    for now_ms in (T0, T0 + OVER_MS):
        with a_store(state, now_ms=now_ms) as agent:
            agent.tick(now_ms + MINUTE_MS)
        answer = json.loads(ran("doctor", "--config", path, "--json").stdout)
        found += [each for each in answer if each["what"] == "hq's word"]
    fresh, old = found
    assert fresh["mend"] == ""
    assert rfc3339_from_ms(T0 + MINUTE_MS) in fresh["found"]
    assert "left alone" in old["mend"]
