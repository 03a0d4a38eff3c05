"""The command line: one file per command, arguments in, exit code out."""

from __future__ import annotations

import typer

from edge_agent.cli import hq
from edge_agent.cli.check import check
from edge_agent.cli.doctor import doctor
from edge_agent.cli.errors import shown
from edge_agent.cli.explain import explain
from edge_agent.cli.replay import replay
from edge_agent.cli.run import run
from edge_agent.cli.schema import schema
from edge_agent.cli.screens import screens
from edge_agent.cli.status import status
from edge_agent.cli.tail import tail

app = typer.Typer(
    name="edge-agent",
    help="In-store personalisation at the edge: events in, recommendations out, only summaries"
    " to HQ.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
for _name, _command in (
    ("run", run),
    ("replay", replay),
    ("screens", screens),
    ("check", check),
    ("status", status),
    ("doctor", doctor),
    ("tail", tail),
    ("explain", explain),
    ("schema", schema),
):
    app.command(_name)(shown(_command))
app.add_typer(hq.app, name="hq")


def main() -> None:
    """Runs the command line."""
    app()
