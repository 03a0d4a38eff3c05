"""`edge-agent replay --verify`: every decision of a recorded day, taken again from its record."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import typer
from rich.console import Console
from rich.progress import track

from edge_agent.cli.recorded_day import HINT, found_in, known_of, live_bundle
from edge_agent.errors import ConfigError
from edge_agent.replay.verification import Difference, Verifier
from edge_agent.shell.kept_rules import kept_rules
from edge_agent.shell.sqlite_db import open_for_reading

_SHOWN: Final = 20


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
    day = found_in(folder)
    with closing(open_for_reading(day.database)) as connection:
        known = known_of(day, connection, live_bundle(day))
        verifier = Verifier(known, kept_rules(connection, day.config))
        records = connection.execute("SELECT id, record FROM decision ORDER BY id").fetchall()
    if not records:
        raise ConfigError(f"{day.database} holds no decision", hint=HINT)
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


def _print(report: dict[str, Any]) -> None:
    for each in report["differences"][:_SHOWN]:
        line = f"{each['decision']}  {each['what']}: {each['recorded']}"
        typer.echo(line + (f"  ->  {each['recomputed']}" if each["recomputed"] else ""))
    beyond = len(report["differences"]) - _SHOWN
    if beyond > 0:
        typer.echo(f"... and {beyond} more: --json lists all")
    typer.echo(f"{report['decisions']} decisions taken again, {report['differing']} differ")
