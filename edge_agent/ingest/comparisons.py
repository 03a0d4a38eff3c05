"""Comparisons in expressions: JMESPath's, but that a text which is a number counts as one."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from jmespath.visitor import TreeInterpreter

Select = Callable[[Any], Any]

_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,15}(\.[0-9]{1,9})?")
_ORDERS: Final[dict[str, Callable[[float, float], bool]]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "lte": operator.le,
    "gt": operator.gt,
    "gte": operator.ge,
}


def comparison(word: str, left: Select, right: Select) -> Select:
    """Returns a comparison of two values, by the operator's name in JMESPath."""
    if word == "eq":
        return lambda value: _is_same(left(value), right(value))
    if word == "ne":
        return lambda value: not _is_same(left(value), right(value))
    compare = TreeInterpreter.COMPARATOR_FUNC[word]

    def ordered(value: Any) -> Any:
        one, two = left(value), right(value)
        if isinstance(one, str) and isinstance(two, str):
            return compare(one, two)
        one, two = number_in(one), number_in(two)
        return None if one is None or two is None else compare(one, two)

    return ordered


def against_constant(word: str, left: Select, constant: Any, name: str | None) -> Select | None:
    """Returns a comparison with a constant; None where it is no common one.

    Args:
        word: The operator, by JMESPath's own name.
        left: What is compared.
        constant: What it is compared with.
        name: The field that is compared, where it is nothing else.
    """
    if _is_number(constant):
        return _against_number(word, left, constant)
    if not isinstance(constant, (str, type(None))):
        return None
    # Texts and null are equal or not; only numbers and truth values need the special case.
    if word == "eq":
        return _equals(left, constant, name)
    return _differs(left, constant, name) if word == "ne" else None


def _against_number(word: str, left: Select, number: float) -> Select:
    # Many devices write their numbers as texts; JMESPath would compare them with nothing.
    compare = _ORDERS[word]

    def against(value: Any) -> Any:
        found = left(value)
        if type(found) is not int and type(found) is not float:
            found = number_in(found)
        if found is None:
            return word == "ne" if word in {"eq", "ne"} else None
        return compare(found, number)

    return against


def number_in(value: Any) -> float | None:
    """Returns a number, also one that is written as a text or was reckoned; None for all else.

    Example:
        >>> number_in("-1.5"), number_in("1e9"), number_in(True)
        (-1.5, None, None)
    """
    if isinstance(value, str):
        return float(value) if _NUMBER.fullmatch(value.strip()) else None
    if isinstance(value, Decimal):
        return float(value)
    return value if _is_number(value) else None


def _is_same(one: Any, two: Any) -> bool:
    # 0 and 1 are no truth values.
    if isinstance(one, bool) or isinstance(two, bool):
        return one is two
    return bool(one == two)


def _equals(left: Select, text: str | None, name: str | None) -> Select:
    if name is None or name.startswith("$"):
        return lambda value: left(value) == text
    return lambda value: (value.get(name) if type(value) is dict else None) == text


def _differs(left: Select, text: str | None, name: str | None) -> Select:
    if name is None or name.startswith("$"):
        return lambda value: left(value) != text
    return lambda value: (value.get(name) if type(value) is dict else None) != text


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
