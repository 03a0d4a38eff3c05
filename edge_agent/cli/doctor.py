"""`edge-agent doctor`: what is wrong and how to mend it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final, NamedTuple

import typer

from edge_agent import config as configuration
from edge_agent.cli.check import problems_of
from edge_agent.cli.run import DEFAULT_CONFIG
from edge_agent.decide.eligibility import is_unheard
from edge_agent.domain.time import DAY_MS, SECOND_MS, rfc3339_from_ms
from edge_agent.errors import AS_THE_AGENT, EdgeAgentError, refusal_of
from edge_agent.shell.health import read_health

CONNECT_TIMEOUT_S: Final = 3.0
# Logs and a few quiet hours: time to mend it before no events are taken.
FREE_BYTES_MIN: Final = 200 * 1_024 * 1_024
SQLITE_MIN: Final = (3, 40, 0)
WAITING_FOR_HQ_MANY: Final = 1_000


class Finding(NamedTuple):
    """One thing that was looked at; `mend` is empty when it is well."""

    what: str
    found: str
    mend: str


def doctor(
    config: Annotated[Path, typer.Option("--config", "-c", help="The agent's file.")] = (
        DEFAULT_CONFIG
    ),
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Look for what is wrong on this gateway, and say how to mend it; exit 1 when anything is.

    Example: edge-agent doctor --config /etc/edge-agent/agent.toml
    """
    loaded = configuration.load(config)
    findings = [_looked(look, loaded) for look in CHECKS]
    model = problems_of(config)
    findings.append(Finding("files", "good" if not model else model[0], "; ".join(model)))
    if as_json:
        typer.echo(json.dumps([finding._asdict() for finding in findings], indent=2))
    else:
        for finding in findings:
            mark = "ok " if not finding.mend else "BAD"
            typer.echo(f"{mark} {finding.what}: {finding.found}")
            if finding.mend:
                typer.echo(f"    -> {finding.mend}")
    if any(finding.mend for finding in findings):
        raise typer.Exit(1)


def _looked(
    look: Callable[[configuration.Config], Finding], loaded: configuration.Config
) -> Finding:
    """Returns what was found; what may not be looked at is a finding too, and no end of them."""
    try:
        return look(loaded)
    except OSError as error:
        refused = refusal_of(error)
        if refused is None:
            raise
        return Finding(look.__name__.removeprefix("_"), refused.message, refused.hint)


def _broker(loaded: configuration.Config) -> Finding:
    return _reach("broker", loaded.broker, "systemctl status mosquitto; see [broker] in the file")


def _hq(loaded: configuration.Config) -> Finding:
    if loaded.hq is None:
        return Finding("hq", "not configured", "")
    return _reach("hq", loaded.hq, "is the line to HQ up? summaries wait in the outbox meanwhile")


def _hq_heard(loaded: configuration.Config) -> Finding:
    if loaded.hq is None:
        return Finding("hq's word", "no HQ", "")
    try:
        health = read_health(loaded.database)
    except EdgeAgentError as error:
        return Finding("hq's word", error.message, error.hint)
    heard_ms, is_replay = health.hq_heard_ms, loaded.clock == "replay"
    if heard_ms is None:
        return Finding("hq's word", "waited for", "")
    # A replay's time is that of the day it plays, years ago: the agent judges by it, and so here.
    now_ms = health.last_seen_ms if is_replay else int(time.time() * SECOND_MS)
    days = ((now_ms or heard_ms) - heard_ms) // DAY_MS
    mend = ""
    if is_unheard(days, loaded.policy):
        mend = (
            "whoever is identified is left alone until HQ's receiver answers: mend the line, and"
            " see [hq] keys (policy.hq_stale_after_days)"
        )
    until = f", by the replay's last tick ({health.last_seen})" if is_replay else ""
    return Finding("hq's word", f"newest of {rfc3339_from_ms(heard_ms)}{until}", mend)


def _reach(what: str, section: configuration.LinkSection, mend: str) -> Finding:
    where = f"{section.host}:{section.port}"
    try:
        with socket.create_connection((section.host, section.port), timeout=CONNECT_TIMEOUT_S):
            return Finding(what, f"{where} answers", "")
    except OSError as error:
        return Finding(what, f"{where}: {error}", mend)


def _disk(loaded: configuration.Config) -> Finding:
    folder = Path(loaded.state.directory)
    if not folder.exists():
        return Finding("state", f"{folder} does not exist", f"mkdir -p {folder}")
    if not os.access(folder, os.W_OK):
        mend = f"{AS_THE_AGENT}; where the agent may not either, chown edge-agent {folder}"
        return Finding("state", f"{folder} is not writable", mend)
    free = shutil.disk_usage(folder).free
    mend = "" if free > FREE_BYTES_MIN else f"free space on {folder}: no events are taken soon"
    return Finding("disk", f"{free / 1e6:,.0f} MB free", mend)


def _database(loaded: configuration.Config) -> Finding:
    try:
        health = read_health(loaded.database)
    except EdgeAgentError as error:
        return Finding("database", error.message, error.hint)
    waiting = health.counts["waiting_for_hq"]
    mend = ""
    if waiting > WAITING_FOR_HQ_MANY:
        mend = "HQ has not answered for long: run edge-agent hq there, or mend the line"
    found = f"{health.counts['events']:,} events, {waiting:,} messages wait for HQ"
    return Finding("database", found, mend)


def _statements(loaded: configuration.Config) -> Finding:
    try:
        lost_at = read_health(loaded.database).statements_lost_at
    except EdgeAgentError as error:
        return Finding("statements", error.message, error.hint)
    if lost_at is not None:
        return Finding(
            "statements",
            f"consents and complaints were lost at {lost_at}, in both copies",
            "have HQ and the desk state consents anew and open complaints again: until then"
            " everybody identified is left alone (README, limits)",
        )
    damaged = loaded.database.with_name(f"{loaded.database.name}.damaged")
    if damaged.exists():
        mend = f"have {damaged} looked into, then delete it and the files beside it"
        return Finding("statements", "restored after the database was set aside", mend)
    return Finding("statements", "kept twice", "")


def _sqlite(_loaded: configuration.Config) -> Finding:
    good = sqlite3.sqlite_version_info >= SQLITE_MIN
    mend = "" if good else "install SQLite 3.40 or newer"
    return Finding("sqlite", sqlite3.sqlite_version, mend)


def _keys(loaded: configuration.Config) -> Finding:
    folder = loaded.key_directory
    # Listed, not globbed: of a folder that may not be read `glob` would find that all is well.
    found = [path for path in folder.iterdir() if path.suffix == ".key"] if folder.is_dir() else []
    open_to_others = [path.name for path in found if path.stat().st_mode & 0o077]
    mend = f"chmod 600 {folder}/*.key" if open_to_others else ""
    return Finding("keys", "private" if not open_to_others else "readable by others", mend)


CHECKS: Final[tuple[Callable[[configuration.Config], Finding], ...]] = (
    _broker,
    _hq,
    _hq_heard,
    _disk,
    _database,
    _statements,
    _sqlite,
    _keys,
)
