"""Tables that are used where they lie in a bundle's file, instead of being copied into memory.

A page of the file comes into memory when it is used: tables of which a store needs a part take the
memory of that part, and the system may drop them when it is short. The file must not change as
long as the agent runs, which holds because a bundle is installed as a new folder and never written
over. A page that the disk no longer gives back ends the process; at its next start the bundle is
verified anew, refused, and the one before is used. Errors are `ValueError` and `OSError`; whoever
reads bundles words the refusal.
"""

from __future__ import annotations

import hashlib
import io
import mmap
import os
import stat
import struct
import zipfile
from pathlib import Path
from typing import IO, Any, Final, cast

import numpy as np
from numpy.typing import NDArray

AT_ONCE: Final = 1024 * 1024
MAX_HEADER_BYTES: Final = 1024
LOCAL_HEADER: Final = struct.Struct("<26xHH")
"""The end of a zip entry's own header: how long its name and its extra field are."""


def map_verified(path: Path, *, size: int, sha256: str) -> mmap.mmap:
    """Maps a file, verifies what is mapped, and lets go of its pages.

    Raises:
        OSError: It cannot be opened.
        ValueError: It is not the file that was meant.
    """
    if path.is_symlink():
        raise ValueError("is a link")
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb"):
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise ValueError("is no file")
        if found.st_size > size:
            raise ValueError("is longer than allowed")
        if found.st_size < size or not size:
            raise ValueError("is not as long as its manifest says")
        data = mmap.mmap(handle, size, access=mmap.ACCESS_READ)
    digest = hashlib.sha256()
    for begin in range(0, size, AT_ONCE):
        digest.update(data[begin : begin + AT_ONCE])
        data.madvise(mmap.MADV_DONTNEED)
    if digest.hexdigest() != sha256:
        raise ValueError("does not match its sha256")
    return data


def let_go(part: mmap.mmap) -> None:
    """Takes a mapped file's pages out of memory; each comes back when it is used."""
    part.madvise(mmap.MADV_DONTNEED)


def mapped_arrays(part: mmap.mmap) -> dict[str, NDArray[Any]]:
    """Returns the arrays of an npz file that is not compressed, without copying them.

    Raises:
        ValueError: It is no such file.
    """
    try:
        with zipfile.ZipFile(cast("IO[bytes]", part)) as archive:
            entries = archive.infolist()
        return {entry.filename.removesuffix(".npy"): _mapped(part, entry) for entry in entries}
    except (
        *(OSError, KeyError, EOFError, SyntaxError, OverflowError, RuntimeError),
        *(struct.error, zipfile.BadZipFile),
    ) as error:
        raise ValueError(str(error)) from error


def _mapped(part: mmap.mmap, entry: zipfile.ZipInfo) -> NDArray[Any]:
    if entry.compress_type != zipfile.ZIP_STORED:
        raise ValueError("a table is compressed")
    name, extra = LOCAL_HEADER.unpack_from(part, entry.header_offset)
    begin = entry.header_offset + LOCAL_HEADER.size + name + extra
    head = io.BytesIO(part[begin : begin + min(entry.file_size, MAX_HEADER_BYTES)])
    if np.lib.format.read_magic(head) != (1, 0):
        raise ValueError("an array is of a newer format")
    shape, by_column, dtype = np.lib.format.read_array_header_1_0(head)
    count = int(np.prod(shape, dtype=np.int64))
    if by_column or dtype.hasobject or head.tell() + count * dtype.itemsize != entry.file_size:
        raise ValueError("an array is of another layout")
    flat = np.frombuffer(part, dtype=dtype, count=count, offset=begin + head.tell())
    return flat.reshape(shape)
