"""The agent as a process: configuration, logs, signals, run. No option parser is loaded here."""

from __future__ import annotations

import ctypes
import gc
import signal
import sys
from typing import TYPE_CHECKING, Final

from edge_agent import config as configuration
from edge_agent.app import Agent
from edge_agent.shell import logs
from edge_agent.shell.signals import ENDING, on_signals

if TYPE_CHECKING:
    from pathlib import Path

SWITCH_INTERVAL_S: Final = 0.000_5

# mallopt's parameters, as <malloc.h> numbers them, and what they are set to. A decision's arrays
# (75-150 KiB) must come from the heap: mapped and unmapped each time, they cost 560 page faults.
_MALLOC_SETTINGS: Final = (
    (-1, 2_097_152),  # M_TRIM_THRESHOLD: free memory at the top goes back to the kernel
    (-3, 1_048_576),  # M_MMAP_THRESHOLD: what is larger is unmapped when it is freed
    (-8, 2),  # M_ARENA_MAX: one for each thread that is busy
)


def _keep_memory_small() -> None:
    """Tells the C library to give memory back: by itself it keeps what a busy hour once needed."""
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        for parameter, value in _MALLOC_SETTINGS:
            library.mallopt(parameter, value)


def serve(path: Path) -> None:
    """Runs the agent of a configuration file in this thread until SIGTERM or SIGINT.

    SIGHUP loads the mappings and the policy again, and nothing else.

    Raises:
        EdgeAgentError: It cannot start; the error says what to do.
    """
    # Each database call lets the network thread run; with Python's 5 ms it would keep the core
    # waiting longer than the call took.
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    _keep_memory_small()
    loaded = configuration.load(path)
    logs.set_up(loaded.log_level)
    agent = Agent(loaded, path)
    # What is there now stays: a full collection would look through it all, for 20 to 70 ms.
    gc.collect()
    gc.freeze()
    on_signals({**dict.fromkeys(ENDING, agent.stopping.set), signal.SIGHUP: agent.reload})
    agent.run()
