"""Expressions, conditions and templates of a mapping file become closures, or problems."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from edge_agent.ingest.compiled import Place, Problem
from edge_agent.ingest.evaluating import (
    check_of,
    joined_text,
    nothing,
    once_a_message,
    once_a_topic,
)
from edge_agent.ingest.paths import BadExpression
from edge_agent.ingest.personal import PERSONAL, plain
from edge_agent.ingest.row_kinds import uses_of
from edge_agent.ingest.rows import ROW, Check, Evaluated
from edge_agent.ingest.selection import expression, fields_of, template, xml_check
from edge_agent.wire.mapping import MappingFile

# A search of the whole message from each of its rows would take the square of its length.
_OF_MESSAGE: Final = re.compile(r"\$(message|outer)\b.*[\[(*/]")
_OF_TOPIC: Final = re.compile(r"([^{}]|\{\$topic\.\w+\})*")


@dataclass
class Scope:
    """Where a part stands, which names it may use, and whether the current row is XML.

    Attributes:
        names: The names that may stand after `$`, and whether each is XML.
        xml: Whether the current row is XML.
        place: Keys and indexes from the top of the file to the rule.
        rule: Name of the rule.
        captures: Names of the topic's captures.
        row: What the current row is called.
        uses: How the expressions look at it.
        above: Where the row stands, when it is a part of another, such as a line of a receipt.
    """

    names: dict[str, bool]
    xml: bool
    place: Place
    rule: str
    captures: frozenset[str] = frozenset()
    row: str = ROW
    uses: set[str] = field(default_factory=set)
    above: Scope | None = None

    def note(self, text: str) -> None:
        """Notes how an expression looks at the current row, and at those that it is a part of."""
        if not self.xml:
            self.uses |= uses_of(text, self.row)
        above = self.above
        while above is not None:
            above.uses |= uses_of(text, above.row, is_current=False)
            above = above.above


class Expressions:
    """The expressions of one file; what is wrong with them is collected."""

    def __init__(self, spec: MappingFile) -> None:
        self.problems: list[Problem] = []
        self._dropped = PERSONAL | {plain(each) for each in spec.drop}

    def problem(self, place: Place, message: str) -> None:
        """Notes what is wrong."""
        self.problems.append(Problem(place, message))

    def evaluate(self, text: str, scope: Scope, *at: str | int, rows: bool = False) -> Evaluated:
        """Returns an expression's evaluator; what is personal is a problem."""
        place = (*scope.place, *at)
        scope.note(text)
        for name in sorted(fields_of(text)):
            if plain(name) in self._dropped:
                self.problem(place, f"{name} is personal and never passes")
        captured = re.match(r"\$topic\.([A-Za-z_]\w*)", text)
        if captured and captured[1] not in scope.captures:
            self.problem(place, f"the topic has no capture {{{captured[1]}}}")
        try:
            found = expression(text, names=scope.names, xml=scope.xml, rows=rows)
        except BadExpression as error:
            self.problem(place, str(error))
            return nothing
        return once_a_message(found, f"{scope.rule}:{text}") if _OF_MESSAGE.match(text) else found

    def conditions(
        self, texts: tuple[str, ...], scope: Scope, *at: str | int
    ) -> tuple[Check, ...]:
        """Returns conditions, each of which may begin with `not `."""
        found = []
        for text in texts:
            negated = text.startswith("not ")
            plain_text = text.removeprefix("not ")
            evaluate = self.evaluate(plain_text, scope, *at)
            is_there = xml_check(plain_text, names=scope.names, xml=scope.xml)
            if is_there is not None and _OF_MESSAGE.match(plain_text):
                is_there = once_a_message(is_there, f"{scope.rule}:is there:{plain_text}")
            evaluate = is_there or evaluate
            found.append(check_of(evaluate, negated))
        return tuple(found)

    def text(self, text: str | None, scope: Scope, *at: str | int) -> Evaluated | None:
        """Returns a template's evaluator; None when there is no template."""
        if text is None:
            return None
        if "{" not in text and text.startswith("$"):
            return self.evaluate(text, scope, *at)
        try:
            parts = template(text, lambda part: self.evaluate(part, scope, *at))
        except BadExpression as error:
            self.problem((*scope.place, *at), str(error))
            return nothing
        made = joined_text(parts)
        return once_a_topic(made, text) if _OF_TOPIC.fullmatch(text) else made

    def key(self, text: str | None, scope: Scope, *at: str | int) -> Evaluated:
        """Returns a template's evaluator; the empty text when there is no template."""
        found = self.text(text, scope, *at)
        return found if found is not None else lambda _row: ""
