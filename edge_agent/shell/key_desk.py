"""Opens the keyring at the start, rotates it while the agent runs, and tells of keys.

The order of a rotation, so that a kill at any instant leaves a gateway that matches everybody:

1. One transaction: every pseudonym under the store's key re-keyed, and the new ring, which the
   present key and the next one open.
2. The log folded back, so that no old row stays in it; the ring written beside the database too,
   for a database that has to be begun anew.
3. The next key takes the present one's place: here when it lies in the key folder, else by the
   command that asked, which wrote it beside the credential beforehand.
4. Once the newest key has opened the ring, the others' slots go.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Final

from edge_agent.domain.time import local_day_end_ms
from edge_agent.domain.visitor import IDENTIFIED_KINDS
from edge_agent.errors import ConfigError, RequestRefused
from edge_agent.identify.pseudonyms import PSEUDONYM_HEX_DIGITS
from edge_agent.shell.control import ROTATE_KEYS, SHOW_KEYS
from edge_agent.shell.keyring import META_KEY, Keyring, Opened, key_id, sealed
from edge_agent.shell.keys import KEY_BYTES, write_whole

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from datetime import tzinfo
    from pathlib import Path

    from edge_agent.ports import SecondCopy
    from edge_agent.shell.keys import KeyStore

Answer = dict[str, Any]

# Every column that holds pseudonyms under the store's key, and which of its rows do.
_IDENTIFIED: Final = ", ".join(f"'{kind}'" for kind in sorted(IDENTIFIED_KINDS))
STORE_KEYED: Final = (
    ("link", "pseudonym", f"kind IN ({_IDENTIFIED})"),
    ("complaint", "case_hash", "1"),
)
_PUT_META: Final = "INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)"
_GET_META: Final = "SELECT value FROM meta WHERE key = ?"


class KeyDesk:
    """Keeps the ring in the database and beside it, and answers requests about keys."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        keys: KeyStore,
        *,
        beside: Path,
        zone: tzinfo,
        second_copy: SecondCopy | None = None,
    ) -> None:
        """Sets up the desk and opens the ring, if there is one.

        Args:
            connection: The writer's.
            keys: Opens the ring.
            beside: The file that holds the ring as well.
            zone: The store's, for the ends of days.
            second_copy: Holds pseudonyms too, and is re-keyed with the database.

        Raises:
            ConfigError: The store's key does not open the ring.
        """
        self._db = connection
        self._keys = keys
        self._beside = beside
        self._zone = zone
        self._second_copy = second_copy
        self._following: tuple[bytes, ...] = ()
        self._open()

    def answers(
        self,
        call: Callable[[Callable[[], Answer]], Answer],
        *,
        now_ms: Callable[[], int],
        rekeyed: Callable[[], None],
    ) -> dict[str, Callable[[Answer], Answer]]:
        """Returns what may be asked of it, by name.

        Args:
            call: Has something done in the core thread, between two batches.
            now_ms: The agent's present.
            rekeyed: Has everybody else take up the new keys and read the rows again.
        """
        return {
            SHOW_KEYS: lambda _: call(lambda: self.shown(now_ms())),
            ROTATE_KEYS: lambda request: call(
                lambda: self.rotate(_next_key(request), now_ms=now_ms(), rekeyed=rekeyed)
            ),
        }

    def shown(self, now_ms: int) -> Answer:
        """Returns names and ages of all keys, and nothing that could be one."""
        ring = self._keys.ring
        days = self._keys.day_keys()
        return {
            "now_ms": now_ms,
            "store": {
                "id": key_id(self._keys.master_key),
                "from": "credential" if self._keys.is_handed_in else "file",
                "generation": ring.generation,
                "rotated_at_ms": ring.made_at_ms,
                "slots": self._n_slots,
            },
            "days": [
                {"day": day, "id": key_id(key), "ends_at_ms": local_day_end_ms(day, self._zone)}
                for day, key in sorted(days.items())
            ],
        }

    def rotate(
        self, next_key: bytes | None, *, now_ms: int, rekeyed: Callable[[], None]
    ) -> Answer:
        """Re-keys every pseudonym of identified people; called in the core thread.

        Args:
            next_key: The store's key from the next start on; None where it lies in a file here.
            now_ms: The present.
            rekeyed: Has everybody else take up the new keys and read the rows again.

        Raises:
            RequestRefused: The unit hands the key in and no next one was given, or the reverse.
        """
        keys = self._keys
        if keys.is_handed_in and next_key is None:
            raise RequestRefused(
                "the unit hands the store's key in, so the agent cannot replace it",
                hint="name its file: edge-agent keys rotate --credential FILE",
            )
        if not keys.is_handed_in and next_key is not None:
            raise RequestRefused(
                "the store's key lies in the agent's own folder", hint="leave --credential out"
            )
        next_key = next_key or secrets.token_bytes(KEY_BYTES)
        before = keys.ring
        after = Keyring(
            generation=before.generation + 1,
            made_at_ms=now_ms,
            inner=before.inner,
            outer=secrets.token_bytes(KEY_BYTES),
        )
        # One that was told before and not started with yet may be in its file already.
        slots = (keys.master_key, *self._following, next_key)
        text = sealed(after, slots)
        n_rekeyed = self._rekey(before, after, text)
        self._n_slots = len(slots)
        self._following = (*self._following, next_key)
        keys.use(after)
        rekeyed()
        self._settle(text)
        if not keys.is_handed_in:
            keys.replace_master_key(next_key)
            self._keep_newest()
        return {"rekeyed": n_rekeyed, "key": key_id(next_key), **self.shown(now_ms)}

    def _open(self) -> None:
        row = self._db.execute(_GET_META, (META_KEY,)).fetchone()
        inside = None if row is None else str(row[0])
        beside = self._beside.read_text(encoding="utf-8") if self._beside.exists() else None
        text, found = self._unlocked(inside, beside)
        self._n_slots = 1
        if text is None or found is None:
            return
        self._n_slots = found.n_slots
        if inside != text:
            # A database that had to be begun anew, or whose ring is rotten: its people come back
            # under the same ring.
            self._put(text)
        if inside != beside:
            write_whole(self._beside, text.encode())
        if found.is_newest and found.n_slots > 1:
            self._keep_newest()

    def _unlocked(self, *rings: str | None) -> tuple[str | None, Opened | None]:
        problem: ConfigError | None = None
        for ring in rings:
            if ring is not None:
                try:
                    return ring, self._keys.unlock(ring)
                except ConfigError as error:
                    problem = problem or error
        if problem is not None:
            raise problem
        return None, None

    def _rekey(self, before: Keyring, after: Keyring, text: str) -> dict[str, int]:
        off, over = before.permutation(), after.permutation()

        def rekeyed(stored: str) -> str:
            block = bytes.fromhex(stored)
            block = block if off is None else off.back(block)
            return (block if over is None else over.forth(block)).hex()

        self._db.create_function("rekeyed", 1, rekeyed, deterministic=True)
        counts = {}
        self._db.execute("BEGIN IMMEDIATE")
        try:
            for table, column, which in STORE_KEYED:
                cursor = self._db.execute(
                    f"UPDATE {table} SET {column} = rekeyed({column})"  # noqa: S608 - names of ours only
                    f" WHERE length({column}) = {PSEUDONYM_HEX_DIGITS} AND {which}"
                )
                counts[table] = cursor.rowcount
            self._db.execute(_PUT_META, (META_KEY, text))
            if self._second_copy is not None:
                self._second_copy.stage_anew()
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        finally:
            self._db.create_function("rekeyed", 1, None)
        if self._second_copy is not None:
            self._second_copy.committed()
        return counts

    def _keep_newest(self) -> None:
        """Leaves the ring with the one slot of the key in use."""
        text = sealed(self._keys.ring, (self._keys.master_key,))
        self._put(text)
        self._n_slots = 1
        self._following = ()
        self._settle(text)

    def _put(self, text: str) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        self._db.execute(_PUT_META, (META_KEY, text))
        self._db.execute("COMMIT")

    def _settle(self, text: str) -> None:
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        write_whole(self._beside, text.encode())


def _next_key(request: Answer) -> bytes | None:
    given = request.get("key")
    if given is None:
        return None
    try:
        key = bytes.fromhex(str(given))
    except ValueError as error:
        raise RequestRefused("a key is told in hexadecimal") from error
    if len(key) < KEY_BYTES:
        raise RequestRefused(f"a key has at least {KEY_BYTES} bytes")
    return key
