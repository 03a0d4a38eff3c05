"""Repeated, late and disordered events, and a loaded machine: the outcome stays the same."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import randbits
from typing import Final

import pytest

from edge_agent.replay.stream import LATENESS_S
from tests.e2e.crash import run_with_kills
from tests.e2e.state_dump import STATE, Dump, differences
from tests.e2e.store import Outcome, unbroken
from tests.e2e.stream import morning, with_last_ticks

pytestmark = pytest.mark.broker

REPEATED: Final = 0.05
STATE_SUMMARIES: Final = ("footfall", "dwell", "sales")
"""Summaries of what was so, in any order. The funnel is of what was decided: the test below."""
KILLS: Final = 8
BURNERS: Final = 2
"""Busy processes beside the agent."""


def test_repeated_events_change_nothing(
    tmp_path: Path, unbroken_morning: Outcome, *, baskets: int
) -> None:
    """With one event in twenty coming twice, all tables, decisions and HQ's rows are the same."""
    found = unbroken(tmp_path, morning(baskets=baskets, duplicates=REPEATED))
    told = unbroken_morning.differences(found)
    assert not told, "\n".join(told)


def test_disordered_events_change_neither_state_nor_summaries(
    tmp_path: Path, unbroken_morning: Outcome, *, baskets: int
) -> None:
    """Events late by up to 5 s, in another order, make the same state and the same summaries."""
    found = unbroken(tmp_path, morning(baskets=baskets, shuffle=True))
    told = differences(unbroken_morning.state, found.state, tables=STATE)
    told += differences(summaries(unbroken_morning.hq), summaries(found.hq))
    assert not told, "\n".join(told)


def test_held_back_disorder_changes_nothing_at_all(
    tmp_path: Path, unbroken_morning: Outcome, *, baskets: int
) -> None:
    """An agent that waits as long as events are late decides and reports as over a perfect link.

    All tables, all decisions' records and all of HQ's rows are those of the clean morning that an
    agent which waits for nothing took in.
    """
    disordered = with_last_ticks(morning(baskets=baskets, shuffle=True, duplicates=REPEATED))
    found = unbroken(tmp_path, disordered, hold_back_s=LATENESS_S)
    told = unbroken_morning.differences(found)
    assert not told, "\n".join(told)
    assert found.records == unbroken_morning.records


def test_killed_agent_that_holds_back_ends_where_an_unbroken_one_does(
    tmp_path: Path, unbroken_morning: Outcome, *, baskets: int
) -> None:
    """What it held when it was killed comes again: a disordered morning still changes nothing."""
    disordered = with_last_ticks(morning(baskets=baskets, shuffle=True))
    seed = randbits(32)
    print(f"crash seed {seed}")
    run = run_with_kills(tmp_path, disordered, n_kills=KILLS, seed=seed, hold_back_s=LATENESS_S)
    told = unbroken_morning.differences(run.outcome)
    assert not told, f"seed {seed}\n" + "\n".join(told)


def test_same_morning_gives_the_same_records_on_a_loaded_machine(
    tmp_path: Path, unbroken_morning: Outcome, *, baskets: int
) -> None:
    """Day and seed alone make the decisions' records, byte for byte."""
    with burning():
        found = unbroken(tmp_path, morning(baskets=baskets))
    assert found.records
    assert found.records == unbroken_morning.records


def summaries(hq: Dump) -> Dump:
    """HQ's rows of the summaries that tell what was so."""
    return {
        table: Counter({row: n for row, n in hq[table].items() if _is_of_state(row)})
        for table in ("summaries", "cell_values")
    }


def _is_of_state(row: str) -> bool:
    return json.loads(row)["kind"] in STATE_SUMMARIES


@contextmanager
def burning() -> Iterator[None]:
    """Keeps the processors busy for the length of a block."""
    burners = [
        subprocess.Popen([sys.executable, "-c", "while True: sum(range(10_000))"])
        for _ in range(BURNERS)
    ]
    try:
        yield
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()
