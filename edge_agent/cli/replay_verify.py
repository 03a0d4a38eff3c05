"""`edge-agent replay --verify`: every decision of a recorded day, taken again from its record.

Exit code 0: all were taken again, none differs and none was changed. 1: some differ or were
changed. 3: none of them, but some could not be taken again, because what decided is not here.
"""

from __future__ import annotations

import json
import sqlite3
import sys
from collections import Counter
from contextlib import closing
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

import typer
from rich.console import Console
from rich.progress import track

from edge_agent.cli.grounds import Grounds
from edge_agent.cli.recorded_day import HINT, found_in
from edge_agent.errors import ConfigError, StoreError
from edge_agent.replay.receipts import changes_in
from edge_agent.replay.verification import Difference
from edge_agent.shell.sqlite_db import open_for_reading

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_SHOWN: Final = 20
_DIFFER: Final = 1
_NOT_ALL_TAKEN: Final = 3


@dataclass(slots=True)
class _Report:
    """What came of a day.

    Attributes:
        not_taken: How many were not taken again, by the reason.
        undigested: How many have no digest of their own.
    """

    n_decisions: int
    found: list[Difference] = field(default_factory=list)
    not_taken: Counter[str] = field(default_factory=Counter)
    undigested: int = 0

    @property
    def n_differing(self) -> int:
        return len({each.decision for each in self.found})

    @property
    def document(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return {
            "decisions": self.n_decisions,
            "taken_again": self.n_decisions - self.not_taken.total(),
            "differing": self.n_differing,
            "not_taken_again": dict(self.not_taken),
            "without_digest": self.undigested,
            "differences": [asdict(each) for each in self.found],
        }


def verify(folder: Path, *, as_json: bool) -> None:
    """Takes every decision in a state folder again and reports what differs.

    Args:
        folder: What `edge-agent demo --state` left: `agent.toml` and `agent/state.db`.
        as_json: Whether the report is JSON.

    Raises:
        ConfigError: The folder holds no recorded day.
        StoreError: Its database cannot be read.
        typer.Exit: With 1, when a decision comes out in another way or was changed; with 3, when
            none is, and some could not be taken again.
    """
    day = found_in(folder)
    with closing(open_for_reading(day.database)) as connection:
        try:
            grounds = Grounds(day, connection)
            rows = connection.execute("SELECT * FROM decision ORDER BY id").fetchall()
        except sqlite3.Error as error:
            raise StoreError(f"the database cannot be read: {error}", hint=HINT) from error
    if not rows:
        raise ConfigError(f"{day.database} holds no decision", hint=HINT)
    report = _Report(len(rows))
    shown = track(rows, "taking decisions again", console=Console(stderr=True), transient=True)
    for row in shown:
        _look(dict(row), grounds, report)
    if as_json:
        sys.stdout.write(json.dumps(report.document, indent=2, ensure_ascii=False) + "\n")
    else:
        _print(report)
    if report.found:
        raise typer.Exit(_DIFFER)
    if report.not_taken:
        raise typer.Exit(_NOT_ALL_TAKEN)


def _look(row: Mapping[str, Any], grounds: Grounds, report: _Report) -> None:
    decision, record = str(row["id"]), str(row["record"])
    report.undigested += row.get("digest") is None
    told = _decoded(record)
    report.found += changes_in(row, told, zone=grounds.terms_of(row).zone_info)
    if not isinstance(told, dict):
        why = "it is no whole record"
        report.found.append(Difference(decision=decision, what="record", recorded=why))
        return
    verifier = grounds.verifier_of(row, told)
    if isinstance(verifier, str):
        report.not_taken[verifier] += 1
        return
    report.found += verifier.differences(decision, record)


def _decoded(record: str) -> Any:
    try:
        return json.loads(record)
    except (ValueError, RecursionError):
        return None


def _print(report: _Report) -> None:
    for each in report.found[:_SHOWN]:
        line = f"{each.decision}  {each.what}: {each.recorded}"
        typer.echo(line + (f"  ->  {each.recomputed}" if each.recomputed else ""))
    beyond = len(report.found) - _SHOWN
    if beyond > 0:
        typer.echo(f"... and {beyond} more: --json lists all")
    for why, n in report.not_taken.most_common():
        typer.echo(f"{n} not taken again: {why}")
    if report.undigested:
        typer.echo(
            f"{report.undigested} have no digest, from before there were any: of what was changed"
            " in them, only that is found which makes another decision or no longer fits the row"
        )
    taken = report.n_decisions - report.not_taken.total()
    typer.echo(f"{taken} decisions taken again, {report.n_differing} differ")
