"""Control groups: which unit a moment belongs to, and which arm a unit is in."""

from __future__ import annotations

from dataclasses import replace

from edge_agent.decide.control import (
    arm_of,
    assignments_of,
    is_person,
    person_unit,
    slot_unit,
    unit_of,
)
from edge_agent.domain.decisions import CONTROL, TREATED, Cause, Moment, Place
from edge_agent.domain.ids import CampaignId, ProductId, RegisterId, ScreenId, UnitId, VisitorId
from edge_agent.domain.ids import ZoneId as Zone
from edge_agent.domain.rules import Campaign
from edge_agent.domain.time import SECOND_MS
from edge_agent.domain.visitor import UNKNOWN_MEMBER
from tests.factories import T0

KEY = b"k" * 32
SLOT_S = 900
AISLE = Place(channel="screen", screen=ScreenId("dairy-1"), zone=Zone("dairy"), audience="public")
STRANGER = Moment(
    kind="zone_entered",
    cause=Cause(source="ble-1", id="e1"),
    place=AISLE,
    visitor=VisitorId("phone"),
)
KNOWN = replace(STRANGER, member=VisitorId("anna"))


def at_moment(moment: Moment, *, after_s: int = 0, held: UnitId | None = None) -> UnitId:
    """Returns the unit of a moment that is so many seconds into the day."""
    now_ms = T0 - T0 % (SLOT_S * SECOND_MS) + after_s * SECOND_MS
    return unit_of(moment, held=held, now_ms=now_ms, slot_s=SLOT_S, key=KEY)


def test_whoever_is_not_identified_shares_the_unit_of_zone_and_slot() -> None:
    """Two strangers in one zone and slot are one unit; another zone or slot is another."""
    other = replace(STRANGER, visitor=VisitorId("track"))
    first = at_moment(STRANGER)
    assert at_moment(other, after_s=SLOT_S - 1) == first
    assert at_moment(other, after_s=SLOT_S) != first
    wine = replace(AISLE, zone=Zone("wine"))
    assert at_moment(replace(STRANGER, place=wine)) != first
    assert not is_person(first)


def test_a_till_of_no_zone_is_a_place_of_its_own() -> None:
    """Two registers are two units."""
    tills = [Place(channel="receipt", register=RegisterId(f"pos-{n}")) for n in range(2)]
    units = {slot_unit(till, at_ms=T0, slot_s=SLOT_S, key=KEY) for till in tills}
    assert len(units) == 2


def test_an_identified_person_is_one_unit_wherever_and_whenever() -> None:
    """The person counts, not the phone, the zone or the slot."""
    elsewhere = replace(KNOWN, visitor=VisitorId("track"), place=replace(AISLE, zone=Zone("wine")))
    assert at_moment(KNOWN) == at_moment(elsewhere, after_s=86_400)
    assert at_moment(KNOWN) == person_unit(VisitorId("anna"), key=KEY)
    assert is_person(at_moment(KNOWN))


def test_turning_out_to_be_somebody_known_changes_no_unit() -> None:
    """What a visitor was given first holds, in another slot and zone too."""
    first = at_moment(STRANGER)
    assert at_moment(KNOWN, after_s=7_200, held=first) == first


def test_a_card_of_which_nothing_is_known_is_nobody() -> None:
    """It names no person, so that the slot counts."""
    assert at_moment(replace(STRANGER, member=UNKNOWN_MEMBER)) == at_moment(STRANGER)


def test_a_unit_can_be_told_by_nobody_without_the_key() -> None:
    """Another store's key gives other units, and so arms of their own."""
    mine = person_unit(VisitorId("anna"), key=KEY)
    assert person_unit(VisitorId("anna"), key=b"l" * 32) != mine
    assert "anna" not in mine


def test_the_control_group_is_the_share_that_was_asked_for() -> None:
    """Of 20,000 units as many as chance allows (5 standard errors), in each campaign its own."""
    units = [person_unit(VisitorId(f"v{n}"), key=KEY) for n in range(20_000)]
    for share in (0.05, 0.5):
        n_control = sum(arm_of(unit, CampaignId("18"), share=share) == CONTROL for unit in units)
        error = (share * (1 - share) * len(units)) ** 0.5
        assert abs(n_control - share * len(units)) < 5 * error
    both = sum(
        arm_of(unit, CampaignId("18"), share=0.5) == arm_of(unit, CampaignId("19"), share=0.5)
        for unit in units
    )
    assert abs(both - len(units) / 2) < 5 * (len(units) / 4) ** 0.5


def test_a_larger_share_takes_nobody_out_of_the_control_group() -> None:
    """Arms are nested in the share; none and all are none and all."""
    for n in range(500):
        unit = person_unit(VisitorId(f"v{n}"), key=KEY)
        arms = [arm_of(unit, CampaignId("18"), share=share) for share in (0.0, 0.1, 0.4, 1.0)]
        assert (arms[0], arms[-1]) == (TREATED, CONTROL)
        assert arms == sorted(arms, reverse=True)


def test_only_campaigns_with_a_control_group_have_arms() -> None:
    """A campaign without one is nobody's trial, and nothing is told of it."""
    plain = Campaign(id=CampaignId("a"), starts_at_ms=0, ends_at_ms=1, text="hello")
    tried = replace(
        plain, id=CampaignId("b"), control_share=1.0, products=frozenset({ProductId("d1")})
    )
    (only,) = assignments_of(at_moment(STRANGER), (plain, tried))
    assert (only.campaign, only.arm, only.share) == ("b", CONTROL, 1.0)
    assert only.products == {"d1"}
