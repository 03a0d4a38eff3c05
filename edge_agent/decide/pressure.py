"""Frequency caps and cool-downs over all channels; they hold outside and above every rule."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.domain.decisions import Suppression
from edge_agent.domain.time import SECOND_MS

if TYPE_CHECKING:
    from edge_agent.domain.policy import Policy


def cap_reached(n_decisions: int, *, policy: Policy) -> Suppression | None:
    """Returns a suppression when a visit has had all the decisions that it may have."""
    if n_decisions < policy.max_decisions_per_visit:
        return None
    return Suppression(product="*", gate="cap", reason="enough for one visit")


def is_cooling_down(last_ms: int | None, *, now_ms: int, cooldown_s: int) -> bool:
    """Returns whether the last time is too near for another."""
    return last_ms is not None and now_ms - last_ms < cooldown_s * SECOND_MS
