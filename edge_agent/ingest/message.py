"""One message on its way through the rules of its mapping: matched, fanned out, told as events."""

from __future__ import annotations

from typing import Any, Final

from pydantic import ValidationError

from edge_agent.ingest import counters
from edge_agent.ingest.compiled import Candidate, CompiledMapping, CompiledRule
from edge_agent.ingest.conversions import NotConvertible, exact, number_of, text_of
from edge_agent.ingest.event_making import event_of
from edge_agent.ingest.fan_out import rows_of
from edge_agent.ingest.knowing import remember
from edge_agent.ingest.passed_over import SHOWN_MAX
from edge_agent.ingest.payloads import Unreadable, document_of, unpacked
from edge_agent.ingest.personal import Personal
from edge_agent.ingest.rows import BAD_ROW, ROW, MappingRefusal, Row, Run, detail_of
from edge_agent.ingest.typing_of_events import words_of
from edge_agent.wire.events import Event
from edge_agent.wire.mapping import ROWS_MAX, Format

_NO_RULE: Final = MappingRefusal(reason="no_rule", detail="no rule knows this message")
_NO_PARTS: Final = MappingRefusal(
    reason="no_rule", detail="no rule finds in this message what it looks for"
)


class Message:
    """A message under the rules.

    Attributes:
        events: What it told, in the order of its rows.
        ignored: Reasons of the rules that said so.
    """

    __slots__ = (
        "_documents", "_formats", "_mapping", "_run", "_settings", "_tried", "_unreadable",
        "events", "ignored",
    )  # fmt: skip

    def __init__(self, mapping: CompiledMapping, run: Run) -> None:
        self.events: list[Event] = []
        self.ignored: list[str] = []
        self._mapping = mapping
        self._run = run
        self._documents: dict[str, Any] = {}
        self._formats: tuple[Format, ...] = ()
        self._tried: Row | None = None
        self._unreadable: MappingRefusal | None = None
        stores = run.lookups.settings
        self._settings = {**mapping.settings, **stores} if stores else mapping.settings

    def read(self) -> None:
        """Tries the rules in their order."""
        matched = False
        run = self._run
        is_first = self._mapping.spec.mode == "first"
        told = 0
        for candidate in self._mapping.route(run.topic):
            rule = candidate.rule
            if run.tell is not None:
                told = self._tell_others(told, rule.number)
            row = self._matching(candidate)
            if row is None:
                continue
            matched = True
            self._say(rule, "matched")
            self._follow(rule, row)
            self._tried = None
            if is_first and not rule.spec.go_on:
                break
        else:
            self._tell_others(told, len(self._mapping.rules))
        if not matched:
            run.refusals.append(self._unreadable or _NO_RULE)
        elif not run.has_parts and not run.refusals:
            run.refusals.append(_NO_PARTS)
        elif run.passed_over is not None:
            self._refuse_unknown(run.passed_over.left())

    def _refuse_unknown(self, places: list[str]) -> None:
        for place in places[:SHOWN_MAX]:
            self._run.refuse("no_rule", "no rule knows this row", None, place)
        n_more = len(places) - SHOWN_MAX
        if n_more > 0:
            self._run.refuse("no_rule", f"no rule knows {n_more} more rows", None, "rows")

    def _matching(self, candidate: Candidate) -> Row | None:
        rule = candidate.rule
        if self._unreadable is not None and rule.spec.ignore is not None and not rule.reads:
            # "Everything else" is meant, and not what came in pieces.
            self._say(rule, "not for what cannot be read")
            return None
        try:
            row = self._row(candidate)
            for at, check in enumerate(rule.when):
                if not check(row):
                    if self._run.tell is not None:
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
        return row

    def _row(self, candidate: Candidate) -> Row:
        rule = candidate.rule
        if rule.inner or not rule.reads:
            return self._fresh_row(candidate)
        row = self._tried
        if row is None or self._formats != rule.formats:
            self._tried = row = self._fresh_row(candidate)
            self._formats = rule.formats
            return row
        # Rules that only look share one row: most rules of a file do not match.
        row["topic"], row.texts = candidate.captures, candidate.texts
        row.rule, row.lets = rule.spec.name, rule.lets
        return row

    def _fresh_row(self, candidate: Candidate) -> Row:
        rule = candidate.rule
        document = self._document(rule.formats) if rule.reads else None
        names = {
            ROW: document,
            "message": document,
            "topic": candidate.captures,
            "settings": self._settings,
            "key": None,
        }
        row = Row(names, self._run, rule.spec.name, rule.lets, "")
        row.texts = candidate.texts
        for path, step in rule.inner:
            row.setdefault("outer", document)
            inner = path(row)
            if inner is None:
                if step.optional:
                    continue
                raise Unreadable("invalid", "nothing to unpack")
            for packing in step.format:
                spec = self._mapping.spec
                inner = unpacked(inner, packing, delimiter=spec.delimiter, lines=spec.csv)
            row[ROW] = row["message"] = inner
        return row

    def _document(self, formats: tuple[Format, ...]) -> Any:
        for form in formats[:-1]:
            try:
                return self._read(form)
            except Unreadable:
                continue
        return self._read(formats[-1])

    def _read(self, form: Format) -> Any:
        if form not in self._documents:
            payload = self._run.payload
            is_csv = form == "csv"
            self._documents[form] = self._lines() if is_csv else document_of(payload, form)
        return self._documents[form]

    def _lines(self) -> Any:
        spec, bad = self._mapping.spec, list[MappingRefusal]()

        def bad_line(number: int, detail: str) -> None:
            place = f"line {number}"
            bad.append(MappingRefusal(reason="invalid", detail=detail, place=place))

        found = document_of(
            self._run.payload, "csv", delimiter=spec.delimiter, lines=spec.csv, bad_line=bad_line
        )
        # Only of a text that could be read as this: another form may be tried yet.
        self._run.refusals += bad
        return found

    def _follow(self, rule: CompiledRule, row: Row) -> None:
        if rule.each:
            self._follow_rows(rule, row)
        else:
            self._run.has_parts = True
            self._follow_row(rule, row)

    def _follow_rows(self, rule: CompiledRule, root: Row) -> None:
        count = 0
        try:
            for row in rows_of(rule, root, lambda row: _stand_named(rule, row)):
                count += 1
                if count > ROWS_MAX:
                    detail = f"more than {ROWS_MAX} rows"
                    self._run.refuse("too_large", detail, rule.spec.name, None)
                    return
                self._follow_row(rule, row)
        except BAD_ROW as error:
            self._run.refuse("invalid", detail_of(error), rule.spec.name, "each")
        if count == 0:
            self._run.count("no rows", "")

    def _follow_row(self, rule: CompiledRule, row: Row) -> None:
        if rule.spec.ignore is not None:
            self._ignore(rule.spec.ignore)
        elif rule.spec.reject is not None:
            self._run.refuse("rejected", rule.spec.reject, rule.spec.name, row.place)
        else:
            self._tell_row(rule, row)

    def _tell_row(self, rule: CompiledRule, row: Row) -> None:
        run, name = self._run, rule.spec.name
        try:
            news, event = self._judged(rule, row)
        except ValidationError as error:
            run.refuse("invalid", words_of(error), name, row.place)
        except Personal:
            run.refuse("personal", "a value looks like an e-mail address", name, row.place)
        except BAD_ROW as error:
            run.refuse("invalid", detail_of(error), name, row.place)
        else:
            if row.staged:
                run.changes.update(row.staged)
            run.count(news, row.place)
            if event is not None:
                self.events.append(event)

    def _ignore(self, reason: str) -> None:
        if reason not in self.ignored:
            self.ignored.append(reason)
        if self._run.tell is not None:
            self._run.tell(f"  ignored: {reason}")

    def _judged(self, rule: CompiledRule, row: Row) -> tuple[str, Event | None]:
        _stand(rule, row)
        vendor = self._mapping.spec.vendor
        if rule.where is not None and not rule.where(row):
            return "filtered", None
        _assert_named(rule, row)
        if rule.once is not None and not _is_first(rule, row, vendor):
            return "duplicate", None
        if rule.presence is not None and not _is_sighted(rule, row, vendor):
            return row.findings[-1].news, None
        if rule.knowledge is not None:
            return remember(rule.knowledge, row), None
        event = event_of(rule, row, vendor)
        if event is None:
            return row.findings[-1].news if row.findings else "quiet", None
        return "events", event

    def _tell_others(self, at: int, until: int) -> int:
        for rule in self._mapping.rules[at:until]:
            self._say(rule, "another topic")
        return until + 1

    def _say(self, rule: CompiledRule, words: str) -> None:
        if self._run.tell is not None:
            self._run.tell(f'rule {rule.number + 1} "{rule.spec.name}": {words}')


