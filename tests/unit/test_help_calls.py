"""Help by a person, followed up: triggers, routing, escalation, outcomes, and no alert storms."""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import Any, Final

import pytest

from edge_agent.decide.calls import chain_from, team_for
from edge_agent.domain.calls import Call
from edge_agent.domain.effects import Count, Effect, SummaryTouched
from edge_agent.domain.ids import TeamId
from edge_agent.domain.inputs import Forgotten, StaffAnswered
from edge_agent.domain.rules import Help, Rules, Team
from edge_agent.replay.again import Knowledge, record_again
from edge_agent.wire.staff import StaffAlert, StaffFeedback
from tests.factories import (
    CARD,
    T0,
    complained,
    entered,
    event,
    granted,
    left,
    lifted,
    presence,
    ref,
    sale,
    scanned_card,
    till,
    withdrawn,
    world,
)
from tests.fakes import World

WITHIN_S: Final = 60
DWELL_S: Final = 181


def team(name: str, *, to: str | None = None, most: int = 0, topics: tuple[str, ...] = ()) -> Team:
    """Returns a team that has a minute to answer."""
    return Team(
        id=TeamId(name),
        acknowledge_within_s=WITHIN_S,
        escalate_to=None if to is None else TeamId(to),
        most_open=most,
        topics=frozenset(topics),
    )


def teams(*named: Team) -> Any:
    """Returns teams by id."""
    return MappingProxyType({each.id: each for each in named})


CHAIN: Final = (team("cellar", to="floor"), team("floor", to="office"), team("office"))


def store(*named: Team, lifts: int = 0, queue: int = 0, **numbers: Any) -> World:
    """Returns a store whose rules follow calls up; a chain of three teams by default."""
    made = world(**numbers)
    wanted = Help(lifts_and_returns=lifts, queue_length=queue)
    made.rules = Rules(version="r1", teams=teams(*(named or CHAIN)), help=wanted)
    return made


def pressed(seconds: float, zone: str = "wine", **data: Any) -> Any:
    """Returns that somebody asks for help."""
    return event("help.requested", seconds, source="button-1", zone=zone, **data)


def queued(length: int, seconds: float) -> Any:
    """Returns how long the queue at the till is."""
    return event("queue.measured", seconds, source="cam-1", zone="checkout", length=length)


def put_back(seconds: float, product: str = "d1", zone: str = "dairy") -> tuple[Any, ...]:
    """Returns that somebody takes a product and lays it back."""
    back = presence("item.returned", seconds + 1, product=product, zone=zone)
    return lifted(product, seconds, zone=zone), back


def alerts(heard: World, found: list[Effect] | None = None) -> list[tuple[str, StaffAlert]]:
    """Returns what staff were told, with the team of each topic."""
    return [
        (each.topic.split("/")[3], StaffAlert.model_validate_json(each.payload))
        for each in heard.published(found)
        if "/staff/" in each.topic
    ]


def said(heard: World, found: list[Effect] | None = None) -> list[tuple[str, str | None]]:
    """Returns which team was told which status."""
    return [(name, alert.status) for name, alert in alerts(heard, found)]


def answer(heard: World, outcome: str, *, by: str = "cellar", call: int = 0) -> list[Effect]:
    """Takes in what a team answers to a call, the newest by default."""
    wanted = call_of(heard, call)
    feedback = StaffFeedback.model_validate({"decision": wanted.id, "outcome": outcome})
    return heard.staff(StaffAnswered(feedback=feedback, at_ms=heard.now_ms, team=TeamId(by)))


def call_of(heard: World, number: int = 0) -> Call:
    """Returns a call by its number, the newest first."""
    calls = sorted(heard.memory.calls.values(), key=lambda each: each.id)
    return calls[-1 - number]


def test_a_call_says_where_what_about_and_until_when() -> None:
    """Context in full, nothing of who; the deadline of the team is in it."""
    heard = store(lifts=2)
    heard.take(entered("dairy"), *put_back(2), *put_back(6, "d2"))
    ((name, told),) = alerts(heard)
    assert (name, told.kind, told.zone, told.status) == ("floor", "lift_return", "dairy", "open")
    assert told.context is not None
    assert told.context.model_dump(exclude_none=True) == {
        "departments": ("DAIRY",),
        "product": "d2",
        "title": "Product d2",
        "lifts_and_returns": 2,
    }
    assert told.acknowledge_by is not None
    assert (told.acknowledge_by - told.issued).total_seconds() == WITHIN_S
    assert (
        told.valid_until - told.issued
    ).total_seconds() == WITHIN_S + heard.policy.alert_valid_s


