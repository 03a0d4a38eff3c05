"""Answers a file of cases with a bundle, through the very scorer that a gateway runs.

    python -m models.rank --bundle BUNDLE_DIR --data DIR --cases A.jsonl --out ranked.jsonl

The data supply the identified households' earlier baskets, which no bundle holds; baskets on or
after the bundle's training end are never read. Each case is answered on its own.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from edge_agent.domain.ids import ProductId
from edge_agent.domain.scoring import PastBasket, ScoringRequest
from edge_agent.errors import BundleError
from edge_agent.shell.bundles import Bundle, load_bundle
from models.dataset import DEFAULT_ZONE, Dataset, load, seconds

LIMIT = 20


@dataclass(frozen=True, slots=True)
class Records:
    """What the data say that a case does not: earlier baskets, and when a week is.

    Attributes:
        baskets: Household -> its baskets, oldest first.
        monday: A Monday whose week number is `week`.
        week: The last week of the data.
    """

    baskets: Mapping[str, tuple[PastBasket, ...]]
    monday: datetime
    week: int


def records_of(data: Dataset, until: date) -> Records:
    """Returns the baskets before a day, by household."""
    n = data.n_before(seconds(until))
    names = [ProductId(p) for p in data.products.ids.tolist()]
    found: dict[str, list[PastBasket]] = defaultdict(list)
    for basket in range(n):
        at = datetime.fromtimestamp(int(data.at_s[basket]), UTC)
        products = tuple(names[i] for i in data.lines[basket].tolist())
        found[str(data.households[data.household[basket]])].append(
            PastBasket(at=at, products=products)
        )
    last = datetime.fromtimestamp(int(data.at_s[n - 1]), UTC)
    local = datetime.fromtimestamp(int(data.local_s[n - 1]), UTC)
    return Records(
        baskets={household: tuple(baskets) for household, baskets in found.items()},
        monday=last - timedelta(days=local.weekday()),
        week=int(data.week[n - 1]),
    )


def request_of(case: Mapping[str, Any], records: Records, zone: ZoneInfo) -> ScoringRequest:
    """Returns the case as a gateway would ask it; the raw hour becomes the store's own."""
    if case.get("timestamp") is not None:
        now = _instant(str(case["timestamp"]))
    else:
        monday = records.monday + timedelta(weeks=int(case["week"]) - records.week)
        now = monday.replace(hour=int(case["hour"]), minute=30, second=0)
        now += timedelta(days=int(case["weekday"]))
    local = now.astimezone(zone)
    household = case.get("household_id")
    history = () if household is None else records.baskets.get(str(household), ())
    return ScoringRequest(
        now=now,
        hour=local.hour,
        weekday=local.weekday(),
        week=int(case["week"]),
        store=str(case["store_id"]),
        basket=tuple(ProductId(str(p)) for p in case.get("basket", ())),
        history=tuple(basket for basket in history if basket.at < now),
        limit=LIMIT,
    )


def _instant(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def answer(bundle: Bundle, request: ScoringRequest) -> list[str]:
    """Returns product ids, best first; popularity fills up what the model leaves open."""
    ranked = [scored.product for scored in bundle.scorer.rank(request)]
    if len(ranked) < request.limit:
        known = set(ranked)
        popular = bundle.scorer.popular(request)
        ranked += [scored.product for scored in popular if scored.product not in known]
    return [str(product) for product in ranked[: request.limit]]


def answers(
    bundle: Bundle, cases: list[dict[str, Any]], records: Records, zone: ZoneInfo
) -> Iterator[tuple[Any, list[str]]]:
    """Yields each case's id and answer, in the file's order."""
    requests = [request_of(case, records, zone) for case in cases]
    places = [(r.store or "", r.week or 0, r.weekday, r.hour) for r in requests]
    found = {
        i: answer(bundle, requests[i]) for i in sorted(range(len(cases)), key=places.__getitem__)
    }
    for i, case in enumerate(cases):
        yield case["case"], found[i]


def ids_are_numbers(data: Dataset) -> bool:
    """Tells whether the data's product ids are numbers, so that answers are as well."""
    return bool(np.all(np.char.isdigit(data.products.ids))) and all(
        product == str(int(product)) for product in data.products.ids.tolist()
    )


def main() -> None:
    """Reads the arguments and answers the cases."""
    parser = argparse.ArgumentParser(description="answer cases with a bundle")
    parser.add_argument("--bundle", required=True, type=Path)
    parser.add_argument(
        "--data", required=True, help="folder of parquet tables, or completejourney"
    )
    parser.add_argument("--cases", required=True, type=Path)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--zone", default=DEFAULT_ZONE, help="time zone of the stores")
    args = parser.parse_args()
    for name in (args.bundle / "manifest.json", args.cases):
        if not name.is_file():
            raise SystemExit(f"{name} is no file that can be read: see models/README.md")
    try:
        bundle = load_bundle(args.bundle)
    except BundleError as error:
        raise SystemExit(f"{args.bundle}: {error}") from None
    data = load(args.data, zone=args.zone)
    records = records_of(data, date.fromisoformat(bundle.manifest["trained_until"]))
    cases = [json.loads(line) for line in args.cases.read_text().splitlines() if line.strip()]
    numbers = ids_are_numbers(data)
    with args.out.open("w") as out:
        for case, items in answers(bundle, cases, records, ZoneInfo(args.zone)):
            shown = [int(item) for item in items] if numbers else items
            out.write(json.dumps({"case": case, "items": shown}) + "\n")


if __name__ == "__main__":
    main()
