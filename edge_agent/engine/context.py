"""Everything a step may rest on besides the state."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edge_agent.domain.rules import NEUTRAL, Rules

if TYPE_CHECKING:
    from datetime import tzinfo

    from edge_agent.domain.ids import StoreId, ZoneId
    from edge_agent.domain.policy import Policy
    from edge_agent.domain.store import Layout
    from edge_agent.domain.time import LocalTime
    from edge_agent.ports import Catalogue, Scorer, Stopwatch


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Clock, chance, rules and knowledge, handed in.

    Attributes:
        now_ms: The agent's present.
        local: The same on the store's wall.
        zone: The store's time zone.
        closed_until_ms: Summaries of periods before this instant were made already.
        exits: Zones whose leaving ends a visit that has paid.
        register_zones: Zones in which a register's customer stands.
        hq_heard_ms: When HQ was last heard; None where there is no HQ.
        lost_at_ms: When statements of people were lost that no copy held; None for never.
        offer_key: Makes the codes of limited offers; the store's own secret.
        rules: What the chain's `policy.toml` says.
        unit_key: The store's key for the units that arms are drawn for (`decide.control`).
        left_ms: Left of the time budget when this input's turn came, where that is too little for
            the model; None for enough, and where nobody waits.
        stopwatch: Measures how long a decision takes; None measures nothing.
    """

    now_ms: int
    local: LocalTime
    zone: tzinfo
    seed: str
    store: StoreId
    locale: str
    currency: str
    policy: Policy
    layout: Layout
    catalogue: Catalogue
    scorer: Scorer
    closed_until_ms: int
    exits: frozenset[ZoneId]
    register_zones: frozenset[ZoneId]
    hq_heard_ms: int | None = None
    lost_at_ms: int | None = None
    offer_key: bytes = field(default=b"", repr=False)
    rules: Rules = NEUTRAL
    unit_key: bytes = b""
    left_ms: int | None = None
    stopwatch: Stopwatch | None = None
