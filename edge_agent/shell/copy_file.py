r"""The second copy's file: lines that each carry a MAC, appended, and now and then written anew.

    number TAB kind TAB key TAB text TAB mac NEWLINE

The first line is the head. It tells how many lines were written together with it, all of its
number; every line after those has the next number. The lines of one transaction end with one of
kind `e` and count only together. They are synced before the database commits what they say; after
the commit an unsynced line of kind `c` says that it did. An empty line stands before it: a changed
byte that joins two lines must not take the one away together with what confirms it.

So an end of the file that cannot be read was never acknowledged, unless something readable
follows it. Whatever else cannot be read, or is missing, is damage. The file is only ever changed
at its end; written anew, it gets its name when it is whole and synced.
"""

from __future__ import annotations

import hmac
import os
from binascii import hexlify
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

HEAD: Final = b"h"
PERSON: Final = b"p"
TOMBSTONE: Final = b"t"
LOST: Final = b"l"
END: Final = b"e"
COMMITTED: Final = b"c"

# 128 bits of SHA-256: nobody forges one, and rot meets one by chance never.
MAC_BYTES: Final = 16
MAC_HEX_DIGITS: Final = 2 * MAC_BYTES
OWNER_ONLY: Final = 0o600
WRITE_BYTES: Final = 65_536
_PURPOSE: Final = b"edge-agent second copy"
_N_FIELDS: Final = 4
# From where on a line is its MAC and what stands around it.
_TAIL: Final = -(MAC_HEX_DIGITS + 2)


class Record(NamedTuple):
    """One thing to be kept: what kind, whose, and what."""

    kind: bytes
    key: bytes
    text: bytes


class _Line(NamedTuple):
    number: int
    kind: bytes
    key: bytes
    text: bytes


@dataclass(slots=True, kw_only=True)
class Reading:
    """What a file said.

    Attributes:
        exists: Whether there is a file at all.
        is_sound: Whether nothing that it was told to keep is missing, but for an end that nobody
            was told was kept.
        number: That of the newest line.
        end: Where the readable part ends.
        people: The newest text of each person.
        tombstones: Until when each holds, by its key.
        lost_at_ms: When statements were lost that no copy held; None for never.
        is_of_older_key: Whether a line was made with another key than the newest.
    """

    exists: bool = False
    is_sound: bool = False
    number: int = 0
    end: int = 0
    people: dict[bytes, bytes] = field(default_factory=dict)
    tombstones: dict[str, int] = field(default_factory=dict)
    lost_at_ms: int | None = None
    is_of_older_key: bool = False


