"""What a run has shown of a screen: its record in, a finding for each check out. Pure."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from statistics import median
from typing import TYPE_CHECKING, Final

from edge_agent.conformance.contract import SCREEN, SCREEN_CASES, SCREEN_MESSAGES, SCREEN_PERSON
from edge_agent.conformance.findings import counted
from edge_agent.conformance.reading import Told, told_in
from edge_agent.ingest.decode import refusal_of_feedback
from edge_agent.wire import topics

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from edge_agent.conformance.findings import Finding
    from edge_agent.conformance.screen_cases import Expected
    from edge_agent.conformance.transcript import Heard

SHOWN: Final = "screen.shown"
TOUCHES: Final = frozenset({"screen.tapped", "screen.dismissed"})
# What is told of a recommendation this long after its end was under way before it.
END_GRACE_S: Final = 1.0
# Cases that judge by themselves how often something is told.
_OWN_COUNT: Final = frozenset({"repeat", "restart"})


@dataclass(frozen=True, slots=True, kw_only=True)
class SentToScreen:
    """One message that a screen was sent.

    Attributes:
        case: The check that it belongs to.
        ends_at_s: When it is over, on the monotonic clock.
        is_follow_up: Whether it only asks if the screen still shows what comes next.
    """

    case: str
    decision: str
    products: frozenset[str]
    expects: Expected
    at_s: float
    at: datetime
    ends_at_s: float
    is_follow_up: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ScreenRecord:
    """All that happened in a run.

    Attributes:
        run: Begins the name of every decision of this run.
        within_s: How soon a recommendation must be told as shown.
        tolerance_s: How wrong the screen's clock may be.
        is_heard: Whether anybody subscribes to the screen's recommendations.
        tried: The cases that were tried.
        stopped_after: The case after which the screen showed nothing more.
        touches: Kind and time of each touch that somebody was asked for.
        answers: What somebody said, by check: `yes`, `no`, or why nobody was asked.
    """

    store: str
    screen: str
    run: str
    within_s: float
    tolerance_s: float
    is_heard: bool
    sent: tuple[SentToScreen, ...] = ()
    heard: tuple[Heard, ...] = ()
    tried: tuple[str, ...] = ()
    stopped_after: str | None = None
    touches: tuple[tuple[str, float], ...] = ()
    answers: Mapping[str, str] = field(default_factory=dict)


def findings(record: ScreenRecord) -> tuple[Finding, ...]:
    """Returns a finding for every check, in the contract's order."""
    read = _Read(record)
    found = {**read.messages(), **read.cases(), **read.person()}
    return tuple(found[name] for name in SCREEN)


def feedback_in(heard: tuple[Heard, ...], *, store: str, screen: str, run: str) -> list[Told]:
    """Returns what a screen has told: on its topic, and of this run's decisions anywhere."""
    own = topics.feedback(store, screen)
    return [
        told
        for each in heard
        if each.topic == own or run.encode() in each.payload
        for told in told_in(each)
        if each.topic == own or told.type.startswith("screen.")
    ]


