"""An amount of the whole is shared out over rows, exact to the smallest unit.

The shares are in proportion to the rows' weights, each rounded down to a whole unit; the units
that are left over go, one each, to the rows with the largest remainders, the earlier of equal ones
first (largest remainder method, Hamilton's). So the same receipt is always shared out alike, no
share is off by a whole unit, and what is taken off a row by its own amount never exceeds it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from edge_agent.ingest.conversions import exact, number_of, places_of, rounded
from edge_agent.ingest.rows import Check, Evaluated, Row

Objects = Sequence[tuple[Row, dict[str, Any]]]
# Changes the fields of rows that were made: shares what belongs to all of them.
Sharing = Callable[[Row, Objects], None]

_NOTHING = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SharingParts:
    """The parts of a `share`, ready to run; what they mean is said in `wire.mapping.Share`."""

    amount: Evaluated | None
    total: Evaluated | None
    taken_from: str | None
    added_to: str | None
    by: Evaluated | None
    where: Check | None
    minor_units: Evaluated

    @property
    def field(self) -> str:
        """The field that the rows add up by."""
        return self.taken_from or self.added_to or ""


def shares_of(units: int, weights: Sequence[Decimal]) -> list[int]:
    """Returns whole units, one number for each weight, that add up to `units` exactly.

    Args:
        units: What is shared out; below zero where it is taken back.
        weights: Zero or more each; where all are zero, all rows are alike.

    Example:
        >>> shares_of(100, [Decimal(1), Decimal(1), Decimal(1)])
        [34, 33, 33]
    """
    whole = _whole(weights)
    of_all = sum(whole)
    parts = [divmod(abs(units) * weight, of_all) for weight in whole]
    found = [part for part, _ in parts]
    left = abs(units) - sum(found)
    by_remainder = sorted(range(len(parts)), key=lambda at: (-parts[at][1], at))
    for at in by_remainder[:left]:
        found[at] += 1
    return found if units >= 0 else [-part for part in found]


def _whole(weights: Sequence[Decimal]) -> list[int]:
    # Whole numbers of the same proportions: no division, so nothing is lost.
    finest = max((-int(each.as_tuple().exponent) for each in weights), default=0)
    whole = [int(each.scaleb(max(finest, 0))) for each in weights]
    return whole if any(whole) else [1] * len(whole)


def sharing_by(parts: SharingParts) -> Sharing:
    """Returns a function that shares out over the rows of a message.

    The rows' amounts and what is shared out are rounded to the smallest unit first, half up.
    """

    def share(row: Row, objects: Objects) -> None:
        places = places_of(parts.minor_units(row))
        mine = [each for each in objects if parts.where is None or parts.where(each[0])]
        amount = _amount(parts, row, [made for _, made in objects], places)
        if amount is None or not amount:
            return
        if not mine:
            row.run.count("not shared out", row.place)
            return
        units = shares_of(int(amount.scaleb(places)), [_weight(parts, each) for each in mine])
        for (_, made), unit in zip(mine, units, strict=True):
            part = Decimal(unit).scaleb(-places)
            _move(made, parts.taken_from, -part, places)
            _move(made, parts.added_to, part, places)

    return share


def _amount(
    parts: SharingParts, row: Row, objects: list[dict[str, Any]], places: int
) -> Decimal | None:
    if parts.amount is not None:
        value = parts.amount(row)
        return None if value is None else rounded(number_of(value), places)
    value = None if parts.total is None else parts.total(row)
    if value is None:
        return None
    held = sum((_held(made, parts.field, places) for made in objects), _NOTHING)
    missing = rounded(number_of(value), places) - held
    return missing if parts.taken_from is None else -missing


def _weight(parts: SharingParts, each: tuple[Row, dict[str, Any]]) -> Decimal:
    part, made = each
    value = made.get(parts.field) if parts.by is None else parts.by(part)
    return _NOTHING if value is None else max(exact(number_of(value)), _NOTHING)


def _held(made: dict[str, Any], field: str, places: int) -> Decimal:
    value = made.get(field)
    return _NOTHING if value is None else rounded(number_of(value), places)


def _move(made: dict[str, Any], field: str | None, part: Decimal, places: int) -> None:
    if field is not None:
        made[field] = _held(made, field, places) + part
