"""One suite for the state in memory and the state on disk, fresh, committed and read again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import pytest

from edge_agent.domain.contacts import Contact
from edge_agent.domain.effects import (
    AddPlan,
    CountCampaign,
    Effect,
    GiveOffer,
    RecordContact,
    RedeemOffer,
    SetCampaign,
    SetFact,
    Step,
)
from edge_agent.domain.ids import (
    BasketId,
    CampaignId,
    DecisionId,
    ProductId,
    ScreenId,
    TeamId,
    ZoneId,
)
from edge_agent.domain.inputs import StaffAnswered
from edge_agent.domain.offers import Offer, Redemption
from edge_agent.domain.policy import Retention
from edge_agent.domain.rules import Exploration, Help, Rules, Sharing, Team
from edge_agent.domain.scoring import FIRST_PLAN, PromotionPlan
from edge_agent.domain.store import Fact, Level
from edge_agent.domain.time import DAY_MS, SECOND_MS, local_day_start_ms
from edge_agent.domain.visitor import Visit
from edge_agent.shell.retention import purge
from edge_agent.shell.row_digest import COLUMNS
from edge_agent.wire.events import Event
from edge_agent.wire.offers import OfferRequest
from edge_agent.wire.staff import StaffFeedback
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
from tests.fakes import NEW_YORK, World, comparable
from tests.properties.test_laws_state_store import DiskWorld

MAIL: Final = Contact(
    id="hq/7", at_ms=at(-600), channel="e-mail", campaigns=(CampaignId("18"),), products=()
)

LATER: Final = T0 + 300 * DAY_MS


@pytest.fixture(params=["memory", "disk", "committed", "reloaded"])
def kind(request: pytest.FixtureRequest) -> str:
    """Which state: in memory; on disk before the commit, after it, after a start."""
    return str(request.param)


@pytest.fixture
def heard(kind: str, tmp_path: Path) -> Iterator[World]:
    """A store whose state is of that kind."""
    if kind == "memory":
        yield world()
        return
    on_disk = DiskWorld(tmp_path / "state.db", world())
    yield on_disk
    on_disk.connection.close()


def settled(heard: World, kind: str) -> World:
    """Commits and reads again, as far as the kind asks for it."""
    if isinstance(heard, DiskWorld) and kind in {"committed", "reloaded"}:
        heard.unit.commit()
        if kind == "reloaded":
            heard.connection.close()
            heard.connect(heard.layout, heard)
    return heard


def test_a_visitor_is_found_with_all_that_he_said(heard: World, kind: str) -> None:
    """Consents, complaints and history come back as they were."""
    heard.take(granted(-20), withdrawn(-10, purposes=("sending_to_hq",)), complained(-5))
    profile = {
        "visitor": ref("loyalty", CARD),
        "reference": "crm-7",
        "history": [{"at": "2017-11-01T12:00:00.123456Z", "products": ["d1", "d0"]}],
        "segments": ["s2", "s1"],
    }
    heard.command(command("profile", profile))
    card = settled(heard, kind).visitor("loyalty", CARD)
    assert card is not None
    assert len(card.consents) == 4
    assert card.has_open_complaint
    assert card.profile.segments == ("s1", "s2")
    assert card.profile.history[0].products == ("d0", "d1")


def test_visits_come_back_open_and_closed(heard: World, kind: str) -> None:
    """The newest visit is the current one; earlier ones are found by their time."""
    reference = world()
    events = [entered("dairy", -3_000), presence("visit.ended", -2_900), entered("bakery", 0)]
    events += [lifted("d0", 5), left("bakery", 9)]
    for each in (heard, reference):
        each.take(*events)
    settled(heard, kind)
    phone, same = heard.visitor("ble", PHONE), reference.visitor("ble", PHONE)
    assert phone is not None
    assert phone == same
    newest = heard.state.visit_of(phone.id)
    assert newest is not None
    assert newest.in_hand == ("d0",)
    near = heard.state.visits_between(phone.id, from_ms=at(-2_950), to_ms=at(-2_950))
    assert [each.ended_by for each in near] == ["exit"]
    both = heard.state.visits_between(phone.id, from_ms=at(-3_000), to_ms=at(0))
    mine = [comparable(each) for each in both]
    assert mine == [comparable(each) for each in reference.memory.all_visits()]


def test_a_basket_comes_back_line_by_line(heard: World, kind: str) -> None:
    """Lines, sale, carrier and member are as they were."""
    reference = world()
    events = [granted(-60), entered("checkout", -30), till("basket.opened", 0)]
    events += [till("basket.item_added", 1, product="d0", quantity=0.75), scanned_card(2)]
    events.append(sale(3, "d0", "k0"))
    for each in (heard, reference):
        each.take(*events)
    settled(heard, kind)
    assert heard.basket("b1") == reference.basket("b1")
    phone = heard.visitor("ble", PHONE)
    assert phone is not None
    assert [each.id for each in heard.state.baskets_of(phone.id)] == [
        each.id for each in reference.state.baskets_of(phone.id)
    ]


@pytest.mark.parametrize("is_late", [False, True])
def test_the_highest_revision_of_a_sale_holds(heard: World, kind: str, *, is_late: bool) -> None:
    """A till corrects a sale at its old time and for less money; the order does not matter."""
    first, second = sale(3, "d0", "k0", revision=7), sale(3, "d0", revision=8)
    sales = (second, first) if is_late else (first, second)
    heard.take(sales[0])
    settled(heard, kind)
    heard.take(sales[1])
    settled(heard, kind)
    basket = heard.basket("b1")
    assert basket is not None
    assert basket.sale is not None
    assert (str(basket.sale.total), basket.sale.revision) == ("1.00", 8)
    assert basket.products == ("d0",)


def test_a_corrected_sale_is_no_second_purchase(heard: World, kind: str) -> None:
    """The member's history holds what was bought once."""
    heard.take(granted(-60), scanned_card(2), sale(3, "d0", "k0", revision=7))
    settled(heard, kind)
    heard.take(sale(3, "d0", revision=8))
    card = settled(heard, kind).visitor("loyalty", CARD)
    assert card is not None
    assert len(card.profile.history) == 1


