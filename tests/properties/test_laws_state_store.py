"""The store on disk under crashes: nothing committed is lost, nothing is applied twice.

Hypothesis plays a store day against the real unit of work and state store, and the same day
against a state in memory. At any moment the process may die: the connection goes without a
commit, the file is opened again, and the broker delivers again what was not acknowledged.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from typing_extensions import override

from edge_agent.domain import effects
from edge_agent.domain.contacts import Contact
from edge_agent.domain.effects import Effect, Step
from edge_agent.domain.ids import ZoneId
from edge_agent.domain.inputs import Arrival, Commanded, Input, Unlink
from edge_agent.domain.time import SECOND_MS, local_time, rfc3339_from_ms
from edge_agent.domain.visitor import Visit
from edge_agent.runner.wakes import rebuilt
from edge_agent.shell import visitor_book
from edge_agent.shell.sqlite_db import open_for_writing
from edge_agent.shell.state_store import StateStore
from edge_agent.shell.unit_of_work import UnitOfWork
from edge_agent.wire.events import Event
from tests.factories import (
    CARD,
    command,
    complained,
    entered,
    event,
    granted,
    left,
    lifted,
    presence,
    ref,
    sale,
    scanned_card,
    till,
    withdrawn,
    world,
)
from tests.fakes import NEW_YORK, World, comparable

PHONES = ("AC:23:3F:A0:11:01", "AC:23:3F:A0:11:02")
ZONES = ("dairy", "checkout", "exit", "wine")
PRODUCTS = ("d0", "d1", "k0")
LATE_S = (0, 0, 0, 3, 60, 2_000)


class DiskWorld(World):
    """A store whose state is on disk."""

    def __init__(self, path: Path, like: World) -> None:
        self.path = path
        self.connect(like.layout, like)
        super().__init__(
            layout=like.layout,
            products=like.catalogue._products.values(),
            policy=like.policy,
            now_ms=like.now_ms,
            state=self.store,
            apply=self._queue,
        )
        self.state = self.store

    def connect(self, of_layout: Any, like: World) -> None:
        """Opens the file, as a start of the agent does."""
        self.connection = open_for_writing(self.path, durability="process-crash")
        self.store = StateStore(
            self.connection, layout=of_layout, departments=like.catalogue.departments
        )
        self.unit = UnitOfWork(
            self.connection, self.store, path=self.path, period_ms=like.period_ms
        )
        self.state = self.store

    def _queue(self, result: Step) -> None:
        for change in result.changes:
            self.unit.put(change)
        for effect in result.effects:
            self.unit.carry_out(effect)

    def seen(self, mark: int) -> bool:
        """Whether an event was taken in and committed."""
        return self.unit.has_seen(mark)


class StoreDay(RuleBasedStateMachine):
    """One day, told to memory and to disk."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="edge-agent-law-"))
        self.memory = world(visit_timeout_s=600)
        self.disk = DiskWorld(self.folder / "state.db", self.memory)
        self.pending: list[tuple[int, Input]] = []
        self.n = 0
        self.committed: list[Event] = []

    @override
    def teardown(self) -> None:
        """Leaves nothing behind."""
        self.disk.connection.close()
        shutil.rmtree(self.folder)

    # --- what happens ---------------------------------------------------------------------------

    @initialize()
    def open_the_store(self) -> None:
        """Starts with a card holder who consents."""
        self._tell(granted(0))

    @rule(
        kind=st.sampled_from(("enter", "leave", "lift", "end", "seen", "dwell")),
        who=st.sampled_from(PHONES),
        zone=st.sampled_from(ZONES),
        late=st.sampled_from(LATE_S),
    )
    def sense(self, kind: str, who: str, zone: str, late: int) -> None:
        """Somebody is sensed, now or a while ago."""
        at_s = self._now_s() - late
        made = {
            "enter": lambda: entered(zone, at_s, who=who),
            "leave": lambda: left(zone, at_s, who=who),
            "lift": lambda: lifted("d0", at_s, who=who, zone=zone),
            "end": lambda: presence("visit.ended", at_s, who=who),
            "seen": lambda: presence("visitor.detected", at_s, who=who),
            "dwell": lambda: presence("zone.dwell", at_s, who=who, zone=zone, dwell_s=30),
        }[kind]()
        self._tell(made)

    @rule(
        kind=st.sampled_from(("open", "add", "void", "card", "sale", "void_sale")),
        basket=st.sampled_from(("b1", "b2")),
        product=st.sampled_from(PRODUCTS),
        named=st.booleans(),
        late=st.sampled_from(LATE_S),
    )
    def ring_up(self, kind: str, basket: str, product: str, *, named: bool, late: int) -> None:
        """A till says something of a basket."""
        at_s = self._now_s() - late
        who: dict[str, Any] = {"visitor": ref("ble", PHONES[0])} if named else {}
        made = {
            "open": lambda: till("basket.opened", at_s, basket=basket, **who),
            "add": lambda: till("basket.item_added", at_s, basket=basket, product=product, **who),
            "void": lambda: till("basket.item_voided", at_s, basket=basket, product=product),
            "card": lambda: scanned_card(at_s, basket=basket),
            "sale": lambda: sale(at_s, product, basket=basket, **who),
            "void_sale": lambda: till("sale.voided", at_s, basket=basket),
        }[kind]()
        self._tell(made)

    @rule(kind=st.sampled_from(("grant", "withdraw", "complain", "settle", "complain_phone")))
    def state_a_right(self, kind: str) -> None:
        """A card holder says what he allows."""
        at_s = self._now_s()
        made = {
            "grant": lambda: granted(at_s),
            "withdraw": lambda: withdrawn(at_s),
            "complain": lambda: complained(at_s),
            "settle": lambda: complained(at_s, opened=False),
            "complain_phone": lambda: complained(at_s, who=ref("ble", PHONES[0]), case="c2"),
        }[kind]()
        self._tell(made)

    @rule(who=st.sampled_from((("ble", PHONES[0]), ("ble", PHONES[1]), ("loyalty", CARD))))
    def unlink(self, who: tuple[str, str]) -> None:
        """Somebody says that an identifier is not the person it was taken for."""
        self._step(Unlink(subject=self.memory.subject(*who)))

    @rule(entries=st.integers(0, 5), exits=st.integers(0, 5))
    def count(self, entries: int, exits: int) -> None:
        """A door counts."""
        self._tell(
            event("people.counted", self._now_s(), source="door", entries=entries, exits=exits)
        )

    @rule(length=st.integers(0, 9), late=st.sampled_from(LATE_S))
    def measure(self, length: int, late: int) -> None:
        """A queue is measured, now or a while ago."""
        at_s = self._now_s() - late
        self._tell(event("queue.measured", at_s, source="cam", zone="checkout", length=length))

    @rule(kind=st.sampled_from(("fact", "contact", "campaign")), n=st.integers(1, 2))
    def hear_hq(self, kind: str, n: int) -> None:
        """HQ says something of the day, of what the card holder was told, or of a campaign."""
        now_ms, said_at = self.memory.now_ms, rfc3339_from_ms(self.memory.now_ms)
        until = rfc3339_from_ms(now_ms + n * 400 * SECOND_MS)
        mail = {"id": f"m{n}", "at": said_at, "channel": "e-mail", "outcome": "tapped"}
        bodies: dict[str, dict[str, Any]] = {
            "fact": {"name": f"f{n}", "value": now_ms % 7, "valid_until": until},
            "contact": {"visitor": ref("loyalty", CARD), "contacts": [mail]},
            "campaign": {"campaign": f"c{n}", "starts_at": said_at, "ends_at": until, "text": "T"},
        }
        day = local_time(now_ms, NEW_YORK).day
        subject = self.memory.subject("loyalty", CARD) if kind == "contact" else None
        self._step(Commanded(command=command(kind, bodies[kind]), day=day, subject=subject))

    @rule(seconds=st.sampled_from((1, 30, 300, 700, 4_000)))
    def wait(self, seconds: int) -> None:
        """Time passes."""
        now_ms = self.memory.now_ms + seconds * SECOND_MS
        for heard in (self.memory, self.disk):
            heard.now_ms = now_ms
        for wake in self.memory.wakes.due(now_ms):
            self._step(wake)

    @rule()
    def commit(self) -> None:
        """The batch is written; its messages are acknowledged."""
        self.disk.unit.commit()
        self.pending.clear()

    @rule()
    def crash(self) -> None:
        """The process dies before the commit; what was not acknowledged is delivered again."""
        self.disk.connection.close()
        self.disk.connect(self.memory.layout, self.memory)
        for now_ms, given in self.pending:
            assert not self._is_committed(given)
            self._to_disk(given, now_ms)

    @rule()
    def fail(self) -> None:
        """The batch cannot be written; it is rolled back and done again."""
        self.disk.unit.roll_back()
        for now_ms, given in self.pending:
            self._to_disk(given, now_ms)

    @rule()
    def restart(self) -> None:
        """The agent ends in order and starts again; wake-ups follow from the state."""
        self.commit()
        self.disk.connection.close()
        self.disk.connect(self.memory.layout, self.memory)
        of_layout, policy = self.memory.layout, self.memory.policy
        self.memory.wakes = rebuilt(
            self.disk.store.visits.open_visits(),
            {screen: self.disk.store.showing(screen) for screen in of_layout.screens},
            layout=of_layout,
            policy=policy,
            now_ms=self.memory.now_ms,
        )

    # --- what must hold -------------------------------------------------------------------------

    @invariant()
    def both_know_the_same(self) -> None:
        """The state on disk answers the engine as the one in memory does."""
        memory, store = self.memory.memory, self.disk.store
        for visitor_id, visitor in memory.visitors.items():
            # A basket's own visitor is made anew from the basket: no row tells more than that.
            assert visitor.kind == "basket" or store.visitor(visitor_id) == visitor
            mine, theirs = memory.visit_of(visitor_id), store.visit_of(visitor_id)
            assert (mine is None) == (theirs is None)
            if mine is not None and theirs is not None:
                assert _facts(mine) == _facts(theirs)
                assert mine.in_hand == theirs.in_hand or not mine.is_open
                since_ms = mine.started_at_ms
                ours = memory.n_decisions(mine.id, visitor_id, since_ms=since_ms)
                assert ours == store.n_decisions(mine.id, visitor_id, since_ms=since_ms)
            assert set(store.links_to(visitor_id)) == set(memory.links_to(visitor_id))
            assert {b.id for b in store.baskets_of(visitor_id)} == {
                b.id for b in memory.baskets_of(visitor_id)
            }
        for basket_id, basket in memory.baskets.items():
            assert store.basket(basket_id) == basket
        for screen in self.memory.layout.screens:
            assert store.showing(screen) == memory.showing(screen)
        for zone in self.memory.layout.zones:
            assert store.last_alert_ms(zone) == memory.last_alert_ms(zone)
            here = [(each.id, each.visitor) for each in memory.present_in(zone)]
            assert [(each.id, each.visitor) for each in store.present_in(zone)] == here

    @invariant()
    def both_know_the_same_around_a_decision(self) -> None:
        """Facts, levels, HQ's campaigns, and what was said to each visitor."""
        memory, store, now_ms = self.memory.memory, self.disk.store, self.memory.now_ms
        assert store.facts(now_ms) == memory.facts(now_ms)
        assert store.level("queue", ZoneId("checkout")) == memory.level(
            "queue", ZoneId("checkout")
        )
        assert store.hq_campaigns() == memory.hq_campaigns()
        for visitor in memory.visitors:
            ours = memory.contacts_of(visitor, since_ms=0)
            assert _said(store.contacts_of(visitor, since_ms=0)) == _said(ours)

    @invariant()
    def both_see_the_same_people_at_the_till(self) -> None:
        """Who stood at the till, and which baskets began there, is the same for both."""
        now_ms = self.memory.now_ms
        for span_s in (60, 3_000):
            span = {"from_ms": now_ms - span_s * SECOND_MS, "to_ms": now_ms}
            zone = ZoneId("checkout")
            memory, store = self.memory.memory, self.disk.store
            assert store.at_register(zone, **span) == memory.at_register(zone, **span)
            assert [b.id for b in store.baskets_near(zone, **span)] == [
                b.id for b in memory.baskets_near(zone, **span)
            ]

    # --- how it is told -----------------------------------------------------------------------

    def _now_s(self) -> float:
        return (self.memory.now_ms - world().now_ms) / SECOND_MS

    def _tell(self, made: Event) -> None:
        self.n += 1
        made = made.model_copy(update={"id": f"h{self.n}"})
        arrival = self.memory.arrival(made)
        if arrival is not None:
            self._step(arrival)

    def _step(self, given: Input) -> None:
        from_memory = self.memory.run(given)
        from_disk = self._to_disk(given, self.memory.now_ms)
        assert _written(from_disk) == _written(from_memory)
        self.pending.append((self.memory.now_ms, given))

    def _to_disk(self, given: Input, now_ms: int) -> list[Effect]:
        self.disk.now_ms = now_ms
        if isinstance(given, Arrival):
            self.disk.unit.add("inbox", (given.tie, 0))
        return self.disk.run(given)

    def _is_committed(self, given: Input) -> bool:
        return isinstance(given, Arrival) and self.disk.seen(given.tie)


