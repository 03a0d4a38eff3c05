"""A mapping file becomes functions, once; every problem of the file is found here, with its place.

`compile_mapping` returns a `Mapping` whose rules hold closures over rows, or the problems. Nothing
is evaluated against a payload here; that is `ingest.mapping`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from edge_agent.ingest import conversions
from edge_agent.ingest.decoders import DECODERS
from edge_agent.ingest.rows import Evaluated
from edge_agent.ingest.schema_of_events import SHAPES, Shape
from edge_agent.ingest.selection import (
    ROW,
    BadExpression,
    expression,
    fields_of,
    jmespath_select,
    template,
)
from edge_agent.ingest.steps import (
    Check,
    Step,
    as_kind,
    bytes_step,
    change_of,
    check_of,
    clamped,
    delta_of,
    first_of,
    in_unit_of,
    joined_text,
    less,
    looked_up_in,
    mapped_by,
    matched_by,
    minor_units_of,
    nothing,
    object_of,
    once_a_message,
    pipeline,
    product_of,
    rounded_to,
    row_objects,
    scaled,
    shifted,
    since_of,
    summed,
    unpacked_as,
)
from edge_agent.wire.mapping import (
    Each,
    Format,
    MappingFile,
    Node,
    Once,
    Presence,
    Rows,
    Rule,
    Time,
    Unpack,
    Value,
)

# Field names that only ever hold something personal: no mapping may read them.
PERSONAL: Final = frozenset(
    {
        "firstname", "lastname", "fullname", "givenname", "familyname", "surname", "middlename",
        "officialname", "contactname", "customername", "operatorname", "staffname", "displayname",
        "cashiername", "email", "emailaddress", "contactemail", "phone", "phonenumber", "mobile",
        "telephone", "fax", "address1", "address2", "addressline", "streetaddress", "street",
        "billingaddress", "shippingaddress", "postalcode", "zipcode", "dateofbirth", "birthdate",
        "birthyear", "birthdaymonth", "birthday", "gender", "sex", "personheight", "maskedpan",
        "cardnumber", "cardholder", "cardholdername", "last4", "cvv", "expmonth", "expyear",
        "authorizationcode", "licenseplate", "recognizedlicenseplate", "platenumber",
        "facename", "faceid", "faceimage", "sublabel", "sublabels", "socialsecuritynumber", "ssn",
        "blename", "devicename", "thumbnail", "snapshotimage",
    }
)  # fmt: skip
_PLAIN: Final = re.compile(r"[^a-z0-9]")
_CAPTURE: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)(#?)\}|(\+)|(#)")
_NUMBERED: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_CURRENCY: Final = re.compile(r"[A-Z]{3}")
# A repeated group that itself holds a repetition may take exponential time.
# A search of the whole message from each of its rows would take the square of its length.
_OF_MESSAGE: Final = re.compile(r"\$(message|outer)\b.*[\[(*/]")
_NESTED_REPEAT: Final = re.compile(r"\([^()]*[+*}][^()]*\)[+*{]")
_NUMERIC_STEPS: Final = (
    "minor_units", "from_", "scale", "offset", "minus", "round", "min", "max", "bytes"
)  # fmt: skip

Place = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a mapping file, and where: keys and indexes from its top."""

    place: Place
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FanOut:
    """One step from a row to its parts."""

    name: str
    rows: Evaluated
    keys: bool
    numbered: re.Pattern[str] | None
    before: Evaluated | None
    state_key: Evaluated | None
    changes: bool
    where: tuple[Check, ...]
    place: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """The parts of a `presence` rule."""

    key: Evaluated
    place: Evaluated
    strength: Evaluated
    spec: Presence


@dataclass(frozen=True, slots=True, kw_only=True)
class Instant:
    """Where a rule's event time comes from."""

    value: Evaluated
    zone: Evaluated | None
    spec: Time


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledRule:
    """One rule, ready to run."""

    spec: Rule
    number: int
    topic: re.Pattern[str] | None
    formats: tuple[Format, ...]
    inner: tuple[tuple[Evaluated, Unpack], ...]
    when: tuple[Check, ...]
    each: tuple[FanOut, ...]
    lets: Mapping[str, Evaluated]
    where: tuple[Check, ...]
    device: Evaluated | None
    source: Evaluated | None
    once: tuple[Evaluated, Once] | None
    presence: Sighting | None
    id: tuple[Evaluated, ...]
    time: Instant | None
    data: Mapping[str, Evaluated]
    shape: Shape | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledMapping:
    """A whole mapping, ready to run."""

    spec: MappingFile
    rules: tuple[CompiledRule, ...]
    settings: Mapping[str, Any]
    tables: Mapping[str, Mapping[str, Any]]


