"""Interpreter of device mappings: a vendor's payload in, canonical events or refusals out.

Pure and total: arrival time, state and the store's tables are handed in, and no payload makes it
raise. One bad row spoils neither its neighbours nor what is remembered: a row's state is kept only
when the row succeeded. A message that no rule knows is refused, never dropped.

    text of mapping.toml ──read_mapping──► CompiledMapping ──interpret(topic, payload)──► Mapped
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from pydantic import ValidationError

from edge_agent.ingest.compiled import CompiledMapping
from edge_agent.ingest.counters import Entry
from edge_agent.ingest.message import Message
from edge_agent.ingest.passed_over import PassedOver
from edge_agent.ingest.places import by_line
from edge_agent.ingest.problems import problem_of_form, problem_of_meaning
from edge_agent.ingest.rows import NO_LOOKUPS, Lookups, MappingRefusal, Run, Tell
from edge_agent.ingest.rule_compiler import compile_mapping
from edge_agent.wire.events import Event
from edge_agent.wire.mapping import MappingFile

__all__ = [
    "NO_LOOKUPS",
    "CompiledMapping",
    "Entry",
    "Lookups",
    "Mapped",
    "MappingRefusal",
    "applied",
    "interpret",
    "read_mapping",
]

NO_STATE: Final[Mapping[str, Entry]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapped:
    """What became of one message.

    Attributes:
        events: Canonical events, in the order of their rows.
        refusals: What was refused: the whole message, or rows of it.
        changes: What is to be remembered from now on, by key; commit it with the events.
        ignored: Reasons of the rules that said so.
        counts: How often a time was replaced, a row was a baseline, late, a duplicate and so on.
        unchanged: Sources that spoke and told nothing new, each once.
    """

    events: tuple[Event, ...] = ()
    refusals: tuple[MappingRefusal, ...] = ()
    changes: Mapping[str, Entry] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    unchanged: tuple[str, ...] = ()


def read_mapping(text: str) -> CompiledMapping | tuple[str, ...]:
    """Returns the mapping in a TOML text ready to run, or every problem with its line."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"line (\d+)", str(error))
        line = found[1] if found else str(text.count("\n") + 1)
        what = str(error).split(" (at")[0]
        return (f"line {line}: not TOML: {what}: is a quote missing, or a key there twice?",)
    try:
        spec = MappingFile.model_validate(tables)
    except ValidationError as error:
        errors = error.errors(include_url=False)
        return by_line(problem_of_form(text, tables, each) for each in errors)
    made = compile_mapping(spec)
    if isinstance(made, CompiledMapping):
        return made
    return by_line(problem_of_meaning(text, tables, each) for each in made)


def interpret(
    mapping: CompiledMapping,
    topic: str,
    payload: bytes,
    *,
    state: Mapping[str, Entry] = NO_STATE,
    received_at_ms: int,
    lookups: Lookups = NO_LOOKUPS,
    tell: Tell | None = None,
) -> Mapped:
    """Returns what a vendor's message means.

    Args:
        mapping: The device's mapping.
        topic: Topic that the message came on.
        payload: Its bytes.
        state: What was remembered before; read by key only, so it may be a view of a database.
        received_at_ms: Arrival on the gateway's clock, epoch milliseconds.
        lookups: The store's settings and tables.
        tell: Called with a line for every rule that was looked at (`--explain`).
    """
    if len(payload) > mapping.spec.max_bytes:
        limit = mapping.spec.max_bytes
        detail = f"{len(payload)} bytes, at most {limit} are taken"
        return Mapped(refusals=(MappingRefusal(reason="too_large", detail=detail),))
    run = Run(
        topic,
        payload,
        state=state,
        tables=mapping.tables,
        lookups=lookups,
        received_at_ms=received_at_ms,
        tell=tell,
        passed_over=PassedOver() if mapping.selects_rows else None,
    )
    message = Message(mapping, run)
    message.read()
    return Mapped(
        events=tuple(message.events),
        refusals=tuple(run.refusals),
        changes=run.changes,
        ignored=tuple(message.ignored),
        counts=run.counts,
        unchanged=tuple(run.unchanged),
    )


def applied(state: Mapping[str, Entry], mapped: Mapped) -> dict[str, Entry]:
    """Returns the state after a message; removing what is over is left to the caller."""
    return {**state, **mapped.changes}
