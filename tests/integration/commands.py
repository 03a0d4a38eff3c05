"""Commands of `edge-agent`, each a process of its own that need not import everything anew.

Importing is most of what a short command takes of a processor. So it is done once, and every
command is forked from there: its memory, its streams, its exit code are its own, and it ends as a
process does. How one starts from nothing is for the tests that start Python themselves.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_SERVER: Final = Path(__file__).with_name("command_server.py")
_REPLY_BYTES: Final = 100
_TIMEOUT_S: Final = 120.0


def ran(
    *arguments: str | Path,
    typed: str | bytes = "",
    environment: Mapping[str, str] | None = None,
    timeout_s: float = _TIMEOUT_S,
    broken: str = "",
) -> subprocess.CompletedProcess[str]:
    """Returns how a command ended and what it said, given what is piped into it.

    Args:
        arguments: The command's words.
        typed: What is piped into it.
        environment: Its environment; by default the test's.
        timeout_s: Seconds after which it is killed.
        broken: A `module:name` of ours that this command finds to be nothing: a fault.
    """
    words = [str(each) for each in arguments]
    asked = {
        "arguments": words,
        "folder": str(Path.cwd()),
        "environment": {**(os.environ if environment is None else environment)},
        "broken": broken,
    }
    with (
        tempfile.TemporaryFile() as stdin,
        tempfile.TemporaryFile() as stdout,
        tempfile.TemporaryFile() as stderr,
    ):
        stdin.write(typed.encode() if isinstance(typed, str) else typed)
        stdin.seek(0)
        code = _server().run(asked, [stdin.fileno(), stdout.fileno(), stderr.fileno()], timeout_s)
        stdout.seek(0)
        stderr.seek(0)
        return subprocess.CompletedProcess(
            ["edge-agent", *words], code, stdout.read().decode(), stderr.read().decode()
        )


class _Server:
    """The process that forks them, one after the other."""

    def __init__(self) -> None:
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(_SERVER), str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )

    def run(self, asked: object, streams: list[int], timeout_s: float) -> int:
        """Returns a command's exit code; kills one that does not end."""
        self._channel.settimeout(None)
        socket.send_fds(self._channel, [json.dumps(asked).encode()], streams)
        pid = int(self._channel.recv(_REPLY_BYTES))
        self._channel.settimeout(timeout_s)
        try:
            return int(self._channel.recv(_REPLY_BYTES))
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
            self._channel.settimeout(None)
            self._channel.recv(_REPLY_BYTES)
            raise

    def stop(self) -> None:
        """Ends it."""
        self._channel.close()
        self._process.wait()


@functools.cache
def _server() -> _Server:
    server = _Server()
    atexit.register(server.stop)
    return server
