"""What a condition of `policy.toml` means: its names, its types, and what is wrong with it.

A condition that passes here is true or false of every moment whose facts it knows. Two texts of
different types are never equal, and CEL says no more of `hour == "17"`: here it is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

from edge_agent.decide.condition_syntax import BadCondition, Node, tree_of
from edge_agent.domain.fact_names import BOOL, FACT_NAMES, INT, MAP, TEXT, TEXTS

if TYPE_CHECKING:
    from collections.abc import Iterable

NUMBER: Final = "number"
# What HQ sends may be a text, a number, true or false.
ANY: Final = "value of HQ's"
_NUMERIC: Final = frozenset({INT, NUMBER, ANY})
_LISTS: Final = {
    TEXT: TEXTS,
    INT: "list of ints",
    NUMBER: "list of numbers",
    BOOL: "list of bools",
}
_ELEMENTS: Final = {of: element for element, of in _LISTS.items()}
# CEL's own integers.
_INT_MAX: Final = 2**63 - 1
_MACROS: Final = frozenset({"all", "exists", "exists_one", "map", "filter"})
_METHODS: Final = ("contains", "endsWith", "matches", "size", "startsWith")
_FUNCTIONS: Final = ("double", "has", "int", "size", "string")
_CONVERSIONS: Final = {"int": INT, "double": NUMBER, "string": TEXT}


@dataclass(frozen=True, slots=True)
class Compared:
    """A text that a fact is compared with: whoever knows what there is can say what is not."""

    name: str
    text: str
    at: int


@dataclass(frozen=True, slots=True)
class Checked:
    """A condition that means something.

    Attributes:
        names: The facts that it looks at.
        compared: The texts that it compares them with.
        patterns: Its regular expressions as they are written, and where; CEL judges them.
    """

    names: frozenset[str]
    compared: tuple[Compared, ...]
    patterns: tuple[tuple[str, int], ...]


def checked(text: str) -> Checked:
    """Returns what a condition looks at.

    Raises:
        BadCondition: It is no condition; where, why and what to do.

    Example:
        >>> sorted(checked('zone == "dairy" && hour >= 17').names)
        ['hour', 'zone']
    """
    tree = tree_of(text)
    checker = _Checker()
    found = checker.type_of(tree)
    if found not in {BOOL, ANY}:
        raise BadCondition(tree.at, f"must be true or false, but is {_a(found)}; compare it")
    return Checked(
        names=frozenset(checker.names),
        compared=tuple(checker.compared),
        patterns=tuple(checker.patterns),
    )


def suggested(word: str, known: Iterable[str]) -> str:
    """Returns what was probably meant, else all that there is, as the end of a sentence."""
    there = sorted(known)
    near = get_close_matches(word, there, n=1)
    return f"did you mean {near[0]}?" if near else f"there are {', '.join(there) or 'none'}"


@dataclass(slots=True)
class _Checker:
    names: set[str] = field(default_factory=set)
    compared: list[Compared] = field(default_factory=list)
    patterns: list[tuple[str, int]] = field(default_factory=list)

    def type_of(self, node: Node) -> str:
        """Returns a part's type."""
        of_kind = {
            "name": self._name,
            "binary": self._binary,
            "call": self._call,
            "method": self._call,
            "field": self._part,
            "index": self._part,
            "unary": self._unary,
            "list": self._list,
            "choice": self._choice,
        }.get(node.kind, _literal)
        return of_kind(node)

    def _name(self, node: Node) -> str:
        known = FACT_NAMES.get(node.word)
        if known is None:
            near = get_close_matches(node.word, FACT_NAMES, n=1)
            cure = f"did you mean {near[0]}?" if near else f"if HQ sends it: fact.{node.word}"
            raise BadCondition(node.at, f"nothing is called {node.word}; {cure}")
        self.names.add(node.word)
        return known.type

    def _binary(self, node: Node) -> str:
        left, right = (self.type_of(each) for each in node.parts)
        if node.word in {"&&", "||"}:
            for part, kind in zip(node.parts, (left, right), strict=True):
                if kind not in {BOOL, ANY}:
                    what = f"{node.word} joins true and false, not {_a(kind)}; compare it"
                    raise BadCondition(part.at, what)
            return BOOL
        if node.word in {"==", "!="}:
            self._equal(node, left, right)
        elif node.word == "in":
            self._among(node, left, right)
        elif node.word in {"<", "<=", ">", ">="}:
            _ordered(node, left, right)
        else:
            return _sum(node, left, right)
        return BOOL

    def _equal(self, node: Node, left: str, right: str) -> None:
        if not _are_alike(left, right):
            what = f"{_a(left)} never equals {_a(right)}{_unquoted(node, left, right)}"
            raise BadCondition(node.at, what)
        if MAP in {left, right}:
            what = "all of HQ's facts equal nothing; ask for one: fact.weather"
            raise BadCondition(node.at, what)
        one, other = node.parts
        self._note(one, other)
        self._note(other, one)

    def _among(self, node: Node, left: str, right: str) -> None:
        one, other = node.parts
        element = TEXT if right == MAP else _ELEMENTS.get(right)
        if element is None:
            raise BadCondition(other.at, f"in asks a list, not {_a(right)}; write == or a list")
        if not _are_alike(left, element):
            raise BadCondition(one.at, f"{_a(left)} is never in {_a(right)}")
        for each in other.parts if other.kind == "list" else ():
            self._note(one, each)
        self._note(other, one)

    def _note(self, fact: Node, text: Node) -> None:
        if fact.kind == "name" and text.kind == "text" and "\\" not in text.word:
            plain = text.word.lstrip("rR")[1:-1]
            self.compared.append(Compared(fact.word, plain, text.at))
        span = FACT_NAMES[fact.word].span if fact.kind == "name" else None
        if span and text.kind == "int" and not span[0] <= int(text.word) <= span[1]:
            what = f"{fact.word} is never {text.word}; it goes from {span[0]} to {span[1]}"
            raise BadCondition(text.at, what)

    def _call(self, node: Node) -> str:
        if node.word in _MACROS:
            what = "comprehensions are refused: ask a list with in, or write the cases out"
            raise BadCondition(node.at, what)
        known = _METHODS if node.kind == "method" else _FUNCTIONS
        if node.word not in known:
            what = f"there is no function {node.word}; {suggested(node.word, known)}"
            raise BadCondition(node.at, what)
        if node.word == "has":
            return self._has(node)
        wanted = 1 if node.kind == "call" or node.word == "size" else 2
        if len(node.parts) != wanted:
            given = len(node.parts) - (node.kind == "method")
            needs = wanted - (node.kind == "method")
            raise BadCondition(node.at, f"{node.word} takes {needs} in its brackets, not {given}")
        found = [self.type_of(each) for each in node.parts]
        if node.word == "size":
            return _size(node, found[0])
        return self._asked(node, found) if node.kind == "method" else _converted(node, found[0])

    def _asked(self, node: Node, found: list[str]) -> str:
        for part, kind in zip(node.parts, found, strict=True):
            if kind not in {TEXT, ANY}:
                raise BadCondition(part.at, f"{node.word} is asked of texts, not of {_a(kind)}")
        pattern = node.parts[1]
        if node.word == "matches":
            if pattern.kind != "text":
                raise BadCondition(pattern.at, "a regular expression is written out, in quotes")
            self.patterns.append((pattern.word, pattern.at))
        return BOOL

    def _has(self, node: Node) -> str:
        if len(node.parts) != 1 or node.parts[0].kind != "field":
            raise BadCondition(node.at, "has asks for one of HQ's facts: has(fact.weather)")
        self.type_of(node.parts[0])
        return BOOL

    def _part(self, node: Node) -> str:
        of = self.type_of(node.parts[0])
        if node.kind == "field":
            if of != MAP:
                raise BadCondition(node.at, f"{_a(of)} has no .{node.word}; only fact has parts")
            return ANY
        key = self.type_of(node.parts[1])
        if of == MAP and key in {TEXT, ANY}:
            return ANY
        if of in _ELEMENTS and key == INT:
            return _ELEMENTS[of]
        raise BadCondition(node.at, f"{_a(of)} has no part that {_a(key)} names")

    def _unary(self, node: Node) -> str:
        found = self.type_of(node.parts[0])
        wanted = {BOOL, ANY} if node.word == "!" else _NUMERIC
        if found not in wanted:
            cure = "; compare it" if node.word == "!" else ""
            raise BadCondition(node.at, f"{node.word} of {_a(found)} is nothing{cure}")
        return BOOL if node.word == "!" else found

    def _list(self, node: Node) -> str:
        if not node.parts:
            raise BadCondition(node.at, "nothing is in an empty list; put something in")
        found = [self.type_of(each) for each in node.parts]
        for part, kind in zip(node.parts, found, strict=True):
            if kind != found[0] or kind not in _LISTS:
                what = f"a list holds texts, or ints, or numbers, alike; this is {_a(kind)}"
                raise BadCondition(part.at, what)
        return _LISTS[found[0]]

    def _choice(self, node: Node) -> str:
        asked, yes, no = (self.type_of(each) for each in node.parts)
        if asked not in {BOOL, ANY}:
            what = f"? asks for true or false, not {_a(asked)}; compare it"
            raise BadCondition(node.parts[0].at, what)
        if yes != no and ANY not in {yes, no}:
            raise BadCondition(node.at, f"one side of : is {_a(yes)}, the other {_a(no)}")
        return no if yes == ANY else yes


