"""Deciding: gates, silence, caps, alerts, defaults, replies, and what each message holds."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edge_agent.decide.eligibility import refusal_of
from edge_agent.decide.trace import decision_id_from, lowest_id_at
from edge_agent.domain.decisions import Cause, Decision, Place
from edge_agent.domain.effects import Confirm, Count, Publish
from edge_agent.domain.ids import ProductId, ScreenId
from edge_agent.domain.rules import Rules
from edge_agent.domain.store import Product
from edge_agent.wire.screens import Recommendation, RecommendReply
from edge_agent.wire.staff import StaffAlert
from tests.factories import (
    CARD,
    T0,
    at,
    campaign,
    command,
    complained,
    entered,
    event,
    granted,
    left,
    lifted,
    policy,
    presence,
    products,
    ref,
    request,
    scanned_card,
    till,
    withdrawn,
    world,
)
from tests.fakes import TinyScorer, World


def chosen(decision: Decision) -> list[str]:
    """Returns the products of a decision."""
    return [each.scored.product for each in decision.chosen]


def reply_of(found: list[Any]) -> RecommendReply:
    """Returns the one reply among effects."""
    (message,) = (each for each in found if isinstance(each, Publish))
    return RecommendReply.model_validate_json(message.payload)


def said_no(purpose: str, *, who: dict[str, str] | None = None, **more: Any) -> Any:
    """Returns a withdrawal of one purpose, by default the card holder's."""
    whose = who or ref("loyalty", CARD)
    return event("consent.withdrawn", 3, source="desk", visitor=whose, purposes=[purpose], **more)


def test_a_screen_gets_the_best_items_with_reason_price_and_end() -> None:
    """The message is complete, and answers the event that asked for it."""
    heard = world()
    come = entered("dairy")
    (message,) = heard.published(heard.take(come))
    shown = Recommendation.model_validate_json(message.payload)
    assert message.retain
    assert [item.rank for item in shown.items] == [1, 2, 3]
    assert (shown.cause.source, shown.cause.id) == (come.source, come.id)
    assert shown.items[0].reason.text == "Goes with your basket"
    assert shown.items[0].price is not None
    assert (shown.valid_until - shown.issued).total_seconds() == 60


def test_a_screens_message_is_written_as_its_model_writes_it() -> None:
    """Put together from kept parts, it has the model's bytes; so has the store's default."""
    heard = world()
    messages = heard.published(heard.take(entered("dairy", 0)))
    messages += heard.published(heard.take(left("dairy", 1)))
    assert len(messages) == 2
    for message in messages:
        shown = Recommendation.model_validate_json(message.payload)
        assert message.payload == shown.model_dump_json().encode()


def test_a_late_event_corrects_and_does_not_decide() -> None:
    """Its moment is over."""
    heard = world()
    heard.take(entered("dairy", 0, who="AC:23:3F:A0:11:33"))
    heard.tick(at(30))
    assert heard.decisions(heard.take(entered("dairy", 30, who="AC:23:3F:A0:11:44")))
    assert not heard.decisions(heard.take(entered("bakery", 5)))
    assert heard.visit("ble", "AC:23:3F:A0:11:22") is not None


def test_what_the_store_has_none_of_is_not_shown() -> None:
    """Stock from HQ takes a product off at once, and gives it back."""
    heard = world()
    (before,) = heard.decisions(heard.take(entered("dairy", 0)))
    gone = chosen(before)[0]
    heard.command(command("stock", {"rows": [{"product": gone, "quantity": 0}]}))
    (without,) = heard.decisions(heard.take(entered("dairy", 1)))
    assert gone not in chosen(without)
    assert (gone, "stock") in {(each.product, each.gate) for each in without.suppressions}
    heard.command(command("stock", {"rows": [{"product": gone, "quantity": 2}]}, version=2))
    (again,) = heard.decisions(heard.take(entered("dairy", 2)))
    assert gone in chosen(again)


def test_a_sensitive_department_is_on_no_public_screen() -> None:
    """Nobody is told in public that medicine is what he might want."""
    for audience, is_named in (("public", False), ("private", True)):
        heard = world(audience=audience, sensitive_departments=("PHARMACY",), n_items=12)
        (decision,) = heard.decisions(heard.take(entered("dairy")))
        assert ("x0" in chosen(decision)) is is_named


