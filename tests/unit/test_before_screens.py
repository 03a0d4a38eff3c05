"""Several people before one screen: whose answer it shows, and when it takes one back."""

from __future__ import annotations

import json
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest

from edge_agent.cli.explanation import explanation
from edge_agent.domain.decisions import Decision
from edge_agent.domain.ids import ProductId, ScreenId, SourceId, VisitorId
from edge_agent.domain.inputs import Forgotten
from edge_agent.domain.rules import Caps, Rules, Sharing
from edge_agent.domain.scoring import PastBasket
from edge_agent.domain.time import DAY_MS, datetime_from_ms
from edge_agent.replay.again import Knowledge
from edge_agent.replay.verification import Verifier
from edge_agent.replay.what_if import Kept, WhatIf
from tests.factories import (
    CARD,
    PHONE,
    T0,
    at,
    campaign,
    complained,
    entered,
    event,
    granted,
    left,
    lifted,
    presence,
    ref,
    request,
    sale,
    scanned_card,
    till,
    withdrawn,
    world,
)
from tests.fakes import NEW_YORK, World

OTHER = "AC:23:3F:A0:11:33"
THIRD = "AC:23:3F:A0:11:44"
DAIRY = ScreenId("dairy-1")


def known_alone(audience: str = "semi_private", **numbers: Any) -> World:
    """Returns a store in whose dairy one known customer stands alone, with what he likes shown."""
    heard = world(audience=audience, sensitive_departments=("PHARMACY",), **numbers)
    heard.take(granted(-30), till("basket.opened", -25, visitor=ref()), scanned_card(-20))
    member = heard.visitor("loyalty", CARD)
    assert member is not None
    past = PastBasket(at=datetime_from_ms(T0 - DAY_MS), products=(ProductId("d5"),))
    heard.memory.put(replace(member, profile=replace(member.profile, history=(past,))))
    (decision,) = heard.decisions(heard.take(entered("dairy", 0)))
    assert tells_his_history(decision) is (audience != "public")
    return heard


def sharing(heard: World, mode: str, **more: Any) -> World:
    """Returns the same store with its dairy's screen shared by a rule."""
    shared = MappingProxyType({DAIRY: Sharing(mode=mode, **more)})
    heard.rules = Rules(version="shared", sharing=shared)
    return heard


def tells_his_history(decision: Decision) -> bool:
    """Whether a decision shows what the customer bought before, as such."""
    return any(each.scored.reason == "you_often_buy" for each in decision.chosen)


def shown(heard: World) -> Any:
    """Returns what the dairy's screen was told last."""
    topic = "store/s1/screen/dairy-1/recommendation"
    told = [each for each in heard.published() if each.topic == topic]
    return json.loads(told[-1].payload)


def id_of(heard: World, who: str) -> VisitorId:
    """Returns whom a telephone is known as today."""
    visitor = heard.visitor("ble", who)
    assert visitor is not None
    return visitor.id


def is_default(heard: World) -> bool:
    """Whether the dairy's screen shows the store's own, decided for nobody."""
    showing = heard.state.showing(DAIRY)
    decided = next(each for each in heard.decisions() if each.id == showing.decision)
    return decided.moment.kind == "store_default" and showing.visitor is None


def now_shown(heard: World) -> Decision:
    """Returns the decision that the dairy's screen shows."""
    showing = heard.state.showing(DAIRY)
    return next(each for each in heard.decisions() if each.id == showing.decision)


def verified(heard: World, decision: Decision) -> list[Any]:
    """Returns where a decision, taken again from its record, leads elsewhere."""
    return Verifier(knowledge_of(heard)).differences(decision.id, decision.record)


def knowledge_of(heard: World) -> Knowledge:
    """Returns what a store's decisions rest on beside their records."""
    return Knowledge(
        scorer=heard.scorer,
        catalogue=heard.catalogue,
        departments=heard.catalogue.departments,
        policy=heard.policy,
        rules=heard.rules,
    )


# --- a semi-private screen ---------------------------------------------------------------------


def test_alone_before_a_semi_private_screen_it_may_be_personal() -> None:
    """The record says how many were there and who could see the answer."""
    heard = known_alone()
    record = json.loads(now_shown(heard).record)
    assert record["place"]["audience"] == "semi_private"
    assert record["company"] == {"audience": "semi_private", "mode": "newest", "people": 1}
    assert shown(heard)["audience"] == "semi_private"


