"""The one place that speaks MQTT: a link with its own network thread, over paho.

Theory of operation. One thread owns the socket. It selects on the socket and on a wake-up pipe,
lets paho read and write, and carries out what other threads asked for (publishes,
acknowledgements), which they put on a queue. Nothing of paho is called from any other thread, so
none of its locks is ever contended and a batch of acknowledgements costs one wake-up.

An acknowledgement belongs to one connection: packet ids are reused after a reconnect, so each
delivery carries the generation of its connection, and a stale one is dropped. The broker then
delivers the message again, which is harmless.

Callbacks run in the network thread and must only queue. An exception in one is reported and the
thread goes on: the link is the last thing that may die.
"""

from __future__ import annotations

import logging
import random
import select
import socket
import ssl
import threading
import time
from collections import deque
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge_agent.errors import BrokerError
from edge_agent.shell.paho_client import FastClient, PackedProperties, PlainPublish

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from pathlib import Path

log = logging.getLogger(__name__)

# Longest wait in one select: paho's keep-alive is looked after at least this often.
SELECT_TIMEOUT_S: Final = 0.25
BACKOFF_FIRST_S: Final = 0.2
# After the quick tries of a minute: never more than 60 connects in one (promise 4), however short
# the connections, as when two clients take one client id from each other.
BACKOFF_FLOOR_S: Final = 1.05
MINUTE_S: Final = 60.0
BACKOFF_CEILING_S: Final = 10.0
# The first tries of a minute are quick: most brokers are back at once.
QUICK_ATTEMPTS: Final = 2
CONNECT_TIMEOUT_S: Final = 5.0
# A CONNECT that is not answered in this time is a half-open connection.
CONNACK_TIMEOUT_S: Final = 10.0
# A broker that takes our messages and acknowledges none for so long has lost us, though it may go
# on answering pings (seen with the embedded one): a new connection is the cure.
STALL_S: Final = 10.0
# The thread hangs when it is not back at its loop in this time (`is_turning`). Its own longest
# wait there is a select's, 0.25 s; the rest is for a machine that has too much to do. A hang is
# over this and the unit's WatchdogSec (60 s) after it began.
TURN_WITHIN_S: Final = 15.0
# A connect alone may take longer, and none of its waits shows a fault of ours: the C library asks
# up to three name servers twice, 5 s each, for the name and for each search domain, systemd's
# resolver gives up after 120 s; then each address, and TLS, has CONNECT_TIMEOUT_S.
CONNECT_WITHIN_S: Final = 300.0
# Reason codes of a PUBACK (MQTT 5, section 3.4.2.1): from REFUSED on the message was not taken.
NO_SUBSCRIBERS: Final = 0x10
REFUSED: Final = 0x80
TOPIC_INVALID: Final = 0x90
# Reason codes of a CONNACK (MQTT 5, section 3.2.2.2) that the same login gets again: bad user name
# or password, not authorised, banned, bad authentication method. Others may pass by themselves.
LOGIN_REFUSED: Final = frozenset({0x86, 0x87, 0x8A, 0x8C})
# Publishes handed to paho before the socket is given a chance to write.
COMMANDS_PER_TURN: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Will:
    """The message that the broker publishes for us when we vanish."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkSettings:
    """Where and as whom to connect. TLS is used when `ca_file` is given."""

    host: str
    port: int
    client_id: str
    username: str | None = None
    password: str | None = None
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    keepalive_s: int = 30
    session_expiry_s: int = 604_800
    clean_start: bool = False
    receive_maximum: int = 1_000
    maximum_packet_bytes: int = 268_435_455
    will: Will | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """One topic filter and how it is to be served."""

    topic_filter: str
    qos: int = 1
    no_local: bool = False
    retain_handling: int = 0
    retain_as_published: bool = False


@dataclass(slots=True)
class Incoming:
    """One message as it came in; `generation` names the connection that delivered it."""

    topic: str
    payload: bytes
    retain: bool
    generation: int
    mid: int
    qos: int
    response_topic: str | None
    correlation: bytes | None
    # The broker's word that it delivered the message before, under the same packet id.
    dup: bool = False


@dataclass(slots=True)
class _Outgoing:
    topic: str
    payload: bytes
    qos: int
    retain: bool
    properties: Properties | None
    token: object
    is_unsent: bool = False


@dataclass(frozen=True, slots=True)
class _Change:
    """Filters to subscribe and to leave on a connection that stands."""

    added: tuple[Subscription, ...]
    left: tuple[str, ...]
    granted: threading.Event


class MqttLink:
    """A connection to one broker that is kept up for ever by its own thread."""

    def __init__(
        self,
        settings: LinkSettings,
        *,
        subscriptions: tuple[Subscription, ...] = (),
        on_message: Callable[[Incoming], None] | None = None,
        on_connection: Callable[[bool], None] | None = None,
        on_published: Callable[[object], None] | None = None,
        on_answered: Callable[[object, int], None] | None = None,
        manual_ack: bool = False,
    ) -> None:
        self._settings = settings
        self._subscriptions = subscriptions
        self._on_message = on_message
        self._on_connection = on_connection
        self._on_published = on_published
        self._on_answered = on_answered
        self._generation = 0
        self._commands: deque[_Outgoing | _Change | Iterable[Incoming]] = deque()
        # Filters that a kept session may still hold though nobody wants them any more.
        self._left: set[str] = set()
        self._in_flight: dict[int, _Outgoing] = {}
        self._progress_s = 0.0
        # By then the network thread says the next time that it turns.
        self._turn_due_s = 0.0
        self._subscribe_mid: int | None = None
        self._asked: dict[int, tuple[Subscription, ...]] = {}
        self._granting: dict[int, threading.Event] = {}
        self._connected = threading.Event()
        # The first word on a broker that is waited for: it let us in, it refuses the login, or
        # nobody listens there.
        self._answered = threading.Event()
        self._is_turned_away = False
        # Whoever started the link waits for that word, and is told it in place of the log.
        self._is_awaited = False
        # Why the login is refused, in the broker's words; empty unless that was the first word.
        self.login_refusal = ""
        self._is_let_in = False
        self._stopping = threading.Event()
        # Whoever stops the link has waited long enough for what the broker does not answer.
        self._is_given_up = False
        self._paused = False
        self._woken = False
        self._attempts = 0
        self._connected_at_s: deque[float] = deque(maxlen=QUICK_ATTEMPTS + 1)
        self.n_connects = 0
        self.last_error = ""
        # The largest packet that the broker takes, by its own word; None when it names none.
        self.broker_packet_bytes: int | None = None
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_reader.settimeout(0)
        self._wake_writer.settimeout(0)
        self._client = self._make_client(manual_ack=manual_ack)
        self._thread = threading.Thread(
            target=self._run, name=f"mqtt-{settings.client_id}", daemon=True
        )

    # --- for other threads ------------------------------------------------------------------

    def start(self, *, is_awaited: bool = False) -> None:
        """Starts the network thread; it connects, and goes on doing so, by itself.

        Args:
            is_awaited: The caller waits for the first connection and tells of its failure, so the
                log need not.
        """
        self._is_awaited = is_awaited
        self._note_turn(within_s=TURN_WITHIN_S)
        self._thread.start()

    def stop(self, *, timeout_s: float = 5.0) -> None:
        """Sends what is queued, disconnects and ends the thread.

        Args:
            timeout_s: How long the broker has to acknowledge what it was sent. What it did not
                acknowledge by then is given up.
        """
        self._stopping.set()
        self._wake()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
            self._is_given_up = True
            self._wake()
            self._thread.join(4 * SELECT_TIMEOUT_S)
        if self._thread.is_alive():
            # It hangs in a call of the system's, and would turn again on what is closed here.
            return
        self._wake_reader.close()
        self._wake_writer.close()

    def wait_connected(self, timeout_s: float) -> bool:
        """Returns whether the link is connected and subscribed before the time is over."""
        return self._connected.wait(timeout_s)

    def wait_connected_or_refused(self, timeout_s: float) -> bool:
        """Returns what `wait_connected` does, and at once a refusal of port or login."""
        return self._answered.wait(timeout_s) and not self._is_turned_away

    @property
    def connected(self) -> bool:
        """Whether the link is connected and its subscriptions are granted."""
        return self._connected.is_set()

    @property
    def is_turning(self) -> bool:
        """Whether the network thread lives and comes back to its loop, connected or not."""
        return self._thread.is_alive() and time.monotonic() < self._turn_due_s

    @property
    def n_unacknowledged(self) -> int:
        """How many of our QoS 1 messages the broker has not acknowledged yet."""
        return len(self._commands) + len(self._in_flight)

    @property
    def generation(self) -> int:
        """Number of the present connection; rises with every one."""
        return self._generation

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 1,
        retain: bool = False,
        expiry_s: int | None = None,
        response_topic: str | None = None,
        correlation: bytes | None = None,
        token: object = None,
    ) -> None:
        """Queues a message; `on_published` gets `token` when the broker acknowledged it.

        `on_answered` gets the token too, and what the broker said of it: 0 for taken,
        `NO_SUBSCRIBERS`, or from `REFUSED` on that it was refused.
        """
        properties = _publish_properties(expiry_s, response_topic, correlation)
        self._commands.append(_Outgoing(topic, payload, qos, retain, properties, token))
        self._wake()

    def unsend(self, tokens: Collection[object]) -> None:
        """Forgets messages that the broker has not acknowledged; what they said goes at once.

        One that is on its way already is not sent again on another connection.
        """
        for message in (*self._commands, *self._in_flight.values()):
            if isinstance(message, _Outgoing) and message.token in tokens:
                message.payload, message.is_unsent = b"", True
        for mid, message in tuple(self._in_flight.items()):
            if message.is_unsent:
                self._client.blank(mid)

    def ack(self, deliveries: Iterable[Incoming]) -> None:
        """Acknowledges deliveries; those of an earlier connection are dropped."""
        self._commands.append(deliveries)
        self._wake()

    def subscribe_to(
        self, subscriptions: tuple[Subscription, ...], *, leave: Iterable[str] = ()
    ) -> threading.Event:
        """Replaces what is subscribed, on this connection and on those to come.

        Returns what is set once the broker has answered.

        Args:
            subscriptions: All that is wanted from now on.
            leave: Filters that the broker's session may hold from an earlier run.
        """
        before, wanted = set(self._subscriptions), {each.topic_filter for each in subscriptions}
        gone = {each.topic_filter for each in before} | set(leave)
        self._subscriptions = subscriptions
        self._left = (self._left | gone) - wanted
        added = tuple(each for each in subscriptions if each not in before)
        change = _Change(added, tuple(sorted(gone - wanted)), threading.Event())
        self._commands.append(change)
        self._wake()
        return change.granted

    def pause(self) -> None:
        """Stops reading the socket: the broker's flow control then holds the senders back."""
        self._paused = True

    def resume(self) -> None:
        """Reads on."""
        if self._paused:
            self._paused = False
            self._wake()

    # --- the network thread -----------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._note_turn(within_s=CONNECT_WITHIN_S)
            is_open = self._connect()
            self._note_turn(within_s=TURN_WITHIN_S)
            if is_open:
                self._serve()
            self._drop_connection()
            if not self._stopping.is_set():
                self._back_off()

    def _note_turn(self, *, within_s: float) -> None:
        self._turn_due_s = time.monotonic() + within_s

    def _connect(self) -> bool:
        self._generation += 1
        self._attempts += 1
        self.n_connects += 1
        self._connected_at_s.append(time.monotonic())
        self._client.forget_buffered()
        for mid, message in tuple(self._in_flight.items()):
            if message.is_unsent:
                del self._in_flight[mid]
                self._client.take_back(mid)
        settings = self._settings
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = settings.session_expiry_s
        properties.ReceiveMaximum = settings.receive_maximum
        properties.MaximumPacketSize = settings.maximum_packet_bytes
        try:
            self._client.connect(
                settings.host,
                settings.port,
                keepalive=settings.keepalive_s,
                clean_start=settings.clean_start,
                properties=properties,
            )
        except (OSError, ValueError) as error:
            self._note_failure(str(error) or type(error).__name__)
            if isinstance(error, ConnectionRefusedError):
                self._turned_away()
            return False
        return True

    def _turned_away(self, *, login: str = "") -> None:
        """Notes a first word that stays so; the thread goes on trying, for a login may change."""
        if not self._answered.is_set():
            self.login_refusal = login
            self._is_turned_away = True
            self._answered.set()

    def _serve(self) -> None:
        deadline = time.monotonic() + CONNACK_TIMEOUT_S
        while not (self._stopping.is_set() and (self._is_given_up or self._is_drained())):
            self._note_turn(within_s=TURN_WITHIN_S)
            sock = self._client.socket()
            if sock is None:
                return
            if not self._connected.is_set() and time.monotonic() > deadline:
                self._note_failure("the broker does not answer")
                return
            if not self._turn(sock):
                return
            if self._is_stalled():
                self._note_failure("the broker acknowledges nothing")
                return

    def _is_stalled(self) -> bool:
        now_s = time.monotonic()
        if not self._in_flight or self._paused or not self._connected.is_set():
            self._progress_s = now_s
            return False
        return now_s - self._progress_s > STALL_S

    def _turn(self, sock: Any) -> bool:
        """Waits for one thing to do and does it; returns whether the connection still stands."""
        may_read = not self._paused
        # What we buffered, and what TLS did, is invisible to select.
        pending = may_read and (self._client.has_buffered or _tls_pending(sock))
        readers = [self._wake_reader, sock] if may_read else [self._wake_reader]
        writers = [sock] if self._client.want_write() else []
        # Commands that were left over by the last turn's limit must not wait for a wake-up.
        has_commands = bool(self._commands) and self._connected.is_set()
        wait_s = 0.0 if pending or has_commands else SELECT_TIMEOUT_S
        readable, writable, _ = select.select(readers, writers, [], wait_s)
        if self._wake_reader in readable:
            # In this order: a wake-up that comes in between leaves its byte for the next turn.
            _drain(self._wake_reader)
            self._woken = False
        ok = True
        if pending or sock in readable:
            ok = self._read()
        if self._connected.is_set():
            self._carry_out_commands()
        elif self._is_let_in:
            self._acknowledge_alone()
        if ok and (writable or self._client.want_write()):
            ok = self._client.loop_write() == paho.MQTT_ERR_SUCCESS
        if not may_read:
            # A ping's answer would not be seen: the silence is ours.
            return ok
        return ok and self._client.loop_misc() == paho.MQTT_ERR_SUCCESS

    def _read(self) -> bool:
        client = self._client
        while True:
            if client.loop_read() != paho.MQTT_ERR_SUCCESS:
                return False
            if not client.has_buffered or self._paused:
                return True

    def _carry_out_commands(self) -> None:
        commands = self._commands
        for _ in range(COMMANDS_PER_TURN):
            if not commands:
                return
            command = commands.popleft()
            if isinstance(command, _Outgoing):
                self._send(command)
            elif isinstance(command, _Change):
                self._change(command)
            else:
                self._acknowledge(command)

    def _acknowledge(self, deliveries: Iterable[Incoming]) -> None:
        generation = self._generation
        for each in deliveries:
            if each.generation == generation:
                self._client.ack(each.mid, each.qos)

    def _acknowledge_alone(self) -> None:
        """Acknowledges what a kept session delivers before the subscriptions are answered.

        A broker that has sent as much as may be unacknowledged may owe that answer until then.
        """
        # In place: other threads append, and look for what they want to take back.
        for n, command in enumerate(tuple(self._commands)):
            if not isinstance(command, _Outgoing | _Change):
                self._acknowledge(command)
                self._commands[n] = ()

    def _send(self, message: _Outgoing) -> None:
        if message.is_unsent:
            return
        try:
            info = self._client.publish(
                message.topic,
                message.payload,
                qos=message.qos,
                retain=message.retain,
                properties=message.properties,
            )
        except ValueError:
            # A topic that no broker takes: the message is given up, the thread goes on.
            log.exception("publish_refused", extra={"fields": {"bytes": len(message.payload)}})
            self._published(message, TOPIC_INVALID)
            return
        if message.qos == 0:
            self._published(message, 0)
        elif info.rc in {paho.MQTT_ERR_SUCCESS, paho.MQTT_ERR_NO_CONN}:
            self._in_flight[info.mid] = message
        else:
            self._commands.appendleft(message)

    def _is_drained(self) -> bool:
        return not self._connected.is_set() or not (
            self._commands or self._in_flight or self._client.want_write()
        )

    def _drop_connection(self) -> None:
        was_connected = self._connected.is_set()
        self._connected.clear()
        self._is_let_in = False
        if was_connected and self._stopping.is_set():
            self._client.disconnect()
            self._client.loop_write()
        # paho keeps unacknowledged publishes itself and sends them again on the next connection.
        self._client._sock_close()  # noqa: SLF001 - the only way to end a half-open connection at once
        if was_connected:
            log.info("broker_lost", extra={"fields": {"client": self._settings.client_id}})
            self._tell_connection(up=False)

    def _back_off(self) -> None:
        ceiling = min(BACKOFF_CEILING_S, BACKOFF_FIRST_S * 2 ** min(self._attempts, 10))
        wait_s = random.uniform(0, ceiling)
        if self._is_hasty():
            wait_s = max(wait_s, BACKOFF_FLOOR_S)
        self._note_turn(within_s=wait_s + TURN_WITHIN_S)
        self._stopping.wait(wait_s)

    def _is_hasty(self) -> bool:
        recent = self._connected_at_s
        return len(recent) > QUICK_ATTEMPTS and time.monotonic() - recent[0] < MINUTE_S

    def _note_failure(self, reason: str) -> None:
        if reason != self.last_error and not self._is_awaited:
            log.warning(
                "broker_unreachable",
                extra={"fields": {"client": self._settings.client_id, "reason": reason}},
            )
        self.last_error = reason

    # --- paho's callbacks (all in the network thread) -----------------------------------------

    def _make_client(self, *, manual_ack: bool) -> FastClient:
        settings = self._settings
        client = FastClient(
            on_plain=self._handle_plain,
            callback_api_version=CallbackAPIVersion.VERSION2,
            client_id=settings.client_id,
            manual_ack=manual_ack,
            reconnect_on_failure=False,
        )
        # Both bounds are ours: the outbox limits what is queued, the broker what is in flight.
        client.max_queued_messages_set(0)
        client.connect_timeout = CONNECT_TIMEOUT_S
        if settings.username is not None:
            client.username_pw_set(settings.username, settings.password)
        if settings.ca_file is not None:
            client.tls_set_context(_tls_context(settings))
        if settings.will is not None:
            will = settings.will
            client.will_set(will.topic, will.payload, qos=will.qos, retain=will.retain)
        client.on_connect = self._handle_connect
        client.on_subscribe = self._handle_subscribe
        client.on_message = self._handle_message
        client.on_publish = self._handle_publish
        client.on_socket_open = _set_no_delay
        # Makes paho queue packets for `loop_write` instead of writing each at once.
        client.on_socket_register_write = _ignore_register_write
        client.suppress_exceptions = True
        return client

    def _handle_connect(
        self, client: paho.Client, _data: object, _flags: object, reason: Any, properties: object
    ) -> None:
        if reason.is_failure:
            self._note_failure(f"refused: {reason}")
            if reason.value in LOGIN_REFUSED:
                self._turned_away(login=str(reason))
            return
        self.broker_packet_bytes = getattr(properties, "MaximumPacketSize", None)
        if self._left:
            client.unsubscribe(sorted(self._left))
        self._is_let_in = True
        self._asked.clear()
        self._subscribe_mid = self._subscribe(self._subscriptions)
        if self._subscribe_mid is None:
            self._now_connected()

    def _subscribe(self, subscriptions: tuple[Subscription, ...]) -> int | None:
        if not subscriptions:
            return None
        filters = [(each.topic_filter, _options(each)) for each in subscriptions]
        _, mid = self._client.subscribe(filters)
        if mid is not None:
            self._asked[mid] = subscriptions
        return mid

    def _change(self, change: _Change) -> None:
        mid = self._subscribe(change.added)
        if mid is None:
            change.granted.set()
        else:
            self._granting[mid] = change.granted
        if change.left:
            self._client.unsubscribe(list(change.left))

    def _handle_subscribe(
        self,
        _client: paho.Client,
        _data: object,
        mid: int,
        reasons: list[Any],
        _properties: object,
    ) -> None:
        refused = [
            each.topic_filter
            for each, reason in zip(self._asked.pop(mid, ()), reasons, strict=False)
            if reason.is_failure
        ]
        if refused:
            self._note_failure(f"the broker refuses the subscription {refused[0]}")
        granted = self._granting.pop(mid, None)
        if granted is not None:
            granted.set()
        if mid == self._subscribe_mid:
            # All that was asked on an earlier connection is part of this one's.
            for waiting in self._granting.values():
                waiting.set()
            self._granting.clear()
            self._now_connected()

    def _now_connected(self) -> None:
        self._attempts = 0
        self.last_error = ""
        self._is_awaited = False
        self._connected.set()
        self._answered.set()
        log.info("broker_connected", extra={"fields": {"client": self._settings.client_id}})
        self._tell_connection(up=True)

    def _tell_connection(self, *, up: bool) -> None:
        if self._on_connection is not None:
            self._on_connection(up)

    def _handle_message(self, _client: paho.Client, _data: object, message: Any) -> None:
        if self._on_message is None:
            return
        properties = message.properties
        response_topic = correlation = None
        if properties is not None and not properties.isEmpty():
            response_topic = getattr(properties, "ResponseTopic", None)
            correlation = getattr(properties, "CorrelationData", None)
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = ""
        self._on_message(
            Incoming(
                topic,
                message.payload,
                message.retain,
                self._generation,
                message.mid,
                message.qos,
                response_topic,
                correlation,
                message.dup,
            )
        )

    def _handle_plain(self, message: PlainPublish) -> None:
        if self._on_message is None:
            return
        try:
            topic = message.topic.decode()
        except UnicodeDecodeError:
            topic = ""
        self._on_message(
            Incoming(
                topic,
                message.payload,
                message.retain,
                self._generation,
                message.mid,
                message.qos,
                None,
                None,
                message.dup,
            )
        )

    def _handle_publish(
        self, _client: paho.Client, _data: object, mid: int, reason: Any, _properties: object
    ) -> None:
        message = self._in_flight.pop(mid, None)
        self._progress_s = time.monotonic()
        if message is not None:
            self._published(message, reason.value)

    def _published(self, message: _Outgoing, reason: int) -> None:
        if self._on_published is not None:
            self._on_published(message.token)
        if self._on_answered is not None:
            self._on_answered(message.token, reason)

    def _wake(self) -> None:
        if self._woken:
            return
        self._woken = True
        try:
            self._wake_writer.send(b"\0")
        except (BlockingIOError, OSError):
            return  # the pipe is full, so the thread wakes anyway, or the link is stopped


