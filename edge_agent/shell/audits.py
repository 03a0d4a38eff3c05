"""The trail of what was done with persons' data at their wish: who, when, what, never whose."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

from edge_agent.domain.time import rfc3339_from_ms
from edge_agent.shell.sqlite_db import open_for_reading

if TYPE_CHECKING:
    from pathlib import Path

_READ: Final = "SELECT at_ms, uid, act, outcome FROM audit ORDER BY id DESC LIMIT ?"


def read_audits(path: Path, *, limit: int) -> list[dict[str, Any]]:
    """Returns the newest acts, newest first.

    Raises:
        StoreError: There is no database, or it cannot be read.
    """
    with closing(open_for_reading(path)) as connection:
        rows = connection.execute(_READ, (limit,)).fetchall()
    return [
        {"at": rfc3339_from_ms(int(at_ms)), "uid": uid, "act": act, "outcome": outcome}
        for at_ms, uid, act, outcome in rows
    ]