COMPANY: dict[str, Any] = {
    "enters": lambda: entered("dairy", 5, who=OTHER),
    "is detected": lambda: presence("visitor.detected", 5, who=OTHER, zone="dairy"),
    "is reported by his dwell": lambda: presence(
        "zone.dwell", 5, who=OTHER, zone="dairy", dwell_s=1
    ),
    "entered, told late": lambda: entered("dairy", -20, who=OTHER),
    "is counted": lambda: event("zone.occupancy", 5, source="cam-1", zone="dairy", count=2),
}


@pytest.mark.parametrize("how", COMPANY)
def test_in_company_a_personal_answer_gives_way_in_the_same_step(how: str) -> None:
    """Whoever comes, and however that is heard: what is left on the screen is for everybody."""
    heard = known_alone()
    heard.tick(at(6))
    found = heard.take(COMPANY[how]())
    assert [each for each in heard.published(found) if "/screen/dairy-1/" in each.topic]
    assert shown(heard)["audience"] == "public"
    assert not tells_his_history(now_shown(heard))
    assert verified(heard, now_shown(heard)) == []


@pytest.mark.parametrize("how", ["entered, told late", "is detected"])
def test_company_that_asks_for_nothing_gives_the_zone_its_own(how: str) -> None:
    """A late event never decides for anybody; neither does a mere detection."""
    heard = known_alone()
    heard.tick(at(6))
    (decision,) = heard.decisions(heard.take(COMPANY[how]()))
    assert decision.moment.kind == "store_default"
    assert decision.moment.place.audience == "public"


@pytest.mark.parametrize(("tighter", "gives_way"), [("semi_private", True), ("private", False)])
def test_a_policy_that_lets_more_people_see_a_screen_is_heeded(
    tighter: str, *, gives_way: bool
) -> None:
    """What the chain says of a private screen counts from the next event on."""
    heard = known_alone("private")
    heard.layout = heard.layout.tightened({DAIRY: tighter})
    heard.take(entered("dairy", 5))
    heard.tick(at(6))
    heard.take(COMPANY["is detected"]())
    assert is_default(heard) is gives_way


def test_whom_a_shelf_alone_saw_has_company_too() -> None:
    """No other sensor knows that he is there; his answer says it."""
    heard = known_alone()
    heard.take(left("dairy", 1), lifted("d1", 2))
    heard.tick(at(6))
    heard.take(COMPANY["entered, told late"]())
    assert is_default(heard)


def test_who_is_to_be_left_alone_is_company_too() -> None:
    """He is shown nothing, and yet what is another's is not for his eyes."""
    heard = known_alone()
    heard.take(complained(1, who=ref("ble", OTHER), case="c7"), entered("dairy", 5, who=OTHER))
    assert is_default(heard)


@pytest.mark.parametrize(
    "elsewhere",
    [
        lambda: entered("bakery", 5, who=OTHER),
        lambda: event("zone.occupancy", 5, source="cam-1", zone="dairy", count=1),
        lambda: event("zone.occupancy", 5, source="cam-1", zone="bakery", count=9),
        lambda: left("dairy", 5, who=OTHER),
        lambda: presence("visitor.detected", 5, who=PHONE, zone="dairy"),
    ],
)
def test_nobody_else_there_changes_nothing(elsewhere: Any) -> None:
    """What happens in another zone, and his own being seen again, take nothing back."""
    heard = known_alone()
    heard.tick(at(6))
    before = heard.state.showing(DAIRY)
    heard.take(elsewhere())
    assert heard.state.showing(DAIRY) == before


def test_an_older_count_than_the_one_known_is_not_heeded() -> None:
    """Two were there before; the newest word is that one is left."""
    heard = known_alone()
    count = {"source": "cam-1", "zone": "dairy"}
    heard.tick(at(9))
    heard.take(event("zone.occupancy", 8, count=1, **count))
    heard.take(event("zone.occupancy", 7, count=2, **count))
    assert not is_default(heard)


def test_two_identifiers_of_one_person_are_no_company() -> None:
    """The same customer's telephone and card are one person before the screen."""
    heard = known_alone()
    before = heard.state.showing(DAIRY)
    heard.take(event("zone.entered", 5, visitor=ref("loyalty", CARD), zone="dairy"))
    assert now_shown(heard).moment.place.audience == "semi_private"
    assert heard.state.showing(DAIRY).decision != before.decision


