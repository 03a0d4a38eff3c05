"""95 % intervals: the central limit theorem over units, with Student's t.

Decisions of one visit share their fate, so that a sum of influences over a visit is one
observation. Not chosen: empirical Bernstein, which holds for any sample, is wider than the range
of rewards at the weights that exploration brings (1/0.001); the bootstrap gives what this gives,
for a thousand times the work. It is wrong where few decisions carry the estimate: those cases are
told apart before (`evaluation`).
"""

from __future__ import annotations

from statistics import NormalDist
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from edge_agent.offpolicy.estimators import effective_sample_size

if TYPE_CHECKING:
    from edge_agent.offpolicy.estimators import Estimated
    from edge_agent.offpolicy.log import Floats, Ints

CONFIDENCE: Final = 0.95
LEAST_FREEDOM: Final = 4.0
"""Under it the series of `student_t` is off, and the verdict is against relying on it anyway."""
_Z: Final = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)


class Interval(NamedTuple):
    """An estimate with its bounds."""

    value: float
    low: float
    high: float


def standard_error(estimated: Estimated, units: Ints) -> float:
    """Returns the standard error over units; infinite where there are not two."""
    sums = unit_sums(estimated.influences, units)
    n_units = len(sums)
    if n_units <= 1:
        return float("inf")
    return float(np.sqrt(sums @ sums * n_units / (n_units - 1))) / len(units)


def interval_of(estimated: Estimated, units: Ints, *, bounds: tuple[float, float]) -> Interval:
    """Returns the 95 % interval, within what is possible at all.

    Args:
        estimated: Value and influences.
        units: Which decisions share their fate.
        bounds: Least and greatest possible value.
    """
    error = standard_error(estimated, units)
    half = student_t(_freedom(unit_sums(estimated.influences, units))) * error if error else 0.0
    value, (low, high) = estimated.value, bounds
    # An unbiased estimate may itself be out of bounds.
    return Interval(value, min(value, max(low, value - half)), max(value, min(high, value + half)))


def unit_sums(values: Floats, units: Ints) -> Floats:
    """Returns what the decisions of each unit add up to, float64, shape (n_units,)."""
    _, index = np.unique(units, return_inverse=True)
    return np.bincount(index, weights=values).astype(np.float64)


def _freedom(sums: Floats) -> float:
    """Returns how many units the error itself is known from, less one.

    A few with great weights make the error uncertain, however many others there are.
    """
    return max(LEAST_FREEDOM, effective_sample_size(sums * sums) - 1.0)


def student_t(freedom: float) -> float:
    """Returns the two-sided 95 % quantile of Student's t, good to 1 % from 4 degrees on.

    Source: Abramowitz and Stegun, "Handbook of Mathematical Functions", 26.7.5.
    """
    if freedom < 1:
        return float("inf")
    z, v = _Z, freedom
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / v + second / v**2 + third / v**3
