"""One row becomes a canonical event: its fields, its source, its id; or nothing new is told."""

from __future__ import annotations

import re
from contextlib import suppress
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final

from pydantic import ValidationError

from edge_agent.ingest.compiled import CompiledRule
from edge_agent.ingest.conversions import NotConvertible, text_of
from edge_agent.ingest.instants import datetime_of
from edge_agent.ingest.rows import BAD_ROW, Row, detail_of, framed
from edge_agent.ingest.schema_of_events import EVENT_CHECKS, SHAPES
from edge_agent.ingest.typing_of_events import words_of
from edge_agent.wire.events import Event

_ID_BYTES: Final = 16
_SOURCE_MAX: Final = 128
_SOURCES_KNOWN: Final = 1_024
_NOT_IN_A_LEVEL: Final = re.compile(
    r"[/+#\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2064\ufeff]+"
)


def event_of(rule: CompiledRule, row: Row, vendor: str) -> Event | None:
    """Returns the event of a row, or None when its values hold nothing new.

    Raises:
        NotConvertible: A value is missing or not what it should be.
        Personal: A value looks like something personal.
        ValidationError: The event is not what the wire takes.
    """
    name = rule.spec.event
    if rule.typed is None or name is None:
        return None
    data = _fields(rule, row)
    if row.findings and not _is_news(row):
        _note_unchanged(rule, row, vendor)
        return None
    typed = rule.typed(data, row)
    body = {
        "specversion": "1.0",
        "type": name,
        "source": _source(rule, row, vendor),
        "id": _id(rule, row),
        "time": datetime_of(row.at.at_ms, row.at.beyond_us),
        "data": typed,
    }
    try:
        event: Event = EVENT_CHECKS[name](body)
    except ValidationError as error:
        event = EVENT_CHECKS[name]({**body, "data": _without_bad(error, name, typed, row)})
    return event


def _without_bad(
    error: ValidationError, name: str, data: dict[str, Any], row: Row
) -> dict[str, Any]:
    """Returns the fields without the figures that the wire does not take; those are refused."""
    places = [each["loc"][1:2] for each in error.errors(include_url=False, include_input=False)]
    bad = {str(place[0]) for place in places if place}
    if len(bad) < len(set(places)) or not bad <= SHAPES[name].figures:
        raise error
    for each in sorted(bad):
        row.run.refuse("invalid", words_of(error), row.rule, f"data.{each}")
    return {key: value for key, value in data.items() if key not in bad}


def _note_unchanged(rule: CompiledRule, row: Row, vendor: str) -> None:
    """Notes who spoke: a counter at night sends the same total, and is well."""
    # A device without a name says no less than an event of it would have.
    with suppress(*BAD_ROW):
        row.run.unchanged[_source(rule, row, vendor)] = None


def _is_news(row: Row) -> bool:
    if len(row.findings) == 1 and row.findings[0].news == "new":
        return True
    news = {finding.news for finding in row.findings}
    if news == {"absent"} and not row.broken:
        raise NotConvertible("data: no value")
    return "new" in news


def _fields(rule: CompiledRule, row: Row) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, part in rule.data:
        try:
            value = part(row)
        except BAD_ROW as error:
            if name in SHAPES[rule.spec.event or ""].figures:
                row.run.refuse("invalid", detail_of(error), row.rule, f"data.{name}")
                continue
            if isinstance(error, NotConvertible):
                raise NotConvertible(f"data.{name}: {error}") from None
            raise
        if value is not None:
            found[name] = value
    return found


def _source(rule: CompiledRule, row: Row, vendor: str) -> str:
    if rule.source is None:
        # Without a device of its own the topic stands for it, which is no name.
        device = row.device if rule.device is not None else ""
        return _level(f"{vendor}-{device}") if device else vendor
    value = rule.source(row)
    if value is None:
        raise NotConvertible("source: no value")
    return _level(text_of(value))


@lru_cache(maxsize=_SOURCES_KNOWN)
def _level(name: str) -> str:
    return _NOT_IN_A_LEVEL.sub("-", name)[:_SOURCE_MAX]


def _id(rule: CompiledRule, row: Row) -> str:
    if rule.id:
        parts: list[str] = []
        for part in rule.id:
            value = part(row)
            if value is None:
                raise NotConvertible("id: a part has no value")
            parts.append(text_of(value))
        return blake2b(rule.prefix + framed(parts), digest_size=_ID_BYTES).hexdigest()
    parts = [rule.spec.name, row.place, row.run.topic]
    if row.at.replaced is not None:
        # Without a time of its own, an equal message is a new happening.
        parts.append(str(row.run.received_at_ms))
    text = rule.prefix + framed(parts) + row.run.payload
    return blake2b(text, digest_size=_ID_BYTES).hexdigest()
