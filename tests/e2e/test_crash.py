"""A killed agent loses nothing and does nothing twice: it ends where an unbroken one does."""

from __future__ import annotations

from pathlib import Path
from secrets import randbits
from typing import Final

import pytest

from tests.e2e.crash import run_with_kills
from tests.e2e.store import Outcome
from tests.e2e.stream import morning

pytestmark = pytest.mark.broker

KILLS: Final = 30
SOAK_KILLS: Final = 1_000
SOAK_KILLS_PER_MORNING: Final = 50
READY_P95_S: Final = 5.0


def test_killed_agent_ends_where_an_unbroken_one_does(
    tmp_path: Path, unbroken_morning: Outcome, *, soak: bool, baskets: int
) -> None:
    """State, decisions and HQ's rows are those of a run without kills; restarts are quick."""
    day = morning(baskets=baskets)
    n_mornings = SOAK_KILLS // SOAK_KILLS_PER_MORNING if soak else 1
    ready_s: list[float] = []
    for number in range(n_mornings):
        seed = randbits(32)
        print(f"crash seed {seed}")
        n_kills = SOAK_KILLS_PER_MORNING if soak else KILLS
        run = run_with_kills(tmp_path / str(number), day, n_kills=n_kills, seed=seed)
        ready_s += run.ready_s
        told = unbroken_morning.differences(run.outcome)
        assert not told, f"seed {seed}\n" + "\n".join(told)
    ready_s.sort()
    p95_s = ready_s[int(0.95 * (len(ready_s) - 1))]
    assert p95_s <= READY_P95_S, ready_s
