"""The local way to ask something of the running agent: one unix socket, a JSON line each way.

Only the agent writes its database and switches its model, so commands ask it. The socket is
called `control`, lies in the state folder and belongs to the agent (mode 0600): whoever may not
read the agent's state cannot ask it either. A request is an object whose `do` names what is
wanted; the answer has `ok`, and `error` and `hint` when that is false. Who asks is told by the
system and not by the request: whatever it says under `uid` is replaced.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import struct
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edge_agent.errors import AgentUnreachable, EdgeAgentError, RequestRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

log = logging.getLogger(__name__)

# A request names files and ids; it never carries them.
MAX_LINE_BYTES: Final = 64 * 1024
# An answer may list what it is about: all that is held of one person, for one.
MAX_ANSWER_BYTES: Final = 32 * 1024 * 1024
# Whoever connects and says nothing must not keep the next one waiting.
READ_TIMEOUT_S: Final = 5.0
ANSWER_TIMEOUT_S: Final = 60.0
BACKLOG: Final = 8
OWNER_ONLY: Final = 0o600
# unix(7): an address has room for 107 bytes and its end.
MAX_ADDRESS_BYTES: Final = 107
# Process, user and group.
_CREDENTIALS: Final = "3i"
NOT_RUNNING: Final = (
    "is the agent running, and may you read its state folder? systemctl status edge-agent"
)

# What may be asked for; here, so that a command need not import what answers it.
SHOW_MODEL: Final = "model.show"
INSTALL_MODEL: Final = "model.install"
ROLL_MODEL_BACK: Final = "model.rollback"
SHOW_SHADOW_POLICY: Final = "shadow_policy.show"
SHOW_KEYS: Final = "keys.show"
ROTATE_KEYS: Final = "keys.rotate"
SHOW_EGRESS: Final = "privacy.egress"
SHOW_VISITOR: Final = "visitor.show"
EXPORT_VISITOR: Final = "visitor.export"
RECEIPT_VISITOR: Final = "visitor.receipt"
FORGET_VISITOR: Final = "visitor.forget"
RESTRICT_VISITOR: Final = "visitor.restrict"
UNLINK_VISITOR: Final = "visitor.unlink"

Answer = dict[str, Any]


class ControlServer:
    """Answers local requests one after the other, in a thread of its own."""

    def __init__(self, path: Path, handle: Callable[[Answer], Answer]) -> None:
        """Sets up a server.

        Args:
            path: Where the socket lies.
            handle: Answers a request; an `EdgeAgentError` that it raises is the answer too.
        """
        self._path = path
        self._handle = handle
        self._listener: socket.socket | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Makes the socket, in place of one that an ended agent left, and listens."""
        new = self._path.with_name(f"{self._path.name}.new")
        new.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with _address(new) as address:
            listener.bind(address)
        # Nobody can connect before `listen`, so nobody meets it with other rights.
        new.chmod(OWNER_ONLY)
        listener.listen(BACKLOG)
        new.rename(self._path)
        self._listener = listener
        self._thread = threading.Thread(target=self._serve, name="control", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends it and removes the socket; a request at hand is finished first."""
        listener, self._listener = self._listener, None
        if listener is None:
            return
        self._path.unlink(missing_ok=True)
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        if self._thread is not None:
            self._thread.join(READ_TIMEOUT_S)
        listener.close()

    def _serve(self) -> None:
        while (listener := self._listener) is not None:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, suppress(OSError):
                connection.settimeout(READ_TIMEOUT_S)
                connection.sendall(_line(self._answer(connection)))

    def _answer(self, connection: socket.socket) -> Answer:
        try:
            request = json.loads(_read_line(connection, MAX_LINE_BYTES))
            if not isinstance(request, dict):
                return _refusal("a request is a JSON object on one line")
            return {"ok": True, **self._handle({**request, "uid": _uid_of(connection)})}
        except (ValueError, RecursionError):
            return _refusal("a request is a JSON object on one line")
        except EdgeAgentError as error:
            return _refusal(error.message, error.hint)
        except Exception:
            # The thread's boundary: the next request must find somebody listening.
            log.exception("control_failed")
            return _refusal("the agent failed at this, see its log")


def ask(path: Path, request: Answer, *, timeout_s: float = ANSWER_TIMEOUT_S) -> Answer:
    """Returns the running agent's answer to a request.

    Args:
        path: The agent's socket.
        request: What is wanted, its name under `do`.
        timeout_s: How long the answer may take, in seconds.

    Raises:
        AgentUnreachable: No agent listens there, or it did not answer in time.
        RequestRefused: It answered that it will not, and why.
    """
    try:
        with _address(path) as address, socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(timeout_s)
            connection.connect(address)
            connection.sendall(_line(request))
            answer = json.loads(_read_line(connection, MAX_ANSWER_BYTES))
    except TimeoutError as error:
        raise AgentUnreachable(
            f"the agent did not answer within {timeout_s:g} s", hint="see its log, then ask again"
        ) from error
    except (OSError, ValueError) as error:
        raise AgentUnreachable(f"no agent answers at {path}", hint=NOT_RUNNING) from error
    if not answer.pop("ok", False):
        raise RequestRefused(str(answer.get("error", "refused")), hint=str(answer.get("hint", "")))
    return dict(answer)


def _uid_of(connection: socket.socket) -> int:
    """Returns the user at the other end, as the system knows him; unix(7), SO_PEERCRED."""
    size = struct.calcsize(_CREDENTIALS)
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    return int(struct.unpack(_CREDENTIALS, credentials)[1])


def _refusal(error: str, hint: str = "") -> Answer:
    return {"ok": False, "error": error, "hint": hint}


def _line(document: Answer) -> bytes:
    return json.dumps(document, separators=(",", ":"), default=str).encode() + b"\n"


def _read_line(connection: socket.socket, limit: int) -> bytes:
    """Returns what came up to the first line's end.

    Raises:
        ValueError: It is longer than allowed, or ended within the line.
    """
    found = bytearray()
    while not found.endswith(b"\n"):
        piece = connection.recv(min(limit, 65_536))
        if not piece or len(found) + len(piece) > limit:
            msg = "no whole line"
            raise ValueError(msg)
        found += piece
    return bytes(found)


@contextmanager
def _address(path: Path) -> Iterator[str]:
    """Yields an address of a socket, however deep its folder lies."""
    if len(os.fsencode(path)) <= MAX_ADDRESS_BYTES:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
