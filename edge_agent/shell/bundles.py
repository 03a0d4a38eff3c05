"""Loads a model bundle, or refuses it with the reason.

A bundle is a folder: `manifest.json`, the parts that it names (model, tables, catalogue,
examples) and `manifest.sig`. The manifest holds the sha256 and size of every part, the opset, the
features in order and a digest of itself; the signature is Ed25519 over the manifest's bytes.
Loading checks, in this order and each before the next is trusted: the manifest's digest, its
signature, every part, the model's opset and shapes, and the stored examples, recomputed through
the whole path. Nothing in a bundle is unpickled and no file that the manifest does not name is
read.
"""

from __future__ import annotations

import ctypes
import hashlib
import io
import json
import mmap
import os
import re
import stat
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from numpy.typing import NDArray
from typing_extensions import override

from edge_agent import __version__
from edge_agent.domain.ids import ProductId
from edge_agent.domain.scoring import PastBasket, ScoringRequest
from edge_agent.errors import AS_THE_AGENT, BundleError
from edge_agent.shell.mapped_tables import let_go, map_verified, mapped_arrays
from edge_agent.shell.onnx_scorer import Ids, OnnxScorer, open_session
from edge_agent.state.features import FEATURES, Neighbours, RankerTables
from edge_agent.state.groups import Groups

MANIFEST: Final = "manifest.json"
SIGNATURE: Final = "manifest.sig"
FORMAT: Final = 1
MAX_MANIFEST_BYTES: Final = 256 * 1024
MAX_SIGNATURE_BYTES: Final = 1024
MAX_BUNDLE_BYTES: Final = 20 * 1000 * 1000
MAX_UNPACKED_BYTES: Final = 64 * 1024 * 1024
TABLES: Final = "tables.npz"
PARTS: Final = frozenset({"ranker.onnx", TABLES, "catalogue.npz", "examples.json"})
OPSETS: Final[Mapping[str, int]] = {"": 21, "ai.onnx.ml": 5}
"""The newest operator sets that are accepted, by domain."""
MAX_TOLERANCE: Final = 1e-3
"""A bundle says how exactly its examples must be met, but not that they need not be."""
MAX_EXAMPLES: Final = 100
_VERSION: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,31}-[0-9]{1,4}(\.[0-9]{1,4}){0,3}")
"""A name and at most four numbers that tell newer from older."""
REPLACE: Final = "Install a bundle that was released for this agent; the old one stays in use."
READ_AS_AGENT: Final = f"{AS_THE_AGENT[0].upper()}{AS_THE_AGENT[1:]}."


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """What a screen may show of a product."""

    title: str
    department: str
    category: str
    price: str | None
    brand: str | None = None


class Catalogue(Mapping[ProductId, CatalogueEntry]):
    """Products by id, kept as arrays: a few bytes for each product instead of objects."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self._ids = arrays["ids"]
        self._title = arrays["title"]
        self._department = arrays["department"]
        self._category = arrays["category"]
        self._cents = arrays["price_cents"]
        self._titles = [str(t) for t in arrays["titles"].tolist()]
        self._departments = [str(t) for t in arrays["departments"].tolist()]
        self._categories = [str(t) for t in arrays["categories"].tolist()]
        # Older bundles have none.
        self._brand = arrays.get("brand")
        self._brands = [str(t) for t in arrays["brands"].tolist()] if "brand" in arrays else []

    @override
    def __len__(self) -> int:
        return len(self._ids)

    @override
    def __iter__(self) -> Iterator[ProductId]:
        return (ProductId(i.decode()) for i in self._ids)

    @override
    def __contains__(self, product: object) -> bool:
        return isinstance(product, str) and self._at(product) is not None

    @override
    def __getitem__(self, product: ProductId) -> CatalogueEntry:
        at = self._at(product)
        if at is None:
            raise KeyError(product)
        cents = int(self._cents[at])
        return CatalogueEntry(
            title=self._titles[int(self._title[at])],
            department=self._departments[int(self._department[at])],
            category=self._categories[int(self._category[at])],
            price=None if cents < 0 else f"{cents // 100}.{cents % 100:02d}",
            brand=self._brand_at(at),
        )

    def in_departments(self, departments: frozenset[str]) -> list[ProductId]:
        """Returns the products of some departments, in ascending order."""
        wanted = [n for n, name in enumerate(self._departments) if name in departments]
        found = self._ids[np.isin(self._department, wanted)]
        return [ProductId(product.decode()) for product in found.tolist()]

    def cents_in(self, category: str) -> list[int]:
        """Returns the prices of a category's products in cents, in ascending order."""
        if category not in self._categories:
            return []
        found = self._cents[self._category == self._categories.index(category)]
        prices: list[int] = np.sort(found[found >= 0]).tolist()
        return prices

    def _brand_at(self, at: int) -> str | None:
        return None if self._brand is None else self._brands[int(self._brand[at])] or None

    def _at(self, product: str) -> int | None:
        key = product.encode()
        at = int(np.searchsorted(self._ids, key))
        return at if at < len(self._ids) and self._ids[at] == key else None


