"""Chance for a replay: every draw is named by what it is for, and follows from the seed alone.

There is no generator whose state the order of calls could disturb: a draw is a keyed hash of its
name. So leaving out one basket, or adding a sensor, changes nothing about all the others.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

_BITS = 53
"""A double holds this many bits exactly."""
_KEY_BYTES = 32
_SEPARATOR = "\x1f"


class Chance:
    """Draws that depend on the seed, the scope and their own name.

    Args:
        seed: The user's `--seed`.
        scope: What keeps one source of draws apart from another, such as a round of `--loop`.

    Example:
        >>> Chance(7).share("lift", 1) == Chance(7).share("lift", 1)
        True
        >>> Chance(7).share("lift", 1) == Chance(8).share("lift", 1)
        False
    """

    __slots__ = ("_key",)

    def __init__(self, seed: int, *scope: object) -> None:
        name = _SEPARATOR.join(("edge-agent replay", str(seed), *map(str, scope)))
        self._key = blake2b(name.encode(), digest_size=_KEY_BYTES).digest()

    def token(self, *what: object, n_bytes: int = 12) -> str:
        """Returns an opaque hexadecimal name of `2 * n_bytes` digits."""
        return self._digest(what, n_bytes).hex()

    def octets(self, *what: object, n_bytes: int) -> bytes:
        """Returns `n_bytes` bytes."""
        return self._digest(what, n_bytes)

    def share(self, *what: object) -> float:
        """Returns a number in [0, 1)."""
        whole = int.from_bytes(self._digest(what, 8), "big") >> (64 - _BITS)
        return float(whole / (1 << _BITS))

    def between(self, low: float, high: float, *what: object) -> float:
        """Returns a number in [low, high)."""
        return low + (high - low) * self.share(*what)

    def some(self, of: Iterable[str], share: float, *what: object) -> frozenset[str]:
        """Returns that share of the names, to the nearest whole number."""
        names = sorted(set(of), key=lambda name: (self._digest((*what, name), 8), name))
        return frozenset(names[: round(share * len(names))])

    def _digest(self, what: tuple[object, ...], n_bytes: int) -> bytes:
        name = _SEPARATOR.join(map(str, what))
        return blake2b(name.encode(), digest_size=n_bytes, key=self._key).digest()
