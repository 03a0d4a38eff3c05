"""The bridge's file way in: real files, a real process killed anywhere, a real broker."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.waiting import wait_for
from tests.integration.bridge_process import BridgeProcess, heard, running_bridge, watcher
from tests.integration.broker import Broker, keeps_sessions
from tests.integration.enrolled import Client, Login

pytestmark = pytest.mark.broker

HARDWARE: Final = Path(__file__).parents[2] / "hardware"
LIMIT: Final = 50_000
FOLDER: Final = f"""
[folders.poslog]
path = "@DROP@"
pattern = "{{till}}-*.xml"
topic = "pos/{{till}}/poslog"
document = "xml"
settle_s = 0.2
complete_within_s = 0.6
poll_s = 0.05
max_bytes = {LIMIT}
"""
EAGER: Final = FOLDER.replace("settle_s = 0.2", "settle_s = 0")
PATIENT: Final = FOLDER.replace("complete_within_s = 0.6", "complete_within_s = 600")
RENAMES_A_FILE: Final = 2
"""Into `working`, and out of it."""


@pytest.fixture
def bridge(tmp_path: Path, broker: Broker) -> Iterator[BridgeProcess]:
    """A bridge that watches a folder, linked to its broker."""
    with running_bridge(tmp_path / "bridge", FOLDER, broker_port=broker.port) as running:
        yield running


def _receipt(number: int, *, sized: int = 0) -> bytes:
    line = (HARDWARE / "arts-poslog" / "samples.jsonl").read_text().splitlines()[0]
    text: str = json.loads(line)["payload"]
    for name in ("SequenceNumber", "ReceiptNumber"):
        assert f"<{name}>11</{name}>" in text
        text = text.replace(f"<{name}>11<", f"<{name}>{number}<")
    return f"{text}<!--{'x' * sized}-->\r\n".encode()


def _is_empty(bridge: BridgeProcess) -> bool:
    left = [each for each in bridge.drop.iterdir() if each.is_file() or each.is_symlink()]
    return not left and not bridge.names("working")


def test_a_file_reaches_the_broker_unchanged_and_is_done(
    bridge: BridgeProcess, broker: Broker
) -> None:
    """The same bytes, on its till's topic, once; the file lies in `done` as it was."""
    content = _receipt(1)
    with watcher(broker, "#") as client:
        bridge.drop_file("3-20260302.xml", content)
        assert heard(client, 1) == [("pos/3/poslog", content)]
        wait_for(lambda: bridge.names("done") == ["3-20260302.xml"], "the file is done")
        assert client.got.empty()
    assert next((bridge.drop / "done").iterdir()).read_bytes() == content
    assert bridge.health()["folders"]["poslog"]["delivered"] == 1


def test_a_file_is_left_alone_until_it_has_settled(tmp_path: Path, broker: Broker) -> None:
    """A till that writes in pieces is read once and whole, where nothing tells half from whole."""
    sections = FOLDER.replace('"xml"', '"any"').replace("settle_s = 0.2", "settle_s = 3")
    content = _receipt(1)
    with (
        running_bridge(tmp_path / "bridge", sections, broker_port=broker.port) as bridge,
        watcher(broker, "#") as client,
        (bridge.drop / "3-slow.xml").open("wb") as file,
    ):
        for start in range(0, len(content), 400):
            file.write(content[start : start + 400])
            file.flush()
            _another_turn(bridge)
        assert heard(client, 1) == [("pos/3/poslog", content)]
        wait_for(lambda: bridge.names("done") == ["3-slow.xml"], "the file is done")
        assert client.got.empty()


def test_half_a_document_waits_for_its_other_half(tmp_path: Path, broker: Broker) -> None:
    """A till that pauses longer than the settling time is still read whole."""
    content = _receipt(1)
    with (
        running_bridge(tmp_path / "bridge", PATIENT, broker_port=broker.port) as bridge,
        watcher(broker, "#") as client,
    ):
        path = bridge.drop / "3-slow.xml"
        path.write_bytes(content[:500])
        bridge.drop_file("3-other.xml", _receipt(2))
        # It settled after the half one, and is through.
        assert heard(client, 1) == [("pos/3/poslog", _receipt(2))]
        with path.open("ab") as file:
            file.write(content[500:])
        assert heard(client, 1) == [("pos/3/poslog", content)]
        wait_for(lambda: len(bridge.names("done")) == 2, "both are done")
        assert client.got.empty()


