"""The passing of time as an input: what is due by then is done."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from edge_agent.domain.time import ms_from_datetime
from edge_agent.ingest.decode import Refusal, decode_tick
from edge_agent.runner.steps import HalfApplied

if TYPE_CHECKING:
    from edge_agent.domain.inputs import Wake
    from edge_agent.ports import Delivery
    from edge_agent.runner.open_batch import OpenBatch

log = logging.getLogger(__name__)


class PassingTime:
    """Moves the present on within the batch that is open."""

    def __init__(self, batch: OpenBatch, *, max_bytes: int) -> None:
        self._present = batch.present
        self._steps = batch.steps
        self._refusals = batch.refusals
        self._counters = batch.counters
        self._max_bytes = max_bytes

    def move_on(self, now_ms: int) -> None:
        """Moves time on and does what is due by then."""
        self._present.set_now(now_ms)
        for wake in self._steps.wakes.due(now_ms):
            self._run(wake)

    def take_tick(self, delivery: Delivery) -> None:
        """Takes in a tick of a replay's clock, which never goes back."""
        tick = decode_tick(delivery.payload, max_bytes=self._max_bytes)
        if isinstance(tick, Refusal):
            self._refusals.refuse(delivery, tick)
            return
        self.move_on(max(self._present.now_ms, ms_from_datetime(tick.now)))

    def _run(self, wake: Wake) -> None:
        try:
            self._steps.run(wake, wake)
        except HalfApplied:
            raise
        except Exception as error:
            self._steps.pass_on_rot(error)
            # It follows from the state again at the next start; until then all else goes on.
            log.exception("wake_failed", extra={"fields": {"kind": wake.kind}})
            self._counters["wakes_failed"] += 1
