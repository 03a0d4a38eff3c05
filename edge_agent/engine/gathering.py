"""What a decision rests on beside its moment, read from the state: `decide.known.Known`.

Only what the rules ask of is read. All of it goes into the decision's record.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from itertools import chain
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from edge_agent.decide import ladder
from edge_agent.decide.campaigns import limited_of
from edge_agent.decide.control import unit_of
from edge_agent.decide.eligibility import may_use_history
from edge_agent.decide.facts import facts_of, visible_sources
from edge_agent.decide.known import Known, Uses, age_of
from edge_agent.decide.pressure import (
    ignored_often,
    last_gated_ms,
    last_missed_ms,
    texts_ignored_often,
)
from edge_agent.decide.rule_book import book_of
from edge_agent.decide.under_rules import outlook_of
from edge_agent.domain.contacts import channels_answered
from edge_agent.domain.decisions import heeded_by
from edge_agent.domain.time import DAY_MS, HOUR_MS, SECOND_MS, datetime_from_ms, local_day_start_ms
from edge_agent.engine import goods, persons
from edge_agent.identify.consent import PROFILING, has_consent, may_use, refuses, refuses_in
from edge_agent.state.stages import stage_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import tzinfo

    from edge_agent.decide.facts import Sources
    from edge_agent.domain.contacts import Contact
    from edge_agent.domain.decisions import Decision, Moment
    from edge_agent.domain.ids import CampaignId, ProductId, UnitId, VisitorId, ZoneId
    from edge_agent.domain.rules import Campaign
    from edge_agent.domain.visitor import Visitor
    from edge_agent.engine.draft import Draft

    # What was said to each of those whom a moment is about, oldest first.
    Told = tuple[tuple[Contact, ...], ...]

# A sensor that has said nothing for so long says nothing of now.
LEVEL_MS: Final = HOUR_MS // 4
MINUTES_PER_HOUR: Final = 60
REMEMBERED_MS: Final = 28 * DAY_MS
"""How far back it counts what somebody left aside or took up: four weeks' shopping."""
_KEPT_DAYS: Final = 8
NOTHING_TRIED: Final[Mapping[str, tuple[int, int]]] = MappingProxyType({})


def usable_member(draft: Draft, moment: Moment) -> Visitor | None:
    """Returns the person behind a moment whose history may be used there; None for nobody."""
    member = draft.visitor(moment.member)
    if member is None:
        return None
    now_ms = draft.context.now_ms
    purpose, place = "personal_recommendations", moment.place.said_of
    if not may_use(member, purpose, place, now_ms=now_ms):
        return None
    visitor = draft.visitor(moment.visitor)
    # The stricter of both: his phone's no is his no.
    if visitor is not None and (
        refuses_in(visitor, purpose, place, now_ms=now_ms)
        or refuses(visitor, PROFILING, now_ms=now_ms)
    ):
        return None
    # It was remembered under another purpose, which may have expired since.
    return member if has_consent(member, PROFILING, now_ms=now_ms) else None


def contacts_at(draft: Draft, moment: Moment) -> Told:
    """Returns what was said to whoever a moment is about, over all channels.

    Of several people who are answered at once it is what was said to each. An answer to them
    counts with them all, so the caps of each hold for it.
    """
    heeded = heeded_by(moment)
    groups = [_named(draft, each) for each in heeded]
    if not heeded:
        groups = [[*map(draft.visitor, (moment.visitor, moment.member, moment.holder))]]
    people = [[each for each in named if each is not None] for named in groups]
    since_ms = _contacts_since_ms(draft) if any(people) else None
    if since_ms is None:
        return ()
    return tuple(
        draft.contacts_with(persons.circle_of(draft, known), since_ms=since_ms)
        for known in people
        if known
    )


def _named(draft: Draft, visitor_id: VisitorId) -> list[Visitor | None]:
    visitor = draft.visitor(visitor_id)
    member = None if visitor is None else persons.member_of(draft, visitor)
    return [visitor, draft.visitor(member)]


def _his(moment: Moment, told: Told) -> tuple[Contact, ...]:
    """Returns what was said to the one whom a moment is about; of several nothing is looked at."""
    return told[0] if told and not heeded_by(moment) else ()


def known_at(draft: Draft, moment: Moment, told: Told) -> Known:
    """Returns what is known of a moment before any campaign is looked at.

    Of several people it is the most that one of them was told: whose cap is reached shuts it.
    """
    context = draft.context
    rules = context.rules
    rung = ladder.rung_for(context.left_ms, rules)
    member = usable_member(draft, moment)
    if not may_use_history(moment.place.audience):
        member = None
    contacts, caps = _his(moment, told), rules.caps
    names = book_of(rules).names if rung in ladder.WEIGHED else ()
    sources = _sources(draft, moment, member, contacts) if names else {}
    day_ms = _day_start_ms(context.local.day, context.zone)
    n_today = max([_n_said(one, since_ms=day_ms) for one in told], default=0)
    ignored, ignored_texts = _ignored(draft, moment, member, contacts)
    return Known(
        facts=facts_of(names, sources, audience=moment.place.audience),
        rung=rung,
        minute_of_day=_minute_of_day(draft),
        age=age_of(member, moment.place.audience),
        n_contacts_day=n_today if caps.per_visitor_day is not None else 0,
        last_offer_ms=last_gated_ms(chain.from_iterable(told), rules) if caps.cooldown_s else None,
        last_missed_ms=(
            last_missed_ms(chain.from_iterable(told), rules) if caps.cooldown_s else None
        ),
        bought=_bought(draft, moment, member, since_ms=day_ms),
        ignored=ignored,
        ignored_texts=ignored_texts,
        preferred=_preferred(draft, moment, member) if rung == ladder.SEGMENT else (),
        tried=_tried(draft),
        left_ms=context.left_ms,
    )


