"""Takes a decision again from its record: as it was, or under another model or other numbers.

What a record cannot hold is handed in: the model, a zone's products, departments, the policy's
numbers. Everything else (the instant, the basket, the history, who asked, what was ruled out for
lack of stock) is the record's own. The stages are those that decided: scorer, gates, arbitration.
`verification` compares what comes out with what is recorded.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from edge_agent.decide.arbitration import arbitrated
from edge_agent.decide.audience import company_from
from edge_agent.decide.candidates import CANDIDATES_BEYOND, gated
from edge_agent.decide.eligibility import BEFORE_UNHEARD, UNHEARD, is_unheard, refusal_of
from edge_agent.decide.gates import Shelf
from edge_agent.decide.known import known_from
from edge_agent.decide.rule_record import record_under, silent_document
from edge_agent.decide.trace import concern_from, decision_id_from, record_of, request_from
from edge_agent.decide.under_rules import (
    Question,
    explained,
    level_of,
    outlook_of,
    ruled,
    scored_for,
    unexplained,
)
from edge_agent.domain.decisions import Candidate, Cause, Moment, Place, Suppression
from edge_agent.domain.ids import CampaignId, ProductId
from edge_agent.domain.rules import NEUTRAL, Rules
from edge_agent.replay.audiences import as_allowed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_agent.decide.known import Known
    from edge_agent.decide.under_rules import Outlook
    from edge_agent.domain.ids import DecisionId
    from edge_agent.domain.policy import Policy
    from edge_agent.domain.scoring import ScoringRequest
    from edge_agent.ports import Catalogue, Scorer

STOCK: Final = "stock"
"""The gate whose reason lies outside the record: what the shelves held then."""
NO_WHOLE_RECORD: Final = (
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
)
"""What it ends in to take a decision again from a record that is none, or was changed."""
_DEFAULT: Final = "store_default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Knowledge:
    """What a decision rests on beside its record.

    Attributes:
        scorer: The model that decided, or another.
        catalogue: Which products a zone sells.
        departments: Of each product.
        policy: The numbers that it was decided by, or others.
        rules: The chain's rules that it was decided under, or others.
        minimum_ages: Years from which somebody may be told of products, of those that have any.
        currency: In which the catalogue's prices stand in for those that no record holds, where
            other rules or another model look at them; None where a record alone decides.
    """

    scorer: Scorer
    catalogue: Catalogue
    departments: Mapping[ProductId, str]
    policy: Policy
    rules: Rules = NEUTRAL
    minimum_ages: Mapping[ProductId, int] = field(default_factory=lambda: MappingProxyType({}))
    currency: str | None = None

    def price(self, knew: Known, product: ProductId) -> str | None:
        """Returns what a product cost when a decision was taken, or else costs by now."""
        recorded = knew.prices.get(product)
        if recorded is not None or self.currency is None:
            return recorded
        found = self.catalogue.product(product)
        return None if found is None else found.price_in(self.currency)


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A decision that was taken again.

    Attributes:
        request: What the scorer was asked; None where silence or a rule answered.
        candidates: All that passed the gates, as the scorer ranked them.
        chosen: The answer, best first.
        popular: What popularity alone would have answered.
        notice: The text beside the answer, by its campaign.
        record: The record that a decision under rules leaves; None without rules.
        missed: Campaigns in whose place what sells best stands, for their control group.
    """

    moment: Moment
    request: ScoringRequest | None
    candidates: tuple[Candidate, ...]
    refused: tuple[Suppression, ...]
    chosen: tuple[Candidate, ...]
    popular: tuple[ProductId, ...]
    level: str
    notice: CampaignId | None = None
    record: str | None = None
    missed: tuple[CampaignId, ...] = ()


def taken_again(told: dict[str, Any], known: Knowledge) -> Taken:
    """Returns the decision on a recorded moment.

    Args:
        told: The record, decoded.
        known: What else it rests on.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: It is no whole record.
    """
    told = as_allowed(told)
    if "rules" in told:
        return _under_rules(told, known)
    request = _request(told, known.catalogue)
    hq_silent_days = told.get("hq_silent_days")
    if is_unheard(hq_silent_days, known.policy):
        request = None
    moment = _moment(told, request, known.policy)
    candidates: tuple[Candidate, ...] = ()
    popular: tuple[ProductId, ...] = ()
    if request is None:
        refused = _silenced(told, hq_silent_days, known.policy)
        level = "silence" if refused else "rule"
    else:
        stock = frozenset(
            ProductId(each.product) for each in _suppressions(told["ruled_out"], STOCK)
        )
        is_late = "left_ms" in told
        candidates, refused, level = _ranked(moment, request, stock, known, is_late=is_late)
        popular = _popular(moment, request, stock, known)
    return Taken(
        moment=moment,
        request=request,
        candidates=candidates,
        refused=refused,
        chosen=arbitrated(candidates, limit=moment.limit),
        popular=popular,
        level=level,
    )