def test_without_rules_an_alert_is_what_it_was() -> None:
    """No call, no new field, byte for byte the fields of before."""
    heard = world()
    heard.take(entered("wine"))
    (message,) = heard.published(heard.pass_s(DWELL_S))
    assert set(StaffAlert.model_validate_json(message.payload).model_fields_set) == {
        "decision", "cause", "team", "kind", "zone", "issued", "valid_until", "text", "dwell_s",
        "schema_version",
    }  # fmt: skip
    assert heard.memory.calls == {}


@pytest.mark.parametrize(
    ("times", "is_told"), [((2, 6), True), ((2,), False)], ids=["twice", "once"]
)
def test_staff_come_when_goods_are_put_back_again_and_again(
    times: tuple[int, ...], *, is_told: bool
) -> None:
    """So many in one stay, and not one fewer."""
    heard = store(lifts=2)
    heard.take(entered("dairy"), *(each for n in times for each in put_back(n)))
    assert bool(alerts(heard)) is is_told


def test_what_was_carried_in_or_put_back_elsewhere_does_not_count() -> None:
    """A stay begins anew with its zone, and only what was lifted in it was looked at in it."""
    heard = store(lifts=2)
    heard.take(entered("dairy"), *put_back(1), lifted("d2", 4), entered("bakery", 6))
    heard.take(presence("item.returned", 7, product="d2", zone="bakery"))
    heard.take(*put_back(9, "k1", "bakery"))
    assert alerts(heard) == []


def test_one_stay_is_told_once_whatever_for() -> None:
    """Long dwell was told; what he puts back in the same stay tells nothing new."""
    heard = store(lifts=1, alert_cooldown_s=0)
    heard.take(entered("wine"))
    heard.pass_s(DWELL_S)
    answer(heard, "helped")
    heard.take(*put_back(DWELL_S + 5, "d1", "wine"))
    assert [alert.kind for _, alert in alerts(heard)] == ["long_dwell", "long_dwell"]


def test_a_product_of_a_sensitive_department_is_named_to_nobody() -> None:
    """Staff are told where, and not that it was about something intimate."""
    heard = store(lifts=1, sensitive_departments=("PHARMACY",))
    heard.take(entered("dairy"), *put_back(2, "x0"))
    ((_, told),) = alerts(heard)
    assert told.context is not None
    assert (told.context.product, told.context.departments) == (None, ("DAIRY",))


def test_a_long_queue_is_told_once_until_it_is_over() -> None:
    """Measurements that swing around the limit are one queue; half of it ends it."""
    heard = store(queue=6, alert_cooldown_s=0)
    heard.take(queued(6, 1))
    answer(heard, "helped", by="floor")
    heard.take(queued(5, 3), queued(7, 4), queued(9, 5), queued(4, 6), queued(8, 7))
    assert [alert.status for _, alert in alerts(heard)] == ["open", "closed"]
    heard.take(queued(3, 8), queued(6, 9))
    assert [alert.status for _, alert in alerts(heard)] == ["open", "closed", "open"]
    told = alerts(heard)[-1][1]
    assert told.context is not None
    assert told.context.queue_length == 6


def test_a_queue_that_is_over_takes_its_call_back() -> None:
    """Nobody walks to a till at which nobody waits."""
    heard = store(queue=6)
    heard.take(queued(8, 1), queued(2, 20))
    assert said(heard) == [("floor", "open"), ("floor", "withdrawn")]
    assert call_of(heard).outcome == "gone"


def test_an_older_measurement_says_nothing_of_now() -> None:
    """Out of order within what may decide, the newest length holds."""
    heard = store(queue=6)
    heard.take(queued(2, 5), queued(8, 3))
    assert alerts(heard) == []


@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_queue_that_cooled_down_is_told_when_it_may_be(*, is_restarted: bool) -> None:
    """A sensor that tells of changes alone is silent while nobody moves on."""
    heard = store(queue=6)
    heard.take(queued(7, 1), queued(1, 5), queued(7, 10))
    assert len(said(heard)) == 2
    if is_restarted:
        heard.wakes.due(2**62)
        assert said(heard, heard.restart()) == []
    found = heard.pass_s(heard.policy.alert_cooldown_s)
    assert said(heard, found) == [("floor", "open")]


