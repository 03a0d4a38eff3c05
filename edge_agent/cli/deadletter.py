"""`edge-agent deadletter`: what was refused and why, and trying it again once that is mended."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edge_agent import config as configuration
from edge_agent.cli.errors import shown
from edge_agent.cli.run import DEFAULT_CONFIG
from edge_agent.shell.control import ask
from edge_agent.shell.letters import ShownLetter, read_letters

SHOWN: Final = 50
# What may still come of a letter; everything else is over.
_OUTCOMES: Final = ("taken", "refused", "not_kept", "gone", "unknown")

ConfigOption = Annotated[Path, typer.Option("--config", "-c", help="The agent's file.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print as JSON.")]

app = typer.Typer(
    help="Refused messages: why, and once more after a mapping was mended.", no_args_is_help=True
)


@app.command("list")
@shown
def list_(
    *,
    config: ConfigOption = DEFAULT_CONFIG,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Newest letters shown.")] = SHOWN,
    as_json: JsonOption = False,
) -> None:
    """List refused messages, newest first; never what was in them.

    Example: edge-agent deadletter list --limit 10
    """
    letters, n_all = read_letters(configuration.load(config).database, limit=limit)
    if as_json:
        found = {"n_all": n_all, "letters": [asdict(each) for each in letters]}
        typer.echo(json.dumps(found, indent=2))
        return
    Console().print(_table(letters, n_all))


@app.command()
@shown
def retry(
    ids: Annotated[
        list[str] | None, typer.Argument(help="Letters to try; all of them when none is named.")
    ] = None,
    *,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Have the running agent take refused messages again; exit 1 when one is refused again.

    A message counts as of its arrival, and never twice. It can be tried for a day at most.

    Example: edge-agent deadletter retry
    """
    letters = _retried(configuration.load(config).control_socket, ids)
    counts = Counter(each["outcome"] for each in letters)
    if as_json:
        counted = {name: counts[name] for name in _OUTCOMES}
        typer.echo(json.dumps({"counts": counted, "letters": letters}, indent=2))
    else:
        told = ", ".join(f"{counts[name]} {name.replace('_', ' ')}" for name in _OUTCOMES)
        typer.echo(told)
        for each in letters:
            if each["outcome"] != "taken":
                typer.echo(f"  {each['id']} {each['outcome']}: {each.get('detail', '')}")
    if counts.total() != counts["taken"]:
        raise typer.Exit(1)


def _retried(socket: Path, ids: list[str] | None) -> list[dict[str, str]]:
    request: dict[str, Any] = {"do": "deadletter_retry"}
    if ids:
        answer = ask(socket, {**request, "ids": ids})
        return list(answer["letters"])
    letters: list[dict[str, str]] = []
    after: list[Any] | None = [0, ""]
    while after is not None:
        answer = ask(socket, {**request, "after": after})
        letters += answer["letters"]
        after = answer["after"]
    return letters


def _table(letters: tuple[ShownLetter, ...], n_all: int) -> Table:
    table = Table(
        "id", "received", "reason", "topic", "detail", "retry",
        title=f"dead letters, {len(letters)} of {n_all}",
    )  # fmt: skip
    for each in letters:
        can = "possible" if each.can_be_retried else "not kept"
        cells = (each.id, each.received_at, each.reason, each.topic, each.detail, can)
        table.add_row(*(escape(cell) for cell in cells))
    return table
