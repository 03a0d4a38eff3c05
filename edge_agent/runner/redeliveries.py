"""Devices' messages that were committed of late, to know them when the broker brings them again.

An event is known by its id. A device's own message may have none and no time either: told again, a
beam's `1` would be a new passage and yesterday's total a reset. After a lost connection the broker
repeats what was not acknowledged, marked as a duplicate, under its old packet id; so the marks of
as many messages as can be on their way are kept, in the transaction of what came of them.
Source: MQTT 5.0, section 4.4 (message delivery retry) and 3.3.1.1 (DUP).
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from edge_agent.ports import Delivery, UnitOfWork

# More than the agent lets be on their way at once, by a wide margin: a broker may overrun it.
KEPT: Final = 4_096
_MARK_BYTES: Final = 8
# SQLite's integers are signed.
_MARK_BITS: Final = (1 << 63) - 1
_READ: Final = "SELECT slot, number, mark FROM mapped_message ORDER BY number"


class Redeliveries:
    """A ring of marks: the newest takes the oldest's place."""

    def __init__(self, unit: UnitOfWork) -> None:
        self._unit = unit
        self._slots: dict[int, int] = {}
        self._next = 0
        for slot, number, mark in unit.query(_READ):
            self._slots[int(slot)] = int(mark)
            self._next = int(number) + 1
        self._marks = set(self._slots.values())
        self._unsaved: set[int] = set()

    def begin_batch(self) -> None:
        """Starts a batch; what an earlier one could not save is forgotten."""
        self._marks -= self._unsaved
        self._unsaved.clear()

    def note_committed(self) -> None:
        """Notes that what was taken in is on the disk."""
        self._unsaved.clear()

    def knows(self, delivery: Delivery) -> bool:
        """Returns whether the broker brings again what was taken in before."""
        return delivery.dup and _mark_of(delivery) in self._marks

    def note(self, delivery: Delivery) -> None:
        """Notes a message with the batch that takes it in."""
        if not delivery.mid:
            # Sent at most once: it never comes again.
            return
        mark, slot = _mark_of(delivery), self._next % KEPT
        self._marks.discard(self._slots.get(slot, -1))
        self._slots[slot] = mark
        self._marks.add(mark)
        self._unsaved.add(mark)
        self._unit.add("mapped_message", (slot, self._next, mark))
        self._next += 1


def _mark_of(delivery: Delivery) -> int:
    digest = blake2b(f"{delivery.mid}/{delivery.topic}\x00".encode(), digest_size=_MARK_BYTES)
    digest.update(delivery.payload)
    return int.from_bytes(digest.digest(), "big") & _MARK_BITS