def test_two_starts_within_an_instant_open_no_call_anew() -> None:
    """A queue that was told, over and long again before the clock moved is told a second later."""
    heard = store(team("floor"), lifts=1, queue=2, alert_cooldown_s=0, visit_timeout_s=900)
    heard.take(entered("checkout", 0), *put_back(0, zone="checkout"), queued(2, 1))
    assert said(heard, heard.pass_s(400)) == [("floor", "closed")]
    assert said(heard, heard.restart()) == [("floor", "open")]
    seconds = (heard.now_ms - T0) / 1_000
    heard.take(queued(0, seconds))
    other = "AA:00:00:00:00:00"
    heard.take(
        entered("checkout", seconds, who=other),
        presence("item.lifted", seconds, who=other, product="d1", zone="checkout"),
        presence("item.returned", seconds, who=other, product="d1", zone="checkout"),
        queued(2, seconds),
        sale(seconds, "d1", visitor=ref("ble", other)),
    )
    assert said(heard, heard.restart()) == []
    assert said(heard, heard.pass_s(1)) == [("floor", "open")]
    assert len(heard.memory.calls) == 4


def test_a_queue_of_long_ago_calls_nobody_after_a_restart() -> None:
    """A sensor that fell silent may be wrong by now."""
    heard = store(queue=6)
    heard.take(queued(7, 1), queued(1, 5), queued(7, 10))
    heard.wakes.due(2**62)
    heard.now_ms += 3_600_000
    assert said(heard, heard.restart()) == []


@pytest.mark.parametrize(
    ("departments", "expected"),
    [
        (("WINE",), "cellar"),
        (("DAIRY",), "floor"),
        (("WINE", "DAIRY"), "floor"),
        ((), "floor"),
        (("TOOLS",), "advice"),
    ],
)
def test_a_matter_goes_to_the_team_of_its_topic(
    departments: tuple[str, ...], expected: str
) -> None:
    """The zone's own team before others, and it where a matter is nobody's, or of several."""
    known = teams(
        team("floor"),
        team("cellar", topics=("WINE",)),
        team("workshop", topics=("TOOLS", "PAINT")),
        team("advice", topics=("TOOLS",)),
    )
    assert team_for(TeamId("floor"), departments, known) == expected


def test_the_zones_own_team_comes_before_another_with_its_topic() -> None:
    """Two teams answer dairy: whose zone it is, is asked."""
    known = teams(team("a", topics=("DAIRY",)), team("z", topics=("DAIRY",)))
    assert team_for(TeamId("z"), ("DAIRY",), known) == "z"


def test_a_chain_that_closes_on_itself_ends() -> None:
    """Whatever the rules say, everybody is asked once."""
    known = teams(team("a", to="b"), team("b", to="c"), team("c", to="a"))
    assert chain_from(TeamId("b"), known) == ("b", "c", "a")
    assert chain_from(TeamId("a"), teams(team("a", to="a"))) == ("a",)


def test_who_was_passed_over_is_not_come_back_to() -> None:
    """A chain goes upwards alone: not even one that closes on itself leads back."""
    ring = (team("floor", to="cellar"), team("cellar", to="office", most=1))
    heard = store(*ring, team("office", to="floor"), queue=2)
    heard.take(pressed(0), queued(2, 0))
    heard.pass_s(1)
    answer(heard, "acknowledged", call=int(call_of(heard).kind == "long_queue"))
    assert said(heard, heard.pass_s(WITHIN_S - 1)) == [("floor", "escalated"), ("office", "open")]
    for _ in range(10):
        heard.pass_s(WITHIN_S)
    assert {each.team for each in heard.memory.calls.values()} == {"cellar", "office"}


def test_what_nobody_acknowledges_goes_along_the_chain_and_ends() -> None:
    """Each team has its time; the one before is told; after the last one it expires."""
    heard = store()
    heard.take(pressed(0))
    assert said(heard, heard.pass_s(WITHIN_S - 1)) == []
    found = heard.pass_s(1)
    assert said(heard, found) == [("cellar", "escalated"), ("floor", "open")]
    first, second = (alert for _, alert in alerts(heard, found))
    assert (first.escalated_to, second.escalated_from) == ("floor", "cellar")
    assert first.decision == second.decision
    assert said(heard, heard.pass_s(WITHIN_S)) == [("floor", "escalated"), ("office", "open")]
    found = heard.pass_s(heard.policy.alert_valid_s)
    assert said(heard, found) == [(each, "closed") for each in ("cellar", "floor", "office")]
    assert call_of(heard).outcome == "expired"
    assert heard.pass_s(3_600) == []


