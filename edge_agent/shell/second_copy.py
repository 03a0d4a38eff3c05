"""Consents, complaints and tombstones a second time, in a small file beside the database.

Rot in a database is seldom seen: SQLite's own check passes over most of what a flipped bit does
to a row. So what each person stated carries a MAC (a seal), and stands in a second file as well
(`shell.copy_file`), which is synced before the database commits it: an end at any instant leaves
both, or the file ahead of the database, never an acknowledged complaint in neither.

At every start the two are compared, person by person.

- The file is sound: it is right. What the database has otherwise, or has not, is restored from
  it; a grant that nothing vouches for is taken out.
- The file is damaged, missing or behind, and in the database every seal is good and none missing:
  the database is right, and the file is written anew.
- Neither: what somebody said may be lost, and nobody knows who. All fail closed. Every grant is
  taken out, complaints and refusals stay, and the instant is noted in both copies. Who is
  identified is left alone until he states a consent anew, everybody else until the next day
  (`decide.eligibility`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from edge_agent.errors import StoreCorrupt, StoreError, StoreFull
from edge_agent.shell import statements
from edge_agent.shell.copy_file import LOST, PERSON, TOMBSTONE, CopyFile, Reading, Record
from edge_agent.shell.sqlite_db import store_error

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_agent.shell.statements import Stated

# In `meta`: the number of the file's newest line that is committed, and how many seals there are.
COMMITTED: Final = "second_copy.committed"
# In `meta`: when statements were lost that no copy held.
LOST_AT: Final = "second_copy.lost_at_ms"
# A file is written anew when it has grown by as much as it had, and by this at least.
GROWTH_BYTES_MIN: Final = 262_144

_HINT: Final = "it is set aside, and a new one begun from the second copy"
_PUT_META: Final = "INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)"
_GET_META: Final = "SELECT value FROM meta WHERE key = ?"
_PUT_SEAL: Final = "INSERT OR REPLACE INTO seal (visitor, mac) VALUES (?, ?)"
_REFUSE: Final = "DELETE FROM consent WHERE visitor = ? AND granted"
_REFUSE_ALL: Final = "DELETE FROM consent WHERE granted"
_HAS_TOMBSTONES: Final = "SELECT 1 FROM sqlite_master WHERE name = 'tombstone'"
_PUT_TOMBSTONE: Final = "INSERT OR IGNORE INTO tombstone (mark, at_ms) VALUES (?, ?)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What a start found.

    Attributes:
        n_restored: People whose rows were restored from the file.
        n_refused: People who had a grant that nothing vouched for.
        was_damaged: Whether the file was damaged, missing or behind.
        lost_at_ms: When statements were lost that no copy held; None for never.
    """

    n_restored: int = 0
    n_refused: int = 0
    was_damaged: bool = False
    lost_at_ms: int | None = None


@dataclass(slots=True)
class _Differences:
    """What tells the database from the file.

    Attributes:
        n_seals: Seals in the database.
        n_unsealed: People there without a good one.
        wrong: Texts of the file that the database has otherwise, under no good seal.
        newer: The same under a good seal.
        missing: Texts of the file of whom the database has nothing.
        unknown: Who is in the database alone, under a good seal.
        strange: The same without one.
        suppressed: Texts of those who must be found in order to be left alone.
    """

    n_seals: int = 0
    n_unsealed: int = 0
    wrong: list[bytes] = field(default_factory=list)
    newer: list[bytes] = field(default_factory=list)
    missing: list[bytes] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    strange: list[str] = field(default_factory=list)
    suppressed: list[bytes] = field(default_factory=list)

    def add(self, each: Stated, kept: bytes | None, *, is_sealed: bool) -> None:
        """Takes in one person of the database, and what the file says of him."""
        self.n_seals += each.seal is not None
        self.n_unsealed += not is_sealed
        if kept is None:
            (self.unknown if is_sealed else self.strange).append(each.visitor.decode())
        elif kept != each.text:
            (self.newer if is_sealed else self.wrong).append(kept)
        if each.is_suppressed and kept in {None, each.text}:
            self.suppressed.append(each.text)


