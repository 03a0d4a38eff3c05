"""Messages read as the agent reads them, and as far as they can be read when it refuses them.

The verdict on a message is the road's own (`ingest.decode`), so a vendor hears the reasons that he
would find in the dead letters. Beside it a refused message is read as far as it goes: one that
says "shown" in a form of its own is a fault of form, not of silence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pydantic_core import from_json

from edge_agent.ingest.decode import Refusal, decode_events

if TYPE_CHECKING:
    from datetime import datetime

    from edge_agent.conformance.transcript import Heard
    from edge_agent.wire.events import Event

# The agent's default (`ingest.max_message_bytes`).
MESSAGE_BYTES_MAX: Final = 262_144


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One event as it came.

    Attributes:
        raw: Its JSON object; empty when it is none.
        event: The event, when the agent takes it.
        refusal: Why the agent does not.
    """

    heard: Heard
    raw: dict[str, Any]
    event: Event | None = None
    refusal: Refusal | None = None

    @property
    def type(self) -> str:
        """Its type, as far as it says one."""
        return _text(self.raw.get("type"))

    @property
    def id(self) -> str:
        """Its id, as far as it says one."""
        return _text(self.raw.get("id"))

    @property
    def time(self) -> datetime | None:
        """Its own time, when it is valid and has one."""
        return None if self.event is None else self.event.time

    def field(self, name: str) -> str:
        """Returns a text of its data; empty when there is none."""
        data = self.raw.get("data")
        return _text(data.get(name)) if isinstance(data, dict) else ""


def told_in(heard: Heard) -> tuple[Told, ...]:
    """Returns the events of one message, each with the agent's verdict."""
    found = decode_events(heard.payload, max_bytes=MESSAGE_BYTES_MAX)
    objects = _objects(heard.payload)
    # One refusal may stand for the whole message.
    if len(objects) != len(found):
        objects = [{} for _ in found]
    return tuple(
        Told(heard=heard, raw=raw, refusal=each)
        if isinstance(each, Refusal)
        else Told(heard=heard, raw=raw, event=each)
        for raw, each in zip(objects, found, strict=True)
    )


def _objects(payload: bytes) -> list[dict[str, Any]]:
    try:
        document = from_json(payload)
    except ValueError:
        return []
    listed = document if isinstance(document, list) else [document]
    return [each if isinstance(each, dict) else {} for each in listed]


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
