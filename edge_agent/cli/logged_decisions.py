"""Decisions with what became of them, as a database holds them.

Only those for somebody; only those whose answer can no longer come, because the visit has ended or
the time for it is over.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge_agent.domain.time import SECOND_MS

if TYPE_CHECKING:
    import sqlite3

_DECISIONS: Final = (
    "SELECT d.id, d.at_ms, d.record, v.ended_at_ms IS NOT NULL,"
    " (SELECT json_group_array(json_array(o.kind, o.product)) FROM outcome o"
    " WHERE o.decision = d.id), d.items = '[]' FROM decision d LEFT JOIN visit v ON v.id = d.visit"
    " WHERE d.visitor IS NOT NULL AND d.moment <> 'store_default'"
    " AND d.channel IN ('screen', 'receipt', 'reply') ORDER BY d.id"
)
_NEWEST: Final = (
    "SELECT max(coalesce((SELECT max(at_ms) FROM decision), 0),"
    " coalesce((SELECT max(completed_at_ms) FROM sale), 0))"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedDecision:
    """A decision.

    Attributes:
        record: Its text.
        outcomes: What became of it: kind and product.
        is_silent: Whether it named no product.
    """

    id: str
    record: str
    outcomes: tuple[tuple[str, str], ...]
    is_silent: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged:
    """All that a database holds.

    Attributes:
        from_ms: When the first that said something was taken; None without any.
        until_ms: When the last was.
        n_open: Others that said something, to which an answer may still come.
    """

    decisions: tuple[LoggedDecision, ...]
    from_ms: int | None
    until_ms: int | None
    n_open: int


def logged_in(connection: sqlite3.Connection, *, bought_within_s: int) -> Logged:
    """Returns the decisions whose answers are known.

    Args:
        connection: To the database.
        bought_within_s: How long a purchase counts as an answer.
    """
    (newest_ms,) = connection.execute(_NEWEST).fetchone()
    found: list[LoggedDecision] = []
    times: list[int] = []
    n_open = 0
    for row in connection.execute(_DECISIONS):
        decision, at_ms, record, is_over, outcomes, is_silent = row
        if not is_over and at_ms > newest_ms - bought_within_s * SECOND_MS:
            n_open += not is_silent
            continue
        times += () if is_silent else (at_ms,)
        found.append(
            LoggedDecision(
                id=str(decision),
                record=str(record),
                outcomes=tuple((str(kind), str(named)) for kind, named in json.loads(outcomes)),
                is_silent=bool(is_silent),
            )
        )
    return Logged(
        decisions=tuple(found),
        from_ms=min(times, default=None),
        until_ms=max(times, default=None),
        n_open=n_open,
    )
