"""Bytes of one message to canonical events or refusals.

Total: whatever comes in, values come out. A batch (JSON array) is judged event by event, so that
one bad event spares its neighbours.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import from_json, to_json

from edge_agent.wire.base import NAME_MAX
from edge_agent.wire.events import EVENT, Event
from edge_agent.wire.notices import ClockTick
from edge_agent.wire.offers import OfferRequest
from edge_agent.wire.screens import RecommendRequest
from edge_agent.wire.staff import StaffFeedback

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from edge_agent.wire.notices import RefusalReason

BATCH_EVENTS_MAX: Final = 1_000
DETAIL_CHARACTERS: Final = 300
PROBLEMS_SHOWN: Final = 3

_BATCH: TypeAdapter[tuple[Event, ...]] = TypeAdapter(
    Annotated[
        tuple[Annotated[Event, Field(discriminator="type")], ...],
        Field(min_length=1, max_length=BATCH_EVENTS_MAX),
    ]
)
# A long number, or an address without its separators.
_OF_PERSON: Final = re.compile(r"[0-9]{9,}|[0-9a-fA-F]{12}")
_JOINS: Final = re.compile(r"[\s:.\-_/+]")
_FEEDBACK_TYPES: Final = frozenset({"screen.shown", "screen.tapped", "screen.dismissed"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why something was refused, in words that hold nothing of what was in it."""

    reason: RefusalReason
    detail: str
    source: str | None = None
    event: str | None = None


def decode_events(payload: bytes, *, max_bytes: int) -> list[Event | Refusal]:
    """Returns the events of one message, each checked, or why it is refused.

    Args:
        payload: One CloudEvent in structured mode, or a JSON array of them.
        max_bytes: Largest payload that is looked at.
    """
    if len(payload) > max_bytes:
        return [_too_large(len(payload), max_bytes)]
    try:
        if payload.lstrip()[:1] == b"[":
            return list(_BATCH.validate_json(payload))
        return [EVENT.validate_json(payload)]
    except ValidationError as error:
        return _decode_one_by_one(payload, error)


def decode_request(payload: bytes, *, max_bytes: int) -> RecommendRequest | Refusal:
    """Returns a kiosk's, handheld's or till's request, or why it is refused."""
    if len(payload) > max_bytes:
        return _too_large(len(payload), max_bytes)
    try:
        return RecommendRequest.model_validate_json(payload)
    except ValidationError as error:
        return _refusal(error, payload)


def decode_offer_request(payload: bytes, *, max_bytes: int) -> OfferRequest | Refusal:
    """Returns a till's question about an offer, or why it is refused."""
    if len(payload) > max_bytes:
        return _too_large(len(payload), max_bytes)
    try:
        return OfferRequest.model_validate_json(payload)
    except ValidationError as error:
        return _refusal(error, payload)


def decode_staff_feedback(payload: bytes, *, max_bytes: int) -> StaffFeedback | Refusal:
    """Returns a staff team's answer to an alert, or why it is refused."""
    if len(payload) > max_bytes:
        return _too_large(len(payload), max_bytes)
    try:
        return StaffFeedback.model_validate_json(payload)
    except ValidationError as error:
        return _refusal(error, payload)


def decode_tick(payload: bytes, *, max_bytes: int) -> ClockTick | Refusal:
    """Returns a replay's tick, or why it is refused."""
    if len(payload) > max_bytes:
        return _too_large(len(payload), max_bytes)
    try:
        return ClockTick.model_validate_json(payload)
    except ValidationError as error:
        return _refusal(error, payload)


def refusal_of_source(event: Event, *, source: str) -> Refusal | None:
    """Returns a refusal when an event claims another source than its topic's.

    The broker lets each device publish on its own topic only; this keeps a device from naming
    itself a till inside the message.
    """
    if event.source == source:
        return None
    return Refusal(
        reason="source_mismatch",
        detail="the event's source is not the topic's",
        event=_shown_id(event.id),
    )


def refusal_of_feedback(event: Event, *, screen: str) -> Refusal | None:
    """Returns a refusal when something else than this screen's feedback came on its topic."""
    if event.type in _FEEDBACK_TYPES and getattr(event.data, "screen", None) == screen:
        return None
    return Refusal(
        reason="source_mismatch",
        detail="a screen's feedback topic takes that screen's feedback only",
        source=_shown_id(event.source),
        event=_shown_id(event.id),
    )


def _decode_one_by_one(payload: bytes, error: ValidationError) -> list[Event | Refusal]:
    try:
        document = from_json(payload)
    except ValueError:
        return [_refusal(error, payload)]
    if not isinstance(document, list):
        return [_refusal(error, payload)]
    if len(document) > BATCH_EVENTS_MAX:
        return [Refusal(reason="too_large", detail=f"more than {BATCH_EVENTS_MAX} events")]
    return [_decode_element(element) for element in document] or [
        Refusal(reason="not_an_event", detail="an empty batch")
    ]


def _decode_element(element: object) -> Event | Refusal:
    text = to_json(element)
    try:
        return EVENT.validate_json(text)
    except ValidationError as error:
        return _refusal(error, text)


def _too_large(size: int, max_bytes: int) -> Refusal:
    return Refusal(reason="too_large", detail=f"{size} bytes, at most {max_bytes} are taken")


def _refusal(error: ValidationError, payload: bytes) -> Refusal:
    details = error.errors(include_url=False, include_input=False, include_context=False)
    reason = _reason(details[0], payload)
    source, event = _envelope(payload) if reason in {"invalid", "unknown_type"} else (None, None)
    return Refusal(reason=reason, detail=_detail(details, reason), source=source, event=event)


def _reason(detail: ErrorDetails, payload: bytes) -> RefusalReason:
    kind, message = detail["type"], detail["msg"]
    if kind == "union_tag_invalid":
        return "unknown_type"
    if kind in {"union_tag_not_found", "model_type", "dict_type", "model_attributes_type"}:
        return "not_an_event"
    if kind != "json_invalid":
        return "invalid"
    if "recursion" in message:
        return "too_deep"
    try:
        payload.decode("utf-8")
    except UnicodeDecodeError:
        return "not_utf8"
    return "not_json"


def _detail(details: list[ErrorDetails], reason: RefusalReason) -> str:
    # Only our own field names and pydantic's fixed sentences: never a value out of the payload.
    if reason == "unknown_type":
        return "type is not a canonical event type"
    if reason in {"not_json", "not_utf8", "too_deep"}:
        return details[0]["msg"][:DETAIL_CHARACTERS]
    parts = [
        f"{'.'.join(str(step) for step in each['loc'])}: {each['msg']}"
        for each in details[:PROBLEMS_SHOWN]
    ]
    more = len(details) - PROBLEMS_SHOWN
    return ("; ".join(parts) + (f"; and {more} more" if more > 0 else ""))[:DETAIL_CHARACTERS]


def _envelope(payload: bytes) -> tuple[str | None, str | None]:
    document = from_json(payload)
    if not isinstance(document, dict):
        return None, None
    return _shown_id(_name(document.get("source"))), _shown_id(_name(document.get("id")))


def _shown_id(text: str | None) -> str | None:
    """Returns a name as whoever looks at dead letters may see it: none that a person may have."""
    if text is None or "@" in text or _OF_PERSON.fullmatch(_JOINS.sub("", text)):
        return None
    return text


def _name(value: object) -> str | None:
    is_name = isinstance(value, str) and 0 < len(value) <= NAME_MAX and value.isprintable()
    return value if is_name and isinstance(value, str) else None
