"""What goes up to HQ: summaries, consented customers' updates, gateway state, confirmations.

Nothing else leaves a store. Cells hold counts, sums and fixed-bucket histograms, so that stores
and days add up exactly.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from edge_agent.wire.base import SCHEMA_VERSION, WHOLE_MAX, Instant, Message, Name, Text

# What a cell may be told apart by: places and goods, never people.
Dimension = Literal["zone", "department", "place"]
Count = Annotated[int, Field(ge=0, le=WHOLE_MAX)]
DecimalText = Annotated[str, Field(pattern=r"^-?[0-9]{1,15}(\.[0-9]{1,6})?$")]
SummaryKind = Literal["footfall", "dwell", "sales", "funnel"]


class SummaryCell(Message):
    """One cell: its keys, then what was counted there.

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
    """`hq/{store}/up/summary/{kind}`: one store's period; the highest revision holds."""

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


class GatewayState(Message):
    """`hq/{store}/up/state`: the gateway's health and versions."""

    state_id: Name
    store: Name
    at: Instant
    version: Name
    model: Name | None = None
    health: Literal["good", "degraded"]
    problems: tuple[Name, ...] = ()
    counters: dict[str, int] = {}
    schema_version: Literal[1] = SCHEMA_VERSION


class Confirmation(Message):
    """`hq/{store}/up/confirm`: what became of one of HQ's commands."""

    confirm_id: Name
    store: Name
    command: Name
    outcome: Literal["taken", "refused"]
    reason: Text = ""
    schema_version: Literal[1] = SCHEMA_VERSION
