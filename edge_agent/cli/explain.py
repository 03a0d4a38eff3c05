"""`edge-agent explain`: why this, why not that, line by line from the decision's record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from edge_agent import config as configuration
from edge_agent.cli.run import DEFAULT_CONFIG
from edge_agent.domain.time import SECOND_MS, rfc3339_from_ms
from edge_agent.shell.sqlite_db import open_for_reading

LATEST = "latest"


def explain(
    decision: Annotated[str, typer.Argument(help="A decision's id, or 'latest'.")] = LATEST,
    *,
    config: Annotated[Path, typer.Option("--config", "-c", help="The agent's file.")] = (
        DEFAULT_CONFIG
    ),
    database: Annotated[
        Path | None, typer.Option(help="Read this database instead of the configured one.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the record as it is.")] = False,
) -> None:
    """Explain one decision: what asked for it, what was weighed, what was ruled out and why.

    Examples: edge-agent explain latest · edge-agent explain 01KVB0… --database state.db
    """
    path = database or configuration.load(config).database
    record, outcomes = _read(path, decision)
    if as_json:
        typer.echo(json.dumps({**record, "outcomes": outcomes}, indent=2, ensure_ascii=False))
        return
    for line in explanation(record, outcomes):
        typer.echo(line)


def explanation(record: dict[str, Any], outcomes: list[tuple[str, str]]) -> list[str]:
    """Returns a decision's record in words, one line a fact."""
    place = record["place"]
    where = place["screen"] or place["register"] or place["team"] or place["channel"]
    lines = [
        f"decision {record['decision']} at {rfc3339_from_ms(record['now'])}",
        f"  moment     {record['moment']} on {place['channel']} {where} ({place['audience']}),"
        f" asked for by {record['cause']['source']} {record['cause']['id']}",
        f"  found by   {record['level']} · model {record['model']} · policy {record['policy']}"
        f" · arm {record['arm']} · action probability {record['action_probability']}",
    ]
    if record.get("company") is not None:
        lines.append(_company_line(record["company"]))
    request = record["request"]
    if request is not None:
        history = len(request["history"])
        lines.append(
            f"  rests on   hour {request['hour']}, weekday {request['weekday']},"
            f" {len(request['basket'])} products of this visit,"
            f" {history} earlier baskets{'' if history else ' (none used)'}"
        )
    if record.get("hq_silent_days"):
        lines.append(f"  rests on   headquarters, not heard for {record['hq_silent_days']} days")
    lines += _concern(record)
    chosen = set(record["chosen"])
    for rank, candidate in enumerate(record["candidates"], start=1):
        product, propensity, value, context, lever, score, reason = candidate
        mark = "chosen" if product in chosen else "lower "
        lines.append(
            f"  {mark} {rank:>3}. {product:<12} score {score:.6f} = propensity {propensity:.6f}"
            f" x value {value:g} x context {context:g} x lever {lever:g}   ({reason})"
        )
    lines += [
        f"  ruled out  {'everything' if product == '*' else product}: {gate}, {reason}"
        for product, gate, reason in record["ruled_out"]
    ]
    lines += [f"  outcome    {kind} {product}".rstrip() for kind, product in outcomes]
    return lines


def _concern(record: dict[str, Any]) -> list[str]:
    told = {name: each for name, each in record.get("concern", {}).items() if each}
    if not told:
        return []
    values = (", ".join(each) if isinstance(each, list) else each for each in told.values())
    what = (f"{name.replace('_', ' ')} {each}" for name, each in zip(told, values, strict=True))
    return [f"  help with  {' · '.join(what)}, {record['dwell_ms'] / SECOND_MS:g} s there"]


def _company_line(company: dict[str, Any]) -> str:
    n_people, held = company["people"], company.get("held")
    people = "1 person" if n_people == 1 else f"{n_people} people"
    heeded = f", an answer to {len(held)} of them together" if held is not None else ""
    return (
        f"  before     {people} at a {company['audience']} screen"
        f" (shared by {company['mode']}){heeded}"
    )


def _read(path: Path, decision: str) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    connection = open_for_reading(path)
    try:
        if decision == LATEST:
            row = connection.execute(
                "SELECT id, record FROM decision WHERE visitor IS NOT NULL"
                " ORDER BY id DESC LIMIT 1"
            ).fetchone()
        else:
            row = connection.execute(
                "SELECT id, record FROM decision WHERE id = ?", (decision,)
            ).fetchone()
        if row is None:
            typer.echo(f"error: no decision {decision} in {path}", err=True)
            typer.echo("hint: edge-agent tail shows ids as they are made", err=True)
            raise typer.Exit(1)
        outcomes = connection.execute(
            "SELECT kind, product FROM outcome WHERE decision = ? ORDER BY kind, product",
            (row["id"],),
        ).fetchall()
        return json.loads(row["record"]), [(kind, product) for kind, product in outcomes]
    finally:
        connection.close()
