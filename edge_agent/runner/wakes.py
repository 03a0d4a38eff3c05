"""Wake-ups that were asked for, in order of time: a heap that forgets nothing twice."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

from edge_agent.domain.calls import CALL_WAKE, LONG_QUEUE
from edge_agent.domain.inputs import Wake
from edge_agent.domain.rules import NEUTRAL, Rules
from edge_agent.domain.time import SECOND_MS
from edge_agent.engine.before_screens import TURN
from edge_agent.engine.company import ROTATION

if TYPE_CHECKING:
    from edge_agent.domain.calls import Call
    from edge_agent.domain.ids import ZoneId
    from edge_agent.domain.policy import Policy
    from edge_agent.domain.store import Layout, Showing
    from edge_agent.domain.visitor import Visit


class Wakes:
    """Holds at most one wake-up of a kind and key: the earliest."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, str, str]] = []
        self._due: dict[tuple[str, str], int] = {}

    def ask(self, due_ms: int, kind: str, key: str) -> None:
        """Asks to be woken; an earlier wake-up of the same kind and key is kept.

        A wake-up is a question: when it comes too early it asks again.
        """
        known = self._due.get((kind, key))
        if known is not None and known <= due_ms:
            return
        self._due[kind, key] = due_ms
        heapq.heappush(self._heap, (due_ms, kind, key))

    def due(self, now_ms: int) -> list[Wake]:
        """Returns the wake-ups whose time has come, in order of time, kind and key."""
        found = []
        while self._heap and self._heap[0][0] <= now_ms:
            due_ms, kind, key = heapq.heappop(self._heap)
            if self._due.get((kind, key)) == due_ms:
                del self._due[kind, key]
                found.append(Wake(due_ms, kind, key))
        return found


def rebuilt(
    visits: tuple[Visit, ...],
    showings: dict[str, Showing | None],
    *,
    layout: Layout,
    policy: Policy,
    now_ms: int,
    calls: tuple[Call, ...] = (),
    queues: tuple[ZoneId, ...] = (),
    rules: Rules = NEUTRAL,
) -> Wakes:
    """Returns the wake-ups that follow from the state, as after a start.

    Args:
        visits: The open ones.
        showings: What each screen shows.
        layout: Zones and how long a stay in each is long.
        policy: When a visit times out.
        now_ms: The present.
        calls: Calls for help that are live.
        queues: Zones of which it is known how long their queue is.
        rules: Which screens answer people in turn.
    """
    wakes = Wakes()
    for visit in visits:
        timeout_ms = policy.visit_timeout_s * SECOND_MS
        wakes.ask(visit.last_at_ms + timeout_ms, "visit_timeout", visit.visitor)
        zone = None if visit.zone is None else layout.zones.get(visit.zone)
        if zone is not None and zone.long_dwell_s is not None:
            due_ms = visit.zone_entered_at_ms + zone.long_dwell_s * SECOND_MS
            wakes.ask(due_ms, "long_dwell", visit.visitor)
    for screen, showing in showings.items():
        due_ms = now_ms if showing is None else showing.valid_until_ms
        wakes.ask(due_ms, "screen_default", screen)
    for call in calls:
        if call.is_open:
            wakes.ask(call.due_ms, CALL_WAKE, call.id)
    for queue in queues:
        wakes.ask(now_ms, LONG_QUEUE, queue)
    for screen in [name for name, each in rules.sharing.items() if each.mode == ROTATION]:
        wakes.ask(now_ms, TURN, screen)
    return wakes
