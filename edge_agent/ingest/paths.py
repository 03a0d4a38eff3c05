"""JMESPath, compiled: the library's parser and meaning, the common nodes as closures.

Closures are what keeps a mapping near the cost of decoding; nodes without one run in the library's
interpreter, function calls in its table of functions.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

import jmespath.exceptions
from jmespath.parser import Parser
from jmespath.visitor import Options, TreeInterpreter

from edge_agent.ingest.comparisons import Select, against_constant, comparison
from edge_agent.ingest.path_functions import Functions, call_of

Tree = dict[str, Any]


class BadExpression(ValueError):
    """An expression cannot be read."""


# What is written out of the habit of other languages, and what to write instead.
_SLIPS: Final = (
    (re.compile(r"[0-9]"), "; a number stands in backticks, as in n > `0`"),
    (re.compile(r"=$"), "; == compares"),
    (re.compile(r"(and|or|not|AND|OR|NOT)$"), "; && is and, || is or, ! is not"),
    (re.compile("['\"`]"), "; a quote is missing"),
)
_TEXT_AS_FIELD: Final = re.compile(r"[=!]=\s*\"([A-Za-z_][A-Za-z0-9_]*)\"")
# What looks at something of their left side; of a truth value there is nothing to look at.
_OF_LEFT: Final = frozenset(
    {"subexpression", "index_expression", "projection", "filter_projection"}
)
_INTERPRETER: Final = TreeInterpreter(Options(custom_functions=Functions()))
_FUNCTION_NAMES: Final = frozenset(Functions.FUNCTION_TABLE)
_visit: Final[Callable[[Any, Any], Any]] = _INTERPRETER.visit


def is_true(value: Any) -> bool:
    """Whether a value counts as true: JMESPath's rule, so 0 does."""
    return not (
        value is None or value is False or (isinstance(value, (str, list, dict)) and not value)
    )


def tree_of(expression: str) -> Tree:
    """Returns the syntax tree of an expression.

    Raises:
        BadExpression: It is not JMESPath, or calls a function that does not exist.
    """
    if (quoted := _TEXT_AS_FIELD.search(expression)) is not None:
        name = quoted[1]
        raise BadExpression(f"\"{name}\" names a field: a text stands in single quotes, '{name}'")
    try:
        with warnings.catch_warnings():
            # Backticks hold JSON; other text in them the library takes for a while yet.
            warnings.simplefilter("error", PendingDeprecationWarning)
            tree: Any = Parser().parse(expression).parsed
    except PendingDeprecationWarning:
        raise BadExpression(
            "what stands in backticks is JSON; a text stands in single quotes, 'text'"
        ) from None
    except jmespath.exceptions.JMESPathError as error:
        raise BadExpression(_syntax(error)) from None
    for node in nodes_of(tree):
        if node["type"] == "function_expression":
            _assert_callable(node)
        elif node["type"] == "comparator":
            _assert_no_bare_truth(node)
        elif node["type"] in _OF_LEFT and node["children"][0]["type"] == "not_expression":
            raise BadExpression("! is of the first name alone: write !(a.b), or a not in front")
    found: Tree = tree
    return found


def _syntax(error: jmespath.exceptions.JMESPathError) -> str:
    if isinstance(error, jmespath.exceptions.IncompleteExpressionError):
        return "the expression ends too early: a bracket or an operand is missing"
    token = getattr(error, "token_value", None)
    word = str(getattr(error, "lexer_value", "") if token is None else token)
    at = getattr(error, "lex_position", None)
    where = "" if at is None else f" at column {at + 1}"
    hint = next((hint for slip, hint in _SLIPS if slip.match(word)), "")
    return f"not JMESPath: unexpected {word}{where}{hint}"


def _assert_callable(node: Tree) -> None:
    name, n_given = node["value"], len(node["children"])
    if name not in _FUNCTION_NAMES:
        raise BadExpression(
            f"no function {name}(); there are {', '.join(sorted(_FUNCTION_NAMES))}"
        )
    signature = Functions.FUNCTION_TABLE[name]["signature"]
    is_open = bool(signature) and bool(signature[-1].get("variadic"))
    if n_given != len(signature) and not (is_open and n_given > len(signature)):
        raise BadExpression(f"{name}() takes {len(signature)} values, not {n_given}")


def _assert_no_bare_truth(node: Tree) -> None:
    for child in node["children"]:
        if field_of(child) in {"true", "false"}:
            word = field_of(child)
            raise BadExpression(
                f"{word} names a field here: the value stands in backticks, `{word}`"
            )


def nodes_of(tree: Tree) -> Iterator[Tree]:
    """Returns a tree's nodes."""
    yield tree
    for child in tree.get("children", ()):
        if isinstance(child, dict):
            yield from nodes_of(child)


def names_of(tree: Tree) -> tuple[str, ...] | None:
    """Returns the names of a plain path, such as a.b.c; None for anything else."""
    if tree["type"] == "field":
        return (tree["value"],)
    if tree["type"] != "subexpression":
        return None
    parts = [names_of(child) for child in tree["children"]]
    return None if None in parts else tuple(name for part in parts if part for name in part)


def jmespath_select(expression: str) -> Select:
    """Returns a function that selects from a document as the JMESPath expression says.

    Raises:
        BadExpression: It is not JMESPath, or calls a function that does not exist.
    """
    return closure_of(tree_of(expression))


