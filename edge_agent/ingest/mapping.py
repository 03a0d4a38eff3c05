"""Interpreter of device mappings: a vendor's payload in, canonical events or refusals out.

Pure and total: arrival time, state and the store's tables are handed in, and no payload makes it
raise. One bad row spoils neither its neighbours nor what is remembered: a row's state is kept only
when the row succeeded. A message that no rule knows is refused, never dropped.

    text of mapping.toml ──read_mapping──► CompiledMapping ──interpret(topic, payload)──► Mapped
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from types import MappingProxyType
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from edge_agent.ingest import counters
from edge_agent.ingest.compiled import (
    CompiledMapping,
    CompiledRule,
    FanOut,
    Problem,
    compile_mapping,
)
from edge_agent.ingest.conversions import NotConvertible, exact, number_of, text_of
from edge_agent.ingest.counters import Entry
from edge_agent.ingest.instants import Moment, datetime_of, moment_of
from edge_agent.ingest.payloads import Unreadable, document_of, unpacked
from edge_agent.ingest.places import line_of, placed
from edge_agent.ingest.rows import (
    BAD_ROW,
    NO_LOOKUPS,
    Lookups,
    MappingRefusal,
    Row,
    Run,
    detail_of,
    refuse_line,
)
from edge_agent.ingest.schema_of_events import EVENT_MODELS, Shape
from edge_agent.ingest.selection import ROW
from edge_agent.wire.events import Event
from edge_agent.wire.mapping import ROWS_MAX, Format, MappingFile

__all__ = [
    "NO_LOOKUPS",
    "CompiledMapping",
    "Entry",
    "Lookups",
    "Mapped",
    "MappingRefusal",
    "applied",
    "interpret",
    "read_mapping",
]

NO_STATE: Final[Mapping[str, Entry]] = MappingProxyType({})
PROBLEMS_SHOWN: Final = 3
_ID_BYTES: Final = 16
_SOURCE_MAX: Final = 128
_NOT_IN_A_LEVEL: Final = re.compile(
    r"[/+#\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2064\ufeff]+"
)
_EMAIL: Final = re.compile(r"[^\s@]+@[^\s@]+\.[^\s@]+")

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapped:
    """What became of one message.

    Attributes:
        events: Canonical events, in the order of their rows.
        refusals: What was refused: the whole message, or rows of it.
        changes: What is to be remembered from now on, by key; commit it with the events.
        ignored: Reasons of the rules that said so.
        counts: How often a time was replaced, a row was a baseline, late, a duplicate and so on.
    """

    events: tuple[Event, ...] = ()
    refusals: tuple[MappingRefusal, ...] = ()
    changes: Mapping[str, Entry] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)


def read_mapping(text: str) -> CompiledMapping | tuple[str, ...]:
    """Returns the mapping in a TOML text ready to run, or every problem with its line."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"line (\d+)", str(error))
        line = found[1] if found else str(text.count("\n") + 1)
        return (f"line {line}: not TOML: {str(error).split(' (at')[0]}",)
    try:
        spec = MappingFile.model_validate(tables)
    except ValidationError as error:
        return tuple(_form_problem(text, tables, each) for each in error.errors(include_url=False))
    made = compile_mapping(spec)
    if isinstance(made, CompiledMapping):
        return made
    return tuple(_problem(text, tables, each) for each in made)


def interpret(
    mapping: CompiledMapping,
    topic: str,
    payload: bytes,
    *,
    state: Mapping[str, Entry] = NO_STATE,
    received_at_ms: int,
    lookups: Lookups = NO_LOOKUPS,
    tell: Tell | None = None,
) -> Mapped:
    """Returns what a vendor's message means.

    Args:
        mapping: The device's mapping.
        topic: Topic that the message came on.
        payload: Its bytes.
        state: What was remembered before; read by key only, so it may be a view of a database.
        received_at_ms: Arrival on the gateway's clock, epoch milliseconds.
        lookups: The store's settings and tables.
        tell: Called with a line for every rule that was looked at (`--explain`).
    """
    run = Run(state=state, tables=mapping.tables, lookups=lookups, received_at_ms=received_at_ms)
    if len(payload) > mapping.spec.max_bytes:
        limit = mapping.spec.max_bytes
        detail = f"{len(payload)} bytes, at most {limit} are taken"
        return Mapped(refusals=(MappingRefusal(reason="too_large", detail=detail),))
    message = _Message(mapping, topic, payload, run, tell)
    return message.mapped()


