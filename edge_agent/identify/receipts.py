"""What a person is handed about his consents, with each purpose in the W3C DPV's terms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_agent.domain.time import datetime_from_ms
from edge_agent.domain.visitor import CONSENT_BASIS
from edge_agent.identify.consent import CHANNELS, PURPOSES, has_consent, statement_on
from edge_agent.wire.consents import (
    ConsentEvent,
    ConsentOnChannel,
    ConsentParty,
    ConsentPurpose,
    ConsentReceipt,
)

if TYPE_CHECKING:
    from edge_agent.domain.visitor import ConsentStatement, Visitor

# Purpose and processing of each, of DPV 2: https://w3id.org/dpv
DPV_PURPOSES: Final = {
    "marketing": "dpv:DirectMarketing",
    "personal_recommendations": "dpv:ProvidePersonalisedRecommendations",
    "profiling": "dpv:Personalisation",
    "sending_to_hq": "dpv:CustomerRelationshipManagement",
    "staff_assistance": "dpv:CustomerCare",
}
DPV_PROCESSING: Final = {
    "marketing": "dpv:Use",
    "personal_recommendations": "dpv:Use",
    "profiling": "dpv:Profiling",
    "sending_to_hq": "dpv:Transfer",
    "staff_assistance": "dpv:Use",
}
_WITHDRAWAL: Final = "At any till or desk, in the app, or at head office; it holds at once."
HQ_PARTY: Final = "hq"


def consent_receipt(visitor: Visitor, *, store: str, now_ms: int) -> ConsentReceipt:
    """Returns a person's receipt: every purpose, asked for or not, and what was said of it."""
    return ConsentReceipt(
        record_id=f"{visitor.id}-{now_ms}",
        pii_principal_id=visitor.id,
        issued=datetime_from_ms(now_ms),
        parties=(ConsentParty(party_id=store),),
        purposes=tuple(_purpose(visitor, purpose, now_ms=now_ms) for purpose in PURPOSES),
        withdrawal_method=_WITHDRAWAL,
    )


def _purpose(visitor: Visitor, purpose: str, *, now_ms: int) -> ConsentPurpose:
    said = [each for each in visitor.consents if each.purpose == purpose]
    given = [each for each in said if each.granted]
    spoken_of = {each.only_on for each in said}
    return ConsentPurpose(
        purpose=purpose,
        purpose_type=DPV_PURPOSES[purpose],
        processing=DPV_PROCESSING[purpose],
        lawful_basis=max(given, key=lambda each: each.stated_at_ms).basis
        if given
        else CONSENT_BASIS,
        recipients=(HQ_PARTY,) if purpose == "sending_to_hq" else (),
        status=_status(visitor, purpose, now_ms=now_ms),
        channels=tuple(
            ConsentOnChannel(channel=channel, status=status)
            for channel in CHANNELS
            if channel in spoken_of
            and (status := _status(visitor, purpose, now_ms=now_ms, channel=channel)) is not None
        ),
        events=tuple(_event(each) for each in said),
    )


def _status(
    visitor: Visitor, purpose: str, *, now_ms: int, channel: str | None = None
) -> str | None:
    if has_consent(visitor, purpose, now_ms=now_ms, channel=channel):
        return "dpv:ConsentGiven"
    held = statement_on(visitor, purpose, channel)
    if held is None:
        return None
    return "dpv:ConsentExpired" if held.granted else "dpv:ConsentWithdrawn"


def _event(statement: ConsentStatement) -> ConsentEvent:
    expires_at_ms = statement.expires_at_ms
    return ConsentEvent(
        event_time=datetime_from_ms(statement.stated_at_ms),
        event_type="given" if statement.granted else "withdrawn",
        event_state="dpv:ConsentGiven" if statement.granted else "dpv:ConsentWithdrawn",
        entity_id=statement.source,
        channel=statement.channel,
        lawful_basis=statement.basis if statement.granted else None,
        only_on=statement.only_on,
        notice_version=statement.text_version,
        valid_until=None if expires_at_ms is None else datetime_from_ms(expires_at_ms),
    )