def test_an_acknowledged_call_is_not_escalated() -> None:
    """Somebody is on his way: the other handhelds of the call are told so."""
    heard = store()
    heard.take(pressed(0))
    heard.pass_s(WITHIN_S)
    assert said(heard, answer(heard, "acknowledged", by="floor")) == [
        ("cellar", "acknowledged"),
        ("floor", "acknowledged"),
    ]
    assert said(heard, heard.pass_s(WITHIN_S * 2)) == []
    assert said(heard, answer(heard, "helped", by="floor")) == [
        ("cellar", "closed"),
        ("floor", "closed"),
    ]


def test_a_restart_forgets_no_deadline() -> None:
    """What is to come follows from the state."""
    heard = store()
    heard.take(pressed(0))
    heard.restart()
    assert said(heard, heard.pass_s(WITHIN_S)) == [("cellar", "escalated"), ("floor", "open")]


def test_after_hours_without_power_nobody_is_sent() -> None:
    """A call whose end passed meanwhile is over, and not passed on."""
    heard = store()
    heard.take(pressed(0))
    heard.now_ms += 7_200_000
    assert said(heard, heard.restart()) == [("cellar", "closed")]


@pytest.mark.parametrize("outcome", ["helped", "not_needed", "gone"])
def test_what_is_closed_stays_closed(outcome: str) -> None:
    """No later answer and no repeat changes an outcome, or is told to anybody."""
    heard = store()
    heard.take(pressed(0))
    answer(heard, outcome)
    before = call_of(heard)
    for later in ("acknowledged", "helped", "not_needed"):
        assert said(heard, answer(heard, later)) == []
    assert call_of(heard) == before
    kinds = {kind for _, kind, _ in heard.memory.outcomes}
    assert kinds == {outcome}


def test_an_answer_after_the_period_was_summed_up_has_it_told_again() -> None:
    """HQ's counts of a team take in what came of its calls later."""
    heard = store()
    heard.take(pressed(0))
    heard.closed_until_ms = heard.now_ms + 1
    asked = call_of(heard).opened_at_ms
    heard.pass_s(30)
    assert SummaryTouched(at_ms=asked) in answer(heard, "acknowledged")
    assert SummaryTouched(at_ms=asked) in answer(heard, "helped")


def test_a_team_that_was_not_asked_answers_nothing() -> None:
    """Its topic is its own; another's call is none of it."""
    heard = store()
    heard.take(pressed(0))
    assert answer(heard, "helped", by="office") == [Count("answer_of_others")]
    assert call_of(heard).is_open


@pytest.mark.parametrize(
    "away",
    [
        left("wine", DWELL_S + 2),
        entered("dairy", DWELL_S + 2),
        presence("visit.ended", DWELL_S + 2),
    ],
    ids=["leaves", "moves on", "goes home"],
)
def test_who_is_not_there_any_more_is_not_looked_for(away: Any) -> None:
    """The alert is withdrawn on every handheld that had it."""
    heard = store()
    heard.take(entered("wine"))
    heard.pass_s(DWELL_S)
    found = heard.take(away)
    assert said(heard, found) == [("cellar", "withdrawn")]
    assert alerts(heard, found)[0][1].outcome == "gone"


def test_who_has_paid_needs_no_help_choosing() -> None:
    """A sale to the same basket takes the call back."""
    heard = store()
    who: dict[str, Any] = {"visitor": ref()}
    heard.take(till("basket.opened", 0, **who), entered("wine", 1))
    heard.pass_s(DWELL_S + 1)
    found = heard.take(sale(DWELL_S + 2, "d1", **who))
    assert said(heard, found) == [("cellar", "withdrawn")]


def test_a_visit_that_times_out_takes_its_call_back() -> None:
    """Nobody told that he left; time does."""
    heard = store(alert_valid_s=7_200)
    heard.take(entered("wine"))
    heard.pass_s(DWELL_S)
    heard.pass_s(2_000)
    assert said(heard)[-1][1] == "withdrawn"


def test_a_no_to_help_takes_the_call_back() -> None:
    """Who says meanwhile that he wants no staff is left alone."""
    heard = store()
    heard.take(entered("wine"))
    heard.pass_s(DWELL_S)
    no: dict[str, Any] = {"visitor": ref(), "purposes": ["staff_assistance"]}
    found = heard.take(event("consent.withdrawn", DWELL_S + 1, source="desk", **no))
    assert said(heard, found) == [("cellar", "withdrawn")]


