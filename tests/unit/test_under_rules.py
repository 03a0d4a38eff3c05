"""Deciding under the chain's rules: campaigns, gates, caps, the ladder, and their record."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from math import sqrt
from typing import Any

import pytest
from scipy.stats import chi2
from typing_extensions import override

from edge_agent.decide.control import arm_of
from edge_agent.domain.decisions import Decision
from edge_agent.domain.ids import CampaignId, DecisionId, ProductId, ScreenId
from edge_agent.domain.rules import (
    GETS_NEXT_BEST,
    NEUTRAL,
    Caps,
    Exploration,
    Rule,
    Rules,
    Sharing,
)
from edge_agent.domain.scoring import ScoredProduct, ScoringRequest
from edge_agent.domain.time import DAY_MS, HOUR_MS, local_time, rfc3339_from_ms
from edge_agent.replay.again import Knowledge
from edge_agent.replay.verification import Verifier
from edge_agent.web.board import is_default
from edge_agent.wire.screens import ReceiptOffer, Recommendation
from tests.factories import (
    CARD,
    PHONE,
    T0,
    at,
    campaign,
    command,
    complained,
    entered,
    event,
    granted,
    lifted,
    products,
    ref,
    request,
    sale,
    scanned_card,
    till,
    world,
)
from tests.fakes import NEW_YORK, TinyScorer, When, World

OTHER_PHONE = "AC:23:3F:A0:11:33"
EVERYTHING = frozenset({"DAIRY", "BAKERY", "PHARMACY"})


def under(rules: Rules, **more: Any) -> World:
    """Returns a store whose chain has rules."""
    heard = world(**more)
    heard.rules = rules
    return heard


def ruled(*campaigns: Any, **more: Any) -> Rules:
    """Returns rules with campaigns."""
    return Rules(**{"version": "r1", "digest": "d1", "campaigns": tuple(campaigns)} | more)


def one(heard: World, found: list[Any]) -> Decision:
    """Returns the last decision among effects; each comes out again from its record."""
    decisions = heard.decisions(found)
    assert [differences(heard, each) for each in decisions] == [[] for _ in decisions]
    return decisions[-1]


def differences(heard: World, decision: Decision) -> list[Any]:
    """Returns what comes out in another way when a decision is taken again."""
    known = Knowledge(
        scorer=heard.scorer,
        catalogue=heard.catalogue,
        departments=heard.catalogue.departments,
        policy=heard.policy,
        rules=heard.rules,
    )
    return list(Verifier(known).differences(decision.id, decision.record))


def told(decision: Decision) -> dict[str, Any]:
    """Returns what a decision's record says of the rules."""
    found: dict[str, Any] = json.loads(decision.record)["rules"]
    return found


def gate_of(decision: Decision, name: str = "c1") -> str | None:
    """Returns the gate that kept a campaign out."""
    return next((gate for gate, _, named in told(decision)["shut"] if name in named), None)


def products_of(decision: Decision) -> list[str]:
    """Returns what a decision says, best first."""
    return [each.scored.product for each in decision.chosen]


def screen_message(heard: World, found: list[Any]) -> Recommendation:
    """Returns the one message for a screen among effects, written as its model writes it."""
    (message,) = (each for each in heard.published(found) if "/screen/" in each.topic)
    shown = Recommendation.model_validate_json(message.payload)
    assert message.payload == shown.model_dump_json().encode()
    return shown


# --- campaigns as candidates ---------------------------------------------------------------------


def test_an_offer_of_high_value_stands_first_and_is_shown_with_its_text() -> None:
    """The product need not be what the model ranks first; the message says whose offer it is."""
    heard = under(ruled(campaign("c1", "k3", value=5.0, redeem_within_s=3_600)))
    found = heard.take(entered("dairy"))
    decision = one(heard, found)
    shown = screen_message(heard, found)
    assert products_of(decision)[0] == "k3"
    assert decision.campaigns == ("c1",)
    offer = shown.items[0].offer
    assert offer is not None
    assert (offer.campaign, offer.text) == ("c1", "Text of c1")
    assert (offer.valid_until - shown.issued).total_seconds() == 3_600
    assert [item.offer for item in shown.items[1:]] == [None, None]


def test_an_offer_that_is_worth_less_gives_way() -> None:
    """Propensity, value, weight and lever all count, and stand in the record."""
    heard = under(ruled(campaign("c1", "k3", value=0.5, lever=0.5)))
    decision = one(heard, heard.take(entered("dairy")))
    assert decision.campaigns == ()
    assert "k3" not in products_of(decision)


def test_a_text_goes_beside_the_products_and_never_instead_of_them() -> None:
    """The best one alone, by value, lever and weight."""
    heard = under(ruled(campaign("c1"), campaign("c2", value=2.0, kind="question")))
    found = heard.take(entered("dairy"))
    shown = screen_message(heard, found)
    assert len(shown.items) == 3
    assert shown.notice is not None
    assert (shown.notice.campaign, shown.notice.kind) == ("c2", "question")
    assert one(heard, found).campaigns == ("c2",)


