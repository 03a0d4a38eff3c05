"""Events a second of which none asks for a recommendation, every commit synced."""

from __future__ import annotations

from functools import partial
from typing import Final

from tests.bench.load import EVENT_BYTES, quiet_events
from tests.bench.measured import Aim, Measured
from tests.bench.setting import Setting
from tests.bench.throughput import Flood, measured

TITLE: Final = "Throughput, no recommendation due"
N_VISITORS: Final = 300
AIM: Final = Aim("least", 0.3)


def measure(setting: Setting) -> tuple[Measured, ...]:
    """Measures presence in zones without a screen."""
    n_events = setting.sized(20_000, quick=5_000)
    given = Flood(
        name="quiet",
        n_events=n_events,
        events=partial(quiet_events, n_events=n_events, n_visitors=N_VISITORS),
    )
    return measured(
        setting,
        given,
        name="quiet events (power-loss)",
        note=f"{n_events:,} zone.entered of {EVENT_BYTES} bytes, {N_VISITORS} visitors",
        n_rounds=setting.sized(5, quick=2),
        aim=AIM,
    )
