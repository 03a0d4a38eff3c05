"""What was decided for a person's telephone stays his when the telephone itself is purged."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from edge_agent.domain.ids import Pseudonym
from edge_agent.domain.policy import Policy
from edge_agent.domain.store import Layout
from edge_agent.domain.visitor import Subject
from edge_agent.shell.person import find_person
from edge_agent.shell.sqlite_db import open_for_writing
from edge_agent.shell.state_store import StateStore

_LINK = (
    "INSERT INTO link (kind, pseudonym, visitor, since_ms, basis, source, confidence)"
    " VALUES (?, ?, ?, 1, ?, 'desk', 1.0)"
)
_DECISION = (
    "INSERT INTO decision (id, at_ms, moment, channel, level, items, popular, record, visitor,"
    " member) VALUES (?, 5, 'request', 'reply', 'model', '[]', '[]', '{}', ?, ?)"
)


@pytest.mark.parametrize("is_purged", [False, True])
def test_decisions_for_a_purged_telephone_are_found_with_its_person(
    tmp_path: Path, *, is_purged: bool
) -> None:
    """Visits may be kept for fewer days than decisions; nobody else's are found."""
    card = Subject(kind="loyalty", pseudonym=Pseudonym("card"))
    with closing(open_for_writing(tmp_path / "state.db")) as connection:
        for visitor, kind in (("x", "ble"), ("p", "loyalty"), ("y", "ble"), ("q", "loyalty")):
            connection.execute("INSERT INTO visitor VALUES (?, ?, 1, 2, NULL)", (visitor, kind))
        connection.execute(_LINK, ("loyalty", "card", "p", "own"))
        for phone, person in (("x", "p"), ("y", "q")):
            connection.execute(_LINK, ("visitor", phone, person, "app"))
            connection.execute(_DECISION, (f"for-{phone}", phone, person))
        if is_purged:
            connection.execute("DELETE FROM visitor WHERE kind = 'ble'")
        state = StateStore(connection, layout=Layout(), departments={})

        def query(sql: str, row: tuple[object, ...]) -> list[tuple[object, ...]]:
            return [tuple(each) for each in connection.execute(sql, row)]

        his = find_person(query, (card,), state=state, policy=Policy())
    assert his.decisions == ("for-x",)