def test_a_receipt_and_a_reply_carry_offers_too() -> None:
    """The same campaign on every channel that it names."""
    heard = under(ruled(campaign("c1", "k3", value=5.0), campaign("c2")))
    found = heard.take(till("basket.item_added", 0, product="d0", visitor=ref()))
    (message,) = (each for each in heard.published(found) if "/receipt/" in each.topic)
    printed = ReceiptOffer.model_validate_json(message.payload)
    assert printed.items[0].offer is not None
    assert printed.notice is not None
    one(heard, found)
    asked = one(heard, heard.ask(request()))
    assert asked.campaigns == ("c1", "c2")


def test_a_default_with_an_offer_is_still_the_screens_default() -> None:
    """Pages keep it for when nobody stands there: its reasons say so."""
    heard = under(ruled(campaign("c1", "k3", value=9.0), campaign("c2")))
    heard.begin_day()
    shown = [
        Recommendation.model_validate_json(each.payload)
        for each in heard.published()
        if "/screen/" in each.topic
    ]
    assert all(is_default(each) for each in shown)
    assert all(each.items[0].offer is not None for each in shown)
    assert all(each.notice is not None for each in shown)


def test_without_a_campaign_a_message_has_no_field_for_one() -> None:
    """Who has no campaigns is sent what he was always sent."""
    heard = world()
    (message,) = heard.published(heard.take(entered("dairy")))
    assert b"notice" not in message.payload


# --- gates of campaigns --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "gate"),
    [
        ({"starts_at_ms": T0 + HOUR_MS}, "window"),
        ({"ends_at_ms": T0}, "window"),
        ({"channels": frozenset({"receipt"})}, "channel"),
        ({"when": When(facts={"zone": "bakery"})}, "when"),
        ({"when": When(facts={"nothing": 1})}, "when"),
        ({"when": When(facts={"zone": "dairy", "weekday": 5, "hour": 10})}, None),
        ({"minimum_age": 18}, "age"),
        ({"budget": 0}, "budget"),
        ({"per_day": 0}, "per_day"),
        ({"per_visitor": 0}, "per_visitor"),
        ({"control_share": 1.0}, "control"),
    ],
)
def test_a_gate_keeps_a_campaign_out_and_is_recorded(
    more: dict[str, Any], gate: str | None
) -> None:
    """Window, channel, condition, age, its own limits and its control group."""
    heard = under(ruled(campaign("c1", "k3", value=9.0, **more)))
    decision = one(heard, heard.take(entered("dairy")))
    assert gate_of(decision) == gate
    assert decision.campaigns == (() if gate else ("c1",))
    assert len(decision.chosen) == 3


def test_a_campaign_is_said_as_often_as_it_may_be_and_no_more() -> None:
    """To one visitor; to another one it is said all the same, until its budget is spent."""
    heard = under(ruled(campaign("c1", "k3", value=9.0, per_visitor=1, budget=2)))
    gates = []
    for n, who in enumerate((PHONE, PHONE, OTHER_PHONE, "AC:23:3F:A0:11:44")):
        decision = one(heard, heard.take(entered("dairy", n, who=who)))
        gates.append(gate_of(decision))
    assert gates == [None, "per_visitor", None, "budget"]


def test_what_a_screen_shows_to_nobody_uses_up_no_budget() -> None:
    """The store's defaults say it as long as there is some; who comes and who asks spend it."""
    offer = campaign("c1", "k3", value=9.0, budget=2, per_day=2)
    heard = under(ruled(offer))
    defaults = heard.decisions(heard.begin_day() + heard.pass_s(3_600))
    assert sum("c1" in each.campaigns for each in defaults) > 2
    assert heard.memory.campaign_uses(offer.id).given == 0
    assert gate_of(one(heard, heard.take(entered("dairy", 3_601)))) is None
    assert gate_of(one(heard, heard.ask(request(zone="dairy"), cause="a"))) is None
    assert heard.memory.campaign_uses(offer.id).given == 2
    assert gate_of(one(heard, heard.ask(request(zone="dairy"), cause="b"))) == "budget"
    after = heard.decisions(heard.pass_s(3_600))
    assert after
    assert not any(each.campaigns for each in after)


def test_between_two_offers_to_somebody_time_must_pass() -> None:
    """The products go on meanwhile, and a service message does too."""
    rules = ruled(
        campaign("c1", "k3", value=9.0), campaign("c2", kind="service"), caps=Caps(cooldown_s=60)
    )
    heard = under(rules)
    gates = []
    for seconds in (0, 59, 61):
        heard.tick(at(seconds))
        decision = one(heard, heard.take(entered("dairy", seconds)))
        gates.append((gate_of(decision), gate_of(decision, "c2")))
        assert len(decision.chosen) == 3
    # A service message alone, as at 59 s, begins no new time.
    assert gates == [(None, None), ("cooldown", None), (None, None)]


def test_what_the_rules_do_not_know_is_taken_to_be_an_offer() -> None:
    """A campaign that HQ wrote of by e-mail keeps the store's offers out for as long as any."""
    offer = campaign("c1", "k3", value=9.0)
    heard = under(ruled(offer, campaign("c2", kind="service"), caps=Caps(cooldown_s=60)))
    heard.take(granted(-30), till("basket.opened", -25, visitor=ref()), scanned_card(-20))
    mail = {"id": "m1", "at": rfc3339_from_ms(T0 - 10_000), "channel": "e-mail"}
    for name, gate in (("c2", None), ("elsewhere", "cooldown")):
        contact = {**mail, "id": name, "campaigns": [name]}
        body = {"visitor": ref("loyalty", CARD), "contacts": [contact]}
        heard.command(command("contact", body, version=1 if name == "c2" else 2))
        outlook = one(heard, heard.ask(request(visitor=ref("loyalty", CARD)), cause=name))
        assert (name, gate_of(outlook)) == (name, gate)
        heard.tick(heard.now_ms + 1_000)