def _facts(visit: Visit) -> tuple[Any, ...]:
    *facts, stays = comparable(visit)
    # Stays of the same instant have no order of their own on disk.
    return (*facts, frozenset(stays))


def _said(contacts: tuple[Contact, ...]) -> list[Contact]:
    # Of a decision and a sale at one instant the batch says which was first.
    return [
        replace(each, outcomes=frozenset(o for o in each.outcomes if o[0] != "bought"))
        for each in contacts
    ]


def _written(found: list[Effect]) -> list[Effect]:
    return [each for each in found if not isinstance(each, effects.ScheduleWake)]


TestStoreDay = StoreDay.TestCase
TestStoreDay.settings = settings(
    max_examples=max(10, settings.default.max_examples // 5) if settings.default else 20,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


def test_visit_that_gets_another_id_keeps_its_cap_after_a_start() -> None:
    """A late end moves a visit onto a mark that gave it its first id; no row bears that yet."""
    day = StoreDay()
    phone, zone = PHONES[0], ZONES[0]
    day.open_the_store()
    day.sense(kind="enter", late=0, who=phone, zone=zone)
    day.sense(kind="leave", late=0, who=phone, zone=zone)
    day.commit()
    day.crash()
    day.sense(kind="end", late=3, who=phone, zone=zone)
    day.both_know_the_same()
    day.teardown()


def test_who_was_asked_for_too_early_is_found_after_he_left_the_memory() -> None:
    """That nothing was kept of somebody is forgotten once something is."""
    day = StoreDay()
    phone = PHONES[0]
    day.memory.take(entered(ZONES[0], 0, who=phone))
    known = day.memory.visitor("ble", phone)
    assert known is not None
    assert day.disk.store.visitor(known.id) is None
    day.disk.take(entered(ZONES[0], 0, who=phone), presence("visit.ended", 1, who=phone))
    day.disk.take(entered(ZONES[0], 2, who=PHONES[1]))
    day.disk.unit.commit()
    with patch.object(visitor_book, "CACHED_VISITORS", 1):
        day.disk.store.forget_unsaved()
    assert day.disk.store.visitor(known.id) == known
    day.teardown()


def test_more_people_in_the_store_than_are_held_do_not_stop_it() -> None:
    """Whoever is in the store stays in memory; who has left it is let go of for them."""
    day = StoreDay()
    gone = "AC:23:3F:A0:11:03"
    day.disk.take(entered(ZONES[0], 0, who=gone), presence("visit.ended", 1, who=gone))
    for who in PHONES:
        day.disk.take(entered(ZONES[0], 2, who=who))
    with patch.object(visitor_book, "CACHED_VISITORS", 1):
        day.disk.unit.commit()
    known = {who: day.disk.visitor("ble", who) for who in (*PHONES, gone)}
    assert all(known.values())
    assert len(day.disk.store.visits.open_visits()) == len(PHONES)
    with patch.object(visitor_book, "CACHED_VISITORS", 1):
        day.disk.store.forget_unsaved()
    assert len(day.disk.store.visitors) == len(PHONES)
    day.teardown()
