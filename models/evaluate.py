"""Compares the ranker with its peers on the same cases, in one run.

    python -m models.evaluate --cutoff 2017-12-01 --seed 7 [--json]

The bundle is asked through the scorer that a gateway runs. A bundle whose training does not end at
the cutoff is not evaluated: name one trained there with `--bundle`.
"""

# ruff: noqa: S608 - the paths come from the person who evaluates.

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from edge_agent.domain.ids import ProductId
from edge_agent.domain.scoring import PastBasket, ScoredProduct, ScoringRequest
from edge_agent.shell.bundles import Bundle, load_bundle
from edge_agent.state.features import FINALISTS
from models import offers
from models.dataset import (
    DEFAULT_ZONE,
    Dataset,
    Promotions,
    data_folder,
    load,
    rankable,
    restrict,
    seconds,
)
from models.peers import table, top_of
from models.protocol import TOP, Case, Cases, Grades, cases_at, grade, ratio_interval
from models.rank import records_of
from models.situations import in_order_of_place
from models.tables import Learning

ARTIFACTS = Path(__file__).parent / "artifacts"
OURS = "this ranker"
GOALS = {"A": 1.06, "B_anon": 1.22, "B_id": 1.25}
N_BINS = 10
OFFERS_CUTOFF = date(2017, 9, 1)
EMPTY = Promotions(stores=np.empty(0, dtype=np.int32), weeks={})


def learning_without_plan(data: Dataset, day: date) -> Learning:
    """Returns what the peers may learn from; none of them uses promotions or prices."""
    n = data.n_before(seconds(day))
    items = rankable(data, n)
    return Learning(
        data=data,
        items=items,
        lines=restrict(data.lines, items, len(data.products.ids)),
        n=n,
        until_s=seconds(day),
        promotions=EMPTY,
        prices=np.full(len(data.products.ids), np.nan),
    )


def requests_of(
    learning: Learning, cases: Sequence[Case], day: date, limit: int
) -> list[ScoringRequest]:
    """Returns the cases as a gateway would ask them."""
    data, names = learning.data, learning.data.products.ids[learning.items]
    records = records_of(data, day)
    return [
        ScoringRequest(
            now=datetime.fromtimestamp(int(data.at_s[case.basket]), UTC),
            hour=int(data.hour[case.basket]),
            weekday=int(data.weekday[case.basket]),
            week=int(data.week[case.basket]),
            store=str(data.stores[data.store[case.basket]]),
            basket=tuple(ProductId(str(names[i])) for i in case.visible),
            history=_history(records.baskets, data, case),
            limit=limit,
        )
        for case in cases
    ]


def _history(baskets: Any, data: Dataset, case: Case) -> tuple[PastBasket, ...]:
    if case.household is None:
        return ()
    found: tuple[PastBasket, ...] = baskets.get(str(data.households[case.household]), ())
    return found


def scored_by(
    bundle: Bundle, learning: Learning, cases: Sequence[Case], day: date
) -> list[tuple[ScoredProduct, ...]]:
    """Returns the bundle's answers, in the cases' order."""
    requests = requests_of(learning, cases, day, FINALISTS)
    found = {i: bundle.scorer.rank(requests[i]) for i in in_order_of_place(learning, cases)}
    return [found[i] for i in range(len(cases))]


def positions(
    learning: Learning, answers: Sequence[tuple[ScoredProduct, ...]]
) -> list[NDArray[np.int32]]:
    """Returns the answers as item positions."""
    names = learning.data.products.ids[learning.items]
    at = {str(name): i for i, name in enumerate(names.tolist())}
    return [
        np.array([at[s.product] for s in answer if s.product in at], dtype=np.int32)
        for answer in answers
    ]


def reliability(
    cases: Sequence[Case],
    answers: Sequence[tuple[ScoredProduct, ...]],
    found: Sequence[NDArray[np.int32]],
) -> dict[str, Any]:
    """Returns the reliability diagram over equally filled bins, and the expected error."""
    said = np.concatenate([[s.propensity for s in answer] for answer in answers])
    true = np.concatenate(
        [np.isin(items, case.targets) for case, items in zip(cases, found, strict=True)]
    )
    order = np.argsort(said, kind="stable")
    bins = [b for b in np.array_split(order, N_BINS) if len(b)]
    rows = [(float(said[b].mean()), float(true[b].mean()), len(b)) for b in bins]
    error = sum(abs(p - q) * n for p, q, n in rows) / len(said)
    return {"expected_error": error, "bins": [[round(p, 5), round(q, 5), n] for p, q, n in rows]}


