"""What features come to on an invented shop, pinned, because a released model was taught so.

A model answers for the features it was taught: one that is worked out otherwise, if only a little,
makes its scores wrong without any error. The shop, its visitors and their baskets are drawn from a
fixed seed. Values are pinned to six digits and not to the bit: logarithms and powers differ in the
last one from processor to processor.
"""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_agent.state.features import (
    CODES,
    FEATURES,
    HOUR_BINS,
    WEEKDAYS,
    Description,
    Neighbours,
    RankerTables,
    Situation,
    describe,
    surroundings,
)
from edge_agent.state.groups import Groups
from edge_agent.state.signals import _best

N_ITEMS = 700
N_KINDS = 60
N_STORES = 2
N_GROUPS = 6
ITEMS_OF_A_GROUP = 40
NEAR = 12
HALVES = (0x1400, 0x3C00)
"""The bits of the half-precision numbers from 0.001 on to 1."""
WEEK = 49
N_VISITORS = 24
SEED = 59
"""With it no threshold of a signal lies among equals, which processors sort differently."""

N_CANDIDATES = 7106
CHECKSUM = 1582816579
MEANS: tuple[float, ...] = (
    10.382415,
    8.9591333,
    58.523889,
    2.1612535,
    6.3537553,
    1.756803,
    -1.3075194,
    -1.2332765,
    -1.2947559,
    -0.061479402,
    -1.2566735,
    -0.91335944,
    -0.023382706,
    0.013025466,
    0.0095487997,
    0.56617787,
    0.14776428,
    0.24784932,
    0.04594961,
    0.043030297,
    0.12040981,
    0.061201952,
    0.057921875,
    0.059590196,
    0.22942142,
    0.035531521,
    0.045533267,
    0.15824245,
    0.50315364,
    0.082996058,
    0.0016736669,
    0.0014816709,
    0.0023704377,
    0.13218596,
    0.024507823,
    0.0058726354,
    0.027883025,
    176.17704,
    -0.41396139,
    0.03099837,
    0.18560129,
    0.050314301,
    116.09862,
    0.52212099,
    0.076452326,
    -0.020148839,
    0.039698952,
    0.099562328,
    0.52101876,
    -1.1011677,
    0.10325952,
    0.12492086,
    0.1208082,
    0.16185812,
    0.22181656,
    0.21096777,
    0.21231887,
    0.0027838398,
    -0.96890649,
    0.073504372,
    0.0093063525,
    0.0041961099,
    0.027189723,
    0.017066662,
    0.079866336,
    158.50335,
    0.017854867,
    0.006201601,
    0.013275192,
    0.50264232,
    0.0048280383,
    0.50881517,
    0.50979318,
    0.33796773,
    399.41179,
    0.037967831,
    16.065136,
    39.730647,
    0.061364001,
)
"""Of each feature over all candidates of all visitors, in the order of `FEATURES`."""


def halves(rng: np.random.Generator, n: int) -> NDArray[np.float16]:
    """Returns distinct numbers below 1: among equals a processor's own sorting would choose."""
    return rng.permutation(np.arange(*HALVES, dtype=np.uint16))[:n].view(np.float16)


def near(rng: np.random.Generator, n: int) -> Neighbours:
    """Returns distinct neighbours of each position with their weights."""
    index = np.array([rng.choice(n, NEAR, replace=False) for _ in range(n)], dtype=np.uint16)
    return Neighbours(index=index, weight=halves(rng, n * NEAR).reshape(n, NEAR))


def groups(rng: np.random.Generator) -> Groups:
    """Returns groups that all shop in the first store."""
    starts = np.arange(N_GROUPS + 1) * ITEMS_OF_A_GROUP
    bought = [rng.choice(N_ITEMS, ITEMS_OF_A_GROUP, replace=False) for _ in range(N_GROUPS)]
    return Groups(
        starts=starts,
        items=np.concatenate(bought).astype(np.uint16),
        share=halves(rng, len(bought) * ITEMS_OF_A_GROUP),
        store_starts=np.array([0, N_GROUPS, N_GROUPS]),
        store_groups=np.arange(N_GROUPS, dtype=np.int32),
        store_share=np.full(N_GROUPS, 1 / N_GROUPS, dtype=np.float32),
    )


def floats(
    rng: np.random.Generator, low: float, high: float, n: int = N_ITEMS
) -> NDArray[np.float32]:
    """Returns numbers between two."""
    return rng.uniform(low, high, n).astype(np.float32)


def codes(rng: np.random.Generator, n: int) -> NDArray[np.int32]:
    """Returns a code of each item, each code in use."""
    return rng.permutation(np.arange(N_ITEMS) % n).astype(np.int32)


