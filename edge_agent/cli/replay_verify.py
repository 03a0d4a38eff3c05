"""`edge-agent replay --verify`: every decision of a recorded day, taken again from its record."""

from __future__ import annotations

import json
import sys
from collections import ChainMap
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer
from rich.console import Console
from rich.progress import track

from edge_agent import config as configuration
from edge_agent.config import layout_of
from edge_agent.domain.ids import ProductId
from edge_agent.domain.store import Product
from edge_agent.errors import BundleError, ConfigError, StoreError
from edge_agent.replay.verification import Difference, Verifier
from edge_agent.shell.bundles import Bundle, load_bundle
from edge_agent.shell.catalogue import BundleDepartments, StoreCatalogue
from edge_agent.shell.model_store import CONFIGURED, ModelStore
from edge_agent.shell.scorers import ModelScorer
from edge_agent.shell.sqlite_db import open_for_reading

if TYPE_CHECKING:
    import sqlite3

    from edge_agent.config import Config

_CONFIG: Final = "agent.toml"
_DATABASE: Final = "state.db"
_SHOWN: Final = 20
_HINT: Final = "give the folder that `edge-agent demo --state DIR` left"


def verify(folder: Path, *, as_json: bool) -> None:
    """Takes every decision in a state folder again and reports what differs.

    Args:
        folder: What `edge-agent demo --state` left: `agent.toml` and `agent/state.db`.
        as_json: Whether the report is JSON.

    Raises:
        ConfigError: The folder holds no recorded day.
        BundleError: The model that decided is not there.
        typer.Exit: With 1, when a decision comes out in another way.
    """
    database, config = _found(folder)
    with closing(open_for_reading(database)) as connection:
        verifier = _verifier(connection, config, database.parent)
        records = connection.execute("SELECT id, record FROM decision ORDER BY id").fetchall()
    if not records:
        raise ConfigError(f"{database} holds no decision", hint=_HINT)
    found: list[Difference] = []
    shown = track(records, "taking decisions again", console=Console(stderr=True), transient=True)
    for decision, record in shown:
        found += verifier.differences(str(decision), str(record))
    report = {
        "decisions": len(records),
        "differing": len({each.decision for each in found}),
        "differences": [asdict(each) for each in found],
    }
    if as_json:
        sys.stdout.write(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    else:
        _print(report)
    if found:
        raise typer.Exit(1)


def _found(folder: Path) -> tuple[Path, Config]:
    path = folder / _CONFIG
    if not path.is_file():
        raise ConfigError(f"{folder} holds no recorded day: no {_CONFIG}", hint=_HINT)
    config = configuration.load(path)
    # The folder may have been moved since: what lies in it comes before what its file names.
    for database in (folder / "agent" / _DATABASE, folder / _DATABASE, config.database):
        if database.is_file():
            return database, config
    raise ConfigError(f"{folder} holds no recorded day: no {_DATABASE}", hint=_HINT)


def _verifier(connection: sqlite3.Connection, config: Config, state: Path) -> Verifier:
    try:
        fed = _fed(connection)
    except connection.Error as error:
        raise StoreError(f"the database cannot be read: {error}", hint=_HINT) from error
    bundle = _bundle(config, state)
    departments = {key: each.department for key, each in fed.items() if each.department}
    return Verifier(
        scorer=ModelScorer(bundle),
        catalogue=StoreCatalogue(
            bundle.catalogue,
            fed=fed,
            may_rank=bundle.scorer.knows,
            layout=layout_of(config),
            currency=config.currency,
        ),
        departments=ChainMap(departments, BundleDepartments(bundle.catalogue)),  # type: ignore[arg-type]  # nothing is written
        policy=config.policy,
    )


def _fed(connection: sqlite3.Connection) -> dict[ProductId, Product]:
    rows = connection.execute("SELECT product, title, price, currency, department FROM catalogue")
    return {
        ProductId(product): Product(
            id=ProductId(product),
            title=title,
            price=price,
            currency=currency,
            department=department,
        )
        for product, title, price, currency, department in rows
    }


def _bundle(config: Config, state: Path) -> Bundle:
    store = ModelStore(state / "models")
    live = store.read().live
    if live != CONFIGURED:
        return load_bundle(store.path_of(live), public_key=config.model_key)
    if config.model.bundle is None:
        raise BundleError(
            "the day was decided without a model: popularity rests on all sales before, which"
            " no record holds",
            hint="verify a day that a bundle decided",
        )
    return load_bundle(Path(config.model.bundle), public_key=config.model_key)


def _print(report: dict[str, Any]) -> None:
    for each in report["differences"][:_SHOWN]:
        line = f"{each['decision']}  {each['what']}: {each['recorded']}"
        typer.echo(line + (f"  ->  {each['recomputed']}" if each["recomputed"] else ""))
    beyond = len(report["differences"]) - _SHOWN
    if beyond > 0:
        typer.echo(f"... and {beyond} more: --json lists all")
    typer.echo(f"{report['decisions']} decisions taken again, {report['differing']} differ")
