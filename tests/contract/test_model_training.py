"""Training sees nothing on or after its cutoff, and grades answers as the protocol says."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from scipy import sparse

import models
from edge_agent.shell.bundles import load_bundle, pack
from edge_agent.shell.onnx_scorer import open_session
from edge_agent.state.features import FEATURES, FINALISTS, Description
from models import train
from models.dataset import (
    DEFAULT_ZONE,
    Dataset,
    load,
    load_promotions,
    rankable,
    seconds,
    unit_prices,
)
from models.evaluate import ARTIFACTS, learning_without_plan, requests_of
from models.export import Calibration, onnx_of_stages
from models.groups import GROUP_SIZE, MIN_BASKETS, Habits, fit_groups
from models.protocol import Case, cases_at, grade, ratio_interval, split
from models.tables import GAP_PRIOR, fit_tables
from models.train import Rows, describe_all, finalists_of, fit_first_stage, learning_at

CUTOFF = date(2020, 3, 1)
PRODUCTS = [f"p{i:02d}" for i in range(14)]


def shop(folder: Path, *, days: int) -> Path:
    """Writes the tables of an invented shop: five households, each shopping every third day."""
    folder.mkdir()
    rng = np.random.default_rng(8)
    lines = []
    for day in range(days):
        for household in range(5):
            if (day + household) % 3:
                continue
            at = f"{date(2020, 1, 1) + timedelta(days=day)} 17:0{household}:00"
            for product in sorted(rng.choice(PRODUCTS, size=5, replace=False)):
                basket = f"b{day:03d}{household}"
                lines.append(
                    f"('h{household}','s{household % 2}','{basket}','{product}',1,2.5,0,0,0,"
                    f"{day // 7 + 1},TIMESTAMP '{at}')"
                )
    con = duckdb.connect()
    names = (
        "household_id,store_id,basket_id,product_id,quantity,sales_value,retail_disc,coupon_disc,"
        "coupon_match_disc,week,transaction_timestamp"
    )
    _write(con, folder / "transactions.parquet", names, lines)
    products = [
        f"('{p}','m{i % 3}','{'FUEL' if i == 0 else 'GROCERY'}','National','C{i % 4}','K{i % 5}',"
        "'1 LB')"
        for i, p in enumerate(PRODUCTS)
    ]
    names = (
        "product_id,manufacturer_id,department,brand,product_category,product_type,package_size"
    )
    _write(con, folder / "products.parquet", names, products)
    names = "product_id,store_id,display_location,mailer_location,week"
    _write(con, folder / "promotions.parquet", names, ["('p03','s0','5','A',9)"])
    return folder


def _write(con: Any, path: Path, names: str, rows: list[str]) -> None:
    con.execute(f"COPY (SELECT * FROM (VALUES {','.join(rows)}) t({names})) TO '{path}'")  # noqa: S608


def tables_of(data: Dataset) -> dict[str, np.ndarray]:
    """Returns everything learned at the cutoff, as arrays."""
    prices = unit_prices(data, CUTOFF)
    items = rankable(data, data.n_before(seconds(CUTOFF)))
    learning = learning_at(data, CUTOFF, prices, load_promotions(data, items), items)
    names = data.products.ids[learning.items].tolist()
    return pack(fit_tables(learning, [9]), names, data.stores.tolist())


def test_baskets_from_the_cutoff_on_change_nothing_learned(tmp_path: Path) -> None:
    """The tables of a data set that goes on equal those of one cut at the cutoff."""
    longer = tables_of(load(str(shop(tmp_path / "long", days=90))))
    cut = tables_of(load(str(shop(tmp_path / "cut", days=60))))
    assert longer.keys() == cut.keys()
    for name, array in cut.items():
        assert array.tobytes() == longer[name].tobytes(), name


def test_excluded_departments_are_never_ranked(tmp_path: Path) -> None:
    """Fuel is sold often enough, and is still no candidate."""
    data = load(str(shop(tmp_path / "shop", days=60)))
    ids = data.products.ids[rankable(data, data.n_before(seconds(CUTOFF)))]
    assert "p00" not in ids
    assert "p01" in ids


def test_usual_gap_is_the_mean_of_all_households_gaps(tmp_path: Path) -> None:
    """Days between purchases, averaged as logarithms and pulled towards all items' mean."""
    data = load(str(shop(tmp_path / "shop", days=60)))
    found = tables_of(data)
    names = [product.decode() for product in found["products"].tolist()]
    gaps: dict[str, list[float]] = {name: [] for name in names}
    last: dict[tuple[int, str], int] = {}
    for basket, at_s in enumerate(data.at_s.tolist()):
        for product in data.products.ids[data.lines[basket]].tolist():
            key = (int(data.household[basket]), product)
            if key in last and product in gaps:
                gaps[product].append(float(np.log((at_s - last[key]) / 86_400)))
            last[key] = at_s
    mean = np.mean([gap for some in gaps.values() for gap in some])
    for at, name in enumerate(names):
        expected = (sum(gaps[name]) + GAP_PRIOR * mean) / (len(gaps[name]) + GAP_PRIOR)
        assert found["usual_gap"][at] == pytest.approx(np.exp(expected), rel=1e-5)


