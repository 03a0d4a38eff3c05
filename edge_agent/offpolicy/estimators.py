"""Inverse probabilities, the same self-normalised, and doubly robust; each with its influences.

Where the other policy says nothing it gets no answer: a reward of 0, known without a log. Each
estimator has these decisions in its mean: inverse probabilities by their weight of 0, doubly
robust by a prediction of 0, and the self-normalised one by its share of words (`self_normalised`).

A decision's influence is how much the estimate moves by it; influences sum to 0, and the interval
is made of them (`intervals`), so that a difference of two estimates is as easy as one.

Source: Dudik, Erhan, Langford and Li, "Doubly robust policy evaluation and optimization"
(Statistical Science 29, 2014); Swaminathan and Joachims, "The self-normalized estimator for
counterfactual learning" (NeurIPS 2015).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from edge_agent.offpolicy.log import Flags, Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimated:
    """An estimate and what each decision contributes to its error.

    Attributes:
        value: Mean reward of a decision.
        influences: Of each decision, float64, shape (n,).
    """

    value: float
    influences: Floats

    def less(self, other: Estimated) -> Estimated:
        """Returns the difference of two estimates on the same decisions."""
        return Estimated(
            value=self.value - other.value, influences=self.influences - other.influences
        )


def on_policy(rewards: Floats) -> Estimated:
    """Returns the mean of what was got."""
    return _mean(rewards)


def inverse_probability(rewards: Floats, weights: Floats) -> Estimated:
    """Returns the mean of weight x reward: right in expectation, whatever the sample."""
    return _mean(weights * rewards)


def self_normalised(
    rewards: Floats, weights: Floats, *, is_silent: Flags | None = None
) -> Estimated:
    """Returns the weighted mean of rewards: hardly biased, far steadier, never out of range.

    Weights make up for chance where the other policy takes something; where it says nothing there
    was none to make up for. So the weighted mean is that of the decisions in which it speaks, and
    is multiplied by their share of all, which is known: share x sum(w r) / sum(w). Not chosen: to
    count each silence as a weight of 1 below, since the value then moves with the scale of weights
    again, which is what normalising is for.

    Args:
        rewards: Shape (n,).
        weights: 0 where it says nothing; shape (n,).
        is_silent: Where that is; None for nowhere.

    Raises:
        ZeroDivisionError: It speaks, and no decision has a weight.
    """
    is_spoken = np.ones(len(rewards)) if is_silent is None else 1.0 - is_silent
    share = float(is_spoken.mean())
    if share == 0:
        return _mean(np.zeros(len(rewards)))
    total = float(weights.sum())
    if total == 0:
        raise ZeroDivisionError("no decision has a weight")
    mean = float(weights @ rewards) / total
    # What it gets where it speaks, and how often it does: either may have come out otherwise.
    of_mean = share * weights * (rewards - mean) * len(rewards) / total
    return Estimated(value=share * mean, influences=of_mean + mean * (is_spoken - share))


def doubly_robust(
    rewards: Floats, weights: Floats, *, predicted: Floats, predicted_of_target: Floats
) -> Estimated:
    """Returns what a model predicts, and where it was seen to err, the weighted error.

    Args:
        rewards: Shape (n,).
        weights: Shape (n,).
        predicted: Of the action taken, by a model that did not see this decision; shape (n,).
        predicted_of_target: The same of what the other policy takes, 0 where it takes nothing;
            shape (n,).
    """
    return _mean(predicted_of_target + weights * (rewards - predicted))


def effective_sample_size(weights: Floats) -> float:
    """Returns how many equally weighted decisions are worth as much (Kish).

    Example:
        >>> effective_sample_size(np.array([1.0, 1.0, 0.0, 0.0]))
        2.0
    """
    squares = float(weights @ weights)
    return float(weights.sum()) ** 2 / squares if squares else 0.0


def _mean(values: Floats) -> Estimated:
    value = float(np.mean(values))
    return Estimated(value=value, influences=values - value)
