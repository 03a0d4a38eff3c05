"""Errors as an operator sees them: what is wrong, where, what to do; never a bare trace."""

from __future__ import annotations

import sys
from functools import wraps
from typing import TYPE_CHECKING, Any

import typer

from edge_agent.errors import EdgeAgentError, described

if TYPE_CHECKING:
    from collections.abc import Callable


def shown(command: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a command whose expected errors are printed and become its exit code."""

    @wraps(command)
    def guarded(*arguments: Any, **options: Any) -> Any:
        try:
            return command(*arguments, **options)
        except EdgeAgentError as error:
            report(error)
            raise typer.Exit(error.exit_code) from error

    return guarded


def report(error: EdgeAgentError) -> None:
    """Prints an error, all its problems, and its hint to standard error."""
    sys.stderr.write(described(error))