def test_names_of_unfinished_files_and_others_are_left_alone(
    bridge: BridgeProcess, broker: Broker
) -> None:
    """Hidden, `.part`, `.tmp`, `~` and what fits no pattern stay where they are."""
    names = [
        ".3-a.xml",
        "3-a.xml.part",
        "3-a.xml.tmp",
        "3-a.xml~",
        "readme.txt",
        "3-a.XML.filepart",
    ]
    for name in names:
        (bridge.drop / name).write_bytes(_receipt(1))
    (bridge.drop / "3-folder.xml").mkdir()
    with watcher(broker, "#") as client:
        bridge.drop_file("3-b.xml", _receipt(2))
        assert heard(client, 1) == [("pos/3/poslog", _receipt(2))]
        assert client.got.empty()
    left = {each.name for each in bridge.drop.iterdir()}
    assert left == {*names, "3-folder.xml", "working", "done", "refused"}


def test_what_cannot_be_published_is_refused_with_its_reason(
    bridge: BridgeProcess, broker: Broker
) -> None:
    """Too large, half written, empty, a link, a pipe: moved aside, said why; the next goes on."""
    (bridge.drop / "3-large.xml").write_bytes(_receipt(1, sized=LIMIT))
    (bridge.drop / "3-half.xml").write_bytes(_receipt(1)[:-200])
    (bridge.drop / "3-empty.xml").write_bytes(b"")
    (bridge.drop / "3-link.xml").symlink_to("/etc/passwd")
    (bridge.drop / "3-dangling.xml").symlink_to("/nowhere")
    os.mkfifo(bridge.drop / "3-pipe.xml")
    (bridge.drop / "3 4-level.xml").write_bytes(_receipt(1))
    (bridge.drop / "#-level.xml").write_bytes(_receipt(1))
    (bridge.drop / f"3-{'n' * 240}.xml").write_bytes(_receipt(1))
    bridge.drop_file("3-good.xml", _receipt(2))
    with watcher(broker, "#") as client:
        assert heard(client, 1) == [("pos/3/poslog", _receipt(2))]
        wait_for(lambda: _is_empty(bridge), "the folder is empty")
        assert client.got.empty()
    assert bridge.names("done") == ["3-good.xml"]
    reasons = {
        "3-large.xml": "too_large",
        "3-half.xml": "no_whole_xml",
        "3-empty.xml": "empty",
        "3-link.xml": "link",
        "3-dangling.xml": "link",
        "3-pipe.xml": "no_regular_file",
        "3 4-level.xml": "name_fits_no_topic",
        "#-level.xml": "name_fits_no_topic",
        f"3-{'n' * 198}": "name_too_long",
    }
    assert {name: bridge.reason(name) for name in reasons} == reasons
    assert Path("/etc/passwd").is_file()


@contextmanager
def _bridge_that_is_not_root(
    folder: Path, broker: Broker, sections: str
) -> Iterator[BridgeProcess]:
    """Root may read everything: when the tests run as root, the bridge goes without that."""
    before: tuple[str, ...] = ()
    if os.geteuid() == 0:
        setpriv = shutil.which("setpriv")
        assert setpriv is not None, "setpriv is missing: install util-linux"
        before = (setpriv, "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all")
    folder.mkdir()
    bridge = BridgeProcess(
        folder=folder, sections=sections, broker_port=broker.port, before=before
    )
    bridge.start()
    try:
        bridge.wait_linked()
        yield bridge
    finally:
        bridge.kill()


def test_a_file_that_may_not_be_read_is_refused_after_a_while(
    tmp_path: Path, broker: Broker
) -> None:
    """A file of somebody else's is not read by other rights than the bridge's own."""
    with _bridge_that_is_not_root(tmp_path / "bridge", broker, FOLDER) as bridge:
        secret = bridge.drop / ".3-secret"
        secret.write_bytes(_receipt(1))
        secret.chmod(0)
        secret.rename(bridge.drop / "3-secret.xml")
        wait_for(lambda: "3-secret.xml" in bridge.names("refused"), "the file is refused")
        assert bridge.reason("3-secret.xml") == "unreadable: Permission denied"


