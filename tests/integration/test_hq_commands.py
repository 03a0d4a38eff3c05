"""HQ's commands, report and page, as a person at HQ uses them, on a real mosquitto."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest

from edge_agent.errors import HqError
from edge_agent.hq import schema
from edge_agent.hq.downlink import CommandWriter, Draft
from edge_agent.hq.inbox import UpMessage
from edge_agent.hq.store import HqStore, opened_store
from edge_agent.shell.mqtt_client import Incoming, LinkSettings, MqttLink, Subscription
from edge_agent.shell.signing import demo_private_key, verify_command
from edge_agent.wire import topics
from edge_agent.wire.downlink import AnyCommand
from edge_agent.wire.summaries import (
    CustomerUpdate,
    DeviceState,
    GatewayState,
    Summary,
    SummaryCell,
)
from tests.integration.broker import Broker, running_broker
from tests.integration.commands import ran

pytestmark = pytest.mark.broker

DEADLINE_S: Final = 20.0
POLL_S: Final = 0.01
KEY = demo_private_key()
NOW = datetime(2026, 11, 2, 9, tzinfo=UTC)
CARD: Final = "6400000009005"
CONSENT: Final = {
    "visitor": {"kind": "loyalty", "value": CARD},
    "action": "withdraw",
    "stated_at": "2026-11-02T08:00:00Z",
}
PROGRAM: Final = (sys.executable, "-m", "edge_agent", "hq")


def wait_for(condition: Callable[[], bool]) -> None:
    """Returns as soon as the condition holds; fails when it does not in time."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(POLL_S)