def test_who_is_forgotten_leaves_no_open_call() -> None:
    """His erasure takes his calls back first."""
    heard = store()
    heard.take(entered("wine"))
    heard.pass_s(DWELL_S)
    visitor = heard.visitor("ble", ref()["value"])
    assert visitor is not None
    found = heard.run(Forgotten(visitors=(visitor.id,), at_ms=heard.now_ms))
    assert said(heard, found) == [("cellar", "withdrawn")]


def test_a_zone_has_one_call_that_nobody_asked_for() -> None:
    """Two who stay long are one errand; cooled down or not."""
    heard = store(alert_cooldown_s=0, alert_valid_s=3_600)
    heard.take(entered("wine"), entered("wine", 30, who="AA:00:00:00:00:02"))
    found = heard.pass_s(DWELL_S + 40)
    assert said(heard, found) == [("cellar", "open")]
    assert Count("call_open_already") in found
    assert len(heard.memory.calls) == 1


def test_the_cool_down_of_a_zone_holds_over_kinds() -> None:
    """After a queue that was told nobody is sent to the same zone for something else."""
    heard = store(queue=3, lifts=1)
    heard.take(queued(5, 1))
    answer(heard, "helped", by="floor")
    found = heard.take(entered("checkout", 2), *put_back(4, "d1", "checkout"))
    assert Count("alert_cooled_down") in found
    assert len(heard.memory.calls) == 1


def test_a_team_with_enough_to_do_gets_no_more_that_nobody_asked_for() -> None:
    """At most so many open calls; what was asked for comes all the same."""
    heard = store(team("floor", most=1), queue=3, lifts=1)
    heard.take(queued(5, 1))
    found = heard.take(entered("dairy", 2), *put_back(3))
    assert Count("call_held_back") in found
    found = heard.take(pressed(9, "bakery"))
    assert said(heard, found) == [("floor", "open")]


def test_a_queue_that_was_held_back_is_told_when_there_is_room() -> None:
    """Its sensor tells of changes alone, and nobody has moved on since."""
    heard = store(team("floor", most=1), queue=3)
    heard.take(pressed(0, "dairy"))
    assert Count("call_held_back") in heard.take(queued(5, 1))
    answer(heard, "helped", by="floor")
    assert said(heard, heard.pass_s(1)) == [("floor", "open")]
    assert call_of(heard).kind == "long_queue"


def test_a_queue_is_told_when_its_busy_team_passes_a_call_on() -> None:
    """What another team was asked for takes no room any more."""
    heard = store(team("floor", to="office", most=1), team("office"), queue=3)
    heard.take(pressed(0, "dairy"), queued(5, 1))
    assert len(heard.memory.calls) == 1
    found = heard.pass_s(WITHIN_S + 1)
    assert said(heard, found) == [("floor", "escalated"), ("office", "open")]
    assert said(heard, heard.pass_s(1)) == [("floor", "open")]


def test_a_queue_that_went_meanwhile_calls_nobody() -> None:
    """Room alone is no reason to come."""
    heard = store(team("floor", most=1), queue=3)
    heard.take(pressed(0, "dairy"), queued(5, 1), queued(1, 2))
    answer(heard, "helped", by="floor")
    assert said(heard, heard.pass_s(60)) == []


def test_a_request_goes_to_the_next_of_the_chain_when_the_first_is_busy() -> None:
    """Whoever has room comes first; without any the zone's team is called."""
    heard = store(team("floor", to="office", most=1), team("office", most=1))
    found = heard.take(*(pressed(n, zone) for n, zone in enumerate(("dairy", "bakery", "exit"))))
    assert [name for name, _ in said(heard, found)] == ["floor", "office", "floor"]


def test_what_nobody_asked_for_skips_a_full_team_on_its_way_up() -> None:
    """And stays where it is when nobody above has room."""
    heard = store(team("cellar", to="floor"), team("floor", to="office", most=1), team("office"))
    heard.take(pressed(0, "dairy"))
    answer(heard, "acknowledged", by="floor")
    heard.take(entered("wine", 1))
    heard.pass_s(DWELL_S + 1)
    assert said(heard, heard.pass_s(WITHIN_S)) == [("cellar", "escalated"), ("office", "open")]


def test_a_second_press_joins_a_call_that_nobody_answered() -> None:
    """The team is told again, with how often; after an answer a press is a new call."""
    heard = store()
    heard.take(pressed(0))
    found = heard.take(pressed(5))
    ((name, told),) = alerts(heard, found)
    assert told.context is not None
    assert (name, told.status, told.context.presses) == ("cellar", "open", 2)
    assert told.cause.id != alerts(heard)[0][1].cause.id
    assert len(heard.memory.calls) == 1
    answer(heard, "acknowledged")
    heard.take(pressed(9))
    assert len(heard.memory.calls) == 2


