"""The road on a real broker: an event in; a recommendation, offer, alert or refusal out."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from edge_agent.wire.notices import AgentState, DeadLetterNotice
from edge_agent.wire.screens import ReceiptOffer, Recommendation, RecommendReply
from edge_agent.wire.staff import StaffAlert
from tests.integration.broker import Broker, running_broker
from tests.integration.running_agent import (
    STORE,
    Device,
    RunningAgent,
    device,
    event,
    running_agent,
    visitor,
    wait_for,
)

pytestmark = pytest.mark.broker

DAIRY = f"store/{STORE}/screen/dairy-1/recommendation"
BAKERY = f"store/{STORE}/screen/bakery-1/recommendation"
DEAD = f"store/{STORE}/deadletter"
STATE = f"store/{STORE}/agent/state"
REQUEST = f"store/{STORE}/recommend/request"
MILK = "1029743"


@pytest.fixture(scope="module")
def shared_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """One broker for the tests of this file that share an agent."""
    with running_broker(tmp_path_factory.mktemp("broker")) as running:
        yield running


@pytest.fixture(scope="module")
def agent(
    shared_broker: Broker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningAgent]:
    """One agent with the released model."""
    folder = tmp_path_factory.mktemp("agent")
    with running_agent(folder, shared_broker.port, has_model=True) as running:
        yield running


@pytest.fixture
def store(shared_broker: Broker, agent: RunningAgent) -> Iterator[Device]:
    """Everything in the store that talks to the agent."""
    assert agent.is_running
    with device(shared_broker.port) as made:
        yield made


def entered(zone: str, phone: str, **more: Any) -> dict[str, Any]:
    """Returns that a phone came into a zone."""
    return event("ble-1", "zone.entered", visitor=visitor("ble", phone), zone=zone, **more)


def test_an_event_puts_a_recommendation_on_the_screen(store: Device, agent: RunningAgent) -> None:
    """Entering a zone shows items on its screen, kept for a screen that comes late."""
    come = entered("dairy", "AC:23:3F:00:00:01")
    store.send(come)
    shown = Recommendation.model_validate_json(json.dumps(store.answer(DAIRY, come["id"])))
    assert shown.items
    assert shown.cause.source == "ble-1"
    with device(agent.port) as late_screen:
        kept = wait_for(lambda: late_screen.heard(DAIRY), what="the kept recommendation")
        assert kept[0].retain


def test_leaving_gives_the_screen_back_to_the_store(store: Device) -> None:
    """When the visitor leaves, the default comes back, in answer to his leaving."""
    phone = "AC:23:3F:00:00:02"
    come = entered("bakery", phone)
    store.send(come)
    shown = store.answer(BAKERY, come["id"])
    go = event("ble-1", "zone.left", visitor=visitor("ble", phone), zone="bakery")
    store.send(go)
    default = store.answer(BAKERY, go["id"])
    assert default["decision"] != shown["decision"]
    assert default["items"]


def test_a_basket_line_brings_a_receipt_offer(store: Device) -> None:
    """An open basket is answered with something that is not in it."""
    store.send(event("pos-2", "basket.opened", basket="7001"))
    line = event("pos-2", "basket.item_added", basket="7001", product=MILK)
    store.send(line)
    topic = f"store/{STORE}/receipt/pos-2/offer"
    offer = ReceiptOffer.model_validate_json(json.dumps(store.answer(topic, line["id"])))
    assert offer.items
    assert MILK not in {item.product for item in offer.items}
    assert "7001" not in json.dumps(store.answer(topic, line["id"]))


def test_a_long_dwell_calls_staff_and_names_nobody(store: Device) -> None:
    """Who stands long before the wine without taking any is offered help by a person."""
    phone = "AC:23:3F:00:00:03"
    # Has been there for a while already, so that the test need not wait.
    stay = event("cam-1", "zone.dwell", visitor=visitor("ble", phone), zone="wine", dwell_s=60)
    store.send(stay)
    topic = f"store/{STORE}/staff/cellar/alert"
    wait_for(lambda: store.heard(topic), what="an alert")
    alert = StaffAlert.model_validate_json(store.heard(topic)[0].payload)
    assert alert.zone == "wine"
    assert alert.dwell_s is not None
    assert alert.dwell_s >= 10
    assert b"AC:23" not in store.heard(topic)[0].payload


def test_a_request_is_answered_where_and_as_it_asks(store: Device) -> None:
    """The answer goes to the response topic with the request's correlation data."""
    topic = f"store/{STORE}/reply/kiosk-1"
    body = json.dumps({"source": "kiosk-1", "id": "q1", "products": [MILK], "limit": 3})
    store.raw(REQUEST, body.encode(), response_topic=topic, correlation=b"\x00\x01q1")
    reply = RecommendReply.model_validate_json(json.dumps(store.answer(topic, "q1")))
    assert 0 < len(reply.items) <= 3
    assert MILK not in {item.product for item in reply.items}
    assert store.heard(topic)[0].correlation == b"\x00\x01q1"


