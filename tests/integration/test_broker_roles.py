"""What each role may do on the store's broker, proven by what is delivered.

The broker is a real mosquitto with the shipped configuration and the access list that `enrol`
writes from the shipped roles. The tables below are the specification, written apart from those
files: whatever is not listed must not arrive. An auditor, added by the test alone, sees all of it.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from datetime import timedelta
from typing import Final

import pytest

from provisioning import enrol, pki
from tests.integration.broker import Broker, free_port
from tests.integration.enrolled import (
    WAIT_S,
    Client,
    Login,
    RefusedError,
    Store,
    now,
    shipped_config,
)

pytestmark = pytest.mark.broker

STORE: Final = "s1"

ACCOUNTS: Final = {
    "ble-1": enrol.Account(name="ble-1", role="device"),
    "pos-1": enrol.Account(name="pos-1", role="pos"),
    "dairy-1": enrol.Account(name="dairy-1", role="screen"),
    "kiosk-1": enrol.Account(name="kiosk-1", role="kiosk"),
    "floor-1": enrol.Account(name="floor-1", role="staff", team="floor"),
    "xovis-1": enrol.Account(name="xovis-1", role="vendor", publish="xovis/one/#"),
    "bridge": enrol.Account(name="bridge", role="bridge"),
}
STRANGERS: Final = ("replay", "admin", "nobody")
"""Names with a valid certificate of the store's authority and no role."""
NAMES: Final = ("agent", "pages", *ACCOUNTS, *STRANGERS)

OWN_TOPICS: Final = tuple(
    f"store/{STORE}/{topic.format(name)}"
    for name in (*ACCOUNTS, "other")
    for topic in (
        "event/{}",
        "event/{}/receipt",
        "screen/{}/recommendation",
        "screen/{}/feedback",
        "receipt/{}/offer",
        "reply/{}",
        "reply/{}/7",
    )
)
BRIDGED: Final = frozenset(
    {
        "square/webhook",
        "shopify/orders/paid",
        "lightspeed/sale.update",
        "loyverse/receipts",
        "zettle/purchases",
        "pos/3/poslog",
        "ekuitti/receipt",
        "nexo/lane-1",
        "hikvision/door",
        "vivotek/door",
        "epcis/capture",
        "disruptive/door",
    }
)
"""What comes in over the bridge."""
TOPICS: Final = (
    *OWN_TOPICS,
    *sorted(BRIDGED),
    "pos/3",
    "pos/3/poslog/more",
    "hikvision/door/more",
    *(
        f"store/{STORE}/staff/{team}/{kind}"
        for team in ("floor", "wine")
        for kind in ("alert", "feedback")
    ),
    f"store/{STORE}/recommend/request",
    f"store/{STORE}/offer/request",
    f"store/{STORE}/agent/state",
    f"store/{STORE}/deadletter",
    f"store/{STORE}/clock",
    "store/s2/event/pos-1",
    "store/s2/screen/dairy-1/recommendation",
    "xovis/one/counts",
    "xovis/two/counts",
    f"hq/{STORE}/up/summary/footfall",
    "hq/all/down/campaign",
    "$SYS/broker/uptime",
    "$CONTROL/dynamic-security/v1",
)
FILTERS: Final = (
    "#", "+/#", "+/+/+/+/#", "$SYS/#", "$CONTROL/#", "$share/g/#", f"$share/g/store/{STORE}/#",
)  # fmt: skip
"""What a curious client subscribes to, besides every topic by name."""


def _topics(*endings: str) -> frozenset[str]:
    return frozenset(f"store/{STORE}/{ending}" for ending in endings)


def _every(kind: str, last: str) -> frozenset[str]:
    return _topics(*(f"{kind}/{name}{last}" for name in (*ACCOUNTS, "other")))


ALERTS: Final = _topics("staff/floor/alert", "staff/wine/alert")
STAFF_FEEDBACK: Final = _topics("staff/floor/feedback", "staff/wine/feedback")
REPLIES: Final = _every("reply", "") | _every("reply", "/7")

