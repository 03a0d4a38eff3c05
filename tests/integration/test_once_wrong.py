"""Faults that were found once and mended: each with the test that failed before.

They are of the road, the periods and what is kept in bounds; everything but the sockets is real.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest

from edge_agent.domain.basket import Basket
from edge_agent.domain.time import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS
from edge_agent.errors import StoreError
from edge_agent.runner import dead_letters
from edge_agent.shell.register_stays import HORIZON_MS
from edge_agent.wire import topics
from tests.factories import T0
from tests.integration.driven_agent import (
    STORE,
    TILL,
    DrivenAgent,
    crowd,
    driven_agent,
    entered,
    told,
)

K: Final = 10


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[DrivenAgent]:
    """An agent under a replay's clock."""
    with driven_agent(tmp_path) as made:
        yield made


def opened(at_ms: int, name: str, *, basket: str = "b1") -> dict[str, Any]:
    """Returns that a basket was opened at the till that wants receipts."""
    return told(TILL, "basket.opened", at_ms, name, basket=basket)


def recommended(agent: DrivenAgent) -> list[str]:
    """Returns the events that a recommendation answered."""
    topic = topics.recommendation(STORE, "dairy-1")
    return [each["cause"]["id"] for each in agent.documents(topic)]


def fails(*_: object, **__: object) -> None:
    """Fails in place of whatever it stands for."""
    msg = "planted"
    raise RuntimeError(msg)


# --- a failed event is not told to be both refused and committed --------------------------------


