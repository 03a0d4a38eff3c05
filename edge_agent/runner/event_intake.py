"""The way of one event: decode, dedupe, identify, step.

The per-event boundary is here: whatever goes wrong with one event makes it a dead letter and
spares its neighbours, because a step that fails has changed nothing yet.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from edge_agent.domain.time import SECOND_MS, ms_from_datetime
from edge_agent.ingest.decode import (
    Refusal,
    decode_events,
    refusal_of_feedback,
    refusal_of_source,
)
from edge_agent.ingest.ordering import mark_of, timing_of
from edge_agent.runner.devices import is_of_people
from edge_agent.runner.receipts import topic_source
from edge_agent.runner.steps import OWN_ERROR, HalfApplied

if TYPE_CHECKING:
    from edge_agent.ports import Delivery
    from edge_agent.runner.arrivals import Arrivals
    from edge_agent.runner.devices import Devices
    from edge_agent.runner.name_guard import NameGuard
    from edge_agent.runner.open_batch import OpenBatch
    from edge_agent.runner.settings import RoadSettings
    from edge_agent.wire.events import Event

log = logging.getLogger(__name__)


class EventIntake:
    """Takes events into the batch that is open.

    Attributes:
        watermark_ms: Newest event time less the allowed lateness; it never moves back.
    """

    def __init__(
        self,
        settings: RoadSettings,
        batch: OpenBatch,
        *,
        arrivals: Arrivals,
        devices: Devices,
        guard: NameGuard,
        watermark_ms: int,
    ) -> None:
        self._settings = settings
        self._present = batch.present
        self._marks = batch.marks
        self._steps = batch.steps
        self._receipts = batch.receipts
        self._refusals = batch.refusals
        self._counters = batch.counters
        self._arrivals = arrivals
        self._devices = devices
        self._guard = guard
        self.watermark_ms = watermark_ms
        # By identity, which is told again once a message is gone: so each stays as long.
        self._decoded: dict[int, tuple[Delivery, list[Event | Refusal]]] = {}

    def look_ahead(self, deliveries: list[Delivery]) -> None:
        """Decodes messages that wait and looks all their marks up at once."""
        self._decoded.clear()
        marks: set[int] = set()
        max_bytes = self._settings.max_message_bytes
        for delivery in deliveries:
            if topic_source(delivery) is None:
                continue
            found = decode_events(delivery.payload, max_bytes=max_bytes)
            self._decoded[id(delivery)] = (delivery, found)
            for each in found:
                if not isinstance(each, Refusal):
                    marks.add(mark_of(each.source, each.id))
        self._marks.look_up(marks)

    def take(
        self, delivery: Delivery, *, source: str | None = None, screen: str | None = None
    ) -> int:
        """Takes in the events of a message; returns how many it held.

        Args:
            delivery: The message.
            source: Whose topic it came on; None for a screen's.
            screen: Whose feedback it is; None for no screen's.
        """
        known = self._decoded.get(id(delivery))
        if known is None:
            found = decode_events(delivery.payload, max_bytes=self._settings.max_message_bytes)
        else:
            found = known[1]
        for each in found:
            refusal = each if isinstance(each, Refusal) else None
            if isinstance(each, Refusal):
                self._refusals.refuse(delivery, each)
                continue
            if source is not None:
                refusal = refusal_of_source(each, source=source)
            elif screen is not None:
                refusal = refusal_of_feedback(each, screen=screen)
            if refusal is not None:
                self._refusals.refuse(delivery, refusal)
            else:
                # A screen names its own ids: they must not meet those of a till.
                self.take_one(delivery, each, mark_of(_speaker(each, screen), each.id))
        return len(found)

    def take_one(
        self,
        delivery: Delivery,
        event: Event,
        mark: int,
        *,
        at_ms: int | None = None,
        mapping: str = "",
    ) -> None:
        """Takes in one event.

        Args:
            delivery: The message that it came in.
            event: The event.
            mark: What it is known by when it comes again.
            at_ms: Its arrival, where a mapping made it.
            mapping: The mapping that made it.
        """
        if self._is_refused_for_its_names(delivery, event):
            return
        own_ms = None if event.time is None else ms_from_datetime(event.time)
        if not self._refusals.are_gathered:
            # A mapping gives an event without a time that of its arrival: no clock of the device.
            told_ms = None if own_ms == at_ms else own_ms
            self._devices.heard(
                event.source,
                own_ms=told_ms,
                now_ms=self._present.now_ms,
                is_of_people=is_of_people(event),
                mapping=mapping,
            )
        if self._marks.has_seen(mark):
            self._counters["duplicates"] += 1
        elif self._take_new(delivery, event, mark, own_ms):
            self._marks.add(mark, now_ms=self._present.now_ms)
        else:
            return
        self._receipts.committed(delivery, event)

    def _is_refused_for_its_names(self, delivery: Delivery, event: Event) -> bool:
        field = self._guard.refused_field(event, day=self._present.context.local.day)
        if field is None:
            return False
        detail = f"{field} names a person where a thing is named"
        told = None if field == "id" else event.id
        refusal = Refusal(reason="personal", detail=detail, source=event.source, event=told)
        self._refusals.refuse(delivery, refusal)
        return True

    def _take_new(self, delivery: Delivery, event: Event, mark: int, own_ms: int | None) -> bool:
        """Takes in an event for the first time; returns False where it was refused."""
        timing = timing_of(
            own_ms,
            now_ms=self._present.now_ms,
            watermark_ms=self.watermark_ms,
            policy=self._settings.policy,
        )
        if timing.was_impossible:
            self._counters["impossible_times"] += 1
        if not timing.may_correct:
            self._counters["too_late"] += 1
            return True
        self._move_watermark(timing.at_ms)
        self._counters["late"] += not timing.may_decide
        if not self._run(delivery, event, mark, timing.at_ms, may_decide=timing.may_decide):
            return False
        self._counters["accepted"] += 1
        return True

    def _run(
        self, delivery: Delivery, event: Event, mark: int, at_ms: int, *, may_decide: bool
    ) -> bool:
        try:
            arrival = self._arrivals.of(event, mark, at_ms, may_decide=may_decide)
            if self._arrivals.is_of_forgotten(arrival):
                self._counters["of_forgotten"] += 1
            else:
                self._steps.run(arrival, mark)
        except HalfApplied:
            raise
        except Exception as error:
            self._steps.pass_on_rot(error)
            # The per-event boundary: nothing of this event was applied, its neighbours go on.
            log.exception("event_failed", extra={"fields": {"type": event.type}})
            refusal = Refusal(
                reason="failed",
                detail=OWN_ERROR,
                source=event.source,
                event=event.id,
            )
            self._refusals.refuse(delivery, refusal)
            return False
        return True

    def _move_watermark(self, at_ms: int) -> None:
        # An event ahead of the clock must not make all others late.
        newest_ms = min(at_ms, self._present.now_ms)
        watermark_ms = newest_ms - self._settings.policy.lateness_s * SECOND_MS
        self.watermark_ms = max(self.watermark_ms, watermark_ms)


def _speaker(event: Event, screen: str | None) -> str:
    """Returns in whose name an event's id is unique: its source's, or the screen's own."""
    return event.source if screen is None else f"screen/{screen}"
