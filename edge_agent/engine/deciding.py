"""One moment becomes one decision and its message: candidates, gates, arbitration, trace."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from edge_agent.decide.arbitration import arbitrated
from edge_agent.decide.candidates import gated, request_for
from edge_agent.decide.eligibility import (
    UNHEARD,
    UNKNOWN,
    is_unheard,
    refusal_of,
    silence_for,
)
from edge_agent.decide.moments import store_default
from edge_agent.decide.pressure import cap_reached, is_cooling_down
from edge_agent.decide.trace import decision_id_from, record_of
from edge_agent.domain.decisions import Decision, Suppression
from edge_agent.domain.effects import Count, Publish, ScheduleWake
from edge_agent.domain.store import Showing
from edge_agent.domain.time import SECOND_MS
from edge_agent.domain.visitor import UNKNOWN_MEMBER
from edge_agent.engine import company, goods, offers, persons
from edge_agent.engine.gathering import usable_member
from edge_agent.engine.ruling import Frame, decision_under_rules, silence_under_rules
from edge_agent.identify.complaints import have_open_complaint
from edge_agent.publish.screens import receipt_offer_of, recommendation_json
from edge_agent.wire import topics

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge_agent.domain.decisions import Candidate, Cause, Moment
    from edge_agent.domain.ids import CampaignId, ProductId, VisitorId, ZoneId
    from edge_agent.domain.offers import GivenOffer
    from edge_agent.domain.scoring import ScoringRequest
    from edge_agent.domain.visitor import Visit
    from edge_agent.engine.draft import Draft

_NANOSECONDS_PER_US: Final = 1_000


def decide(draft: Draft, moment: Moment) -> Decision | None:
    """Takes a decision, records it and publishes its message; None when it is too soon for one."""
    moment = company.fitted(draft, moment)
    if _is_too_soon(draft, moment):
        draft.add(Count("decision_too_soon"))
        return None
    decision = decision_on(draft, moment)
    draft.record(decision)
    given = offers.given_with(draft, decision)
    if moment.place.channel == "screen" and decision.level != "silence":
        _show(draft, decision, given)
    elif moment.place.channel == "receipt" and decision.chosen:
        _print(draft, decision, given)
    return decision


def decision_on(draft: Draft, moment: Moment) -> Decision:
    """Returns the decision on a moment, with its record; the draft notes the time it took."""
    return _timed(draft, moment, _decision_on)


def _timed(draft: Draft, moment: Moment, decided: Callable[[Draft, Moment], Decision]) -> Decision:
    """Returns a decision and notes the time from its moment until its record stood."""
    stopwatch = draft.context.stopwatch
    if stopwatch is None:
        return decided(draft, moment)
    begun_ns = stopwatch()
    decision = decided(draft, moment)
    draft.note_spent(decision.id, (stopwatch() - begun_ns) // _NANOSECONDS_PER_US)
    return decision


def _decision_on(draft: Draft, moment: Moment) -> Decision:
    silence, hq_silent_days = _silence(draft, moment)
    if not draft.context.rules.is_neutral:
        frame = Frame(
            moment=moment,
            silence=silence,
            hq_silent_days=hq_silent_days,
            valid_until_ms=_valid_until_ms(draft, moment),
        )
        return decision_under_rules(draft, frame)
    decided = partial(_decision, draft, moment, hq_silent_days=hq_silent_days)
    if silence is not None:
        return decided(None, (), (silence,), level="silence")
    context = draft.context
    place = moment.place
    member = usable_member(draft, moment)
    zone = place.zone if moment.kind == "store_default" else None
    request = request_for(
        moment,
        now_ms=context.now_ms,
        local=context.local,
        history=() if member is None else member.profile.history,
        zone_products=None if zone is None else context.catalogue.products_in(zone),
        n_logged=context.policy.n_logged_candidates,
        plans=draft.state.plans(),
    )
    scorer = context.scorer
    # Without rules the ladder has two rungs: there is nothing else to weigh.
    is_default = moment.kind == "store_default" or context.left_ms is not None
    scored = scorer.popular(request) if is_default else scorer.rank(request)
    candidates, refused = gated(
        scored,
        moment,
        out_of_stock=draft.state.out_of_stock(),
        departments=draft.state.departments(),
        product_of=context.catalogue.product,
        policy=context.policy,
        minimum_ages=draft.state.minimum_ages(),
    )
    level = "default" if is_default or not candidates else scorer.level
    return decided(request, candidates, refused, level=level)


def may_answer(draft: Draft, moment: Moment) -> bool:
    """Returns whether anything may be said to whom a moment is of, the chain's rules heeded."""
    if _silence(draft, moment)[0] is not None:
        return False
    return draft.context.rules.is_neutral or silence_under_rules(draft, moment) is None


