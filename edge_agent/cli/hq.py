"""`edge-agent hq`: HQ's receiver, its report, its commands and its dashboard."""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edge_agent.errors import AS_ITS_USER, ConfigError, EdgeAgentError, refusal_of
from edge_agent.hq.dashboard import DashboardServer
from edge_agent.hq.downlink import ALL_STORES, KINDS, CommandWriter, Draft, send_commands
from edge_agent.hq.gateway_report import device_table, gateway_table
from edge_agent.hq.keys import public_text, read_key, write_new_key
from edge_agent.hq.receiver import HqReceiver
from edge_agent.hq.report import (
    Comparison,
    Report,
    as_json,
    comparisons,
    report_from,
)
from edge_agent.hq.retention import KEEP_DAYS, KEEP_DAYS_MAX, KEEP_DAYS_MIN, Retention
from edge_agent.hq.store import opened_store
from edge_agent.hq.uplift_report import uplift_json, uplift_table
from edge_agent.shell.mqtt_client import LinkSettings
from edge_agent.shell.signals import on_end
from edge_agent.shell.signing import DEMO_KEY_ID, demo_private_key

DEFAULT_BROKER: Final = "127.0.0.1:1883"
DEFAULT_DATABASE: Final = "hq.db"
DEFAULT_PORT: Final = 8490
PORT_MAX: Final = 65_535
DEMO_KEY: Final = "demo"
WEEK_H: Final = 168.0
# How soon a failed receiver ends the program.
SIGNAL_POLL_S: Final = 0.5

app = typer.Typer(
    no_args_is_help=True,
    help="HQ's side: receive what the stores send, compare the stores, send them commands.",
)

Broker = Annotated[
    str, typer.Option(help="HQ's MQTT 5 broker, HOST:PORT.", envvar="EDGE_AGENT_HQ_BROKER")
]
Database = Annotated[
    str,
    typer.Option(
        help="SQLite file, or postgresql:// URL (password in PGPASSWORD or ~/.pgpass).",
        envvar="EDGE_AGENT_HQ_DATABASE",
    ),
]
Key = Annotated[
    str,
    typer.Option(help="HQ's private key (PEM, Ed25519), or the word demo: the demo's public one."),
]
KeyId = Annotated[str, typer.Option(help="The key's name in the stores' configuration.")]
User = Annotated[str | None, typer.Option(help="User name at the broker.")]
PasswordFile = Annotated[
    Path | None, typer.Option(help="File whose first line is the broker's password.")
]
Ca = Annotated[Path | None, typer.Option(help="CA certificate of the broker; turns TLS on.")]
Cert = Annotated[Path | None, typer.Option(help="Own certificate, with --cert-key.")]
CertKey = Annotated[Path | None, typer.Option(help="The certificate's private key.")]
ClientId = Annotated[
    str | None, typer.Option(help="MQTT client id; from the machine's name by default.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Report as JSON.")]


@app.command(
    epilog="Example: edge-agent hq run --broker hq.example:8883 --ca ca.pem --key hq.pem "
    "--key-id hq-2026 --database postgresql://hq@db/hq"
)
def run(
    *,
    key: Key,
    broker: Broker = DEFAULT_BROKER,
    database: Database = DEFAULT_DATABASE,
    key_id: KeyId = DEMO_KEY_ID,
    user: User = None,
    password_file: PasswordFile = None,
    ca: Ca = None,
    cert: Cert = None,
    cert_key: CertKey = None,
    client_id: ClientId = None,
    shared: Annotated[
        bool, typer.Option(help="Share the work with other receivers (a shared subscription).")
    ] = True,
    keep_days: Annotated[
        int,
        typer.Option(
            help="Days that customers' days, summaries and what became of commands are kept"
            " since they came or were renewed.",
            min=KEEP_DAYS_MIN,
            max=KEEP_DAYS_MAX,
            envvar="EDGE_AGENT_HQ_KEEP_DAYS",
        ),
    ] = KEEP_DAYS,
    as_json: AsJson = False,
) -> None:
    """Receive what the stores send, until a signal; then say what was received.

    A message is acknowledged when it is on disk. At the start and once a day what is older than
    --keep-days is deleted. More receivers are added by starting them with client ids of their own,
    on PostgreSQL. Exit codes: 0 ended by a signal, 1 the receiver failed, 2 wrong use, 3 the
    database is not there.
    """
    with _errors_as_exit_codes():
        name = client_id or f"hq-{socket.gethostname()}"
        settings = _settings(broker, name, user, password_file, (ca, cert, cert_key))
        with closing(opened_store(database)) as store:
            receiver = HqReceiver(settings, store, _key(key), key_id=key_id, shared=shared)
            retention = Retention(store, keep_days=keep_days)
            retention.look()
            receiver.start()
            _say(f"receiving from {broker} into {_without_password(database)}; Ctrl-C ends it")
            _wait_for_signal(receiver.failed, meanwhile=retention.look)
            receiver.stop()
        counters = asdict(receiver.counters())
        if as_json:
            print(json.dumps(counters))
        else:
            _print_counters(counters)
        if receiver.failed.is_set():
            raise typer.Exit(1)