def hq_command(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Runs `edge-agent hq …` to its end."""
    return ran("hq", *arguments, typed=stdin)


@contextmanager
def hq_program(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Runs `edge-agent hq …` until the block ends."""
    with subprocess.Popen(
        [*PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as program:
        try:
            yield program
        finally:
            program.kill()


def answer_of(url: str, *, host: str | None = None) -> tuple[str, str]:
    """The page and its content security policy, asked for under a host name."""
    address = urlsplit(url).netloc
    with closing(http.client.HTTPConnection(address, timeout=DEADLINE_S)) as connection:
        connection.request("GET", "/", headers={"Host": host or address})
        answer = connection.getresponse()
        return answer.read().decode(), answer.headers.get("content-security-policy", "")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """HQ's broker."""
    with running_broker(tmp_path / "broker") as running:
        yield running


@pytest.fixture
def hq(tmp_path: Path) -> Iterator[HqStore]:
    """HQ's database."""
    with closing(opened_store(str(tmp_path / "hq.db"))) as store:
        yield store


@contextmanager
def listening_store(port: int, store: str) -> Iterator[list[AnyCommand | str]]:
    """A store that verifies whatever comes down to it."""
    taken: list[AnyCommand | str] = []
    keys = {"demo": KEY.public_key()}

    def take(message: Incoming) -> None:
        taken.append(verify_command(message.payload, keys=keys))

    link = MqttLink(
        LinkSettings(host="127.0.0.1", port=port, client_id=f"agent-{store}"),
        subscriptions=tuple(
            Subscription(topic_filter=each) for each in topics.hq_down_filters(store)
        ),
        on_message=take,
    )
    link.start()
    assert link.wait_connected(DEADLINE_S)
    yield taken
    link.stop()


def summary(store: str, *, zone: str) -> Summary:
    """An hour's dwell in one zone."""
    cell = SummaryCell(
        keys={"zone": zone}, n_visitors=12, counts={"stays": 20}, sums={"dwell_s": "1300.0"}
    )
    return Summary(
        summary_id=f"{store}-1",
        store=store,
        kind="dwell",
        period_start=NOW,
        period_end=NOW + timedelta(hours=1),
        revision=1,
        k=10,
        cells=(cell,),
    )


def test_sent_command_arrives_signed_and_newer_each_time(broker: Broker, tmp_path: Path) -> None:
    """`hq send` reaches the stores it names, with versions that rise from process to process."""
    place = ("--broker", f"127.0.0.1:{broker.port}", "--database", str(tmp_path / "hq.db"))
    body = ("name=rain", "value:=true", "valid_until=2026-12-02T18:00:00Z")
    fields = [word for field in body for word in ("--set", field)]
    fact = ("send", "fact", *fields, *place, "--key", "demo", "--json")
    with (
        listening_store(broker.port, "s42") as here,
        listening_store(broker.port, "s43") as there,
    ):
        results = [hq_command(*fact, "--store", store) for store in ("s42", "all")]
        assert [result.returncode for result in results] == [0, 0], results[0].stderr
        wait_for(lambda: (len(here), len(there)) == (2, 1))
    first, second = (each for each in here if not isinstance(each, str))
    assert there == [second]
    assert first.kind == "fact"
    assert first.body.value is True
    assert (first.store, second.store) == ("s42", "all")
    assert second.version > first.version
    assert first.expires_at - first.issued_at == timedelta(days=7)
    assert json.loads(results[0].stdout)["command"] == first.command


@pytest.mark.parametrize(
    ("arguments", "exit_code", "said"),
    [
        (("send", "fact", "--store", "s42", "--set", "name=rain"), 1, "valid_until"),
        (("send", "fact", "--store", "s42/#"), 1, "no store's name"),
        (("send", "weather", "--store", "s42"), 2, "one of: ack, profile"),
        (("send", "fact", "--store", "s42", "--body", "absent.json"), 2, "absent.json"),
        (("send", "fact", "--store", "s42", "--set", "value:=rain"), 2, "is no JSON"),
        (("send", "stock", "--store", "s42", "--set", "rows:=[]"), 3, "no broker at"),
    ],
)
def test_send_says_what_is_wrong(
    tmp_path: Path, arguments: tuple[str, ...], exit_code: int, said: str
) -> None:
    """Each kind of mistake has its exit code and names itself."""
    common = ("--key", "demo", "--broker", "127.0.0.1:1", "--database", str(tmp_path / "hq.db"))
    result = hq_command(*arguments, *common)
    assert result.returncode == exit_code, result.stderr
    assert said in result.stderr


def test_customer_is_counted_under_a_keyed_digest(hq: HqStore) -> None:
    """Versions are kept for each customer, and neither command nor database names the card."""
    writer = CommandWriter(hq, KEY, now=lambda: NOW)
    other = CONSENT | {"visitor": {"kind": "loyalty", "value": "6400000009012"}}
    drafts = [Draft(store="s42", kind="consent", body=body) for body in (CONSENT, other, CONSENT)]
    first, stranger, again = writer.commands(drafts)
    assert first.key == again.key != stranger.key
    assert again.version == first.version + 1
    assert stranger.version == first.version
    assert CARD not in first.key
    assert CARD not in str(hq.rows(schema.SELECT_COMMANDS))


def test_bad_body_spends_no_version(hq: HqStore) -> None:
    """One bad draft of a batch leaves nothing of the batch."""
    writer = CommandWriter(hq, KEY, now=lambda: NOW)
    good = Draft(store="s42", kind="consent", body=CONSENT)
    with pytest.raises(HqError):
        writer.commands([good, Draft(store="s42", kind="consent", body={"action": "grant"})])
    assert hq.rows(schema.SELECT_COMMANDS) == []
    (command,) = writer.commands([good])
    assert command.version == int(NOW.timestamp() * 1000)


def test_run_receives_and_ends_with_its_counts(broker: Broker, tmp_path: Path) -> None:
    """`hq run` keeps what comes, and on SIGTERM ends with exit code 0 and what it did."""
    place = ("--broker", f"127.0.0.1:{broker.port}", "--database", str(tmp_path / "run.db"))
    messages: tuple[UpMessage, ...] = (
        summary("s42", zone="dairy"),
        GatewayState(state_id="g-1", store="s42", at=NOW, version="0.1.0", health="good"),
    )
    with (
        listening_store(broker.port, "s42") as taken,
        hq_program("run", "--key", "demo", *place, "--client-id", "hq-run", "--json") as program,
    ):
        sender = MqttLink(LinkSettings(host="127.0.0.1", port=broker.port, client_id="sender"))
        sender.start()

        def is_acknowledged() -> bool:
            # Sent again until it is, as the outbox does: the program may not have subscribed yet.
            sender.publish(
                topics.hq_summary("s42", "dwell"), messages[0].model_dump_json().encode()
            )
            sender.publish(topics.hq_up("s42", "state"), messages[1].model_dump_json().encode())
            return bool(taken)

        wait_for(is_acknowledged)
        sender.stop()
        program.send_signal(signal.SIGTERM)
        output, problems = program.communicate(timeout=DEADLINE_S)
    assert program.returncode == 0, problems
    assert json.loads(output)["n_summaries"] >= 1
    report = hq_command("report", "--database", str(tmp_path / "run.db"), "--json")
    assert report.returncode == 0
    figures = json.loads(report.stdout)["figures"]
    assert {each["name"]: each["value"] for each in figures} == {
        "n_visitors": "12",
        "stays": "20",
        "dwell_s": "1300",
    }


def test_run_deletes_what_is_older_than_it_keeps(broker: Broker, tmp_path: Path) -> None:
    """`hq run --keep-days` deletes at its start; a period shorter than repeats take is refused."""
    path = tmp_path / "run.db"
    now = datetime.now(UTC)
    with closing(opened_store(str(path))) as hq:
        for days in (7, 9):
            update = CustomerUpdate(
                update_id=f"u-{days}",
                reference=f"crm-{days}",
                store="s42",
                activity_date="2026-11-01",
                revision=1,
            )
            hq.take([update], received_at=now - timedelta(days=days))
    place = ("--broker", f"127.0.0.1:{broker.port}", "--database", str(path), "--key", "demo")
    assert hq_command("run", *place, "--keep-days", "7").returncode == 2
    with (
        hq_program("run", *place, "--keep-days", "8"),
        closing(opened_store(str(path))) as hq,
    ):
        wait_for(lambda: hq.counts()["customer"] == 1)
        assert [row["reference"] for row in hq.rows(schema.SELECT_CUSTOMERS)] == ["crm-7"]


def test_report_compares_stores_in_words(hq: HqStore, tmp_path: Path) -> None:
    """The table shows each store, its mean stay as people say it, and the shared zone."""
    hq.take([summary("s42", zone="dairy"), summary("s43", zone="dairy")], received_at=NOW)
    result = hq_command("report", "--database", str(tmp_path / "hq.db"))
    assert result.returncode == 0
    assert all(text in result.stdout for text in ("s42", "s43", "dairy", "1 min 05 s"))


def test_report_of_nothing_is_told_by_its_exit_code(hq: HqStore, tmp_path: Path) -> None:
    """No match is 1, no database 2."""
    hq.take([summary("s42", zone="dairy")], received_at=NOW)
    here = ("--database", str(tmp_path / "hq.db"))
    assert hq_command("report", *here, "--store", "s99").returncode == 1
    assert hq_command("report", *here, "--day", "2026-11-02").returncode == 0
    assert hq_command("report", "--database", str(tmp_path / "absent.db")).returncode == 2


def test_page_escapes_what_stores_send(hq: HqStore, tmp_path: Path) -> None:
    """A store's texts are shown as text, on the machine's own address alone."""
    hq.take([summary("s42", zone="<script>alert(1)</script>")], received_at=NOW)
    place = ("--database", str(tmp_path / "hq.db"), "--port", "0")
    with hq_program("dashboard", *place) as program:
        assert program.stdout is not None
        url = program.stdout.readline().strip()
        page, policy = answer_of(url)
        assert "<script" not in page
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
        assert "default-src 'none'" in policy
        assert answer_of(url, host="shop.example")[0] == "Invalid host header"
        program.send_signal(signal.SIGTERM)
        program.communicate(timeout=DEADLINE_S)
    assert program.returncode == 0


def test_devices_with_trouble_are_shown_and_the_others_counted(
    tmp_path: Path, hq: HqStore
) -> None:
    """In the report, in its JSON and on the page; of one store all of them."""
    silent = DeviceState(device="door <b>", last_seen=NOW, per_hour=0.5, is_silent=True)
    well = DeviceState(device="till-1", last_seen=NOW, per_hour=90, skew_s=0.2)
    told = GatewayState(
        state_id="s42-1", store="s42", at=NOW, version="1", health="degraded",
        problems=("device_silent:door <b>", "mapping_refused"), devices=(well, silent),
    )  # fmt: skip
    hq.take([told], received_at=NOW)
    place = ("--database", str(tmp_path / "hq.db"))
    report = json.loads(hq_command("report", *place, "--json").stdout)
    assert [(each["device"], each["troubles"]) for each in report["devices"]] == [
        ("door <b>", ["silent"]),
        ("till-1", []),
    ]
    shown = hq_command("report", *place).stdout
    assert "till-1" not in shown
    assert "till-1" in hq_command("report", *place, "--store", "s42").stdout
    with hq_program("dashboard", *place, "--port", "0") as program:
        assert program.stdout is not None
        page, _ = answer_of(program.stdout.readline().strip())
    assert "<b>" not in page
    assert "door &lt;b&gt;" in page
    assert "1 of 2 with trouble" in page
    assert "devices, mapping_refused" in page
    assert "Well and not shown: 1" in page


def test_new_key_is_private_and_never_overwritten(tmp_path: Path) -> None:
    """`hq keygen` writes a key for its owner alone, prints the public one, and only once."""
    path = tmp_path / "hq.pem"
    first = hq_command("keygen", str(path), "--json")
    written = path.read_bytes()
    assert first.returncode == 0
    assert len(json.loads(first.stdout)["public_key"]) == 43
    assert path.stat().st_mode & 0o077 == 0
    assert hq_command("keygen", str(path)).returncode == 2
    assert path.read_bytes() == written