@dataclass(frozen=True, slots=True)
class Bundle:
    """A verified bundle, ready to score.

    Attributes:
        version: Such as `ranker-2026.11.1`.
        manifest: The manifest as read.
        catalogue: Title, department, category and price of every product sold in training.
        scorer: Ranks products.
    """

    version: str
    manifest: Mapping[str, Any]
    catalogue: Catalogue
    scorer: OnnxScorer


def load_bundle(path: Path, *, public_key: bytes | None = None) -> Bundle:
    """Verifies and opens a bundle.

    Args:
        path: The bundle's folder.
        public_key: Raw Ed25519 key (32 bytes) that must have signed it. Without one the bundle is
            only proven undamaged, against the key that its manifest names.

    Raises:
        BundleError: It is damaged, foreign, too new, or computes something else than it should.
    """
    manifest = read_manifest(path, public_key=public_key)
    parts = read_parts(path, manifest, PARTS - {TABLES})
    # Each part is let go of once it was read: together they are a third of the agent.
    model = parts.pop("ranker.onnx")
    _check_model_bytes(model, manifest)
    mapped = _mapped_file(path / TABLES, manifest["parts"][TABLES])
    tables, ids = _tables(_mapped_tables(mapped))
    try:
        session = open_session(model)
    except Exception as error:  # onnxruntime raises a dozen types of its own here
        raise BundleError(f"ranker.onnx cannot be opened: {error}", hint=REPLACE) from error
    _check_shapes(session)
    scorer = OnnxScorer(session, tables, ids)
    catalogue = _catalogue(_arrays(parts.pop("catalogue.npz")))
    _check_examples(scorer, parts.pop("examples.json"), float(manifest["tolerance"]))
    # The examples are of all stores, the agent is in one.
    let_go(mapped)
    _give_back_memory()
    return Bundle(
        version=str(manifest["version"]), manifest=manifest, catalogue=catalogue, scorer=scorer
    )


def _give_back_memory() -> None:
    """Returns what unpacking left on the C heap to the system; without glibc it does nothing."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def canonical(manifest: Mapping[str, Any]) -> bytes:
    """Returns the only bytes in which a manifest may be written, its digest filled in."""
    rest = {key: value for key, value in manifest.items() if key != "digest"}
    digest = hashlib.sha256(_dump(rest)).hexdigest()
    return _dump({**rest, "digest": digest})


def _dump(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=True) + "\n").encode()


def read_manifest(path: Path, *, public_key: bytes | None = None) -> dict[str, Any]:
    """Reads and verifies a bundle's manifest and signature.

    Raises:
        BundleError: It is missing, damaged, of another format or signed by somebody else.
    """
    raw = read_bounded(path / MANIFEST, MAX_MANIFEST_BYTES)
    try:
        manifest = json.loads(raw)
        whole = isinstance(manifest, dict) and canonical(manifest) == raw
    except (ValueError, RecursionError) as error:
        raise BundleError("manifest.json is not readable JSON", hint=REPLACE) from error
    if not whole:
        raise BundleError("manifest.json does not match its own digest", hint=REPLACE)
    _check_signature(path, raw, manifest, public_key)
    _check_manifest(manifest)
    return dict(manifest)


def signature_of(manifest: Mapping[str, Any], *, public_key: bytes | None) -> str:
    """Returns in words what a verified manifest's signature proves."""
    if public_key is not None:
        return "signed with the configured key"
    if manifest.get("public_key") is not None:
        return "signed with the key that it names: undamaged, its origin is not proven"
    return "unsigned: undamaged, its origin is not proven"


