"""What one message tells about a device and later ones look up: its zone, its kind, its name.

It is kept as JSON text under a keyed hash, until it is told otherwise or its time is over; an
older message than the one it came with changes nothing.
"""

from __future__ import annotations

import json
from typing import Any, Final

from edge_agent.domain.time import SECOND_MS
from edge_agent.ingest.compiled import Knowledge
from edge_agent.ingest.conversions import NotConvertible, text_of
from edge_agent.ingest.counters import Entry
from edge_agent.ingest.personal import assert_impersonal
from edge_agent.ingest.rows import Row
from edge_agent.ingest.steps import Step, not_found

# Of one key: a device's name, zone and settings, and no document.
TEXT_MAX: Final = 1_024


def known_place(vendor: str, name: str) -> str:
    """Returns where a mapping keeps what its rules remember under a name."""
    return f"{vendor}.known.{name}"


def recalled_as(place: str, unknown: str) -> Step:
    """Returns what was remembered about a key; it is looked at, and nothing is news of it."""

    def recalled(value: Any, row: Row) -> Any:
        key = row.key_of(place, (text_of(value),))
        entry = row.staged.get(key) or row.run.remembered(key)
        if entry is None or entry.until_ms < row.run.received_at_ms:
            return not_found(value, unknown, "nothing was told of it yet")
        return json.loads(str(entry.value[-1]))

    return recalled


def remember(knowledge: Knowledge, row: Row) -> str:
    """Stages what a row tells, and returns what became of it.

    Raises:
        NotConvertible: It has no key, or says too much.
        Personal: It looks like something personal.
    """
    spec = knowledge.spec
    key = knowledge.key(row)
    if key is None:
        raise NotConvertible("remember: the key has no value")
    text = json.dumps(_plain(knowledge.value(row)), ensure_ascii=False, separators=(",", ":"))
    if len(text) > TEXT_MAX:
        raise NotConvertible(f"remember: more than {TEXT_MAX} characters")
    assert_impersonal(text)
    name = row.key_of(knowledge.place, (text_of(key),))
    old = row.staged.get(name) or row.run.remembered(name)
    told_ms = None if old is None else old.value[0]
    if isinstance(told_ms, int) and row.at.at_ms < told_ms:
        return "late"
    until_ms = row.run.received_at_ms + round(spec.for_s * SECOND_MS)
    row.staged[name] = Entry(value=(row.at.at_ms, text), until_ms=until_ms)
    return "remembered"


def _plain(value: Any) -> Any:
    # JSON as it is; what was calculated becomes the text that it is written as.
    if isinstance(value, dict):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value if value is None or isinstance(value, (bool, int)) else text_of(value)
