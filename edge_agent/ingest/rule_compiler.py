"""A mapping file becomes functions, once; every problem of the file is found, with its place.

Nothing is evaluated against a payload here; that is `ingest.mapping`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from edge_agent.ingest import filters
from edge_agent.ingest.compiled import (
    CompiledMapping,
    CompiledRule,
    FanOut,
    Knowledge,
    Place,
    Problem,
    Sighting,
)
from edge_agent.ingest.conversions import NotConvertible
from edge_agent.ingest.evaluating import every_of, moment_by, nothing
from edge_agent.ingest.expression_compiler import Expressions, Scope
from edge_agent.ingest.instants import Moment, zone_of
from edge_agent.ingest.knowing import known_place
from edge_agent.ingest.paths import BadExpression
from edge_agent.ingest.problems import suggested
from edge_agent.ingest.reach import has_outcome_of_payload, problems_of_reach
from edge_agent.ingest.row_kinds import kinds_of
from edge_agent.ingest.rows import BAD_ROW, ROW, Check, Evaluated, Row, framed
from edge_agent.ingest.schema_of_events import SHAPES, Convert, Shape
from edge_agent.ingest.typing_of_events import typed_of
from edge_agent.ingest.value_compiler import Values
from edge_agent.wire.mapping import (
    Each,
    MappingFile,
    Node,
    Presence,
    Remember,
    Rule,
    Time,
    Unpack,
    Value,
)

_CAPTURE: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)(#?)\}|(\+)|(#)")
_NUMBERED: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
# A path that ends in one condition. Behind a projection the condition would mean something else.
_CHOSEN: Final = re.compile(
    r"(?P<base>[^\[\]*|&{}()]*)\[\?(?P<condition>(?:[^\]\['`]|'[^']*'|`[^`]*`|\[[^\]]*\])+)\]"
)
# What a group of numbered fields stands for; any other name is any text.
_NUMBERED_AS: Final = {"n": "[0-9]+", "field": ".+"}


def compile_mapping(spec: MappingFile) -> CompiledMapping | tuple[Problem, ...]:
    """Returns the mapping ready to run, or everything that is wrong with it."""
    compiler = _Rules(spec)
    rules = tuple(compiler.rule(number, rule) for number, rule in enumerate(spec.rules))
    problems = (*_problems_of_names(spec), *problems_of_reach(spec), *compiler.problems)
    if problems:
        return problems
    return CompiledMapping(
        spec=spec,
        rules=rules,
        selects_rows=any(step.where is not None for rule in rules for step in rule.each),
        settings=dict(spec.settings),
        tables=MappingProxyType({name: dict(table) for name, table in spec.tables.items()}),
    )


def _problems_of_names(spec: MappingFile) -> list[Problem]:
    # What is remembered is filed under the rule's name.
    found = [
        Problem(("topics", at), what)
        for at, each in enumerate(spec.topics)
        if (what := filters.problem_of(each)) is not None
    ]
    formats = {*spec.format, *(form for rule in spec.rules for form in rule.format)}
    packings = {form for rule in spec.rules for step in rule.unpack for form in step.format}
    if "csv" in spec.model_fields_set and "csv" not in formats | packings:
        found.append(Problem(("csv",), 'no rule reads csv: add format = "csv"'))
    if "delimiter" in spec.model_fields_set and spec.csv.delimiter is not None:
        found.append(Problem(("csv", "delimiter"), "delimiter is said twice"))
    names = [rule.name for rule in spec.rules]
    return found + [
        Problem(("rules", at, "name"), "another rule has this name")
        for at, name in enumerate(names)
        if name in names[:at]
    ]


def _topic_pattern(topic: str) -> re.Pattern[str]:
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


def _chosen(path: str) -> tuple[str, str | None]:
    """Returns a path without the condition at its end, and that: `a.b[?c]` is `a.b` where `c`.

    What the path left out by itself would be out of sight; as a condition it is told when no
    rule takes it.

    Example:
        >>> _chosen("frame.events[?type == 'IN']"), _chosen("[?a]"), _chosen("a[?b].c")
        (('frame.events', "type == 'IN'"), ('@', 'a'), ('a[?b].c', None))
    """
    found = _CHOSEN.fullmatch(path)
    if found is None:
        return path, None
    return found["base"] or "@", found["condition"]


def _of_kinds(rule: CompiledRule, kinds: tuple[type, ...]) -> CompiledRule:
    # Only when all of the rule is read it is known what its rows must be.
    if not kinds or not rule.each:
        return rule
    *above, last = rule.each
    return replace(rule, each=(*above, replace(last, kinds=kinds)))


class _Rules:
    def __init__(self, spec: MappingFile) -> None:
        self._spec = spec
        self._expressions = Expressions(spec)
        self._values = Values(spec, self._expressions)
        self._problem = self._expressions.problem
        self.problems = self._expressions.problems

    def rule(self, number: int, rule: Rule) -> CompiledRule:
        place: Place = ("rules", number)
        topic = self._topic(rule, place)
        formats = rule.format or self._spec.format
        xml = formats == ("xml",)
        if "xml" in formats and not xml:
            self._problem((*place, "format"), "xml does not mix with other formats")
        captures = frozenset(topic.groupindex) if topic is not None else frozenset()
        names = {ROW: xml, "message": xml, "topic": False, "settings": False, "key": False}
        scope = Scope(names=names, xml=xml, place=place, rule=rule.name, captures=captures)
        inner = self._inner(rule.unpack, scope)
        when = self._expressions.conditions(rule.when, scope, "when")
        each = tuple(self._each(at, step, scope) for at, step in enumerate(rule.each))
        if rule.presence is not None:
            scope.names["presence"] = False
        self._name_lets(rule, scope)
        lets = {
            name: self._values.node(node, scope, "let", name) for name, node in rule.let.items()
        }
        shape = SHAPES.get(rule.event) if rule.event is not None else None
        if shape is not None:
            self._check_shape(rule.data, shape, place)
        elif rule.data:
            self._problem((*place, "data"), "only an event has data")
        once = rule.once
        made = CompiledRule(
            spec=rule,
            number=number,
            topic=topic,
            formats=formats,
            # What a topic alone says to ignore may be a picture.
            reads=has_outcome_of_payload(rule) or bool(when or inner or each),
            inner=inner,
            when=when,
            each=each,
            lets=lets,
            where=self._check(rule.where, scope, "where"),
            device=self._expressions.text(rule.device, scope, "device"),
            source=self._expressions.text(rule.source, scope, "source"),
            once=None
            if once is None
            else (self._expressions.key(once.key, scope, "once", "key"), once),
            presence=self._presence(rule.presence, scope),
            knowledge=self._knowledge(rule.remember, scope),
            prefix=framed((self._spec.vendor, rule.event or "")),
            id=tuple(
                self._expressions.evaluate(part, scope, "id", at)
                for at, part in enumerate(rule.id)
            ),
            moment=self._moment(rule.time, scope),
            data=tuple(
                (name, self._values.node(node, scope, "data", name))
                for name, node in rule.data.items()
            ),
            typed=None if shape is None else typed_of(shape),
        )
        return made if scope.xml else _of_kinds(made, kinds_of(scope.uses))

    def _topic(self, rule: Rule, place: Place) -> re.Pattern[str] | None:
        if rule.topic is None:
            return None
        try:
            return _topic_pattern(rule.topic)
        except BadExpression as error:
            self._problem((*place, "topic"), str(error))
            return None

    def _inner(
        self, steps: tuple[Unpack, ...], scope: Scope
    ) -> tuple[tuple[Evaluated, Unpack], ...]:
        found: list[tuple[Evaluated, Unpack]] = []
        for at, step in enumerate(steps):
            found.append(
                (self._expressions.evaluate(step.path, scope, "unpack", at, "path"), step)
            )
            if step.optional and (scope.xml or step.format[-1] == "xml"):
                self._problem(
                    (*scope.place, "unpack"), "what may be XML or not cannot be optional"
                )
            scope.names.setdefault("outer", scope.xml)
            scope.xml = step.format[-1] == "xml"
            scope.names[ROW] = scope.names["message"] = scope.xml
        return tuple(found)

    def _each(self, at: int, step: Each, scope: Scope) -> FanOut:
        at_place = ("each", at)
        path, chosen = (step.path, None) if scope.xml or step.changes else _chosen(step.path)
        rows = self._expressions.evaluate(path, scope, *at_place, "path", rows=True)
        before = None
        if step.before is not None:
            before = self._expressions.evaluate(step.before, scope, *at_place, "before", rows=True)
        key = (
            None if step.key is None else self._expressions.key(step.key, scope, *at_place, "key")
        )
        numbered = None
        if step.fields is not None:
            numbered = self._numbered(step.fields, (*scope.place, *at_place, "fields"))
        is_plain = step.keys or step.changes or numbered is not None
        scope.xml = scope.xml and not is_plain
        scope.names[step.name] = scope.names[ROW] = scope.xml
        scope.row, scope.uses = step.name, set()
        return FanOut(
            name=step.name,
            rows=rows,
            keys=step.keys,
            numbered=numbered,
            before=before,
            state_key=key,
            changes=step.changes,
            where=every_of(
                (
                    *(
                        self._expressions.conditions((chosen,), scope, *at_place, "path")
                        if chosen
                        else ()
                    ),
                    *self._expressions.conditions(step.where, scope, *at_place, "where"),
                )
            ),
            place=f"{self._spec.vendor}.{scope.rule}.each{at}",
        )

    def _numbered(self, text: str, place: Place) -> re.Pattern[str] | None:
        names = _NUMBERED.findall(text)
        if not names or len(set(names)) != len(names):
            self._problem(place, "give the numbers a name, as in line_{n}_{field}")
            return None
        parts = _NUMBERED.split(text)
        body = "".join(
            re.escape(part) if at % 2 == 0 else f"(?P<{part}>{_NUMBERED_AS.get(part, '.+?')})"
            for at, part in enumerate(parts)
        )
        return re.compile(body)

    def _presence(self, spec: Presence | None, scope: Scope) -> Sighting | None:
        if spec is None:
            return None
        strength: Evaluated = lambda _row: 0  # noqa: E731 - the absence of a measure
        if spec.strength is not None:
            strength = self._values.node(spec.strength, scope, "presence", "strength")
        return Sighting(
            key=self._expressions.key(spec.key, scope, "presence", "key"),
            place=self._values.node(spec.place, scope, "presence", "place"),
            strength=strength,
            spec=spec,
        )

    def _knowledge(self, spec: Remember | None, scope: Scope) -> Knowledge | None:
        if spec is None:
            return None
        return Knowledge(
            key=self._expressions.key(spec.key, scope, "remember", "key"),
            value=self._values.node(spec.value, scope, "remember", "value"),
            place=known_place(self._spec.vendor, spec.name),
            spec=spec,
        )

    def _name_lets(self, rule: Rule, scope: Scope) -> None:
        for name in rule.let:
            if name in scope.names:
                self._problem((*scope.place, "let", name), f"${name} is something else already")
        scope.names.update(dict.fromkeys(rule.let, False))

    def _moment(self, spec: Time | None, scope: Scope) -> Callable[[Row], Moment] | None:
        if spec is None:
            return None
        zone: Evaluated = nothing
        if spec.zone is not None and spec.zone.startswith("$"):
            zone = self._expressions.evaluate(spec.zone, scope, "time", "zone")
        elif spec.zone is not None:
            zone = self._known_zone(spec.zone, (*scope.place, "time", "zone"))
        return moment_by(self._values.value(spec, scope, ("time",)), zone, spec)

    def _check(self, texts: tuple[str, ...], scope: Scope, *at: str | int) -> Check | None:
        return every_of(self._expressions.conditions(texts, scope, *at))

    def _known_zone(self, name: str, place: Place) -> Evaluated:
        try:
            zone_of(name)
        except NotConvertible:
            self._problem(place, "not a time zone: write Europe/Helsinki, or UTC+2:00")
        return lambda _row: name

    def _check_shape(self, data: Mapping[str, Node], shape: Shape, place: Place) -> None:
        for name, node in data.items():
            if name not in shape.fields:
                word = f"no such field; {suggested(name, tuple(shape.fields))}"
                if name in Rule.model_fields:
                    word += f"; as a word of the rule, {name} stands above its tables"
                self._problem((*place, "data", name), word)
            elif not _fits(node, shape.fields[name]):
                self._problem((*place, "data", name), "a constant of the wrong kind")
        for name in shape.required:
            if name not in data:
                self._problem((*place, "data"), f"{name} is missing")


def _fits(node: Node, kind: Convert | Shape) -> bool:
    if isinstance(kind, Shape) or not isinstance(node, Value):
        return True
    if node.model_fields_set != {"const"}:
        return True
    try:
        kind(node.const)
    except BAD_ROW:
        return False
    return True
