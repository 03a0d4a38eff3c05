"""The way of one message: by its topic to whoever takes its kind in; its changes join the batch.

The per-message boundary is here: whatever a message does, the next one is taken in.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from edge_agent.ingest.decode import Refusal
from edge_agent.runner.steps import OWN_ERROR, HalfApplied
from edge_agent.wire import topics

if TYPE_CHECKING:
    from edge_agent.ports import Delivery
    from edge_agent.runner.device_messages import DeviceMessages
    from edge_agent.runner.devices import Devices
    from edge_agent.runner.event_intake import EventIntake
    from edge_agent.runner.hq_commands import HqCommands
    from edge_agent.runner.mapped import Mapper
    from edge_agent.runner.open_batch import OpenBatch
    from edge_agent.runner.passing_time import PassingTime
    from edge_agent.runner.store_messages import StoreMessages

log = logging.getLogger(__name__)

# Levels of `store/{store}/{kind}/...`.
_KIND_LEVEL: Final = 2
_EVENT_LEVELS: Final = 4
_FEEDBACK_LEVELS: Final = 5


class Road:
    """Takes messages in, one after the other, into the batch that is open.

    Attributes:
        present: What decisions rest on besides the state.
        steps: Applies the engine's inputs.
        outgoing: What the batch sends.
        refusals: What the batch refuses.
        counters: What is counted for the operator.
        devices: Which devices were heard and when.
        intake: Takes events in.
        commands: Takes HQ's commands in.
        time: Lets time pass.
    """

    def __init__(
        self,
        batch: OpenBatch,
        *,
        mapper: Mapper,
        devices: Devices,
        intake: EventIntake,
        device_messages: DeviceMessages,
        store_messages: StoreMessages,
        commands: HqCommands,
        time: PassingTime,
        is_replay: bool,
    ) -> None:
        self.present = batch.present
        self.steps = batch.steps
        self.outgoing = batch.outgoing
        self.refusals = batch.refusals
        self.counters = batch.counters
        self.devices = devices
        self.intake = intake
        self.commands = commands
        self.time = time
        self._marks = batch.marks
        self._mapper = mapper
        self._device_messages = device_messages
        self._store_messages = store_messages
        self._is_replay = is_replay

    def begin_batch(self) -> None:
        """Starts a batch: nothing of it is on the disk yet."""
        self._marks.begin_batch()
        self.present.begin_batch()
        self._mapper.begin_batch(self.present.now_ms)
        self.commands.begin_batch()
        self.outgoing.begin_batch()

    def note_committed(self) -> None:
        """Notes that what was taken in is on the disk."""
        self.steps.note_committed()
        self._marks.note_committed()
        self._mapper.note_committed()
        self.present.note_committed()

    def take(self, delivery: Delivery) -> int:
        """Takes in one message from the store's broker; returns how many events it held.

        Raises:
            HalfApplied: The batch is to be rolled back and done again.
        """
        try:
            return self._dispatch(delivery)
        except HalfApplied:
            raise
        except Exception as error:
            self.steps.pass_on_rot(error)
            # The per-message boundary: whatever a message does, the next one is taken in.
            log.exception("message_failed", extra={"fields": {"bytes": len(delivery.payload)}})
            self.counters["messages_failed"] += 1
            return 1

    def retry(self, delivery: Delivery, *, at_ms: int) -> Refusal | None:
        """Takes a refused message again, as of its arrival; returns why it is refused again.

        Raises:
            HalfApplied: The batch is to be rolled back and done again.
        """
        mappings = self._mapper.hearing(delivery.topic)
        if not mappings and not delivery.topic.startswith(f"{topics.STORE_LEVEL}/"):
            return Refusal(reason="unknown_topic", detail="no mapping hears its topic any more")
        with self.refusals.gathered() as refused:
            try:
                if mappings:
                    self._device_messages.take_again(delivery, mappings, at_ms=at_ms)
                else:
                    self._dispatch(delivery)
            except HalfApplied:
                raise
            except Exception:
                log.exception("retry_failed", extra={"fields": {"bytes": len(delivery.payload)}})
                return Refusal(reason="failed", detail=OWN_ERROR)
        return refused[0] if refused else None

    def _dispatch(self, delivery: Delivery) -> int:
        mappings = self._mapper.hearing(delivery.topic)
        if mappings:
            return self._device_messages.take(delivery, mappings)
        levels = delivery.topic.split("/")
        if levels[0] != topics.STORE_LEVEL:
            # Two overlapping subscriptions became one that brings more than either.
            self.counters["not_asked_for"] += 1
            return 1
        kind = levels[_KIND_LEVEL] if len(levels) > _KIND_LEVEL else ""
        if kind == "event" and len(levels) == _EVENT_LEVELS:
            return self.intake.take(delivery, source=levels[3])
        is_feedback = levels[-1] == "feedback"
        if kind == "screen" and is_feedback and len(levels) == _FEEDBACK_LEVELS:
            return self.intake.take(delivery, screen=levels[3])
        self._take_other(delivery, kind, is_feedback=is_feedback)
        return 1

    def _take_other(self, delivery: Delivery, kind: str, *, is_feedback: bool) -> None:
        if kind == "recommend":
            self._store_messages.take_request(delivery)
        elif kind == "offer":
            self._store_messages.take_offer_request(delivery)
        elif kind == "staff" and is_feedback:
            self._store_messages.take_staff_feedback(delivery)
        elif kind == "clock" and self._is_replay:
            self.time.take_tick(delivery)
