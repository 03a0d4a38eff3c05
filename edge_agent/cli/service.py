"""The agent as a process: configuration, logs, signals, run. No option parser is loaded here."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from edge_agent import config as configuration
from edge_agent.app import Agent
from edge_agent.shell import logs

if TYPE_CHECKING:
    from pathlib import Path


def serve(path: Path) -> None:
    """Runs the agent of a configuration file in this thread until SIGTERM or SIGINT.

    Raises:
        EdgeAgentError: It cannot start; the error says what to do.
    """
    loaded = configuration.load(path)
    logs.set_up(loaded.log_level)
    agent = Agent(loaded)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: agent.stopping.set())
    agent.run()
