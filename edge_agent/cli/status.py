"""`edge-agent status`: how the agent is, in one table."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from edge_agent import config as configuration
from edge_agent.cli.run import DEFAULT_CONFIG
from edge_agent.cli.shadow_table import shadow_table
from edge_agent.domain.time import rfc3339_from_ms
from edge_agent.errors import AgentUnreachable, RequestRefused
from edge_agent.runner.devices import Devices
from edge_agent.shell.calls_told import read_calls
from edge_agent.shell.control import SHOW_MODEL, SHOW_SHADOW_POLICY, ask
from edge_agent.shell.health import Health, RulesHealth, read_health
from edge_agent.shell.shadow_counts import report_of
from edge_agent.shell.sqlite_db import open_for_reading
from edge_agent.shell.trials import read_uplifts
from edge_agent.state.alarms import is_clock_wrong
from edge_agent.sync.uplift_told import COLUMNS, NOTE, TITLE, document_of, texts_of

if TYPE_CHECKING:
    import sqlite3

    from edge_agent.config import Config
    from edge_agent.domain.uplift import Uplift
    from edge_agent.shell.calls_told import TeamCalls
    from edge_agent.state.devices import Standing

# A busy agent must not keep its status waiting.
LOOK_TIMEOUT_S: Final = 5.0
# As much of a digest tells two policies apart for a person.
DIGEST_SHOWN: Final = 12
# What may be wrong on purpose.
MEANT: Final = frozenset({"no_model"})


def status(
    config: Annotated[Path, typer.Option("--config", "-c", help="The agent's file.")] = (
        DEFAULT_CONFIG
    ),
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Show what the agent holds, what it counted, and what is wrong.

    Exit codes: 0 good, or no agent answers; 1 something is wrong: a device fell silent, a counter
    drifts, a clock is off, a mapping or policy is refused, the disk is full; 2 wrong use; 3 no
    database. An agent without a model is degraded, but may be meant so: 0.

    Example: edge-agent status --config /etc/edge-agent/agent.toml
    """
    loaded = configuration.load(config)
    reading = read_health(loaded.database)
    model, (devices, problems) = _model(loaded.control_socket), devices_of(loaded)
    shadow = _shadow_policy(loaded.control_socket, reading)
    health = told_health(problems)
    with closing(open_for_reading(loaded.database)) as connection:
        uplifts = read_uplifts(connection)
        calls = read_calls(connection)
    if as_json:
        told = {"health": health, "problems": problems}
        found = {**reading.as_dict(), **told, "model": model, "devices": devices}
        found["uplift"] = [document_of(each) for each in uplifts]
        found["calls"] = [asdict(each) for each in calls]
        found["shadow_policy"] = shadow
        typer.echo(json.dumps(found, indent=2))
    else:
        _print(reading, health, problems, model)
        if devices:
            Console().print(_devices(devices))
        if uplifts:
            Console().print(uplift_table(uplifts))
        if calls:
            Console().print(_calls(calls))
        if shadow is not None:
            Console().print(shadow_table(shadow))
    if set(problems or ()) - MEANT:
        raise typer.Exit(1)


def told_health(problems: list[str] | None) -> str:
    """Returns the agent's health in a word; of an agent that does not answer nothing is known."""
    if problems is None:
        return "unknown"
    return "degraded" if problems else "good"


def _print(
    health: Health, word: str, problems: list[str] | None, model: dict[str, Any] | None
) -> None:
    table = Table(title="edge-agent", show_header=False)
    table.add_row("health", word)
    for problem in problems or ():
        table.add_row("problem", escape(problem))
    table.add_row("database", f"{health.database} ({health.size_bytes / 1e6:.1f} MB)")
    table.add_row("last seen", health.last_seen or "never")
    for name, count in health.counts.items():
        table.add_row(name.replace("_", " "), f"{count:,}")
    for name, count in health.counters.items():
        table.add_row(f"counted: {name.replace('_', ' ')}", f"{count:,}")
    if health.rules is not None:
        _add_rules(table, health.rules)
    _add_campaigns(table, health)
    table.add_row("model", "no agent answers" if model is None else model["live"] or "popularity")
    for name, value in ((model or {}).get("comparison") or {}).items():
        table.add_row(f"comparison: {name.replace('_', ' ')}", str(value))
    Console().print(table)
    if health.mappings or health.mappings_problem:
        Console().print(_mappings(health))


def _calls(calls: tuple[TeamCalls, ...]) -> Table:
    headings = ("team", "open", "calls", "passed on", "first answer (median)", "came of them")
    table = Table(*headings, title="calls for help of the last day")
    for each in calls:
        wait = "" if each.acknowledged_s is None else f"{each.acknowledged_s:.0f} s"
        ends = ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in each.outcomes.items())
        cells = (each.team, str(each.open), str(each.calls), str(each.escalated), wait, ends)
        table.add_row(*(escape(cell) for cell in cells))
    return table


