"""Visits and stays, folded from marks."""

from __future__ import annotations

import pytest

from edge_agent.domain.ids import ProductId
from tests.factories import PHONE, at, entered, left, lifted, presence, sale, till, world


def test_a_visit_lasts_from_the_first_mark_to_the_exit() -> None:
    """Leaving the store ends the visit at that instant."""
    heard = world()
    heard.take(entered("dairy", 0), left("dairy", 60), presence("visit.ended", 90))
    visit = heard.visit("ble", PHONE)
    assert visit is not None
    assert (visit.started_at_ms, visit.ended_at_ms, visit.ended_by) == (at(0), at(90), "exit")


def test_a_visit_times_out_at_its_last_mark() -> None:
    """Who is not sensed any more left when he was last sensed."""
    heard = world(visit_timeout_s=600)
    heard.take(entered("dairy", 0), presence("visitor.detected", 100))
    heard.pass_s(700)
    assert heard.visit("ble", PHONE).is_open  # type: ignore[union-attr]  # it was just begun
    heard.pass_s(60)
    visit = heard.visit("ble", PHONE)
    assert visit is not None
    assert (visit.ended_at_ms, visit.ended_by) == (at(100), "timeout")


def test_somebody_who_comes_back_begins_a_new_visit() -> None:
    """After the time-out the same phone is another visit of the same visitor."""
    heard = world(visit_timeout_s=600)
    heard.take(entered("dairy", 0))
    heard.tick(at(2_000))
    heard.take(entered("dairy", 2_000))
    first, second = heard.visits("ble", PHONE)
    assert first.visitor == second.visitor
    assert first.id != second.id
    assert second.is_open


def test_leaving_the_exit_zone_ends_a_visit_that_has_paid() -> None:
    """Sale and exit together are an end; the exit alone is not."""
    heard = world()
    heard.take(entered("exit", 0), left("exit", 5))
    assert heard.visit("ble", PHONE).is_open  # type: ignore[union-attr]  # it was just begun
    heard.tick(at(40))
    heard.take(entered("checkout", 10), till("basket.opened", 20), sale(30, "d0"))
    heard.take(entered("exit", 35), left("exit", 40))
    visit = heard.visit("ble", PHONE)
    assert visit is not None
    assert (visit.ended_at_ms, visit.ended_by) == (at(40), "sale_exit")


def test_leaving_told_twice_is_one_visit() -> None:
    """A second door sensor, or a zone left after the store was, begins no new visit."""
    heard = world()
    heard.take(
        entered("dairy", 0),
        presence("visit.ended", 50),
        presence("visit.ended", 52),
        left("dairy", 53),
    )
    (visit,) = heard.visits("ble", PHONE)
    assert visit.ended_at_ms == at(50)


def test_a_late_mark_is_folded_in_where_it_belongs() -> None:
    """An hour late, a sighting between two others splits the stay that it interrupts."""
    heard = world()
    heard.tick(at(3_600))
    heard.take(entered("dairy", 0), left("dairy", 300), entered("bakery", 100))
    heard.settle()
    (visit,) = heard.visits("ble", PHONE)
    stays = [(stay.zone, stay.entered_at_ms, stay.left_at_ms) for stay in visit.stays or ()]
    assert stays == [("dairy", at(0), at(100)), ("bakery", at(100), at(300))]


def test_a_late_mark_bridges_two_visits() -> None:
    """What looked like two visits was one, once the missing sighting arrives."""
    heard = world(visit_timeout_s=600)
    heard.take(entered("dairy", 0))
    heard.tick(at(2_000))
    heard.take(entered("bakery", 1_000))
    assert len(heard.visits("ble", PHONE)) == 2
    heard.take(presence("visitor.detected", 500))
    assert len(heard.visits("ble", PHONE)) == 1


