"""What a command may not read, or no system could: told with what to do, never a bare trace."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from edge_agent.shell.sqlite_db import open_for_writing
from tests.integration.commands import ran

STORE: Final = 'store = "s1"\ntimezone = "Europe/Helsinki"\n'
BUNDLE: Final = Path(__file__).parents[2] / "models" / "artifacts"
LONG: Final = "n" * 300
AS_THE_AGENT: Final = "run it as the agent's user or with sudo"
NO_SUCH_NAME: Final = "give another path: the system takes no such name"
DENIED: Final = "Permission denied"
TOO_LONG: Final = "File name too long"
OURS: Final = ("--config", "{}/agent.toml")
RULES: Final = ("--rules", "{}/rules.toml")

# The command, how it ends, what it names.
CLOSED: Final[tuple[tuple[tuple[str, ...], int, str], ...]] = (
    (("tail", "--no-follow", *OURS), 3, "closed/state.db"),
    (("status", *OURS), 3, "closed/state.db"),
    (("explain", *OURS), 3, "closed/state.db"),
    (("explain", "--database", "{}/closed/state.db"), 3, "closed/state.db"),
    (("visitor", "audit", *OURS), 3, "closed/state.db"),
    (("deadletter", "list", *OURS), 3, "closed/state.db"),
    (("privacy", "report", *OURS), 3, "closed/state.db"),
    (("policy", "evaluate", *RULES, *OURS), 3, "closed/state.db"),
    (("policy", "evaluate", *RULES, "--state", "{}/day"), 2, "day/agent/state.db"),
    (("replay", "--verify", "{}/day"), 2, "day/agent/state.db"),
    (("replay", "--state", "{}/day", "--with", "{}/rules.toml"), 2, "day/agent/state.db"),
    (("hq", "report", "--database", "{}/closed/hq.db"), 2, "closed/hq.db"),
    (("hq", "dashboard", "--database", "{}/closed/hq.db"), 2, "closed/hq.db"),
    (("model", "verify", str(BUNDLE), "--config", "{}/closed/agent.toml"), 2, "agent.toml"),
    (("model", "verify", "{}/closed/bundle"), 1, "closed/bundle"),
    (("check", "{}/closed/bundle"), 1, "closed/bundle"),
    (("check", "{}/closed/agent.toml"), 1, "closed/agent.toml"),
    (("check", "{}/bundled.toml"), 1, "closed/bundle"),
    (("run", *OURS), 2, "closed/keys"),
    (("run", *OURS, "-c", "{}/agent.toml"), 2, "closed/keys"),
)
NO_NAME: Final[tuple[tuple[tuple[str, ...], int], ...]] = (
    (("explain", "--database", "{}/{long}"), 3),
    (("tail", "--no-follow", "--config", "{}/long.toml"), 3),
    (("status", "--config", "{}/long.toml"), 3),
    (("visitor", "audit", "--config", "{}/long.toml"), 3),
    (("hq", "report", "--database", "{}/{long}"), 2),
    (("hq", "dashboard", "--database", "{}/{long}"), 2),
    (("model", "verify", str(BUNDLE), "--config", "{}/{long}"), 2),
    (("model", "verify", "{}/{long}"), 1),
    (("check", "{}/{long}"), 1),
    (("run", "--config", "{}/long.toml"), 2),
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A store whose state folder is another's: whoever runs these tests may not look into it."""
    folder = tmp_path_factory.mktemp("place")
    closed = folder / "closed"
    _fill(folder, closed)
    closed.chmod(0)
    yield folder
    closed.chmod(0o700)


def _fill(folder: Path, closed: Path) -> None:
    (closed / "keys").mkdir(parents=True)
    (folder / "day").mkdir()
    (folder / "day" / "agent").symlink_to(closed)
    for database in (closed / "state.db", folder / "state.db"):
        open_for_writing(database).close()
    (folder / "state.db").chmod(0)
    (closed / "hq.db").touch()
    shutil.copytree(BUNDLE, closed / "bundle")
    of_closed = f'{STORE}[state]\ndirectory = "{closed}"\n'
    for path in (folder / "agent.toml", closed / "agent.toml", folder / "day" / "agent.toml"):
        path.write_text(of_closed)
    (folder / "bundled.toml").write_text(f'{STORE}[model]\nbundle = "{closed / "bundle"}"\n')
    (folder / "own.toml").write_text(f'{STORE}[state]\ndirectory = "{folder}"\n')
    (folder / "long.toml").write_text(f'{STORE}[state]\ndirectory = "{folder / LONG}"\n')
    (folder / "rules.toml").write_text('version = "1"\n')


