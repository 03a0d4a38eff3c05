"""Limited offers: given with a decision, redeemed at most once at the store's tills."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.decide.eligibility import may_use_history
from edge_agent.domain.effects import (
    Count,
    CountCampaign,
    GiveOffer,
    Publish,
    RecordOutcome,
    RedeemOffer,
)
from edge_agent.domain.ids import CampaignId, DecisionId
from edge_agent.domain.offers import (
    GOOD,
    Redemption,
    code_of,
    judged,
    mark_of_code,
    offer_from,
    said_again,
)
from edge_agent.domain.time import MINUTE_MS, SECOND_MS, datetime_from_ms
from edge_agent.engine import persons
from edge_agent.wire.base import Cause as WireCause
from edge_agent.wire.offers import OfferReply

if TYPE_CHECKING:
    from edge_agent.domain.decisions import Decision, Moment
    from edge_agent.domain.ids import ProductId
    from edge_agent.domain.inputs import Arrival, OfferAsked
    from edge_agent.domain.offers import GivenOffer, Offer
    from edge_agent.domain.rules import Campaign
    from edge_agent.domain.visitor import Visitor
    from edge_agent.engine.draft import Draft
    from edge_agent.wire.events import OfferRedeemedData

# An answer that is older is asked for again.
ANSWER_VALID_MS = 5 * MINUTE_MS


def given_with(draft: Draft, decision: Decision) -> dict[CampaignId, GivenOffer]:
    """Gives the limited offers that a decision names to somebody; returns them by campaign.

    Its message says their codes and ends. Who holds one of the campaign that he may still use is
    told that one again, under whatever he was given it: with another basket, or with a telephone
    that is known to be his. Nobody in particular gets none: the first who reads a screen would
    use it up. Nor does whoever asks where others may hear the answer: a number that is typed in is
    a claim, and the code might be another's. A record holds no code; only the store makes one.
    """
    moment = decision.moment
    visitor = moment.visitor
    is_claim = moment.place.channel == "reply" and moment.place.audience != "private"
    if visitor is None or is_claim or not decision.campaigns:
        return {}
    key, now_ms = draft.context.offer_key, decision.decided_at_ms
    found: dict[CampaignId, GivenOffer] = {}
    for campaign, products in _limited(decision).items():
        held = draft.offers_of(visitor) or _told_to(draft, (draft.visitor(visitor),), campaign)
        known = _known_there(draft, decision, held)
        again = said_again(known, campaign.id, now_ms=now_ms, key=key)
        if again is None:
            elsewhere = _held_elsewhere(draft, moment, campaign)
            again = said_again(elsewhere, campaign.id, now_ms=now_ms, key=key)
            if again is not None and moment.holder is not None:
                # Whose basket it is has one. It is not told to whoever names it, nor another made.
                continue
        given = again or offer_from(
            campaign,
            decision=decision.id,
            products=products,
            visitor=visitor,
            now_ms=now_ms,
            key=key,
        )
        if given is not None:
            found[campaign.id] = given
            if again is None:
                draft.add(GiveOffer(offer=given.offer))
    return found


def _held_elsewhere(draft: Draft, moment: Moment, campaign: Campaign) -> tuple[Offer, ...]:
    """Returns the offers of a campaign that a moment's person was given under any other name.

    Of those surely his alone: a code of whom he was merely taken for would be told to a stranger.
    Before the public none count: what he holds from before changes nothing that others see.
    """
    person = draft.visitor(moment.counts_to)
    if person is None or not may_use_history(moment.place.audience):
        return ()
    people = (person, *persons.carriers_of(draft, person))
    held = (offer for each in people for offer in draft.offers_of(each.id))
    return (*held, *_told_to(draft, people, campaign))


def _told_to(
    draft: Draft, people: tuple[Visitor | None, ...], campaign: Campaign
) -> tuple[Offer, ...]:
    """Returns the offers of a campaign that are found by what people were told.

    Those of a basket of its own, of which nothing is stored, name nobody.
    """
    context = draft.context
    since_ms = context.now_ms - (campaign.redeem_within_s or 0) * SECOND_MS
    codes = (
        code_of(DecisionId(each.id), campaign.id, key=context.offer_key)
        for each in draft.contacts_with(people, since_ms=since_ms)
        if campaign.id in each.campaigns
    )
    found = (draft.state.offer(mark_of_code(code, key=context.offer_key)) for code in codes)
    return tuple(each for each in found if each is not None)


def _known_there(draft: Draft, decision: Decision, offers: tuple[Offer, ...]) -> tuple[Offer, ...]:
    """Returns the offers that may be said again; before the public only those of this visit."""
    moment = decision.moment
    if may_use_history(moment.place.audience) or moment.visitor is None:
        return offers
    visit = draft.visit_of(moment.visitor)
    from_ms = decision.decided_at_ms if visit is None else visit.started_at_ms
    return tuple(each for each in offers if each.given_at_ms >= from_ms)


def _limited(decision: Decision) -> dict[Campaign, tuple[ProductId, ...]]:
    found: dict[Campaign, tuple[ProductId, ...]] = {}
    for each in decision.chosen:
        if each.campaign is not None and each.campaign.redeem_within_s is not None:
            found[each.campaign] = (*found.get(each.campaign, ()), each.scored.product)
    return found


def asked(draft: Draft, question: OfferAsked) -> None:
    """Answers a till, and takes the code in where it asks for that."""
    request, now_ms = question.request, draft.context.now_ms
    offer = draft.state.offer(mark_of_code(request.code, key=draft.context.offer_key))
    outcome = judged(offer, by=question.by, now_ms=now_ms)
    is_redeemed = offer is not None and offer.redeemed is not None
    if offer is not None and request.action == "redeem" and outcome == GOOD and not is_redeemed:
        redemption = Redemption(at_ms=now_ms, by=question.by, basket=question.basket)
        _redeem(draft, offer, redemption, day=draft.context.local.day)
    draft.add(Count(f"offer_{request.action}_{outcome}"))
    reply = OfferReply(
        cause=WireCause(source=request.source, id=request.id),
        issued=datetime_from_ms(now_ms),
        action=request.action,
        outcome=outcome,
        campaign=None if offer is None else offer.campaign,
        products=() if offer is None else offer.products,
        valid_until=None if offer is None else datetime_from_ms(offer.valid_until_ms),
    )
    draft.add(
        Publish(
            topic=question.response_topic,
            payload=reply.model_dump_json().encode(),
            expires_at_ms=now_ms + ANSWER_VALID_MS,
            correlation=question.correlation,
        )
    )


def redeemed(draft: Draft, arrival: Arrival, data: OfferRedeemedData) -> bool:
    """Takes in a till's word that it took an offer; returns whether a decision's outcome is told.

    A till that asked before says the same basket again, and that is no second use. One that did
    not ask has given what it gave: the offer is used, were it over by then.
    """
    if data.code is None:
        campaign = CampaignId(data.campaign)
        draft.add(CountCampaign(campaign=campaign, day=arrival.day, redeemed=1))
        return False
    offer = draft.state.offer(mark_of_code(data.code, key=draft.context.offer_key))
    if offer is None:
        draft.add(Count("offer_redeemed_unknown"))
        return False
    by = f"{arrival.event.source}/{arrival.tie:x}"
    if offer.redeemed is None:
        redemption = Redemption(at_ms=arrival.at_ms, by=by, basket=arrival.basket)
        _redeem(draft, offer, redemption, day=arrival.day)
        if arrival.at_ms >= offer.valid_until_ms:
            draft.add(Count("offer_redeemed_late"))
    elif offer.redeemed.by != by and not _is_of(offer.redeemed, arrival):
        draft.add(Count("offer_redeemed_again"))
    return True


def _is_of(redemption: Redemption, arrival: Arrival) -> bool:
    return arrival.basket is not None and redemption.basket == arrival.basket


def _redeem(draft: Draft, offer: Offer, redemption: Redemption, *, day: str) -> None:
    draft.add(
        RedeemOffer(mark=offer.mark, redemption=redemption),
        CountCampaign(campaign=offer.campaign, day=day, redeemed=1),
    )
    if offer.decision is not None:
        outcome = RecordOutcome(decision=offer.decision, kind="redeemed", at_ms=redemption.at_ms)
        draft.add(outcome)
        draft.touch_summaries(redemption.at_ms)
