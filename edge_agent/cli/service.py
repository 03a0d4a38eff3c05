"""The agent as a process: configuration, logs, signals, run. No option parser is loaded here."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING, Final

from edge_agent import config as configuration
from edge_agent.app import Agent
from edge_agent.shell import logs

if TYPE_CHECKING:
    from pathlib import Path

SWITCH_INTERVAL_S: Final = 0.000_5


def serve(path: Path) -> None:
    """Runs the agent of a configuration file in this thread until SIGTERM or SIGINT.

    Raises:
        EdgeAgentError: It cannot start; the error says what to do.
    """
    # Each database call lets the network thread run; with Python's 5 ms it would keep the core
    # waiting longer than the call took.
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    loaded = configuration.load(path)
    logs.set_up(loaded.log_level)
    agent = Agent(loaded)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: agent.stopping.set())
    agent.run()
