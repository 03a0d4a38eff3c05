"""Links are looked up through an index: as fast among a million visitors as among ten."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent.shell import state_store
from edge_agent.shell.sqlite_db import open_for_writing


@pytest.mark.parametrize("name", ["_LINKS_TO", "_LINKS_OF"])
def test_a_lookup_goes_straight_to_its_own_links(name: str, tmp_path: Path) -> None:
    """No plan walks through the links of others, which all have the kind in common."""
    query = vars(state_store)[name]
    connection = open_for_writing(tmp_path / "state.db", durability="process-crash")
    arguments = ("v1",) * query.count("?")
    steps = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}", arguments)]
    connection.close()
    assert all(
        "(visitor=?)" in each or "pseudonym=?" in each or "(id=?)" in each for each in steps
    )
