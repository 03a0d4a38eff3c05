"""Candidates for a moment: what the scorer ranks, given what the moment may rest on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_agent.decide.eligibility import NO_AGES, may_rule_out, may_use_history, refusal_of
from edge_agent.domain.decisions import Candidate
from edge_agent.domain.identity import once_each
from edge_agent.domain.scoring import ScoringRequest
from edge_agent.domain.time import datetime_from_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge_agent.domain.decisions import Moment, Suppression
    from edge_agent.domain.ids import ProductId
    from edge_agent.domain.policy import Policy
    from edge_agent.domain.scoring import PastBasket, PromotionPlan, ScoredProduct
    from edge_agent.domain.store import Product
    from edge_agent.domain.time import LocalTime

# Asked beyond what is shown, so that gates may rule some out and places are still filled.
CANDIDATES_BEYOND: Final = 12
# Answers of the scorer whose candidates are kept ready.
KEPT_ANSWERS: Final = 128


def request_for(
    moment: Moment,
    *,
    now_ms: int,
    local: LocalTime,
    history: tuple[PastBasket, ...],
    zone_products: frozenset[ProductId] | None,
    n_logged: int,
    plans: tuple[PromotionPlan, ...] = (),
) -> ScoringRequest:
    """Returns the scoring request of a moment; history only where its audience may see it."""
    return ScoringRequest(
        now=datetime_from_ms(now_ms),
        hour=local.hour,
        weekday=local.weekday,
        week=plan_on(local.day, plans) if plans else None,
        basket=moment.in_basket,
        history=history if may_use_history(moment.place.audience) else (),
        zone_products=zone_products,
        limit=max(n_logged, moment.limit + CANDIDATES_BEYOND + len(moment.in_basket)),
    )


def plan_on(day: str, plans: tuple[PromotionPlan, ...]) -> int | None:
    """Returns the number of the newest plan of promotions for a store-local day."""
    there = (each.number for each in plans if each.from_day <= day < each.until_day)
    return max(there, default=None)


def gated(
    scored: tuple[ScoredProduct, ...],
    moment: Moment,
    *,
    out_of_stock: frozenset[ProductId],
    departments: Mapping[ProductId, str],
    product_of: Callable[[ProductId], Product | None],
    policy: Policy,
    minimum_ages: Mapping[ProductId, int] = NO_AGES,
) -> tuple[tuple[Candidate, ...], tuple[Suppression, ...]]:
    """Returns the candidates that pass every gate, and why the others do not."""
    everyone = _candidates_of(scored)
    products = _products_of(scored)
    if not may_rule_out(
        products,
        moment,
        out_of_stock=out_of_stock,
        departments=departments,
        policy=policy,
        minimum_ages=minimum_ages,
    ):
        return everyone, ()
    kept: list[Candidate] = []
    refused: list[Suppression] = []
    for candidate, each in zip(everyone, scored, strict=True):
        refusal = refusal_of(
            each.product,
            moment,
            out_of_stock=out_of_stock,
            departments=departments,
            product_of=product_of,
            policy=policy,
            minimum_ages=minimum_ages,
        )
        if refusal is None:
            kept.append(candidate)
        else:
            refused.append(refusal)
    return tuple(kept), tuple(refused)


@once_each(KEPT_ANSWERS)
def _candidates_of(scored: tuple[ScoredProduct, ...]) -> tuple[Candidate, ...]:
    return tuple(Candidate(scored=each) for each in scored)


@once_each(KEPT_ANSWERS)
def _products_of(scored: tuple[ScoredProduct, ...]) -> frozenset[ProductId]:
    return frozenset(each.product for each in scored)
