"""Plays the agent to one till: asks the cashier step by step, gives receipts and offers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from edge_agent.conformance.screen_cases import instant, item
from edge_agent.conformance.till_desk import TELLINGS, Desk
from edge_agent.conformance.till_record import ReceiptSent, TillReading, TillRecord
from edge_agent.conformance.till_scenario import Step, since
from edge_agent.conformance.transcript import is_below
from edge_agent.wire import topics
from edge_agent.wire.base import SCHEMA_VERSION
from edge_agent.wire.notices import EventReceipt

if TYPE_CHECKING:
    from edge_agent.conformance.agent_side import AgentSide
    from edge_agent.conformance.person import Person
    from edge_agent.conformance.reading import Told
    from edge_agent.conformance.till_record import Asked
    from edge_agent.conformance.transcript import Heard, Place

# A wait goes through what came this often.
TURN_S: Final = 0.1
# Repeats that were under way when their receipt came are heard within this.
TAIL_S: Final = 3.0
OFFER_TITLE: Final = "Conformance offer"
OVER_TITLE: Final = "Offer that is over"
ANSWER_TITLE: Final = "Conformance answer"
OFFER_LIFE_S: Final = 300
NOBODY: Final = "nobody was asked (--no-interaction)"
IMPOSSIBLE: Final = "it cannot be done at this till, by who stands there"


@dataclass(frozen=True, slots=True, kw_only=True)
class TillSettings:
    """How a till is tried.

    Attributes:
        source: The till's name on the broker.
        run: Begins the name of every decision.
        step_s: How long to wait for what a step must bring.
        repeat_within_s: How soon an event must be told again that got no receipt.
        tolerance_s: How wrong the till's clock may be.
        asks_always: Whether every event gets a receipt, asked for or not.
    """

    source: str
    run: str
    step_s: float = 60.0
    repeat_within_s: float = 30.0
    tolerance_s: float = 10.0
    asks_always: bool = False


class TillRun:
    """One run; `play` or `listen` returns its record."""

    def __init__(
        self, station: AgentSide, place: Place, settings: TillSettings, person: Person
    ) -> None:
        self._station = station
        self._place = place
        self._settings = settings
        self._person = person
        self._desk = Desk(asks_always=settings.asks_always)
        self._receipts: list[ReceiptSent] = []
        self._steps: dict[str, tuple[float, float] | str] = {}
        self._answers: dict[str, str] = {}
        self._n_read = self._n_answered = 0
        self._ids: set[str] = set()
        self._has_offered = False

    def play(
        self, steps: tuple[Step, ...], on_step: Callable[[str, int, int], None]
    ) -> TillRecord:
        """Asks for each step and waits for what must come of it."""
        self._station.hear_everything()
        for number, step in enumerate(steps, 1):
            on_step(f"{step.name}: {step.text}", number, len(steps))
            self._step(step)
        on_step("waiting for what is told again", len(steps), len(steps))
        self._wait_for_repeats()
        self._ask_what_was_seen()
        return self._record()

    def listen(self, seconds: float, on_turn: Callable[[float, int], None]) -> TillRecord:
        """Hears a till for a while; `on_turn` is told seconds left and events so far."""
        self._station.hear_everything()
        until_s = self._station.monotonic_s() + seconds
        try:
            while (left_s := until_s - self._station.monotonic_s()) > 0:
                on_turn(left_s, len(self._ids))
                self._turn(min(left_s, 1.0), lambda _reading: False)
        except KeyboardInterrupt:
            self._person.note("stopped; judging what came so far")
        return self._record()

    # --- steps --------------------------------------------------------------------------------

    def _step(self, step: Step) -> None:
        began_s = self._station.monotonic_s()
        if self._person.is_there:
            # The till goes on talking while somebody reads what to do.
            meanwhile = self._answer_what_came
            if self._person.does(step.name, step.text, meanwhile=meanwhile) != "yes":
                self._steps[step.name] = IMPOSSIBLE
                return
        self._turn(self._settings.step_s, lambda reading: step.moves_on(since(reading, began_s)))
        self._steps[step.name] = (began_s, self._station.monotonic_s())

    def _wait_for_repeats(self) -> None:
        if not self._desk.is_done:
            waits_s = TELLINGS * self._settings.repeat_within_s
            self._turn(waits_s, lambda _reading: self._desk.is_done)
        if self._receipts:
            self._turn(TAIL_S, lambda _reading: False)

    def _ask_what_was_seen(self) -> None:
        questions = {
            "offer": f'Did the receipt print "{OFFER_TITLE}"?',
            "offer-over": f'Is "{OVER_TITLE}" missing on the receipt, and nothing broken on it?',
        }
        if not self._has_offered:
            questions = {}
        if self._n_answered:
            questions["reply"] = f'Did the till show "{ANSWER_TITLE}"?'
        for check, text in questions.items():
            self._answers[check] = self._person.sees(check, text) or NOBODY

    def _record(self) -> TillRecord:
        settings = self._settings
        return TillRecord(
            store=self._place.store,
            source=settings.source,
            tolerance_s=settings.tolerance_s,
            repeat_within_s=settings.repeat_within_s,
            asks_always=settings.asks_always,
            heard=self._station.heard,
            receipts=tuple(self._receipts),
            withheld=self._desk.withheld,
            refused=self._desk.refused,
            steps=dict(self._steps),
            answers=dict(self._answers),
            ended_at_s=self._station.monotonic_s(),
        )

    # --- what an agent says -------------------------------------------------------------------

    def _turn(self, seconds: float, is_so: Callable[[TillReading], bool]) -> bool:
        """Does an agent's work until something is so; returns whether it came to be."""
        until_s = self._station.monotonic_s() + seconds
        while True:
            self._answer_what_came()
            if is_so(self._reading()):
                return True
            if self._station.monotonic_s() >= until_s:
                return False
            n_heard = len(self._station.heard)
            self._station.wait(
                lambda heard, n=n_heard: len(heard) > n,  # type: ignore[misc]
                until_s=min(until_s, self._station.monotonic_s() + TURN_S),
            )

    def _reading(self, heard: tuple[Heard, ...] | None = None) -> TillReading:
        return TillReading(
            self._station.heard if heard is None else heard,
            store=self._place.store,
            source=self._settings.source,
        )

    def _answer_what_came(self) -> None:
        heard = self._station.heard
        fresh = self._reading(heard[self._n_read :])
        self._n_read = len(heard)
        self._ids.update(fresh.by_id)
        for told in fresh.told:
            self._give_receipt(told)
            self._offer(told)
        for asked in fresh.requests:
            self._reply(asked)

    def _give_receipt(self, told: Told) -> None:
        receipt = self._desk.receipt_for(told, at_s=self._station.monotonic_s())
        if receipt is None:
            return
        event_id, outcome = receipt
        source = self._settings.source
        said = EventReceipt(source=source, id=event_id, outcome=outcome)
        self._station.say(
            topics.event_receipt(self._place.store, source), said.model_dump_json().encode()
        )
        at_s = self._station.monotonic_s()
        self._receipts.append(ReceiptSent(id=event_id, outcome=outcome, at_s=at_s))

    def _offer(self, told: Told) -> None:
        if told.type != "basket.item_added" or told.event is None or self._has_offered:
            return
        self._has_offered = True
        register = told.field("register") or self._settings.source
        topic = topics.receipt_offer(self._place.store, register)
        self._station.say(topic, b"{")
        cause = {"source": self._settings.source, "id": told.id}
        for title, life_s in ((OVER_TITLE, -OFFER_LIFE_S), (OFFER_TITLE, OFFER_LIFE_S)):
            offer = self._decision(title, life_s, cause=cause, register=register)
            self._station.say(topic, offer, expiry_s=max(1, life_s))

    def _reply(self, asked: Asked) -> None:
        own = topics.reply(self._place.store, self._settings.source)
        topic = asked.heard.response_topic
        if asked.request is None or topic is None or not is_below(topic, own):
            return
        self._n_answered += 1
        cause = {"source": self._settings.source, "id": asked.request.id or "request"}
        answer = self._decision(ANSWER_TITLE, OFFER_LIFE_S, cause=cause)
        self._station.say(
            topic, answer, expiry_s=OFFER_LIFE_S, correlation=asked.heard.correlation
        )

    def _decision(self, title: str, life_s: int, **more: object) -> bytes:
        now = self._station.now()
        said = {
            "decision": f"{self._settings.run}-{title.lower().replace(' ', '-')}",
            "issued": instant(now + timedelta(seconds=min(0, 2 * life_s))),
            "valid_until": instant(now + timedelta(seconds=life_s)),
            "schema_version": SCHEMA_VERSION,
            "locale": "en",
            "items": [item(title)],
            "model": "conformance",
            "policy": "conformance",
            **more,
        }
        return json.dumps(said).encode()
