"""`ScreensServer`: a link to the store's broker and an HTTP server, in two threads of their own.

The network thread of the link only fills the inbox; the board, the streams and all handlers
live in the HTTP server's event loop, so none of them needs a lock.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Self

import uvicorn

from edge_agent.errors import BrokerError
from edge_agent.shell.clock import SystemClock
from edge_agent.shell.mqtt_client import MqttLink, Subscription
from edge_agent.web.app import LINK_KEY, Pages
from edge_agent.web.board import STORE_KEY, Board
from edge_agent.web.feedback import Ledger
from edge_agent.web.inbox import Inbox
from edge_agent.web.store_clock import StoreClock
from edge_agent.web.streams import Listeners
from edge_agent.wire import topics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import TracebackType

    from starlette.types import ASGIApp, Receive, Scope, Send

    from edge_agent.shell.mqtt_client import Incoming, LinkSettings

log = logging.getLogger(__name__)

# How late a content may leave a screen after its end; a page leaves it by itself at the moment.
EXPIRY_CHECK_S: Final = 0.2
START_TIMEOUT_S: Final = 15.0
STOP_TIMEOUT_S: Final = 5.0
# Feedback that the broker has not taken; beyond it new feedback is dropped and counted.
UNSENT_MAX: Final = 2_000
FEEDBACK_EXPIRY_S: Final = 3_600
MS_PER_S: Final = 1_000
_ANY: Final = "+"


class ScreensServer:
    """The pages of one store, from `start` to `stop`.

    Example:
        >>> with ScreensServer(settings, "s42", port=0) as screens:  # doctest: +SKIP
        ...     print(screens.url)

    Args:
        settings: The broker; the pages connect as any screen does.
        store: The store's name in topics.
        host: The address to listen on.
        port: The port to listen on; 0 takes a free one.
        locale: Language of what the pages say by themselves.
        is_replay: Take the time from a replay's ticks.
        screens: Screens to list before anything was sent to them.
        teams: Teams to list before their first alert.
        allowed_hosts: Names, besides addresses and localhost, by which browsers may call.
    """

    def __init__(
        self,
        settings: LinkSettings,
        store: str,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        locale: str = "en",
        is_replay: bool = False,
        screens: tuple[str, ...] = (),
        teams: tuple[str, ...] = (),
        allowed_hosts: frozenset[str] = frozenset(),
    ) -> None:
        self._host, self._port = host, port
        self._socket: socket.socket | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._inbox = Inbox()
        self._listeners = Listeners()
        self._clock = SystemClock()
        clock = StoreClock(wall=self._wall, monotonic=self._clock.monotonic_s, is_replay=is_replay)
        self._board = Board(store, clock, screens=screens, teams=teams)
        self._link = MqttLink(
            settings,
            subscriptions=_subscriptions(store, is_replay=is_replay),
            on_message=self._on_message,
            on_connection=self._on_connection,
        )
        self._n_unsent = 0
        handlers = Pages(
            self._board,
            Ledger(),
            self._listeners,
            locale=locale,
            publish=self._publish,
            is_linked=lambda: self._link.connected,
        )
        self._server = uvicorn.Server(
            _http_config(_Application(handlers.application(allowed_hosts=allowed_hosts), self))
        )
        self._thread = threading.Thread(target=self._serve, name="screens", daemon=True)

    # --- for other threads ------------------------------------------------------------------

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return self._port

    @property
    def url(self) -> str:
        """Where the index of the pages is."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}/"

    @property
    def is_linked(self) -> bool:
        """Whether the broker is there."""
        return self._link.connected

    @property
    def link_error(self) -> str:
        """Why the broker is not there, in its own words."""
        return self._link.last_error

    @property
    def login_refusal(self) -> str:
        """Why the broker refuses the login, in its own words; empty where it does not."""
        return self._link.login_refusal

    def wait_linked(self, timeout_s: float) -> bool:
        """Returns whether the broker is there before the time is over."""
        return self._link.wait_connected(timeout_s)

    def start(self, *, is_awaited: bool = False) -> None:
        """Listens, then connects to the broker, which may come later.

        Args:
            is_awaited: The caller waits for the broker and tells of its failure itself.

        Raises:
            BrokerError: The address cannot be listened on.
        """
        self._socket = self._listening_socket()
        self._port = self._socket.getsockname()[1]
        self._thread.start()
        deadline = self._clock.monotonic_s() + START_TIMEOUT_S
        while not self._server.started:
            is_late = self._clock.monotonic_s() > deadline
            if is_late or not self._thread.is_alive():
                raise BrokerError("the pages' HTTP server did not start", hint="see its log")
            self._thread.join(0.01)
        self._link.start(is_awaited=is_awaited)

    def stop(self) -> None:
        """Closes all streams, the link and the port."""
        self._link.stop()
        self._call(self._listeners.close)
        self._server.should_exit = True
        if self._thread.ident is not None:
            self._thread.join(STOP_TIMEOUT_S)
        if self._socket is not None:
            self._socket.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _wall(self) -> datetime:
        return datetime.fromtimestamp(self._clock.now_ms() / MS_PER_S, tz=UTC)

    def _listening_socket(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((self._host, self._port))
        except OSError as error:
            listener.close()
            raise BrokerError(
                f"cannot listen on {self._host} port {self._port}: {error.strerror or error}",
                hint="give a free port with --port and an address of this machine with --host",
            ) from error
        return listener

    def _serve(self) -> None:
        self._server.run(sockets=[] if self._socket is None else [self._socket])

    # --- in the link's thread ---------------------------------------------------------------

    def _on_message(self, message: Incoming) -> None:
        if self._inbox.put(message.topic, message.payload, is_retained=message.retain):
            self._call(self._take_inbox)

    def _on_connection(self, up: bool) -> None:  # noqa: FBT001 - the link's callback
        log.info("screens_link", extra={"fields": {"up": up}})
        self._call(self._listeners.tell, {LINK_KEY, STORE_KEY})

    def _call(self, function: object, *arguments: object) -> None:
        # A loop that has ended needs no news.
        if self._loop is not None and callable(function):
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(function, *arguments)

    # --- in the event loop ------------------------------------------------------------------

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Everything that goes on besides requests, for the life of the event loop."""
        self._loop = asyncio.get_running_loop()
        expiry = asyncio.create_task(self._expire_for_ever())
        try:
            yield
        finally:
            expiry.cancel()
            with suppress(asyncio.CancelledError):
                await expiry
            self._loop = None

    def _take_inbox(self) -> None:
        for each in self._inbox.take_all():
            changed = self._board.take(
                each.topic,
                each.payload,
                is_retained=each.is_retained,
                n_replaced=each.n_replaced,
            )
            self._listeners.tell(changed)

    async def _expire_for_ever(self) -> None:
        while True:
            await asyncio.sleep(EXPIRY_CHECK_S)
            self._listeners.tell(self._board.expire())

    def _publish(self, topic: str, payload: bytes) -> None:
        if self._link.n_unacknowledged >= UNSENT_MAX:
            self._n_unsent += 1
            log.warning("feedback_dropped", extra={"fields": {"dropped": self._n_unsent}})
            return
        self._link.publish(topic, payload, expiry_s=FEEDBACK_EXPIRY_S)


class _Application:
    """The routes, with the server's own life in the ASGI lifespan."""

    def __init__(self, app: ASGIApp, server: ScreensServer) -> None:
        self._app = app
        self._server = server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return
        await receive()
        async with self._server.running():
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})


def _subscriptions(store: str, *, is_replay: bool) -> tuple[Subscription, ...]:
    filters = [
        topics.recommendation(store, _ANY),
        topics.alert(store, _ANY),
        topics.agent_state(store),
    ]
    if is_replay:
        filters.insert(0, topics.clock(store))
    return tuple(Subscription(topic_filter=each) for each in filters)


def _http_config(app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        lifespan="on",
        http="h11",
        ws="none",
        loop="asyncio",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=2,
    )
