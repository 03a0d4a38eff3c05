"""Erasing one person from the database, its log, its free pages and the copies beside it.

Deleting is not erasing: a deleted row stays in the write-ahead log until that is cut, and a part
of it may stay on a page from which it was moved. So after the deletion is committed the log is
folded back and cut, the file is searched for what was deleted, and rewritten if any is left. A
mark in the database says that this is still to be done, so that an end in between is made good
at the next start. It does not say of whom.
"""

from __future__ import annotations

import json
import os
import sqlite3
from typing import TYPE_CHECKING, Final

from edge_agent.domain.time import DAY_MS, HOUR_MS
from edge_agent.errors import StoreBusy
from edge_agent.shell.sqlite_db import BUSY_TIMEOUT_MS
from edge_agent.sync.privacy import REVISIONS_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from edge_agent.shell.person import Person
    from edge_agent.shell.rows import Row

    Query = Callable[[str, Row], list[Row]]
    Statement = tuple[str, Row]

# While this stands in `meta`, something was deleted that may still be on the disk.
UNFINISHED: Final = "erasing"
# Whatever mappings remember for no longer than this may be of people.
OF_PEOPLE_MS: Final = 7 * DAY_MS
_SEARCH_BYTES: Final = 1_048_576
# Copies of the database that the agent made itself: before a migration, and of a damaged file.
_COPIES: Final = ("*.bak", "*.bak.partial", "*.damaged")
# Messages to the store that tell of him, or what he told.
_UNSENT: Final = (
    "link = 'store' AND (visitor IN (SELECT value FROM json_each(?1)) OR CASE"
    " WHEN json_valid(CAST(payload AS TEXT))"
    " THEN json_extract(CAST(payload AS TEXT), '$.decision') END IN"
    " (SELECT value FROM json_each(?2)))"
)


def unsent_of(person: Person, query: Query) -> frozenset[int]:
    """Returns which messages to the store tell of a person and wait for its broker."""
    asked = (json.dumps(person.visitors), json.dumps(person.decisions))
    rows = query(f"SELECT id FROM outbox WHERE {_UNSENT}", asked)  # noqa: S608 - of ours
    return frozenset(int(row_id) for (row_id,) in rows)


