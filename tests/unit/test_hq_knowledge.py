"""What HQ sends that decisions may rest on: facts, what was said elsewhere, ages, campaigns."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from edge_agent.decide.hq_campaigns import joined, section_text
from edge_agent.domain.contacts import Contact
from edge_agent.domain.effects import Confirm, Effect
from edge_agent.domain.ids import CampaignId, ProductId
from edge_agent.domain.scoring import FIRST_PLAN
from edge_agent.domain.time import monday_of, rfc3339_from_ms
from edge_agent.engine.draft import Draft
from edge_agent.engine.persons import circle_of
from edge_agent.shell.rule_files import rules_of
from tests.factories import (
    CARD,
    PHONE,
    at,
    command,
    entered,
    granted,
    lifted,
    ref,
    scanned_card,
    till,
    withdrawn,
    world,
)
from tests.fakes import World

MAIL = {"id": "mail-1", "at": rfc3339_from_ms(at(-3_600)), "channel": "e-mail", "campaign": "18"}


def refusals(found: list[Effect]) -> list[str | None]:
    """Returns what HQ is told of its commands: None for one that was taken."""
    return [each.reason for each in found if isinstance(each, Confirm)]


def told(heard: World, *rows: dict[str, Any], who: dict[str, str] | None = None) -> list[Effect]:
    """HQ tells what somebody was told elsewhere."""
    body = {"visitor": who or ref("loyalty", CARD), "contacts": list(rows)}
    return heard.command(command("contact", body))


def contacts(heard: World) -> tuple[Contact, ...]:
    """Returns all that was said to the card's holder."""
    card = heard.visitor("loyalty", CARD)
    assert card is not None
    found: tuple[Contact, ...] = heard.state.contacts_of(card.id, since_ms=0)
    return found


@pytest.mark.parametrize("value", ["rain", -4.5, True])
def test_a_fact_holds_until_its_end(value: object) -> None:
    """Text, number or truth, as HQ said it; the command is confirmed."""
    heard = world()
    body = {"name": "weather", "value": value, "valid_until": rfc3339_from_ms(at(60))}
    assert refusals(heard.command(command("fact", body))) == [None]
    assert heard.state.facts(at(59)) == {"weather": value}
    assert heard.state.facts(at(60)) == {}


def test_a_fact_that_is_over_takes_back_what_was_said() -> None:
    """HQ ends a fact early by saying it again, with an end that is past."""
    heard = world()
    for until_s in (600, -1):
        end = rfc3339_from_ms(at(until_s))
        heard.command(command("fact", {"name": "fair", "value": True, "valid_until": end}))
    assert heard.state.facts(heard.now_ms) == {}


def test_what_a_customer_was_told_elsewhere_is_kept_with_what_came_of_it() -> None:
    """The same id again is the same contact, and its newest outcome counts."""
    heard = world()
    heard.take(granted(-60))
    assert refusals(told(heard, MAIL)) == [None]
    assert contacts(heard)[0].answer_to() == "ignored"
    told(heard, {**MAIL, "outcome": "tapped"}, {**MAIL, "id": "mail-2", "outcome": "ignored"})
    answers = [(each.channel, each.campaigns, each.answer_to()) for each in contacts(heard)]
    assert sorted(answers) == [("e-mail", ("18",), "ignored"), ("e-mail", ("18",), "tapped")]


def test_of_who_never_consented_nothing_is_kept() -> None:
    """A card of nobody known, and of somebody who said no: refused, and HQ hears why."""
    heard = world()
    reason = "no consent of this customer is on record here"
    assert refusals(told(heard, MAIL)) == [reason]
    heard.take(granted(-60), withdrawn(-30))
    assert refusals(told(heard, MAIL)) == [reason]
    assert heard.memory.reported == {}


