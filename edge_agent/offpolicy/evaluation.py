"""What another policy would have got on logged decisions, and whether that can be known at all.

Estimates are over the decisions in which the other policy's action had a probability; the logged
policy's own result is given over the same ones. Where that leaves too much out, or where so few
decisions carry the estimate that its interval would be a guess, the verdict says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.offpolicy.estimators import (
    Estimated,
    doubly_robust,
    effective_sample_size,
    inverse_probability,
    on_policy,
    self_normalised,
)
from edge_agent.offpolicy.intervals import Interval, interval_of, standard_error, unit_sums
from edge_agent.offpolicy.reward_model import predictions

if TYPE_CHECKING:
    from edge_agent.offpolicy.log import Floats, Log

ENOUGH: Final = "enough overlap"
TOO_LITTLE: Final = "too little overlap"
TOO_FEW: Final = "too few answers"
WRONG: Final = "logged probabilities do not fit"

LEAST_SUPPORTED: Final = 0.95
"""Share of decisions in which the other policy's action must have had a probability."""
LEAST_EFFECTIVE: Final = 50.0
"""Effective decisions under which not even a half is known to within 14 points."""
LEAST_ANSWERED: Final = 10.0
"""Effective units with an answer: under ten, an error is not known well enough for an interval."""
_MOST_ERRORS: Final = 5.0
# What adding up weights of exactly 1 may be off by.
_ROUNDING: Final = 1e-9
_RANGE: Final = (0.0, 1.0)
_DIFFERENCE: Final = (-1.0, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """An evaluation of another policy.

    Attributes:
        n: Decisions.
        n_units: Visits and the like.
        n_supported: Decisions in which the other policy's action had a probability.
        n_same: Of these, those in which it takes what was taken.
        effective: Effective sample size.
        mean_weight: 1 where the logged probabilities are right.
        largest_weight: Before clipping.
        clip: Weights were not let above this; None where they were not clipped.
        n_clipped: How many were.
        logged: What was got, over the supported decisions.
        estimates: By estimator: what the other policy would have got.
        differences: By estimator: how much more.
        verdict: `ENOUGH`, or why the numbers may not be relied on.
        why: The same in words.
    """

    n: int
    n_units: int
    n_supported: int
    n_same: int
    effective: float
    mean_weight: float
    largest_weight: float
    clip: float | None
    n_clipped: int
    logged: Interval | None
    estimates: dict[str, Interval]
    differences: dict[str, Interval]
    verdict: str
    why: str


def evaluated(log: Log, *, clip: float | None = None) -> Evaluation:
    """Returns what the other policy would have got.

    Args:
        log: The decisions.
        clip: The greatest weight that a decision may have, which lowers estimates and steadies
            them; None leaves weights as they are.
    """
    kept = log.only(log.is_supported)
    raw = kept.weights
    weights = raw if clip is None else np.minimum(raw, clip)
    logged = on_policy(kept.rewards) if kept.n else None
    estimated = _estimated(kept, weights) if weights.any() else {}
    verdict, why = _verdict(log, kept, raw, weights)
    return Evaluation(
        n=log.n,
        n_units=len(np.unique(log.units)),
        n_supported=kept.n,
        n_same=int(np.count_nonzero(kept.target)),
        effective=effective_sample_size(weights),
        mean_weight=float(raw.mean()) if kept.n else 0.0,
        largest_weight=float(raw.max()) if kept.n else 0.0,
        clip=clip,
        n_clipped=0 if clip is None else int(np.count_nonzero(raw > clip)),
        logged=None if logged is None else interval_of(logged, kept.units, bounds=_RANGE),
        estimates={
            name: interval_of(each, kept.units, bounds=_RANGE) for name, each in estimated.items()
        },
        differences={}
        if logged is None
        else {
            name: interval_of(each.less(logged), kept.units, bounds=_DIFFERENCE)
            for name, each in estimated.items()
        },
        verdict=verdict,
        why=why,
    )


def _estimated(log: Log, weights: Floats) -> dict[str, Estimated]:
    predicted, predicted_of_target = predictions(log)
    return {
        "ips": inverse_probability(log.rewards, weights),
        "snips": self_normalised(log.rewards, weights),
        "dr": doubly_robust(
            log.rewards, weights, predicted=predicted, predicted_of_target=predicted_of_target
        ),
    }


def _verdict(log: Log, kept: Log, raw: Floats, weights: Floats) -> tuple[str, str]:
    untried = _untried(log, kept, raw)
    if untried:
        return TOO_LITTLE, untried
    effective = effective_sample_size(weights)
    if effective < LEAST_EFFECTIVE:
        return TOO_LITTLE, (
            f"the decisions that count are worth {effective:.0f}, and {LEAST_EFFECTIVE:.0f} are"
            " needed"
        )
    ones = on_policy(raw)
    if abs(ones.value - 1.0) > max(_MOST_ERRORS * standard_error(ones, kept.units), _ROUNDING):
        return WRONG, f"weights average {ones.value:.3f}, and right ones average 1"
    answered = effective_sample_size(unit_sums(weights * kept.rewards, kept.units))
    if answered < LEAST_ANSWERED:
        return TOO_FEW, (
            f"the answers that count, a visit's as one, are worth {answered:.0f}, and"
            f" {LEAST_ANSWERED:.0f} are needed"
        )
    return ENOUGH, "what the other takes was tried often enough"


def _untried(log: Log, kept: Log, raw: Floats) -> str:
    """Returns why too much of what the other policy takes had no chance; empty where not."""
    if not log.n:
        return "nothing was logged that can be counted"
    if not kept.n:
        return "in no decision was there a chance of what the other takes"
    n_untried = log.n - kept.n
    if kept.n < LEAST_SUPPORTED * log.n:
        return f"in {n_untried / log.n:.0%} of decisions what the other takes had no chance"
    if n_untried and np.all(raw == 1.0):
        return "wherever the other takes something else, that had no chance"
    return ""