MAY_WRITE: Final[dict[str, frozenset[str]]] = {
    "agent": _every("screen", "/recommendation")
    | _every("receipt", "/offer")
    | _every("event", "/receipt")
    | REPLIES
    | ALERTS
    | _topics("agent/state", "deadletter"),
    "pages": _every("screen", "/feedback") | STAFF_FEEDBACK,
    "ble-1": _topics("event/ble-1"),
    "pos-1": _topics("event/pos-1", "recommend/request", "offer/request"),
    "dairy-1": _topics("screen/dairy-1/feedback"),
    "kiosk-1": _topics("screen/kiosk-1/feedback", "recommend/request"),
    "floor-1": _topics("staff/floor/feedback", "recommend/request"),
    "xovis-1": frozenset({"xovis/one/counts"}),
    "bridge": BRIDGED,
}
MAY_READ: Final[dict[str, frozenset[str]]] = {
    "agent": _every("event", "")
    | _every("screen", "/feedback")
    | STAFF_FEEDBACK
    | _topics("recommend/request", "offer/request", "agent/state")
    | {"xovis/one/counts"}
    | BRIDGED,
    "pages": _every("screen", "/recommendation") | ALERTS | _topics("agent/state", "deadletter"),
    "ble-1": _topics("event/ble-1/receipt"),
    "pos-1": _topics(
        "event/pos-1/receipt", "receipt/pos-1/offer", "reply/pos-1", "reply/pos-1/7", "agent/state"
    ),
    "dairy-1": _topics("screen/dairy-1/recommendation", "agent/state"),
    "kiosk-1": _topics(
        "screen/kiosk-1/recommendation", "reply/kiosk-1", "reply/kiosk-1/7", "agent/state"
    ),
    "floor-1": _topics("staff/floor/alert", "reply/floor-1", "reply/floor-1/7", "agent/state"),
}
NOTHING: Final[frozenset[str]] = frozenset()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store with one of each role, strangers with valid certificates, and the auditor."""
    folder = tmp_path_factory.mktemp("broker")
    passwords = enrol.initialise(folder, STORE, hosts=["127.0.0.1"], now=now())
    ports = (free_port(), free_port())
    broker = Broker(folder=folder, config=shipped_config(folder, ports))
    store = Store(folder=folder, broker=broker, certificate_port=ports[0], password_port=ports[1])
    for name, password in passwords.items():
        store.logins[name] = Login(port=broker.port, name=name, password=password)
    for account in ACCOUNTS.values():
        store.admit(account)
    for name in STRANGERS:
        issued = pki.issue(store.authority(), name, now=now(), days=1)
        store.logins[name] = store.with_certificate(name, issued)
    store.admit_with_password(enrol.Account(name="till-9", role="pos"))
    store.admit_auditor()
    broker.start()
    yield store
    broker.stop()


EVERYTHING: Final = ("#", "$CONTROL/#")


@pytest.mark.parametrize("name", NAMES)
def test_a_role_publishes_to_its_own_topics_alone(store: Store, name: str) -> None:
    """Of every topic in the store only the listed ones carry what the role published."""
    payload = f"written by {name}".encode()
    with store.auditor(*EVERYTHING) as auditor, Client(store.logins[name]) as client:
        client.publish(TOPICS, payload)
        assert auditor.topics_of(payload) == MAY_WRITE.get(name, NOTHING)


@pytest.mark.parametrize("name", NAMES)
def test_a_role_receives_its_own_topics_alone(store: Store, name: str) -> None:
    """Wildcards, shared subscriptions and exact names bring nothing but the listed topics."""
    payload = f"for {name}".encode()
    with store.auditor() as auditor, Client(store.logins[name]) as client:
        client.subscribe([*FILTERS, *TOPICS])
        auditor.publish(TOPICS, payload)
        assert client.topics_of(payload) == MAY_READ.get(name, NOTHING)


@pytest.mark.parametrize("name", NAMES)
def test_a_role_leaves_retained_messages_on_its_own_topics_alone(store: Store, name: str) -> None:
    """A later subscriber finds retained messages of the role on the listed topics alone."""
    payload = f"left by {name}".encode()
    with Client(store.logins[name]) as client:
        client.publish(TOPICS, payload, retain=True)
        # mosquitto shows a retained message while whoever left it is known to it.
        with store.auditor(*EVERYTHING) as auditor:
            left = auditor.topics_of(payload)
            auditor.publish(TOPICS, b"", retain=True)
    assert left == MAY_WRITE.get(name, NOTHING)


@pytest.mark.parametrize("name", NAMES)
def test_a_role_finds_retained_messages_on_its_own_topics_alone(store: Store, name: str) -> None:
    """What was retained before the role came reaches it on the listed topics alone."""
    payload = f"retained for {name}".encode()
    with store.auditor() as auditor:
        auditor.publish(TOPICS, payload, retain=True)
        with Client(store.logins[name]) as client:
            client.subscribe([*FILTERS, *TOPICS])
            found = client.topics_of(payload)
        auditor.publish(TOPICS, b"", retain=True)
    assert found == MAY_READ.get(name, NOTHING)


@pytest.mark.parametrize("name", NAMES)
def test_a_role_leaves_a_will_on_its_own_topics_alone(store: Store, name: str) -> None:
    """A dying client's will comes out on the listed topics alone."""
    payload = f"will of {name}".encode()
    login = store.logins[name]
    with store.auditor(*EVERYTHING) as auditor:
        for topic in TOPICS:
            try:
                Client(login, will=(topic, payload)).leave(with_will=True)
            except RefusedError:
                continue
        # The name's next login comes after its last farewell: the broker has one thread.
        Client(login).leave()
        assert auditor.topics_of(payload) == MAY_WRITE.get(name, NOTHING)