def test_a_contact_of_the_future_is_refused() -> None:
    """A clock that is wrong at HQ does not keep somebody silent for a year."""
    heard = world()
    heard.take(granted(-60))
    ahead = {**MAIL, "at": rfc3339_from_ms(at(86_400))}
    assert refusals(told(heard, MAIL, ahead)) == ["told of in the future"]
    assert contacts(heard) == ()


def test_the_last_withdrawal_takes_what_hq_told_along() -> None:
    """As long as one purpose is allowed it stays; then it goes at once."""
    heard = world()
    heard.take(granted(-60))
    told(heard, MAIL)
    heard.take(withdrawn(-20, purposes=("profiling", "sending_to_hq")))
    assert len(contacts(heard)) == 1
    heard.take(withdrawn(-10))
    assert contacts(heard) == ()


def test_whoever_is_one_person_is_counted_as_one() -> None:
    """His phone's screens, his card's e-mails and this very step's words are all said to him."""
    heard = world()
    heard.take(granted(-60))
    told(heard, MAIL)
    heard.take(entered("dairy", 0), entered("checkout", 5), till("basket.opened", 6))
    heard.take(scanned_card(7))
    draft = Draft(heard.state, heard.context())
    phone = heard.visitor("ble", PHONE)
    assert phone is not None
    found = draft.contacts_with(circle_of(draft, (phone,)), since_ms=at(-86_400))
    assert [each.channel for each in found] == ["e-mail", "screen"]
    shown = heard.decisions()[-1]
    draft.record(shown)
    assert len(draft.contacts_with(circle_of(draft, (phone,)), since_ms=at(-86_400))) == 2


def test_an_age_of_the_catalogue_is_the_products_own() -> None:
    """Who feeds the catalogue says from which age something may be sold."""
    heard = world()
    rows = [{"product": "w1", "title": "Wine", "minimum_age": 18}, {"product": "m1", "title": "M"}]
    heard.command(command("catalogue", {"rows": rows}))
    ages = {each.id: each.minimum_age for each in heard.memory.products.values()}
    assert ages == {ProductId("w1"): 18, ProductId("m1"): 0}


def defined(heard: World, **more: Any) -> list[str | None]:
    """HQ defines a campaign; returns how that is confirmed."""
    body = {
        "campaign": "c1",
        "starts_at": rfc3339_from_ms(at(-60)),
        "ends_at": rfc3339_from_ms(at(600)),
        "products": ["d0"],
        "text": "A third off",
        "budget": 5,
        "value": "0.50",
        "definition": {"per_visitor": 1, "text": "not this one"},
    }
    return refusals(heard.command(command("campaign", {**body, **more})))


def test_a_campaign_of_hqs_is_the_section_of_a_policy() -> None:
    """What its body says holds; its definition says the rest in the file's words."""
    heard = world()
    assert defined(heard) == [None]
    (section,) = heard.state.hq_campaigns().values()
    assert json.loads(section) == {
        "budget": 5,
        "from": "2017-12-02T14:59:00.000Z",
        "per_visitor": 1,
        "products": ["d0"],
        "text": "A third off",
        "until": "2017-12-02T15:10:00.000Z",
        "value": 0.5,
    }


def test_a_campaign_that_is_over_goes_with_the_next_word() -> None:
    """Its own, which takes it back, or another's."""
    heard = world()
    defined(heard)
    assert defined(heard, ends_at=rfc3339_from_ms(at(-1))) == [None]
    assert heard.state.hq_campaigns() == {}
    defined(heard, campaign="c2", ends_at=rfc3339_from_ms(at(5)))
    heard.pass_s(5)
    defined(heard, campaign="c3")
    assert list(heard.state.hq_campaigns()) == ["c3"]


FILE = """
version = "spring"   # of the chain
[caps]
quiet_hours = ["21:00-08:00"]
[margins]
"A \\"dairy\\"" = 0.2
"Juusto 🧀" = 0.3
[campaigns.own]
text = "of the file"
from = 2017-12-01
until = 2017-12-24T10:31:00-05:00
products = ["d1"]
when = 'hour < 12 && fact.weather == "rain"'
[screens."dairy-1"]
sharing = { mode = "mixed" }
"""


