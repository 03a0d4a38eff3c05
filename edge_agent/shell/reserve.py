"""Room on the disk that is kept for what must be written when nothing else can be."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

# Some hundred opt-outs of a few KiB each, a checkpoint among them.
RESERVE_BYTES: Final = 1_048_576
OWNER_ONLY: Final = 0o600


class Reserve:
    """A file that takes up room while all is well, and gives it up when the disk is full."""

    def __init__(self, path: Path, *, n_bytes: int = RESERVE_BYTES) -> None:
        self._path = path
        self._n_bytes = n_bytes
        self._is_held = False

    def hold(self) -> bool:
        """Takes up the room again if it was given up; returns whether it is taken up."""
        if not self._is_held:
            self._is_held = self._allocate()
        return self._is_held

    def release(self) -> None:
        """Gives the room up."""
        self._is_held = False
        self._path.unlink(missing_ok=True)

    def _allocate(self) -> bool:
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, OWNER_ONLY)
        except OSError:
            return False
        try:
            os.posix_fallocate(descriptor, 0, self._n_bytes)
            os.fsync(descriptor)
        except OSError:
            # A part of it would be room that nobody may use.
            with suppress(OSError):
                self._path.unlink()
            return False
        finally:
            os.close(descriptor)
        return True
