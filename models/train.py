"""Trains the ranker on what was bought before a cutoff and writes a bundle.

    python -m models.train --data DIR|completejourney --cutoff 2017-12-01 --out BUNDLE_DIR

The trees learn from cases at earlier cutoffs ("snapshots", 14 days apart): at each one every
statistic is learned anew from the baskets before it, and the cases are those of the next 14 days.
So a feature means in training exactly what it means in use, and nothing on or after `--cutoff` is
seen, but for the promotion plan, which a store knows beforehand.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from edge_agent.shell.bundles import FORMAT, pack, request_of, unpack
from edge_agent.shell.onnx_scorer import OnnxScorer, open_session
from edge_agent.state.features import FINALISTS, Description, RankerTables, describe
from models.dataset import (
    DEFAULT_ZONE,
    Dataset,
    Promotions,
    load,
    load_promotions,
    rankable,
    restrict,
    seconds,
    unit_prices,
)
from models.export import (
    Calibration,
    catalogue,
    check_parity,
    dump_examples,
    npz,
    onnx_of_stages,
    signing_key,
    write_bundle,
)
from models.protocol import Case, Cases, cases_at, grade, mean_interval
from models.situations import SurroundingsCache, histories, in_order_of_place, situation_of
from models.statistics import DAY_S
from models.tables import Learning, fit_tables
from models.workers import ENGINES

VERSION = "ranker-2026.11.5"
MINIMUM_AGENT = "0.0.0"
SNAPSHOTS = 6
SNAPSHOT_DAYS = 14
MIN_DAYS = 45
"""A snapshot with fewer days before it teaches nothing that holds later."""
PLAN_WEEKS = 6
"""Weeks of the promotion plan that a bundle carries, the cutoff's own first."""
KEEP_NEGATIVES = 0.15
SEED = 20261
N_EXAMPLES = 12
DOOR = "door"
"""The set of whole baskets of which nothing is seen yet; taught, not measured."""
TREES: dict[str, Any] = {
    "objective": "binary",
    "num_leaves": 63,
    "learning_rate": 0.04,
    "min_data_in_leaf": 200,
    "feature_fraction": 0.4,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "lambda_l2": 5.0,
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
    "max_bin": 127,
    "verbose": -1,
    "seed": SEED,
}
N_TREES = 600
FIRST_STAGE = {
    "num_leaves": 15,
    "learning_rate": 0.15,
    "min_data_in_leaf": 100,
    "feature_fraction": 0.7,
    "bagging_fraction": 0.8,
}
N_FIRST = 40
"""The first stage only has to keep the good ones among the finalists."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was known at one cutoff, and the cases that followed."""

    learning: Learning
    tables: RankerTables
    cases: Cases


@dataclass(frozen=True, slots=True)
class Rows:
    """Training rows: features, whether bought, weight, and which task."""

    matrix: NDArray[np.float32]
    bought: NDArray[np.float32]
    weight: NDArray[np.float32]


def learning_at(
    data: Dataset,
    day: date,
    prices: NDArray[np.float64],
    plan: Promotions,
    planned: NDArray[np.int32],
) -> Learning:
    """Returns what may be learned from at a cutoff.

    Args:
        data: All baskets.
        day: The cutoff.
        prices: Unit prices of all products.
        plan: Promotions of the products `planned`.
        planned: Positions of a superset of the products that can be ranked at `day`.
    """
    n = data.n_before(seconds(day))
    items = rankable(data, n)
    items = items[np.isin(items, planned)]
    columns = np.searchsorted(planned, items)
    weeks = {w: np.ascontiguousarray(codes[:, columns]) for w, codes in plan.weeks.items()}
    return Learning(
        data=data,
        items=items,
        lines=restrict(data.lines, items, len(data.products.ids)),
        n=n,
        until_s=seconds(day),
        promotions=Promotions(stores=plan.stores, weeks=weeks),
        prices=prices,
    )


def snapshot_at(learning: Learning, day: date, seed: int, n_usable: int) -> Snapshot:
    """Learns the tables at a cutoff and builds the cases that followed, up to `n_usable`."""
    first = int(learning.data.week[max(learning.n - 1, 0)])
    tables = fit_tables(learning, list(range(first, first + PLAN_WEEKS)))
    cases = cases_at(learning.data, learning.lines, learning.items, day, seed, n_usable=n_usable)
    return Snapshot(learning=learning, tables=tables, cases=cases)


