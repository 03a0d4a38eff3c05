"""The cases on which every ranker is compared, and how an answer is graded.

A: the next basket of each known household. B: the hidden half of a basket of four items or more,
once without the household (B_anon) and once with its history up to the cutoff (B_id).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from models.dataset import MIN_BASKETS_HOUSEHOLD, Dataset, Ragged, seconds

TOP = 10
MIN_ITEMS_B = 4
DAYS_B = 14
DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Case:
    """One question and its true answer.

    Attributes:
        basket: Position of the basket in the data set.
        household: Whose history may be used; None when unidentified.
        visible: Items already seen in this visit.
        targets: Items bought that are to be found.
    """

    basket: int
    household: int | None
    visible: NDArray[np.int32]
    targets: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Cases:
    """The three sets of cases of one cutoff."""

    a: tuple[Case, ...]
    b_anon: tuple[Case, ...]
    b_id: tuple[Case, ...]

    def named(self) -> dict[str, tuple[Case, ...]]:
        """Returns the sets by the names used in every table."""
        return {"A": self.a, "B_anon": self.b_anon, "B_id": self.b_id}


def cases_at(
    data: Dataset,
    lines: Ragged,
    items: NDArray[np.int32],
    day: date,
    seed: int,
    *,
    n_usable: int | None = None,
) -> Cases:
    """Builds the cases of a cutoff.

    Args:
        data: All baskets, those after the cutoff included.
        lines: The baskets' rankable items.
        items: The rankable items' positions in `data.products`.
        day: The cutoff; everything from its first second on is unseen.
        seed: Mixed into the split of the B baskets.
        n_usable: Baskets from this position on become no case; None means all may.
    """
    start = seconds(day)
    first = data.n_before(start)
    filled = data.household[:first][np.diff(lines.starts[: first + 1]) > 0]
    n_before = np.bincount(filled, minlength=len(data.households))
    known = n_before >= MIN_BASKETS_HOUSEHOLD
    ids = data.products.ids[items]
    asked: set[int] = set()
    a: list[Case] = []
    b: list[Case] = []
    end = data.n_before(start + DAYS_B * DAY_S)
    empty = np.empty(0, dtype=np.int32)
    for basket in range(first, len(data.household) if n_usable is None else n_usable):
        household, found = int(data.household[basket]), lines[basket]
        if not known[household] or not len(found):
            continue
        if household not in asked:
            asked.add(household)
            a.append(Case(basket, household, empty, found))
        if basket < end and len(found) >= MIN_ITEMS_B:
            visible, targets = split(str(data.basket_ids[basket]), found, ids, seed)
            b.append(Case(basket, household, visible, targets))
    anonymous = tuple(Case(c.basket, None, c.visible, c.targets) for c in b)
    return Cases(a=tuple(a), b_anon=anonymous, b_id=tuple(b))


def split(
    basket_id: str, found: NDArray[np.int32], ids: NDArray[np.str_], seed: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Splits a basket's items into the visible half and the hidden one, by their hashes."""
    digests = [hashlib.sha256(f"{seed}:{basket_id}:{ids[i]}".encode()).hexdigest() for i in found]
    order = np.array(sorted(range(len(found)), key=digests.__getitem__))
    half = len(found) // 2
    return found[order[:half]], found[order[half:]]


@dataclass(frozen=True, slots=True)
class Grades:
    """Recall, NDCG and hit at ten, one value for each case."""

    recall: NDArray[np.float64]
    ndcg: NDArray[np.float64]
    hit: NDArray[np.float64]

    def means(self) -> dict[str, float]:
        """Returns the three means."""
        return {
            "recall": float(self.recall.mean()),
            "ndcg": float(self.ndcg.mean()),
            "hit": float(self.hit.mean()),
        }


_DISCOUNTS = 1.0 / np.log2(np.arange(2, TOP + 2))


def grade(cases: Sequence[Case], answers: Sequence[NDArray[np.int32]]) -> Grades:
    """Grades ranked answers, best first, against the cases' targets."""
    out = np.zeros((3, len(cases)))
    for i, (case, answer) in enumerate(zip(cases, answers, strict=True)):
        hits = np.isin(answer[:TOP], case.targets)
        ideal = _DISCOUNTS[: min(len(case.targets), TOP)].sum()
        out[0, i] = hits.sum() / len(case.targets)
        out[1, i] = _DISCOUNTS[: len(hits)][hits].sum() / ideal
        out[2, i] = float(hits.any())
    return Grades(recall=out[0], ndcg=out[1], hit=out[2])


N_BOOTSTRAP = 2000
PERCENTILES = (2.5, 97.5)


def ratio_interval(
    ours: NDArray[np.float64], theirs: NDArray[np.float64], seed: int
) -> tuple[float, float, float]:
    """Returns the ratio of two means over the same cases and its 95 % bootstrap interval."""
    rng = np.random.default_rng(seed)
    ratios = np.empty(N_BOOTSTRAP)
    for i in range(N_BOOTSTRAP):
        sample = rng.integers(0, len(ours), len(ours))
        ratios[i] = ours[sample].mean() / max(theirs[sample].mean(), 1e-12)
    low, high = np.percentile(ratios, PERCENTILES)
    return float(ours.mean() / max(theirs.mean(), 1e-12)), float(low), float(high)


def mean_interval(values: NDArray[np.float64], seed: int) -> tuple[float, float, float]:
    """Returns a mean and its 95 % bootstrap interval."""
    rng = np.random.default_rng(seed)
    means = [values[rng.integers(0, len(values), len(values))].mean() for _ in range(N_BOOTSTRAP)]
    low, high = np.percentile(means, PERCENTILES)
    return float(values.mean()), float(low), float(high)
