"""Opening the database: pragmas, check, migrations, backup. One writer, the rest read-only."""

from __future__ import annotations

import errno
import os
import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Final

from edge_agent.errors import (
    AS_THE_AGENT,
    SchemaTooNew,
    StoreBusy,
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreRefused,
    refusal_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# The newest of `shell.schema`'s migrations; a database of a higher version is refused.
SCHEMA_VERSION: Final = 32
# Small pages keep small commits small; measured against 4096: a third of the bytes an event.
PAGE_BYTES: Final = 1_024
# 4 MiB of log before it is folded back: each checkpoint costs two syncs.
CHECKPOINT_PAGES: Final = 4_096
JOURNAL_LIMIT_BYTES: Final = 8 * 1_024 * 1_024
# The pages that are written again and again are few; the kernel caches the rest.
CACHE_KIB: Final = 2_048
BUSY_TIMEOUT_MS: Final = 5_000

_SET_ASIDE: Final = "the agent sets it aside and starts anew from its second copy"
_SYNCHRONOUS: Final = {"power-loss": "FULL", "process-crash": "NORMAL"}


def open_for_writing(path: Path, *, durability: str = "power-loss") -> sqlite3.Connection:
    """Opens the database as its one writer, creating or migrating it as needed.

    Raises:
        SchemaTooNew: A newer version of the agent wrote it.
        StoreCorrupt: It is damaged.
        StoreError: It cannot be opened.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    is_new = not path.exists() or path.stat().st_size == 0
    try:
        connection = _connect(path)
        _set_pragmas(connection, durability=durability)
        if not is_new:
            _refuse_newer(connection, path)
            _check(connection, path)
        _migrate(connection, path, is_new=is_new)
    except sqlite3.Error as error:
        rot = None if is_new else rot_of(error, path)
        raise rot or store_error(error, path) from error
    except ValueError as error:
        # Its own tables' text is not text any more, or its version no number.
        raise StoreCorrupt(f"{path}: {error}", hint=_SET_ASIDE) from error
    return connection


def open_for_reading(path: Path) -> sqlite3.Connection:
    """Opens the database read-only, beside a running agent.

    Raises:
        StoreError: There is no database, or it may not be read.
    """
    _refuse_unreadable(path)
    try:
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)
        connection.row_factory = sqlite3.Row
        connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        connection.execute("SELECT 1 FROM meta LIMIT 1")
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", "") or ""
        if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN")):
            # Reading wants files beside it, which only a running agent, or its user, makes.
            raise StoreError(f"{path}: {error}", hint=AS_THE_AGENT) from error
        raise store_error(error, path) from error
    return connection


def _refuse_unreadable(path: Path) -> None:
    try:
        # Not `exists`: it raises where a folder on the way may not be looked into.
        path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        hint = "has the agent run with this state folder?"
        raise StoreError(f"no database at {path}", hint=hint) from error
    except OSError as error:
        refused = refusal_of(error)
        hint = "see edge-agent doctor" if refused is None else refused.hint
        raise StoreError(f"{path}: {error.strerror}", hint=hint) from error
    # Asked, not opened: closing the file again would let go of this process's locks on it.
    if not os.access(path, os.R_OK):
        raise StoreError(f"{path}: {os.strerror(errno.EACCES)}", hint=AS_THE_AGENT)


def store_error(error: sqlite3.Error, path: Path) -> StoreError:
    """Returns our error for one of SQLite's."""
    name = getattr(error, "sqlite_errorname", "") or ""
    if name.startswith(("SQLITE_FULL", "SQLITE_IOERR")):
        return StoreFull(f"{path}: {error}", hint="free space on the disk, or check the card")
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return StoreBusy(f"{path}: {error}", hint="is another agent running on this state folder?")
    # Python's own word for a text that is none any more comes without a name of SQLite's.
    is_no_text = str(error).startswith("Could not decode to UTF-8")
    if is_no_text or name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return StoreCorrupt(f"{path}: {error}", hint=_SET_ASIDE)
    if name.startswith(("SQLITE_CONSTRAINT", "SQLITE_MISMATCH", "SQLITE_TOOBIG")):
        return StoreRefused(f"{path}: {error}", hint="see edge-agent doctor")
    return StoreError(f"{path}: {error}", hint="see edge-agent doctor")


def rot_of(error: sqlite3.Error, path: Path) -> StoreCorrupt | None:
    """Returns what an error says of a database that was ours once; None if it is sound."""
    found = store_error(error, path)
    if isinstance(found, StoreCorrupt):
        return found
    # SQL of ours that was never wrong is wrong now: a table or a column has lost its name.
    is_our_sql = getattr(error, "sqlite_errorname", "") == "SQLITE_ERROR"
    return StoreCorrupt(found.message, hint=_SET_ASIDE) if is_our_sql else None


@contextmanager
def reading_own_rows(path: Path) -> Iterator[None]:
    """Takes rows of ours that make no sense for a damaged database.

    Raises:
        StoreCorrupt: A text, number or key in them is not what the agent ever wrote.
    """
    try:
        yield
    except (ValueError, LookupError, TypeError, ArithmeticError) as error:
        what = f"{path}: it holds a row that cannot be read ({type(error).__name__})"
        raise StoreCorrupt(what, hint=_SET_ASIDE) from error


def _connect(path: Path) -> sqlite3.Connection:
    # Handed from the thread that opens it to the one that runs the road; never used by two.
    return sqlite3.connect(
        path, isolation_level=None, check_same_thread=False, cached_statements=256
    )


def _set_pragmas(connection: sqlite3.Connection, *, durability: str) -> None:
    for pragma in (
        f"page_size = {PAGE_BYTES}",
        "journal_mode = WAL",
        f"synchronous = {_SYNCHRONOUS[durability]}",
        "secure_delete = ON",
        "foreign_keys = ON",
        f"busy_timeout = {BUSY_TIMEOUT_MS}",
        f"journal_size_limit = {JOURNAL_LIMIT_BYTES}",
        f"wal_autocheckpoint = {CHECKPOINT_PAGES}",
        f"cache_size = -{CACHE_KIB}",
        "temp_store = MEMORY",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _refuse_newer(connection: sqlite3.Connection, path: Path) -> None:
    version = _schema_version(connection)
    if version > SCHEMA_VERSION:
        (n_applied,) = connection.execute("SELECT count(*) FROM _sqlite_migrations").fetchone()
        if n_applied <= SCHEMA_VERSION:
            raise StoreCorrupt(
                f"{path} says that it has schema {version}, and has not", hint=_SET_ASIDE
            )
        raise SchemaTooNew(
            f"{path} has schema {version}, this agent knows {SCHEMA_VERSION}",
            hint="install the newer agent again, or restore the backup beside the database",
        )


def _schema_version(connection: sqlite3.Connection) -> int:
    try:
        row = connection.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchone()
    except sqlite3.OperationalError:
        return 0
    return 0 if row is None else int(row[0])


def _check(connection: sqlite3.Connection, path: Path) -> None:
    found = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found is None or found[0] != "ok":
        raise StoreCorrupt(
            f"{path} is damaged: {found[0] if found else 'no answer'}",
            hint=_SET_ASIDE,
        )


def _migrate(connection: sqlite3.Connection, path: Path, *, is_new: bool) -> None:
    if _schema_version(connection) == SCHEMA_VERSION:
        return
    if not is_new:
        _back_up(connection, path)
    # Imported only when there is something to migrate: it is 8 MiB that a running agent spares.
    from edge_agent.shell.schema import migrate  # noqa: PLC0415

    migrate(connection)


def _back_up(connection: sqlite3.Connection, path: Path) -> None:
    version = _schema_version(connection)
    target = path.with_name(f"{path.name}.schema-{version}.bak")
    partial = target.with_name(target.name + ".partial")
    with closing(sqlite3.connect(partial)) as copy:
        connection.backup(copy)
    descriptor = os.open(partial, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
    partial.rename(target)