def applied(state: Mapping[str, Entry], mapped: Mapped) -> dict[str, Entry]:
    """Returns the state after a message; removing what is over is left to the caller."""
    return {**state, **mapped.changes}


class _Message:
    """One message on its way through the rules."""

    def __init__(
        self, mapping: CompiledMapping, topic: str, payload: bytes, run: Run, tell: Tell | None
    ) -> None:
        self._mapping = mapping
        self._topic = topic
        self._payload = payload
        self._run = run
        self._tell = tell
        self._documents: dict[str, Any] = {}
        self._unreadable: MappingRefusal | None = None
        self._events: list[Event] = []
        self._ignored: list[str] = []
        stores = run.lookups.settings
        self._settings = {**mapping.settings, **stores} if stores else mapping.settings

    def mapped(self) -> Mapped:
        matched = False
        for rule in self._mapping.rules:
            names = self._matching(rule)
            if names is None:
                continue
            matched = True
            self._say(rule, "matched")
            self._run_rule(rule, names)
            if not rule.spec.go_on and self._mapping.spec.mode == "first":
                break
        if not matched:
            self._run.refusals.append(self._unreadable or _NO_RULE)
        return Mapped(
            events=tuple(self._events),
            refusals=tuple(self._run.refusals),
            changes=self._run.changes,
            ignored=tuple(self._ignored),
            counts=self._run.counts,
        )

    def _matching(self, rule: CompiledRule) -> Row | None:
        captures: dict[str, str] = {}
        if rule.topic is not None:
            found = rule.topic.fullmatch(self._topic)
            if found is None:
                self._say(rule, "another topic")
                return None
            captures = found.groupdict()
        try:
            names = self._names(rule, captures)
            for at, check in enumerate(rule.when):
                if not check(names):
                    self._say(rule, f"not when {rule.spec.when[at]}")
                    return None
        except Unreadable as error:
            self._unreadable = self._unreadable or MappingRefusal(
                reason=error.reason, detail=error.detail, rule=rule.spec.name
            )
            self._say(rule, error.detail)
            return None
        except BAD_ROW as error:
            self._say(rule, detail_of(error))
            return None
        return names

    def _names(self, rule: CompiledRule, captures: dict[str, str]) -> Row:
        is_read = rule.spec.event is not None or rule.when or rule.inner
        # What a topic alone says to ignore may be a picture.
        document = self._document(rule.formats) if is_read else None
        names = Row(
            {
                ROW: document,
                "message": document,
                "topic": captures,
                "settings": self._settings,
                "key": None,
            },
            run=self._run,
            rule=rule.spec.name,
            lets=rule.lets,
            place="",
        )
        for path, step in rule.inner:
            names.setdefault("outer", document)
            inner = path(names)
            if inner is None:
                if step.optional:
                    continue
                raise Unreadable("invalid", "nothing to unpack")
            for packing in step.format:
                inner = unpacked(inner, packing)
            names[ROW] = names["message"] = inner
        return names

    def _document(self, formats: tuple[Format, ...]) -> Any:
        for form in formats[:-1]:
            try:
                return self._read(form)
            except Unreadable:
                continue
        return self._read(formats[-1])

    def _read(self, form: Format) -> Any:
        if form not in self._documents:
            delimiter = self._mapping.spec.delimiter
            self._documents[form] = document_of(self._payload, form, delimiter=delimiter)
        return self._documents[form]

    def _run_rule(self, rule: CompiledRule, names: Row) -> None:
        if rule.spec.ignore is not None:
            self._ignored.append(rule.spec.ignore)
            if self._tell is not None:
                self._tell(f"  ignored: {rule.spec.ignore}")
        elif rule.spec.reject is not None:
            self._refuse("rejected", rule.spec.reject, rule, None)
        else:
            self._run_rows(rule, names)

    def _run_rows(self, rule: CompiledRule, root: Row) -> None:
        count = 0
        try:
            for row in self._fanned(rule, root, 0):
                count += 1
                if count > ROWS_MAX:
                    self._refuse("too_large", f"more than {ROWS_MAX} rows", rule, None)
                    return
                self._run_row(rule, row)
        except BAD_ROW as error:
            self._refuse("invalid", detail_of(error), rule, "each")
        if count == 0:
            self._count("no rows", "")

    def _fanned(self, rule: CompiledRule, row: Row, depth: int) -> Iterator[Row]:
        if depth == len(rule.each):
            yield row
            return
        step = rule.each[depth]
        for at, (key, value) in enumerate(self._parts(rule, step, row)):
            inner = Row(
                {**row, ROW: value, step.name: value, "key": key},
                run=self._run, rule=rule.spec.name, lets=rule.lets,
                place=f"{row.place}{'.' if row.place else ''}{step.name} {at + 1}",
            )  # fmt: skip
            try:
                if step.where and not all(check(inner) for check in step.where):
                    continue
            except BAD_ROW as error:
                refuse_line(inner, error, inner.place)
                continue
            yield from self._fanned(rule, inner, depth + 1)

    def _parts(self, rule: CompiledRule, step: FanOut, row: Row) -> list[tuple[Any, Any]]:
        found = step.rows(row)
        if step.changes:
            return self._set_changes(rule, step, row, found)
        if step.numbered is not None:
            return _numbered_rows(step.numbered, found)
        if step.keys:
            return list(found.items()) if isinstance(found, dict) else []
        if found is None:
            return []
        return list(enumerate(found if isinstance(found, list) else [found]))

    def _set_changes(
        self, rule: CompiledRule, step: FanOut, row: Row, found: Any
    ) -> list[tuple[Any, Any]]:
        now = _members(found)
        if step.before is not None:
            before = _members(step.before(row))
            entered = tuple(each for each in now if each not in before)
            left = tuple(each for each in before if each not in now)
        else:
            self._stand(rule, row)
            key = step.state_key(row) if step.state_key is not None else ""
            entered, left = row.remember(
                step.place, key, lambda old, at_ms: counters.set_change(old, now, at_ms)
            )
            self._run.changes.update(row.staged)
        rows = [{"change": "left", "value": each} for each in left]
        rows += [{"change": "entered", "value": each} for each in entered]
        return [(each["value"], each) for each in rows]

    def _run_row(self, rule: CompiledRule, row: Row) -> None:
        try:
            news, event = self._judged(rule, row)
        except ValidationError as error:
            self._refuse("invalid", _detail(error), rule, row.place)
        except _Personal:
            self._refuse("personal", "a value looks like an e-mail address", rule, row.place)
        except BAD_ROW as error:
            self._refuse("invalid", detail_of(error), rule, row.place)
        else:
            self._run.changes.update(row.staged)
            self._count(news, row.place)
            if event is not None:
                self._events.append(event)

    def _judged(self, rule: CompiledRule, row: Row) -> tuple[str, Event | None]:
        self._stand(rule, row)
        if not all(check(row) for check in rule.where):
            return "filtered", None
        if rule.once is not None and not self._first_time(rule, row):
            return "duplicate", None
        if rule.presence is not None and not self._sighted(rule, row):
            return row.findings[-1].news, None
        event = self._event(rule, row)
        if event is None:
            return row.findings[-1].news if row.findings else "quiet", None
        return "events", event

    def _stand(self, rule: CompiledRule, row: Row) -> None:
        device = rule.device(row) if rule.device is not None else self._topic
        row.stand(at=self._moment(rule, row), device=text_of(device) if device is not None else "")

    def _moment(self, rule: CompiledRule, row: Row) -> Moment:
        received = self._run.received_at_ms
        if rule.time is None:
            return Moment(received, "absent")
        spec = rule.time.spec
        zone = rule.time.zone(row) if rule.time.zone is not None else None
        moment = moment_of(
            rule.time.value(row),
            received_at_ms=received,
            unit=spec.unit,
            form=spec.format,
            zone=zone if isinstance(zone, str) else None,
            fold=spec.fold,
            max_age_days=spec.max_age_days,
        )
        if moment.replaced is not None:
            self._run.counts[f"time {moment.replaced}"] += 1
        return moment

    def _first_time(self, rule: CompiledRule, row: Row) -> bool:
        if rule.once is None:
            return True
        key, spec = rule.once
        value = key(row)
        if value is None:
            raise NotConvertible("once: the key has no value")
        name = row.key_of(f"{self._mapping.spec.vendor}.once", [text_of(value)])
        is_first = row.remember_as(
            name, lambda old, at_ms: counters.once(old, at_ms, spec.within_s)
        )
        # Only a duplicate is silent: a first telling says nothing about the row's other values.
        row.findings.pop()
        return bool(is_first)

    def _sighted(self, rule: CompiledRule, row: Row) -> bool:
        sighting = rule.presence
        if sighting is None:
            return True
        key, place = sighting.key(row), sighting.place(row)
        if key is None or place is None:
            raise NotConvertible("presence: no key or no place")
        strength = sighting.strength(row)
        near = float(exact(number_of(strength))) if strength is not None else 0.0
        name = row.key_of(f"{self._mapping.spec.vendor}.presence", [text_of(key)])
        found = row.remember_as(
            name,
            lambda old, at_ms: counters.presence(old, text_of(place), near, at_ms, sighting.spec),
        )
        row["presence"] = found
        return row.findings[-1].news == "new"

    def _event(self, rule: CompiledRule, row: Row) -> Event | None:
        if rule.shape is None or rule.spec.event is None:
            return None
        data = {
            name: value
            for name, part in rule.data.items()
            if (value := _field(part, row, name)) is not None
        }
        news = {finding.news for finding in row.findings}
        if news == {"absent"}:
            raise NotConvertible("data: no value")
        if news and "new" not in news:
            return None
        body = {
            "specversion": "1.0",
            "type": rule.spec.event,
            "source": self._source(rule, row),
            "id": self._id(rule, row),
            "time": datetime_of(row.at.at_ms),
            "data": self._typed(rule, row, rule.shape, data, "data"),
        }
        return EVENT_MODELS[rule.spec.event].model_validate(body)  # type: ignore[return-value] # the table holds the union's own classes

    def _source(self, rule: CompiledRule, row: Row) -> str:
        if rule.source is not None:
            value = rule.source(row)
            if value is None:
                raise NotConvertible("source: no value")
            name = text_of(value)
        else:
            device = rule.device(row) if rule.device is not None else None
            vendor = self._mapping.spec.vendor
            name = vendor if device is None else f"{vendor}-{text_of(device)}"
        return _NOT_IN_A_LEVEL.sub("-", name)[:_SOURCE_MAX]

    def _id(self, rule: CompiledRule, row: Row) -> str:
        parts = [self._mapping.spec.vendor, rule.spec.event or ""]
        body = b""
        if rule.id:
            values = [part(row) for part in rule.id]
            if any(value is None for value in values):
                raise NotConvertible("id: a part has no value")
            parts += [text_of(value) for value in values]
        else:
            parts += [rule.spec.name, row.place, self._topic]
            body = self._payload
            if row.at.replaced is not None:
                # Without a time of its own, an equal message is a new happening.
                parts.append(str(self._run.received_at_ms))
        text = "".join(f"{len(part)}:{part}" for part in parts).encode("utf-8", "replace")
        return blake2b(text + body, digest_size=_ID_BYTES).hexdigest()

    def _typed(
        self, rule: CompiledRule, row: Row, shape: Shape, data: Mapping[str, Any], place: str
    ) -> dict[str, Any]:
        typed: dict[str, Any] = {}
        for name, value in data.items():
            kind = shape.fields.get(name)
            here = f"{place}.{name}"
            if isinstance(kind, Shape):
                typed[name] = (
                    self._typed_rows(rule, row, kind, value, here)
                    if name in shape.rows
                    else self._typed(rule, row, kind, _object(value, here), here)
                )
            elif kind is not None:
                typed[name] = _converted(kind, value, here)
        return typed

    def _typed_rows(
        self, rule: CompiledRule, row: Row, shape: Shape, rows: Any, place: str
    ) -> tuple[BaseModel, ...]:
        made: list[BaseModel] = []
        given = rows if isinstance(rows, list) else [rows]
        for at, each in enumerate(given):
            here = f"{place} {at + 1}"
            try:
                typed = self._typed(rule, row, shape, _object(each, here), here)
                made.append(shape.model.model_validate(typed))
            except ValidationError as error:
                self._refuse("invalid", _detail(error), rule, here)
            except NotConvertible as error:
                self._refuse("invalid", detail_of(error), rule, here)
        if given and not made:
            raise NotConvertible(f"{place}: no line is good")
        return tuple(made)

    def _count(self, what: str, place: str) -> None:
        self._run.counts[what] += 1
        if self._tell is not None:
            self._tell(f"  {place or 'message'}: {what}")

    def _say(self, rule: CompiledRule, words: str) -> None:
        if self._tell is not None:
            self._tell(f'rule {rule.number + 1} "{rule.spec.name}": {words}')

    def _refuse(self, reason: str, detail: str, rule: CompiledRule, place: str | None) -> None:
        refusal = MappingRefusal(
            reason=reason, detail=detail, rule=rule.spec.name, place=place or None
        )
        self._run.refusals.append(refusal)
        if self._tell is not None:
            self._tell(f"  refused: {detail}" + (f" at {place}" if place else ""))