def test_what_was_taken_back_returns_by_a_new_moment_alone() -> None:
    """The other's leaving brings nothing back; the next thing that he lifts does."""
    heard = known_alone()
    heard.take(entered("dairy", 5, who=OTHER))
    heard.take(left("dairy", 10, who=OTHER))
    assert shown(heard)["audience"] == "public"
    heard.take(lifted("d1", 15))
    assert shown(heard)["audience"] == "semi_private"
    assert tells_his_history(now_shown(heard))


def test_in_company_nothing_sensitive_is_named() -> None:
    """Alone he may see it there; before two it is a public screen."""
    heard = known_alone(n_items=12)
    assert "x0" in [each.scored.product for each in now_shown(heard).chosen]
    heard.take(entered("dairy", 5, who=OTHER))
    assert "x0" not in json.loads(now_shown(heard).record)["chosen"]
    assert ["x0", "sensitive", "not shown on a public screen"] in json.loads(
        now_shown(heard).record
    )["ruled_out"]


@pytest.mark.parametrize("audience", ["public", "private"])
def test_other_screens_are_left_as_they_are_by_company(audience: str) -> None:
    """A public one never was personal; a private one is its user's alone."""
    heard = known_alone(audience)
    heard.take(presence("visitor.detected", 5, who=OTHER, zone="dairy"))
    assert now_shown(heard).moment.visitor is not None
    assert "company" not in json.loads(now_shown(heard).record)


GOING: dict[str, Any] = {
    "leaves the zone": (lambda: left("dairy", 5),),
    "ends the visit": (lambda: presence("visit.ended", 5),),
    "enters another zone": (lambda: entered("wine", 5),),
    "is detected elsewhere": (lambda: presence("visitor.detected", 5, zone="wine"),),
    "pays and goes": (
        lambda: sale(3, "d0", visitor=ref()),
        lambda: entered("exit", 5),
        lambda: left("exit", 6),
    ),
    "complains": (lambda: complained(5),),
    "withdraws": (lambda: withdrawn(5),),
}


@pytest.mark.parametrize("audience", ["semi_private", "private"])
@pytest.mark.parametrize("how", GOING)
def test_a_personal_answer_goes_with_its_visitor(how: str, audience: str) -> None:
    """However he goes: the screen is the store's again at once."""
    heard = known_alone(audience)
    heard.tick(at(7))
    heard.take(*(make() for make in GOING[how]))
    assert is_default(heard)


def test_a_late_word_of_his_leaving_takes_it_back_too() -> None:
    """Not decided is not the same as not taken back."""
    heard = known_alone()
    heard.tick(at(40))
    heard.take(entered("bakery", 40, who=OTHER))
    assert not is_default(heard)
    (decision,) = heard.decisions(heard.take(left("dairy", 10)))
    assert decision.moment.kind == "store_default"
    assert is_default(heard)


def test_time_ends_a_visit_and_its_answer() -> None:
    """Who was not sensed for the length of a visit's time-out has left."""
    heard = known_alone(visit_timeout_s=20, lateness_s=1, screen_show_s=600)
    heard.pass_s(25)
    assert is_default(heard)


def test_what_a_shelf_alone_saw_goes_when_he_is_seen_elsewhere() -> None:
    """He lifted something where no sensor had seen him come."""
    heard = known_alone()
    heard.take(left("dairy", 1), lifted("d1", 2))
    assert now_shown(heard).moment.place.audience == "semi_private"
    heard.take(entered("bakery", 5))
    assert is_default(heard)


def test_a_basket_that_a_known_person_left_behind_is_history() -> None:
    """On a public screen only what he holds in this visit counts."""
    heard = world()
    app = ref("app", "token-1")
    heard.take(till("basket.item_added", -7_000, product="d0", visitor=app))
    (decision,) = heard.decisions(heard.take(event("zone.entered", 0, visitor=app, zone="dairy")))
    assert json.loads(decision.record)["request"]["basket"] == []


