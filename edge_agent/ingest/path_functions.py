"""The functions of expressions: JMESPath's own, and a few that it lacks."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final

from jmespath import functions

from edge_agent.ingest.conversions import boolean_of

_PAIR: Final = 2

Select = Callable[[Any], Any]


class Functions(functions.Functions):
    """A few functions that JMESPath lacks."""

    @functions.signature({"types": ["string"]}, {"types": ["string"]})
    def _func_split(self, separator: str, text: str) -> list[str]:
        return text.split(separator) if separator else [text]

    @functions.signature({"types": ["string"]})
    def _func_lower(self, text: str) -> str:
        return text.lower()

    @functions.signature({"types": ["string"]})
    def _func_upper(self, text: str) -> str:
        return text.upper()

    @functions.signature({"types": ["string"]}, {"types": ["string"]}, {"types": ["string"]})
    def _func_replace(self, text: str, old: str, new: str) -> str:
        return text.replace(old, new)

    @functions.signature({"types": []})
    def _func_truth(self, value: Any) -> bool:
        return value is not None and boolean_of(value)

    @functions.signature({"types": ["array"]}, {"types": ["array"]})
    def _func_zip(self, first: list[Any], second: list[Any]) -> list[list[Any]]:
        return [[one, other] for one, other in zip(first, second, strict=False)]

    @functions.signature({"types": ["object"]})
    def _func_items(self, value: dict[str, Any]) -> list[list[Any]]:
        return [[key, each] for key, each in value.items()]

    @functions.signature({"types": ["array"]})
    def _func_from_items(self, pairs: list[Any]) -> dict[str, Any]:
        return {
            each[0]: each[1]
            for each in pairs
            if isinstance(each, list) and len(each) == _PAIR and isinstance(each[0], str)
        }


_TABLE: Final = Functions()


def call_of(name: str, arguments: list[Select]) -> Select:
    """Returns a call of a function, of which the types that it takes were looked up once.

    The library looks them up at every call. What does not fit is left to it, so that it says why;
    so are functions that look at the elements of an array.

    Args:
        name: The function, which exists.
        arguments: Its arguments, as many as it takes.
    """
    taken = _taken(name)
    if taken is None:
        return lambda value: _TABLE.call_function(name, [each(value) for each in arguments])
    function = functools.partial(Functions.FUNCTION_TABLE[name]["function"], _TABLE)
    if len(arguments) == 1:
        return _call_of_one(name, function, arguments[0], taken[0])

    def call(value: Any) -> Any:
        given = [each(value) for each in arguments]
        for types, one in zip(taken, given, strict=False):
            if types is not None and type(one).__name__ not in types:
                return _TABLE.call_function(name, given)
        return function(*given)

    return call


def _call_of_one(
    name: str, function: Select, argument: Select, types: frozenset[str] | None
) -> Select:
    if types is None:
        return lambda value: function(argument(value))

    def call(value: Any) -> Any:
        given = argument(value)
        if type(given).__name__ not in types:
            return _TABLE.call_function(name, [given])
        return function(given)

    return call


def _taken(name: str) -> tuple[frozenset[str] | None, ...] | None:
    """Returns the names of the types that each argument takes; None where elements count too."""
    found: list[frozenset[str] | None] = []
    for part in Functions.FUNCTION_TABLE[name]["signature"]:
        if any("-" in each for each in part["types"]):
            return None
        names = [word for each in part["types"] for word in functions.REVERSE_TYPES_MAP[each]]
        found.append(frozenset(names) if names else None)
    return tuple(found)
