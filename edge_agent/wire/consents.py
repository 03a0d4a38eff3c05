"""A consent receipt: what a person allowed and withdrew, in the shape of ISO/IEC TS 27560.

Its terms are those of the W3C Data Privacy Vocabulary (https://w3id.org/dpv). It is handed to its
person and travels on no topic.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from edge_agent.wire.base import SCHEMA_VERSION, Instant, Message, Name, Text

DpvTerm = Annotated[str, Field(pattern=r"^dpv:[A-Za-z]+$")]


class ConsentEvent(Message):
    """One statement: when, in which way, and what holds from then on."""

    event_time: Instant
    event_type: Literal["given", "withdrawn"]
    event_state: DpvTerm
    entity_id: Name = Field(description="the source that heard it")
    channel: Name | None = Field(default=None, description="by which way it was said")
    lawful_basis: DpvTerm | None = Field(default=None, description="of what was given")
    only_on: Name | None = Field(default=None, description="none: every channel")
    notice_version: Name | None = Field(default=None, description="version of the text shown")
    valid_until: Instant | None = None


class ConsentOnChannel(Message):
    """How a purpose stands on one channel."""

    channel: Name
    status: DpvTerm


class ConsentPurpose(Message):
    """One purpose, what it is in DPV's terms, and how it stands."""

    purpose: Name = Field(description="the agent's own name")
    purpose_type: DpvTerm
    processing: DpvTerm
    lawful_basis: DpvTerm = "dpv:Consent"
    recipients: tuple[Name, ...] = ()
    status: DpvTerm | None = Field(default=None, description="none: never asked, so no")
    channels: tuple[ConsentOnChannel, ...] = Field(
        default=(), description="those of which something else was said"
    )
    events: tuple[ConsentEvent, ...] = ()


class ConsentParty(Message):
    """Who processes."""

    party_id: Name
    party_role: Literal["dpv:DataController"] = "dpv:DataController"


class ConsentReceipt(Message):
    """All that one person allows in one store, purpose by purpose; nothing on record means no."""

    record_id: Name
    standard: Literal["ISO/IEC TS 27560:2023"] = "ISO/IEC TS 27560:2023"
    pii_principal_id: Name = Field(description="the store's id of the person, no identifier")
    issued: Instant
    parties: tuple[ConsentParty, ...]
    purposes: tuple[ConsentPurpose, ...]
    withdrawal_method: Text
    schema_version: Literal[1] = SCHEMA_VERSION