def test_baskets_come_oldest_first_also_after_a_late_line(heard: World, kind: str) -> None:
    """What is in hand is told in one order, whether the agent was restarted or not."""
    heard.take(
        till("basket.opened", 5, basket="b1", visitor=ref()),
        till("basket.opened", 6, basket="b2", visitor=ref()),
        till("basket.item_added", 3, basket="b2", product="d1"),
    )
    known = settled(heard, kind)
    phone = known.visitor("ble", PHONE)
    assert phone is not None
    found = [basket.first_at_ms for basket in known.state.baskets_of(phone.id)]
    assert found == [at(3), at(5)]


def test_who_stood_at_the_till_is_known(heard: World, kind: str) -> None:
    """Those who are there still, and those who left within the interval."""
    other = "AC:23:3F:A0:11:33"
    heard.take(entered("checkout", 0), entered("checkout", 5, who=other))
    heard.take(left("checkout", 20, who=other))
    settled(heard, kind)
    span = {"from_ms": at(10), "to_ms": at(60)}
    found = heard.state.at_register(ZoneId("checkout"), **span)
    assert sorted((each.entered_at_ms, each.left_at_ms) for each in found if each.left_at_ms) == [
        (at(5), at(20))
    ]
    assert [each.entered_at_ms for each in found if each.left_at_ms is None] == [at(0)]
    assert heard.state.at_register(ZoneId("checkout"), from_ms=at(-60), to_ms=at(-1)) == ()


def test_who_is_in_a_zone_is_known(heard: World, kind: str) -> None:
    """In the order of their coming; who left, moved on or went home is there no more."""
    others = [f"AC:23:3F:A0:11:0{n}" for n in range(3)]
    heard.take(
        entered("dairy", 3), *(entered("dairy", n, who=each) for n, each in enumerate(others))
    )
    heard.take(left("dairy", 4, who=others[0]), entered("bakery", 5, who=others[1]))
    heard.take(presence("visit.ended", 6, who=others[0]))
    settled(heard, kind)
    ids = {who: known.id for who in (PHONE, *others) if (known := heard.visitor("ble", who))}
    here = [each.visitor for each in heard.state.present_in(ZoneId("dairy"))]
    assert here == [ids[others[2]], ids[PHONE]]
    assert [each.visitor for each in heard.state.present_in(ZoneId("bakery"))] == [ids[others[1]]]
    assert heard.state.present_in(ZoneId("wine")) == ()


def test_screens_stock_alerts_and_caps_are_known(heard: World, kind: str) -> None:
    """What gates and caps rest on survives a start."""
    heard.take(entered("dairy", 0), entered("wine", 1))
    heard.command(command("stock", {"rows": [{"product": "d1", "quantity": 0}]}))
    heard.pass_s(200)
    settled(heard, kind)
    visit = heard.visit("ble", PHONE)
    assert visit is not None
    assert heard.state.n_decisions(visit.id, visit.visitor, since_ms=visit.started_at_ms) == 2
    assert heard.state.out_of_stock() == {ProductId("d1")}
    assert heard.state.last_alert_ms(ZoneId("wine")) == heard.now_ms
    assert heard.state.showing(ScreenId("dairy-1")) is not None