def moment_of(told: dict[str, Any], known: Knowledge) -> Moment:
    """Returns the moment that a recorded decision answered.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: It is no whole record.
    """
    return _moment(told, _request(told, known.catalogue), known.policy)


def record_again(told: dict[str, Any], known: Knowledge) -> str:
    """Returns the record that a recorded decision leaves when it is taken again."""
    taken, policy = taken_again(told, known), known.policy
    if taken.record is not None:
        return taken.record
    moment = taken.moment
    return record_of(
        _id(told, moment),
        moment,
        now_ms=told["now"],
        request=taken.request,
        candidates=taken.candidates[: policy.n_logged_candidates],
        suppressions=taken.refused,
        chosen=taken.chosen,
        popular=taken.popular,
        level=taken.level,
        model=known.scorer.version,
        policy=policy.version,
        seed=told["seed"],
        hq_silent_days=told.get("hq_silent_days"),
        left_ms=told.get("left_ms"),
    )


def _under_rules(told: dict[str, Any], known: Knowledge) -> Taken:
    """Returns the decision on a recorded moment under rules, those of `known`."""
    hq_silent_days = told.get("hq_silent_days")
    was_known = told["rules"].get("known")
    request = _request(told, known.catalogue)
    if request is not None:
        request = replace(request, with_reasons=False)
    if is_unheard(hq_silent_days, known.policy):
        was_known, request = None, None
    moment = _moment(told, request, known.policy)
    if was_known is None:
        return _silent(told, known, moment, _silenced(told, hq_silent_days, known.policy), None)
    knew = known_from(was_known)
    outlook = outlook_of(moment, knew, known.rules, now_ms=told["now"])
    if outlook.silence is not None:
        return _silent(told, known, moment, (outlook.silence,), knew)
    if request is None:
        # A rule silenced it and would not now: what would have been asked was never recorded.
        raise ValueError("it was silence, and is none now")
    moment = replace(moment, limit=told["rules"]["limit"])
    question = _question(told, known, moment, request, knew)
    return _answered(known, question, outlook, request, hq_silent_days)


def _question(
    told: dict[str, Any], known: Knowledge, moment: Moment, request: ScoringRequest, knew: Known
) -> Question:
    scored, popular = scored_for(known.scorer, request, moment, knew)
    return Question(
        decision=_id(told, moment),
        moment=moment,
        now_ms=told["now"],
        seed=told["seed"],
        policy=known.policy,
        rules=known.rules,
        known=knew,
        scored=scored,
        popular=popular,
    )


def _answered(
    known: Knowledge,
    question: Question,
    outlook: Outlook,
    request: ScoringRequest,
    hq_silent_days: int | None,
) -> Taken:
    shelf = Shelf(
        out_of_stock=question.known.out_of_stock,
        departments=known.departments,
        minimum_ages=known.minimum_ages,
        product=known.catalogue.product,
        price=partial(known.price, question.known),
    )
    ruling = ruled(question, outlook, shelf)
    unsaid = unexplained(ruling)
    ruling = explained(ruling, known.scorer.reasons(request, unsaid) if unsaid else {})
    level = level_of(ruling, question.moment, question.known, scored_by=known.scorer.level)
    model = known.scorer.version
    return Taken(
        moment=question.moment,
        request=request,
        candidates=ruling.pick.logged,
        refused=ruling.refused,
        chosen=ruling.pick.chosen,
        popular=ruling.popular,
        level=level,
        notice=None if ruling.notice is None else ruling.notice.campaign.id,
        record=record_under(
            ruling, question, request, level=level, model=model, hq_silent_days=hq_silent_days
        ),
        missed=ruling.missed,
    )