def test_an_offer_without_a_product_to_show_is_kept_out_before_arms_are_drawn() -> None:
    """Nobody is counted in a control group who could not have been told."""
    heard = under(ruled(campaign("c1", "d0", value=9.0, control_share=0.5)))
    heard.command(command("stock", {"rows": [{"product": "d0", "quantity": 0}]}))
    decision = one(heard, heard.take(entered("dairy")))
    assert gate_of(decision) == "products"
    assert (decision.unit, decision.assignments) == (None, ())
    assert ["d0", "stock", "the store has none"] in json.loads(decision.record)["ruled_out"]


def both_arms(rules: Rules) -> dict[str, Decision]:
    """Returns what each arm of the first campaign is told at the same place, by hour."""
    first, found = rules.campaigns[0], {}
    for hour in range(12):
        heard = under(rules)
        heard.now_ms = T0 + hour * HOUR_MS
        decision = one(heard, heard.ask(request(zone="dairy")))
        assert decision.unit is not None
        arm = arm_of(decision.unit, first.id, share=first.control_share)
        assert told(decision)["arms"] == {first.id: arm}
        assert json.loads(decision.record)["arm"] == arm
        found[arm] = decision
    assert set(found) == {"control", "treated"}
    return found


def reasons_of(decision: Decision) -> set[str]:
    """Returns why a decision says what it says."""
    return {each.scored.reason for each in decision.chosen}


@pytest.mark.parametrize(
    "said",
    [
        campaign("c1", "k3", value=9.0, control_share=0.5),
        campaign("c1", kind="content", control_share=0.5),
    ],
    ids=["offer", "text"],
)
def test_where_its_campaign_would_be_said_a_control_group_gets_the_default(said: Any) -> None:
    """What sells best, and no other campaign either; its record says so, and nothing is tried."""
    rules = ruled(
        said, campaign("c2", "k2", value=1.2), exploration=Exploration(share=1.0, draws=64)
    )
    arms = both_arms(rules)
    control, treated = arms["control"], arms["treated"]
    assert "c1" in treated.campaigns
    assert (control.campaigns, control.notice) == ((), None)
    assert (control.level, reasons_of(control)) == ("default", {"popular_now"})
    assert products_of(control)[0] == "d0"
    assert json.loads(control.record)["action_probability"] == 1.0
    reason = "this is its control group, which gets the store's default"
    assert ["control", reason, ["c1"]] in told(control)["shut"]


def test_nothing_stands_beside_a_control_groups_default_and_each_campaign_is_told_why() -> None:
    """Neither another offer nor a text, with a control group of its own or without one."""
    rules = ruled(
        campaign("c1", "k3", value=9.0, control_share=1.0),
        campaign("c2", "k2", value=8.0),
        campaign("t1"),
        campaign("t2", kind="service", lever=2.0),
        campaign("c3", "x0", value=0.01, control_share=1.0),
        campaign("c4", "k1", when=When(facts={"hour": 3})),
    )
    heard = under(rules)
    found = heard.take(entered("dairy"))
    decision, message = one(heard, found), screen_message(heard, found)
    assert [item.offer for item in message.items] == [None, None, None]
    assert (message.notice, decision.notice, decision.campaigns) == (None, None, ())
    assert (told(decision)["notices"], told(decision)["notice"]) == ([], None)
    assert told(decision)["missed"] == ["c1"]
    assert told(decision)["shut"] == [
        ["when", "its condition does not hold", ["c4"]],
        ["control", "this is its control group, which gets the store's default", ["c1"]],
        ["control", "this is its control group", ["c3"]],
        ["control", "the store's default stands in place of c1", ["c2", "t1", "t2"]],
    ]


def test_a_default_for_a_control_group_is_weighed_by_popularity_alone() -> None:
    """No margin and no weight moves it, and what is chosen scores no less than what is not."""
    rules = ruled(
        campaign("c1", "k3", value=9.0, control_share=1.0),
        rules=(Rule(id="more", departments=frozenset({"BAKERY"}), weight=5.0),),
        margins={"BAKERY": 0.9, "DAIRY": 0.1},
    )
    heard = under(rules)
    decision = one(heard, heard.take(entered("dairy")))
    factors = {(each.value, each.context, each.lever) for each in decision.chosen}
    assert factors == {(1.0, 1.0, 1.0)}
    scores = [each[5] for each in json.loads(decision.record)["candidates"]]
    assert scores == sorted(scores, reverse=True)


