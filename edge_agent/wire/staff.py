"""The human-assisted channel: alerts to the staff's handhelds and what they answer."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edge_agent.wire.base import (
    SCHEMA_VERSION,
    WHOLE_MAX,
    Cause,
    Instant,
    Message,
    Name,
    Text,
)

AlertKind = Literal["long_dwell", "help_requested", "long_queue", "complaint", "lift_return"]
AlertStatus = Literal["open", "escalated", "acknowledged", "withdrawn", "closed"]
AlertOutcome = Literal["helped", "not_needed", "gone", "expired"]


class AlertCustomer(Message):
    """Who asks, of somebody who is known, consented to staff assistance and asked in his name."""

    reference: Name | None = Field(default=None, description="HQ's own handle for the customer")
    interests: tuple[Name, ...] = ()


class AlertContext(Message):
    """What help seems to be wanted with. Nothing in it says who, but for who asked as himself."""

    departments: tuple[Name, ...] = ()
    product: Name | None = Field(default=None, description="what was handled last")
    title: Text | None = None
    lifts_and_returns: int | None = Field(default=None, ge=0, le=WHOLE_MAX)
    queue_length: int | None = Field(default=None, ge=0, le=WHOLE_MAX)
    presses: int | None = Field(default=None, ge=1, le=WHOLE_MAX)
    customer: AlertCustomer | None = None


class StaffAlert(Message):
    """`store/{store}/staff/{team}/alert`: somebody may want help. Says where, never who.

    Of a complaint `text` is the story, if it came with one: nobody has to repeat himself.

    One call is told several times under the same `decision` where the store's rules name teams:
    `status` says where it stands, and each message says all of it anew. One without `status` is
    open and is not followed up.
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
    status: AlertStatus | None = None
    outcome: AlertOutcome | None = Field(default=None, description="of a call that is over")
    acknowledge_by: Instant | None = Field(
        default=None, description="when the next team is called, unless somebody answers"
    )
    escalated_from: Name | None = Field(default=None, description="who was called before")
    escalated_to: Name | None = Field(default=None, description="who was called after")
    context: AlertContext | None = None
    schema_version: Literal[1] = SCHEMA_VERSION


class StaffFeedback(Message):
    """`store/{store}/staff/{team}/feedback`: what became of an alert; `gone` is nobody there."""

    decision: Name
    outcome: Literal["acknowledged", "helped", "not_needed", "gone"]
    at: Instant | None = None
    schema_version: Literal[1] = SCHEMA_VERSION
