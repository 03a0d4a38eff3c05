"""`edge-agent model`: which bundles a gateway has, whether one is sound, install, roll back.

`show` and `verify` read files. `install` and `rollback` ask the running agent: only it switches.
"""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edge_agent import config as configuration
from edge_agent.cli.errors import shown
from edge_agent.cli.run import DEFAULT_CONFIG
from edge_agent.errors import AgentUnreachable, BundleError
from edge_agent.shell.bundles import load_bundle, read_manifest, signature_of
from edge_agent.shell.control import INSTALL_MODEL, ROLL_MODEL_BACK, SHOW_MODEL, ask
from edge_agent.shell.model_store import CONFIGURED, ModelStore, stage

LOOK_TIMEOUT_S: Final = 5.0
N_BOUNDS: Final = 3

app = typer.Typer(
    no_args_is_help=True,
    help="Model bundles: what is in use, whether one is sound, install, go back.",
)

Config = Annotated[Path, typer.Option("--config", "-c", help="The agent's file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print as JSON.")]


class Role(StrEnum):
    """What a bundle is installed as."""

    SHADOW = "shadow"
    LIVE = "live"


@app.command()
@shown
def show(config: Config = DEFAULT_CONFIG, *, as_json: AsJson = False) -> None:
    """Show the live bundle, the shadow and the one before: manifest, metrics, signature, place.

    Example: edge-agent model show --json
    """
    loaded = configuration.load(config)
    store = ModelStore(loaded.model_directory)
    choice = store.read()
    roles = {"live": choice.live, "shadow": choice.shadow, "previous": choice.previous}
    report: dict[str, Any] = {
        role: None if name is None else _described(name, loaded, store)
        for role, name in roles.items()
    }
    report["highest"] = choice.highest or None
    report["withdrawn"] = len(choice.withdrawn)
    report["agent"] = _running(loaded)
    if as_json:
        typer.echo(json.dumps(report, indent=2))
        return
    _print(report)


@app.command()
@shown
def verify(
    bundle: Annotated[Path, typer.Argument(help="The bundle's folder.")],
    *,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Make every check that loading makes, stored examples included; exit 1 when one fails.

    The key is the configuration's, where there is one.

    Example: edge-agent model verify models/artifacts
    """
    key = configuration.load(config).model_key if config.exists() else None
    report: dict[str, Any] = {"bundle": str(bundle), "good": False}
    try:
        manifest = load_bundle(bundle, public_key=key).manifest
    except BundleError as error:
        report |= {"error": error.message, "hint": error.hint}
    else:
        signature = signature_of(manifest, public_key=key)
        report |= {"good": True, "version": manifest["version"], "signature": signature}
    if as_json:
        typer.echo(json.dumps(report, indent=2))
    elif report["good"]:
        typer.echo(f"{bundle}: good, {report['version']}, {report['signature']}")
    else:
        typer.echo(f"{bundle}: refused: {report['error']}. {report['hint']}")
    if not report["good"]:
        raise typer.Exit(1)


@app.command()
@shown
def install(
    bundle: Annotated[Path, typer.Argument(help="The bundle's folder.")],
    *,
    role: Annotated[
        Role, typer.Option("--as", help="A shadow scores beside the live one, deciding nothing.")
    ] = Role.SHADOW,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Copy a bundle to the running agent, which verifies it and puts it to use.

    Decisions go on meanwhile, and with the old bundle when the new one is refused. An older
    version than was installed before is refused: only `rollback` goes back.

    Example: edge-agent model install /root/ranker-2026.12.1 --as shadow
    """
    loaded = configuration.load(config)
    # Without an agent nothing is copied.
    ask(loaded.control_socket, {"do": SHOW_MODEL}, timeout_s=LOOK_TIMEOUT_S)
    staged = stage(bundle, loaded.model_directory, public_key=loaded.model_key)
    answer = ask(loaded.control_socket, {"do": INSTALL_MODEL, "staged": staged, "as": role.value})
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
    else:
        typer.echo(f"{answer['version']} is {answer['as']} now ({answer['installed']})")


@app.command()
@shown
def rollback(*, config: Config = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """Let the bundle before decide again, and withdraw the live one for good.

    Example: edge-agent model rollback
    """
    loaded = configuration.load(config)
    answer = ask(loaded.control_socket, {"do": ROLL_MODEL_BACK})
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
    else:
        typer.echo(f"{answer['version'] or 'popularity'} is live again ({answer['live']})")


def _described(
    name: str, loaded: configuration.Config, store: ModelStore
) -> dict[str, Any] | None:
    if name == CONFIGURED and loaded.model.bundle is None:
        return None
    path = Path(loaded.model.bundle or "") if name == CONFIGURED else store.path_of(name)
    found: dict[str, Any] = {"name": name, "where": str(path)}
    try:
        manifest = read_manifest(path, public_key=loaded.model_key)
    except BundleError as error:
        return {**found, "refused": error.message}
    signature = signature_of(manifest, public_key=loaded.model_key)
    return {**found, "signature": signature, "manifest": manifest}


def _running(loaded: configuration.Config) -> dict[str, Any] | None:
    try:
        return ask(loaded.control_socket, {"do": SHOW_MODEL}, timeout_s=LOOK_TIMEOUT_S)
    except AgentUnreachable:
        return None


def _print(report: dict[str, Any]) -> None:
    table = Table(title="model bundles", show_header=False)
    for role in ("live", "shadow", "previous"):
        for name, value in _rows(report[role]):
            table.add_row(role if name == "bundle" else "", name, escape(value))
    table.add_row("installed", "newest version", report["highest"] or "none by command")
    table.add_row("", "withdrawn", str(report["withdrawn"]))
    agent = report["agent"]
    table.add_row("running", "decides with", "no agent answers" if agent is None else _now(agent))
    for name, value in ((agent or {}).get("comparison") or {}).items():
        table.add_row("", name.replace("_", " "), str(value))
    Console().print(table)


def _now(agent: dict[str, Any]) -> str:
    refused = "".join(f"; {name}: {why}" for name, why in agent["refused"].items())
    return f"{agent['live'] or 'popularity'}{refused}"


def _rows(bundle: dict[str, Any] | None) -> list[tuple[str, str]]:
    if bundle is None:
        return [("bundle", "none")]
    rows = [("bundle", bundle["name"]), ("where", bundle["where"])]
    if "refused" in bundle:
        return [*rows, ("refused", bundle["refused"])]
    manifest = bundle["manifest"]
    rows += [
        ("version", str(manifest["version"])),
        ("signature", bundle["signature"]),
        ("trained", f"{manifest.get('trained_from')} until {manifest.get('trained_until')}"),
        ("products", str(manifest.get("n_items"))),
        ("install by", str(manifest.get("install_by", "no end"))),
        ("needs agent", str(manifest.get("minimum_agent"))),
    ]
    for case, measures in dict(manifest.get("metrics", {})).items():
        shown_ = ", ".join(f"{name} {_interval(value)}" for name, value in measures.items())
        rows.append((f"metrics {case}", shown_))
    return rows


def _interval(value: Any) -> str:
    if isinstance(value, list) and len(value) == N_BOUNDS:
        return f"{value[0]} [{value[1]}, {value[2]}]"
    return str(value)
