"""Links are looked up through an index: as fast among a million visitors as among ten."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Final

import pytest

from edge_agent.shell import statements, visitor_book
from edge_agent.shell.sqlite_db import open_for_writing

_MADE: Final = ("CO-ROUTINE", "MATERIALIZE")


@pytest.mark.parametrize("name", ["_LINKS_TO", "_LINKS_OF"])
def test_a_lookup_goes_straight_to_its_own_links(name: str, tmp_path: Path) -> None:
    """No plan walks through the links of others, which all have the kind in common."""
    query = vars(visitor_book)[name]
    connection = open_for_writing(tmp_path / "state.db", durability="process-crash")
    arguments = ("v1",) * query.count("?")
    steps = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}", arguments)]
    connection.close()
    assert all(
        "(visitor=?)" in each or "pseudonym=?" in each or "(id=?)" in each for each in steps
    )


def test_a_statement_is_sealed_without_reading_those_of_others(tmp_path: Path) -> None:
    """What the second copy asks for at each commit walks through nothing but what was asked."""
    connection = open_for_writing(tmp_path / "state.db", durability="process-crash")
    query = f"EXPLAIN QUERY PLAN {statements._SOME}"
    steps = [row[3] for row in connection.execute(query, ("[]",))]
    connection.close()
    assert not [each for each in steps if each.endswith("(kind=?)")]
    made = Counter(each.split()[1] for each in steps if each.startswith(_MADE))
    made["a"] = made["asked"]
    walked = Counter(each.split()[1] for each in steps if each.startswith("SCAN"))
    for handed_in in ("json_each", "j", "CONSTANT"):
        del walked[handed_in]
    assert not walked - made, "a table is walked through, and not what the query itself made"
