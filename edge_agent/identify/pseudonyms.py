"""Raw identifiers become keyed hashes here; none gets past this file.

Anonymous kinds are hashed under the key of their store-local day, which is destroyed when the day
is over: nobody can be recognised tomorrow. Kinds that a person chose to show are hashed under the
store's own key, and since its first rotation a keyed permutation lies over that, which the next
rotation replaces (`shell.keyring` says how and what remains).
Source: HMAC (RFC 2104) with SHA-256, shortened to 128 bits.
"""

from __future__ import annotations

import hmac
from datetime import date
from typing import TYPE_CHECKING, Final

from edge_agent.domain.ids import BasketId, Pseudonym, VisitorId
from edge_agent.domain.time import DAY_MS
from edge_agent.domain.visitor import IDENTIFIED_KINDS, Subject

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_agent.ports import Permutation
    from edge_agent.wire.base import VisitorRef

PSEUDONYM_HEX_DIGITS: Final = 32
# RFC 9562, section 5.7: the version and variant bits of a UUIDv7.
_UUID7_VERSION: Final = 0x7
_UUID_VARIANT: Final = 0b10
_EPOCH_ORDINAL: Final = date(1970, 1, 1).toordinal()


class Pseudonymiser:
    """Holds the keys of one store-local day and turns identifiers into pseudonyms.

    The daily keys are handed in by day, so that an event that is a little late is hashed under
    the key of its own day for as long as that key exists.
    """

    def __init__(
        self,
        *,
        store_key: bytes,
        day_keys: Mapping[str, bytes],
        permutation: Permutation | None = None,
        ids_key: bytes | None = None,
    ) -> None:
        """Sets up a pseudonymiser.

        Args:
            store_key: For the kinds that a person chose to show.
            day_keys: For all others, by store-local day.
            permutation: Lies over the former since the store's key was first rotated.
            ids_key: Keeps ids of new visitors from being computed out of their pseudonyms.
        """
        self._store = _keyed(store_key)
        self._permutation = permutation
        self._ids = None if ids_key is None else _keyed(ids_key)
        self._days = {day: _keyed(key) for day, key in day_keys.items()}

    def has_day(self, day: str) -> bool:
        """Returns whether anonymous identifiers of that store-local day can still be matched."""
        return day in self._days

    def subject(self, reference: VisitorRef, *, day: str) -> Subject | None:
        """Returns the pseudonym of an identifier; None when its day's key is gone.

        Args:
            reference: Kind and raw value as a device sent it.
            day: Store-local day of the event, ISO 8601.
        """
        kind = reference.kind
        value = normalised(kind, reference.value)
        if kind in IDENTIFIED_KINDS:
            inner = _digest(self._store, kind, value)
            origin = "" if self._ids is None else _digest(self._ids, kind, inner)
            return Subject(kind=kind, pseudonym=Pseudonym(self._covered(inner)), origin=origin)
        keyed = self._days.get(day)
        if keyed is None:
            return None
        return Subject(kind=kind, pseudonym=Pseudonym(_digest(keyed, kind, value)))

    def basket(self, number: str, *, day: str) -> BasketId | None:
        """Returns the pseudonym of a basket's number; None when its day's key is gone."""
        keyed = self._days.get(day)
        return None if keyed is None else BasketId(_digest(keyed, "basket", number))

    def case(self, number: str) -> str:
        """Returns the keyed hash of a complaint's case number."""
        return self._covered(_digest(self._store, "case", number))

    def uncovered(self, subject: Subject) -> str:
        """Returns what of a pseudonym stays the same when the store's key is rotated."""
        if self._permutation is None or not subject.is_identified:
            return subject.pseudonym
        return self._permutation.back(bytes.fromhex(subject.pseudonym)).hex()

    def _covered(self, inner: str) -> str:
        if self._permutation is None:
            return inner
        return self._permutation.forth(bytes.fromhex(inner)).hex()


def normalised(kind: str, value: str) -> str:
    """Returns one spelling for all spellings of an identifier.

    Example:
        >>> normalised("ble", "AC-23-3F-A0-11-22") == normalised("ble", "ac:23:3f:a0:11:22")
        True
        >>> normalised("loyalty", "6400 0000 0900 5")
        '6400000009005'
    """
    if kind in {"ble", "wifi"}:
        return value.replace(":", "").replace("-", "").replace(".", "").lower()
    if kind == "loyalty":
        return value.replace(" ", "").replace("-", "").upper()
    return value.strip()


def visitor_id_from(subject: Subject, *, day: str) -> VisitorId:
    """Returns the universal id (UUIDv7) of the visitor behind a pseudonym not seen before.

    Its time is that of the store-local day, and its other bits come from the pseudonym: the same
    evidence gives the same id whatever order it arrives in, and it tells no more than that.
    Source: RFC 9562, section 5.7.
    """
    day_ms = (date.fromisoformat(day).toordinal() - _EPOCH_ORDINAL) * DAY_MS
    material = int(subject.origin or subject.pseudonym, 16)
    rand_a = material >> 116
    rand_b = material & ((1 << 62) - 1)
    number = day_ms << 80 | _UUID7_VERSION << 76 | rand_a << 64 | _UUID_VARIANT << 62 | rand_b
    text = f"{number:032x}"
    return VisitorId(f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}")


def _keyed(key: bytes) -> hmac.HMAC:
    return hmac.new(key, digestmod="sha256")


def _digest(keyed: hmac.HMAC, kind: str, value: str) -> str:
    # A copy of the keyed state: `hmac.digest` lets other threads in at every call, and in a flood
    # each handing over costs thirty times the hash.
    state = keyed.copy()
    state.update(f"{kind}\x00{value}".encode())
    return state.hexdigest()[:PSEUDONYM_HEX_DIGITS]
