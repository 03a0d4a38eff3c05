"""The HTTP listener: uvicorn in a thread of its own, with bounds on what a connection may take."""

from __future__ import annotations

import asyncio
import math
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import uvicorn
from typing_extensions import override
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from edge_agent.errors import BrokerError, ConfigError

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from edge_agent.bridge.settings import HttpSection
    from edge_agent.ports import Clock

START_TIMEOUT_S: Final = 15.0
STOP_TIMEOUT_S: Final = 10.0
GRACEFUL_S: Final = 5
BACKLOG: Final = 128
HEAD_BYTES_MAX: Final = 32_768


class HttpServer:
    """Serves an application from `start` to `stop`."""

    def __init__(self, section: HttpSection, app: ASGIApp, *, clock: Clock) -> None:
        self._section = section
        self._clock = clock
        self._socket: socket.socket | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._beat_s = clock.monotonic_s()
        self._server = uvicorn.Server(_settings(section, app))
        self._thread = threading.Thread(target=self._serve, name="bridge-http", daemon=True)
        self.port = section.port

    @property
    def url(self) -> str:
        """Where it listens."""
        host = self._section.host
        scheme = "http" if self._section.cert_file is None else "https"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self.port}/"

    def start(self) -> None:
        """Listens.

        Raises:
            BrokerError: The address cannot be listened on.
            ConfigError: The certificate is no good.
        """
        self._socket = self._listening_socket()
        self.port = self._socket.getsockname()[1]
        self._thread.start()
        deadline_s = self._clock.monotonic_s() + START_TIMEOUT_S
        while not self._server.started:
            is_late = self._clock.monotonic_s() > deadline_s
            if is_late or not self._thread.is_alive():
                raise ConfigError(
                    "the HTTP listener did not start",
                    hint="see http.cert_file and http.key_file",
                )
            self._thread.join(0.01)

    def stop(self) -> None:
        """Lets running requests end, then closes the port."""
        self._server.should_exit = True
        if self._thread.ident is not None:
            self._thread.join(STOP_TIMEOUT_S)
        if self._socket is not None:
            self._socket.close()

    def silent_s(self) -> float:
        """Returns how long its event loop has not answered; asks it again."""
        if self._loop is not None:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._beat)
        return self._clock.monotonic_s() - self._beat_s

    def _beat(self) -> None:
        self._beat_s = self._clock.monotonic_s()

    def _serve(self) -> None:
        async def serve() -> None:
            self._loop = asyncio.get_running_loop()
            await self._server.serve(sockets=[] if self._socket is None else [self._socket])

        with suppress(SystemExit):
            asyncio.run(serve())

    def _listening_socket(self) -> socket.socket:
        host = self._section.host
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, self._section.port))
        except OSError as error:
            listener.close()
            raise BrokerError(
                f"cannot listen on {host} port {self._section.port}: {error.strerror or error}",
                hint="give a free port and an address of this machine under [http]",
            ) from error
        return listener


class _PatientProtocol(H11Protocol):
    """uvicorn's protocol, which by itself waits for a request's head for ever.

    A connection that has sent no whole head in the time of a resting one is closed: it would hold
    a place that others need.
    """

    _checked: object = None

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        super().connection_made(transport)
        self.loop.call_later(self.timeout_keep_alive, self._close_if_idle)

    def _close_if_idle(self) -> None:
        if self.transport.is_closing():
            return
        # None before the first request, whatever uvicorn's annotation says.
        cycle: RequestResponseCycle | None = self.cycle
        is_busy = cycle is not None and not cycle.response_complete
        # A connection that is kept and used is none of ours: uvicorn closes it when it rests.
        if is_busy or cycle is not self._checked:
            self._checked = cycle
            self.loop.call_later(self.timeout_keep_alive, self._close_if_idle)
            return
        self.transport.abort()


def _settings(section: HttpSection, app: ASGIApp) -> uvicorn.Config:
    try:
        config = uvicorn.Config(
            app,
            lifespan="off",
            http=_PatientProtocol,
            ws="none",
            loop="asyncio",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=True,
            proxy_headers=False,
            backlog=BACKLOG,
            limit_concurrency=section.connections_max,
            h11_max_incomplete_event_size=HEAD_BYTES_MAX,
            timeout_keep_alive=math.ceil(section.read_within_s),
            timeout_graceful_shutdown=GRACEFUL_S,
            ssl_certfile=section.cert_file,
            ssl_keyfile=section.key_file,
        )
        config.load()
    except OSError as error:
        raise ConfigError(
            f"http.cert_file, http.key_file: {error}", hint="give a PEM certificate and its key"
        ) from error
    return config
