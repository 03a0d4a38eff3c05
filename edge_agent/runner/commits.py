"""The commit of a batch: tried again from its messages until it holds.

When the disk is full nothing is acknowledged: the batch is tried again from its messages until it
holds. Only what restricts, such as a consent that is withdrawn, is written and acknowledged
meanwhile, into room that is kept for it; nothing else is written before that room is kept again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_agent.errors import StoreError, StoreFull

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from edge_agent.ports import Reserve, UnitOfWork
    from edge_agent.runner.full_disk import FullDisk
    from edge_agent.runner.isolation import Isolation
    from edge_agent.runner.store_trouble import StoreTrouble
    from edge_agent.runner.waiting import Message
    from edge_agent.runner.writing import Writing

RETRY_FIRST_S: Final = 0.5
RETRY_CEILING_S: Final = 5.0


class Commits:
    """Commits batches, one after the other."""

    def __init__(
        self,
        *,
        unit: UnitOfWork,
        reserve: Reserve,
        writing: Writing,
        trouble: StoreTrouble,
        full_disk: FullDisk,
        isolation: Isolation,
        rebuild: Callable[[], None],
        on_progress: Callable[[], None],
        stopping: threading.Event,
    ) -> None:
        self._unit = unit
        self._reserve = reserve
        self._writing = writing
        self._trouble = trouble
        self._full_disk = full_disk
        self._isolation = isolation
        self._rebuild = rebuild
        self._on_progress = on_progress
        self._stopping = stopping

    def commit(self, redo: Callable[[], object], messages: list[Message]) -> None:
        """Commits the batch; returns only when it is on the disk, or when told to stop.

        Args:
            redo: Does the batch's work again, after what was written of it was rolled back.
            messages: What is acknowledged afterwards; emptied when nothing may be.
        """
        wait_s = RETRY_FIRST_S
        while True:
            try:
                self._write_beside_the_reserve()
            except StoreError as error:
                self._trouble.note(error)
                self._rebuild()
                if not error.is_transient:
                    self._isolation.write_each(messages)
                    return
                if isinstance(error, StoreFull):
                    self._full_disk.take_restrictions(messages)
                    self._full_disk.answer_calls()
            else:
                self._trouble.note_well()
                return
            if self._stopping.wait(wait_s):
                messages.clear()
                return
            wait_s = min(RETRY_CEILING_S, wait_s * 2)
            self._on_progress()
            redo()

    def _write_beside_the_reserve(self) -> None:
        if not self._reserve.hold():
            self._unit.roll_back()
            raise StoreFull("no room is left", hint="free space on the disk")
        self._writing.write()
