"""Rows that the `where` of a fan-out left out, and whether another rule of the message took them.

A rule says by `where` inside `each` which rows are its own. A row that every rule passes over is
of a kind that nobody thought of: it is told, never dropped. What a rule takes and then filters by
its own `where` is known, and silent.
"""

from __future__ import annotations

from typing import Any, Final

# Rows that are told one by one; more of a message are only counted.
SHOWN_MAX: Final = 20
# Rows that are compared by content, when no rule holds the very same object.
_COMPARED_MAX: Final = 100

Part = tuple[Any, Any]


class PassedOver:
    """The parts of one message that rules took, and those that they passed over."""

    __slots__ = ("_passed", "_taken")

    def __init__(self) -> None:
        # By identity: rules look at the same document, and the values are held, so that no
        # other object can come to the same place.
        self._taken: dict[int, Part] = {}
        self._passed: dict[int, tuple[Part, str]] = {}

    def take(self, key: Any, value: Any) -> None:
        """Notes that a rule knows a part."""
        part = (key, value)
        self._taken[_identity(part)] = part

    def leave(self, key: Any, value: Any, place: str) -> None:
        """Notes that a rule passed a part over."""
        part = (key, value)
        self._passed.setdefault(_identity(part), (part, place))

    def left(self) -> list[str]:
        """Returns the places of the parts that no rule knows, in order."""
        rest = [each for name, each in self._passed.items() if name not in self._taken]
        if not rest:
            return []
        # A part that each rule makes anew (numbered fields, zipped rows) is the same by content.
        known = list(self._taken.values())
        left = (
            place
            for at, ((key, value), place) in enumerate(rest)
            if at >= _COMPARED_MAX or not any(_is_same(each, key, value) for each in known)
        )
        return list(dict.fromkeys(left))


def _identity(part: Part) -> int:
    key, value = part
    return id(value) if _is_whole(value) else hash((str(key), type(value), value))


def _is_same(known: Part, key: Any, value: Any) -> bool:
    return bool(known[1] == value) and (_is_whole(value) or known[0] == key)


def _is_whole(value: Any) -> bool:
    # Numbers and texts are told apart by their keys; the rest by what they are.
    return not isinstance(value, (str, int, float, type(None)))
