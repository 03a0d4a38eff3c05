"""Messages on their way from the network thread to the board; bounded by what they are about.

A screen's newest content replaces the one that waits, so a burst costs a slot per screen.
Alerts, which must not replace each other, have a fixed number of places; the oldest gives way.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Final

from edge_agent.wire import topics

ALERTS_WAITING_MAX: Final = 500
# Distinct topics that may wait; a store has a few dozen screens.
TOPICS_WAITING_MAX: Final = 1_000
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
        self._newest: OrderedDict[str, Arrived] = OrderedDict()
        self._alerts: deque[Arrived] = deque(maxlen=ALERTS_WAITING_MAX)
        self._is_waited_for = False
        self.n_dropped = 0

    def put(self, topic: str, payload: bytes, *, is_retained: bool) -> bool:
        """Keeps a message; returns whether the other side has to be woken."""
        arrived = Arrived(topic=topic, payload=payload, is_retained=is_retained)
        with self._lock:
            if topics.last_level(topic) == _ALERT:
                self.n_dropped += len(self._alerts) == ALERTS_WAITING_MAX
                self._alerts.append(arrived)
            else:
                self._put_newest(arrived)
            must_wake, self._is_waited_for = not self._is_waited_for, True
        return must_wake

    def _put_newest(self, arrived: Arrived) -> None:
        earlier = self._newest.get(arrived.topic)
        if earlier is not None:
            n_replaced = earlier.n_replaced + (not earlier.is_retained)
            arrived = Arrived(
                topic=arrived.topic,
                payload=arrived.payload,
                is_retained=arrived.is_retained,
                n_replaced=n_replaced,
            )
        elif len(self._newest) >= TOPICS_WAITING_MAX:
            self._newest.popitem(last=False)
            self.n_dropped += 1
        self._newest[arrived.topic] = arrived

    def take_all(self) -> tuple[Arrived, ...]:
        """Empties the mailbox."""
        with self._lock:
            taken = (*self._newest.values(), *self._alerts)
            self._newest.clear()
            self._alerts.clear()
            self._is_waited_for = False
        return taken
