"""The second copy's file under crashes and rot: all that was synced is there, or it says so.

Hypothesis appends, confirms, takes back and writes anew; at any moment the power may go, which
leaves the file cut at any byte behind what was synced last. Rot changes any byte anywhere.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from typing_extensions import override

from edge_agent.shell.copy_file import LOST, PERSON, TOMBSTONE, CopyFile, Reading, Record

KEY = b"store-key-of-the-tests".ljust(32, b".")
PEOPLE = st.sampled_from((b"a", b"b", b"c"))
TEXTS = st.binary(min_size=1, max_size=12).map(lambda raw: raw.hex().encode())


def person(who: bytes, text: bytes) -> Record:
    """Returns what somebody stated."""
    return Record(PERSON, who, text)


def opened(path: Path, *keys: bytes) -> tuple[CopyFile, Reading]:
    """Returns the file as a start opens it."""
    file = CopyFile(path, keys or (KEY,))
    return file, file.read()


class Kept(RuleBasedStateMachine):
    """One file and what it was told, through crashes at any byte."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="edge-agent-copy-"))
        self.path = self.folder / "state.db.second"
        self.file, _ = opened(self.path)
        self.file.rewrite(())
        self.people: dict[bytes, bytes] = {}

    @override
    def teardown(self) -> None:
        """Leaves nothing behind."""
        self.file.close()
        shutil.rmtree(self.folder)

    @rule(who=PEOPLE, text=TEXTS, is_confirmed=st.booleans())
    def state(self, who: bytes, text: bytes, *, is_confirmed: bool) -> None:
        """Somebody states something, which the database commits."""
        self.file.append((person(who, text),))
        self.people[who] = text
        if is_confirmed:
            self.file.confirm()

    @rule(who=PEOPLE, text=TEXTS)
    def fail(self, who: bytes, text: bytes) -> None:
        """The database does not commit what was appended."""
        self.file.append((person(who, text),))
        self.file.take_back()

    @rule()
    def write_anew(self) -> None:
        """The file is written anew with what is in force."""
        self.file.rewrite(person(*each) for each in sorted(self.people.items()))

    @rule(who=PEOPLE)
    def forget(self, who: bytes) -> None:
        """Somebody is forgotten: not a byte of him is left."""
        text = self.people.pop(who, None)
        self.write_anew()
        if text is not None and text not in self.people.values():
            assert b"\t" + text + b"\t" not in self.path.read_bytes()

    @rule(who=PEOPLE, text=TEXTS, data=st.data())
    def cut_the_power(self, who: bytes, text: bytes, data: st.DataObject) -> None:
        """The power goes within an append: any part of it is there, and the next start goes on."""
        before = self.file.size
        self.file.append((person(who, text),))
        self.file.close()
        whole = self.path.read_bytes()
        # What a crash before had left there was cut off when the file was opened to be written.
        kept = data.draw(st.integers(before, len(whole)), label="bytes kept")
        is_zeroed = data.draw(st.booleans(), label="the rest is zeros")
        self.path.write_bytes(whole[:kept] + (bytes(len(whole) - kept) if is_zeroed else b""))
        self.file, found = opened(self.path)
        assert found.is_sound
        if kept == len(whole):
            self.people[who] = text
        assert found.people == self.people

    @invariant()
    def everything_synced_is_there(self) -> None:
        """Whoever opens the file now reads what it was told, and that it is sound."""
        _, found = opened(self.path)
        assert found.is_sound
        assert found.people == self.people


TestKept = Kept.TestCase
TestKept.settings = settings(
    deadline=None, stateful_step_count=20, suppress_health_check=list(HealthCheck)
)


@pytest.mark.parametrize("lines", [1, 3])
def test_a_changed_byte_is_told_or_costs_nothing(tmp_path: Path, lines: int) -> None:
    """Rot anywhere in a file whose lines are confirmed: damaged, or everything is there.

    Every byte is changed in every bit, and to the two that part lines and fields.
    """
    path = tmp_path / "state.db.second"
    file, _ = opened(path)
    file.rewrite((Record(LOST, b"", b"5"), Record(TOMBSTONE, b"t", b"7"), person(b"z", b"0")))
    for n in range(lines):
        file.append((person(b"a", b"%d" % n),))
        file.confirm()
    file.close()
    whole = path.read_bytes()
    n_told = 0
    for place, byte in enumerate(whole):
        for changed in {byte ^ 1 << bit for bit in range(8)} | set(b"\n\t") - {byte}:
            # Put down anew, the file would be written to the disk each time it is closed.
            with path.open("r+b") as rotten:
                rotten.write(whole[:place] + bytes((changed,)) + whole[place + 1 :])
            _, found = opened(path)
            n_told += not found.is_sound
            if found.is_sound:
                assert found.people == {b"z": b"0", b"a": b"%d" % (lines - 1)}, (place, changed)
                assert (found.tombstones, found.lost_at_ms) == ({"t": 7}, 5)
    assert n_told > 4 * len(whole)


def test_a_file_of_another_store_is_worth_nothing(tmp_path: Path) -> None:
    """Lines under a key that is not ours are as good as rot; an older key of ours is told."""
    path = tmp_path / "state.db.second"
    file, _ = opened(path, b"another")
    file.rewrite((person(b"a", b"1"),))
    _, found = opened(path)
    assert (found.exists, found.is_sound, found.people) == (True, False, {})
    _, found = opened(path, KEY, b"another")
    assert (found.is_sound, found.is_of_older_key, found.people) == (True, True, {b"a": b"1"})


def test_lines_that_are_gone_from_the_middle_are_missed(tmp_path: Path) -> None:
    """A file out of which a whole line was cut is not sound."""
    path = tmp_path / "state.db.second"
    file, _ = opened(path)
    file.rewrite((person(b"a", b"1"), person(b"b", b"1")))
    for n in range(3):
        file.append((person(b"a", b"%d" % n),))
    file.close()
    lines = path.read_bytes().splitlines(keepends=True)
    for gone in range(len(lines) - 1):
        path.write_bytes(b"".join(lines[:gone] + lines[gone + 1 :]))
        assert not opened(path)[1].is_sound
