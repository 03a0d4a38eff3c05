"""One row of a message under evaluation: its names, its time and device, and what it remembers.

A row is the dictionary that expressions look names up in. A `let` is evaluated when it is first
asked for, so that state is touched only by rows that come that far. What a row wants remembered
is kept aside until the row has succeeded.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from types import MappingProxyType
from typing import Any, Final

from jmespath.exceptions import JMESPathError
from lxml.etree import XPathError

from edge_agent.ingest.conversions import NotConvertible, text_of
from edge_agent.ingest.counters import Entry, Finding
from edge_agent.ingest.instants import Moment
from edge_agent.ingest.passed_over import PassedOver
from edge_agent.ingest.payloads import Unreadable

Evaluated = Callable[["Row"], Any]
Check = Callable[["Row"], bool]
Tell = Callable[[str], None]
Json = str | int | float | bool | None

# What evaluating a stranger's payload may raise; every one means that this row is bad.
BAD_ROW: Final = (
    NotConvertible, Unreadable, JMESPathError, ValueError, TypeError, ArithmeticError, LookupError,
    AttributeError, RecursionError, XPathError,
)  # fmt: skip
# What has no rows: not even one of it is an array of one.
SCALAR: Final = (str, int, float)
# A text, a number or null among objects has no fields: read as one, it would pass in silence.
NOT_A_ROW: Final = "no object, as the rows of this rule are"
# Name of the current row.
ROW: Final = ""
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
    """What all rows of one message share.

    Attributes:
        arrival: When it came, for rows that tell no time.
        cache: Results that hold for the whole message.
        changes: What is to be remembered.
        counts: How often what happened.
        has_parts: Whether a fan-out found the place that it looks at, be it empty.
        lookups: The store's settings and tables.
        passed_over: Rows that a fan-out left out; None where none leaves out any.
        topic: Topic of the message.
        payload: Its bytes.
        received_at_ms: Its arrival, epoch milliseconds.
        refusals: What was refused.
        tell: Called with a line for everything that is done; None when nobody listens.
        unchanged: Sources whose rows told nothing new.
    """

    __slots__ = (
        "_state", "_tables", "arrival", "cache", "changes", "counts", "has_parts", "lookups",
        "passed_over", "payload", "received_at_ms", "refusals", "tell", "topic", "unchanged",
    )  # fmt: skip

    def __init__(
        self,
        topic: str,
        payload: bytes,
        *,
        state: Mapping[str, Entry],
        tables: Mapping[str, Mapping[str, Json]],
        lookups: Lookups,
        received_at_ms: int,
        tell: Tell | None,
        passed_over: PassedOver | None = None,
    ) -> None:
        self._state = state
        self._tables = tables
        self.cache: dict[str, tuple[Any, Any]] = {}
        self.changes: dict[str, Entry] = {}
        self.counts: dict[str, int] = defaultdict(int)
        self.has_parts = False
        self.passed_over = passed_over
        self.lookups = lookups
        self.topic = topic
        self.payload = payload
        self.received_at_ms = received_at_ms
        self.arrival = Moment(received_at_ms, "absent")
        self.refusals: list[MappingRefusal] = []
        self.tell = tell
        self.unchanged: dict[str, None] = {}

    def remembered(self, key: str) -> Entry | None:
        """Returns what is remembered under a key, by this message or before it."""
        return self.changes.get(key) or self._state.get(key)

    def table(self, name: str, key: str) -> Json:
        """Returns a table's row: the store's first, then the file's."""
        stores = self.lookups.tables
        if name in stores and key in stores[name]:
            return stores[name][key]
        return self._tables[name].get(key)

    def count(self, what: str, place: str) -> None:
        """Counts what became of a row."""
        self.counts[what] += 1
        if self.tell is not None:
            self.tell(f"  {place or 'message'}: {what}")

    def refuse(self, reason: str, detail: str, rule: str | None, place: str | None) -> None:
        """Notes that the message, or a part of it, is refused."""
        self.refusals.append(
            MappingRefusal(reason=reason, detail=detail, rule=rule, place=place or None)
        )
        if self.tell is not None:
            self.tell(f"  refused: {detail}" + (f" at {place}" if place else ""))