@app.command(epilog="Example: edge-agent hq report --database hq.db --day 2017-12-02")
def report(
    *,
    database: Database = DEFAULT_DATABASE,
    store: Annotated[str, typer.Option(help="This store alone.")] = "",
    day: Annotated[str, typer.Option(help="This day alone, YYYY-MM-DD.")] = "",
    as_json_: AsJson = False,
) -> None:
    """Compare the stores: footfall, dwell, sales, recommendations, campaigns' uplift, gateways.

    Exit codes: 0 good, 1 nothing matches, 2 wrong use, 3 the database is not there.
    """
    with _errors_as_exit_codes():
        with closing(opened_store(_existing(database))) as hq:
            found = report_from(hq, store=store, day=day)
        if as_json_:
            print(json.dumps({**as_json(found), "uplift": uplift_json(found)}, indent=2))
        else:
            _print_report(found)
        if found.is_empty:
            raise typer.Exit(1)


@app.command(
    epilog="Example: edge-agent hq send fact --store s42 --set name=rain --set value:=true "
    "--set valid_until=2026-12-02T18:00:00Z --key hq.pem --key-id hq-2026"
)
def send(
    kind: Annotated[str, typer.Argument(help=f"One of: {', '.join(KINDS)}.")],
    *,
    key: Key,
    store: Annotated[str, typer.Option(help="The store it is for; all for every store.")],
    body: Annotated[
        Path | None, typer.Option(help="JSON file with the command's body; - for standard input.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="A field of the body: path=text, or path:=json for numbers, lists, true.",
            metavar="PATH=TEXT",
        ),
    ] = None,
    version_key: Annotated[
        str | None, typer.Option(help="What the version counts; by the kind's rule by default.")
    ] = None,
    expires_h: Annotated[float, typer.Option(help="Hours that it is valid.", min=0.01)] = WEEK_H,
    broker: Broker = DEFAULT_BROKER,
    database: Database = DEFAULT_DATABASE,
    key_id: KeyId = DEMO_KEY_ID,
    user: User = None,
    password_file: PasswordFile = None,
    ca: Ca = None,
    cert: Cert = None,
    cert_key: CertKey = None,
    as_json_: AsJson = False,
) -> None:
    """Send a signed command to one store or to all, and note it in HQ's database.

    The body's fields are shown by `edge-agent schema down.KIND`. Exit codes: 0 the broker has it,
    1 the body is not of its kind, 2 wrong use, 3 the broker or the database is not there.
    """
    with _errors_as_exit_codes():
        if kind not in KINDS:
            raise ConfigError(f"{kind} is no command", hint=f"one of: {', '.join(KINDS)}")
        draft = Draft(
            store=store,
            kind=kind,
            body=_body(body, set_ or []),
            key=version_key,
            valid_for=timedelta(hours=expires_h),
        )
        # An id of its own: the receiver's session must not be taken over.
        name = f"hq-send-{socket.gethostname()}-{threading.get_native_id()}"
        settings = _settings(broker, name, user, password_file, (ca, cert, cert_key), lasts=False)
        signing_key = _key(key)
        with closing(opened_store(database)) as hq:
            commands = CommandWriter(hq, signing_key).commands([draft])
        send_commands(settings, commands, signing_key=signing_key, key_id=key_id)
        (sent,) = commands
        if as_json_:
            envelope = sent.model_dump(mode="json", exclude={"body"})
            print(json.dumps(envelope))
        else:
            to = "all stores" if store == ALL_STORES else store
            print(f"sent {kind} {sent.command} version {sent.version} to {to}")


@app.command(epilog="Example: edge-agent hq dashboard --database hq.db --port 8490")
def dashboard(
    *,
    database: Database = DEFAULT_DATABASE,
    port: Annotated[
        int, typer.Option(help="Loopback port; 0 for a free one.", min=0, max=PORT_MAX)
    ] = DEFAULT_PORT,
) -> None:
    """Serve the comparison as a page on this machine, until a signal.

    It listens on loopback only and asks nobody for a password: put a proxy with your log-in before
    it. Exit codes: 0 ended by a signal, 2 wrong use, 3 the port or the database is not there.
    """
    with _errors_as_exit_codes(), closing(opened_store(_existing(database))) as hq:
        server = DashboardServer(hq, port=port)
        print(server.url, flush=True)
        server.serve()


@app.command(epilog="Example: edge-agent hq keygen hq.pem")
def keygen(
    path: Annotated[
        Path, typer.Argument(help="Where the private key is written; must not exist.")
    ],
    *,
    as_json_: AsJson = False,
) -> None:
    """Make HQ's signing key, and print the public one for the stores' configuration.

    Exit codes: 0 written, 2 the file exists or its folder does not.
    """
    with _errors_as_exit_codes():
        public = public_text(write_new_key(path))
        if as_json_:
            print(json.dumps({"file": str(path), "public_key": public}))
        else:
            print(f"{path} written. In each store's agent.toml, section [hq]:")
            print(f'keys = {{hq-1 = "{public}"}}')


