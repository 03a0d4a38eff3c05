"""`edge-agent replay`: a real day of a supermarket, published onto a broker."""

from __future__ import annotations

import json
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from edge_agent.cli import replay_verify, replay_with
from edge_agent.replay import play as playing
from edge_agent.replay.dataset import DEFAULT_DAY, DEFAULT_TIMEZONE
from edge_agent.replay.publisher import BrokerPublisher
from edge_agent.replay.simulate import SimulatedDay
from edge_agent.shell.mqtt_client import LinkSettings
from edge_agent.shell.signing import DEMO_KEY_ID, demo_private_key, sign_command
from edge_agent.wire import topics

MAX_SPEED: Final = "max"
_BAR_STEPS: Final = 1000
_PORT: Final = 1883
_TLS_PORT: Final = 8883
_MAX_PORT: Final = 65_535
_TOPIC_LEVEL: Final = re.compile(r"[^/+#\s\x00-\x1f]+")

_HELP_BROKER = "Store broker, as HOST or HOST:PORT."
_HELP_SPEED = "Simulated seconds per real second, or 'max'; 720 plays twelve hours in a minute."


@dataclass(frozen=True, slots=True, kw_only=True)
class _Address:
    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Login:
    username: str | None
    password_file: Path | None
    ca_file: Path | None

    def settings(self, address: _Address, client_id: str) -> LinkSettings:
        password = None
        if self.password_file is not None:
            password = self.password_file.read_text(encoding="utf-8").strip()
        return LinkSettings(
            host=address.host,
            port=address.port,
            client_id=client_id,
            username=self.username,
            password=password,
            ca_file=self.ca_file,
            session_expiry_s=0,
            clean_start=True,
        )


