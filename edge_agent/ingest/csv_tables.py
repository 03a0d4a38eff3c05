"""Lines of text become rows: header lines, fixed widths, and records that belong together.

A bad line is told and left out. Records that follow one of an unknown kind belong to nobody until
the next beginning: they are never joined to what came before it.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import accumulate, pairwise
from typing import Any, Final

from edge_agent.wire.mapping_csv import KIND, Csv, Record

LINES_MAX: Final = 5_000

# Number of the line, from 1, with its columns.
Line = tuple[int, list[str]]
# Called with the number of a bad line and what is wrong with it.
BadLine = Callable[[int, str], None]


class NotLines(ValueError):
    """A text that is no table, in words that hold nothing of it."""


class TooManyLines(NotLines):
    """A text that is too long."""


def table_of(text: str, form: Csv, *, delimiter: str, bad_line: BadLine) -> Any:
    """Returns the rows of a text, an object each; with a head, an object of `head` and `rows`.

    Args:
        text: Its lines.
        form: How they are laid out.
        delimiter: Between columns, where the form names none.
        bad_line: Called for a line that belongs to nothing.

    Raises:
        NotLines: It is no such text.
    """
    lines = text.splitlines()
    if len(lines) > LINES_MAX:
        raise TooManyLines(f"more than {LINES_MAX} lines")
    delimiter = form.delimiter or delimiter
    if form.records:
        is_cut = any(record.widths for record in form.records.values())
        found = _by_kind(lines, form) if is_cut else _cells(lines, form.skip, delimiter)
        return _grouped(found, form.records, bad_line)
    below = form.skip + form.head
    cells = [row for _, row in _cells(lines, below, delimiter, form.widths)]
    rows = _named(cells, form)
    if not form.head:
        return rows
    top = [row for _, row in _cells(lines[:below], form.skip, delimiter)]
    return {"head": _pairs(top) if form.head_form == "pairs" else _under(top, 1), "rows": rows}


def _cells(
    lines: list[str], skip: int, delimiter: str, widths: tuple[int, ...] = ()
) -> Iterator[Line]:
    """Returns the columns of every line that has any."""
    if widths:
        for number, line in enumerate(lines[skip:], skip + 1):
            if line.strip():
                yield number, _cut(line, widths)
        return
    reader = csv.reader(lines[skip:], delimiter=delimiter, strict=True)
    try:
        for row in reader:
            if row:
                yield skip + reader.line_num, row
    except csv.Error:
        raise NotLines("not CSV") from None


def _cut(line: str, widths: tuple[int, ...]) -> list[str]:
    return [line[start:end].strip() for start, end in pairwise(accumulate(widths, initial=0))]


def _named(cells: list[list[str]], form: Csv) -> list[dict[str, str]]:
    if form.columns:
        return [dict(zip(form.columns, row, strict=False)) for row in cells]
    return _under(cells, form.header)


def _under(cells: list[list[str]], header: int) -> list[dict[str, str]]:
    if len(cells) < header:
        raise NotLines("no header line")
    names = _names(cells[:header])
    return [dict(zip(names, row, strict=False)) for row in cells[header:]]


def _names(lines: list[list[str]]) -> list[str]:
    """Returns the columns' names: what stands over a column, joined; a second one is numbered."""
    *above, last = lines
    upper = [_spread(line) for line in above]
    names: list[str] = []
    seen: Counter[str] = Counter()
    for at, word in enumerate(last):
        words = [line[at] for line in upper if at < len(line)]
        name = " ".join(each for each in [*words, word.strip()] if each)
        seen[name] += 1
        names.append(name if seen[name] == 1 else f"{name} {seen[name]}")
    return names


def _spread(line: list[str]) -> list[str]:
    # A heading over several columns stands in the first one alone.
    here = ""
    return [here := cell.strip() or here for cell in line]


def _pairs(cells: list[list[str]]) -> dict[str, str]:
    return {row[0].strip(): row[1].strip() if len(row) > 1 else "" for row in cells}


def _grouped(
    cells: Iterator[Line], records: dict[str, Record], bad_line: BadLine
) -> list[dict[str, Any]]:
    begun: list[dict[str, Any]] = []
    # The last one of each kind, which the next ones below it belong to.
    open_: dict[str, dict[str, Any]] = {}
    for number, row in cells:
        kind = row[0].strip()
        record = records.get(kind)
        if record is None:
            open_.clear()
            bad_line(number, "a record of a kind that has no columns")
            continue
        made = _record(kind, record, row[1:], records)
        for below in [each for each in open_ if _is_under(each, kind, records)]:
            del open_[below]
        if record.under is None:
            open_.clear()
            begun.append(made)
        elif record.under in open_:
            open_[record.under][kind].append(made)
        else:
            bad_line(number, f"there is no {record.under} before it")
            continue
        open_[kind] = made
    return begun


def _by_kind(lines: list[str], form: Csv) -> Iterator[Line]:
    # Widths differ from kind to kind: what a line begins with says how to cut it.
    records = form.records
    for number, line in enumerate(lines[form.skip :], form.skip + 1):
        if line.strip():
            fits = (each for each, it in records.items() if line[: it.widths[0]].strip() == each)
            kind = next(fits, None)
            yield number, [""] if kind is None else _cut(line, records[kind].widths)


def _record(
    kind: str, record: Record, row: list[str], records: dict[str, Record]
) -> dict[str, Any]:
    made: dict[str, Any] = {KIND: kind, **dict(zip(record.columns, row, strict=False))}
    for name, below in records.items():
        if below.under == kind:
            made[name] = []
    return made


def _is_under(kind: str, top: str, records: dict[str, Record]) -> bool:
    above = records[kind].under
    while above is not None and above != top:
        above = records[above].under
    return above is not None
