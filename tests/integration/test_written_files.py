"""What a command is told to write to: a place that takes nothing is named, with what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from edge_agent.errors import ConfigError
from edge_agent.replay.play import write_identifiers
from edge_agent.shell.control import EXPORT_VISITOR, ControlServer
from tests.integration.commands import ran

STORE: Final = 'store = "s1"\ntimezone = "Europe/Helsinki"\n'
MAPPING: Final = Path(__file__).parents[2] / "hardware" / "shelly" / "mapping.toml"
HELD: Final[dict[str, Any]] = {
    "is_held": True,
    "is_restricted": False,
    "made_at": "2026-11-23T02:00:00Z",
    "store": "s1",
    "sections": [],
    "not_here": [],
}
BELOW_A_FILE: Final = "Not a directory"
A_FOLDER: Final = "Is a directory"
TOO_LONG: Final = "File name too long"


class Agent:
    """Answers as an agent that holds somebody and rotates its keys."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.meanwhile: Callable[[], object] = list

    def __call__(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answers one request."""
        self.asked.append(request["do"])
        self.meanwhile()
        return {"held": HELD, "receipts": [{}], "rekeyed": {}, "key": "k", "store": {}}


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    """The agent of `agent.toml`, beside a file, a folder with folders in it and a long name."""
    (tmp_path / "file").touch()
    for name in ("visitor.json", "agent.toml", "agent.log", "demo.log"):
        (tmp_path / f"has-{name}" / name).mkdir(parents=True)
    (tmp_path / "state").mkdir()
    config = f'{STORE}[state]\ndirectory = "{tmp_path / "state"}"\n'
    (tmp_path / "agent.toml").write_text(config)
    answering = Agent()
    server = ControlServer(tmp_path / "state" / "control", answering)
    server.start()
    yield answering
    server.stop()


def refused(tmp_path: Path, *words: str, typed: str = "6400000009005") -> list[str]:
    """Returns the lines that a command ends with in place of writing."""
    done = ran(*(each.format(tmp_path) for each in words), typed=typed)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return [each.replace(f"{tmp_path}/", "") for each in done.stderr.splitlines()]


@pytest.mark.parametrize(
    ("out", "reason"),
    [
        ("file/below", BELOW_A_FILE),
        ("has-visitor.json", A_FOLDER),
        ("n" * 300, TOO_LONG),
    ],
)
def test_an_export_says_that_it_cannot_write(
    tmp_path: Path, agent: Agent, out: str, reason: str
) -> None:
    """Wrong use: a line says which folder and why, one what to do."""
    config = ("--config", "{}/agent.toml")
    assert refused(tmp_path, "visitor", "export", "--out", f"{{}}/{out}", *config) == [
        f"error: --out {out}: {reason}",
        "hint: give a folder that may be written with --out",
    ]
    assert agent.asked == ([] if reason == TOO_LONG else [EXPORT_VISITOR])


@pytest.mark.parametrize(
    ("out", "reason"), [("file/below", BELOW_A_FILE), ("has-visitor.json", A_FOLDER)]
)
@pytest.mark.usefixtures("agent")
def test_receipts_say_that_they_cannot_be_written(tmp_path: Path, out: str, reason: str) -> None:
    """A folder's name is none of a file."""
    config = ("--config", "{}/agent.toml")
    assert refused(tmp_path, "visitor", "receipt", "--out", f"{{}}/{out}", *config) == [
        f"error: --out {out}: {reason}",
        "hint: name a file that may be written",
    ]


@pytest.mark.parametrize(
    ("credential", "reason"),
    [
        ("nowhere/store-key", "No such file or directory"),
        ("state/mistyped", "No such file or directory"),
        ("file/below", BELOW_A_FILE),
        ("state", A_FOLDER),
    ],
)
def test_no_key_is_rotated_that_cannot_be_put_in_its_place(
    tmp_path: Path, agent: Agent, credential: str, reason: str
) -> None:
    """The agent is not asked, and no key is left anywhere."""
    config = ("--config", "{}/agent.toml")
    words = ("keys", "rotate", "--credential", f"{{}}/{credential}", *config)
    assert refused(tmp_path, *words) == [
        f"error: --credential {credential}: {reason}",
        "hint: as root, name the file that the unit hands the store's key in from",
    ]
    assert not agent.asked
    assert not list(tmp_path.rglob("*.next*"))


def test_a_rotated_key_that_cannot_be_put_in_its_place_is_named(
    tmp_path: Path, agent: Agent
) -> None:
    """The agent has it already, so the one file that holds it is told."""
    credential = tmp_path / "file"

    def make_way() -> None:
        credential.unlink()
        credential.mkdir()

    agent.meanwhile = make_way
    config = ("--config", "{}/agent.toml")
    first, hint = refused(tmp_path, "keys", "rotate", "--credential", "{}/file", *config)
    assert first == f"error: --credential file: {A_FOLDER}"
    assert "move file.next there" in hint
    assert len((tmp_path / "file.next").read_bytes()) == 32


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ("file/below", BELOW_A_FILE),
        ("has-agent.toml", A_FOLDER),
        ("has-agent.log", A_FOLDER),
        ("has-demo.log", A_FOLDER),
    ],
)
@pytest.mark.usefixtures("agent")
def test_a_demo_says_that_it_cannot_keep_its_state(
    tmp_path: Path, state: str, reason: str
) -> None:
    """Before anything is started."""
    assert refused(tmp_path, "demo", "--baskets", "1", "--state", f"{{}}/{state}") == [
        f"error: --state {state}: {reason}",
        "hint: choose a folder you may write to",
    ]