class Row(dict[str, Any]):
    """The names of one row; see the module's docstring.

    Attributes:
        run: What the rows of the message share.
        rule: Name of the rule.
        lets: Named values, evaluated when they are first asked for.
        place: Where the row stands in the message.
        findings: What was new about the values that are compared with earlier ones.
        broken: Places of its parts that were refused, such as lines of a receipt.
        staged: What is to be remembered if the row succeeds.
        at: When it happened.
        device: What told it.
        texts: What was made of nothing but the topic, for all messages of the topic.
    """

    __slots__ = (
        "at", "broken", "device", "findings", "lets", "place", "rule", "run", "staged", "texts",
    )  # fmt: skip

    def __init__(
        self,
        names: Mapping[str, Any],
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
        self.broken: list[str] = []
        self.staged: dict[str, Entry] = {}
        self.at = run.arrival
        self.device = ""
        self.texts: dict[str, str | None] = {}

    def __missing__(self, name: str) -> Any:
        let = self.lets.get(name)
        if let is None:
            return None
        self[name] = value = let(self)
        return value

    def inner(self, name: str, value: Any, key: Any, place: str) -> Row:
        """Returns a row of its own inside this one, such as an element of an array."""
        row = Row(self, self.run, self.rule, self.lets, place)
        row[ROW] = row[name] = value
        row["key"] = key
        row.texts = self.texts
        return row

    def part(self, name: str, value: Any, lets: Mapping[str, Evaluated]) -> Row:
        """Returns a row inside this one, such as a line of a receipt; they share their memory."""
        part = Row(self, self.run, self.rule, {**self.lets, **lets} if lets else self.lets, "")
        part.place = self.place
        for let in lets:
            part.pop(let, None)
        part[ROW] = part[name] = value
        part.findings, part.staged, part.broken = self.findings, self.staged, self.broken
        part.at, part.device, part.texts = self.at, self.device, self.texts
        return part

    def remember(self, place: str, key: Any, judge: Callable[[Entry | None, int], Finding]) -> Any:
        """Returns what is new against what was remembered, and stages what to remember."""
        name = self.key_of(place, (self.device, "" if key is None else text_of(key)))
        return self.remember_as(name, judge)

    def remembers(self, place: str, key: Any) -> bool:
        """Returns whether anything was remembered there."""
        name = self.key_of(place, (self.device, "" if key is None else text_of(key)))
        old = self.run.remembered(name)
        return old is not None and old.until_ms >= self.at.at_ms

    def remember_as(self, name: str, judge: Callable[[Entry | None, int], Finding]) -> Any:
        """Does the same under a ready key."""
        at_ms = self.at.at_ms
        old = self.staged.get(name) or self.run.remembered(name)
        finding = judge(None if old is None or old.until_ms < at_ms else old, at_ms)
        if finding.entry is not None:
            self.staged[name] = finding.entry
        self.findings.append(finding)
        return finding.result

    def key_of(self, place: str, parts: tuple[str, ...]) -> str:
        """Returns the name under which something is remembered; it names nobody."""
        secret = self.run.lookups.secret[:_SECRET_MAX]
        digest = blake2b(framed(parts), key=secret, digest_size=_KEY_BYTES)
        return f"{place}#{digest.hexdigest()}"

    def opaque(self, text: str) -> str:
        """Returns a text that tells one piece from another, and not what it was."""
        secret = self.run.lookups.secret[:_SECRET_MAX]
        digest = blake2b(framed(("opaque", text)), key=secret, digest_size=_KEY_BYTES)
        return digest.hexdigest()


def framed(parts: Iterable[str]) -> bytes:
    """Returns texts as bytes to hash; lengths keep ("a", "bc") from being ("ab", "c")."""
    return "".join([f"{len(part)}:{part}" for part in parts]).encode("utf-8", "replace")


def refuse_line(row: Row, error: BaseException, place: str) -> None:
    """Notes that a part of a row is bad; its neighbours stay."""
    row.broken.append(place)
    row.run.refusals.append(
        MappingRefusal(reason="invalid", detail=detail_of(error), rule=row.rule, place=place)
    )