def test_calls_for_help_come_back_open_ended_and_lasting(heard: World, kind: str) -> None:
    """Whom each was made to, what it is about and what became of it."""
    chain = (
        Team(id=TeamId("floor"), acknowledge_within_s=30, escalate_to=TeamId("office")),
        Team(id=TeamId("office")),
    )
    heard.rules = Rules(
        teams=MappingProxyType({each.id: each for each in chain}), help=Help(queue_length=4)
    )
    heard.take(event("queue.measured", 0, source="cam", zone="checkout", length=6))
    heard.pass_s(1)
    heard.take(event("help.requested", 1, source="app-1", zone="dairy", visitor=ref("app", "a")))
    settled(heard, kind)
    heard.pass_s(31)
    queue, asked = heard.state.live_calls()
    feedback = StaffFeedback(decision=queue.id, outcome="helped")
    heard.staff(StaffAnswered(feedback=feedback, at_ms=heard.now_ms, team=TeamId("office")))
    settled(heard, kind)
    queue, asked = heard.state.live_calls()
    assert (queue.outcome, queue.is_lasting, queue.concern.queue_length) == ("helped", True, 6)
    assert (asked.teams, asked.is_open, asked.concern.departments) == (
        ("floor", "office"),
        True,
        ("DAIRY",),
    )
    heard.take(event("queue.measured", 40, source="cam", zone="checkout", length=1))
    assert heard.state.call(queue.id) == replace(queue, is_lasting=False)
    settled(heard, kind)
    assert heard.state.live_calls() == (asked,)
    assert heard.state.call(queue.id) == replace(queue, is_lasting=False)
    assert heard.state.last_alert_ms(ZoneId("checkout")) == queue.opened_at_ms


@pytest.mark.parametrize("audience", ["public", "semi_private", "private"])
def test_whose_eyes_a_screen_is_for_is_known(kind: str, audience: str, tmp_path: Path) -> None:
    """What a screen shows when the agent ends gives way after its start as before it."""
    told = world(audience=audience)
    told.rules = Rules(sharing=MappingProxyType({ScreenId("bakery-1"): Sharing(mode="mixed")}))
    heard = told if kind == "memory" else DiskWorld(tmp_path / "state.db", told)
    heard.rules = told.rules
    others = ("AC:23:3F:A0:11:01", "AC:23:3F:A0:11:02")
    heard.take(entered("dairy", 0), *(entered("bakery", n, who=o) for n, o in enumerate(others)))
    settled(heard, kind)
    mine = heard.state.showing(ScreenId("dairy-1"))
    theirs = heard.state.showing(ScreenId("bakery-1"))
    assert mine is not None
    assert theirs is not None
    assert (mine.audience, mine.is_personal, mine.is_shared) == (
        audience,
        audience != "public",
        False,
    )
    assert (theirs.visitor, theirs.is_personal, theirs.is_shared) == (None, False, True)
    assert theirs.audience == ("private" if audience == "private" else "public")
    if isinstance(heard, DiskWorld):
        heard.connection.close()


def test_what_a_visit_was_told_counts_under_whatever_id_it_bears(heard: World, kind: str) -> None:
    """An event that comes late begins the visit earlier, and so gives it another id."""
    heard.take(entered("dairy", 10))
    before = heard.visit("ble", PHONE)
    settled(heard, kind)
    heard.take(entered("wine", 0))
    after = heard.visit("ble", PHONE)
    assert before is not None
    assert after is not None
    assert before.id != after.id
    settled(heard, kind)
    assert told_in(heard, after) == told_in(heard, before) == 1
    heard.take(entered("dairy", 40), entered("checkout", 50))
    now = heard.visit("ble", PHONE)
    assert now is not None
    his = [each for each in heard.decisions() if each.moment.visitor == now.visitor]
    assert told_in(heard, now) == len(his) > 1


def test_what_hq_says_of_the_day_is_known_until_its_end(heard: World, kind: str) -> None:
    """The newest word of a name holds, and from its end on there is none."""
    for name, value, until_s in (("weather", "sun", 60), ("weather", "rain", 90), ("n", 2.5, 30)):
        apply(heard, SetFact(fact=Fact(name=name, value=value, valid_until_ms=at(until_s))))
    settled(heard, kind)
    assert heard.state.facts(at(0)) == {"weather": "rain", "n": 2.5}
    assert heard.state.facts(at(30)) == {"weather": "rain"}
    assert heard.state.facts(at(90)) == {}


def test_a_level_is_the_newest_measurement_with_its_time(heard: World, kind: str) -> None:
    """A measurement that comes late does not hide a newer one."""
    heard.take(
        event("queue.measured", 10, zone="checkout", length=4),
        event("queue.measured", 5, zone="checkout", length=9),
        event("zone.occupancy", 20, zone="dairy", count=3),
    )
    settled(heard, kind)
    assert heard.state.level("queue", ZoneId("checkout")) == Level(value=4, at_ms=at(10))
    assert heard.state.level("occupancy", ZoneId("dairy")) == Level(value=3, at_ms=at(20))
    assert heard.state.level("queue", ZoneId("dairy")) is None