def _check_signature(
    path: Path, raw: bytes, manifest: Mapping[str, Any], public_key: bytes | None
) -> None:
    named = manifest.get("public_key")
    if public_key is None and named is None:
        return
    try:
        key = bytes.fromhex(str(named)) if public_key is None else public_key
        written = read_bounded(path / SIGNATURE, MAX_SIGNATURE_BYTES).decode("ascii")
        signature = bytes.fromhex(written)
        if written != f"{signature.hex()}\n":
            raise BundleError("the signature is written in another way", hint=REPLACE)
        Ed25519PublicKey.from_public_bytes(key).verify(signature, raw)
    except (InvalidSignature, ValueError) as error:
        raise BundleError(
            "the signature does not fit this key and manifest", hint=REPLACE
        ) from error


def _check_manifest(manifest: Mapping[str, Any]) -> None:
    if manifest.get("format") != FORMAT:
        raise BundleError(f"bundle format {manifest.get('format')} is not known", hint=REPLACE)
    if _numbers(str(manifest.get("minimum_agent"))) > _numbers(__version__):
        raise BundleError(
            f"the bundle needs agent {manifest.get('minimum_agent')}, this is {__version__}",
            hint="Update the agent first.",
        )
    if tuple(manifest.get("features", ())) != FEATURES:
        raise BundleError("the bundle's features are not this agent's", hint=REPLACE)
    if _VERSION.fullmatch(str(manifest.get("version"))) is None:
        raise BundleError("the version is not a name and up to four numbers", hint=REPLACE)
    _install_by(manifest)
    tolerance = manifest.get("tolerance")
    if not isinstance(tolerance, float) or not 0.0 <= tolerance <= MAX_TOLERANCE:
        raise BundleError(f"the tolerance is not within 0..{MAX_TOLERANCE}", hint=REPLACE)
    _check_parts(manifest.get("parts"))


def check_install_by(manifest: Mapping[str, Any], *, today: date) -> None:
    """Refuses a bundle whose time to be installed is over.

    Without an end somebody between HQ and a store could hand out an old release for ever, signed
    and newer than what the store has (The Update Framework's freeze attack). What is installed
    already goes on: a store without news must not lose its model.

    Args:
        manifest: A verified manifest; its `install_by` is the last good day, absent for no end.
        today: The day by the gateway's clock, UTC.

    Raises:
        BundleError: The day is over.
    """
    last = _install_by(manifest)
    if last is not None and today > last:
        raise BundleError(
            f"{manifest.get('version')} was to be installed by {last.isoformat()}",
            hint="Ask for a newer release; if there is none, look at the gateway's date.",
        )


def _install_by(manifest: Mapping[str, Any]) -> date | None:
    told = manifest.get("install_by")
    if told is None:
        return None
    try:
        return date.fromisoformat(told)
    except (TypeError, ValueError) as error:
        raise BundleError("install_by is no date such as 2027-06-30", hint=REPLACE) from error


