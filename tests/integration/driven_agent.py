"""The whole agent but its sockets, driven by hand: messages in, a batch at a time, under a clock.

Everything else is real: the database, the keys, the loop. What it would send, the links keep.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

from edge_agent import app, config
from edge_agent.domain.time import rfc3339_from_ms
from edge_agent.shell.clock import SystemClock
from edge_agent.shell.signing import DEMO_KEY_ID
from edge_agent.wire import topics
from tests.factories import T0
from tests.fakes import FakeDelivery, FakeLink

STORE: Final = "s1"
TILL: Final = "pos-2"
CONFIG: Final = """
store = "{store}"
timezone = "America/New_York"
currency = "USD"
clock = "{clock}"
{top}[state]
directory = "{folder}"
[hq]
{hq}[zones.entrance]
[zones.dairy]
departments = ["GROCERY"]
[zones.checkout-2]
[screens.dairy-1]
zone = "dairy"
[registers.pos-2]
zone = "checkout-2"
[sources.pos-2]
receipt = true
# What is in a batch is handed in before it is taken: waiting for more would be for nothing.
[ingest]
quiet_wait_ms = 0
"""
NO_WAIT: Final = "quiet_wait_ms = 0"


@dataclass(slots=True)
class SilentLink(FakeLink):
    """A link that is up, and leads nowhere."""

    is_turning: bool = True
    settings: Any = None
    options: dict[str, Any] = field(default_factory=dict)

    def start(self) -> None:
        """Does nothing."""

    def stop(self) -> None:
        """Does nothing."""

    def subscribe_to(self, *_: Any, **__: Any) -> None:
        """Does nothing."""


def _silent_link(settings: Any, **options: Any) -> SilentLink:
    return SilentLink(settings=settings, options=options)


@dataclass(slots=True)
class DrivenAgent:
    """One agent in this process."""

    agent: app.Agent
    _n_sent: int = 0

    @property
    def loop(self) -> Any:
        """Its loop."""
        return self.agent._loop

    @property
    def road(self) -> Any:
        """Its road."""
        return self.agent._road

    @property
    def link(self) -> Any:
        """Its link to the store's broker."""
        return self.agent._store_link

    @property
    def sent(self) -> list[tuple[str, bytes, dict[str, Any]]]:
        """What it told the store."""
        return list(self.link.published)

    def take(self, *events: dict[str, Any], topic: str = "") -> None:
        """Hands events in, each on its source's topic, and lets one batch be taken."""
        self.hand(*events, topic=topic)
        self.turn()

    def hand(self, *events: dict[str, Any], topic: str = "") -> None:
        """Hands events in, each on its source's topic, that wait for a batch."""
        for each in events:
            where = topic or topics.event(STORE, each["source"])
            self.raw(where, json.dumps(each).encode())

    def raw(
        self, topic: str, payload: bytes, *, link: str = "store", response_topic: str | None = None
    ) -> None:
        """Hands one message in; `response_topic` is where its answer goes."""
        self._n_sent += 1
        delivery = FakeDelivery(
            topic=topic, payload=payload, mid=self._n_sent, response_topic=response_topic
        )
        self.loop.waiting.put(link, delivery)

    def tick(self, now_ms: int) -> None:
        """Moves a replay's clock on."""
        payload = json.dumps({"now": rfc3339_from_ms(now_ms)}).encode()
        self.raw(topics.clock(STORE), payload)
        self.turn()

    def turn(self) -> None:
        """Takes one batch, as the loop does."""
        self.loop._finish(self.loop._gather())

    def idle(self) -> None:
        """Lets time pass in which nothing comes."""
        self.agent._next_purge_s = 0.0
        self.agent._idle(self.road.present.now_ms)

    def rows(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Returns rows of the database."""
        return self.agent._db.execute(sql, parameters).fetchall()

    def documents(self, topic: str) -> list[dict[str, Any]]:
        """Returns what it published on a topic."""
        return [json.loads(payload) for where, payload, _ in self.sent if where == topic]

    def receipts(self, event_id: str) -> list[str]:
        """Returns what the till was told of an event."""
        found = self.documents(topics.event_receipt(STORE, TILL))
        return [each["outcome"] for each in found if each["id"] == event_id]

    def for_hq(self) -> list[dict[str, Any]]:
        """Returns what waits for HQ."""
        rows = self.rows("SELECT payload FROM outbox WHERE link = 'hq' ORDER BY id")
        return [json.loads(payload) for (payload,) in rows]

    def summaries(self, kind: str) -> list[dict[str, Any]]:
        """Returns the summaries of one kind that wait for HQ."""
        return [each for each in self.for_hq() if each.get("kind") == kind]


@contextmanager
def driven_agent(
    folder: Path,
    *,
    now_ms: int = T0,
    clock: str = "replay",
    extra: str = "",
    key: str = "",
    hq: str = "",
    rules: Path | None = None,
    shadow_rules: Path | None = None,
    system_clock: Any = SystemClock,
    ingest: str = NO_WAIT,
) -> Iterator[DrivenAgent]:
    """An agent to drive by hand; started again on the same folder it goes on from its disk.

    Args:
        folder: Its state folder.
        now_ms: The first tick of a replay's clock.
        clock: Which clock it goes by, `replay` or `system`.
        extra: More of its configuration.
        key: HQ's public key.
        hq: More of its section on HQ.
        rules: The chain's policy.
        shadow_rules: Another one that is asked beside it, and not heard.
        system_clock: What makes its clock, given `floor_ms`.
        ingest: Its section on what is taken in.
    """
    if key:
        hq += f'keys = {{ {DEMO_KEY_ID} = "{key}" }}\n'
    top = "" if rules is None else f'rules = "{rules}"\n'
    if shadow_rules is not None:
        top += f'shadow_rules = "{shadow_rules}"\n'
    text = CONFIG.format(store=STORE, folder=folder, clock=clock, hq=hq, top=top)
    text = text.replace(NO_WAIT, ingest)
    with (
        patch.object(app, "MqttLink", _silent_link),
        patch.object(app, "SystemClock", system_clock),
    ):
        agent = app.Agent(config.parse(text + extra, name="agent.toml"))
    driven = DrivenAgent(agent)
    if clock == "replay":
        driven.tick(now_ms)
    try:
        yield driven
    finally:
        agent._stop()


def told(source: str, kind: str, at_ms: int, event_id: str, **data: Any) -> dict[str, Any]:
    """Returns an event of an instant."""
    return {
        "specversion": "1.0",
        "id": event_id,
        "source": source,
        "type": kind,
        "time": rfc3339_from_ms(at_ms),
        "data": data,
    }


def entered(at_ms: int, phone: int, *, zone: str = "dairy", event_id: str = "") -> dict[str, Any]:
    """Returns that somebody came into a zone."""
    visitor = {"kind": "track", "value": f"t{phone}"}
    name = event_id or f"enter-{phone}-{zone}-{at_ms}"
    return told("cam-1", "zone.entered", at_ms, name, visitor=visitor, zone=zone)


def crowd(at_ms: int, phones: Iterable[int], *, zone: str = "dairy") -> list[dict[str, Any]]:
    """Returns that several people came into a zone at one time."""
    return [entered(at_ms, phone, zone=zone) for phone in phones]
