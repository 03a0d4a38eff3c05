"""Remembering what follows from a value by which object it is, not by what is in it.

A scorer hands everyone who asks alike the very same tuple, thousands of times a day. To hash its
twenty products each time would cost more than most of what follows from it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TypeVar

V = TypeVar("V")
R = TypeVar("R")


def once_each(n_kept: int) -> Callable[[Callable[[V], R]], Callable[[V], R]]:
    """Makes a pure function of one immutable value keep its last answers, by identity.

    Args:
        n_kept: Answers kept; all are let go of when there would be more.

    Example:
        >>> twice = once_each(2)(lambda words: words + words)
        >>> words = ("a", "b")
        >>> twice(words) is twice(words)
        True
    """

    def decorate(function: Callable[[V], R]) -> Callable[[V], R]:
        # The value is kept with its answer, so that no other object can take its identity.
        known: dict[int, tuple[V, R]] = {}

        @wraps(function)
        def ask(value: V) -> R:
            found = known.get(id(value))
            if found is None:
                if len(known) >= n_kept:
                    known.clear()
                found = known[id(value)] = (value, function(value))
            return found[1]

        return ask

    return decorate
