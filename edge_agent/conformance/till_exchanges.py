"""Receipts of events, requests and offers: what came of each. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from edge_agent.conformance.contract import TILL_EXCHANGES
from edge_agent.conformance.findings import counted
from edge_agent.conformance.till_desk import ANOTHER_ID
from edge_agent.conformance.till_record import content_of
from edge_agent.conformance.transcript import is_below
from edge_agent.wire import topics

if TYPE_CHECKING:
    from edge_agent.conformance.findings import Finding
    from edge_agent.conformance.reading import Told
    from edge_agent.conformance.till_record import Asked, TillReading, TillRecord

# What is told again this long after its receipt was under way before it came.
UNDER_WAY_S: Final = 2.0
_NO_RECEIPTS: Final = "the till asks for no receipts (`receipt` is not true in its events)"
_BY_PERSON: Final = {
    "reply": "so, by who stands there",
    "offer": "so, by who stands there",
    "offer-over": "so, by who stands there",
}


class Exchanges:
    """What a till did with what it was told."""

    def __init__(self, record: TillRecord, reading: TillReading) -> None:
        self._record = record
        self._reading = reading

    def findings(self) -> dict[str, Finding]:
        """Returns a finding for each of these checks."""
        return {
            "asks": self._asks(),
            "repeats": self._repeats(),
            "others-receipt": self._others_receipt(),
            "stops": self._stops(),
            "refused": self._refused(),
            "request": self._request(),
            **{name: self._by_person(name) for name in _BY_PERSON},
        }

    # --- receipts -----------------------------------------------------------------------------

    def _asks(self) -> Finding:
        check = TILL_EXCHANGES["asks"]
        told = self._reading.told
        if self._record.asks_always:
            return check.ok("the store's configuration asks in its name (--receipts)")
        asking = [each for each in told if each.raw.get("receipt") is True]
        if not asking:
            return check.not_tried(_NO_RECEIPTS)
        quiet = [each.type for each in told if each.raw.get("receipt") is not True]
        faults = (f"a {each or 'message'} asks for none" for each in quiet)
        return check.judged(faults, else_ok=f"so in {counted(len(told), 'telling')}")

    def _repeats(self) -> Finding:
        check = TILL_EXCHANGES["repeats"]
        told = self._withheld()
        if not told:
            return check.not_tried(_NO_RECEIPTS)
        if len(told) > 1:
            after_s = told[1].heard.at_s - told[0].heard.at_s
            return check.ok(f"{told[0].type} was told again after {after_s:.1f} s")
        if self._is_told_under_another_id(told[0]):
            return check.not_tried("it was told again under another id: see one-id")
        return check.wrong(
            f"{told[0].type} was told once, and not again in {self._waited_s(told[0]):.0f} s"
        )

    def _others_receipt(self) -> Finding:
        check = TILL_EXCHANGES["others-receipt"]
        told = self._withheld()
        given = next((e for e in self._record.receipts if e.id == ANOTHER_ID), None)
        if given is None:
            return check.not_tried("nothing was told again, so none was given")
        if any(each.heard.at_s > given.at_s for each in told):
            return check.ok("it went on being told")
        waited_s = self._record.ended_at_s - given.at_s
        return check.wrong(f"after it nothing was told again in {waited_s:.0f} s")

    def _stops(self) -> Finding:
        check = TILL_EXCHANGES["stops"]
        ended = [
            e for e in self._record.receipts if e.outcome == "committed" and e.id != ANOTHER_ID
        ]
        if not ended:
            return check.not_tried("no receipt was given")
        faults = (f for each in ended for f in self._after(each.id, each.at_s))
        return check.judged(faults, else_ok=f"so after {counted(len(ended), 'receipt')}")

    def _refused(self) -> Finding:
        check = TILL_EXCHANGES["refused"]
        given = next((e for e in self._record.receipts if e.id == self._record.refused), None)
        if given is None:
            return check.not_tried("no event was refused")
        return check.judged(self._after(given.id, given.at_s), else_ok="it was not told again")

    def _after(self, event_id: str, at_s: float) -> Iterator[str]:
        late = [
            each for each in self._reading.again(event_id) if each.heard.at_s > at_s + UNDER_WAY_S
        ]
        if late:
            yield f"{late[0].type} was told {counted(len(late), 'time')} more after its receipt"

    def _withheld(self) -> list[Told]:
        return self._reading.again(self._record.withheld or "")

    def _waited_s(self, told: Told) -> float:
        return self._record.ended_at_s - told.heard.at_s

    def _is_told_under_another_id(self, told: Told) -> bool:
        return any(
            each.id != told.id and content_of(each) == content_of(told)
            for each in self._reading.first
        )

    # --- requests and offers ------------------------------------------------------------------

    def _request(self) -> Finding:
        check, asked = TILL_EXCHANGES["request"], self._reading.requests
        if not asked:
            return check.not_tried("the till asked for nothing")
        faults = (fault for each in asked for fault in self._faults_of(each))
        return check.judged(faults, else_ok=f"so in {counted(len(asked), 'request')}")

    def _faults_of(self, asked: Asked) -> Iterator[str]:
        own = topics.reply(self._record.store, self._record.source)
        heard, request = asked.heard, asked.request
        if asked.fault:
            yield asked.fault
        if heard.response_topic is None:
            yield "it has no response topic"
        elif not is_below(heard.response_topic, own):
            yield f"its response topic {heard.response_topic} is not below {own}"
        if heard.correlation is None:
            yield "it has no correlation data"
        if request is not None and request.source != self._record.source:
            yield f"its source is {request.source}"
        if heard.qos == 0 or heard.retain:
            yield "it came with QoS 0" if heard.qos == 0 else "it is retained"

    def _by_person(self, name: str) -> Finding:
        check = TILL_EXCHANGES[name]
        answer = self._record.answers.get(name, "nobody was asked, or it came to none")
        if answer == "yes":
            return check.ok(_BY_PERSON[name])
        if answer == "no":
            return check.wrong("not so, by who stands there")
        return check.not_tried(answer)
