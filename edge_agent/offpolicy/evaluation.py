"""What another policy would have got on logged decisions, and whether that can be known at all.

Estimates are over the decisions in which the other policy's action had a probability and those in
which it says nothing, and so gets no answer; the logged policy's own result is given over the same
ones. Left out is where it takes what had no chance. Where that is too much of what it says, or
where so few decisions carry the estimate that its interval would be a guess, the verdict says so.
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
"""Share of what the other policy says that must have had a probability."""
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
        n_silent: Decisions in which the other policy says nothing.
        n_estimated: Both together: what estimates are over.
        effective: Effective sample size of what it says.
        mean_weight: Of what it says: 1 where the logged probabilities are right.
        largest_weight: Before clipping.
        clip: Weights were not let above this; None where they were not clipped.
        n_clipped: How many were.
        logged: What was got, over the same decisions as the estimates.
        estimates: By estimator: what the other policy would have got.
        differences: By estimator: how much more.
        verdict: `ENOUGH`, or why the numbers may not be relied on.
        why: The same in words.
    """

    n: int
    n_units: int
    n_supported: int
    n_same: int
    n_silent: int
    n_estimated: int
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
    kept = log.only(log.is_supported | log.is_silent)
    raw, spoken = kept.weights, log.only(log.is_supported).weights
    weights = raw if clip is None else np.minimum(raw, clip)
    logged = on_policy(kept.rewards) if kept.n else None
    is_known = weights.any() or (kept.n and not spoken.size)
    estimated = _estimated(kept, weights) if is_known else {}
    verdict, why = _verdict(log, kept, weights)
    return Evaluation(
        n=log.n,
        n_units=len(np.unique(log.units)),
        n_supported=len(spoken),
        n_same=int(np.count_nonzero(kept.target)),
        n_silent=int(np.count_nonzero(log.is_silent)),
        n_estimated=kept.n,
        effective=effective_sample_size(weights),
        mean_weight=float(spoken.mean()) if spoken.size else 0.0,
        largest_weight=float(spoken.max()) if spoken.size else 0.0,
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
        "snips": self_normalised(log.rewards, weights, is_silent=log.is_silent),
        "dr": doubly_robust(
            log.rewards, weights, predicted=predicted, predicted_of_target=predicted_of_target
        ),
    }


def _verdict(log: Log, kept: Log, weights: Floats) -> tuple[str, str]:
    untried = _untried(log)
    if untried:
        return TOO_LITTLE, untried
    is_spoken = ~kept.is_silent
    if not is_spoken.any():
        few = _few(kept.rewards, kept, "answers")
        return (TOO_FEW, few) if few else (ENOUGH, "what says nothing gets no answer")
    effective = effective_sample_size(weights)
    if effective < LEAST_EFFECTIVE:
        return TOO_LITTLE, (
            f"the decisions that count are worth {effective:.0f}, and {LEAST_EFFECTIVE:.0f} are"
            " needed"
        )
    spoken = kept.only(is_spoken)
    ones = on_policy(spoken.weights)
    if abs(ones.value - 1.0) > max(_MOST_ERRORS * standard_error(ones, spoken.units), _ROUNDING):
        return WRONG, f"weights average {ones.value:.3f}, and right ones average 1"
    few = _few(weights * kept.rewards, kept, "answers that count")
    if not few and kept.is_silent.any() and np.all(spoken.weights == 1.0):
        # All that tells both apart is what was answered where the other says nothing.
        few = _few(kept.is_silent * kept.rewards, kept, "answers where the other says nothing")
    return (TOO_FEW, few) if few else (ENOUGH, "what the other takes was tried often enough")


def _few(answers: Floats, log: Log, which: str) -> str:
    """Returns that answers are too few for an interval; empty where they are not."""
    answered = effective_sample_size(unit_sums(answers, log.units))
    if answered >= LEAST_ANSWERED:
        return ""
    return (
        f"the {which}, a visit's as one, are worth {answered:.0f}, and {LEAST_ANSWERED:.0f} are"
        " needed"
    )


def _untried(log: Log) -> str:
    """Returns why too much of what the other policy takes had no chance; empty where not."""
    if not log.n:
        return "nothing was logged that can be counted"
    tried = log.only(log.is_supported)
    n_said = log.n - int(np.count_nonzero(log.is_silent))
    n_untried = n_said - tried.n
    if n_said and not tried.n:
        return "in no decision was there a chance of what the other takes"
    if tried.n < LEAST_SUPPORTED * n_said:
        return (
            f"in {n_untried / n_said:.0%} of the decisions in which the other takes something that"
            " had no chance"
        )
    if n_untried and np.all(tried.weights == 1.0):
        return "wherever the other takes something else, that had no chance"
    return ""
