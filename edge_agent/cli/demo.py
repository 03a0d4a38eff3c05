"""`edge-agent demo`: everything in one command, with a report at the end."""

from __future__ import annotations

import json
import re
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from edge_agent.demo.report import print_report, report_of
from edge_agent.demo.settings import DemoOptions, StateFolder, check_rules
from edge_agent.demo.stage import Live, Outcome, Stage
from edge_agent.replay import play as playing
from edge_agent.replay.dataset import DEFAULT_DAY, DEFAULT_TIMEZONE
from edge_agent.wire.downlink import ProfileCommand

MAX_SPEED: Final = "max"
DEFAULT_SPEED: Final = "1440"
DEFAULT_PORT: Final = 8480
PORT_MAX: Final = 65_535
_BAR_STEPS: Final = 1_000
_KB: Final = 1_000
# What a shell calls the exit code of a program that a signal ended.
_SIGNALLED: Final = 128
_TOPIC_LEVEL: Final = re.compile(r"[^/+#\s\x00-\x1f]+")

HELP: Final = """Run everything here: a real day's events in, recommendations out.

Starts two MQTT brokers (the store's and HQ's), HQ's receiver, the agent and
the pages of the screens, replays one real day of a supermarket through them,
and prints what came of it. Products, amounts, times, households and discounts
are real (84.51°, "The Complete Journey", 2017); paths, dwell, beacons, lifted
items, who shows a card and who consented are simulated from the seed. The
same day and seed give the same decisions at any speed.

\b
Examples:
  edge-agent demo                           a day in about a minute
  edge-agent demo --keep                    look at the pages afterwards
  edge-agent demo --speed 60 --until 12:00  a morning to watch
  edge-agent demo --json --speed max        as fast as the agent follows
  edge-agent demo --duplicates 0.05 --shuffle
  edge-agent demo --state demo-state        keep databases and logs
  edge-agent demo --rules policy.toml       decide under a chain's policy

Ctrl-C ends the replay and reports what was played; a second one ends
everything at once.

\b
Exit codes: 0 the whole day is played, 1 stopped before the end or a part
failed, 2 wrong use, 3 a package, the data set, a broker or the pages' port is
missing."""


def demo(
    *,
    day: Annotated[
        datetime,
        typer.Option(
            formats=["%Y-%m-%d"],
            help="Store-local day of 2017.",
            show_default=DEFAULT_DAY.isoformat(),
        ),
    ] = datetime(DEFAULT_DAY.year, DEFAULT_DAY.month, DEFAULT_DAY.day),  # noqa: DTZ001 - a date
    speed: Annotated[
        str, typer.Option(help="Simulated seconds per real second, or 'max'.")
    ] = DEFAULT_SPEED,
    seed: Annotated[int, typer.Option(help="Where all simulated chance comes from.")] = 0,
    baskets: Annotated[
        int | None, typer.Option(min=1, help="Only the first so many receipts of the day.")
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option(formats=["%H:%M"], help="Only receipts paid before this local time."),
    ] = None,
    loop: Annotated[
        bool, typer.Option("--loop", help="Go on with the same sales as the next day's.")
    ] = False,
    duplicates: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of messages published twice.")
    ] = 0.0,
    shuffle: Annotated[
        bool,
        typer.Option(
            "--shuffle", help="Messages come up to 5 simulated seconds late, disordered."
        ),
    ] = False,
    identifiers: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False,
            help="Write every raw identifier used to this file, as JSON lines {kind, value}.",
        ),
    ] = None,
    store: Annotated[str, typer.Option(help="The store's name in the topics.")] = "s42",
    timezone: Annotated[str, typer.Option(help="The store's time zone.")] = DEFAULT_TIMEZONE,
    state: Annotated[
        Path | None,
        typer.Option(
            file_okay=False,
            help="Keep the agent's and HQ's databases and all logs in this folder.",
        ),
    ] = None,
    rules: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Decide under this policy.toml."),
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Stay up after the report, until Ctrl-C.")
    ] = False,
    host: Annotated[str, typer.Option(help="Address to serve the pages on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=PORT_MAX, help="Port of the pages; 0 for a free one.")
    ] = DEFAULT_PORT,
    as_json: Annotated[
        bool, typer.Option("--json", help="Report as JSON, alone on standard output.")
    ] = False,
) -> None:
    """Run everything on this machine."""
    replay = playing.ReplayOptions(
        day=day.date(),
        timezone=timezone,
        store=_level(store),
        seed=seed,
        speed=_speed(speed),
        loop=loop,
        duplicates=duplicates,
        shuffle=shuffle,
        baskets=baskets,
        until=None if until is None else until.time(),
    )
    if rules is not None:
        check_rules(rules, replay)
    options = DemoOptions(
        replay=replay, host=host, port=port, identifiers=identifiers, rules=rules
    )
    signal.signal(signal.SIGTERM, _end_at_once)
    # A shell starts what it runs in the background with Ctrl-C ignored; the demo always heeds it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with _state_folder(state) as folder:
        is_complete = _run(options, folder, keep=keep, as_json=as_json)
    if not is_complete and not loop:
        raise typer.Exit(1)


