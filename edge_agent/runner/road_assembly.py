"""Puts the road together from what the agent gives it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_agent.runner.arrivals import Arrivals
from edge_agent.runner.device_messages import DeviceMessages
from edge_agent.runner.event_intake import EventIntake
from edge_agent.runner.hq_commands import HqCommands
from edge_agent.runner.marks import Marks
from edge_agent.runner.open_batch import OpenBatch
from edge_agent.runner.outgoing import Outgoing
from edge_agent.runner.passing_time import PassingTime
from edge_agent.runner.present import Present
from edge_agent.runner.receipts import Receipts
from edge_agent.runner.refusals import Refusals
from edge_agent.runner.road import Road
from edge_agent.runner.steps import Steps
from edge_agent.runner.store_messages import StoreMessages

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.domain.scoring import PromotionPlan
    from edge_agent.ports import (
        Catalogue,
        Observer,
        RuleBook,
        Scorer,
        State,
        Stopwatch,
        UnitOfWork,
    )
    from edge_agent.runner.dead_letters import DeadLetters
    from edge_agent.runner.devices import Devices
    from edge_agent.runner.hq_heard import HqHeard
    from edge_agent.runner.mapped import Mapper
    from edge_agent.runner.name_guard import NameGuard
    from edge_agent.runner.people import People
    from edge_agent.runner.settings import RoadSettings
    from edge_agent.runner.tombstones import Tombstones
    from edge_agent.runner.wakes import Wakes
    from edge_agent.wire.downlink import AnyCommand


@dataclass(frozen=True, slots=True, kw_only=True)
class RoadParts:
    """What the agent gives the road.

    Attributes:
        verify: Returns a signed command, or in a word why it is none of HQ's.
        now_ms: The agent's present at its start.
        watermark_ms: Where the watermark stood at its end.
        observer: Is shown what is decided and bought.
        use_plans: Is given the plans of promotions whenever they change.
    """

    settings: RoadSettings
    state: State
    unit: UnitOfWork
    people: People
    catalogue: Catalogue
    scorer: Scorer
    dead_letters: DeadLetters
    mapper: Mapper
    devices: Devices
    wakes: Wakes
    guard: NameGuard
    tombstones: Tombstones
    hq_heard: HqHeard | None
    verify: Callable[[bytes], AnyCommand | str]
    now_ms: int
    watermark_ms: int
    observer: Observer | None
    rule_book: RuleBook | None
    stopwatch: Stopwatch | None
    use_plans: Callable[[tuple[PromotionPlan, ...]], None]


def road_from(parts: RoadParts) -> Road:
    """Returns the road that is made of some parts."""
    settings, batch = parts.settings, _open_batch(parts)
    intake = _event_intake(parts, batch)
    return Road(
        batch,
        mapper=parts.mapper,
        devices=parts.devices,
        intake=intake,
        device_messages=DeviceMessages(
            settings.store, batch, mapper=parts.mapper, devices=parts.devices, intake=intake
        ),
        store_messages=StoreMessages(settings, batch, parts.people),
        commands=HqCommands(
            settings.store,
            batch,
            state=parts.state,
            people=parts.people,
            tombstones=parts.tombstones,
            rule_book=parts.rule_book,
            verify=parts.verify,
        ),
        time=PassingTime(batch, max_bytes=settings.max_message_bytes),
        is_replay=settings.is_replay,
    )


def _open_batch(parts: RoadParts) -> OpenBatch:
    counters, present = parts.mapper.counters, _present(parts)
    outgoing = Outgoing(parts.settings, parts.unit, present)
    receipts = Receipts(parts.settings, outgoing)
    return OpenBatch(
        unit=parts.unit,
        present=present,
        marks=Marks(parts.unit),
        steps=Steps(
            state=parts.state,
            unit=parts.unit,
            present=present,
            outgoing=outgoing,
            wakes=parts.wakes,
            observer=parts.observer,
            counters=counters,
        ),
        outgoing=outgoing,
        receipts=receipts,
        refusals=Refusals(
            parts.settings,
            present=present,
            people=parts.people,
            dead_letters=parts.dead_letters,
            outgoing=outgoing,
            receipts=receipts,
            counters=counters,
        ),
        counters=counters,
    )


def _present(parts: RoadParts) -> Present:
    return Present(
        settings=parts.settings,
        state=parts.state,
        unit=parts.unit,
        people=parts.people,
        catalogue=parts.catalogue,
        scorer=parts.scorer,
        hq_heard=parts.hq_heard,
        rule_book=parts.rule_book,
        stopwatch=parts.stopwatch,
        use_plans=parts.use_plans,
        now_ms=parts.now_ms,
    )


def _event_intake(parts: RoadParts, batch: OpenBatch) -> EventIntake:
    arrivals = Arrivals(
        parts.settings.zone,
        present=batch.present,
        people=parts.people,
        tombstones=parts.tombstones,
    )
    return EventIntake(
        parts.settings,
        batch,
        arrivals=arrivals,
        devices=parts.devices,
        guard=parts.guard,
        watermark_ms=parts.watermark_ms,
    )
