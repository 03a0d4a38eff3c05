"""What mappings remember between messages: read by key, laid over, saved with the batch.

Keys are keyed hashes. A value that holds text is sealed, because a mapping may remember a set of
addresses or a state's name alike; numbers are readable. The seal's key is the store's own, so that
a restart on the next day goes on where the last one ended.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final, Protocol

from typing_extensions import override

if TYPE_CHECKING:
    from edge_agent.ingest.mapping import Entry
    from edge_agent.ports import UnitOfWork

# Entries in memory, those included that are known not to exist; the rest waits on the disk.
CACHED_ENTRIES: Final = 20_000
_READ: Final = "SELECT value, is_sealed, until_ms FROM mapping_state WHERE key = ?"


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

    def __init__(self, unit: UnitOfWork, sealer: Sealer, key: bytes) -> None:
        self._unit = unit
        self._sealer = sealer
        self._key = key
        self._entries: dict[str, Entry | None] = {}
        self._unsaved: set[str] = set()

    def of(self, mapping: str) -> Mapping[str, Entry]:
        """Returns what one mapping remembers, to be read by key."""
        return _View(self, f"{mapping}/")

    def begin_batch(self) -> None:
        """Starts a batch; what an earlier one could not save is forgotten."""
        for key in self._unsaved:
            self._entries.pop(key, None)
        self._unsaved.clear()
        if len(self._entries) > CACHED_ENTRIES:
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
            value, is_sealed = self._written(entry)
            row = (key, value, int(is_sealed), entry.until_ms, now_ms)
            self._unit.add("mapping_state", row)

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

        rows = self._unit.query(_READ, (key,))
        if not rows:
            return None
        value, is_sealed, until_ms = rows[0]
        plain = self._sealer.decrypt(self._key, value) if is_sealed else value
        # Sealed under a key that was replaced: a new baseline.
        return None if plain is None else Entry(value=tuple(json.loads(plain)), until_ms=until_ms)

    def _written(self, entry: Entry) -> tuple[bytes, bool]:
        plain = json.dumps(entry.value, separators=(",", ":")).encode()
        if any(isinstance(each, str) for each in entry.value):
            return self._sealer.encrypt(self._key, plain), True
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
