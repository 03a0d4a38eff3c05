"""`edge-agent privacy`: what is held of people and until when, and what left for HQ."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from edge_agent import config as configuration
from edge_agent.cli.errors import shown
from edge_agent.cli.run import DEFAULT_CONFIG
from edge_agent.domain.time import rfc3339_from_ms
from edge_agent.shell.control import SHOW_EGRESS, ask
from edge_agent.shell.personal_data import IMPERSONAL, report_of
from edge_agent.shell.sqlite_db import open_for_reading

app = typer.Typer(no_args_is_help=True, help="What is held of people, how long, what leaves.")

Config = Annotated[Path, typer.Option("--config", "-c", help="The agent's file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print as JSON.")]

_DAY_DIGITS = len("2026-11-22")


@app.callback()
def _described() -> None:
    """What is held of people, how long, what leaves."""


@app.command()
@shown
def report(config: Config = DEFAULT_CONFIG, *, as_json: AsJson = False) -> None:
    """Show every table with personal data: its rows, the oldest of them, when it goes.

    The agent deletes what is over once an hour, and only while its clock can be trusted.

    Example: edge-agent privacy report
    """
    loaded = configuration.load(config)
    with closing(open_for_reading(loaded.database)) as connection:
        row = connection.execute("SELECT value FROM meta WHERE key = 'now_ms'").fetchone()
        now_ms = 0 if row is None else int(row[0])
        tables = report_of(connection, loaded.retention, now_ms=now_ms)
    if as_json:
        found = {"at": rfc3339_from_ms(now_ms), "tables": tables, "impersonal": IMPERSONAL}
        typer.echo(json.dumps(found, indent=2))
        return
    Console().print(_table(tables))


@app.command()
@shown
def egress(
    config: Config = DEFAULT_CONFIG,
    *,
    last: Annotated[int, typer.Option(min=0, max=200, help="Newest messages, as sent.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Show what left for HQ today: kinds, messages, bytes, fields; what was refused.

    The messages' own texts are kept in memory alone, since the agent's start.

    Example: edge-agent privacy egress --last 3
    """
    found = ask(configuration.load(config).control_socket, {"do": SHOW_EGRESS, "last": last})
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    table = Table("kind", "sent", "bytes", "refused", "fields", title=f"to HQ on {found['day']}")
    for kind, each in sorted(found["kinds"].items()):
        counts = (f"{each[name]:,}" for name in ("sent", "bytes", "refused"))
        table.add_row(kind, *counts, ", ".join(each["fields"]))
    Console().print(table)
    for each in found["texts"]:
        typer.echo(f"{each['at']} {each['topic']} {each['text']}")


def _table(tables: list[dict[str, Any]]) -> Table:
    table = Table("table", "rows", "days", "since", "oldest", "next purge", title="held of people")
    for each in tables:
        goes = (each["next_purge"] or "")[:_DAY_DIGITS]
        table.add_row(
            ", ".join(each["tables"]),
            f"{each['rows']:,}",
            f"{each['days']}{'; ' + each['note'] if each['note'] else ''}",
            each["since"],
            (each["oldest"] or "")[:_DAY_DIGITS],
            f"{goes} overdue" if each["is_overdue"] else goes,
        )
    return table
