"""The functions of expressions: JMESPath's own, and a few that it lacks."""

from __future__ import annotations

from typing import Any, Final

from jmespath import functions

_PAIR: Final = 2


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
