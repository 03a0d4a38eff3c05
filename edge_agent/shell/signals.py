"""Signals of the operating system, answered in a thread of their own.

A Python handler runs between any two instructions of the main thread. One that takes a lock, as
`threading.Event.set` does, waits for ever when the main thread is just holding it, as it does in
`Event.wait`. So the handlers here do nothing; the interpreter writes each signal's number to a
socket, and a thread reads it there and acts.
"""

from __future__ import annotations

import signal
import socket
import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import FrameType

# What a service is ended with: by its manager, and at a keyboard.
ENDING: Final = (signal.SIGTERM, signal.SIGINT)


def on_signals(calls: Mapping[signal.Signals, Callable[[], object]]) -> None:
    """Has each signal answered by its call from now on; call it once, in the main thread.

    Args:
        calls: What is done for each signal. They are made one after another, in one thread.
    """
    reader, writer = socket.socketpair()
    writer.settimeout(0)  # as set_wakeup_fd asks
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    for number in calls:
        signal.signal(number, _told)
    answering = threading.Thread(
        target=_answer, args=(reader, writer, calls), name="signals", daemon=True
    )
    answering.start()


def on_end(call: Callable[[], object]) -> None:
    """Has a call made for each SIGTERM and SIGINT; see `on_signals`."""
    on_signals(dict.fromkeys(ENDING, call))


def _told(_number: int, _frame: FrameType | None) -> None:
    """Does nothing: with the default in its place the signal would end the process."""


def _answer(
    reader: socket.socket,
    _writer: socket.socket,  # held: closed, its number would be another file's
    calls: Mapping[signal.Signals, Callable[[], object]],
) -> None:
    while told := reader.recv(1):
        # Other signals with a handler write their number here too.
        call = calls.get(signal.Signals(told[0]))
        if call is not None:
            call()