def test_what_was_ignored_steps_back_in_a_control_groups_default_too() -> None:
    """As often as it may be left aside, it leads; then it comes after all that sells as well."""
    rules = ruled(
        campaign("c1", "k3", value=9.0, control_share=1.0),
        caps=Caps(ignored_after=2, ignored_lever=0.1),
    )
    heard = under(rules)
    found = []
    for n in range(3):
        heard.now_ms = at(120 * n)
        found.append(one(heard, heard.take(entered("dairy", 120 * n))))
    assert [each.level for each in found] == ["default"] * 3
    first = [products_of(each)[0] for each in found]
    assert first[0] == first[1] == "d0"
    assert first[2] != "d0"
    (again,) = (each for each in json.loads(found[2].record)["candidates"] if each[0] == "d0")
    assert again[4] == 0.1


def test_a_control_group_hears_of_no_campaign_where_nothing_that_sells_may_be_said() -> None:
    """Then what else was weighed stands there, plainly."""

    class Unsold(TinyScorer):
        @override
        def popular(self, request: ScoringRequest) -> tuple[ScoredProduct, ...]:
            return ()

    rules = ruled(
        campaign("c1", "k3", value=9.0, control_share=1.0), campaign("c2", "k2", value=8.0)
    )
    heard = under(rules)
    heard.scorer = Unsold(each.id for each in products())
    decision = one(heard, heard.take(entered("dairy")))
    assert (products_of(decision)[0], decision.campaigns) == ("d0", ())
    assert gate_of(decision, "c2") == "control"


@pytest.mark.parametrize(
    ("more", "caps", "n_told"),
    [
        ({"per_visitor": 1}, Caps(), 1),
        ({"per_visitor": 2}, Caps(cooldown_s=200), 2),
        ({}, Caps(cooldown_s=200), 4),
        ({"kind": "content", "products": frozenset(), "per_visitor": 3}, Caps(), 3),
    ],
)
def test_a_control_group_gets_its_default_as_often_as_others_are_told(
    more: dict[str, Any], caps: Caps, n_told: int
) -> None:
    """At the same moments: a cap of a visitor's and the cool-down count what he missed."""
    found: dict[float, list[Decision]] = {}
    for share in (0.0, 1.0):
        first = campaign("c1", "k3", value=9.0, control_share=share, **more)
        heard = under(ruled(first, campaign("c2", "k2", value=1.1, per_visitor=1), caps=caps))
        found[share] = []
        for n in range(8):
            heard.tick(at(120 * n + 1))
            found[share].append(one(heard, heard.take(entered("dairy", 120 * n + 1))))
    treated, control = found[0.0], found[1.0]
    at_those = [n for n, each in enumerate(treated) if "c1" in each.campaigns]
    assert [n for n, each in enumerate(control) if each.missed] == at_those
    assert len(at_those) == n_told
    assert not any("c1" in each.campaigns for each in control)


@pytest.mark.parametrize(
    ("more", "caps", "n_told"),
    [({"per_visitor": 3}, Caps(), 3), ({}, Caps(cooldown_s=200), 4)],
)
def test_several_at_once_miss_it_as_often_as_others_are_told_it(
    more: dict[str, Any], caps: Caps, n_told: int
) -> None:
    """What a slot's control group missed together counts with each who stood there."""
    found: dict[float, list[Decision]] = {}
    for share in (0.0, 1.0):
        rules = ruled(campaign("c1", "k3", value=9.0, control_share=share, **more), caps=caps)
        heard = under(replace(rules, sharing={ScreenId("dairy-1"): Sharing(mode="mixed")}))
        found[share] = []
        for n in range(8):
            who = (PHONE, OTHER_PHONE)[n % 2]
            heard.tick(at(120 * n + 1))
            found[share].append(one(heard, heard.take(entered("dairy", 120 * n + 1, who=who))))
            assert differences(heard, found[share][-1]) == []
    treated, control = found[0.0], found[1.0]
    assert {each.moment.kind for each in control[1:]} == {"company"}
    at_those = [n for n, each in enumerate(treated) if "c1" in each.campaigns]
    assert [n for n, each in enumerate(control) if each.missed] == at_those
    assert len(at_those) == n_told
    assert not any("c1" in each.campaigns for each in control)


def test_what_a_control_group_missed_was_said_to_nobody() -> None:
    """No budget counts it, nor does the day where nothing else was said."""
    rules = ruled(
        campaign("c1", control_share=1.0, per_visitor=5),
        campaign("c2", "k3", value=9.0, control_share=1.0),
        rules=(Rule(id="none", is_forbidden=True, departments=EVERYTHING),),
        caps=Caps(per_visitor_day=3),
    )
    heard = under(rules)
    found = []
    for n in range(5):
        heard.tick(at(120 * n + 1))
        found.append(one(heard, heard.take(entered("dairy", 120 * n + 1))))
    assert {(each.chosen, each.campaigns, each.missed) for each in found} == {((), (), ("c1",))}
    known = told(found[-1])["known"]
    assert (known.get("n_contacts_day"), known["uses"]) == (None, {"c1": [0, 0, 0, 4]})
    assert heard.state.campaign_uses(CampaignId("c1")).given == 0
    heard.tick(at(601))
    last = one(heard, heard.take(entered("dairy", 601)))
    assert (gate_of(last), last.missed) == ("per_visitor", ())
    assert ["per_visitor", "said 0 and withheld 5 times of 5", ["c1"]] in told(last)["shut"]


