"""What recommendations foresee on days that the model was not trained on, against popularity.

Each day is a whole `edge-agent demo`: real baskets, the road, consent and the caps of
`provisioning/policy.example.toml` in force. A hit is what its report calls one: a recommended item
that the same visit paid for afterwards. The comparison is what popularity alone would have put
into the same places. Nobody in the data saw a screen, so a hit was foreseen and not caused.

Not among what runs by default: twenty days take as many minutes. `make bench ARGS=days`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tests.bench.measured import Aim, Measured, number
from tests.bench.setting import ROOT, Setting

TITLE: Final = "Hits on days not seen in training"
FIRST: Final = date(2017, 12, 2)
N_DAYS: Final = 20
AIM: Final = Aim("least", 1.5)
# The day's ticks are the agent's clock: the speed changes no decision.
SPEED: Final = 2_880
# As in provisioning/policy.example.toml; nothing else of a policy is in force.
CAPS: Final = """
version = "caps-1"
[caps]
per_visitor_day = 20
cooldown_s = 30
ignored_after = 5
quiet_hours = ["22:00-07:00"]
"""
N_DRAWS: Final = 10_000
TIMEOUT_S: Final = 1_800

Figures = NDArray[np.float64]
"""Shown, bought, and both of popularity, in this order along the last axis."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """What one day's report says; pairs of visit and product, each counted once."""

    day: date
    shown: int
    bought: int
    popular_shown: int
    popular_bought: int


def measure(setting: Setting) -> tuple[Measured, ...]:
    """Measures day by day."""
    days = []
    for n in range(setting.sized(N_DAYS, quick=2)):
        day = FIRST + timedelta(days=n)
        days.append(played(setting, day))
        setting.say(f"  {day}: {days[-1].bought} hits, popularity {days[-1].popular_bought}")
    rows = [(each.shown, each.bought, each.popular_shown, each.popular_bought) for each in days]
    figures = np.array(rows, dtype=np.float64)
    return (
        Measured(
            name=f"hits in the same places, {len(days)} days",
            unit="hits a day",
            values=tuple(float(each.bought) for each in days),
            baseline=tuple(float(each.popular_bought) for each in days),
            against="popularity",
            aim=AIM,
            note=_told(figures, hits_ratio),
        ),
        Measured(
            name="hits of 100 distinct items shown",
            unit="%",
            values=tuple(100.0 * each.bought / each.shown for each in days),
            baseline=tuple(100.0 * each.popular_bought / each.popular_shown for each in days),
            against="popularity, which shows the same few again and again",
            note=_told(figures, share_ratio),
        ),
    )


def played(setting: Setting, day: date) -> Day:
    """Plays a day through a demo of its own and returns what its report says.

    Raises:
        RuntimeError: The demo failed; its own words are in the message.
    """
    state = setting.place(f"day-{day}")
    rules = setting.place(f"caps-{day}") / "policy.toml"
    rules.write_text(CAPS, encoding="utf-8")
    command = [sys.executable, "-m", "edge_agent", "demo", "--json", "--port", "0"]
    command += ["--day", day.isoformat(), "--speed", str(SPEED), "--state", str(state)]
    command += ["--rules", str(rules)]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, timeout=TIMEOUT_S, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"the demo of {day} failed:\n{done.stderr}")
    told = json.loads(done.stdout)["recommendations"]
    return Day(
        day=day,
        shown=told["shown"],
        bought=told["bought_after"],
        popular_shown=told["popularity_shown"],
        popular_bought=told["popularity_bought_after"],
    )


def interval(days: Figures, of: Callable[[Figures], Figures]) -> tuple[float, float, float]:
    """Returns a figure of the sums over all days and its 95 % interval: days are drawn again.

    Args:
        days: A row a day, (n_days, n_columns).
        of: Works the figure out of sums, (..., n_columns) to (...).
    """
    chance = np.random.default_rng(0)
    drawn = days[chance.integers(0, len(days), size=(N_DRAWS, len(days)))].sum(axis=1)
    low, high = np.quantile(of(drawn), (0.025, 0.975))
    return float(of(days.sum(axis=0))), float(low), float(high)


def hits_ratio(sums: Figures) -> Figures:
    """Returns hits by popularity's hits, in the same places."""
    return sums[..., 1] / sums[..., 3]


def share_ratio(sums: Figures) -> Figures:
    """Returns the share of hits by popularity's, of distinct items of a visit."""
    return (sums[..., 1] / sums[..., 0]) / (sums[..., 3] / sums[..., 2])


def _told(days: Figures, of: Callable[[Figures], Figures]) -> str:
    ratio, low, high = interval(days, of)
    return (
        f"in all {number(ratio)} times popularity's"
        f" (95 % interval over days {number(low)}-{number(high)})"
    )
