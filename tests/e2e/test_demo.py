"""The demo as a person starts it: one command, and a report that its databases bear out."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final
from urllib.request import urlopen

import pytest

from tests.e2e.waiting import wait_for

DEADLINE_S: Final = 240.0
COMMAND: Final = (sys.executable, "-P", "-m", "edge_agent", "demo", "--port", "0")
SMALL: Final = ("--baskets", "20", "--seed", "3")
DEVICES: Final = frozenset({"ble", "wifi", "track", "basket"})
SERVED: Final = frozenset({"screen", "receipt"})
EXAMPLE: Final = Path(__file__).parents[2] / "provisioning" / "policy.example.toml"
STILL_UP: Final = re.compile(r"Still up: (\S+) ")


@dataclass(frozen=True, slots=True)
class Demo:
    """A demo that has ended well, and where its state is."""

    report: dict[str, Any]
    printed: str
    state: Path

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of the agent's database."""
        return rows(self.state / "agent" / "state.db", sql)

    def hq_rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of HQ's database."""
        return rows(self.state / "hq.db", sql)


def rows(database: Path, sql: str) -> list[tuple[Any, ...]]:
    """What a database says."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return connection.execute(sql).fetchall()


def run(*options: str) -> subprocess.CompletedProcess[str]:
    """The command, until it ends."""
    return subprocess.run(
        [*COMMAND, *options], capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """A small demo with repeated events, as fast as it goes."""
    state = tmp_path_factory.mktemp("demo") / "state"
    options = (*SMALL, "--speed", "max", "--duplicates", "0.05", "--json")
    done = run(*options, "--state", str(state))
    assert done.returncode == 0, done.stderr
    return Demo(json.loads(done.stdout), done.stdout + done.stderr, state)


def test_every_event_is_accounted_for(demo: Demo) -> None:
    """Each event is taken in once, its repeats are recognised, and none is lost or refused."""
    events = demo.report["events"]
    ((n_inbox,),) = demo.rows("SELECT count(*) FROM inbox")
    assert events["accepted"] == n_inbox > 0
    assert events["duplicates"] > 0
    assert events["published"] == events["accepted"] + events["duplicates"]
    assert events["dead_letters"] == events["too_late"] == 0
    assert demo.report["is_complete"] is True
    assert demo.report["bytes_in"] > demo.report["hq"]["bytes"] > 0


def test_people_and_visits_are_those_of_the_database(demo: Demo) -> None:
    """Each visit belongs to a person, who is identified only through a consented card."""
    kinds = dict(demo.rows("SELECT id, kind FROM visitor"))
    links = dict(
        demo.rows(
            "SELECT pseudonym, visitor FROM link WHERE kind = 'visitor' AND until_ms IS NULL"
        )
    )
    visits = demo.rows("SELECT visitor FROM visit")
    people = {links.get(visitor, visitor) for (visitor,) in visits}
    n_identified = sum(kinds[person] not in DEVICES for person in people)
    assert demo.report["visits"] == len(visits) == 20
    assert demo.report["visitors"] == {
        "identified": n_identified,
        "unidentified": len(people) - n_identified,
    }
    assert n_identified > 0


def test_hits_are_the_pairs_that_were_served_and_paid_for(demo: Demo) -> None:
    """Shown and bought are recounted from the decisions' records and the sales themselves."""
    counted = demo.report["recommendations"]
    sold = _sold_by_visitor(demo)
    for served, shown, bought in (
        ("chosen", "shown", "bought_after"),
        ("popular", "popularity_shown", "popularity_bought_after"),
    ):
        pairs, hits = set(), set()
        for (text,) in demo.rows("SELECT record FROM decision WHERE visitor IS NOT NULL"):
            record = json.loads(text)
            if record["place"]["channel"] not in SERVED:
                continue
            for product in record[served]:
                pair = (record["visit"] or record["visitor"], product)
                pairs.add(pair)
                sales = sold.get(record["visitor"], ())
                if any(product in what and record["now"] <= at_ms for at_ms, what in sales):
                    hits.add(pair)
        assert counted[shown] == len(pairs) > 0
        assert counted[bought] == len(hits) <= len(pairs)


