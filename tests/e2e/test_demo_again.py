"""The demo's stage: when its day is over, and its agent's second start as with `--keep`."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Final

import pytest

from edge_agent.demo import figures
from edge_agent.demo.onlooker import Onlooker
from edge_agent.demo.settings import DemoOptions, StateFolder
from edge_agent.demo.stage import Stage
from edge_agent.domain.time import datetime_from_ms
from edge_agent.replay import play as playing
from edge_agent.replay.publisher import BrokerPublisher
from edge_agent.shell.embedded_broker import LOOPBACK
from edge_agent.shell.mqtt_client import LinkSettings
from tests.e2e.waiting import wait_for

N_KEPT: Final = 300
"""More than the 100 messages that the embedded broker lets one client leave unacknowledged."""


def test_an_answer_that_is_taken_for_the_last_one_does_not_end_the_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each copy of an event is answered: the agent ends when it is done, not when it seems so."""
    monkeypatch.setattr(Onlooker, "has_receipt", lambda *_: True)
    folder = StateFolder(tmp_path / "state")
    folder.prepare()
    replay = playing.ReplayOptions(baskets=20)
    options = DemoOptions(replay=replay, host=LOOPBACK, port=0)
    prepared = playing.prepare(replay)
    with Stage(options, prepared, folder, prepared.profiles()) as stage:
        stage.start()
        outcome = stage.perform(lambda _: None)
    assert outcome.play.is_complete
    assert figures.n_waiting_for_hq(folder.agent_database) == 0
    *_, last = (each.at for each in prepared.publications() if each.is_tick)
    assert datetime_from_ms(figures.agent_now_ms(folder.agent_database)) == last


def test_agent_starts_again_however_much_the_broker_kept_for_it(tmp_path: Path) -> None:
    """What came to its filter since it ended does not keep the agent's second start offline."""
    folder = StateFolder(tmp_path / "state")
    folder.prepare()
    replay = playing.ReplayOptions(baskets=1)
    options = DemoOptions(replay=replay, host=LOOPBACK, port=0)
    prepared = playing.prepare(replay)
    with Stage(options, prepared, folder, prepared.profiles()) as stage:
        stage.start()
        assert stage.perform(lambda _: None).play.is_complete
        leave_messages(folder, store=replay.store)
        # It returns when the agent is seen to be online, and raises when it is not in time.
        stage.run_agent_again()
        wait_for(lambda: n_starts(folder) == 2, "the agent's second start stands in its log")


def n_starts(folder: StateFolder) -> int:
    """How often the agent was ready."""
    return folder.agent_log.read_text().count('"event": "ready"')


def leave_messages(folder: StateFolder, *, store: str) -> None:
    """Publishes to the agent's filter, and returns when the broker has everything."""
    port = tomllib.loads(folder.config.read_text())["broker"]["port"]
    settings = LinkSettings(host=LOOPBACK, port=port, client_id="leaver", clean_start=True)
    with BrokerPublisher(settings) as publisher:
        for _ in range(N_KEPT):
            publisher.publish(f"store/{store}/elsewhere", b"{}")
        publisher.flush()
