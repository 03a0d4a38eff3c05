"""Refused messages: the reason for all to see, the payload encrypted, for a day, in bounded bytes.

The payload is encrypted under the day's key, which is destroyed with the day: after that nobody
can read it, whatever is left on the disk. Its topic is sealed with it, since a device may write
somebody's address there; where a mapping heard it, only the mapping's filter is shown.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Final, Protocol

from edge_agent.domain.time import datetime_from_ms
from edge_agent.wire.notices import DeadLetterNotice

if TYPE_CHECKING:
    from edge_agent.ingest.decode import Refusal
    from edge_agent.ports import Delivery, UnitOfWork

PAYLOADS_MAX_BYTES: Final = 8 * 1_024 * 1_024
# A larger payload is not kept at all: its reason says how large it was.
PAYLOAD_MAX_BYTES: Final = 65_536
ROWS_MAX: Final = 10_000
# A flood of refusals is told in part and counted whole.
NOTICES_PER_BATCH: Final = 20
ID_BYTES: Final = 12
TOPIC_SHOWN_MAX: Final = 200
# The form of a row's payload: an older agent sealed the payload alone.
SEALED_WITH_TOPIC: Final = 1
_LENGTH_BYTES: Final = 4


class Cipher(Protocol):
    """Authenticated encryption."""

    def encrypt(self, key: bytes, plain: bytes) -> bytes:
        """Returns what only the key can read."""
        ...


class DeadLetters:
    """Queues refusals into the batch and keeps their bounds."""

    def __init__(self, unit: UnitOfWork, cipher: Cipher) -> None:
        self._unit = unit
        self._cipher = cipher
        self._n_told = 0
        self.n_dropped_payloads = 0
        self.count_again()

    def count_again(self) -> None:
        """Reads what is kept again, after old letters were deleted."""
        query = "SELECT count(*), coalesce(sum(length(payload)), 0) FROM dead_letter"
        row = self._unit.query(query)[0]
        self._n_rows, self._n_bytes = int(row[0]), int(row[1])

    def note_taken_out(self, n_bytes: int) -> None:
        """Notes that one letter is deleted with this batch."""
        self._n_rows -= 1
        self._n_bytes -= n_bytes

    def begin_batch(self) -> None:
        """Starts a batch."""
        self._n_told = 0

    def keep(
        self,
        delivery: Delivery,
        refusal: Refusal,
        *,
        now_ms: int,
        key: bytes,
        heard_on: str | None = None,
    ) -> bytes | None:
        """Queues one refusal; returns the notice to publish, or None in a flood.

        Args:
            delivery: The message.
            refusal: Why it was refused.
            now_ms: The present.
            key: The day's key.
            heard_on: What to show in the topic's place.
        """
        topic = _shown(delivery.topic) if heard_on is None else heard_on
        digest = blake2b(digest_size=ID_BYTES)
        digest.update(f"{delivery.topic}\x00{refusal.event}\x00{now_ms}\x00".encode())
        digest.update(delivery.payload)
        letter = digest.hexdigest()
        payload = self._encrypted(delivery, key)
        if self._n_rows < ROWS_MAX:
            self._n_rows += 1
            row = (letter, now_ms, refusal.reason, refusal.detail, topic)
            told = (refusal.source, refusal.event)
            self._unit.add("dead_letter", (*row, *told, payload, SEALED_WITH_TOPIC))
        self._n_told += 1
        if self._n_told > NOTICES_PER_BATCH:
            return None
        notice = DeadLetterNotice(
            id=letter,
            reason=refusal.reason,
            detail=refusal.detail,
            topic=topic,
            source=refusal.source,
            event=refusal.event,
            received_at=datetime_from_ms(now_ms),
        )
        return notice.model_dump_json().encode()

    def _encrypted(self, delivery: Delivery, key: bytes) -> bytes | None:
        whole = packed(delivery.topic, delivery.payload)
        too_many = self._n_bytes + len(whole) > PAYLOADS_MAX_BYTES
        if too_many or len(delivery.payload) > PAYLOAD_MAX_BYTES:
            self.n_dropped_payloads += 1
            return None
        sealed = self._cipher.encrypt(key, whole)
        self._n_bytes += len(sealed)
        return sealed


def packed(topic: str, payload: bytes) -> bytes:
    """Returns topic and payload as one piece, to be sealed together."""
    name = topic.encode("utf-8", "replace")
    return len(name).to_bytes(_LENGTH_BYTES, "big") + name + payload


def unpacked(whole: bytes) -> tuple[str, bytes]:
    """Returns the topic and payload of what `packed` made.

    Example:
        >>> unpacked(packed("a/b", b"x"))
        ('a/b', b'x')
    """
    at = _LENGTH_BYTES + int.from_bytes(whole[:_LENGTH_BYTES], "big")
    return whole[_LENGTH_BYTES:at].decode("utf-8", "replace"), whole[at:]


def _shown(topic: str) -> str:
    # A device chooses its topic: no more of it is repeated than a message may hold.
    kept = topic[:TOPIC_SHOWN_MAX]
    return kept if kept.isprintable() else kept.encode("unicode_escape").decode()[:TOPIC_SHOWN_MAX]
