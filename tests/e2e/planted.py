"""The agent with a fault planted, to show that the tests see it: `-m tests.e2e.planted FAULT …`.

Several faults are joined by a plus sign. Each replaces one method of the running process; the
product has no switch for any of them.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Final

from sqlite_utils import Database

from edge_agent.cli import main
from edge_agent.decide import candidates
from edge_agent.decide.candidates import request_for
from edge_agent.engine import deciding
from edge_agent.ingest.ordering import Timing, timing_of
from edge_agent.runner import event_intake
from edge_agent.runner.acknowledgements import Acknowledgements
from edge_agent.runner.commits import Commits
from edge_agent.runner.egress import HqGate
from edge_agent.runner.marks import Marks
from edge_agent.runner.outgoing import Outgoing
from edge_agent.runner.present import Present
from edge_agent.runner.road import Road
from edge_agent.runner.waiting import Waiting
from edge_agent.shell import sqlite_db
from edge_agent.shell.mqtt_client import MqttLink
from edge_agent.wire import topics

# Every so many of HQ's rows one is dropped.
DROPPED_EVERY: Final = 20
GATE_POLL_S: Final = 0.005
JITTER_MS: Final = 5
# Messages; fewer than the tests' broker sends without an acknowledgement.
LATE: Final = 60


def acknowledge_on_arrival() -> None:
    """Messages are acknowledged when they are queued, long before they are committed."""
    put = Waiting.put

    def eager(self: Any, link: str, delivery: Any) -> None:
        put(self, link, delivery)
        if link == "store":
            self._store_link.ack([delivery])

    _replace(Waiting, "put", eager)
    _replace(Acknowledgements, "send", _nothing)


def acknowledge_before_commit() -> None:
    """A batch is acknowledged right before its commit instead of right after it."""
    commit, acknowledge = Commits.commit, Acknowledgements.send

    def eager(self: Any, redo: Callable[[], None], messages: list[Any]) -> None:
        acknowledge(self._full_disk._acknowledgements, messages)
        # One turn of the network thread, so that the acknowledgement is really sent first.
        self._stopping.wait(0.005)
        commit(self, redo, messages)

    _replace(Commits, "commit", eager)
    _replace(Acknowledgements, "send", _nothing)


def acknowledge_late() -> None:
    """The newest messages are never acknowledged yet; no fault, but what makes some faults show.

    What is committed and not acknowledged when the agent is killed comes again. At an event of id
    I the agent stays as long as there is a file I.hold beside the configuration.
    """
    acknowledge, folder = Acknowledgements.send, Path(sys.argv[-1]).parent
    unsent: list[Any] = []

    def late(self: Any, messages: list[Any]) -> None:
        unsent.extend(messages)
        for hold in folder.glob("*.hold"):
            name = f'"id": "{hold.stem}"'.encode()
            while hold.exists() and any(name in each.payload for _, each in messages):
                time.sleep(GATE_POLL_S)
        acknowledge(self, unsent[:-LATE])
        del unsent[:-LATE]

    _replace(Acknowledgements, "send", late)


def migrate_in_pieces() -> None:
    """Every statement of a migration is a transaction of its own."""
    _replace(Database, "atomic", nullcontext)


def normal_for_full() -> None:
    """Commits are written but not synced."""
    sqlite_db._SYNCHRONOUS["power-loss"] = "NORMAL"


def no_dedupe() -> None:
    """An event that was taken in before is taken in again."""
    _replace(Marks, "has_seen", lambda *_: False)


def time_of_arrival() -> None:
    """What counts is when an event came, not when it happened."""

    def naive(_event_ms: int | None, *, now_ms: int, **_: object) -> Timing:
        return Timing(now_ms, may_decide=True, may_correct=True, was_impossible=False)

    _replace(event_intake, "timing_of", naive)


def machine_time() -> None:
    """The machine's own clock has a say in the agent's present."""
    set_now = Present.set_now

    def jittery(self: Any, now_ms: int) -> None:
        set_now(self, now_ms + time.monotonic_ns() % JITTER_MS)

    _replace(Present, "set_now", jittery)


def drop_outbox_row() -> None:
    """Now and then a row for HQ is not written."""
    send = Outgoing.send_to_hq
    n_rows = 0

    def forgetful(self: Any, message: Any) -> None:
        nonlocal n_rows
        n_rows += 1
        if n_rows % DROPPED_EVERY:
            send(self, message)

    _replace(Outgoing, "send_to_hq", forgetful)


def acknowledge_stale() -> None:
    """An acknowledgement of an earlier connection is sent on the present one."""
    ack = MqttLink.ack

    def careless(self: Any, deliveries: Any) -> None:
        deliveries = list(deliveries)
        for delivery in deliveries:
            delivery.generation = self.generation
        ack(self, deliveries)

    _replace(MqttLink, "ack", careless)


def held_commit() -> None:
    """A batch commits when a test lets it; no fault, but what makes some faults show.

    An event of source S waits for a file S.gate beside the configuration, and a file S.held says
    that it waits.
    """
    commit, folder = Commits.commit, Path(sys.argv[-1]).parent

    def held(self: Any, redo: Callable[[], None], messages: list[Any]) -> None:
        sources = {delivery.topic.rpartition("/")[2] for _, delivery in messages}
        for source in sources & {"first", "second"}:
            (folder / f"{source}.held").touch()
            while not (folder / f"{source}.gate").exists():
                self._stopping.wait(GATE_POLL_S)
        commit(self, redo, messages)

    _replace(Commits, "commit", held)


def event_to_hq() -> None:
    """One raw event goes up to HQ."""
    take = Road.take

    def talkative(self: Any, delivery: Any) -> int:
        store = self.present.context.store
        if b"visit.started" in delivery.payload and self.counters["accepted"] < DROPPED_EVERY:
            from edge_agent.domain.effects import SendToHq  # noqa: PLC0415 - this fault's alone

            self.outgoing.send_to_hq(
                SendToHq(
                    message_id=str(hash(delivery.payload)),
                    topic=topics.hq_up(store, "state"),
                    payload=delivery.payload,
                    kind="state",
                )
            )
        return take(self, delivery)

    _replace(Road, "take", talkative)


def no_egress_gate() -> None:
    """Whatever is queued for HQ leaves, unlooked at."""

    def careless(self: Any, message_id: str, topic: str, payload: bytes, *, now_ms: int) -> bool:
        del message_id, now_ms
        self._link.publish(topic, payload)
        return True

    _replace(HqGate, "send", careless)


def gates_open() -> None:
    """Every gate stands open: late events, complaints, history, what is held, caps."""

    def decides_always(*given: Any, **named: Any) -> Timing:
        return dataclasses.replace(timing_of(*given, **named), may_decide=True)

    def knows_no_basket(moment: Any, **named: Any) -> Any:
        return request_for(dataclasses.replace(moment, in_basket=()), **named)

    _replace(event_intake, "timing_of", decides_always)
    _replace(deciding, "request_for", knows_no_basket)
    _replace(deciding, "silence_for", _nothing)
    _replace(deciding, "cap_reached", _nothing)
    _replace(candidates, "may_use_history", lambda _: True)
    _replace(candidates, "refusal_of", _nothing)


FAULTS: Final[dict[str, Callable[[], None]]] = {
    each.__name__: each
    for each in (
        acknowledge_on_arrival,
        acknowledge_before_commit,
        acknowledge_late,
        migrate_in_pieces,
        normal_for_full,
        no_dedupe,
        time_of_arrival,
        machine_time,
        drop_outbox_row,
        acknowledge_stale,
        held_commit,
        event_to_hq,
        no_egress_gate,
        gates_open,
    )
}


def _replace(owner: Any, name: str, by: Any) -> None:
    """Replaces what is there: a fault that hits nothing would prove nothing."""
    getattr(owner, name)
    setattr(owner, name, by)


def _nothing(*_: object, **__: object) -> None:
    """Does nothing."""


if __name__ == "__main__":
    for name in sys.argv.pop(1).split("+"):
        FAULTS[name]()
    sys.argv.insert(1, "run")
    main()
