"""Errors as an operator sees them: what is wrong, where, what to do; never a bare trace."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any

import typer

from edge_agent.errors import ConfigError, EdgeAgentError, described, refusal_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def shown(command: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a command whose expected errors are printed and become its exit code."""

    @wraps(command)
    def guarded(*arguments: Any, **options: Any) -> Any:
        try:
            return command(*arguments, **options)
        except EdgeAgentError as error:
            report(error)
            raise typer.Exit(error.exit_code) from error
        except OSError as error:
            refused = refusal_of(error)
            if refused is None:
                raise
            report(refused)
            raise typer.Exit(refused.exit_code) from error

    return guarded


@contextmanager
def named(option: str, path: Path, *, hint: str) -> Iterator[None]:
    """Tells what the system refuses as wrong use, with the place that was asked for.

    Raises:
        ConfigError: The system refused.
    """
    try:
        yield
    except OSError as error:
        raise ConfigError(f"{option} {path}: {error.strerror}", hint=hint) from error


def report(error: EdgeAgentError) -> None:
    """Prints an error, all its problems, and its hint to standard error."""
    sys.stderr.write(described(error))
