"""Signals: answered while the main thread holds whatever the answer needs, and one by one."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

PATIENCE_S = 20

PROGRAM = """
import os, signal, threading, time
from edge_agent.shell.signals import on_signals

lock, told = threading.Lock(), []

def note(name):
    with lock:
        told.append(name)

on_signals({signal.SIGTERM: lambda: note("end"), signal.SIGHUP: lambda: note("reload")})
signal.signal(signal.SIGUSR1, lambda *_: None)  # one of somebody else's
with lock:
    for each in (signal.SIGHUP, signal.SIGUSR1, signal.SIGTERM, signal.SIGTERM):
        os.kill(os.getpid(), each)
        time.sleep(0.05)
    assert not told
while len(told) < 3:
    time.sleep(0.01)
print(*told)
"""


def test_an_answer_may_need_a_lock_that_the_main_thread_holds() -> None:
    """A handler that took the lock itself would wait for ever for the one it interrupted."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "reload end end\n", "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_both_ends_are_answered(number: signal.Signals) -> None:
    """SIGTERM and SIGINT end a service; neither ends the process by itself."""
    program = f"""
import os, signal, threading
from edge_agent.shell.signals import on_end
ending = threading.Event()
on_end(ending.set)
os.kill(os.getpid(), {int(number)})
print(ending.wait({PATIENCE_S}))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")
