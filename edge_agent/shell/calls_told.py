"""How calls for help went of late, by the team that was called first: for the operator."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Final

from edge_agent.domain.time import DAY_MS, SECOND_MS

if TYPE_CHECKING:
    import sqlite3

# A day tells how it goes now; a team's weeks would tell of its people.
TOLD_MS: Final = DAY_MS
_CALLS: Final = (
    "SELECT teams, opened_at_ms, acknowledged_at_ms, outcome FROM help_call"
    " WHERE closed_at_ms IS NULL OR opened_at_ms >="
    " (SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'now_ms') - ? ORDER BY id"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamCalls:
    """A team's calls of the last day, and those that are open.

    Attributes:
        escalated: How many were passed on to another team.
        acknowledged_s: Median time from a call to its first answer; None while none had one.
        outcomes: How many ended in which way.
    """

    team: str
    calls: int
    open: int
    escalated: int
    acknowledged_s: float | None
    outcomes: dict[str, int]


def read_calls(connection: sqlite3.Connection) -> tuple[TeamCalls, ...]:
    """Returns how calls went, by the team that each was made to first."""
    found: dict[str, list[tuple[int, int, int | None, str | None]]] = defaultdict(list)
    for teams, opened_ms, answered_ms, outcome in connection.execute(_CALLS, (TOLD_MS,)):
        asked = json.loads(teams)
        found[asked[0]].append((len(asked), opened_ms, answered_ms, outcome))
    return tuple(_of(team, found[team]) for team in sorted(found))


def _of(team: str, rows: list[tuple[int, int, int | None, str | None]]) -> TeamCalls:
    waits = [answered - opened for _, opened, answered, _ in rows if answered is not None]
    return TeamCalls(
        team=team,
        calls=len(rows),
        open=sum(outcome is None for *_, outcome in rows),
        escalated=sum(n_asked > 1 for n_asked, *_ in rows),
        acknowledged_s=median(waits) / SECOND_MS if waits else None,
        outcomes=dict(sorted(Counter(each for *_, each in rows if each is not None).items())),
    )
