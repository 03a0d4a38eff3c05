"""A command that is forked says and does what one does that starts from nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.integration.commands import ran

SCRIPT: Final = "import sys; sys.argv[0] = 'edge-agent'; from edge_agent.cli import main; main()"
"""What an installation makes of the command's name."""
MAPPING: Final = Path(__file__).parents[2] / "hardware" / "shelly" / "mapping.toml"


def started(
    *arguments: str, typed: bytes = b"", script: str = SCRIPT
) -> subprocess.CompletedProcess[str]:
    """Runs the installed command as a shell does."""
    ended = subprocess.run(
        [sys.executable, "-P", "-c", script, *arguments],
        input=typed,
        capture_output=True,
        timeout=60,
        check=False,
    )
    return subprocess.CompletedProcess(
        ended.args, ended.returncode, ended.stdout.decode(), ended.stderr.decode()
    )


@pytest.mark.parametrize(
    ("arguments", "typed"),
    [
        (("--help",), b""),
        (("destroy",), b""),
        (("check", "/nothing/here"), b""),
        (("status", "--config", "/nothing/here.toml"), b""),
        (("map", "-m", str(MAPPING), "--topic", "a"), b'{"is": "nothing"}'),
    ],
)
def test_it_ends_and_says_what_a_new_process_does(
    arguments: tuple[str, ...], typed: bytes
) -> None:
    """Exit code, standard output and standard error are the same."""
    whole, forked = started(*arguments, typed=typed), ran(*arguments, typed=typed)
    assert (forked.returncode, forked.stdout, forked.stderr) == (
        whole.returncode,
        whole.stdout,
        whole.stderr,
    )
    assert whole.stdout + whole.stderr


def test_a_fault_of_ours_shows() -> None:
    """What no command catches ends it with 1 and a trace of Python, not the tests' server."""
    breaks = "from edge_agent.cli import schema; schema.documents = None"
    whole = started("schema", script=f"{breaks}; {SCRIPT}")
    forked = ran("schema", broken="edge_agent.cli.schema:documents")
    assert "Traceback" in whole.stderr
    assert "Traceback" in forked.stderr
    assert forked.returncode == whole.returncode == 1
    assert forked.stderr.splitlines()[-1] == whole.stderr.splitlines()[-1]
    assert ran("schema").returncode == 0


def test_nothing_of_one_is_left_in_the_next() -> None:
    """Each begins as the server is: its words, its environment and its folder are its own."""
    here = Path.cwd()
    wide = ran("--help", environment={**os.environ, "COLUMNS": "160"})
    narrow = ran("--help", environment={**os.environ, "COLUMNS": "60"})
    assert max(map(len, wide.stdout.splitlines())) > 100
    assert max(map(len, narrow.stdout.splitlines())) <= 60
    assert ran("destroy").returncode == 2
    assert ran("--help", environment={**os.environ, "COLUMNS": "160"}).stdout == wide.stdout
    assert Path.cwd() == here


def test_one_that_does_not_end_is_killed_and_the_next_one_runs(tmp_path: Path) -> None:
    """A command that hangs fails its own test alone."""
    waits = tmp_path / "waits"
    os.mkfifo(waits)
    with pytest.raises(TimeoutError):
        ran("check", waits, timeout_s=0.2)
    assert ran("destroy").returncode == 2
