"""Keys: yesterday's are gone, the store's can be replaced without losing anybody."""

from __future__ import annotations

import base64
import hmac
import json
import os
import re
import shutil
import signal
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import FrameType
from typing import Any, Final

import pytest

from edge_agent.domain.time import DAY_MS, HOUR_MS
from edge_agent.domain.visitor import Subject
from edge_agent.errors import ConfigError, RequestRefused
from edge_agent.identify.consent import PURPOSES, has_consent
from edge_agent.identify.pseudonyms import Pseudonymiser
from edge_agent.shell import key_desk, keyring, keys
from edge_agent.wire.base import VisitorRef
from tests.factories import PHONE, T0
from tests.integration.broker import Broker
from tests.integration.commands import ran
from tests.integration.driven_agent import DrivenAgent, driven_agent, entered, told
from tests.integration.running_agent import device, event, running_agent, visitor, wait_for

KINDS: Final = ("loyalty", "app", "receipt", "customer")
PEOPLE: Final = tuple((kind, f"64000000{n:05}") for n, kind in enumerate(KINDS * 3))
CASES: Final = {number: f"case-{n}" for n, (_, number) in enumerate(PEOPLE) if n % 3 == 0}
STORE_KEY: Final = b"the store's key of this test ---"
KILLED_AT: Final = (3, 40, 120, 135, 140, 147, 152, 158, 166, 172, 181, 190, 203, 208, 214)
"""Lines of a rotation at whose execution it is killed; a soak takes every one."""


def ref(kind: str, value: str) -> VisitorRef:
    """Returns an identifier."""
    return VisitorRef.model_validate({"kind": kind, "value": value})


def populate(agent: DrivenAgent) -> None:
    """Lets people consent, some withdraw again, and some complain."""
    for n, (kind, number) in enumerate(PEOPLE):
        who = {"kind": kind, "value": number}
        agent.take(
            told("desk", "consent.granted", T0, f"yes-{n}", visitor=who, purposes=list(PURPOSES))
        )
        if n % 4 == 1:
            agent.take(told("desk", "consent.withdrawn", T0 + 1, f"no-{n}", visitor=who))
        if number in CASES:
            case = CASES[number]
            agent.take(
                told("desk", "complaint.opened", T0 + 2, f"c-{n}", visitor=who, complaint=case)
            )


def known(agent: DrivenAgent) -> list[Any]:
    """Returns what the agent knows of everybody, found by his number as a till sends it."""
    people, found = agent.agent._people, []
    for kind, number in PEOPLE:
        subject = people.subject(ref(kind, number), day="2017-12-02", now_ms=T0)
        person = None if subject is None else agent.agent._state.visitor_of(subject)
        assert person is not None, (kind, number)
        case = people.case(CASES[number]) if number in CASES else None
        assert [each.case for each in person.complaints] == ([case] if case else [])
        allowed = tuple(each for each in PURPOSES if has_consent(person, each, now_ms=T0 + 9))
        found.append((person.id, allowed, person.has_open_complaint))
    return found


def rotate(agent: DrivenAgent, next_key: bytes | None = None) -> dict[str, Any]:
    """Rotates the store's key, as the control thread has it done."""
    return agent.agent._key_desk.rotate(next_key, now_ms=T0, rekeyed=agent.agent._rekeyed)


def pseudonyms(folder: Path) -> set[str]:
    """Returns the stored pseudonyms of identified people, cases included."""
    with closing(sqlite3.connect(folder / "state.db")) as database:
        rows = database.execute(
            "SELECT pseudonym FROM link WHERE kind IN ('app', 'loyalty', 'receipt', 'customer')"
            " UNION ALL SELECT case_hash FROM complaint"
        )
        return {pseudonym for (pseudonym,) in rows}


@pytest.fixture
def populated(tmp_path: Path) -> Path:
    """A state folder with people in it, its agent ended."""
    folder = tmp_path / "state"
    with driven_agent(folder) as agent:
        populate(agent)
    return folder


