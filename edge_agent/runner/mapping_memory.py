"""What mappings remember between messages: read by key, laid over, saved with the batch.

Keys are keyed hashes. A value that holds text is sealed, because a mapping may remember a set of
addresses or a state's name alike; numbers are readable.

What is remembered for longer than a week are the totals and levels of devices: they are filed and
sealed under the store's own key, so that a restart on the next day goes on where the last one
ended. Everything shorter (presence, sets, pairs, repeats) may be of people, so it is filed and
sealed under the key of the day and cannot be found again once that is destroyed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, Protocol

from typing_extensions import override

from edge_agent.domain.time import DAY_MS

if TYPE_CHECKING:
    from edge_agent.ingest.mapping import Entry
    from edge_agent.ports import UnitOfWork

# Entries in memory, those included that are known not to exist; the rest waits on the disk.
CACHED_ENTRIES: Final = 20_000
# The longest that anything of a person may be remembered, and the shortest of a device's total.
OF_PEOPLE_MS: Final = 7 * DAY_MS
_KEY_BYTES: Final = 16
_READ: Final = "SELECT key, value, is_sealed, until_ms FROM mapping_state WHERE key IN (?, ?)"


class Sealer(Protocol):
    """Authenticated encryption, both ways."""

    def encrypt(self, key: bytes, plain: bytes) -> bytes:
        """Returns what only the key can read."""
        ...

    def decrypt(self, key: bytes, sealed: bytes) -> bytes | None:
        """Returns the plain bytes; None under another key."""
        ...


class MappingMemory:
    """The entries of all mappings, each under its mapping's name."""

    def __init__(
        self, unit: UnitOfWork, sealer: Sealer, key: bytes, *, today_key: Callable[[int], bytes]
    ) -> None:
        """Sets up a memory.

        Args:
            unit: Writes and reads.
            sealer: Seals text.
            key: The store's key for this purpose.
            today_key: Returns the key of an instant's day.
        """
        self._unit = unit
        self._sealer = sealer
        self._key = key
        self._today_key = today_key
        self._day_key = b""
        self._entries: dict[str, Entry | None] = {}
        self._unsaved: set[str] = set()

    def of(self, mapping: str) -> Mapping[str, Entry]:
        """Returns what one mapping remembers, to be read by key."""
        return _View(self, f"{mapping}/")

    def begin_batch(self, now_ms: int) -> None:
        """Starts a batch; what an earlier one could not save is forgotten, and another day's."""
        day_key = self._today_key(now_ms)
        if day_key != self._day_key:
            self._day_key = day_key
            self._entries.clear()
        for key in self._unsaved:
            self._entries.pop(key, None)
        self._unsaved.clear()
        if len(self._entries) > CACHED_ENTRIES:
            self._entries.clear()

    def read_again(self) -> None:
        """Lets go of what is in memory, after rows of people were deleted."""
        self._entries.clear()

    def note_committed(self) -> None:
        """Notes that what was put is on the disk."""
        self._unsaved.clear()

    def put(self, mapping: str, changes: Mapping[str, Entry], *, now_ms: int) -> None:
        """Remembers what a message changed, in the batch's transaction."""
        for name, entry in changes.items():
            key = f"{mapping}/{name}"
            self._entries[key] = entry
            self._unsaved.add(key)
            is_lasting = entry.until_ms - now_ms > OF_PEOPLE_MS
            value, is_sealed = self._written(entry, self._key if is_lasting else self._day_key)
            filed = key if is_lasting else self._of_today(key)
            self._unit.add("mapping_state", (filed, value, int(is_sealed), entry.until_ms, now_ms))

    def read(self, key: str) -> Entry | None:
        """Returns what is remembered under a whole key."""
        try:
            return self._entries[key]
        except KeyError:
            entry = self._entries[key] = self._stored(key)
            return entry

    def _stored(self, key: str) -> Entry | None:
        # An agent without mappings spares what it brings along.
        from edge_agent.ingest.mapping import Entry  # noqa: PLC0415

        rows = self._unit.query(_READ, (key, self._of_today(key)))
        if not rows:
            return None
        filed, value, is_sealed, until_ms = rows[0]
        seal = self._key if filed == key else self._day_key
        plain = self._sealer.decrypt(seal, value) if is_sealed else value
        # Sealed under a key that was replaced: a new baseline.
        return None if plain is None else Entry(value=tuple(json.loads(plain)), until_ms=until_ms)

    def _of_today(self, key: str) -> str:
        mapping = key.partition("/")[0]
        digest = blake2b(key.encode(), key=self._day_key, digest_size=_KEY_BYTES)
        return f"{mapping}/{digest.hexdigest()}"

    def _written(self, entry: Entry, seal: bytes) -> tuple[bytes, bool]:
        plain = json.dumps(entry.value, separators=(",", ":")).encode()
        if any(isinstance(each, str) for each in entry.value):
            return self._sealer.encrypt(seal, plain), True
        return plain, False


class _View(Mapping[str, "Entry"]):
    """One mapping's entries; they are looked up, never listed."""

    def __init__(self, memory: MappingMemory, prefix: str) -> None:
        self._memory = memory
        self._prefix = prefix

    @override
    def __getitem__(self, key: str) -> Entry:
        entry = self._memory.read(self._prefix + key)
        if entry is None:
            raise KeyError(key)
        return entry

    @override
    def __iter__(self) -> Iterator[str]:
        raise NotImplementedError("entries are looked up by key")

    @override
    def __len__(self) -> int:
        raise NotImplementedError("entries are looked up by key")
