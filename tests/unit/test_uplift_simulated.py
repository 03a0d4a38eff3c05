"""The interval under continuous looking: seldom wrong without an effect, and it finds one.

Each seed is a campaign that is looked at after every single unit; it counts as wrong if the
interval leaves zero at any look.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from hashlib import blake2b
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_agent.decide.control import arm_of, person_unit
from edge_agent.domain.decisions import CONTROL
from edge_agent.domain.ids import CampaignId, VisitorId
from edge_agent.domain.uplift import (
    BEST_AT_UNITS,
    LEVEL,
    UNITS_MIN,
    ArmTotals,
    effect_of,
)

FloatArray = NDArray[np.float64]
# Seeds that are worked on at once: some 30 MB.
BLOCK = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """Every look at every seed; shape (n_seeds, n_units), NaN where there is no interval."""

    low: FloatArray
    high: FloatArray

    def is_wrong(self) -> NDArray[np.bool_]:
        """Returns whether a seed's interval ever leaves zero; shape (n_seeds,)."""
        outside = (self.low > 0) | (self.high < 0)
        return np.asarray(outside.any(axis=1))


def watched(outcomes: FloatArray, is_control: NDArray[np.bool_]) -> Watched:
    """Returns the interval after every unit, by `domain.uplift`'s formula, all seeds at once.

    Args:
        outcomes: What came of each unit; shape (n_seeds, n_units).
        is_control: Its arm; the same shape.
    """
    n0, s0, d0 = _running(outcomes, is_control)
    n1, s1, d1 = _running(outcomes, ~is_control)
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = d1 / (n1 - 1) / n1 + d0 / (n0 - 1) / n0
        pooled = (d1 + d0) / (n1 + n0 - 2) * (1 / n1 + 1 / n0)
        variance = np.maximum(apart, pooled)
        n, alpha = n1 + n0, 1 - LEVEL
        spread = -2 * np.log(alpha)
        r = (spread + np.log(spread + 1)) / BEST_AT_UNITS
        grown = n * r + 1
        margin = np.sqrt(variance * 2 * grown / (n * r) * np.log(np.sqrt(grown) / alpha))
        difference = s1 / n1 - s0 / n0
    is_known = (n0 >= UNITS_MIN) & (n1 >= UNITS_MIN) & (variance > 0)
    nothing = np.full(outcomes.shape, np.nan)
    return Watched(
        low=np.where(is_known, difference - margin, nothing),
        high=np.where(is_known, difference + margin, nothing),
    )


