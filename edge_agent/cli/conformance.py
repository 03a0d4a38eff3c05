"""`edge-agent conformance`: whether a vendor's screen or till keeps the wire's contract."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from edge_agent.cli.broker import broker_address, existing, password_in
from edge_agent.cli.conformance_terminal import Terminal, show
from edge_agent.cli.errors import shown
from edge_agent.conformance import screen_checks, till_checks
from edge_agent.conformance.findings import exit_code
from edge_agent.conformance.screen_run import ScreenRun, ScreenSettings
from edge_agent.conformance.station import Station
from edge_agent.conformance.till_run import TillRun, TillSettings
from edge_agent.conformance.till_scenario import ALL, STEPS, steps_of
from edge_agent.conformance.transcript import (
    Place,
    concern_of_screen,
    concern_of_till,
    is_level_name,
    place_of,
)
from edge_agent.errors import ConfigError
from edge_agent.shell.mqtt_client import LinkSettings

PACKET_BYTES_MAX: Final = 1_048_576
# The gateway's own account of the agent (provisioning/enrol.py).
AGENTS_OWN: Final = "agent"

app = typer.Typer(
    help="Try a vendor's screen or till on a live broker: what is right, what is wrong.",
    no_args_is_help=True,
)

StoreOption = Annotated[
    str | None,
    typer.Option(help="The store's name in topics; short for --topic-prefix store/NAME."),
]
PrefixOption = Annotated[
    str | None,
    typer.Option(
        help="What stands before /screen and /event: store/NAME, or with what a bridge or mount"
        " point puts before it, such as bench/7/store/NAME."
    ),
]
BrokerOption = Annotated[str, typer.Option(help="The broker (MQTT 5): HOST or HOST:PORT.")]
UserOption = Annotated[
    str | None,
    typer.Option(help="User name at the broker: an account of its own, of the role agent."),
]
PasswordOption = Annotated[
    Path | None, typer.Option(help="File whose first line is the password.")
]
CaOption = Annotated[Path | None, typer.Option(help="CA certificate of the broker; turns TLS on.")]
CertOption = Annotated[Path | None, typer.Option(help="Own certificate, with --key.")]
KeyOption = Annotated[Path | None, typer.Option(help="Own private key, with --cert.")]
ClientOption = Annotated[
    str | None, typer.Option(help="MQTT client id; by default one of this run's own.")
]
InteractionOption = Annotated[
    bool,
    typer.Option(
        help="Ask whoever stands at the device to do and see things; without, they are not tried."
    ),
]
ToleranceOption = Annotated[
    float, typer.Option(min=0.0, help="Seconds by which the device's clock may be wrong.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Report as JSON on standard output.")]

SCREEN_HELP: Final = """Try a screen: plays the agent, and judges what the screen answers.

Publishes recommendations on the screen's own topic (with every optional field
and with none, with the longest texts, expired, repeated, broken, cleared) and
checks its feedback: topic, form, ids, times, each thing once, in time, and
silence where silence is due. Then asks whoever stands there to look, tap,
dismiss and restart. What the screen showed before is cleared.

Needs a broker on which no agent runs for that store, and the rights of the
role agent there. hardware/CONFORMANCE.md has every check, and where the
contract says so.

Examples:

\b
  edge-agent conformance screen --store bench --screen dairy-1
  edge-agent conformance screen --topic-prefix lab/store/bench --screen dairy-1
  edge-agent conformance screen --store bench --screen dairy-1 --no-interaction --json
  edge-agent conformance screen --store bench --screen dairy-1 --within 2 \\
      --broker gateway.local --ca ca.pem --user conformance --password-file password

Exit codes: 0 nothing is wrong, 1 something is, 2 wrong use (or an agent is
online there), 3 no broker, or one that refuses the agent's rights."""

