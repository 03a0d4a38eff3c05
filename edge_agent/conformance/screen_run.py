"""Plays the agent to one screen: sends each case, waits for what is told, asks who is there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from edge_agent.conformance.contract import SCREEN_PERSON
from edge_agent.conformance.screen_cases import (
    LIFE_S,
    MARKUP,
    SHORT_LIFE_S,
    Case,
    Maker,
    Message,
    cases,
    item,
    offer,
)
from edge_agent.conformance.screen_checks import (
    SHOWN,
    ScreenRecord,
    SentToScreen,
    feedback_in,
)
from edge_agent.wire import topics

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.conformance.agent_side import AgentSide
    from edge_agent.conformance.person import Answer, Person
    from edge_agent.conformance.transcript import Heard, Place

# A screen that has not answered by then does not: late answers are told apart from missing ones.
LATE_FACTOR: Final = 3.0
# Silence is believed after this long, or after three times the slowest answer so far.
QUIET_LEAST_S: Final = 1.0
ASK_AGAIN_S: Final = 1.0
# What ends is looked at this long after its end.
SETTLE_S: Final = 2.0
NOBODY: Final = "nobody was asked (--no-interaction)"
IMPOSSIBLE: Final = "it cannot be done on this screen, by who stands there"
TOUCHES: Final = (("tapped", "Tap"), ("dismissed", "Send away (dismiss)"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ScreenSettings:
    """How a screen is tried.

    Attributes:
        run: Begins the name of every decision.
        within_s: How soon a recommendation must be told as shown.
        wait_s: How long to wait for the screen to subscribe.
        patience_s: How long to wait for what somebody does.
        tolerance_s: How wrong the screen's clock may be.
    """

    screen: str
    run: str
    within_s: float = 5.0
    wait_s: float = 60.0
    patience_s: float = 60.0
    tolerance_s: float = 10.0


class ScreenRun:
    """One run; `go` returns its record."""

    def __init__(
        self, station: AgentSide, place: Place, settings: ScreenSettings, person: Person
    ) -> None:
        self._station = station
        self._place = place
        self._settings = settings
        self._person = person
        self._maker = Maker(run=settings.run, screen=settings.screen)
        self._topic = topics.recommendation(place.store, settings.screen)
        self._sent: list[SentToScreen] = []
        self._tried: list[str] = []
        self._touches: list[tuple[str, float]] = []
        self._answers: dict[str, str] = {}
        self._slowest_s = 0.0
        self._stopped_after: str | None = None

    def go(self, on_case: Callable[[str, int, int], None]) -> ScreenRecord:
        """Tries everything; `on_case` is told the name, number and count of what is tried."""
        is_heard = self._wait_for_screen(on_case)
        if is_heard:
            self._station.hear_everything()
            self._try_all(on_case)
        settings = self._settings
        return ScreenRecord(
            store=self._place.store,
            screen=settings.screen,
            run=settings.run,
            within_s=settings.within_s,
            tolerance_s=settings.tolerance_s,
            is_heard=is_heard,
            sent=tuple(self._sent),
            heard=self._station.heard,
            tried=tuple(self._tried),
            stopped_after=self._stopped_after,
            touches=tuple(self._touches),
            answers=dict(self._answers),
        )

    def _wait_for_screen(self, on_case: Callable[[str, int, int], None]) -> bool:
        on_case(f"waiting for a subscriber of {self._topic}", 0, 0)
        deadline_s = self._station.monotonic_s() + self._settings.wait_s
        # An empty retained message says nothing, and shows a screen nothing of an earlier run.
        while not self._station.say(self._topic, b"", retain=True):
            if self._station.monotonic_s() > deadline_s:
                self._stopped_after = "the start: nobody subscribes"
                return False
            self._station.pause(ASK_AGAIN_S)
        return True

    def _try_all(self, on_case: Callable[[str, int, int], None]) -> None:
        listed = cases(self._maker)
        helped: tuple[Callable[[], None], ...] = (
            self._read_exactly,
            self._touch,
            self._let_offer_end,
            self._let_end,
            self._clear,
            self._restart,
        )
        if not self._person.is_there:
            self._answers = dict.fromkeys(SCREEN_PERSON, NOBODY)
            helped = ()
        n_all = len(listed) + len(helped)
        for number, case in enumerate(listed, 1):
            on_case(case.name, number, n_all)
            self._try(case)
            if self._stopped_after is not None:
                return
        for number, ask in enumerate(helped, len(listed) + 1):
            on_case(ask.__name__.strip("_").replace("_", " "), number, n_all)
            ask()

    # --- cases --------------------------------------------------------------------------------

    def _try(self, case: Case) -> None:
        self._tried.append(case.name)
        is_well = True
        messages = case.messages(self._station.now())
        for message in messages:
            sent = self._send(case.name, message)
            if message.is_awaited:
                is_well = self._await_shown(sent) and is_well
        last = self._sent[-1]
        if case.is_waited_out:
            is_well = self._await_shown(last)
            self._station.pause(last.ends_at_s - self._station.monotonic_s() + SETTLE_S)
        if last.expects == "shown" and not case.is_waited_out and case.name != "repeat":
            is_well = self._await_shown(last) and is_well
        else:
            self._stay_quiet()
            is_well = self._follow_up(case.name, "after") and is_well
        if not is_well and not self._follow_up("", f"still-there-{case.name}"):
            self._stopped_after = case.name

    def _send(self, case: str, message: Message, *, is_follow_up: bool = False) -> SentToScreen:
        station = self._station
        at_s = station.monotonic_s()
        sent = SentToScreen(
            case=case,
            decision=message.decision,
            products=message.products,
            expects=message.expects,
            at_s=at_s,
            at=station.now(),
            ends_at_s=at_s + message.life_s,
            is_follow_up=is_follow_up,
        )
        self._sent.append(sent)
        expiry_s = max(1, round(message.life_s)) if message.decision else None
        station.say(self._topic, message.payload, retain=message.retain, expiry_s=expiry_s)
        return sent

    def _follow_up(self, case: str, name: str) -> bool:
        made = self._maker.message(f"{case}-{name}".strip("-"), self._station.now())
        return self._await_shown(self._send(case, made, is_follow_up=True))

    def _await_shown(self, sent: SentToScreen, *, within_s: float | None = None) -> bool:
        wait_s = within_s or self._settings.within_s * LATE_FACTOR
        if not self._wait_told(SHOWN, sent.decision, wait_s):
            return False
        if case_counts(sent):
            took_s = self._station.monotonic_s() - sent.at_s
            self._slowest_s = max(self._slowest_s, took_s)
        return True

    def _wait_told(self, kind: str, decision: str, wait_s: float) -> bool:
        def is_told(heard: tuple[Heard, ...]) -> bool:
            settings = self._settings
            told = feedback_in(
                heard, store=self._place.store, screen=settings.screen, run=settings.run
            )
            return any(each.type == kind and each.field("decision") == decision for each in told)

        return self._station.wait(is_told, until_s=self._station.monotonic_s() + wait_s)

    def _stay_quiet(self) -> None:
        most_s = self._settings.within_s
        self._station.pause(min(most_s, max(QUIET_LEAST_S, LATE_FACTOR * self._slowest_s)))

    # --- with somebody at the screen ----------------------------------------------------------

    def _show(
        self, check: str, title: str, *, life_s: float = LIFE_S, **more: Any
    ) -> SentToScreen | None:
        """Shows something to ask about; None when the screen does not show it."""
        shown = item(title, **more)
        made = self._maker.message(check, self._station.now(), life_s=life_s, items=[shown])
        sent = self._send("", made)
        if self._await_shown(sent):
            return sent
        self._answers[check] = "the screen did not show what was to be asked about"
        return None

    def _ask(self, check: str, text: str) -> None:
        self._answers[check] = self._person.sees(check, text) or NOBODY

    def _read_exactly(self) -> None:
        if self._show("reads-exactly", MARKUP) is not None:
            self._ask("reads-exactly", f"Does the screen read exactly {MARKUP} ?")

    def _touch(self) -> None:
        for check, verb in TOUCHES:
            title = f"{verb} me"
            kind = f"screen.{check}"
            sent = self._show(check, title)
            if sent is None:
                continue
            self._touches.append((kind, self._station.monotonic_s()))
            done = self._person.does(check, f'{verb} the recommendation "{title}".')
            self._answers[check] = self._told_after(done, kind, sent.decision)

    def _told_after(self, done: Answer, kind: str, decision: str) -> str:
        if done != "yes":
            return NOBODY if done is None else IMPOSSIBLE
        patience_s = self._settings.patience_s
        return "told" if self._wait_told(kind, decision, patience_s) else "silent"

    def _let_offer_end(self) -> None:
        text = "Offer that ends now"
        ending = offer(self._station.now(), text=text, life_s=SHORT_LIFE_S)
        if self._show("offer-over", "Offer ends, product stays", offer=ending) is not None:
            self._station.pause(SHORT_LIFE_S + self._settings.within_s + SETTLE_S)
            self._ask("offer-over", f'Is the text "{text}" off the screen?')

    def _let_end(self) -> None:
        sent = self._show("gone-when-over", "Gone in a moment", life_s=SHORT_LIFE_S)
        if sent is not None:
            self._station.pause(sent.ends_at_s - self._station.monotonic_s() + SETTLE_S)
            self._ask("gone-when-over", 'Is "Gone in a moment" off the screen?')

    def _clear(self) -> None:
        if self._show("gone-when-cleared", "Gone at once") is not None:
            self._station.say(self._topic, b"", retain=True)
            self._station.pause(SETTLE_S)
            self._ask("gone-when-cleared", 'Is "Gone at once" off the screen?')

    def _restart(self) -> None:
        check = "restart"
        off = self._person.does("switch-off", "Switch the screen (its player) off.")
        if off != "yes":
            self._answers[check] = NOBODY if off is None else IMPOSSIBLE
            return
        made = self._maker.message("restart", self._station.now(), life_s=2 * LIFE_S)
        sent = self._send(check, made)
        on = self._person.does("switch-on", "Switch the screen on again.")
        if on != "yes":
            self._answers[check] = NOBODY if on is None else IMPOSSIBLE
            return
        patience_s = self._settings.patience_s
        is_shown = self._await_shown(sent, within_s=patience_s)
        self._answers[check] = "told" if is_shown else "silent"


def case_counts(sent: SentToScreen) -> bool:
    """Returns whether the time of an answer says how fast the screen is."""
    return sent.case != "restart"
