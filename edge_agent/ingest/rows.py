"""One row of a message under evaluation: its names, its time and device, and what it remembers.

A row is the dictionary that expressions look names up in. A `let` is evaluated when it is first
asked for, so that state is touched only by rows that come that far. What a row wants remembered
is kept aside until the row has succeeded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from types import MappingProxyType
from typing import Any, Final

from jmespath.exceptions import JMESPathError

from edge_agent.ingest.conversions import NotConvertible, text_of
from edge_agent.ingest.counters import Entry, Finding
from edge_agent.ingest.instants import Moment
from edge_agent.ingest.payloads import Unreadable

Evaluated = Callable[["Row"], Any]
Json = str | int | float | bool | None

# What evaluating a stranger's payload may raise; every one means that this row is bad.
BAD_ROW: Final = (
    NotConvertible, Unreadable, JMESPathError, ValueError, TypeError, ArithmeticError, LookupError,
    AttributeError, RecursionError,
)  # fmt: skip
_KEY_BYTES: Final = 16
_SECRET_MAX: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookups:
    """What a store adds to a mapping.

    Attributes:
        settings: Values that override the file's `[settings]`.
        tables: Rows that are added to, or override, the file's `[tables.…]`.
        secret: Keys the names of what is remembered, so that no identifier is stored.
    """

    settings: Mapping[str, Json] = field(default_factory=lambda: MappingProxyType({}))
    tables: Mapping[str, Mapping[str, Json]] = field(default_factory=lambda: MappingProxyType({}))
    secret: bytes = b""


NO_LOOKUPS: Final = Lookups()


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingRefusal:
    """Why a message, or one of its rows, was refused; in words that hold nothing of its content.

    Attributes:
        reason: One word: not_json, no_rule, rejected, invalid, personal and the like.
        detail: A sentence.
        rule: Name of the rule.
        place: Where: rows and fields.
    """

    reason: str
    detail: str
    rule: str | None = None
    place: str | None = None


def detail_of(error: BaseException) -> str:
    """Returns what is wrong, without a word of the payload."""
    if isinstance(error, (NotConvertible, Unreadable)):
        return str(error)
    return "a value is not of the kind that is needed"


class Run:
    """What all rows of one message share."""

    __slots__ = (
        "_state",
        "_tables",
        "cache",
        "changes",
        "counts",
        "lookups",
        "received_at_ms",
        "refusals",
    )

    def __init__(
        self,
        *,
        state: Mapping[str, Entry],
        tables: Mapping[str, Mapping[str, Json]],
        lookups: Lookups,
        received_at_ms: int,
    ) -> None:
        self._state = state
        self._tables = tables
        self.cache: dict[object, Any] = {}
        self.changes: dict[str, Entry] = {}
        self.counts: Counter[str] = Counter()
        self.lookups = lookups
        self.received_at_ms = received_at_ms
        self.refusals: list[MappingRefusal] = []

    def remembered(self, key: str) -> Entry | None:
        """Returns what is remembered under a key, by this message or before it."""
        return self.changes.get(key) or self._state.get(key)

    def table(self, name: str, key: str) -> Json:
        """Returns a table's row: the store's first, then the file's."""
        stores = self.lookups.tables.get(name)
        if stores is not None and key in stores:
            return stores[key]
        return self._tables.get(name, {}).get(key)


class Row(dict[str, Any]):
    """The names of one row; see the module's docstring."""

    __slots__ = ("_at", "_device", "findings", "lets", "place", "rule", "run", "staged")

    def __init__(
        self,
        names: Mapping[str, Any],
        *,
        run: Run,
        rule: str,
        lets: Mapping[str, Evaluated],
        place: str,
    ) -> None:
        super().__init__(names)
        self.run = run
        self.rule = rule
        self.lets = lets
        self.place = place
        self.findings: list[Finding] = []
        self.staged: dict[str, Entry] = {}
        self._at: Moment | None = None
        self._device: str = ""

    def __missing__(self, name: str) -> Any:
        let = self.lets.get(name)
        if let is None:
            return None
        self[name] = value = let(self)
        return value

    def stand(self, *, at: Moment, device: str) -> None:
        """Says when and by which device the row was told."""
        self._at = at
        self._device = device

    @property
    def at(self) -> Moment:
        """When it happened."""
        return self._at or Moment(self.run.received_at_ms, "absent")

    @property
    def device(self) -> str:
        """What told it."""
        return self._device

    def part(self, name: str, value: Any, lets: Mapping[str, Evaluated]) -> Row:
        """Returns a row inside this one, such as a line of a receipt; they share their memory."""
        inner = Row(
            self, run=self.run, rule=self.rule, lets={**self.lets, **lets}, place=self.place
        )
        for let in lets:
            inner.pop(let, None)
        inner[""] = inner[name] = value
        inner.findings, inner.staged = self.findings, self.staged
        inner._at, inner._device = self._at, self._device
        return inner

    def remember(self, place: str, key: Any, judge: Callable[[Entry | None, int], Finding]) -> Any:
        """Returns what is new against what was remembered, and stages what to remember."""
        name = self.key_of(place, [self.device, text_of("" if key is None else key)])
        return self.remember_as(name, judge)

    def remember_as(self, name: str, judge: Callable[[Entry | None, int], Finding]) -> Any:
        """Does the same under a ready key."""
        at_ms = self.at.at_ms
        old = self.staged.get(name) or self.run.remembered(name)
        finding = judge(None if old is None or old.until_ms < at_ms else old, at_ms)
        if finding.entry is not None:
            self.staged[name] = finding.entry
        self.findings.append(finding)
        return finding.result

    def key_of(self, place: str, parts: list[str]) -> str:
        """Returns the name under which something is remembered; it names nobody."""
        secret = self.run.lookups.secret[:_SECRET_MAX]
        # Lengths in front keep ("a", "bc") from being ("ab", "c").
        text = "".join(f"{len(part)}:{part}" for part in parts).encode("utf-8", "replace")
        return f"{place}#{blake2b(text, key=secret, digest_size=_KEY_BYTES).hexdigest()}"


def refuse_line(row: Row, error: BaseException, place: str) -> None:
    """Notes that a part of a row is bad; its neighbours stay."""
    row.run.refusals.append(
        MappingRefusal(reason="invalid", detail=detail_of(error), rule=row.rule, place=place)
    )
