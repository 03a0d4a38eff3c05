"""`edge-agent map`: a vendor's payload in, canonical events out, or the reason it is refused.

Also here, because files are read: loading and checking a mapping file.
"""

from __future__ import annotations

import json
import os
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from pydantic_core import to_json

from edge_agent.cli.errors import named
from edge_agent.errors import ConfigError
from edge_agent.ingest.instants import moment_of
from edge_agent.ingest.mapping import (
    CompiledMapping,
    Entry,
    Lookups,
    Mapped,
    MappingRefusal,
    applied,
    interpret,
    read_mapping,
)
from edge_agent.shell.clock import SystemClock
from edge_agent.wire.events import Event

_FILE_MODE: Final = 0o600
_A_FILE: Final = "name a file in a folder that exists and may be written"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message to map."""

    topic: str
    payload: bytes
    received_at_ms: int


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line of standard input that is no message."""

    refusal: MappingRefusal

    @classmethod
    def of(cls, reason: str, detail: str, place: str) -> BadLine:
        """Returns a line with the reason why it is none."""
        return cls(MappingRefusal(reason=reason, detail=detail, rule=None, place=place))


def load_mapping(path: Path) -> CompiledMapping:
    """Returns the mapping in a file.

    Raises:
        ConfigError: It is wrong; every problem has its line.
    """
    problems = check_mapping(path)
    made = read_mapping(path.read_text(encoding="utf-8")) if not problems else ()
    if isinstance(made, CompiledMapping):
        return made
    raise ConfigError(f"{path} is no good mapping", problems=tuple(problems))


