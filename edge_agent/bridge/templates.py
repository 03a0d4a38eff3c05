"""Patterns of paths and file names, and the topics that are made of what they capture.

What comes from outside fills single levels of a topic and can neither add wildcards nor leave the
levels that the configuration wrote down.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

HEADER: Final = "header:"
LEVEL_CHARACTERS_MAX: Final = 64
# A header such as X-Shopify-Topic holds two levels: orders/paid.
HEADER_LEVELS_MAX: Final = 4
# Each of them may try every place of a name; names are short, and five suffice for any.
WILDCARDS_MAX: Final = 5
# Levels whose messages others trust: the store's own, HQ's, the broker's.
RESERVED: Final = frozenset({"store", "hq"})
_FIELD: Final = re.compile(r"\{([^{}]*)\}")
_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9-]+")
_NOT_IN_LEVEL: Final = re.compile(r"[/+#\s\x00]")
_PATH: Final = re.compile(r"(/([A-Za-z0-9._~-]+|\{[a-z][a-z0-9_]*\}))+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """What a path or a file name must look like, and the fields that it captures."""

    expression: re.Pattern[str]
    fields: frozenset[str]

    def match(self, text: str) -> dict[str, str] | None:
        """Returns what a text gives for the fields, or None when it does not fit."""
        found = self.expression.fullmatch(text)
        return None if found is None else found.groupdict()


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicTemplate:
    """A topic with fields in braces: `hikvision/{camera}`, `shopify/{header:X-Shopify-Topic}`."""

    text: str

    def filled(self, fields: Mapping[str, str], headers: Mapping[str, str]) -> str | None:
        """Returns the topic, or None when a value is missing or fits into no level.

        Args:
            fields: What the path or the file name gave.
            headers: Header values by lower-case name.
        """
        parts: list[str] = []
        for number, part in enumerate(_FIELD.split(self.text)):
            if number % 2 == 0:
                parts.append(part)
                continue
            value = _value(part, fields, headers)
            if value is None:
                return None
            parts.append(value)
        return "".join(parts)


def is_level(text: str) -> bool:
    """Tells whether a text from outside may be one level of a topic.

    Example:
        >>> is_level("till-3"), is_level("a/b"), is_level("#"), is_level("..")
        (True, False, False, False)
    """
    return (
        0 < len(text) <= LEVEL_CHARACTERS_MAX
        and text.isprintable()
        and _NOT_IN_LEVEL.search(text) is None
        and text.strip(".") != ""
    )


def path_pattern(text: str) -> Pattern:
    """Returns the pattern of an HTTP path, such as `/hikvision/{camera}`.

    Raises:
        ValueError: It is none; the message says why.
    """
    if _PATH.fullmatch(text) is None:
        msg = "write a path such as /square or /hikvision/{camera}, without a / at its end"
        raise ValueError(msg)
    return _compiled(text, wildcards=False)


def name_pattern(text: str) -> Pattern:
    """Returns the pattern of a file's name: `*` and `?`, fields in braces, `{till}-*.xml`.

    Raises:
        ValueError: It is none; the message says why.
    """
    if "/" in text or not text:
        msg = "a pattern of one file's name, such as *.xml or {till}-*.xml"
        raise ValueError(msg)
    return _compiled(text, wildcards=True)


def topic_template(text: str, known: frozenset[str], *, has_headers: bool) -> TopicTemplate:
    """Returns the template of a topic.

    Args:
        text: As it is written.
        known: The fields that there are.
        has_headers: Whether `{header:Name}` may be used.

    Raises:
        ValueError: It is none; the message says why.
    """
    for field in _FIELD.findall(text):
        _check_field(field, known, has_headers=has_headers)
    literal = _FIELD.sub("x", text)
    if _NOT_IN_LEVEL.search(literal.replace("/", "")) or not literal.strip("/{}"):
        msg = "a topic has no spaces, no + and no #"
        raise ValueError(msg)
    first = text.lstrip("/").partition("/")[0]
    if first in RESERVED or first.startswith("$") or "{" in first:
        msg = "the first level is the vendor's own word: not store, hq, $… or a field"
        raise ValueError(msg)
    return TopicTemplate(text=text)


def _check_field(field: str, known: frozenset[str], *, has_headers: bool) -> None:
    if has_headers and field.startswith(HEADER):
        if _HEADER_NAME.fullmatch(field.removeprefix(HEADER)) is None:
            msg = f"{{{field}}} names no header"
            raise ValueError(msg)
    elif field not in known:
        there = ", ".join(sorted(known)) or "none"
        msg = f"there is no field {{{field}}}; there are: {there}"
        raise ValueError(msg)


def _value(field: str, fields: Mapping[str, str], headers: Mapping[str, str]) -> str | None:
    if field.startswith(HEADER):
        value = headers.get(field.removeprefix(HEADER).lower(), "")
        levels = value.split("/")
        good = len(levels) <= HEADER_LEVELS_MAX and all(map(is_level, levels))
        return value if good else None
    value = fields.get(field, "")
    return value if is_level(value) else None


def _compiled(text: str, *, wildcards: bool) -> Pattern:
    parts: list[str] = []
    fields: set[str] = set()
    n_wildcards = 0
    for number, part in enumerate(_FIELD.split(text)):
        if number % 2 == 0:
            parts.append(_literal(part) if wildcards else re.escape(part))
            n_wildcards += part.count("*")
            continue
        if _NAME.fullmatch(part) is None or part in fields:
            msg = f"{{{part}}} is no name of a field, or is there twice"
            raise ValueError(msg)
        fields.add(part)
        parts.append(f"(?P<{part}>[^/]+?)")
    if n_wildcards + len(fields) > WILDCARDS_MAX:
        msg = f"at most {WILDCARDS_MAX} wildcards and fields"
        raise ValueError(msg)
    return Pattern(expression=re.compile("".join(parts), re.DOTALL), fields=frozenset(fields))


def _literal(text: str) -> str:
    return re.escape(text).replace(r"\*", ".*").replace(r"\?", ".")
