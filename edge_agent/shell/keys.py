"""The keys that pseudonyms are made with: the store's own, and one a day that is destroyed.

A daily key is a file of its own, made on the day's first event and overwritten and deleted when
the day is over. On flash storage a deleted block may outlive its file until the card reuses it;
`provisioning/README.md` says how to put the folder on an encrypted or volatile file system.
"""

from __future__ import annotations

import os
import secrets
from hashlib import blake2b
from pathlib import Path
from typing import Final

KEY_BYTES: Final = 32
_STORE_KEY: Final = "store.key"
_DAY_PREFIX: Final = "day-"
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

    def store_key(self) -> bytes:
        """Returns the store's own key: a systemd credential if there is one, else a file."""
        credentials = os.environ.get("CREDENTIALS_DIRECTORY")
        if credentials is not None:
            handed_in = Path(credentials) / _CREDENTIAL
            if handed_in.exists():
                return handed_in.read_bytes()
        return self._read_or_make(_STORE_KEY)

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
                path = self._directory / f"{_DAY_PREFIX}{known}{_SUFFIX}"
                _overwrite(path)
                path.unlink()
                destroyed.append(known)
        if destroyed:
            _sync_folder(self._directory)
        return tuple(destroyed)

    def _read_or_make(self, name: str) -> bytes:
        path = self._directory / name
        if path.exists() and path.stat().st_size == KEY_BYTES:
            return path.read_bytes()
        key = self._fresh(name)
        partial = path.with_suffix(".partial")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(descriptor, key)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        partial.rename(path)
        _sync_folder(self._directory)
        return key

    def _fresh(self, name: str) -> bytes:
        if self._seed is None:
            return secrets.token_bytes(KEY_BYTES)
        return blake2b(f"{self._seed}\x00{name}".encode(), digest_size=KEY_BYTES).digest()


def _overwrite(path: Path) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, secrets.token_bytes(KEY_BYTES))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