@contextmanager
def _errors_as_exit_codes() -> Iterator[None]:
    try:
        yield
    except EdgeAgentError as error:
        raise _told(error) from error
    except OSError as error:
        refused = refusal_of(error, denied=AS_ITS_USER)
        if refused is None:
            raise
        raise _told(refused) from error


def _told(error: EdgeAgentError) -> typer.Exit:
    _say(f"error: {error.message}")
    if error.hint:
        _say(f"  what to do: {error.hint}")
    return typer.Exit(error.exit_code)


def _settings(
    broker: str,
    client_id: str,
    user: str | None,
    password_file: Path | None,
    tls: tuple[Path | None, Path | None, Path | None],
    *,
    lasts: bool = True,
) -> LinkSettings:
    host, separator, port = broker.rpartition(":")
    if not (separator and host and port.isdecimal() and 0 < int(port) <= PORT_MAX):
        raise ConfigError(f"--broker {broker} is no address", hint=f"as in {DEFAULT_BROKER}")
    for path in tls:
        if path is not None and not path.is_file():
            raise ConfigError(f"{path} does not exist", hint="give the path of a PEM file")
    settings = LinkSettings(
        host=host.strip("[]"),
        port=int(port),
        client_id=client_id,
        username=user,
        password=_password(password_file),
        ca_file=tls[0],
        cert_file=tls[1],
        key_file=tls[2],
    )
    return settings if lasts else replace(settings, session_expiry_s=0, clean_start=True)


def _password(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        return path.read_text(encoding="utf-8").partition("\n")[0]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--password-file {path} cannot be read") from error


def _key(text: str) -> Ed25519PrivateKey:
    if text != DEMO_KEY:
        return read_key(Path(text))
    _say("signing with the demo's key, which everybody can compute: for trials only")
    return demo_private_key()


def _existing(database: str) -> str:
    if "://" not in database and not Path(database).is_file():
        raise ConfigError(
            f"{database} does not exist", hint="edge-agent hq run makes it; or give --database"
        )
    return database


def _without_password(database: str) -> str:
    scheme, separator, rest = database.partition("://")
    credentials, at, place = rest.rpartition("@")
    return f"{scheme}{separator}{credentials.partition(':')[0]}{at}{place}"


def _body(path: Path | None, assignments: list[str]) -> dict[str, Any]:
    body: dict[str, Any] = {} if path is None else _body_file(path)
    for assignment in assignments:
        place, separator, text = assignment.partition("=")
        if not separator or not place:
            raise ConfigError(f"--set {assignment} is no path=value", hint="as in name=rain")
        *parents, last = place.removesuffix(":").split(".")
        target = body
        for parent in parents:
            target = target.setdefault(parent, {})
            if not isinstance(target, dict):
                raise ConfigError(f"--set {place}: {parent} holds a value already")
        target[last] = _json_value(place, text) if place.endswith(":") else text
    return body


def _body_file(path: Path) -> dict[str, Any]:
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
        body = json.loads(text)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"--body {path}: {error}", hint="give a file with a JSON object"
        ) from error
    if not isinstance(body, dict):
        raise ConfigError(f"--body {path} holds no JSON object")
    return body


def _json_value(place: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        hint = 'as in products:=["1095275"]; a text needs no colon'
        raise ConfigError(f"--set {place}={text} is no JSON", hint=hint) from error


def _wait_for_signal(failed: threading.Event, *, meanwhile: Callable[[], None]) -> None:
    told = threading.Event()
    on_end(told.set)
    while not (told.wait(SIGNAL_POLL_S) or failed.is_set()):
        meanwhile()


def _print_counters(counters: dict[str, Any]) -> None:
    table = Table("", "since the start", title="Received")
    for name, value in counters.items():
        if not isinstance(value, dict):
            table.add_row(name.removeprefix("n_"), f"{value:,}")
    Console().print(table)


def _print_report(found: Report) -> None:
    console = Console()
    if found.is_empty:
        console.print("No store has sent anything that matches.")
        return
    campaigns = uplift_table(found)
    tables = (*comparisons(found), *((campaigns,) if campaigns.rows else ()))
    for each in (*tables, gateway_table(found), device_table(found)):
        console.print(_table(each))
        console.print()
    console.print("Who stays from one hour into the next counts in both.")
    for row in found.refused:
        console.print(f"refused: {escape(str(row['reason']))} {row['n']}")


def _table(comparison: Comparison) -> Table:
    table = Table(title=escape(comparison.title), title_justify="left")
    # Folded, not cut: half a device's name tells nobody which one it is.
    table.add_column(escape(comparison.first_column), overflow="fold")
    for number, column in enumerate(comparison.columns):
        is_text = number < comparison.n_texts
        table.add_column(escape(column), justify="left" if is_text else "right", overflow="fold")
    for number, (name, texts) in enumerate(comparison.rows):
        style = "bold red" if number in comparison.marked else None
        table.add_row(escape(name), *(escape(each) for each in texts), style=style)
    if comparison.n_more:
        table.caption = f"{comparison.n_more} smaller ones are not shown"
    elif comparison.note:
        table.caption = escape(comparison.note)
    return table


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
