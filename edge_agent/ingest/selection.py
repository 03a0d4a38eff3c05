"""Expressions of mapping files: JMESPath on documents, XPath on XML, and `$names` before either.

The grammar and the meaning are JMESPath's, by its own parser; the common node types are turned
into closures, which is what keeps a mapping near the cost of decoding (the rest runs in its
interpreter). A `$name` stands for a row, the topic's captures, a `let`, the settings, or the whole
message (`$message`); what follows it is JMESPath, or XPath when the thing is XML.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import jmespath.exceptions
from jmespath import functions
from jmespath.parser import Parser
from jmespath.visitor import Options, TreeInterpreter
from lxml import etree

Document = Any
_Element: Final = type(etree.Element("e"))
Select = Callable[[Document], Any]
# From the names of a row (`$name` → value) to a value; "" is the current row.
Evaluate = Callable[[Any], Any]

ROW: Final = ""
_NAMED: Final = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TEMPLATE_PART: Final = re.compile(r"\{([^{}]+)\}")
_XML_ITEM_TYPES: Final = (str, bytes)


class BadExpression(ValueError):
    """An expression cannot be read."""


class _Functions(functions.Functions):
    """A few functions on text that JMESPath lacks."""

    @functions.signature({"types": ["string"]}, {"types": ["string"]})
    def _func_split(self, separator: str, text: str) -> list[str]:
        return text.split(separator) if separator else [text]

    @functions.signature({"types": ["string"]})
    def _func_lower(self, text: str) -> str:
        return text.lower()

    @functions.signature({"types": ["string"]})
    def _func_upper(self, text: str) -> str:
        return text.upper()

    @functions.signature({"types": ["string"]}, {"types": ["string"]}, {"types": ["string"]})
    def _func_replace(self, text: str, old: str, new: str) -> str:
        return text.replace(old, new)

    @functions.signature({"types": ["object"]})
    def _func_items(self, value: dict[str, Any]) -> list[list[Any]]:
        return [[key, each] for key, each in value.items()]


_INTERPRETER: Final = TreeInterpreter(Options(custom_functions=_Functions()))
_FUNCTION_NAMES: Final = frozenset(_Functions.FUNCTION_TABLE)
_visit: Final[Callable[[Any, Any], Any]] = _INTERPRETER.visit


def is_true(value: Any) -> bool:
    """Whether a value counts as true: JMESPath's rule, so 0 does."""
    return not (
        value is None or value is False or (isinstance(value, (str, list, dict)) and not value)
    )


def jmespath_select(expression: str) -> Select:
    """Returns a function that selects from a document as the JMESPath expression says.

    Raises:
        BadExpression: It is not JMESPath, or calls a function that does not exist.
    """
    try:
        tree = Parser().parse(expression).parsed
    except jmespath.exceptions.JMESPathError as error:
        raise BadExpression(_first_line(error)) from None
    for node in _nodes(tree):
        if node["type"] == "function_expression" and node["value"] not in _FUNCTION_NAMES:
            raise BadExpression(f"no function {node['value']}()")
    return _closure(tree)


def fields_of(expression: str) -> frozenset[str]:
    """Returns the field names that an expression mentions, for the check against dropped ones."""
    named = _NAMED.match(expression)
    rest = _rest(expression[named.end() :]) if named else expression
    try:
        tree = Parser().parse(rest).parsed if rest else {"type": "identity", "children": []}
    except jmespath.exceptions.JMESPathError:
        return frozenset(re.findall(r"[A-Za-z_][\w.-]*", rest))
    return frozenset(str(node["value"]) for node in _nodes(tree) if node["type"] == "field")


def xpath_select(expression: str, *, rows: bool) -> Select:
    """Returns a function that selects from an XML element.

    Args:
        expression: XPath 1.0 on local names, without prefixes.
        rows: Whether all elements are wanted; else the first one's text.

    Raises:
        BadExpression: It is not XPath.
    """
    try:
        compiled = etree.XPath(expression, smart_strings=False)
    except etree.XPathError as error:
        raise BadExpression(f"not XPath: {_first_line(error)}") from None
    if rows:
        return lambda element: _xml_rows(compiled(element)) if _is_element(element) else None
    return lambda element: _xml_value(compiled(element)) if _is_element(element) else None


def expression(text: str, *, names: Mapping[str, bool], xml: bool, rows: bool = False) -> Evaluate:
    """Returns an evaluator of an expression with an optional `$name` in front.

    Args:
        text: The expression.
        names: The names that may stand after `$`, and whether each is XML.
        xml: Whether the current row is XML.
        rows: Whether rows are wanted rather than one value.

    Raises:
        BadExpression: It cannot be read, or the name is not known there.
    """
    named = _NAMED.match(text)
    if named is None:
        plain = None if xml or rows else _plain_name(text)
        if plain is not None:
            return lambda env: row.get(plain) if type(row := env[ROW]) is dict else None
        select = xpath_select(text, rows=rows) if xml else jmespath_select(text)
        return lambda env: select(env[ROW])
    name, rest = named[1], text[named.end() :]
    if name not in names:
        known = ", ".join(f"${each}" for each in sorted(names) if each)
        raise BadExpression(f"${name} is not known here; known are {known}")
    if not rest:
        if names[name]:
            return lambda env: _xml_value([env[name]]) if not rows else [env[name]]
        return lambda env: env[name]
    if names[name]:
        if rest[0] != "/":
            raise BadExpression(f"after ${name} stands a path that begins with /")
        select = xpath_select(f".{rest}", rows=rows)
    else:
        select = jmespath_select(_rest(rest))
    return lambda env: select(env[name])


