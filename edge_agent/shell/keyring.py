"""The sealed ring that lets the store's key be replaced though raw identifiers are kept nowhere.

What is stored of an identified person is `outer(inner(identifier))`: `inner` is HMAC-SHA-256, cut
to 128 bits, and `outer` a keyed permutation of 128 bits (AES-256 on one block), which the holder
of its key can take off again. A rotation takes the old `outer` off every stored pseudonym and lays
a new one over it, all rows and the new ring in one transaction: nobody has to be seen again, no
window is open meanwhile, and the old `outer` is destroyed. Before the first rotation there is no
ring and no `outer`: pseudonyms are HMACs under the store's key.

The ring holds `inner` and `outer`, sealed (AES-256-GCM) under the store's key that the unit hands
in, in a slot for each key that may open it. A rotation seals it for a new key as well; once the
agent has started with the newest, the older slots go. So of what was stolen together

- an old key or an old ring, and a copy of the disk made after the rotation: match nobody;
- the new key and the new ring, and a copy of the disk made before the rotation: match nobody;
- a copy of the disk and the key that opens it: match, which is what the key is for.

What remains: `inner` is never replaced, and alone matches nobody. A visitor's universal id stays
(that is what a link leads to), so who could match an old copy knows those ids in a new one too. An
overwritten block of a flash card may outlive its file, sealed under a key that is gone.

Source: the permutation is AES (FIPS 197); wrapping a PRF in one so that a copy can be re-keyed
without its inputs follows Everspaugh et al., "The Pythia PRF Service" (USENIX Security 2015),
section 3, in its symmetric form; slots are those of LUKS (on-disk format 1.2.3, section 2.4).
"""

from __future__ import annotations

import base64
import hmac
import json
from dataclasses import dataclass
from typing import Any, Final

from edge_agent.errors import ConfigError
from edge_agent.shell.cipher import DayCipher, Permutation

_SEALS: Final = b"edge-agent keyring 1"
_NAMES: Final = b"edge-agent key id 1"
ID_HEX_DIGITS: Final = 8
# Where the database keeps it, beside the rows that it belongs to.
META_KEY: Final = "keyring"


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyring:
    """What pseudonyms of identified people are made with.

    Attributes:
        generation: How often it was rotated; 0 is without a ring.
        made_at_ms: When; None where nobody knows.
        inner: The key of the HMAC.
        outer: The key of the permutation; None in generation 0.
    """

    generation: int
    made_at_ms: int | None
    inner: bytes
    outer: bytes | None

    def permutation(self) -> Permutation | None:
        """Returns what lies over each HMAC."""
        return None if self.outer is None else Permutation(self.outer)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A ring that a key opened.

    Attributes:
        is_newest: Whether it was opened by the slot made last.
        n_slots: How many keys open it.
    """

    ring: Keyring
    is_newest: bool
    n_slots: int


def key_id(key: bytes) -> str:
    """Returns a key's name, which tells nothing of it."""
    return hmac.digest(key, _NAMES, "sha256").hex()[:ID_HEX_DIGITS]


def sealed(ring: Keyring, keys: tuple[bytes, ...]) -> str:
    """Returns a ring as text, with a slot for each key; the last one is the newest."""
    plain = json.dumps({"inner": ring.inner.hex(), "outer": (ring.outer or b"").hex()}).encode()
    slots = [
        {"id": key_id(key), "sealed": base64.b64encode(_seal(key, plain)).decode()} for key in keys
    ]
    return json.dumps(
        {"generation": ring.generation, "made_at_ms": ring.made_at_ms, "slots": slots}
    )


def opened(text: str, key: bytes) -> Opened:
    """Returns the ring in a text.

    Raises:
        ConfigError: The key opens no slot of it.
    """
    try:
        document = json.loads(text)
        slots = list(document["slots"])
        for place, slot in enumerate(slots):
            plain = DayCipher().decrypt(_kek(key), base64.b64decode(slot["sealed"]))
            if plain is not None:
                ring = _ring(document, json.loads(plain))
                return Opened(ring=ring, is_newest=place == len(slots) - 1, n_slots=len(slots))
    except (ValueError, LookupError, TypeError) as error:
        raise ConfigError("the keyring cannot be read", hint=_HINT) from error
    raise ConfigError("the store's key does not open this gateway's keyring", hint=_HINT)


_HINT: Final = (
    "put back the store's key that was last in use here (provisioning/README.md, section 4);"
    " under another one every known customer would be a stranger, complaints included"
)


def _ring(document: dict[str, Any], secrets: dict[str, str]) -> Keyring:
    made_at_ms = document["made_at_ms"]
    return Keyring(
        generation=int(document["generation"]),
        made_at_ms=None if made_at_ms is None else int(made_at_ms),
        inner=bytes.fromhex(secrets["inner"]),
        outer=bytes.fromhex(secrets["outer"]),
    )


def _kek(key: bytes) -> bytes:
    return hmac.digest(key, _SEALS, "sha256")


def _seal(key: bytes, plain: bytes) -> bytes:
    return DayCipher().encrypt(_kek(key), plain)