def test_a_day_counts_what_a_control_group_was_shown_instead() -> None:
    """What sells best is something that was said."""
    rules = ruled(campaign("c1", "k3", value=9.0, control_share=1.0), caps=Caps(per_visitor_day=2))
    heard = under(rules)
    levels = []
    for n in range(3):
        heard.tick(at(120 * n + 1))
        levels.append(one(heard, heard.take(entered("dairy", 120 * n + 1))).level)
    assert levels == ["default", "default", "silence"]


def test_a_campaign_that_would_not_be_said_takes_nothing_from_its_control_group() -> None:
    """It hears what it would hear without that campaign, the others' offers included."""
    weak = campaign("c1", "k3", value=0.01, control_share=0.5)
    arms = both_arms(ruled(weak, campaign("c2", "k2", value=9.0)))
    control, treated = arms["control"], arms["treated"]
    assert products_of(control) == products_of(treated)
    assert control.campaigns == treated.campaigns == ("c2",)
    assert control.level == "model"
    assert ["control", "this is its control group", ["c1"]] in told(control)["shut"]


def test_a_control_group_may_get_the_next_best_instead() -> None:
    """Then it hears what it would hear without the campaign."""
    rules = ruled(campaign("c1", "k3", value=9.0, control_share=0.5), control_gets=GETS_NEXT_BEST)
    arms = both_arms(rules)
    assert products_of(arms["treated"])[0] == "k3"
    heard = under(ruled())
    heard.now_ms = arms["control"].decided_at_ms
    without = one(heard, heard.ask(request(zone="dairy")))
    assert products_of(arms["control"]) == products_of(without)
    assert reasons_of(arms["control"]) == {"bought_together"}


# --- gates of products ---------------------------------------------------------------------------


def test_what_a_rule_forbids_is_said_by_no_campaign() -> None:
    """By product, department, campaign; the reason is the rule's own."""
    cases: tuple[dict[str, Any], ...] = (
        {"products": frozenset({"k3"})},
        {"departments": frozenset({"BAKERY"})},
        {"campaigns": frozenset({"c1"})},
    )
    for named in cases:
        rule = Rule(id="no", is_forbidden=True, reason="not today", **named)
        heard = under(ruled(campaign("c1", "k3", value=9.0), rules=(rule,)))
        decision = one(heard, heard.take(entered("dairy")))
        assert "k3" not in told(decision)["offers"]
        assert gate_of(decision) in {"rule", "products"}


def test_a_rule_that_forbids_everything_silences_and_leaves_screens_their_default() -> None:
    """To a person nothing is said; the default greets and names no product."""
    rule = Rule(id="mourning", is_forbidden=True, reason="a minute of silence")
    heard = under(ruled(rules=(rule,)))
    decision = one(heard, heard.take(entered("dairy")))
    assert decision.level == "silence"
    assert decision.suppressions[0].gate == "rule"
    heard.begin_day()
    assert all(
        Recommendation.model_validate_json(each.payload).items[0].product == "welcome"
        for each in heard.published()
        if "/screen/" in each.topic
    )