def _check_parts(parts: Any) -> None:
    if not isinstance(parts, dict) or set(parts) != PARTS:
        raise BundleError("the manifest names other parts than a bundle has", hint=REPLACE)
    sizes = [part.get("size") for part in parts.values() if isinstance(part, dict)]
    whole = [size for size in sizes if type(size) is int and 0 <= size <= MAX_BUNDLE_BYTES]
    # A negative size would make room for an endless one.
    if len(whole) != len(parts):
        raise BundleError("the manifest gives a part no possible size", hint=REPLACE)
    if sum(whole) > MAX_BUNDLE_BYTES:
        raise BundleError(f"the bundle exceeds {MAX_BUNDLE_BYTES} bytes", hint=REPLACE)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def read_parts(
    path: Path, manifest: Mapping[str, Any], names: Iterable[str] = PARTS
) -> dict[str, bytes]:
    """Returns the bytes of parts that a verified manifest names.

    Raises:
        BundleError: A part is not the one that the manifest means.
    """
    named = manifest["parts"]
    parts: dict[str, bytes] = {}
    for name in sorted(names):
        data = read_bounded(path / name, int(named[name]["size"]))
        if len(data) != named[name]["size"]:
            raise BundleError(f"{name} is not as long as its manifest says", hint=REPLACE)
        if hashlib.sha256(data).hexdigest() != named[name]["sha256"]:
            raise BundleError(f"{name} does not match its sha256", hint=REPLACE)
        parts[name] = data
    return parts


def read_bounded(path: Path, limit: int) -> bytes:
    """Returns a file of at most `limit` bytes: no link out of the bundle, no endless device."""
    try:
        if path.is_symlink():
            raise BundleError(f"{path.name} is a link", hint=REPLACE)
        # Opening a pipe that nobody writes would wait for ever.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise BundleError(f"{path.name} is no file", hint=REPLACE)
            data = file.read(limit + 1)
    except PermissionError as error:
        # A bundle that may not be read need not be another.
        what = f"{path.name} cannot be read: {error.strerror}"
        raise BundleError(what, hint=READ_AS_AGENT) from error
    except OSError as error:
        raise BundleError(f"{path.name} cannot be read: {error.strerror}", hint=REPLACE) from error
    if len(data) > limit:
        raise BundleError(f"{path.name} is longer than allowed", hint=REPLACE)
    return data


def _check_model_bytes(model: bytes, manifest: Mapping[str, Any]) -> None:
    """Refuses external data and operator sets that the manifest does not name."""
    if b"location" in model:
        raise BundleError("ranker.onnx refers to external data", hint=REPLACE)
    found = opsets(model)
    if found != manifest.get("opset"):
        raise BundleError("ranker.onnx has another opset than its manifest says", hint=REPLACE)
    for domain, version in found.items():
        if version > OPSETS.get(domain, 0):
            raise BundleError(f"operator set {domain!r} {version} is not accepted", hint=REPLACE)


OPSET_FIELD: Final = 8
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


def opsets(model: bytes) -> dict[str, int]:
    """Returns the operator sets of an ONNX model, domain -> version.

    Source: ModelProto.opset_import in onnx.proto; protobuf's encoding of messages.
    """
    try:
        found = {}
        for field, value in _fields(model):
            if field == OPSET_FIELD and isinstance(value, bytes):
                entry = dict(_fields(value))
                domain, version = entry.get(1, b""), entry.get(2, 0)
                found[domain.decode() if isinstance(domain, bytes) else ""] = (
                    version if isinstance(version, int) else 0
                )
    except (IndexError, ValueError) as error:
        raise BundleError("ranker.onnx is not an ONNX file", hint=REPLACE) from error
    return found


def _fields(message: bytes) -> list[tuple[int, int | bytes]]:
    fields: list[tuple[int, int | bytes]] = []
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == VARINT:
            number, at = _varint(message, at)
            fields.append((tag >> 3, number))
            continue
        if kind == BYTES:
            length, at = _varint(message, at)
        elif kind in (FIXED32, FIXED64):
            length = 4 if kind == FIXED32 else 8
        else:
            raise ValueError(kind)
        if at + length > len(message):
            raise ValueError(length)
        fields.append((tag >> 3, message[at : at + length]))
        at += length
    return fields


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 - protobuf's continuation bit
            return value, at
        shift += 7


