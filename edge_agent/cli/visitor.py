"""`edge-agent visitor`: a person's rights. What is held of him; forget it; leave it unused.

The running agent does it: only it may write its database. The identifier is best typed at the
prompt or piped in: on the command line other users of the machine may see it. It is hashed by the
agent at once, and is in no log and no file.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edge_agent import config as configuration
from edge_agent.cli.errors import named, shown
from edge_agent.cli.run import DEFAULT_CONFIG
from edge_agent.cli.visitor_page import page_of
from edge_agent.errors import AgentUnreachable, ConfigError, RequestRefused
from edge_agent.shell.audits import read_audits
from edge_agent.shell.control import (
    EXPORT_VISITOR,
    FORGET_VISITOR,
    RECEIPT_VISITOR,
    RESTRICT_VISITOR,
    SHOW_VISITOR,
    UNLINK_VISITOR,
    ask,
)

# A request in whose middle the agent ended is asked again, until it is back.
BACK_WITHIN_S: Final = 60.0
ASK_AGAIN_S: Final = 0.5
IDENTIFIER_MAX: Final = 256
OWNER_ONLY: Final = 0o600
SHOWN: Final = 50
_A_FOLDER: Final = "give a folder that may be written with --out"

app = typer.Typer(
    no_args_is_help=True,
    help="A person's rights: what is held of him, take it along, forget it, leave it unused.",
)

Identifier = Annotated[
    str | None,
    typer.Argument(
        help="A card, device, app or basket number. Asked for, or read from a pipe, when missing.",
        show_default=False,
    ),
]
Kind = Annotated[
    str | None,
    typer.Option(
        "--kind", "-k", help="ble, wifi, track, app, loyalty, receipt, basket or customer."
    ),
]
Config = Annotated[Path, typer.Option("--config", "-c", help="The agent's file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print as JSON.")]


@app.command()
@shown
def show(
    identifier: Identifier = None,
    *,
    kind: Kind = None,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Show what is held of somebody until when, and what that says; exit 1 when it is nothing.

    Example: edge-agent visitor show --kind loyalty
    """
    held = _asked(config, SHOW_VISITOR, identifier, kind)["held"]
    if as_json:
        typer.echo(json.dumps({**_counted(held), "derived": _derived(held)}, indent=2))
    else:
        Console().print(_table(held))
        if rows := _derived(held):
            typer.echo(_said(rows))
    if not held["is_held"]:
        raise typer.Exit(1)