@pytest.mark.parametrize(
    ("around", "zone", "is_personal"),
    [
        ((), "dairy", True),
        ((entered("bakery", 1, who=OTHER),), "dairy", True),
        ((entered("dairy", 1, who=OTHER),), "dairy", False),
        ((left("dairy", 1),), "dairy", True),
        ((left("dairy", 1), entered("dairy", 2, who=OTHER)), "dairy", False),
        ((event("zone.occupancy", 1, source="cam-1", zone="dairy", count=3),), "dairy", False),
        ((), None, False),
    ],
)
def test_a_kiosk_that_one_may_read_is_personal_to_who_is_alone(
    around: tuple[Any, ...], zone: str | None, *, is_personal: bool
) -> None:
    """It tells the zone in which it is asked, and nobody but the asker is there."""
    heard = known_alone()
    heard.layout = replace(
        heard.layout, audiences=MappingProxyType({SourceId("kiosk-1"): "semi_private"})
    )
    heard.take(*around)
    asked = (
        request(visitor=ref(), limit=1)
        if zone is None
        else request(visitor=ref(), limit=1, zone=zone)
    )
    (decision,) = heard.decisions(heard.ask(asked))
    assert tells_his_history(decision) is is_personal
    assert verified(heard, decision) == []


def said_code(heard: World, seconds: float) -> str | None:
    """Returns the code that the dairy's screen says when the app's owner comes."""
    heard.tick(at(seconds))
    heard.take(event("zone.entered", seconds, visitor=ref("app", "token-1"), zone="dairy"))
    offer = shown(heard)["items"][0]["offer"]
    return None if offer is None else str(offer["code"])


@pytest.mark.parametrize(("audience", "is_same"), [("public", False), ("private", True)])
def test_an_offer_of_an_earlier_visit_is_not_said_again_in_public(
    audience: str, *, is_same: bool
) -> None:
    """Within a visit it is the same one; what he holds from before is nobody else's business."""
    heard = world(audience=audience)
    limited = campaign("c1", "d1", value=9.0, redeem_within_s=86_400)
    heard.rules = Rules(version="offers", campaigns=(limited,))
    first = said_code(heard, 0)
    assert first is not None
    assert said_code(heard, 30) == first
    heard.settle()
    later = said_code(heard, 30_000)
    assert later is not None
    assert (later == first) is is_same


@pytest.mark.parametrize("audience", ["public", "private"])
def test_what_a_known_person_bought_this_morning_is_history_in_public(audience: str) -> None:
    """On a screen of his own it steps back, because he has it already."""
    heard = world(audience=audience)
    heard.rules = Rules(version="any")
    app = ref("app", "token-1")
    heard.take(till("basket.opened", 0, visitor=app), sale(5, "d0", visitor=app))
    heard.settle()
    later_s = (heard.now_ms - T0) / 1_000
    heard.take(event("zone.entered", later_s, visitor=app, zone="dairy"))
    chosen = json.loads(now_shown(heard).record)["chosen"]
    assert ("d0" in chosen) is (audience == "public")


# --- several before one screen -----------------------------------------------------------------


def test_by_default_who_came_last_is_answered() -> None:
    """Without a rule the newest is answered, and nothing is said of others."""
    heard = world()
    heard.take(lifted("d0", 0), entered("dairy", 1), entered("dairy", 2, who=OTHER))
    assert heard.state.showing(DAIRY).visitor == id_of(heard, OTHER)
    assert "company" not in json.loads(now_shown(heard).record)


def test_a_mixed_answer_rests_on_what_all_of_them_hold() -> None:
    """It names nobody, is nobody's, and comes out again from its record."""
    heard = sharing(world(), "mixed")
    heard.take(entered("dairy", 0), lifted("d0", 1))
    (decision,) = heard.decisions(heard.take(lifted("d1", 2, who=OTHER)))
    record = json.loads(decision.record)
    assert record["company"]["held"] == [["d0"], ["d1"]]
    assert record["request"]["basket"] == ["d0", "d1"]
    assert (record["moment"], record["visitor"], record["member"]) == ("company", None, None)
    assert not {"d0", "d1"} & set(record["chosen"])
    assert verified(heard, decision) == []


def test_people_before_a_screen_are_told_in_words() -> None:
    """How many there were, whose screen it is, how they share it, how many were heeded."""
    heard = sharing(world(audience="semi_private"), "mixed")
    heard.take(entered("dairy", 0), lifted("d0", 1))
    alone = explanation(json.loads(now_shown(heard).record), [])
    assert "  before     1 person at a semi_private screen (shared by mixed)" in alone
    heard.take(lifted("d1", 2, who=OTHER))
    assert (
        "  before     2 people at a semi_private screen (shared by mixed), an answer to 2 of them"
        " together" in explanation(json.loads(now_shown(heard).record), [])
    )


