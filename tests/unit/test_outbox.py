"""What waits for HQ blocks nothing and is bounded; what is over for the store is counted."""

from __future__ import annotations

import sqlite3
from collections import Counter
from typing import Any, Final, cast

from edge_agent.domain.effects import Publish
from edge_agent.ports import UnitOfWork
from edge_agent.runner.egress import HqGate
from edge_agent.runner.outbox import (
    HQ_IN_FLIGHT,
    HQ_RESEND_S,
    HQ_SENDINGS_MAX,
    OTHERS_EXPIRED,
    SCREENS_EXPIRED,
    HqOutbox,
    StoreOutbox,
)
from edge_agent.wire import topics
from tests.fakes import FakeClock, FakeLink

MAX_BYTES: Final = 100_000
PAYLOAD: Final = b"x" * 500


class Rows:
    """The outbox's rows in a database in memory, deleted at once."""

    def __init__(self) -> None:
        self.db = sqlite3.connect(":memory:")
        self.db.execute(
            "CREATE TABLE outbox (id INTEGER PRIMARY KEY, link TEXT DEFAULT 'hq', topic TEXT,"
            " payload BLOB, message_id TEXT, kind TEXT)"
        )

    def put(self, name: str, *, kind: str = "sales") -> None:
        """Adds a row."""
        self.db.execute(
            "INSERT INTO outbox (topic, payload, message_id, kind) VALUES (?, ?, ?, ?)",
            (f"hq/s1/{name}", PAYLOAD, name, kind),
        )

    def query(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Returns rows."""
        return self.db.execute(sql, parameters).fetchall()

    def add(self, table: str, row: tuple[Any, ...]) -> None:
        """Deletes what the outbox wants deleted."""
        if table == "customer_unsent":
            return
        column = {"outbox_sent": "id", "outbox_acked": "message_id"}[table]
        self.db.execute(f"DELETE FROM outbox WHERE {column} = ?", row)  # noqa: S608 - one of two

    def kinds(self) -> dict[str, int]:
        """Returns how many rows of each kind wait."""
        return dict(self.query("SELECT kind, count(*) FROM outbox GROUP BY kind"))


class OpenGate:
    """A gate that lets everything through; what it may not is tested beside it."""

    def __init__(self, link: FakeLink) -> None:
        self._link = link

    @property
    def connected(self) -> bool:
        """Whether HQ can be reached."""
        return self._link.connected

    def send(self, _message_id: str, topic: str, payload: bytes, *, now_ms: int) -> bool:
        """Sends."""
        assert now_ms
        self._link.publish(topic, payload)
        return True

    def save(self, _unit: UnitOfWork) -> None:
        """Saves nothing."""


class Hq:
    """An outbox, its rows, and an HQ that answers what it takes."""

    def __init__(self, *, refuses: str = "refused") -> None:
        self.rows = Rows()
        self.clock = FakeClock(1_000_000)
        self.link = FakeLink()
        gate = cast(HqGate, OpenGate(self.link))
        self.outbox = HqOutbox(gate, self.clock, max_bytes=MAX_BYTES)
        self.refuses = refuses
        self.n_aside = 0

    def round(self) -> list[str]:
        """Lets the outbox send, and HQ answer; returns what was sent."""
        unit = cast(UnitOfWork, self.rows)
        self.n_aside += self.outbox.pump(unit)
        sent = [topic.rpartition("/")[2] for topic, _, _ in self.link.published]
        self.link.published.clear()
        self.clock.advance(0.1)
        taken = tuple(name for name in sent if not name.startswith(self.refuses))
        if taken:
            self.outbox.acked(unit, taken)
        self.clock.advance(HQ_RESEND_S + 1)
        return sent


def test_what_hq_refuses_blocks_nothing_and_is_counted() -> None:
    """More refused messages than fit on the way: the others still arrive, the refused rest."""
    hq = Hq()
    n_refused = HQ_IN_FLIGHT + 50
    for n in range(n_refused):
        hq.rows.put(f"refused-{n}")
    for n in range(300):
        hq.rows.put(f"good-{n}")
    for n in range(4 * HQ_SENDINGS_MAX):
        hq.rows.put(f"good-later-{n}")
        hq.round()
        hq.outbox.note_added()
    assert hq.rows.query("SELECT count(*) FROM outbox WHERE message_id LIKE 'good-%'") == [(0,)]
    assert hq.n_aside == n_refused
    assert hq.round() == []


def test_a_silent_hq_refuses_nothing() -> None:
    """While HQ answers nobody, all is sent again and nothing is given up."""
    hq = Hq(refuses="")
    for n in range(10):
        hq.rows.put(f"good-{n}")
    for _ in range(5 * HQ_SENDINGS_MAX):
        assert len(hq.round()) == 10
    assert hq.n_aside == 0


def test_a_new_connection_tries_again_what_was_refused() -> None:
    """HQ may have been mended meanwhile."""
    hq = Hq()
    hq.rows.put("refused-1")
    for n in range(HQ_SENDINGS_MAX + 1):
        hq.rows.put(f"good-{n}")
        hq.outbox.note_added()
        hq.round()
    assert hq.n_aside == 1
    assert hq.round() == []
    hq.link.connected = False
    hq.round()
    hq.link.connected = True
    assert hq.round() == ["refused-1"]


def test_over_its_bound_the_least_valuable_go_first_and_are_counted() -> None:
    """Money and people's word outlast behaviour."""
    hq = Hq()
    for n in range(300):
        for kind in ("confirm", "sales", "funnel"):
            hq.rows.put(f"{kind}-{n}", kind=kind)
    n_evicted = hq.outbox.keep_bounds(cast(UnitOfWork, hq.rows))
    kinds = hq.rows.kinds()
    assert sum(kinds.values()) * len(PAYLOAD) <= MAX_BYTES
    assert n_evicted == 900 - sum(kinds.values())
    assert set(kinds) == {"confirm"}


def test_what_is_over_before_its_turn_is_counted_and_not_sent() -> None:
    """Apart for screens; what still holds goes out with what is left of its time."""
    clock, link = FakeClock(1_000_000), FakeLink()
    counters: Counter[str] = Counter()
    outbox = StoreOutbox(link, clock, counters=counters)
    screen, till = topics.recommendation("s1", "dairy-1"), topics.receipt_offer("s1", "pos-2")
    for row_id, (topic, left_ms) in enumerate(
        [(screen, 0), (screen, -1), (till, 0), (screen, 5_000), ("screen/x/screen/y/z", 0)]
    ):
        over_ms = clock.now_ms() + left_ms
        outbox.send(row_id, Publish(topic=topic, payload=b"{}", expires_at_ms=over_ms))
    assert [(topic, options["expiry_s"]) for topic, _, options in link.published] == [(screen, 5)]
    assert counters == {SCREENS_EXPIRED: 2, OTHERS_EXPIRED: 2}
    # The rows of what is not sent go, too; the other's when the broker has it.
    assert outbox.n_sent == 4