def test_a_device_with_a_password_has_the_rights_of_its_role(store: Store) -> None:
    """A till with a password writes its own events and nobody else's."""
    topics = [f"store/{STORE}/event/{name}" for name in ("till-9", "pos-1")]
    with store.auditor("#") as auditor, Client(store.logins["till-9"]) as till:
        till.publish(topics, b"password")
        assert auditor.topics_of(b"password") == _topics("event/till-9")


def test_a_borrowed_client_id_brings_no_session_and_cuts_nobody(store: Store) -> None:
    """A screen that calls itself the till gets no message of the till, which stays connected."""
    offers = _topics("receipt/pos-1/offer")
    with store.auditor() as auditor:
        away = Client(store.logins["pos-1"], session_s=3600)
        away.subscribe(offers)
        away.leave()
        auditor.publish(offers, b"while away")
        with Client(store.logins["dairy-1"], client_id="pos-1", session_s=3600) as thief:
            assert not thief.session_present
            assert thief.topics_of(b"while away") == NOTHING
        with Client(store.logins["pos-1"], session_s=3600) as back:
            assert back.session_present
            with Client(store.logins["dairy-1"], client_id="pos-1") as thief:
                auditor.publish(offers, b"now")
                assert thief.topics_of(b"now") == NOTHING
            assert back.topics_of(b"now") == offers
            assert not back.is_cut


def test_a_shared_subscription_takes_nothing_from_the_agent(store: Store) -> None:
    """Events reach the agent whole while a device sits in a group on the same topics."""
    topic = f"store/{STORE}/event/pos-1"
    payloads = [f"sale {n}".encode() for n in range(20)]
    with Client(store.logins["agent"]) as agent, Client(store.logins["ble-1"]) as thief:
        agent.subscribe([f"store/{STORE}/event/+"])
        thief.subscribe([f"$share/agent/store/{STORE}/event/+"])
        with Client(store.logins["pos-1"]) as till:
            for payload in payloads:
                till.publish([topic], payload)
        agent.subscribe(["barrier"])
        assert [agent.got.get_nowait() for _ in payloads] == [(topic, one) for one in payloads]
        assert thief.topics_of(payloads[0]) == NOTHING


def test_an_oversized_message_reaches_nobody(store: Store) -> None:
    """What is over the broker's size limit is not passed on, and the broker lives."""
    with store.auditor("#") as auditor:
        huge = b"x" * 270_000
        till = Client(store.logins["pos-1"])
        till._client.publish(f"store/{STORE}/event/pos-1", huge, qos=1)
        till.leave()
        Client(store.logins["pos-1"]).leave()
        assert auditor.topics_of(huge) == NOTHING


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("agent", ""),
        ("agent", "agent"),
        ("pos-1", ""),
        ("pos-1", "pos-1"),
        ("nobody", "x"),
        ("", ""),
    ],
)
def test_a_name_without_its_password_stays_out(store: Store, name: str, password: str) -> None:
    """Neither listener that asks for a password takes an unknown name or a wrong one."""
    for port, tls in ((store.password_port, store.context()), (store.broker.port, None)):
        with pytest.raises(RefusedError):
            Client(Login(port=port, name=name, password=password, tls=tls))


def test_nobody_comes_in_without_a_name(store: Store) -> None:
    """An anonymous client is refused on the gateway itself and over TLS."""
    for port, tls in ((store.password_port, store.context()), (store.broker.port, None)):
        with pytest.raises(RefusedError):
            Client(Login(port=port, name="", tls=tls), client_id="agent")


