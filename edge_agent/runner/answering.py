"""Answers to what other threads want done in the core thread: each in a batch of its own."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from edge_agent.errors import StoreError

if TYPE_CHECKING:
    from edge_agent.ports import UnitOfWork
    from edge_agent.runner.calls import Calls
    from edge_agent.runner.commits import Commits
    from edge_agent.runner.store_trouble import StoreTrouble
    from edge_agent.runner.taking import Taking


class Answering:
    """Does what is asked between two batches."""

    def __init__(
        self,
        calls: Calls,
        *,
        unit: UnitOfWork,
        taking: Taking,
        commits: Commits,
        trouble: StoreTrouble,
    ) -> None:
        self._calls = calls
        self._unit = unit
        self._taking = taking
        self._commits = commits
        self._trouble = trouble

    def answer_all(self) -> None:
        """Answers whoever waits, once what he asked for is on the disk."""
        while (asked := self._calls.next()) is not None:
            do, future, _ = asked
            try:
                answer = self._taking.called(do)
                self._commits.commit(partial(self._taking.called, do), [])
                self._check_written()
            except Exception as error:  # noqa: BLE001 - it belongs to whoever called
                # Reading a large state anew takes long: only where something has to be undone.
                if not self._unit.is_empty:
                    self._taking.undo()
                future.set_exception(error)
            else:
                future.set_result(answer)

    def _check_written(self) -> None:
        if self._trouble.message:
            raise StoreError(self._trouble.message, hint="mend it, then ask again")
