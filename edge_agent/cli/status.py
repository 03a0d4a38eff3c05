"""`edge-agent status`: how the agent is, in one table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edge_agent import config as configuration
from edge_agent.cli.run import DEFAULT_CONFIG
from edge_agent.errors import AgentUnreachable
from edge_agent.shell.control import SHOW_MODEL, ask
from edge_agent.shell.health import Health, read_health

LOOK_TIMEOUT_S: Final = 5.0


def status(
    config: Annotated[Path, typer.Option("--config", "-c", help="The agent's file.")] = (
        DEFAULT_CONFIG
    ),
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Show what the agent holds and what it counted.

    Example: edge-agent status --config /etc/edge-agent/agent.toml
    """
    loaded = configuration.load(config)
    health = read_health(loaded.database)
    model = _model(loaded.control_socket)
    if as_json:
        typer.echo(json.dumps({**health.as_dict(), "model": model}, indent=2))
        return
    table = Table(title="edge-agent", show_header=False)
    table.add_row("database", f"{health.database} ({health.size_bytes / 1e6:.1f} MB)")
    table.add_row("last seen", health.last_seen or "never")
    for name, count in health.counts.items():
        table.add_row(name.replace("_", " "), f"{count:,}")
    for name, count in health.counters.items():
        table.add_row(f"counted: {name.replace('_', ' ')}", f"{count:,}")
    table.add_row("model", "no agent answers" if model is None else model["live"] or "popularity")
    for name, value in ((model or {}).get("comparison") or {}).items():
        table.add_row(f"comparison: {name.replace('_', ' ')}", str(value))
    Console().print(table)
    if health.mappings or health.mappings_problem:
        Console().print(_mappings(health))


def _mappings(health: Health) -> Table:
    table = Table("mapping", "in force since", "problem", title="device mappings")
    for each in health.mappings:
        problem = "" if each.problem is None else escape(each.problem)
        table.add_row(each.name, each.in_force_since or "not in force", problem)
    if health.mappings_problem is not None:
        table.add_row("(all)", "as before", escape(health.mappings_problem))
    return table


def _model(control: Path) -> dict[str, Any] | None:
    try:
        return ask(control, {"do": SHOW_MODEL}, timeout_s=LOOK_TIMEOUT_S)
    except AgentUnreachable:
        # The database is told of in any case.
        return None
