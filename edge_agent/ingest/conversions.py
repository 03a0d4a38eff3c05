"""Values as devices write them become numbers, money, text and truth values.

A conversion that cannot be made raises `NotConvertible`, whose words hold nothing of the value.
"""

from __future__ import annotations

import re
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, Final

from edge_agent.domain import money

# Linear units: (base unit, factor, offset) with base = value * factor + offset.
_UNITS: Final = {
    "mm": ("m", "0.001", "0"), "cm": ("m", "0.01", "0"), "m": ("m", "1", "0"),
    "in": ("m", "0.0254", "0"), "ft": ("m", "0.3048", "0"),
    "us": ("s", "0.000001", "0"), "ms": ("s", "0.001", "0"), "s": ("s", "1", "0"),
    "min": ("s", "60", "0"), "h": ("s", "3600", "0"),
    "g": ("kg", "0.001", "0"), "kg": ("kg", "1", "0"), "lb": ("kg", "0.45359237", "0"),
    "oz": ("kg", "0.028349523125", "0"),
    "K": ("K", "1", "0"), "C": ("K", "1", "273.15"),
    "cdBm": ("dBm", "0.01", "0"), "dBm": ("dBm", "1", "0"),
    "cent": ("unit", "0.01", "0"), "unit": ("unit", "1", "0"),
}  # fmt: skip
# Fahrenheit is exact as a fraction only.
_FAHRENHEIT_OFFSET: Final = Decimal("459.67")
_FIVE: Final = Decimal(5)
_NINE: Final = Decimal(9)

_NUMBER_TEXT_MAX: Final = 40
_TEXT_MAX: Final = 4_096
_DIGITS_MAX: Final = 30
_EXPONENT_MAX: Final = 30
# Whole numbers up to here need no look at how long they are.
_SHORT: Final = 10**12
# Currency signs and spaces around a number say nothing that its currency field does not.
_AROUND: Final = " \t\u00a0\u202f$\u20ac\u00a3\u00a5"
_POINT: Final = re.compile(
    r"[+-]?([0-9]+|[0-9]{1,3}(,[0-9]{3})+(?=\.))?(\.[0-9]+)?([eE][+-]?[0-9]{1,2})?"
)
_COMMA: Final = re.compile(r"[+-]?([0-9]+|[0-9]{1,3}([. '][0-9]{3})+)?(,[0-9]+)?")
_EITHER: Final = re.compile(r"[+-]?[0-9]*([.,][0-9]+)?")
_CLOCK: Final = re.compile(r"([0-9]{1,4}):([0-5][0-9])(?::([0-5][0-9](?:\.[0-9]{1,6})?))?")
_DURATION: Final = re.compile(
    r"P(?:([0-9]{1,4})D)?(?:T(?:([0-9]{1,5})H)?(?:([0-9]{1,6})M)?(?:([0-9]{1,8}(?:\.[0-9]{1,6})?)S)?)?"
)
_TRUE: Final = frozenset({"true", "1", "on", "yes", "y"})
_FALSE: Final = frozenset({"false", "0", "off", "no", "n"})

Number = int | float | Decimal


class NotConvertible(ValueError):
    """A value is not what it should be."""


def text_of(value: Any) -> str:
    """Returns a scalar as text; whole floats lose their point, truth values are lower case."""
    if type(value) is str:
        text = value.strip()
        return text if len(text) <= _TEXT_MAX else text[:_TEXT_MAX]
    if type(value) is int:
        return str(value)[:_TEXT_MAX]
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    if isinstance(value, (int, float, Decimal)):
        return str(value)[:_TEXT_MAX]
    raise NotConvertible("not a text")


def number_of(value: Any, *, decimal: str = ".") -> Number:
    """Returns a number, exact: text becomes an integer or Decimal, never a float.

    Args:
        value: A number, or a text in the vendor's manner.
        decimal: The decimal mark of texts: ".", "," or "either" (then without thousands).

    Example:
        >>> number_of("1,000", decimal="either"), number_of("1.234,50", decimal=",")
        (Decimal('1.000'), Decimal('1234.50'))
    """
    kind = type(value)
    if kind is int or kind is float or kind is Decimal:
        return value  # type: ignore[no-any-return] # a number, as its type says
    if not isinstance(value, str):
        raise NotConvertible("not a number")
    text = value.strip(_AROUND)
    if len(text) > _NUMBER_TEXT_MAX:
        raise NotConvertible("too long for a number")
    form = _POINT if decimal == "." else _COMMA if decimal == "," else _EITHER
    # Every form that holds a digit ends with one.
    if not form.fullmatch(text) or not text[-1:].isdigit():
        raise NotConvertible("not a number")
    if decimal == ".":
        text = text.replace(",", "")
    elif decimal == ",":
        text = text.replace(".", "").replace(" ", "").replace("'", "").replace(",", ".")
    else:
        text = text.replace(",", ".")
    return int(text) if text.lstrip("+-").isdigit() else Decimal(text)