@pytest.mark.parametrize(
    ("key", "changed"),
    [
        ("people", {"people": 1}),
        ("held", {"held": [["d0"], ["d2"]]}),
    ],
)
def test_a_changed_company_does_not_come_out_again(key: str, changed: dict[str, Any]) -> None:
    """The number decides who sees it, what they hold decides what is ranked."""
    heard = sharing(world(audience="semi_private"), "mixed")
    heard.take(entered("dairy", 0), lifted("d0", 1))
    (decision,) = heard.decisions(heard.take(lifted("d1", 2, who=OTHER)))
    record = json.loads(decision.record)
    record["company"] |= changed
    text = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert verified(heard, replace(decision, record=text)) != [], key


def test_a_mixed_answer_heeds_no_more_than_it_may() -> None:
    """Those who came last; everybody counts as somebody who can see it."""
    heard = sharing(world(), "mixed", most=2)
    for n, who in enumerate((PHONE, OTHER, THIRD)):
        heard.take(entered("dairy", n, who=who), lifted(f"d{n}", n + 0.5, who=who))
    company = json.loads(now_shown(heard).record)["company"]
    assert (company["people"], company["held"]) == (3, [["d1"], ["d2"]])


def silence(how: str, seconds: float) -> Any:
    """Returns that the third one complains or refuses marketing."""
    if how == "complaint":
        return complained(seconds, who=ref("ble", THIRD), case="c9")
    return event(
        "consent.withdrawn", seconds, source="desk", visitor=ref("ble", THIRD),
        purposes=["marketing"],
    )  # fmt: skip


@pytest.mark.parametrize("how", ["complaint", "refusal"])
def test_who_is_to_be_left_alone_silences_only_his_own_part(how: str) -> None:
    """The others' answer rests on nothing that he does, before and after he said so."""
    heard = sharing(world(), "mixed")
    heard.take(lifted("d0", 0), lifted("d1", 1, who=OTHER), lifted("d2", 2, who=THIRD))
    heard.take(entered("dairy", 3), entered("dairy", 4, who=OTHER), entered("dairy", 5, who=THIRD))
    assert json.loads(now_shown(heard).record)["request"]["basket"] == ["d0", "d1", "d2"]
    heard.take(silence(how, 6))
    record = json.loads(now_shown(heard).record)
    assert record["request"]["basket"] == ["d0", "d1"]
    assert record["company"]["people"] == 3
    (silent,) = heard.decisions(heard.take(lifted("d3", 7, who=THIRD)))
    assert silent.level == "silence"
    heard.take(lifted("d4", 8, who=OTHER))
    assert json.loads(now_shown(heard).record)["request"]["basket"] == ["d1", "d0", "d4"]


@pytest.mark.parametrize("how", ["complaint", "refusal"])
def test_nothing_is_said_where_only_the_silent_stand(how: str) -> None:
    """Who is there alone, or with others of his kind, is told nothing."""
    heard = sharing(world(), "mixed")
    heard.begin_day()
    heard.take(silence(how, 0), complained(0, who=ref("ble", OTHER), case="c3"))
    found = heard.decisions(heard.take(entered("dairy", 1, who=THIRD)))
    found += heard.decisions(heard.take(entered("dairy", 2, who=OTHER)))
    found += heard.decisions(heard.take(lifted("d0", 3, who=THIRD)))
    assert {each.level for each in found} == {"silence"}
    assert is_default(heard)


@pytest.mark.parametrize("mode", ["mixed", "rotation"])
def test_quiet_hours_hold_for_several_people_too(mode: str) -> None:
    """Nobody is spoken to first, neither one by one nor together."""
    heard = sharing(world(), mode, turn_s=10)
    heard.rules = replace(heard.rules, caps=Caps(quiet_hours=((0, 24 * 60),)))
    heard.begin_day()
    heard.take(entered("dairy", 0), entered("dairy", 1, who=OTHER), lifted("d0", 2))
    heard.tick(at(30))
    assert is_default(heard)


