"""The demo's agent: a process started as on a gateway, watched, measured and ended."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import IO, Final, Self

from edge_agent.errors import EdgeAgentError

STOP_S: Final = 30.0
"""So long the agent may take to finish its batch and close its database."""
LOG_LINES_SHOWN: Final = 5
_KIB: Final = 1024
_PEAK: Final = "VmHWM:"


class AgentProcess:
    """`edge-agent run` as a child that ends with the block.

    Args:
        config: Its configuration.
        log: Where its standard error goes; appended to.
    """

    def __init__(self, *, config: Path, log: Path) -> None:
        self._config = config
        self._log = log
        self._file: IO[bytes] | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self.peak_bytes = 0

    def __enter__(self) -> Self:
        self._file = self._log.open("ab")
        # `-P`: the installed package, wherever the demo was started.
        module = ("-P", "-m", "edge_agent", "run")
        command = [sys.executable, *module, "--config", str(self._config)]
        # A session of its own: Ctrl-C is for the demo, which then ends the agent in order.
        self._child = subprocess.Popen(  # noqa: S603 - our own program
            command,
            stdin=subprocess.DEVNULL,
            stdout=self._file,
            stderr=self._file,
            start_new_session=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        child, file = self._child, self._file
        if child is not None and child.poll() is None:
            child.kill()
            child.wait()
        if file is not None:
            file.close()

    def check(self) -> None:
        """Returns while the agent runs.

        Raises:
            EdgeAgentError: It has ended.
        """
        if self._child is not None and self._child.poll() is not None:
            raise EdgeAgentError(
                f"the agent ended with code {self._child.returncode}:\n{self._last_words()}",
                hint="run again with --state DIR and look at DIR/agent.log",
            )

    def stop(self) -> None:
        """Notes the agent's peak of memory and ends it as systemd does.

        Raises:
            EdgeAgentError: It does not end, or not with code 0.
        """
        self.check()
        child = self._child
        if child is None:
            return
        self.peak_bytes = _peak_bytes(child.pid)
        child.terminate()
        try:
            child.wait(STOP_S)
        except subprocess.TimeoutExpired as error:
            raise EdgeAgentError(
                f"the agent did not end within {STOP_S:.0f} s of SIGTERM",
                hint="run again with --state DIR and look at DIR/agent.log",
            ) from error
        if child.returncode != 0:
            self.check()

    def _last_words(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(f"  {line}" for line in lines[-LOG_LINES_SHOWN:])


def _peak_bytes(pid: int) -> int:
    """Returns the most memory that a process ever had resident; 0 where there is no /proc."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return 0
    kib = next((line.split()[1] for line in status.splitlines() if line.startswith(_PEAK)), "0")
    return int(kib) * _KIB
