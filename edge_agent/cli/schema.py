"""`edge-agent schema`: prints, writes or checks the wire's JSON Schemas and AsyncAPI document."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from edge_agent import wire
from edge_agent.cli.errors import named
from edge_agent.wire.catalog import SCHEMA_URN
from edge_agent.wire.documents import ASYNCAPI, documents

GENERATED = Path(wire.__file__).parent / "generated"
_SCHEMA = ".schema.json"


def schema(
    name: Annotated[
        str, typer.Argument(help="What to print: `asyncapi`, or a message such as `zone.entered`.")
    ] = "asyncapi",
    *,
    out: Annotated[
        Path | None, typer.Option(help="Write every document into this folder.", metavar="DIR")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="List the documents that are not current.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Report as JSON.")] = False,
) -> None:
    """JSON Schema and AsyncAPI of the wire, made from the message models.

    With --check the folder of --out is compared (without --out: the one in the package) and
    nothing is written; exit code 1 when a document is missing, different or no longer made, 2 for
    wrong use, such as a folder that cannot be written.
    """
    made = documents()
    if check:
        _check(made, out or GENERATED, as_json=as_json)
    elif out is not None:
        _write(made, out, as_json=as_json)
    else:
        _print(made, name)


def stale(made: Mapping[str, str], folder: Path) -> list[str]:
    """Returns the files that a folder lacks, holds otherwise, or holds no longer needed."""
    outdated = {name for name in made if not _holds(folder / name, made[name])}
    return sorted(outdated | _no_longer_made(made, folder))


def _holds(path: Path, content: str) -> bool:
    return path.is_file() and path.read_bytes() == content.encode()


def _no_longer_made(made: Mapping[str, str], folder: Path) -> set[str]:
    # Only a schema with a name of ours: the folder may hold somebody else's files.
    ours = f'"$id": "{SCHEMA_URN}:'.encode()
    schemas = (path for path in folder.glob(f"*{_SCHEMA}") if path.name not in made)
    return {path.name for path in schemas if ours in path.read_bytes()}


def _check(made: Mapping[str, str], folder: Path, *, as_json: bool) -> None:
    with named("--out", folder, hint="name a folder that may be read"):
        found = stale(made, folder)
    if as_json:
        typer.echo(json.dumps({"folder": str(folder), "documents": len(made), "stale": found}))
    elif found:
        typer.echo("\n".join(found))
        typer.echo(f"{len(found)} not current; run: edge-agent schema --out {folder}", err=True)
    else:
        typer.echo(f"{len(made)} documents are current")
    if found:
        raise typer.Exit(1)


def _write(made: Mapping[str, str], folder: Path, *, as_json: bool) -> None:
    with named("--out", folder, hint="name a folder that may be written"):
        folder.mkdir(parents=True, exist_ok=True)
        changed = stale(made, folder)
        for name in changed:
            if name in made:
                (folder / name).write_bytes(made[name].encode())
            else:
                (folder / name).unlink()
    if as_json:
        typer.echo(json.dumps({"folder": str(folder), "documents": len(made), "written": changed}))
    else:
        typer.echo(f"{len(made)} documents in {folder}, {len(changed)} of them changed")


def _print(made: Mapping[str, str], name: str) -> None:
    file = ASYNCAPI if name == "asyncapi" else f"{name}{_SCHEMA}"
    if file not in made:
        known = ", ".join(
            one.removesuffix(_SCHEMA) for one in sorted(made) if one.endswith(_SCHEMA)
        )
        typer.echo(f"no message is called {name}; there are: asyncapi, {known}", err=True)
        raise typer.Exit(2)
    sys.stdout.write(made[file])