def test_a_gateway_sees_the_features_that_were_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request built from ids and instants is described bit for bit as its case in training."""
    monkeypatch.setattr(train, "N_TREES", 2)
    monkeypatch.setattr(train, "N_FIRST", 2)
    monkeypatch.setattr(train, "SNAPSHOTS", 1)
    folder = str(shop(tmp_path / "shop", days=76))
    train.train(folder, CUTOFF, tmp_path / "b", key=None, zone=DEFAULT_ZONE, engine="duckdb")
    scorer = load_bundle(tmp_path / "b").scorer
    learning = learning_without_plan(load(folder), CUTOFF)
    cases = cases_at(learning.data, learning.lines, learning.items, CUTOFF, 7)
    for some in cases.named().values():
        assert some
        taught = describe_all(learning, scorer.tables, some)
        for request, expected in zip(requests_of(learning, some, CUTOFF, 20), taught, strict=True):
            served = scorer.describe(request)
            assert served.items.tolist() == expected.items.tolist()
            assert served.matrix.tobytes() == expected.matrix.tobytes()


def test_cases_come_after_the_cutoff_and_hide_half(tmp_path: Path) -> None:
    """A asks for a household's first basket; B hides the larger half of four items or more."""
    data = load(str(shop(tmp_path / "shop", days=90)))
    items = rankable(data, data.n_before(seconds(CUTOFF)))
    learning = learning_at(
        data, CUTOFF, unit_prices(data, CUTOFF), load_promotions(data, items), items
    )
    cases = cases_at(data, learning.lines, items, CUTOFF, 7)
    assert len(cases.a) == len({case.household for case in cases.a}) == 5
    assert all(data.at_s[case.basket] >= seconds(CUTOFF) for case in cases.a + cases.b_id)
    assert all(
        len(case.visible) == (len(case.visible) + len(case.targets)) // 2 for case in cases.b_id
    )
    assert all(case.household is None for case in cases.b_anon)


def test_split_follows_the_hash_of_seed_basket_and_product() -> None:
    """The first half in order of sha256("seed:basket:product") is visible."""
    ids = np.array(PRODUCTS)
    found = np.array([1, 4, 6, 9, 11], dtype=np.int32)
    visible, targets = split("b1", found, ids, 7)
    order = sorted(found, key=lambda i: hashlib.sha256(f"7:b1:{ids[i]}".encode()).hexdigest())
    assert visible.tolist() == order[:2]
    assert targets.tolist() == order[2:]


def test_grades_are_recall_ndcg_and_hit_at_ten() -> None:
    """One of two targets, in second place."""
    case = Case(0, None, np.empty(0, np.int32), np.array([3, 8], dtype=np.int32))
    grades = grade([case], [np.array([1, 3, *range(20, 28), 8], dtype=np.int32)])
    assert grades.recall[0] == 0.5
    assert grades.hit[0] == 1.0
    assert grades.ndcg[0] == pytest.approx((1 / np.log2(3)) / (1 + 1 / np.log2(3)))


def test_ratio_of_a_method_to_itself_is_one() -> None:
    """The interval is that of the paired ratio."""
    values = np.random.default_rng(1).random(200)
    assert ratio_interval(values, values, 7) == pytest.approx((1.0, 1.0, 1.0))


def habits(
    baskets: np.ndarray, household: np.ndarray, store: np.ndarray, *, n_stores: int
) -> Habits:
    """Returns who bought what and where, of baskets that all weigh 1."""
    owners = np.eye(int(household.max()) + 1)[household].T
    bought = sparse.csr_matrix(owners @ baskets)
    at_store = sparse.csr_matrix(owners @ np.eye(n_stores)[store])
    return Habits(count=bought, bought=bought, at_store=at_store)


def test_group_joins_enough_households_and_hides_what_they_seldom_buy() -> None:
    """Everybody of two shops buys the shop's own item; one household buys one of its own too."""
    household = np.repeat(np.arange(2 * GROUP_SIZE), 3).astype(np.int32)
    store = (household >= GROUP_SIZE).astype(np.int32)
    lone, twice = np.zeros((2, len(household)))
    twice[: MIN_BASKETS - 1] = 1
    lone[-1] = 1
    baskets = np.stack([1 - store, store, twice, lone], axis=1)
    found = fit_groups(habits(baskets, household, store, n_stores=3))
    assert len(found.starts) - 1 == 2
    assert sorted(found.items.tolist()) == [0, 1]
    assert found.store_starts.tolist() == [0, 1, 2, 2]


