"""What campaigns do in this store, from what was told of their arms."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from edge_agent.domain.uplift import Uplift, uplifts_of
from edge_agent.sync.uplift import figures_of
from edge_agent.wire.summaries import SummaryCell

if TYPE_CHECKING:
    import sqlite3


def read_uplifts(connection: sqlite3.Connection) -> tuple[Uplift, ...]:
    """Returns the uplift of each campaign with a control group; empty where there is none.

    It rests on what HQ is told, no arm of fewer than k visitors among it.
    """
    # A database of before this version has none until its agent has started.
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'trial'").fetchone():
        return ()
    cells = (
        SummaryCell.model_validate_json(json.dumps(cell))
        for (text,) in connection.execute("SELECT cells FROM trial ORDER BY period_start_ms")
        for cell in json.loads(text)
    )
    return uplifts_of(figures_of(cells))
