"""Conditions of `policy.toml` as CEL evaluates them: compiled once, asked at every moment.

The one file that imports the CEL library, and not before the first condition is compiled.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from importlib.machinery import PathFinder
from types import ModuleType
from typing import Any, Final, Protocol

from typing_extensions import override

from edge_agent.decide.condition_syntax import BadCondition
from edge_agent.decide.conditions import Checked, checked
from edge_agent.domain.fact_names import PYTHON_TYPES

_LIBRARY: Final = "cel.cel"
_PLAIN: Final = tuple({each for types in PYTHON_TYPES.values() for each in types} | {float})
_NO_FACTS: Final[Mapping[str, object]] = {}


class _Program(Protocol):
    def execute(self, context: object) -> object: ...


class Facts:
    """What CEL was told of the moment at hand, made once for all conditions that are asked of it.

    Telling costs ten times what asking does. Facts are known by being the same mapping: whoever
    asks does not change it after the first condition saw it.
    """

    def __init__(self) -> None:
        # One value, so that another thread sees both or neither.
        self._told: tuple[Mapping[str, object], Any] = (_NO_FACTS, None)

    def told(self, facts: Mapping[str, object]) -> Any:
        """Returns the facts as CEL takes them; what it cannot take is not known to it."""
        told = self._told
        if told[0] is not facts or told[1] is None:
            told = (facts, _context(facts))
            self._told = told
        return told[1]


class CelCondition:
    """One compiled condition; equal to another of the same text."""

    __slots__ = ("_facts", "_program", "names", "text")

    def __init__(
        self, text: str, program: _Program, *, names: frozenset[str], facts: Facts
    ) -> None:
        self.text = text
        self.names = names
        self._program = program
        self._facts = facts

    def holds(self, facts: Mapping[str, object]) -> bool:
        """Returns whether it is true; what it asks of and is not known makes it false.

        Args:
            facts: By the names of `domain.fact_names`; not changed after the first condition of
                the file was asked about them.
        """
        told = self._facts.told(facts)
        try:
            return self._program.execute(told) is True
        except Exception:  # noqa: BLE001 - CEL says by what is raised that it does not know
            return False

    @override
    def __eq__(self, other: object) -> bool:
        return isinstance(other, CelCondition) and other.text == self.text

    @override
    def __hash__(self) -> int:
        return hash(self.text)

    @override
    def __repr__(self) -> str:
        return f"CelCondition({self.text!r})"

    @override
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (compiled, (self.text,))


def compiled(text: str, facts: Facts | None = None) -> CelCondition:
    """Returns a condition.

    Args:
        text: It, in CEL.
        facts: Shared by all conditions that are asked of the same moments.

    Raises:
        BadCondition: It is none; where, why and what to do.
    """
    return compiled_as(checked(text), text, Facts() if facts is None else facts)


def compiled_as(known: Checked, text: str, facts: Facts) -> CelCondition:
    """Returns a condition that was checked already.

    Raises:
        BadCondition: CEL itself refuses it.
    """
    for pattern, at in known.patterns:
        _judge_pattern(pattern, at)
    try:
        program = _library().compile(text)
    except ValueError as error:
        raise BadCondition(0, _in_our_words(error)) from error
    return CelCondition(text, program, names=known.names, facts=facts)


def _judge_pattern(pattern: str, at: int) -> None:
    library = _library()
    try:
        library.compile(f"''.matches({pattern})").execute({})
    except (RuntimeError, ValueError) as error:
        reason = str(error).rpartition("error: ")[2].partition(".")[0]
        what = f"no regular expression: {reason}"
        raise BadCondition(at, what) from error


def _in_our_words(error: ValueError) -> str:
    """Returns what CEL refuses, without the text that it repeats."""
    told = str(error).partition("ERROR: ")[2].partition("\n")[0]
    return f"CEL refuses it: {told or 'it cannot be read'}"


def _context(facts: Mapping[str, object]) -> Any:
    made = _library().Context()
    for name, value in facts.items():
        try:
            made.add_variable(name, value)
        except ValueError as error:
            if not isinstance(value, _PLAIN):
                msg = f"the fact {name} is no plain value but a {type(value).__name__}"
                raise TypeError(msg) from error
            # A number or text that CEL has no room for: as if it were not known.
    return made


def _library() -> ModuleType:
    """Returns the library's compiled part.

    Its package imports a command line on the way, with a prompt and a highlighter: 9 MiB that a
    gateway has no use for. So the part alone is loaded, under its own name.
    """
    found = sys.modules.get(_LIBRARY)
    if found is not None:
        return found
    package = importlib.util.find_spec(_LIBRARY.partition(".")[0])
    places = None if package is None else package.submodule_search_locations
    spec = PathFinder.find_spec(_LIBRARY, None if places is None else list(places))
    if spec is None or spec.loader is None:
        msg = "the package common-expression-language is not installed"
        raise ImportError(msg)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules[_LIBRARY] = module
    return module