def replay(
    *,
    broker: Annotated[str, typer.Option(help=_HELP_BROKER)] = "127.0.0.1",
    hq_broker: Annotated[
        str | None,
        typer.Option(
            help="HQ broker: send the earlier purchases of the cardholders who consented down it,"
            " signed with the demo key. Left out: nobody sends them."
        ),
    ] = None,
    store: Annotated[str, typer.Option(help="The store's name in the topics.")] = "s42",
    day: Annotated[
        datetime,
        typer.Option(
            formats=["%Y-%m-%d"],
            help="Store-local day of 2017.",
            show_default=DEFAULT_DAY.isoformat(),
        ),
    ] = datetime(DEFAULT_DAY.year, DEFAULT_DAY.month, DEFAULT_DAY.day),  # noqa: DTZ001 - a date
    timezone: Annotated[str, typer.Option(help="The store's time zone.")] = DEFAULT_TIMEZONE,
    speed: Annotated[str, typer.Option(help=_HELP_SPEED)] = "720",
    seed: Annotated[int, typer.Option(help="Where all simulated chance comes from.")] = 0,
    loop: Annotated[
        bool, typer.Option("--loop", help="Go on with the same sales as the next day's, for ever.")
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
    baskets: Annotated[
        int | None, typer.Option(min=1, help="Only the first so many receipts of the day.")
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option(formats=["%H:%M"], help="Only receipts paid before this local time."),
    ] = None,
    username: Annotated[str | None, typer.Option(help="Name to log in with.")] = None,
    password_file: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="File with the password.")
    ] = None,
    ca_file: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="CA of the broker; means TLS.")
    ] = None,
    verify: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            file_okay=False,
            help="Publish nothing: take every decision in this state folder again, from its"
            " record, and list what comes out in another way or was changed since.",
        ),
    ] = None,
    with_: Annotated[
        Path | None,
        typer.Option(
            "--with",
            exists=True,
            help="Publish nothing: decide the day in the folder of --state again with this policy"
            " file (.toml) or model bundle, and show what differs.",
        ),
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="The recorded day that --with decides."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Report as JSON.")] = False,
) -> None:
    """Publish one real day of a supermarket onto a broker; verify one, or ask of it what if.

    The receipts are real (84.51°, "The Complete Journey", 2017): products, amounts, discounts,
    times, households. The way through the store, the dwell, the beacons and cameras, the people
    counters, who shows a loyalty card (20 %) and who consented (70 % of them) are simulated from
    the seed. The consents are of before the day, and timed in its first two seconds. The same
    options publish the same bytes.

    The agent must be configured with `clock = "replay"`: the replay is its clock.

    \b
    Examples:
      edge-agent replay                                  the whole day in two minutes
      edge-agent replay --until 10:00 --speed max        a morning, as fast as it goes
      edge-agent replay --duplicates 0.05 --shuffle      over a bad network
      edge-agent replay --loop --speed 60                day after day, a minute a second
      edge-agent replay --verify DIR                     what `demo --state DIR` decided, again
      edge-agent replay --state DIR --with policy.toml   the same day under other rules

    \b
    Exit codes: 0 all of it is published, or every decision comes out as recorded; 1 stopped
    before the end, or a verified one differs or was changed; 2 wrong use; 3 no broker or no
    data set, or no verified one differs and some could not be taken again.
    """  # noqa: D301 - click wants the control character itself
    if verify is not None:
        replay_verify.verify(verify, as_json=as_json)
        return
    if (with_ is None) != (state is None):
        raise typer.BadParameter(
            "give both --state DIR and --with FILE|BUNDLE", param_hint="--with"
        )
    if with_ is not None and state is not None:
        replay_with.compare(state, with_, as_json=as_json)
        return
    options = playing.ReplayOptions(
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
    login = _Login(username=username, password_file=password_file, ca_file=ca_file)
    default_port = _PORT if ca_file is None else _TLS_PORT
    store_link = login.settings(_address(broker, default_port, "--broker"), f"replay-{store}")
    hq_link = None
    if hq_broker is not None:
        at_hq = _address(hq_broker, default_port, "--hq-broker")
        hq_link = login.settings(at_hq, f"replay-hq-{store}")
    report, prepared = _run(options, store_link, hq_link, identifiers)
    answer = report_of(prepared, report)
    if as_json:
        sys.stdout.write(json.dumps(answer, indent=2) + "\n")
    else:
        _print_table(answer)
    if not report.is_complete and not loop:
        raise typer.Exit(1)


def report_of(replay: playing.Replay, report: playing.PlayReport) -> dict[str, Any]:
    """Returns the replay's report as JSON values."""
    options, counts = replay.options, replay.first.counts
    return {
        "day": options.day.isoformat(),
        "timezone": options.timezone,
        "store": options.store,
        "seed": options.seed,
        "is_complete": report.is_complete,
        "wall_s": round(report.wall_s, 3),
        "events": {
            "published": report.events,
            "duplicates": report.duplicates,
            "bytes": report.n_bytes,
        },
        "ticks": report.ticks,
        "real": {
            "baskets": counts.baskets,
            "lines": counts.lines,
            "amount_usd": str(counts.amount),
            "skipped": dict(counts.skipped),
        },
        "simulated": {
            "cards_shown": counts.cards,
            "cardholders": counts.cardholders,
            "consents": counts.consents,
            "sales_moved_for_a_busy_till": counts.moved_sales,
            "longest_move_s": counts.moved_most_s,
        },
    }


def _run(
    options: playing.ReplayOptions,
    store_link: LinkSettings,
    hq_link: LinkSettings | None,
    identifiers: Path | None,
) -> tuple[playing.PlayReport, playing.Replay]:
    if identifiers is not None:
        # What cannot be written is told before anything is slow.
        playing.write_identifiers(identifiers, ())
    console = Console(stderr=True)
    with console.status("reading the data set"):
        prepared = playing.prepare(options)
    stop = threading.Event()

    def end(*_: object) -> None:
        # At any instant, be its thread just starting; a second Ctrl-C waits for nothing.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        stop.set()

    # A shell starts what it runs in the background with Ctrl-C ignored; a replay always heeds it.
    signal.signal(signal.SIGINT, end)
    with BrokerPublisher(store_link) as publisher, _bar(console) as (bar, task):

        def show(progress: playing.Progress) -> None:
            now = f"{progress.now:%Y-%m-%d %H:%M} UTC"
            done = progress.share * _BAR_STEPS
            bar.update(task, completed=done, published=progress.published, now=now)

        def note(day: SimulatedDay) -> None:
            if identifiers is not None:
                playing.write_identifiers(identifiers, day.identifiers, more=True)

        def opened() -> None:
            if hq_link is not None:
                _send_profiles(prepared, hq_link)

        watch = playing.Watch(on_progress=show, on_day=note, on_opened=opened)
        with ThreadPoolExecutor(max_workers=1) as pool:
            running = pool.submit(
                playing.play,
                prepared,
                publisher,
                monotonic=time.monotonic,
                stop=stop,
                watch=watch,
            )
            return running.result(), prepared


def _send_profiles(prepared: playing.Replay, hq_link: LinkSettings) -> None:
    key = demo_private_key()
    topic = topics.hq_down(prepared.options.store, "profile")
    with BrokerPublisher(hq_link) as publisher:
        for command in prepared.profiles():
            publisher.publish(topic, sign_command(command, key=key, key_id=DEMO_KEY_ID))
        publisher.flush()


@contextmanager
def _bar(console: Console) -> Iterator[tuple[Progress, TaskID]]:
    columns = (
        TextColumn("{task.fields[now]}"),
        BarColumn(),
        TextColumn("{task.fields[published]} messages"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        yield bar, bar.add_task("replay", total=_BAR_STEPS, published=0, now="")


def _print_table(answer: dict[str, Any]) -> None:
    table = Table("", "", title=f"{answer['day']} in store {answer['store']}", show_header=False)
    rows = {
        "events published": answer["events"]["published"],
        "of them repeated": answer["events"]["duplicates"],
        "bytes of events": answer["events"]["bytes"],
        "clock ticks": answer["ticks"],
        "real baskets": answer["real"]["baskets"],
        "real lines": answer["real"]["lines"],
        "real sales, USD": answer["real"]["amount_usd"],
        "cards shown (simulated)": answer["simulated"]["cards_shown"],
        "consents (simulated)": answer["simulated"]["consents"],
        "seconds": answer["wall_s"],
    }
    for name, value in rows.items():
        table.add_row(name, str(value))
    Console().print(table)


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


def _address(text: str, default_port: int, option: str) -> _Address:
    host, colon, port = text.rpartition(":")
    if not colon:
        host, port = text, str(default_port)
    if not (host and port.isdecimal() and 0 < int(port) <= _MAX_PORT):
        raise typer.BadParameter(f"{text!r} is no HOST:PORT", param_hint=option)
    return _Address(host=host, port=int(port))
