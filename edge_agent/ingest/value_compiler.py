"""Values of a mapping file (sources, steps, state) become closures, or problems."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from edge_agent.ingest import conversions, identifiers
from edge_agent.ingest.compiled import Place
from edge_agent.ingest.decoders import by_stores_rules, decoder_of, setting_of_codes
from edge_agent.ingest.evaluating import every_of, nothing
from edge_agent.ingest.expression_compiler import Expressions, Scope
from edge_agent.ingest.knowing import known_place, recalled_as
from edge_agent.ingest.paths import BadExpression, jmespath_select
from edge_agent.ingest.problems import suggested
from edge_agent.ingest.remembering import change_of, delta_of, since_of
from edge_agent.ingest.row_kinds import kinds_of
from edge_agent.ingest.rows import ROW, Check, Evaluated
from edge_agent.ingest.selection import null_check
from edge_agent.ingest.sharing import Sharing, SharingParts, sharing_by
from edge_agent.ingest.steps import (
    Step,
    as_kind,
    bytes_step,
    clamped,
    first_of,
    in_unit_of,
    less,
    looked_up_in,
    mapped_by,
    matched_by,
    minor_units_of,
    object_of,
    pipeline,
    product_of,
    rounded_to,
    row_objects,
    scaled,
    shifted,
    summed,
    unpacked_as,
)
from edge_agent.wire.mapping import MappingFile, Node, Rows, Share, Value
from edge_agent.wire.mapping_part import Scalar

_CURRENCY: Final = re.compile(r"[A-Z]{3}")
# A repeated group that itself holds a repetition may take exponential time.
_NESTED_REPEAT: Final = re.compile(r"\([^()]*[+*}][^()]*\)[+*{]")
_NUMERIC_STEPS: Final = (
    "minor_units", "from_", "scale", "offset", "minus", "round", "min", "max", "bytes"
)  # fmt: skip


class Values:
    """The values of one file."""

    def __init__(self, spec: MappingFile, expressions: Expressions) -> None:
        self._spec = spec
        self._expressions = expressions

    def _check(self, texts: tuple[str, ...], scope: Scope, *at: str | int) -> Check | None:
        return every_of(self._expressions.conditions(texts, scope, *at))

    def node(self, node: Node, scope: Scope, *at: str | int) -> Evaluated:
        """Returns the evaluator of an expression, a value or an object of them."""
        if isinstance(node, str):
            return self._expressions.evaluate(node, scope, *at)
        if isinstance(node, Value):
            return self.value(node, scope, at)
        parts = {name: self.node(each, scope, *at, name) for name, each in node.items()}
        constant = {
            name
            for name, each in node.items()
            if isinstance(each, Value) and each.const is not None
        }
        return object_of(parts, frozenset(parts) - constant)

    def value(self, spec: Value, scope: Scope, at: Place) -> Evaluated:
        """Returns a value's evaluator: source, steps, state."""
        source = self._source(spec, scope, at)
        steps = self._steps(spec, scope, at)
        when = self._check(spec.when, scope, *at, "when")
        finish = self._state(spec, scope, at)
        run = pipeline(source, steps, when, spec)
        return run if finish is None else finish(run)

    def _source(  # noqa: PLR0911 - one line for each source
        self, spec: Value, scope: Scope, at: Place
    ) -> Evaluated:
        if spec.path is not None:
            return self._expressions.evaluate(spec.path, scope, *at, "path")
        if spec.first is not None:
            return first_of(self._nodes(spec.first, scope, *at, "first"))
        if spec.text is not None:
            text = self._expressions.text(spec.text, scope, *at, "text")
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
        self, nodes: tuple[Node, ...], scope: Scope, *at: str | int
    ) -> tuple[Evaluated, ...]:
        return tuple(self.node(node, scope, *at, index) for index, node in enumerate(nodes))

    def _rows(self, spec: Rows, scope: Scope, at: Place) -> Evaluated:
        rows = self._expressions.evaluate(spec.path, scope, *at, "path", rows=True)
        inner = Scope(
            names={**scope.names, ROW: scope.xml, spec.name: scope.xml}, xml=scope.xml,
            place=scope.place, rule=scope.rule, captures=scope.captures,
            row=spec.name, above=scope,
        )  # fmt: skip
        if spec.path.startswith("$"):
            root = spec.path[1:].split(".")[0].split("/")[0].split("[")[0]
            inner.xml = scope.names.get(root, False)
            inner.names[ROW] = inner.names[spec.name] = inner.xml
        inner.names.update(dict.fromkeys(spec.let, False))
        lets = {name: self.node(node, inner, *at, "let", name) for name, node in spec.let.items()}
        where = self._check(spec.where, inner, *at, "where")
        fields = {
            name: self.node(node, inner, *at, "fields", name) for name, node in spec.fields.items()
        }
        shared = tuple(
            self._share(share, spec, (scope, inner), (*at, "share", number))
            for number, share in enumerate(spec.share)
        )
        kinds = () if inner.xml else kinds_of(inner.uses)
        return row_objects(rows, spec.name, where, lets, fields, shared, kinds=kinds)

    def _share(self, spec: Share, rows: Rows, scopes: tuple[Scope, Scope], at: Place) -> Sharing:
        outer, inner = scopes
        for word, name in (("from", spec.from_), ("to", spec.to)):
            if name is not None and name not in rows.fields:
                known = suggested(name, tuple(rows.fields))
                self._expressions.problem(
                    (*outer.place, *at, word), f"the rows have no such field; {known}"
                )

        def node(node: Node | None, scope: Scope, word: str) -> Evaluated | None:
            return None if node is None else self.node(node, scope, *at, word)

        return sharing_by(
            SharingParts(
                amount=node(spec.amount, outer, "amount"),
                total=node(spec.total, outer, "total"),
                taken_from=spec.from_,
                added_to=spec.to,
                by=node(spec.by, inner, "by"),
                where=self._check(spec.where, inner, *at, "where"),
                minor_units=self._minor_units(spec.minor_units, outer, at),
            )
        )

    def _steps(  # noqa: C901 - one line for each step
        self, spec: Value, scope: Scope, at: Place
    ) -> tuple[Step, ...]:
        steps: list[Step] = []
        if spec.recall is not None:
            steps.append(self._recall(spec, (*scope.place, *at, "recall")))
        steps += [unpacked_as(each, self._spec) for each in spec.unpack]
        if spec.bytes is not None:
            steps.append(bytes_step(spec.bytes.model_dump()))
        if spec.decode is not None:
            steps.append(self._decoder(spec, (*scope.place, *at, "decode")))
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
        self, spec: Value, scope: Scope, at: Place
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

    def _minor_units(self, spec: int | str, scope: Scope, at: Place) -> Evaluated:
        if isinstance(spec, str) and not _CURRENCY.fullmatch(spec):
            return self._expressions.evaluate(spec, scope, *at, "minor_units")
        return lambda _row: spec

    def _unit_name(self, spec: str, scope: Scope, at: Place) -> Evaluated:
        if spec.startswith("$"):
            return self._expressions.evaluate(spec, scope, *at, "from")
        return lambda _row: spec

    def _decoder(self, spec: Value, place: Place) -> Step:
        options = dict(spec.options)
        try:
            setting = setting_of_codes(spec.decode or "", options)
            if setting is not None:
                return self._stores_codes(setting, options, place)
            decoder = decoder_of(spec.decode or "", options)
        except ValueError as error:
            self._expressions.problem(place, str(error))
            return lambda value, _row: value
        return lambda value, _row: decoder(value, options)

    def _stores_codes(self, setting: str, options: dict[str, Scalar], place: Place) -> Step:
        rules = self._spec.settings.get(setting)
        if rules and identifiers.rules_of(str(rules)) is None:
            what = f"{setting} in [settings] must be {identifiers.RULES_WANTED}"
            self._expressions.problem(place, what)
        decoder = by_stores_rules(setting, options)
        return lambda value, row: decoder(value, row["settings"])

    def _select(self, text: str, place: Place) -> Step:
        try:
            select = jmespath_select(text)
        except BadExpression as error:
            self._expressions.problem(place, str(error))
            return lambda value, _row: value
        return lambda value, _row: select(value)

    def _pattern(self, text: str, place: Place) -> Step:
        try:
            found = re.compile(text)
        except re.error as error:
            self._expressions.problem(place, f"not a pattern: {error.msg}")
            return lambda value, _row: value
        if _NESTED_REPEAT.search(text):
            self._expressions.problem(
                place, "a repetition of a repetition may never end; write it flat"
            )
        return matched_by(found)

    def _recall(self, spec: Value, place: Place) -> Step:
        name = spec.recall or ""
        told = {rule.remember.name for rule in self._spec.rules if rule.remember is not None}
        if name not in told:
            known = suggested(name, sorted(told)) if told else "no rule of the file has remember"
            self._expressions.problem(place, f"no rule remembers {name}; {known}")
        return recalled_as(known_place(self._spec.vendor, name), spec.unknown or "null")

    def _lookup(self, spec: Value, place: Place) -> Step:
        name = spec.lookup or ""
        if name not in self._spec.tables:
            self._expressions.problem(
                place, f"no table {name}: add [tables.{name}], empty if the store fills it"
            )
        return looked_up_in(name, spec.unknown or "keep")

    def _null(self, spec: Value, scope: Scope) -> Check:
        # Where a `when` leaves the value out, it is another's.
        nodes = (spec.path,) if spec.path is not None else spec.first or ()
        paths = [each.path if isinstance(each, Value) else each for each in nodes]
        checks = [
            check
            for path in paths
            if isinstance(path, str)
            and (check := null_check(path, names=scope.names, xml=scope.xml)) is not None
        ]
        if spec.when or not checks:
            return lambda _row: False
        return lambda row: any(check(row) for check in checks)

    def _state(
        self, spec: Value, scope: Scope, at: Place
    ) -> Callable[[Evaluated], Evaluated] | None:
        # By the rule's name: a rule put before it must not take over its counters.
        place = ".".join(str(each) for each in (self._spec.vendor, scope.rule, *at))
        if spec.delta is not None:
            key = self._expressions.key(spec.delta.key, scope, *at, "delta", "key")
            marker: Evaluated = nothing
            if spec.delta.marker is not None:
                marker = self._expressions.evaluate(
                    spec.delta.marker, scope, *at, "delta", "marker"
                )
            return delta_of(place, key, marker, spec, is_null=self._null(spec, scope))
        if spec.change is not None:
            return change_of(
                place, self._expressions.key(spec.change.key, scope, *at, "change", "key"), spec
            )
        if spec.since is not None:
            return since_of(
                place,
                self._expressions.key(spec.since.key, scope, *at, "since", "key"),
                self._check(spec.since.begin, scope, *at, "since", "begin"),
                self._check(spec.since.end, scope, *at, "since", "end"),
                spec,
            )
        return None
