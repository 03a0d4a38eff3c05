"""What is wrong with a mapping file, in words with the line, the key and what to do."""

from __future__ import annotations

from typing import Any

from edge_agent.ingest.compiled import Problem
from edge_agent.ingest.places import line_of, placed


def problem_of_form(text: str, tables: dict[str, Any], error: Any) -> str:
    """Returns what the file's form has wrong: an unknown word, a wrong type, a missing key."""
    place = placed(tables, error["loc"])
    word = error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        word = "unknown word"
    elif error["type"] == "missing":
        word = "is missing"
    return _described(text, place, word)


def problem_of_meaning(text: str, tables: dict[str, Any], problem: Problem) -> str:
    """Returns what the file says that cannot be."""
    return _described(text, placed(tables, problem.place), problem.message)


def _described(text: str, place: tuple[str | int, ...], message: str) -> str:
    name = "".join(f"[{each + 1}]" if isinstance(each, int) else f".{each}" for each in place)
    return f"line {line_of(text, place)}: {name.lstrip('.')}: {message}"