demo.__doc__ = HELP


def _run(options: DemoOptions, folder: StateFolder, *, keep: bool, as_json: bool) -> bool:
    console = Console(stderr=True)
    if options.identifiers is not None:
        # What cannot be written is told before anything is slow.
        playing.write_identifiers(options.identifiers, ())
    with console.status("reading the data set"):
        prepared = playing.prepare(options.replay)
        profiles = prepared.profiles()
    with _on_stage(options, prepared, folder, profiles=profiles, console=console) as stage:
        outcome = _perform(stage, console)
        answer = report_of(prepared, outcome)
        if as_json:
            print(json.dumps(answer, indent=2, ensure_ascii=False), flush=True)
        else:
            print_report(Console(), answer)
        if keep:
            _stay(stage, console)
    return outcome.play.is_complete


@contextmanager
def _on_stage(
    options: DemoOptions,
    prepared: playing.Replay,
    folder: StateFolder,
    *,
    profiles: tuple[ProfileCommand, ...],
    console: Console,
) -> Iterator[Stage]:
    with Stage(options, prepared, folder, profiles) as stage:
        with console.status("starting brokers, HQ, agent and pages"):
            stage.start()
        console.print(f"Screens, staff and dashboard: {stage.url}", highlight=False)
        yield stage


def _perform(stage: Stage, console: Console) -> Outcome:
    running: Future[Outcome] = Future()
    with _bar(console) as show:

        def play() -> None:
            try:
                running.set_result(stage.perform(show))
            except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
                running.set_exception(error)

        # A daemon: whoever is told to end at once does not wait for a broker's last answer.
        threading.Thread(target=play, name="replay", daemon=True).start()
        try:
            return running.result()
        except KeyboardInterrupt:
            # What was played so far is reported; a second Ctrl-C ends everything at once.
            stage.stop_playing()
            return running.result()


def _stay(stage: Stage, console: Console) -> None:
    # Counters are on disk only when the agent has ended, so it has, for the report.
    stage.run_agent_again()
    with suppress(KeyboardInterrupt):
        console.print(f"Still up: {stage.url} (Ctrl-C ends it)", highlight=False)
        threading.Event().wait()


@contextmanager
def _bar(console: Console) -> Iterator[Callable[[Live], None]]:
    columns = (
        TextColumn("{task.fields[now]}"),
        BarColumn(),
        TextColumn("{task.fields[counts]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("demo", total=_BAR_STEPS, now="", counts="")

        def show(live: Live) -> None:
            replay = live.replay
            counts = (
                f"{replay.published:,} messages · {live.recommendations:,} on screens"
                f" · {live.alerts} alerts · {live.hq_bytes / _KB:,.1f} kB to HQ"
            )
            now = f"{replay.now:%Y-%m-%d %H:%M} UTC"
            bar.update(task, completed=replay.share * _BAR_STEPS, now=now, counts=counts)

        yield show


@contextmanager
def _state_folder(state: Path | None) -> Iterator[StateFolder]:
    if state is not None:
        folder = StateFolder(state)
        folder.prepare()
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="edge-agent-demo-") as path:
        folder = StateFolder(Path(path))
        folder.prepare()
        yield folder


def _end_at_once(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(_SIGNALLED + number)


def _level(store: str) -> str:
    if not _TOPIC_LEVEL.fullmatch(store):
        raise typer.BadParameter("a name without / + #", param_hint="--store")
    return store


def _speed(text: str) -> float | None:
    if text == MAX_SPEED:
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0.0 < speed < float("inf"):
        raise typer.BadParameter("a number above 0, or 'max'", param_hint="--speed")
    return speed
