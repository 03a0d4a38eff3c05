"""Copies of the released bundle under other versions, keys and manifests, sound and forged."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from edge_agent.shell.bundles import MANIFEST, PARTS, SIGNATURE, canonical

RELEASED: Final = Path(__file__).parents[2] / "models" / "artifacts"
CHAIN_KEY: Final = Ed25519PrivateKey.from_private_bytes(b"the chain's signing key of tests")
FOREIGN_KEY: Final = Ed25519PrivateKey.from_private_bytes(b"somebody else's key of the tests")


def raw_public(key: Ed25519PrivateKey) -> bytes:
    """Returns the 32 bytes of a key's public half."""
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def copied(folder: Path) -> Path:
    """Returns a copy of the released bundle."""
    return Path(shutil.copytree(RELEASED, folder))


def sealed(folder: Path, *, key: Ed25519PrivateKey | None = CHAIN_KEY, **changes: Any) -> Path:
    """Writes a folder's manifest anew, with changes, true digests and a signature."""
    manifest = json.loads((folder / MANIFEST).read_text())
    for name in PARTS:
        data = (folder / name).read_bytes()
        manifest["parts"][name] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    manifest["public_key"] = None if key is None else raw_public(key).hex()
    manifest.update(changes)
    raw = canonical(manifest)
    (folder / MANIFEST).write_bytes(raw)
    (folder / SIGNATURE).unlink(missing_ok=True)
    if key is not None:
        (folder / SIGNATURE).write_text(key.sign(raw).hex() + "\n")
    return folder


def release(
    folder: Path, version: str, *, key: Ed25519PrivateKey | None = CHAIN_KEY, **changes: Any
) -> Path:
    """Returns a sound bundle of another version, signed by the chain unless told otherwise."""
    return sealed(copied(folder), key=key, version=version, **changes)
