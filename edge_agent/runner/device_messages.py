"""Messages in a device's own format: the events that mappings make of them are taken in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.ingest.ordering import mark_of
from edge_agent.runner.mapped import as_published

if TYPE_CHECKING:
    from edge_agent.domain.ids import StoreId
    from edge_agent.ingest.device_mapping import DeviceMapping
    from edge_agent.ports import Delivery
    from edge_agent.runner.devices import Devices
    from edge_agent.runner.event_intake import EventIntake
    from edge_agent.runner.mapped import Mapper, Understood
    from edge_agent.runner.open_batch import OpenBatch


class DeviceMessages:
    """Takes devices' own messages into the batch that is open."""

    def __init__(
        self,
        store: StoreId,
        batch: OpenBatch,
        *,
        mapper: Mapper,
        devices: Devices,
        intake: EventIntake,
    ) -> None:
        self._store = store
        self._present = batch.present
        self._refusals = batch.refusals
        self._counters = batch.counters
        self._mapper = mapper
        self._devices = devices
        self._intake = intake

    def take(self, delivery: Delivery, mappings: tuple[DeviceMapping, ...]) -> int:
        """Takes in one message; returns how many events it counts for."""
        if self._mapper.has_taken(delivery):
            self._counters["duplicates"] += 1
            return 1
        # Not every message is an event: that the device speaks at all is told here.
        name, now_ms = mappings[0].name, self._present.now_ms
        self._devices.heard(f"mapping {name}", own_ms=None, now_ms=now_ms, mapping=name)
        found = self._mapper.understand(delivery, mappings, now_ms=now_ms)
        return self._take_understood(delivery, found)

    def take_again(
        self, delivery: Delivery, mappings: tuple[DeviceMapping, ...], *, at_ms: int
    ) -> None:
        """Takes in a message that was refused, as of its arrival."""
        found = self._mapper.understand_as_of(delivery, mappings, at_ms=at_ms)
        self._take_understood(delivery, found)

    def _take_understood(self, delivery: Delivery, found: Understood) -> int:
        self._counters["mapped"] += 1
        for event in found.events:
            made = as_published(event, self._store)
            mark = mark_of(event.source, event.id)
            self._intake.take_one(made, event, mark, at_ms=found.at_ms, mapping=found.mapping)
        if not self._refusals.are_gathered:
            now_ms = self._present.now_ms
            for source in found.unchanged:
                self._devices.heard(source, own_ms=None, now_ms=now_ms, mapping=found.mapping)
        if found.refusal is not None:
            self._refusals.refuse(
                delivery, found.refusal, heard_on=found.heard_on, at_ms=found.at_ms
            )
        return max(1, len(found.events))