def test_what_was_bought_today_is_not_recommended_today() -> None:
    """Nor in the same visit; tomorrow it is again."""
    heard = under(ruled())
    heard.take(entered("dairy", 0), sale(1, "d0", visitor=ref()))
    heard.now_ms = at(10)
    decision = one(heard, heard.take(entered("dairy", 10)))
    assert ("d0", "in_basket") in {(each.product, each.gate) for each in decision.suppressions}
    heard.take(lifted("d1", 11))
    heard.now_ms = at(3_000)
    later = one(heard, heard.take(entered("dairy", 3_000)))
    assert ("d0", "bought") in {(each.product, each.gate) for each in later.suppressions}
    heard.now_ms = T0 + DAY_MS
    assert "d0" in products_of(one(heard, heard.take(entered("dairy", DAY_MS // 1_000))))


def test_rules_name_further_departments_that_no_public_screen_shows() -> None:
    """Beside those of the agent's own policy."""
    rules = ruled(sensitive_departments=frozenset({"PHARMACY"}))
    for audience, is_named in (("public", False), ("private", True)):
        heard = under(rules, audience=audience, n_items=12)
        decision = one(heard, heard.take(entered("dairy")))
        assert ("x0" in products_of(decision)) is is_named


# --- caps over all channels ----------------------------------------------------------------------


def test_a_day_has_so_many_answers_and_no_more() -> None:
    """Screen, receipt and reply count alike; the next day begins anew."""
    heard = under(ruled(caps=Caps(per_visitor_day=3)))
    heard.take(entered("dairy", 0))
    heard.take(till("basket.item_added", 1, product="d0", visitor=ref()))
    heard.now_ms = at(2)
    assert one(heard, heard.ask(request(visitor=ref()))).chosen
    silent = one(heard, heard.take(entered("bakery", 3)))
    assert (silent.level, silent.suppressions[0].gate) == ("silence", "day_cap")
    assert one(heard, heard.take(entered("dairy", 3, who=OTHER_PHONE))).chosen


def test_in_quiet_hours_nobody_is_spoken_to_first() -> None:
    """Whoever asks is answered; a screen keeps the store's default."""
    heard = under(ruled(caps=Caps(quiet_hours=((23 * 60, 7 * 60), (10 * 60, 10 * 60 + 1)))))
    silent = one(heard, heard.take(entered("dairy")))
    assert silent.suppressions[0].gate == "quiet"
    assert one(heard, heard.ask(request(visitor=ref()), cause="a")).chosen
    heard.now_ms = at(60)
    assert one(heard, heard.take(entered("bakery", 60))).chosen


def test_what_was_ignored_steps_back() -> None:
    """After so many showings that led to nothing, and only then."""
    heard = under(ruled(caps=Caps(ignored_after=2, ignored_lever=0.1)))
    decision = one(heard, heard.take(entered("dairy", 0)))
    best = products_of(decision)[0]
    for n in (1, 2):
        assert products_of(decision)[0] == best
        heard.now_ms = at(120 * n)
        decision = one(heard, heard.take(entered("dairy", 120 * n)))
    assert best not in products_of(decision)
    assert told(decision)["known"]["ignored"][best] == 2
    weighed = {each[0]: each[4] for each in json.loads(decision.record)["candidates"]}
    assert weighed.get(best, 0.1) == pytest.approx(0.1)
    assert weighed[products_of(decision)[0]] == 1.0


@pytest.mark.parametrize("answer", [None, "tapped", "bought"])
def test_a_text_that_was_ignored_steps_back(answer: str | None) -> None:
    """Behind the next text, and in the end behind none; to tap it brings it back, no purchase."""
    texts = (campaign("t1", value=2.0), campaign("t2", value=1.0))
    heard = under(ruled(*texts, caps=Caps(ignored_after=2, ignored_lever=0.9)))
    said = []
    for n in range(6):
        heard.now_ms = at(120 * n)
        decision = one(heard, heard.take(entered("dairy", 120 * n)))
        said.append(decision)
        if answer == "bought":
            paid = products_of(decision)[0]
            heard.take(sale(120 * n + 1, paid, basket=f"b{n}", visitor=ref()))
        elif answer is not None:
            told_of = {"screen": "dairy-1", "decision": decision.id}
            heard.take(event(f"screen.{answer}", 120 * n + 1, source="dairy-1", **told_of))
    named = [each.campaigns for each in said]
    if answer == "tapped":
        assert named == [("t1",)] * 6
        return
    assert named == [("t1",)] * 2 + [("t2",)] * 2 + [()] * 2
    assert told(said[-1])["known"]["ignored_texts"] == {"t1": 2, "t2": 2}
    levers = {each[0]: each[4] for each in told(said[-1])["notices"]}
    assert levers == {"t1": pytest.approx(0.9), "t2": pytest.approx(0.9)}
    assert len(said[-1].chosen) == 3


# --- weights and order ---------------------------------------------------------------------------


def test_a_weight_moves_what_it_names_while_its_condition_holds() -> None:
    """Twice the score for the bakery on a Saturday, and not on a Friday."""
    saturday = When(facts={"weekday": 5})
    rule = Rule(id="sat", when=saturday, departments=frozenset({"BAKERY"}), weight=4.0)
    heard = under(ruled(rules=(rule,)))
    decision = one(heard, heard.take(entered("dairy")))
    assert heard.catalogue.department(ProductId(products_of(decision)[0])) == "BAKERY"
    assert told(decision)["held"] == ["sat"]
    heard = under(ruled(rules=(rule,)))
    heard.now_ms = T0 - DAY_MS
    friday = one(heard, heard.ask(request(zone="dairy")))
    assert told(friday)["held"] == []
    assert friday.chosen[0].context == 1.0


def test_margins_are_the_value_of_what_is_not_offered() -> None:
    """In money, by department."""
    heard = under(ruled(margins={"DAIRY": 0.2, "BAKERY": 0.9}))
    decision = one(heard, heard.take(entered("dairy")))
    assert decision.chosen[0].value == pytest.approx(0.9)


@pytest.mark.parametrize(("margin", "department"), [(5.0, "k"), (0.1, "d")])
def test_a_margin_of_one_department_moves_it_against_all_others(
    margin: float, department: str
) -> None:
    """What is not named is worth 1, so that a single line of a policy says something."""
    heard = under(ruled(margins={"BAKERY": margin}))
    decision = one(heard, heard.take(entered("dairy")))
    assert products_of(decision)[0].startswith(department)
    values = {row[0][0]: row[2] for row in json.loads(decision.record)["candidates"]}
    assert values["d"] == 1.0
    assert values["k"] == margin


def test_an_offer_on_what_no_catalogue_knows_is_not_said() -> None:
    """A slip of a digit in a policy would stand on the screen as a bare number."""
    heard = under(ruled(campaign("c1", "10297430", value=1_000.0)))
    decision = one(heard, heard.take(entered("dairy")))
    assert decision.campaigns == ()
    assert gate_of(decision) == "products"
    assert ("10297430", "unnamed") in {(e.product, e.gate) for e in decision.suppressions}


def test_a_slate_has_not_three_of_one_department_where_another_is_near() -> None:
    """The third place goes to the other one; without one near it stays."""
    heard = under(ruled())
    decision = one(heard, heard.take(entered("dairy")))
    departments = [heard.catalogue.department(ProductId(each)) for each in products_of(decision)]
    assert departments == ["DAIRY", "DAIRY", "BAKERY"]
    far = Rule(id="far", departments=frozenset({"BAKERY", "PHARMACY"}), weight=0.5)
    heard = under(ruled(rules=(far,)))
    assert products_of(one(heard, heard.take(entered("dairy")))) == ["d0", "d1", "d2"]


# --- what may be looked at -----------------------------------------------------------------------


@pytest.mark.parametrize(("audience", "is_known"), [("public", False), ("private", True)])
def test_no_condition_rests_on_who_somebody_is_before_a_public_screen(
    audience: str, *, is_known: bool
) -> None:
    """Not even on whether he is somebody."""
    known = When(facts={"identified": True})
    heard = under(ruled(campaign("c1", "k3", value=9.0, when=known)), audience=audience)
    heard.take(granted(-60), till("basket.opened", 0, visitor=ref()), scanned_card(1))
    decision = one(heard, heard.take(entered("dairy", 2)))
    assert (decision.campaigns == ("c1",)) is is_known
    assert ("facts" in told(decision)["known"]) is is_known


def test_an_age_is_known_of_somebody_alone_with_his_device() -> None:
    """HQ's segment says it; before others nobody has an age."""
    old_enough = campaign("c1", "k3", value=9.0, minimum_age=18)
    for audience, gate in (("private", None), ("semi_private", "age"), ("public", "age")):
        heard = under(ruled(old_enough), audience=audience)
        heard.take(granted(-60), till("basket.opened", 0, visitor=ref()), scanned_card(1))
        body = {
            "visitor": ref("loyalty", CARD),
            "reference": "crm-1",
            "segments": ["age-18", "weekly"],
        }
        heard.command(command("profile", body))
        decision = one(heard, heard.take(entered("dairy", 2)))
        assert gate_of(decision) == gate, audience


# --- the ladder ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("left_ms", "level"),
    [(None, "model"), (50, "model"), (10, "rules"), (1, "segment"), (0, "default")],
)
def test_with_less_time_there_is_a_simpler_answer(left_ms: int | None, level: str) -> None:
    """Model, rules, segment default, store default; the rung stands in the record."""
    heard = under(ruled(campaign("c1", "k3", value=9.0), hurry_ms=(20, 5)))
    heard.left_ms = left_ms
    decision = one(heard, heard.take(entered("bakery")))
    assert decision.level == level
    assert len(decision.chosen) == 3
    assert bool(decision.campaigns) is (level in {"model", "rules"})
    if level == "segment":
        departments = {heard.catalogue.department(ProductId(p)) for p in products_of(decision)}
        assert "BAKERY" in departments


@pytest.mark.parametrize("rules", [NEUTRAL, ruled()])
def test_out_of_time_the_store_s_own_order_stands(rules: Rules) -> None:
    """With a policy or without one; how late it was stands in the record."""
    heard = under(rules)
    heard.left_ms = -5
    decision = one(heard, heard.take(entered("bakery")))
    assert (decision.level, len(decision.chosen)) == ("default", 3)
    assert {each.scored.reason for each in decision.chosen} == {"popular_now"}
    record = json.loads(decision.record)
    assert record.get("rules", {}).get("known", record)["left_ms"] == -5


def test_in_a_hurry_all_that_could_be_forbidden_is() -> None:
    """Nobody looked whether the condition holds."""
    never = When(facts={"hour": 99})
    rule = Rule(id="no", when=never, departments=frozenset({"DAIRY"}), is_forbidden=True)
    heard = under(ruled(rules=(rule,), hurry_ms=(20, 5)))
    assert "d0" in products_of(one(heard, heard.take(entered("dairy"))))
    heard.left_ms = 1
    decision = one(heard, heard.take(entered("bakery", 1)))
    assert all(heard.catalogue.department(ProductId(p)) != "DAIRY" for p in products_of(decision))


# --- the record ----------------------------------------------------------------------------------


def test_a_decision_under_other_rules_is_not_called_the_same() -> None:
    """Version and digest must both be those at hand."""
    heard = under(ruled(campaign("c1", "k3", value=9.0)))
    decision = one(heard, heard.take(entered("dairy")))
    heard.rules = ruled(campaign("c1", "k3", value=9.0), digest="d2")
    (difference,) = differences(heard, decision)
    assert (difference.what, "r1" in difference.recorded) == ("record", True)


def test_a_silence_under_rules_comes_out_again() -> None:
    """A complaint's, which no rule has a part in."""
    heard = under(ruled(campaign("c1")))
    heard.take(complained(0, who=ref()))
    silent = one(heard, heard.take(entered("dairy", 1)))
    assert (silent.level, silent.suppressions[0].gate) == ("silence", "complaint")
    assert "known" not in told(silent)


# --- exploration ---------------------------------------------------------------------------------

EXPLORING = ruled(exploration=Exploration(share=0.5, draws=16))


def test_actions_are_taken_as_often_as_their_records_say() -> None:
    """Over many decisions the first places are those that the logged probabilities add up to."""
    heard = under(EXPLORING)
    observed: Counter[str] = Counter()
    expected: Counter[str] = Counter()
    for number in range(300):
        decision = one(heard, heard.ask(request(), cause=f"r{number}"))
        record = json.loads(decision.record)
        probabilities = told(decision)["probabilities"]
        names = [each[0] for each in record["candidates"]]
        first = products_of(decision)[0]
        assert record["action_probability"] == probabilities[names.index(first)]
        assert sum(probabilities) == pytest.approx(1.0)
        observed[first] += 1
        for name, probability in zip(names, probabilities, strict=False):
            expected[name] += probability
    statistic = sum((observed[each] - n) ** 2 / n for each, n in expected.items())
    assert len(observed) > 1
    assert statistic < chi2.ppf(0.999, len(expected) - 1)


def test_what_was_tried_before_today_moves_what_is_tried_today() -> None:
    """The record holds the counts that it rests on, and comes out again from them."""
    heard = under(EXPLORING)
    before = told(one(heard, heard.ask(request(), cause="r")))["probabilities"]
    shown = one(heard, heard.ask(request(), cause="r"))
    (second, *_) = [each[0] for each in json.loads(shown.record)["candidates"]][1:]
    yesterday = local_time(T0 - DAY_MS, NEW_YORK).day
    state = heard.memory
    for number in range(60):
        again = replace(shown, id=DecisionId(f"{number}"), tried=f"{yesterday} {second}")
        chosen = next(each for each in shown.chosen if each.scored.product == second)
        state.decisions.append(replace(again, chosen=(chosen,)))
        state.outcomes[DecisionId(f"{number}"), "bought", second] = T0 - DAY_MS
    after = told(one(heard, heard.ask(request(), cause="r")))
    assert after["known"]["tried"] == {second: [60, 60]}
    assert after["probabilities"][1] > before[1] + 0.2


def test_nobody_is_explored_with_where_nobody_is_or_nothing_may_be_said() -> None:
    """A store's default and a silence are taken with certainty."""
    heard = under(EXPLORING)
    default = one(heard, heard.wake("screen_default", "dairy-1"))
    heard.take(granted(-20), complained(-5))
    silent = one(heard, heard.take(scanned_card(0), till("basket.item_added", 1, product="d0")))
    for decision in (default, silent):
        assert json.loads(decision.record)["action_probability"] == 1.0
        assert "probabilities" not in told(decision)
        assert decision.tried is None


def test_what_stands_first_does_so_as_often_as_the_records_say() -> None:
    """Over many decisions each action is taken as often as its probabilities add up to."""
    expected: Counter[str] = Counter()
    spread: Counter[str] = Counter()
    taken: Counter[str] = Counter()
    heard = under(
        ruled(campaign("c1", "k3", value=2.0), exploration=Exploration(share=0.5, draws=32)),
        max_decisions_per_visit=10_000,
    )
    for n in range(1_500):
        decision = heard.decisions(heard.ask(request(zone="dairy"), cause=f"ask-{n}"))[-1]
        record = json.loads(decision.record)
        probabilities = record["rules"]["probabilities"]
        assert sum(probabilities) == pytest.approx(1.0)
        named = [" ".join([each[0], *each[7:]]) for each in record["candidates"]]
        for action, probability in zip(named, probabilities, strict=False):
            expected[action] += probability
            spread[action] += probability * (1 - probability)
        first = decision.chosen[0]
        action = " ".join([first.scored.product, *([first.campaign.id] if first.campaign else [])])
        assert record["action_probability"] == probabilities[named.index(action)]
        taken[action] += 1
    # Beyond four standard errors is one in sixteen thousand for each of ten actions.
    assert all(abs(taken[each] - expected[each]) <= 4 * sqrt(spread[each]) for each in expected)
    assert len(taken) > 5


def test_however_many_rules_hold_a_score_stays_a_number() -> None:
    """Two hundred of the heaviest are finite, and one that weighs nothing among them wins."""
    heavy = tuple(Rule(id=f"h{n}", weight=1_000.0) for n in range(200))
    for rules, is_nothing in ((heavy, False), ((*heavy, Rule(id="z", weight=0.0)), True)):
        heard = under(Rules(version="v1", rules=rules))
        (decision,) = heard.decisions(heard.take(entered("dairy", 0)))
        assert "NaN" not in decision.record
        assert "Infinity" not in decision.record
        assert {each.score == 0.0 for each in decision.chosen} == {is_nothing}


@pytest.mark.parametrize("is_taken_back", [False, True])
def test_a_link_that_was_wrong_counts_nothing_to_a_cap(*, is_taken_back: bool) -> None:
    """What a telephone was told counts for its card's holder, as long as it is taken for his."""
    heard = under(Rules(version="v1", caps=Caps(per_visitor_day=1)))
    heard.take(granted(-30), till("basket.opened", -25, visitor=ref()), scanned_card(-20))
    assert heard.decisions(heard.take(entered("dairy", 0)))[-1].chosen
    if is_taken_back:
        heard.unlink("ble", PHONE)
    later_s = 7_200
    heard.pass_s(later_s)
    heard.take(till("basket.opened", later_s, basket="b2"))
    heard.take(scanned_card(later_s + 1, basket="b2"))
    told = till("basket.item_added", later_s + 2, basket="b2", product="d4")
    (decision,) = heard.decisions(heard.take(told))
    assert bool(decision.chosen) is is_taken_back
    assert ("day_cap" in {each.gate for each in decision.suppressions}) is not is_taken_back
