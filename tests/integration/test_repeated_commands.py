"""A command of HQ that comes again: it was committed, and the agent ended before its answer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from edge_agent.domain.time import SECOND_MS
from edge_agent.hq.keys import public_text
from edge_agent.shell.signing import DEMO_KEY_ID, demo_private_key, sign_command
from edge_agent.wire import topics
from edge_agent.wire.downlink import FactBody, FactCommand
from tests.factories import T0
from tests.integration.driven_agent import STORE, DrivenAgent, driven_agent

KEY: Final = demo_private_key()
NOW: Final = datetime.fromtimestamp(T0 / SECOND_MS, UTC)


def fact(name: str, version: int) -> bytes:
    """Returns a signed command; all of them are about the same fact."""
    later = NOW + timedelta(days=1)
    command = FactCommand(
        command=name,
        store=STORE,
        version=version,
        key="rain",
        issued_at=NOW,
        expires_at=later,
        kind="fact",
        body=FactBody(name="rain", value=True, valid_until=later),
    )
    return sign_command(command, key=KEY, key_id=DEMO_KEY_ID)


def hears(agent: DrivenAgent, *commands: bytes) -> None:
    """Hands words of HQ in as one batch."""
    for each in commands:
        agent.raw(topics.hq_down(STORE, "fact"), each, link="hq")
    agent.turn()


def confirmed(agent: DrivenAgent) -> list[tuple[Any, Any]]:
    """Returns which commands were confirmed, and how."""
    return [(each["command"], each["outcome"]) for each in agent.for_hq() if "confirm_id" in each]


def test_command_that_comes_again_is_confirmed_once(tmp_path: Path) -> None:
    """In the same batch, in the next one and after a start; one that is no repeat is refused."""
    once = [("first", "taken")]
    with driven_agent(tmp_path, now_ms=T0, key=public_text(KEY)) as agent:
        hears(agent, fact("first", 2), fact("first", 2))
        assert confirmed(agent) == once
        hears(agent, fact("first", 2))
        assert confirmed(agent) == once
    with driven_agent(tmp_path, now_ms=T0, key=public_text(KEY)) as agent:
        hears(agent, fact("first", 2))
        assert confirmed(agent) == once
        hears(agent, fact("second", 2))
        assert confirmed(agent) == [*once, ("second", "refused")]
