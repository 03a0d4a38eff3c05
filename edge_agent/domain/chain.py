"""An immutable list that grows at its end in constant time.

A visit may collect thousands of marks; copying a tuple for each would be quadratic.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Chain(Generic[T]):
    """A singly linked list with its newest value in front; never changed after it was made."""

    __slots__ = ("_before", "_length", "last")

    def __init__(self, last: T, before: Chain[T] | None) -> None:
        self.last = last
        self._before = before
        self._length = 1 if before is None else len(before) + 1

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[T]:
        return iter(self.values())

    def values(self) -> tuple[T, ...]:
        """Returns all values, oldest first."""
        found: list[T] = []
        link: Chain[T] | None = self
        while link is not None:
            found.append(link.last)
            link = link._before  # noqa: SLF001 - of its own kind
        found.reverse()
        return tuple(found)


def values_of(chain: Chain[T] | None) -> tuple[T, ...]:
    """Returns a chain's values, oldest first; none for no chain."""
    return () if chain is None else chain.values()
