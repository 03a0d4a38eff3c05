"""From a place in a TOML document (keys and indexes) to its line, for errors that can be found."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

Place = tuple[str | int, ...]

_HEADER: Final = re.compile(r"^\s*(\[\[?)\s*([^\]]+?)\s*\]\]?\s*(#.*)?$")
_KEY: Final = re.compile(
    r"""^\s*((?:"[^"]*"|'[^']*'|[\w-]+)(?:\s*\.\s*(?:"[^"]*"|'[^']*'|[\w-]+))*)\s*="""
)
# As a mapping says it, and as a configuration does.
_LINE: Final = re.compile(r"(?:^line |:)([0-9]+): ")
_PART: Final = re.compile(r""""([^"]*)"|'([^']*)'|([\w-]+)""")


def placed(tables: Any, place: Sequence[Any]) -> Place:
    """Returns the part of a place that exists in the document, and the last word beyond it.

    What a validator adds on its way (names of union members) is left out.
    """
    found: list[str | int] = []
    here = tables
    for at, step in enumerate(place):
        if (isinstance(here, dict) and step in here) or (
            isinstance(here, list) and isinstance(step, int) and step < len(here)
        ):
            here = here[step]
        elif isinstance(here, dict) and str(step).rstrip("_") in here:
            step = str(step).rstrip("_")  # noqa: PLW2901 - the file's own spelling
            here = here[step]
        elif at == len(place) - 1 and isinstance(here, dict) and isinstance(step, str):
            if step not in {"value", "fields", "expression"}:
                found.append(step)
            break
        else:
            continue
        found.append(step)
    return tuple(found)


def by_line(problems: Iterable[str]) -> tuple[str, ...]:
    """Returns the problems of a file by their lines, those of one line in the order given.

    Example:
        >>> by_line(["line 12: b", "line 3: a", "agent.toml:7: c"])
        ('line 3: a', 'agent.toml:7: c', 'line 12: b')
    """

    def line(problem: str) -> int:
        found = _LINE.search(problem)
        return int(found[1]) if found else 0

    return tuple(sorted(problems, key=line))


def line_of(text: str, place: Place) -> int:
    """Returns the line, from 1, of the deepest part of a place that the text shows."""
    best, best_depth = 1, 0
    table: Place = ()
    counts: dict[Place, int] = {}
    key: Place = ()
    # As TOML counts them: other characters end a line for Python alone.
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
        header = _HEADER.match(line)
        if header is not None:
            table = _table(header[2], counts, is_array=header[1] == "[[")
            key = table
        else:
            found = _KEY.match(line)
            if found is not None:
                key = (*table, *_names(found[1]))
            elif key != place[: len(key)]:
                continue
        depth = _shared(key, place, line, is_header=header is not None)
        if depth > best_depth:
            best, best_depth = number, depth
    return best


def _shared(here: Place, place: Place, line: str, *, is_header: bool) -> int:
    if is_header and len(here) > len(place) and here[: len(place)] == place:
        # A table that is there only by those inside it.
        return len(place)
    if here != place[: len(here)]:
        return 0
    depth = len(here)
    if is_header:
        return depth
    # Inside an inline table the rest of the place stands on this line, or on a later one.
    for step in place[len(here) :]:
        if isinstance(step, int):
            continue
        if re.search(rf"(?<![\w-]){re.escape(step)}(?![\w-])\"?\s*=", line) is None:
            break
        depth += 1
    return depth


def _table(name: str, counts: dict[Place, int], *, is_array: bool) -> Place:
    place: Place = ()
    names = _names(name)
    for at, part in enumerate(names):
        place = (*place, part)
        is_last = at == len(names) - 1
        if is_last and is_array:
            counts[place] = counts.get(place, -1) + 1
        if place in counts:
            place = (*place, counts[place])
    return place


def _names(text: str) -> tuple[str, ...]:
    return tuple(
        next(each for each in found if each) for found in _PART.findall(text) if any(found)
    )
