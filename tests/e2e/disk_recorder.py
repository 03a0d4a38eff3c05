"""What a process wrote below SQLite, and what a power cut at any instant would have left of it.

A tracer (strace) notes every write and sync of the process, and what it said to its broker. A disk
image is made from the note: up to the cut, what was synced is there; of what was written since,
any part may be. Names of files follow the same rule, with the sync of their folder.

The model is the one of POSIX, harsher than most disks: without a sync nothing is certain, neither
the order of writes nor that one of them is whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final, Literal

from tests.e2e.deliveries import Deliveries
from tests.e2e.waiting import wait_for

CALLS: Final = (
    "openat,close,pwrite64,write,ftruncate,fdatasync,fsync,unlink,rename,connect,sendto,recvfrom"
)
LONGEST: Final = 131_072
"""Bytes of a buffer that the tracer notes; more than the agent reads or writes at once."""
SECTOR: Final = 512
"""The least that a disk writes as a whole."""
Loss = Literal["lost", "torn", "reordered", "kept"]
LOSSES: Final[tuple[Loss, ...]] = ("lost", "torn", "reordered", "kept")

_LINE: Final = re.compile(r"^(\d+) +(.*)$")
_RESUMED: Final = re.compile(r"^<\.\.\. \w+ resumed>(.*)$")
_UNFINISHED: Final = " <unfinished ...>"
_CALL: Final = re.compile(r"^(\w+)\((.*)\) += (-?\d+)", re.DOTALL)
_TEXT: Final = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_PORT: Final = re.compile(r"sin_port=htons\((\d+)\)")


def tracer(note: Path) -> list[str]:
    """Returns the command line that notes what the command appended to it does."""
    # -D: the traced process is the child, so that it is the one that is killed or stopped.
    options = [
        "-D",
        "-f",
        "-q",
        "--seccomp-bpf",
        "-xx",
        "-e",
        "signal=none",
        "-e",
        f"trace={CALLS}",
    ]
    return ["strace", *options, "-s", str(LONGEST), "-o", str(note)]


def wait_noted(note: Path) -> None:
    """Returns when the tracer has written the end of the process down."""
    wait_for(lambda: _is_complete(note), f"the tracer has ended {note}")


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes at a place of a file."""

    path: str
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Truncate:
    """A file cut or grown to a size."""

    path: str
    size: int


@dataclass(frozen=True, slots=True)
class Create:
    """A name that a file got."""

    path: str


@dataclass(frozen=True, slots=True)
class Rename:
    """A file that got another name."""

    path: str
    to: str


@dataclass(frozen=True, slots=True)
class Unlink:
    """A name that is gone."""

    path: str


@dataclass(frozen=True, slots=True)
class Sync:
    """A file or folder whose contents are certain from here on."""

    path: str


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """The broker was told that an event is taken; `mark` is how the agent knows it again."""

    mark: int


Step = Write | Truncate | Create | Rename | Unlink | Sync | Acknowledge


def steps_from(note: Path, *, folder: Path, broker_port: int) -> list[Step]:
    """Returns what happened to a folder's files, and what was acknowledged, in order.

    Args:
        note: The tracer's output.
        folder: Only files within it.
        broker_port: Where acknowledgements go.
    """
    return list(_Reader(str(folder), broker_port).steps(note))


class Disk:
    """A folder as it is on the disk and in memory, up to some step."""

    def __init__(self) -> None:
        self._names: dict[str, _File] = {}
        self._certain_names: dict[str, _File] = {}
        self.acknowledged: set[int] = set()

    def take(self, step: Step) -> None:
        """Does one step."""
        names = self._names
        match step:
            case Write() | Truncate():
                names.setdefault(step.path, _File()).pending.append(step)
            case Create():
                names.setdefault(step.path, _File())
            case Rename():
                # A socket gets its name without being written: there is nothing of it to lose.
                if step.path in names:
                    names[step.to] = names.pop(step.path)
            case Unlink():
                names.pop(step.path, None)
            case Sync():
                self._sync(step.path)
            case Acknowledge():
                self.acknowledged.add(step.mark)

    def write_image(self, folder: Path, *, under: str, loss: Loss, chance: Random) -> None:
        """Writes what a cut right now leaves.

        Args:
            folder: Where to.
            under: The folder that was recorded.
            loss: What becomes of what was not synced.
            chance: Decides which part of it.
        """
        is_strict = loss in {"lost", "reordered"}
        for path, file in (self._certain_names if is_strict else self._names).items():
            # SQLite makes the shared memory file anew; what is in it must not matter.
            is_memory = path.endswith("-shm")
            target = folder / Path(path).relative_to(under)
            target.parent.mkdir(parents=True, exist_ok=True)
            left = chance.randbytes(32_768) if is_memory else file.after(loss, chance)
            target.write_bytes(left)

    def _sync(self, path: str) -> None:
        file = self._names.get(path)
        if file is not None:
            file.sync()
            return
        for known in (self._names, self._certain_names):
            inside = {name for name in known if str(Path(name).parent) == path}
            if known is self._certain_names:
                for name in inside - self._names.keys():
                    del self._certain_names[name]
            else:
                self._certain_names.update({name: self._names[name] for name in inside})


@dataclass(slots=True)
class _File:
    certain: bytearray = field(default_factory=bytearray)
    pending: list[Write | Truncate] = field(default_factory=list)

    def sync(self) -> None:
        for change in self.pending:
            _apply(self.certain, change)
        self.pending.clear()

    def after(self, loss: Loss, chance: Random) -> bytes:
        content = bytearray(self.certain)
        for change in _survivors(self.pending, loss, chance):
            _apply(content, change)
        return bytes(content)