def compile_mapping(spec: MappingFile) -> CompiledMapping | tuple[Problem, ...]:
    """Returns the mapping ready to run, or everything that is wrong with it."""
    compiler = _Compiler(spec)
    rules = tuple(compiler.rule(number, rule) for number, rule in enumerate(spec.rules))
    if compiler.problems:
        return tuple(compiler.problems)
    return CompiledMapping(
        spec=spec,
        rules=rules,
        settings=dict(spec.settings),
        tables=MappingProxyType({name: dict(table) for name, table in spec.tables.items()}),
    )


def topic_pattern(topic: str) -> re.Pattern[str]:
    """Returns the pattern of a topic with captures: `a/{b}/+/{rest#}`.

    Raises:
        BadExpression: A capture is named twice, or a brace has no partner.
    """
    parts: list[str] = []
    at = 0
    for found in _CAPTURE.finditer(topic):
        parts.append(re.escape(topic[at : found.start()]))
        name, rest, one, _ = found.groups()
        if name:
            parts.append(f"(?P<{name}>{'.+' if rest else '[^/]+'})")
        else:
            parts.append("[^/]+" if one else ".*")
        at = found.end()
    parts.append(re.escape(topic[at:]))
    if re.search(r"[{}]", _CAPTURE.sub("", topic)):
        raise BadExpression("a capture is {name}, or {name#} for several levels")
    try:
        return re.compile("".join(parts), re.DOTALL)
    except re.error:
        raise BadExpression("a capture is named twice") from None


@dataclass
class _Scope:
    """Which names an expression may use, and whether the current row is XML."""

    names: dict[str, bool]
    xml: bool
    place: Place
    label: str = ""
    lets: frozenset[str] = field(default_factory=frozenset)