@pytest.mark.parametrize(
    "topic",
    [
        DAIRY,
        f"store/{STORE}/event/pos-2",
        f"store/{STORE}/staff/cellar/alert",
        f"store/{STORE}/reply",
        f"store/{STORE}/reply/../screen/dairy-1/recommendation/#",
        "store/other/reply/x",
        f"hq/{STORE}/up/customer",
        "$SYS/x",
        None,
    ],
)
def test_an_answer_never_goes_where_others_listen(store: Device, topic: str | None) -> None:
    """A request may not have its answer put on a screen, a till or HQ's link."""
    source = f"asker-{abs(hash(topic)) % 10_000}"
    options: dict[str, Any] = {} if topic is None or "#" in topic else {"response_topic": topic}
    store.raw(REQUEST, json.dumps({"source": source, "id": "q"}).encode(), **options)
    refused = wait_for(
        lambda: [each for each in store.documents(DEAD) if each["source"] == source],
        what="the refusal",
    )
    assert refused[0]["reason"] == "invalid"
    assert source.encode() not in b"".join(
        m.payload for m in store.heard(DAIRY) + store.heard(topic or DAIRY)
    )


def receipts(store: Device, event_id: str) -> list[str]:
    """Returns the outcomes that till pos-2 was told of an event."""
    topic = f"store/{STORE}/event/pos-2/receipt"
    return [each["outcome"] for each in store.documents(topic) if each["id"] == event_id]


def _has_receipts(store: Device, event_id: str, at_least: int) -> bool:
    return len(receipts(store, event_id)) >= at_least


def test_a_till_is_told_what_is_on_disk_and_again_when_it_repeats(store: Device) -> None:
    """Every repeat of an event gets its receipt again, though it changes nothing."""
    paid = event(
        "pos-2",
        "sale.completed",
        basket="7002",
        currency="USD",
        total="1.00",
        lines=[{"product": MILK, "quantity": 1, "amount": "1.00"}],
    )
    for n in range(1, 4):
        store.send(paid)
        wait_for(partial(_has_receipts, store, paid["id"], n), what="a receipt")
    assert set(receipts(store, paid["id"])) == {"committed"}


def test_a_till_is_told_that_its_event_is_refused(store: Device) -> None:
    """A broken event of a till is answered, so that the till stops repeating it."""
    broken = event("pos-2", "sale.completed", basket="7003")
    store.send(broken)
    wait_for(lambda: receipts(store, broken["id"]), what="a receipt")
    assert receipts(store, broken["id"]) == ["refused"]


def test_no_device_can_have_a_tills_event_refused(store: Device) -> None:
    """A broken event in a till's name on another's topic tells the till nothing."""
    forged = event("pos-2", "sale.completed", event_id="forged-1", basket="7004")
    store.raw(f"store/{STORE}/event/ble-1", json.dumps(forged).encode())
    after = entered("dairy", "AC:23:3F:00:00:04")
    store.send(after)
    store.answer(DAIRY, after["id"])
    assert receipts(store, "forged-1") == []