def connect_or_raise(link: MqttLink, settings: LinkSettings, *, timeout_s: float) -> None:
    """Starts a link and waits for it, for programs that are of no use without their broker.

    A broker that is slow to answer may take its time; where nobody listens at all, or the login is
    refused, nobody waits.

    Raises:
        BrokerError: It does not come up in time; the message says why.
    """
    link.start(is_awaited=True)
    if link.wait_connected_or_refused(timeout_s):
        return
    link.stop()
    raise unreachable(settings, reason=link.last_error, login_refusal=link.login_refusal)


def unreachable(settings: LinkSettings, *, reason: str, login_refusal: str) -> BrokerError:
    """Returns the error of a link that does not come up, with what helps.

    Args:
        settings: The link's.
        reason: Its last error; empty where the broker says nothing.
        login_refusal: Why the broker refuses the login; empty where it does not.
    """
    where = f"{settings.host}:{settings.port}"
    if login_refusal:
        return BrokerError(
            f"the broker at {where} refuses the login: {login_refusal}",
            hint="give the name of a user whom it knows, and his password with --password-file",
        )
    return BrokerError(
        f"no broker at {where}: {reason or 'no answer'}",
        hint="start the broker, or give --broker host:port of the right one",
    )


def _publish_properties(
    expiry_s: int | None, response_topic: str | None, correlation: bytes | None
) -> Properties | None:
    if response_topic is None and correlation is None:
        return None if expiry_s is None else _expiring(expiry_s)
    return _properties(expiry_s, response_topic, correlation)