def with_campaigns(
    draft: Draft,
    moment: Moment,
    known: Known,
    campaigns: tuple[Campaign, ...],
    told: Told,
) -> Known:
    """Returns what is known with all that the gates of these campaigns ask of."""
    limited = limited_of(campaigns)
    has_controls = any(each.control_share > 0 for each in campaigns)
    if not limited and not has_controls:
        return known
    uses = {each.id: _uses(draft, each.id, told) for each in limited}
    return replace(known, uses=uses, unit=_unit(draft, moment) if has_controls else None)


def known_beside(draft: Draft, decision: Decision) -> Known:
    """Returns what the rules of a draft know of a moment that others have just answered.

    What those others said in that answer does not count among what was said before it. Nothing of
    what was tried is read: rules that only look on explore nothing.
    """
    moment = decision.moment
    told = tuple(
        tuple(each for each in one if each.id != decision.id) for one in contacts_at(draft, moment)
    )
    known = known_at(draft, moment, told)
    now_ms = draft.context.now_ms
    outlook = outlook_of(moment, known, draft.context.rules, now_ms=now_ms)
    known = replace(known, out_of_stock=draft.state.out_of_stock())
    return with_campaigns(draft, moment, known, outlook.campaigns, told)


def lender_of(draft: Draft, moment: Moment) -> VisitorId | None:
    """Returns whose unit whoever asks is in for now: what carries him through the store.

    So to ask by his card changes no arm of a visit that began before he was known, even where he
    holds a unit of another day himself. Of several visits it is the one that began first. None
    where that is his own, where nothing of his is here, or where he is what carries somebody.
    """
    person = draft.visitor(moment.counts_to)
    if person is None or moment.visitor is None:
        return None
    is_himself = moment.visitor == person.id
    if not is_himself and draft.unit_of(moment.visitor) is not None:
        return None
    bodies = persons.carriers_of(draft, person)
    here = [
        (visit.started_at_ms, visit.visitor)
        for visit in (draft.visit_of(each.id) for each in (*bodies, person))
        if visit is not None and visit.is_open and draft.unit_of(visit.visitor) is not None
    ]
    first = min(here, default=(0, None))[1]
    return None if first == moment.visitor else first


def _unit(draft: Draft, moment: Moment) -> UnitId:
    context = draft.context
    lender = lender_of(draft, moment)
    return unit_of(
        moment,
        held=draft.unit_of(moment.visitor if lender is None else lender),
        now_ms=context.now_ms,
        slot_s=context.rules.slot_s,
        key=context.unit_key,
    )


def _tried(draft: Draft) -> Mapping[str, tuple[int, int]]:
    exploration, day = draft.context.rules.exploration, draft.context.local.day
    if exploration.share <= 0:
        return NOTHING_TRIED
    begins_ms = _day_start_ms(day, draft.context.zone)
    return draft.state.tried(day, begins_ms=begins_ms, window_days=exploration.window_days)


def _uses(draft: Draft, campaign: CampaignId, told: Told) -> Uses:
    uses = draft.campaign_uses(campaign)
    total, today = uses.given, uses.given_on(draft.context.local.day)
    if not told:
        return Uses(total, today)
    return Uses(
        total=total,
        today=today,
        visitor=max([sum(campaign in each.campaigns for each in one) for one in told]),
        missed=max([sum(campaign in each.missed for each in one) for one in told]),
    )


def _contacts_since_ms(draft: Draft) -> int | None:
    """Returns from when on it matters what somebody was told; None where it never does."""
    context = draft.context
    now_ms, rules = context.now_ms, context.rules
    caps = rules.caps
    since = [each.starts_at_ms for each in rules.campaigns if each.per_visitor is not None]
    if caps.per_visitor_day is not None:
        since.append(_day_start_ms(context.local.day, context.zone))
    if caps.cooldown_s > 0:
        since.append(now_ms - caps.cooldown_s * SECOND_MS)
    if caps.ignored_after > 0 or "answered" in book_of(rules).names:
        since.append(now_ms - REMEMBERED_MS)
    return min(since, default=None)


def _n_said(contacts: tuple[Contact, ...], *, since_ms: int) -> int:
    return sum(each.at_ms >= since_ms and each.says_something for each in contacts)