POS_HELP: Final = """Try a till: plays the agent, asks the cashier, and judges what is told.

Checks each event's form with the agent's own decoder; ids, one for one event,
also when it is told again; times; baskets (order, voids, lines, totals); cards;
that nothing names a person. The first receipt is withheld, then given for
another id: the till must go on telling the event under its own. Gives receipt
offers, and answers requests.

The scripted sale: open, card-before, add, weighed, void, discount, ask,
complete, card-after, cancel, return. --scenario names those that the till can
do; --listen only listens, to real or replayed business.

Needs a broker on which no agent runs for that store, and the rights of the
role agent there. hardware/CONFORMANCE.md has every check, and where the
contract says so.

Examples:

\b
  edge-agent conformance pos --store bench --source pos-2
  edge-agent conformance pos --store bench --source pos-2 --scenario open,add,complete
  edge-agent conformance pos --store bench --source pos-2 --no-interaction --timeout 30
  edge-agent conformance pos --store bench --source pos-2 --listen 600 --json

Exit codes: 0 nothing is wrong, 1 something is, 2 wrong use (or an agent is
online there), 3 no broker, or one that refuses the agent's rights."""


@shown
def screen(
    *,
    screen: Annotated[str, typer.Option(help="The screen's id.", show_default=False)],
    store: StoreOption = None,
    topic_prefix: PrefixOption = None,
    broker: BrokerOption = "127.0.0.1",
    user: UserOption = None,
    password_file: PasswordOption = None,
    ca: CaOption = None,
    cert: CertOption = None,
    key: KeyOption = None,
    client_id: ClientOption = None,
    within: Annotated[
        float, typer.Option(min=0.1, help="Seconds in which a recommendation must be shown.")
    ] = 5.0,
    wait: Annotated[
        float, typer.Option(min=0.0, help="Seconds to wait for the screen to subscribe.")
    ] = 60.0,
    timeout: Annotated[
        float, typer.Option(min=1.0, help="Seconds to wait for what somebody does.")
    ] = 60.0,
    clock_tolerance: ToleranceOption = 10.0,
    interaction: InteractionOption = True,
    as_json: JsonOption = False,
) -> None:
    """Try a screen: plays the agent, and judges what the screen answers."""
    place = _place(store, topic_prefix)
    run = _run_name()
    login = _login(broker, client_id or run, user, password_file, (ca, cert, key))
    settings = ScreenSettings(
        screen=_level(screen, "--screen"),
        run=run,
        within_s=within,
        wait_s=wait,
        patience_s=timeout,
        tolerance_s=clock_tolerance,
    )
    concern = concern_of_screen(place.store, settings.screen, run=run)
    with (
        Terminal(is_asked=interaction) as terminal,
        Station(login, place, concern=concern) as station,
    ):
        record = ScreenRun(station, place, settings, terminal.person).go(terminal.progress)
        heard_all = station.hears_everything
    found = screen_checks.findings(record)
    about = {"device": "screen", "name": settings.screen, "store": place.store}
    show(found, about, as_json=as_json, hears_everything=heard_all)
    raise typer.Exit(exit_code(found))