def test_a_late_mark_reopens_a_visit_that_time_had_ended() -> None:
    """Heard after the time-out, a sighting within it extends the visit."""
    heard = world(visit_timeout_s=600)
    heard.take(entered("dairy", 0))
    heard.pass_s(700)
    heard.pass_s(60)
    heard.take(presence("visitor.detected", 500))
    heard.pass_s(1_200)
    heard.pass_s(1_200)
    (visit,) = heard.visits("ble", PHONE)
    assert visit.ended_at_ms == at(500)


def test_a_dwell_report_tells_since_when() -> None:
    """A stay reported after it began is entered when the report says."""
    heard = world()
    heard.take(presence("zone.dwell", 0, zone="wine", dwell_s=120))
    visit = heard.visit("ble", PHONE)
    assert visit is not None
    assert (visit.started_at_ms, visit.zone_entered_at_ms) == (at(-120), at(-120))


def test_leaving_a_zone_one_is_not_in_tells_nothing() -> None:
    """A stray report does not move anybody."""
    heard = world()
    heard.take(entered("dairy", 0), left("wine", 10))
    visit = heard.visit("ble", PHONE)
    assert visit is not None
    assert visit.zone == "dairy"


def test_goods_in_hand_are_remembered_until_put_back() -> None:
    """Lifted, scanned and returned goods are known, oldest first and each once."""
    heard = world()
    heard.take(lifted("d0", 0), lifted("d1", 1), lifted("d0", 2))
    visit = heard.visit("ble", PHONE)
    assert visit is not None
    assert visit.in_hand == (ProductId("d1"), ProductId("d0"))
    heard.take(presence("item.returned", 3, product="d1"))
    visit = heard.visit("ble", PHONE)
    assert visit is not None
    assert visit.in_hand == (ProductId("d0"),)


@pytest.mark.parametrize("gap_s", [1_799, 1_800])
def test_a_gap_of_the_time_out_is_still_one_visit(gap_s: int) -> None:
    """Only a longer gap than the time-out ends a visit."""
    heard = world(visit_timeout_s=1_800)
    heard.tick(at(4_000))
    heard.take(entered("dairy", 0), entered("bakery", gap_s))
    assert len(heard.visits("ble", PHONE)) == 1


def test_a_refolded_visit_begins_after_the_one_that_time_parted_from_it() -> None:
    """A dwell report reaches back no further than the visit before, also when folded again."""
    heard = world(visit_timeout_s=600)
    heard.tick(at(7_200))
    heard.take(
        presence("visit.ended", 0),
        presence("zone.dwell", 800, zone="dairy", dwell_s=3_600),
        presence("visitor.detected", 1_390),
    )
    heard.take(presence("visitor.detected", 1_395))
    ids = [visit.id for visit in heard.visits("ble", PHONE)]
    heard.take(presence("visitor.detected", 1_392))
    before, after = heard.visits("ble", PHONE)
    assert [before.id, after.id] == ids
    assert after.started_at_ms == before.last_at_ms + 1


def test_a_late_mark_takes_along_visits_beyond_its_own_reach() -> None:
    """It reopens one visit, whose later mark then joins it to the next one."""
    heard = world(visit_timeout_s=600)
    heard.tick(at(7_200))
    heard.take(presence("visit.ended", 0), left("dairy", 500), presence("visitor.detected", 1_000))
    assert len(heard.visits("ble", PHONE)) == 2
    heard.take(entered("dairy", 100))
    ended, joined = heard.visits("ble", PHONE)
    assert (ended.last_at_ms, joined.started_at_ms, joined.last_at_ms) == (
        at(0),
        at(100),
        at(1_000),
    )


def test_taking_turns_within_a_millisecond_leaves_a_stay_in_each_zone() -> None:
    """Zone and instant name a stay, so the database holds what memory holds."""
    heard = world()
    for zone in ("dairy", "bakery", "dairy", "wine", "bakery", "dairy"):
        heard.take(entered(zone, 0))
    heard.take(presence("visit.ended", 9))
    visit = heard.visit("ble", PHONE)
    assert visit is not None
    stays = [(stay.zone, stay.entered_at_ms) for stay in visit.stays or ()]
    assert len(stays) == len(set(stays))