def _survivors(
    pending: list[Write | Truncate], loss: Loss, chance: Random
) -> Iterator[Write | Truncate]:
    if loss == "kept":
        yield from pending
    elif loss == "torn" and pending:
        n_whole = chance.randrange(len(pending))
        yield from pending[:n_whole]
        yield _torn(pending[n_whole], chance)
    elif loss == "reordered":
        for change in pending:
            if chance.random() < 0.5:
                yield change if chance.random() < 0.9 else _torn(change, chance)


def _torn(change: Write | Truncate, chance: Random) -> Write | Truncate:
    if isinstance(change, Truncate):
        return change
    # Sectors are aligned on the disk, not to the write.
    first = -change.offset % SECTOR
    borders = [0, *range(first, len(change.data), SECTOR)]
    return Write(change.path, change.offset, change.data[: chance.choice(borders)])


def _apply(content: bytearray, change: Write | Truncate) -> None:
    if isinstance(change, Truncate):
        grown_by = change.size - len(content)
        if grown_by > 0:
            content.extend(bytes(grown_by))
        del content[change.size :]
        return
    end = change.offset + len(change.data)
    if change.data and len(content) < end:
        content.extend(bytes(end - len(content)))
    content[change.offset : end] = change.data


# --- the tracer's output ------------------------------------------------------------------


def _is_complete(note: Path) -> bool:
    if not note.exists():
        return False
    lines = note.read_text(errors="replace").splitlines()
    if not lines:
        return False
    first_pid = lines[0].split(maxsplit=1)[0]
    return any(line.startswith(first_pid) and "+++" in line for line in lines[-20:])


def _calls(note: Path) -> Iterator[tuple[str, str, int]]:
    """Yields name, arguments and result of each call, in order of their ends.

    The agent's files are written by one thread and its connection by another, so each keeps its
    own order. Between the two a call stands where it ended, but for sending: the broker may see
    at once what is being sent, so that stands where it began.
    """
    begun: dict[str, str] = {}
    with note.open(errors="replace") as lines:
        for line in lines:
            found = _LINE.match(line.rstrip("\n"))
            whole = None if found is None else _whole(found[1], found[2], begun)
            call = None if whole is None else _CALL.match(whole)
            if call is not None:
                yield call[1], call[2], int(call[3])


def _whole(pid: str, text: str, begun: dict[str, str]) -> str | None:
    """Returns a call's whole text once it is known, and keeps what is known until then."""
    if text.endswith(_UNFINISHED):
        text = text.removesuffix(_UNFINISHED)
        if text.startswith("sendto("):
            # Taken to be sent whole; its end, told later, is then passed over.
            begun[pid] = ""
            return f"{text}) = {LONGEST}"
        begun[pid] = text
        return None
    resumed = _RESUMED.match(text)
    if resumed is None:
        return text
    beginning = begun.pop(pid, "")
    return beginning + resumed[1] if beginning else None


class _Reader:
    def __init__(self, folder: str, broker_port: int) -> None:
        self._folder = folder
        self._port = broker_port
        self._paths: dict[int, str] = {}
        self._streams: dict[int, Deliveries] = {}
        self._known: set[str] = set()

    def steps(self, note: Path) -> Iterator[Step]:
        for name, arguments, result in _calls(note):
            if result >= 0 or name == "connect":
                yield from self._step(name, arguments, result)

    def _step(self, name: str, arguments: str, result: int) -> Iterator[Step]:
        texts = [bytes.fromhex(each.replace("\\x", "")) for each in _TEXT.findall(arguments)]
        if name == "openat":
            yield from self._opened(texts[0].decode(), arguments, result)
        elif name in {"unlink", "rename"}:
            paths = [each.decode() for each in texts]
            if self._is_ours(paths[0]):
                yield Unlink(paths[0]) if name == "unlink" else Rename(paths[0], paths[1])
        else:
            descriptor = int(arguments.partition(",")[0])
            if name == "close":
                self._paths.pop(descriptor, None)
                self._streams.pop(descriptor, None)
            elif name in {"connect", "sendto", "recvfrom"}:
                yield from self._said(name, descriptor, arguments, texts, result)
            elif descriptor in self._paths:
                yield from self._changed(name, self._paths[descriptor], arguments, texts, result)

    def _is_ours(self, path: str) -> bool:
        return path == self._folder or path.startswith(self._folder + "/")

    def _opened(self, path: str, arguments: str, descriptor: int) -> Iterator[Step]:
        self._paths.pop(descriptor, None)
        if not self._is_ours(path):
            return
        self._paths[descriptor] = path
        if "O_CREAT" in arguments and path not in self._known:
            self._known.add(path)
            yield Create(path)
        if "O_TRUNC" in arguments:
            yield Truncate(path, 0)

    def _changed(
        self, name: str, path: str, arguments: str, texts: list[bytes], result: int
    ) -> Iterator[Step]:
        if name in {"fsync", "fdatasync"}:
            yield Sync(path)
        elif name == "ftruncate":
            yield Truncate(path, int(arguments.rpartition(",")[2]))
        elif name == "pwrite64":
            yield Write(path, int(arguments.rpartition(",")[2]), texts[0][:result])
        else:
            # Small files of ours are written in one go from their start.
            yield Write(path, 0, texts[0][:result])

    def _said(
        self, name: str, descriptor: int, arguments: str, texts: list[bytes], result: int
    ) -> Iterator[Step]:
        if name == "connect":
            port = _PORT.search(arguments)
            if port is not None and int(port[1]) == self._port:
                self._streams[descriptor] = Deliveries()
            return
        connection = self._streams.get(descriptor)
        if connection is None or not texts:
            return
        data = texts[0][:result]
        if name == "recvfrom":
            connection.received(data)
        else:
            for mark in connection.sent(data):
                yield Acknowledge(mark)
