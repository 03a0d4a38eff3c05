"""The service manager's notifications: ready, alive, stopping. Silent where there is none.

The watchdog is fed by whoever gets through the work, and only while the threads that bring it the
work come round too: with one of them dead the rest would go on for ever, and hear nothing.

Source: sd_notify(3): datagrams of `KEY=value` lines to the socket named by NOTIFY_SOCKET.
"""

from __future__ import annotations

import logging
import os
import socket
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

log = logging.getLogger(__name__)

MICROSECONDS_PER_S: Final = 1_000_000
# A manager that does not read must not hold up the one who tells it.
SEND_TIMEOUT_S: Final = 1.0


class Turning(Protocol):
    """Whatever has a thread of its own."""

    @property
    def is_turning(self) -> bool:
        """Whether that thread lives and gets on."""
        ...


class ServiceManager:
    """Tells systemd how we are."""

    def __init__(self) -> None:
        self._address = os.environ.get("NOTIFY_SOCKET")
        watchdog_us = os.environ.get("WATCHDOG_USEC")
        # Fed twice within the time that systemd allows.
        self.watchdog_every_s = int(watchdog_us) / MICROSECONDS_PER_S / 2 if watchdog_us else None

    def ready(self, status: str) -> None:
        """Tells that the agent is connected and takes events."""
        self._send(f"READY=1\nSTATUS={status}")

    def alive(self) -> None:
        """Feeds the watchdog."""
        self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """Tells how the agent is, for `systemctl status`."""
        self._send(f"STATUS={text}")

    def stopping(self) -> None:
        """Tells that the agent ends on purpose."""
        self._send("STOPPING=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        address = self._address
        if address.startswith("@"):
            address = "\0" + address[1:]
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(SEND_TIMEOUT_S)
                sender.sendto(message.encode(), address)
        except OSError:
            # Without the notification systemd restarts us, which is the right outcome.
            return


class Watchdog:
    """Feeds the service manager's watchdog, but never past a thread that hangs or has died."""

    def __init__(self, manager: ServiceManager, threads: Mapping[str, Turning]) -> None:
        self._manager = manager
        self._threads = threads
        self._next_s = 0.0
        self._hanging: tuple[str, ...] = ()

    def got_on(self, now_s: float) -> None:
        """Feeds it when it is time; called each time that work was got through.

        Args:
            now_s: By the monotonic clock.
        """
        every_s = self._manager.watchdog_every_s
        if every_s is None or now_s < self._next_s:
            return
        hanging = tuple(name for name, each in self._threads.items() if not each.is_turning)
        if hanging != self._hanging:
            self._hanging = hanging
            _tell(hanging)
        if not hanging:
            self._next_s = now_s + every_s
            self._manager.alive()


def _tell(hanging: tuple[str, ...]) -> None:
    if hanging:
        log.error("threads_hang", extra={"fields": {"threads": hanging}})
    else:
        log.info("threads_turn_again")
