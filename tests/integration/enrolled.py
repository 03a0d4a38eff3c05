"""A store's broker with everybody enrolled, and clients that come in as each of them.

The broker is a real mosquitto with the shipped configuration; passwords, certificates and the
access list are written by `enrol`, as on a gateway.
"""

from __future__ import annotations

import queue
import ssl
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Self

from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from provisioning import enrol, pki
from tests.integration.broker import Broker

PROVISIONING: Final = Path(enrol.__file__).parent
WAIT_S: Final = 20.0


class RefusedError(Exception):
    """The broker did not let the client in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """How a client comes in: a port, a password or a certificate."""

    port: int
    name: str
    password: str | None = None
    tls: ssl.SSLContext | None = None


class Client:
    """A paho client whose every step is waited for; it records what it is given."""

    def __init__(
        self,
        login: Login,
        *,
        client_id: str = "",
        will: tuple[str, bytes] | None = None,
        session_s: int = 0,
    ) -> None:
        self.got: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self.session_present = False
        self._answer: queue.Queue[str] = queue.Queue()
        self._acknowledged: queue.Queue[int] = queue.Queue()
        self._session_s = session_s
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id or login.name,
            protocol=mqtt.MQTTv5,
            reconnect_on_failure=False,
        )
        if login.password is not None:
            self._client.username_pw_set(login.name, login.password)
        if login.tls is not None:
            self._client.tls_set_context(login.tls)
        if will is not None:
            self._client.will_set(will[0], will[1], qos=1)
        self._client.on_connect = self._on_connect
        self._client.on_message = lambda _c, _u, one: self.got.put((one.topic, bytes(one.payload)))
        self._client.on_subscribe = lambda _c, _u, mid, _r, _p: self._acknowledged.put(mid)
        self._client.on_publish = lambda _c, _u, mid, _r, _p: self._acknowledged.put(mid)
        self._client.on_disconnect = lambda _c, _u, _f, why, _p: self._answer.put(str(why))
        self._connect(login.port)

    def _connect(self, port: int) -> None:
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = self._session_s
        try:
            self._client.connect(
                "127.0.0.1", port, clean_start=self._session_s == 0, properties=properties
            )
        except OSError as refusal:
            raise RefusedError(str(refusal)) from refusal
        self._client.loop_start()
        answer = self._answer.get(timeout=WAIT_S)
        if answer != "Success":
            self._client.loop_stop()
            raise RefusedError(answer)

    def _on_connect(
        self,
        _client: mqtt.Client,
        _user: object,
        flags: mqtt.ConnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        self.session_present = flags.session_present
        self._answer.put(str(reason))

    def subscribe(self, filters: Iterable[str]) -> None:
        """Subscribe, and return once the broker said so; what it had for us came before."""
        wanted = [(one, SubscribeOptions(qos=1)) for one in filters]
        if not wanted:
            return
        _, mid = self._client.subscribe(wanted)
        self._wait_for({mid} if mid is not None else set())

    def publish(self, topics: Iterable[str], payload: bytes, *, retain: bool = False) -> None:
        """Publish to each topic, and return once the broker answered all of them."""
        sent = {self._client.publish(one, payload, qos=1, retain=retain).mid for one in topics}
        self._wait_for(sent)

    def _wait_for(self, mids: set[int]) -> None:
        while mids:
            mids.discard(self._acknowledged.get(timeout=WAIT_S))

    def topics_of(self, payload: bytes) -> frozenset[str]:
        """The topics on which that payload has come so far.

        A subscription's answer is the barrier: the broker writes to a connection in order.
        """
        self.subscribe(["barrier"])
        seen = []
        while not self.got.empty():
            seen.append(self.got.get())
        return frozenset(topic for topic, content in seen if content == payload)

    @property
    def is_cut(self) -> bool:
        """Whether the broker closed the connection since the last answer."""
        return not self._answer.empty()

    def is_cut_within(self, wait_s: float) -> bool:
        """Whether the broker closes the connection in that time."""
        try:
            self._answer.get(timeout=wait_s)
        except queue.Empty:
            return False
        return True

    def leave(self, *, with_will: bool = False) -> None:
        """Say goodbye; with its will the broker publishes that as if the client had died."""
        name = "Disconnect with will message" if with_will else "Normal disconnection"
        self._client.disconnect(ReasonCode(PacketTypes.DISCONNECT, name))
        self._client.loop_stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.leave()


@dataclass(slots=True, kw_only=True)
class Store:
    """A store's broker with everybody enrolled.

    Attributes:
        folder: What `enrol` keeps.
        broker: The running mosquitto; its first listener is the loopback one.
        certificate_port: Where devices with certificates come in.
        password_port: Where devices with passwords come in.
        logins: How each name comes in.
    """

    folder: Path
    broker: Broker
    certificate_port: int
    password_port: int
    logins: dict[str, Login] = field(default_factory=dict)

    def context(
        self, certificate: bytes | None = None, key: bytes | None = None
    ) -> ssl.SSLContext:
        """A client's TLS settings: it verifies the broker, and shows its certificate if any."""
        context = ssl.create_default_context(cafile=str(self.folder / "ca.crt"))
        if certificate is not None and key is not None:
            path = self.folder / f"client-{threading.get_ident()}.pem"
            path.write_bytes(certificate + key)
            context.load_cert_chain(path)
            path.unlink()
        return context

    def with_certificate(self, name: str, issued: pki.Issued) -> Login:
        """A login with that certificate."""
        context = self.context(pki.pem(issued.certificate), pki.pem(issued.key))
        return Login(port=self.certificate_port, name=name, tls=context)

    def admit(self, account: enrol.Account) -> None:
        """Enrol a device with a certificate, as the operator does."""
        key, certificate = enrol.add_certificate(self.folder, account, now=now())
        context = self.context(certificate, key)
        self.logins[account.name] = Login(
            port=self.certificate_port, name=account.name, tls=context
        )

    def admit_with_password(self, account: enrol.Account) -> None:
        """Enrol a device that cannot hold a certificate."""
        _, password = enrol.add(self.folder, account, now=now())
        self.logins[account.name] = Login(
            port=self.password_port, name=account.name, password=password, tls=self.context()
        )

    def authority(self) -> pki.Issued:
        """The store's certificate authority."""
        return pki.load(
            (self.folder / "ca.key").read_bytes(), (self.folder / "ca.crt").read_bytes()
        )

    def admit_auditor(self) -> None:
        """Let the test's own observer see and do everything."""
        with (self.folder / "mosquitto.acl").open("a") as access:
            access.write("\nuser auditor\ntopic readwrite #\n")
            access.write("topic readwrite $SYS/#\ntopic readwrite $CONTROL/#\n")
        with (self.folder / "passwords").open("a") as passwords:
            passwords.write(f"auditor:{enrol.password_hash('auditor')}\n")

    @contextmanager
    def auditor(self, *filters: str) -> Iterator[Client]:
        """A client that sees everything that is let through."""
        with Client(Login(port=self.broker.port, name="auditor", password="auditor")) as client:
            client.subscribe(filters)
            yield client


def now() -> datetime:
    """The present, which certificates are issued in."""
    return datetime.now(UTC)


def shipped_config(folder: Path, ports: tuple[int, int]) -> str:
    """The shipped file but for its first listener's line, its paths and its ports."""
    text = (PROVISIONING / "mosquitto.conf").read_text()
    before, first, after = text.partition("listener 1883 127.0.0.1\n")
    assert first, "the shipped file begins its listeners with the loopback one"
    for shipped, here in zip((8883, 8884), ports, strict=True):
        assert f"listener {shipped}\n" in after
        after = after.replace(f"listener {shipped}\n", f"listener {here} 127.0.0.1\n")
    # The lines before are global, and may stand anywhere; a reload is told at `information`.
    text = f"{after}{before}log_type information\n"
    return text.replace(str(enrol.FOLDER), str(folder)).replace(
        "/var/lib/mosquitto/", f"{folder}/"
    )
