"""`edge-agent replay --with`: a recorded day decided again under other rules or another model."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.progress import track
from rich.table import Table

from edge_agent.cli.recorded_day import HINT, found_in, known_of, live_bundle
from edge_agent.domain.ids import ProductId
from edge_agent.errors import ConfigError
from edge_agent.replay.again import NO_WHOLE_RECORD
from edge_agent.replay.said import Noted, Sale
from edge_agent.replay.what_if import Kept, WhatIf, order_of
from edge_agent.shell.bundles import load_bundle
from edge_agent.shell.contact_book import noted_contacts
from edge_agent.shell.kept_rules import kept_rules
from edge_agent.shell.rules_beside_hq import KeptTexts, kept_beside_hq, rules_beside_hq
from edge_agent.shell.sqlite_db import open_for_reading

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Mapping

    from edge_agent.cli.recorded_day import RecordedDay
    from edge_agent.replay.again import Knowledge
    from edge_agent.replay.comparison import Answer, Change, Comparison, Side
    from edge_agent.shell.bundles import Bundle
    from edge_agent.shell.rules_beside_hq import RulesBesideHq

_SHOWN: Final = 10
_RULES: Final = ".toml"
_SALES: Final = """
    SELECT b.carrier, b.member, s.completed_at_ms, json_group_array(DISTINCT l.product)
    FROM sale s JOIN basket b ON b.id = s.basket JOIN sale_line l ON l.basket = s.basket
    WHERE b.voided_at_ms IS NULL GROUP BY s.basket ORDER BY s.completed_at_ms
"""
_LAST_RULES: Final = """
    SELECT json_extract(record, '$.rules.version'), json_extract(record, '$.rules.digest')
    FROM decision WHERE json_extract(record, '$.rules.version') IS NOT NULL
    ORDER BY at_ms DESC, id DESC LIMIT 1
