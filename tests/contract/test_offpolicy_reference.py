"""Estimates agree with those that a reference library gave on the same numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from edge_agent.offpolicy.estimators import (
    Estimated,
    doubly_robust,
    inverse_probability,
    self_normalised,
)
from edge_agent.offpolicy.intervals import interval_of, standard_error

RECORDED: Final[dict[str, Any]] = json.loads(
    (Path(__file__).parent / "recorded_estimates" / "obp_0_4_1.json").read_text()
)
EVERYTHING: Final = (-10.0, 10.0)
# Of a normal 95 % interval.
Z: Final = 1.96


def estimates(case: dict[str, Any]) -> dict[str, Estimated]:
    """What ours make of a recorded case."""
    rewards, taken = np.array(RECORDED["reward"]), np.array(RECORDED["pscore"])
    weights = np.array(case["target_probability"]) / taken
    return {
        "ips": inverse_probability(rewards, weights),
        "snips": self_normalised(rewards, weights),
        "dr": doubly_robust(
            rewards,
            weights,
            predicted=np.array(case["predicted_of_logged"]),
            predicted_of_target=np.array(case["predicted_under_target"]),
        ),
    }


@pytest.mark.parametrize("case", RECORDED["cases"], ids=lambda case: case["target"])
def test_values_are_the_reference_s(case: dict[str, Any]) -> None:
    """Inverse probabilities, self-normalised and doubly robust are the same to twelve digits."""
    for name, estimated in estimates(case).items():
        assert estimated.value == pytest.approx(case["expected"][name], rel=1e-12)


@pytest.mark.parametrize("name", ["ips", "dr"])
@pytest.mark.parametrize("case", RECORDED["cases"], ids=lambda case: case["target"])
def test_errors_are_those_of_the_reference_s_bootstrap(case: dict[str, Any], name: str) -> None:
    """The standard error is its bootstrap's to 5 %; the interval allows for its being unsure.

    Not for the self-normalised estimate, whose normaliser that bootstrap does not draw again.
    """
    low, high = case["expected"][f"{name}_bootstrap_95"]
    estimated, units = estimates(case)[name], np.arange(len(RECORDED["reward"]))
    found = interval_of(estimated, units, bounds=EVERYTHING)

    assert 2 * Z * standard_error(estimated, units) == pytest.approx(high - low, rel=0.05)
    assert high - low < found.high - found.low < 1.6 * (high - low)
