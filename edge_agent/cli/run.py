"""`edge-agent run`: the agent in the foreground, as systemd runs it."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated

import typer

from edge_agent import config as configuration
from edge_agent.shell import logs

ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", help="The agent's TOML file.", show_default=True)
]
DEFAULT_CONFIG = Path("/etc/edge-agent/agent.toml")


def run(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Run the agent in the foreground until it gets SIGTERM or SIGINT.

    Example: edge-agent run --config provisioning/agent.example.toml
    """
    # Imported here, so that `--help` and the small commands do not load the model runtime.
    from edge_agent.app import Agent  # noqa: PLC0415

    loaded = configuration.load(config)
    logs.set_up(loaded.log_level)
    agent = Agent(loaded)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: agent.stopping.set())
    agent.run()
