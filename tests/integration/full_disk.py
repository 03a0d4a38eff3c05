"""A file system of a few megabytes that a test can fill to the last byte."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HOW_TO_MOUNT: Final = "mounting needs root: run it as `sudo .venv/bin/python -m pytest {test}`"
CHUNK_BYTES: Final = 65_536
SMALLEST_BYTES: Final = 1_024


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallDisk:
    """A mounted file system."""

    folder: Path

    @property
    def _ballast(self) -> Path:
        return self.folder / "ballast"

    def fill(self, *, leaving: int = 0) -> None:
        """Takes all room but some bytes."""
        with suppress(OSError), self._ballast.open("ab", buffering=0) as file:
            left = shutil.disk_usage(self.folder).free - leaving
            size = CHUNK_BYTES
            while left > 0 and size >= SMALLEST_BYTES:
                written = file.write(b"\0" * min(size, left))
                left -= written
                size = size if written == size else size // 2

    def free(self) -> None:
        """Gives the room back."""
        self._ballast.unlink(missing_ok=True)


@contextmanager
def small_disk(folder: Path, *, megabytes: int, test: str) -> Iterator[SmallDisk]:
    """A file system in memory, mounted on a folder for the length of a block."""
    assert os.geteuid() == 0, HOW_TO_MOUNT.format(test=test)
    folder.mkdir(parents=True)
    size = f"size={megabytes}m,mode=0700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder)], check=True)
    try:
        yield SmallDisk(folder=folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
