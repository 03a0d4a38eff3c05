"""Laws of calls for help, whatever happens in whatever order, repeats and restarts included."""

from __future__ import annotations

from collections import Counter
from types import MappingProxyType
from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from edge_agent.decide.calls import chain_from
from edge_agent.domain.calls import OUTCOMES, UNASKED, Call
from edge_agent.domain.effects import Effect
from edge_agent.domain.ids import DecisionId, TeamId
from edge_agent.domain.inputs import StaffAnswered
from edge_agent.domain.rules import Help, Rules, Team
from edge_agent.wire.staff import StaffAlert, StaffFeedback
from tests.factories import T0, event, presence, ref, sale, world
from tests.fakes import World

ZONES: Final = ("wine", "dairy", "checkout")
NAMES: Final = ("floor", "cellar", "office")
PEOPLE: Final = tuple(f"AA:00:00:00:00:0{n}" for n in range(3))

team = st.builds(
    lambda within, to, most, topics: (within, to, most, topics),
    st.sampled_from([0, 20, 120]),
    st.sampled_from([None, *NAMES]),
    st.sampled_from([0, 1, 1, 2]),
    st.sets(st.sampled_from(["DAIRY", "BAKERY"])),
)


class Floor(RuleBasedStateMachine):
    """A store with shoppers, buttons, a queue and teams that answer as they like."""

    world: World

    @initialize(
        teams=st.lists(team, min_size=3, max_size=3), cooldown_s=st.sampled_from([0, 0, 60])
    )
    def open_store(self, teams: list[Any], cooldown_s: int) -> None:
        """Chains may close on themselves here, which no file may say."""
        self.teams = MappingProxyType(
            {
                TeamId(name): Team(
                    id=TeamId(name),
                    acknowledge_within_s=within,
                    escalate_to=None if to is None else TeamId(to),
                    most_open=most,
                    topics=frozenset(topics),
                )
                for name, (within, to, most, topics) in zip(NAMES, teams, strict=True)
            }
        )
        self.world = world(alert_cooldown_s=cooldown_s, visit_timeout_s=900)
        self.world.rules = Rules(
            version="r1", teams=self.teams, help=Help(lifts_and_returns=1, queue_length=2)
        )
        self.n = 0
        self.past: list[Any] = []
        self.outcomes: dict[DecisionId, str] = {}
        self.told: list[StaffAlert] = []

    def _now(self) -> float:
        return (self.world.now_ms - T0) / 1000

    def _id(self) -> str:
        # Of this run alone: the same choices give the same ids.
        self.n += 1
        return f"e{self.n}"

    def _sensed(self, kind: str, who: str, **data: Any) -> Any:
        return presence(kind, self._now(), who=who, event_id=self._id(), **data)

    def _heard(self, found: list[Effect]) -> list[StaffAlert]:
        told = [
            StaffAlert.model_validate_json(each.payload)
            for each in self.world.published(found)
            if "/staff/" in each.topic
        ]
        self.told += told
        return told

    def _take(self, *events: Any) -> list[StaffAlert]:
        self.past += events
        return self._heard(self.world.take(*events))

    # --- what happens ---------------------------------------------------------------------------

    @rule(who=st.sampled_from(PEOPLE), zone=st.sampled_from(ZONES))
    def come(self, who: str, zone: str) -> None:
        """Somebody enters a zone."""
        self._take(self._sensed("zone.entered", who, zone=zone))

    @rule(who=st.sampled_from(PEOPLE), zone=st.sampled_from(ZONES))
    def go(self, who: str, zone: str) -> None:
        """Somebody leaves a zone, or a sensor says so."""
        self._take(self._sensed("zone.left", who, zone=zone))

    @rule(who=st.sampled_from(PEOPLE), zone=st.sampled_from(ZONES), n=st.integers(1, 3))
    def try_out(self, who: str, zone: str, n: int) -> None:
        """Somebody comes, takes goods and lays them back."""
        self._take(self._sensed("zone.entered", who, zone=zone))
        for _ in range(n):
            self._take(
                self._sensed("item.lifted", who, product="d1", zone=zone),
                self._sensed("item.returned", who, product="d1", zone=zone),
            )

    @rule(who=st.sampled_from(PEOPLE), n=st.integers(1, 99))
    def pay(self, who: str, n: int) -> None:
        """Somebody pays."""
        self._take(
            sale(self._now(), "d1", basket=f"b{n}", visitor=ref("ble", who), event_id=self._id())
        )

    @rule(length=st.integers(0, 4), late=st.sampled_from([0, 0, 5]))
    def queue(self, length: int, late: float) -> None:
        """A queue is measured, now and then late."""
        at_s = self._now() - late
        self._take(
            event(
                "queue.measured",
                at_s,
                source="cam",
                zone="checkout",
                length=length,
                event_id=self._id(),
            )
        )

    @rule(zone=st.sampled_from(ZONES), who=st.sampled_from([None, *PEOPLE]))
    def press(self, zone: str, who: str | None) -> None:
        """Somebody asks for help: a team hears of it, at once and whatever else is open."""
        more: dict[str, Any] = {} if who is None else {"visitor": ref("app", who)}
        asked = event(
            "help.requested", self._now(), source="button", event_id=self._id(), zone=zone, **more
        )
        told = [each for each in self._take(asked) if each.status == "open"]
        assert [each.cause.id for each in told] == [asked.id]

    @precondition(lambda self: self.world.memory.calls)
    @rule(
        data=st.data(),
        outcome=st.sampled_from(["acknowledged", "helped", "not_needed", "gone"]),
        by=st.sampled_from(NAMES),
    )
    def answer(self, data: Any, outcome: str, by: str) -> None:
        """A team answers a call, open or not, its own or not."""
        call = data.draw(st.sampled_from(sorted(self.world.memory.calls)))
        feedback = StaffFeedback.model_validate({"decision": call, "outcome": outcome})
        given = StaffAnswered(feedback=feedback, at_ms=self.world.now_ms, team=TeamId(by))
        self._heard(self.world.staff(given))

    @precondition(lambda self: self.past)
    @rule(data=st.data())
    def repeat(self, data: Any) -> None:
        """A broker delivers something once more: it changes nothing."""
        again = data.draw(st.sampled_from(range(len(self.past))))
        before = dict(self.world.memory.calls)
        assert self._heard(self.world.take(self.past[again])) == []
        assert self.world.memory.calls == before

    @rule(seconds=st.sampled_from([1, 15, 60, 200, 400]))
    def wait(self, seconds: int) -> None:
        """Time goes by, second by second as far as anything is due."""
        for _ in range(seconds // 5 or 1):
            self._heard(self.world.pass_s(min(seconds, 5)))

    @rule()
    def restart(self) -> None:
        """The agent ends and begins again."""
        self._heard(self.world.restart())

    # --- what must hold -------------------------------------------------------------------------

    def _calls(self) -> list[Call]:
        return list(self.world.memory.calls.values()) if hasattr(self, "world") else []

    @invariant()
    def no_storms(self) -> None:
        """No team has more open calls than it may because of what nobody asked for."""
        opened = Counter(each.team for each in self._calls() if each.is_open)
        unasked = Counter(
            each.team for each in self._calls() if each.is_open and each.kind in UNASKED
        )
        for name, n in unasked.items():
            most = self.teams[name].most_open
            assert most == 0 or n <= most
        for name, n in opened.items():
            most = self.teams[name].most_open
            # Beyond that stands only what was asked for.
            assert most == 0 or n <= most or n - unasked[name] > 0

    @invariant()
    def one_call_a_zone(self) -> None:
        """Nobody is sent twice where nobody asked: a zone and a visitor have one such call."""
        mine = [each for each in self._calls() if each.is_open and each.kind in UNASKED]
        assert len({each.zone for each in mine}) == len(mine)
        visitors = [each.visitor for each in mine if each.visitor is not None]
        assert len(set(visitors)) == len(visitors)

    @invariant()
    def only_along_the_chain(self) -> None:
        """Whoever was asked stands in the chain of the first, in its order, each once."""
        for call in self._calls():
            chain = chain_from(call.teams[0], self.teams)
            places = [chain.index(each) for each in call.teams]
            assert places == sorted(set(places))

    @invariant()
    def closed_stays_closed(self) -> None:
        """An outcome is one of four, and the first one holds."""
        for call in self._calls():
            assert call.is_open == (call.outcome is None)
            if call.outcome is not None:
                assert call.outcome in OUTCOMES
                assert self.outcomes.setdefault(call.id, call.outcome) == call.outcome

    @invariant()
    def every_message_is_of_a_call(self) -> None:
        """Staff are told of calls alone, and every team of a call hears of its end."""
        ended = {
            (each.decision, each.team)
            for each in (self.told if hasattr(self, "told") else [])
            if each.status in {"closed", "withdrawn"}
        }
        for call in self._calls():
            heard = {team for decision, team in ended if decision == call.id}
            assert heard == (set() if call.is_open else set(call.teams))

    @invariant()
    def nothing_stays_open(self) -> None:
        """Every open call has an end that is still to come, and a wake-up for it."""
        for call in self._calls():
            if call.is_open:
                assert call.ends_at_ms > self.world.now_ms
                assert ("call", call.id) in self.world.wakes._due


TestCalls = Floor.TestCase