def template(text: str, compile_part: Callable[[str], Evaluate]) -> tuple[str | Evaluate, ...]:
    """Returns the parts of a template: fixed text, and evaluators for what stands in braces."""
    parts: list[str | Evaluate] = []
    at = 0
    for found in _TEMPLATE_PART.finditer(text):
        if found.start() > at:
            parts.append(text[at : found.start()])
        parts.append(compile_part(found[1].strip()))
        at = found.end()
    if at < len(text):
        parts.append(text[at:])
    if any(isinstance(part, str) and ("{" in part or "}" in part) for part in parts):
        raise BadExpression("a brace without its partner")
    return tuple(parts)


def _plain_name(text: str) -> str | None:
    return text if _NAME.fullmatch(text) else None


def _rest(rest: str) -> str:
    return rest[1:] if rest.startswith(".") else f"@{rest}"


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:160] if str(error).strip() else "not readable"


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    yield tree
    for child in tree.get("children", ()):
        if isinstance(child, dict):
            yield from _nodes(child)


def _is_element(value: Any) -> bool:
    return isinstance(value, _Element)


def _xml_rows(found: Any) -> Any:
    return found if isinstance(found, list) else [found]


def _xml_value(found: Any) -> Any:
    if isinstance(found, list):
        if not found:
            return None
        found = found[0]
    if _is_element(found):
        return "".join(found.itertext()).strip()
    return found.strip() if isinstance(found, str) else found


# --- closures of the common JMESPath nodes; each does what TreeInterpreter.visit_<type> does -----


def _closure(node: Any) -> Select:
    make = _MAKERS.get(node["type"])
    if make is None:
        return lambda value: _visit(node, value)
    return make(node, [_closure(child) for child in node["children"] if isinstance(child, dict)])


def _field(node: dict[str, Any], _: list[Select]) -> Select:
    name = node["value"]
    return lambda value: value.get(name) if type(value) is dict else None


def _names_of(node: Any) -> tuple[str, ...] | None:
    # The names of a plain path, such as a.b.c; None for anything else.
    if node["type"] == "field":
        return (node["value"],)
    if node["type"] != "subexpression":
        return None
    parts = [_names_of(child) for child in node["children"]]
    return None if None in parts else tuple(name for part in parts if part for name in part)


def _along(names: tuple[str, ...]) -> Select:
    def along(value: Any) -> Any:
        for name in names:
            if type(value) is not dict:
                return None
            value = value.get(name)
        return value

    return along


def _chain(node: dict[str, Any], children: list[Select]) -> Select:
    names = _names_of(node)
    if names is not None:
        return _along(names)
    if len(children) == 2:  # noqa: PLR2004 - the common pair, without a loop
        first, second = children
        return lambda value: second(first(value))

    def chained(value: Any) -> Any:
        for child in children:
            value = child(value)
        return value

    return chained


def _index(node: dict[str, Any], _: list[Select]) -> Select:
    place = node["value"]

    def indexed(value: Any) -> Any:
        if not isinstance(value, list):
            return None
        try:
            return value[place]
        except IndexError:
            return None

    return indexed


def _identity(_: dict[str, Any], __: list[Select]) -> Select:
    return lambda value: value


def _literal(node: dict[str, Any], _: list[Select]) -> Select:
    constant = node["value"]
    return lambda _value: constant


def _comparator(node: dict[str, Any], children: list[Select]) -> Select:
    left, right = children
    compare = TreeInterpreter.COMPARATOR_FUNC[node["value"]]
    constant = node["children"][1]
    if constant["type"] == "literal" and isinstance(constant["value"], (str, type(None))):
        # Texts and null are equal or not; only numbers and truth values need the special case.
        text = constant["value"]
        if node["value"] == "eq":
            return lambda value: left(value) == text
        if node["value"] == "ne":
            return lambda value: left(value) != text
    if node["value"] in {"eq", "ne"}:
        return lambda value: compare(left(value), right(value))

    def ordered(value: Any) -> Any:
        one, two = left(value), right(value)
        if _is_number(one) and _is_number(two):
            return compare(one, two)
        return compare(one, two) if isinstance(one, str) and isinstance(two, str) else None

    return ordered


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _or(_: dict[str, Any], children: list[Select]) -> Select:
    left, right = children

    def either(value: Any) -> Any:
        found = left(value)
        return found if is_true(found) else right(value)

    return either


def _and(_: dict[str, Any], children: list[Select]) -> Select:
    left, right = children

    def both(value: Any) -> Any:
        found = left(value)
        return right(value) if is_true(found) else found

    return both


def _projection(_: dict[str, Any], children: list[Select]) -> Select:
    base, each = children

    def projected(value: Any) -> Any:
        found = base(value)
        if not isinstance(found, list):
            return None
        return [one for one in map(each, found) if one is not None]

    return projected


def _filter(_: dict[str, Any], children: list[Select]) -> Select:
    base, each, condition = children

    def filtered(value: Any) -> Any:
        found = base(value)
        if not isinstance(found, list):
            return None
        kept = (each(one) for one in found if is_true(condition(one)))
        return [one for one in kept if one is not None]

    return filtered


def _flatten(_: dict[str, Any], children: list[Select]) -> Select:
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


def _multi_list(_: dict[str, Any], children: list[Select]) -> Select:
    return lambda value: None if value is None else [child(value) for child in children]


_MAKERS: Final[dict[str, Callable[[dict[str, Any], list[Select]], Select]]] = {
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
}
