"""The events of one message as messages of one each: for when one of them spoils the others."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_agent.ports import Delivery


@dataclass(slots=True, kw_only=True)
class Part:
    """One event of a message that held several."""

    topic: str
    payload: bytes
    retain: bool
    dup: bool
    mid: int
    generation: int
    response_topic: str | None
    correlation: bytes | None


def parts_of(delivery: Delivery) -> tuple[Delivery, ...]:
    """Returns a message's events one by one; the message itself where it is no array of them."""
    if delivery.payload.lstrip()[:1] != b"[":
        return (delivery,)
    try:
        found = json.loads(delivery.payload)
    except (ValueError, RecursionError):
        return (delivery,)
    return tuple(_part(delivery, json.dumps(each).encode()) for each in found) or (delivery,)


def _part(delivery: Delivery, payload: bytes) -> Part:
    return Part(
        topic=delivery.topic,
        payload=payload,
        retain=delivery.retain,
        dup=delivery.dup,
        mid=delivery.mid,
        generation=delivery.generation,
        response_topic=delivery.response_topic,
        correlation=delivery.correlation,
    )