# paho takes 90 us to make properties, and messages expire after few different times.
@lru_cache(maxsize=256)
def _expiring(expiry_s: int) -> Properties:
    return _properties(expiry_s, None, None)


def _properties(
    expiry_s: int | None, response_topic: str | None, correlation: bytes | None
) -> Properties:
    properties = PackedProperties(PacketTypes.PUBLISH)
    if expiry_s is not None:
        properties.MessageExpiryInterval = max(1, expiry_s)
    if response_topic is not None:
        properties.ResponseTopic = response_topic
    if correlation is not None:
        properties.CorrelationData = correlation
    return properties


def _options(subscription: Subscription) -> SubscribeOptions:
    return SubscribeOptions(
        qos=subscription.qos,
        noLocal=subscription.no_local,
        retainAsPublished=subscription.retain_as_published,
        retainHandling=subscription.retain_handling,
    )


def _tls_context(settings: LinkSettings) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(settings.ca_file))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.cert_file is not None:
        context.load_cert_chain(str(settings.cert_file), str(settings.key_file))
    return context


def _tls_pending(sock: Any) -> bool:
    return isinstance(sock, ssl.SSLSocket) and sock.pending() > 0


def _set_no_delay(_client: paho.Client, _data: object, sock: Any) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _ignore_register_write(_client: paho.Client, _data: object, _sock: object) -> None:
    return


def _drain(reader: socket.socket) -> None:
    try:
        while reader.recv(4096):
            pass
    except BlockingIOError:
        return