def _literal(node: Node) -> str:
    if node.kind == "int" and int(node.word) > _INT_MAX:
        raise BadCondition(node.at, "no whole number of CEL is so large; write less")
    return {"text": TEXT, "int": INT, "number": NUMBER, "bool": BOOL}[node.kind]


def _ordered(node: Node, left: str, right: str) -> None:
    if {left, right} <= _NUMERIC or {left, right} <= {TEXT, ANY}:
        return
    what = f"{_a(left)} is neither under nor over {_a(right)}{_unquoted(node, left, right)}"
    raise BadCondition(node.at, what)


def _sum(node: Node, left: str, right: str) -> str:
    both = {left, right}
    if both == {INT, NUMBER}:
        what = f"{node.word} takes two of a kind: double(…) makes a number of an int"
        raise BadCondition(node.at, what)
    if ANY in both:
        what = f"{node.word} must know what HQ's value is: double(fact.x), int(…) or string(…)"
        raise BadCondition(node.at, what)
    wanted = {INT} if node.word == "%" else _NUMERIC
    if both <= wanted or (node.word == "+" and both == {TEXT}):
        return left
    raise BadCondition(node.at, f"{node.word} of {_a(left)} and {_a(right)} is nothing")


def _size(node: Node, of: str) -> str:
    if of not in {TEXT, MAP, *_ELEMENTS}:
        raise BadCondition(node.at, f"{_a(of)} has no size; lists and texts have")
    return INT


def _converted(node: Node, of: str) -> str:
    if of not in {TEXT, *_NUMERIC}:
        raise BadCondition(node.at, f"{node.word} makes nothing of {_a(of)}")
    return _CONVERSIONS[node.word]


def _are_alike(left: str, right: str) -> bool:
    return left == right or {left, right} <= _NUMERIC or ANY in {left, right}


def _unquoted(node: Node, left: str, right: str) -> str:
    """Returns the cure where a number stands in quotes, or a text was meant."""
    if TEXT in {left, right} and {left, right} & _NUMERIC:
        is_quoted = any(each.kind == "text" for each in node.parts)
        return "; write the number without quotes" if is_quoted else "; write the text in quotes"
    return ""


def _a(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"
