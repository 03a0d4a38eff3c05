"""Laws of links: undone is never done, order is nothing, and no silence is ever broken.

The machines play a shop of two phones and two cards against a model of a few lines that shares no
code with the agent, and one of them has its state in a real database that is opened anew.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from typing_extensions import override

from edge_agent.domain.basket import Basket
from edge_agent.domain.decisions import Decision
from edge_agent.domain.effects import Effect, SendToHq
from edge_agent.domain.inputs import Unlink
from edge_agent.domain.visitor import Visitor
from edge_agent.engine import persons
from edge_agent.identify.consent import forbids_offers, has_consent
from edge_agent.wire.events import Event
from tests.factories import (
    at,
    command,
    complained,
    entered,
    event,
    granted,
    lifted,
    ref,
    sale,
    scanned_card,
    till,
    withdrawn,
    world,
)
from tests.fakes import World
from tests.properties.test_laws_state_store import DiskWorld

PHONES = ("AC:23:3F:A0:11:01", "AC:23:3F:A0:11:02")
CARDS = ("6400000009005", "6400000000002")
ALL = (*(("ble", phone) for phone in PHONES), *(("loyalty", card) for card in CARDS))
BASKETS = ("b1", "b2", "b3")
PURPOSES = ("personal_recommendations", "profiling", "sending_to_hq", "marketing")
CHANNELS = (None, "app", "e-mail", "handheld", "receipt", "screen")
# Where the agent of this shop can reach anybody.
REACHED = ("screen", "receipt")
Who = tuple[str, str]

# A soak plays the number of histories that is promised.
HISTORIES = 10_000 if os.environ.get("EDGE_AGENT_SOAK") == "1" else None
SIZE = settings(
    max_examples=HISTORIES or (settings.default.max_examples if settings.default else 50),
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


@contextmanager
def without_links() -> Iterator[None]:
    """An agent that never takes anybody for somebody known."""
    with patch.object(persons, "link_by_baskets", lambda *_: None):
        yield


class Ledger:
    """What each person said of a purpose, by channel; None is all of them."""

    def __init__(self) -> None:
        self._said: dict[tuple[Who, str], dict[str | None, bool]] = {}

    def learn(self, who: Who, data: dict[str, Any], *, yes: bool) -> None:
        """Takes in a statement that is newer than all others."""
        for purpose in data["purposes"]:
            said = self._said.setdefault((who, purpose), {})
            if "only_on" not in data:
                # Of what was said of one channel, only a no outlasts a word on all of them.
                for channel in [each for each, is_yes in said.items() if is_yes]:
                    del said[channel]
            said.update(dict.fromkeys(data.get("only_on", (None,)), yes))

    def answer(self, who: Who, purpose: str, channel: str | None = None) -> bool | None:
        """Returns yes, no or nothing."""
        said = self._said.get((who, purpose), {})
        return said.get(channel, said.get(None))

    def allows_any(self, who: Who) -> bool:
        """Whether somebody allows anything anywhere."""
        return any(self.answer(who, each, on) for each in PURPOSES for on in CHANNELS)


class Shop(RuleBasedStateMachine):
    """What may happen around two phones and two cards, told by `tell` and `say_unlinked`."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0
        self.carriers: dict[str, str] = {}

    def tell(self, made: Event) -> None:
        """Tells an event."""
        raise NotImplementedError

    def say_unlinked(self, who: Who, other: Who | None) -> None:
        """Tells that somebody was taken for the wrong person."""
        raise NotImplementedError

    def passed(self) -> None:
        """Called after the present moved on."""

    def tick(self, seconds: int = 1) -> int:
        """Moves the present on and returns it."""
        self.now_s += seconds
        self.passed()
        return self.now_s

    @rule(
        phone=st.sampled_from(PHONES),
        zone=st.sampled_from(("dairy", "bakery", "checkout")),
        product=st.sampled_from((None, "d0", "k0")),
    )
    def move(self, phone: str, zone: str, product: str | None) -> None:
        """A phone comes into a zone, and something may be taken in hand."""
        self.tell(entered(zone, self.tick(), who=phone))
        if product is not None:
            self.tell(lifted(product, self.tick(), who=phone, zone=zone))

    @rule(
        basket=st.sampled_from(BASKETS),
        phone=st.sampled_from(PHONES),
        card=st.sampled_from((None, *CARDS)),
        product=st.sampled_from(("d0", "d1", "k0")),
        is_paid=st.booleans(),
    )
    def shop(
        self, basket: str, phone: str, card: str | None, product: str, *, is_paid: bool
    ) -> None:
        """A phone's basket is rung up, perhaps with a card, perhaps to its end."""
        phone = self.carriers.setdefault(basket, phone)
        who = ref("ble", phone)
        self.tell(till("basket.opened", self.tick(), basket=basket, visitor=who))
        if card is not None:
            self.tell(scanned_card(self.tick(), card=card, basket=basket))
        item: dict[str, Any] = {"basket": basket, "product": product, "visitor": who}
        self.tell(till("basket.item_added", self.tick(), **item))
        if is_paid:
            self.tell(sale(self.tick(), product, basket=basket, visitor=who))

    @rule(
        who=st.sampled_from(ALL),
        purposes=st.sets(st.sampled_from(PURPOSES), min_size=1),
        only_on=st.sampled_from((None, None, ("screen",), ("receipt",), ("app", "screen"))),
        yes=st.booleans(),
    )
    def consent(
        self, who: Who, purposes: set[str], only_on: tuple[str, ...] | None, *, yes: bool
    ) -> None:
        """Somebody consents, or withdraws; on every channel, or on some."""
        kind = "consent.granted" if yes else "consent.withdrawn"
        data: dict[str, Any] = {"visitor": ref(*who), "purposes": sorted(purposes)}
        if only_on is not None:
            data["only_on"] = list(only_on)
        self.tell(event(kind, self.tick(), source="desk", **data))

    @rule(who=st.sampled_from(ALL), case=st.sampled_from(("c1", "c2")), opened=st.booleans())
    def complain(self, who: Who, case: str, *, opened: bool) -> None:
        """Somebody complains, or is settled with."""
        self.tell(complained(self.tick(), who=ref(*who), case=case, opened=opened))

    @rule(who=st.sampled_from(ALL), other=st.sampled_from((None, *ALL)))
    def unlink(self, who: Who, other: Who | None) -> None:
        """Somebody was taken for the wrong person."""
        self.tick()
        self.say_unlinked(who, other)

    @rule(seconds=st.sampled_from((2, 90, 700, 4_000)))
    def wait(self, seconds: int) -> None:
        """Time passes."""
        self.tick(seconds)


