"""The keys that pseudonyms are made with: the store's own, and one a day that is destroyed.

A daily key is a file of its own, made on the day's first event and overwritten and deleted when
the day is over. The store's own key comes from the unit (a systemd credential) or lies in a file
here; since its first rotation it opens the ring (`shell.keyring`) that pseudonyms are made with.
`ids-N.key` keeps universal ids from being computed out of pseudonyms; it is made anew at each
rotation, and what is lost of it costs nothing. On flash storage a deleted block may outlive its
file until the card reuses it; `provisioning/README.md` says how to put the folder on an encrypted
or volatile file system.
"""

from __future__ import annotations

import os
import secrets
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edge_agent.shell.keyring import Keyring, Opened, opened

if TYPE_CHECKING:
    from edge_agent.shell.cipher import Permutation

KEY_BYTES: Final = 32
_STORE_KEY: Final = "store.key"
_DAY_PREFIX: Final = "day-"
_IDS_PREFIX: Final = "ids-"
_SUFFIX: Final = ".key"
_CREDENTIAL: Final = "store_key"


class KeyStore:
    """A folder of keys, readable by the agent alone.

    Args:
        directory: The folder.
        seed: With a replay's clock, keys come from the seed, so that a replay can be repeated;
            None makes real ones.
    """

    def __init__(self, directory: Path, *, seed: str | None = None) -> None:
        self._directory = directory
        self._seed = seed
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        handed_in = _handed_in()
        self.is_handed_in = handed_in is not None
        self.master_key = handed_in or self._read_or_make(_STORE_KEY)
        self.use(Keyring(generation=0, made_at_ms=None, inner=self.master_key, outer=None))

    def unlock(self, ring: str) -> Opened:
        """Makes pseudonyms with a sealed ring from here on.

        Raises:
            ConfigError: The store's key does not open it.
        """
        found = opened(ring, self.master_key)
        self.use(found.ring)
        return found

    def use(self, ring: Keyring) -> None:
        """Makes pseudonyms with a ring from here on."""
        self.ring = ring
        self._permutation = ring.permutation()

    def store_key(self) -> bytes:
        """Returns the store's own key; a rotation does not change what this returns."""
        return self.ring.inner

    def permutation(self) -> Permutation | None:
        """Returns what lies over the pseudonyms of identified people, since the first rotation."""
        return self._permutation

    def ids_key(self) -> bytes:
        """Returns the key of this generation's universal ids; earlier ones are destroyed."""
        name = f"{_IDS_PREFIX}{self.ring.generation}{_SUFFIX}"
        for path in sorted(self._directory.glob(f"{_IDS_PREFIX}*{_SUFFIX}")):
            if path.name != name:
                _destroy(path)
        return self._read_or_make(name)

    def replace_master_key(self, key: bytes) -> None:
        """Puts another store's key in place; in its file, unless the unit hands it in."""
        if not self.is_handed_in:
            path = self._directory / _STORE_KEY
            before = os.open(path, os.O_WRONLY)
            try:
                write_whole(path, key)
                # The file that was replaced has no name any more; its bytes go too.
                os.write(before, secrets.token_bytes(KEY_BYTES))
                os.fsync(before)
            finally:
                os.close(before)
        self.master_key = key

    def day_keys(self) -> dict[str, bytes]:
        """Returns the daily keys that exist, by store-local day."""
        return {
            path.name[len(_DAY_PREFIX) : -len(_SUFFIX)]: path.read_bytes()
            for path in sorted(self._directory.glob(f"{_DAY_PREFIX}*{_SUFFIX}"))
        }

    def make_day_key(self, day: str) -> bytes:
        """Returns a day's key, made if it is new."""
        return self._read_or_make(f"{_DAY_PREFIX}{day}{_SUFFIX}")

    def destroy_before(self, day: str) -> tuple[str, ...]:
        """Overwrites and deletes the keys of earlier days; returns which."""
        destroyed = []
        for known in self.day_keys():
            if known < day:
                _destroy(self._directory / f"{_DAY_PREFIX}{known}{_SUFFIX}")
                destroyed.append(known)
        if destroyed:
            _sync_folder(self._directory)
        return tuple(destroyed)

    def _read_or_make(self, name: str) -> bytes:
        path = self._directory / name
        if path.exists() and path.stat().st_size == KEY_BYTES:
            return path.read_bytes()
        key = self._fresh(name)
        write_whole(path, key)
        return key

    def _fresh(self, name: str) -> bytes:
        if self._seed is None:
            return secrets.token_bytes(KEY_BYTES)
        return blake2b(f"{self._seed}\x00{name}".encode(), digest_size=KEY_BYTES).digest()


def write_whole(path: Path, data: bytes) -> None:
    """Puts data in a file, readable by its owner alone, whole or not at all."""
    partial = path.with_name(f"{path.name}.partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    partial.rename(path)
    _sync_folder(path.parent)


def _handed_in() -> bytes | None:
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    path = None if folder is None else Path(folder) / _CREDENTIAL
    return path.read_bytes() if path is not None and path.exists() else None


def _destroy(path: Path) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, secrets.token_bytes(KEY_BYTES))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    path.unlink()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