def _sold_by_visitor(demo: Demo) -> dict[str, list[tuple[int, frozenset[str]]]]:
    found: dict[str, list[tuple[int, frozenset[str]]]] = {}
    for visitor, at_ms, products in demo.rows(
        "SELECT b.carrier, s.completed_at_ms, json_group_array(l.product) FROM basket b"
        " JOIN sale s ON s.basket = b.id JOIN sale_line l ON l.basket = b.id GROUP BY b.id"
    ):
        found.setdefault(visitor, []).append((at_ms, frozenset(json.loads(products))))
    return found


def test_decisions_alerts_and_hq_are_those_of_the_databases(demo: Demo) -> None:
    """What was decided, told to staff and sent to HQ is what the two databases hold."""
    report = demo.report
    decided = dict(demo.rows("SELECT visitor IS NULL, count(*) FROM decision GROUP BY 1"))
    assert (report["decisions"], report["store_defaults"]) == (decided[0], decided[1])
    assert [(report["staff_alerts"],)] == demo.rows("SELECT count(*) FROM alert")
    ((n_on_screens,),) = demo.rows(
        "SELECT count(*) FROM decision WHERE channel = 'screen' AND level != 'silence'"
    )
    messages = report["screen_messages"]
    assert n_on_screens == messages["decided"] >= messages["received"] > 0
    hq = report["hq"]
    assert demo.hq_rows(
        "SELECT (SELECT count(*) FROM summaries), (SELECT count(*) FROM customers)"
    ) == [(hq["summaries"], hq["customers"])]
    assert hq["summaries"] > 0
    assert demo.rows("SELECT count(*) FROM outbox WHERE link = 'hq'") == [(0,)]


def test_latency_and_memory_are_measured(demo: Demo) -> None:
    """Some recommendations were timed, in order, and the agent's memory is that of a process."""
    latency = demo.report["latency_ms"]
    assert latency["n"] > 0
    assert 0 < latency["p50"] <= latency["p99"] < demo.report["wall_s"] * 1000
    assert 20 < demo.report["memory_mb"] < 1000


def test_contents_that_were_not_sent_in_time_are_told_beside_the_latency(demo: Demo) -> None:
    """At full speed some are over before their turn: counted, defined, and not among the timed."""
    messages, n_late = demo.report["screen_messages"], demo.report["not_sent_in_time"]
    ((counted,),) = demo.rows(
        "SELECT value FROM meta WHERE key = 'counter.screen_messages_expired'"
    )
    assert n_late == int(counted) > 0
    assert messages["received"] + n_late <= messages["decided"]
    defined = demo.report["definitions"]
    assert "not sent in time" in defined["latency_ms"]
    assert "not_sent_in_time" in defined


def test_report_says_what_is_simulated_and_claims_no_effect(demo: Demo) -> None:
    """Real and simulated are told apart, every number is defined, and a hit is called a hit."""
    report = demo.report
    assert report["real"]
    assert report["simulated"]
    defined = report["definitions"]
    for name in ("shown", "bought_after", "popularity_bought_after"):
        assert f"recommendations.{name}" in defined
    assert "hits" in defined["recommendations.bought_after"]
    help_text = run("--help").stdout
    for text in (demo.printed, help_text):
        assert "uplift" not in text.lower()


def test_same_day_and_seed_decide_the_same_at_another_speed(demo: Demo, tmp_path: Path) -> None:
    """Without the repeated events and at another speed every record is the same, byte for byte."""
    done = run(*SMALL, "--speed", "9000", "--state", str(tmp_path / "again"))
    assert done.returncode == 0, done.stderr
    assert "bought after" in done.stdout
    sql = "SELECT id, record FROM decision ORDER BY id"
    again = rows(tmp_path / "again" / "agent" / "state.db", sql)
    assert again == demo.rows(sql)


def test_ctrl_c_reports_what_was_played_and_leaves_no_process(tmp_path: Path) -> None:
    """An interrupted demo says so, ends with code 1, and takes its children along."""
    state = tmp_path / "state"
    with started(*SMALL, "--speed", "max", "--json", "--state", str(state)) as child:
        assert child.stderr is not None
        assert "http://" in child.stderr.readline()
        wait_for(lambda: n_taken_in(state) > 200, "the agent takes events in")
        os.killpg(child.pid, signal.SIGINT)
        out, err = child.communicate(timeout=DEADLINE_S)
    assert child.returncode == 1, err
    report = json.loads(out)
    assert report["is_complete"] is False
    assert report["events"]["published"] == report["events"]["accepted"] > 0
    assert processes_of_group(child.pid, naming=str(state)) == []