def unlink_of(heard: World, who: Who, other: Who | None = None) -> Unlink:
    """Returns the word that somebody is not the person he was taken for."""
    not_him = None if other is None else heard.subject(*other)
    return Unlink(subject=heard.subject(*who), other=not_him)


class NeverMerged(Shop):
    """The same day in two shops, one of which links nobody: unlinked, both are the same."""

    def __init__(self) -> None:
        super().__init__()
        self.heard, self.never = world(audience="private"), world(audience="private")
        for n, card in enumerate(CARDS):
            self.tell(granted(n - 60, card=card))

    @override
    def tell(self, made: Event) -> None:
        self.heard.take(made)
        with without_links():
            self.never.take(made)

    @override
    def passed(self) -> None:
        self.heard.tick(at(self.now_s))
        with without_links():
            self.never.tick(at(self.now_s))

    @override
    def say_unlinked(self, who: Who, other: Who | None) -> None:
        self.heard.run(unlink_of(self.heard, who, other))

    @rule()
    def unlink_all(self) -> None:
        """Every link is taken back: what is known, and what is decided then, is as ever."""
        self.tick()
        for who in ALL:
            self.say_unlinked(who, None)
        assert known(self.heard) == known(self.never)
        for phone, zone in itertools.product(PHONES, ("dairy", "bakery")):
            made = entered(zone, self.tick(), who=phone)
            one = personal(self.heard.decisions(self.heard.take(made)))
            with without_links():
                other = personal(self.never.decisions(self.never.take(made)))
            assert [each.record for each in one] == [each.record for each in other]
        assert known(self.heard) == known(self.never)

    @override
    def teardown(self) -> None:
        """Whatever the story was, it ends with the comparison."""
        self.unlink_all()