@pytest.mark.parametrize("is_asked_before", [False, True])
def test_what_was_said_to_somebody_is_known_with_what_came_of_it(
    heard: World, kind: str, *, is_asked_before: bool
) -> None:
    """Screens, and HQ's own channels; taps, purchases and silence."""
    heard.take(entered("dairy", 0))
    phone = heard.visitor("ble", PHONE)
    assert phone is not None
    if is_asked_before:
        heard.state.contacts_of(phone.id, since_ms=0)
    (decision,) = heard.decisions()[-1:]
    shown = decision.chosen[0].scored.product
    apply(heard, RecordContact(visitor=phone.id, contact=MAIL))
    apply(heard, RecordContact(visitor=phone.id, contact=MAIL.with_outcome("tapped", None)))
    heard.take(feedback("screen.shown", 1, decision.id))
    heard.take(feedback("screen.tapped", 2, decision.id, product=shown))
    heard.pass_s(30)
    heard.take(entered("checkout", 20), till("basket.opened", 21), sale(25, shown))
    settled(heard, kind)
    first, second = heard.state.contacts_of(phone.id, since_ms=at(-600))[:2]
    assert first == MAIL.with_outcome("tapped", None)
    assert (second.id, second.channel) == (decision.id, "screen")
    assert second.products == tuple(each.scored.product for each in decision.chosen)
    assert second.outcomes == {("shown", None), ("tapped", shown), ("bought", shown)}
    assert second.answer_to(shown) == "bought"
    assert second.answer_to(ProductId("d5")) == "ignored"
    assert second in heard.state.contacts_of(phone.id, since_ms=decision.decided_at_ms)
    assert first not in heard.state.contacts_of(phone.id, since_ms=at(-599))


@pytest.mark.parametrize("is_asked_before", [False, True])
def test_what_a_control_group_missed_is_known_beside_what_it_was_shown(
    heard: World, kind: str, *, is_asked_before: bool
) -> None:
    """It was not told of the campaign, and is counted as often as if."""
    missed = campaign("c1", "k3", value=9.0, control_share=1.0)
    heard.rules = Rules(version="r1", digest="d1", campaigns=(missed,))
    heard.take(entered("dairy", -600))
    phone = heard.visitor("ble", PHONE)
    assert phone is not None
    if is_asked_before:
        heard.state.contacts_of(phone.id, since_ms=at(-3_600))
    (decision,) = heard.decisions(heard.take(entered("bakery", 0)))
    settled(heard, kind)
    contact = heard.state.contacts_of(phone.id, since_ms=at(-3_600))[-1]
    assert (contact.id, contact.campaigns, contact.missed) == (decision.id, (), ("c1",))
    assert contact.products == tuple(each.scored.product for each in decision.chosen)
    assert contact.says_something


@pytest.mark.parametrize("is_asked_before", [False, True])
def test_what_a_basket_was_answered_is_known_of_whose_card_was_read_with_it(
    heard: World, kind: str, *, is_asked_before: bool
) -> None:
    """Nobody was sensed with it; the request named the basket alone."""
    heard.take(granted(0), till("basket.opened", 1), scanned_card(2))
    card = heard.visitor("loyalty", CARD)
    assert card is not None
    if is_asked_before:
        heard.state.contacts_of(card.id, since_ms=0)
    (decision,) = heard.decisions(heard.ask(request(basket="b1")))
    settled(heard, kind)
    assert [each.id for each in heard.state.contacts_of(card.id, since_ms=0)] == [decision.id]


@pytest.mark.parametrize("is_asked_before", [False, True])
def test_what_several_were_told_at_once_is_each_ones_contact(
    heard: World, kind: str, *, is_asked_before: bool
) -> None:
    """It stays when a consent goes; what came of it is nobody's in particular."""
    other = "AC:23:3F:A0:11:33"
    heard.take(granted(-60), entered("dairy", 0), entered("dairy", 1, who=other))
    people = [heard.visitor("ble", PHONE), heard.visitor("ble", other)]
    card = heard.visitor("loyalty", CARD)
    ids = [each.id for each in (*people, card) if each is not None]
    shared = Contact(
        id="01TOGETHER",
        at_ms=at(2),
        channel="screen",
        campaigns=MAIL.campaigns,
        missed=(CampaignId("c9"),),
    )
    for visitor in ids:
        apply(heard, RecordContact(visitor=visitor, contact=shared))
        if is_asked_before:
            heard.state.contacts_of(visitor, since_ms=0)
    apply(heard, RecordContact(visitor=ids[-1], contact=MAIL))
    heard = settled(heard, kind)
    heard.take(feedback("screen.tapped", 3, DecisionId("01TOGETHER")), withdrawn(4))
    for is_settled in (False, True):
        state = (settled(heard, kind) if is_settled else heard).state
        for visitor in ids:
            found = [each for each in state.contacts_of(visitor, since_ms=0) if each.is_shared]
            assert found == [shared]
        assert MAIL not in state.contacts_of(ids[-1], since_ms=0)