@pytest.mark.parametrize(
    ("department", "entry", "gate"),
    [
        ("", Product(id=ProductId("p"), title="Product", department=""), "unnamed"),
        (None, None, "unnamed"),
        (None, Product(id=ProductId("p"), title="Gift card"), None),
        ("", Product(id=ProductId("p"), title="Gift card"), None),
        ("DAIRY", Product(id=ProductId("p"), title="Milk", department="DAIRY"), None),
    ],
    ids=["of no department", "unknown", "fed", "named by the feed alone", "of a department"],
)
def test_what_has_no_title_is_not_shown(
    department: str | None, entry: Product | None, gate: str | None
) -> None:
    """A bare number is no recommendation; HQ's feed may give a title without a department."""
    heard = world()
    (decision,) = heard.decisions(heard.take(entered("dairy")))
    product = ProductId("p")
    refusal = refusal_of(
        product,
        decision.moment,
        out_of_stock=frozenset(),
        departments={} if department is None else {product: department},
        product_of={product: entry}.get,
        policy=policy(),
    )
    assert (refusal and refusal.gate) == gate


@pytest.mark.parametrize("audience", ["public", "private"])
def test_what_no_catalogue_knows_is_on_no_screen(audience: str) -> None:
    """The till sells it, so that popularity ranks it; a screen would show its number."""
    heard = world(audience=audience, n_items=12)
    heard.scorer = TinyScorer([ProductId("9999999"), *heard.catalogue.departments])
    (decision,) = heard.decisions(heard.take(entered("dairy")))
    assert "9999999" not in chosen(decision)
    assert ("9999999", "unnamed") in {(e.product, e.gate) for e in decision.suppressions}


def test_what_has_a_least_age_is_shown_to_nobody_whose_age_is_unknown() -> None:
    """HQ's feed says it; without a policy file nobody's age is known, on no device."""
    for audience in ("public", "private"):
        heard = world(audience=audience)
        rows = [{"product": "d0", "title": "Beer", "department": "DAIRY", "minimum_age": 18}]
        heard.command(command("catalogue", {"rows": rows}))
        (decision,) = heard.decisions(heard.take(entered("dairy")))
        assert "d0" not in chosen(decision)
        assert "d0" not in decision.popular
        assert ("d0", "age") in {(each.product, each.gate) for each in decision.suppressions}


def test_a_complaint_gives_the_screen_back_at_once() -> None:
    """What was shown for the complainer goes, before its time."""
    heard = world()
    heard.take(entered("dairy"))
    (default,) = heard.decisions(heard.take(complained(1, who=ref())))
    assert default.moment.kind == "store_default"
    assert heard.state.showing(ScreenId("dairy-1")).visitor is None


def test_after_the_complaint_is_settled_offers_come_again() -> None:
    """Silence ends with the complaint."""
    heard = world()
    heard.take(complained(0, who=ref()))
    (silent,) = heard.decisions(heard.take(entered("dairy", 1)))
    assert silent.level == "silence"
    heard.take(complained(2, who=ref(), opened=False))
    (spoken,) = heard.decisions(heard.take(entered("bakery", 3)))
    assert spoken.chosen


def test_leaving_the_zone_gives_the_screen_back_but_only_ones_own() -> None:
    """Another visitor's content stays when somebody else leaves."""
    heard = world()
    other = "AC:23:3F:A0:11:33"
    heard.take(entered("dairy", 0), entered("dairy", 1, who=other))
    assert heard.decisions(heard.take(left("dairy", 2))) == []
    (default,) = heard.decisions(heard.take(left("dairy", 3, who=other)))
    assert default.moment.kind == "store_default"


def test_content_that_expired_is_replaced_by_the_default() -> None:
    """A screen goes back to the store by itself, and stays filled."""
    heard = world()
    heard.begin_day()
    heard.take(entered("dairy"))
    (default,) = heard.decisions(heard.pass_s(60))
    assert default.moment.kind == "store_default"
    assert default.chosen


def test_staff_are_told_once_of_a_long_dwell_without_a_product() -> None:
    """One stay, one alert; the cool-down of a zone holds for others."""
    heard = world()
    heard.take(entered("wine"))
    assert heard.published(heard.pass_s(179)) == []
    (alert,) = heard.published(heard.pass_s(1))
    assert alert.topic == "store/s1/staff/cellar/alert"
    assert json.loads(alert.payload)["dwell_s"] == 180
    heard.take(entered("wine", 181, who="AC:23:3F:A0:11:33"))
    assert heard.published(heard.pass_s(190)) == []


