"""Writes all that training asks an engine for, so that two engines can be compared row for row.

    python -m models.engines --data DIR --cutoff 2017-12-01 --engine spark --out rows.jsonl

A line is a row: of what training reads (`models.expressions`), or of the statistics of what was
bought before the cutoff (`models.statistics`, `models.pairs`).
"""

from __future__ import annotations

import argparse
import json
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from models import expressions
from models.aggregates import asked_of, gather
from models.dataset import load, rankable, seconds
from models.workers import ENGINES, Columns


def everything(engine: str, folder: Path, cutoff: date) -> dict[str, Columns]:
    """Returns all that training asks an engine for, by expression."""
    data = load(str(folder), engine=engine)
    worker, until_s = data.engine, seconds(cutoff)
    lines, plan = worker.table(folder, "transactions"), worker.table(folder, "promotions")
    wanted = worker.lookup("wanted", data.products.ids.tolist())
    stores = worker.columns(expressions.planned_stores(plan))
    planned = worker.lookup("planned", sorted(str(each) for each in stores["id"]))
    products = expressions.sold_products(lines, worker.table(folder, "products"))
    reads = {
        "baskets": expressions.baskets(lines),
        "basket_lines": expressions.basket_lines(lines),
        "sold_products": products,
        "unit_prices": expressions.unit_prices(lines, before=cutoff),
        "promotions": expressions.promotions(plan, wanted=wanted, planned=planned),
    }
    read = {name: worker.columns(expression) for name, expression in reads.items()}
    read["planned_stores"] = stores
    items = rankable(data, data.n_before(until_s))
    return read | gather(worker, folder, asked_of(data, items, until_s))


def rows_of(columns: Columns) -> list[tuple[Any, ...]]:
    """Returns the rows of columns, in order of their columns' names, as plain values."""
    plain = [np.ma.filled(np.ma.asarray(columns[name]), None).tolist() for name in sorted(columns)]
    return list(zip(*plain, strict=True))


def main() -> None:
    """Reads the arguments and writes what the engine gives."""
    parser = argparse.ArgumentParser(description="what training asks for, as an engine gives it")
    parser.add_argument("--data", required=True, type=Path, help="folder of parquet tables")
    parser.add_argument("--cutoff", required=True, type=date.fromisoformat)
    parser.add_argument("--engine", choices=ENGINES, default="duckdb")
    parser.add_argument("--out", required=True, type=Path)
    args = parser.parse_args()
    found = everything(args.engine, args.data, args.cutoff)
    with args.out.open("w", encoding="utf-8") as file:
        for name, columns in found.items():
            # What has no order is given one, so that two engines' files can be compared.
            rows = rows_of(columns) if name == "baskets" else sorted(rows_of(columns))
            file.writelines(json.dumps([name, *row]) + "\n" for row in rows)


if __name__ == "__main__":
    main()
