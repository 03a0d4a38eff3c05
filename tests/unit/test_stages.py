"""The stage of a customer: what his earlier baskets say, at the edges of each."""

from __future__ import annotations

from datetime import timedelta

import pytest

from edge_agent.domain.fact_names import FACT_NAMES
from edge_agent.domain.scoring import PastBasket
from edge_agent.domain.time import datetime_from_ms
from edge_agent.state.stages import STAGES, stage_of

NOW_MS = 1_772_445_600_000


def stage(*days_ago: float) -> str:
    """The stage of somebody who bought so many days ago."""
    now = datetime_from_ms(NOW_MS)
    history = [PastBasket(at=now - timedelta(days=days), products=()) for days in days_ago]
    return stage_of(history, now_ms=NOW_MS)


@pytest.mark.parametrize(
    ("days_ago", "wanted"),
    [
        ((), "new"),
        ((0,), "new"),
        ((29.99, 8, 1), "new"),
        ((30,), "occasional"),
        ((200, 89.99), "occasional"),
        ((200, 90), "lapsed"),
        ((400, 80, 60, 40, 20, 10), "occasional"),
        ((80, 70, 60, 40, 20, 10), "regular"),
        ((400, 90, 70, 60, 40, 20, 10), "occasional"),
        ((40, -1), "occasional"),
        ((-1,), "new"),
    ],
)
def test_a_stage_follows_from_when_somebody_bought(
    days_ago: tuple[float, ...], wanted: str
) -> None:
    """In any order, and what a wrong clock says of tomorrow counts for nothing."""
    assert stage(*days_ago) == stage(*reversed(days_ago)) == wanted


def test_a_condition_knows_every_stage() -> None:
    """A misspelt stage is found by the check."""
    assert FACT_NAMES["stage"].values == STAGES