def test_who_was_told_enough_today_is_not_heeded_among_several() -> None:
    """A cap of the day holds for each of them; the other's answer goes on."""
    heard = sharing(world(), "mixed")
    heard.rules = replace(heard.rules, caps=Caps(per_visitor_day=1))
    heard.take(lifted("d0", 0, zone="bakery"), lifted("d1", 1, who=OTHER, zone="wine"))
    heard.take(entered("dairy", 2, who=OTHER), entered("dairy", 3))
    (decision,) = heard.decisions(heard.take(lifted("d2", 4, who=OTHER)))
    assert decision.level == "silence"
    heard.take(entered("dairy", 5, who=THIRD))
    assert json.loads(now_shown(heard).record)["company"] == {
        "audience": "public", "held": [[]], "mode": "mixed", "people": 3,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("limit", "gate"), [({"per_visitor": 1}, "per_visitor"), ({}, "cooldown")]
)
@pytest.mark.parametrize("told_first", [PHONE, OTHER, CARD])
def test_a_mixed_answer_is_within_the_caps_of_each(
    told_first: str, gate: str, limit: dict[str, int]
) -> None:
    """Whoever of them has heard it before, by whichever number: it is said to none of them."""
    heard = sharing(world(), "mixed")
    offer = campaign("c1", "k3", value=99.0, **limit)
    caps = Caps(cooldown_s=0 if limit else 3_600)
    heard.rules = replace(heard.rules, campaigns=(offer,), caps=caps)
    if told_first == CARD:
        heard.take(granted(-30), till("basket.opened", -25, visitor=ref()), scanned_card(-20))
        alone = heard.decisions(heard.ask(request(visitor=ref("loyalty", CARD)), cause="a"))[-1]
    else:
        (alone,) = heard.decisions(heard.take(entered("bakery", 0, who=told_first)))
    assert alone.campaigns == ("c1",)
    heard.take(entered("dairy", 1), entered("dairy", 2, who=OTHER))
    decision = now_shown(heard)
    assert (decision.moment.kind, decision.campaigns) == ("company", ())
    assert len(decision.chosen) == 3
    shut = json.loads(decision.record)["rules"]["shut"]
    assert [each[0] for each in shut if "c1" in each[2]] == [gate]
    assert verified(heard, decision) == []


def test_a_mixed_answer_counts_as_said_to_each_of_them() -> None:
    """Elsewhere and at the till, to caps of a campaign and of the day; its record names nobody."""
    heard = sharing(world(), "mixed")
    offer = campaign("c1", "k3", value=99.0, per_visitor=2)
    heard.rules = replace(heard.rules, campaigns=(offer,), caps=Caps(per_visitor_day=3))
    heard.take(entered("dairy", 0), entered("dairy", 1, who=OTHER))
    together = now_shown(heard)
    assert (together.moment.kind, together.campaigns) == ("company", ("c1",))
    assert not any(each in together.record for each in heard.memory.visitors)
    assert heard.memory.campaign_uses(offer.id).given == 2
    for seconds, who, n in ((10, PHONE, 2), (11, OTHER, 1)):
        found = heard.decisions(heard.take(entered("bakery", seconds, who=who)))
        (alone,) = [each for each in found if each.moment.visitor is not None]
        assert json.loads(alone.record)["rules"]["known"]["uses"]["c1"][2] == n
        assert alone.campaigns == (() if n == 2 else ("c1",))
    line = till("basket.item_added", 12, product="d3", visitor=ref())
    (paid,) = heard.decisions(heard.take(line))
    assert paid.suppressions[0].gate == "day_cap"


@pytest.mark.parametrize("is_taken_back", [False, True])
def test_what_a_telephone_heard_in_company_its_owner_heard(*, is_taken_back: bool) -> None:
    """As long as nobody says that it is not his, by whichever number he is known."""
    heard = sharing(world(), "mixed")
    heard.take(granted(-30), till("basket.opened", -25, visitor=ref()), scanned_card(-20))
    heard.take(entered("dairy", 0, who=OTHER), entered("dairy", 1))
    offer = campaign("c1", "k3", value=99.0, per_visitor=1)
    heard.rules = replace(heard.rules, campaigns=(offer,))
    heard.take(lifted("d0", 2))
    assert now_shown(heard).campaigns == ("c1",)
    if is_taken_back:
        heard.unlink("ble", PHONE)
    heard.tick(at(3))
    asked = request(visitor=ref("loyalty", CARD))
    decision = heard.decisions(heard.ask(asked, cause="a"))[-1]
    assert decision.campaigns == (("c1",) if is_taken_back else ())


