"""Laws of visits: the same evidence gives the same visits, however it arrives."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.domain.ids import VisitorId, ZoneId
from edge_agent.domain.policy import Policy
from edge_agent.domain.time import ms_from_datetime
from edge_agent.domain.visitor import Mark, Visit
from edge_agent.state.visits import all_stays, folded
from edge_agent.wire.events import Event
from tests.factories import T0, entered, left, lifted, presence, sale, till, world
from tests.fakes import World, comparable

HOUR_S = 3_600
ZONES = ("dairy", "bakery", "wine", "checkout", "exit")
PHONES = ("AC:23:3F:A0:11:01", "AC:23:3F:A0:11:02", "AC:23:3F:A0:11:03")
PRODUCTS = ("d0", "d1", "k0")

# Hours apart, or on one another's heels: it is the few instants around a time-out and the shared
# ones that tell a fold that looks too near.
seconds = st.one_of(st.integers(0, 3 * HOUR_S), st.integers(0, 5).map(lambda n: n * 450))
minutes = st.integers(0, 600)
phones = st.sampled_from(PHONES)
zones = st.sampled_from(ZONES)


def sightings(moments: st.SearchStrategy[int] = seconds) -> st.SearchStrategy[Event]:
    """Anything that a sensor may say of somebody."""
    return st.one_of(
        st.builds(lambda z, s, w: entered(z, s, who=w), zones, moments, phones),
        st.builds(lambda z, s, w: left(z, s, who=w), zones, moments, phones),
        st.builds(lambda p, s, w: lifted(p, s, who=w), st.sampled_from(PRODUCTS), moments, phones),
        st.builds(lambda s, w: presence("visit.ended", s, who=w), moments, phones),
        st.builds(lambda s, w: presence("visitor.detected", s, who=w), moments, phones),
        st.builds(
            lambda z, s, w, d: presence("zone.dwell", s, who=w, zone=z, dwell_s=d),
            zones,
            moments,
            phones,
            st.integers(0, HOUR_S),
        ),
    )


def till_events(moments: st.SearchStrategy[int] = seconds) -> st.SearchStrategy[Event]:
    """Anything that a till may say of one of two baskets."""
    baskets = st.sampled_from(("b1", "b2"))
    products = st.sampled_from(PRODUCTS)
    return st.one_of(
        st.builds(lambda s, b: till("basket.opened", s, basket=b), moments, baskets),
        st.builds(
            lambda s, b, p: till("basket.item_added", s, basket=b, product=p),
            moments,
            baskets,
            products,
        ),
        st.builds(lambda s, b, p: sale(s, p, basket=b), moments, baskets, products),
    )


def numbered(events: st.SearchStrategy[Event], *, max_size: int = 12) -> Any:
    """Lists of events with ids that depend on nothing but their place."""
    return st.lists(events, max_size=max_size).map(
        lambda some: [each.model_copy(update={"id": f"h{n}"}) for n, each in enumerate(some)]
    )


def instant_of(event: Event) -> int:
    """Returns the event's time in ms."""
    assert event.time is not None
    return ms_from_datetime(event.time)


def in_order(events: list[Event]) -> list[Event]:
    """Returns events by their time."""
    return sorted(events, key=instant_of)


def told(events: list[Event], *, hours_later: int = 3) -> World:
    """Returns the world after hearing events at once, some hours after the first moment."""
    heard = world()
    heard.tick(T0 + hours_later * HOUR_S * 1_000)
    heard.take(*events)
    return heard


def visits_of(heard: World) -> list[tuple[Any, ...]]:
    """Returns every visit as plain values, once all of them are over."""
    heard.settle()
    return [comparable(visit) for visit in heard.memory.all_visits()]


marks = st.lists(
    st.builds(
        Mark,
        st.integers(0, 5_000_000),
        st.integers(0, 10_000),
        st.sampled_from(("start", "enter", "leave", "dwell", "seen", "lift", "paid", "end")),
        st.one_of(st.none(), zones.map(ZoneId)),
        st.none(),
        st.integers(0, 600_000),
    ),
    max_size=25,
    unique_by=lambda mark: mark.tie,
)


def fold(given_marks: list[Mark]) -> tuple[Visit, ...]:
    """Returns the visits of marks in their order."""
    ordered = tuple(sorted(given_marks, key=lambda mark: mark.order))
    exits = frozenset({ZoneId("exit")})
    return folded(ordered, visitor=VisitorId("v"), policy=Policy(), exits=exits)


@given(marks)
def test_every_mark_belongs_to_exactly_one_visit(given_marks: list[Mark]) -> None:
    """Nothing sensed is lost or counted twice by the fold."""
    visits = fold(given_marks)
    held = [mark for visit in visits for mark in (visit.marks or ())]
    assert sorted(held, key=lambda mark: mark.order) == sorted(
        given_marks, key=lambda mark: mark.order
    )