def personal(found: list[Decision]) -> list[Decision]:
    """Returns the decisions on somebody, without a screen's going back to the store."""
    return [each for each in found if each.moment.visitor is not None]


def known(heard: World) -> dict[str, Any]:
    """Returns all that is known but the evidence itself: links, and whom it kept silent."""
    state = heard.memory.snapshot()
    state["visitors"] = {k: replace(v, links=()) for k, v in state["visitors"].items()}
    state["baskets"] = {k: _heeded(v) for k, v in state["baskets"].items()}
    # What a screen shows is a message and passes; what it shows next is compared above.
    del state["showings"]
    state["caps"] = {
        visit.id: heard.state.n_decisions(visit.id, visit.visitor, since_ms=visit.started_at_ms)
        for visit in heard.memory.all_visits()
    }
    return state


def _heeded(basket: Basket) -> Basket:
    return replace(basket, cards=tuple(each for each in basket.cards if not each.is_silent))


TestNeverMerged = NeverMerged.TestCase
TestNeverMerged.settings = SIZE


class Silence(Shop):
    """A day on disk with restarts: nobody is offered anything while his complaint is open.

    Nor where he refused it, under whichever of his identifiers: the stricter of both holds.
    """

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="edge-agent-law-"))
        self.disk = DiskWorld(self.folder / "state.db", world(audience="private"))
        self.claims: set[tuple[Who, Who]] = set()
        self.read: set[tuple[str, Who]] = set()
        self.opened: dict[Who, dict[str, bool]] = {who: {} for who in ALL}
        self.ledger = Ledger()

    @override
    def teardown(self) -> None:
        """Leaves nothing behind."""
        self.disk.connection.close()
        shutil.rmtree(self.folder)

    @rule()
    def restart(self) -> None:
        """The batch is written, the agent ends and starts again."""
        self.disk.unit.commit()
        self.disk.connection.close()
        self.disk.connect(self.disk.layout, self.disk)

    @override
    def passed(self) -> None:
        self.judge(self.disk.tick(at(self.now_s)))

    @override
    def tell(self, made: Event) -> None:
        self.learn(made)
        self.judge(self.disk.take(made))

    @override
    def say_unlinked(self, who: Who, other: Who | None) -> None:
        pairs = {pair for pair in self.claims if who in pair}
        self.claims -= {pair for pair in pairs if other is None or other in pair}
        self.judge(self.disk.run(unlink_of(self.disk, who, other)))

    @rule(card=st.sampled_from(CARDS), opened=st.booleans())
    def hear_from_hq(self, card: str, *, opened: bool) -> None:
        """HQ opens a complaint, or closes one with a statement older than it."""
        self.tick()
        who = ("loyalty", card)
        said_s = self.now_s if opened else -86_400
        body = {
            "visitor": ref(*who),
            "action": "open" if opened else "close",
            "complaint": "c1",
            "stated_at": event("visit.started", said_s, visitor=ref()).time,
        }
        if opened:
            self.opened[who]["c1"] = True
        document = command("complaint", {**body, "stated_at": _rfc3339(said_s)})
        self.judge(self.disk.command(document))

    # --- the model ------------------------------------------------------------------------------

    def learn(self, made: Event) -> None:
        """Takes an event into the model."""
        said = made.model_dump(mode="json", by_alias=True, exclude_none=True)
        data = said["data"]
        who = (data["visitor"]["kind"], data["visitor"]["value"]) if "visitor" in data else None
        if made.type.startswith("consent.") and who is not None:
            self.ledger.learn(who, data, yes=made.type == "consent.granted")
        elif made.type.startswith("complaint.") and who is not None:
            for person in self.circle(who) if made.type == "complaint.closed" else (who,):
                self.opened[person][data["complaint"]] = made.type == "complaint.opened"
        elif made.type == "loyalty.scanned" and who is not None and self.is_recognised(who):
            self.read_card(data["basket"], who)

    def read_card(self, basket: str, card: Who) -> None:
        """Takes in a card; read once more with the same basket it tells nothing new."""
        if (basket, card) not in self.read:
            self.read.add((basket, card))
            self.claims.add((("ble", self.carriers[basket]), card))

    def is_recognised(self, card: Who) -> bool:
        """Whether a card is heeded: it allows something, or its holder is to be left alone."""
        refuses = any(self.is_refused(card, channel) for channel in REACHED)
        return self.ledger.allows_any(card) or refuses or self.is_silent(card)

    def is_refused(self, who: Who, channel: str) -> bool:
        """Whether he, or whoever he was taken for, refused marketing on a channel."""
        persons = {who} | {card for phone, card in self.claims if phone == who}
        return any(self.ledger.answer(each, "marketing", channel) is False for each in persons)

    def circle(self, who: Who) -> set[Who]:
        """Whoever was taken for the same person."""
        cards = {card for phone, card in self.claims if phone == who} | {who}
        return cards | {phone for phone, card in self.claims if card in cards} | {who}

    def is_silent(self, who: Who) -> bool:
        """Whether somebody has a complaint open under any of his identifiers."""
        return any(is_open for each in self.circle(who) for is_open in self.opened[each].values())

    def judge(self, found: list[Effect]) -> None:
        """Looks for an offer to somebody who has silence."""
        ids = {visitor.id: who for who in ALL if (visitor := self.disk.visitor(*who)) is not None}
        for decision in self.disk.decisions(found):
            for named in (decision.moment.visitor, decision.moment.member):
                if named in ids and decision.chosen:
                    assert not self.is_silent(ids[named])
                    assert not self.is_refused(ids[named], decision.moment.place.channel)


