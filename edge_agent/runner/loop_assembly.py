"""Puts the loop together from what the agent gives it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_agent.runner.acknowledgements import Acknowledgements
from edge_agent.runner.answering import Answering
from edge_agent.runner.calls import Calls
from edge_agent.runner.commits import Commits
from edge_agent.runner.full_disk import FullDisk
from edge_agent.runner.isolation import Isolation
from edge_agent.runner.loop import Loop
from edge_agent.runner.periods import Periods
from edge_agent.runner.store_trouble import StoreTrouble
from edge_agent.runner.taking import Taking
from edge_agent.runner.waiting import Waiting
from edge_agent.runner.writing import Writing

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from edge_agent.ports import Clock, Link, Reserve, UnitOfWork
    from edge_agent.runner.dead_letters import DeadLetters
    from edge_agent.runner.hold_back import HoldBack
    from edge_agent.runner.outbox import HqOutbox, StoreOutbox
    from edge_agent.runner.road import Road
    from edge_agent.runner.settings import RoadSettings
    from edge_agent.runner.summarise import Summariser
    from edge_agent.wire.summaries import GatewayState


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopParts:
    """What the agent gives the loop.

    Attributes:
        reserve: The room on the disk that is kept for what restricts.
        hold_back: Puts events of people in order; None where they are taken in as they come.
        rebuild: Makes what is in memory follow from the state, after a batch was rolled back.
        on_progress: Is called after each batch, and while one is tried again.
        on_idle: Is called with the present when nothing came.
        on_trouble: Is called when the database's trouble begins, changes or ends.
        stopping: Is set when the agent is to end.
        state_of: Returns the gateway's own state as of an instant.
    """

    settings: RoadSettings
    road: Road
    unit: UnitOfWork
    dead_letters: DeadLetters
    store_link: Link
    hq_link: Link | None
    store_outbox: StoreOutbox
    hq_outbox: HqOutbox | None
    summariser: Summariser
    clock: Clock
    reserve: Reserve
    hold_back: HoldBack | None
    rebuild: Callable[[], None]
    on_progress: Callable[[], None]
    on_idle: Callable[[int], None]
    on_trouble: Callable[[], None]
    stopping: threading.Event
    state_of: Callable[[int], GatewayState]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shared:
    """What several of the loop's parts work with."""

    waiting: Waiting
    calls: Calls
    taking: Taking
    writing: Writing
    trouble: StoreTrouble
    acknowledgements: Acknowledgements


def loop_from(parts: LoopParts) -> Loop:
    """Returns the loop that is made of some parts."""
    shared = _shared(parts)
    taking, trouble = shared.taking, shared.trouble
    commits = _commits(parts, shared)
    return Loop(
        settings=parts.settings,
        road=parts.road,
        unit=parts.unit,
        clock=parts.clock,
        waiting=shared.waiting,
        calls=shared.calls,
        taking=taking,
        commits=commits,
        acknowledgements=shared.acknowledgements,
        periods=Periods(
            road=parts.road,
            summariser=parts.summariser,
            taking=taking,
            commits=commits,
            state_of=parts.state_of,
        ),
        answering=Answering(
            shared.calls, unit=parts.unit, taking=taking, commits=commits, trouble=trouble
        ),
        trouble=trouble,
        hq_outbox=parts.hq_outbox,
        on_progress=parts.on_progress,
        on_idle=parts.on_idle,
        stopping=parts.stopping,
    )


def _shared(parts: LoopParts) -> _Shared:
    waiting = _waiting(parts)
    taking = _taking(parts, waiting)
    writing = _writing(parts, waiting, taking)
    return _Shared(
        waiting=waiting,
        calls=Calls(wake=waiting.wake),
        taking=taking,
        writing=writing,
        trouble=StoreTrouble(writing, parts.on_trouble),
        acknowledgements=Acknowledgements(
            parts.store_link, parts.hq_link, hold_back=parts.hold_back
        ),
    )


def _waiting(parts: LoopParts) -> Waiting:
    return Waiting(
        store_link=parts.store_link,
        clock=parts.clock,
        intake=parts.road.intake,
        hold_back=parts.hold_back,
        queue_messages=parts.settings.queue_messages,
    )


def _taking(parts: LoopParts, waiting: Waiting) -> Taking:
    return Taking(
        road=parts.road,
        unit=parts.unit,
        dead_letters=parts.dead_letters,
        waiting=waiting,
        clock=parts.clock,
        rebuild=parts.rebuild,
        is_replay=parts.settings.is_replay,
    )


def _writing(parts: LoopParts, waiting: Waiting, taking: Taking) -> Writing:
    return Writing(
        road=parts.road,
        unit=parts.unit,
        store_outbox=parts.store_outbox,
        hq_outbox=parts.hq_outbox,
        waiting=waiting,
        taking=taking,
        clock=parts.clock,
        rebuild=parts.rebuild,
        is_replay=parts.settings.is_replay,
    )


def _commits(parts: LoopParts, shared: _Shared) -> Commits:
    return Commits(
        unit=parts.unit,
        reserve=parts.reserve,
        writing=shared.writing,
        trouble=shared.trouble,
        full_disk=FullDisk(
            reserve=parts.reserve,
            waiting=shared.waiting,
            taking=shared.taking,
            writing=shared.writing,
            trouble=shared.trouble,
            acknowledgements=shared.acknowledgements,
            calls=shared.calls,
            max_bytes=parts.settings.max_message_bytes,
        ),
        isolation=Isolation(
            taking=shared.taking,
            writing=shared.writing,
            trouble=shared.trouble,
            hold_back=parts.hold_back,
            max_bytes=parts.settings.max_message_bytes,
        ),
        rebuild=parts.rebuild,
        on_progress=parts.on_progress,
        stopping=parts.stopping,
    )
