"""Messages on their way from the network thread to the board, bounded in number and in bytes.

While the board keeps up it sees every message in order. When it does not, a screen's older
contents give way to its newest; alerts, which do not replace each other, give way last, oldest
first, and are counted.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, replace
from typing import Final

from edge_agent.web.board import PAYLOAD_BYTES_MAX
from edge_agent.wire import topics

WAITING_MAX: Final = 5_000
WAITING_BYTES_MAX: Final = 16_777_216
_ALERT: Final = topics.last_level(topics.alert("s", "t"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """A message as it came, and how many earlier ones of its topic it stands for."""

    topic: str
    payload: bytes
    is_retained: bool
    n_replaced: int = 0


class Inbox:
    """A mailbox between two threads that cannot grow without a bound."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[Arrived] = deque()
        self._n_bytes = 0
        self._is_waited_for = False
        self.n_dropped = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, topic: str, payload: bytes, *, is_retained: bool) -> bool:
        """Keeps a message; returns whether the other side has to be woken."""
        # One byte too many is enough for the board to refuse it.
        kept = payload[: PAYLOAD_BYTES_MAX + 1]
        with self._lock:
            self._waiting.append(Arrived(topic=topic, payload=kept, is_retained=is_retained))
            self._n_bytes += len(kept)
            if self._is_over:
                self._compact()
            must_wake, self._is_waited_for = not self._is_waited_for, True
        return must_wake

    def take_all(self) -> tuple[Arrived, ...]:
        """Empties the mailbox."""
        with self._lock:
            taken = tuple(self._waiting)
            self._waiting.clear()
            self._n_bytes = 0
            self._is_waited_for = False
        return taken

    @property
    def _is_over(self) -> bool:
        return len(self._waiting) > WAITING_MAX or self._n_bytes > WAITING_BYTES_MAX

    def _compact(self) -> None:
        kept: dict[object, Arrived] = {}
        for number, each in enumerate(self._waiting):
            key = number if topics.last_level(each.topic) == _ALERT else each.topic
            earlier = kept.pop(key, None)
            overtaken = 0 if earlier is None else earlier.n_replaced + (not earlier.is_retained)
            kept[key] = replace(each, n_replaced=each.n_replaced + overtaken)
        self._waiting = deque(kept.values())
        self._n_bytes = sum(len(each.payload) for each in self._waiting)
        # Half full at most, so that the next message does not compact again.
        while len(self._waiting) > WAITING_MAX // 2 or self._n_bytes > WAITING_BYTES_MAX // 2:
            self._n_bytes -= len(self._waiting.popleft().payload)
            self.n_dropped += 1
