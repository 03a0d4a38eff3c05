"""Events a second when each one asks for a recommendation, which is decided, kept and published.

Unidentified visitors with the same things in hand share an answer, which the agent remembers for
the hour. So both are measured: visitors with nothing in hand, whose answer is scored once, and
visitors who all hold other things, in an order in which no remembered answer is of use.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from tests.bench.load import ITEMS_IN_HAND, in_hand, screen_events
from tests.bench.measured import Aim, Measured
from tests.bench.setting import Setting
from tests.bench.throughput import Flood, measured

TITLE: Final = "Throughput, a recommendation on every event"
N_VISITORS: Final = 300
# Twice as many as the agent remembers answers for: asked in turn, none is remembered.
N_DIFFERENT: Final = 1_000
AIM: Final = Aim("least", 0.1)


def measure(setting: Setting) -> tuple[Measured, ...]:
    """Measures entries into a zone with a screen."""
    n_events = setting.sized(6_000, quick=2_000)
    n_anew = setting.sized(3_000, quick=1_000)
    shared = Flood(
        name="recommend-shared",
        n_events=n_events,
        asks=True,
        events=partial(screen_events, n_events=n_events, n_visitors=N_VISITORS),
    )
    n_before = N_DIFFERENT * ITEMS_IN_HAND
    anew = Flood(
        name="recommend-anew",
        n_events=n_anew,
        asks=True,
        events=partial(screen_events, n_events=n_anew, n_visitors=N_DIFFERENT),
        before=partial(in_hand, n_visitors=N_DIFFERENT),
        n_before=n_before,
    )
    in_each = f"{N_DIFFERENT:,} visitors with {ITEMS_IN_HAND} products each, each scored anew"
    return (
        *_lines(setting, shared, "recommendations, nothing in hand", "one answer, remembered"),
        *_lines(setting, anew, "recommendations, other things in each hand", in_each),
    )


def _lines(setting: Setting, given: Flood, name: str, what: str) -> tuple[Measured, ...]:
    return measured(
        setting,
        given,
        name=name,
        note=f"{given.n_events:,} events a round, power-loss; {what}",
        n_rounds=setting.sized(3, quick=2),
        aim=AIM,
    )
