"""Every error that this package raises on purpose.

    EdgeAgentError
    ├── ConfigError          a configuration file is wrong (all problems at once)
    ├── MappingError         a device mapping is wrong
    ├── StoreError           the database
    │   ├── StoreBusy        another process holds it        (transient)
    │   ├── StoreFull        no space left                   (transient)
    │   ├── StoreCorrupt     damaged beyond use
    │   └── SchemaTooNew     written by a newer version
    ├── BrokerError          an MQTT broker                  (transient)
    ├── BundleError          a model bundle is refused
    ├── AgentUnreachable     no running agent answers a command that asks it  (transient)
    ├── RequestRefused       the running agent will not do what a command asks
    ├── DataSetError         the replay's public data set is missing or not as expected
    └── HqError              the HQ receiver

Bad input is no error: it is a `DeadLetter` value. An error says what to do in `hint`.
"""

from __future__ import annotations

import errno
from typing import ClassVar, Final

AS_THE_AGENT: Final = "run it as the agent's user or with sudo"
"""What helps whoever may not read what is the agent's."""
AS_ITS_USER: Final = "run it as the user that may read it or with sudo"
"""What helps whoever may not read what is HQ's: no agent is there."""
NO_SUCH_NAME: Final = "give another path: the system takes no such name"
"""What helps where a path is none that could ever be."""
_NO_NAME: Final = frozenset({errno.ENAMETOOLONG, errno.ELOOP})


class EdgeAgentError(Exception):
    """Base of all; carries what an operator can do about it.

    Attributes:
        message: What is wrong, in one sentence.
        hint: What to do, in one sentence; empty when there is nothing to do.
    """

    is_transient: ClassVar[bool] = False
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ConfigError(EdgeAgentError):
    """A configuration file is wrong; `problems` lists every one, with its place."""

    exit_code: ClassVar[int] = 2

    def __init__(self, message: str, *, problems: tuple[str, ...] = (), hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.problems = problems


class MappingError(EdgeAgentError):
    """A device mapping is wrong."""


class StoreError(EdgeAgentError):
    """The database cannot do what was asked; `problem` is its name in the agent's state."""

    problem: ClassVar[str] = "database_failed"
    exit_code: ClassVar[int] = 3


class StoreBusy(StoreError):
    """Another process holds the database's lock."""

    problem: ClassVar[str] = "database_busy"
    is_transient: ClassVar[bool] = True


class StoreFull(StoreError):
    """No space is left for the database; nothing was taken in."""

    problem: ClassVar[str] = "disk_full"
    is_transient: ClassVar[bool] = True


class StoreRefused(StoreError):
    """The database takes a row in no transaction, whatever else is written."""


class StoreCorrupt(StoreError):
    """The database is damaged."""

    problem: ClassVar[str] = "database_damaged"


class SchemaTooNew(StoreError):
    """The database was written by a newer version of the agent."""


class BrokerError(EdgeAgentError):
    """A broker cannot be reached or refuses us."""

    is_transient: ClassVar[bool] = True
    exit_code: ClassVar[int] = 3


class BundleError(EdgeAgentError):
    """A model bundle is refused."""


class AgentUnreachable(EdgeAgentError):
    """No running agent answers a command that must ask it."""

    is_transient: ClassVar[bool] = True
    exit_code: ClassVar[int] = 3


class RequestRefused(EdgeAgentError):
    """The running agent will not do what a command asks."""


class DataSetError(EdgeAgentError):
    """The public data set that the replay reads is missing or not as expected."""

    exit_code: ClassVar[int] = 3


class HqError(EdgeAgentError):
    """The HQ receiver cannot do what was asked."""


def refusal_of(error: OSError, *, denied: str = AS_THE_AGENT) -> ConfigError | None:
    """Returns what the system refuses of a path as wrong use; None of any other trouble.

    Only what whoever typed a command can mend is told so: a connection that breaks, or a disk that
    fails, is no wrong use, and its trace is wanted.

    Args:
        error: What the system said.
        denied: What to do where it said that this user may not.
    """
    is_no_name = error.errno in _NO_NAME
    if error.filename is None or not (is_no_name or isinstance(error, PermissionError)):
        return None
    hint = NO_SUCH_NAME if is_no_name else denied
    return ConfigError(f"{error.filename}: {error.strerror}", hint=hint)


def described(error: EdgeAgentError) -> str:
    """Returns an error as an operator reads it: what, every place, what to do."""
    lines = [f"error: {error.message}"]
    if isinstance(error, ConfigError):
        lines += [f"  {problem}" for problem in error.problems]
    if error.hint:
        lines.append(f"hint: {error.hint}")
    return "\n".join(lines) + "\n"
