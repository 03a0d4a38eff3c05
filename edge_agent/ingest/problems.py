"""What is wrong with a mapping file, in words with the line, the key and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, Final

from pydantic import BaseModel

from edge_agent.ingest.compiled import Problem
from edge_agent.ingest.places import line_of, placed
from edge_agent.wire.mapping import (
    Bytes,
    Each,
    MappingFile,
    Presence,
    Remember,
    Rows,
    Rule,
    Share,
    Time,
    Unpack,
    Value,
)
from edge_agent.wire.mapping_csv import Csv, Record
from edge_agent.wire.mapping_state import Change, Delta, Once, Since

_PARTS: Final[dict[str, type[BaseModel]]] = {
    "rules": Rule,
    "each": Each,
    "unpack": Unpack,
    "csv": Csv,
    "remember": Remember,
    "share": Share,
    "once": Once,
    "presence": Presence,
    "time": Time,
    "rows": Rows,
    "bytes": Bytes,
    "delta": Delta,
    "change": Change,
    "since": Since,
}
# By the validator's own names for what is wrong.
_WORDS: Final = {
    "missing": "is missing: add it",
    "string_type": "needs a text, in quotes",
    "float_type": "needs a number, without quotes",
    "int_type": "needs a whole number, without quotes",
    "int_from_float": "needs a whole number",
    "bool_type": "needs true or false, without quotes",
    "dict_type": 'needs a table, as in { path = "a.b" }',
    "model_type": 'needs a table, as in { path = "a.b" }',
    "model_attributes_type": 'needs a table, as in { path = "a.b" }',
    "tuple_type": "needs an array, in brackets",
    "too_short": "needs at least one",
    "string_too_short": "is empty",
    "string_pattern_mismatch": "takes letters, digits, - and _ alone, the vendor in lower case",
}
_SUGGESTED_FROM: Final = 0.6


def problem_of_form(text: str, tables: dict[str, Any], error: Any) -> str:
    """Returns what the file's form has wrong: an unknown word, a wrong type, a missing key."""
    kind, place = error["type"], error["loc"]
    if kind == "extra_forbidden":
        word = _unknown(str(place[-1]), _known(place))
    elif kind == "literal_error":
        word = f"must be {error['ctx']['expected']}"
    else:
        word = _WORDS.get(kind) or error["msg"].removeprefix("Value error, ")
    return _described(text, placed(tables, place), word)


def suggested(word: str, known: Sequence[str]) -> str:
    """Returns what was probably meant, else all that there is, as the end of a sentence."""
    near = get_close_matches(word, known, n=1, cutoff=_SUGGESTED_FROM)
    return f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"


def _unknown(word: str, known: tuple[str, ...]) -> str:
    return f"unknown word; {suggested(word, known)}"


def _known(place: Sequence[str | int]) -> tuple[str, ...]:
    above = [step for step in place[:-1] if isinstance(step, str)]
    model = _PARTS.get(above[-1], Value) if above else MappingFile
    if above[:2] == ["csv", "records"]:
        model = Record
    return tuple(info.alias or name for name, info in model.model_fields.items())


def problem_of_meaning(text: str, tables: dict[str, Any], problem: Problem) -> str:
    """Returns what the file says that cannot be."""
    return _described(text, placed(tables, problem.place), problem.message)


def _described(text: str, place: tuple[str | int, ...], message: str) -> str:
    name = "".join(f"[{each + 1}]" if isinstance(each, int) else f".{each}" for each in place)
    return f"line {line_of(text, place)}: {name.lstrip('.')}: {message}"
