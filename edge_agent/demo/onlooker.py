"""A client of the store's broker that listens as a screen does, and takes the time.

Latency is from the moment at which an event is handed to the replay's connection until this
client has the recommendation that names the event as its cause: over the broker to the agent, its
commit, and back over the broker. Recommendations without such an event (a screen going back to
the store's default when its time is over) are not measured.
"""

from __future__ import annotations

import json
import threading
from array import array
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from edge_agent.shell.clock import SystemClock
from edge_agent.shell.mqtt_client import (
    Incoming,
    LinkSettings,
    MqttLink,
    Subscription,
    connect_or_raise,
)
from edge_agent.wire import topics
from edge_agent.wire.notices import AgentState, EventReceipt
from edge_agent.wire.staff import StaffAlert

PUBLISHED_KEPT: Final = 50_000
"""Events whose time is remembered; a replay without end must not fill the memory."""
CONNECT_S: Final = 10.0
_ANY: Final = "+"
_MS_PER_S: Final = 1_000


class Onlooker:
    """Counts what screens and staff are told, and how long after its cause.

    Args:
        settings: The store's broker.
        store: The store's name in topics.
    """

    def __init__(self, settings: LinkSettings, store: str) -> None:
        self._clock = SystemClock()
        self._published: OrderedDict[tuple[str, str], float] = OrderedDict()
        # Reentrant: what is waited for may itself ask here.
        self._changed = threading.Condition(threading.RLock())
        self._receipts: set[tuple[str, str]] = set()
        self.latencies_ms = array("d")
        self.n_recommendations = 0
        self.n_alerts = 0
        self.is_agent_online = False
        self._store = store
        self._settings = settings
        self._filters = (
            topics.recommendation(store, _ANY),
            topics.alert(store, _ANY),
            topics.agent_state(store),
            topics.event_receipt(store, _ANY),
        )
        self.link = self._new_link()

    def connect(self) -> None:
        """Connects.

        Raises:
            BrokerError: The broker is not there.
        """
        connect_or_raise(self.link, self._settings, timeout_s=CONNECT_S)

    def connect_again(self) -> None:
        """Connects anew, for when the broker has stopped telling us anything."""
        self.link.stop()
        self.link = self._new_link()
        self.connect()

    def stop(self) -> None:
        """Disconnects."""
        self.link.stop()

    def _new_link(self) -> MqttLink:
        return MqttLink(
            self._settings,
            subscriptions=tuple(Subscription(topic_filter=each) for each in self._filters),
            on_message=self._take,
        )

    def note_published(self, source: str, event: str) -> None:
        """Takes the time of an event; its repeats do not count."""
        key = (source, event)
        if key not in self._published:
            self._published[key] = self._clock.monotonic_s()
            if len(self._published) > PUBLISHED_KEPT:
                self._published.popitem(last=False)

    def has_receipt(self, name: tuple[str, str]) -> bool:
        """Whether the agent said that the event of this source and id is on disk."""
        return name in self._receipts

    def forget_receipt(self, name: tuple[str, str]) -> None:
        """Forgets that an event was told to be on disk, so that it can be asked again."""
        with self._changed:
            self._receipts.discard(name)

    def wait_for(self, is_so: Callable[[], bool], *, timeout_s: float) -> bool:
        """Returns whether something became so, by a message, before the time is over."""
        with self._changed:
            return self._changed.wait_for(is_so, timeout_s)

    def _take(self, message: Incoming) -> None:
        now_s = self._clock.monotonic_s()
        kind = topics.last_level(message.topic)
        with self._changed:
            if kind == "recommendation":
                self._take_recommendation(message.payload, now_s)
            elif kind == "alert":
                StaffAlert.model_validate_json(message.payload)
                self.n_alerts += 1
            elif kind == "state":
                state = AgentState.model_validate_json(message.payload)
                self.is_agent_online = state.status == "online"
            elif kind == "receipt":
                receipt = EventReceipt.model_validate_json(message.payload)
                self._receipts.add((receipt.source, receipt.id))
            self._changed.notify_all()

    def _take_recommendation(self, payload: bytes, now_s: float) -> None:
        if not payload:
            return
        cause = json.loads(payload)["cause"]
        self.n_recommendations += 1
        published_s = self._published.get((cause["source"], cause["id"]))
        if published_s is not None:
            self.latencies_ms.append((now_s - published_s) * _MS_PER_S)


def percentile(values: array[float], share: float) -> float | None:
    """Returns the smallest value that at least `share` of them do not exceed; None of none.

    Example:
        >>> percentile(array("d", [3, 1, 2, 4]), 0.5)
        2.0
    """
    if not values:
        return None
    ordered = sorted(values)
    rank = -(-len(ordered) * share // 1)
    return ordered[max(0, int(rank) - 1)]
