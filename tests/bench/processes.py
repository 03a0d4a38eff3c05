"""The agent and the baselines as processes of their own: started, frozen, profiled, ended."""

from __future__ import annotations

import os
import pstats
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Final

from tests.bench.setting import BUNDLE, CACHE, ROOT
from tests.bench.wire_client import wire_client
from tests.e2e.waiting import wait_for

STOP_S: Final = 60.0
# A flood of the full size on a loaded machine.
EVENTS_S: Final = 900.0
# Share of the time that goes into counting rows: one part in so many.
LOOK_SPARINGLY: Final = 30
PROFILE_LINES: Final = 15
# As the gateway's mosquitto.conf sets it, but that nothing is dropped and everyone may come.
BROKER: Final = (
    "allow_anonymous true\nmax_queued_messages 0\nmax_inflight_messages 1000\n"
    "set_tcp_nodelay true\n"
)
NO_SCREEN: Final = "\n".join(f"[zones.zone-{n}]" for n in range(10))
ONE_SCREEN: Final = f"""{NO_SCREEN}
[zones.dairy]
departments = ["GROCERY"]
[screens.dairy-1]
zone = "dairy"
"""
CONFIG: Final = """
store = "{store}"
timezone = "UTC"
currency = "USD"
clock = "{clock}"
log_level = "warning"
[state]
directory = "{folder}/state"
durability = "{durability}"
[broker]
port = {port}
[model]
bundle = "{bundle}"
{layout}
"""


@dataclass(slots=True, kw_only=True)
class BenchedAgent:
    """One agent on one configuration, as `edge-agent run` starts it.

    Attributes:
        folder: Its configuration, log and state; a name of its own for each agent.
        port: The broker's.
        durability: `power-loss` (a synced commit) or `process-crash`.
        clock: `system`, or `replay` where ticks are the clock.
        layout: Its zones, screens and registers, in TOML.
        python: The interpreter, and so the environment that it runs in.
        profile: Where the profile of its core thread goes; None runs it as it is.
        under: A command line that its own is appended to, such as a tracer's.
    """

    folder: Path
    port: int
    durability: str = "power-loss"
    clock: str = "system"
    layout: str = NO_SCREEN
    python: str = sys.executable
    profile: Path | None = None
    under: tuple[str, ...] = ()
    _process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def store(self) -> str:
        """The store's name in every topic."""
        return self.folder.name

    @property
    def database(self) -> Path:
        """The database's file."""
        return self.folder / "state" / "state.db"

    @property
    def state_topic(self) -> str:
        """Where it says that it is there."""
        return f"store/{self.store}/agent/state"

    @property
    def pid(self) -> int:
        """The agent's own process, also when it runs under another program."""
        assert self._process is not None, "the agent is not running"
        pid = self._process.pid
        if not self.under:
            return pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8")
        return int(children.split()[0])

    def start(self) -> float:
        """Starts it, and returns the seconds from its start until it was subscribed."""
        self._write_config()
        profiled = ("-m", "cProfile", "-o", str(self.profile)) if self.profile else ()
        command = (*self.under, self.python, *profiled, "-m", "edge_agent", "run")
        with (
            (self.folder / "agent.log").open("ab") as log,
            wire_client(self.port, f"watch-{self.store}", subscribe=(self.state_topic,)) as watch,
        ):
            watch.turn(0.1)
            began_s = time.monotonic()
            self._process = subprocess.Popen(
                [*command, "--config", str(self.folder / "agent.toml")],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd=ROOT,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
            wait_for(
                lambda: any(b'"online"' in payload for _, payload in watch.turn(0.05)),
                f"the agent is subscribed; its log: {self.folder / 'agent.log'}",
                while_true=self._is_alive,
            )
            return time.monotonic() - began_s

    def _is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _write_config(self) -> None:
        text = CONFIG.format(
            store=self.store,
            clock=self.clock,
            folder=self.folder,
            durability=self.durability,
            port=self.port,
            bundle=BUNDLE,
            layout=self.layout,
        )
        (self.folder / "agent.toml").write_text(text, encoding="utf-8")

    def freeze(self) -> None:
        """Stops it where it is; its connection stays, and the broker keeps what comes."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Lets it go on."""
        os.kill(self.pid, signal.SIGCONT)

    def stop(self) -> None:
        """Ends it as systemd does."""
        if self._process is None:
            return
        if self._is_alive():
            os.kill(self.pid, signal.SIGTERM)
        self._process.wait(STOP_S)
        self._process = None

    def n_rows(self, table: str) -> int:
        """Returns how many rows of a table are committed."""
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as connection:
            row = connection.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608 - ours
            return int(row[0])

    def wait_default(self) -> None:
        """Waits until a lonely screen shows the store's default, which is a decision as well."""
        wait_for(
            lambda: self.n_rows("showing") >= 1,
            "the screen shows its default",
            while_true=self._is_alive,
        )

    def wait_events(self, n_events: int) -> float:
        """Waits until so many events are committed; returns when, on the monotonic clock."""
        next_look_s = 0.0

        def are_committed() -> bool:
            nonlocal next_look_s
            began_s = time.monotonic()
            if began_s < next_look_s:
                return False
            n_committed = self.n_rows("inbox")
            ended_s = time.monotonic()
            # Looking must not take the processor from what is looked at.
            next_look_s = ended_s + LOOK_SPARINGLY * (ended_s - began_s)
            return n_committed >= n_events

        wait_for(
            are_committed,
            f"{n_events} events are committed",
            deadline_s=EVENTS_S,
            while_true=self._is_alive,
        )
        return time.monotonic()


@contextmanager
def benched_agent(agent: BenchedAgent) -> Iterator[BenchedAgent]:
    """The agent, subscribed, ended when the block ends."""
    agent.start()
    try:
        yield agent
    finally:
        agent.stop()


@contextmanager
def paho_peer(
    role: str, port: int, topic_filter: str, last: str
) -> Iterator[subprocess.Popen[str]]:
    """A baseline's process, subscribed, ended when the block ends."""
    command = [sys.executable, "-m", "tests.bench.paho_peers", role, str(port), topic_filter, last]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            said(process, "ready")
            yield process
        finally:
            process.kill()


def processor_s(pid: int) -> float:
    """Returns the processor time that a process has taken, all its threads, user and system."""
    # The name, in parentheses, may hold anything; utime and stime are fields 14 and 15.
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def said(process: subprocess.Popen[str], what: str) -> str:
    """Returns the value that a baseline's process says next."""
    assert process.stdout is not None
    word, _, value = process.stdout.readline().strip().partition(" ")
    assert word == what, f"the baseline said {word!r}, not {what!r}"
    return value


def profile_path(name: str) -> Path:
    """Returns where a profile is kept."""
    CACHE.mkdir(parents=True, exist_ok=True)
    return CACHE / f"{name}.prof"


def profile_text(path: Path) -> str:
    """Returns where the core thread spent its time: the costliest functions by own time."""
    text = StringIO()
    stats = pstats.Stats(str(path), stream=text)
    stats.sort_stats("tottime").print_stats(PROFILE_LINES)
    lines = [line.replace(f"{ROOT}/", "") for line in text.getvalue().splitlines()]
    shown = lines[2:]
    return "\n".join([f"core thread, profile kept in {path.relative_to(ROOT)}", *shown]).rstrip()