@given(marks)
def test_stays_are_intervals_that_follow_each_other(given_marks: list[Mark]) -> None:
    """A stay never ends before it begins, and one person is in one zone at a time."""
    for visit in fold(given_marks):
        stays = all_stays(visit)
        for stay in stays:
            assert stay.entered_at_ms <= stay.left_at_ms
        for before, after in pairwise(stays):
            assert before.left_at_ms <= after.entered_at_ms


@given(marks)
def test_visits_of_one_visitor_do_not_overlap(given_marks: list[Mark]) -> None:
    """A visit begins when the one before it is over."""
    visits = fold(given_marks)
    for before, after in pairwise(visits):
        assert before.ended_at_ms is not None
        assert before.ended_at_ms <= after.started_at_ms


@given(marks)
def test_entries_less_exits_are_who_is_there(given_marks: list[Mark]) -> None:
    """Stays begun less stays ended are those who stand in a zone now."""
    visits = fold(given_marks)
    n_begun = sum(len(all_stays(visit)) for visit in visits)
    n_ended = sum(len(visit.stays or ()) for visit in visits)
    assert n_begun - n_ended == sum(visit.zone is not None for visit in visits)


@given(numbered(sightings()), st.randoms(use_true_random=False))
def test_any_order_of_sightings_gives_the_same_visits(events: list[Event], chance: Any) -> None:
    """Hours late and in any order, sightings give the visits of their true order."""
    shuffled = list(events)
    chance.shuffle(shuffled)
    assert visits_of(told(shuffled)) == visits_of(told(in_order(events)))


@given(numbered(sightings()))
def test_sightings_heard_after_the_visit_timed_out_correct_it(events: list[Event]) -> None:
    """Heard as it happens or hours later, the same sightings give the same visits."""
    late = told(in_order(events)[::2], hours_later=5)
    late.settle()
    late.take(*in_order(events)[1::2])
    assert visits_of(late) == visits_of(told(in_order(events)))


@given(numbered(st.one_of(sightings(), till_events())), st.randoms(use_true_random=False))
def test_any_order_of_till_events_gives_the_same_baskets(events: list[Event], chance: Any) -> None:
    """What a basket holds and when it was paid do not depend on the order of arrival."""
    shuffled = list(events)
    chance.shuffle(shuffled)
    assert contents_of(told(shuffled)) == contents_of(told(in_order(events)))


def contents_of(heard: World) -> dict[str, Any]:
    """Returns the baskets without whose they are: that follows from who stood at the till."""
    return {
        basket.id: replace(basket, carrier=None, paid_mark_at_ms=None)
        for basket in heard.memory.baskets.values()
    }


@given(numbered(st.one_of(sightings(), till_events())), st.data())
def test_a_duplicate_changes_nothing(events: list[Event], data: st.DataObject) -> None:
    """However often an event is repeated, and whenever, the state is that of hearing it once."""
    repeats = data.draw(st.lists(st.sampled_from(events), max_size=5)) if events else []
    clean, repeated = told(events), told([*events, *repeats])
    assert repeated.memory.snapshot() == clean.memory.snapshot()
    assert repeated.effects == clean.effects


@given(numbered(sightings()))
def test_every_visit_ends(events: list[Event]) -> None:
    """When nothing is sensed any more, nobody stays in the store for ever."""
    heard = told(events)
    heard.settle()
    assert [visit for visit in heard.memory.all_visits() if visit.is_open] == []


@given(
    numbered(st.one_of(sightings(minutes), till_events(minutes)), max_size=20),
    st.data(),
)
def test_disorder_within_lateness_changes_no_state(
    events: list[Event], data: st.DataObject
) -> None:
    """Events delayed by less than the allowed lateness leave visits and baskets as they were."""
    timed = in_order(events)
    delays = data.draw(st.lists(st.integers(0, 9_000), min_size=len(timed), max_size=len(timed)))
    plain = _as_it_happens([(event, 0) for event in timed])
    delayed = _as_it_happens(list(zip(timed, delays, strict=True)))
    assert visits_of(delayed) == visits_of(plain)
    assert delayed.memory.snapshot()["baskets"] == plain.memory.snapshot()["baskets"]


def _as_it_happens(events: list[tuple[Event, int]]) -> World:
    heard = world()
    arrivals = sorted(
        ((instant_of(event) + delay_ms, n, event) for n, (event, delay_ms) in enumerate(events)),
        key=lambda each: each[:2],
    )
    for arrives_ms, _, event in arrivals:
        heard.tick(arrives_ms)
        heard.take(event)
    return heard