def rule_decision(draft: Draft, moment: Moment) -> Decision:
    """Returns the decision on a moment that a rule answers, not the scorer."""
    return _timed(draft, moment, _rule_decision)


def _rule_decision(draft: Draft, moment: Moment) -> Decision:
    # Help by a person is no marketing: a complaint is a reason to come, not to stay away.
    return _decision(draft, moment, None, (), (), level="rule")


def in_basket(draft: Draft, visit: Visit) -> tuple[ProductId, ...]:
    """Returns what a visit visibly holds: in hand, then in its open baskets."""
    return goods.held_in(draft, (visit,))


def revert_all_of(draft: Draft, visitors: frozenset[VisitorId], *, cause: Cause) -> None:
    """Gives back to the store every screen that shows something for one of these visitors."""
    for screen in draft.context.layout.screens.values():
        showing = draft.showing(screen.id)
        if showing is not None and showing.visitor in visitors:
            decide(draft, store_default(screen, cause=cause, policy=draft.context.policy))


def revert_screens(draft: Draft, zone: ZoneId, visitor: VisitorId, *, cause: Cause) -> None:
    """Gives a zone's screens back to the store where they show something for this visitor."""
    for screen in draft.context.layout.screens_by_zone.get(zone, ()):
        showing = draft.showing(screen.id)
        if showing is not None and showing.visitor == visitor:
            decide(draft, store_default(screen, cause=cause, policy=draft.context.policy))


def _silence(draft: Draft, moment: Moment) -> tuple[Suppression | None, int | None]:
    """Returns why nothing may be said, if so, and the days without HQ that it rests on, if any."""
    context = draft.context
    beside = _beside(draft, moment)
    if UNKNOWN_MEMBER in {moment.member, *beside}:
        days = None if context.lost_at_ms is not None else persons.days_without_hq(draft)
        return (UNHEARD if is_unheard(days, context.policy) else UNKNOWN), days
    named = tuple(map(draft.visitor, (moment.visitor, moment.member, *beside)))
    circle = persons.circle_of(draft, (each for each in named if each is not None))
    days = persons.hq_silent_days(draft, circle)
    silence = silence_for(
        has_open_complaint=have_open_complaint(circle),
        may_be_unknown=persons.may_be_unknown(draft, *named),
        is_hq_unheard=is_unheard(days, context.policy),
        is_refused=persons.is_refused(circle, moment.place.said_of, now_ms=context.now_ms),
    )
    visit = None if moment.visitor is None else draft.visit_of(moment.visitor)
    if silence is not None or visit is None or moment.visit is None:
        return silence, days
    return cap_reached(draft.n_decisions(visit), policy=context.policy), days


def _beside(draft: Draft, moment: Moment) -> tuple[VisitorId, ...]:
    """Returns whose silence counts beside his whom a moment names: theirs whose basket it is of.

    A till asks by its basket alone; and whoever else names it is answered about another's goods.
    """
    if moment.place.channel == "receipt":
        # It speaks to whoever it is by itself.
        return ()
    named = None if moment.basket is None else draft.basket(moment.basket)
    own = persons.own_basket(draft, draft.visitor(moment.visitor))
    baskets = [each for each in (named, own) if each is not None]
    place = moment.place.said_of
    people = [(each.carrier, persons.spoken_to(draft, each, place=place)) for each in baskets]
    return tuple(each for pair in people for each in pair if each is not None)


def _is_too_soon(draft: Draft, moment: Moment) -> bool:
    cooldown_s = draft.context.policy.screen_cooldown_s
    screen = moment.place.screen
    if cooldown_s == 0 or screen is None or moment.visitor is None:
        return False
    showing = draft.showing(screen)
    if showing is None or showing.visitor != moment.visitor:
        return False
    shown_ms = showing.valid_until_ms - draft.context.policy.screen_show_s * SECOND_MS
    return is_cooling_down(shown_ms, now_ms=draft.context.now_ms, cooldown_s=cooldown_s)