@pytest.mark.parametrize("command", ["replay", "demo"])
@pytest.mark.usefixtures("agent")
def test_identifiers_that_cannot_be_written_are_told_first(tmp_path: Path, command: str) -> None:
    """Before the data set is read and a broker is looked for."""
    assert refused(tmp_path, command, "--identifiers", "{}/nowhere/all.jsonl") == [
        "error: --identifiers nowhere/all.jsonl: No such file or directory",
        "hint: name a file in a folder that exists and may be written",
    ]


def test_identifiers_that_cannot_be_written_any_more_are_told_too(tmp_path: Path) -> None:
    """Each day of a replay that goes on adds its own."""
    with pytest.raises(ConfigError, match="--identifiers"):
        write_identifiers(tmp_path, (), more=True)


@pytest.mark.parametrize(
    ("state", "reason"),
    [("file/below", BELOW_A_FILE), ("state", A_FOLDER), ("n" * 300, TOO_LONG)],
)
@pytest.mark.usefixtures("agent")
def test_a_mapping_says_that_it_cannot_keep_its_state(
    tmp_path: Path, state: str, reason: str
) -> None:
    """What was mapped is printed before; the last two lines say what became of the rest."""
    words = ("map", "-m", str(MAPPING), "--topic", "a/b", "--state", f"{{}}/{state}")
    assert refused(tmp_path, *words, typed="{}")[-2:] == [
        f"error: --state {state}: {reason}",
        "hint: name a file in a folder that exists and may be written",
    ]


@pytest.mark.parametrize(
    ("path", "reason", "hint"),
    [
        ("file", "File exists", "a key is never overwritten; choose another name"),
        (
            "nowhere/hq.pem",
            "No such file or directory",
            "name a file in a folder that exists and may be written",
        ),
    ],
)
@pytest.mark.usefixtures("agent")
def test_a_new_key_of_hq_that_cannot_be_written_says_what_helps(
    tmp_path: Path, path: str, reason: str, hint: str
) -> None:
    """Another name helps where one is taken, not where the folder is missing."""
    first, second = refused(tmp_path, "hq", "keygen", f"{{}}/{path}")
    assert (first, second) == (f"error: {path}: {reason}", f"  what to do: {hint}")
