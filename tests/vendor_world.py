"""A broker and a clock of a test's own, for devices and the agent's side to meet on.

Time goes on only when somebody waits for it, so minutes of a run take milliseconds. It is no
broker: `tests/integration/test_conformance.py` runs the same devices on a real one.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

from edge_agent.conformance.transcript import Heard

START = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)


class World(Protocol):
    """What a device needs of its surroundings."""

    def now(self) -> datetime:
        """The present."""
        ...

    def later(self, delay_s: float, do: Callable[[], None]) -> None:
        """Does something after a while."""
        ...

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 1,
        retain: bool = False,
        response_topic: str | None = None,
        correlation: bytes | None = None,
    ) -> None:
        """Publishes."""
        ...


class Device(Protocol):
    """A screen or a till."""

    @property
    def is_subscribed(self) -> bool:
        """Whether it hears what it is sent."""
        ...

    def hear(self, topic: str, payload: bytes) -> None:
        """Takes a message."""
        ...


@dataclass
class OwnWorld:
    """The agent's side (`AgentSide`) and the device's (`World`) in one."""

    device: Device | None = None
    kept: dict[str, bytes] = field(default_factory=dict)
    _at_s: float = 0.0
    _n: int = 0
    _due: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _heard: list[Heard] = field(default_factory=list)
    _is_hearing: bool = False

    # --- the device's side --------------------------------------------------------------------

    def now(self) -> datetime:
        """The present of both sides."""
        return START + timedelta(seconds=self._at_s)

    def later(self, delay_s: float, do: Callable[[], None]) -> None:
        """Does something when time has come so far."""
        self._n += 1
        heapq.heappush(self._due, (self._at_s + delay_s, self._n, do))

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 1,
        retain: bool = False,
        response_topic: str | None = None,
        correlation: bytes | None = None,
    ) -> None:
        """What the device says is heard at once."""
        if self._is_hearing:
            self._heard.append(
                Heard(
                    at_s=self._at_s,
                    at=self.now(),
                    topic=topic,
                    payload=payload,
                    qos=qos,
                    retain=retain,
                    response_topic=response_topic,
                    correlation=correlation,
                )
            )

    # --- the agent's side ---------------------------------------------------------------------

    @property
    def heard(self) -> tuple[Heard, ...]:
        """Everything that was heard so far."""
        return tuple(self._heard)

    def hear_everything(self) -> None:
        """Hears from now on."""
        self._is_hearing = True

    def monotonic_s(self) -> float:
        """Seconds since the start."""
        return self._at_s

    def wait(self, is_so: Callable[[tuple[Heard, ...]], bool], *, until_s: float) -> bool:
        """Lets time go on until something is so."""
        while not is_so(self.heard):
            if not self._due or self._due[0][0] > until_s:
                self._at_s = max(self._at_s, until_s)
                return is_so(self.heard)
            at_s, _, do = heapq.heappop(self._due)
            self._at_s = max(self._at_s, at_s)
            do()
        return True

    def pause(self, seconds: float) -> None:
        """Lets time go on."""
        self.wait(lambda _heard: False, until_s=self._at_s + seconds)

    def say(
        self,
        topic: str,
        payload: bytes,
        *,
        retain: bool = False,
        expiry_s: int | None = None,  # noqa: ARG002 - nothing is kept for so long here
        correlation: bytes | None = None,  # noqa: ARG002 - the devices here need none
    ) -> bool:
        """Hands a message to the device; returns whether it is there."""
        if retain:
            self.kept[topic] = payload
        if self.device is None or not self.device.is_subscribed:
            return False
        self.device.hear(topic, payload)
        return True