def _stand(rule: CompiledRule, row: Row) -> None:
    if rule.moment is not None:
        row.at = rule.moment(row)
    if rule.device is None:
        row.device = row.run.topic
    else:
        device = rule.device(row)
        row.device = "" if device is None else text_of(device)


def _assert_named(rule: CompiledRule, row: Row) -> None:
    # Devices without a name would share one memory.
    if rule.device is not None and not row.device:
        raise NotConvertible("device: no value")


def _stand_named(rule: CompiledRule, row: Row) -> None:
    _stand(rule, row)
    _assert_named(rule, row)


def _is_first(rule: CompiledRule, row: Row, vendor: str) -> bool:
    if rule.once is None:
        return True
    key, spec = rule.once
    value = key(row)
    if value is None:
        raise NotConvertible("once: the key has no value")
    name = row.key_of(f"{vendor}.once", (text_of(value),))
    is_first = row.remember_as(name, lambda old, at_ms: counters.once(old, at_ms, spec.within_s))
    # Only a duplicate is silent: a first telling says nothing about the row's other values.
    row.findings.pop()
    return bool(is_first)


def _is_sighted(rule: CompiledRule, row: Row, vendor: str) -> bool:
    sighting = rule.presence
    if sighting is None:
        return True
    key, place = sighting.key(row), sighting.place(row)
    if key is None or place is None:
        raise NotConvertible("presence: no key or no place")
    strength = sighting.strength(row)
    near = float(exact(number_of(strength))) if strength is not None else 0.0
    name = row.key_of(f"{vendor}.presence", (text_of(key),))
    row["presence"] = row.remember_as(
        name,
        lambda old, at_ms: counters.presence(old, text_of(place), near, at_ms, sighting.spec),
    )
    return row.findings[-1].news == "new"
