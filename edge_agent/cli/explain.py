"""`edge-agent explain`: why this, why not that, line by line from the decision's record."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_agent import config as configuration
from edge_agent.cli.explanation import (
    NOBODY_KNOWS,
    UNKNOWN,
    UNPLACED,
    WhyNot,
    explanation,
    why_not,
)
from edge_agent.cli.run import DEFAULT_CONFIG
from edge_agent.decide.trace import request_from
from edge_agent.domain.ids import ProductId
from edge_agent.domain.time import rfc3339_from_ms
from edge_agent.errors import EdgeAgentError
from edge_agent.shell.kept_rules import kept_rules
from edge_agent.shell.sqlite_db import open_for_reading

if TYPE_CHECKING:
    from edge_agent.cli.recorded_day import RecordedDay
    from edge_agent.shell.bundles import Bundle

LATEST = "latest"
# More than any bundle places.
MOST_PLACED = 10_000


def explain(
    decision: Annotated[
        str, typer.Argument(help="A decision's id, or 'latest': the newest about a visitor.")
    ] = LATEST,
    *,
    config: Annotated[Path, typer.Option("--config", "-c", help="The agent's file.")] = (
        DEFAULT_CONFIG
    ),
    database: Annotated[
        Path | None, typer.Option(help="Read this database instead of the configured one.")
    ] = None,
    wanted: Annotated[
        str | None,
        typer.Option("--why-not", help="Say why this product or campaign was not chosen."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the record and what is beside it.")
    ] = False,
) -> None:
    """Explain one decision: what asked for it, what was weighed, what was ruled out and why.

    'latest' is the newest decision about a visitor. `edge-agent tail` also lists those about a
    screen that nobody stands before (the store's defaults), so its newest may be another: name it
    by its id.

    Examples: edge-agent explain latest · edge-agent explain 01KVB0… --why-not 1029743
    """
    path = database or configuration.load(config).database
    record, outcomes, spent_us = _read(path, decision)
    if wanted is not None:
        found = why_not(record, wanted)
        if found.outcome == UNPLACED:
            found = _looked_up(found, record, config=config, database=path)
        _tell_why_not(record, found, as_json=as_json)
        return
    if as_json:
        told = {**record, "outcomes": outcomes, "spent_us": spent_us}
        typer.echo(json.dumps(told, indent=2, ensure_ascii=False))
        return
    for line in explanation(record, outcomes, spent_us=spent_us):
        typer.echo(line)


def with_place(found: WhyNot, record: dict[str, Any], bundle: Bundle | None) -> WhyNot:
    """Returns a reason with the place that the model gave to what its record does not hold.

    Args:
        found: Why not, as far as the record says.
        record: The decision's.
        bundle: The one that decided; None where it is not at hand.
    """
    request = request_from(record)
    if bundle is None or request is None:
        return found
    product = ProductId(found.wanted)
    if not bundle.scorer.knows(product):
        return replace(found, text=f"{found.text}; the model does not know it")
    ranked = bundle.scorer.rank(replace(request, limit=MOST_PLACED, with_reasons=False))
    placed = next((n for n, each in enumerate(ranked) if each.product == product), None)
    if placed is None:
        said = f"the model found {len(ranked)} others likelier"
    else:
        said = f"the model placed it {placed + 1}. with propensity {ranked[placed].propensity:.6f}"
    return replace(found, text=f"{found.text}; {said}")


def _looked_up(found: WhyNot, record: dict[str, Any], *, config: Path, database: Path) -> WhyNot:
    """Returns why something is not among what was weighed: unknown here, or lower in the model."""
    # Only who asks for what the record does not hold waits for the model to load.
    from edge_agent.cli.grounds import bundles_of  # noqa: PLC0415
    from edge_agent.cli.recorded_day import RecordedDay  # noqa: PLC0415
    from edge_agent.shell.bundles import load_bundle  # noqa: PLC0415

    try:
        day = RecordedDay(database=database, config=configuration.load(config))
        bundle_path = bundles_of(day).get(record["model"])
        if bundle_path is None:
            return found
        bundle = load_bundle(bundle_path, public_key=day.config.model_key)
    except EdgeAgentError:
        return found
    if ProductId(found.wanted) not in bundle.catalogue and not _is_told_of(found.wanted, day):
        return replace(found, outcome=UNKNOWN, text=NOBODY_KNOWS)
    return with_place(found, record, bundle)


def _is_told_of(name: str, day: RecordedDay) -> bool:
    """Returns whether HQ's feed has a product of a name, or a policy that is kept a campaign."""
    with closing(open_for_reading(day.database)) as connection:
        asked = connection.execute("SELECT 1 FROM catalogue WHERE product = ?", (name,))
        if asked.fetchone() is not None:
            return True
        rules = kept_rules(connection, day.config).values()
    return any(name == campaign.id for each in rules for campaign in each.campaigns)


def _tell_why_not(record: dict[str, Any], found: WhyNot, *, as_json: bool) -> None:
    if as_json:
        told = {"decision": record["decision"], **asdict(found)}
        typer.echo(json.dumps(told, indent=2, ensure_ascii=False))
        return
    typer.echo(f"decision {record['decision']} at {rfc3339_from_ms(record['now'])}")
    typer.echo(f"  why not {found.wanted}: {found.text}")


def _read(path: Path, decision: str) -> tuple[dict[str, Any], list[tuple[str, str]], int | None]:
    connection = open_for_reading(path)
    try:
        if decision == LATEST:
            row = connection.execute(
                "SELECT * FROM decision WHERE visitor IS NOT NULL ORDER BY id DESC LIMIT 1"
            ).fetchone()
        else:
            row = connection.execute("SELECT * FROM decision WHERE id = ?", (decision,)).fetchone()
        if row is None:
            typer.echo(f"error: no decision {decision} in {path}", err=True)
            typer.echo("hint: edge-agent tail shows ids as they are made", err=True)
            raise typer.Exit(1)
        outcomes = connection.execute(
            "SELECT kind, product FROM outcome WHERE decision = ? ORDER BY kind, product",
            (row["id"],),
        ).fetchall()
        # A recorded day of an older agent has no such column.
        spent_us = row["spent_us"] if "spent_us" in row.keys() else None  # noqa: SIM118 - a Row
        return json.loads(row["record"]), [(kind, product) for kind, product in outcomes], spent_us
    finally:
        connection.close()
