"""What goes up to HQ: summaries, consented customers' updates, erasures, state, confirmations.

Nothing else leaves a store. Cells hold counts, sums and fixed-bucket histograms, so that stores
and days add up exactly.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from edge_agent.wire.base import SCHEMA_VERSION, WHOLE_MAX, Instant, Message, Name, Text

# What a cell may be told apart by: places and goods, never people.
Dimension = Literal["zone", "department", "place", "campaign", "share", "arm"]
Count = Annotated[int, Field(ge=0, le=WHOLE_MAX)]
DecimalText = Annotated[str, Field(pattern=r"^-?[0-9]{1,15}(\.[0-9]{1,6})?$")]
DEVICES_MAX: Final = 200
SummaryKind = Literal["footfall", "dwell", "sales", "funnel", "uplift"]


class SummaryCell(Message):
    """One cell: its keys, then what was counted there.

    Of the kind `uplift` a cell is one arm (`treated`, `control`) of a campaign under one share of
    control. `units` is how many persons and time slots are in it, `bought` and `spend` are sums
    over them and `bought_squares` and `spend_squares` sums of their squares, in millionths;
    `spend_units` is the units that the sums of money are of. Both arms are there, or neither.

    Attributes:
        keys: Dimension to value, such as `{"zone": "dairy"}`; `{}` is the period's total.
        n_visitors: Distinct visitors behind the cell; at least k, or None where nobody is counted
            (aggregate sensors) or the count itself is the value.
        counts: Whole numbers that add up over cells, stores and days.
        sums: Decimal strings that add up likewise (money, seconds).
        histogram: Counts per fixed bucket, lowest first; the buckets are `sync.histograms`'.
    """

    keys: dict[Dimension, Name] = {}
    n_visitors: Annotated[int, Field(ge=0)] | None = None
    counts: dict[Name, Count] = {}
    sums: dict[Name, DecimalText] = {}
    histogram: tuple[Count, ...] | None = None


class Summary(Message):
    """`hq/{store}/up/summary/{kind}`: one store's period; the highest revision holds.

    A period is an hour, and of the kind `uplift` a store-local day.
    """

    summary_id: Name
    store: Name
    kind: SummaryKind
    period_start: Instant
    period_end: Instant
    revision: Annotated[int, Field(ge=1, le=WHOLE_MAX)]
    k: Annotated[int, Field(ge=1, description="smallest number of visitors behind a cell")]
    n_suppressed_cells: Annotated[int, Field(ge=0)] = 0
    cells: tuple[SummaryCell, ...]
    schema_version: Literal[1] = SCHEMA_VERSION


class Interest(Message):
    """A derived interest and its strength, 0..1."""

    category: Name
    strength: Annotated[float, Field(ge=0, le=1)]


class CustomerUpdate(Message):
    """`hq/{store}/up/customer`: one consenting customer's day.

    Attributes:
        reference: The handle that HQ gave with this customer's profile; means nothing elsewhere.
        activity_date: Store-local day, ISO 8601.
        choices: Products bought that day.
    """

    update_id: Name
    reference: Name
    store: Name
    activity_date: Annotated[str, Field(pattern=r"^[0-9]{4}-[01][0-9]-[0-3][0-9]$")]
    revision: Annotated[int, Field(ge=1, le=WHOLE_MAX)]
    segments: tuple[Name, ...] = ()
    interests: tuple[Interest, ...] = ()
    choices: tuple[Name, ...] = ()
    schema_version: Literal[1] = SCHEMA_VERSION


class DeviceState(Message):
    """How one of the store's devices is; a device is a thing, never a person's.

    Attributes:
        device: The source that its events carry.
        last_seen: To the minute.
        per_hour: Events an hour, of late.
        skew_s: How far its clock is ahead, seconds; behind when negative.
        is_silent: It keeps quiet for longer than it uses to.
        inside_at_closing: Entries less exits of the last whole day; only of k entries or more.
        is_drifting: It and the store's counters together did not come back to zero.
    """

    device: Name
    last_seen: Instant
    per_hour: Annotated[float, Field(ge=0)]
    skew_s: float | None = None
    is_silent: bool = False
    inside_at_closing: int | None = None
    is_drifting: bool = False


class GatewayState(Message):
    """`hq/{store}/up/state`: the gateway's health and versions, and its devices'.

    Attributes:
        devices: Those with trouble first, 200 at most.
    """

    state_id: Name
    store: Name
    at: Instant
    version: Name
    model: Name | None = None
    health: Literal["good", "degraded"]
    problems: tuple[Name, ...] = ()
    counters: dict[str, int] = {}
    devices: Annotated[tuple[DeviceState, ...], Field(max_length=DEVICES_MAX)] = ()
    schema_version: Literal[1] = SCHEMA_VERSION


class Confirmation(Message):
    """`hq/{store}/up/confirm`: what became of one of HQ's commands."""

    confirm_id: Name
    store: Name
    command: Name
    outcome: Literal["taken", "refused"]
    reason: Text = ""
    schema_version: Literal[1] = SCHEMA_VERSION


class Erasure(Message):
    """`hq/{store}/up/erasure`: a customer had himself forgotten; HQ deletes its rows of him.

    It is repeated until HQ's `ack` names it, and then forgotten itself.

    Attributes:
        erasure_id: Made by chance; tells nothing of whom it is about.
        reference: The handle that HQ gave with this customer's profile.
        at: What HQ has of him until then goes, and does not come back with a late message.
    """

    erasure_id: Name
    store: Name
    reference: Name
    at: Instant
    schema_version: Literal[1] = SCHEMA_VERSION