def test_a_policy_and_hqs_campaigns_are_one_text_of_a_version_of_its_own() -> None:
    """All that the file says stays; a name that both have is the file's."""
    section = {"text": 'HQ\'s: \\ "½" \x7f\n', "from": "2017-12-01", "until": "2017-12-03"}
    ours = {**section, "products": ["d0"], "budget": 3, "lever": 1.5, "channels": ["screen"]}
    campaigns = {CampaignId("hqs"): section_text(ours), CampaignId("own"): section_text(section)}
    both = rules_of(joined(tomllib.loads(FILE), campaigns), name="both")
    alone = rules_of(FILE, name="alone")
    assert [each.id for each in both.campaigns] == ["hqs", "own"]
    assert both.campaigns[0].text == section["text"]
    assert (both.campaigns[0].budget, both.campaigns[0].lever) == (3, 1.5)
    joined_less = replace(both, campaigns=both.campaigns[1:])
    assert replace(joined_less, version="spring", digest=alone.digest) == alone
    assert both.version.startswith("spring.")
    assert both.digest != alone.digest
    fewer = rules_of(joined(tomllib.loads(FILE), dict([*campaigns.items()][1:])), name="fewer")
    assert fewer.version != both.version


def planned(heard: World, *rows: dict[str, Any], version: int = 1) -> list[str | None]:
    """HQ plans promotions; returns how that is confirmed."""
    body = {"rows": list(rows)}
    return refusals(heard.command(command("promotion", body, version=version)))


def asked_week(heard: World) -> int | None:
    """Returns the week that the scorer is asked about next."""
    heard.pass_s(1)
    heard.take(lifted("d0", (heard.now_ms - at(0)) / 1_000))
    week: int | None = json.loads(heard.decisions()[-1].record)["request"]["week"]
    return week


def test_a_plan_of_promotions_is_asked_about_in_its_week() -> None:
    """The Saturday of week 48 of 2017; the newest word of a week holds, its record names it."""
    heard = world()
    assert asked_week(heard) is None
    rows = [{"product": "d0", "week": week, "display": True} for week in (48, 49)]
    assert planned(heard, *rows, {"product": "d1", "week": 48, "mailer": True}) == [None]
    first, second = heard.state.plans()
    assert (first.from_day, first.until_day) == ("2017-11-27", "2017-12-04")
    assert (first.displayed, first.mailed) == ({"d0"}, {"d1"})
    assert (second.from_day, second.displayed) == ("2017-12-04", {"d0"})
    assert asked_week(heard) == first.number > FIRST_PLAN
    planned(heard, {"product": "d2", "week": 48, "mailer": True}, version=2)
    newest = heard.state.plans()[-1]
    assert newest.mailed == {"d2"}
    assert asked_week(heard) == newest.number > second.number
    heard.pass_s(3 * 86_400)
    assert asked_week(heard) == second.number


def test_a_week_that_is_none_is_refused_whole() -> None:
    """No plan of it is taken, and none of the weeks beside it."""
    heard = world()
    reason = "54 is no week of ISO 8601 about the time of this command"
    rows = [{"product": "d0", "week": week, "display": True} for week in (48, 54)]
    assert planned(heard, *rows) == [reason]
    assert heard.state.plans() == ()


@pytest.mark.parametrize(
    ("week", "near", "monday"),
    [
        (1, date(2017, 12, 28), date(2018, 1, 1)),
        (52, date(2018, 1, 3), date(2017, 12, 25)),
        (53, date(2020, 12, 20), date(2020, 12, 28)),
        (53, date(2018, 6, 1), None),
        (0, date(2018, 6, 1), None),
    ],
)
def test_a_week_is_of_the_year_that_brings_it_nearest(
    week: int, near: date, monday: date | None
) -> None:
    """A plan sent in December for week 1 is of the new year."""
    assert monday_of(week, near=near) == monday
