"""A mapping file that has become functions, ready to run: the rules and their parts.

Nothing is compiled here (that is `rule_compiler`) and nothing is evaluated (that is `mapping`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from edge_agent.ingest.instants import Moment
from edge_agent.ingest.rows import Check, Evaluated, Row
from edge_agent.ingest.typing_of_events import Typed
from edge_agent.wire.mapping import Format, MappingFile, Presence, Remember, Rule, Unpack
from edge_agent.wire.mapping_state import Once

# A topic may hold a device's name: a bound on how many are known at a time.
ROUTES_MAX: Final = 1_024

Place = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a mapping file, and where: keys and indexes from its top."""

    place: Place
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FanOut:
    """One step from a row to its parts; of the last one, `kinds` is what its rows must be."""

    name: str
    rows: Evaluated
    keys: bool
    numbered: re.Pattern[str] | None
    before: Evaluated | None
    state_key: Evaluated | None
    changes: bool
    where: Check | None
    place: str
    kinds: tuple[type, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """The parts of a `presence` rule."""

    key: Evaluated
    place: Evaluated
    strength: Evaluated
    spec: Presence


@dataclass(frozen=True, slots=True, kw_only=True)
class Knowledge:
    """The parts of a `remember` rule, and where it is kept."""

    key: Evaluated
    value: Evaluated
    place: str
    spec: Remember


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledRule:
    """One rule, ready to run.

    Attributes:
        spec: The rule as it is written.
        number: Its place in the file, from 0.
        topic: Pattern of its topics; None for any.
        formats: How the payload is read, the first that can be.
        reads: Whether the payload has to be read at all.
        inner: What is unpacked, in order.
        when: Conditions on the message.
        each: The fan-out, in order.
        lets: Named values.
        where: Condition on a row.
        device: What told it.
        source: The event's source.
        once: Key of the happening.
        presence: Where somebody is.
        knowledge: What is remembered about whom.
        prefix: What every id of the rule begins with, before it is hashed.
        id: What makes the event the same when it is told again.
        moment: When it happened.
        data: Fields and how their values come about.
        typed: Brings the fields to their types.
    """

    spec: Rule
    number: int
    topic: re.Pattern[str] | None
    formats: tuple[Format, ...]
    reads: bool
    inner: tuple[tuple[Evaluated, Unpack], ...]
    when: tuple[Check, ...]
    each: tuple[FanOut, ...]
    lets: Mapping[str, Evaluated]
    where: Check | None
    device: Evaluated | None
    source: Evaluated | None
    once: tuple[Evaluated, Once] | None
    presence: Sighting | None
    knowledge: Knowledge | None
    prefix: bytes
    id: tuple[Evaluated, ...]
    moment: Callable[[Row], Moment] | None
    data: tuple[tuple[str, Evaluated], ...]
    typed: Typed | None


class Candidate(NamedTuple):
    """A rule for a topic: what the topic captures, and the texts made of that alone."""

    rule: CompiledRule
    captures: dict[str, str]
    texts: dict[str, str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledMapping:
    """A whole mapping, ready to run."""

    spec: MappingFile
    rules: tuple[CompiledRule, ...]
    settings: Mapping[str, Any]
    tables: Mapping[str, Mapping[str, Any]]
    # Whether a fan-out may pass rows over, which another rule may take.
    selects_rows: bool = False
    # A device says all it says on a few topics: what each of them matches is found once.
    _routes: dict[str, tuple[Candidate, ...]] = field(
        default_factory=dict, compare=False, repr=False
    )

    def route(self, topic: str) -> tuple[Candidate, ...]:
        """Returns the rules for a topic, each with what it captures, in their order."""
        route = self._routes.get(topic)
        if route is None:
            route = tuple(
                Candidate(rule, found, {})
                for rule in self.rules
                if (found := _captured(rule.topic, topic)) is not None
            )
            if len(self._routes) >= ROUTES_MAX:
                self._routes.clear()
            self._routes[topic] = route
        return route


def _captured(pattern: re.Pattern[str] | None, topic: str) -> dict[str, str] | None:
    if pattern is None:
        return {}
    found = pattern.fullmatch(topic)
    return None if found is None else found.groupdict()
