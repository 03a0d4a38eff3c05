"""The engine's steps in the batch that is open, each wholly or not at all.

A step that fails has changed nothing yet: its input is refused and its neighbours are spared. One
whose changes or effects fail half-way spoils the batch, which is rolled back and done again; the
input is refused then.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from edge_agent.domain import effects
from edge_agent.domain.inputs import Wake
from edge_agent.engine import step

if TYPE_CHECKING:
    from collections import Counter

    from edge_agent.domain.inputs import Input
    from edge_agent.ports import Observer, State, UnitOfWork
    from edge_agent.runner.outgoing import Outgoing
    from edge_agent.runner.present import Present
    from edge_agent.runner.wakes import Wakes

log = logging.getLogger(__name__)

OWN_ERROR: Final = "an error of the agent's own, see its log"


class HalfApplied(Exception):
    """Something of an input was applied before it failed; the batch is to be done again."""


class Spoilt(Exception):
    """An input failed half-way when this batch was done before."""


class Steps:
    """Applies inputs, one after the other.

    Attributes:
        wakes: Wake-ups that were asked for; others take their place when a batch is rolled back.
    """

    def __init__(
        self,
        *,
        state: State,
        unit: UnitOfWork,
        present: Present,
        outgoing: Outgoing,
        wakes: Wakes,
        observer: Observer | None,
        counters: Counter[str],
    ) -> None:
        self._state = state
        self._unit = unit
        self._present = present
        self._outgoing = outgoing
        self.wakes = wakes
        self._observer = observer
        self._counters = counters
        # What failed half-way in this batch: refused when the batch is done again.
        self._spoilt: set[object] = set()

    def note_committed(self) -> None:
        """Notes that what was taken in is on the disk."""
        self._spoilt.clear()

    def run(self, given: Input, name: object = None) -> None:
        """Applies an input, wholly or not at all.

        Args:
            given: The input.
            name: Tells it from the others of its batch; None where the caller rolls back.

        Raises:
            HalfApplied: It failed when something of it was applied: the batch is to be rolled
                back and done again, in which this input is refused.
            Spoilt: It failed so before.
        """
        if name is not None and name in self._spoilt:
            raise Spoilt(OWN_ERROR)
        result = step(self._state, given, self._present.context)
        try:
            for change in result.changes:
                self._unit.put(change)
            for effect in result.effects:
                self._carry_out(effect)
        except Exception as error:
            if name is None:
                raise
            self.pass_on_rot(error)
            log.exception("half_applied", extra={"fields": {"input": type(given).__name__}})
            self._spoilt.add(name)
            raise HalfApplied(OWN_ERROR) from error
        if isinstance(given, Wake):
            self._counters["wakes"] += 1

    def pass_on_rot(self, error: Exception) -> None:
        """Raises what says that the database is damaged: that is not the input's fault.

        Nothing is acknowledged then; the agent ends, and begins anew with what waits.
        """
        if self._unit.is_rot(error):
            raise error

    def _carry_out(self, effect: effects.Effect) -> None:
        match effect:
            case effects.ScheduleWake():
                self.wakes.ask(effect.due_ms, effect.kind, effect.key)
            case effects.Publish():
                self._outgoing.send_to_store_soon(effect)
            case effects.SendToHq():
                self._outgoing.send_to_hq(effect)
            case effects.Confirm():
                self._outgoing.confirm(effect.command, effect.reason)
            case effects.Count():
                self._counters[effect.name] += 1
            case _:
                if isinstance(effect, effects.RecordDecision):
                    self._outgoing.is_urgent = True
                    self._counters["decisions"] += 1
                self._unit.carry_out(effect)
                self._show(effect)

    def _show(self, effect: effects.Effect) -> None:
        if self._observer is None:
            return
        if isinstance(effect, effects.RecordDecision):
            self._observer.decided(effect.decision, self._present.rules)
        elif isinstance(effect, effects.JoinPurchases):
            self._observer.bought(effect)
