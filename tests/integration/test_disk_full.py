"""A full disk: nothing acknowledged is lost, opt-outs still count, and it heals by itself."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest
from typing_extensions import override

from edge_agent.domain.policy import Retention
from edge_agent.shell.control import FORGET_VISITOR, ask
from edge_agent.shell.retention import purge
from edge_agent.shell.sqlite_db import open_for_reading, open_for_writing
from edge_agent.wire.notices import AgentState
from tests.integration.broker import Broker
from tests.integration.full_disk import SmallDisk, small_disk
from tests.integration.running_agent import (
    STORE,
    Device,
    RunningAgent,
    device,
    event,
    visitor,
    wait_for,
)

pytestmark = pytest.mark.broker

CARD: Final = "6400000009005"
TILL: Final = "pos-2"
STATE: Final = f"store/{STORE}/agent/state"
SCREEN: Final = f"store/{STORE}/screen/dairy-1/recommendation"
ECHO: Final = "test/echo"
SHOWN_S: Final = 3
POLICY: Final = f"""
screen_show_s = {SHOWN_S}
default_show_s = {SHOWN_S}
"""
HEALS_WITHIN_S: Final = 30.0
N_BEFORE: Final = 20
N_DURING: Final = 40
"""Fewer than the broker sends without an acknowledgement."""


class ShortShowing(RunningAgent):
    """An agent whose screens show anything for a few seconds only."""

    @override
    def write_config(self, extra: str = "") -> None:
        """Writes the configuration file."""
        super().write_config(extra)
        text = self.config.read_text(encoding="utf-8")
        self.config.write_text(text.replace("[policy]\n", f"[policy]{POLICY}"), encoding="utf-8")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """The file system of the agent's state."""
    with small_disk(tmp_path / "agent" / "state", megabytes=8, test=__file__) as made:
        yield made


@pytest.fixture
def agent(tmp_path: Path, broker: Broker, disk: SmallDisk) -> Iterator[RunningAgent]:
    """An agent whose state lies on that file system."""
    made = ShortShowing(folder=tmp_path / "agent", port=broker.port)
    assert made.state == disk.folder
    made.start()
    yield made
    made.stop()


@pytest.fixture
def store(broker: Broker, agent: RunningAgent) -> Iterator[Device]:
    """Everything in the store that talks to the agent."""
    assert agent.is_running
    with device(broker.port) as made:
        yield made


def sale(number: int) -> dict[str, Any]:
    """Returns an event that a till wants a receipt for."""
    return event(TILL, "basket.opened", event_id=f"opened-{number}", basket=f"b{number}")


def told(store: Device) -> set[str]:
    """Returns the events that the till was told to be on disk."""
    topic = f"store/{STORE}/event/{TILL}/receipt"
    return {each["id"] for each in store.documents(topic) if each["outcome"] == "committed"}


def problems(store: Device) -> tuple[str, ...]:
    """Returns what the agent last said to be wrong."""
    return AgentState.model_validate_json(store.heard(STATE)[-1].payload).problems


def n_baskets(agent: RunningAgent) -> int:
    """Returns how many baskets are on the disk."""
    with closing(open_for_reading(agent.state / "state.db")) as connection:
        return int(connection.execute("SELECT count(*) FROM basket").fetchone()[0])


def withdrawals(agent: RunningAgent) -> list[str]:
    """Returns the purposes whose consent is withdrawn, on the disk."""
    with closing(open_for_reading(agent.state / "state.db")) as connection:
        rows = connection.execute("SELECT purpose FROM consent WHERE granted = 0")
        return sorted(str(purpose) for (purpose,) in rows)


def consent(kind: str, **more: Any) -> dict[str, Any]:
    """Returns what a card holder says at the till."""
    return event(TILL, kind, visitor=visitor("loyalty", CARD), **more)


def fill_until_noticed(disk: SmallDisk, store: Device) -> None:
    """Fills the disk and sends events until the agent says so."""
    disk.fill(leaving=16_384)
    store.send(*(sale(N_BEFORE + n) for n in range(N_DURING)))
    wait_for(lambda: "disk_full" in problems(store), what="the agent's word that the disk is full")
    disk.fill()