def test_shop_of_fewer_households_than_a_group_has_none() -> None:
    """Four households are never published as one."""
    household = np.arange(GROUP_SIZE - 1).repeat(9).astype(np.int32)
    store = np.zeros(len(household), dtype=np.int32)
    found = fit_groups(habits(np.ones((len(household), 2)), household, store, n_stores=1))
    assert len(found.items) == len(found.store_groups) == 0


def test_trained_twice_gives_the_same_bytes_and_maps_its_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Manifest, metrics, trees and tables do not depend on the run; tables are used in place."""
    monkeypatch.setattr(train, "N_TREES", 4)
    monkeypatch.setattr(train, "N_FIRST", 2)
    monkeypatch.setattr(train, "SNAPSHOTS", 2)
    data = str(shop(tmp_path / "shop", days=76))
    for run in ("first", "second"):
        train.train(data, CUTOFF, tmp_path / run, key=None, zone=DEFAULT_ZONE, engine="duckdb")
    names = sorted(file.name for file in (tmp_path / "first").iterdir())
    assert "manifest.json" in names
    for name in names:
        first, second = (tmp_path / run / name for run in ("first", "second"))
        assert first.read_bytes() == second.read_bytes(), name
    tables = load_bundle(tmp_path / "first").scorer.tables
    assert not tables.basket_near.weight.flags.owndata
    assert not tables.basket_near.weight.flags.writeable


def test_what_is_taught_is_what_the_exported_model_scores() -> None:
    """The second stage is asked about the finalists alone, and learns from just those."""
    rng = np.random.default_rng(3)
    matrix = rng.random((300, len(FEATURES)), dtype=np.float32)
    bought = (matrix[:, 0] + rng.random(300) > 1.2).astype(np.float32)
    rows = Rows(matrix=matrix, bought=bought, weight=np.ones(300, dtype=np.float32))
    first = fit_first_stage(rows)
    never_splits = {"tree_structure": {"leaf_value": 0.25}}
    model = onnx_of_stages(
        first.dump_model()["tree_info"], [never_splits], Calibration(slope=2.0, offset=0.0)
    )
    scores = open_session(model).run(None, {"features": matrix})[0].reshape(-1)
    (finals,) = finalists_of(first, [Description(items=np.arange(300), matrix=matrix)])
    assert np.flatnonzero(scores).tolist() == finals.items.tolist()
    assert len(finals.items) == FINALISTS
    assert finals.matrix.tobytes() == matrix[finals.items].tobytes()
    assert scores[finals.items] == pytest.approx(1.0 / (1.0 + np.exp(-0.5)))


@pytest.mark.parametrize("command", ["train", "rank", "engines"])
def test_a_folder_without_the_tables_is_named(tmp_path: Path, command: str) -> None:
    """What is missing, and where it is told of; no trace of Python."""
    options = {
        "train": ("--cutoff", "2017-12-01", "--out", str(tmp_path / "out")),
        "rank": ("--bundle", str(ARTIFACTS), "--cases", __file__, "--out", str(tmp_path / "out")),
        "engines": ("--cutoff", "2017-12-01", "--out", str(tmp_path / "out")),
    }
    done = subprocess.run(
        [sys.executable, "-m", f"models.{command}", "--data", str(tmp_path), *options[command]],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    what = "has no transactions.parquet and no products.parquet: see models/README.md"
    assert done.stderr == f"{tmp_path} {what}\n"


def test_a_bundle_that_is_not_there_is_named(tmp_path: Path) -> None:
    """Before anything is read of the data."""
    options = ("--data", "completejourney", "--bundle", str(tmp_path), "--cases", __file__)
    done = subprocess.run(
        [sys.executable, "-m", "models.rank", *options, "--out", str(tmp_path / "out")],
        capture_output=True,
        text=True,
        check=False,
    )
    told = f"{tmp_path / 'manifest.json'} is no file that can be read: see models/README.md\n"
    assert (done.returncode, done.stderr) == (1, told)


@pytest.mark.parametrize("command", ["train", "rank", "evaluate", "engines", "offers"])
def test_a_library_that_is_not_installed_is_named_with_what_installs_it(
    tmp_path: Path, command: str
) -> None:
    """The agent's own environment has none of those that train."""
    for each in ("numpy", "lightgbm", "ibis"):
        raised = f"raise ModuleNotFoundError(name={each!r})\n"
        (tmp_path / f"{each}.py").write_text(raised)
    done = subprocess.run(
        [sys.executable, "-m", f"models.{command}", "--help"],
        env={"PYTHONPATH": f"{tmp_path}:{Path(models.__file__).parents[1]}"},
        capture_output=True,
        text=True,
        check=False,
    )
    missing, _, advice = done.stderr.partition(" ")
    assert missing in {"numpy", "lightgbm", "ibis"}
    assert advice.startswith("is not installed here: run `make train-env`")
    assert done.stderr.count("\n") == done.returncode == 1