_NO_RULE: Final = MappingRefusal(reason="no_rule", detail="no rule knows this message")


class _Personal(Exception):
    """A value that must not pass."""


def _members(found: Any) -> tuple[str, ...]:
    values = found if isinstance(found, list) else [] if found is None else [found]
    return tuple(dict.fromkeys(text_of(each) for each in values))


def _numbered_rows(pattern: re.Pattern[str], found: Any) -> list[tuple[Any, Any]]:
    if not isinstance(found, dict):
        return []
    groups: dict[tuple[str, ...], dict[str, Any]] = {}
    for name, value in found.items():
        match = pattern.fullmatch(name)
        if match is None:
            continue
        captured = match.groupdict()
        field_name = captured.pop("field", "value")
        row = groups.setdefault(tuple(captured.values()), dict(captured))
        row[field_name] = value
    return [("-".join(key), row) for key, row in groups.items()]


def _field(part: Callable[[Row], Any], row: Row, name: str) -> Any:
    try:
        return part(row)
    except NotConvertible as error:
        raise NotConvertible(f"data.{name}: {error}") from None


def _object(value: Any, place: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise NotConvertible(f"{place}: not an object")
    return value


def _converted(kind: Callable[[Any], Any], value: Any, place: str) -> Any:
    try:
        converted = kind(value)
    except BAD_ROW as error:
        raise NotConvertible(f"{place}: {detail_of(error)}") from None
    if isinstance(converted, str) and "@" in converted and _EMAIL.search(converted):
        raise _Personal
    return converted


def _detail(error: ValidationError) -> str:
    details = error.errors(include_url=False, include_input=False, include_context=False)
    parts = [
        f"{'.'.join(str(step) for step in each['loc'])}: {each['msg']}"
        for each in details[:PROBLEMS_SHOWN]
    ]
    return "; ".join(parts)[:300]


def _form_problem(text: str, tables: dict[str, Any], error: Any) -> str:
    place = placed(tables, error["loc"])
    word = error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        word = "unknown word"
    elif error["type"] == "missing":
        word = "is missing"
    return _described(text, place, word)


def _problem(text: str, tables: dict[str, Any], problem: Problem) -> str:
    return _described(text, placed(tables, problem.place), problem.message)


def _described(text: str, place: tuple[str | int, ...], message: str) -> str:
    name = "".join(f"[{each + 1}]" if isinstance(each, int) else f".{each}" for each in place)
    return f"line {line_of(text, place)}: {name.lstrip('.')}: {message}"