@shown
def pos(
    *,
    source: Annotated[
        str,
        typer.Option(help="The till's name: last level of its event topic.", show_default=False),
    ],
    store: StoreOption = None,
    topic_prefix: PrefixOption = None,
    broker: BrokerOption = "127.0.0.1",
    user: UserOption = None,
    password_file: PasswordOption = None,
    ca: CaOption = None,
    cert: CertOption = None,
    key: KeyOption = None,
    client_id: ClientOption = None,
    scenario: Annotated[
        str, typer.Option(help=f"Steps to play: {ALL}, or of {', '.join(s.name for s in STEPS)}.")
    ] = ALL,
    timeout: Annotated[
        float, typer.Option(min=0.1, help="Seconds to wait for what a step must bring.")
    ] = 60.0,
    listen: Annotated[
        float | None, typer.Option(min=0.1, help="Play nothing: only listen, so many seconds.")
    ] = None,
    repeat_within: Annotated[
        float, typer.Option(min=0.1, help="Seconds in which an event without receipt is repeated.")
    ] = 30.0,
    receipts: Annotated[
        bool,
        typer.Option(
            "--receipts",
            help="Give a receipt for every event, as `receipt = true` in the till's section of the"
            " agent's file does.",
        ),
    ] = False,
    clock: Annotated[
        str, typer.Option(help="system, or replay: take the time from a replay's ticks.")
    ] = "system",
    clock_tolerance: ToleranceOption = 10.0,
    interaction: InteractionOption = True,
    as_json: JsonOption = False,
) -> None:
    """Try a till: plays the agent, asks the cashier, and judges what is told."""
    place, steps = _place(store, topic_prefix), steps_of(scenario)
    if isinstance(steps, str):
        raise ConfigError(
            f"--scenario has no step {steps!r}",
            hint=f"name some of {', '.join(each.name for each in STEPS)}, or {ALL}",
        )
    if clock not in {"system", "replay"}:
        raise ConfigError(f"--clock {clock} is not known", hint="use system or replay")
    run = _run_name()
    login = _login(broker, client_id or run, user, password_file, (ca, cert, key))
    settings = TillSettings(
        source=_level(source, "--source"),
        run=run,
        step_s=timeout,
        repeat_within_s=repeat_within,
        tolerance_s=clock_tolerance,
        asks_always=receipts,
    )
    concern, is_replay = concern_of_till(place.store, settings.source), clock == "replay"
    with (
        Terminal(is_asked=interaction and listen is None) as terminal,
        Station(login, place, concern=concern, is_replay=is_replay) as station,
    ):
        till = TillRun(station, place, settings, terminal.person)
        if listen is None:
            record = till.play(steps, terminal.progress)
        else:
            record = till.listen(listen, terminal.countdown)
        heard_all = station.hears_everything
    found = till_checks.findings(record)
    about = {"device": "pos", "name": settings.source, "store": place.store}
    show(found, about, as_json=as_json, hears_everything=heard_all)
    raise typer.Exit(exit_code(found))


screen.__doc__ = SCREEN_HELP
pos.__doc__ = POS_HELP
app.command("screen")(screen)
app.command("pos")(pos)


def _place(store: str | None, prefix: str | None) -> Place:
    if (store is None) == (prefix is None):
        raise ConfigError(
            "give either --store or --topic-prefix",
            hint="--store bench is --topic-prefix store/bench",
        )
    if store is not None:
        return Place(store=_level(store, "--store"))
    found = place_of(prefix or "")
    if found is None:
        raise ConfigError(
            f"--topic-prefix {prefix} ends in no store/NAME",
            hint="as in store/bench, or bench/7/store/bench",
        )
    return found


def _level(name: str, option: str) -> str:
    if not is_level_name(name):
        raise ConfigError(
            f"{option} {name!r} cannot be part of a topic", hint="use letters, digits, - and _"
        )
    return name


def _run_name() -> str:
    # Ends in milliseconds: two runs of one screen must not have decisions in common.
    return f"conformance-{datetime.now(tz=UTC):%Y%m%dT%H%M%S%f}"[:-3]


def _login(
    broker: str,
    client_id: str,
    user: str | None,
    password_file: Path | None,
    files: tuple[Path | None, Path | None, Path | None],
) -> LinkSettings:
    ca, cert, key = files
    if user == AGENTS_OWN:
        # A store's broker makes the account the client id: we would end the agent's session, and
        # the events that wait in it would be lost.
        raise ConfigError(
            f"--user {user} is the running agent's own account",
            hint="enrol one for this: edge-agent-enrol add conformance --role agent --password",
        )
    if (cert is None) != (key is None):
        raise ConfigError("--cert and --key go together", hint="give both, or neither")
    host, port = broker_address(broker, is_tls=ca is not None)
    return LinkSettings(
        host=host,
        port=port,
        client_id=client_id,
        username=user,
        password=password_in(password_file),
        ca_file=existing(ca, "--ca"),
        cert_file=existing(cert, "--cert"),
        key_file=existing(key, "--key"),
        session_expiry_s=0,
        clean_start=True,
        maximum_packet_bytes=PACKET_BYTES_MAX,
    )