def check_mapping(path: Path) -> list[str]:
    """Returns all that is wrong with a mapping file, each with its line; empty when it is good."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ["no such file"]
    except (OSError, UnicodeDecodeError) as error:
        return [f"cannot be read: {error.__class__.__name__}"]
    made = read_mapping(text)
    return [] if isinstance(made, CompiledMapping) else list(made)


def map(  # noqa: A001 - the command's name, and its options
    mapping: Annotated[Path, typer.Option("--mapping", "-m", help="The device's mapping.toml.")],
    *,
    topic: Annotated[
        str | None,
        typer.Option(help="Topic of the one message on standard input; without it, JSON lines."),
    ] = None,
    state: Annotated[
        Path | None, typer.Option(help="Where to remember totals and levels between calls.")
    ] = None,
    store: Annotated[
        Path | None, typer.Option(help="TOML with the store's \\[settings] and \\[tables.…].")
    ] = None,
    received_at: Annotated[
        str | None, typer.Option(help="Arrival time, RFC 3339; now when absent.")
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say on standard error what each rule did.")
    ] = False,
) -> None:
    """Map a vendor's payload on standard input to canonical events; exit 1 when refused.

    Without --topic, standard input holds JSON lines of {"topic", "payload"} (or an array of them).

    Example: edge-agent map -m hardware/meraki-mv/mapping.toml --topic /merakimv/Q2/0 < payload
    """
    compiled = load_mapping(mapping)
    lookups = _lookups(store)
    remembered = _read_state(state)
    is_refused = False
    for message in _messages(sys.stdin.buffer.read(), topic, _arrival(received_at)):
        if isinstance(message, BadLine):
            _print_refusal(message.refusal, None)
            is_refused = True
            continue
        if explain:
            sys.stderr.write(f"{message.topic}\n")
        mapped = interpret(
            compiled,
            message.topic,
            message.payload,
            state=remembered,
            received_at_ms=message.received_at_ms,
            lookups=lookups,
            tell=_explained if explain else None,
        )
        remembered = applied(remembered, mapped)
        _print(mapped, message.topic)
        is_refused = is_refused or bool(mapped.refusals)
    if state is not None:
        with named("--state", state, hint=_A_FILE):
            _write_state(state, remembered)
    if is_refused:
        raise typer.Exit(1)


def _print(mapped: Mapped, topic: str) -> None:
    for event in mapped.events:
        sys.stdout.write(f"{line_of(event)}\n")
    for refusal in mapped.refusals:
        _print_refusal(refusal, topic)


def _print_refusal(refusal: MappingRefusal, topic: str | None) -> None:
    row = {
        "reason": refusal.reason,
        "detail": refusal.detail,
        "rule": refusal.rule,
        "place": refusal.place,
        "topic": topic,
    }
    sys.stderr.write(f"{json.dumps(row, ensure_ascii=False)}\n")


def line_of(event: Event) -> str:
    """Returns an event as one line of JSON, without what it does not say."""
    hidden = None if event.receipt else {"receipt"}
    return event.model_dump_json(exclude_none=True, exclude=hidden)


def _explained(line: str) -> None:
    sys.stderr.write(f"  {line}\n")


def _arrival(text: str | None) -> int:
    now_ms = SystemClock().now_ms()
    if text is None:
        return now_ms
    moment = moment_of(text, received_at_ms=now_ms)
    if moment.replaced is not None:
        raise ConfigError("--received-at is no time", hint="write 2026-11-22T02:00:00Z")
    return moment.at_ms


def _messages(data: bytes, topic: str | None, now_ms: int) -> Iterator[Message | BadLine]:
    if topic is not None:
        yield Message(topic=topic, payload=data, received_at_ms=now_ms)
        return
    for place, row in _rows(data):
        if isinstance(row, BadLine):
            yield row
        elif not isinstance(row, dict) or not isinstance(row.get("topic"), str):
            yield BadLine.of(
                "invalid", 'no message: write {"topic": …, "payload": …}, or give --topic', place
            )
        else:
            arrival = row.get("received_at")
            at_ms = now_ms if arrival is None else moment_of(arrival, received_at_ms=now_ms).at_ms
            yield Message(
                topic=row["topic"], payload=payload_bytes(row.get("payload")), received_at_ms=at_ms
            )


def _rows(data: bytes) -> list[tuple[str, Any]]:
    """Messages with their places; a line that is none spoils nothing, unless it is the first."""
    try:
        if data.lstrip()[:1] == b"[":
            found = json.loads(data)
            return [(f"message {n}", row) for n, row in enumerate(found, 1)]
        rows: list[tuple[str, Any]] = []
        for number, line in enumerate(data.splitlines(), 1):
            if line.strip():
                rows.append((f"line {number}", _row(line, f"line {number}", first=not rows)))
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            "standard input is not JSON lines", hint="give --topic for a single payload"
        ) from error
    return rows


def _row(line: bytes, place: str, *, first: bool) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        if first:
            raise
        return BadLine.of("not_json", "not JSON", place)


def payload_bytes(payload: Any) -> bytes:
    """Returns a recorded payload's bytes: text stands for itself, anything else for its JSON."""
    return payload.encode() if isinstance(payload, str) else to_json(payload)


def _lookups(path: Path | None) -> Lookups:
    if path is None:
        return Lookups()
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read", hint="it is a TOML file") from error
    return Lookups(settings=found.get("settings", {}), tables=found.get("tables", {}))


def _read_state(path: Path | None) -> dict[str, Entry]:
    if path is None:
        return {}
    with named("--state", path, hint=_A_FILE):
        if not path.exists():
            return {}
        data = path.read_bytes()
    try:
        rows: Mapping[str, Any] = json.loads(data)
        return {
            key: Entry(value=tuple(row["value"]), until_ms=row["until_ms"])
            for key, row in rows.items()
        }
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigError(f"{path} is no state file", hint="remove it to start anew") from error


def _write_state(path: Path, state: Mapping[str, Entry]) -> None:
    rows = {
        key: {"value": list(entry.value), "until_ms": entry.until_ms}
        for key, entry in sorted(state.items())
    }
    temporary = path.with_name(f"{path.name}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _FILE_MODE)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(rows, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