@pytest.mark.parametrize("spared", ["lift", "leave", "pay"])
def test_who_helped_himself_needs_no_staff(spared: str) -> None:
    """Lifting something, leaving, or having paid: no alert."""
    heard = world()
    heard.take(entered("wine"))
    heard.tick(at(60))
    if spared == "lift":
        heard.take(lifted("d0", 60, zone="wine"))
    elif spared == "leave":
        heard.take(left("wine", 60))
    else:
        heard.take(presence("visit.ended", 60))
    assert [each for each in heard.published(heard.pass_s(200)) if "/staff/" in each.topic] == []


def test_help_by_a_person_is_offered_in_a_complaint_too() -> None:
    """It is no marketing."""
    heard = world()
    heard.take(complained(0, who=ref()), entered("wine"))
    assert len(heard.published(heard.pass_s(180))) == 1


def alerts_after_long_dwell(heard: World, *before: Any) -> list[Any]:
    """Returns the alerts that a phone's long stay before the wine leads to."""
    heard.take(*before, entered("wine", 5))
    return [each for each in heard.published(heard.pass_s(200)) if "/staff/" in each.topic]


def linked(*purposes: str) -> tuple[Any, ...]:
    """Returns that a phone is known to be that of a card holder who consented to these."""
    basket = till("basket.opened", 0, visitor=ref())
    return (granted(-60, purposes=purposes), basket, scanned_card(1))


@pytest.mark.parametrize(
    ("before", "is_told"),
    [
        (linked("profiling"), False),
        (linked("staff_assistance"), True),
        ((*linked("profiling"), granted(2, purposes=("staff_assistance",))), True),
        ((*linked("staff_assistance", "profiling"), said_no("staff_assistance")), False),
        ((*linked("staff_assistance"), said_no("staff_assistance", who=ref())), False),
        ((said_no("staff_assistance", who=ref()),), False),
        ((said_no("staff_assistance", who=ref(), only_on=["handheld"]),), False),
        ((said_no("staff_assistance", who=ref(), only_on=["screen"]),), True),
        ((said_no("marketing", who=ref()),), True),
        ((granted(-60, purposes=("profiling",)), scanned_card(1)), True),
    ],
)
def test_staff_are_told_of_a_known_person_only_with_his_consent(
    before: tuple[Any, ...], *, is_told: bool
) -> None:
    """Nothing on record means no; of who is nobody known they are told unless he refused."""
    heard = world()
    found = alerts_after_long_dwell(heard, *before)
    assert bool(found) is is_told
    assert (Count("alert_without_consent") in heard.effects) is not is_told


def test_who_asks_for_help_is_answered_whatever_he_said() -> None:
    """A button is pressed by somebody who wants it."""
    heard = world()
    heard.take(*linked("profiling"), said_no("staff_assistance"), entered("wine", 5))
    asked = event("help.requested", 6, source="button-1", zone="wine")
    assert len(heard.published(heard.take(asked))) == 1


@pytest.mark.parametrize(
    ("before", "is_told"),
    [((), True), ((said_no("staff_assistance"),), False), ((said_no("marketing"),), True)],
)
def test_a_story_needs_no_consent_but_heeds_a_no(
    before: tuple[Any, ...], *, is_told: bool
) -> None:
    """Who complains asks for an answer; who wants no staff sent is not looked for."""
    heard = world()
    heard.take(*linked("profiling"), *before, entered("wine", 5))
    told = event(
        "complaint.opened", 6, source="desk", visitor=ref("loyalty", CARD), complaint="c1",
        story="The cheese was old.",
    )  # fmt: skip
    found = [each for each in heard.published(heard.take(told)) if "/staff/" in each.topic]
    assert bool(found) is is_told


def test_staff_are_called_where_somebody_asks_for_them() -> None:
    """Each press is told at once, also right after an alert of the zone, and names nobody."""
    heard = world()
    heard.take(entered("wine"))
    heard.pass_s(180)
    asked = event("help.requested", 181, source="button-1", zone="wine")
    (alert,) = heard.published(heard.take(asked))
    assert alert.topic == "store/s1/staff/cellar/alert"
    told = StaffAlert.model_validate_json(alert.payload)
    assert (told.kind, told.zone, told.dwell_s) == ("help_requested", "wine", None)
    assert told.cause.id == asked.id


