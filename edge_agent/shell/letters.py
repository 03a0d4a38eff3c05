"""Dead letters as an operator sees them, read beside the agent: never what was in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge_agent.domain.time import rfc3339_from_ms
from edge_agent.shell.sqlite_db import open_for_reading

if TYPE_CHECKING:
    from pathlib import Path

_READ: Final = (
    "SELECT id, at_ms, reason, detail, topic, source, event, payload IS NOT NULL AND form = 1"
    " FROM dead_letter ORDER BY at_ms DESC, id LIMIT ?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownLetter:
    """A refused message: why, whose, and whether it can be tried again.

    Attributes:
        topic: Its topic; of a mapped one the mapping's filter.
        event: Id of the refused event, if it had one.
    """

    id: str
    received_at: str
    reason: str
    detail: str
    topic: str
    source: str | None
    event: str | None
    can_be_retried: bool


def read_letters(path: Path, *, limit: int) -> tuple[tuple[ShownLetter, ...], int]:
    """Returns the newest dead letters, newest first, and how many there are in all.

    Raises:
        StoreError: There is no database, or it cannot be read.
    """
    connection = open_for_reading(path)
    try:
        rows = connection.execute(_READ, (limit,)).fetchall()
        n_all = int(connection.execute("SELECT count(*) FROM dead_letter").fetchone()[0])
    finally:
        connection.close()
    shown = (
        ShownLetter(
            id=letter,
            received_at=rfc3339_from_ms(int(at_ms)),
            reason=reason,
            detail=detail,
            topic=topic,
            source=source,
            event=event,
            can_be_retried=bool(kept),
        )
        for letter, at_ms, reason, detail, topic, source, event, kept in rows
    )
    return tuple(shown), n_all