def test_no_screen_can_make_a_tills_sale_vanish(store: Device) -> None:
    """A screen that uses a till's event id first does not make the sale look like a repeat."""
    feedback = event("pos-2", "screen.shown", event_id="sale-9", decision="d", screen="dairy-1")
    store.raw(f"store/{STORE}/screen/dairy-1/feedback", json.dumps(feedback).encode())
    store.send(event("pos-2", "basket.opened", basket="7005"))
    line = event("pos-2", "basket.item_added", event_id="sale-9", basket="7005", product=MILK)
    store.send(line)
    assert store.answer(f"store/{STORE}/receipt/pos-2/offer", "sale-9")


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        (f"store/{STORE}/event/ble-1", b"\xff\x00garbage"),
        (f"store/{STORE}/event/ble-1", b"[" * 20_000),
        (f"store/{STORE}/event/" + "x" * 3_000, b"garbage"),
        (f"store/{STORE}/event/ble-1", b"9" * 300_000),
        (
            f"store/{STORE}/screen/dairy-1/feedback",
            b'{"specversion":"1.0","id":"w","source":"#","type":"screen.shown","receipt":true,'
            b'"data":{"decision":"d","screen":"dairy-1"}}',
        ),
        (
            f"store/{STORE}/event/pos-2",
            b'{"specversion":"1.0","id":"r","source":"pos-2","type":"basket.item_added",'
            b'"data":{"basket":"1","product":"1029743","register":"+/#"}}',
        ),
        (f"store/{STORE}/staff/cellar/feedback", b"{}"),
        (REQUEST, b"null"),
    ],
    ids=[
        "bytes",
        "depth",
        "long-topic",
        "size",
        "wildcard-source",
        "wildcard-register",
        "staff",
        "request",
    ],
)
def test_a_poison_message_spares_its_neighbours(
    store: Device, agent: RunningAgent, topic: str, payload: bytes
) -> None:
    """Whatever one device sends, the next event of another is answered."""
    store.raw(topic, payload)
    come = entered("dairy", f"AC:23:3F:01:00:{abs(hash((topic, payload))) % 89 + 10}")
    store.send(come)
    assert store.answer(DAIRY, come["id"])["items"]
    assert agent.is_running


def test_a_bad_event_of_a_batch_spares_the_others(store: Device) -> None:
    """In one message, the good events count and the bad one is told of."""
    good = entered("dairy", "AC:23:3F:00:00:05")
    bad = {**entered("dairy", "AC:23:3F:00:00:06"), "type": "zone.vanished"}
    store.raw(f"store/{STORE}/event/ble-1", json.dumps([bad, good]).encode())
    store.answer(DAIRY, good["id"])
    told = wait_for(
        lambda: [each for each in store.documents(DEAD) if each["event"] == bad["id"]],
        what="the dead letter",
    )
    assert told[0]["reason"] == "unknown_type"
    DeadLetterNotice.model_validate_json(json.dumps(told[0]))


def test_a_dead_letter_tells_why_but_not_what(store: Device) -> None:
    """What was personal in a refused message is not on the dead letters' topic."""
    phone, card = "AC:23:3F:77:77:77", "6400000077775"
    bad = event("ble-1", "zone.entered", visitor=visitor("ble", phone), zone=7, note=card)
    store.send(bad)
    wait_for(
        lambda: [each for each in store.documents(DEAD) if each["event"] == bad["id"]],
        what="the dead letter",
    )
    told = b"".join(message.payload for message in store.heard(DEAD))
    assert phone.encode() not in told
    assert card.encode() not in told


def test_a_complaint_silences_at_once(store: Device) -> None:
    """After a complaint the same person gets nothing, and his screen goes back to the store."""
    phone = "AC:23:3F:00:00:07"
    come = entered("bakery", phone)
    store.send(come)
    store.answer(BAKERY, come["id"])
    complaint = event(
        "desk-1", "complaint.opened", visitor=visitor("ble", phone), complaint="case-1"
    )
    store.send(complaint)
    assert store.answer(BAKERY, complaint["id"])["items"]
    again, other = entered("dairy", phone), entered("dairy", "AC:23:3F:00:00:08")
    store.send(again, other)
    store.answer(DAIRY, other["id"])
    assert again["id"] not in {each["cause"]["id"] for each in store.documents(DAIRY)}