def test_a_full_disk_loses_nothing_and_heals(
    disk: SmallDisk, agent: RunningAgent, store: Device, broker: Broker
) -> None:
    """Nothing new is taken, what is shown expires, an opt-out is on disk; then all goes on."""
    store.send(consent("consent.granted", purposes=["personal_recommendations"]))
    store.send(*(sale(n) for n in range(N_BEFORE)))
    come = event(
        "ble-1", "zone.entered", visitor=visitor("ble", "AC:23:3F:00:00:01"), zone="dairy"
    )
    store.send(come)
    store.answer(SCREEN, come["id"])
    wait_for(lambda: len(told(store)) == N_BEFORE + 1, what="receipts")

    fill_until_noticed(disk, store)
    committed = told(store)
    assert len(committed) < N_BEFORE + 1 + N_DURING
    out = consent("consent.withdrawn")
    store.send(out)
    wait_for(lambda: out["id"] in told(store), what="the receipt of the opt-out")
    assert "personal_recommendations" in withdrawals(agent)
    assert told(store) - committed <= {out["id"]}
    _wait_screen_is_free(broker, store)

    disk.free()
    freed_s = time.monotonic()
    wait_for(lambda: not problems(store) or problems(store) == ("no_model",), what="healing")
    wait_for(lambda: len(told(store)) == N_BEFORE + N_DURING + 2, what="every receipt")
    assert time.monotonic() - freed_s < HEALS_WITHIN_S
    assert n_baskets(agent) == N_BEFORE + N_DURING
    assert "personal_recommendations" in withdrawals(agent)


def _wait_screen_is_free(broker: Broker, store: Device) -> None:
    """Waits until whoever looks at the screen's topic anew finds nothing kept there."""

    def is_free() -> bool:
        with device(broker.port) as late:
            # What is kept comes before anything that is published now.
            store.raw(ECHO, b"{}")
            wait_for(lambda: late.heard(ECHO), what="the echo")
            return not late.heard(SCREEN)

    assert not is_free(), "nothing was shown, so nothing can end"
    wait_for(is_free, what="the end of what was shown")


def test_an_opt_out_on_a_full_disk_outlives_a_kill(
    disk: SmallDisk, agent: RunningAgent, store: Device
) -> None:
    """Acknowledged is on the disk, however full it was, and the next start works with it."""
    store.send(consent("consent.granted", purposes=["personal_recommendations"]))
    store.send(*(sale(n) for n in range(N_BEFORE)))
    wait_for(lambda: len(told(store)) == N_BEFORE + 1, what="receipts")
    fill_until_noticed(disk, store)
    out = consent("consent.withdrawn")
    store.send(out)
    wait_for(lambda: out["id"] in told(store), what="the receipt of the opt-out")
    committed = told(store)
    agent.kill()
    agent.start()
    wait_for(lambda: "disk_full" in problems(store), what="the agent's word after its start")
    assert "personal_recommendations" in withdrawals(agent)
    disk.free()
    wait_for(lambda: len(told(store)) == N_BEFORE + N_DURING + 2, what="every receipt")
    assert committed <= told(store)
    assert n_baskets(agent) == N_BEFORE + N_DURING


def test_somebody_is_forgotten_on_a_full_disk_and_a_kill_does_not_bring_him_back(
    disk: SmallDisk, agent: RunningAgent, store: Device
) -> None:
    """The reserve is there for erasing too: no row and no byte of him is left."""
    granted = consent("consent.granted", purposes=["personal_recommendations"])
    store.send(granted)
    store.send(*(sale(n) for n in range(N_BEFORE)))
    wait_for(lambda: len(told(store)) == N_BEFORE + 1, what="receipts")
    (identifier,) = _identified(agent)
    fill_until_noticed(disk, store)
    answer = ask(
        agent.state / "control",
        {"do": FORGET_VISITOR, "identifier": CARD, "kind": "loyalty"},
    )
    assert answer["outcome"] == "forgotten"
    agent.kill()
    for path in agent.state.glob("state.db*"):
        assert identifier.encode() not in path.read_bytes(), path
    disk.free()
    agent.start()
    wait_for(lambda: len(told(store)) == N_BEFORE + N_DURING + 1, what="every receipt")
    assert not _identified(agent)


def _identified(agent: RunningAgent) -> list[str]:
    """Returns the pseudonyms of cards on the disk."""
    with closing(open_for_reading(agent.state / "state.db")) as connection:
        rows = connection.execute("SELECT pseudonym FROM link WHERE kind = 'loyalty'")
        return [str(pseudonym) for (pseudonym,) in rows]


def test_old_rows_stay_when_the_disk_does_not_take_their_deletion(
    disk: SmallDisk,
) -> None:
    """A purge that the disk refuses deletes nothing and leaves no transaction open."""
    with closing(open_for_writing(disk.folder / "own.db")) as connection:
        connection.execute("BEGIN")
        connection.executemany(
            "INSERT INTO inbox (mark, day) VALUES (?, 1)", [(n,) for n in range(5_000)]
        )
        connection.execute("COMMIT")
        disk.fill()
        with pytest.raises(sqlite3.Error):
            purge(connection, Retention(), now_ms=2_000_000_000_000)
        assert not connection.in_transaction
        assert connection.execute("SELECT count(*) FROM inbox").fetchone()[0] == 5_000