def _silent(
    told: dict[str, Any],
    known: Knowledge,
    moment: Moment,
    refused: tuple[Suppression, ...],
    knew: Known | None,
) -> Taken:
    level = "silence" if refused else "rule"
    record = record_of(
        _id(told, moment),
        moment,
        now_ms=told["now"],
        request=None,
        candidates=(),
        suppressions=refused,
        chosen=(),
        popular=(),
        level=level,
        model=known.scorer.version,
        policy=known.policy.version,
        seed=told["seed"],
        hq_silent_days=told.get("hq_silent_days"),
        rules=silent_document(known.rules, knew),
    )
    return Taken(
        moment=moment,
        request=None,
        candidates=(),
        refused=refused,
        chosen=(),
        popular=(),
        level=level,
        record=record,
    )


def _id(told: dict[str, Any], moment: Moment) -> DecisionId:
    return decision_id_from(
        moment.cause, moment.kind, moment.place, now_ms=told["now"], seed=told["seed"]
    )


def _silenced(
    told: dict[str, Any], hq_silent_days: int | None, policy: Policy
) -> tuple[Suppression, ...]:
    """Returns what ruled everything out; that of HQ's silence follows from its days."""
    recorded = _suppressions(told["ruled_out"])
    if any(each.gate in BEFORE_UNHEARD for each in recorded):
        return recorded
    if is_unheard(hq_silent_days, policy):
        return (UNHEARD,)
    return tuple(each for each in recorded if each != UNHEARD)


def _request(told: dict[str, Any], catalogue: Catalogue) -> ScoringRequest | None:
    stored = told["request"]
    if stored is None or stored["zone_products"] is None:
        return request_from(told)
    # A record counts a zone's products; which they are is the layout's and the catalogue's.
    whole = request_from({**told, "request": {**stored, "zone_products": None}})
    zone = told["place"]["zone"]
    if whole is None or zone is None:
        return whole
    return replace(whole, zone_products=catalogue.products_in(zone))


def _ranked(
    moment: Moment,
    request: ScoringRequest,
    stock: frozenset[ProductId],
    known: Knowledge,
    *,
    is_late: bool,
) -> tuple[tuple[Candidate, ...], tuple[Suppression, ...], str]:
    is_default = moment.kind == _DEFAULT or is_late
    scored = known.scorer.popular(request) if is_default else known.scorer.rank(request)
    candidates, refused = gated(
        scored,
        moment,
        out_of_stock=stock,
        departments=known.departments,
        product_of=known.catalogue.product,
        policy=known.policy,
        minimum_ages=known.minimum_ages,
    )
    level = "default" if is_default or not candidates else known.scorer.level
    return candidates, refused, level


def _popular(
    moment: Moment, request: ScoringRequest, stock: frozenset[ProductId], known: Knowledge
) -> tuple[ProductId, ...]:
    if moment.visitor is None:
        return ()
    kept = [
        each.product
        for each in known.scorer.popular(request)
        if refusal_of(
            each.product,
            moment,
            out_of_stock=stock,
            departments=known.departments,
            product_of=known.catalogue.product,
            policy=known.policy,
            minimum_ages=known.minimum_ages,
        )
        is None
    ]
    return tuple(kept[: moment.limit])


def _moment(told: dict[str, Any], request: ScoringRequest | None, policy: Policy) -> Moment:
    basket = () if request is None else request.basket
    return Moment(
        kind=told["moment"],
        cause=Cause(**told["cause"]),
        place=Place(**told["place"]),
        visitor=told["visitor"],
        visit=told["visit"],
        member=told["member"],
        holder=told.get("holder"),
        in_basket=basket,
        limit=_limit(told, request, policy),
        dwell_ms=told["dwell_ms"],
        concern=None if "concern" not in told else concern_from(told["concern"]),
        company=None if "company" not in told else company_from(told["company"]),
    )


def _limit(told: dict[str, Any], request: ScoringRequest | None, policy: Policy) -> int:
    if request is not None and request.limit > policy.n_logged_candidates:
        # What was asked of the scorer is what is shown and a fixed number beyond.
        return request.limit - CANDIDATES_BEYOND - len(request.basket)
    return policy.n_receipt_items if told["place"]["channel"] == "receipt" else policy.n_items


def _suppressions(told: list[list[str]], gate: str | None = None) -> tuple[Suppression, ...]:
    return tuple(
        Suppression(product=product, gate=name, reason=reason)
        for product, name, reason in told
        if gate is None or name == gate
    )
