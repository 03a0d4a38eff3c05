"""The agent as a process of its own: started as systemd does, killed as the kernel does."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.e2e.waiting import wait_for

# `-P`: not the checkout that pytest stands in, but the package that is installed.
AGENT: Final = (sys.executable, "-P", "-m", "edge_agent", "run")
PLANTED: Final = (sys.executable, "-m", "tests.e2e.planted")
STOP_S: Final = 20.0
SET_ASIDE: Final = "database_set_aside"
"""What it logs when it gives up a database and starts a new one."""
ESTABLISHED: Final = "01"
"""A connection's state in `/proc/net/tcp`."""


@dataclass(slots=True, kw_only=True)
class AgentProcess:
    """One agent on one configuration; may be started and ended any number of times.

    Attributes:
        config: Its TOML file.
        log: Where its standard error goes, all its lives one after the other.
        fault: The faults to plant, some of `planted.FAULTS` joined by `+`; None for none.
        under: A command line that the agent's is appended to, such as a tracer's.
    """

    config: Path
    log: Path
    fault: str | None = None
    under: Sequence[str] = ()
    _process: subprocess.Popen[bytes] | None = None
    _log_from: int = 0

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def command(self) -> list[str]:
        """Its command line."""
        program = AGENT if self.fault is None else (*PLANTED, self.fault)
        return [*self.under, *program, "-c", str(self.config)]

    def start(self) -> None:
        """Starts it; returns at once."""
        self.log.touch()
        self._log_from = self.log.stat().st_size
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )

    def wait_ready(self) -> float:
        """Returns, once it is subscribed, how many seconds that took."""
        began_s = time.monotonic()
        wait_for(
            lambda: b'"event": "ready"' in self._new_log(),
            f"the agent is ready; its log: {self.log}",
            while_true=lambda: self.is_alive,
        )
        return time.monotonic() - began_s

    def kill(self) -> None:
        """Ends it at once, as the kernel does when memory runs out."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Ends it in order, as systemd does."""
        self._end(signal.SIGTERM)

    def events(self) -> list[dict[str, Any]]:
        """Returns what it logged in all its lives."""
        found = []
        for line in self.log.read_text(errors="replace").splitlines():
            with suppress(ValueError):
                found.append(json.loads(line))
        return found

    def has_open(self, path: Path) -> bool:
        """Tells whether a file is open in it now."""
        return str(path.resolve()) in self._descriptors()

    def is_connected_to(self, port: int) -> bool:
        """Tells whether it has a connection to a port now."""
        sockets = self._descriptors()
        with suppress(OSError):
            for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
                _, _, remote, state, *_, inode = line.split()[:10]
                is_there = int(remote.rpartition(":")[2], 16) == port
                if is_there and state == ESTABLISHED and f"socket:[{inode}]" in sockets:
                    return True
        return False

    def _descriptors(self) -> set[str]:
        """Returns what its descriptors lead to; nothing once it has ended."""
        found = set()
        if self._process is not None:
            with suppress(OSError):
                for each in Path(f"/proc/{self._process.pid}/fd").iterdir():
                    with suppress(OSError):
                        found.add(str(each.readlink()))
        return found

    def _new_log(self) -> bytes:
        with self.log.open("rb") as log:
            log.seek(self._log_from)
            return log.read()

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(ProcessLookupError):
            process.send_signal(how)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
