"""Puts a demo's parts on stage, plays the day through them, and takes the figures.

Order: brokers, HQ, the client that takes the time, the agent, the pages; then the consents, and
when the agent has them on disk what HQ knows of those people, and when the agent has confirmed
that, the day. At the end the day's last event is repeated with the request for a receipt: the
receipt says that everything before it is on disk. HQ has everything when the agent's outbox is
empty. Only then is the agent ended and read.
"""

from __future__ import annotations

import json
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from typing import Final, Self

from edge_agent.demo import figures
from edge_agent.demo.agent_process import AgentProcess
from edge_agent.demo.onlooker import Onlooker
from edge_agent.demo.settings import DemoOptions, StateFolder, agent_toml
from edge_agent.domain.time import ms_from_datetime
from edge_agent.errors import BrokerError, EdgeAgentError
from edge_agent.hq.receiver import HqReceiver
from edge_agent.hq.store import opened_store
from edge_agent.replay import play as playing
from edge_agent.replay.publisher import BrokerPublisher
from edge_agent.replay.sensors import CONSENT_DESK, DOOR_COUNTER
from edge_agent.replay.simulate import SimulatedDay
from edge_agent.replay.stream import Publication
from edge_agent.shell import logs
from edge_agent.shell.clock import SystemClock
from edge_agent.shell.embedded_broker import EmbeddedBroker
from edge_agent.shell.mqtt_client import LinkSettings
from edge_agent.shell.signing import DEMO_KEY_ID, demo_private_key, sign_command
from edge_agent.web.server import ScreensServer
from edge_agent.wire import topics
from edge_agent.wire.downlink import ProfileCommand

CONNECT_S: Final = 10.0
START_S: Final = 60.0
"""For the agent to load its libraries and its model; a small gateway needs some seconds."""
OPENING_S: Final = 60.0
"""For the agent to take in the consents, and then what HQ knows of those people."""
CATCH_UP_S: Final = 600.0
"""For the agent to take in what is left when everything is published, at any speed of replay."""
LAST_SCREENS_S: Final = 1.0
REPEAT_AFTER_S: Final = 15.0
"""So long a receipt may take before its event is repeated."""
MINUTES_AHEAD: Final = 2
"""Simulated minutes that the replay may be ahead of what the agent has on disk."""
TURN_S: Final = 0.1
"""Between two looks at whether the agent still runs, or the database is at rest."""
_LOG_NAME: Final = "edge_agent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """How a demo stands.

    Attributes:
        replay: The replay's own progress.
        recommendations: Messages that reached screens, the store's defaults included.
        alerts: Messages that reached staff.
        hq_bytes: Payload bytes that reached HQ.
    """

    replay: playing.Progress
    recommendations: int
    alerts: int
    hq_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a demo led to.

    Attributes:
        on_screens: Recommendations decided for screens, the store's defaults included.
        received: Those of them that reached a screen.
        wall_s: Seconds from the first message until agent and HQ had taken in the last.
        repeats: Events that the demo repeated itself, to know that all before it is on disk.
        latencies_ms: From each event to what it led to on a screen.
        peak_bytes: The agent's peak of memory.
    """

    play: playing.PlayReport
    wall_s: float
    repeats: int
    on_screens: int
    received: int
    agent: figures.AgentFigures
    latencies_ms: tuple[float, ...]
    summaries: int
    customers: int
    hq_bytes: int
    peak_bytes: int


