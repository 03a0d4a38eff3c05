"""What is wrong with the database now: told once when it begins, once when it is over."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.errors import StoreError
    from edge_agent.runner.writing import Writing

log = logging.getLogger(__name__)


class StoreTrouble:
    """Follows whether batches can be written.

    Attributes:
        message: What is wrong; empty when all is well.
        problem: Its short name, as the agent's state tells it.
    """

    def __init__(self, writing: Writing, on_trouble: Callable[[], None]) -> None:
        self._writing = writing
        self._on_trouble = on_trouble
        self.message = ""
        self.problem = ""

    def note(self, error: StoreError) -> None:
        """Notes why a batch is not written; what it was to delete is deleted with another."""
        self._writing.put_back()
        if error.message != self.message:
            log.error(
                "store_trouble", extra={"fields": {"error": error.message, "hint": error.hint}}
            )
        self.message = error.message
        if error.problem != self.problem:
            self.problem = error.problem
            self._on_trouble()

    def note_well(self) -> None:
        """Notes that a batch is written."""
        if self.message:
            log.info("store_well")
        self.message = ""
        if self.problem:
            self.problem = ""
            self._on_trouble()