def test_every_link_consent_and_complaint_is_there_after_rotations(populated: Path) -> None:
    """Two rotations and a restart: nobody is a stranger, no silence is lost."""
    before = pseudonyms(populated)
    with driven_agent(populated) as agent:
        people = known(agent)
        assert {silent for _, _, silent in people} == {True, False}
        assert {bool(allowed) for _, allowed, _ in people} == {True, False}
        for generation in (1, 2):
            answer = rotate(agent)
            assert known(agent) == people
            assert answer["rekeyed"] == {"link": len(PEOPLE), "complaint": len(CASES)}
            assert answer["store"]["generation"] == generation
    with driven_agent(populated) as agent:
        assert known(agent) == people
        number, case = next(iter(CASES.items()))
        who = {"kind": {n: k for k, n in PEOPLE}[number], "value": number}
        agent.take(told("desk", "complaint.closed", T0 + 5, "over", visitor=who, complaint=case))
        lifted = [now != then for now, then in zip(known(agent), people, strict=True)]
        assert lifted.count(True) == 1
        assert agent.rows("SELECT count(*) FROM visitor") == [(len(PEOPLE),)]
    assert len(before) == len(PEOPLE) + len(CASES)
    assert not before & pseudonyms(populated)


def test_what_lies_under_a_pseudonym_outlives_a_rotation(populated: Path) -> None:
    """A mark that must recognise somebody across rotations is made from this."""
    kind, number = PEOPLE[0]
    with driven_agent(populated) as agent:
        people, seen = agent.agent._people, []
        for _ in range(3):
            subject = people.subject(ref(kind, number), day="2017-12-02", now_ms=T0)
            assert subject is not None
            seen.append((subject.pseudonym, people.uncovered(subject)))
            rotate(agent)
    assert len({pseudonym for pseudonym, _ in seen}) == 3
    assert {under for _, under in seen} == {seen[0][0]}


def killed_at(folder: Path, line: int) -> bool:
    """Rotates in a process that is killed at so many executed lines; returns whether it was."""
    child = os.fork()
    if child == 0:
        files = {key_desk.__file__, keyring.__file__, keys.__file__}
        n_lines = 0

        def count(frame: FrameType, what: str, _: Any) -> Any:
            nonlocal n_lines
            if frame.f_code.co_filename not in files:
                return None
            n_lines += what == "line"
            if n_lines >= line:
                os.kill(os.getpid(), signal.SIGKILL)
            return count

        with driven_agent(folder) as agent:
            sys.settrace(count)
            rotate(agent)
            sys.settrace(None)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.waitstatus_to_exitcode(status) == 0
    return os.WIFSIGNALED(status)


def test_a_rotation_killed_anywhere_loses_nobody(populated: Path, *, soak: bool) -> None:
    """Killed with -9 at any line of it: the next start matches everybody, and can rotate."""
    with driven_agent(populated) as agent:
        people = known(agent)
    n_killed = 0
    generations = set()
    for line in range(1, 400) if soak else KILLED_AT:
        folder = populated.with_name(f"killed-{line}")
        shutil.copytree(populated, folder)
        was_killed = killed_at(folder, line)
        n_killed += was_killed
        with driven_agent(folder) as agent:
            assert known(agent) == people, line
            generations.add(agent.agent._key_desk.shown(T0)["store"]["generation"])
            rotate(agent)
            assert known(agent) == people, line
        shutil.rmtree(folder)
        if not was_killed:
            break
    # Before its transaction as well as after it.
    assert generations == {0, 1}
    assert n_killed >= len(KILLED_AT) - 1


def matches(folder: Path, ring: keyring.Keyring) -> int:
    """Returns how many people of a state folder somebody with these keys recognises."""
    hasher = Pseudonymiser(
        store_key=ring.inner, day_keys={}, permutation=ring.permutation(), ids_key=None
    )
    found: list[Subject | None] = [
        hasher.subject(ref(kind, number), day="2017-12-02") for kind, number in PEOPLE
    ]
    stored = pseudonyms(folder)
    return sum(each is not None and each.pseudonym in stored for each in found)


def test_old_keys_match_nobody_in_a_new_copy_nor_new_ones_in_an_old(populated: Path) -> None:
    """What was stolen before a rotation is of no use after it, and the reverse."""
    copies, rings = [], []
    for generation in range(3):
        with driven_agent(populated) as agent:
            if generation:
                rotate(agent)
            rings.append(agent.agent._key_desk._keys.ring)
        copies.append(populated.with_name(f"copy-{generation}"))
        shutil.copytree(populated, copies[-1])
    found = [[matches(copy, ring) for ring in rings] for copy in copies]
    assert found == [[12, 0, 0], [0, 12, 0], [0, 0, 12]]


