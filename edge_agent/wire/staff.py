"""The human-assisted channel: alerts to the staff's handhelds and what they answer."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edge_agent.wire.base import SCHEMA_VERSION, Cause, Instant, Message, Name, Text

AlertKind = Literal["long_dwell", "help_requested", "long_queue", "complaint"]


class StaffAlert(Message):
    """`store/{store}/staff/{team}/alert`: somebody may want help. Says where, never who.

    Of a complaint `text` is the story, if it came with one: nobody has to repeat himself.
    """

    decision: Name
    cause: Cause
    team: Name
    kind: AlertKind
    zone: Name
    issued: Instant
    valid_until: Instant
    text: Text
    dwell_s: float | None = Field(default=None, ge=0)
    schema_version: Literal[1] = SCHEMA_VERSION


class StaffFeedback(Message):
    """`store/{store}/staff/{team}/feedback`: what became of an alert."""

    decision: Name
    outcome: Literal["acknowledged", "helped", "not_needed"]
    at: Instant | None = None
    schema_version: Literal[1] = SCHEMA_VERSION