def purge_said(heard: World, *, days: int) -> None:
    """Lets days pass in the cellar: a day's decisions are kept, and what caps count."""
    capped = [each.id for each in heard.rules.campaigns if each.per_visitor is not None]
    heard.now_ms += days * DAY_MS
    if not isinstance(heard, DiskWorld):
        heard.memory.purge_contacts(heard.now_ms - DAY_MS, capped=capped)
        return
    heard.unit.commit()
    periods = Retention(decisions_days=1)
    while purge(heard.connection, periods, now_ms=heard.now_ms, campaigns=heard.rules.campaigns):
        pass
    heard.store.reload()


@pytest.mark.parametrize("is_asked_before", [False, True])
def test_what_caps_of_a_campaign_count_outlasts_the_decisions(
    heard: World, kind: str, *, is_asked_before: bool
) -> None:
    """What a basket said counts to its card, and mails do; where there is no limit all is gone."""
    capped, free = (
        campaign("18", "k3", value=99.0, per_visitor=9, ends_at_ms=LATER),
        campaign("20", "k4"),
    )
    heard.rules = Rules(version="r1", digest="d1", campaigns=(capped, free))
    heard.take(granted(0), till("basket.opened", 1, basket="b1"), scanned_card(2, basket="b1"))
    found = heard.take(till("basket.item_added", 3, product="d0", basket="b1"))
    (decision,) = heard.decisions(found)
    assert decision.campaigns == (capped.id,)
    card = heard.visitor("loyalty", CARD)
    assert card is not None
    both = (free.id, capped.id)
    shared = Contact(id="01TOGETHER", at_ms=at(9), channel="screen", campaigns=both)
    missed = replace(shared, id="03TOGETHER", campaigns=(), missed=both)
    for each in (MAIL, shared, replace(shared, id="02TOGETHER", campaigns=(free.id,)), missed):
        apply(heard, RecordContact(visitor=card.id, contact=each))
    if is_asked_before:
        heard.state.contacts_of(card.id, since_ms=0)
    purge_said(heard, days=3)
    later = settled(heard, kind).state.contacts_of(card.id, since_ms=0)
    bare = replace(shared, channel="", campaigns=(capped.id,))
    assert later == (
        replace(bare, id=MAIL.id, at_ms=MAIL.at_ms),
        replace(bare, id=decision.id, at_ms=decision.decided_at_ms),
        bare,
        replace(bare, id=missed.id, campaigns=(), missed=(capped.id,)),
    )
    assert [each.is_shared for each in later] == [False, False, True, True]
    assert all(each.is_faded for each in later)
    assert later[1:] == heard.state.contacts_of(card.id, since_ms=decision.decided_at_ms)
    heard.take(withdrawn(4 * DAY_MS / SECOND_MS))
    for is_settled in (False, True):
        state = (settled(heard, kind) if is_settled else heard).state
        assert state.contacts_of(card.id, since_ms=0) == later[1:]


def test_a_mistaken_link_does_not_count_once_the_visitor_is_gone(tmp_path: Path) -> None:
    """What a telephone was told that is somebody else's stays none of the card's, years later."""
    heard = DiskWorld(tmp_path / "state.db", world())
    heard.rules = Rules(
        version="r1",
        digest="d1",
        campaigns=(campaign("18", "k3", value=99.0, per_visitor=9, ends_at_ms=LATER),),
    )
    heard.take(granted(0))
    for n, who in enumerate((PHONE, "AC:23:3F:A0:11:33")):
        heard.take(till("basket.opened", n, basket=f"b{n}", visitor=ref("ble", who)))
        line = till("basket.item_added", n + 9, basket=f"b{n}", product="d0")
        heard.take(scanned_card(n, basket=f"b{n}"), line)
    card = heard.visitor("loyalty", CARD)
    assert card is not None
    assert len(heard.state.contacts_of(card.id, since_ms=0)) == 2
    heard.unlink("ble", PHONE)
    heard.unit.commit()
    query = f"SELECT {', '.join(COLUMNS)} FROM decision WHERE member IS NOT NULL ORDER BY id"  # noqa: S608 - names of ours
    written = heard.connection.execute(query).fetchall()
    purge(heard.connection, Retention(visits_days=1), now_ms=heard.now_ms + 2 * DAY_MS)
    assert heard.connection.execute(query).fetchall() == written
    for days, periods in ((0, Retention(visits_days=1)), (3, Retention(decisions_days=1))):
        heard.now_ms += (days or 2) * DAY_MS
        while purge(
            heard.connection, periods, now_ms=heard.now_ms, campaigns=heard.rules.campaigns
        ):
            pass
    heard.store.reload()
    (left_over,) = heard.state.contacts_of(card.id, since_ms=0)
    assert (left_over.whose, left_over.campaigns) == (card.id, ("18",))
    heard.connection.close()