def _decision(
    draft: Draft,
    moment: Moment,
    request: ScoringRequest | None,
    candidates: tuple[Candidate, ...],
    suppressions: tuple[Suppression, ...],
    *,
    level: str,
    hq_silent_days: int | None = None,
) -> Decision:
    context = draft.context
    policy = context.policy
    decision_id = decision_id_from(
        moment.cause, moment.kind, moment.place, now_ms=context.now_ms, seed=context.seed
    )
    chosen = arbitrated(candidates, limit=moment.limit)
    popular = _popular(draft, moment, request)
    model = context.scorer.version
    record = record_of(
        decision_id,
        moment,
        now_ms=context.now_ms,
        request=request,
        candidates=candidates[: policy.n_logged_candidates],
        suppressions=suppressions,
        chosen=chosen,
        popular=popular,
        level=level,
        model=model,
        policy=policy.version,
        seed=context.seed,
        hq_silent_days=hq_silent_days,
        left_ms=None if request is None else context.left_ms,
    )
    return Decision(
        id=decision_id,
        moment=moment,
        decided_at_ms=context.now_ms,
        chosen=chosen,
        popular=popular,
        suppressions=suppressions,
        level=level,
        model=model,
        policy=policy.version,
        valid_until_ms=_valid_until_ms(draft, moment),
        record=record,
    )


def _valid_until_ms(draft: Draft, moment: Moment) -> int:
    return draft.context.now_ms + _valid_s(draft, moment) * SECOND_MS


def _valid_s(draft: Draft, moment: Moment) -> int:
    policy = draft.context.policy
    if moment.kind == "store_default":
        return policy.default_show_s
    if moment.place.channel == "staff":
        return policy.alert_valid_s
    return policy.receipt_valid_s if moment.place.channel == "receipt" else policy.screen_show_s


def _popular(
    draft: Draft, moment: Moment, request: ScoringRequest | None
) -> tuple[ProductId, ...]:
    if request is None or moment.visitor is None:
        return ()
    picks: list[ProductId] = []
    policy = draft.context.policy
    out_of_stock, departments = draft.state.out_of_stock(), draft.state.departments()
    minimum_ages = draft.state.minimum_ages()
    for each in draft.context.scorer.popular(request):
        refusal = refusal_of(
            each.product,
            moment,
            out_of_stock=out_of_stock,
            departments=departments,
            product_of=draft.context.catalogue.product,
            policy=policy,
            minimum_ages=minimum_ages,
        )
        if refusal is None:
            picks.append(each.product)
            if len(picks) >= moment.limit:
                break
    return tuple(picks)


def _show(draft: Draft, decision: Decision, given: Mapping[CampaignId, GivenOffer]) -> None:
    context = draft.context
    screen = decision.moment.place.screen
    if screen is None:
        return
    payload = recommendation_json(
        decision,
        products=context.catalogue.product,
        locale=context.locale,
        currency=context.currency,
        given=given,
    )
    draft.add(
        Publish(
            topic=topics.recommendation(context.store, screen),
            payload=payload,
            retain=True,
            expires_at_ms=decision.valid_until_ms,
            replaces=True,
        ),
        ScheduleWake(due_ms=decision.valid_until_ms, kind="screen_default", key=screen),
    )
    draft.put_showing(
        Showing(
            screen=screen,
            decision=decision.id,
            visitor=decision.moment.visitor,
            valid_until_ms=decision.valid_until_ms,
            audience=decision.moment.place.audience,
            is_shared=decision.moment.kind == "company" and decision.moment.visitor is None,
        )
    )


def _print(draft: Draft, decision: Decision, given: Mapping[CampaignId, GivenOffer]) -> None:
    context = draft.context
    message = receipt_offer_of(
        decision,
        products=context.catalogue.product,
        locale=context.locale,
        currency=context.currency,
        given=given,
    )
    draft.add(
        Publish(
            topic=topics.receipt_offer(context.store, message.register_),
            payload=message.model_dump_json().encode(),
            expires_at_ms=decision.valid_until_ms,
        )
    )
