"""What a run needs of a broker: `station` has the real one, tests one with their own clock."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from edge_agent.conformance.transcript import Heard


class AgentSide(Protocol):
    """An agent's place at a broker."""

    @property
    def heard(self) -> tuple[Heard, ...]:
        """Everything that was heard so far."""
        ...

    def hear_everything(self) -> None:
        """Hears from now on what everybody else says."""
        ...

    def wait(self, is_so: Callable[[tuple[Heard, ...]], bool], *, until_s: float) -> bool:
        """Returns whether something is true of what is heard before a time of `monotonic_s`."""
        ...

    def pause(self, seconds: float) -> None:
        """Lets time go by, hearing."""
        ...

    def monotonic_s(self) -> float:
        """Returns seconds that only ever grow."""
        ...

    def now(self) -> datetime:
        """Returns the store's time."""
        ...

    def say(
        self,
        topic: str,
        payload: bytes,
        *,
        retain: bool = False,
        expiry_s: int | None = None,
        correlation: bytes | None = None,
    ) -> bool:
        """Publishes; returns whether anybody is there to hear it."""
        ...