def describe_all(
    learning: Learning, tables: RankerTables, cases: Sequence[Case]
) -> list[Description]:
    """Returns candidates and features of each case, through the same code as in serving."""
    past, cache = histories(learning), SurroundingsCache(tables)
    found: dict[int, Description] = {}
    for i in in_order_of_place(learning, cases):
        situation = situation_of(learning, past, cases[i])
        found[i] = describe(tables, situation, cache.of(situation))
    return [found[i] for i in range(len(cases))]


def sampled_rows(
    cases: Sequence[Case], described: Sequence[Description], rng: np.random.Generator
) -> Rows:
    """Returns all bought candidates and a weighted sample of the others."""
    matrices, bought, weights = [], [], []
    for case, description in zip(cases, described, strict=True):
        hit = np.isin(description.items, case.targets)
        keep = hit | (rng.random(len(hit)) < KEEP_NEGATIVES)
        matrices.append(description.matrix[keep])
        bought.append(hit[keep])
        weights.append(np.where(hit[keep], 1.0, 1.0 / KEEP_NEGATIVES))
    return Rows(
        matrix=np.concatenate(matrices),
        bought=np.concatenate(bought).astype(np.float32),
        weight=np.concatenate(weights).astype(np.float32),
    )


def finalists_of(first: lgb.Booster, described: Sequence[Description]) -> list[Description]:
    """Returns what the first stage lets through of each, as the exported model does."""
    scores = raw_scores(first, np.concatenate([d.matrix for d in described]))
    ends = np.cumsum([len(d.items) for d in described])
    finals = []
    for description, own in zip(described, np.split(scores, ends[:-1]), strict=True):
        best = np.sort(np.argsort(-own, kind="stable")[:FINALISTS])
        finals.append(Description(items=description.items[best], matrix=description.matrix[best]))
    return finals


def final_rows(cases: Sequence[Case], finals: Sequence[Description]) -> Rows:
    """Returns every finalist: what the second stage is asked about is what it is taught."""
    bought = [np.isin(d.items, case.targets) for case, d in zip(cases, finals, strict=True)]
    matrix = np.concatenate([d.matrix for d in finals])
    return Rows(
        matrix=matrix,
        bought=np.concatenate(bought).astype(np.float32),
        weight=np.ones(len(matrix), dtype=np.float32),
    )


def joined(parts: Sequence[Rows]) -> Rows:
    """Returns the rows of several snapshots as one."""
    return Rows(
        matrix=np.concatenate([p.matrix for p in parts]),
        bought=np.concatenate([p.bought for p in parts]),
        weight=np.concatenate([p.weight for p in parts]),
    )


def fit_trees(rows: Rows) -> lgb.Booster:
    """Fits the second, deciding stage."""
    data = lgb.Dataset(rows.matrix, rows.bought, weight=rows.weight)
    return lgb.train(TREES, data, num_boost_round=N_TREES)


def fit_first_stage(rows: Rows) -> lgb.Booster:
    """Fits the small stage that picks the finalists, on a sample of all candidates."""
    data = lgb.Dataset(rows.matrix, rows.bought, weight=rows.weight)
    return lgb.train({**TREES, **FIRST_STAGE}, data, num_boost_round=N_FIRST)


def fit_all(every: Rows, earlier: Rows) -> tuple[lgb.Booster, lgb.Booster]:
    """Fits the trees to measure and to calibrate with, and those of the bundle.

    Each is fitted on one thread, so that it comes out the same bit by bit; two go on at a time.
    """
    with ThreadPoolExecutor(max_workers=2) as pool:
        early, trees = pool.submit(fit_trees, earlier), pool.submit(fit_trees, every)
        return early.result(), trees.result()


def fit_calibration(scores: NDArray[np.float64], rows: Rows) -> Calibration:
    """Fits sigmoid(slope * score + offset) by Newton's method on rows the trees did not see."""
    slope, offset = 1.0, 0.0
    weight, bought = rows.weight.astype(np.float64), rows.bought.astype(np.float64)
    for _ in range(25):
        p = 1.0 / (1.0 + np.exp(-(slope * scores + offset)))
        error, curve = weight * (p - bought), weight * p * (1.0 - p)
        gradient = np.array([(error * scores).sum(), error.sum()])
        cross = (curve * scores).sum()
        hessian = np.array([[(curve * scores**2).sum(), cross], [cross, curve.sum()]])
        step = np.linalg.solve(hessian + 1e-9 * np.eye(2), gradient)
        slope, offset = slope - float(step[0]), offset - float(step[1])
    return Calibration(slope=slope, offset=offset)


