"""Campaigns as candidates: which are for this moment, and what keeps the others out.

The gates, in their order; each campaign that one of them keeps out is recorded with it:

1. window: it has not begun, or is over
2. channel: it is not said there
3. when: its condition does not hold
4. rule: a rule that holds forbids it
5. age: it is only for people known to be of an age, and never before others' eyes
6. cooldown: the last offer to him is too near
   budget, per_day, per_visitor: it was said as often as it may be
7. products: none of its products can be offered here
8. control: this is its control group, which is left without it; where it would have been said,
   the store's default stands in its place, or the next best (`Rules.control_gets`). No other
   campaign stands beside that default

1 to 5 follow from the moment alone (`opened`); what 6 rests on is gathered only of those that are
left (`within_caps`). The control group comes last (`withheld`): arms are drawn alike for all to
whom it could have been said.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from edge_agent.decide.pressure import cap_of, is_cooling
from edge_agent.domain.decisions import CONTROL
from edge_agent.domain.identity import once_each

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Iterable

    from edge_agent.decide.known import Known
    from edge_agent.decide.rule_book import RuleBook, Saying
    from edge_agent.domain.decisions import Assignment, Moment
    from edge_agent.domain.ids import CampaignId
    from edge_agent.domain.rules import Campaign, Caps

_KEPT_REFUSALS: Final = 4_096
_KEPT_OPENINGS: Final = 512
_KEPT_LIMITED: Final = 512
_WITHOUT: Final = "this is its control group"
_INSTEAD: Final = "this is its control group, which gets the store's default"


@dataclass(frozen=True, slots=True)
class Shut:
    """A campaign that is kept out: by which gate, why."""

    campaign: CampaignId
    gate: str
    reason: str


def opened(
    book: RuleBook, saying: Saying, moment: Moment, known: Known, *, now_ms: int
) -> tuple[tuple[Campaign, ...], tuple[Shut, ...]]:
    """Returns the campaigns that are for a moment, and those that are not with the reason."""
    meant, turn_ms = book.meant(known.facts), book.turn_before(now_ms)
    return _opened(book, meant, saying, moment.place.channel, known.age, turn_ms)


# What keeps them out changes some times an hour, and hundreds of moments come between.
@lru_cache(maxsize=_KEPT_OPENINGS)
def _opened(
    book: RuleBook,
    meant: frozenset[CampaignId],
    saying: Saying,
    channel: str,
    age: int | None,
    now_ms: int,
) -> tuple[tuple[Campaign, ...], tuple[Shut, ...]]:
    kept: list[Campaign] = []
    shut: list[Shut] = []
    for each in book.campaigns:
        found = _closed(each, each.id in meant, saying, channel, age, now_ms=now_ms)
        if found is None:
            kept.append(each)
        else:
            shut.append(_shut(each.id, *found))
    return tuple(kept), tuple(shut)


def within_caps(
    campaigns: tuple[Campaign, ...], known: Known, caps: Caps, *, now_ms: int
) -> tuple[tuple[Campaign, ...], tuple[Shut, ...]]:
    """Returns the campaigns that no cap keeps out, and the others."""
    may_be_shut = campaigns if is_cooling(known, caps, now_ms=now_ms) else limited_of(campaigns)
    reached = {each.id: cap_of(each, known, caps, now_ms=now_ms) for each in may_be_shut}
    shut = tuple(_shut(name, *found) for name, found in reached.items() if found is not None)
    if not shut:
        return campaigns, ()
    return tuple(each for each in campaigns if reached.get(each.id) is None), shut


@once_each(_KEPT_LIMITED)
def limited_of(campaigns: tuple[Campaign, ...]) -> tuple[Campaign, ...]:
    """Returns those of some campaigns that may be said so often only."""
    return tuple(
        each
        for each in campaigns
        if (each.budget, each.per_day, each.per_visitor) != (None, None, None)
    )


def without_products(campaigns: Iterable[Campaign]) -> tuple[Shut, ...]:
    """Returns offers none of whose products can be offered, as kept out."""
    reason = "none of its products can be offered here"
    return tuple(_shut(each.id, "products", reason) for each in campaigns)


def withheld(assignments: Iterable[Assignment], missed: Container[CampaignId]) -> tuple[Shut, ...]:
    """Returns the campaigns whose control group this is, as kept out.

    Args:
        assignments: The arms that were drawn.
        missed: Those of them in whose place stands the store's default.
    """
    return tuple(
        _shut(each.campaign, "control", _INSTEAD if each.campaign in missed else _WITHOUT)
        for each in assignments
        if each.arm == CONTROL
    )


def beside_default(
    campaigns: Iterable[Campaign], missed: Collection[CampaignId]
) -> tuple[Shut, ...]:
    """Returns campaigns that are not said because the store's default stands, as kept out.

    Args:
        campaigns: Those that would have competed.
        missed: In whose place it stands; empty where it does not stand, and nothing is kept out.
    """
    if not missed:
        return ()
    reason = f"the store's default stands in place of {', '.join(sorted(missed))}"
    return tuple(_shut(each.id, "control", reason) for each in campaigns)


def _closed(
    campaign: Campaign,
    is_meant: bool,  # noqa: FBT001 - one of a row of gates
    saying: Saying,
    channel: str,
    age: int | None,
    *,
    now_ms: int,
) -> tuple[str, str] | None:
    if not campaign.starts_at_ms <= now_ms < campaign.ends_at_ms:
        return "window", "not begun" if now_ms < campaign.starts_at_ms else "over"
    if channel not in campaign.channels:
        return "channel", f"it is not said on {channel}"
    if not is_meant:
        return "when", "its condition does not hold"
    if not saying.forbids_nothing:
        forbidden = saying.of(None, campaign=campaign.id).forbidden
        if forbidden is not None:
            return "rule", forbidden
    return age_gate(campaign.minimum_age, age) if campaign.minimum_age > 0 else None


def age_gate(minimum_age: int, age: int | None) -> tuple[str, str] | None:
    """Returns why something that has a least age may not be said; None when it may."""
    if minimum_age <= 0 or (age is not None and age >= minimum_age):
        return None
    return "age", f"only for people known to be {minimum_age} or over"


# The same campaign is kept out for the same reason thousands of times a day.
@lru_cache(maxsize=_KEPT_REFUSALS)
def _shut(campaign: CampaignId, gate: str, reason: str) -> Shut:
    return Shut(campaign, gate, reason)