def test_a_file_that_is_made_readable_late_is_taken(tmp_path: Path, broker: Broker) -> None:
    """A writer may set the rights last."""
    with (
        _bridge_that_is_not_root(tmp_path / "bridge", broker, PATIENT) as bridge,
        watcher(broker, "#") as client,
    ):
        late = bridge.drop / "3-late.xml"
        partial = bridge.drop / ".3-late"
        partial.write_bytes(_receipt(2))
        partial.chmod(0)
        partial.rename(late)
        _some_turns(bridge)
        assert client.got.empty()
        late.chmod(0o644)
        assert heard(client, 1) == [("pos/3/poslog", _receipt(2))]


def test_names_in_any_script_and_none_are_taken(tmp_path: Path, broker: Broker) -> None:
    """Unicode, quotes, newlines, bytes that are no UTF-8: each file once, nothing else touched."""
    sections = FOLDER.replace("{till}-*.xml", "*").replace("{till}", "till")
    names = [
        "Käyttäjä ☕.xml",
        "收据.xml",
        "a'b\"c;$(touch x).xml",
        "two\nlines.xml",
        "x\udcff\udcfe.xml",
        "-rf",
    ]
    with running_bridge(tmp_path / "bridge", sections, broker_port=broker.port) as bridge:
        with watcher(broker, "#") as client:
            for number, name in enumerate(names):
                bridge.drop_file(name, _receipt(number))
            came = heard(client, len(names))
            wait_for(lambda: _is_empty(bridge), "the folder is empty")
            assert sorted(came) == sorted(
                ("pos/till/poslog", _receipt(n)) for n in range(len(names))
            )
            assert client.got.empty()
        assert bridge.names("done") == sorted(names)


def test_the_same_name_again_is_another_file(bridge: BridgeProcess, broker: Broker) -> None:
    """A till that always writes `3-receipt.xml` loses none of them."""
    with watcher(broker, "#") as client:
        for number in range(5):
            bridge.drop_file("3-receipt.xml", _receipt(number))
            assert heard(client, 1) == [("pos/3/poslog", _receipt(number))]
        wait_for(lambda: len(bridge.names("done")) == 5, "all are done")


def test_without_the_broker_files_wait_where_they_are(tmp_path: Path) -> None:
    """Nothing is moved while the broker is away; then all go, the oldest first."""
    broker = Broker(folder=tmp_path / "broker", config=keeps_sessions())
    broker.start()
    login = Login(port=broker.port, name="watcher")
    with Client(login, session_s=3_600) as client:
        client.subscribe(["#"])
    broker.stop()
    with running_bridge(
        tmp_path / "bridge", EAGER, broker_port=broker.port, has_broker=False
    ) as bridge:
        for number in range(5):
            path = bridge.drop_file(f"3-{9 - number}.xml", _receipt(number))
            os.utime(path, (1_000_000 + number, 1_000_000 + number))
        wait_for(lambda: _waiting(bridge) == 5, "all were seen")
        bridge.drop_file("3-x.xml", _receipt(5))
        wait_for(lambda: _waiting(bridge) == 6, "another turn was made")
        assert len(list(bridge.drop.glob("3-*.xml"))) == 6
        broker.start()
        try:
            wait_for(lambda: len(bridge.names("done")) == 6, "all are done")
            with Client(login, session_s=3_600) as client:
                assert [body for _, body in heard(client, 6)] == [_receipt(n) for n in range(6)]
        finally:
            broker.stop()


def _waiting(bridge: BridgeProcess) -> int:
    return int(bridge.health()["folders"]["poslog"]["waiting"])


def test_a_message_that_nobody_gets_keeps_its_file(tmp_path: Path, broker: Broker) -> None:
    """Without a subscriber a file stays in `working`, until there is one."""
    with running_bridge(tmp_path / "bridge", EAGER, broker_port=broker.port) as bridge:
        bridge.drop_file("3-a.xml", _receipt(1))
        wait_for(
            lambda: "nobody_subscribes" in bridge.health()["folders"]["poslog"], "it was tried"
        )
        assert bridge.names("working") == ["3-a.xml"]
        with watcher(broker, "#") as client:
            assert heard(client, 1) == [("pos/3/poslog", _receipt(1))]
            wait_for(lambda: bridge.names("done") == ["3-a.xml"], "the file is done")


