"""Runs every test in lanes side by side: `python -m tests.tools.lanes [pytest's options]`.

What drives brokers and whole agents mostly waits, so three lanes fit on two processors. Each line
of theirs is told under its lane's name; the last line of all says how it ended.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple


class Part(NamedTuple):
    """What one lane runs."""

    name: str
    niceness: int
    """At 10 a lane has a tenth of a processor that another one wants too."""
    places: tuple[str, ...]
    without: tuple[str, ...] = ()
    """Files of these folders that are another lane's."""


_ROAD: Final = ("tests/integration",)
_DAYS: Final = ("tests/e2e", "tests/bench")
_LAWS: Final = ("tests/unit", "tests/properties", "tests/contract")
# These of the road take five to fourteen seconds for each one of a processor.
_WAITING: Final = tuple(
    f"tests/integration/test_{name}.py"
    for name in ("conformance", "screens", "broker_faults", "device_alarms", "watchdog")
)

QUICK: Final = (
    Part("road", 0, _ROAD, without=_WAITING),
    Part("days", 0, _DAYS),
    Part("laws", 0, (*_WAITING, *_LAWS)),
)
"""Of about the same length each; none steps back, for each drives something that is timed."""
FIXED: Final = "--hypothesis-profile=fixed"
"""Every run of QUICK tries the same examples; FULL draws new ones."""
FULL: Final = (Part("road", 0, (*_ROAD, *_DAYS)), Part("laws", 10, _LAWS))
"""At full size the laws take a processor for hours: they step back for what is timed."""

ASKED_EVERY_S: Final = 20.0
"""More than a test takes to end what it started; asked again, pytest ends without that."""
_LAST_LINE: Final = re.compile(r" in \d+\.\d+s")
_COUNT: Final = re.compile(r"(\d+) (passed|failed|errors?|skipped|xfailed|xpassed)")


class Lane:
    """One pytest over a part, and what its last line counted."""

    def __init__(self, part: Part, options: list[str]) -> None:
        self.name = part.name
        cache = f"cache_dir=.pytest_cache/{part.name}"
        places = [*part.places, *(f"--ignore={path}" for path in part.without)]
        pytest = [sys.executable, "-u", "-m", "pytest", "-o", cache, *options, *places]
        self._process = subprocess.Popen(
            ["nice", "-n", str(part.niceness), *pytest],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.counts: Counter[str] = Counter()
        """How many tests passed, failed and so on, by pytest's own words at its end."""
        self._is_stopped = False
        self._reader = threading.Thread(target=self._tell)
        self._reader.start()

    def ended(self) -> int:
        """Waits for the end; returns pytest's exit code."""
        while self._reader.is_alive():
            self._reader.join(ASKED_EVERY_S)
            if self._is_stopped and self._reader.is_alive():
                self._process.send_signal(signal.SIGINT)
        return self._process.wait()

    def stop(self) -> None:
        """Lets pytest end as at Ctrl-C, with what its tests started.

        It is asked again until it does: a signal that arrives within a finalizer or a callback of
        the collector's is told of there and goes nowhere.
        """
        self._is_stopped = True
        self._process.send_signal(signal.SIGINT)

    def _tell(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if _LAST_LINE.search(line):
                self.counts = Counter({what: int(n) for n, what in _COUNT.findall(line)})
            print(f"{self.name}: {line}", end="", flush=True)


def main(options: list[str], parts: Sequence[Part]) -> int:
    """Runs all lanes to their ends; returns 0 if every test passed."""
    begun_s = time.monotonic()
    # Whoever started this in the background has it ignored, and its children with it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    lanes = [Lane(part, options) for part in parts]

    def stop(*_: object) -> None:
        for lane in lanes:
            lane.stop()

    signal.signal(signal.SIGTERM, stop)
    # Ctrl-C reaches the lanes by the terminal: what is left to do is to wait for them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    codes = {lane.name: lane.ended() for lane in lanes}
    totals = sum((lane.counts for lane in lanes), Counter())
    told = ", ".join(f"{n:,} {what}" for what, n in totals.items()) or "nothing ran"
    broken = "".join(f"; {name} ended with {code}" for name, code in codes.items() if code)
    print(f"tests: {told} in {time.monotonic() - begun_s:.0f} s{broken}", flush=True)
    return max(codes.values(), key=abs)


if __name__ == "__main__":
    if os.environ.get("EDGE_AGENT_SOAK") == "1":
        sys.exit(main(sys.argv[1:], FULL))
    sys.exit(main([FIXED, *sys.argv[1:]], QUICK))
