"""What waits for a store's broker that is away, when its person is forgotten: it is never sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest

from edge_agent.shell import rights_desk
from edge_agent.shell.mqtt_client import Incoming, LinkSettings, MqttLink, Subscription
from tests.factories import CARD, T0
from tests.integration.broker import Broker
from tests.integration.driven_agent import DrivenAgent, driven_agent, entered, told
from tests.integration.running_agent import wait_for

STORY: Final = b"The cheese was old, and nobody came."
OTHER: Final = b"Somebody stands there."
ALERT: Final = "store/s1/staff/floor/alert"
HIS: Final = 7
ANOTHER_S: Final = 8


def link_to(broker: Broker, name: str, **more: Any) -> MqttLink:
    """Returns a connection that is being made."""
    settings = LinkSettings(host=broker.host, port=broker.port, client_id=name, keepalive_s=5)
    link = MqttLink(settings, **more)
    link.start()
    return link


def heard_from(broker: Broker, sender: MqttLink) -> list[bytes]:
    """Returns what is heard once all that the sender has left is acknowledged."""
    heard: list[Incoming] = []
    ear = link_to(
        broker,
        "ear",
        subscriptions=(Subscription(topic_filter="store/#"),),
        on_message=heard.append,
    )
    try:
        wait_for(lambda: sender.connected and not sender.n_unacknowledged, what="sending")
        wait_for(lambda: [each for each in heard if each.payload == OTHER], what="the other one")
    finally:
        ear.stop()
    return [each.payload for each in heard]


@pytest.mark.broker
def test_a_message_to_a_broker_that_is_away_is_forgotten(tmp_path: Path) -> None:
    """In memory at once, and on the wire for ever."""
    broker = Broker(folder=tmp_path / "broker")
    sender = link_to(broker, "agent")
    try:
        sender.publish(f"{ALERT}/1", STORY, retain=True, token=HIS)
        sender.publish(f"{ALERT}/2", OTHER, retain=True, token=ANOTHER_S)
        sender.unsend({HIS})
        assert STORY.decode() not in repr((sender._commands, sender._in_flight))
        broker.start()
        assert heard_from(broker, sender) == [OTHER]
    finally:
        sender.stop()
        broker.kill()


@pytest.mark.broker
def test_a_message_in_flight_is_not_sent_again(tmp_path: Path) -> None:
    """A broker that hangs has not taken it; the one that comes after it never sees it."""
    broker = Broker(folder=tmp_path / "broker")
    broker.start()
    sender = link_to(broker, "agent")
    try:
        wait_for(lambda: sender.connected)
        broker.freeze()
        sender.publish(f"{ALERT}/1", STORY, retain=True, token=HIS)
        sender.publish(f"{ALERT}/2", OTHER, retain=True, token=ANOTHER_S)
        wait_for(lambda: len(sender._in_flight) == 2)
        sender.unsend({HIS})
        client: Any = sender._client
        assert STORY not in [each.payload for each in client._out_messages.values()]
        broker.kill()
        broker.start()
        assert heard_from(broker, sender) == [OTHER]
        assert not client._out_messages
    finally:
        sender.stop()
        broker.kill()


def complained_in_store(agent: DrivenAgent, story: str) -> None:
    """Has the card's holder complain while his telephone stands in the dairy."""
    card, phone = {"kind": "loyalty", "value": CARD}, {"kind": "track", "value": "t1"}
    agent.take(
        told("desk", "consent.granted", T0, "g", visitor=card, purposes=["profiling"]),
        told("pos-2", "basket.opened", T0, "o", basket="b1", visitor=phone),
        told("pos-2", "loyalty.scanned", T0, "l", basket="b1", visitor=card),
        entered(T0 + 1, 1),
    )
    agent.take(
        told("desk", "complaint.opened", T0 + 2, "c", visitor=card, complaint="1", story=story)
    )


@pytest.mark.parametrize("who", ["card", "telephone"])
def test_a_story_goes_with_its_person(tmp_path: Path, who: str) -> None:
    """Whichever identifier he is forgotten by; what waits for others stays."""
    asked = {"card": (CARD, "loyalty"), "telephone": ("t1", "track")}[who]
    with driven_agent(tmp_path) as agent:
        complained_in_store(agent, STORY.decode())
        agent.take(told("button-1", "help.requested", T0 + 3, "h", zone="dairy"))
        waiting = "SELECT CAST(payload AS TEXT) FROM outbox WHERE topic = ?"
        assert len(agent.rows(waiting, ALERT)) == 2
        desk = agent.agent._rights
        identifier = rights_desk._asked({"identifier": asked[0], "kind": asked[1]})
        agent.loop._taking.called(lambda: desk._erase(identifier, 0))
        agent.loop._commits._writing.write()
        (left,) = agent.rows(waiting, ALERT)
        assert STORY.decode() not in left[0]
        assert [STORY in payload for topic, payload, _ in agent.sent if topic == ALERT] == [False]
    assert STORY.decode() not in repr([*_texts(tmp_path)])


def _texts(folder: Path) -> list[bytes]:
    return [each.read_bytes() for each in folder.iterdir() if each.is_file()]
