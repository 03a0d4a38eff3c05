"""Who redeems a mailed campaign: a small model against two plain baselines.

    python -m models.offers --data completejourney --cutoff 2017-09-01 --seed 7

Learns from campaigns that started before the cutoff and is graded on later ones. Everything that a
row says was known on the day its campaign started. No demographics.
"""

# ruff: noqa: S608 - the paths come from the person who evaluates.

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

import duckdb
import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from models.dataset import data_folder
from models.protocol import N_BOOTSTRAP, PERCENTILES

Floats = NDArray[np.float64]

COLUMNS = (
    "past_rate",
    "past_redemptions",
    "past_mailings",
    "spend_in_campaign",
    "items_in_campaign",
    "spend",
    "baskets",
    "coupon_lines",
    "type_rate",
    "n_coupons",
    "days",
)
PRIOR_RATE, PRIOR_WEIGHT = 0.1, 2.0
TREES = {
    "objective": "binary",
    "num_leaves": 7,
    "learning_rate": 0.05,
    "min_data_in_leaf": 40,
    "lambda_l2": 10.0,
    "feature_fraction": 0.7,
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
    "verbose": -1,
    "seed": 1,
}
N_TREES = 120


def rows_of(source: str) -> dict[str, NDArray[np.generic]]:
    """Returns one row for each mailing: what was known at its start, and the outcome."""
    folder = data_folder(source)
    con = duckdb.connect()
    # It would be drawn into what the caller reads.
    con.execute("SET enable_progress_bar = false")
    con.execute("SET threads TO 1")
    for name in (
        "campaigns",
        "campaign_descriptions",
        "coupons",
        "coupon_redemptions",
        "transactions",
    ):
        con.execute(f"CREATE VIEW {name} AS SELECT * FROM '{folder}/{name}.parquet'")
    return dict(
        con.execute(
            f"""
        WITH mailed AS (
            SELECT c.household_id h, c.campaign_id c, d.start_date s, d.campaign_type k,
                   date_diff('day', d.start_date, d.end_date) AS days
            FROM campaigns c JOIN campaign_descriptions d USING (campaign_id)),
        outcome AS (
            SELECT household_id h, campaign_id c, min(redemption_date) r
            FROM coupon_redemptions GROUP BY ALL),
        labelled AS (SELECT m.*, o.r FROM mailed m LEFT JOIN outcome o ON o.h = m.h AND o.c = m.c),
        past AS (
            SELECT a.h, a.c, count(b.c) n, count(CASE WHEN b.r < a.s THEN 1 END) redeemed
            FROM labelled a LEFT JOIN labelled b ON a.h = b.h AND b.s < a.s GROUP BY ALL),
        kinds AS (
            SELECT a.c, count(b.c) n, count(CASE WHEN b.r < a.s THEN 1 END) redeemed
            FROM (SELECT DISTINCT c, s, k FROM mailed) a
            LEFT JOIN labelled b ON a.k = b.k AND b.s < a.s GROUP BY ALL),
        listed AS (SELECT DISTINCT campaign_id c, product_id p FROM coupons),
        sizes AS (SELECT campaign_id c, count(DISTINCT coupon_upc) n FROM coupons GROUP BY ALL),
        spent AS (
            SELECT m.h, m.c, sum(t.sales_value) spend, count(DISTINCT t.basket_id) baskets,
                   count(CASE WHEN t.coupon_disc > 0 THEN 1 END) coupon_lines,
                   sum(CASE WHEN l.p IS NOT NULL THEN t.sales_value ELSE 0 END) inside,
                   count(DISTINCT l.p) items
            FROM mailed m JOIN transactions t
              ON t.household_id = m.h AND t.transaction_timestamp < m.s
            LEFT JOIN listed l ON l.c = m.c AND l.p = t.product_id GROUP BY ALL)
        SELECT x.s start, CAST(x.r IS NOT NULL AS INTEGER) redeemed,
               (past.redeemed + {PRIOR_RATE * PRIOR_WEIGHT}) / (past.n + {PRIOR_WEIGHT}) past_rate,
               past.redeemed past_redemptions, past.n past_mailings,
               coalesce(spent.inside, 0) spend_in_campaign,
               coalesce(spent.items, 0) items_in_campaign, coalesce(spent.spend, 0) spend,
               coalesce(spent.baskets, 0) baskets, coalesce(spent.coupon_lines, 0) coupon_lines,
               (kinds.redeemed + 1) / (kinds.n + 10) type_rate,
               coalesce(sizes.n, 0) n_coupons, x.days
        FROM labelled x JOIN past ON past.h = x.h AND past.c = x.c
        JOIN kinds ON kinds.c = x.c LEFT JOIN sizes ON sizes.c = x.c
        LEFT JOIN spent ON spent.h = x.h AND spent.c = x.c
        ORDER BY x.s, x.c, x.h"""
        ).fetchnumpy()
    )


