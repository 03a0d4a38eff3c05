"""What the canonical events hold, read off their models: fields, need and types.

A mapping names fields; this brings its values to their types, so that a technician need not say
that a count is a whole number and an amount is money.
"""

from __future__ import annotations

import re
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import Annotated, Any, Final, Union, get_args, get_origin

from pydantic import BaseModel

from edge_agent.ingest import conversions
from edge_agent.wire.events import EVENT_TYPES, CloudEvent
from edge_agent.wire.mapping import CANONICAL_TYPES
from edge_agent.wire.sales import FIGURES, LINE_FIGURES, Receipt, SaleLine

_AMOUNT_PLACES: Final = 4
_QUANTITY_PLACES: Final = 6
_CENTS: Final = Decimal("0.01")
_CENTS_TEXT: Final = re.compile(r"[0-9]{1,12}\.[0-9]{2}")
_NUMBERS: Final = frozenset({int, float})
# Numbers up to here need no look at how long they are.
_PLAIN: Final = 10**12

Convert = Callable[[Any], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The fields of an object.

    Attributes:
        check: Its model's validator.
        fields: Field name to converter, to the shape of a nested object, or of rows.
        required: Fields that must be there.
        rows: Fields that are arrays of objects.
        figures: Fields that a receipt or line is as good without: a bad one is refused alone.
    """

    check: Convert
    fields: Mapping[str, Convert | Shape]
    required: tuple[str, ...]
    rows: frozenset[str]
    figures: frozenset[str]


def _float(value: Any) -> float:
    if type(value) in _NUMBERS and -_PLAIN < value < _PLAIN:
        return float(value)
    return float(conversions.exact(conversions.number_of(value)))


def _amount(value: Any) -> Decimal:
    if type(value) is str and _CENTS_TEXT.fullmatch(value):
        return Decimal(value)
    amount = conversions.rounded(conversions.number_of(value), _AMOUNT_PLACES)
    cents = amount.quantize(_CENTS)
    return cents if cents == amount else amount


def _quantity(value: Any) -> Decimal:
    if type(value) is int and -_PLAIN < value < _PLAIN:
        return Decimal(value)
    number = conversions.rounded(conversions.number_of(value), _QUANTITY_PLACES)
    whole = number.to_integral_value()
    return whole if whole == number else number.normalize()


def _texts(value: Any) -> tuple[str, ...]:
    values = value if isinstance(value, (list, tuple)) else [value]
    return tuple(conversions.text_of(each) for each in values)


_BY_TYPE: Final[dict[Any, Convert]] = {
    str: conversions.text_of,
    int: conversions.integer_of,
    float: _float,
    bool: conversions.boolean_of,
    Decimal: _amount,
}


def _leaf(annotation: Any) -> tuple[Any, bool]:
    # Strips Annotated and None; says whether it is an array.
    origin = get_origin(annotation)
    if origin is Annotated:
        return _leaf(get_args(annotation)[0])
    if origin in {Union, types.UnionType}:
        (inner,) = [each for each in get_args(annotation) if each is not type(None)][:1]
        return _leaf(inner)
    if origin is tuple:
        return _leaf(get_args(annotation)[0])[0], True
    return annotation, False


def _shape(model: type[BaseModel]) -> Shape:
    fields: dict[str, Convert | Shape] = {}
    rows = set()
    for name, info in model.model_fields.items():
        key = info.alias or name
        kind, is_array = _leaf(info.annotation)
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            fields[key] = _shape(kind)
            rows |= {key} if is_array else set()
        elif is_array:
            fields[key] = _texts
        else:
            fields[key] = (
                _quantity if key == "quantity" else _BY_TYPE.get(kind, conversions.text_of)
            )
    required = tuple(
        info.alias or name for name, info in model.model_fields.items() if info.is_required()
    )
    return Shape(
        check=model.__pydantic_validator__.validate_python,
        fields=MappingProxyType(fields),
        required=required,
        rows=frozenset(rows),
        figures=_figures(model),
    )


def _figures(model: type[BaseModel]) -> frozenset[str]:
    if issubclass(model, SaleLine):
        return LINE_FIGURES
    return FIGURES if issubclass(model, Receipt) else frozenset()


def _data_model(event: type[CloudEvent]) -> type[BaseModel]:
    found = event.model_fields["data"].annotation
    if not isinstance(found, type) or not issubclass(found, BaseModel):
        raise TypeError(f"{event.__name__} has no data model")
    return found


SHAPES: Final[Mapping[str, Shape]] = MappingProxyType(
    {
        name: _shape(_data_model(event))
        for name, event in zip(CANONICAL_TYPES, EVENT_TYPES, strict=True)
    }
)
# The validators themselves: `model_validate` costs a third more for its options alone.
EVENT_CHECKS: Final[Mapping[str, Convert]] = MappingProxyType(
    {
        name: event.__pydantic_validator__.validate_python
        for name, event in zip(CANONICAL_TYPES, EVENT_TYPES, strict=True)
    }
)