"""


def compare(folder: Path, other: Path, *, as_json: bool) -> None:
    """Decides every moment of a recorded day under something else and reports what differs.

    Args:
        folder: What `edge-agent demo --state` left.
        other: A policy file (`.toml`), or the folder of a model bundle, which decides under the
            rules that the day ended under.
        as_json: Whether the report is JSON.

    Raises:
        ConfigError: The folder holds no recorded day, or the rules are wrong.
        BundleError: A bundle is not there, or not sound.
    """
    day = found_in(folder)
    with closing(open_for_reading(day.database)) as connection:
        bundle, rules = _other(day, connection, other)
        knowledge = replace(
            known_of(day, connection, bundle), rules=rules.rules, currency=day.config.currency
        )
        records = connection.execute("SELECT id, record FROM decision ORDER BY id").fetchall()
        kept = Kept(
            sales=_sales(connection),
            noted=_noted(connection),
            rules=kept_rules(connection, day.config),
        )
    if not records:
        raise ConfigError(f"{day.database} holds no decision", hint=HINT)
    zone = ZoneInfo(day.config.timezone)
    what_if = WhatIf(knowledge, zone=zone, kept=kept, rules_at=rules.at)
    places: dict[str, tuple[int, int, str]] = {}

    def look_at(decision: str, told: dict[str, Any]) -> None:
        what_if.note_unit(told)
        places[decision] = (*order_of(told), decision)

    _put_each(records, look_at, what="reading the day")
    records.sort(key=lambda each: places[each[0]])
    _put_each(records, what_if.put, what="deciding again")
    found = what_if.found
    if as_json:
        document = {"with": str(other), **_document(found)}
        sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    else:
        _print(found, other, knowledge)


def _put_each(
    records: list[tuple[str, str]], put: Callable[[str, dict[str, Any]], None], *, what: str
) -> None:
    for decision, record in track(records, what, console=Console(stderr=True), transient=True):
        try:
            put(str(decision), json.loads(record))
        except NO_WHOLE_RECORD as error:
            why = f"{type(error).__name__} {error}"
            raise ConfigError(
                f"decision {decision} is no whole record: {why}",
                hint="`edge-agent replay --verify` lists all that are not",
            ) from error


def _other(
    day: RecordedDay, connection: sqlite3.Connection, other: Path
) -> tuple[Bundle, RulesBesideHq]:
    kept, config = KeptTexts(connection), day.config
    if other.suffix == _RULES:
        return live_bundle(day), rules_beside_hq(other, kept=kept, config=config)
    bundle = load_bundle(other, public_key=config.model_key)
    return bundle, kept_beside_hq(_last_rules(day, connection), kept=kept, config=config)


def _last_rules(day: RecordedDay, connection: sqlite3.Connection) -> str | None:
    """Returns the rules that the day ended under: another bundle decides under them."""
    last = connection.execute(_LAST_RULES).fetchone()
    if last is None:
        return None
    version, digest = last
    rules = kept_rules(connection, day.config).get(version)
    if rules is None or rules.digest != digest:
        raise ConfigError(
            f"the day was decided under rules {version}, which are not kept any more",
            hint="say with which to decide it: `--with policy.toml`",
        )
    return str(version)


def _noted(connection: sqlite3.Connection) -> Mapping[str, tuple[Noted, ...]]:
    found: dict[str, list[Noted]] = defaultdict(list)
    for visitor, known_at_ms, contact in noted_contacts(connection):
        found[visitor].append(Noted(contact=contact, known_at_ms=known_at_ms))
    return {who: tuple(noted) for who, noted in found.items()}


def _sales(connection: sqlite3.Connection) -> Mapping[str, tuple[Sale, ...]]:
    found: dict[str, list[Sale]] = defaultdict(list)
    for carrier, member, at_ms, products in connection.execute(_SALES):
        sale = Sale(at_ms=at_ms, products=frozenset(map(ProductId, json.loads(products))))
        for who in dict.fromkeys((carrier, member)):
            if who is not None:
                found[who].append(sale)
    return {who: tuple(sales) for who, sales in found.items()}


def _document(found: Comparison) -> dict[str, Any]:
    return {
        "decisions": found.decisions,
        "differing": len(found.changes),
        "unknowable": found.unknowable,
        "why": dict(found.whys.most_common()),
        "was": _sums(found.was),
        "would": _sums(found.would),
        "changes": [
            {
                "decision": each.decision,
                "moment": each.moment,
                "where": each.where,
                "why": each.why,
                "was": _said(each.was),
                "would": _said(each.would),
            }
            for each in found.changes
        ],
    }


def _sums(side: Side) -> dict[str, Any]:
    return {
        "contacts": side.contacts,
        "offers": dict(side.offers.most_common()),
        "silences": dict(side.silences.most_common()),
        "expected_value": round(side.value, 4),
        "products_told": len(side.told),
        "hits": len(side.hits),
    }


def _said(answer: Answer) -> dict[str, Any]:
    return {
        "products": list(answer.products),
        "campaigns": list(answer.campaigns),
        "expected_value": round(answer.value, 6),
        "gate": answer.gate or None,
        "level": answer.level,
    }


def _print(found: Comparison, other: Path, knowledge: Knowledge) -> None:
    console = Console()
    share = len(found.changes) / max(found.decisions, 1)
    table = Table("", "was", "would be", title=f"The day with {other.name}", title_justify="left")
    was, would = _sums(found.was), _sums(found.would)
    for name in ("contacts", "products_told", "hits", "expected_value"):
        table.add_row(name.replace("_", " "), f"{was[name]:,}", f"{would[name]:,}")
    for name, title in (("offers", "said for"), ("silences", "silent for")):
        for key in dict.fromkeys((*was[name], *would[name])):
            table.add_row(
                f"{title} {key}", str(was[name].get(key, 0)), str(would[name].get(key, 0))
            )
    console.print(table)
    console.print(
        f"{found.decisions:,} decisions, {len(found.changes):,} differ ({share:.0%});"
        f" {found.unknowable} were silent and would not be: nobody asked the model."
    )
    for why, n in found.whys.most_common():
        console.print(f"  {n:>6,}  {why}", highlight=False)
    for each in found.changes[:_SHOWN]:
        _print_change(console, each, knowledge)
    if len(found.changes) > _SHOWN:
        console.print(f"... and {len(found.changes) - _SHOWN:,} more: --json lists all")
    console.print(
        "A hit was foreseen, not caused: nobody saw these answers. Expected value is each item's"
        " probability times its value,\nby the model that ranked it; two models may differ in it"
        " by their calibration alone."
    )


def _print_change(console: Console, change: Change, knowledge: Knowledge) -> None:
    console.print(f"\n{change.decision}  {change.moment} at {change.where}: {change.why}")
    for name, answer in (("was", change.was), ("would be", change.would)):
        titles = [_title(product, knowledge) for product in answer.products]
        said = ", ".join([*titles, *(f"campaign {each}" for each in answer.campaigns)])
        console.print(f"  {name:<8}  {said or 'silence'}", highlight=False, soft_wrap=True)


def _title(product: ProductId, knowledge: Knowledge) -> str:
    known = knowledge.catalogue.product(product)
    return str(product) if known is None else known.title
