"""A mapping's values are brought to the types of a canonical event's fields, by prepared closures.

What cannot be converted, and what looks personal, stops the row; a bad line of a receipt, or a bad
figure beside its total, is refused alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from edge_agent.ingest.conversions import NotConvertible, integer_of
from edge_agent.ingest.personal import assert_impersonal
from edge_agent.ingest.rows import BAD_ROW, Row, detail_of
from edge_agent.ingest.schema_of_events import Convert, Shape

# From the fields of an object to the same, typed; the row takes note of refused lines.
Typed = Callable[[Mapping[str, Any], Row], dict[str, Any]]
Leaf = Callable[[Any, Row], Any]

PROBLEMS_SHOWN: Final = 3
_DETAIL_MAX: Final = 300


def typed_of(shape: Shape, place: str = "data") -> Typed:
    """Returns a function that types an object's fields; what the shape does not know is left."""
    makers: dict[str, Leaf] = {}
    for name, kind in shape.fields.items():
        here = f"{place}.{name}"
        if not isinstance(kind, Shape):
            makers[name] = _leaf(kind, here)
        elif name in shape.rows:
            makers[name] = _objects(kind, here)
        else:
            makers[name] = _object(kind, here)
        if name in shape.figures:
            makers[name] = _alone(makers[name], here)

    maker_of = makers.get

    def typed(fields: Mapping[str, Any], row: Row) -> dict[str, Any]:
        return {
            name: make(value, row)
            for name, value in fields.items()
            if (make := maker_of(name)) is not None
        }

    return typed


def words_of(error: ValidationError) -> str:
    """Returns what a model finds wrong, without a value."""
    details = error.errors(include_url=False, include_input=False, include_context=False)
    parts = [
        f"{'.'.join(str(step) for step in each['loc'])}: {each['msg']}"
        for each in details[:PROBLEMS_SHOWN]
    ]
    return "; ".join(parts)[:_DETAIL_MAX]


def _leaf(convert: Convert, place: str) -> Leaf:
    is_whole = convert is integer_of

    def leaf(value: Any, _row: Row) -> Any:
        if is_whole and type(value) is int:
            return value
        try:
            converted = convert(value)
        except BAD_ROW as error:
            raise NotConvertible(f"{place}: {detail_of(error)}") from None
        if type(converted) is str and "@" in converted:
            assert_impersonal(converted)
        return converted

    return leaf


def _alone(make: Leaf, place: str) -> Leaf:
    """Returns a maker of a field that is left out where it is bad; the rest is told."""

    def told(value: Any, row: Row) -> Any:
        try:
            made = make(value, row)
        except NotConvertible as error:
            wrong = str(error)
        else:
            if type(made) is not Decimal or made >= 0:
                return made
            wrong = f"{place}: below zero"
        row.run.refuse("invalid", wrong, row.rule, place)
        return None

    return told


def _object(shape: Shape, place: str) -> Leaf:
    typed = typed_of(shape, place)

    def made(value: Any, row: Row) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise NotConvertible(f"{place}: not an object")
        return typed(value, row)

    return made


def _objects(shape: Shape, place: str) -> Leaf:
    inner = _object(shape, place)

    def made(value: Any, row: Row) -> tuple[BaseModel, ...]:
        given = value if isinstance(value, list) else [value]
        found: list[BaseModel] = []
        for at, each in enumerate(given):
            here = f"{place} {at + 1}"
            try:
                found.append(shape.check(inner(each, row)))
            except ValidationError as error:
                row.run.refuse("invalid", words_of(error), row.rule, here)
            except NotConvertible as error:
                words = str(error).replace(place, here, 1)
                row.run.refuse("invalid", words, row.rule, here)
        if given and not found:
            raise NotConvertible(f"{place}: no line is good")
        return tuple(found)

    return made
