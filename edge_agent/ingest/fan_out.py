"""From a message to its rows: arrays, objects, numbered fields, changes between two sets."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from edge_agent.ingest import counters
from edge_agent.ingest.compiled import CompiledRule, FanOut
from edge_agent.ingest.conversions import NotConvertible, text_of
from edge_agent.ingest.counters import Entry, Finding
from edge_agent.ingest.rows import BAD_ROW, NOT_A_ROW, ROW, SCALAR, Row, refuse_line

Parts = list[tuple[Any, Any]]


class _WrongKind(NotConvertible):
    """A place where rows should stand holds something else."""


def rows_of(rule: CompiledRule, row: Row, stand: Callable[[Row], None]) -> Iterator[Row]:
    """Returns a message's rows, in order; a bad one is refused alone.

    Args:
        rule: The rule whose fan-out it is.
        row: The message.
        stand: Says when and by which device a row was told.
    """
    return _below(rule.each, 0, row, stand)


def _below(
    steps: tuple[FanOut, ...], depth: int, row: Row, stand: Callable[[Row], None]
) -> Iterator[Row]:
    step = steps[depth]
    is_last = depth == len(steps) - 1
    above = f"{row.place}.{step.name}" if row.place else step.name
    try:
        parts = _parts(step, row, stand)
    except _WrongKind as error:
        _refuse_once(row, error, above)
        return
    for at, (key, value) in enumerate(parts, 1):
        inner = row.inner(step.name, value, key, f"{above} {at}")
        try:
            if not _is_taken(step, inner, key, value):
                continue
        except _WrongKind as error:
            _refuse_once(inner, error, inner.place)
            continue
        except BAD_ROW as error:
            refuse_line(inner, error, inner.place)
            continue
        if is_last:
            yield inner
        else:
            yield from _below(steps, depth + 1, inner, stand)


def _is_taken(step: FanOut, row: Row, key: Any, value: Any) -> bool:
    known = row.run.passed_over
    if step.where is not None and not step.where(row):
        if known is not None:
            known.leave(key, value, row.place)
        return False
    if known is not None:
        known.take(key, value)
    if step.kinds and not isinstance(value, step.kinds):
        raise _WrongKind(NOT_A_ROW)
    return True


def _parts(step: FanOut, row: Row, stand: Callable[[Row], None]) -> Parts:
    found = step.rows(row)
    if found is not None:
        row.run.has_parts = True
    elif row.place:
        if row[ROW] is None or isinstance(row[ROW], SCALAR):
            raise _WrongKind("what it should stand in is no object")
        row.run.count("not there", f"{row.place}.{step.name}")
    if step.changes:
        return _set_changes(step, row, found, stand)
    if step.numbered is not None:
        return _numbered(step.numbered, _object(found))
    if step.keys:
        return list(_object(found).items())
    return _elements(found, row)


def _elements(found: Any, row: Row) -> Parts:
    if isinstance(found, list):
        return list(enumerate(found))
    if found is None:
        return []
    if isinstance(found, SCALAR) and found is not row[ROW]:
        raise _WrongKind("not an array")
    return [(0, found)]


def _object(found: Any) -> dict[str, Any]:
    if isinstance(found, dict):
        return found
    # Some makers write an empty object as an empty array.
    if found is None or found == []:
        return {}
    raise _WrongKind("not an object")


def _refuse_once(row: Row, error: _WrongKind, place: str) -> None:
    """Notes a place that holds something else; several rules may look at the same."""
    told = ((each.place, each.detail) for each in row.run.refusals)
    if (place, str(error)) not in told:
        refuse_line(row, error, place)


def _set_changes(step: FanOut, row: Row, found: Any, stand: Callable[[Row], None]) -> Parts:
    now = _members(found)
    if step.before is not None:
        before = _members(step.before(row))
        entered = tuple(each for each in now if each not in before)
        left = tuple(each for each in before if each not in now)
    else:
        stand(row)
        key = step.state_key(row) if step.state_key is not None else ""

        def judged(old: Entry | None, at_ms: int) -> Finding:
            if old is None:
                # All of it is new: after a renamed rule, those who are there already too.
                row.run.count("set begun", row.place)
            return counters.set_change(old, now, at_ms)

        entered, left = row.remember(step.place, key, judged)
        row.run.changes.update(row.staged)
    rows = [{"change": "left", "value": each} for each in left]
    rows += [{"change": "entered", "value": each} for each in entered]
    return [(each["value"], each) for each in rows]


def _members(found: Any) -> tuple[str, ...]:
    values = found if isinstance(found, list) else [] if found is None else [found]
    return tuple(dict.fromkeys(text_of(each) for each in values))


def _numbered(pattern: re.Pattern[str], found: dict[str, Any]) -> Parts:
    groups: dict[tuple[str, ...], dict[str, Any]] = {}
    for name, value in found.items():
        match = pattern.fullmatch(name)
        if match is None:
            continue
        captured = match.groupdict()
        field = captured.pop("field", "value")
        row = groups.setdefault(tuple(captured.values()), dict(captured))
        row[field] = value
    return [("-".join(key), row) for key, row in groups.items()]
