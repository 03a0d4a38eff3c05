"""One moment becomes one decision under the chain's rules: gather, decide, record.

Without rules `engine.deciding` decides by itself, and nothing of this runs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from edge_agent.decide.candidates import request_for
from edge_agent.decide.gates import Shelf
from edge_agent.decide.rule_record import record_under, silent_document
from edge_agent.decide.trace import decision_id_from, record_of
from edge_agent.decide.under_rules import (
    RANKED,
    STORE_DEFAULT,
    Question,
    Ruling,
    action_of,
    explained,
    level_of,
    looked_at,
    outlook_of,
    ruled,
    scored_for,
    unexplained,
)
from edge_agent.domain.decisions import Decision
from edge_agent.engine import gathering, goods

if TYPE_CHECKING:
    from edge_agent.decide.known import Known
    from edge_agent.decide.under_rules import Outlook
    from edge_agent.domain.decisions import Moment, Suppression
    from edge_agent.domain.ids import DecisionId, ProductId, VisitorId
    from edge_agent.domain.scoring import ScoringRequest
    from edge_agent.engine.draft import Draft


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What is settled of a decision before its answer is.

    Attributes:
        silence: Why nothing may be said, whatever the rules are; None when something may.
        hq_silent_days: The days without HQ that this rests on, if any.
    """

    moment: Moment
    silence: Suppression | None
    hq_silent_days: int | None
    valid_until_ms: int


def decision_under_rules(draft: Draft, frame: Frame) -> Decision:
    """Returns the decision on a moment, with its record."""
    moment, context = frame.moment, draft.context
    if frame.silence is not None:
        return _silent(draft, frame, frame.silence, None)
    said = gathering.contacts_at(draft, moment)
    known = gathering.known_at(draft, moment, said)
    outlook = outlook_of(moment, known, context.rules, now_ms=context.now_ms)
    if outlook.silence is not None:
        return _silent(draft, frame, outlook.silence, known)
    known = gathering.with_campaigns(draft, moment, known, outlook.campaigns, said)
    request = _request(draft, moment)
    question = _question(draft, moment, known, request, outlook)
    shelf = Shelf(
        out_of_stock=question.known.out_of_stock,
        departments=draft.state.departments(),
        minimum_ages=draft.state.minimum_ages(),
        product=context.catalogue.product,
        price=partial(goods.known_price, draft),
    )
    ruling = ruled(question, outlook, shelf)
    ruling = explained(ruling, _reasons(draft, request, ruling))
    return _answered(draft, frame, question, request, ruling)


def silence_under_rules(draft: Draft, moment: Moment) -> Suppression | None:
    """Returns why the chain's rules let nothing be said at a moment; None when something may."""
    said = gathering.contacts_at(draft, moment)
    known = gathering.known_at(draft, moment, said)
    return outlook_of(moment, known, draft.context.rules, now_ms=draft.context.now_ms).silence


def _request(draft: Draft, moment: Moment) -> ScoringRequest:
    context = draft.context
    zone = moment.place.zone if moment.kind == STORE_DEFAULT else None
    member = gathering.usable_member(draft, moment)
    return replace(
        request_for(
            moment,
            now_ms=context.now_ms,
            local=context.local,
            history=() if member is None else member.profile.history,
            zone_products=None if zone is None else context.catalogue.products_in(zone),
            n_logged=RANKED,
            plans=draft.state.plans(),
        ),
        with_reasons=False,
    )


def _question(
    draft: Draft, moment: Moment, known: Known, request: ScoringRequest, outlook: Outlook
) -> Question:
    context = draft.context
    scored, popular = scored_for(context.scorer, request, moment, known)
    question = Question(
        decision=_id(draft, moment),
        moment=moment,
        now_ms=context.now_ms,
        seed=context.seed,
        policy=context.policy,
        rules=context.rules,
        known=known,
        scored=scored,
        popular=popular,
    )
    gone = draft.state.out_of_stock()
    if not gone:
        return question
    gone = looked_at(question, outlook) & gone
    return replace(question, known=replace(known, out_of_stock=gone))


def _reasons(draft: Draft, request: ScoringRequest, ruling: Ruling) -> dict[ProductId, str]:
    unsaid = unexplained(ruling)
    return draft.context.scorer.reasons(request, unsaid) if unsaid else {}


def _id(draft: Draft, moment: Moment) -> DecisionId:
    context = draft.context
    return decision_id_from(
        moment.cause, moment.kind, moment.place, now_ms=context.now_ms, seed=context.seed
    )


def _silent(draft: Draft, frame: Frame, silence: Suppression, known: Known | None) -> Decision:
    context, moment = draft.context, frame.moment
    decision = _id(draft, moment)
    record = record_of(
        decision,
        moment,
        now_ms=context.now_ms,
        request=None,
        candidates=(),
        suppressions=(silence,),
        chosen=(),
        popular=(),
        level="silence",
        model=context.scorer.version,
        policy=context.policy.version,
        seed=context.seed,
        hq_silent_days=frame.hq_silent_days,
        rules=silent_document(context.rules, known),
    )
    return Decision(
        id=decision,
        moment=moment,
        decided_at_ms=context.now_ms,
        chosen=(),
        popular=(),
        suppressions=(silence,),
        level="silence",
        model=context.scorer.version,
        policy=context.policy.version,
        valid_until_ms=frame.valid_until_ms,
        record=record,
    )


def _answered(
    draft: Draft, frame: Frame, question: Question, request: ScoringRequest, ruling: Ruling
) -> Decision:
    context, moment = draft.context, frame.moment
    level = level_of(ruling, moment, question.known, scored_by=context.scorer.level)
    return Decision(
        id=question.decision,
        moment=moment,
        decided_at_ms=context.now_ms,
        chosen=ruling.pick.chosen,
        popular=ruling.popular,
        suppressions=ruling.refused,
        level=level,
        model=context.scorer.version,
        policy=context.policy.version,
        valid_until_ms=frame.valid_until_ms,
        record=record_under(
            ruling,
            question,
            request,
            level=level,
            model=context.scorer.version,
            hq_silent_days=frame.hq_silent_days,
        ),
        campaigns=ruling.campaigns,
        missed=ruling.missed,
        notice=ruling.notice,
        unit=question.known.unit if ruling.assignments else None,
        lender=_lender(draft, moment) if ruling.assignments else None,
        assignments=ruling.assignments,
        tried=_tried(context.local.day, ruling),
    )


def _lender(draft: Draft, moment: Moment) -> VisitorId | None:
    # A card lasts beyond the visit; a basket is one itself, and is bought with.
    is_himself = moment.visitor == moment.member
    return gathering.lender_of(draft, moment) if is_himself else None


def _tried(day: str, ruling: Ruling) -> str | None:
    return f"{day} {action_of(ruling.pick.chosen[0])}" if ruling.pick.probabilities else None
