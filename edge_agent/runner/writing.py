"""The open batch into one transaction; what it sends leaves after the commit."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from edge_agent.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.ports import Clock, UnitOfWork
    from edge_agent.runner.outbox import HqOutbox, StoreOutbox
    from edge_agent.runner.road import Road
    from edge_agent.runner.taking import Taking
    from edge_agent.runner.waiting import Waiting

log = logging.getLogger(__name__)

# Broker acknowledgements of our own messages that are worth a commit by themselves.
SENT_ROWS_PER_COMMIT: Final = 200
META_EVERY_S: Final = 60.0


class Writing:
    """Writes batches."""

    def __init__(
        self,
        *,
        road: Road,
        unit: UnitOfWork,
        store_outbox: StoreOutbox,
        hq_outbox: HqOutbox | None,
        waiting: Waiting,
        taking: Taking,
        clock: Clock,
        rebuild: Callable[[], None],
        is_replay: bool,
    ) -> None:
        self._road = road
        self._unit = unit
        self._store_outbox = store_outbox
        self._hq_outbox = hq_outbox
        self._waiting = waiting
        self._taking = taking
        self._clock = clock
        self._rebuild = rebuild
        self._is_replay = is_replay
        self._next_meta_s = 0.0
        self._forgotten: list[int] = []

    def write(self) -> None:
        """Commits the open batch, if there is anything in it, and sends what it queued.

        Raises:
            StoreError: Nothing of it is on the disk.
        """
        if self._hq_outbox is not None:
            self._tidy(self._hq_outbox)
        self._forgotten = []
        if (
            not self._unit.is_empty
            or self._store_outbox.n_sent >= SENT_ROWS_PER_COMMIT
            or (self._store_outbox.n_sent and self._waiting.is_queue_empty and self._is_meta_due())
        ):
            self._forgotten = self._store_outbox.forget_sent(self._unit)
        if self._unit.is_empty:
            return
        self._add_meta()
        row_ids = self._unit.commit()
        self._forgotten = []
        self._road.note_committed()
        self._send(row_ids)

    def written_alone(self, take: Callable[[], object]) -> StoreError | None:
        """Writes what is taken; returns why that cannot be, when nothing of it is left.

        Args:
            take: Takes it into a batch of its own.
        """
        take()
        try:
            self.write()
        except StoreError as error:
            self._rebuild()
            self._taking.begin()
            return error
        return None

    def put_back(self) -> None:
        """Takes back the deletions of sent rows that were not committed."""
        self._store_outbox.put_back(self._forgotten)
        self._forgotten = []

    def _send(self, row_ids: list[int]) -> None:
        for row_id, message in zip(row_ids, self._road.outgoing.messages, strict=True):
            if message is not None:
                self._store_outbox.send(row_id, message)
            elif self._hq_outbox is not None:
                self._hq_outbox.note_added()

    def _tidy(self, outbox: HqOutbox) -> None:
        for ids in self._road.commands.acked:
            outbox.acked(self._unit, ids)
        n_evicted = outbox.keep_bounds(self._unit)
        if n_evicted:
            self._road.counters["hq_evicted"] += n_evicted
            log.warning("hq_outbox_full", extra={"fields": {"evicted": n_evicted}})

    def _is_meta_due(self) -> bool:
        return self._clock.monotonic_s() >= self._next_meta_s

    def _add_meta(self) -> None:
        now_ms = self._road.present.now_ms
        self._road.devices.save(now_ms)
        # A replay's clock must come back exactly; a system's needs only a floor.
        if not self._is_replay and not self._is_meta_due():
            return
        self._next_meta_s = self._clock.monotonic_s() + META_EVERY_S
        self._unit.add("meta", ("now_ms", str(now_ms)))
        self._unit.add("meta", ("watermark_ms", str(self._road.intake.watermark_ms)))
