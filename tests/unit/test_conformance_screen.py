"""What `conformance screen` says of a screen that keeps the contract, and of each way not to."""

from __future__ import annotations

import pytest
from typing_extensions import override

from edge_agent.conformance.contract import SCREEN, SCREEN_PERSON
from edge_agent.conformance.findings import Finding, exit_code
from edge_agent.conformance.person import Nobody, Person
from edge_agent.conformance.screen_cases import Maker, cases
from edge_agent.conformance.screen_checks import findings
from edge_agent.conformance.screen_run import ScreenRun, ScreenSettings
from edge_agent.conformance.transcript import Place
from edge_agent.wire import topics
from edge_agent.wire.screens import Recommendation
from tests.vendor_screen import VendorScreen
from tests.vendor_world import START, OwnWorld

STORE, SCREEN_ID, RUN = "bench", "dairy-1", "run-1"
# Each fault of a screen, and the one line that tells it.
FAULTS = {
    "hears nothing": "subscribes",
    "another topic": "topic",
    "qos 0": "delivery",
    "retained": "delivery",
    "no specversion": "schema",
    "local time": "schema",
    "another screen's name": "itself",
    "tells of others": "decision",
    "unknown product": "product",
    "one id for all": "ids",
    "tells plain twice": "once",
    "an hour ahead": "time",
    "dismisses what is replaced": "untouched",
    "dismisses what ends": "untouched",
    "slow": "reaction",
    "shows nothing": "plain",
    "needs a price": "default",
    "needs all fields": "sparse",
    "one offer": "full",
    "short titles": "long-texts",
    "ten items": "many-items",
    "strict fields": "unknown-fields",
    "no markup": "any-script",
    "knows no offsets": "offset-times",
    "compares items": "same-items",
    "few at once": "burst",
    "newest issued": "older-issued",
    "tells repeats again": "repeat",
    "takes what is over": "expired",
    "forgets eastern offsets": "expired-offset",
    "cycles on": "expires",
    "stunned by clearing": "cleared",
    "stunned by broken messages": "not-json",
    "needs no end": "missing-fields",
    "any version": "other-version",
    "markup": "reads-exactly",
    "keeps what is over": "gone-when-over",
    "keeps what is cleared": "gone-when-cleared",
    "keeps offers": "offer-over",
    "tells no tapped": "tapped",
    "tells no dismissed": "dismissed",
    "forgets over a restart": "restart",
}


def tried(fault: str = "", *, person: Person | None = None) -> tuple[Finding, ...]:
    """Returns what is found of a screen with a fault; it is its own person by default."""
    world = OwnWorld()
    screen = VendorScreen(world, STORE, SCREEN_ID, fault, kept=world.kept)
    world.device = screen
    settings = ScreenSettings(screen=SCREEN_ID, run=RUN)
    run = ScreenRun(world, Place(store=STORE), settings, person or screen)
    return findings(run.go(lambda *_: None))


def test_screen_that_keeps_the_contract_is_right_in_every_line() -> None:
    """All checks are tried, and all hold."""
    found = tried()
    assert [each.check for each in found] == list(SCREEN)
    assert [each for each in found if each.verdict != "ok"] == []
    assert exit_code(found) == 0


@pytest.mark.parametrize(("fault", "check"), FAULTS.items())
def test_each_fault_makes_exactly_its_line_wrong(fault: str, check: str) -> None:
    """A screen that is wrong in one way is told so in one line."""
    found = tried(fault)
    assert [each.check for each in found if each.verdict == "wrong"] == [check], found
    assert exit_code(found) == 1


def test_every_line_has_a_fault_that_makes_it_wrong() -> None:
    """No check is there that nothing can fail."""
    assert set(FAULTS.values()) == set(SCREEN)


def test_what_needs_a_person_is_said_not_to_be_tried() -> None:
    """Without anybody to ask, those lines say so, and nothing is wrong."""
    found = tried(person=Nobody())
    untried = {each.check for each in found if each.verdict == "not tried"}
    assert untried == set(SCREEN_PERSON)
    assert all("nobody was asked" in each.came for each in found if each.check in untried)
    assert exit_code(found) == 0


def test_screen_that_dies_is_told_by_the_case_that_killed_it() -> None:
    """What comes after is not tried, instead of being wrong too."""
    found = {each.check: each for each in tried("shows nothing")}
    assert found["burst"].verdict == "not tried"
    assert "since plain" in found["burst"].came


def test_what_must_be_shown_is_what_an_agent_may_send() -> None:
    """No screen is blamed for a message that no agent would publish."""
    listed = [
        message
        for case in cases(Maker(run=RUN, screen=SCREEN_ID))
        for message in case.messages(START)
        if message.expects != "silent"
    ]
    for message in listed:
        sent = Recommendation.model_validate_json(message.payload)
        assert sent.decision == message.decision
        assert {each.product for each in sent.items} == message.products
        assert sent.valid_until > START
    assert len(listed) > 20


def test_another_agents_recommendations_are_told() -> None:
    """Somebody who publishes on the screen's own topic is a stray, whatever he says."""

    class Intruder(OwnWorld):
        @override
        def hear_everything(self) -> None:
            super().hear_everything()
            self.publish(topics.recommendation(STORE, SCREEN_ID), b"{}")

    world = Intruder()
    world.device = VendorScreen(world, STORE, SCREEN_ID)
    settings = ScreenSettings(screen=SCREEN_ID, run=RUN)
    run = ScreenRun(world, Place(store=STORE), settings, Nobody())
    found = {each.check: each for each in findings(run.go(lambda *_: None))}
    assert found["topic"].verdict == "wrong"
    assert "recommendation" in found["topic"].came
