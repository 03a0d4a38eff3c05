"""Takes what the stores send: validate, commit, and only then acknowledge, twice.

The broker gets its PUBACK once a batch is on disk, so that a receiver that dies is served the
batch again. The store gets a signed `ack` command that names the messages, and only that lets it
delete its outbox rows. Both may repeat; nothing changes by it.

Receivers share one subscription, so more of them are added by starting them (on PostgreSQL). The
link's network thread only queues. What waits is bounded: at `QUEUE_BYTES_MAX` the link stops
reading, and the broker then holds the stores back.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from queue import Empty, SimpleQueue
from typing import Final, Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_agent.errors import StoreError
from edge_agent.hq.clock import utc_now
from edge_agent.hq.inbox import (
    Refused,
    UpMessage,
    kind_of,
    kind_of_message,
    message_from,
    message_id,
)
from edge_agent.shell.mqtt_client import Incoming, LinkSettings, MqttLink, Subscription
from edge_agent.shell.signing import DEMO_KEY_ID, sign_command
from edge_agent.wire import topics
from edge_agent.wire.downlink import IDS_MAX, AckBody, AckCommand

log = logging.getLogger(__name__)

SHARED_FILTER: Final = "$share/hq/hq/+/up/#"
PLAIN_FILTER: Final = "hq/+/up/#"
# More in one transaction gains nothing: the commit's sync is by then a small part of it.
BATCH_MESSAGES_MAX: Final = 500
QUEUE_BYTES_MAX: Final = 64 * 1024 * 1024
# An ack that comes late is as good: the store repeats the message, and HQ the ack.
ACK_VALID_FOR: Final = timedelta(days=1)
RETRY_FIRST_S: Final = 0.2
RETRY_CEILING_S: Final = 10.0


class MessageStore(Protocol):
    """What a receiver asks of HQ's store."""

    def take(
        self,
        messages: Sequence[UpMessage],
        *,
        received_at: datetime,
        refusals: Sequence[Refused] = (),
    ) -> tuple[UpMessage, ...]:
        """Keeps a batch durably and returns those of its messages that are kept."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverCounters:
    """What a receiver did since it started; repeats are counted as often as they came.

    Attributes:
        bytes_by_kind: Payload bytes by `summary`, `customer`, `state`, `confirm`, `erasure` and
            `other`.
    """

    n_messages: int
    n_bytes: int
    n_summaries: int
    n_customers: int
    n_states: int
    n_confirmations: int
    n_refused: int
    n_acks: int
    bytes_by_kind: Mapping[str, int]


@dataclass(slots=True)
class _Tally:
    n_messages: int = 0
    n_refused: int = 0
    n_acks: int = 0
    taken: Counter[str] = field(default_factory=Counter)
    n_bytes: Counter[str] = field(default_factory=Counter)


class HqReceiver:
    """One receiver: a link to HQ's broker and a thread that keeps what comes.

    Args:
        link_settings: The connection; a stable client id, so that its session outlives a restart.
        store: Where messages are kept; stays the caller's to close.
        signing_key: HQ's private key, for the acks.
        key_id: Its name in the agents' configuration.
        shared: Whether receivers share the messages among them.
        now: HQ's clock.

    Example:
        >>> receiver = HqReceiver(settings, store, key)  # doctest: +SKIP
        >>> receiver.start()  # doctest: +SKIP
    """

    def __init__(
        self,
        link_settings: LinkSettings,
        store: MessageStore,
        signing_key: Ed25519PrivateKey,
        *,
        key_id: str = DEMO_KEY_ID,
        shared: bool = True,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._store = store
        self._key = signing_key
        self._key_id = key_id
        self._now = now
        self._queue: SimpleQueue[Incoming | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._queued_bytes = 0
        self._tally = _Tally()
        self._last_version = 0
        self._stopping = threading.Event()
        self.failed = threading.Event()
        self.link = MqttLink(
            link_settings,
            subscriptions=(Subscription(topic_filter=SHARED_FILTER if shared else PLAIN_FILTER),),
            on_message=self._enqueue,
            manual_ack=True,
        )
        self._thread = threading.Thread(target=self._run, name="hq-receiver", daemon=True)

    def start(self) -> None:
        """Starts receiving; the link connects by itself and stays connected."""
        self._thread.start()
        self.link.start()

    def wait_connected(self, timeout_s: float) -> bool:
        """Returns whether the receiver is subscribed before the time is over."""
        return self.link.wait_connected(timeout_s)

    def stop(self) -> None:
        """Keeps and acknowledges what has arrived, then disconnects."""
        self._stopping.set()
        self._queue.put(None)
        if self._thread.ident is not None:
            self._thread.join()
        self.link.stop()

    def counters(self) -> ReceiverCounters:
        """Returns the present counts."""
        with self._lock:
            tally = self._tally
            return ReceiverCounters(
                n_messages=tally.n_messages,
                n_bytes=tally.n_bytes.total(),
                n_summaries=tally.taken["summary"],
                n_customers=tally.taken["customer"],
                n_states=tally.taken["state"],
                n_confirmations=tally.taken["confirm"],
                n_refused=tally.n_refused,
                n_acks=tally.n_acks,
                bytes_by_kind=dict(tally.n_bytes),
            )

    # --- the link's network thread ------------------------------------------------------------

    def _enqueue(self, message: Incoming) -> None:
        with self._lock:
            self._queued_bytes += len(message.payload)
            is_full = self._queued_bytes >= QUEUE_BYTES_MAX
        self._queue.put(message)
        if is_full:
            self.link.pause()

    # --- the receiver's thread ----------------------------------------------------------------

    def _run(self) -> None:
        try:
            while (batch := self._next_batch()) and self._take_patiently(batch):
                pass
        except Exception:
            # The thread's boundary. Nothing of this batch is acknowledged, so nothing is lost.
            log.exception("hq_receiver_failed")
            self.failed.set()

    def _next_batch(self) -> list[Incoming]:
        first = self._queue.get()
        if first is None:
            return []
        batch = [first]
        while len(batch) < BATCH_MESSAGES_MAX:
            try:
                message = self._queue.get_nowait()
            except Empty:
                break
            if message is None:
                self._queue.put(None)
                break
            batch.append(message)
        return batch

    def _take_patiently(self, batch: Sequence[Incoming]) -> bool:
        """Takes a batch, again and again while the database is away; False when told to stop."""
        wait_s = RETRY_FIRST_S
        while True:
            try:
                self._take(batch)
            except StoreError as error:
                if wait_s == RETRY_FIRST_S:
                    log.warning("hq_store_unavailable", extra={"fields": {"reason": str(error)}})
                if self._stopping.wait(wait_s):
                    return False
                wait_s = min(2 * wait_s, RETRY_CEILING_S)
            else:
                if wait_s > RETRY_FIRST_S:
                    log.info("hq_store_back")
                return True

    def _take(self, batch: Sequence[Incoming]) -> None:
        told_apart = [message_from(each.topic, each.payload) for each in batch]
        refusals = [each for each in told_apart if isinstance(each, Refused)]
        messages = [each for each in told_apart if not isinstance(each, Refused)]
        kept = self._store.take(messages, received_at=self._now(), refusals=refusals)
        self._count(batch, kept=kept)
        self.link.ack(batch)
        self._acknowledge(kept)
        if len(kept) < len(batch):
            log.warning("hq_refused", extra={"fields": {"n": len(batch) - len(kept)}})

    def _acknowledge(self, kept: Sequence[UpMessage]) -> None:
        ids_by_store: defaultdict[str, list[str]] = defaultdict(list)
        for message in kept:
            ids_by_store[message.store].append(message_id(message))
        for store, ids in sorted(ids_by_store.items()):
            for some in _portions(tuple(dict.fromkeys(ids))):
                self._send_ack(store, some)

    def _send_ack(self, store: str, ids: tuple[str, ...]) -> None:
        now = self._now()
        # The agent does not compare the versions of acks, but each is above the last all the same.
        self._last_version = max(int(now.timestamp() * 1000), self._last_version + 1)
        digest = sha256("\n".join((store, str(self._last_version), *ids)).encode()).hexdigest()
        command = AckCommand(
            command=f"ack-{digest[:32]}",
            store=store,
            version=self._last_version,
            key="ack",
            issued_at=now,
            expires_at=now + ACK_VALID_FOR,
            kind="ack",
            body=AckBody(ids=ids),
        )
        self.link.publish(
            topics.hq_down(store, "ack"),
            sign_command(command, key=self._key, key_id=self._key_id),
            expiry_s=int(ACK_VALID_FOR.total_seconds()),
        )
        with self._lock:
            self._tally.n_acks += 1

    def _count(self, batch: Sequence[Incoming], *, kept: Sequence[UpMessage]) -> None:
        with self._lock:
            tally = self._tally
            tally.n_messages += len(batch)
            tally.n_refused += len(batch) - len(kept)
            for each in batch:
                tally.n_bytes[kind_of(each.topic) or "other"] += len(each.payload)
                self._queued_bytes -= len(each.payload)
            tally.taken.update(kind_of_message(message) for message in kept)
            has_room = self._queued_bytes < QUEUE_BYTES_MAX // 2
        if has_room:
            self.link.resume()


def _portions(ids: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for start in range(0, len(ids), IDS_MAX):
        yield ids[start : start + IDS_MAX]
