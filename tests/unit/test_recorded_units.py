"""In which control groups other rules find the people of a recorded day."""

from __future__ import annotations

from typing import Any

import pytest

from edge_agent.domain.decisions import Cause, Moment, Place
from edge_agent.domain.ids import ScreenId, UnitId, VisitorId, ZoneId
from edge_agent.domain.time import SECOND_MS
from edge_agent.domain.visitor import UNKNOWN_MEMBER
from edge_agent.replay.recorded_units import RecordedUnits
from tests.factories import T0

SLOT_S = 900
START_MS = T0 - T0 % (SLOT_S * SECOND_MS)


def told(
    visitor: str,
    unit: str | None,
    *,
    after_s: int = 0,
    zone: str = "dairy",
    member: str | None = None,
    is_assigned: bool = True,
) -> dict[str, Any]:
    """Returns what stands in a record of who is left without what."""
    known = {} if unit is None else {"unit": unit}
    return {
        "visitor": visitor,
        "member": member,
        "now": START_MS + after_s * SECOND_MS,
        "place": {"channel": "screen", "screen": f"{zone}-1", "zone": zone, "audience": "public"},
        "rules": {"known": known} | ({"arms": {"c1": "control"}} if is_assigned else {}),
    }


def unit_at(units: RecordedUnits, record: dict[str, Any], *, slot_s: int = SLOT_S) -> str:
    """Returns the unit that a recorded moment is found in."""
    zone, member = record["place"]["zone"], record["member"]
    place = Place(
        channel="screen", screen=ScreenId(f"{zone}-1"), zone=ZoneId(zone), audience="public"
    )
    moment = Moment(
        kind="zone_entered",
        cause=Cause(source="ble-1", id="e1"),
        place=place,
        visitor=VisitorId(record["visitor"]),
        member=None if member is None else VisitorId(member),
    )
    return units.unit_at(record, moment, slot_s=slot_s)


@pytest.fixture
def units() -> RecordedUnits:
    """A day on which one was seen in the dairy, and Anna with her card."""
    found = RecordedUnits()
    found.note(told("phone", "s-first", is_assigned=False), slot_s=SLOT_S)
    found.note(told("phone", "s-dairy", after_s=30), slot_s=SLOT_S)
    found.note(told("phone", "s-dairy", after_s=60, zone="wine"), slot_s=SLOT_S)
    found.note(told("basket", "p-anna", member="anna"), slot_s=SLOT_S)
    found.note(told("nobody", None), slot_s=SLOT_S)
    return found


def test_a_records_own_unit_comes_first(units: RecordedUnits) -> None:
    """Whatever else is known of its visitor."""
    assert unit_at(units, told("phone", "s-other", after_s=5)) == "s-other"


def test_somebody_is_in_the_unit_in_which_he_was_assigned(units: RecordedUnits) -> None:
    """Where his record holds none, at any other place and hour."""
    assert unit_at(units, told("phone", None, zone="wine", after_s=9_000)) == "s-dairy"


def test_a_person_is_in_his_unit_with_whatever_he_carries(units: RecordedUnits) -> None:
    """And stays in it where he is not recognised later."""
    assert unit_at(units, told("new", None, member="anna", zone="wine")) == "p-anna"
    assert unit_at(units, told("new", None, zone="wine")) == "p-anna"


def test_who_shares_a_slot_shares_its_unit(units: RecordedUnits) -> None:
    """That of a zone is the one that was drawn there; another slot's, or length's, is another."""
    assert unit_at(units, told("new", None, after_s=500)) == "s-first"
    assert unit_at(units, told("n2", None, member=UNKNOWN_MEMBER, after_s=5)) == "s-first"
    fresh = {
        unit_at(units, told("n3", None, zone="wine")),
        unit_at(units, told("n4", None, after_s=SLOT_S)),
        unit_at(units, told("n5", None), slot_s=60),
        unit_at(units, told("n6", None, member="berta")),
    }
    assert len(fresh) == 4
    assert not fresh & {"s-first", "s-dairy", "p-anna"}


def test_who_is_drawn_anew_stays_where_he_was_drawn() -> None:
    """On a day without any control group, people and slots have units all the same."""
    units = RecordedUnits()
    units.note(told("phone", None), slot_s=SLOT_S)
    first = unit_at(units, told("phone", None))
    assert unit_at(units, told("phone", None, zone="wine", after_s=3_600)) == first
    assert unit_at(units, told("other", None)) == first
    assert UnitId(first).startswith("s")