def test_what_if_takes_the_caps_of_several_from_their_record() -> None:
    """Under the rules that decided, nothing else would have been said to them."""
    heard = sharing(world(), "mixed")
    offers = (campaign("c1", "k3", value=99.0, per_visitor=1), campaign("c2", "k2", value=98.0))
    caps = Caps(per_visitor_day=9, cooldown_s=60)
    heard.rules = replace(heard.rules, campaigns=offers, caps=caps)
    heard.take(entered("dairy", 0), entered("dairy", 1, who=OTHER), lifted("d0", 2, who=OTHER))
    heard.tick(at(100))
    heard.take(lifted("d1", 100, who=OTHER))
    several = [each for each in heard.decisions() if each.moment.kind == "company"]
    assert [each.campaigns for each in several] == [(), (), ("c2",)]
    what_if = WhatIf(knowledge_of(heard), zone=NEW_YORK, kept=Kept())
    for each in heard.decisions():
        what_if.put(each.id, json.loads(each.record))
    assert what_if.found.decisions == len(heard.decisions())
    assert what_if.found.changes == []


def test_who_was_told_enough_in_company_is_told_no_more_in_this_visit() -> None:
    """The most answers of one visit count those that several were given at once."""
    heard = sharing(world(max_decisions_per_visit=3), "mixed")
    heard.take(entered("dairy", 0), entered("dairy", 1, who=OTHER), lifted("d0", 2, who=OTHER))
    (decision,) = heard.decisions(heard.take(lifted("d1", 3)))
    assert decision.suppressions[0].gate == "cap"


def test_what_was_left_aside_in_company_was_left_by_nobody_in_particular() -> None:
    """It counts to caps; that one of them tapped it, or none, says nothing of another."""
    heard = sharing(world(), "mixed")
    heard.rules = replace(heard.rules, caps=Caps(ignored_after=1))
    heard.take(entered("dairy", 0))
    heard.tick(at(1))
    heard.take(entered("dairy", 1, who=OTHER))
    together = now_shown(heard)
    heard.pass_s(120)
    (alone,) = heard.decisions(heard.take(entered("bakery", 121, who=OTHER)))
    ignored = json.loads(alone.record)["rules"]["known"].get("ignored", {})
    assert together.moment.kind == "company"
    assert not ignored


def test_a_mixed_answer_changes_with_who_is_left() -> None:
    """One goes of three: it is the two others'; one goes of two: it is the store's."""
    heard = sharing(world(), "mixed")
    for n, who in enumerate((PHONE, OTHER, THIRD)):
        heard.take(entered("dairy", n, who=who), lifted(f"d{n}", n + 0.5, who=who))
    heard.take(left("dairy", 5, who=OTHER))
    assert json.loads(now_shown(heard).record)["request"]["basket"] == ["d0", "d2"]
    heard.take(left("dairy", 6, who=THIRD))
    assert is_default(heard)


def test_a_late_leaving_ends_a_mixed_answer() -> None:
    """What rested on him goes; a late event decides nothing anew."""
    heard = sharing(world(), "mixed")
    for n, who in enumerate((PHONE, OTHER, THIRD)):
        heard.take(entered("dairy", n, who=who))
    heard.tick(at(40))
    heard.take(entered("bakery", 40, who="AC:23:3F:A0:11:55"))
    (decision,) = heard.decisions(heard.take(left("dairy", 8, who=OTHER)))
    assert decision.moment.kind == "store_default"


def test_time_ends_a_visit_in_company_too() -> None:
    """Whoever timed out is no part of the answer any more."""
    heard = sharing(world(visit_timeout_s=20, lateness_s=1, screen_show_s=600), "mixed")
    heard.take(lifted("d0", 0), entered("dairy", 0), lifted("d1", 15, who=OTHER))
    heard.take(entered("dairy", 15, who=OTHER))
    assert json.loads(now_shown(heard).record)["request"]["basket"] == ["d0", "d1"]
    heard.tick(at(25))
    assert is_default(heard)


def test_who_is_forgotten_is_in_no_mixed_answer() -> None:
    """Before he is erased the others' screen forgets him."""
    heard = sharing(world(), "mixed")
    for n, who in enumerate((PHONE, OTHER, THIRD)):
        heard.take(entered("dairy", n, who=who), lifted(f"d{n}", n + 0.5, who=who))
    heard.run(Forgotten(visitors=(id_of(heard, OTHER),), at_ms=heard.now_ms))
    assert json.loads(now_shown(heard).record)["request"]["basket"] == ["d0", "d2"]


