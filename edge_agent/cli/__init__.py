"""The command line: one file per command, arguments in, exit code out.

Only the command that is asked for is imported: a gateway's agent must not carry the pages, the
replay and HQ in its memory.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Final

# Looking for plugins walks every installed package: a tenth of a second at each start.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
# One thread scores; the others that numpy would start only cost memory.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

if TYPE_CHECKING:
    import typer

# Command to the module of the same name that holds its function; in the order of `--help`.
COMMANDS: Final = (
    "run",
    "demo",
    "replay",
    "screens",
    "bridge",
    "check",
    "map",
    "status",
    "doctor",
    "tail",
    "explain",
    "schema",
)
# Commands with commands of their own: the module holds a Typer `app`.
GROUPS: Final = (
    "hq",
    "deadletter",
    "model",
    "policy",
    "keys",
    "privacy",
    "visitor",
    "conformance",
)


def command_line(*, only: str | None = None) -> typer.Typer:
    """Returns the command line; `only` names the one command that will be run."""
    import typer  # noqa: PLC0415 - after the environment is set

    from edge_agent.cli.errors import shown  # noqa: PLC0415

    app = typer.Typer(
        name="edge-agent",
        help="In-store personalisation at the edge: events in, recommendations out, only"
        " summaries to HQ.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
    )
    # With a callback a single command still has to be named.
    app.callback()(_described)
    for name in COMMANDS:
        if only in {None, name}:
            module = import_module(f"edge_agent.cli.{name}")
            app.command(name)(shown(getattr(module, name)))
    for name in GROUPS:
        if only in {None, name}:
            app.add_typer(import_module(f"edge_agent.cli.{name}").app, name=name)
    return app


def main() -> None:
    """Runs the command line."""
    asked = sys.argv[1] if len(sys.argv) > 1 else ""
    is_whole = len(sys.argv) == len(("edge-agent", "run", "--config", "FILE"))
    if asked == "run" and is_whole and sys.argv[2] in {"--config", "-c"}:
        _serve(sys.argv[3])
        return
    only = asked if asked in {*COMMANDS, *GROUPS} else None
    command_line(only=only)()


def _described() -> None:
    """In-store personalisation at the edge: events in, recommendations out, summaries to HQ."""


def _serve(config: str) -> None:
    # As systemd calls it: without the option parser, which a gateway would carry for years.
    from pathlib import Path  # noqa: PLC0415

    from edge_agent.cli.service import serve  # noqa: PLC0415
    from edge_agent.errors import EdgeAgentError, described, refusal_of  # noqa: PLC0415

    try:
        serve(Path(config))
    except EdgeAgentError as error:
        sys.stderr.write(described(error))
        sys.exit(error.exit_code)
    except OSError as error:
        refused = refusal_of(error)
        if refused is None:
            raise
        sys.stderr.write(described(refused))
        sys.exit(refused.exit_code)
