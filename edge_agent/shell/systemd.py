"""The service manager's notifications: ready, alive, stopping. Silent where there is none.

Source: sd_notify(3): datagrams of `KEY=value` lines to the socket named by NOTIFY_SOCKET.
"""

from __future__ import annotations

import os
import socket
from typing import Final

MICROSECONDS_PER_S: Final = 1_000_000
# A manager that does not read must not hold up the one who tells it.
SEND_TIMEOUT_S: Final = 1.0


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
