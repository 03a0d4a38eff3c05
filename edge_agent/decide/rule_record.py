"""The record of a decision under the chain's rules: what it rests on, and what became of it.

Nothing is decided here. A decision taken again makes the same record, byte for byte.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edge_agent.decide.known import document_of as known_document
from edge_agent.decide.trace import PROPENSITY_DIGITS, record_of
from edge_agent.decide.under_rules import action_of

if TYPE_CHECKING:
    from edge_agent.decide.campaigns import Shut
    from edge_agent.decide.known import Known
    from edge_agent.decide.under_rules import Question, Ruling
    from edge_agent.domain.decisions import Notice
    from edge_agent.domain.rules import Rules
    from edge_agent.domain.scoring import ScoringRequest


def record_under(
    ruling: Ruling,
    question: Question,
    request: ScoringRequest,
    *,
    level: str,
    model: str,
    hq_silent_days: int | None,
) -> str:
    """Returns the record of an answer under rules."""
    return record_of(
        question.decision,
        question.moment,
        now_ms=question.now_ms,
        request=request,
        candidates=ruling.pick.logged,
        suppressions=ruling.refused,
        chosen=ruling.pick.chosen,
        popular=ruling.popular,
        level=level,
        model=model,
        policy=question.policy.version,
        seed=question.seed,
        hq_silent_days=hq_silent_days,
        action_probability=ruling.pick.probability,
        arm=ruling.arm,
        rules=_document(ruling, question),
    )


def silent_document(rules: Rules, known: Known | None) -> dict[str, Any]:
    """Returns what a silence's record holds of the rules; `known` where they are the reason."""
    document: dict[str, Any] = {"version": rules.version, "digest": rules.digest}
    if known is not None:
        document["known"] = known_document(known)
    return document


def _document(ruling: Ruling, question: Question) -> dict[str, Any]:
    rules, moment = question.rules, question.moment
    document: dict[str, Any] = {
        "version": rules.version,
        "digest": rules.digest,
        "limit": moment.limit,
        "known": known_document(_needed(question.known, ruling)),
        "held": [each.id for each in ruling.outlook.saying.rules],
        "n_candidates": ruling.n_candidates,
        "offers": {
            each.scored.product: each.campaign.id for each in ruling.pick.chosen if each.campaign
        },
        "notice": None if ruling.notice is None else ruling.notice.campaign.id,
        "notices": [_notice(each) for each in ruling.notices],
        "shut": _grouped(ruling.shut),
    }
    if ruling.assignments:
        document["arms"] = {each.campaign: each.arm for each in ruling.assignments}
    if ruling.missed:
        document["missed"] = list(ruling.missed)
    if ruling.pick.probabilities:
        document["probabilities"] = list(ruling.pick.probabilities)
    return document


def _needed(known: Known, ruling: Ruling) -> Known:
    """Returns what is known, of prices and of what was tried that which was looked at alone."""
    if known.prices or ruling.prices:
        known = replace(known, prices=ruling.prices)
    if not known.tried:
        return known
    names = (action_of(each) for each in ruling.pick.logged)
    return replace(known, tried={name: known.tried[name] for name in names if name in known.tried})


def _notice(notice: Notice) -> list[Any]:
    campaign = notice.campaign
    factors = [notice.propensity, campaign.value, notice.context, notice.lever]
    return [campaign.id, *factors, round(notice.score, PROPENSITY_DIGITS)]


def _grouped(shut: tuple[Shut, ...]) -> list[list[Any]]:
    """Returns campaigns that were kept out, those of one gate and reason together."""
    found: dict[tuple[str, str], list[str]] = {}
    for each in shut:
        found.setdefault((each.gate, each.reason), []).append(each.campaign)
    return [[gate, reason, named] for (gate, reason), named in found.items()]
