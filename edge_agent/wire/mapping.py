"""File format of device mappings: how a vendor's payload becomes canonical events.

What the words mean to a store technician stands in `hardware/README.md`; what they do is in
`ingest.mapping`. Here is their form alone: unknown words are errors, so that a misspelt one is
found by the check and not by a missing count.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Union, get_args

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    model_validator,
)
from typing_extensions import TypeAliasType

from edge_agent.wire.events import EVENT_TYPES
from edge_agent.wire.mapping_csv import PLAIN_CSV, Csv
from edge_agent.wire.mapping_part import (
    Conditions,
    Expression,
    Part,
    Scalar,
    Seconds,
    Word,
    one_or_more,
)
from edge_agent.wire.mapping_state import Change, Delta, Once, Since

# Wire types of the events, in the order of the catalogue.
CANONICAL_TYPES: Final = tuple(
    get_args(each.model_fields["type"].annotation)[0] for each in EVENT_TYPES
)

Format = Literal["json", "xml", "form", "text", "csv", "json_lines", "bytes"]
Packing = Literal["json", "xml", "form", "text", "csv", "json_lines", "bytes", "base64", "hex"]
Kind = Literal[
    "text",
    "integer",
    "number",
    "boolean",
    "upper",
    "lower",
    "mac",
    "mac_kind",
    "uuid",
    "gtin",
    "opaque",
    "seconds",
    "instant",
]
Unit = Literal[
    "mm", "cm", "m", "in", "ft", "us", "ms", "s", "min", "h", "C", "F", "K", "g", "kg", "lb", "oz",
    "cdBm", "dBm", "cent", "unit",
]  # fmt: skip
TimeUnit = Literal["s", "ms", "us", "ns"]

RULES_MAX = 200
ROWS_MAX: Final = 2_000
PAYLOAD_BYTES_MAX: Final = 262_144


# The first one that can be read; XML does not mix with others.
Formats = Annotated[tuple[Format, ...], BeforeValidator(one_or_more)]
Reason = Annotated[str, Field(min_length=1, max_length=200)]

SOURCES: Final = ("path", "first", "const", "text", "setting", "sum", "product", "rows")


def _node_kind(value: Any) -> str:
    # A table with a source is a value, any other table is an object of fields.
    if isinstance(value, (str, Value)):
        return "expression" if isinstance(value, str) else "value"
    if isinstance(value, dict) and not {*SOURCES, "since"} & set(value):
        # A table of steps alone lacks its source.
        words = {info.alias or name for name, info in Value.model_fields.items()}
        return "value" if value and words >= set(value) else "fields"
    return "value"


if TYPE_CHECKING:
    Node = Union[str, "Value", dict[str, Any]]  # noqa: UP007 - a name that comes later
else:
    Node = TypeAliasType(
        "Node",
        Annotated[
            Annotated[Expression, Tag("expression")]
            | Annotated["Value", Tag("value")]
            | Annotated[dict[str, "Node"], Tag("fields")],
            Discriminator(_node_kind),
        ],
    )


# --- values ---------------------------------------------------------------------------------


class Bytes(Part):
    """A number inside binary data: where it begins, how long it is, how it is read."""

    at: Annotated[int, Field(ge=-1_024, le=1_024)]
    size: Annotated[int, Field(ge=1, le=8)] = 1
    order: Literal["big", "little"] = "big"
    signed: bool = False


class Rows(Part):
    """An array of objects made from an array of the message, such as the lines of a receipt."""

    path: Expression
    name: Annotated[Word, Field(alias="as")] = "line"
    where: Conditions = ()
    let: dict[Word, Node] = Field(default_factory=dict)
    fields: dict[str, Node]
    share: Annotated[tuple[Share, ...], BeforeValidator(one_or_more)] = ()


class Share(Part):
    """An amount of the whole shared out over rows, so that their amounts add up exactly.

    Attributes:
        amount: What is shared out.
        total: What the rows come to afterwards; the difference is shared out.
        from_: Field that the shares are taken off.
        to: Field that they are added to.
        by: How much of it a row gets, in proportion; without it, by what the field holds.
        where: Rows that take a share.
        minor_units: Decimals of the smallest unit: a number, a currency or an expression.
    """

    amount: Node | None = None
    total: Node | None = None
    from_: Annotated[str | None, Field(alias="from")] = None
    to: str | None = None
    by: Node | None = None
    where: Conditions = ()
    minor_units: Annotated[int, Field(ge=0, le=4)] | Expression = 2

    @model_validator(mode="after")
    def _fits(self) -> Share:
        if (self.amount is None) == (self.total is None):
            msg = "give exactly one of amount, total"
            raise ValueError(msg)
        if self.from_ is None and self.to is None:
            msg = "say from which field it is taken, to which it is added, or both"
            raise ValueError(msg)
        return self


class Value(Part):
    """One value: exactly one source, then steps that are always taken in the order given here."""

    # Sources.
    path: Expression | None = None
    first: Annotated[tuple[Node, ...], BeforeValidator(one_or_more)] | None = None
    const: Scalar | None = None
    text: Expression | None = None
    setting: Word | None = None
    sum: Annotated[tuple[Node, ...], BeforeValidator(one_or_more)] | None = None
    product: Annotated[tuple[Node, ...], BeforeValidator(one_or_more)] | None = None
    rows: Rows | None = None
    # Only when these hold; null otherwise.
    when: Conditions = ()
    # Steps.
    recall: Word | None = None
    unpack: Annotated[tuple[Packing, ...], BeforeValidator(one_or_more)] = ()
    bytes: Bytes | None = None
    decode: Word | None = None
    options: dict[str, Scalar] = Field(default_factory=dict)
    select: Expression | None = None
    pattern: Expression | None = None
    as_: Annotated[Kind | None, Field(alias="as")] = None
    decimal: Literal[".", ",", "either"] = "."
    minus: Node | None = None
    minor_units: Annotated[int, Field(ge=0, le=4)] | Expression | None = None
    from_: Annotated[Unit | Expression | None, Field(alias="from")] = None
    to: Unit | None = None
    scale: float | None = None
    offset: float | None = None
    absolute: bool = False
    negative: bool = False
    round: Annotated[int, Field(ge=0, le=9)] | None = None
    min: float | None = None
    max: float | None = None
    map: dict[str, Scalar] | None = None
    lookup: Word | None = None
    unknown: Literal["keep", "null", "refuse"] | None = None
    default: Scalar | None = None
    required: bool = False
    # State, at the end.
    delta: Delta | None = None
    change: Change | None = None
    since: Since | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Value:
        given = [name for name in SOURCES if getattr(self, name) is not None]
        if len(given) + (self.since is not None and not given) != 1:
            msg = f"give exactly one of {', '.join(SOURCES)}"
            raise ValueError(msg)
        if sum(each is not None for each in (self.delta, self.change, self.since)) > 1:
            msg = "delta, change and since exclude each other"
            raise ValueError(msg)
        if (self.from_ is None) != (self.to is None):
            msg = "from and to go together"
            raise ValueError(msg)
        return self


class Time(Value):
    """When it happened: a value, and how it is written.

    Attributes:
        unit: Unit of a number since 1970; a text without unit or format is ISO 8601.
        format: Form of any other text, in the letters of `strptime`.
        zone: Zone of a text without one: a name, or a setting such as `$settings.timezone`.
        fold: Which of two equal local times is meant, on the night the clock goes back.
        max_age_days: An older time is a wrong clock: the arrival time is taken, and counted.
    """

    unit: TimeUnit | None = None
    format: Annotated[str, Field(min_length=2, max_length=64)] | None = None
    zone: str | None = None
    fold: Literal["nearest", "earlier", "later"] = "nearest"
    max_age_days: Annotated[float, Field(gt=0)] | None = None


# --- rules ----------------------------------------------------------------------------------


class Each(Part):
    """One step of fanning out: every row of an array, key of an object, or numbered field.

    Attributes:
        path: The array or object; a single object counts as an array of one.
        name: How the row is called in expressions, after a `$`.
        keys: The rows are the object's values; `$key` holds the key.
        fields: Groups numbered fields, such as `line_{n}_{field}`: one row for every `{n}`.
        changes: The rows are what entered and left between two sets (see `before` and `key`).
        before: The earlier set, when the message holds it.
        key: State key of the earlier set, when it does not; a template.
    """

    path: Expression
    name: Annotated[Word, Field(alias="as")] = "row"
    keys: bool = False
    fields: Expression | None = None
    changes: bool = False
    before: Expression | None = None
    key: Expression | None = None
    where: Conditions = ()

    @model_validator(mode="after")
    def _fits(self) -> Each:
        if self.keys + (self.fields is not None) + self.changes > 1:
            msg = "keys, fields and changes exclude each other"
            raise ValueError(msg)
        if not self.changes and (self.before or self.key):
            msg = "before and key go with changes"
            raise ValueError(msg)
        if self.changes and (self.before is None) == (self.key is None):
            msg = "changes needs either before or key"
            raise ValueError(msg)
        return self


class Unpack(Part):
    """Text inside the message that is a document of its own: from here on it is the message.

    The document around it stays reachable as `$outer`. When `optional`, a message without it is
    taken as it is.
    """

    path: Expression
    optional: bool = False
    format: Annotated[tuple[Packing, ...], BeforeValidator(one_or_more)] = ("json",)


class Presence(Part):
    """Sightings become a place: the nearest of several receivers, without flapping.

    `$presence.place`, `$presence.previous` and `$presence.change` (`entered`, `moved`, `seen`)
    are there for the rule's other values.

    Attributes:
        key: Who is seen; a template.
        place: Where.
        strength: How near, higher is nearer: dBm, or a distance with `scale = -1`.
        margin: Another place must be nearer by this much.
        settle_s: ... for so long.
        hold_s: A place that is silent for so long no longer holds.
        gone_s: Who is silent for so long is new again.
        refresh_s: Who stays is told again after so long.
    """

    key: Expression
    place: Node
    strength: Node | None = None
    margin: Annotated[float, Field(ge=0)] = 0.0
    settle_s: Annotated[float, Field(ge=0, le=3_600)] = 0.0
    hold_s: Seconds = 30.0
    gone_s: Seconds = 300.0
    refresh_s: Seconds = 60.0


class Remember(Part):
    """What one message tells about a device, to be looked up by later ones with `recall`.

    Attributes:
        name: What `recall` calls it.
        key: Whom it is about; a template.
        value: What is remembered; null forgets it.
        for_s: For how long, unless it is told again.
    """

    name: Annotated[Word, Field(alias="as")]
    key: Expression
    value: Node
    for_s: Seconds = 400.0 * 86_400


def _each(value: Any) -> Any:
    rows = value if isinstance(value, list) else [value]
    return tuple({"path": row} if isinstance(row, str) else row for row in rows)


def _canonical(value: str) -> str:
    if value not in CANONICAL_TYPES:
        near = get_close_matches(value, CANONICAL_TYPES, n=1, cutoff=0.6)
        meant = f"did you mean {near[0]}?" if near else f"there are {', '.join(CANONICAL_TYPES)}"
        msg = f"no canonical event type; {meant}"
        raise ValueError(msg)
    return value


class Rule(Part):
    """What a message has to look like, and what becomes of it: an event, or a reason for none."""

    name: Annotated[str, Field(min_length=1, max_length=80)]
    topic: Annotated[str, Field(min_length=1, max_length=400)] | None = None
    format: Formats = ()
    unpack: Annotated[tuple[Unpack, ...], BeforeValidator(one_or_more)] = ()
    when: Conditions = ()
    each: Annotated[tuple[Each, ...], BeforeValidator(_each)] = ()
    let: dict[Word, Node] = Field(default_factory=dict)
    where: Conditions = ()
    device: Expression | None = None
    once: Once | None = None
    presence: Presence | None = None
    ignore: Reason | None = None
    reject: Reason | None = None
    remember: Remember | None = None
    event: (
        Annotated[str, AfterValidator(_canonical), Field(description="a canonical event type")]
        | None
    ) = None
    source: Expression | None = None
    id: Annotated[tuple[Expression, ...], BeforeValidator(one_or_more)] = ()
    time: Time | None = None
    data: dict[str, Node] = Field(default_factory=dict)
    go_on: bool = False

    @model_validator(mode="after")
    def _one_outcome(self) -> Rule:
        given = (self.event, self.ignore, self.reject, self.remember)
        if sum(each is not None for each in given) != 1:
            msg = "give exactly one of event, ignore, reject, remember"
            raise ValueError(msg)
        return self


class MappingFile(Part):
    """A whole `mapping.toml`."""

    schema_version: Literal[1]
    vendor: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=64)]
    device: Annotated[str, Field(min_length=1, max_length=200)]
    tier: Literal["listed", "sampled", "proven"]
    documentation: Annotated[str, Field(min_length=1, max_length=300)]
    topics: Annotated[tuple[str, ...], BeforeValidator(one_or_more), Field(min_length=1)]
    format: Annotated[Formats, Field(min_length=1)] = ("json",)
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    csv: Csv = PLAIN_CSV
    mode: Literal["first", "all"] = "first"
    max_bytes: Annotated[int, Field(ge=1, le=1_048_576)] = PAYLOAD_BYTES_MAX
    drop: Annotated[tuple[str, ...], BeforeValidator(one_or_more)] = ()
    settings: dict[Word, Scalar] = Field(default_factory=dict)
    tables: dict[Word, dict[str, Scalar]] = Field(default_factory=dict)
    rules: Annotated[
        tuple[Rule, ...], BeforeValidator(one_or_more), Field(min_length=1, max_length=RULES_MAX)
    ]


for _model in (Share, Rows, Value, Time, Presence, Remember, Rule, MappingFile):
    _model.model_rebuild()
