"""`edge-agent tail`: decisions as they are made."""

from __future__ import annotations

import json
import sqlite3
import time
from pathlib import Path
from typing import Annotated, Final

import typer

from edge_agent import config as configuration
from edge_agent.cli.run import DEFAULT_CONFIG
from edge_agent.domain.time import rfc3339_from_ms
from edge_agent.shell.sqlite_db import open_for_reading

POLL_S: Final = 0.5
FIRST_ROWS: Final = 10


def tail(
    *,
    config: Annotated[Path, typer.Option("--config", "-c", help="The agent's file.")] = (
        DEFAULT_CONFIG
    ),
    follow: Annotated[bool, typer.Option(help="Go on until interrupted.")] = True,
    lines: Annotated[
        int, typer.Option("--lines", "-n", min=0, help="Decisions to begin with.")
    ] = FIRST_ROWS,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Show decisions as they are made: when, where, what, how found.

    Examples: edge-agent tail · edge-agent tail --no-follow --lines 50 --json
    """
    connection = open_for_reading(configuration.load(config).database)
    try:
        rows = connection.execute(
            "SELECT id, at_ms, moment, channel, place, level, items FROM decision"
            " ORDER BY id DESC LIMIT ?",
            (lines,),
        ).fetchall()[::-1]
        newest = ""
        while True:
            for row in rows:
                newest = row["id"]
                typer.echo(_line(row, as_json=as_json))
            if not follow:
                return
            time.sleep(POLL_S)
            rows = connection.execute(
                "SELECT id, at_ms, moment, channel, place, level, items FROM decision"
                " WHERE id > ? ORDER BY id",
                (newest,),
            ).fetchall()
    except KeyboardInterrupt:
        return
    finally:
        connection.close()


def _line(row: sqlite3.Row, *, as_json: bool) -> str:
    if as_json:
        return json.dumps({**dict(row), "items": json.loads(row["items"])})
    items = " ".join(json.loads(row["items"])) or "-"
    return (
        f"{rfc3339_from_ms(row['at_ms'])}  {row['id']}  {row['moment']:<13}"
        f" {row['place'] or row['channel']:<16} {row['level']:<10} {items}"
    )