@pytest.mark.parametrize(("zone", "seconds"), [("nowhere", 0), ("wine", -86_400)])
def test_nobody_is_called_to_nowhere_or_too_late(zone: str, seconds: float) -> None:
    """A button that the store gave no zone, and a press of yesterday, are counted alone."""
    heard = world()
    heard.take(entered("dairy"))
    found = heard.take(event("help.requested", seconds, source="button-1", zone=zone))
    assert Count("help_request_unheeded") in found
    assert heard.published(found) == []


def test_a_receipt_offer_goes_to_the_till_of_the_basket() -> None:
    """One item, not of the basket, private."""
    heard = world()
    (message,) = heard.published(heard.take(till("basket.item_added", 0, product="d0")))
    assert message.topic == "store/s1/receipt/pos-1/offer"
    offer = json.loads(message.payload)
    assert len(offer["items"]) == 1
    assert offer["items"][0]["product"] != "d0"
    assert "b1" not in message.payload.decode()


def test_a_receipt_offers_nothing_of_a_second_basket_of_the_same_hands() -> None:
    """Who stood there alone as both began carries both."""
    heard = world()
    heard.take(entered("checkout"), till("basket.item_added", 1, product="d0", visitor=ref()))
    heard.take(till("basket.opened", 2, basket="b2"))
    found = heard.decisions(heard.take(till("basket.item_added", 3, product="d2", basket="b2")))
    (decision,) = (each for each in found if each.moment.place.channel == "receipt")
    assert decision.moment.in_basket == ("d0", "d2")


@pytest.mark.parametrize(("source", "held"), [("kiosk-1", ("d0", "d1")), ("handheld-9", ())])
def test_who_asks_by_card_is_offered_nothing_that_his_telephone_lifted(
    source: str, held: tuple[str, ...]
) -> None:
    """Where others read, a number that is typed in tells nothing of what its owner carries."""
    heard = world()
    heard.take(*linked("profiling", "personal_recommendations"))
    heard.take(lifted("d0", 3), till("basket.item_added", 4, product="d1"))
    asked = heard.ask(request(source=source, visitor=ref("loyalty", CARD)))
    (decision,) = heard.decisions(asked)
    assert decision.moment.in_basket == held
    assert not {*held} & {*chosen(decision)}


APP = ref("app", "token-1")
BY_CARD = ref("loyalty", CARD)


def lifts(product: str, seconds: float, *, who: dict[str, str]) -> Any:
    """Returns that somebody, by whatever identifier, lifts a product where no screen is."""
    return event("item.lifted", seconds, visitor=who, product=product, zone="wine")


@pytest.mark.parametrize(
    ("stands", "carries"), [(ref(), BY_CARD), (ref(), APP), (BY_CARD, ref()), (BY_CARD, APP)]
)
def test_what_his_other_names_hold_changes_no_byte_of_a_public_screen(
    stands: dict[str, str], carries: dict[str, str]
) -> None:
    """One person has an app, a telephone and a card: known or not, others read the same."""
    told, read = [], scanned_card(-200, basket="b-app")
    story = (
        *(till("basket.opened", -201, basket="b-app", visitor=APP), read, *linked()[1:]),
        *(lifts("d0", 3, who=carries), lifts("d1", 4, who=stands)),
        *(till("basket.item_added", 5, basket="b-now", product="d2", visitor=carries),),
        event("zone.entered", 6, visitor=stands, zone="dairy"),
    )
    for consents in ((), (granted(-300),)):
        heard = world()
        heard.take(*consents)
        told.append([each for each in heard.published(heard.take(*story)) if each.retain])
        (decision,) = heard.decisions()[-1:]
        assert decision.moment.in_basket == ("d1",)
    (unknown,), (known,) = told
    assert known.topic == "store/s1/screen/dairy-1/recommendation"
    assert known.payload == unknown.payload
    assert {"d0", "d2"} < {each["product"] for each in json.loads(known.payload)["items"]}