def _running(outcomes: FloatArray, mask: Any) -> tuple[FloatArray, FloatArray, FloatArray]:
    chosen = outcomes * mask
    n = np.cumsum(mask, axis=1).astype(np.float64)
    total = np.cumsum(chosen, axis=1)
    squares = np.cumsum(chosen * outcomes, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        deviation = np.maximum(0.0, squares - total * total / n)
    return n, total, deviation


def drawn(kind: str, shape: tuple[int, int], rng: np.random.Generator) -> FloatArray:
    """Returns outcomes: buyers of a rare or a common thing, money, or slots of a few visitors."""
    if kind == "money":
        money = rng.lognormal(1.0, 1.0, shape)
        return np.where(rng.random(shape) < 0.1, money, 0.0)
    if kind == "slots":
        n_visitors = rng.integers(1, 6, shape)
        return np.asarray(rng.binomial(n_visitors, rng.beta(2, 20, shape)) / n_visitors)
    share = {"rare": 0.02, "common": 0.1, "even": 0.5}[kind]
    return (rng.random(shape) < share).astype(np.float64)


def share_wrong(kind: str, control_share: float, *, n_seeds: int, n_units: int) -> float:
    """Returns the share of seeds without any effect that are wrong at some look."""
    n_wrong = 0
    for first in range(0, n_seeds, BLOCK):
        shape = (min(BLOCK, n_seeds - first), n_units)
        rng = np.random.default_rng([first, n_units])
        outcomes = drawn(kind, shape, rng)
        n_wrong += int(watched(outcomes, rng.random(shape) < control_share).is_wrong().sum())
    return n_wrong / n_seeds


def hashed_arms(seed: int, n_units: int, *, share: float) -> NDArray[np.bool_]:
    """Returns the arms as the agent draws them, under a key of the seed's own."""
    key = blake2b(f"store-{seed}".encode(), digest_size=32).digest()
    campaign = CampaignId(f"c{seed}")
    units = (person_unit(VisitorId(f"v{n}"), key=key) for n in range(n_units))
    return np.array([arm_of(unit, campaign, share=share) == CONTROL for unit in units])


def share_wrong_with_hashed_arms(*, n_seeds: int, n_units: int) -> float:
    """Returns the same for arms that the agent's own hash draws."""
    n_wrong = 0
    for seed in range(n_seeds):
        outcomes = drawn("common", (1, n_units), np.random.default_rng(seed))
        arms = hashed_arms(seed, n_units, share=0.2)[None, :]
        n_wrong += int(watched(outcomes, arms).is_wrong().sum())
    return n_wrong / n_seeds


def test_what_is_watched_here_is_what_the_agent_tells() -> None:
    """The arrays' formula gives the ends that `effect_of` gives, look by look."""
    rng = np.random.default_rng(7)
    outcomes = drawn("slots", (1, 400), rng).round(6)
    arms = rng.random((1, 400)) < 0.3
    seen = watched(outcomes, arms)
    for n in (60, 150, 399):
        of_arm = []
        for mask in (~arms, arms):
            values = [Decimal(repr(float(v))) for v in outcomes[0, : n + 1][mask[0, : n + 1]]]
            squares = sum((v * v for v in values), Decimal(0))
            total = sum(values, Decimal(0))
            of_arm.append(ArmTotals(n=len(values), total=total, squares=squares))
        effect = effect_of([(of_arm[0], of_arm[1])])
        assert effect is not None
        if effect.low is None or effect.high is None:
            assert np.isnan(seen.low[0, n])
        else:
            assert effect.low == pytest.approx(seen.low[0, n], abs=1e-9)
            assert effect.high == pytest.approx(seen.high[0, n], abs=1e-9)


@pytest.mark.parametrize("kind", ["rare", "common", "money", "slots"])
@pytest.mark.parametrize("control_share", [0.05, 0.5])
def test_looking_all_the_time_finds_no_effect_where_none_is(
    kind: str, control_share: float
) -> None:
    """Of 200 campaigns that do nothing at most one in twenty is ever said to do something."""
    assert share_wrong(kind, control_share, n_seeds=200, n_units=1_000) <= 0.05


def test_arms_by_hash_find_no_effect_where_none_is() -> None:
    """The agent's own arms, 100 campaigns in stores with keys of their own."""
    assert share_wrong_with_hashed_arms(n_seeds=100, n_units=500) <= 0.05


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["rare", "common", "even", "money", "slots"])
@pytest.mark.parametrize("control_share", [0.05, 0.1, 0.5])
def test_a_thousand_campaigns_without_an_effect(kind: str, control_share: float) -> None:
    """Of 1,000 seeds, each looked at 4,000 times, at most 5 % ever leave zero."""
    assert share_wrong(kind, control_share, n_seeds=1_000, n_units=4_000) <= 0.05


@pytest.mark.slow
def test_a_thousand_campaigns_with_the_agents_own_arms() -> None:
    """The same with arms drawn by the keyed hash, 2,000 looks each."""
    assert share_wrong_with_hashed_arms(n_seeds=1_000, n_units=2_000) <= 0.05


def test_an_effect_is_found_and_its_size_is_in_the_interval() -> None:
    """Buyers rise from 10 to 14 %: found in nine of ten stores within 12,000 units."""
    rng = np.random.default_rng(11)
    shape = (100, 12_000)
    arms = rng.random(shape) < 0.3
    outcomes = (rng.random(shape) < np.where(arms, 0.10, 0.14)).astype(np.float64)
    seen = watched(outcomes, arms)
    found = (seen.low > 0).any(axis=1)
    assert found.mean() >= 0.9
    # Never on the wrong side, and the truth is left out by at most one in twenty.
    assert not (seen.high < 0).any()
    assert ((seen.low > 0.04) | (seen.high < 0.04)).any(axis=1).mean() <= 0.05


def test_looking_all_the_time_at_the_usual_interval_is_wrong_far_too_often() -> None:
    """Without the mixture's factor (1.96 errors wide) the same looks are wrong in over 20 %."""
    rng = np.random.default_rng(3)
    outcomes = drawn("common", (200, 2_000), rng)
    arms = rng.random(outcomes.shape) < 0.5
    seen = watched(outcomes, arms)
    n = np.arange(1, outcomes.shape[1] + 1)
    alpha = 1 - LEVEL
    spread = -2 * np.log(alpha)
    r = (spread + np.log(spread + 1)) / BEST_AT_UNITS
    factor = np.sqrt(2 * (n * r + 1) / (n * r) * np.log(np.sqrt(n * r + 1) / alpha))
    middle, half = (seen.low + seen.high) / 2, (seen.high - seen.low) / 2 / factor * 1.96
    assert (np.abs(middle) > half).any(axis=1).mean() > 0.2
