"""`edge-agent screens`: browser pages for the store's screens, staff and dashboard."""

from __future__ import annotations

import socket
import sys
import threading
from pathlib import Path
from typing import Annotated, Final

import typer

from edge_agent.cli.broker import PORT_MAX, broker_address, existing, password_in
from edge_agent.errors import ConfigError
from edge_agent.shell.mqtt_client import LinkSettings, unreachable
from edge_agent.shell.signals import on_end
from edge_agent.web.server import ScreensServer
from edge_agent.web.strings import LOCALES

DEFAULT_PORT: Final = 8480
# Alerts are not retained: a session this long keeps those of a short break.
SESSION_EXPIRY_S: Final = 900
PACKET_BYTES_MAX: Final = 1_048_576
# A store may start its screens before its broker, so waiting is no failure; then we say so.
PATIENCE_TURNS: Final = 40
PATIENCE_TURN_S: Final = 0.25

HELP: Final = """Serve pages for screens, staff handhelds and the store's dashboard.

Subscribes to the store's broker like any screen, and needs nothing from outside the store. Pages:

\b
  /                overview of all screens
  /screen/NAME     one screen, for a signage player or tablet in kiosk mode
  /staff/TEAM      a team's alerts, for handhelds
  /store           dashboard

A screen keeps its last good content when a link drops, then shows the store's default.

Examples:

\b
  edge-agent screens --store s42
  edge-agent screens --store s42 --broker gateway.local --ca ca.pem --user screens
  edge-agent screens --store s42 --host 0.0.0.0 --allow-host gateway.local --locale fi

Exit codes: 0 ended by a signal, 2 wrong use, 3 the port or the broker is not there."""


def screens(
    *,
    store: Annotated[str, typer.Option(help="The store's name in topics.", show_default=False)],
    broker: Annotated[
        str, typer.Option(help="The store broker: HOST or HOST:PORT.")
    ] = "127.0.0.1",
    user: Annotated[str | None, typer.Option(help="User name at the broker.")] = None,
    password_file: Annotated[
        Path | None, typer.Option(help="File whose first line is the password.")
    ] = None,
    ca: Annotated[
        Path | None, typer.Option(help="CA certificate of the broker; turns TLS on.")
    ] = None,
    cert: Annotated[Path | None, typer.Option(help="Own certificate, with --key.")] = None,
    key: Annotated[Path | None, typer.Option(help="Own private key, with --cert.")] = None,
    client_id: Annotated[
        str | None, typer.Option(help="MQTT client id; from the machine's name by default.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to serve on; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to serve on; 0 for a free one.")] = DEFAULT_PORT,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="A name by which browsers call these pages; repeatable."),
    ] = None,
    locale: Annotated[str, typer.Option(help="Language of the pages: en or fi.")] = "en",
    screen: Annotated[
        list[str] | None, typer.Option(help="A screen to list before it gets content; repeatable.")
    ] = None,
    team: Annotated[
        list[str] | None, typer.Option(help="A team to list before its first alert; repeatable.")
    ] = None,
    clock: Annotated[
        str, typer.Option(help="system, or replay: take the time from a replay's ticks.")
    ] = "system",
    wait: Annotated[
        bool, typer.Option(help="Go on without the broker until it comes, or end with code 3.")
    ] = True,
) -> None:
    """Serve pages for screens, staff handhelds and the store's dashboard."""
    _check_choices(store, locale=locale, clock=clock, port=port)
    broker_host, broker_port = broker_address(broker, is_tls=ca is not None)
    settings = LinkSettings(
        host=broker_host,
        port=broker_port,
        client_id=client_id or f"screens-{store}-{socket.gethostname()}-{port}",
        username=user,
        password=password_in(password_file),
        ca_file=existing(ca, "--ca"),
        cert_file=existing(cert, "--cert"),
        key_file=existing(key, "--key"),
        session_expiry_s=SESSION_EXPIRY_S,
        maximum_packet_bytes=PACKET_BYTES_MAX,
    )
    server = ScreensServer(
        settings,
        store,
        host=host,
        port=port,
        locale=locale,
        is_replay=clock == "replay",
        screens=tuple(screen or ()),
        teams=tuple(team or ()),
        allowed_hosts=_own_names() | frozenset(allow_host or ()),
    )
    _serve(server, settings, may_wait=wait)


screens.__doc__ = HELP


def _serve(server: ScreensServer, settings: LinkSettings, *, may_wait: bool) -> None:
    stopping = threading.Event()
    on_end(stopping.set)
    server.start(is_awaited=True)
    try:
        print(server.url, flush=True)
        _wait_for_broker(server, settings, stopping, may_wait=may_wait)
        stopping.wait()
    finally:
        server.stop()


def _wait_for_broker(
    server: ScreensServer, settings: LinkSettings, stopping: threading.Event, *, may_wait: bool
) -> None:
    for _ in range(PATIENCE_TURNS):
        if server.wait_linked(PATIENCE_TURN_S) or stopping.is_set():
            return
        if server.login_refusal or (server.link_error and not may_wait):
            break
    error = unreachable(settings, reason=server.link_error, login_refusal=server.login_refusal)
    if not may_wait:
        raise error
    _say(f"waiting: {error.message}; the pages show their defaults meanwhile")


def _check_choices(store: str, *, locale: str, clock: str, port: int) -> None:
    if not store or any(character in store for character in "/+#") or not store.isprintable():
        raise ConfigError(
            f"--store {store!r} cannot be part of a topic", hint="use letters, digits, - and _"
        )
    if locale.partition("-")[0] not in LOCALES:
        raise ConfigError(
            f"--locale {locale} is not spoken", hint=f"use one of: {', '.join(sorted(LOCALES))}"
        )
    if clock not in {"system", "replay"}:
        raise ConfigError(f"--clock {clock} is not known", hint="use system or replay")
    if not 0 <= port <= PORT_MAX:
        raise ConfigError(f"--port {port} is no port", hint=f"use 0 to {PORT_MAX}")


def _own_names() -> frozenset[str]:
    name = socket.gethostname().lower()
    return frozenset({name, f"{name}.local"})


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
