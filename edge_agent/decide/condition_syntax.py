"""The part of CEL that conditions are written in, as a tree, so that it can be checked ahead.

The library that evaluates conditions knows neither names nor types before it is run. What is read
here is smaller than CEL on purpose: no comprehensions (their cost has no bound worth having), no
messages, bytes, maps or times. Whatever this reads, CEL reads in the same way.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

# Longer or deeper than any condition that a person understands; both bound what one costs.
TEXT_MAX: Final = 2_000
DEPTH_MAX: Final = 50

_TOKEN: Final = re.compile(
    r"""(?P<space>[ \t\r\n]+|//[^\n]*)
      | (?P<number>[0-9]+\.[0-9]+(?:[eE][+-]?[0-9]+)?)
      | (?P<int>[0-9]+)
      | (?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|[rR](?:"[^"\n]*"|'[^'\n]*'))
      | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<sign>\|\||&&|[=!<>]=|[-+*/%<>!?:.,()\[\]])""",
    re.VERBOSE,
)
_STRENGTH: Final = {
    "||": 1, "&&": 2,
    "==": 3, "!=": 3, "<": 3, "<=": 3, ">": 3, ">=": 3, "in": 3,
    "+": 4, "-": 4, "*": 5, "/": 5, "%": 5,
}  # fmt: skip
_INSTEAD: Final = {
    "=": "= compares nothing; write ==",
    "&": "and is &&",
    "|": "or is ||",
    '"': "this text has no end on its line; close it with the same quote",
    "'": "this text has no end on its line; close it with the same quote",
    "{": "maps and messages are not offered; ask one name at a time",
}
_WORDS_INSTEAD: Final = {
    "and": "and is &&",
    "or": "or is ||",
    "not": "not is !",
    "is": "compare with ==",
    "True": "write true",
    "False": "write false",
    "null": "what is not known makes a condition false; null is not offered",
}


class BadCondition(Exception):
    """A condition is wrong: where in its text, from 0, and what is, with the cure."""

    def __init__(self, at: int, what: str) -> None:
        super().__init__(what)
        self.at = at
        self.what = what


@dataclass(frozen=True, slots=True)
class Node:
    """A part of a condition.

    Attributes:
        kind: `text`, `int`, `number`, `bool`, `list`, `name`, `field`, `index`, `call`, `method`,
            `unary`, `binary` or `choice`.
        word: The literal, name, field, function or operator.
        at: Where it begins in the text, from 0.
    """

    kind: str
    word: str
    at: int
    parts: tuple[Node, ...] = ()
    depth: int = 1


def tree_of(text: str) -> Node:
    """Returns a condition as a tree.

    Raises:
        BadCondition: It is none.
    """
    if len(text) > TEXT_MAX:
        raise BadCondition(0, f"longer than {TEXT_MAX} characters; make two rules of it")
    reader = _Reader(text)
    found = reader.expression(0)
    reader.expect_end()
    return found


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    word: str
    at: int


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            sign = text[at]
            raise BadCondition(at, _INSTEAD.get(sign, f"{sign!r} means nothing here; take it out"))
        kind = str(match.lastgroup)
        if kind != "space":
            found.append(_Token(kind, match[0], at))
        at = match.end()
    return [*found, _Token("end", "", len(text))]


class _Reader:
    """Reads tokens from left to right, by the strength of the operators between them."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._next = 0

    def expression(self, depth: int) -> Node:
        found = self._binary(1, depth)
        if self._peek.word != "?" or self._peek.kind != "sign":
            return found
        at = self._take().at
        yes = self._binary(1, depth + 1)
        self._expect(":")
        return _node("choice", "?:", at, found, yes, self.expression(depth + 1))

    def expect_end(self) -> None:
        token = self._peek
        if token.kind != "end":
            what = _WORDS_INSTEAD.get(token.word, f"{token.word} is not expected here")
            raise BadCondition(token.at, what)

    @property
    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _take(self) -> _Token:
        token = self._tokens[self._next]
        self._next += 1
        return token

    def _is(self, sign: str) -> bool:
        return self._peek.kind == "sign" and self._peek.word == sign

    def _expect(self, sign: str) -> None:
        if not self._is(sign):
            token = self._peek
            there = token.word or "the end"
            what = _WORDS_INSTEAD.get(token.word, f"{sign} is expected here, not {there}")
            raise BadCondition(token.at, what)
        self._take()

    def _binary(self, weakest: int, depth: int) -> Node:
        found = self._unary(depth)
        while True:
            token = self._peek
            strength = 0 if token.kind in {"text", "end"} else _STRENGTH.get(token.word, 0)
            if strength < weakest:
                return found
            self._take()
            found = _node("binary", token.word, token.at, found, self._binary(strength + 1, depth))

    def _unary(self, depth: int) -> Node:
        token = self._peek
        if depth > DEPTH_MAX:
            raise BadCondition(token.at, "too deeply nested; make two rules of it")
        if self._is("!") or self._is("-"):
            self._take()
            return _node("unary", token.word, token.at, self._unary(depth + 1))
        return self._member(depth)

    def _member(self, depth: int) -> Node:
        found = self._primary(depth)
        while True:
            if self._is("."):
                self._take()
                found = self._field(found, depth)
            elif self._is("["):
                at = self._take().at
                found = _node("index", "[]", at, found, self.expression(depth + 1))
                self._expect("]")
            else:
                return found

    def _field(self, of: Node, depth: int) -> Node:
        token = self._take()
        if token.kind != "word":
            raise BadCondition(token.at, "a name is expected after the dot")
        if self._is("("):
            return _node("method", token.word, token.at, of, *self._arguments(")", depth))
        return _node("field", token.word, token.at, of)

    def _primary(self, depth: int) -> Node:
        token = self._take()
        if token.kind in {"text", "int", "number"}:
            return _node(token.kind, token.word, token.at)
        if token.kind == "word":
            return self._named(token, depth)
        if token.word == "(":
            found = self.expression(depth + 1)
            self._expect(")")
            return found
        if token.word == "[":
            self._next -= 1
            return _node("list", "[]", token.at, *self._arguments("]", depth))
        there = f"not {token.word}" if token.word else "but the condition ends"
        raise BadCondition(token.at, f"a name or value is expected here, {there}")

    def _named(self, token: _Token, depth: int) -> Node:
        if token.word in {"true", "false"}:
            return _node("bool", token.word, token.at)
        if token.word in _WORDS_INSTEAD or token.word == "in":
            what = _WORDS_INSTEAD.get(token.word, "a name or value is expected before in")
            raise BadCondition(token.at, what)
        if self._is("("):
            return _node("call", token.word, token.at, *self._arguments(")", depth))
        return _node("name", token.word, token.at)

    def _arguments(self, end: str, depth: int) -> tuple[Node, ...]:
        """Reads what stands between brackets, the opening one included."""
        self._take()
        found: list[Node] = []
        while not self._is(end):
            found.append(self.expression(depth + 1))
            if self._is(","):
                self._take()
            elif not self._is(end):
                self._expect(end)
        self._take()
        return tuple(found)


def _node(kind: str, word: str, at: int, *parts: Node) -> Node:
    depth = 1 + max((each.depth for each in parts), default=0)
    if depth > DEPTH_MAX:
        raise BadCondition(at, "too deeply nested; make two rules of it")
    return Node(kind, word, at, parts, depth)