def without_rights(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Returns how a command ends: root may read everything, so as root it goes without that."""
    before: tuple[str, ...] = ()
    if os.geteuid() == 0:
        setpriv = shutil.which("setpriv")
        assert setpriv is not None, "setpriv is missing: install util-linux"
        before = (setpriv, "--bounding-set=-all", "--inh-caps=-all")
    command = (*before, sys.executable, "-P", "-m", "edge_agent", *_filled(place, words))
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def _filled(place: Path, words: tuple[str, ...]) -> list[str]:
    return [each.format(place, long=LONG) for each in words]


@pytest.mark.parametrize(("words", "code", "named"), CLOSED)
def test_what_may_not_be_read_is_named(
    place: Path, words: tuple[str, ...], code: int, named: str
) -> None:
    """Which place, why, and who may: whoever is no agent and has no sudo gets no trace."""
    ended = without_rights(place, *words)
    told = ended.stdout + ended.stderr
    assert ended.returncode == code, told
    assert "Traceback" not in told
    assert named in told
    assert DENIED in told
    assert "with sudo" in told


@pytest.mark.parametrize(("words", "code"), NO_NAME)
def test_a_name_that_no_system_takes_is_told(
    place: Path, words: tuple[str, ...], code: int
) -> None:
    """It is as wrong as one that is not there."""
    ended = ran(*_filled(place, words))
    told = ended.stdout + ended.stderr
    assert ended.returncode == code, told
    assert "Traceback" not in told
    assert TOO_LONG in told


def test_the_line_says_where_and_why_and_the_hint_who_may(place: Path) -> None:
    """Two lines, as of every error."""
    ended = without_rights(place, "status", *OURS)
    assert ended.stderr.splitlines() == [
        f"error: {place / 'closed' / 'state.db'}: {DENIED}",
        f"hint: {AS_THE_AGENT}",
    ]


def test_a_database_that_may_not_be_read_in_a_folder_that_may_is_told_so_too(place: Path) -> None:
    """SQLite says of it only that it is unable to open it."""
    ended = without_rights(place, "status", "--config", "{}/own.toml")
    assert ended.returncode == 3
    assert ended.stderr.splitlines() == [
        f"error: {place / 'state.db'}: {DENIED}",
        f"hint: {AS_THE_AGENT}",
    ]


def test_a_database_beside_which_nothing_may_be_written_is_the_agents_to_read(
    tmp_path: Path,
) -> None:
    """It may be read, and SQLite cannot without the files that a running agent keeps beside it."""
    open_for_writing(tmp_path / "state.db").close()
    (tmp_path / "agent.toml").write_text(f'{STORE}[state]\ndirectory = "{tmp_path}"\n')
    tmp_path.chmod(0o500)
    ended = without_rights(tmp_path, "status", *OURS)
    tmp_path.chmod(0o700)
    assert ended.returncode == 3
    assert ended.stderr.splitlines()[1:] == [f"hint: {AS_THE_AGENT}"]


@pytest.mark.parametrize(
    ("config", "hint"), [("agent.toml", AS_THE_AGENT), ("long.toml", NO_SUCH_NAME)]
)
def test_a_doctor_goes_on_past_what_may_not_be_looked_at(
    place: Path, config: str, hint: str
) -> None:
    """All that can be looked at is told of; what cannot be is not well."""
    ended = without_rights(place, "doctor", "--json", "--config", f"{{}}/{config}")
    assert ended.returncode == 1, ended.stderr
    found = {each["what"]: each for each in json.loads(ended.stdout)}
    for what in ("database", "statements", "keys"):
        assert hint in found[what]["mend"]
    assert found["sqlite"]["mend"] == ""
    assert {"broker", "files"} <= found.keys()


def test_a_doctor_says_nothing_good_of_keys_that_it_cannot_see(tmp_path: Path) -> None:
    """Their folder is the agent's alone, whoever may look into the one around it."""
    (tmp_path / "keys").mkdir(mode=0)
    (tmp_path / "agent.toml").write_text(f'{STORE}[state]\ndirectory = "{tmp_path}"\n')
    ended = without_rights(tmp_path, "doctor", "--json", *OURS)
    (keys,) = (each for each in json.loads(ended.stdout) if each["what"] == "keys")
    assert DENIED in keys["found"]
    assert keys["mend"] == AS_THE_AGENT