def _rfc3339(seconds: float) -> str:
    said = event("visit.started", seconds, visitor=ref()).model_dump(mode="json")
    return str(said["time"])


TestSilence = Silence.TestCase
TestSilence.settings = SIZE


class Purposes(Shop):
    """Nothing is used for a purpose that its person does not allow at that instant."""

    def __init__(self) -> None:
        super().__init__()
        self.heard = world(audience="private")
        self.ledger = Ledger()
        for card in CARDS:
            profile = {"visitor": ref("loyalty", card), "reference": f"crm-{card}"}
            self.tell(granted(self.tick(), card=card))
            self.heard.command(command("profile", profile))

    @override
    def passed(self) -> None:
        self.judge(self.heard.tick(at(self.now_s)), {})

    @override
    def say_unlinked(self, who: Who, other: Who | None) -> None:
        self.heard.run(unlink_of(self.heard, who, other))

    @override
    def tell(self, made: Event) -> None:
        if made.type.startswith("consent."):
            said = made.model_dump(mode="json", by_alias=True, exclude_none=True)["data"]
            who = (said["visitor"]["kind"], said["visitor"]["value"])
            self.ledger.learn(who, said, yes=made.type == "consent.granted")
        before = {card: self.profile_of(card) for card in CARDS}
        self.judge(self.heard.take(made), before)

    @rule(phone=st.sampled_from(PHONES))
    def ask(self, phone: str) -> None:
        """A phone's carrier stands before a private screen."""
        self.tell(entered("dairy", self.tick(), who=phone))

    def profile_of(self, card: str) -> Any:
        """Returns what is known of a card's holder."""
        visitor = self.heard.visitor("loyalty", card)
        return None if visitor is None else visitor.profile

    def judge(self, found: list[Effect], before: dict[str, Any]) -> None:
        """Looks for a use that nobody allowed."""
        ids = {visitor.id: who for who in ALL if (visitor := self.heard.visitor(*who)) is not None}
        for decision in filter(is_personal, self.heard.decisions(found)):
            named = (decision.moment.member, decision.moment.visitor)
            owner, carrier = (ids[each] for each in named if each is not None)
            channel = decision.moment.place.channel
            assert self.ledger.answer(owner, PURPOSES[0], channel)
            assert self.ledger.answer(carrier, PURPOSES[0], channel) is not False
        for effect in found:
            if isinstance(effect, SendToHq) and effect.visitor is not None:
                assert self.ledger.answer(ids[effect.visitor], "sending_to_hq")
        for card, profile in before.items():
            if has_grown(profile, self.profile_of(card)):
                assert self.ledger.answer(("loyalty", card), "profiling")


def has_grown(before: Any, after: Any) -> bool:
    """Whether a profile holds a sale more than before."""
    return bool(before and after and len(after.history) > len(before.history))


def is_personal(decision: Decision) -> bool:
    """Whether a decision rests on what somebody bought before."""
    asked = json.loads(decision.record)["request"]
    return asked is not None and bool(asked["history"])