class _Read:
    """A record, read once."""

    def __init__(self, record: ScreenRecord) -> None:
        self._record = record
        self._told = feedback_in(
            record.heard, store=record.store, screen=record.screen, run=record.run
        )
        self._sent: dict[str, SentToScreen] = {}
        for each in record.sent:
            # Of a repeated one the first time counts.
            self._sent.setdefault(each.decision, each)
        self._sent.pop("", None)
        self._by_decision: dict[str, list[Told]] = defaultdict(list)
        for told in self._told:
            self._by_decision[told.field("decision")].append(told)

    # --- every message ------------------------------------------------------------------------

    def messages(self) -> dict[str, Finding]:
        """Returns what holds of every message."""
        checks = SCREEN_MESSAGES
        found = {"subscribes": self._subscribes(), "topic": self._topic()}
        n_told = len(self._told)
        if not n_told:
            silent = {
                name: check.not_tried("the screen said nothing")
                for name, check in checks.items()
                if name not in found
            }
            return {**found, **silent}
        faults = {
            "delivery": self._delivery(),
            "schema": self._schema(),
            "itself": self._itself(),
            "decision": self._decision(),
            "product": self._product(),
            "ids": self._ids(),
            "once": self._once(),
            "time": self._time(),
            "untouched": self._untouched(),
        }
        for name, each in faults.items():
            found[name] = checks[name].judged(each, else_ok=f"so in {counted(n_told, 'event')}")
        return {**found, "reaction": self._reaction()}

    def _subscribes(self) -> Finding:
        check = SCREEN_MESSAGES["subscribes"]
        record = self._record
        if record.is_heard or self._told:
            return check.ok("the broker has a subscriber there, or does not say")
        topic = topics.recommendation(record.store, record.screen)
        return check.wrong(f"the broker says that nobody subscribes to {topic}")

    def _topic(self) -> Finding:
        record = self._record
        own = topics.feedback(record.store, record.screen)
        strays = [
            f"published on {each.topic}"
            for each in record.heard
            if each.topic != own
            and (record.run.encode() in each.payload or self._is_other_topic(each.topic))
        ]
        if not strays and not self._told:
            return SCREEN_MESSAGES["topic"].not_tried("the screen said nothing")
        return SCREEN_MESSAGES["topic"].judged(strays, else_ok=f"all on {own}")

    def _is_other_topic(self, topic: str) -> bool:
        store, screen = self._record.store, self._record.screen
        own_level = topics.feedback(store, screen).rpartition("/")[0]
        return topic.startswith(f"{own_level}/") or topic == topics.event(store, screen)

    def _delivery(self) -> Iterator[str]:
        for told in self._told:
            if told.heard.qos == 0:
                yield f"{told.type or 'a message'} came with QoS 0"
            if told.heard.retain:
                yield f"{told.type or 'a message'} is retained"

    def _schema(self) -> Iterator[str]:
        for told in self._told:
            if told.refusal is not None:
                yield f"{told.refusal.reason}: {told.refusal.detail}"

    def _itself(self) -> Iterator[str]:
        for told in self._told:
            if told.event is None:
                continue
            if refusal_of_feedback(told.event, screen=self._record.screen) is not None:
                yield f"a {told.type} that names {told.field('screen') or 'no screen'}"

    def _decision(self) -> Iterator[str]:
        for told in self._told:
            decision = told.field("decision")
            if decision not in self._sent:
                yield f"{told.type} of {decision or 'no decision'}"

    def _product(self) -> Iterator[str]:
        for told in self._told:
            product, sent = told.field("product"), self._sent.get(told.field("decision"))
            if product and sent is not None and product not in sent.products:
                yield f"{told.type} of product {product}"

    def _ids(self) -> Iterator[str]:
        meanings: dict[str, set[tuple[str, str, str]]] = defaultdict(set)
        for told in self._told:
            if told.id:
                meanings[told.id].add(_what(told))
        for event_id, meant in meanings.items():
            if len(meant) > 1:
                yield f"id {event_id} stands for {len(meant)} different events"

    def _once(self) -> Iterator[str]:
        for (kind, decision, _product), ids in self._ids_by_meaning().items():
            sent = self._sent.get(decision)
            if len(ids) > 1 and (sent is None or sent.case not in _OWN_COUNT):
                yield f"{kind} of {decision} told {len(ids)} times"

    def _ids_by_meaning(self) -> dict[tuple[str, str, str], set[str]]:
        ids: dict[tuple[str, str, str], set[str]] = defaultdict(set)
        for told in self._told:
            ids[_what(told)].add(told.id)
        return ids

    def _time(self) -> Iterator[str]:
        tolerance = timedelta(seconds=self._record.tolerance_s)
        for told in self._told:
            sent, time = self._sent.get(told.field("decision")), told.time
            if time is None or sent is None:
                continue
            if time > told.heard.at + tolerance:
                yield f"{told.type} lies {(time - told.heard.at).total_seconds():.1f} s ahead"
            elif time < sent.at - tolerance:
                behind_s = (sent.at - time).total_seconds()
                yield f"{told.type} lies {behind_s:.1f} s before its recommendation was sent"

    def _untouched(self) -> Iterator[str]:
        for told in self._told:
            if told.type in TOUCHES and not self._was_touched(told):
                yield f"{told.type} of {told.field('decision')}"

    def _was_touched(self, told: Told) -> bool:
        return any(
            kind == told.type and told.heard.at_s >= at_s for kind, at_s in self._record.touches
        )

    def _reaction(self) -> Finding:
        check, within_s = SCREEN_MESSAGES["reaction"], self._record.within_s
        took_s = {
            each.decision: first.heard.at_s - each.at_s
            for each in self._sent.values()
            if each.expects == "shown"
            and each.case != "restart"
            and (first := self._first_shown(each.decision)) is not None
        }
        if not took_s:
            return check.not_tried("nothing was told as shown")
        slow = [
            f"{decision} after {each_s:.1f} s, {within_s:g} s are allowed"
            for decision, each_s in took_s.items()
            if each_s > within_s
        ]
        middle_s, most_s = median(took_s.values()), max(took_s.values())
        told = f"{len(took_s)} shown, after {middle_s:.2f} s in the middle, {most_s:.2f} s at most"
        return check.judged(slow, else_ok=told)

    # --- cases --------------------------------------------------------------------------------

    def cases(self) -> dict[str, Finding]:
        """Returns what became of each case."""
        return {name: self._case(name) for name in SCREEN_CASES}

    def _case(self, name: str) -> Finding:
        check, record = SCREEN_CASES[name], self._record
        if name not in record.tried:
            if record.stopped_after is None:
                return check.not_tried("the run ended before")
            return check.not_tried(
                f"the screen shows nothing any more since {record.stopped_after}"
            )
        sent = [each for each in record.sent if each.case == name]
        faults = [fault for each in sent for fault in self._faults_of(each)]
        if name == "repeat":
            faults += self._told_again(sent)
        shown = [each for each in sent if each.expects == "shown" and not each.is_follow_up]
        return check.judged(
            faults, else_ok="shown" if shown else "silence, and the next was shown"
        )

    def _faults_of(self, sent: SentToScreen) -> Iterator[str]:
        if sent.expects == "shown" and self._first_shown(sent.decision) is None:
            what = "the next recommendation was" if sent.is_follow_up else f"{sent.decision} was"
            yield f"{what} not told as shown"
        if sent.expects == "silent":
            for told in self._by_decision.get(sent.decision, ()) if sent.decision else ():
                yield f"{told.type} was told of it"
        if sent.case == "expires" and not sent.is_follow_up:
            for told in self._by_decision.get(sent.decision, ()):
                if told.heard.at_s > sent.ends_at_s + END_GRACE_S:
                    late_s = told.heard.at_s - sent.ends_at_s
                    yield f"{told.type} was told {late_s:.1f} s after its end"

    def _told_again(self, sent: list[SentToScreen]) -> Iterator[str]:
        decisions = {each.decision for each in sent}
        for (kind, decision, _product), ids in self._ids_by_meaning().items():
            if decision in decisions and len(ids) > 1:
                yield f"{kind} was told {len(ids)} times, under ids of their own"

    def _first_shown(self, decision: str) -> Told | None:
        told = self._by_decision.get(decision, ())
        return next((each for each in told if each.type == SHOWN), None)

    # --- somebody at the screen ---------------------------------------------------------------

    def person(self) -> dict[str, Finding]:
        """Returns what somebody did and saw."""
        found = {}
        for name, check in SCREEN_PERSON.items():
            answer = self._record.answers.get(name, "the run ended before")
            if answer == "yes":
                found[name] = check.ok("so, by who stands there")
            elif answer == "no":
                found[name] = check.wrong("not so, by who stands there")
            elif answer in {"told", "silent"}:
                found[name] = check.judged(
                    ["nothing of it was told"] if answer == "silent" else (), else_ok="told"
                )
            else:
                found[name] = check.not_tried(answer)
        return found


def _what(told: Told) -> tuple[str, str, str]:
    return told.type, told.field("decision"), told.field("product")
