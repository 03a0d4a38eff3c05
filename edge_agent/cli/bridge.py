"""`edge-agent bridge`: HTTP and files onto the store's broker, unchanged."""

from __future__ import annotations

import http.client
import json
import ssl
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table

from edge_agent.bridge import settings
from edge_agent.bridge.service import serve
from edge_agent.errors import BrokerError

DEFAULT_FILE: Final = Path("/etc/edge-agent/bridge.toml")
ASK_TIMEOUT_S: Final = 5.0
ANYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - addresses to replace

HELP: Final = """Carry what does not speak MQTT to the store's broker, unchanged.

Webhooks and devices that post (signatures of Square, Shopify, Lightspeed,
Zettle, Loyverse, Disruptive Technologies and any HMAC are verified), and
files dropped into a folder (POSLog, e-receipts).
What is told to be delivered has been acknowledged by the broker; anything
else is asked for again, or waits in its folder.

Examples:

\b
  edge-agent check /etc/edge-agent/bridge.toml
  edge-agent bridge --config /etc/edge-agent/bridge.toml
  edge-agent bridge --config /etc/edge-agent/bridge.toml --status
  edge-agent bridge --status --json

provisioning/bridge.example.toml has every key.

Exit codes: 0 ended by a signal, or status ok; 1 status not ok; 2 the file
is wrong; 3 the port is taken, or with --status no bridge answers."""


def bridge(
    config: Annotated[Path, typer.Option("--config", "-c", help="The bridge's TOML file.")] = (
        DEFAULT_FILE
    ),
    *,
    status: Annotated[
        bool, typer.Option("--status", help="Ask the running bridge how it is, and end.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the status as JSON.")] = False,
) -> None:
    """Carry what does not speak MQTT to the store's broker, unchanged."""
    if not status:
        serve(config)
        return
    health = _asked(settings.load(config).http)
    if as_json:
        typer.echo(json.dumps(health, indent=2))
    else:
        _print(health)
    if health.get("status") != "ok":
        raise typer.Exit(1)


bridge.__doc__ = HELP


def _asked(section: settings.HttpSection) -> dict[str, Any]:
    host = ANYWHERE.get(section.host, section.host)
    connection: http.client.HTTPConnection
    if section.cert_file is None:
        connection = http.client.HTTPConnection(host, section.port, timeout=ASK_TIMEOUT_S)
    else:
        connection = http.client.HTTPSConnection(
            host, section.port, timeout=ASK_TIMEOUT_S, context=_trusting(section.cert_file)
        )
    try:
        connection.request("GET", settings.HEALTH_PATH)
        answer = json.loads(connection.getresponse().read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise BrokerError(
            f"no bridge answers at {host}:{section.port}: {error}",
            hint="start it: systemctl start edge-agent-bridge",
        ) from error
    finally:
        connection.close()
    return dict(answer)


def _trusting(cert_file: str) -> ssl.SSLContext:
    """Trusts the bridge's own certificate, by whatever name it is called here."""
    context = ssl.create_default_context(cafile=cert_file)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def _print(health: dict[str, Any]) -> None:
    broker = health["broker"]
    table = Table(title=f"edge-agent bridge: {health['status']}", show_header=False)
    table.add_row("broker", "connected" if broker["connected"] else broker["error"] or "not there")
    table.add_row("not acknowledged yet", str(broker["pending"]))
    for kind in ("hooks", "folders"):
        for name, counts in health[kind].items():
            told = ", ".join(
                f"{key} {value}" for key, value in counts.items() if value is not None
            )
            table.add_row(f"{kind[:-1]} {name}", told or "nothing yet")
    for reason, count in health["http"].items():
        table.add_row(f"http: {reason}", str(count))
    Console().print(table)