def roc_auc(scores: Floats, truth: Floats) -> float:
    """Returns the area under the ROC curve; ties count half."""
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2.0)[inverse]
    positive = truth.sum()
    above = ranks[truth > 0].sum() - positive * (positive + 1) / 2
    return float(above / (positive * (len(truth) - positive)))


def average_precision(scores: Floats, truth: Floats) -> float:
    """Returns the mean precision at each redeemer, best score first."""
    hits = truth[np.argsort(-scores, kind="stable")]
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return float((precision * hits).sum() / hits.sum())


def interval(
    measure: Callable[[Floats, Floats], float], scores: Floats, truth: Floats, seed: int
) -> list[float]:
    """Returns a measure and its 95 % bootstrap interval."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(N_BOOTSTRAP // 4):
        sample = rng.integers(0, len(truth), len(truth))
        found.append(measure(scores[sample], truth[sample]))
    low, high = np.percentile(found, PERCENTILES)
    return [round(v, 4) for v in (measure(scores, truth), float(low), float(high))]


def gain(
    measure: Callable[[Floats, Floats], float],
    ours: Floats,
    theirs: Floats,
    truth: Floats,
    seed: int,
) -> list[float]:
    """Returns by how much a measure is better, and its 95 % interval, on the same samples."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(N_BOOTSTRAP // 4):
        some = rng.integers(0, len(truth), len(truth))
        found.append(measure(ours[some], truth[some]) - measure(theirs[some], truth[some]))
    low, high = np.percentile(found, PERCENTILES)
    at = measure(ours, truth) - measure(theirs, truth)
    return [round(v, 4) for v in (at, float(low), float(high))]


def verdict(gains: Mapping[str, Mapping[str, list[float]]]) -> bool:
    """Returns whether every gain over every baseline has its lower end above nothing."""
    return all(low > 0 for some in gains.values() for _, low, _ in some.values())


def compare(source: str, cutoff: date, seed: int) -> dict[str, Any]:
    """Returns the model and its baselines on the campaigns from the cutoff on."""
    rows = rows_of(source)
    matrix = np.stack([np.asarray(rows[c], dtype=np.float64) for c in COLUMNS], axis=1)
    truth = np.asarray(rows["redeemed"], dtype=np.float64)
    late = np.asarray(rows["start"], dtype="datetime64[D]") >= np.datetime64(cutoff)
    data = lgb.Dataset(matrix[~late], truth[~late])
    model = lgb.train(TREES, data, num_boost_round=N_TREES)
    scores = {
        "trees": np.asarray(model.predict(matrix[late])),
        "past redemption rate": matrix[late, COLUMNS.index("past_rate")],
        "spend in the campaign's products": matrix[late, COLUMNS.index("spend_in_campaign")],
    }
    measures = {"roc_auc": roc_auc, "average_precision": average_precision}
    gains = {
        name: {
            what: gain(measure, scores["trees"], some, truth[late], seed)
            for what, measure in measures.items()
        }
        for name, some in scores.items()
        if name != "trees"
    }
    return {
        "cutoff": cutoff.isoformat(),
        "gain_of_trees_over": gains,
        "trees_win": verdict(gains),
        "mailings": {"learned": int((~late).sum()), "tested": int(late.sum())},
        "redeemed": {"learned": int(truth[~late].sum()), "tested": int(truth[late].sum())},
        "methods": {
            name: {
                what: interval(measure, some, truth[late], seed)
                for what, measure in measures.items()
            }
            for name, some in scores.items()
        },
    }


def as_text(report: Mapping[str, Any]) -> str:
    """Returns the comparison as a table to read."""
    mailings, redeemed = report["mailings"], report["redeemed"]
    lines = [
        f"offers, campaigns from {report['cutoff']} on: {mailings['tested']} mailings,"
        f" {redeemed['tested']} redeemed (learned from {mailings['learned']})"
    ]
    for name, found in report["methods"].items():
        shown = "  ".join(f"{what} {_bounded(found[what])}" for what in found)
        lines.append(f"  {name:32} {shown}")
    for name, found in report["gain_of_trees_over"].items():
        shown = "  ".join(f"{what} {_bounded(found[what])}" for what in found)
        lines.append(f"  trees less {name:32} {shown}")
    lines.append(f"  the trees win: {'yes' if report['trees_win'] else 'no: ship the baseline'}")
    return "\n".join(lines)


def _bounded(values: list[float]) -> str:
    at, low, high = values
    return f"{at:.3f} [{low:.3f}, {high:.3f}]"


def main() -> None:
    """Reads the arguments and prints the comparison."""
    parser = argparse.ArgumentParser(description="who redeems a mailed campaign")
    parser.add_argument("--data", default="completejourney")
    parser.add_argument("--cutoff", type=date.fromisoformat, default=date(2017, 9, 1))
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    sys.stdout.write(json.dumps(compare(args.data, args.cutoff, args.seed), indent=1) + "\n")


if __name__ == "__main__":
    main()
