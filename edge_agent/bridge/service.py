"""The bridge as a process: settings, link, listener, folders; the one file that knows them all."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Final

from edge_agent.bridge import settings
from edge_agent.bridge.folders import DropFolder
from edge_agent.bridge.hooks import Hooks, hooks_of
from edge_agent.bridge.http_server import HttpServer
from edge_agent.bridge.publisher import Publisher
from edge_agent.bridge.tally import Tally
from edge_agent.shell import logs
from edge_agent.shell.clock import SystemClock
from edge_agent.shell.signals import on_end
from edge_agent.shell.systemd import ServiceManager

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.bridge.settings import BridgeConfig

log = logging.getLogger(__name__)

BEAT_S: Final = 1.0
# A listener or a folder that has not moved for so long hangs, and the watchdog is not fed; the
# link to the broker says that of itself.
HANG_S: Final = 30.0
JOIN_S: Final = 10.0


class Bridge:
    """Everything between HTTP, folders and the broker, from `start` to `stop`."""

    def __init__(self, config: BridgeConfig) -> None:
        self._clock = SystemClock()
        self._config = config
        self._tally = Tally(self._clock)
        self._publisher = Publisher(config.broker)
        self._hooks = hooks_of(config)
        self._folders = tuple(
            DropFolder(name, section, self._publisher, tally=self._tally, clock=self._clock)
            for name, section in config.folders.items()
        )
        app = Hooks(
            self._hooks,
            config.http,
            self._publisher,
            tally=self._tally,
            clock=self._clock,
            health=self.health,
        )
        self._http = HttpServer(config.http, app, clock=self._clock)
        self._threads: list[threading.Thread] = []
        self.stopping = threading.Event()

    @property
    def url(self) -> str:
        """Where it listens."""
        return self._http.url

    def start(self) -> None:
        """Listens, watches and connects; the broker may come later.

        Raises:
            EdgeAgentError: It cannot; the error says what to do.
        """
        self._http.start()
        self._publisher.start()
        for folder in self._folders:
            thread = threading.Thread(
                target=folder.run, args=(self.stopping,), name=folder.part, daemon=True
            )
            thread.start()
            self._threads.append(thread)
        fields = {
            "url": self.url,
            "hooks": [hook.name for hook in self._hooks],
            "folders": list(self._config.folders),
        }
        log.info("bridge_started", extra={"fields": fields})

    def run(self) -> None:
        """Feeds the watchdog while everything moves, until told to stop."""
        manager = ServiceManager()
        manager.ready(f"bridging at {self.url}")
        beat_s = min(BEAT_S, manager.watchdog_every_s or BEAT_S)
        while not self.stopping.wait(beat_s):
            if self._is_moving():
                manager.alive()
        manager.stopping()

    def stop(self) -> None:
        """Ends requests, folders and link, in this order."""
        self.stopping.set()
        self._http.stop()
        for thread in self._threads:
            thread.join(JOIN_S)
        self._publisher.stop()
        log.info("bridge_stopped")

    def health(self) -> dict[str, object]:
        """Returns how it is and what it counted since it started."""
        is_linked = self._publisher.is_linked
        troubles = {each.part: each.trouble for each in self._folders if each.trouble}
        return {
            "status": "no_broker" if not is_linked else "folder_unavailable" if troubles else "ok",
            "broker": {
                "connected": is_linked,
                "error": self._publisher.link_error,
                "connects": self._publisher.n_connects,
                "pending": self._publisher.n_pending,
            },
            "http": self._tally.of("http"),
            "hooks": {hook.name: self._tally.of(hook.part) for hook in self._hooks},
            "folders": {
                name: {
                    "waiting": folder.n_waiting,
                    "trouble": folder.trouble,
                    **self._tally.of(folder.part),
                }
                for name, folder in zip(self._config.folders, self._folders, strict=True)
            },
        }

    def _is_moving(self) -> bool:
        silent_s = [self._http.silent_s(), *(each.silent_s() for each in self._folders)]
        is_alive = all(each.is_alive() for each in self._threads)
        return is_alive and self._publisher.is_turning and max(silent_s) < HANG_S


def serve(path: Path) -> None:
    """Runs the bridge of a settings file in this thread until SIGTERM or SIGINT.

    Raises:
        EdgeAgentError: It cannot start; the error says what to do.
    """
    config = settings.load(path)
    logs.set_up(config.log_level)
    bridge = Bridge(config)
    on_end(bridge.stopping.set)
    bridge.start()
    try:
        bridge.run()
    finally:
        bridge.stop()
