"""What of somebody may be left in files: his identifiers, spelt, encoded and hashed any way."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_BARE: Final = ("md5", "sha1", "sha256")
# Shorter pieces would be found by chance.
_SHORTEST: Final = 8


def spellings(identifier: str) -> set[str]:
    """Returns an identifier as it may be written: case, separators, groups."""
    plain = "".join(each for each in identifier if each.isalnum())
    grouped = {
        mark.join(plain[at : at + size] for at in range(0, len(plain), size))
        for size in (2, 4)
        for mark in (":", "-", ".", " ")
    }
    found = {identifier, plain, *grouped}
    return found | {each.lower() for each in found} | {each.upper() for each in found}


def traces(identifiers: Iterable[str]) -> dict[bytes, str]:
    """Returns what must not be found, with what it is."""
    found: dict[bytes, str] = {}
    for identifier in identifiers:
        for text in spellings(identifier):
            found |= {piece: f"{how} of {text}" for piece, how in _encoded(text.encode())}
    return {piece: what for piece, what in found.items() if len(piece) >= _SHORTEST}


def _encoded(raw: bytes) -> Iterable[tuple[bytes, str]]:
    yield raw, "plain"
    yield raw.decode().encode("utf-16-le"), "utf-16"
    yield raw.hex().encode(), "hex"
    yield raw.hex().upper().encode(), "hex"
    for n_before in range(3):
        # In the middle of a longer text its letters fall into one of three places.
        whole = base64.b64encode(b"\0" * n_before + raw)
        inner = whole[-(-n_before * 4 // 3) : len(whole) - 4]
        yield inner, "base64"
        yield inner.translate(bytes.maketrans(b"+/", b"-_")), "base64url"
    for name in _BARE:
        digest = hashlib.new(name, raw, usedforsecurity=False)
        yield digest.digest(), name
        yield digest.hexdigest().encode(), name
        yield digest.hexdigest().upper().encode(), name
        yield base64.b64encode(digest.digest()).rstrip(b"="), name


def found_in(folder: Path, wanted: dict[bytes, str]) -> list[str]:
    """Returns what is found in the files below a folder, and where."""
    found = []
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            # It was replaced by another one meanwhile.
            continue
        found += [f"{path.name}: {what}" for piece, what in wanted.items() if piece in content]
    return found
