"""The lanes of `make test` hold every file, and none hides what another one found."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import pytest

from tests.integration.running_agent import wait_for
from tests.tools import lanes

ROOT: Final = Path(__file__).parents[2]
BOTH: Final = """
import sys
from tests.tools import lanes
from tests.tools.lanes import Part, main

lanes.ASKED_EVERY_S = float(sys.argv[3])
parts = Part("road", 0, (sys.argv[1],)), Part("laws", 10, (sys.argv[2],))
sys.exit(main(["-q", "-c", "/dev/null", "--rootdir", "/", "-p", "no:cacheprovider"], parts))
"""


@contextmanager
def started(
    folder: Path, road: str, laws: str, *, asked_every_s: float = 60
) -> Iterator[subprocess.Popen[str]]:
    """A run of two lanes of one file each, that is killed if it does not end."""
    files = {"test_of_the_road.py": road, "test_of_the_laws.py": laws}
    for name, text in files.items():
        (folder / name).write_text(text)
    with subprocess.Popen(
        [sys.executable, "-c", BOTH, *(str(folder / name) for name in files), str(asked_every_s)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as run:
        try:
            yield run
        finally:
            with suppress(ProcessLookupError):
                os.killpg(run.pid, signal.SIGKILL)


@pytest.mark.parametrize("parts", [lanes.QUICK, lanes.FULL])
def test_every_file_of_tests_is_in_one_lane(parts: tuple[lanes.Part, ...]) -> None:
    """No test is left out because nobody named its folder, and none is run twice."""
    run = Counter(path for part in parts for path in files_of(part))
    assert run == Counter((ROOT / "tests").rglob("test_*.py"))


def files_of(part: lanes.Part) -> list[Path]:
    """The files of tests that one lane runs."""
    given = [ROOT / place for place in part.places]
    found = [
        each for path in given for each in (path.rglob("test_*.py") if path.is_dir() else [path])
    ]
    return [path for path in found if path not in {ROOT / place for place in part.without}]


PASSES: Final = "def test_it():\n    pass\n"
FAILS: Final = "def test_it():\n    assert False\n"
BREAKS: Final = "import nothing_of_this_name\n"


@pytest.mark.parametrize(
    ("road", "laws", "code", "told"),
    [
        (PASSES, PASSES, 0, "2 passed"),
        (PASSES, FAILS, 1, "1 passed, 1 failed"),
        (FAILS, PASSES, 1, "1 failed, 1 passed"),
        (PASSES, BREAKS, 2, "1 passed, 1 error"),
        (BREAKS, FAILS, 2, "1 error, 1 failed"),
    ],
)
def test_one_lane_that_fails_fails_the_run(
    tmp_path: Path, road: str, laws: str, code: int, told: str
) -> None:
    """The last line counts over both, and the exit code is the worse one."""
    with started(tmp_path, road, laws) as run:
        output, _ = run.communicate(timeout=60)
    assert (run.returncode, told) == (code, output.splitlines()[-1].split(" in ")[0][7:])


WAITS: Final = """
import pathlib, signal

def test_it():
    pathlib.Path(__file__).with_suffix(".reached").touch()
    signal.pause()
"""


@pytest.mark.parametrize("by_terminal", [True, False])
def test_a_run_that_is_stopped_stops_both_lanes(tmp_path: Path, *, by_terminal: bool) -> None:
    """Ctrl-C goes to all processes of the terminal, a plain end to the first of them alone."""
    with started(tmp_path, WAITS, WAITS) as run:
        wait_for(lambda: len(list(tmp_path.glob("*.reached"))) == 2, what="both lanes at work")
        if by_terminal:
            os.killpg(run.pid, signal.SIGINT)
        else:
            run.terminate()
        output, _ = run.communicate(timeout=60)
    assert run.returncode == 2
    assert output.splitlines()[-1].endswith("road ended with 2; laws ended with 2")


SWALLOWS: Final = """
import contextlib, pathlib, signal

def test_it():
    pathlib.Path(__file__).with_suffix(".reached").touch()
    with contextlib.suppress(KeyboardInterrupt):
        signal.pause()
    signal.pause()
"""


def test_a_lane_that_missed_its_end_is_asked_again(tmp_path: Path) -> None:
    """A signal that arrives where an error goes nowhere leaves no lane running for hours."""
    with started(tmp_path, PASSES, SWALLOWS, asked_every_s=5) as run:
        wait_for(lambda: list(tmp_path.glob("*.reached")), what="the lane at work")
        run.terminate()
        output, _ = run.communicate(timeout=60)
    # On a busy machine it is asked once more while it ends, and pytest tells no code of its own.
    assert output.splitlines()[-1].endswith(("; laws ended with 2", "; laws ended with -2"))