def customer_of(*before: Any) -> Any:
    """Returns who a handheld is told that asks, after these events, by his card."""
    heard = store()
    heard.take(*before)
    heard.take(pressed(5, visitor=ref("loyalty", CARD)))
    context = alerts(heard)[-1][1].context
    assert context is not None
    return context.customer


def test_who_asks_is_told_only_of_who_asked_in_his_name_and_allows_it() -> None:
    """A consent to staff assistance, and a request of his own; without either nobody is named."""
    assert customer_of(granted(0, purposes=("staff_assistance",))) is not None
    assert customer_of(granted(0, purposes=("profiling",))) is None
    assert customer_of() is None
    both = granted(0, purposes=("staff_assistance",)), withdrawn(2, purposes=("staff_assistance",))
    assert customer_of(*both) is None


def test_who_asked_by_his_card_is_not_looked_for_after_his_phone_left() -> None:
    """While he is in the store he is helped wherever he stands; then the call is withdrawn."""
    heard = store()
    heard.take(granted(-60, purposes=("profiling", "staff_assistance")))
    heard.take(till("basket.opened", 0, visitor=ref()), scanned_card(1))
    heard.take(entered("wine", 4), pressed(5, visitor=ref("loyalty", CARD)))
    assert said(heard, heard.take(entered("dairy", 8))) == []
    found = heard.take(presence("visit.ended", 20))
    assert said(heard, found) == [("cellar", "withdrawn")]


def test_who_asked_and_was_never_sensed_is_helped() -> None:
    """That no sensor knows him is no sign that he left."""
    heard = store()
    heard.take(granted(-60, purposes=("staff_assistance",)))
    heard.take(pressed(5, visitor=ref("loyalty", CARD)))
    assert said(heard, heard.take(granted(6))) == []
    assert call_of(heard).is_open


def test_no_call_that_nobody_asked_for_names_anybody() -> None:
    """A known customer's consent to be noticed is none to be named."""
    heard = store()
    heard.take(granted(0, purposes=("staff_assistance",)))
    heard.take(event("zone.entered", 1, visitor=ref("loyalty", CARD), zone="wine"))
    heard.pass_s(DWELL_S + 1)
    ((_, told),) = alerts(heard)
    assert told.context is not None
    assert told.context.customer is None


def test_a_story_is_told_once_and_kept_nowhere() -> None:
    """The next team is told that somebody complained, and not what."""
    heard = store()
    heard.take(entered("wine"))
    more: dict[str, Any] = {"complaint": "c1", "story": "The milk was off."}
    heard.take(event("complaint.opened", 2, source="desk", visitor=ref(), **more))
    found = heard.pass_s(WITHIN_S + 2)
    texts = [alert.text for _, alert in alerts(heard)]
    assert texts[0] == "The milk was off."
    assert said(heard, found) == [("cellar", "escalated"), ("floor", "open")]
    assert all("milk" not in text for text in texts[1:])
    assert "milk" not in repr(heard.memory.calls)


def test_a_recorded_call_is_taken_again_byte_for_byte() -> None:
    """What it is about stands in the record of the decision that made it."""
    heard = store(lifts=2, queue=3)
    heard.take(entered("dairy"), *put_back(2), *put_back(6, "d2"), queued(4, 9), pressed(9))
    knowledge = Knowledge(
        scorer=heard.scorer,
        catalogue=heard.catalogue,
        departments=heard.catalogue.departments,
        policy=heard.policy,
        rules=heard.rules,
    )
    made = [each for each in heard.decisions() if each.moment.concern is not None]
    assert {each.moment.kind for each in made} == {"lift_return", "long_queue", "help_requested"}
    for each in made:
        assert record_again(json.loads(each.record), knowledge) == each.record
    told = json.loads(made[0].record)["concern"]
    assert told == {
        "departments": ["DAIRY"], "product": "d2", "lifts_and_returns": 2, "queue_length": None
    }  # fmt: skip


def test_a_complaint_silences_no_help() -> None:
    """A complaint is a reason to come."""
    heard = store()
    heard.take(complained(0, who=ref()), entered("wine", 1))
    assert said(heard, heard.pass_s(DWELL_S + 1)) == [("cellar", "open")]