@app.command()
@shown
def export(
    identifier: Identifier = None,
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write to.")] = Path(),
    kind: Kind = None,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Write all that is held of somebody as `visitor.json` and, to print, `visitor.html`.

    Example: edge-agent visitor export --kind loyalty --out /root/request-17
    """
    with named("--out", out, hint=_A_FOLDER):
        if out.exists() and not out.is_dir():
            raise ConfigError(f"{out} is no folder", hint=_A_FOLDER)
    loaded = configuration.load(config)
    held = _asked(config, EXPORT_VISITOR, identifier, kind)["held"]
    if not held["is_held"]:
        typer.echo(json.dumps(_counted(held), indent=2) if as_json else "nothing is held")
        raise typer.Exit(1)
    files = {
        "visitor.json": json.dumps(held, indent=2, ensure_ascii=False) + "\n",
        "visitor.html": page_of(held, zone=loaded.zone_info),
    }
    with named("--out", out, hint=_A_FOLDER):
        written = [str(_written(out / name, text)) for name, text in files.items()]
    if as_json:
        typer.echo(json.dumps({**_counted(held), "files": written}, indent=2))
    else:
        typer.echo("\n".join(f"written: {each}" for each in written))


@app.command()
@shown
def receipt(
    identifier: Identifier = None,
    *,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write it to a file of your own alone.")
    ] = None,
    kind: Kind = None,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Print what somebody allowed and refused as consent receipts, JSON; exit 1 without any.

    One receipt for each visitor that he is known as and stated something as.

    Example: edge-agent visitor receipt --kind loyalty > receipt.json
    """
    receipts = _asked(config, RECEIPT_VISITOR, identifier, kind)["receipts"]
    if not receipts:
        typer.echo("nothing was stated", err=True)
        raise typer.Exit(1)
    text = json.dumps(receipts, indent=2, ensure_ascii=False)
    if out is not None:
        with named("--out", out, hint="name a file that may be written"):
            text = f"written: {_written(out, f'{text}{os.linesep}')}"
    typer.echo(text)


@app.command()
@shown
def forget(
    identifier: Identifier = None,
    *,
    kind: Kind = None,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Erase somebody: state, what was derived, decisions, waiting messages, copies; tell HQ.

    It cannot be undone, and asks nothing back. All refused messages that were kept for another
    try, all copies of the database that the agent made, and what mappings remember of the day's
    people are destroyed with it.

    Example: edge-agent visitor forget --kind loyalty
    """
    answer = _asked(config, FORGET_VISITOR, identifier, kind, is_repeated=True)
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
    else:
        typer.echo(_told(answer))
    if answer["outcome"] == "not_finished":
        raise typer.Exit(1)


@app.command()
@shown
def unlink(
    identifier: Identifier = None,
    *,
    other: Annotated[
        bool, typer.Option("--other", help="Ask for a second identifier that it is not.")
    ] = False,
    kind: Kind = None,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Say that an identifier is not whom it was taken for: all is as if it had never been.

    Without `--other` all its links end: a device's to a card, a card's to every device. With
    `--other` the second identifier is asked for, or read from the pipe's second line.

    Example: edge-agent visitor unlink --kind loyalty
    """
    typed = _typed(identifier)
    also = {"other": _typed(None)} if other else {}
    answer = _asked(config, UNLINK_VISITOR, typed, kind, also=also)
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
    else:
        typer.echo(str(answer["outcome"]).replace("_", " "))
    if answer["outcome"] != "unlinked":
        raise typer.Exit(1)


@app.command()
@shown
def restrict(
    identifier: Identifier = None,
    *,
    lift: Annotated[bool, typer.Option("--lift", help="Use it again.")] = False,
    kind: Kind = None,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Hold what is known of somebody and use it for nothing, or use it again.

    Example: edge-agent visitor restrict --kind loyalty
    """
    answer = _asked(config, RESTRICT_VISITOR, identifier, kind, also={"lift": lift})
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
    else:
        typer.echo(str(answer["outcome"]).replace("_", " "))
    if answer["outcome"] == "nothing_held":
        raise typer.Exit(1)


@app.command()
@shown
def audit(
    *,
    config: Config = DEFAULT_CONFIG,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Newest acts shown.")] = SHOWN,
    as_json: AsJson = False,
) -> None:
    """List who looked at or erased somebody's data, and when; never whose.

    Example: edge-agent visitor audit --limit 10
    """
    acts = read_audits(configuration.load(config).database, limit=limit)
    if as_json:
        typer.echo(json.dumps({"acts": acts}, indent=2))
        return
    table = Table("at", "user", "act", "outcome", title="acts on persons' data")
    for each in acts:
        table.add_row(each["at"], str(each["uid"]), each["act"], each["outcome"])
    Console().print(table)


def _asked(
    config: Path,
    do: str,
    identifier: str | None,
    kind: str | None,
    *,
    is_repeated: bool = False,
    also: Mapping[str, str | bool] = MappingProxyType({}),
) -> dict[str, Any]:
    """Returns the running agent's answer.

    Raises:
        AgentUnreachable: No agent runs, or it did not come back in time.
        RequestRefused: It will not, and why.
    """
    socket = configuration.load(config).control_socket
    request: dict[str, Any] = {"do": do, "identifier": _typed(identifier), "kind": kind, **also}
    if not is_repeated:
        return ask(socket, request)
    # Without an agent at the beginning there is nothing to wait for.
    ask(socket, {"do": "ping"})
    until_s = time.monotonic() + BACK_WITHIN_S
    while True:
        try:
            return ask(socket, request)
        except AgentUnreachable:
            if time.monotonic() > until_s:
                raise
            time.sleep(ASK_AGAIN_S)


def _typed(identifier: str | None) -> str:
    """Returns the identifier, from the argument, a pipe or the prompt.

    Raises:
        RequestRefused: It is empty or too long; it is not repeated.
    """
    if identifier is None:
        if sys.stdin.isatty():
            identifier = typer.prompt("identifier", hide_input=True, err=True)
        else:
            identifier = sys.stdin.readline(2 * IDENTIFIER_MAX)
    text = str(identifier).strip()
    if not 0 < len(text) <= IDENTIFIER_MAX:
        raise RequestRefused(
            "no identifier was given" if not text else "that is no identifier, it is too long",
            hint="type it at the prompt, or pipe it in: edge-agent visitor show < FILE",
        )
    return text


def _written(path: Path, text: str) -> Path:
    # A file in the folder's place is told by what follows: it is no folder.
    with suppress(FileExistsError):
        path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
    return path


def _counted(held: dict[str, Any]) -> dict[str, Any]:
    return {
        "is_held": held["is_held"],
        "is_restricted": held["is_restricted"],
        "rows": {each["name"]: len(each["rows"]) for each in held["sections"]},
    }


def _derived(held: dict[str, Any]) -> list[dict[str, Any]]:
    return next((each["rows"] for each in held["sections"] if each["name"] == "derived"), [])


def _said(rows: list[dict[str, Any]]) -> str:
    """Returns what is said of somebody as lines; ids are long, so this is no table."""
    lines = ["", "what that says"]
    for each in rows:
        name = " ".join(text for text in (each["what"], each["of"]) if text)
        lines.append(f"  {name}: {each['is']} ({each['measured']})")
        lines.append(f"    rests on {each['rests_on']}, from {each['since']} to {each['last']}")
        lines += [f"    because {why}" for why in each["why"]]
    return "\n".join(lines)


def _table(held: dict[str, Any]) -> Table:
    title = "held of this person" if held["is_held"] else "nothing is held of this person"
    if held["is_restricted"]:
        title += ", and not used"
    table = Table("what", "rows", "basis", "days", "counted from", title=title)
    for each in held["sections"]:
        cells = (each["title"], str(len(each["rows"])), each["basis"])
        kept = (str(each["kept_days"]), each["kept_from"])
        table.add_row(*(escape(cell) for cell in (*cells, *kept)))
    return table


def _told(answer: dict[str, Any]) -> str:
    match answer["outcome"]:
        case "nothing_held":
            return "nothing was held; late messages about this identifier are kept out"
        case "forgotten":
            told = "; HQ is told until it confirms" if answer["hq_is_told"] else ""
            return (
                f"forgotten: {answer['visits']} visits, {answer['purchases']} purchases,"
                f" {answer['decisions']} decisions{told}"
            )
        case _:
            return "deleted, but the disk did not let go of it yet: the agent goes on trying"
