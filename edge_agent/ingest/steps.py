"""What the parts of a value do when a row is evaluated: sources and steps, as closures."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from edge_agent.ingest import conversions, identifiers
from edge_agent.ingest.conversions import NotConvertible
from edge_agent.ingest.instants import seconds_since_1970
from edge_agent.ingest.payloads import unpacked
from edge_agent.ingest.rows import (
    BAD_ROW,
    NOT_A_ROW,
    SCALAR,
    Check,
    Evaluated,
    Row,
    refuse_line,
)
from edge_agent.ingest.sharing import Sharing
from edge_agent.wire.mapping import MappingFile, Value

PATTERN_TEXT_MAX: Final = 512

Step = Callable[[Any, Row], Any]


def object_of(parts: dict[str, Evaluated], varying: frozenset[str]) -> Evaluated:
    """Returns an object of fields; null when all that vary are."""

    def built(row: Row) -> dict[str, Any] | None:
        found = {name: value for name, part in parts.items() if (value := part(row)) is not None}
        if varying and not varying & found.keys():
            return None
        return found

    return built


def row_objects(
    rows: Evaluated,
    name: str,
    where: Check | None,
    lets: dict[str, Evaluated],
    fields: dict[str, Evaluated],
    shared: tuple[Sharing, ...] = (),
    *,
    kinds: tuple[type, ...] = (),
) -> Evaluated:
    """Returns an array of objects made from rows; a bad row, or one of no such kind, is refused.

    With a bad row nothing is shared out: its neighbours would bear its part.
    """
    columns = tuple(fields.items())
    is_wanted = _wanted(where, kinds)

    def made(part: Row) -> dict[str, Any]:
        return {key: value for key, column in columns if (value := column(part)) is not None}

    def built(row: Row) -> list[dict[str, Any]] | None:
        found = rows(row)
        if found is None:
            return None
        if isinstance(found, SCALAR):
            raise NotConvertible(f"{name}: not an array")
        objects: list[tuple[Row, dict[str, Any]]] = []
        for at, each in enumerate(found if isinstance(found, list) else [found]):
            part = row.part(name, each, lets)
            try:
                if is_wanted(part, each):
                    objects.append((part, made(part)))
            except BAD_ROW as error:
                refuse_line(part, error, f"{name} {at + 1}")
        _share_out(row, objects, shared)
        return [each for _, each in objects]

    return built


def _wanted(where: Check | None, kinds: tuple[type, ...]) -> Callable[[Row, Any], bool]:
    def wanted(part: Row, found: Any) -> bool:
        if kinds and not isinstance(found, kinds):
            raise NotConvertible(NOT_A_ROW)
        return where is None or where(part)

    return wanted


def _share_out(
    row: Row, objects: list[tuple[Row, dict[str, Any]]], shared: tuple[Sharing, ...]
) -> None:
    for share in shared if not row.broken else ():
        share(row, objects)


def first_of(nodes: tuple[Evaluated, ...]) -> Evaluated:
    """Returns the first of several that is there."""

    def first(row: Row) -> Any:
        for node in nodes:
            value = node(row)
            if value is not None and value != "":
                return value
        return None

    return first


def summed(nodes: tuple[Evaluated, ...], decimal: str) -> Evaluated:
    """Returns a sum; of the elements where a part is an array."""

    def added(row: Row) -> Decimal | None:
        total, seen = Decimal(0), False
        for node in nodes:
            value = node(row)
            for each in value if isinstance(value, list) else [value]:
                if each is not None:
                    total += conversions.exact(conversions.number_of(each, decimal=decimal))
                    seen = True
        return total if seen else None

    return added


def product_of(nodes: tuple[Evaluated, ...], decimal: str) -> Evaluated:
    """Returns a product; null when a part is."""

    def multiplied(row: Row) -> Decimal | None:
        total = Decimal(1)
        for node in nodes:
            value = node(row)
            if value is None:
                return None
            total *= conversions.exact(conversions.number_of(value, decimal=decimal))
        return total

    return multiplied


def pipeline(
    source: Evaluated, steps: tuple[Step, ...], when: Check | None, spec: Value
) -> Evaluated:
    """Returns a source, its condition, its steps and its default."""
    default, required = spec.default, spec.required
    missing = "no value"
    if spec.setting is not None:
        missing = f"no value: give the store's {spec.setting} in [settings]"
    is_plain = when is None and default is None and not required
    if is_plain and len(steps) <= 1:
        return _stepped(source, steps[0]) if steps else source

    def run(row: Row) -> Any:
        value = source(row) if when is None or when(row) else None
        for step in steps:
            if value is None:
                break
            value = step(value, row)
        if value is None or (value == "" and default is not None):
            value = default
        if value is None and required:
            raise NotConvertible(missing)
        return value

    return run


def _stepped(source: Evaluated, step: Step) -> Evaluated:
    def stepped(row: Row) -> Any:
        value = source(row)
        return None if value is None else step(value, row)

    return stepped


def unpacked_as(packing: Any, spec: MappingFile) -> Step:
    """Returns what is packed inside a text."""
    delimiter, lines = spec.delimiter, spec.csv
    return lambda value, _row: unpacked(value, packing, delimiter=delimiter, lines=lines)


def bytes_step(spec: dict[str, Any]) -> Step:
    """Returns a number inside binary data."""
    return lambda value, _row: conversions.bytes_at(value, **spec)


def as_kind(kind: str, decimal: str) -> Step:
    """Returns a value of a kind."""
    match kind:
        case "number":
            return lambda value, _row: conversions.number_of(value, decimal=decimal)
        case "integer":
            # Most are whole already: that is seen here, without a call.
            return lambda value, _row: (
                value if type(value) is int else conversions.integer_of(value, decimal=decimal)
            )
        case "opaque":
            return lambda value, row: row.opaque(conversions.text_of(value))
        case _:
            convert = _CONVERSIONS[kind]
            return lambda value, _row: convert(value)


def _text_then(convert: Callable[[str], Any]) -> Callable[[Any], Any]:
    return lambda value: convert(conversions.text_of(value))


_CONVERSIONS: Final[dict[str, Callable[[Any], Any]]] = {
    "text": conversions.text_of,
    "boolean": conversions.boolean_of,
    "seconds": conversions.seconds_of,
    "instant": seconds_since_1970,
    "upper": _text_then(str.upper),
    "lower": _text_then(str.lower),
    "mac": _text_then(identifiers.mac),
    "mac_kind": _text_then(identifiers.mac_kind),
    "uuid": _text_then(identifiers.uuid),
    "gtin": _text_then(identifiers.gtin),
}


def minor_units_of(units: Evaluated) -> Step:
    """Returns an amount from minor units."""

    def converted(value: Any, row: Row) -> Decimal:
        return conversions.from_minor_units(value, units(row))

    return converted


def in_unit_of(unit: Evaluated, to: str) -> Step:
    """Returns a number in another unit; null without a unit."""

    def converted(value: Any, row: Row) -> Decimal | None:
        name = unit(row)
        # Without a unit configured there is no value, rather than a guessed one.
        return None if name is None else conversions.in_unit(value, conversions.text_of(name), to)

    return converted


def scaled(factor: Decimal) -> Step:
    """Returns a number times a factor."""
    return lambda value, _row: conversions.exact(value) * factor


def shifted(term: Decimal) -> Step:
    """Returns a number plus a term."""
    return lambda value, _row: conversions.exact(value) + term


def less(node: Evaluated, decimal: str) -> Step:
    """Returns a number less another."""

    def subtracted(value: Any, row: Row) -> Decimal:
        other = node(row)
        if other is None:
            return conversions.exact(value)
        number = conversions.number_of(other, decimal=decimal)
        return conversions.exact(value) - conversions.exact(number)

    return subtracted


def rounded_to(places: int) -> Step:
    """Returns a rounded number."""
    return lambda value, _row: conversions.rounded(value, places)


def clamped(low: float | None, high: float | None) -> Step:
    """Returns a number within bounds."""

    def clamp(value: Any, _row: Row) -> Any:
        if low is not None and value < low:
            return conversions.exact(low)
        return conversions.exact(high) if high is not None and value > high else value

    return clamp


def matched_by(pattern: re.Pattern[str]) -> Step:
    """Returns what a pattern finds: its named groups, its first group, or the whole."""

    def matched(value: Any, _row: Row) -> Any:
        text = conversions.text_of(value)
        if len(text) > PATTERN_TEXT_MAX:
            raise NotConvertible("too long for a pattern")
        found = pattern.search(text)
        if found is None:
            return None
        if pattern.groupindex:
            return found.groupdict()
        return found[1] if pattern.groups else found[0]

    return matched


def mapped_by(table: dict[str, Any], unknown: str) -> Step:
    """Returns a value's row in the rule's own table."""

    def mapped(value: Any, _row: Row) -> Any:
        found = table.get(conversions.text_of(value))
        return found if found is not None else not_found(value, unknown)

    return mapped


def looked_up_in(name: str, unknown: str) -> Step:
    """Returns a value's row in a table of the store or the file."""

    def looked_up(value: Any, row: Row) -> Any:
        found = row.run.table(name, conversions.text_of(value))
        return found if found is not None else not_found(value, unknown)

    return looked_up


def not_found(value: Any, unknown: str, why: str = "not in the table") -> Any:
    """Returns what stands for a value that a table does not have."""
    if unknown == "refuse":
        raise NotConvertible(why)
    return value if unknown == "keep" else None
