"""Writes a bundle: the trees as ONNX, the tables, the catalogue, examples, manifest, signature.

Export fails unless ONNX answers what the trained trees answer, within `TOLERANCE`.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edge_agent.shell.bundles import MANIFEST, SIGNATURE, canonical, opsets
from edge_agent.shell.onnx_scorer import open_session
from edge_agent.state.features import FEATURES, FINALISTS
from models.dataset import Dataset

OPSET, OPSET_ML, IR_VERSION = 17, 5, 8
BRANCH_LEQ, SUM, NO_TRANSFORM = 0, 1, 0
"""Codes of ai.onnx.ml's TreeEnsemble, version 5, whose attributes take half the memory of 3's."""
TOLERANCE = 1e-5
ZIP_DATE = (1980, 1, 1, 0, 0, 0)
LOCAL_HEADER_BYTES, ALIGNED = 30, 64
PADDING = b"\x35\xd9\x00\x00"
"""An extra field of a zip entry that every reader skips: its tag and its length."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """Probability = sigmoid(slope * score + offset)."""

    slope: float
    offset: float

    def of(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns probabilities of raw scores."""
        return np.asarray(1.0 / (1.0 + np.exp(-(self.slope * scores + self.offset))))


class _Nodes:
    """Collects the attributes of a TreeEnsemble: inner nodes and leaves, each counted from 0."""

    def __init__(self) -> None:
        self.features: list[int] = []
        self.thresholds: list[float] = []
        self.next: dict[str, list[int]] = {"left_child": [], "right_child": []}
        self.next_is_leaf: dict[str, list[int]] = {"left_child": [], "right_child": []}
        self.leaves: list[float] = []

    def add(self, node: Mapping[str, Any]) -> tuple[int, int]:
        """Returns a subtree's place and whether it is a leaf."""
        if "leaf_value" in node:
            self.leaves.append(float(node["leaf_value"]))
            return len(self.leaves) - 1, 1
        here = len(self.features)
        self.features.append(int(node["split_feature"]))
        self.thresholds.append(_not_above(float(node["threshold"])))
        for side in ("left_child", "right_child"):
            self.next[side].append(0)
            self.next_is_leaf[side].append(0)
        for side in ("left_child", "right_child"):
            self.next[side][here], self.next_is_leaf[side][here] = self.add(node[side])
        return here, 0

    def add_tree(self, tree: Mapping[str, Any]) -> int:
        """Returns the place of a tree's root; one leaf becomes a split that leads to it twice."""
        node = tree["tree_structure"]
        if "leaf_value" in node:
            node = {"split_feature": 0, "threshold": 0.0, "left_child": node, "right_child": node}
        return self.add(node)[0]


def _not_above(value: float) -> float:
    """Returns the largest float32 not above a double: `x <= value` is the same for float32 x."""
    single = np.float32(value)
    if float(single) > value:
        single = np.nextafter(single, np.float32(-np.inf))
    return float(single)