def _ignored(
    draft: Draft, moment: Moment, member: Visitor | None, contacts: tuple[Contact, ...]
) -> tuple[dict[ProductId, int], dict[CampaignId, int]]:
    """Returns which products and which texts led to nothing so far, and how often."""
    context = draft.context
    after = context.rules.caps.ignored_after
    if after <= 0:
        return {}, {}
    # Who of several people left it aside, nobody knows; nor what came of it after so long.
    seen = tuple(each for each in contacts if not (each.is_shared or each.is_faded))
    if not _may_look_back(draft, moment, member):
        # Only this visit's own answers count.
        visit = None if moment.visitor is None else draft.visit_of(moment.visitor)
        from_ms = context.now_ms if visit is None else visit.started_at_ms
        seen = tuple(each for each in seen if each.at_ms >= from_ms)
    until_ms = context.now_ms - context.policy.screen_show_s * SECOND_MS
    texts = texts_ignored_often(seen, context.rules, after=after, until_ms=until_ms)
    return ignored_often(seen, after=after, until_ms=until_ms), texts


def _bought(
    draft: Draft, moment: Moment, member: Visitor | None, *, since_ms: int
) -> frozenset[ProductId]:
    found: set[ProductId] = set()
    if moment.visitor is not None:
        visit = draft.visit_of(moment.visitor)
        from_ms = since_ms if visit is None else min(since_ms, visit.started_at_ms)
        if not may_use_history(moment.place.audience) and _is_known_beyond_today(draft, moment):
            from_ms = draft.context.now_ms if visit is None else visit.started_at_ms
        for basket in draft.baskets_of(moment.visitor):
            if basket.sale is not None and basket.sale.completed_at_ms >= from_ms:
                found.update(basket.products)
    for purchase in () if member is None else member.profile.purchases:
        if purchase.at_ms >= since_ms:
            found.update(purchase.products)
    return frozenset(found)


def _may_look_back(draft: Draft, moment: Moment, member: Visitor | None) -> bool:
    """Returns whether what was before this visit may bear on what is said.

    Of somebody known that takes what using his history takes; caps count it all the same.
    """
    if member is not None or not may_use_history(moment.place.audience):
        return member is not None
    visitor = draft.visitor(moment.visitor)
    is_somebody = visitor is not None and (visitor.is_identified or bool(visitor.links))
    return not is_somebody and moment.counts_to is None


def _is_known_beyond_today(draft: Draft, moment: Moment) -> bool:
    visitor = draft.visitor(moment.visitor)
    return visitor is not None and visitor.is_identified


def _preferred(draft: Draft, moment: Moment, member: Visitor | None) -> tuple[str, ...]:
    if member is not None and member.profile.interests:
        return tuple(department for department, _ in member.profile.interests)
    zone = moment.place.zone
    known = None if zone is None else draft.context.layout.zones.get(zone)
    return () if known is None else known.departments


def _sources(
    draft: Draft, moment: Moment, member: Visitor | None, contacts: tuple[Contact, ...]
) -> Sources:
    context = draft.context
    zone = moment.place.zone
    seen = visible_sources(
        moment,
        local=context.local,
        minute=_minute_of_day(draft) % MINUTES_PER_HOUR,
        departments=draft.state.departments(),
    )
    around: Sources = {
        "dwell_s": lambda: _dwell_s(draft, moment),
        "basket_value": lambda: goods.value_of(draft, moment),
        "item_price": lambda: goods.price_of(draft, moment.item),
        "queue": lambda: _level(draft, "queue", zone),
        "occupancy": lambda: _level(draft, "occupancy", zone),
        "present": lambda: None if zone is None else len(draft.present_in(zone)),
        "fact": lambda: dict(draft.state.facts(context.now_ms)),
    }
    profile = None if member is None else member.profile
    personal: Sources = {
        "identified": lambda: member is not None,
        "segments": lambda: [] if profile is None else list(profile.segments),
        "interests": lambda: [] if profile is None else [name for name, _ in profile.interests],
        "stage": lambda: (
            None if profile is None else stage_of(profile.history, now_ms=context.now_ms)
        ),
        "answered": lambda: [] if member is None else list(channels_answered(contacts)),
    }
    return seen | around | personal


def _dwell_s(draft: Draft, moment: Moment) -> int | None:
    if moment.dwell_ms:
        return moment.dwell_ms // SECOND_MS
    visit = None if moment.visitor is None else draft.visit_of(moment.visitor)
    if visit is None or visit.zone is None or visit.zone != moment.place.zone:
        return None
    return max(draft.context.now_ms - visit.zone_entered_at_ms, 0) // SECOND_MS


def _level(draft: Draft, kind: str, zone: ZoneId | None) -> int | None:
    level = None if zone is None else draft.state.level(kind, zone)
    is_old = level is not None and draft.context.now_ms - level.at_ms > LEVEL_MS
    return None if level is None or is_old else level.value


def _minute_of_day(draft: Draft) -> int:
    context = draft.context
    minute = datetime_from_ms(context.now_ms).astimezone(context.zone).minute
    return context.local.hour * MINUTES_PER_HOUR + minute


@lru_cache(maxsize=_KEPT_DAYS)
def _day_start_ms(day: str, zone: tzinfo) -> int:
    return local_day_start_ms(day, zone)