def statements_for(
    person: Person, *, query: Query, words: Iterable[str], period_ms: int
) -> list[Statement]:
    """Returns what deletes a person, for the transaction that his erasure is.

    Args:
        person: Whose rows go.
        query: Runs literal SQL.
        words: The identifier as it was given, in every spelling; only ever compared.
        period_ms: Length of a summary's period.
    """
    visitors, visits = json.dumps(person.visitors), json.dumps(person.visits)
    baskets, decisions = json.dumps(person.baskets), json.dumps(person.decisions)
    periods = json.dumps(_periods(person, query, period_ms))
    frozen = json.dumps([{}] * REVISIONS_MAX)
    return [
        # What was promised holds; that it was he to whom, and that he used it, goes.
        (
            "UPDATE offer SET decision = NULL, visitor = NULL, basket = NULL, redeemed_by ="
            " iif(redeemed_at_ms IS NULL, NULL, '') WHERE visitor IN"
            " (SELECT value FROM json_each(?1)) OR decision IN (SELECT value FROM json_each(?2))",
            (visitors, decisions),
        ),
        (
            "UPDATE offer SET basket = NULL, redeemed_by = '' WHERE basket IN"
            " (SELECT value FROM json_each(?1))",
            (baskets,),
        ),
        ("DELETE FROM outcome WHERE decision IN (SELECT value FROM json_each(?1))", (decisions,)),
        ("DELETE FROM decision WHERE id IN (SELECT value FROM json_each(?1))", (decisions,)),
        # Also what counts to whoever he was only taken for.
        (
            "DELETE FROM campaign_told WHERE visitor IN (SELECT value FROM json_each(?1))"
            " OR whose IN (SELECT value FROM json_each(?1))",
            (visitors,),
        ),
        (
            "DELETE FROM exposure WHERE visitor IN (SELECT value FROM json_each(?1))"
            " OR member IN (SELECT value FROM json_each(?1))",
            (visitors,),
        ),
        ("DELETE FROM mark WHERE visit IN (SELECT value FROM json_each(?1))", (visits,)),
        ("DELETE FROM zone_stay WHERE visit IN (SELECT value FROM json_each(?1))", (visits,)),
        ("DELETE FROM visit WHERE id IN (SELECT value FROM json_each(?1))", (visits,)),
        *(
            ("DELETE FROM alert WHERE cause >= ? AND cause < ?", (f"dwell-{v}-", f"dwell-{v}."))
            for v in person.visits
        ),
        ("DELETE FROM help_call WHERE visitor IN (SELECT value FROM json_each(?1))", (visitors,)),
        # A sale of his that another's card was shown with: nobody's profile names its basket.
        (
            "UPDATE visitor SET profile = json_set(profile, '$.purchases', (SELECT"
            " json_group_array(json(p.value)) FROM json_each(profile, '$.purchases') p WHERE"
            " json_extract(p.value, '$[0]') NOT IN (SELECT value FROM json_each(?1))),"
            " '$.returns', (SELECT json_group_array(json(p.value)) FROM"
            " json_each(profile, '$.returns') p WHERE coalesce(json_extract(p.value, '$[2]'), '')"
            " NOT IN (SELECT value FROM json_each(?1))))"
            " WHERE profile IS NOT NULL AND id IN (SELECT json_extract(c.value, '$[1]')"
            " FROM basket b, json_each(b.cards) c WHERE b.id IN"
            " (SELECT value FROM json_each(?1)))",
            (baskets,),
        ),
        ("DELETE FROM basket WHERE id IN (SELECT value FROM json_each(?1))", (baskets,)),
        # Another's basket stays his; that this card was shown with it goes.
        (
            "UPDATE basket SET cards = (SELECT json_group_array(json(c.value)) FROM"
            " json_each(cards) c WHERE json_extract(c.value, '$[1]') NOT IN"
            " (SELECT value FROM json_each(?1))) WHERE id IN (SELECT value FROM json_each(?2))",
            (visitors, json.dumps(person.borrowed)),
        ),
        (
            "UPDATE basket SET member = json_extract(cards, '$[#-1][1]')"
            " WHERE id IN (SELECT value FROM json_each(?1))",
            (json.dumps(person.borrowed),),
        ),
        (
            "UPDATE basket SET shared = NULL WHERE shared IN (SELECT value FROM json_each(?1))",
            (visitors,),
        ),
        ("DELETE FROM showing WHERE visitor IN (SELECT value FROM json_each(?1))", (visitors,)),
        (
            "DELETE FROM link WHERE kind = 'visitor' AND pseudonym IN"
            " (SELECT value FROM json_each(?1))",
            (visitors,),
        ),
        ("DELETE FROM link WHERE visitor IN (SELECT value FROM json_each(?1))", (visitors,)),
        ("DELETE FROM visitor WHERE id IN (SELECT value FROM json_each(?1))", (visitors,)),
        (
            "DELETE FROM outbox WHERE link = 'hq' AND visitor IN"
            " (SELECT value FROM json_each(?1))",
            (visitors,),
        ),
        (f"DELETE FROM outbox WHERE {_UNSENT}", (visitors, decisions)),  # noqa: S608 - of ours
        # A period that he is part of is never told again: the difference would be he.
        (
            "UPDATE summary_watermark SET cells = json_set(cells, '$.digests', json('{}'),"
            " '$.earlier', json(?2)), is_dirty = 0 WHERE period_start_ms IN"
            " (SELECT value FROM json_each(?1)) AND json_valid(cells)",
            (periods, frozen),
        ),
        # What a refused message held, and what mappings remember of a day's people, cannot be told
        # apart by person: all of it goes.
        ("UPDATE dead_letter SET payload = NULL", ()),
        *(
            (
                "DELETE FROM dead_letter WHERE instr(lower(topic || ' ' || detail || ' ' ||"
                " coalesce(source, '') || ' ' || coalesce(event, '')), ?) > 0",
                (word.lower(),),
            )
            for word in words
        ),
        ("DELETE FROM mapping_state WHERE until_ms - updated_at_ms <= ?", (OF_PEOPLE_MS,)),
        ("INSERT OR REPLACE INTO meta (key, value) VALUES (?, '1')", (UNFINISHED,)),
    ]


