"""Values that are compared with earlier messages, as closures: deltas, changes, pairs."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from edge_agent.ingest import conversions, counters
from edge_agent.ingest.conversions import NotConvertible
from edge_agent.ingest.rows import Check, Evaluated, Row, refuse_line
from edge_agent.wire.mapping import Value

_NO_TOTAL: Final = "no running total: nothing is counted of it, and the next one makes it up"


def delta_of(
    place: str, key: Evaluated, marker: Evaluated, spec: Value, *, is_null: Check
) -> Callable[[Evaluated], Evaluated]:
    """Returns what a running total grew by; one that is null is refused, its neighbours count.

    A device may count one way alone, or tell a total only when it moved: one that is not there is
    no fault, unless the mapping says so. One that is null is a sensor that could not tell.
    """
    what = place.rpartition(".")[2]
    is_wanted = spec.delta is not None and spec.delta.missing == "refuse"

    def finish(run: Evaluated) -> Evaluated:
        def counted(row: Row) -> Any:
            value = run(row)
            if value is None:
                row.findings.append(counters.ABSENT)
                if is_null(row) or (is_wanted and row.remembers(place, key(row))):
                    at = f"{row.place}.{what}" if row.place else what
                    refuse_line(row, NotConvertible(_NO_TOTAL), at)
                return None
            total, mark = conversions.integer_of(value), marker(row)
            if total < 0:
                # Taken for a new beginning, the next total would count everybody again.
                raise NotConvertible("a running total below zero")
            text = None if mark is None else conversions.text_of(mark)
            assert spec.delta is not None  # noqa: S101 - how this closure came to be
            return row.remember(
                place, key(row),
                lambda old, at_ms: counters.delta(old, total, text, at_ms, spec.delta),  # type: ignore[arg-type] # narrowed above
            )  # fmt: skip

        return counted

    return finish


def change_of(place: str, key: Evaluated, spec: Value) -> Callable[[Evaluated], Evaluated]:
    """Returns a level, told when it changes."""
    change = spec.change

    def finish(run: Evaluated) -> Evaluated:
        def told(row: Row) -> Any:
            value = run(row)
            if value is None or change is None:
                row.findings.append(counters.ABSENT)
                return None
            if not isinstance(value, (str, int, float, Decimal)):
                # Whatever is in it would be kept unsealed, or could not be kept at all.
                raise NotConvertible("change: not one value")
            level = float(value) if isinstance(value, Decimal) else value
            return row.remember(
                place, key(row), lambda old, at_ms: counters.change(old, level, at_ms, change)
            )

        return told

    return finish


def since_of(
    place: str, key: Evaluated, begin: Check | None, end: Check | None, spec: Value
) -> Callable[[Evaluated], Evaluated]:
    """Returns seconds between two messages."""
    since = spec.since

    def finish(_run: Evaluated) -> Evaluated:
        def paired(row: Row) -> Any:
            if since is None:
                return None
            begins = begin is None or begin(row)
            ends = end is None or end(row)
            return row.remember(
                place, key(row),
                lambda old, at_ms: counters.since(
                    old, begins=begins, ends=ends, at_ms=at_ms, max_s=since.max_s
                ),
            )  # fmt: skip

        return paired

    return finish
