"""How a policy does that runs muted beside the one in force, as `edge-agent status` prints it."""

from __future__ import annotations

from typing import Any, Final

from rich.markup import escape
from rich.table import Column, Table

COLUMNS: Final = (
    "zone",
    "compared",
    "same first",
    "same set",
    "value per decision",
    "contacts",
    "silences",
    "hits",
    "unknowable",
)
NOTE: Final = (
    "Of the decisions compared: live, then shadow. Caps and budgets count what was really said."
    " Value: expected, shadow less live, and its standard error."
)


def shadow_table(shadow: dict[str, Any]) -> Table:
    """Returns the comparison, a row for each zone, and above it what is wrong."""
    title = f"shadow policy {shadow['version'] or '(none)'}, muted, beside the one in force"
    lines = [title, *_troubles(shadow)]
    # Folded, not cut: half a figure is another one, nine columns are many for a terminal.
    columns = (Column(name, overflow="fold") for name in COLUMNS)
    table = Table(*columns, title=escape("\n".join(lines)), caption=NOTE)
    for each in shadow["zones"]:
        table.add_row(*(escape(cell) for cell in _cells(each)))
    return table


def _troubles(shadow: dict[str, Any]) -> list[str]:
    found = []
    if shadow["problem"] is not None:
        found.append(f"refused: {shadow['problem']}")
    if shadow["stepped_out"] is not None:
        found.append(f"stepped out after {shadow['stepped_out']}; the agent's log says where")
    if shadow["left_out"]:
        found.append(f"{shadow['left_out']:,} decisions left out: it could not keep up")
    return found


def _cells(zone: dict[str, Any]) -> tuple[str, ...]:
    cases = zone["cases_with_a_purchase"]
    return (
        zone["zone"],
        f"{zone['compared']:,}",
        _percent(zone["same_first"]),
        _percent(zone["same_set"]),
        _gain(zone["difference_per_decision"], zone["standard_error"]),
        f"{zone['contacts_live']:,}, {zone['contacts_shadow']:,}",
        f"{zone['silences_live']:,}, {zone['silences_shadow']:,}",
        f"{zone['hits_live']:,}, {zone['hits_shadow']:,} of {cases:,}",
        f"{zone['unknowable']:,}",
    )


def _gain(gain: float | None, error: float | None) -> str:
    if gain is None:
        return ""
    return f"{gain:+.4f}" if error is None else f"{gain:+.4f} ± {error:.4f}"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"
