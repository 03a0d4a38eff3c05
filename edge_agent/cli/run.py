"""`edge-agent run`: the agent in the foreground, as systemd runs it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", help="The agent's TOML file.", show_default=True)
]
DEFAULT_CONFIG = Path("/etc/edge-agent/agent.toml")


def run(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Run the agent in the foreground until it gets SIGTERM or SIGINT.

    Example: edge-agent run --config provisioning/agent.example.toml
    """
    # Imported here, so that `--help` does not load the model runtime.
    from edge_agent.cli.service import serve  # noqa: PLC0415

    serve(config)
