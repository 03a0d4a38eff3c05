"""Holds events of people back for a while, so that they go on in the order they happened in.

A screen is answered within milliseconds because an event is taken in as it comes. The price: what
is decided depends on the order of arrival, and with it the recommendation funnel. A store whose
links deliver late and out of order can choose the other side of that bargain: with `hold_back_s`
everything that comes within that time is put in the order of its event times, and all that
follows, decisions and funnel included, is what it would have been over a perfect network.

What is held is neither acknowledged nor on the disk: after an end the broker delivers it again.
MQTT wants acknowledgements in the order of delivery (MQTT 5.0, section 4.6; rumqttd ends a
connection over it), so those of messages that overtook a held one wait for it.
Never held: what a person says of himself (consent, complaint), what belongs to nobody (counters),
requests, commands, feedback and devices' own formats. Under a replay's clock its ticks are held
with the events, since they are the time that the events happen in.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any, Final

from edge_agent.domain.time import SECOND_MS, ms_from_datetime
from edge_agent.ingest.decode import Refusal, decode_events, decode_tick
from edge_agent.wire import topics

if TYPE_CHECKING:
    from collections import Counter

    from edge_agent.ports import Delivery
    from edge_agent.wire.events import Event

Message = tuple[str, Any]

# An event further ahead of the clock has a time that says nothing about its place.
AHEAD_MS: Final = 10 * SECOND_MS
# Half of what the broker may leave unacknowledged: the rest keeps the road busy meanwhile.
MOST_HELD: Final = 500
_NEVER_HELD: Final = ("consent.", "complaint.")
_TICK: Final = 0
_EVENT: Final = 1
_Place = tuple[int, int, str, str]


class HoldBack:
    """A delay line: messages go in as they arrive and come out in the order of their events."""

    def __init__(
        self,
        *,
        hold_ms: int,
        store: str,
        max_bytes: int,
        is_replay: bool,
        now_ms: int,
        counters: Counter[str],
    ) -> None:
        """Sets up an empty line.

        Args:
            hold_ms: How long after its event time a message goes on, in milliseconds.
            store: The store's name in the topics.
            max_bytes: Larger messages are refused anyway, and go on at once.
            is_replay: Whether a replay's ticks are the clock.
            now_ms: The agent's present; 0 when it has none, and then the first tick is not held.
            counters: Where messages that could not wait for their time are counted.
        """
        self._hold_ms = hold_ms
        self._clock_topic = topics.clock(store)
        self._max_bytes = max_bytes
        self._is_replay = is_replay
        self._counters = counters
        self._held: list[tuple[_Place, int, Message]] = []
        # Deliveries whose acknowledgement is still to be sent, in the order of arrival, and
        # whether it may be.
        self._open: dict[int, tuple[Delivery, bool]] = {}
        self._n_taken = 0
        self._newest_tick_ms: int | None = None
        self._has_clock = bool(now_ms)

    def __len__(self) -> int:
        return len(self._held)

    def pass_on(self, came: list[Message], *, now_ms: int) -> list[Message]:
        """Returns what may go on, in its order, when some messages have come.

        Args:
            came: What has come, in the order of arrival; may be none.
            now_ms: The system's clock; of no matter under a replay's.
        """
        ready: list[Message] = []
        for message in came:
            link, delivery = message
            if link == "store":
                self._open[id(delivery)] = (delivery, False)
            place = self._place_of(message, now_ms)
            if place is None or (place[1] == _TICK and not self._has_clock):
                # Without a first tick there is no present to take anything in.
                self._has_clock |= place is not None
                ready.append(message)
                continue
            self._n_taken += 1
            heappush(self._held, (place, self._n_taken, message))
            if place[1] == _TICK:
                self._newest_tick_ms = max(place[0], self._newest_tick_ms or 0)
                ready += self._released()
        if not self._is_replay:
            ready += self._released(now_ms)
        while len(self._held) > MOST_HELD:
            self._counters["released_early"] += 1
            ready.append(heappop(self._held)[-1])
        return ready

    def acknowledgeable(self, done: list[Delivery]) -> list[Delivery]:
        """Returns what may be acknowledged now that some messages are on the disk.

        Args:
            done: Messages that are settled, in any order.
        """
        ready = []
        for delivery in done:
            if id(delivery) in self._open:
                self._open[id(delivery)] = (delivery, True)
            else:
                ready.append(delivery)
        while self._open:
            key, (delivery, is_done) = next(iter(self._open.items()))
            if not is_done:
                break
            del self._open[key]
            ready.append(delivery)
        return ready

    def leave_open(self, delivery: Delivery) -> None:
        """Notes that a message is never acknowledged: no other waits for it."""
        self._open.pop(id(delivery), None)

    def wait_s(self, now_ms: int) -> float | None:
        """Returns in how many seconds the next message is due; None when none is by the clock."""
        if self._is_replay or not self._held:
            return None
        return max(0, self._held[0][0][0] + self._hold_ms + 1 - now_ms) / SECOND_MS

    def _released(self, now_ms: int | None = None) -> list[Message]:
        present_ms = self._newest_tick_ms if now_ms is None else now_ms
        if present_ms is None:
            return []
        # Everything before that instant has come; of that instant itself the tick is the first.
        end = (present_ms - self._hold_ms, _EVENT, "", "")
        ready = []
        while self._held and self._held[0][0] < end:
            ready.append(heappop(self._held)[-1])
        return ready

    def _place_of(self, message: Message, now_ms: int) -> _Place | None:
        link, delivery = message
        if link != "store":
            return None
        if self._is_replay and delivery.topic == self._clock_topic:
            tick = decode_tick(delivery.payload, max_bytes=self._max_bytes)
            if isinstance(tick, Refusal):
                return None
            return (ms_from_datetime(tick.now), _TICK, "", "")
        place = self._place_of_event(delivery)
        present_ms = self._newest_tick_ms if self._is_replay else now_ms
        if place is None or present_ms is None:
            return place
        is_over = place[0] < present_ms - self._hold_ms
        return None if is_over or place[0] > present_ms + AHEAD_MS else place

    def _place_of_event(self, delivery: Delivery) -> _Place | None:
        if not topics.is_event(delivery.topic):
            return None
        found = decode_events(delivery.payload, max_bytes=self._max_bytes)
        events = [each for each in found if not isinstance(each, Refusal)]
        if not events or any(not _is_held(each) for each in events):
            return None
        return min(
            (ms_from_datetime(each.time), _EVENT, each.source, each.id)
            for each in events
            if each.time is not None
        )


def _is_held(event: Event) -> bool:
    if event.time is None or event.type.startswith(_NEVER_HELD):
        return False
    data = vars(event.data)
    return data.get("visitor") is not None or data.get("basket") is not None
