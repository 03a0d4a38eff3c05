"""What the road is run with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import tzinfo

    from edge_agent.domain.ids import StoreId
    from edge_agent.domain.policy import Policy, Retention
    from edge_agent.domain.store import Layout


@dataclass(frozen=True, slots=True, kw_only=True)
class RoadSettings:
    """The configuration as the road needs it.

    Attributes:
        batch_events: Most events in one transaction.
        quiet_wait_ms: Longest wait of a batch in which nothing asks for a decision.
        hold_back_ms: How long events of people wait for others that happened before them; 0: they
            are taken in as they come.
        queue_messages: Messages in memory before the socket is no longer read.
        max_message_bytes: Larger messages are refused.
        has_hq: Whether there is an HQ to send anything to.
        outbox_max_bytes: Most bytes that wait for HQ.
        is_replay: Whether a replay's ticks are the clock.
        lost_at_ms: When statements of people were lost that no copy held; None for never.
    """

    store: StoreId
    zone: tzinfo
    locale: str
    currency: str
    seed: str
    policy: Policy
    retention: Retention
    layout: Layout
    version: str
    batch_events: int
    quiet_wait_ms: int
    hold_back_ms: int
    queue_messages: int
    max_message_bytes: int
    has_hq: bool
    outbox_max_bytes: int
    is_replay: bool
    lost_at_ms: int | None = None
