"""What the agent tells of itself and of messages it took or refused; a replay's clock."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edge_agent.wire.base import SCHEMA_VERSION, Instant, Message, Name, Text

RefusalReason = Literal[
    "too_large",
    "not_utf8",
    "not_json",
    "too_deep",
    "not_an_event",
    "unknown_type",
    "invalid",
    "unknown_topic",
    "source_mismatch",
    "too_late",
    "failed",
    # Of device mappings.
    "no_rule",
    "rejected",
    "personal",
    "not_xml",
    "not_csv",
    "not_form",
    "not_hex",
]


class AgentState(Message):
    """`store/{store}/agent/state`, retained; the last will says `offline`."""

    status: Literal["online", "offline"]
    store: Name
    version: Name
    at: Instant | None = None
    health: Literal["good", "degraded", "unknown"] = "unknown"
    problems: tuple[Name, ...] = ()
    schema_version: Literal[1] = SCHEMA_VERSION


class EventReceipt(Message):
    """`store/{store}/event/{source}/receipt`: an event is on disk, or refused: repeat no more."""

    source: Name
    id: Name
    outcome: Literal["committed", "refused"]
    schema_version: Literal[1] = SCHEMA_VERSION


class DeadLetterNotice(Message):
    """`store/{store}/deadletter`: why a message was refused; never what was in it."""

    id: Name
    reason: RefusalReason
    detail: Text
    topic: Text
    source: Name | None = None
    event: Name | None = Field(default=None, description="id of the refused event, if it had one")
    received_at: Instant
    schema_version: Literal[1] = SCHEMA_VERSION


class ClockTick(Message):
    """`store/{store}/clock`: a replay's time; heeded only with `clock = "replay"`."""

    now: Instant
    schema_version: Literal[1] = SCHEMA_VERSION
