"""Which messages may be written into the reserve: those that forbid something, and no others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_agent.ingest.decode import Refusal, decode_events
from edge_agent.wire import topics

if TYPE_CHECKING:
    from edge_agent.ports import Delivery

_EVENTS: Final = frozenset({"consent.withdrawn", "complaint.opened"})
_EVENTS_AS_WRITTEN: Final = tuple(kind.encode() for kind in sorted(_EVENTS))
_COMMANDS: Final = frozenset({"consent", "complaint"})


def restricts(link: str, delivery: Delivery | None, *, max_bytes: int) -> bool:
    """Returns whether a message does nothing but restrict what may be done about somebody.

    Args:
        link: Where it came from, `store` or `hq`.
        delivery: The message; None for what is no message.
        max_bytes: Larger ones are refused anyway.
    """
    if delivery is None:
        return False
    if link == "hq":
        return topics.last_level(delivery.topic) in _COMMANDS
    if link != "store" or not any(kind in delivery.payload for kind in _EVENTS_AS_WRITTEN):
        return False
    events = decode_events(delivery.payload, max_bytes=max_bytes)
    return all(not isinstance(each, Refusal) and each.type in _EVENTS for each in events)
