"""The folders of a file drop on disk: held open, moved between by rename, kept within bounds."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Final

# Milliseconds of the pick-up and a running number: unique, and in the order of the pick-up.
STAMP: Final = re.compile(r"(\d{13})-\d{6}-")
ORIGINAL_BYTES_MAX: Final = 200
REASON_SUFFIX: Final = ".reason.json"
PLACES: Final = ("working", "done", "refused")
MS_PER_DAY: Final = 86_400_000
_STAMP_NUMBERS: Final = 1_000_000
_FOLDER_MODE: Final = 0o700
_FILE_MODE: Final = 0o600
_OPEN_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# No link is followed, and a pipe that takes a file's place cannot block.
_OPEN_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class StoreGoneError(Exception):
    """The folder is not there, or is not ours; the message says why."""


class DropStore:
    """A watched folder and its `working`, `done` and `refused`."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._places: dict[str, int] = {}
        self._now_ms = 0
        self._number = 0

    def open(self, now_ms: int) -> None:
        """Holds the folders, makes those that are missing, and keeps other bridges out.

        Raises:
            StoreGoneError: The folder is missing, or another bridge has it.
            OSError: It cannot be used.
        """
        self._now_ms = now_ms
        try:
            here = Path(self._path).stat()
        except OSError as error:
            self.close()
            raise StoreGoneError(f"{self._path}: {error.strerror}") from error
        if self._places and not os.path.samestat(here, os.fstat(self._places["folder"])):
            self.close()  # another file system was mounted there, or the folder was made anew
        if not self._places:
            self._open_all()

    def close(self) -> None:
        """Lets the folders go."""
        for descriptor in self._places.values():
            os.close(descriptor)
        self._places = {}

    def names(self, place: str) -> list[str]:
        """Returns the names in a place."""
        return os.listdir(self._places[place])  # noqa: PTH208 - pathlib knows no open folders

    def about(self, place: str, name: str) -> os.stat_result | None:
        """Returns what a name is, without following a link; None when it has gone."""
        try:
            return os.stat(name, dir_fd=self._places[place], follow_symlinks=False)
        except FileNotFoundError:
            return None

    def identity(self, place: str, name: str) -> tuple[int, int, int] | None:
        """Returns what changes when a file is written to; None when it has gone."""
        about = self.about(place, name)
        return None if about is None else (about.st_ino, about.st_size, about.st_mtime_ns)

    def read(self, place: str, name: str, limit: int) -> tuple[bytes, os.stat_result]:
        """Returns a file's first bytes, and what it was before they were read.

        Raises:
            OSError: It cannot be read.
        """
        descriptor = os.open(name, _OPEN_FILE, dir_fd=self._places[place])
        with os.fdopen(descriptor, "rb") as file:
            about = os.fstat(descriptor)
            return file.read(limit), about

    def move(self, place: str, to: str, name: str) -> str | None:
        """Renames a file into another place; returns its stamped name there, or None."""
        new = name if STAMP.match(name) and place != "folder" else self._stamped(name)
        try:
            os.rename(name, new, src_dir_fd=self._places[place], dst_dir_fd=self._places[to])
        except FileNotFoundError:
            return None
        return new

    def remove(self, place: str, name: str) -> None:
        """Deletes a file."""
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._places[place])

    def refuse(self, place: str, name: str, reason: str) -> None:
        """Moves a file into `refused` with the reason beside it; the reason is there first."""
        new = name if STAMP.match(name) and place != "folder" else self._stamped(name)
        told = {"file": self.original_name(new), "reason": reason, "at_ms": self._now_ms}
        # A full disk must not keep a bad file in the way of good ones.
        with suppress(OSError):
            self._write("refused", f"{new}{REASON_SUFFIX}", json.dumps(told).encode() + b"\n")
        os.rename(name, new, src_dir_fd=self._places[place], dst_dir_fd=self._places["refused"])

    def prune(self, place: str, now_ms: int, keep_days: int, keep_files: int) -> None:
        """Deletes the files of a place that are too old or too many, the oldest first."""
        stamped = sorted(name for name in self.names(place) if STAMP.match(name))
        excess = max(0, len(stamped) - keep_files)
        for number, name in enumerate(stamped):
            found = STAMP.match(name)
            taken_ms = int(found[1]) if found else now_ms
            if number < excess or now_ms - taken_ms > keep_days * MS_PER_DAY:
                self.remove(place, name)

    def original_name(self, name: str) -> str:
        """Returns the name that a file had when it was picked up."""
        return STAMP.sub("", name, count=1)

    def _stamped(self, name: str) -> str:
        self._number = (self._number + 1) % _STAMP_NUMBERS
        short = os.fsdecode(os.fsencode(name)[:ORIGINAL_BYTES_MAX])
        stamped = f"{self._now_ms:013d}-{self._number:06d}-{short}"
        # A rename replaces what is there: after a restart the number begins anew.
        taken = any(self.about(place, stamped) is not None for place in PLACES)
        return self._stamped(name) if taken else stamped

    def _write(self, place: str, name: str, content: bytes) -> None:
        partial = f".{name}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(partial, flags, _FILE_MODE, dir_fd=self._places[place])
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        folder = self._places[place]
        os.rename(partial, name, src_dir_fd=folder, dst_dir_fd=folder)

    def _open_all(self) -> None:
        opened: dict[str, int] = {}
        try:
            opened["folder"] = os.open(self._path, _OPEN_FOLDER)
            for place in PLACES:
                with suppress(FileExistsError):
                    os.mkdir(place, _FOLDER_MODE, dir_fd=opened["folder"])
                flags = _OPEN_FOLDER | os.O_NOFOLLOW
                opened[place] = os.open(place, flags, dir_fd=opened["folder"])
            fcntl.flock(opened["working"], fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            for descriptor in opened.values():
                os.close(descriptor)
            if error.errno == errno.EWOULDBLOCK:
                raise StoreGoneError(f"{self._path}: another bridge has it") from error
            raise StoreGoneError(f"{self._path}: {error.strerror}") from error
        self._places = opened
