"""What expressions, conditions, templates and times do when a row is evaluated, as closures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from edge_agent.ingest import conversions
from edge_agent.ingest.instants import EARLIEST_MS, FUTURE_MS, Moment, moment_of
from edge_agent.ingest.paths import is_true
from edge_agent.ingest.rows import Check, Evaluated, Row
from edge_agent.wire.mapping import Time

_WHOLE_MS: Final = {"s": 1_000, "ms": 1}


def nothing(_row: Mapping[str, Any]) -> Any:
    """Returns nothing, for what is not there."""
    return None


def once_a_message(evaluate: Evaluated, name: str) -> Evaluated:
    """Returns an evaluator whose result is the same for all rows of a message."""

    def remembered(row: Row) -> Any:
        message, cache = row["message"], row.run.cache
        known = cache.get(name)
        if known is not None and known[0] is message:
            return known[1]
        value = evaluate(row)
        cache[name] = (message, value)
        return value

    return remembered


def once_a_topic(evaluate: Evaluated, name: str) -> Evaluated:
    """Returns an evaluator of a text that holds nothing but what the topic captured."""

    def remembered(row: Row) -> Any:
        texts = row.texts
        if name not in texts:
            texts[name] = evaluate(row)
        return texts[name]

    return remembered


def check_of(evaluate: Evaluated, negated: bool) -> Check:  # noqa: FBT001 - private, one caller
    """Whether an expression is true, or is not."""
    if negated:
        return lambda row: not is_true(evaluate(row))

    def holds(row: Row) -> bool:
        value = evaluate(row)
        if value is True:
            return True
        return value is not None and value is not False and is_true(value)

    return holds


def every_of(checks: tuple[Check, ...]) -> Check | None:
    """Returns a check that all hold; None when there is none."""
    if len(checks) <= 1:
        return checks[0] if checks else None

    def every(row: Row) -> bool:
        for check in checks:  # noqa: SIM110 - a generator costs more than the checks
            if not check(row):
                return False
        return True

    return every


def joined_text(parts: tuple[str | Evaluated, ...]) -> Evaluated:
    """Returns a text of fixed and evaluated parts; null when a part is."""
    pairs: list[tuple[str, Evaluated]] = []
    before = ""
    for part in parts:
        if isinstance(part, str):
            before += part
        else:
            pairs.append((before, part))
            before = ""
    after, text_of = before, conversions.text_of
    if len(pairs) == 1 and not pairs[0][0] and not after:
        whole = pairs[0][1]
        return lambda row: None if (value := whole(row)) is None else text_of(value)

    def joined(row: Row) -> str | None:
        text = ""
        for fixed, part in pairs:
            value = part(row)
            if value is None:
                return None
            text += fixed + text_of(value)
        return text + after

    return joined


def moment_by(value: Evaluated, zone: Evaluated, spec: Time) -> Callable[[Row], Moment]:
    """Returns when a row happened; a time that is replaced is counted."""
    unit_ms = _WHOLE_MS.get(spec.unit or "") if spec.max_age_days is None else None

    def moment(row: Row) -> Moment:
        found, run = value(row), row.run
        received_at_ms = run.received_at_ms
        if unit_ms is not None and type(found) is int:
            at_ms = found * unit_ms
            if EARLIEST_MS <= at_ms <= received_at_ms + FUTURE_MS:
                return Moment(at_ms)
        place = zone(row)
        made = moment_of(
            found,
            received_at_ms=received_at_ms,
            unit=spec.unit,
            form=spec.format,
            zone=place if isinstance(place, str) else None,
            fold=spec.fold,
            max_age_days=spec.max_age_days,
        )
        if made.replaced is not None:
            run.counts[f"time {made.replaced}"] += 1
        return made

    return moment