def examples_for(tables: RankerTables, arrays: dict[str, Any], model: bytes, day: date) -> bytes:
    """Returns invented requests (of popular products; nobody's) with the scores they must get."""
    _, ids = unpack(arrays)
    scorer = OnnxScorer(open_session(model), tables, ids)
    rng = np.random.default_rng(SEED)
    popular = np.argsort(-tables.pop_all, kind="stable")[:300]
    stores = [s for s, at in ids.stores.items() if tables.store_weight[at] > 0]
    weeks = [None, *sorted(tables.chain_plans)]
    now = datetime(day.year, day.month, day.day, 18, tzinfo=UTC)
    examples = []
    for number in range(N_EXAMPLES):

        def some(n: int) -> list[str]:
            chosen = rng.choice(popular, size=min(n, len(popular)), replace=False)
            return [str(ids.products[i]) for i in chosen]

        request = {
            "now": now.isoformat(),
            "hour": int(rng.integers(8, 22)),
            "weekday": int(rng.integers(0, 7)),
            "week": weeks[number % len(weeks)],
            "store": stores[int(rng.integers(len(stores)))] if stores and number % 4 else None,
            "basket": some(int(rng.integers(1, 8))) if number % 3 else [],
            "history": [
                {"at": (now - timedelta(days=int(d))).isoformat(), "products": some(6)}
                for d in sorted(rng.integers(1, 200, size=12), reverse=True)
            ]
            if number % 2
            else [],
            "limit": 20,
        }
        answer = scorer.rank(request_of(request))
        examples.append({"request": request, "scores": {s.product: s.propensity for s in answer}})
    return dump_examples(examples)


def data_hash(data: Dataset, n: int) -> str:
    """Returns a hash of the baskets that were learned from."""
    digest = hashlib.sha256()
    end = data.lines.starts[n]
    for array in (data.at_s[:n], data.household[:n], data.store[:n], data.lines.values[:end]):
        digest.update(np.ascontiguousarray(array).tobytes())
    digest.update("\n".join(data.products.ids.tolist()).encode())
    return digest.hexdigest()


def from_the_door(cases: Sequence[Case]) -> list[Case]:
    """Returns every other basket as one of which nothing is seen yet: few cases of A are so."""
    return [
        replace(
            case,
            visible=np.empty(0, dtype=np.int32),
            targets=np.sort(np.concatenate([case.visible, case.targets])),
        )
        for case in cases[::2]
    ]


Described = dict[str, tuple[tuple[Case, ...], list[Description]]]
"""For each set of cases what they were described as."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """One snapshot's finalists as rows, and for each set of cases their descriptions."""

    rows: Rows
    finals: Described


def lessons(
    data: Dataset,
    day: date,
    prices: NDArray[np.float64],
    plan: Promotions,
    planned: NDArray[np.int32],
) -> tuple[lgb.Booster, list[Lesson]]:
    """Returns the first stage, and the snapshots' lessons, oldest first.

    The oldest snapshot teaches the first stage, which picks the finalists of them all. Only the
    latest keeps its descriptions.
    """
    n_usable = data.n_before(seconds(day))
    days = [day - timedelta(days=SNAPSHOT_DAYS * back) for back in range(SNAPSHOTS, 0, -1)]
    late = [d for d in days[:-1] if seconds(d) - int(data.at_s[0]) >= MIN_DAYS * DAY_S]
    first: lgb.Booster | None = None
    found: list[Lesson] = []
    for then in [*late, days[-1]]:
        learning = learning_at(data, then, prices, plan, planned)
        back = (day - then).days // SNAPSHOT_DAYS
        snapshot = snapshot_at(learning, then, SEED + back, n_usable)
        described = described_sets(learning, snapshot)
        first = first or fit_first_stage(sample_of(described))
        lesson = lesson_of(first, described)
        found.append(lesson if back == 1 else Lesson(rows=lesson.rows, finals={}))
        print(f"snapshot {then}: {len(lesson.rows.bought)} rows", flush=True)
    if first is None:
        raise ValueError("there is no snapshot to learn from")
    return first, found


def sample_of(described: Described) -> Rows:
    """Returns a sample of all candidates of one snapshot, for the first stage."""
    rng = np.random.default_rng(SEED)
    return joined([sampled_rows(cases, some, rng) for cases, some in described.values()])


def lesson_of(first: lgb.Booster, described: Described) -> Lesson:
    """Returns the finalists of one snapshot."""
    finals = {
        name: (cases, finalists_of(first, some)) for name, (cases, some) in described.items()
    }
    return Lesson(
        rows=joined([final_rows(cases, some) for cases, some in finals.values()]), finals=finals
    )


def described_sets(learning: Learning, snapshot: Snapshot) -> Described:
    """Returns the snapshot's sets of cases, those from the door among them, described."""
    sets = {**snapshot.cases.named(), DOOR: tuple(from_the_door(snapshot.cases.b_id))}
    return {
        name: (cases, describe_all(learning, snapshot.tables, cases))
        for name, cases in sets.items()
        if cases
    }