def test_sigterm_ends_everything_at_once(tmp_path: Path) -> None:
    """A service manager's signal, sent to the brokers as well, ends the demo without a report."""
    state = tmp_path / "state"
    with started(*SMALL, "--speed", "100", "--state", str(state)) as child:
        assert child.stderr is not None
        assert "http://" in child.stderr.readline()
        os.killpg(child.pid, signal.SIGTERM)
        out, _ = child.communicate(timeout=DEADLINE_S)
    assert child.returncode == 128 + signal.SIGTERM
    assert out == ""
    assert processes_of_group(child.pid, naming=str(state)) == []


def test_it_stays_up_after_its_report_until_it_is_interrupted(tmp_path: Path) -> None:
    """With `--keep` pages and agent are there to look at once the day is told; Ctrl-C ends it."""
    state, out, err = (tmp_path / name for name in ("state", "out", "err"))
    options = ("--baskets", "3", "--speed", "max", "--json", "--keep", "--state", str(state))
    with (
        out.open("w") as to_out,
        err.open("w") as to_err,
        started(*options, out=to_out, err=to_err) as child,
    ):
        wait_for(
            lambda: STILL_UP.search(err.read_text()) is not None,
            "the demo says that it is still up",
            deadline_s=DEADLINE_S,
            while_true=lambda: child.poll() is None,
        )
        assert json.loads(out.read_text())["is_complete"] is True
        url = STILL_UP.findall(err.read_text())[0]
        with urlopen(url, timeout=DEADLINE_S) as page:  # noqa: S310 - the demo's own
            assert (page.status, b"<html" in page.read()) == (200, True)
        config = str(state / "agent.toml")
        assert any(config in each for each in processes_of_group(child.pid, naming=config))
        os.killpg(child.pid, signal.SIGINT)
        assert child.wait(DEADLINE_S) == 0, err.read_text()
    assert processes_of_group(child.pid, naming=str(state)) == []


def test_used_state_folder_is_refused(demo: Demo) -> None:
    """The same day again in the same state would be nothing but repeats, so it is wrong use."""
    done = run(*SMALL, "--state", str(demo.state))
    assert done.returncode == 2
    assert "earlier demo" in done.stderr
    assert "hint:" in done.stderr


def test_policy_that_does_not_fit_the_demos_store_is_refused_before_anything(
    tmp_path: Path,
) -> None:
    """The example names a screen that is not there: the agent would play the day without it."""
    done = run(*SMALL, "--speed", "max", "--rules", str(EXAMPLE), "--state", str(tmp_path / "day"))
    assert done.returncode == 2
    assert re.search(r"toml:\d+: screens\.dairy-1: there is no such screen", done.stderr)
    assert not (tmp_path / "day").exists()


def test_taken_port_is_named_with_what_to_do(tmp_path: Path) -> None:
    """Somebody else's port ends the demo with code 3 and the option that helps."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run(*SMALL, "--port", port, "--state", str(tmp_path / "state"))
    assert done.returncode == 3
    assert port in done.stderr
    assert "--port" in done.stderr


@contextmanager
def started(
    *options: str, out: IO[str] | int = subprocess.PIPE, err: IO[str] | int = subprocess.PIPE
) -> Iterator[subprocess.Popen[str]]:
    """The command in a process group of its own, as a terminal starts it."""
    child = subprocess.Popen(
        [*COMMAND, *options],
        stdout=out,
        stderr=err,
        text=True,
        start_new_session=True,
    )
    with child:
        try:
            yield child
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)


def n_taken_in(state: Path) -> int:
    """How many events the agent has on disk."""
    ((n_events,),) = rows(state / "agent" / "state.db", "SELECT count(*) FROM inbox")
    return int(n_events)


def processes_of_group(group: int, *, naming: str) -> list[str]:
    """Command lines of processes of a group, or that name a text."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                its_group = int((folder / "stat").read_text().rpartition(")")[2].split()[2])
            except (OSError, ValueError):
                continue  # it has just ended
            if its_group == group or naming in command:
                found.append(command)
    return found
