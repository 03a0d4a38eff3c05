"""`edge-agent keys`: which keys a gateway has, and another store key without losing anybody.

Both ask the running agent; no secret is ever printed.
"""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table

from edge_agent import config as configuration
from edge_agent.cli.errors import named, shown
from edge_agent.cli.run import DEFAULT_CONFIG
from edge_agent.domain.time import DAY_MS, rfc3339_from_ms
from edge_agent.shell.control import ROTATE_KEYS, SHOW_KEYS, ask
from edge_agent.shell.keys import KEY_BYTES, write_whole

app = typer.Typer(
    no_args_is_help=True, help="Keys of pseudonyms: names and ages, and another store key."
)

Config = Annotated[Path, typer.Option("--config", "-c", help="The agent's file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print as JSON.")]

_THE_FILE: Final = "as root, name the file that the unit hands the store's key in from"


@app.command()
@shown
def show(config: Config = DEFAULT_CONFIG, *, as_json: AsJson = False) -> None:
    """Show the names and ages of all keys; never a key.

    Example: edge-agent keys show
    """
    found = ask(configuration.load(config).control_socket, {"do": SHOW_KEYS})
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    Console().print(_table(found))


@app.command()
@shown
def rotate(
    credential: Annotated[
        Path | None,
        typer.Option(
            help="The file that the unit hands the store's key in from; it gets the new key."
        ),
    ] = None,
    *,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Re-key the pseudonyms of all identified people; links, consents and complaints stay.

    With a key from the unit: name its file, then restart the agent, which lets the old key go.

    Example: edge-agent keys rotate --credential /etc/edge-agent/secrets/store-key
    """
    loaded = configuration.load(config)
    request: dict[str, Any] = {"do": ROTATE_KEYS}
    following = None
    if credential is not None:
        key = secrets.token_bytes(KEY_BYTES)
        # On the disk before the agent relies on it; in its place once the agent does.
        following = credential.with_name(f"{credential.name}.next")
        with named("--credential", credential, hint=_THE_FILE):
            # A name that is mistyped would get a key that no unit hands in.
            credential.open("r+b").close()
            write_whole(following, key)
        request["key"] = key.hex()
    found = ask(loaded.control_socket, request)
    if following is not None and credential is not None:
        hint = f"the agent has taken the new key: move {following} there, then restart the agent"
        with named("--credential", credential, hint=hint):
            following.rename(credential)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    rows = ", ".join(f"{n} of {table}" for table, n in found["rekeyed"].items())
    typer.echo(f"store key {found['key']}, generation {found['store']['generation']}: {rows}")
    if following is not None:
        typer.echo("now restart the agent: systemctl restart edge-agent")


def _table(found: dict[str, Any]) -> Table:
    now_ms, store = found["now_ms"], found["store"]
    table = Table("key", "name", "age", "", title="keys of pseudonyms")
    rotated_at_ms = store["rotated_at_ms"]
    age = "never rotated" if rotated_at_ms is None else _days(now_ms - rotated_at_ms)
    told = f"from a {store['from']}, generation {store['generation']}"
    if store["slots"] > 1:
        told += "; the key before still opens the ring until the agent is started with this one"
    table.add_row("store", store["id"], age, told)
    for each in found["days"]:
        ends = rfc3339_from_ms(each["ends_at_ms"])
        table.add_row(each["day"], each["id"], "", f"its day ends {ends}")
    return table


def _days(age_ms: int) -> str:
    return f"{age_ms // DAY_MS} days"
