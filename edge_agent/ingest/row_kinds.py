"""What the expressions of a rule take its rows for: objects, arrays, or whatever they are.

A maker's array of objects may hold a text, a number or null. On that every field is null, so a
rule that looks at nothing but fields would pass it over in silence. What such a rule needs is read
off its expressions once; a row of another kind is then refused with its place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from edge_agent.ingest.paths import BadExpression, Tree, nodes_of, tree_of
from edge_agent.ingest.selection import quoted

FIELDS: Final = "fields"
PLACES: Final = "places"
WHOLE: Final = "whole"

_KINDS: Final[dict[str, type]] = {FIELDS: dict, PLACES: list}
# Of these the left part looks at the row, the right one at what the left one gives.
_ONWARD: Final = frozenset({"subexpression", "pipe"})
_OF_PLACES: Final = frozenset({"index_expression", "projection", "filter_projection", "flatten"})

_NONE: Final = frozenset[str]()


def kinds_of(uses: frozenset[str] | set[str]) -> tuple[type, ...]:
    """Returns the types that a row must be of one of; none: any.

    Example:
        >>> kinds_of({"fields"}), kinds_of({"fields", "whole"}), kinds_of(set())
        ((<class 'dict'>,), (), ())
    """
    return () if WHOLE in uses else tuple(_KINDS[each] for each in sorted(uses))


def uses_of(text: str, name: str, *, is_current: bool = True) -> frozenset[str]:
    """Returns how an expression looks at a row.

    Args:
        text: The expression.
        name: What the row is called after a `$`.
        is_current: Whether a path without a `$` begins at this row too.

    Example:
        >>> sorted(uses_of("a.b || $line[0]", "line")), sorted(uses_of("split('/', @)", "line"))
        (['fields', 'places'], ['whole'])
    """
    try:
        tree = tree_of(quoted(text))
    except BadExpression:
        # What is wrong with it is told by whoever compiles it.
        return _NONE
    return _Looks(f"${name}", is_current=is_current).at(tree)


@dataclass(frozen=True, slots=True)
class _Looks:
    """How a syntax tree looks at a row: by this name, and where it is current without one."""

    name: str
    is_current: bool

    def at(self, tree: Tree) -> frozenset[str]:
        kind = tree["type"]
        children = [each for each in tree["children"] if isinstance(each, dict)]
        if self._is_row(tree):
            return frozenset({WHOLE})
        if kind == "field":
            is_own = self.is_current and not str(tree["value"]).startswith("$")
            return frozenset({FIELDS}) if is_own else _NONE
        if kind in _ONWARD or kind in _OF_PLACES or kind == "value_projection":
            return self._along(kind, children[0], children[1:])
        if kind == "expref":
            return self._mentions(children)
        return _NONE.union(*(self.at(each) for each in children))

    def _along(self, kind: str, left: Tree, rest: list[Tree]) -> frozenset[str]:
        later = self._mentions(rest)
        if not self._is_row(left):
            return self.at(left) | later
        if kind in _ONWARD:
            # `@.a` and `$row.a` look at the row as `a` does.
            here = _Looks(self.name, is_current=True)
            return _NONE.union(*(here.at(each) for each in rest))
        return frozenset({PLACES if kind in _OF_PLACES else FIELDS}) | later

    def _is_row(self, tree: Tree) -> bool:
        if tree["type"] in {"current", "identity"}:
            return self.is_current
        return bool(tree["type"] == "field" and tree["value"] == self.name)

    def _mentions(self, trees: list[Tree]) -> frozenset[str]:
        found = (node for tree in trees for node in nodes_of(tree))
        is_there = any(node["type"] == "field" and node["value"] == self.name for node in found)
        return frozenset({WHOLE}) if is_there else _NONE