@pytest.mark.parametrize("rename", range(1, 2 * RENAMES_A_FILE + 1))
def test_a_kill_at_any_rename_loses_nothing(tmp_path: Path, broker: Broker, rename: int) -> None:
    """Killed as each rename returns, the next start delivers what is left; bytes never differ."""
    strace = shutil.which("strace")
    assert strace is not None, "strace is missing: run tests/tools/setup.sh"
    calls = "rename,renameat,renameat2"
    inject = f"inject={calls}:signal=SIGKILL:when={rename}"
    folder = tmp_path / "bridge"
    folder.mkdir()
    bridge = BridgeProcess(
        folder=folder,
        sections=EAGER,
        broker_port=broker.port,
        before=(
            strace,
            "-f",
            "-qq",
            "-o",
            str(folder / "calls"),
            "-e",
            f"trace={calls}",
            "-e",
            inject,
        ),
    )
    receipts = [_receipt(1), _receipt(2)]
    with watcher(broker, "#") as client:
        bridge.write()
        for number, receipt in enumerate(receipts):
            bridge.drop_file(f"3-{number}.xml", receipt)
        bridge.start()
        try:
            bridge.wait_ended()
            bridge.before = ()
            bridge.start()
            wait_for(lambda: len(bridge.names("done")) == 2, "both are done")
            assert _is_empty(bridge)
        finally:
            bridge.kill()
        came = [body for _, body in _all_heard(client)]
    assert set(came) == set(receipts)
    assert len(came) <= len(receipts) + 1


def test_kills_at_random_lose_nothing_and_the_mapping_makes_each_sale_once(
    tmp_path: Path, broker: Broker, *, soak: bool
) -> None:
    """Killed again and again in the middle, every receipt arrives; each is one event."""
    n_kills = 100 if soak else 6
    chance = random.Random(20260302)
    receipts = {f"3-{number}.xml": _receipt(number) for number in range(20 * n_kills)}
    folder = tmp_path / "bridge"
    folder.mkdir()
    bridge = BridgeProcess(folder=folder, sections=EAGER, broker_port=broker.port)
    bridge.write()
    names = iter(receipts.items())
    with watcher(broker, "pos/#") as client:
        for _ in range(n_kills):
            bridge.start()
            enough = len(bridge.names("done")) + chance.randrange(1, 20)
            for name, content in [next(names) for _ in range(20)]:
                bridge.drop_file(name, content)
            wait_for(partial(_has_done, bridge, enough), "some are done")
            bridge.kill()
        bridge.start()
        wait_for(lambda: len(bridge.names("done")) == len(receipts), "all are done")
        assert _is_empty(bridge)
        assert bridge.stop() == 0
        came = _all_heard(client)
    assert {body for _, body in came} == set(receipts.values())
    events = _mapped(came)
    assert {event["id"] for event in events} == {
        event["id"] for event in _mapped(sorted(set(came)))
    }
    assert len({event["id"] for event in events}) == len(receipts)


def test_done_and_refused_are_kept_within_bounds(tmp_path: Path, broker: Broker) -> None:
    """Older or more than allowed are deleted at the next start; 0 days keep nothing at all."""
    sections = EAGER + "done_keep_files = 3\nrefused_keep_files = 2\n"
    with running_bridge(tmp_path / "bridge", sections, broker_port=broker.port) as bridge:
        with watcher(broker, "#") as client:
            for number in range(6):
                bridge.drop_file(f"3-{number}.xml", _receipt(number))
                heard(client, 1)
                (bridge.drop / f"3-bad-{number}.xml").write_bytes(b"<")
            wait_for(lambda: len(bridge.names("refused")) == 12, "all bad ones are refused")
            wait_for(lambda: len(bridge.names("done")) == 6, "all good ones are done")
        bridge.kill()
        old = bridge.drop / "done" / "1000000000000-000001-3-old.xml"
        old.write_bytes(b"<old/>")
        bridge.start()
        wait_for(lambda: len(bridge.names("done")) == 3, "three are left")
        wait_for(lambda: len(bridge.names("refused")) == 4, "two are left, and their reasons")
        assert bridge.names("done") == ["3-3.xml", "3-4.xml", "3-5.xml"]
        bridge.kill()
        bridge.sections = EAGER + "done_keep_days = 0\n"
        bridge.start()
        bridge.wait_linked()
        with watcher(broker, "#") as client:
            bridge.drop_file("3-7.xml", _receipt(7))
            heard(client, 1)
            wait_for(lambda: _is_empty(bridge), "the file is gone")
        wait_for(lambda: bridge.names("done") == [], "nothing is kept")