TestPurposes = Purposes.TestCase
TestPurposes.settings = SIZE


def till_events() -> list[Event]:
    """Returns two phones' baskets with two cards, sales included."""
    found: list[Event] = []
    for n, (basket, phone, card) in enumerate(
        (("b1", 0, 0), ("b2", 0, 0), ("b2", 0, 1), ("b3", 1, 1))
    ):
        who = ref("ble", PHONES[phone])
        start = 100 * n
        found += [
            till("basket.opened", start, basket=basket, visitor=who),
            scanned_card(start + 1, card=CARDS[card], basket=basket),
            sale(start + 2, f"d{n}", basket=basket, visitor=who),
        ]
    return found


TOLD = tuple(till_events())


@given(st.permutations(TOLD), st.sampled_from((None, *ALL)))
def test_the_order_of_merging_does_not_matter(order: list[Event], unlinked: Who | None) -> None:
    """Cards, baskets and sales in any order: the same people, histories and links."""
    states = []
    for told in (list(TOLD), order):
        heard = world()
        heard.take(*(granted(-60, card=card) for card in CARDS))
        heard.tick(at(1_000))
        heard.take(*told)
        if unlinked is not None:
            heard.unlink(*unlinked)
        state = heard.memory.snapshot()
        # A basket that nobody carries yet is a visitor of its own: no row is kept of it.
        people = state["visitors"].items()
        state["visitors"] = {key: each for key, each in people if each.kind != "basket"}
        state["people"] = [heard.person_behind("ble", phone) for phone in PHONES]
        states.append(state)
    assert states[0] == states[1]


@given(
    st.lists(
        st.tuples(
            st.booleans(), st.sampled_from((None, ("screen",), ("receipt",), ("app", "screen")))
        ),
        max_size=5,
    ),
    st.randoms(use_true_random=False),
)
def test_on_each_channel_the_ledger_holds_whatever_order_it_came_in(
    told: list[tuple[bool, tuple[str, ...] | None]], chance: Random
) -> None:
    """Yes, no and nothing on every channel are those of what was said, one after the other."""
    ledger, who = Ledger(), ALL[2]
    made = []
    for n, (yes, only_on) in enumerate(told):
        data: dict[str, Any] = {"visitor": ref(*who), "purposes": ["marketing"]}
        if only_on is not None:
            data["only_on"] = list(only_on)
        ledger.learn(who, data, yes=yes)
        kind = "consent.granted" if yes else "consent.withdrawn"
        made.append(event(kind, n, source="desk", **data))
    chance.shuffle(made)
    heard = world()
    heard.take(*made)
    person = heard.visitor(*who)
    for place, channel in (("screen", "screen"), ("receipt", "receipt"), ("staff", "handheld")):
        said = ledger.answer(who, "marketing", channel)
        now_ms = at(100)
        assert said is (None if person is None else _answer(person, place, channel, now_ms))


def _answer(person: Visitor, place: str, channel: str, now_ms: int) -> bool | None:
    if has_consent(person, "marketing", now_ms=now_ms, channel=channel):
        assert not forbids_offers(person, place, now_ms=now_ms)
        return True
    return False if forbids_offers(person, place, now_ms=now_ms) else None


def test_the_laws_see_offers_where_nobody_refused_them() -> None:
    """The law of channels is not kept by offering nothing at all."""
    heard = world(audience="private")
    no: dict[str, Any] = {"visitor": ref(), "purposes": ["marketing"], "only_on": ["receipt"]}
    heard.take(event("consent.withdrawn", -60, source="desk", **no))
    assert any(each.chosen for each in heard.decisions(heard.take(entered("dairy", 0))))


def test_the_laws_see_a_use_of_the_history() -> None:
    """The law of purposes is not kept by never using a history at all."""
    heard = world(audience="private")
    heard.take(granted(-60), till("basket.opened", 0, visitor=ref()), scanned_card(1))
    heard.take(sale(2, "d5", visitor=ref()), entered("dairy", 200))
    assert any(is_personal(each) for each in heard.decisions())
    heard.take(withdrawn(201))
    assert not any(
        is_personal(each) for each in heard.decisions(heard.take(entered("bakery", 202)))
    )