def shop(rng: np.random.Generator) -> RankerTables:
    """Returns the tables of an invented shop."""
    plan = rng.integers(0, CODES * CODES, N_ITEMS).astype(np.uint8)
    return RankerTables(
        pop_all=floats(rng, 1e-4, 0.2),
        pop_recent=floats(rng, 0.0, 0.2),
        pop_latest=floats(rng, 0.0, 0.2),
        hour_lift=rng.normal(0.0, 0.2, (HOUR_BINS, N_ITEMS)).astype(np.float16),
        weekday_lift=rng.normal(0.0, 0.2, (WEEKDAYS, N_ITEMS)).astype(np.float16),
        store_starts=np.array([0, N_ITEMS // 2, N_ITEMS // 2]),
        store_items=np.arange(0, N_ITEMS, 2, dtype=np.int32),
        store_share=floats(rng, 0.0, 0.3, N_ITEMS // 2),
        store_weight=np.array([0.6, 0.0], dtype=np.float32),
        log_price=floats(rng, -1.0, 3.0),
        private=(floats(rng, 0.0, 1.0) < 0.3).astype(np.float32),
        rebuy=floats(rng, 0.0, 1.0),
        usual_gap=floats(rng, 3.0, 60.0),
        own_lift=floats(rng, 0.0, 1.0),
        kind=codes(rng, N_KINDS),
        category=codes(rng, 20),
        department=codes(rng, 5),
        maker=codes(rng, 90),
        kind_pop=floats(rng, 0.1, 0.95, N_KINDS),
        basket_near=near(rng, N_ITEMS),
        household_near=near(rng, N_ITEMS),
        kind_near=near(rng, N_KINDS),
        groups=groups(rng),
        display_lift=floats(rng, 0.0, 1.0, CODES),
        mailer_lift=floats(rng, 0.0, 1.0, CODES),
        plan_stores=np.array([0], dtype=np.int32),
        plans={(WEEK, 0): zlib.compress(plan.tobytes())},
        chain_plans={WEEK: rng.integers(0, 256, (2, N_ITEMS)).astype(np.uint8)},
    )


def visitor(rng: np.random.Generator, number: int) -> Situation:
    """Returns a visitor: every fourth without a basket, every third without a history."""
    n_baskets = 0 if number % 3 == 2 else int(rng.integers(1, 60))
    sizes = rng.integers(1, 12, n_baskets)
    bought = [rng.choice(N_ITEMS // 2, size, replace=False) for size in sizes.tolist()]
    n_shown = 0 if number % 4 == 3 else int(rng.integers(1, 50))
    return Situation(
        hour=int(rng.integers(0, 24)),
        weekday=int(rng.integers(0, WEEKDAYS)),
        week=None if number % 5 == 4 else WEEK,
        store=(0, 1, None)[number % 7 % 3],
        basket=rng.choice(N_ITEMS, n_shown, replace=False),
        bought=np.concatenate([np.zeros(0, dtype=np.int64), *bought]).astype(np.int64),
        bought_basket=np.repeat(np.arange(n_baskets), sizes),
        ago_days=np.sort(rng.uniform(0.0, 380.0, n_baskets))[::-1],
        allowed=np.arange(N_ITEMS) % 3 > 0 if number % 6 == 5 else None,
    )


@pytest.fixture(scope="module")
def described() -> list[Description]:
    """The candidates of all visitors."""
    rng = np.random.default_rng(SEED)
    tables = shop(rng)
    found = []
    for number in range(N_VISITORS):
        asked = visitor(rng, number)
        around = surroundings(
            tables, store=asked.store, week=asked.week, hour=asked.hour, weekday=asked.weekday
        )
        found.append(describe(tables, asked, around))
    return found


def test_candidates_are_those_that_the_model_was_taught(described: list[Description]) -> None:
    """Their number, and a checksum of who they are."""
    items = np.concatenate([each.items for each in described])
    assert len(items) == N_CANDIDATES
    assert zlib.crc32(items.astype("<i8").tobytes()) == CHECKSUM


@pytest.mark.parametrize("feature", FEATURES)
def test_feature_comes_to_what_the_model_was_taught(
    described: list[Description], feature: str
) -> None:
    """Its mean, each candidate's value weighed by its place so that none can stand for another."""
    column = np.concatenate([each.matrix[:, FEATURES.index(feature)] for each in described])
    places = np.arange(1, len(column) + 1) / len(column)
    expected = MEANS[FEATURES.index(feature)]
    assert float((column * places).mean()) == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_of_equal_signals_the_same_ones_become_candidates() -> None:
    """Where a signal's threshold lies among equals, it is `argpartition` that decides."""
    signal = np.repeat(np.arange(4, dtype=np.float32), 50)
    found = np.flatnonzero(signal > 0)
    usual = found[np.argpartition(-signal[found], 79)[:80]]
    assert set(_best(signal, 80).tolist()) == set(usual.tolist())