def _add_rules(table: Table, rules: RulesHealth) -> None:
    in_force = "none"
    if rules.version is not None:
        since, digest = rules.in_force_since, (rules.digest or "")[:DIGEST_SHOWN]
        in_force = f"{rules.version} ({digest}) since {since or 'the first start'}"
    table.add_row("policy", escape(in_force))
    if rules.problem is not None:
        table.add_row("policy refused", escape(rules.problem))


def _add_campaigns(table: Table, health: Health) -> None:
    if health.hq_campaigns:
        table.add_row("HQ's campaigns", escape(", ".join(health.hq_campaigns)))
    if health.hq_campaigns_problem is not None:
        table.add_row("not all in force", escape(health.hq_campaigns_problem))


def devices_of(config: Config) -> tuple[list[dict[str, Any]], list[str] | None]:
    """Returns how the devices are and what is wrong, as the running agent says.

    Of an agent that does not answer: the devices as it last wrote them down, and None.
    """
    problems: list[str] | None = None
    try:
        answer = ask(config.control_socket, {"do": "devices"}, timeout_s=LOOK_TIMEOUT_S)
    except (AgentUnreachable, RequestRefused):
        found = [asdict(each) for each in _written_down(config)]
    else:
        found, problems = answer["devices"], answer.get("problems")
    shown = [{"last_seen": rfc3339_from_ms(each.pop("last_at_ms")), **each} for each in found]
    return shown, problems


def _written_down(config: Config) -> list[Standing]:
    with closing(open_for_reading(config.database)) as connection:
        rows = connection.execute("SELECT value FROM meta WHERE key = 'now_ms'").fetchall()
        now_ms = int(rows[0][0]) if rows else 0
        tolerances = configuration.tolerances_of(config, config.mappings)
        devices = Devices(
            _Reader(connection), config.zone_info, now_ms=now_ms, tolerances=tolerances
        )
        return devices.standings(now_ms)


class _Reader:
    """A database that is only read, as the devices' book wants it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def query(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in self._connection.execute(sql, parameters)]

    def add(self, _table: str, _row: tuple[Any, ...]) -> None:
        raise NotImplementedError("the database is only read")


def _devices(devices: list[dict[str, Any]]) -> Table:
    table = Table(
        "device", "last seen", "events/h", "clock", "inside at closing", "", title="heard"
    )
    for each in devices:
        troubles = [name for name in ("silent", "drifting") if each[f"is_{name}"]]
        skew, inside = each["skew_s"], each["inside"]
        if is_clock_wrong(each["clock_share"]):
            troubles.append("clock off")
        cells = (
            each["source"],
            each["last_seen"],
            f"{each['per_hour']:,.1f}",
            "" if skew is None else f"{skew:+.1f} s",
            "" if inside is None else f"{inside:+d} of {each['entries']:,}",
            ", ".join(troubles),
        )
        table.add_row(*(escape(cell) for cell in cells))
    return table


def uplift_table(uplifts: tuple[Uplift, ...]) -> Table:
    """Returns what campaigns with a control group do, a row for each."""
    # Folded, not cut: half a figure is another one, and eleven columns are many for a terminal.
    columns = (Column(name, overflow="fold") for name in ("campaign", *COLUMNS))
    table = Table(*columns, title=f"{TITLE} in this store", caption=NOTE)
    for each in uplifts:
        table.add_row(escape(each.campaign), *(escape(text) for text in texts_of(each)))
    return table


def _mappings(health: Health) -> Table:
    table = Table("mapping", "in force since", "problem", title="device mappings")
    for each in health.mappings:
        problem = "" if each.problem is None else escape(each.problem)
        table.add_row(each.name, each.in_force_since or "not in force", problem)
    if health.mappings_problem is not None:
        table.add_row("(all)", "as before", escape(health.mappings_problem))
    return table


def _shadow_policy(control: Path, reading: Health) -> dict[str, Any] | None:
    """Returns how a policy does that runs muted; as last written down where no agent answers."""
    try:
        answer = ask(control, {"do": SHOW_SHADOW_POLICY}, timeout_s=LOOK_TIMEOUT_S)
    except (AgentUnreachable, RequestRefused):
        return report_of(reading.shadow_policy)
    found: dict[str, Any] | None = answer["shadow_policy"]
    return found


def _model(control: Path) -> dict[str, Any] | None:
    try:
        return ask(control, {"do": SHOW_MODEL}, timeout_s=LOOK_TIMEOUT_S)
    except AgentUnreachable:
        # The database is told of in any case.
        return None