def onnx_of_stages(
    first: Iterable[Mapping[str, Any]],
    second: Iterable[Mapping[str, Any]],
    calibration: Calibration,
) -> bytes:
    """Returns the ONNX model of two stages of LightGBM's dumped trees.

    The first, small one picks the `FINALISTS` best rows; only they pass through the second, large
    one and the calibration. All other rows answer 0.
    """
    constants = [
        numpy_helper.from_array(np.array([value], dtype=kind), name)
        for name, value, kind in (
            ("slope", calibration.slope, np.float32),
            ("offset", calibration.offset, np.float32),
            ("finalists", FINALISTS, np.int64),
            ("nothing", 0.0, np.float32),
        )
    ]
    nodes = [
        _ensemble(first, "features", "rough"),
        helper.make_node("Shape", ["rough"], ["shape"]),
        helper.make_node("Shape", ["rough"], ["n_rows"], start=0, end=1),
        helper.make_node("Min", ["n_rows", "finalists"], ["n_kept"]),
        helper.make_node("TopK", ["rough", "n_kept"], ["best", "kept"], axis=0),
        helper.make_node("Flatten", ["kept"], ["kept_column"], axis=1),
        helper.make_node("Squeeze", ["kept_column", "last_axis"], ["kept_rows"]),
        helper.make_node("Gather", ["features", "kept_rows"], ["finals"], axis=0),
        _ensemble(second, "finals", "score"),
        helper.make_node("Mul", ["score", "slope"], ["scaled"]),
        helper.make_node("Add", ["scaled", "offset"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["likely"]),
        helper.make_node("Expand", ["nothing", "shape"], ["zeros"]),
        helper.make_node("ScatterElements", ["zeros", "kept", "likely"], ["propensity"], axis=0),
    ]
    constants.append(numpy_helper.from_array(np.array([1], dtype=np.int64), "last_axis"))
    graph = helper.make_graph(
        nodes,
        "ranker",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, len(FEATURES)])],
        [helper.make_tensor_value_info("propensity", TensorProto.FLOAT, [None, 1])],
        constants,
    )
    model = helper.make_model(
        graph,
        opset_imports=[
            helper.make_opsetid("", OPSET),
            helper.make_opsetid("ai.onnx.ml", OPSET_ML),
        ],
        ir_version=IR_VERSION,
    )
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _ensemble(trees: Iterable[Mapping[str, Any]], source: str, target: str) -> onnx.NodeProto:
    nodes = _Nodes()
    roots = [nodes.add_tree(tree) for tree in trees]
    return helper.make_node(
        "TreeEnsemble",
        [source],
        [target],
        domain="ai.onnx.ml",
        n_targets=1,
        aggregate_function=SUM,
        post_transform=NO_TRANSFORM,
        tree_roots=roots,
        nodes_featureids=nodes.features,
        nodes_modes=numpy_helper.from_array(
            np.full(len(nodes.features), BRANCH_LEQ, dtype=np.uint8), f"{target}_modes"
        ),
        nodes_splits=numpy_helper.from_array(
            np.array(nodes.thresholds, dtype=np.float32), f"{target}_splits"
        ),
        nodes_truenodeids=nodes.next["left_child"],
        nodes_trueleafs=nodes.next_is_leaf["left_child"],
        nodes_falsenodeids=nodes.next["right_child"],
        nodes_falseleafs=nodes.next_is_leaf["right_child"],
        leaf_targetids=[0] * len(nodes.leaves),
        leaf_weights=numpy_helper.from_array(
            np.array(nodes.leaves, dtype=np.float32), f"{target}_leaves"
        ),
    )


def check_parity(
    model: bytes, matrix: NDArray[np.float32], expected: NDArray[np.float64]
) -> float:
    """Returns the largest difference between ONNX and the trained model.

    Raises:
        ValueError: It is above `TOLERANCE`.
    """
    session = open_session(model)
    answers = [
        session.run(None, {"features": matrix[begin : begin + FINALISTS]})[0].reshape(-1)
        for begin in range(0, len(matrix), FINALISTS)
    ]
    worst = float(np.abs(np.concatenate(answers) - expected).max())
    if not worst <= TOLERANCE:
        raise ValueError(f"ONNX differs from the trained model by {worst:.3g}")
    return worst