def test_ids_of_visitors_cannot_be_computed_from_their_pseudonyms(populated: Path) -> None:
    """Else an old key would lead to people by their universal ids."""
    with closing(sqlite3.connect(populated / "state.db")) as database:
        rows = database.execute("SELECT pseudonym, visitor FROM link").fetchall()
    assert rows
    for pseudonym, visitor_id in rows:
        assert visitor_id.replace("-", "")[20:] != pseudonym[-12:]
        assert int(pseudonym, 16) & (2**62 - 1) != int(visitor_id.replace("-", ""), 16) & (
            2**62 - 1
        )


@pytest.fixture
def credential(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The store's key as systemd hands it in."""
    folder = tmp_path / "credentials"
    folder.mkdir()
    (folder / "store_key").write_bytes(STORE_KEY)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    return folder / "store_key"


def windows(folder: Path) -> Iterator[bytes]:
    """Yields every 32 bytes that lie together in a file of a folder, and what hex there spells."""
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.name == "reserve":
            continue
        data = path.read_bytes()
        yield from {data[at : at + 32] for at in range(max(1, len(data) - 31))}
        for digits in re.findall(rb"(?=([0-9a-f]{64}))", data):
            yield bytes.fromhex(digits.decode())


@pytest.mark.parametrize("is_rotated", [False, True])
def test_a_copied_disk_without_the_credential_matches_nobody(
    tmp_path: Path, credential: Path, *, is_rotated: bool
) -> None:
    """No bytes anywhere in the state folder are a key under which a known number is found."""
    folder = tmp_path / "state"
    with driven_agent(folder) as agent:
        populate(agent)
        if is_rotated:
            rotate(agent, b"n" * 32)
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    kind, number = PEOPLE[0]
    stored = pseudonyms(copy)
    text = f"{kind}\x00{number}".encode()
    assert is_rotated or hmac.digest(STORE_KEY, text, "sha256").hex()[:32] in stored
    for key in windows(copy):
        assert hmac.digest(key, text, "sha256").hex()[:32] not in stored
    credential.unlink()
    if is_rotated:
        with pytest.raises(ConfigError, match="does not open"), driven_agent(copy):
            pass
        return
    with driven_agent(copy) as agent:
        subject = agent.agent._people.subject(ref(kind, number), day="2017-12-02", now_ms=T0)
        assert subject is not None
        assert agent.agent._state.visitor_of(subject) is None


def test_a_new_credential_takes_over_and_the_old_one_opens_nothing(
    tmp_path: Path, credential: Path
) -> None:
    """Both open the ring until the agent has started with the new one; after that it alone."""
    folder = tmp_path / "state"
    following = b"n" * 32
    with driven_agent(folder) as agent:
        populate(agent)
        people = known(agent)
        with pytest.raises(RequestRefused, match="hands the store's key in"):
            rotate(agent)
        rotate(agent, following)
    with driven_agent(folder) as agent:
        # The command was killed before it put the new credential in place.
        assert known(agent) == people
        assert agent.agent._key_desk.shown(T0)["store"]["slots"] == 2
    credential.write_bytes(following)
    with driven_agent(folder) as agent:
        assert known(agent) == people
        assert agent.agent._key_desk.shown(T0)["store"]["slots"] == 1
    credential.write_bytes(STORE_KEY)
    with pytest.raises(ConfigError, match="does not open"), driven_agent(folder):
        pass


def test_a_database_begun_anew_goes_on_under_the_same_ring(populated: Path) -> None:
    """A rotten database takes its ring along; the one beside it knows everybody's pseudonyms."""
    with driven_agent(populated) as agent:
        rotate(agent)
        ring = agent.agent._key_desk._keys.ring
    (populated / "state.db").write_bytes(b"rotten" * 1_000)
    with driven_agent(populated) as agent:
        assert agent.agent._key_desk._keys.ring == ring
        assert agent.rows("SELECT count(*) FROM meta WHERE key = 'keyring'") == [(1,)]


def test_every_column_of_pseudonyms_is_re_keyed(populated: Path) -> None:
    """A new column of pseudonyms under the store's key must be named where rotations read it."""
    with closing(sqlite3.connect(populated / "state.db")) as database:
        columns = {
            (table, column)
            for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            for _, column, *_ in database.execute(f"PRAGMA table_info({table})")
            if "pseudonym" in column or "hash" in column
        }
    assert columns == {(table, column) for table, column, _ in key_desk.STORE_KEYED}


def files_of(folder: Path) -> bytes:
    """Returns every byte of every file."""
    return b"\n".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_yesterday_s_beacon_cannot_be_matched_and_its_key_is_gone(tmp_path: Path) -> None:
    """The day's key is used for a day; afterwards its bytes lie in no file, in no form."""
    folder = tmp_path / "state"
    with driven_agent(folder) as agent:
        phone = {"kind": "ble", "value": PHONE}
        agent.take(told("ble-1", "zone.entered", T0, "e1", visitor=phone, zone="dairy"))
        agent.take(entered(T0, 7))
        today = (folder / "keys" / "day-2017-12-02.key").read_bytes()
        assert today in files_of(folder)
        (yesterday,) = agent.rows("SELECT pseudonym, visitor FROM link WHERE kind = 'ble'")
        tomorrow_ms = T0 + DAY_MS
        agent.tick(tomorrow_ms)
        agent.idle()
        agent.take(told("ble-1", "zone.entered", tomorrow_ms, "e2", visitor=phone, zone="dairy"))
        late = told("ble-1", "zone.entered", T0 + HOUR_MS, "e3", visitor=phone, zone="dairy")
        agent.take(late)
        links = agent.rows("SELECT pseudonym, visitor FROM link WHERE kind = 'ble'")
        assert len(links) == 2
        (now,) = set(links) - {yesterday}
        assert now[0] != yesterday[0]
        assert now[1] != yesterday[1]
        everything = files_of(folder)
    for form in (today, today.hex().encode(), base64.b64encode(today), today[::-1]):
        assert form not in everything
        assert form not in files_of(folder)
    assert not list((folder / "keys").glob("*2017-12-02*"))


def command(config: Path, *arguments: str) -> dict[str, Any]:
    """Returns what `edge-agent keys …` prints."""
    result = ran("keys", *arguments, "--config", config, "--json")
    assert result.returncode == 0, result.stderr
    return dict(json.loads(result.stdout))


@pytest.mark.broker
def test_the_command_rotates_a_running_agent_that_forgets_nobody(
    tmp_path: Path, credential: Path, broker: Broker
) -> None:
    """`keys rotate`, restart, and a card from before is the same customer; no key is printed."""
    config = tmp_path / "agent.toml"
    with device(broker.port) as till, running_agent(tmp_path, broker.port) as agent:
        card = visitor("loyalty", "6400000009005")
        till.send(event("desk", "consent.granted", visitor=card, purposes=["profiling"]))
        wait_for(lambda: people_in(agent.state) == 1, what="the customer")
        shown = command(config, "show")
        assert shown["store"]["generation"] == 0
        rotated = command(config, "rotate", "--credential", str(credential))
        assert rotated["rekeyed"]["link"] == 1
        new_key = credential.read_bytes()
        assert new_key != STORE_KEY
        agent.stop()
        agent.start()
        after = command(config, "show")
        assert (after["store"]["generation"], after["store"]["slots"]) == (1, 1)
        assert after["store"]["id"] == rotated["key"] != shown["store"]["id"]
        till.send(event("desk", "consent.withdrawn", visitor=card))
        wait_for(lambda: withdrawn_in(agent.state), what="the withdrawal")
        assert people_in(agent.state) == 1
        for text in (json.dumps(rotated), json.dumps(after), agent.log):
            assert new_key.hex() not in text


def people_in(folder: Path) -> int:
    """Returns how many visitors are stored."""
    with closing(sqlite3.connect(folder / "state.db")) as database:
        return int(database.execute("SELECT count(*) FROM visitor").fetchone()[0])


def withdrawn_in(folder: Path) -> int:
    """Returns how many withdrawals are stored."""
    with closing(sqlite3.connect(folder / "state.db")) as database:
        query = "SELECT count(*) FROM consent WHERE granted = 0"
        return int(database.execute(query).fetchone()[0])
