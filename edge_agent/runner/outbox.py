"""What waits to be sent: to the store's broker until its PUBACK, to HQ until HQ's own ack."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from edge_agent.domain.time import SECOND_MS
from edge_agent.wire import topics

if TYPE_CHECKING:
    from collections import Counter

    from edge_agent.domain.effects import Publish
    from edge_agent.ports import Clock, Link, UnitOfWork
    from edge_agent.runner.egress import HqGate

# Counters: what was over before it could be sent, on a screen's topic and on any other.
SCREENS_EXPIRED: Final = "screen_messages_expired"
OTHERS_EXPIRED: Final = "messages_expired"
# Messages on their way to HQ at a time: enough to drain a month in minutes.
HQ_IN_FLIGHT: Final = 200
# HQ answers within seconds; a message that was not named by then is sent again.
HQ_RESEND_S: Final = 30.0
# So often is a message sent to an HQ that answers others before it is set aside: HQ refuses it,
# and it must not keep what comes after it waiting. A new connection tries it again.
HQ_SENDINGS_MAX: Final = 10
# Counting the bytes reads the table: once in a while is enough for a bound of megabytes.
BOUND_EVERY_ROWS: Final = 50
# When the bound is hit, the least valuable go first: behaviour before money before people's word.
VALUE: Final = ("state", "funnel", "dwell", "footfall", "sales", "uplift", "customer", "confirm")


class StoreOutbox:
    """Rows for the store's broker: published after the commit, deleted after the PUBACK.

    What is no longer valid when its turn comes is not sent: its screen has gone back to the
    default by itself. It is counted, apart for screens.
    """

    def __init__(self, link: Link, clock: Clock, *, counters: Counter[str]) -> None:
        self._link = link
        self._clock = clock
        self._counters = counters
        # Appended by the network thread, taken by the core: a deque is safe for that.
        self._sent: deque[int] = deque()

    def on_published(self, token: object) -> None:
        """Notes a PUBACK; called in the network thread."""
        if isinstance(token, int):
            self._sent.append(token)

    def send(self, row_id: int, message: Publish) -> None:
        """Publishes one committed row."""
        expiry_s = None
        if message.expires_at_ms is not None:
            left_ms = message.expires_at_ms - self._clock.now_ms()
            if left_ms <= 0:
                is_for_screen = topics.is_recommendation(message.topic)
                self._counters[SCREENS_EXPIRED if is_for_screen else OTHERS_EXPIRED] += 1
                self._sent.append(row_id)
                return
            expiry_s = max(1, left_ms // SECOND_MS)
        self._link.publish(
            message.topic,
            message.payload,
            retain=message.retain,
            expiry_s=expiry_s,
            correlation=message.correlation,
            token=row_id,
        )

    @property
    def n_sent(self) -> int:
        """How many rows may be deleted."""
        return len(self._sent)

    def forget_sent(self, unit: UnitOfWork) -> list[int]:
        """Queues the deletion of what the broker has; returns which, should it fail."""
        taken = []
        while self._sent:
            row_id = self._sent.popleft()
            taken.append(row_id)
            unit.add("outbox_sent", (row_id,))
        return taken

    def put_back(self, row_ids: list[int]) -> None:
        """Takes back deletions that were not committed."""
        self._sent.extendleft(reversed(row_ids))


class HqOutbox:
    """Rows for HQ: sent until HQ names them, kept in bounded bytes."""

    def __init__(self, gate: HqGate, clock: Clock, *, max_bytes: int) -> None:
        self._gate = gate
        self._clock = clock
        self._max_bytes = max_bytes
        self._in_flight: dict[str, float] = {}
        self._unanswered: set[str] = set()
        self._n_sendings: dict[str, int] = {}
        self._last_ack_s = 0.0
        self._n_since_bound = BOUND_EVERY_ROWS
        self._is_stale = True
        self._was_connected = False
        self._next_look_s = 0.0

    def note_added(self) -> None:
        """Notes a new row."""
        self._is_stale = True
        self._n_since_bound += 1

    def acked(self, unit: UnitOfWork, ids: tuple[str, ...]) -> None:
        """Queues the deletion of what HQ named."""
        self._last_ack_s = self._clock.monotonic_s()
        for message_id in ids:
            self._in_flight.pop(message_id, None)
            self._n_sendings.pop(message_id, None)
            self._unanswered.discard(message_id)
            unit.add("outbox_acked", (message_id,))
        self._is_stale = True

    def pump(self, unit: UnitOfWork) -> int:
        """Sends what waits and what was not answered in time; reads committed rows only.

        Returns:
            How many were set aside, because HQ answers others and never them.
        """
        if not self._gate.connected:
            self._was_connected = False
            return 0
        now_s = self._clock.monotonic_s()
        if not self._was_connected:
            self._was_connected, self._is_stale = True, True
            self._in_flight.clear()
            self._n_sendings.clear()
            self._unanswered.clear()
        if not self._is_stale and now_s < self._next_look_s:
            return 0
        self._is_stale = False
        self._next_look_s = now_s + HQ_RESEND_S / 2
        n_aside = self._give_up_waiting(now_s)
        aside = self._set_aside()
        rows = unit.query(
            "SELECT message_id, topic, payload FROM outbox WHERE link = 'hq' ORDER BY id LIMIT ?",
            (2 * HQ_IN_FLIGHT + len(aside),),
        )
        fresh = [row for row in rows if row[0] not in self._in_flight and row[0] not in aside]
        # What HQ did not answer yet makes way for what it was not asked yet.
        fresh.sort(key=lambda row: row[0] in self._unanswered)
        for message_id, topic, payload in fresh[: HQ_IN_FLIGHT - len(self._in_flight)]:
            if self._gate.send(message_id, topic, bytes(payload), now_ms=self._clock.now_ms()):
                self._in_flight[message_id] = now_s
            else:
                # What must not leave does not wait either.
                unit.add("outbox_acked", (message_id,))
                unit.add("customer_unsent", (message_id,))
        self._gate.save(unit)
        return n_aside

    def _give_up_waiting(self, now_s: float) -> int:
        """Forgets that messages were sent which were not answered; returns how many for good."""
        n_aside = 0
        for message_id, sent_s in list(self._in_flight.items()):
            if now_s - sent_s <= HQ_RESEND_S:
                continue
            del self._in_flight[message_id]
            self._unanswered.add(message_id)
            if self._last_ack_s > sent_s:
                # HQ is there, and said nothing to this one.
                n_sendings = self._n_sendings.get(message_id, 0) + 1
                self._n_sendings[message_id] = n_sendings
                n_aside += n_sendings == HQ_SENDINGS_MAX
        return n_aside

    def _set_aside(self) -> frozenset[str]:
        return frozenset(
            message_id for message_id, n in self._n_sendings.items() if n >= HQ_SENDINGS_MAX
        )

    def keep_bounds(self, unit: UnitOfWork) -> int:
        """Queues the deletion of the least valuable rows beyond the bound; returns how many."""
        if self._n_since_bound < BOUND_EVERY_ROWS:
            return 0
        self._n_since_bound = 0
        row = unit.query("SELECT sum(length(payload)) FROM outbox WHERE link = 'hq'")[0]
        excess = int(row[0] or 0) - self._max_bytes
        n_evicted = 0
        for kind in VALUE:
            if excess <= 0:
                break
            for row_id, size in unit.query(
                "SELECT id, length(payload) FROM outbox WHERE link = 'hq' AND kind = ?"
                " ORDER BY id",
                (kind,),
            ):
                unit.add("outbox_sent", (row_id,))
                excess -= int(size)
                n_evicted += 1
                if excess <= 0:
                    break
        return n_evicted
