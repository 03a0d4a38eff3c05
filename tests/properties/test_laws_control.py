"""Laws of control groups: one unit for each carrier, one arm for each unit, nothing in control."""

from __future__ import annotations

import shutil
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.decide.control import PERSON, SLOT, arm_of
from edge_agent.domain.decisions import CONTROL, Decision
from edge_agent.domain.ids import CampaignId, ProductId
from edge_agent.domain.rules import Campaign, Rules
from edge_agent.domain.time import DAY_MS
from edge_agent.wire.events import Event
from edge_agent.wire.screens import RecommendRequest
from tests.factories import (
    CARD,
    T0,
    entered,
    granted,
    left,
    lifted,
    presence,
    ref,
    request,
    sale,
    scanned_card,
    till,
    world,
)
from tests.fakes import World
from tests.properties.test_laws_state_store import DiskWorld

PHONES = ("AC:23:3F:A0:11:22", "AC:23:3F:A0:11:33", "AC:23:3F:A0:11:44")
ZONES = ("dairy", "bakery", "checkout")
SLOT_S = 120


def tried(name: str, *products: str, share: float) -> Campaign:
    """Returns a campaign of these days with a control group."""
    return Campaign(
        id=CampaignId(name),
        kind="offer" if products else "service",
        starts_at_ms=T0 - DAY_MS,
        ends_at_ms=T0 + DAY_MS,
        products=frozenset(ProductId(each) for each in products),
        text=name,
        control_share=share,
    )


RULES = Rules(
    version="trial",
    slot_s=SLOT_S,
    campaigns=(tried("milk", "d0", "d1", share=0.5), tried("bags", share=0.3)),
)


# A kiosk that is asked by card, and a till that asks by a basket.
ASKED: tuple[dict[str, Any], ...] = (
    {"visitor": ref("loyalty", CARD)},
    {"basket": "b1"},
    {"basket": "own"},
)
asking = st.sampled_from(ASKED).map(lambda fields: lambda _: request(**fields))


def happenings() -> st.SearchStrategy[Any]:
    """One thing that happens to one of three people, at a second that it is told."""
    who = st.sampled_from(PHONES)
    return st.one_of(
        st.builds(lambda z, w: lambda s: entered(z, s, who=w), st.sampled_from(ZONES), who),
        st.builds(lambda z, w: lambda s: left(z, s, who=w), st.sampled_from(ZONES), who),
        st.builds(lambda w: lambda s: lifted("d2", s, who=w), who),
        st.builds(lambda w: lambda s: presence("visit.ended", s, who=w), who),
        st.builds(lambda w: lambda s: till("basket.opened", s, visitor=ref("ble", w)), who),
        st.just(lambda s: till("basket.item_added", s, product="d2")),
        st.just(lambda s: till("basket.opened", s, basket="own", visitor=ref("loyalty", CARD))),
        st.just(lambda s: till("basket.item_added", s, basket="own", product="d2")),
        st.just(scanned_card),
        st.just(granted),
        st.just(lambda s: sale(s, "d0")),
        asking,
    )


# Seconds to the next one, how late it is told, and whether the agent starts anew before it.
stories = st.lists(
    st.tuples(
        happenings(), st.integers(1, 200), st.sampled_from((0, 0, 0, 40, 900)), st.booleans()
    ),
    min_size=3,
    max_size=25,
)


def told(story: list[tuple[Any, int, int, bool]], heard: World) -> list[Decision]:
    """Tells a story to a store and returns what was decided."""
    heard.rules = RULES
    found: list[Decision] = []
    after_s = 0
    heard.take(granted(-60))
    for happening, gap_s, late_s, starts_anew in story:
        after_s += gap_s
        heard.tick(T0 + after_s * 1_000)
        if starts_anew and isinstance(heard, DiskWorld):
            heard.unit.commit()
            heard.connection.close()
            heard.connect(heard.layout, heard)
        found += happened(heard, happening(after_s - late_s), after_s)
    return found


def happened(heard: World, what: Event | RecommendRequest, after_s: int) -> list[Decision]:
    """Takes an event or a request in and returns what was decided."""
    if isinstance(what, RecommendRequest):
        return heard.decisions(heard.ask(what, cause=f"ask-{after_s}"))
    return heard.decisions(heard.take(what))


def drawn(found: list[Decision]) -> list[Decision]:
    """Returns the decisions for somebody that drew arms."""
    return [each for each in found if each.assignments and each.moment.visitor is not None]