def npz(arrays: Mapping[str, NDArray[Any]], *, mapped: bool = False) -> bytes:
    """Returns an npz file whose bytes depend on the arrays alone.

    Args:
        arrays: Name -> array.
        mapped: Not compressed and each array aligned, so that it can be used where it lies.
    """
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in sorted(arrays):
            entry = io.BytesIO()
            np.save(entry, np.ascontiguousarray(arrays[name]), allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy", date_time=ZIP_DATE)
            info.compress_type = zipfile.ZIP_STORED if mapped else zipfile.ZIP_DEFLATED
            if mapped:
                data = out.tell() + LOCAL_HEADER_BYTES + len(info.filename) + len(PADDING)
                gap = -data % ALIGNED
                info.extra = PADDING[:2] + gap.to_bytes(2, "little") + bytes(gap)
            archive.writestr(info, entry.getvalue(), compresslevel=9)
    return out.getvalue()


def title_of(kind: str, size: str) -> str:
    """Returns a readable title: `APPLE SAUCE`, `50 OZ` -> `Apple sauce, 50 oz`."""
    words = re.sub(r"\s+", " ", kind.replace("/", " / ")).strip().lower()
    title = words[:1].upper() + words[1:]
    return f"{title}, {size.strip().lower()}" if size.strip() else title


def catalogue(data: Dataset, n: int, prices: NDArray[np.float64]) -> dict[str, NDArray[Any]]:
    """Returns the catalogue of every product sold in the first `n` baskets."""
    sold = np.unique(data.lines.values[: data.lines.starts[n]])
    products = data.products
    names = np.array(
        [
            title_of(str(kind or category or "Product"), str(size))
            for kind, category, size in zip(
                products.kind[sold], products.category[sold], products.size[sold], strict=True
            )
        ]
    )
    titles, title = np.unique(names, return_inverse=True)
    departments, department = np.unique(products.department[sold], return_inverse=True)
    categories, category = np.unique(products.category[sold], return_inverse=True)
    brands, brand = np.unique(products.brand[sold], return_inverse=True)
    cents = np.where(np.isfinite(prices[sold]), np.rint(prices[sold] * 100), -1)
    ids = np.array([i.encode() for i in products.ids[sold].tolist()], dtype=np.bytes_)
    order = np.argsort(ids, kind="stable")
    return {
        "ids": ids[order],
        "title": title[order].astype(np.uint32),
        "department": department[order].astype(np.uint16),
        "category": category[order].astype(np.uint16),
        "brand": brand[order].astype(np.uint16),
        "price_cents": cents[order].astype(np.int32),
        "titles": titles,
        "departments": departments,
        "categories": categories,
        "brands": brands,
    }


def write_bundle(
    folder: Path,
    *,
    parts: Mapping[str, bytes],
    facts: Mapping[str, Any],
    key: Ed25519PrivateKey | None,
) -> None:
    """Writes parts, manifest and signature into a folder.

    Args:
        folder: Made when it is not there.
        parts: Name -> bytes.
        facts: Everything else that the manifest says.
        key: Signs the manifest; without one the bundle is unsigned.
    """
    folder.mkdir(parents=True, exist_ok=True)
    public = None
    if key is not None:
        public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
    manifest = {
        **facts,
        "features": list(FEATURES),
        "opset": opsets(parts["ranker.onnx"]),
        "parts": {
            name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in sorted(parts.items())
        },
        "public_key": public,
        "tolerance": 1e-4,
    }
    raw = canonical(manifest)
    for name, data in parts.items():
        (folder / name).write_bytes(data)
    (folder / MANIFEST).write_bytes(raw)
    (folder / SIGNATURE).unlink(missing_ok=True)
    if key is not None:
        (folder / SIGNATURE).write_text(key.sign(raw).hex() + "\n")


def signing_key(path: Path | None) -> Ed25519PrivateKey | None:
    """Returns the key in a file of 32 raw bytes; makes one, readable by its owner alone."""
    if path is None:
        return None
    if not path.exists():
        path.touch(mode=0o600)
        made = Ed25519PrivateKey.generate()
        path.write_bytes(made.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption()))
    return Ed25519PrivateKey.from_private_bytes(path.read_bytes())


def dump_examples(examples: list[dict[str, Any]]) -> bytes:
    """Returns the stored examples as JSON."""
    return (json.dumps(examples, indent=1, sort_keys=True) + "\n").encode()