class SecondCopy:
    """The second file, and its part in every transaction.

    Args:
        path: Of the file.
        store_key: Gives the store's own key, asked for at each comparison.
        is_synced: Whether what was committed survives a power cut.
    """

    def __init__(
        self, path: Path, store_key: Callable[[], bytes], *, is_synced: bool = True
    ) -> None:
        self._path = path
        self._store_key = store_key
        self._is_synced = is_synced
        self._n_seals = 0
        self._n_new = 0
        self._has_appended = self._is_behind = False
        self.lost_at_ms: int | None = None

    # --- a transaction ------------------------------------------------------------------------

    def stage(self, visitors: Iterable[str], tombstones: Iterable[tuple[str, int]] = ()) -> None:
        """Seals what visitors have stated and puts it in the file, before the commit.

        Nothing is written for whoever stated nothing new.

        Args:
            visitors: Whose links, consents or complaints the open transaction has changed.
            tombstones: Marks that it has put, and since when each holds.

        Raises:
            StoreFull: The disk did not take it.
            sqlite3.Error: Nor did the database.
        """
        records = [Record(TOMBSTONE, mark.encode(), b"%d" % at_ms) for mark, at_ms in tombstones]
        self._n_new = 0
        for each in statements.stated_by(self._db, visitors):
            mac = self._file.mac(each.text)
            if mac != each.seal:
                self._n_new += each.seal is None
                self._db.execute(_PUT_SEAL, (each.visitor.decode(), mac))
                records.append(Record(PERSON, each.visitor, each.text))
        if not records:
            return
        self._put_committed(self._file.number + len(records) + 1)
        try:
            self._file.append(records)
        except OSError as error:
            raise self._full(error) from error
        self._has_appended = True

    def stage_anew(self) -> None:
        """Has the file written anew after the commit of a transaction that deletes or re-keys.

        Should the agent end before that, the database is right.
        """
        self._n_seals = self._n_new = 0
        for each in list(statements.all_stated(self._db)):
            mac = self._file.mac(each.text)
            self._n_seals += 1
            if mac != each.seal:
                self._db.execute(_PUT_SEAL, (each.visitor.decode(), mac))
        self._put_committed(self._file.number + 1)
        self._is_behind = True

    def committed(self) -> None:
        """Notes that the transaction is on the disk."""
        self._n_seals += self._n_new
        self._n_new = 0
        if self._has_appended:
            self._has_appended = False
            self._file.confirm()
        grown = self._file.size - self._file.base_bytes
        if self._is_behind or grown > max(GROWTH_BYTES_MIN, self._file.base_bytes):
            self._write_anew()

    def rolled_back(self) -> None:
        """Takes out what was staged."""
        self._n_new = 0
        if self._has_appended:
            self._has_appended = False
            self._file.take_back()

    def close(self) -> None:
        """Lets go of the file."""
        self._file.close()

    # --- a start ------------------------------------------------------------------------------

    def brace(self, *, now_ms: int) -> None:
        """Notes what is lost if the database is: called before it is set aside.

        Args:
            now_ms: The present, which is noted when the file is not sound either.
        """
        file, found = self._read()
        if not found.is_sound:
            file.rewrite(
                _records(
                    found.people.items(), found.tombstones, _first_loss(found.lost_at_ms, now_ms)
                )
            )
        file.close()

    def compare(self, connection: sqlite3.Connection, *, now_ms: int) -> Compared:
        """Compares database and file, restores what is lost from either, and begins to keep them.

        Args:
            connection: The writer's, outside a transaction.
            now_ms: The present.

        Raises:
            StoreCorrupt: The database cannot be brought to say what it must.
            StoreError: The disk did not take what was restored.
        """
        self._db = connection
        self._now_ms = now_ms
        self._file, found = self._read()
        try:
            connection.execute("BEGIN IMMEDIATE")
            compared = self._compare(found, now_ms)
            connection.execute("COMMIT")
        except (sqlite3.Error, ValueError, LookupError, TypeError) as error:
            raise self._given_up(error) from error
        except StoreCorrupt:
            connection.execute("ROLLBACK")
            self._file.close()
            raise
        if self._is_behind:
            self._write_anew()
        return compared

    def _compare(self, found: Reading, now_ms: int) -> Compared:
        committed = _committed(self._meta(COMMITTED))
        if not found.exists and committed is None:
            # The first start with this file: whatever the database has is taken over.
            self.stage_anew()
            return Compared()
        self._restore_tombstones(found.tombstones)
        differences = self._differences(found)
        number, n_seals = committed or (0, -1)
        if found.is_sound and found.number >= number:
            return self._trust_file(found, differences, is_told=n_seals == differences.n_seals)
        is_whole = n_seals == differences.n_seals and not differences.n_unsealed
        self.lost_at_ms = _number(self._meta(LOST_AT))
        if not is_whole or found.number > number:
            return self._trust_neither(differences, now_ms)
        self._require_found(differences.suppressed, may_mend=False)
        self.stage_anew()
        return Compared(was_damaged=True, lost_at_ms=self.lost_at_ms)

    def _trust_file(self, found: Reading, differences: _Differences, *, is_told: bool) -> Compared:
        restored = [*differences.wrong, *differences.newer, *differences.missing]
        self._put_back(restored)
        for visitor in differences.strange:
            self._db.execute(_REFUSE, (visitor,))
        suppressed = [*differences.suppressed, *filter(statements.is_suppressed, restored)]
        self._require_found(suppressed, may_mend=True)
        if restored and differences.n_seals:
            self._require_same(suppressed)
        self.lost_at_ms = found.lost_at_ms
        if self.lost_at_ms is not None and _number(self._meta(LOST_AT)) != self.lost_at_ms:
            self._lose(self.lost_at_ms)
        is_same = is_told and not (restored or differences.n_unsealed or differences.unknown)
        if is_same and not found.is_of_older_key:
            self._n_seals = differences.n_seals
        else:
            self.stage_anew()
        return Compared(
            n_restored=len(restored),
            n_refused=len(differences.strange),
            lost_at_ms=self.lost_at_ms,
        )

    def _trust_neither(self, differences: _Differences, now_ms: int) -> Compared:
        restored = [*differences.wrong, *differences.missing]
        self._put_back(restored)
        self._lose(now_ms)
        everybody = statements.all_stated(self._db)
        self._require_found([e.text for e in everybody if e.is_suppressed], may_mend=False)
        self.stage_anew()
        return Compared(n_restored=len(restored), was_damaged=True, lost_at_ms=now_ms)

    def _lose(self, at_ms: int) -> None:
        """Fails closed for everybody: no grant of before counts any more."""
        self.lost_at_ms = at_ms
        self._db.execute(_REFUSE_ALL)
        self._db.execute(_PUT_META, (LOST_AT, str(at_ms)))

    def _differences(self, found: Reading) -> _Differences:
        differences = _Differences()
        people, mac = found.people, self._file.mac
        n_alike = 0
        for each in statements.all_stated(self._db):
            kept = people.pop(each.visitor, None)
            is_sealed = mac(each.text) == each.seal
            if is_sealed and kept == each.text and not each.is_suppressed:
                # Nearly everybody.
                n_alike += 1
            else:
                differences.add(each, kept, is_sealed=is_sealed)
        differences.n_seals += n_alike
        differences.missing = list(people.values())
        return differences

    def _put_back(self, texts: list[bytes]) -> None:
        for text in texts:
            statements.put_back(self._db, text, now_ms=self._now_ms)
        expected = {statements.visitor_of(text): text for text in texts}
        stated = statements.stated_by(self._db, expected)
        found = {each.visitor.decode(): each.text for each in stated}
        for visitor, text in expected.items():
            kept = found.get(visitor)
            if kept is None and not statements.has_stated(text):
                # All that he had granted was taken out after a loss.
                continue
            if kept is None or statements.said_by(kept) != statements.said_by(text):
                raise StoreCorrupt("rows do not keep what is put in them", hint=_HINT)

    def _require_found(self, texts: Iterable[bytes], *, may_mend: bool) -> None:
        lost = [text for text in texts if not statements.is_found(self._db, text)]
        if lost and may_mend:
            self._put_back(lost)
            lost = [text for text in lost if not statements.is_found(self._db, text)]
        if lost:
            raise StoreCorrupt("identifiers do not lead to their people", hint=_HINT)

    def _require_same(self, texts: Iterable[bytes]) -> None:
        """Requires that a database into which something was put back says all of these texts.

        Where its rows have lost their order, one that was put back can hide another: it must not
        be what the file is written anew from.
        """
        expected = {statements.visitor_of(text): text for text in texts}
        stated = statements.stated_by(self._db, expected)
        found = {each.visitor.decode(): each.text for each in stated}
        if any(found.get(visitor) != text for visitor, text in expected.items()):
            raise StoreCorrupt("rows hide what was put back beside them", hint=_HINT)

    def _restore_tombstones(self, tombstones: Mapping[str, int]) -> None:
        if self._has_tombstones():
            self._db.executemany(_PUT_TOMBSTONE, sorted(tombstones.items()))

    # --- small things -------------------------------------------------------------------------

    def _read(self) -> tuple[CopyFile, Reading]:
        file = CopyFile(self._path, (self._store_key(),), is_synced=self._is_synced)
        try:
            return file, file.read()
        except OSError:
            # A card that does not give it back has lost it.
            return file, Reading(exists=True)

    def _write_anew(self) -> None:
        people = ((each.visitor, each.text) for each in statements.all_stated(self._db))
        tombstones: Mapping[str, int] = {}
        if self._has_tombstones():
            tombstones = dict(self._db.execute("SELECT mark, at_ms FROM tombstone").fetchall())
        try:
            self._file.rewrite(_records(people, tombstones, self.lost_at_ms))
        except OSError:
            # No room yet. Until it is written, the file is behind and the database right.
            self._file.number += 1
            self._is_behind = True
        else:
            self._is_behind = False

    def _has_tombstones(self) -> bool:
        return self._db.execute(_HAS_TOMBSTONES).fetchone() is not None

    def _put_committed(self, number: int) -> None:
        n_seals = self._n_seals + self._n_new
        self._db.execute(_PUT_META, (COMMITTED, f"{number} {n_seals}"))

    def _meta(self, key: str) -> str | None:
        row = self._db.execute(_GET_META, (key,)).fetchone()
        return None if row is None else str(row[0])

    def _given_up(self, error: Exception) -> StoreError:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")
        if isinstance(error, sqlite3.Error):
            found = store_error(error, self._path)
            if found.is_transient:
                return found
        return StoreCorrupt(f"statements cannot be read: {error}", hint=_HINT)

    def _full(self, error: OSError) -> StoreFull:
        return StoreFull(
            f"{self._path}: {error.strerror}", hint="free space on the disk, or check the card"
        )


def _first_loss(before_ms: int | None, now_ms: int) -> int:
    # Of two losses the later one counts: nothing that was stated in between is sure.
    return now_ms if before_ms is None else max(before_ms, now_ms)


def _records(
    people: Iterable[tuple[bytes, bytes]], tombstones: Mapping[str, int], lost_at_ms: int | None
) -> Iterator[Record]:
    if lost_at_ms is not None:
        yield Record(LOST, b"", b"%d" % lost_at_ms)
    for visitor, text in people:
        yield Record(PERSON, visitor, text)
    for mark, at_ms in sorted(tombstones.items()):
        yield Record(TOMBSTONE, mark.encode(), b"%d" % at_ms)


def _committed(text: str | None) -> tuple[int, int] | None:
    number, _, n_seals = (text or "").partition(" ")
    return (int(number), int(n_seals)) if number.isdigit() and n_seals.isdigit() else None


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None