@pytest.mark.parametrize("is_asked_before", [False, True])
def test_what_hq_told_goes_with_the_consent(
    heard: World, kind: str, *, is_asked_before: bool
) -> None:
    """Whether it was committed before or not; what is told after a new consent is kept."""
    heard.take(granted(-60))
    card = heard.visitor("loyalty", CARD)
    assert card is not None
    apply(heard, RecordContact(visitor=card.id, contact=MAIL))
    settled(heard, kind)
    if is_asked_before:
        assert heard.state.contacts_of(card.id, since_ms=0) == (MAIL,)
    heard.take(withdrawn(-30))
    assert heard.state.contacts_of(card.id, since_ms=0) == ()
    settled(heard, kind)
    assert heard.state.contacts_of(card.id, since_ms=0) == ()
    heard.take(withdrawn(-20), granted(-10))
    later = replace(MAIL, id="hq/8")
    apply(heard, RecordContact(visitor=card.id, contact=later))
    settled(heard, kind)
    assert heard.state.contacts_of(card.id, since_ms=0) == (later,)


def test_an_age_comes_back_with_its_product(heard: World, kind: str) -> None:
    """A start does not forget from which age something may be sold."""
    rows = [{"product": "w1", "title": "Wine", "minimum_age": 18}]
    heard.command(command("catalogue", {"rows": rows}))
    known = settled(heard, kind)
    kept = known.store.goods if isinstance(known, DiskWorld) else known.memory
    assert kept.products[ProductId("w1")].minimum_age == 18


def test_a_campaigns_uses_are_counted_by_day(heard: World, kind: str) -> None:
    """What budgets rest on survives a start, and another campaign's uses are its own."""
    for name, day, given, redeemed in (
        ("18", "2017-12-01", 1, 0),
        ("18", "2017-12-02", 1, 0),
        ("18", "2017-12-02", 2, 1),
        ("19", "2017-12-02", 1, 1),
    ):
        use = CountCampaign(campaign=CampaignId(name), day=day, given=given, redeemed=redeemed)
        apply(heard, use)
    uses = settled(heard, kind).state.campaign_uses(CampaignId("18"))
    assert (uses.given, uses.redeemed) == (4, 1)
    assert (uses.given_on("2017-12-02"), uses.redeemed_on("2017-12-02")) == (3, 1)
    assert uses.given_on("2017-12-03") == 0
    assert heard.state.campaign_uses(CampaignId("20")).given == 0


def test_hqs_campaigns_come_back(heard: World, kind: str) -> None:
    """The newest section of a name holds; who asks sees by the mapping that one changed."""
    for name, section, ends_s in (("c1", "{}", 50), ("c2", '{"a":1}', 99), ("c2", '{"a":2}', 99)):
        campaign = SetCampaign(
            campaign=CampaignId(name), section=section, ends_at_ms=at(ends_s), at_ms=at(0)
        )
        apply(heard, campaign)
    settled(heard, kind)
    before = heard.state.hq_campaigns()
    assert before == {"c1": "{}", "c2": '{"a":2}'}
    apply(heard, SetCampaign(campaign=CampaignId("c3"), section="{}", ends_at_ms=0, at_ms=at(50)))
    settled(heard, kind)
    assert heard.state.hq_campaigns() == {"c2": '{"a":2}'}
    assert heard.state.hq_campaigns() is not before


def test_plans_of_promotions_come_back(heard: World, kind: str) -> None:
    """Each as it was told, oldest first, also after a newer one of the same week."""
    plans = tuple(
        PromotionPlan(
            number=FIRST_PLAN + n,
            from_day="2017-11-27",
            until_day="2017-12-04",
            displayed=frozenset({ProductId("d0"), ProductId(f"d{n}")}),
            mailed=frozenset({ProductId("k0")}) if n else frozenset(),
        )
        for n in range(2)
    )
    for each in plans:
        apply(heard, AddPlan(plan=each))
    settled(heard, kind)
    assert heard.state.plans() == plans