def exact(value: Number) -> Decimal:
    """Returns a number as a Decimal; a float as the shortest text that reads back as it."""
    if type(value) is int and -_SHORT < value < _SHORT:
        return Decimal(value)
    if isinstance(value, Decimal):
        result = value
    else:
        result = Decimal(value) if isinstance(value, int) else Decimal(repr(value))
    if not result.is_finite() or abs(result.adjusted()) > _EXPONENT_MAX:
        raise NotConvertible("out of range")
    return result


def integer_of(value: Any, *, decimal: str = ".") -> int:
    """Returns a whole number; "1.0" is one, "1.5" is none."""
    number = number_of(value, decimal=decimal)
    if isinstance(number, int):
        return number
    whole = exact(number)
    if whole != whole.to_integral_value():
        raise NotConvertible("not a whole number")
    return int(whole)


def boolean_of(value: Any) -> bool:
    """Returns a truth value from true, 1, "on", "True" and the like."""
    if isinstance(value, bool):
        return value
    word = text_of(value).lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise NotConvertible("neither true nor false")


def seconds_of(value: Any) -> Number:
    """Returns seconds from a number, `h:mm:ss`, `mm:ss` or an ISO 8601 duration (`PT1M30S`)."""
    if not isinstance(value, str):
        return number_of(value)
    text = value.strip()
    clock = _CLOCK.fullmatch(text)
    if clock is not None:
        first, second, third = clock.groups()
        if third is None:
            return int(first) * 60 + int(second)
        return exact(number_of(third)) + int(first) * 3_600 + int(second) * 60
    duration = _DURATION.fullmatch(text)
    if duration is not None and any(duration.groups()):
        parts = [exact(number_of(part)) if part else Decimal(0) for part in duration.groups()]
        return parts[0] * 86_400 + parts[1] * 3_600 + parts[2] * 60 + parts[3]
    return number_of(text)


def in_unit(value: Number, unit: str, to: str) -> Decimal:
    """Returns a number in another unit of the same quantity.

    Example:
        >>> in_unit(98, "in", "m"), in_unit(212, "F", "C"), in_unit(-7000, "cdBm", "dBm")
        (Decimal('2.4892'), Decimal('100.00'), Decimal('-70.00'))
    """
    number = exact(value)
    base, number = _to_base(number, unit)
    if to == "F":
        _same(base, "K")
        return number * _NINE / _FIVE - _FAHRENHEIT_OFFSET
    target, factor, offset = _UNITS.get(to, ("", "1", "0"))
    _same(base, target)
    return (number - Decimal(offset)) / Decimal(factor)


def from_minor_units(value: Number, units: Any) -> Decimal:
    """Returns an amount from whole minor units; `units` is their number or a currency code.

    Example:
        >>> from_minor_units(500, "EUR"), from_minor_units(500, "JPY"), from_minor_units(500, 3)
        (Decimal('5.00'), Decimal('500'), Decimal('0.500'))
    """
    return exact(value).scaleb(-places_of(units))


def places_of(units: Any) -> int:
    """Returns the decimals of a currency's smallest unit; of a number, itself."""
    places = money.places_of(units) if isinstance(units, str) else units
    if not isinstance(places, int):
        raise NotConvertible("no minor units")
    return places


def rounded(value: Number, places: int) -> Decimal:
    """Returns a number rounded half up, as tills do, to so many decimals."""
    try:
        return exact(value).quantize(_smallest(places), rounding=ROUND_HALF_UP)
    except InvalidOperation:
        raise NotConvertible("too long to round") from None


@lru_cache(maxsize=64)
def _smallest(places: int) -> Decimal:
    return Decimal(1).scaleb(-places)


def bytes_at(value: Any, *, at: int, size: int, order: Any, signed: bool) -> int:
    """Returns the number in binary data at a place; a negative place counts from the end."""
    if not isinstance(value, bytes):
        raise NotConvertible("not binary: unpack it first")
    start = at if at >= 0 else len(value) + at
    part = value[start : start + size]
    if start < 0 or len(part) != size:
        raise NotConvertible("binary data is too short")
    return int.from_bytes(part, order, signed=signed)


def _to_base(number: Decimal, unit: str) -> tuple[str, Decimal]:
    if unit == "F":
        return "K", (number + _FAHRENHEIT_OFFSET) * _FIVE / _NINE
    if unit not in _UNITS:
        raise NotConvertible("no such unit")
    base, factor, offset = _UNITS[unit]
    return base, number * Decimal(factor) + Decimal(offset)


def _same(base: str, target: str) -> None:
    if base != target:
        raise NotConvertible("units of different quantities")
