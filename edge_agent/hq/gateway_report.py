"""The stores' gateways and devices as people read them: what is wrong first, and by name."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from edge_agent.hq.database import Row
from edge_agent.hq.device_rows import THOUSANDTHS, n_troubled, troubles
from edge_agent.hq.report import Comparison, Report, instant_text

_MINUTE_S: Final = 60
_HOUR_S: Final = 3_600
_DAY_S: Final = 86_400
_COLUMNS: Final = (
    "device",
    "condition",
    "last heard (UTC)",
    "events/h",
    "clock",
    "inside at closing",
)


def gateway_table(report: Report) -> Comparison:
    """Returns each store's latest state, its identified customers and their days."""
    customers = {str(row["store"]): row for row in report.customers}
    states = {str(row["store"]): row for row in report.gateways}
    devices: defaultdict[str, list[Row]] = defaultdict(list)
    for row in report.devices:
        devices[str(row["store"])].append(row)
    rows = []
    for store in sorted({*customers, *states, *(str(row["store"]) for row in report.coverage)}):
        state, known = states.get(store, {}), customers.get(store, {})
        texts = (
            str(state.get("health", "-")),
            _problems(state) if state else "-",
            _devices(devices[store]) if state else "-",
            str(state.get("version", "-")),
            str(state.get("model") or "-"),
            instant_text(state.get("at_ms")),
            str(known.get("n_customers", 0)),
        )
        rows.append((store, texts))
    columns = ("health", "problems", "devices", "version", "model", "as of (UTC)", "customers")
    marked = {number for number, (_, texts) in enumerate(rows) if texts[0] == "degraded"}
    return Comparison(
        title="Gateways",
        first_column="store",
        columns=columns,
        rows=tuple(rows),
        shares=(),
        n_texts=len(columns) - 1,
        marked=frozenset(marked),
        note="Customers: those who consented and were there.",
    )


def device_table(report: Report) -> Comparison:
    """Returns the devices with trouble; all of them when the report is of one store."""
    rows = sorted(report.devices, key=_order)
    shown = rows if report.store else [row for row in rows if troubles(row)]
    n_well = len(rows) - len(shown)
    note = ""
    if n_well:
        note = f"Well and not shown: {n_well}; choose a store to see them."
    return Comparison(
        title="Devices" if report.store else "Devices with trouble",
        first_column="store",
        columns=_COLUMNS,
        rows=tuple((str(row["store"]), _texts(row)) for row in shown),
        shares=(),
        n_texts=_COLUMNS.index("events/h"),
        marked=frozenset(number for number, row in enumerate(shown) if troubles(row)),
        note=note,
    )


def clock_text(skew_ms: object) -> str:
    """Returns how far a clock is off; `-` for a device that tells no time.

    Example:
        >>> clock_text(95_000), clock_text(-7_200_000), clock_text(400), clock_text(None)
        ('+1 min 35 s', '-2 h 00 min', '+0.4 s', '-')
    """
    if not isinstance(skew_ms, int):
        return "-"
    off_s = abs(skew_ms) / THOUSANDTHS
    sign = "-" if skew_ms < 0 else "+"
    if off_s < _MINUTE_S:
        return f"{sign}{off_s:.1f} s"
    whole_s = int(off_s)
    if whole_s >= 2 * _DAY_S:
        return f"{sign}{whole_s // _DAY_S:,} days"
    if whole_s >= _HOUR_S:
        return f"{sign}{whole_s // _HOUR_S} h {whole_s % _HOUR_S // _MINUTE_S:02} min"
    return f"{sign}{whole_s // _MINUTE_S} min {whole_s % _MINUTE_S:02} s"


def _problems(state: Row) -> str:
    # Which devices, and what of them, is told in a table of its own.
    problems: list[str] = json.loads(str(state["problems"]))
    told = ["devices" if each.startswith("device_") else each for each in problems]
    return ", ".join(dict.fromkeys(told)) or "none"


def _devices(rows: Sequence[Row]) -> str:
    troubled = n_troubled(rows)
    return f"{troubled} of {len(rows)} with trouble" if troubled else f"{len(rows)} well"


def _texts(row: Row) -> tuple[str, ...]:
    inside = row["inside_at_closing"]
    return (
        str(row["device"]),
        ", ".join(troubles(row)) or "well",
        instant_text(row["last_seen_at_ms"]),
        f"{int(row['per_hour_thousandths'] or 0) / THOUSANDTHS:,.1f}",
        clock_text(row["skew_ms"]),
        "-" if inside is None else f"{int(inside):+d}",
    )


def _order(row: Row) -> tuple[bool, str, str]:
    return (not troubles(row), str(row["store"]), str(row["device"]))