def test_an_offer_is_redeemed_once_and_stays_so(heard: World, kind: str) -> None:
    """The first redemption holds, within a batch and after a start; given again it is the same."""
    heard.take(entered("entrance", 0))
    phone = heard.visitor("ble", PHONE)
    assert phone is not None
    offer = Offer(
        mark="m1",
        campaign=CampaignId("18"),
        products=(ProductId("d0"), ProductId("d1")),
        given_at_ms=at(0),
        valid_until_ms=at(600),
        decision=DecisionId("d-1"),
        visitor=phone.id,
    )
    first = Redemption(at_ms=at(5), by="pos-1/1", basket=BasketId("b1"))
    apply(heard, GiveOffer(offer=offer))
    settled(heard, kind)
    assert heard.state.offer("m1") == offer
    assert heard.state.offers_of(phone.id) == (offer,)
    apply(heard, RedeemOffer(mark="m1", redemption=first))
    apply(heard, RedeemOffer(mark="m1", redemption=replace(first, by="pos-2/2")))
    settled(heard, kind)
    apply(heard, RedeemOffer(mark="m1", redemption=replace(first, by="pos-3/3")))
    apply(heard, GiveOffer(offer=offer))
    settled(heard, kind)
    used = replace(offer, redeemed=first)
    assert heard.state.offer("m1") == used
    assert heard.state.offers_of(phone.id) == (used,)
    assert heard.state.offer("m2") is None


def test_a_decision_leads_to_whom_it_counts_to(heard: World, kind: str) -> None:
    """Within a batch and after a start: its visitor, and the card holder of his basket."""
    heard.take(granted(0), till("basket.opened", 1, basket="b1"), scanned_card(2, basket="b1"))
    found = heard.take(till("basket.item_added", 3, product="d0", basket="b1"))
    decision = heard.decisions(found)[-1]
    card = heard.visitor("loyalty", CARD)
    assert card is not None
    assert decision.moment.visitor not in {None, card.id}
    people = tuple(sorted((decision.moment.visitor, card.id)))
    assert heard.state.told_by(decision.id) == people
    settled(heard, kind)
    assert heard.state.told_by(decision.id) == people
    assert heard.state.told_by(DecisionId("d-0")) == ()


def tried_before(state: Any, day: str) -> dict[str, tuple[int, int]]:
    """Returns what was tried in the four weeks before a store-local day."""
    begins_ms = local_day_start_ms(day, NEW_YORK)
    return dict(state.tried(day, begins_ms=begins_ms, window_days=28))


def test_what_was_tried_is_counted_until_the_day_before(heard: World, kind: str) -> None:
    """Showings in the first place, each answered once at most, and nothing of the day itself."""
    heard.rules = Rules(version="r1", digest="d1", exploration=Exploration(share=0.5))
    decisions = heard.decisions(heard.take(entered("dairy")))
    first = decisions[-1].chosen[0].scored.product
    tapped = feedback("screen.tapped", 5, decisions[-1].id, product=first)
    heard.take(tapped, sale(60, first, visitor=ref()))
    if isinstance(heard, DiskWorld):
        heard.unit.commit()
    state = settled(heard, kind).state
    today, tomorrow = "2017-12-02", "2017-12-03"
    assert decisions[-1].tried == f"{today} {first}"
    assert tried_before(state, today) == {}
    assert tried_before(state, tomorrow) == {first: (1, 1)}
    assert tried_before(state, "2017-12-30") == {first: (1, 1)}
    assert tried_before(state, "2017-12-31") == {}


def test_an_answer_of_a_day_counts_from_the_next_day_on(heard: World, kind: str) -> None:
    """Whoever starts in the midst of a day knows what was known at its beginning."""
    heard.rules = Rules(version="r1", digest="d1", exploration=Exploration(share=0.5))
    decision = heard.decisions(heard.take(entered("dairy")))[-1]
    first = decision.chosen[0].scored.product
    next_day = DAY_MS // SECOND_MS
    heard.now_ms = T0 + DAY_MS
    heard.take(feedback("screen.tapped", next_day, decision.id, product=first))
    if isinstance(heard, DiskWorld):
        heard.unit.commit()
    state = settled(heard, kind).state
    assert tried_before(state, "2017-12-03") == {first: (1, 0)}
    assert tried_before(state, "2017-12-04") == {first: (1, 1)}