def test_each_gets_his_turn_and_the_last_one_keeps_his() -> None:
    """Every so many seconds the next one's answer; with one left there are no more turns."""
    heard = sharing(world(), "rotation", turn_s=10)
    people = (PHONE, OTHER, THIRD)
    for n, who in enumerate(people):
        heard.take(entered("dairy", n, who=who), lifted(f"d{n}", n + 0.5, who=who))
    ids = [id_of(heard, who) for who in people]
    turns = []
    for n in range(13, 53, 10):
        heard.tick(at(n))
        turns.append(heard.state.showing(DAIRY).visitor)
        assert verified(heard, now_shown(heard)) == []
    assert turns == [ids[0], ids[1], ids[2], ids[0]]
    record = json.loads(now_shown(heard).record)
    assert record["company"] == {"audience": "public", "mode": "rotation", "people": 3}
    heard.take(left("dairy", 44, who=OTHER), left("dairy", 45, who=THIRD))
    assert heard.state.showing(DAIRY).visitor == ids[0]
    assert heard.decisions(heard.tick(at(70))) == []


@pytest.mark.parametrize("how", ["leaves", "times out"])
def test_when_who_has_the_turn_goes_the_next_one_has_it_at_once(how: str) -> None:
    """The two who are left need not wait for its end."""
    heard = sharing(world(visit_timeout_s=30), "rotation", turn_s=100)
    heard.take(entered("dairy", 0))
    heard.tick(at(20))
    heard.take(entered("dairy", 19, who=OTHER), entered("dairy", 20, who=THIRD))
    heard.take(lifted("d0", 15))
    assert heard.state.showing(DAIRY).visitor == id_of(heard, PHONE)
    if how == "leaves":
        heard.take(left("dairy", 21))
    heard.tick(at(21 if how == "leaves" else 56))
    heard.tick(heard.now_ms)
    assert heard.state.showing(DAIRY).visitor == id_of(heard, OTHER)


def test_a_turn_is_not_cut_short_by_another_moment() -> None:
    """Who lifts something gets a whole turn from then on."""
    heard = sharing(world(), "rotation", turn_s=10)
    heard.take(entered("dairy", 0), entered("dairy", 1, who=OTHER))
    heard.tick(at(8))
    heard.take(lifted("d0", 8))
    heard.tick(at(17))
    assert heard.state.showing(DAIRY).visitor == id_of(heard, PHONE)
    heard.tick(at(18))
    assert heard.state.showing(DAIRY).visitor == id_of(heard, OTHER)


def test_turns_go_on_after_a_start() -> None:
    """The wake-up follows from the rules; what it finds decides."""
    heard = sharing(world(), "rotation", turn_s=10)
    heard.take(entered("dairy", 0), entered("dairy", 1, who=OTHER))
    before = heard.state.showing(DAIRY).visitor
    heard.begin_day()
    assert heard.state.showing(DAIRY).visitor == before
    heard.tick(at(10))
    assert heard.state.showing(DAIRY).visitor != before


def test_who_is_to_be_left_alone_has_no_turn() -> None:
    """The two others take turns; with one other there are none."""
    heard = sharing(world(), "rotation", turn_s=10)
    people = (PHONE, OTHER, THIRD)
    heard.take(*(entered("dairy", n, who=who) for n, who in enumerate(people)))
    heard.take(silence("complaint", 3))
    turns = set()
    for n in range(12, 60, 10):
        heard.tick(at(n))
        turns.add(heard.state.showing(DAIRY).visitor)
    assert turns == {id_of(heard, PHONE), id_of(heard, OTHER)}
    heard.take(left("dairy", 60, who=OTHER))
    assert not any(each.moment.kind == "company" for each in heard.decisions(heard.tick(at(95))))


def test_turns_before_a_semi_private_screen_are_everybodys() -> None:
    """What a known customer bought before is in nobody's turn, not even his own."""
    heard = sharing(known_alone(), "rotation", turn_s=10)
    heard.take(entered("dairy", 5, who=OTHER))
    for n in range(16, 60, 10):
        heard.tick(at(n))
        assert not tells_his_history(now_shown(heard))
        assert now_shown(heard).moment.place.audience == "public"


def test_a_shared_screen_that_is_gone_keeps_nobodys_complaint_out() -> None:
    """The store was laid out anew while several people were shown something together."""
    heard = sharing(world(), "mixed")
    heard.take(entered("dairy", 0), entered("dairy", 1, who=OTHER), lifted("d0", 2))
    assert heard.state.showing(DAIRY).is_shared
    screens = {name: each for name, each in heard.layout.screens.items() if name != DAIRY}
    heard.layout = replace(heard.layout, screens=screens)
    heard.take(complained(3))
    customer = heard.visitor("loyalty", CARD)
    assert customer is not None
    assert customer.has_open_complaint