def _check_shapes(session: Any) -> None:
    inputs, outputs = session.get_inputs(), session.get_outputs()
    fits = (
        len(inputs) == 1
        and len(outputs) == 1
        and inputs[0].type == "tensor(float)"
        and outputs[0].type == "tensor(float)"
        and list(inputs[0].shape[1:]) == [len(FEATURES)]
    )
    if not fits:
        raise BundleError("ranker.onnx has other inputs or outputs than a ranker", hint=REPLACE)


def _arrays(part: bytes) -> dict[str, NDArray[Any]]:
    """Returns the arrays of an npz file; pickled ones are refused, so are zip bombs."""
    try:
        with zipfile.ZipFile(io.BytesIO(part)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > MAX_UNPACKED_BYTES:
                raise BundleError("a table unpacks to more than allowed", hint=REPLACE)
        with np.load(io.BytesIO(part), allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (*UNREADABLE, MemoryError) as error:
        # A header may promise more than any memory holds.
        raise BundleError(f"a table cannot be read: {error}", hint=REPLACE) from error


UNREADABLE: Final = (
    *(ValueError, OSError, KeyError, EOFError, RuntimeError, SyntaxError),
    *(zipfile.BadZipFile, zlib.error),
)
"""What zipfile and numpy raise for a file that is none of theirs."""


def _catalogue(arrays: dict[str, NDArray[Any]]) -> Catalogue:
    try:
        return Catalogue(arrays)
    except (KeyError, ValueError, TypeError) as error:
        raise BundleError(
            f"catalogue.npz lacks what screens need: {error}", hint=REPLACE
        ) from error


def _mapped_file(path: Path, part: Mapping[str, Any]) -> mmap.mmap:
    try:
        return map_verified(path, size=int(part["size"]), sha256=str(part["sha256"]))
    except OSError as error:
        raise BundleError(f"{path.name} cannot be read: {error.strerror}", hint=REPLACE) from error
    except ValueError as error:
        raise BundleError(f"{path.name} {error}", hint=REPLACE) from error


def _mapped_tables(mapped: mmap.mmap) -> dict[str, NDArray[Any]]:
    try:
        return mapped_arrays(mapped)
    except ValueError as error:
        raise BundleError(f"a table cannot be read: {error}", hint=REPLACE) from error


def _tables(arrays: dict[str, NDArray[Any]]) -> tuple[RankerTables, Ids]:
    try:
        return unpack(arrays)
    except (KeyError, ValueError, IndexError, TypeError) as error:
        raise BundleError(
            f"tables.npz lacks what the ranker needs: {error}", hint=REPLACE
        ) from error


PLAIN: Final = (
    "pop_all",
    "pop_recent",
    "pop_latest",
    "hour_lift",
    "weekday_lift",
    "store_starts",
    "store_items",
    "store_share",
    "store_weight",
    "log_price",
    "private",
    "rebuy",
    "usual_gap",
    "own_lift",
    "kind",
    "category",
    "department",
    "maker",
    "kind_pop",
    "display_lift",
    "mailer_lift",
    "plan_stores",
)


def pack(tables: RankerTables, products: list[str], stores: list[str]) -> dict[str, NDArray[Any]]:
    """Returns the tables as plain arrays, as `tables.npz` holds them."""
    keys = sorted(tables.plans)
    arrays: dict[str, NDArray[Any]] = {name: getattr(tables, name) for name in PLAIN}
    for name in ("basket_near", "household_near", "kind_near"):
        arrays[f"{name}.index"] = getattr(tables, name).index
        arrays[f"{name}.weight"] = getattr(tables, name).weight
    for field in fields(Groups):
        arrays[f"groups.{field.name}"] = getattr(tables.groups, field.name)
    arrays["plan_keys"] = np.array(keys, dtype=np.int32).reshape(-1, 2)
    arrays["plan_ends"] = np.cumsum([len(tables.plans[key]) for key in keys], dtype=np.int64)
    arrays["plan_bytes"] = np.frombuffer(b"".join(tables.plans[k] for k in keys), dtype=np.uint8)
    weeks = sorted(tables.chain_plans)
    arrays["chain_weeks"] = np.array(weeks, dtype=np.int32)
    empty = np.zeros((0, 2, tables.n_items), dtype=np.uint8)
    arrays["chain_plans"] = np.stack([tables.chain_plans[w] for w in weeks]) if weeks else empty
    arrays["products"] = np.array([p.encode() for p in products], dtype=np.bytes_)
    arrays["stores"] = np.array([s.encode() for s in stores], dtype=np.bytes_)
    return arrays


def unpack(arrays: dict[str, NDArray[Any]]) -> tuple[RankerTables, Ids]:
    """Returns tables and names from the arrays of `tables.npz`."""
    keys, ends = arrays["plan_keys"].tolist(), arrays["plan_ends"].tolist()
    packed = arrays["plan_bytes"].data
    starts = [0, *ends[:-1]]
    plans: dict[tuple[int, int], bytes | memoryview] = {
        (week, store): packed[start:end]
        for (week, store), start, end in zip(keys, starts, ends, strict=False)
    }
    chain = dict(zip(arrays["chain_weeks"].tolist(), arrays["chain_plans"], strict=True))
    tables = RankerTables(
        **{name: arrays[name] for name in PLAIN},
        basket_near=Neighbours(arrays["basket_near.index"], arrays["basket_near.weight"]),
        household_near=Neighbours(arrays["household_near.index"], arrays["household_near.weight"]),
        kind_near=Neighbours(arrays["kind_near.index"], arrays["kind_near.weight"]),
        groups=Groups(**{f.name: arrays[f"groups.{f.name}"] for f in fields(Groups)}),
        plans=plans,
        chain_plans=chain,
    )
    products = tuple(ProductId(p.decode()) for p in arrays["products"].tolist())
    stores = {s.decode(): i for i, s in enumerate(arrays["stores"].tolist())}
    position = {str(p): i for i, p in enumerate(products)}
    return tables, Ids(products=products, position=position, stores=stores)


def _check_examples(scorer: OnnxScorer, stored: bytes, tolerance: float) -> None:
    """Recomputes the stored examples; a bundle that answers otherwise is refused."""
    try:
        _recompute(scorer, json.loads(stored), tolerance)
    except BundleError:
        raise
    except Exception as error:  # tables that do not fit each other may raise anything here
        raise BundleError(
            f"the stored examples cannot be recomputed: {error}", hint=REPLACE
        ) from error


def _recompute(scorer: OnnxScorer, examples: Any, tolerance: float) -> None:
    if not isinstance(examples, list) or not 0 < len(examples) <= MAX_EXAMPLES:
        raise BundleError("the bundle stores no examples, or too many", hint=REPLACE)
    for number, example in enumerate(examples):
        answered = {s.product: s.propensity for s in scorer.rank(request_of(example["request"]))}
        expected = {ProductId(p): float(score) for p, score in example["scores"].items()}
        lowest = min(answered.values(), default=0.0)
        off = [abs(answered.get(p, lowest) - score) for p, score in expected.items()]
        if not answered or not off or not max(off) <= tolerance:
            raise BundleError(f"example {number} is answered otherwise than stored", hint=REPLACE)


def request_of(stored: Mapping[str, Any]) -> ScoringRequest:
    """Returns a stored example's request."""
    return ScoringRequest(
        now=_instant(stored["now"]),
        hour=int(stored["hour"]),
        weekday=int(stored["weekday"]),
        week=stored["week"],
        store=stored["store"],
        basket=tuple(ProductId(p) for p in stored["basket"]),
        history=tuple(
            PastBasket(at=_instant(b["at"]), products=tuple(ProductId(p) for p in b["products"]))
            for b in stored["history"]
        ),
        limit=int(stored["limit"]),
    )


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