class CopyFile:
    """The file.

    Args:
        path: Where it lies, beside the database.
        store_keys: The store's own keys, the newest first; older ones only ever verify.
        is_synced: Whether an append is on the disk when it returns.
    """

    def __init__(self, path: Path, store_keys: Sequence[bytes], *, is_synced: bool = True) -> None:
        self.path = path
        derived = (hmac.digest(key, _PURPOSE, "sha256") for key in store_keys)
        self._keyed = tuple(hmac.new(key, digestmod="sha256") for key in derived)
        self._is_synced = is_synced
        self._descriptor: int | None = None
        self._before: tuple[int, int] | None = None
        self.number = 0
        self.size = 0
        self.base_bytes = 0

    def mac(self, data: bytes) -> bytes:
        """Returns the MAC of anything under the newest key."""
        state = self._keyed[0].copy()
        state.update(data)
        return state.digest()[:MAC_BYTES]

    def key_of(self, data: bytes, mac: bytes | None) -> int | None:
        """Returns which key made a MAC, 0 for the newest; None when none of them did."""
        for n, keyed in enumerate(self._keyed):
            if _mac(keyed, data) == mac:
                return n
        return None

    # --- reading ------------------------------------------------------------------------------

    def read(self) -> Reading:
        """Reads the whole file; what is appended afterwards goes behind its readable part.

        Raises:
            OSError: The disk does not give it.
        """
        if not self.path.exists():
            return Reading()
        reader = _Reader(self)
        with self.path.open("rb") as file:
            for raw in file:
                if not reader.is_person_of_base(raw):
                    reader.take(raw)
        found = reader.finished()
        self.number = found.number
        self.size = found.end
        self.base_bytes = reader.base_bytes
        return found

    # --- writing ------------------------------------------------------------------------------

    def append(self, records: Iterable[Record]) -> None:
        """Writes records behind what is there, and returns when they are on the disk.

        Raises:
            OSError: The disk did not take them; the file is as it was.
        """
        self._before = (self.size, self.number)
        lines = []
        for record in (*records, Record(END, b"", b"")):
            self.number += 1
            lines.append(self._line(self.number, record))
        try:
            self._write(b"".join(lines), self.size)
            if self._is_synced:
                os.fdatasync(self._opened())
        except OSError:
            self.take_back()
            raise

    def confirm(self) -> None:
        """Notes that what was appended last is in the database too."""
        self._before = None
        line = b"\n" + self._line(self.number, Record(COMMITTED, b"", b""))
        try:
            self._write(line, self.size)
        except OSError:
            # Without it an unreadable last line counts as never acknowledged, no more.
            self._truncate(self.size)

    def take_back(self) -> None:
        """Takes out what was appended last, when the database did not commit it."""
        if self._before is not None:
            self.size, self.number = self._before
            self._before = None
            self._truncate(self.size)

    def rewrite(self, records: Iterable[Record]) -> None:
        """Puts a file that holds these records alone in the place of this one.

        Raises:
            OSError: The disk did not take it; the file is as it was.
        """
        number = self.number + 1
        body = b"".join([self._line(number, record) for record in records])
        head = self._line(number, Record(HEAD, b"", b"%d" % body.count(b"\n")))
        partial = self.path.with_name(self.path.name + ".partial")
        try:
            _write_new(partial, head + body)
            partial.rename(self.path)
        except OSError:
            partial.unlink(missing_ok=True)
            raise
        _sync_folder(self.path.parent)
        self.close()
        self.number = number
        self.size = self.base_bytes = len(head) + len(body)

    def close(self) -> None:
        """Lets go of the file."""
        self._before = None
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _line(self, number: int, record: Record) -> bytes:
        body = b"%d\t%s\t%s\t%s" % (number, *record)
        return body + b"\t" + self.mac(body).hex().encode() + b"\n"

    def _opened(self) -> int:
        if self._descriptor is None:
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, OWNER_ONLY)
            os.ftruncate(self._descriptor, self.size)
        return self._descriptor

    def _write(self, data: bytes, offset: int) -> None:
        descriptor = self._opened()
        written = 0
        while written < len(data):
            written += os.pwrite(descriptor, data[written:], offset + written)
        self.size = offset + len(data)

    def _truncate(self, size: int) -> None:
        try:
            os.ftruncate(self._opened(), size)
        except OSError:
            # What stands there is ahead of the database: it is applied at the next start, as if
            # the event had come once more.
            self.close()