def test_a_second_bridge_keeps_off_the_folder(bridge: BridgeProcess, broker: Broker) -> None:
    """Two bridges on one folder would publish everything twice: the second says so and waits."""
    more = bridge.filled(bridge.sections)
    with running_bridge(bridge.folder / "second", more, broker_port=broker.port) as second:
        wait_for(
            lambda: "another bridge" in (second.health()["folders"]["poslog"]["trouble"] or ""),
            "it says who has the folder",
        )
        assert second.health()["status"] == "folder_unavailable"


def test_a_missing_folder_stops_nothing_and_is_found_when_it_comes(
    tmp_path: Path, broker: Broker
) -> None:
    """A share that is not mounted yet is told, and watched once it is there."""
    with running_bridge(tmp_path / "bridge", EAGER, broker_port=broker.port) as bridge:
        wait_for((bridge.drop / "done").is_dir, "the folder is watched")
        shutil.rmtree(bridge.drop)
        wait_for(lambda: bridge.health()["folders"]["poslog"]["trouble"] is not None, "it is told")
        bridge.drop.mkdir()
        with watcher(broker, "#") as client:
            bridge.drop_file("3-a.xml", _receipt(1))
            assert heard(client, 1) == [("pos/3/poslog", _receipt(1))]


def test_a_link_in_the_place_of_a_folder_is_not_followed(tmp_path: Path, broker: Broker) -> None:
    """Who may write into the drop cannot make the bridge write elsewhere."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    folder = tmp_path / "bridge"
    (folder / "drop").mkdir(parents=True)
    (folder / "drop" / "done").symlink_to(elsewhere)
    with running_bridge(folder, EAGER, broker_port=broker.port) as bridge:
        bridge.drop_file("3-a.xml", _receipt(1))
        wait_for(lambda: bridge.health()["folders"]["poslog"]["trouble"] is not None, "it is told")
        assert (bridge.drop / "3-a.xml").is_file()
    assert list(elsewhere.iterdir()) == []


def test_logs_hold_nothing_of_a_file(bridge: BridgeProcess, broker: Broker) -> None:
    """Delivered or refused, a receipt's text stays out of the log and of the reason."""
    with watcher(broker, "#") as client:
        bridge.drop_file("3-good.xml", _receipt(1))
        (bridge.drop / "3-bad.xml").write_bytes(b"<Customer>Jane Roe")
        heard(client, 1)
        wait_for(lambda: "3-bad.xml" in bridge.names("refused"), "the bad one is refused")
    told = next((bridge.drop / "refused").glob("*.reason.json")).read_text()
    assert "Jane" not in bridge.log + told
    assert "6400000000002" not in bridge.log


def _has_done(bridge: BridgeProcess, n: int) -> bool:
    return len(bridge.names("done")) >= n


def _another_turn(bridge: BridgeProcess) -> None:
    """Returns after the bridge has seen a file that was not there, and then that it is gone."""
    probe = bridge.drop / "3-probe.xml"
    probe.touch()
    wait_for(lambda: _waiting(bridge) == 2, "the probe is seen")
    probe.unlink()
    wait_for(lambda: _waiting(bridge) == 1, "the probe is gone")


def _some_turns(bridge: BridgeProcess) -> None:
    """Returns after the folder was looked at a few times: a file made now has come by then."""
    probe = bridge.drop / "3-probe.xml"
    probe.symlink_to("/nowhere")
    wait_for(lambda: not probe.is_symlink(), "the probe is refused")


def _all_heard(client: Client) -> list[tuple[str, bytes]]:
    # The answer to a subscription is the barrier: the broker writes to a connection in order.
    client.subscribe(["barrier"])
    came = []
    while not client.got.empty():
        came.append(client.got.get())
    return came


def _mapped(messages: list[tuple[str, bytes]]) -> list[dict[str, str]]:
    lines = "".join(
        json.dumps({"topic": topic, "payload": body.decode()}) + "\n" for topic, body in messages
    )
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "edge_agent",
            "map",
            "-m",
            str(HARDWARE / "arts-poslog" / "mapping.toml"),
        ],
        input=lines,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]