def test_a_private_asker_gets_history_and_a_public_one_does_not() -> None:
    """Whoever types a number on a shared screen learns nothing of its owner."""
    profile = {
        "visitor": ref("loyalty", CARD),
        "reference": "crm-7",
        "history": [{"at": "2017-11-01T12:00:00Z", "products": ["k4"]}],
    }
    heard = world()
    heard.take(granted(-10))
    heard.command(command("profile", profile))
    private = reply_of(heard.ask(request(visitor=ref("loyalty", CARD), limit=1), cause="a"))
    public = reply_of(
        heard.ask(request(source="handheld-9", visitor=ref("loyalty", CARD), limit=1), cause="b")
    )
    forged = reply_of(
        heard.ask(
            request(visitor=ref("loyalty", CARD), limit=1), cause="c", answered_to="handheld-9"
        )
    )
    assert private.items[0].product == "k4"
    assert public.items[0].product != "k4"
    # A source's name is only a claim: what it would see goes to its own topic or nowhere.
    assert forged.items[0].product != "k4"


def test_a_silent_reply_says_that_silence_is_due() -> None:
    """The asker is not left waiting."""
    heard = world()
    heard.take(complained(0))
    reply = reply_of(heard.ask(request(visitor=ref("loyalty", CARD))))
    assert reply.items == ()
    assert reply.silence == "complaint"


def test_a_reply_without_anything_left_to_say_says_so() -> None:
    """Where each product has a gate of its own nobody is silenced, and the asker hears why."""
    heard = world()
    everything = [each.id for each in products()]
    reply = reply_of(heard.ask(request(products=everything)))
    assert (reply.items, reply.silence) == ((), "nothing_left")
    heard.rules = Rules(version="t", campaigns=(campaign(),))
    reply = reply_of(heard.ask(request(products=everything), cause="with-notice"))
    assert (reply.items, reply.silence, reply.notice is None) == ((), None, False)


def refusal(heard: World, *commands: Any) -> list[str | None]:
    """Returns what HQ hears of commands: None for taken, else the reason."""
    found: list[str | None] = []
    for each in commands:
        found += [e.reason for e in heard.command(each) if isinstance(e, Confirm)]
    return found


def test_hq_may_tighten_at_once_and_loosen_only_with_newer_words() -> None:
    """A grant or a closing older than what the store knows is refused."""
    heard = world()
    heard.take(complained(0), withdrawn(0))
    body = {"visitor": ref("loyalty", CARD), "stated_at": "2017-12-02T14:00:00Z"}
    newer = {**body, "stated_at": "2017-12-02T15:00:01Z"}
    assert refusal(
        heard,
        command("consent", {**body, "action": "grant", "purposes": ["profiling"]}),
        command("complaint", {**body, "action": "close", "complaint": "c1"}),
    ) == ["the store knows a later withdrawal", "the store knows a later complaint"]
    assert refusal(
        heard,
        command("consent", {**newer, "action": "grant", "purposes": ["profiling"]}),
        command("complaint", {**newer, "action": "close", "complaint": "c1"}),
        command("consent", {**body, "action": "withdraw"}),
        command("complaint", {**body, "action": "open", "complaint": "c9"}),
    ) == [None, None, None, None]
    card = heard.visitor("loyalty", CARD)
    assert card is not None
    assert card.has_open_complaint


def test_hq_s_profile_needs_a_consent_on_record() -> None:
    """Nothing of a customer is kept before he said yes here."""
    heard = world()
    body = {"visitor": ref("loyalty", CARD), "reference": "crm-7"}
    assert refusal(heard, command("profile", body)) == [
        "no consent of this customer to profiling is on record here"
    ]
    assert heard.visitor("loyalty", CARD) is None


def test_a_linked_card_makes_a_private_screen_personal() -> None:
    """The member behind the phone is used where only he sees it."""
    heard = world(audience="private")
    heard.take(granted(-20), till("basket.opened", -15, visitor=ref()), scanned_card(-10))
    (decision,) = heard.decisions(heard.take(entered("dairy")))
    assert decision.moment.member == heard.visitor("loyalty", CARD).id  # type: ignore[union-attr]  # he consented above


def test_ids_of_decisions_sort_by_time_and_hold_no_chance() -> None:
    """The same moment gives the same id; the next instant a greater one."""
    cause, place = Cause(source="s", id="e"), Place(channel="screen", screen=ScreenId("a"))
    first = decision_id_from(cause, "zone_entered", place, now_ms=T0, seed="0")
    assert first == decision_id_from(cause, "zone_entered", place, now_ms=T0, seed="0")
    assert first != decision_id_from(cause, "zone_entered", place, now_ms=T0, seed="1")
    assert lowest_id_at(T0) <= first < lowest_id_at(T0 + 1)
