"""Many visitors in a database, as years of a shop leave them: rows put in at once, in bulk.

One in five is identified: he consented, has a profile of some baskets, and one telephone was
linked to him. Names follow from the numbers alone and lie scattered, as keyed hashes do.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from edge_agent.domain.time import DAY_MS, MINUTE_MS
from tests.bench.load import known_products

IDENTIFIED_EVERY: Final = 5
N_BASKETS: Final = 5
DAYS: Final = 300
_PUT: Final = {
    "visitor": "INSERT INTO visitor VALUES (?, ?, ?, ?, ?)",
    "link": "INSERT INTO link VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    "consent": (
        "INSERT INTO consent (visitor, purpose, stated_at_ms, granted, source)"
        " VALUES (?, 'profiling', ?, 1, 'desk')"
    ),
    "visit": "INSERT INTO visit VALUES (?, ?, ?, ?, ?, 'timeout', 0, '[]')",
    "basket": (
        "INSERT INTO basket (id, day, register, first_at_ms, last_at_ms, carrier, cards)"
        " VALUES (?, '2017-01-01', 'pos-9', ?, ?, ?, '[]')"
    ),
}


def stored(path: Path, *, n_visitors: int, until_ms: int) -> None:
    """Adds so many visitors of the days before an instant; the second copy is made anew.

    Without a seal and a second file the next start takes what the database has over, as it does
    after an update from a version that had neither.
    """
    with closing(sqlite3.connect(path)) as connection, connection:
        for table, statement in _PUT.items():
            connection.executemany(statement, _rows(table, n_visitors, until_ms))
        connection.execute("DELETE FROM seal")
        connection.execute("DELETE FROM meta WHERE key LIKE 'second_copy.%'")
    for second in path.parent.glob("*.second*"):
        second.unlink()


def _rows(table: str, n_visitors: int, until_ms: int) -> Iterator[tuple[Any, ...]]:
    profile = _profile(until_ms)
    for n in range(n_visitors):
        is_person = n % IDENTIFIED_EVERY == 0
        at_ms = until_ms - (n % DAYS) * DAY_MS
        name, hidden = _name(n), _hidden(n)
        if table == "visitor":
            kind = "loyalty" if is_person else "ble"
            yield (name, kind, at_ms, at_ms, profile if is_person else None)
        elif table == "link":
            kind = "loyalty" if is_person else "ble"
            yield (kind, hidden, name, at_ms, None, "seen", None, "", 1.0)
            if n % IDENTIFIED_EVERY == 1:
                person = _name(n - 1)
                yield ("visitor", name, person, at_ms, None, "consent", None, "pos-2", 1.0)
        elif table == "visit":
            yield (f"{name}-v", name, at_ms, at_ms + MINUTE_MS, at_ms + MINUTE_MS)
        elif is_person and table == "consent":
            yield (name, at_ms)
        elif is_person and table == "basket":
            yield (hidden, at_ms, at_ms, name)


def _name(number: int) -> str:
    digits = _hidden(number)
    return f"015f{digits[:4]}-{digits[4:8]}-7{digits[8:11]}-8{digits[11:14]}-{digits[14:26]}"


def _hidden(number: int) -> str:
    return hashlib.blake2b(str(number).encode(), digest_size=16).hexdigest()


def _profile(until_ms: int) -> str:
    products = known_products()
    history = [
        [until_ms - (N_BASKETS - n) * DAY_MS, sorted(products[n * 7 : n * 7 + 6])]
        for n in range(N_BASKETS)
    ]
    document = {"history": history, "interests": [], "reference": None, "segments": []}
    return json.dumps(document, sort_keys=True, separators=(",", ":"))
