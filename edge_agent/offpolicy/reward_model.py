"""A simple model of the reward: ridge regression, cross-fitted over units.

It is linear, so that what it predicts of a policy that takes several actions is what it predicts
of their expected features. Doubly robust estimates stay right when it is wrong; it only makes them
steadier.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from edge_agent.offpolicy.log import Floats, Log

FOLDS: Final = 5
RIDGE: Final = 1.0
"""Penalty on a standardised feature: as much as one decision says of it."""


def predictions(log: Log) -> tuple[Floats, Floats]:
    """Returns the predicted rewards of what was taken and of what the other policy takes.

    To say nothing gets no answer: that is no prediction, and 0. No prediction rests on a decision
    of the same unit. Shapes (n,) and (n,).
    """
    _, unit = np.unique(log.units, return_inverse=True)
    fold = unit % FOLDS
    taken, target = np.zeros(log.n), np.zeros(log.n)
    for number in range(FOLDS):
        is_held_out = fold == number
        intercept, slopes = _fitted(log.features[~is_held_out], log.rewards[~is_held_out])
        taken[is_held_out] = intercept + log.features[is_held_out] @ slopes
        target[is_held_out] = intercept + log.target_features[is_held_out] @ slopes
    return taken, np.where(log.is_silent, 0.0, target)


def _fitted(features: Floats, rewards: Floats) -> tuple[float, Floats]:
    """Returns intercept and slopes; a feature that never changes says nothing."""
    if not len(rewards):
        return 0.0, np.zeros(features.shape[1])
    means, spreads = features.mean(axis=0), features.std(axis=0)
    usable = spreads > 0
    standard = (features[:, usable] - means[usable]) / spreads[usable]
    mean = float(rewards.mean())
    gram = standard.T @ standard + RIDGE * np.eye(standard.shape[1])
    slopes = np.zeros(features.shape[1])
    slopes[usable] = np.linalg.solve(gram, standard.T @ (rewards - mean)) / spreads[usable]
    return mean - float(means @ slopes), slopes