def test_a_foreign_certificate_stays_out(store: Store) -> None:
    """Another authority's certificate for a known name is refused, even under the same name."""
    foreign = pki.new_authority(f"store {STORE}", now=now())
    login = store.with_certificate("pos-1", pki.issue(foreign, "pos-1", now=now(), days=1))
    with pytest.raises(RefusedError):
        Client(login)


def test_a_self_signed_certificate_stays_out(store: Store) -> None:
    """A certificate that vouches for itself is refused."""
    with pytest.raises(RefusedError):
        Client(store.with_certificate("pos-1", pki.new_authority("pos-1", now=now())))


def test_an_expired_certificate_stays_out(store: Store) -> None:
    """A certificate of the store's authority is refused the day after its last."""
    long_ago = now() - timedelta(days=3)
    issued = pki.issue(store.authority(), "pos-1", now=long_ago, days=2)
    with pytest.raises(RefusedError):
        Client(store.with_certificate("pos-1", issued))


def test_the_brokers_own_certificate_is_no_device(store: Store) -> None:
    """A server's certificate does not pass for a client's."""
    issued = pki.load(
        (store.folder / "server.key").read_bytes(), (store.folder / "server.crt").read_bytes()
    )
    with pytest.raises(RefusedError):
        Client(store.with_certificate("pos-1", issued))


def test_a_client_without_a_certificate_stays_out(store: Store) -> None:
    """The certificates' listener takes no password in place of one, nor plain MQTT."""
    with pytest.raises(RefusedError):
        Client(
            Login(port=store.certificate_port, name="till-9", password="x", tls=store.context())
        )
    assert not Broker(folder=store.folder, port=store.certificate_port).answers()


def test_a_client_refuses_a_broker_of_another_authority(store: Store) -> None:
    """A device that trusts its store's authority alone does not talk to a stranger's broker."""
    other = pki.new_authority("elsewhere", now=now())
    context = ssl.create_default_context(cadata=pki.pem(other.certificate).decode())
    address = ("127.0.0.1", store.password_port)
    with (
        socket.create_connection(address, timeout=WAIT_S) as connection,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        context.wrap_socket(connection, server_hostname="127.0.0.1")


def test_a_revoked_certificate_is_mute_and_shut_out_after_a_reload(store: Store) -> None:
    """A reload takes the rights of a device that is still connected, and cuts nobody else."""
    store.admit(enrol.Account(name="stolen-1", role="device"))
    store.admit_auditor()
    store.broker.reload()
    event = f"store/{STORE}/event/stolen-1"
    receipt = f"{event}/receipt"
    with store.auditor("#") as auditor, Client(store.logins["stolen-1"]) as stolen:
        stolen.subscribe([receipt])
        stolen.publish([event], b"before")
        assert auditor.topics_of(b"before") == {event}
        enrol.revoke(store.folder, "stolen-1", now=now())
        store.admit_auditor()
        store.broker.reload()
        stolen.publish([event], b"after")
        auditor.publish([receipt], b"told")
        assert auditor.topics_of(b"after") == NOTHING
        assert stolen.topics_of(b"told") == NOTHING
        with pytest.raises(RefusedError):
            Client(store.logins["stolen-1"])
        assert not auditor.is_cut
    Client(store.logins["pos-1"]).leave()


def test_a_revoked_password_is_cut_off_by_a_reload(store: Store) -> None:
    """A device with a password loses its connection and cannot come back."""
    store.admit_with_password(enrol.Account(name="till-8", role="pos"))
    store.admit_auditor()
    store.broker.reload()
    with Client(store.logins["till-8"]) as till:
        enrol.revoke(store.folder, "till-8", now=now())
        store.admit_auditor()
        store.broker.reload()
        assert till.is_cut_within(WAIT_S)
    with pytest.raises(RefusedError):
        Client(store.logins["till-8"])


def test_a_renewed_certificate_ends_the_one_before(store: Store) -> None:
    """After a renewal the new certificate comes in and the old one does not."""
    store.admit(enrol.Account(name="renewed-1", role="device"))
    old = store.logins["renewed-1"]
    store.admit(enrol.Account(name="renewed-1", role="device"))
    store.admit_auditor()
    store.broker.reload()
    Client(store.logins["renewed-1"]).leave()
    with pytest.raises(RefusedError):
        Client(old)
