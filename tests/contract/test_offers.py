"""The offers' table tells gains with their intervals, and says plainly when nothing is won."""

from __future__ import annotations

import numpy as np

from models.offers import as_text, average_precision, gain, roc_auc, verdict

N_MAILINGS = 400


def some(signal: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns scores that know so much of the truth, and the truth."""
    rng = np.random.default_rng(9)
    truth = (rng.random(N_MAILINGS) < 0.2).astype(np.float64)
    noise = np.random.default_rng(seed).normal(size=N_MAILINGS)
    return signal * truth + noise, truth


def test_a_clear_gain_is_won_and_none_is_not() -> None:
    """The interval of a real gain lies above nothing; that of two equals holds it."""
    good, truth = some(2.0, 1)
    bad, _ = some(0.0, 2)
    alike, _ = some(2.0, 3)
    for measure in (roc_auc, average_precision):
        at, low, high = gain(measure, good, bad, truth, 7)
        assert 0 < low <= at <= high
        _, low, high = gain(measure, good, alike, truth, 7)
        assert low < 0 < high


def test_one_doubtful_gain_is_no_win() -> None:
    """Every measure against every baseline must be won."""
    clear, doubtful = [0.1, 0.05, 0.2], [0.1, -0.01, 0.2]
    assert verdict({"a": {"roc_auc": clear}, "b": {"roc_auc": clear}})
    assert not verdict({"a": {"roc_auc": clear}, "b": {"roc_auc": doubtful}})


def test_the_text_says_whether_to_ship_the_baseline() -> None:
    """What a person reads ends with the verdict."""
    report = {
        "cutoff": "2017-09-01",
        "mailings": {"learned": 1, "tested": 2},
        "redeemed": {"learned": 1, "tested": 1},
        "methods": {"trees": {"roc_auc": [0.5, 0.4, 0.6]}},
        "gain_of_trees_over": {"past redemption rate": {"roc_auc": [0.0, -0.1, 0.1]}},
        "trees_win": False,
    }
    text = as_text(report)
    assert "roc_auc 0.500 [0.400, 0.600]" in text
    assert text.endswith("no: ship the baseline")