def evaluate(data: Dataset, bundle: Bundle, day: date, seed: int) -> dict[str, Any]:
    """Returns the whole comparison as plain values."""
    learning = learning_without_plan(data, day)
    cases = cases_at(data, learning.lines, learning.items, day, seed)
    peers = table(learning)
    report: dict[str, Any] = {
        "cutoff": day.isoformat(),
        "seed": seed,
        "bundle": bundle.version,
        "sets": {},
    }
    for name, some in cases.named().items():
        answers = scored_by(bundle, learning, some, day)
        found = positions(learning, answers)
        ours = grade(some, found)
        theirs = {peer: grade(some, top_of(score, some)) for peer, score in peers[name].items()}
        report["sets"][name] = {
            "n_cases": len(some),
            "goal": GOALS[name],
            "methods": {
                **{peer: _rounded(grades.means()) for peer, grades in theirs.items()},
                OURS: _rounded(ours.means()),
            },
            "ratio_to_best_peer": _ratios(ours, theirs, seed),
            "calibration": reliability(some, answers, found),
            "reasons": _reasons(answers),
            "groups": _groups(data, cases, some, ours),
        }
    return report


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {key: round(value, 5) for key, value in values.items()}


def _ratios(ours: Grades, theirs: dict[str, Grades], seed: int) -> dict[str, Any]:
    ratios = {}
    for measure in ("recall", "ndcg", "hit"):
        best = max(theirs, key=lambda peer: float(getattr(theirs[peer], measure).mean()))
        ratio, low, high = ratio_interval(
            getattr(ours, measure), getattr(theirs[best], measure), seed
        )
        ratios[measure] = {
            "peer": best,
            "ratio": round(ratio, 4),
            "low": round(low, 4),
            "high": round(high, 4),
        }
    return ratios


def _reasons(answers: Sequence[tuple[ScoredProduct, ...]]) -> dict[str, float]:
    codes = [s.reason for answer in answers for s in answer[:TOP]]
    return {code: round(codes.count(code) / len(codes), 4) for code in sorted(set(codes))}


def _groups(
    data: Dataset, cases: Cases, some: tuple[Case, ...], ours: Grades
) -> dict[str, dict[str, list[float]]]:
    """Returns hit@10 and number of cases of each demographic group, which no model ever saw."""
    path = data_folder(str(data.source)) / "demographics.parquet"
    if not path.exists() or some is cases.b_anon:
        return {}
    columns = ("age", "income", "household_size", "kids_count")
    rows = (
        duckdb.connect()
        .execute(f"SELECT CAST(household_id AS VARCHAR), {', '.join(columns)} FROM '{path}'")
        .fetchall()
    )
    known = {row[0]: row[1:] for row in rows}
    groups: dict[str, dict[str, list[float]]] = {}
    for at, column in enumerate(columns):
        members: dict[str, list[float]] = {}
        for case, hit in zip(some, ours.hit, strict=True):
            row = known.get(str(data.households[case.household]))
            members.setdefault(str(row[at]) if row else "not known", []).append(float(hit))
        groups[column] = {
            value: [round(float(np.mean(hits)), 4), len(hits)]
            for value, hits in sorted(members.items())
        }
    return groups


def as_text(report: dict[str, Any]) -> str:
    """Returns the comparison as a table to read."""
    lines = [f"cutoff {report['cutoff']}, seed {report['seed']}, {report['bundle']}"]
    for name, part in report["sets"].items():
        lines.append(f"\n{name}: {part['n_cases']} cases          recall@10  ndcg@10   hit@10")
        for method, means in part["methods"].items():
            shown = "  ".join(f"{means[m]:8.4f}" for m in ("recall", "ndcg", "hit"))
            lines.append(f"  {method:32} {shown}")
        for measure, ratio in part["ratio_to_best_peer"].items():
            lines.append(
                f"  {measure:7} {ratio['ratio']:.3f} x {ratio['peer']}"
                f"  [{ratio['low']:.3f}, {ratio['high']:.3f}]  goal {part['goal']}"
            )
        lines.append(f"  calibration error {part['calibration']['expected_error']:.4f}")
    if "offers" in report:
        lines.append(f"\n{offers.as_text(report['offers'])}")
    return "\n".join(lines)


def main() -> None:
    """Reads the arguments and prints the comparison."""
    parser = argparse.ArgumentParser(description="compare the ranker with its peers")
    parser.add_argument("--data", default="completejourney")
    parser.add_argument("--cutoff", required=True, type=date.fromisoformat)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument(
        "--offers-cutoff",
        type=date.fromisoformat,
        default=OFFERS_CUTOFF,
        help="campaigns that started before it are learned from",
    )
    parser.add_argument("--bundle", type=Path, default=ARTIFACTS)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--zone", default=DEFAULT_ZONE, help="time zone of the stores")
    args = parser.parse_args()
    bundle = load_bundle(args.bundle)
    if bundle.manifest["trained_until"] != args.cutoff.isoformat():
        sys.exit(
            f"The bundle in {args.bundle} was trained until {bundle.manifest['trained_until']}. "
            f"Train one until {args.cutoff} with models.train and name it with --bundle."
        )
    report = evaluate(load(args.data, zone=args.zone), bundle, args.cutoff, args.seed)
    if (data_folder(args.data) / "coupon_redemptions.parquet").exists():
        report["offers"] = offers.compare(args.data, args.offers_cutoff, args.seed)
    sys.stdout.write((json.dumps(report, indent=1) if args.json else as_text(report)) + "\n")


if __name__ == "__main__":
    main()