def closure_of(tree: Tree, values: Mapping[str, Any] = MappingProxyType({})) -> Select:
    """Returns a tree as a function; each node does what TreeInterpreter.visit_<type> does.

    Args:
        tree: The syntax tree.
        values: What fields of these names stand for, wherever they are; read when it is called.

    Raises:
        BadExpression: Such a field stands where only the library's interpreter goes.
    """
    name = field_of(tree)
    if name is not None and name in values:
        return lambda _value: values[name]
    make = _MAKERS.get(tree["type"])
    if make is None or _has_reference(tree):
        for node in nodes_of(tree):
            if field_of(node) in values:
                raise BadExpression("a $name cannot stand inside *, a slice or &: use a let")
        return lambda value: _visit(tree, value)
    if tree["type"] == "multi_select_dict":
        return _multi_dict(tree, values)
    children = [closure_of(child, values) for child in tree["children"] if isinstance(child, dict)]
    return make(tree, children)


def field_of(tree: Tree) -> str | None:
    """Returns the name of a field; None for any other node."""
    return tree["value"] if tree["type"] == "field" else None


def _has_reference(tree: Tree) -> bool:
    # A function that takes an expression, such as sort_by(@, &a).
    return tree["type"] == "function_expression" and any(
        child["type"] == "expref" for child in tree["children"]
    )


def first_line(error: Exception) -> str:
    """Returns an error's first line, shortened."""
    return str(error).strip().splitlines()[0][:160] if str(error).strip() else "not readable"


def _field(node: Tree, _: list[Select]) -> Select:
    name = node["value"]
    return lambda value: value.get(name) if type(value) is dict else None


def _along(names: tuple[str, ...]) -> Select:
    def along(value: Any) -> Any:
        for name in names:
            if type(value) is not dict:
                return None
            value = value.get(name)
        return value

    return along


def _chain(node: Tree, children: list[Select]) -> Select:
    names = names_of(node)
    if names is not None and not names[0].startswith("$"):
        return _along(names)
    if len(children) == 2:  # noqa: PLR2004 - the common pair, without a loop
        first, second = children
        return lambda value: second(first(value))

    def chained(value: Any) -> Any:
        for child in children:
            value = child(value)
        return value

    return chained


def _index(node: Tree, _: list[Select]) -> Select:
    place = node["value"]

    def indexed(value: Any) -> Any:
        if not isinstance(value, list):
            return None
        try:
            return value[place]
        except IndexError:
            return None

    return indexed


def _identity(_: Tree, __: list[Select]) -> Select:
    return lambda value: value


def _literal(node: Tree, _: list[Select]) -> Select:
    constant = node["value"]
    return lambda _value: constant


def _comparator(node: Tree, children: list[Select]) -> Select:
    one, two = node["children"]
    if two["type"] == "literal":
        found = against_constant(node["value"], children[0], two["value"], field_of(one))
        if found is not None:
            return found
    return comparison(node["value"], *children)


def _or(_: Tree, children: list[Select]) -> Select:
    left, right = children

    def either(value: Any) -> Any:
        found = left(value)
        return found if is_true(found) else right(value)

    return either


def _and(_: Tree, children: list[Select]) -> Select:
    left, right = children

    def both(value: Any) -> Any:
        found = left(value)
        return right(value) if is_true(found) else found

    return both


def _projection(_: Tree, children: list[Select]) -> Select:
    base, each = children

    def projected(value: Any) -> Any:
        found = base(value)
        if not isinstance(found, list):
            return None
        return [one for one in map(each, found) if one is not None]

    return projected


def _filter(_: Tree, children: list[Select]) -> Select:
    base, each, condition = children

    def filtered(value: Any) -> Any:
        found = base(value)
        if not isinstance(found, list):
            return None
        kept = (each(one) for one in found if is_true(condition(one)))
        return [one for one in kept if one is not None]

    return filtered


def _flatten(_: Tree, children: list[Select]) -> Select:
    (base,) = children

    def flat(value: Any) -> Any:
        found = base(value)
        if not isinstance(found, list):
            return None
        rows: list[Any] = []
        for one in found:
            rows.extend(one) if isinstance(one, list) else rows.append(one)
        return rows

    return flat


def _multi_list(_: Tree, children: list[Select]) -> Select:
    return lambda value: None if value is None else [child(value) for child in children]


def _not(_: Tree, children: list[Select]) -> Select:
    (inner,) = children
    return lambda value: not is_true(inner(value))


def _multi_dict(node: Tree, values: Mapping[str, Any]) -> Select:
    parts = [(pair["value"], closure_of(pair["children"][0], values)) for pair in node["children"]]
    return lambda value: None if value is None else {name: part(value) for name, part in parts}


def _function(node: Tree, children: list[Select]) -> Select:
    return call_of(node["value"], children)


_MAKERS: Final[dict[str, Callable[[Tree, list[Select]], Select]]] = {
    "field": _field,
    "subexpression": _chain,
    "index_expression": _chain,
    "pipe": _chain,
    "index": _index,
    "identity": _identity,
    "current": _identity,
    "literal": _literal,
    "comparator": _comparator,
    "or_expression": _or,
    "and_expression": _and,
    "projection": _projection,
    "filter_projection": _filter,
    "flatten": _flatten,
    "multi_select_list": _multi_list,
    # Its children are pairs of a name and an expression: see `closure_of`.
    "multi_select_dict": _identity,
    "not_expression": _not,
    "function_expression": _function,
}