@pytest.mark.parametrize("way", ["asked", "told its code", "told its decision", "no limit"])
def test_a_redeemed_offer_is_an_answer_to_what_it_offered(
    heard: World, kind: str, way: str
) -> None:
    """To each product of its campaign in that decision, once, and to nothing that stood beside."""
    limit = None if way == "no limit" else 600
    offer = campaign("c1", "d4", "d5", value=1_000.0, redeem_within_s=limit, text="A third off")
    exploring = Exploration(share=0.001)
    heard.rules = Rules(version="r1", digest="d1", exploration=exploring, campaigns=(offer,))
    found = heard.take(entered("dairy"))
    decision = heard.decisions(found)[-1]
    first, second, beside = (each.scored.product for each in decision.chosen)
    assert {first, second} == offer.products
    assert decision.tried == f"2017-12-02 {first} c1"
    if way != "told its code":
        # Not of the batch any more, where the state is on the disk.
        settled(heard, kind)
    redeem(heard, way, said=code_in(heard, found), decision=decision.id)
    if isinstance(heard, DiskWorld):
        heard.unit.commit()
    state = settled(heard, kind).state
    assert tried_before(state, "2017-12-03") == {f"{first} c1": (1, 1)}
    phone = heard.visitor("ble", PHONE)
    assert phone is not None
    (contact,) = state.contacts_of(phone.id, since_ms=0)
    answers = [contact.answer_to(each) for each in (first, second, beside)]
    assert answers == ["redeemed", "redeemed", "ignored"]
    heard.take(sale(60, first, visitor=ref()))
    if isinstance(heard, DiskWorld):
        heard.unit.commit()
    again = tried_before(settled(heard, kind).state, "2017-12-04")
    assert again == {f"{first} c1": (1, 1)}


def test_nothing_is_counted_as_tried_where_nothing_explores(heard: World, kind: str) -> None:
    """A store without a share spares the writing."""
    (decision,) = heard.decisions(heard.take(entered("dairy")))
    if isinstance(heard, DiskWorld):
        heard.unit.commit()
    assert decision.tried is None
    assert tried_before(settled(heard, kind).state, "2017-12-03") == {}


def code_in(heard: World, found: Iterable[Effect]) -> str | None:
    """Returns the code that a message says of its first item."""
    bodies = [json.loads(each.payload) for each in heard.published(found)]
    (item, *_) = next(each["items"] for each in bodies if each.get("items"))
    code: str | None = item["offer"].get("code")
    return code


def redeem(heard: World, way: str, *, said: str | None, decision: str) -> None:
    """Has a till redeem an offer: it asks, or tells of it by its code or its decision."""
    if way == "asked":
        asking = {"source": "pos-1", "id": "r1", "action": "redeem", "code": said}
        assert heard.ask_about(OfferRequest.model_validate(asking)).outcome == "good"
        return
    named = {"code": said} if way == "told its code" else {"decision": decision}
    told = event("offer.redeemed", 30, source="pos-1", campaign="c1", **named)
    heard.take(told, replace_id(told))


def replace_id(told: Event) -> Event:
    """Returns the same word under another id."""
    return told.model_copy(update={"id": f"{told.id}-again"})


def feedback(kind: str, seconds: float, decision: str, **data: Any) -> Event:
    """Returns what a screen says became of a decision."""
    return event(kind, seconds, source="dairy-1", screen="dairy-1", decision=decision, **data)


def apply(heard: World, effect: Effect) -> None:
    """Carries out one effect, as a step that led to it alone."""
    heard._apply(Step((), (effect,)))


def told_in(heard: World, visit: Visit) -> int:
    """Returns how much is counted against a visit's cap."""
    counted: int = heard.state.n_decisions(visit.id, visit.visitor, since_ms=visit.started_at_ms)
    return counted


def test_what_is_past_its_period_goes_and_the_rest_stays(tmp_path: Path) -> None:
    """Retention empties each table in its time; an open complaint outlives the visitor's."""
    heard = DiskWorld(tmp_path / "state.db", world())
    heard.take(granted(-60), entered("dairy", 0), presence("visit.ended", 5), sale(9, "d0"))
    heard.take(complained(10, who=ref("loyalty", "6400000000002")))
    heard.unit.commit()
    heard.pass_s(4_000)
    heard.unit.commit()
    tables = (
        "visit",
        "zone_stay",
        "decision",
        "basket",
        "sale",
        "sale_line",
        "visitor",
        "consent",
    )
    left_over = {}
    for days in (0, 31, 91, 401):
        for _ in range(3):
            purge(heard.connection, Retention(), now_ms=T0 + days * DAY_MS)
        left_over[days] = {name for name in tables if _n_rows(heard, name)}
    assert left_over[0] == set(tables)
    assert left_over[31].isdisjoint({"zone_stay", "decision"})
    assert {"basket", "sale", "sale_line"} <= left_over[31]
    assert left_over[91].isdisjoint({"basket", "sale", "sale_line"})
    assert left_over[401] == {"visitor"}
    assert _n_rows(heard, "complaint") == 1
    heard.connection.close()


def _n_rows(heard: DiskWorld, table: str) -> int:
    row = heard.connection.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608 - names of ours
    return int(row[0])