def traces_of(person: Person) -> tuple[bytes, ...]:
    """Returns what must not be found in the database's file any more.

    Visits and decisions are left out: nothing tells whose they were once their rows are gone.
    """
    pseudonyms = (subject.pseudonym for subject in person.identifiers)
    texts = (*pseudonyms, *person.visitors, *person.baskets)
    return tuple(dict.fromkeys(text.encode() for text in texts))


def destroy_copies(database: Path) -> int:
    """Deletes the copies of the database that lie beside it; returns how many."""
    found = [path for form in _COPIES for path in database.parent.glob(f"{database.name}{form}")]
    for path in found:
        path.unlink(missing_ok=True)
    if found:
        _sync_folder(database.parent)
    return len(found)


def cut_log(connection: sqlite3.Connection) -> None:
    """Folds the write-ahead log into the file and cuts it; called by its one writer.

    Raises:
        StoreBusy: Somebody reads the database for long.
        sqlite3.Error: The disk did not take it.
    """
    # Events wait meanwhile: whoever reads now is waited for by asking again, not here.
    connection.execute("PRAGMA busy_timeout = 0")
    try:
        row = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    finally:
        connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    if row is not None and row[0] != 0:
        raise StoreBusy("the log could not be cut", hint="another program reads the database")


def rewrite(connection: sqlite3.Connection) -> None:
    """Writes the file anew, without anything that was deleted.

    Raises:
        StoreBusy: Somebody reads the database for long.
        sqlite3.Error: The disk did not take it.
    """
    connection.execute("VACUUM")
    cut_log(connection)


def has_any(path: Path, traces: tuple[bytes, ...]) -> bool:
    """Returns whether a file holds any of the texts; reads it piece by piece."""
    overlap = max((len(each) for each in traces), default=1) - 1
    with path.open("rb", buffering=0) as stream:
        kept = b""
        while piece := stream.read(_SEARCH_BYTES):
            whole = kept + piece
            if any(each in whole for each in traces):
                return True
            kept = whole[-overlap:] if overlap else b""
    return False


def _periods(person: Person, query: Query, period_ms: int) -> list[int]:
    """Returns the starts of the periods whose summaries he is part of."""
    spans = query(
        "SELECT started_at_ms, last_at_ms FROM visit WHERE id IN (SELECT value FROM json_each(?1))"
        " UNION ALL SELECT entered_at_ms, left_at_ms FROM zone_stay WHERE visit IN"
        " (SELECT value FROM json_each(?1))",
        (json.dumps(person.visits),),
    )
    spans += query(
        "SELECT first_at_ms, max(last_at_ms, coalesce(s.completed_at_ms, 0)) FROM basket"
        " LEFT JOIN sale s ON s.basket = id WHERE id IN (SELECT value FROM json_each(?1))",
        (json.dumps(person.baskets),),
    )
    spans += query(
        "SELECT at_ms, at_ms FROM decision WHERE id IN (SELECT value FROM json_each(?1))",
        (json.dumps(person.decisions),),
    )
    # The days whose summaries of campaigns' arms he is counted in.
    told = query(
        "SELECT DISTINCT told_ms FROM exposure WHERE told_ms IS NOT NULL AND"
        " (visitor IN (SELECT value FROM json_each(?1))"
        " OR member IN (SELECT value FROM json_each(?1)))",
        (json.dumps(person.visitors),),
    )
    starts = {int(start) for (start,) in told}
    for from_ms, to_ms in spans:
        # A visit that a wrong clock made endless is no reason to freeze a year.
        until_ms = min(int(to_ms), int(from_ms) + DAY_MS + HOUR_MS)
        starts.update(range(int(from_ms) - int(from_ms) % period_ms, until_ms + 1, period_ms))
    return sorted(starts)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