class _Compiler:
    def __init__(self, spec: MappingFile) -> None:
        self.problems: list[Problem] = []
        self._spec = spec
        self._dropped = PERSONAL | {_plain(each) for each in spec.drop}

    # --- rules ------------------------------------------------------------------------------

    def rule(self, number: int, rule: Rule) -> CompiledRule:
        place: Place = ("rules", number)
        topic = self._topic(rule, place)
        formats = rule.format or self._spec.format
        xml = formats == ("xml",)
        if "xml" in formats and not xml:
            self._problem((*place, "format"), "xml does not mix with other formats")
        captures = dict.fromkeys(topic.groupindex, False) if topic is not None else {}
        names = {ROW: xml, "message": xml, "topic": False, "settings": False, "key": False}
        self._topic_names = captures
        scope = _Scope(names=names, xml=xml, place=place)
        inner = self._inner(rule.unpack, scope)
        when = self._conditions(rule.when, scope, "when")
        each = tuple(self._each(at, step, scope) for at, step in enumerate(rule.each))
        if rule.presence is not None:
            scope.names["presence"] = False
        scope.names.update(dict.fromkeys(rule.let, False))
        lets = {name: self.node(node, scope, "let", name) for name, node in rule.let.items()}
        shape = SHAPES.get(rule.event) if rule.event is not None else None
        if shape is not None:
            self._check_shape(rule.data, shape, place)
        elif rule.data:
            self._problem((*place, "data"), "only an event has data")
        once = rule.once
        return CompiledRule(
            spec=rule,
            number=number,
            topic=topic,
            formats=formats,
            inner=inner,
            when=when,
            each=each,
            lets=lets,
            where=self._conditions(rule.where, scope, "where"),
            device=self._text(rule.device, scope, "device"),
            source=self._text(rule.source, scope, "source"),
            once=None if once is None else (self._key(once.key, scope, "once", "key"), once),
            presence=self._presence(rule.presence, scope),
            id=tuple(self._evaluate(part, scope, "id", at) for at, part in enumerate(rule.id)),
            time=self._time(rule.time, scope),
            data={name: self.node(node, scope, "data", name) for name, node in rule.data.items()},
            shape=shape,
        )

    def _topic(self, rule: Rule, place: Place) -> re.Pattern[str] | None:
        if rule.topic is None:
            return None
        try:
            return topic_pattern(rule.topic)
        except BadExpression as error:
            self._problem((*place, "topic"), str(error))
            return None

    def _inner(
        self, steps: tuple[Unpack, ...], scope: _Scope
    ) -> tuple[tuple[Evaluated, Unpack], ...]:
        found: list[tuple[Evaluated, Unpack]] = []
        for at, step in enumerate(steps):
            found.append((self._evaluate(step.path, scope, "unpack", at, "path"), step))
            if step.optional and (scope.xml or step.format[-1] == "xml"):
                self._problem(
                    (*scope.place, "unpack"), "what may be XML or not cannot be optional"
                )
            scope.names.setdefault("outer", scope.xml)
            scope.xml = step.format[-1] == "xml"
            scope.names[ROW] = scope.names["message"] = scope.xml
        return tuple(found)

    def _each(self, at: int, step: Each, scope: _Scope) -> FanOut:
        at_place = ("each", at)
        rows = self._evaluate(step.path, scope, *at_place, "path", rows=True)
        before = None
        if step.before is not None:
            before = self._evaluate(step.before, scope, *at_place, "before", rows=True)
        key = None if step.key is None else self._key(step.key, scope, *at_place, "key")
        numbered = None
        if step.fields is not None:
            numbered = self._numbered(step.fields, (*scope.place, *at_place, "fields"))
        is_plain = step.keys or step.changes or numbered is not None
        scope.xml = scope.xml and not is_plain
        scope.names[step.name] = scope.names[ROW] = scope.xml
        return FanOut(
            name=step.name,
            rows=rows,
            keys=step.keys,
            numbered=numbered,
            before=before,
            state_key=key,
            changes=step.changes,
            where=self._conditions(step.where, scope, *at_place, "where"),
            place=f"{self._spec.vendor}.each{at}",
        )

    def _numbered(self, text: str, place: Place) -> re.Pattern[str] | None:
        names = _NUMBERED.findall(text)
        if not names or len(set(names)) != len(names):
            self._problem(place, "give the numbers a name, as in line_{n}_{field}")
            return None
        parts = _NUMBERED.split(text)
        body = "".join(
            re.escape(part) if at % 2 == 0 else f"(?P<{part}>{'.+' if part == 'field' else '.+?'})"
            for at, part in enumerate(parts)
        )
        return re.compile(body)

    def _presence(self, spec: Presence | None, scope: _Scope) -> Sighting | None:
        if spec is None:
            return None
        strength: Evaluated = lambda _row: 0  # noqa: E731 - the absence of a measure
        if spec.strength is not None:
            strength = self.node(spec.strength, scope, "presence", "strength")
        return Sighting(
            key=self._key(spec.key, scope, "presence", "key"),
            place=self.node(spec.place, scope, "presence", "place"),
            strength=strength,
            spec=spec,
        )

    def _time(self, spec: Time | None, scope: _Scope) -> Instant | None:
        if spec is None:
            return None
        zone: Evaluated | None = None
        if spec.zone is not None and spec.zone.startswith("$"):
            zone = self._evaluate(spec.zone, scope, "time", "zone")
        elif spec.zone is not None:
            zone = self._known_zone(spec.zone, (*scope.place, "time", "zone"))
        return Instant(value=self._value(spec, scope, ("time",)), zone=zone, spec=spec)

    def _known_zone(self, name: str, place: Place) -> Evaluated:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            self._problem(place, "not a time zone's name, such as Europe/Helsinki")
        return lambda _row: name

    def _check_shape(self, data: Mapping[str, Node], shape: Shape, place: Place) -> None:
        for name in data:
            if name not in shape.fields:
                known = ", ".join(shape.fields)
                self._problem((*place, "data", name), f"no such field; there are {known}")
        for name in shape.required:
            if name not in data:
                self._problem((*place, "data"), f"{name} is missing")

    # --- values -----------------------------------------------------------------------------

    def node(self, node: Node, scope: _Scope, *at: str | int) -> Evaluated:
        if isinstance(node, str):
            return self._evaluate(node, scope, *at)
        if isinstance(node, Value):
            return self._value(node, scope, at)
        parts = {name: self.node(each, scope, *at, name) for name, each in node.items()}
        constant = {
            name
            for name, each in node.items()
            if isinstance(each, Value) and each.const is not None
        }
        return object_of(parts, frozenset(parts) - constant)

    def _value(self, spec: Value, scope: _Scope, at: Place) -> Evaluated:
        source = self._source(spec, scope, at)
        steps = self._steps(spec, scope, at)
        when = self._conditions(spec.when, scope, *at, "when")
        finish = self._state(spec, scope, at)
        run = pipeline(source, steps, when, spec)
        return run if finish is None else finish(run)

    def _source(  # noqa: PLR0911 - one line for each source
        self, spec: Value, scope: _Scope, at: Place
    ) -> Evaluated:
        if spec.path is not None:
            return self._evaluate(spec.path, scope, *at, "path")
        if spec.first is not None:
            return first_of(self._nodes(spec.first, scope, *at, "first"))
        if spec.text is not None:
            text = self._text(spec.text, scope, *at, "text")
            return text if text is not None else nothing
        if spec.setting is not None:
            name = spec.setting
            return lambda row: row["settings"].get(name)
        if spec.sum is not None:
            return summed(self._nodes(spec.sum, scope, *at, "sum"), spec.decimal)
        if spec.product is not None:
            return product_of(self._nodes(spec.product, scope, *at, "product"), spec.decimal)
        if spec.rows is not None:
            return self._rows(spec.rows, scope, (*at, "rows"))
        constant = spec.const
        return lambda _row: constant

    def _nodes(
        self, nodes: tuple[Node, ...], scope: _Scope, *at: str | int
    ) -> tuple[Evaluated, ...]:
        return tuple(self.node(node, scope, *at, index) for index, node in enumerate(nodes))

    def _rows(self, spec: Rows, scope: _Scope, at: Place) -> Evaluated:
        rows = self._evaluate(spec.path, scope, *at, "path", rows=True)
        inner = _Scope(
            names={**scope.names, ROW: scope.xml, spec.name: scope.xml}, xml=scope.xml,
            place=scope.place,
        )  # fmt: skip
        if spec.path.startswith("$"):
            root = spec.path[1:].split(".")[0].split("/")[0].split("[")[0]
            inner.xml = scope.names.get(root, False)
            inner.names[ROW] = inner.names[spec.name] = inner.xml
        inner.names.update(dict.fromkeys(spec.let, False))
        lets = {name: self.node(node, inner, *at, "let", name) for name, node in spec.let.items()}
        where = self._conditions(spec.where, inner, *at, "where")
        fields = {
            name: self.node(node, inner, *at, "fields", name) for name, node in spec.fields.items()
        }
        return row_objects(rows, spec.name, where, lets, fields)

    def _steps(  # noqa: C901 - one line for each step
        self, spec: Value, scope: _Scope, at: Place
    ) -> tuple[Step, ...]:
        steps: list[Step] = [unpacked_as(each) for each in spec.unpack]
        if spec.bytes is not None:
            steps.append(bytes_step(spec.bytes.model_dump()))
        if spec.decode is not None:
            steps.append(self._decoder(spec, at))
        if spec.select is not None:
            steps.append(self._select(spec.select, (*scope.place, *at, "select")))
        if spec.pattern is not None:
            steps.append(self._pattern(spec.pattern, (*scope.place, *at, "pattern")))
        kind = spec.as_
        is_numeric = any(getattr(spec, name) is not None for name in _NUMERIC_STEPS)
        if kind is None and (is_numeric or spec.absolute or spec.negative or spec.decimal != "."):
            kind = "number"
        if kind is not None:
            steps.append(as_kind(kind, spec.decimal))
        steps += self._numeric(spec, scope, at)
        if spec.map is not None:
            steps.append(mapped_by(dict(spec.map), spec.unknown or "null"))
        if spec.lookup is not None:
            steps.append(self._lookup(spec, (*scope.place, *at, "lookup")))
        return tuple(steps)

    def _numeric(  # noqa: C901 - one line for each step
        self, spec: Value, scope: _Scope, at: Place
    ) -> list[Step]:
        steps: list[Step] = []
        if spec.minus is not None:
            steps.append(less(self.node(spec.minus, scope, *at, "minus"), spec.decimal))
        if spec.minor_units is not None:
            steps.append(minor_units_of(self._minor_units(spec.minor_units, scope, at)))
        if spec.from_ is not None and spec.to is not None:
            steps.append(in_unit_of(self._unit_name(spec.from_, scope, at), spec.to))
        if spec.scale is not None:
            steps.append(scaled(conversions.exact(spec.scale)))
        if spec.offset is not None:
            steps.append(shifted(conversions.exact(spec.offset)))
        if spec.absolute:
            steps.append(lambda value, _row: abs(value))
        if spec.negative:
            steps.append(lambda value, _row: -value)
        if spec.round is not None:
            steps.append(rounded_to(spec.round))
        if spec.min is not None or spec.max is not None:
            steps.append(clamped(spec.min, spec.max))
        return steps

    def _minor_units(self, spec: int | str, scope: _Scope, at: Place) -> Evaluated:
        if isinstance(spec, str) and not _CURRENCY.fullmatch(spec):
            return self._evaluate(spec, scope, *at, "minor_units")
        return lambda _row: spec

    def _unit_name(self, spec: str, scope: _Scope, at: Place) -> Evaluated:
        if spec.startswith("$"):
            return self._evaluate(spec, scope, *at, "from")
        return lambda _row: spec

    def _decoder(self, spec: Value, at: Place) -> Step:
        decoder = DECODERS.get(spec.decode or "")
        if decoder is None:
            known = ", ".join(sorted(DECODERS))
            self._problem((*self._here, *at, "decode"), f"no such decoder; there are {known}")
            return lambda value, _row: value
        options = dict(spec.options)
        return lambda value, _row: decoder(value, options)

    def _select(self, text: str, place: Place) -> Step:
        try:
            select = jmespath_select(text)
        except BadExpression as error:
            self._problem(place, str(error))
            return lambda value, _row: value
        return lambda value, _row: select(value)

    def _pattern(self, text: str, place: Place) -> Step:
        try:
            found = re.compile(text)
        except re.error as error:
            self._problem(place, f"not a pattern: {error.msg}")
            return lambda value, _row: value
        if _NESTED_REPEAT.search(text):
            self._problem(place, "a repetition of a repetition may never end; write it flat")
        return matched_by(found)

    def _lookup(self, spec: Value, place: Place) -> Step:
        name = spec.lookup or ""
        if name not in self._spec.tables:
            self._problem(
                place, f"no table {name}: add [tables.{name}], empty if the store fills it"
            )
        return looked_up_in(name, spec.unknown or "keep")

    def _state(
        self, spec: Value, scope: _Scope, at: Place
    ) -> Callable[[Evaluated], Evaluated] | None:
        place = ".".join(str(each) for each in (self._spec.vendor, *scope.place[1:], *at))
        if spec.delta is not None:
            key = self._key(spec.delta.key, scope, *at, "delta", "key")
            marker: Evaluated = nothing
            if spec.delta.marker is not None:
                marker = self._evaluate(spec.delta.marker, scope, *at, "delta", "marker")
            return delta_of(place, key, marker, spec)
        if spec.change is not None:
            return change_of(place, self._key(spec.change.key, scope, *at, "change", "key"), spec)
        if spec.since is not None:
            return since_of(
                place,
                self._key(spec.since.key, scope, *at, "since", "key"),
                self._conditions(spec.since.begin, scope, *at, "since", "begin"),
                self._conditions(spec.since.end, scope, *at, "since", "end"),
                spec,
            )
        return None

    # --- expressions ------------------------------------------------------------------------

    def _evaluate(self, text: str, scope: _Scope, *at: str | int, rows: bool = False) -> Evaluated:
        place = (*scope.place, *at)
        self._here: Place = scope.place
        for name in sorted(fields_of(text)):
            if _plain(name) in self._dropped:
                self._problem(place, f"{name} is personal and never passes")
        captured = re.match(r"\$topic\.([A-Za-z_]\w*)", text)
        if captured and captured[1] not in self._topic_names:
            self._problem(place, f"the topic has no capture {{{captured[1]}}}")
        try:
            found = expression(text, names=scope.names, xml=scope.xml, rows=rows)
        except BadExpression as error:
            self._problem(place, str(error))
            return nothing
        return once_a_message(found, (scope.place, text)) if _OF_MESSAGE.match(text) else found

    def _conditions(
        self, texts: tuple[str, ...], scope: _Scope, *at: str | int
    ) -> tuple[Check, ...]:
        found = []
        for text in texts:
            negated = text.startswith("not ")
            evaluate = self._evaluate(text.removeprefix("not "), scope, *at)
            found.append(check_of(evaluate, negated))
        return tuple(found)

    def _text(self, text: str | None, scope: _Scope, *at: str | int) -> Evaluated | None:
        if text is None:
            return None
        if "{" not in text and text.startswith("$"):
            return self._evaluate(text, scope, *at)
        try:
            parts = template(text, lambda part: self._evaluate(part, scope, *at))
        except BadExpression as error:
            self._problem((*scope.place, *at), str(error))
            return nothing
        return joined_text(parts)

    def _key(self, text: str | None, scope: _Scope, *at: str | int) -> Evaluated:
        found = self._text(text, scope, *at)
        return found if found is not None else lambda _row: ""

    def _problem(self, place: Place, message: str) -> None:
        self.problems.append(Problem(place, message))


def _plain(name: str) -> str:
    return _PLAIN.sub("", name.lower())
