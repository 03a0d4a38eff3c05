"""Expressions of mapping files: JMESPath on documents, XPath on XML, and `$names` before either.

A `$name` stands for a row, the topic's captures, a `let`, the settings, or the whole message
(`$message`); what follows it is JMESPath, or XPath when the thing is XML.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from lxml import etree

from edge_agent.ingest.comparisons import Select
from edge_agent.ingest.paths import (
    BadExpression,
    closure_of,
    first_line,
    names_of,
    nodes_of,
    tree_of,
)
from edge_agent.ingest.rows import ROW

_EMPTY: Final = etree.Element("e")
_Element: Final = type(_EMPTY)
# From the names of a row (`$name` → value) to a value; "" is the current row.
Evaluate = Callable[[Any], Any]

_NAMED: Final = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)")
# Texts, quoted names and literals, which are skipped, or a name after a `$`.
_TOKEN: Final = re.compile(
    r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|`(?:\\.|[^`\\])*`|\$([A-Za-z_][A-Za-z0-9_]*)"""
)
_TEMPLATE_PART: Final = re.compile(r"\{([^{}]+)\}")


def fields_of(expression: str) -> frozenset[str]:
    """Returns the field names that an expression mentions, for the check against dropped ones."""
    text = quoted(expression)
    try:
        tree = tree_of(text)
    except BadExpression:
        return frozenset(re.findall(r"[A-Za-z_][\w.-]*", text))
    return frozenset(str(node["value"]) for node in nodes_of(tree) if node["type"] == "field")


def names_in(expression: str) -> tuple[str, ...]:
    """Returns the names that stand after a `$` in an expression, in their order."""
    return tuple(found[1] for found in _TOKEN.finditer(expression) if found[1])


def quoted(expression: str) -> str:
    """Returns an expression with the names after a `$` in quotes: JMESPath knows no other."""
    return _TOKEN.sub(lambda found: f'"${found[1]}"' if found[1] else found[0], expression)


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
        # An unknown function or name shows only when it is evaluated.
        compiled(_EMPTY)
    except etree.XPathError as error:
        raise BadExpression(f"not XPath: {first_line(error)}; write it as A/B[@C='x']/D") from None
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
    if not xml and len(names_in(text)) > (named is not None):
        return _with_names(text, names)
    if named is None:
        return _on(ROW, xpath_select(text, rows=rows)) if xml else _json_on(ROW, text)
    name, rest = named[1], text[named.end() :]
    _assert_known(name, names)
    if not rest:
        if names[name]:
            return lambda row: _xml_value([row[name]]) if not rows else [row[name]]
        return lambda row: row[name]
    if not names[name]:
        return _json_on(name, _rest(rest))
    if rest[0] != "/":
        raise BadExpression(f"after ${name} stands a path that begins with /")
    return _on(name, xpath_select(f".{rest}", rows=rows))


def _assert_known(name: str, names: Mapping[str, bool]) -> None:
    if name not in names:
        known = ", ".join(f"${each}" for each in sorted(names) if each)
        raise BadExpression(f"${name} is not known here; known are {known}")


def _with_names(text: str, names: Mapping[str, bool]) -> Evaluate:
    # The names' values are put where the closures look them up; one thread evaluates a mapping.
    values: dict[str, Any] = {}
    for name in names_in(text):
        _assert_known(name, names)
        if names[name]:
            raise BadExpression(f"${name} is XML: give its parts a name with let")
        values[f"${name}"] = None
    used = tuple((f"${name}", name) for name in dict.fromkeys(names_in(text)))
    select = closure_of(tree_of(quoted(text)), values)

    def with_names(row: Any) -> Any:
        # All are evaluated first: one of them may lead back here.
        found = [(quoted, row[name]) for quoted, name in used]
        values.update(found)
        return select(row[ROW])

    return with_names


def _on(name: str, select: Select) -> Evaluate:
    return lambda row: select(row[name])


def _json_on(name: str, text: str) -> Evaluate:
    # Plain paths are most of what a mapping says; they are worth a function without a call inside.
    tree = tree_of(text)
    path = names_of(tree)
    if path is None:
        return _on(name, closure_of(tree))
    if len(path) == 1:
        (field,) = path
        return lambda row: found.get(field) if type(found := row[name]) is dict else None
    first, rest = path[0], path[1:]

    def along(row: Any) -> Any:
        value = row[name]
        if type(value) is not dict:
            return None
        value = value.get(first)
        for step in rest:
            if type(value) is not dict:
                return None
            value = value.get(step)
        return value

    return along


def null_check(text: str, *, names: Mapping[str, bool], xml: bool) -> Evaluate | None:
    """Returns whether a plain path leads to a null that is said, rather than to nothing.

    None when the expression is no plain path: then nothing tells one from the other.
    """
    named = _NAMED.match(text)
    name = ROW if named is None else named[1]
    rest = text if named is None else text[named.end() :].removeprefix(".")
    if (xml if named is None else names.get(name, False)) or not rest:
        return None
    try:
        path = names_of(tree_of(rest))
    except BadExpression:
        return None
    if path is None:
        return None

    def is_null(row: Any) -> bool:
        value = row[name]
        for step in path:
            if type(value) is not dict or step not in value:
                return False
            value = value[step]
            if value is None or value == "":
                return True
        return False

    return is_null


def xml_check(text: str, *, names: Mapping[str, bool], xml: bool) -> Evaluate | None:
    """Returns whether an XPath holds, by XPath's own rule; None when the expression is no XPath.

    An element that is there holds, though it be empty.
    """
    named = _NAMED.match(text)
    name = ROW if named is None else named[1]
    path = text if named is None else f".{text[named.end() :]}"
    is_xml = xml if named is None else names.get(name, False)
    if not is_xml:
        return None
    try:
        compiled = etree.XPath(f"boolean({path})", smart_strings=False)
    except etree.XPathError:
        # What is wrong with it is told by whoever compiles it as it stands.
        return None
    return lambda row: _is_element(row[name]) and compiled(row[name])


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


def _rest(rest: str) -> str:
    return rest[1:] if rest.startswith(".") else f"@{rest}"


def _is_element(value: Any) -> bool:
    return isinstance(value, _Element)


def _xml_rows(found: Any) -> Any:
    return found if isinstance(found, list) else [found]


def _xml_value(found: Any) -> Any:
    if isinstance(found, list):
        if not found:
            return None
        found = found[0]
    if isinstance(found, str):
        return found.strip()
    if _is_element(found):
        # An element without others inside is most of them.
        text = "".join(found.itertext()) if len(found) else found.text
        return (text or "").strip()
    return found