def test_a_repeat_is_not_answered_twice(store: Device) -> None:
    """A sensor that sends an event again gets no second decision."""
    come = entered("dairy", "AC:23:3F:00:00:09")
    after = entered("dairy", "AC:23:3F:00:00:10")
    store.send(come, come, after)
    store.answer(DAIRY, after["id"])
    assert [each["cause"]["id"] for each in store.documents(DAIRY)].count(come["id"]) == 1


def spellings(value: str) -> list[bytes]:
    """Returns a raw identifier as it might lie on a disk: plain, bare, hexadecimal, base64."""
    bare = value.replace(":", "")
    kept = {value, value.lower(), bare, bare.lower()}
    plain = [each.encode() for each in kept]
    return [
        *plain,
        *(each.hex().encode() for each in plain),
        *(base64.b64encode(each).rstrip(b"=") for each in plain),
        *(each.decode().encode("utf-16-le") for each in plain),
        *(hashlib.sha256(each).hexdigest().encode() for each in plain),
        *(hashlib.md5(each, usedforsecurity=False).hexdigest().encode() for each in plain),
        *([bytes.fromhex(bare)] if ":" in value else []),
    ]


def test_no_raw_identifier_is_anywhere_on_the_disk(store: Device, agent: RunningAgent) -> None:
    """Database, its log, keys and logs hold no identifier in any usual spelling."""
    phone, card, app = "AC:23:3F:99:88:77", "6400000098765", "app-4f8a1c-person"
    number = "31198570099"
    come = entered("dairy", phone)
    store.send(
        event(
            "desk-1",
            "consent.granted",
            visitor=visitor("loyalty", card),
            purposes=["personal_recommendations"],
        ),
        event("app-1", "visitor.detected", visitor=visitor("app", app)),
        event("pos-2", "basket.opened", basket=number),
        event("pos-2", "loyalty.scanned", basket=number, visitor=visitor("loyalty", card)),
        {**entered("dairy", phone), "type": "nothing.known"},
        come,
    )
    store.answer(DAIRY, come["id"])
    files = [each for each in agent.folder.rglob("*") if each.is_file() and each != agent.config]
    assert any(each.name == "state.db" for each in files)
    for value in (phone, card, app, number):
        for spelling in spellings(value):
            for each in files:
                assert spelling not in each.read_bytes(), (each.name, spelling)
            assert value.encode() not in _from_the_agent(store)


def _from_the_agent(store: Device) -> bytes:
    topics = (DAIRY, BAKERY, DEAD, STATE, f"store/{STORE}/receipt/pos-2/offer")
    return b"".join(message.payload for topic in topics for message in store.heard(topic))


def test_the_agent_says_that_it_is_there_and_that_it_is_gone(
    tmp_path: Path, broker: Broker
) -> None:
    """Online when subscribed, offline when stopped in order."""
    with device(broker.port) as watcher:
        running = RunningAgent(folder=tmp_path / "agent", port=broker.port)
        running.start()
        wait_for(lambda: "online" in states(watcher), what="online")
        assert running.stop() == 0
        wait_for(lambda: states(watcher)[-1] == "offline", what="offline")
    with device(broker.port) as late:
        kept = wait_for(lambda: late.heard(STATE), what="the kept state")
        assert kept[0].retain


def test_the_broker_says_that_a_killed_agent_is_gone(tmp_path: Path, broker: Broker) -> None:
    """The last will says offline, and a new start says online again; screens are never empty."""
    with device(broker.port) as watcher:
        running = RunningAgent(folder=tmp_path / "agent", port=broker.port)
        running.start()
        wait_for(lambda: "online" in states(watcher), what="online")
        running.kill()
        wait_for(lambda: states(watcher)[-1] == "offline", what="the last will")
        running.start()
        wait_for(lambda: states(watcher)[-1] == "online", what="online again")
        # Without a model and without a sale there is still something to see.
        wait_for(lambda: watcher.heard(DAIRY), what="the store's default")
        assert watcher.documents(DAIRY)[0]["items"]
        running.stop()


def states(watcher: Device) -> list[str]:
    """Returns what the agent's state topic said, oldest first."""
    return [
        AgentState.model_validate_json(message.payload).status for message in watcher.heard(STATE)
    ]
