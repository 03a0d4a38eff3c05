"""Real logged decisions: each of two policies is worked out from the other's log.

The data are the sample of the Open Bandit Dataset that the package `obp` 0.4.1 carries: 10,000
impressions for each of the policies Random and Bernoulli Thompson sampling, per campaign. What is
worked out for a policy is compared with what it got itself in a log of its own.

Source: Saito, Aihara, Matsutani and Narita, "Open Bandit Dataset and Pipeline: towards realistic
and reproducible off-policy evaluation" (NeurIPS 2021 Datasets and Benchmarks). The Open Bandit
Dataset is ZOZO, Inc.'s, under CC BY 4.0.
"""

from __future__ import annotations

import csv
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from edge_agent.offpolicy.estimators import on_policy
from edge_agent.offpolicy.evaluation import ENOUGH, TOO_LITTLE, Evaluation, evaluated
from edge_agent.offpolicy.intervals import interval_of
from edge_agent.offpolicy.log import Floats, Ints, Log

FOLDER: Final = Path(__file__).parents[2] / ".cache" / "open-bandit"
SETUP: Final = "sh tests/tools/setup.sh"
N_POSITIONS: Final = 3
N_SIMULATED: Final = 20_000
SHARE: Final = (0.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class Impressions:
    """A policy's log: what was shown where, whether it was clicked, how probable it was."""

    item: Ints
    position: Ints
    click: Floats
    probability: Floats
    affinity: Floats


def package() -> zipfile.ZipFile:
    """The package's file, which is opened and not installed."""
    found = sorted(FOLDER.glob("obp-0.4.1-*.whl"))
    if not found:
        pytest.fail(f"the Open Bandit sample is missing; run: {SETUP}")
    return zipfile.ZipFile(found[0])


def impressions(policy: str, campaign: str) -> Impressions:
    """Returns a policy's log of a campaign."""
    name = f"obp/dataset/obd/{policy}/{campaign}/{campaign}.csv"
    with package() as archive, archive.open(name) as file:
        header, *rows = csv.reader(io.TextIOWrapper(file, "utf-8"))
    at = {title: number for number, title in enumerate(header)}
    affine = [number for title, number in at.items() if title.startswith("user-item_affinity")]
    return Impressions(
        item=np.array([int(row[at["item_id"]]) for row in rows]),
        position=np.array([int(row[at["position"]]) for row in rows]) - 1,
        click=np.array([float(row[at["click"]]) for row in rows]),
        probability=np.array([float(row[at["propensity_score"]]) for row in rows]),
        affinity=np.array([[float(row[number]) for number in affine] for row in rows]),
    )


def thompson(campaign: str) -> Floats:
    """How probably Thompson sampling shows each item in each place, shape (items, 3).

    From the counts that it began with, which lie beside the data.
    """
    with package() as archive:
        lines = archive.read("obp/policy/conf/prior_bts.yaml").decode().splitlines()
    start = lines.index(f"{campaign}:")
    prior: dict[str, list[float]] = {}
    counts: list[float] = []
    for line in lines[start + 1 :]:
        if not line.startswith(" "):
            break
        if line.endswith(":"):
            counts = prior.setdefault(line.strip(" :"), [])
        else:
            counts.append(float(line.strip(" -")))
    draws = np.random.default_rng(0).beta(
        prior["alpha"], prior["beta"], size=(N_SIMULATED, len(prior["alpha"]))
    )
    shown = np.argsort(-draws, axis=1)[:, :N_POSITIONS]
    return np.stack(
        [np.bincount(place, minlength=draws.shape[1]) / N_SIMULATED for place in shown.T], axis=1
    )


def evaluation(logged: Impressions, policy: Floats) -> Evaluation:
    """What a policy would have got, by another one's log."""
    rows = np.arange(len(logged.item))
    place = np.eye(N_POSITIONS)[logged.position]
    expected = (logged.affinity * policy.T[logged.position]).sum(axis=1)
    return evaluated(
        Log(
            rewards=logged.click,
            probabilities=logged.probability,
            target=policy[logged.item, logged.position],
            is_supported=np.ones(len(rows), dtype=np.bool_),
            is_silent=np.zeros(len(rows), dtype=np.bool_),
            units=rows,
            features=np.column_stack([place, logged.affinity[rows, logged.item]]),
            target_features=np.column_stack([place, expected]),
        )
    )


@pytest.mark.parametrize(("log", "other"), [("random", "bts"), ("bts", "random")])
def test_what_is_worked_out_agrees_with_what_the_policy_got(log: str, other: str) -> None:
    """In the men's campaign both directions have enough overlap, and their intervals meet."""
    policy = thompson("men")
    even = np.full_like(policy, 1 / len(policy))
    found = evaluation(impressions(log, "men"), policy if other == "bts" else even)
    clicks = impressions(other, "men").click
    got = interval_of(on_policy(clicks), np.arange(len(clicks)), bounds=SHARE)

    assert found.verdict == ENOUGH
    assert 0.9 < found.mean_weight < 1.1
    for name, interval in found.estimates.items():
        assert interval.low <= got.high, (name, interval, got)
        assert interval.high >= got.low, (name, interval, got)
        assert interval.high - interval.low < 0.01, name


def test_one_nearly_impossible_impression_is_no_evidence() -> None:
    """In the women's log one impression had probability 0.000001: nothing can be told from it."""
    women = impressions("bts", "women")
    items = women.affinity.shape[1]
    found = evaluation(women, np.full((items, N_POSITIONS), 1 / items))

    assert found.largest_weight > 10_000
    assert found.verdict == TOO_LITTLE