@given(stories)
def test_a_carriers_unit_never_changes(story: list[tuple[Any, int, int, bool]]) -> None:
    """Whatever is told, late or not, known or not, started anew or not: its first unit holds."""
    folder = Path(tempfile.mkdtemp(prefix="edge-agent-law-"))
    heard = DiskWorld(folder / "state.db", world())
    try:
        units = defaultdict(set)
        for each in drawn(told(story, heard)):
            units[each.exposed].add(each.unit)
        assert all(len(his) == 1 for his in units.values())
    finally:
        heard.connection.close()
        shutil.rmtree(folder)


visits = st.lists(
    st.tuples(
        st.one_of(
            st.sampled_from(
                (
                    lambda s: entered("dairy", s),
                    lambda s: entered("bakery", s),
                    lambda s: lifted("d2", s),
                    lambda s: till("basket.opened", s, visitor=ref()),
                    lambda s: till("basket.item_added", s, product="d2"),
                    lambda s: sale(s, "d0"),
                    scanned_card,
                )
            ),
            asking,
        ),
        st.integers(1, 200),
    ),
    max_size=12,
)


@given(story=visits, holds_another=st.booleans())
def test_turning_out_to_be_somebody_known_changes_no_arm_of_a_visit(
    story: list[tuple[Any, int]], *, holds_another: bool
) -> None:
    """Of one phone and one card, whichever asks: from the phone's first unit on it is that one.

    So it is where the card holder has been in a unit of his own since another day.
    """
    heard = world()
    heard.rules = RULES
    heard.take(granted(-60))
    if holds_another:
        heard.ask(request(visitor=ref("loyalty", CARD)), cause="before")
    heard.take(entered("dairy", 0), till("basket.opened", 1, visitor=ref()))
    heard.take(scanned_card(2))
    phone, card = heard.visitor("ble", PHONES[0]), heard.visitor("loyalty", CARD)
    assert phone is not None
    assert card is not None
    first = heard.state.unit_of(phone.id)
    assert first is not None
    own = heard.state.unit_of(card.id)
    assert own != first if holds_another else own is None
    after_s = 2
    for happening, gap_s in story:
        after_s += gap_s
        heard.tick(T0 + after_s * 1_000)
        for each in drawn(happened(heard, happening(after_s), after_s)):
            visit = heard.state.visit_of(phone.id)
            is_here = visit is not None and visit.is_open
            if each.moment.visitor == phone.id or (each.moment.member == card.id and is_here):
                assert each.unit == first
    assert heard.state.unit_of(phone.id) == first


@given(stories)
def test_an_arm_follows_from_unit_and_campaign_alone(
    story: list[tuple[Any, int, int, bool]],
) -> None:
    """Every decision of a unit is in the same arm of a campaign, and of it alone."""
    for each in drawn(told(story, world())):
        assert each.unit is not None
        assert each.unit[0] in {PERSON, SLOT}
        for one in each.assignments:
            assert one.arm == arm_of(each.unit, one.campaign, share=one.share)


@given(stories)
def test_control_is_left_without_and_may_be_decided_for(
    story: list[tuple[Any, int, int, bool]],
) -> None:
    """What is withheld from a unit is not among what is said to it, in offers or in words."""
    for each in told(story, world()):
        withheld = {one.campaign for one in each.assignments if one.arm == CONTROL}
        said = {c.campaign.id for c in each.chosen if c.campaign is not None}
        if each.notice is not None:
            said.add(each.notice.campaign.id)
        assert not withheld & (said | set(each.campaigns))


def test_such_days_hold_what_the_laws_are_about() -> None:
    """Both kinds of unit and both arms occur, so that the laws are not about nothing."""
    heard = world()
    story: list[tuple[Any, int, int, bool]] = []
    for number in range(12):
        phone = PHONES[number % 3]
        story += [
            (lambda s, w=phone, z=ZONES[number % 2]: entered(z, s, who=w), 150, 0, False),
            (lambda s, w=phone: presence("visit.ended", s, who=w), 5, 0, False),
        ]
    card = ref("loyalty", CARD)
    story += [
        (lambda s: till("basket.opened", s, basket="own", visitor=card), 30, 0, False),
        (lambda s: till("basket.item_added", s, basket="own", product="d2"), 5, 0, False),
    ]
    found = drawn(told(story, heard))
    assert {each.unit[0] for each in found if each.unit} == {PERSON, SLOT}
    assert len({(one.campaign, one.arm) for each in found for one in each.assignments}) >= 3
