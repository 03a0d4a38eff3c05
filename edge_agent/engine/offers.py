"""Limited offers: given with a decision, redeemed at most once at the store's tills.

All codes that one person has of an offer are one for that.
"""

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
    USED,
    Redemption,
    code_of,
    judged,
    mark_of_code,
    offer_from,
    said_again,
    taken_with,
)
from edge_agent.domain.time import MINUTE_MS, SECOND_MS, datetime_from_ms, local_time
from edge_agent.engine import persons
from edge_agent.wire.base import Cause as WireCause
from edge_agent.wire.offers import OfferReply

if TYPE_CHECKING:
    from edge_agent.domain.decisions import Decision, Moment
    from edge_agent.domain.ids import ProductId
    from edge_agent.domain.inputs import Arrival, OfferAsked
    from edge_agent.domain.offers import GivenOffer, Judgement, Offer
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
        since_ms = now_ms - (campaign.redeem_within_s or 0) * SECOND_MS
        held = draft.offers_of(visitor) or _told_to(
            draft, (draft.visitor(visitor),), campaign.id, since_ms=since_ms
        )
        known = _known_there(draft, decision, held)
        elsewhere = _held_elsewhere(draft, moment, campaign.id, since_ms=since_ms)
        again = said_again(known, campaign.id, now_ms=now_ms, key=key, others=(*known, *elsewhere))
        if again is None:
            again = said_again(elsewhere, campaign.id, now_ms=now_ms, key=key, others=elsewhere)
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


def _held_elsewhere(
    draft: Draft, moment: Moment, campaign: CampaignId, *, since_ms: int
) -> tuple[Offer, ...]:
    """Returns the offers of a campaign that a moment's person was given under any other name.

    Of those surely his alone: a code of whom he was merely taken for would be told to a stranger.
    Before the public none count: what he holds from before changes nothing that others see. So
    there he may be given another code of an offer that he holds; a till takes only one of both.
    """
    person = draft.visitor(moment.counts_to)
    if person is None or not may_use_history(moment.place.audience):
        return ()
    people = (person, *persons.carriers_of(draft, person))
    return _given_to(draft, people, campaign, since_ms=since_ms)


def _others_of(draft: Draft, offer: Offer) -> tuple[Offer, ...]:
    """Returns all that the person to whom an offer was said was given of its campaign.

    Who he is known to be now counts, and to whom it counted when it was given: to take one code
    takes them all.
    """
    told = () if offer.decision is None else draft.told_by(offer.decision)
    ids = told if offer.visitor is None else (offer.visitor, *told)
    named = [each for each in map(draft.visitor, ids) if each is not None]
    members = (draft.visitor(persons.member_of(draft, each)) for each in named)
    holders = [each for each in members if each is not None]
    carriers = (each for holder in holders for each in persons.carriers_of(draft, holder))
    people = {each.id: each for each in (*named, *holders, *carriers)}
    # From the first that is kept on: its campaign need not stand among the rules any more.
    return _given_to(draft, tuple(people.values()), offer.campaign, since_ms=0)


def _given_to(
    draft: Draft, people: tuple[Visitor, ...], campaign: CampaignId, *, since_ms: int
) -> tuple[Offer, ...]:
    held = (offer for each in people for offer in draft.offers_of(each.id))
    named = (offer for offer in held if offer.campaign == campaign)
    told = _told_to(draft, people, campaign, since_ms=since_ms)
    return tuple({each.mark: each for each in (*named, *told)}.values())


def _told_to(
    draft: Draft, people: tuple[Visitor | None, ...], campaign: CampaignId, *, since_ms: int
) -> tuple[Offer, ...]:
    """Returns the offers of a campaign that are found by what people were told.

    Those of a basket of its own, of which nothing is stored, name nobody.
    """
    key = draft.context.offer_key
    codes = (
        code_of(DecisionId(each.id), campaign, key=key)
        for each in draft.contacts_with(people, since_ms=since_ms)
        if campaign in each.campaigns
    )
    found = (draft.state.offer(mark_of_code(code, key=key)) for code in codes)
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
    if outcome == GOOD and offer is not None and _is_for_another(draft, offer, question):
        outcome = USED
    if offer is not None and offer.redeemed is None and outcome == GOOD:
        others = _others_of(draft, offer)
        earlier = taken_with(offer, others)
        outcome = GOOD if earlier is None else USED
        if request.action == "redeem":
            mine = Redemption(at_ms=now_ms, by=question.by, basket=question.basket)
            _take(draft, offer, mine, earlier, others, day=draft.context.local.day)
    draft.add(Count(f"offer_{request.action}_{outcome}"))
    _answer(draft, question, offer, outcome)


def _is_for_another(draft: Draft, offer: Offer, question: OfferAsked) -> bool:
    """Returns whether an offer went into another basket than is asked about.

    A till that numbers its requests anew with each basket says an id twice, and repeats nothing.
    Baskets are known by their names for a day.
    """
    redeemed, context = offer.redeemed, draft.context
    if redeemed is None or redeemed.basket in {None, question.basket} or question.basket is None:
        return False
    return local_time(redeemed.at_ms, context.zone).day == context.local.day


def _answer(draft: Draft, question: OfferAsked, offer: Offer | None, outcome: Judgement) -> None:
    request, now_ms = question.request, draft.context.now_ms
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
    not ask has given what it gave: the offer is used, were it over by then, or used a second time.
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
        others = _others_of(draft, offer)
        earlier = taken_with(offer, others)
        mine = Redemption(at_ms=arrival.at_ms, by=by, basket=arrival.basket)
        _take(draft, offer, mine, earlier, others, day=arrival.day)
        if earlier is not None:
            draft.add(Count("offer_redeemed_again"))
        elif arrival.at_ms >= offer.valid_until_ms:
            draft.add(Count("offer_redeemed_late"))
    elif offer.redeemed.by != by and not _is_of(offer.redeemed, arrival):
        draft.add(Count("offer_redeemed_again"))
    return True


def _is_of(redemption: Redemption, arrival: Arrival) -> bool:
    return arrival.basket is not None and redemption.basket == arrival.basket


def _take(
    draft: Draft,
    offer: Offer,
    redemption: Redemption,
    earlier: Redemption | None,
    others: tuple[Offer, ...],
    *,
    day: str,
) -> None:
    """Takes an offer, and with it every open code that its person has of it.

    Written down with each of them, so that it holds when nobody knows any more whose they were.
    """
    if earlier is not None:
        draft.add(RedeemOffer(mark=offer.mark, redemption=earlier))
        return
    draft.add(
        RedeemOffer(mark=offer.mark, redemption=redemption),
        CountCampaign(campaign=offer.campaign, day=day, redeemed=1),
    )
    with_it = Redemption(at_ms=redemption.at_ms, by="")
    draft.add(
        *(
            RedeemOffer(mark=each.mark, redemption=with_it)
            for each in others
            if each.mark != offer.mark
            and each.redeemed is None
            and each.valid_until_ms > redemption.at_ms
        )
    )
    if offer.decision is not None:
        answered(draft, offer.decision, offer.products, at_ms=redemption.at_ms)


def answered(
    draft: Draft, decision: DecisionId, products: tuple[ProductId, ...], *, at_ms: int
) -> None:
    """Writes down that what a decision offered was redeemed: each product that it named of it.

    Of a text there is no product; what stood beside it is not what was redeemed.
    """
    for product in products or (None,):
        draft.add(RecordOutcome(decision=decision, kind="redeemed", at_ms=at_ms, product=product))
    draft.touch_summaries(at_ms)
