"""Measures one decision's scoring: the whole path against the bare ONNX call, in one run.

    python -m tests.bench.scoring [--json] [--bundle DIR]

The whole path is what a gateway does: ids to positions, features, candidates, ONNX, reasons. The
bare call is the model alone on the identified visitors' matrices. Requests are invented, from a
fixed seed: baskets of 0 to 12 popular products; every third visitor is identified, with 90 earlier
baskets.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from edge_agent.domain.ids import ProductId
from edge_agent.domain.scoring import PastBasket, ScoringRequest
from edge_agent.shell import bundles

ARTIFACTS = Path(__file__).parents[2] / "models" / "artifacts"
NOW = datetime(2017, 12, 2, 20, 15, tzinfo=UTC)
N_REQUESTS = 900
N_WARM = 30
PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / 2**20


def resident_mib() -> float:
    """Returns this process's resident memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_MIB


def requests(bundle: bundles.Bundle) -> dict[str, list[ScoringRequest]]:
    """Returns invented requests of unidentified and identified visitors."""
    rng = random.Random(20)
    base = ScoringRequest(now=NOW, hour=15, weekday=5, week=49, limit=2000)
    known = [s.product for s in bundle.scorer.popular(base)]
    found: dict[str, list[ScoringRequest]] = {"anonymous": [], "identified": []}
    for number in range(N_REQUESTS):
        basket = tuple(rng.sample(known, rng.randint(0, 12)))
        kind = "anonymous" if number % 3 else "identified"
        history = _history(rng, known) if kind == "identified" else ()
        found[kind].append(
            ScoringRequest(
                now=NOW, hour=15, weekday=5, week=49, store="367", basket=basket, history=history
            )
        )
    return found


def _history(rng: random.Random, known: list[ProductId]) -> tuple[PastBasket, ...]:
    return tuple(
        PastBasket(at=NOW - timedelta(days=4 * ago), products=tuple(sorted(rng.sample(known, 9))))
        for ago in range(90, 0, -1)
    )


def timed(call: Callable[[int], object], n: int) -> dict[str, float]:
    """Returns p50 and p99 in milliseconds, of the clock and of this thread's processor time."""
    clock, processor = [], []
    for i in range(n):
        start, start_cpu = time.perf_counter(), time.thread_time()
        call(i)
        clock.append(1e3 * (time.perf_counter() - start))
        processor.append(1e3 * (time.thread_time() - start_cpu))
    p50, p99 = np.percentile(clock[N_WARM:], [50, 99])
    cpu_p50, cpu_p99 = np.percentile(processor[N_WARM:], [50, 99])
    values = {"p50": p50, "p99": p99, "cpu_p50": cpu_p50, "cpu_p99": cpu_p99}
    return {name: round(float(value), 3) for name, value in values.items()}


def measure(folder: Path) -> dict[str, object]:
    """Returns times, ratios and memory."""
    before = resident_mib()
    start = time.perf_counter()
    bundle = bundles.load_bundle(folder)
    load_s = time.perf_counter() - start
    for hour in range(6, 22):
        bundle.scorer.rank(ScoringRequest(now=NOW, hour=hour, weekday=5, week=49, store="367"))
    growth = resident_mib() - before
    asked = requests(bundle)
    matrices = [bundle.scorer.describe(request).matrix for request in asked["identified"]]
    bare = timed(lambda i: bundle.scorer.score(matrices[i]), len(matrices))
    report: dict[str, object] = {
        "bundle": bundle.version,
        "load_s": round(load_s, 3),
        "bare_onnx_ms": bare,
    }
    for kind, some in asked.items():
        for name, call in (("rank", bundle.scorer.rank), ("popular", bundle.scorer.popular)):
            found = timed(lambda i, c=call, s=some: c(s[i]), len(some))  # type: ignore[misc]
            found["cpu_p50_to_bare"] = round(found["cpu_p50"] / bare["cpu_p50"], 2)
            report[f"{name}_{kind}_ms"] = found
    report["resident_growth_mib"] = round(growth, 1)
    return report


def main() -> None:
    """Prints the measurement."""
    parser = argparse.ArgumentParser(description="measure one decision's scoring")
    parser.add_argument("--bundle", type=Path, default=ARTIFACTS)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    report = measure(args.bundle)
    if args.json:
        sys.stdout.write(json.dumps(report, indent=1) + "\n")
        return
    for key, value in report.items():
        sys.stdout.write(f"{key:24} {value}\n")


if __name__ == "__main__":
    main()