class _Reader:
    """Takes a file's lines in, and says at its end what they are worth."""

    def __init__(self, file: CopyFile) -> None:
        self._file = file
        self._found = Reading(exists=True)
        self._n_base: int | None = None
        self._base_person = b""
        self._n_seen = 0
        self._offset = 0
        self._is_broken = False
        self._is_damaged = False
        self._waiting: list[_Line] = []
        self.number = 0
        self.base_bytes = 0

    def is_person_of_base(self, raw: bytes) -> bool:
        """Takes in a person's line of those that were written together, where one is due.

        Nearly all lines are such, and a start waits for them. What else a line is, and what may
        be wrong with it, is for `take`.
        """
        start = self._base_person
        if not start or not raw.startswith(start):
            return False
        body = raw[:_TAIL]
        if raw[_TAIL:] != b"\t%b\n" % hexlify(self._file.mac(body)):
            return False
        found = self._found
        whose, _, text = body[len(start) :].partition(b"\t")
        found.people[whose] = text
        self._n_seen += 1
        self._offset = found.end = self._offset + len(raw)
        if self._n_seen == self._n_base:
            self._end_base()
        return True

    def take(self, raw: bytes) -> None:
        """Takes in the next line, whatever it is."""
        is_first = self._offset == 0
        self._offset += len(raw)
        if raw == b"\n":
            return
        line = self._verified(raw)
        if line is None:
            self._break()
            return
        if self._is_broken or not self._follows(line, is_first=is_first):
            # Something readable after what is not, or after a gap: that was whole once.
            self._break()
            self._is_damaged = True
        self._keep(line)
        self._found.number = max(self._found.number, line.number)
        if not self._is_broken and not self._waiting:
            self._found.end = self._offset
            self.number = self._found.number
            if self._n_seen == self._n_base:
                self._end_base()

    def _end_base(self) -> None:
        self.base_bytes = self.base_bytes or self._offset
        self._base_person = b""

    def _break(self) -> None:
        self._is_broken = True
        self._base_person = b""

    def finished(self) -> Reading:
        """Returns what all the lines said."""
        is_whole = self._n_base is not None and self._n_seen >= self._n_base
        self._found.is_sound = is_whole and not self._is_damaged
        if self._found.is_sound:
            # What a transaction left unfinished was never acknowledged, and is written over.
            self._found.number = self.number
        return self._found

    def _verified(self, raw: bytes) -> _Line | None:
        body, _, mac = raw[:-1].rpartition(b"\t")
        fields = body.split(b"\t")
        if len(mac) != MAC_HEX_DIGITS or not raw.endswith(b"\n") or len(fields) != _N_FIELDS:
            return None
        try:
            key = self._file.key_of(body, bytes.fromhex(mac.decode("ascii")))
        except ValueError:
            return None
        if key is None:
            return None
        self._found.is_of_older_key |= key > 0
        number, kind, whose, text = fields
        return _Line(int(number), kind, whose, text)

    def _follows(self, line: _Line, *, is_first: bool) -> bool:
        """Returns whether a line is the one that belongs after those before it."""
        if is_first or line.kind == HEAD:
            return is_first and line.kind == HEAD
        newest = self._found.number
        if self._n_base is not None and self._n_seen < self._n_base:
            return line.number == newest and line.kind != COMMITTED
        return line.number == newest + (line.kind != COMMITTED)

    def _keep(self, line: _Line) -> None:
        if line.kind == HEAD:
            self._n_base = int(line.text)
            if self._n_base and not self._is_broken:
                self._base_person = b"%d\t%b\t" % (line.number, PERSON)
            return
        self._n_seen += line.kind != COMMITTED
        is_base = self._n_base is not None and self._n_seen <= self._n_base
        if line.kind not in {COMMITTED, END}:
            self._waiting.append(line)
        if is_base or line.kind == END:
            for each in self._waiting:
                self._tell(each)
            self._waiting.clear()

    def _tell(self, line: _Line) -> None:
        found = self._found
        if line.kind == PERSON:
            found.people[line.key] = line.text
        elif line.kind == TOMBSTONE:
            found.tombstones[line.key.decode()] = int(line.text)
        elif line.kind == LOST:
            found.lost_at_ms = int(line.text)


def _mac(keyed: hmac.HMAC, data: bytes) -> bytes:
    state = keyed.copy()
    state.update(data)
    return state.digest()[:MAC_BYTES]


def _write_new(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, OWNER_ONLY)
    try:
        for start in range(0, len(data), WRITE_BYTES):
            os.pwrite(descriptor, data[start : start + WRITE_BYTES], start)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