def raw_scores(trees: lgb.Booster, matrix: NDArray[Any]) -> NDArray[np.float64]:
    """Returns the trees' log odds of each row, float64 (n_rows,)."""
    return np.asarray(trees.predict(matrix, raw_score=True), dtype=np.float64)


def measure(trees: lgb.Booster, lesson: Lesson) -> dict[str, dict[str, list[float]]]:
    """Returns recall, NDCG and hit at ten with intervals, on a snapshot the trees did not see."""
    report = {}
    for name, (cases, described) in sorted(lesson.finals.items()):
        if name == DOOR:
            continue
        answers = [
            d.items[np.argsort(-raw_scores(trees, d.matrix), kind="stable")].astype(np.int32)
            for d in described
        ]
        grades = grade(cases, answers)
        report[name] = {
            measure: [round(v, 4) for v in mean_interval(getattr(grades, measure), SEED)]
            for measure in ("recall", "ndcg", "hit")
        }
    return report


def train(
    source: str,
    day: date,
    out: Path,
    *,
    key: Path | None,
    zone: str,
    engine: str,
    install_by: date | None = None,
) -> None:
    """Trains and writes a bundle."""
    data = load(source, zone=zone, engine=engine)
    prices = unit_prices(data, day)
    planned = rankable(data, data.n_before(seconds(day)))
    plan = load_promotions(data, planned)
    first, taught = lessons(data, day, prices, plan, planned)
    every, last = joined([lesson.rows for lesson in taught]), taught[-1].rows
    early, trees = fit_all(every, joined([lesson.rows for lesson in taught[:-1] or taught]))
    metrics = measure(early, taught[-1])
    print(json.dumps(metrics), flush=True)
    calibration = fit_calibration(raw_scores(early, last.matrix), last)
    model = onnx_of_stages(
        first.dump_model()["tree_info"],
        trees.dump_model()["tree_info"],
        calibration,
    )
    sample = last.matrix[:20_000]
    check_parity(model, sample, calibration.of(raw_scores(trees, sample)))
    learning = learning_at(data, day, prices, plan, planned)
    week = int(data.week[max(learning.n - 1, 0)])
    tables = fit_tables(learning, list(range(week, week + PLAN_WEEKS)))
    arrays = pack(tables, data.products.ids[learning.items].tolist(), data.stores.tolist())
    parts = {
        "ranker.onnx": model,
        "tables.npz": npz(arrays, mapped=True),
        "catalogue.npz": npz(catalogue(data, learning.n, prices)),
        "examples.json": examples_for(tables, arrays, model, day),
    }
    facts = {
        "format": FORMAT,
        "version": VERSION,
        "minimum_agent": MINIMUM_AGENT,
        "trained_from": _day(data.at_s[0]),
        "trained_until": day.isoformat(),
        "data_sha256": data_hash(data, learning.n),
        "n_baskets": learning.n,
        "n_items": len(learning.items),
        "n_trees": [N_FIRST, N_TREES],
        "metrics": metrics,
        "metrics_of": f"the {SNAPSHOT_DAYS} days before trained_until, by trees that ended there",
    }
    if install_by is not None:
        facts["install_by"] = install_by.isoformat()
    write_bundle(out, parts=parts, facts=facts, key=signing_key(key))
    print(json.dumps({name: len(part) for name, part in parts.items()}))


def _day(instant_s: int) -> str:
    return datetime.fromtimestamp(int(instant_s), UTC).date().isoformat()


def main() -> None:
    """Reads the arguments and trains."""
    parser = argparse.ArgumentParser(description="train the ranker and write a bundle")
    parser.add_argument(
        "--data", required=True, help="folder of parquet tables, or completejourney"
    )
    parser.add_argument("--cutoff", required=True, type=date.fromisoformat)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument(
        "--engine", choices=ENGINES, default="duckdb", help="reads and counts the sales"
    )
    parser.add_argument(
        "--key", type=Path, help="Ed25519 signing key, 32 raw bytes; made if absent"
    )
    parser.add_argument("--zone", default=DEFAULT_ZONE, help="time zone of the stores")
    parser.add_argument(
        "--install-by",
        type=date.fromisoformat,
        help="last day on which gateways may newly install it; none: for ever",
    )
    args = parser.parse_args()
    train(
        args.data,
        args.cutoff,
        args.out,
        key=args.key,
        zone=args.zone,
        engine=args.engine,
        install_by=args.install_by,
    )


if __name__ == "__main__":
    main()