def test_a_failed_event_is_refused_and_not_committed(
    agent: DrivenAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A till hears of an event that the agent could not take once, and in one voice."""
    with monkeypatch.context() as broken:
        broken.setattr(agent.road.intake._arrivals, "of", fails)
        agent.take(opened(T0, "o1"))
    assert agent.receipts("o1") == ["refused"]
    assert agent.rows("SELECT count(*) FROM inbox") == [(0,)]
    agent.take(opened(T0, "o1"))
    assert agent.receipts("o1") == ["refused", "committed"]
    assert agent.rows("SELECT count(*) FROM basket") == [(1,)]


# --- one device's fast clock takes no decisions from the others ---------------------------------


@pytest.mark.parametrize("ahead_s", [11, 120, 299])
def test_a_fast_clock_makes_nobody_late(agent: DrivenAgent, ahead_s: int) -> None:
    """After an event from the near future, one of now, some seconds on its way, still decides."""
    agent.take(entered(T0 + ahead_s * SECOND_MS, 1, zone="entrance"))
    agent.take(entered(T0 - 5 * SECOND_MS, 2))
    assert recommended(agent)[-1] == f"enter-2-dairy-{T0 - 5 * SECOND_MS}"


# --- every period that a late mark changes is made again ----------------------------------------


def test_a_late_mark_makes_the_period_of_its_stay_again(agent: DrivenAgent) -> None:
    """Visits that began before ten and ended after it: a stay told late changes ten o'clock."""
    ten = T0 - T0 % HOUR_MS + HOUR_MS
    on_time, late = range(2 * K), range(2 * K, 4 * K)
    everybody = (*on_time, *late)
    agent.tick(ten - 20 * MINUTE_MS)
    agent.take(*crowd(ten - 20 * MINUTE_MS, everybody, zone="entrance"))
    agent.tick(ten + 5 * MINUTE_MS)
    agent.take(*crowd(ten + MINUTE_MS, on_time))
    agent.take(*(_ended(ten + 5 * MINUTE_MS, phone) for phone in everybody))
    agent.tick(ten + 2 * HOUR_MS)
    assert _stays_from(agent, ten)[-1] == {"entrance": 4 * K, "dairy": 2 * K}
    agent.take(*crowd(ten + MINUTE_MS, late))
    agent.tick(ten + 3 * HOUR_MS)
    assert _stays_from(agent, ten)[-1] == {"entrance": 4 * K, "dairy": 4 * K}


def test_a_late_sale_makes_its_own_hour_again(agent: DrivenAgent) -> None:
    """A basket of nine o'clock that was paid after ten: its sale, told late, redoes ten."""
    ten = T0 - T0 % HOUR_MS + HOUR_MS
    baskets = [f"b{n}" for n in range(2 * K)]
    agent.tick(ten - 5 * MINUTE_MS)
    agent.take(*(opened(ten - 5 * MINUTE_MS, f"open-{each}", basket=each) for each in baskets))
    agent.tick(ten + 2 * HOUR_MS)
    assert not any(each["cells"] for each in _of_period(agent, "sales", ten))
    agent.take(*(_paid(ten + 5 * MINUTE_MS, each) for each in baskets))
    agent.tick(ten + 3 * HOUR_MS)
    newest = _of_period(agent, "sales", ten)[-1]
    assert newest["cells"][0]["counts"] == {"lines": 2 * K}


def _ended(at_ms: int, phone: int) -> dict[str, Any]:
    visitor = {"kind": "track", "value": f"t{phone}"}
    return told("cam-1", "visit.ended", at_ms, f"end-{phone}", visitor=visitor)


def _paid(at_ms: int, basket: str) -> dict[str, Any]:
    line = {"product": "1029743", "quantity": 1, "amount": "1.00"}
    return told(
        TILL,
        "sale.completed",
        at_ms,
        f"paid-{basket}",
        basket=basket,
        currency="USD",
        total="1.00",
        lines=[line],
    )


def _of_period(agent: DrivenAgent, kind: str, start_ms: int) -> list[dict[str, Any]]:
    name = f"{STORE}.{kind}.{start_ms // SECOND_MS}."
    return [each for each in agent.summaries(kind) if each["summary_id"].startswith(name)]


def _stays_from(agent: DrivenAgent, start_ms: int) -> list[dict[str, int]]:
    return [
        {cell["keys"]["zone"]: cell["counts"]["stays"] for cell in each["cells"]}
        for each in _of_period(agent, "dwell", start_ms)
    ]


# --- what door counters alone counted leaves ----------------------------------------------------


@pytest.mark.parametrize(("entries", "leaves"), [(K, True), (K - 1, False), (0, True)])
def test_door_counts_leave_without_any_visit(
    agent: DrivenAgent, entries: int, *, leaves: bool
) -> None:
    """A store that has counters only: their sums reach HQ, but for sums of a few people."""
    count = {"zone": "entrance", "entries": entries, "exits": 0, "interval_s": 60.0}
    agent.take(told("door-1", "people.counted", T0, "count-1", **count))
    agent.tick(T0 + 2 * HOUR_MS)
    newest = _of_period(agent, "footfall", T0 - T0 % HOUR_MS)[-1]
    doors = [cell for cell in newest["cells"] if cell["keys"] == {"place": "doors"}]
    assert [cell["counts"]["entries"] for cell in doors] == ([entries] if leaves else [])


# --- dead letters: bounded, and counted again after a purge -------------------------------------


def test_dead_letters_are_kept_again_after_old_ones_went(
    agent: DrivenAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the table is full nothing is added; once a day's letters are deleted, new ones are."""
    monkeypatch.setattr(dead_letters, "ROWS_MAX", 5)
    _refuse(agent, 8)
    assert _n_letters(agent) == 5
    agent.tick(T0 + 2 * DAY_MS)
    agent.idle()
    assert _n_letters(agent) == 0
    _refuse(agent, 3)
    assert _n_letters(agent) == 3


def test_payloads_are_kept_again_after_old_ones_went(
    agent: DrivenAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same for their payloads' bytes: what is over the bound is kept without its payload."""
    monkeypatch.setattr(dead_letters, "PAYLOADS_MAX_BYTES", 200)
    _refuse(agent, 20)
    kept = "SELECT count(*) FROM dead_letter WHERE payload IS NOT NULL"
    n_kept = agent.rows(kept)[0][0]
    assert 0 < n_kept < 20
    agent.tick(T0 + 2 * DAY_MS)
    agent.idle()
    _refuse(agent, 20)
    assert agent.rows(kept) == [(n_kept,)]


def _refuse(agent: DrivenAgent, n: int) -> None:
    for number in range(n):
        agent.raw(topics.event(STORE, "ble-1"), b"no event %d" % number)
    agent.turn()


def _n_letters(agent: DrivenAgent) -> int:
    return int(agent.rows("SELECT count(*) FROM dead_letter")[0][0])


# --- the index of who stands at tills is let go of ----------------------------------------------


def test_who_stood_at_a_till_is_let_go_of(agent: DrivenAgent) -> None:
    """A day of customers leaves no more in memory than the last hours of them."""
    hours = 12
    now_ms = T0
    for hour in range(hours):
        for minute in range(0, 60, 10):
            now_ms = T0 + hour * HOUR_MS + minute * MINUTE_MS
            number = hour * 60 + minute
            agent.tick(now_ms)
            agent.take(
                entered(now_ms, number, zone="checkout-2"),
                opened(now_ms, f"o{number}", basket=f"b{number}"),
                _paid(now_ms, f"b{number}"),
                _ended(now_ms, number),
            )
    index: Any = agent.agent._state._registers
    most = (HORIZON_MS // HOUR_MS + 1) * 6 + 1
    assert agent.rows("SELECT count(*) FROM basket") == [(hours * 6,)]
    assert len(index.baskets("checkout-2", from_ms=0, to_ms=now_ms)) <= most
    assert len(index.stays("checkout-2", from_ms=0, to_ms=now_ms)) <= most
    assert len(index._tracked) <= 2 * most
    # What is asked of older times comes from the disk, and is the same.
    near = agent.agent._state.baskets_near("checkout-2", from_ms=T0, to_ms=now_ms)  # type: ignore[arg-type]
    assert len(near) == hours * 6


# --- damage that the database's own check passes over ends no start ------------------------------


def test_a_row_that_cannot_be_read_is_damage_too(tmp_path: Path) -> None:
    """The database is set aside and a new one begun; the agent does not fail at every start."""
    with driven_agent(tmp_path) as agent:
        agent.take(entered(T0, 1))
    path = next(tmp_path.rglob("*.sqlite3"), None) or next(tmp_path.rglob("*.db"))
    with closing(sqlite3.connect(path)) as damaged:
        damaged.execute("UPDATE mark SET kind = 'enteq'")
        damaged.commit()
    with driven_agent(tmp_path) as agent:
        agent.take(entered(T0, 2))
        assert agent.rows("SELECT count(*) FROM inbox") == [(1,)]
    assert path.with_name(f"{path.name}.damaged").exists()


# --- a message is never taken for one that is gone ----------------------------------------------


def test_what_waits_at_a_full_disk_is_not_taken_for_what_is_gone(agent: DrivenAgent) -> None:
    """Messages that were never decoded ahead may lie where acknowledged ones have lain."""
    agent.take(*crowd(T0, range(50)))
    # A real link lets go of what it acknowledged.
    agent.link.acked.clear()
    agent.hand(*crowd(T0, range(50, 100)))
    # So are they all looked through for what restricts.
    assert len(agent.loop.waiting.all()) == 50
    agent.turn()
    assert agent.rows("SELECT count(*) FROM inbox") == [(100,)]


# --- what was asked for and could not be written is not said to be done --------------------------


def test_a_call_that_the_database_refuses_is_not_answered_as_done(agent: DrivenAgent) -> None:
    """Whoever asks hears the database's error, and what is asked next is done."""

    def unwritable() -> dict[str, Any]:
        agent.agent._unit.add("audit", ("no time", 0, "planted", "ok"))
        return {"done": True}

    first, second = asked(agent, unwritable), asked(agent, lambda: {"done": True})
    agent.loop._answering.answer_all()
    assert isinstance(first.exception(timeout=0), StoreError)
    assert second.result(timeout=0) == {"done": True}
    assert agent.loop.trouble.message == ""


def asked(agent: DrivenAgent, do: Callable[[], dict[str, Any]]) -> Future[dict[str, Any]]:
    """Asks for something as another thread does; it is answered between two batches."""
    future: Future[dict[str, Any]] = Future()
    agent.loop.calls._waiting.append((do, future, False))
    return future


# --- a letter that fails half-way when it is tried again leaves nothing behind -------------------


def test_a_letter_that_fails_half_way_leaves_nothing_and_spares_the_others(
    agent: DrivenAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its batch is done again without it."""
    with monkeypatch.context() as broken:
        broken.setattr(agent.road.intake._arrivals, "of", fails)
        agent.take(opened(T0, "o1", basket="b1"), opened(T0, "o2", basket="b2"))
    assert agent.rows("SELECT count(*) FROM dead_letter") == [(2,)]
    with monkeypatch.context() as broken:
        put = agent.agent._unit.put
        failed: set[str] = set()

        def fails_after_a_basket(change: Any) -> None:
            put(change)
            if isinstance(change, Basket) and not failed:
                failed.add(change.id)
                fails()

        broken.setattr(agent.agent._unit, "put", fails_after_a_basket)
        again = asked(agent, lambda: agent.agent._retries.some((0, "")))
        agent.loop._answering.answer_all()
    outcomes = sorted(each["outcome"] for each in again.result(timeout=0)["letters"])
    assert outcomes == ["refused", "taken"]
    assert agent.rows("SELECT count(*) FROM basket") == [(1,)]
    assert agent.rows("SELECT count(*) FROM inbox") == [(1,)]


# --- a full disk lets nothing overtake what is held back -----------------------------------------


def test_what_waits_at_a_full_disk_is_held_back_all_the_same(tmp_path: Path) -> None:
    """It goes on in the order that it happened in, and is acknowledged in that of its coming."""
    with driven_agent(tmp_path, ingest="quiet_wait_ms = 0\nhold_back_s = 5") as agent:
        n_before = len(agent.link.acked)
        agent.take(entered(T0 + 2 * SECOND_MS, 1))
        agent.hand(entered(T0 + SECOND_MS, 2))
        assert agent.loop.waiting.all() == []
        agent.turn()
        assert agent.rows("SELECT count(*) FROM inbox") == [(0,)]
        assert len(agent.link.acked) == n_before
        agent.tick(T0 + 20 * SECOND_MS)
        entries = [each for each in recommended(agent) if each.startswith("enter-")]
        assert entries[0] == f"enter-2-dairy-{T0 + SECOND_MS}"
        acked = [each.mid for each in agent.link.acked[n_before:]]
        assert acked == sorted(acked)