class Stage:
    """Everything that runs in a demo, from entering the block to its end.

    Args:
        options: What is asked.
        prepared: The day.
        folder: Where databases and logs go; prepared.
        profiles: What HQ knows of the day's cardholders who consented.
    """

    def __init__(
        self,
        options: DemoOptions,
        prepared: playing.Replay,
        folder: StateFolder,
        profiles: tuple[ProfileCommand, ...],
    ) -> None:
        self._options = options
        self._replay = prepared
        self._folder = folder
        self._profiles = profiles
        self._store = options.replay.store
        self._clock = SystemClock()
        self._stack = ExitStack()
        self._stopping = threading.Event()
        self._last: Publication | None = None
        self._last_tick: Publication | None = None
        # Reports of the door counter whose receipt has not come, oldest first.
        self._unconfirmed: deque[Publication] = deque()
        self._n_repeats = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self._stopping.set()
        self._stack.close()

    @property
    def url(self) -> str:
        """Where the pages are."""
        return self._pages.url

    def stop_playing(self) -> None:
        """Ends the replay before its end; may be called from any thread."""
        self._stopping.set()

    def perform(self, tell: Callable[[Live], None]) -> Outcome:
        """Plays the day and returns what it led to; the agent has ended then.

        Args:
            tell: Called now and then with how things stand.

        Raises:
            EdgeAgentError: A part of the demo failed.
        """
        began_s = self._clock.monotonic_s()
        with BrokerPublisher(self._settings(self._store_broker, "replay")) as publisher:
            self._publisher = publisher
            watch = playing.Watch(
                on_publish=self._published,
                on_progress=lambda progress: self._progressed(progress, tell),
                on_opened=self._opened,
                on_day=self._note_identifiers,
            )
            report = playing.play(
                self._replay,
                publisher,
                monotonic=self._clock.monotonic_s,
                stop=self._stopping,
                watch=watch,
            )
            self._wait_until_taken_in()
        self._wait_for_hq()
        wall_s = self._clock.monotonic_s() - began_s
        self._agent.stop()
        self._wait_for_screens()
        return self._outcome(report, wall_s=wall_s, repeats=self._n_repeats)

    def run_agent_again(self) -> None:
        """Starts the agent anew on the state that it left."""
        self._start_agent()

    def start(self) -> None:
        """Starts everything; returns when the agent is ready.

        Raises:
            EdgeAgentError: A package is missing, a port is taken, or a part does not start.
        """
        stack = self._stack
        stack.enter_context(_logging_to(self._folder))
        self._store_broker = stack.enter_context(EmbeddedBroker())
        self._hq_broker = stack.enter_context(EmbeddedBroker())
        self._start_hq()
        self._onlooker = Onlooker(self._settings(self._store_broker, "onlooker"), self._store)
        stack.callback(self._onlooker.stop)
        self._onlooker.connect()
        text = agent_toml(
            self._folder,
            self._options.replay,
            store_port=self._store_broker.port,
            hq_port=self._hq_broker.port,
            rules=self._options.rules,
        )
        self._folder.config.write_text(text, encoding="utf-8")
        self._pages = self._make_pages()
        # The pages' port is the one thing that may be taken: it fails before anything is slow.
        stack.enter_context(self._pages)
        self._start_agent()

    def _start_hq(self) -> None:
        store = opened_store(str(self._folder.hq_database))
        self._hq_store = self._stack.enter_context(closing(store))
        settings = self._settings(self._hq_broker, "hq")
        self._hq = HqReceiver(settings, self._hq_store, demo_private_key(), shared=False)
        self._hq.start()
        self._stack.callback(self._hq.stop)
        if not self._hq.wait_connected(CONNECT_S):
            raise BrokerError("HQ's receiver does not reach its broker", hint="start again")

    def _start_agent(self) -> None:
        onlooker = self._onlooker
        onlooker.is_agent_online = False
        process = AgentProcess(config=self._folder.config, log=self._folder.agent_log)
        self._agent = self._stack.enter_context(process)
        self._wait(lambda: onlooker.is_agent_online, within_s=START_S, what="the agent's start")

    def _make_pages(self) -> ScreensServer:
        options, layout = self._options, self._replay.layout
        teams = {zone.team for zone in layout.zones if zone.team is not None}
        return ScreensServer(
            self._settings(self._store_broker, "pages"),
            self._store,
            host=options.host,
            port=options.port,
            is_replay=True,
            screens=tuple(screen.id for screen in layout.screens),
            teams=tuple(sorted(teams)),
        )

    @staticmethod
    def _settings(broker: EmbeddedBroker, client: str) -> LinkSettings:
        return LinkSettings(
            host=broker.host,
            port=broker.port,
            client_id=f"demo-{client}",
            session_expiry_s=0,
            clean_start=True,
        )

    # --- while it plays (in the thread that plays) --------------------------------------------

    def _published(self, message: Publication) -> None:
        """Takes the time of an event, and waits while the agent is minutes behind.

        A store's day does not outrun its gateway; a replay on a busy machine would, and then
        measure nothing but the queue in between.
        """
        source, event = message.source, message.id
        if source is None or event is None:
            self._last_tick = message
            return
        self._last = message
        if source in {CONSENT_DESK, DOOR_COUNTER} and not message.is_duplicate:
            self._unconfirmed.append(message)
        if source == DOOR_COUNTER:
            self._let_the_agent_follow(ahead=MINUTES_AHEAD)
        self._onlooker.note_published(source, event)

    def _let_the_agent_follow(self, *, ahead: int, is_last: bool = False) -> None:
        """Waits until all but the newest reports are on the agent's disk.

        As a till does, it repeats what is not confirmed in time: a broker under load may lose
        sight of a client, and a repeat is harmless. A replay that is to stop waits no more, but
        for its last event: what was played is reported whole.
        """

        def is_done() -> bool:
            is_stopped = self._stopping.is_set() and not is_last
            return is_stopped or self._n_unconfirmed() <= ahead

        deadline_s = self._clock.monotonic_s() + CATCH_UP_S
        while not self._onlooker.wait_for(is_done, timeout_s=REPEAT_AFTER_S):
            self._agent.check()
            if self._clock.monotonic_s() > deadline_s:
                raise BrokerError(
                    f"waited {CATCH_UP_S:.0f} s in vain for the agent to keep up with the day",
                    hint="run again with --state DIR and look at the logs in it",
                )
            self._repeat_unconfirmed(spare_newest=ahead > 0)

    def _n_unconfirmed(self) -> int:
        unconfirmed, onlooker = self._unconfirmed, self._onlooker
        while unconfirmed and onlooker.has_receipt(_name(unconfirmed[0])):
            onlooker.forget_receipt(_name(unconfirmed.popleft()))
        return len(unconfirmed)

    def _repeat_unconfirmed(self, *, spare_newest: bool) -> None:
        self._onlooker.connect_again()
        waiting = list(self._unconfirmed)
        if spare_newest:
            # It is about to be published for the first time.
            waiting.pop()
        for message in waiting:
            self._publisher.publish(message.topic, message.payload)
            self._n_repeats += 1

    def _progressed(self, progress: playing.Progress, tell: Callable[[Live], None]) -> None:
        self._agent.check()
        onlooker = self._onlooker
        tell(
            Live(
                replay=progress,
                recommendations=onlooker.n_recommendations,
                alerts=onlooker.n_alerts,
                hq_bytes=self._hq.counters().n_bytes,
            )
        )

    def _note_identifiers(self, day: SimulatedDay) -> None:
        if self._options.identifiers is not None:
            playing.write_identifiers(self._options.identifiers, day.identifiers, more=True)

    def _opened(self) -> None:
        """Waits until the consents are on disk, then sends what HQ knows of these people."""
        self._let_the_agent_follow(ahead=0)
        key, topic = demo_private_key(), topics.hq_down(self._store, "profile")
        with BrokerPublisher(self._settings(self._hq_broker, "profiles")) as publisher:
            for command in self._profiles:
                publisher.publish(topic, sign_command(command, key=key, key_id=DEMO_KEY_ID))
            publisher.flush()
        hq = self._hq
        self._wait(
            lambda: hq.counters().n_confirmations >= len(self._profiles),
            within_s=OPENING_S,
            what="the agent's confirmations of HQ's profiles",
        )

    # --- at the end -----------------------------------------------------------------------------

    def _wait_until_taken_in(self) -> None:
        last = self._last
        if last is None:
            return
        # Each copy of the last event is answered: while an earlier one may be, it is not asked.
        self._wait_for_clock()
        self._let_the_agent_follow(ahead=0, is_last=True)
        message = replace(last, payload=_asking(last.payload))
        self._unconfirmed.clear()
        self._onlooker.forget_receipt(_name(message))
        self._unconfirmed.append(message)
        self._publisher.publish(message.topic, message.payload)
        self._publisher.flush()
        self._n_repeats += 1
        self._let_the_agent_follow(ahead=0, is_last=True)

    def _wait_for_clock(self) -> None:
        if self._last_tick is None:
            return
        database, now_ms = self._folder.agent_database, ms_from_datetime(self._last_tick.at)
        self._wait(
            lambda: figures.agent_now_ms(database) >= now_ms,
            within_s=CATCH_UP_S,
            what="the agent to reach the end of the day",
        )

    def _wait_for_hq(self) -> None:
        database = self._folder.agent_database
        self._wait(
            lambda: figures.n_waiting_for_hq(database) == 0,
            within_s=CATCH_UP_S,
            what="HQ to acknowledge the last summaries",
        )

    def _wait_for_screens(self) -> None:
        # The agent has handed its last messages over; the broker brings them within moments.
        expected, onlooker = figures.n_on_screens(self._folder.agent_database), self._onlooker
        onlooker.wait_for(lambda: onlooker.n_recommendations >= expected, timeout_s=LAST_SCREENS_S)

    def _outcome(self, report: playing.PlayReport, *, wall_s: float, repeats: int) -> Outcome:
        kept = self._hq_store.counts()
        return Outcome(
            play=report,
            wall_s=wall_s,
            repeats=repeats,
            on_screens=figures.n_on_screens(self._folder.agent_database),
            received=self._onlooker.n_recommendations,
            agent=figures.agent_figures(self._folder.agent_database),
            latencies_ms=tuple(self._onlooker.latencies_ms),
            summaries=kept["summary"],
            customers=kept["customer"],
            hq_bytes=self._hq.counters().n_bytes,
            peak_bytes=self._agent.peak_bytes,
        )

    def _wait(self, is_so: Callable[[], bool], *, within_s: float, what: str) -> None:
        deadline_s = self._clock.monotonic_s() + within_s
        while not self._onlooker.wait_for(is_so, timeout_s=TURN_S):
            self._agent.check()
            if self._clock.monotonic_s() > deadline_s:
                raise EdgeAgentError(
                    f"waited {within_s:.0f} s in vain for {what}",
                    hint="run again with --state DIR and look at the logs in it",
                )


def _name(message: Publication) -> tuple[str, str]:
    return (message.source or "", message.id or "")


def _asking(payload: bytes) -> bytes:
    """Returns an event with the wish for a receipt."""
    event = json.loads(payload)
    return json.dumps({**event, "receipt": True}, separators=(",", ":")).encode()


@contextmanager
def _logging_to(folder: StateFolder) -> Iterator[None]:
    """This process's logs go to a file: the terminal shows the progress."""
    logger = logging.getLogger(_LOG_NAME)
    before = (logger.handlers[:], logger.level, logger.propagate)
    with folder.demo_log.open("a", encoding="utf-8") as file:
        logs.set_up()
        for handler in logger.handlers:
            if isinstance(handler, logging.StreamHandler):
                handler.setStream(file)
        try:
            yield
        finally:
            logger.handlers[:], logger.propagate = before[0], before[2]
            logger.setLevel(before[1])
