"""The law parse(build(x)) = x, for every message of the wire."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.wire.base import Message
from edge_agent.wire.catalog import MESSAGES, message_name
from edge_agent.wire.downlink import COMMAND, Command
from edge_agent.wire.events import EVENT, CloudEvent
from tests.strategies import commands, events, messages


def built(message: Message) -> str:
    """Returns a message as it stands on the wire."""
    return message.model_dump_json(by_alias=True)


@pytest.mark.parametrize("model", MESSAGES, ids=message_name)
@given(data=st.data())
def test_parsing_what_was_built_gives_the_same_message(
    model: type[Message], data: st.DataObject
) -> None:
    """No field is lost, renamed or rounded on its way over a broker."""
    message = data.draw(messages(model))
    assert model.model_validate_json(built(message)) == message


@given(events())
def test_an_event_is_told_apart_by_its_type(event: CloudEvent) -> None:
    """The union gives back the same class, so no two events can be mistaken for each other."""
    parsed = EVENT.validate_json(built(event))
    assert type(parsed) is type(event)
    assert parsed == event


@given(commands())
def test_a_command_is_told_apart_by_its_kind(command: Command) -> None:
    """The union gives back the same class for every kind of command."""
    parsed = COMMAND.validate_json(built(command))
    assert type(parsed) is type(command)
    assert parsed == command
