"""What became of a decision: shown, tapped, sent away, redeemed, helped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_agent.domain.effects import Count, RecordOutcome
from edge_agent.domain.ids import CampaignId, DecisionId, ProductId
from edge_agent.engine import calls, offers
from edge_agent.wire import events as wire

if TYPE_CHECKING:
    from edge_agent.domain.inputs import Arrival, StaffAnswered
    from edge_agent.engine.draft import Draft

_KINDS: Final = {
    "screen.shown": "shown",
    "screen.tapped": "tapped",
    "screen.dismissed": "dismissed",
}


def fed_back(draft: Draft, arrival: Arrival) -> None:
    """Joins a screen's or till's feedback to its decision."""
    data = arrival.event.data
    if isinstance(data, wire.OfferRedeemedData) and offers.redeemed(draft, arrival, data):
        return
    decision = getattr(data, "decision", None)
    if decision is None:
        draft.add(Count("feedback_without_decision"))
        return
    if isinstance(data, wire.OfferRedeemedData):
        named = draft.state.offered(DecisionId(decision), CampaignId(data.campaign))
        offers.answered(draft, DecisionId(decision), named, at_ms=arrival.at_ms)
        return
    product = data.product if isinstance(data, wire.ScreenFeedbackData) else None
    draft.add(
        RecordOutcome(
            decision=DecisionId(decision),
            kind=_KINDS[arrival.event.type],
            at_ms=arrival.at_ms,
            product=None if product is None else ProductId(product),
        )
    )
    draft.touch_summaries(arrival.at_ms)


def staff_answered(draft: Draft, answered: StaffAnswered) -> None:
    """Joins staff's answer to its alert, and to the call that this is of, if it is followed up."""
    feedback = answered.feedback
    call = draft.call(DecisionId(feedback.decision))
    if call is not None:
        calls.answered(draft, call, answered)
        return
    draft.add(
        RecordOutcome(
            decision=DecisionId(feedback.decision), kind=feedback.outcome, at_ms=answered.at_ms
        )
    )
