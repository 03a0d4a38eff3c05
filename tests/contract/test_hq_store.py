"""HQ's store keeps the same promises on SQLite and on a real PostgreSQL server."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_agent.errors import SchemaTooNew, StoreBusy, StoreCorrupt, StoreError
from edge_agent.hq import schema, store
from edge_agent.hq.device_rows import device_json
from edge_agent.hq.inbox import Refused, UpMessage, refused
from edge_agent.hq.report import Figure, figures_from, report_from
from edge_agent.hq.store import HqStore, opened_store
from edge_agent.hq.uplift_report import uplifts_from
from edge_agent.wire.summaries import (
    Confirmation,
    CustomerUpdate,
    DeviceState,
    Dimension,
    Erasure,
    GatewayState,
    Interest,
    Summary,
    SummaryCell,
)

NOW = datetime(2017, 12, 3, 5, tzinfo=UTC)
OPENING = datetime(2017, 12, 2, 8, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
MOMENT = timedelta(milliseconds=1)
# With their summaries; by number and by silence of their own; so long as late messages may come.
BOUNDED_OTHERWISE = frozenset({"cell_values", "gateway_states", "gateway_devices", "erasures"})
POSTGRES_START_S: Final = 60
NUMBERS = itertools.count()
OpenStore = Callable[[], HqStore]


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL server of the test's own, on a free loopback port."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    assert programs, "PostgreSQL is missing: apt-get install postgresql"
    folder = Path(tempfile.mkdtemp(prefix="hq-postgres-"))
    as_server = as_postgres_user(folder)
    data = folder / "data"
    run = partial(subprocess.run, check=True, stdout=subprocess.DEVNULL, cwd=folder)
    run([*as_server, programs[-1] / "initdb", "-D", data, "-U", "hq", "-A", "trust", "--no-sync"])
    port = free_port()
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder}"
    control = [*as_server, programs[-1] / "pg_ctl", "-D", data, "-w", "-l", folder / "log"]
    run([*control, "-t", str(POSTGRES_START_S), "-o", f"{options} -c fsync=off", "start"])
    try:
        yield f"postgresql://hq@127.0.0.1:{port}"
    finally:
        run([*control, "-m", "immediate", "stop"])
        shutil.rmtree(folder)


def as_postgres_user(folder: Path) -> list[str]:
    """The words before a command: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return []
    shutil.chown(folder, "postgres", "postgres")
    return ["runuser", "-u", "postgres", "--"]


def free_port() -> int:
    """A loopback port that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(params=["sqlite", "postgresql"])
def fresh_place(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """Makes an empty database at each call and says where it is."""
    if request.param == "sqlite":
        return lambda: str(tmp_path / f"hq-{next(NUMBERS)}.db")
    server: str = request.getfixturevalue("postgres_url")

    def create() -> str:
        name = f"hq_{next(NUMBERS)}"
        with psycopg.connect(f"{server}/postgres", autocommit=True) as admin:
            admin.execute(f'CREATE DATABASE "{name}"')
        return f"{server}/{name}"

    return create


@pytest.fixture
def open_store(fresh_place: Callable[[], str]) -> Iterator[OpenStore]:
    """Opens connections to one fresh database, and closes them after the test."""
    where = fresh_place()
    opened: list[HqStore] = []

    def open_one() -> HqStore:
        opened.append(opened_store(where))
        return opened[-1]

    yield open_one
    for each in opened:
        each.close()


def summary(
    store: str = "s42",
    *,
    revision: int = 1,
    hour: int = 0,
    n_sales: int = 12,
    amount: str = "0.10",
) -> Summary:
    """An hour's sales with a total and one department's cell."""
    start = OPENING + hour * HOUR
    cell = SummaryCell(
        keys={},
        n_visitors=12,
        counts={"sales": n_sales},
        sums={"amount": amount},
        histogram=(1, 0, n_sales),
    )
    department = SummaryCell(keys={"department": "DAIRY"}, n_visitors=10, counts={"sales": 10})
    return Summary(
        summary_id=f"{store}-sales-{hour}-{revision}",
        store=store,
        kind="sales",
        period_start=start,
        period_end=start + HOUR,
        revision=revision,
        k=10,
        cells=(cell, department),
    )


def customer(*, revision: int = 1, choices: tuple[str, ...] = ("1095275",)) -> CustomerUpdate:
    """One consenting customer's day."""
    return CustomerUpdate(
        update_id=f"u-{revision}",
        reference="crm-1",
        store="s42",
        activity_date="2017-12-02",
        revision=revision,
        segments=("regular",),
        interests=(Interest(category="cheese", strength=0.5),),
        choices=choices,
    )


def heard(name: str, *, per_hour: float = 12.5, skew_s: float | None = -0.4) -> DeviceState:
    """A device that is well."""
    return DeviceState(device=name, last_seen=OPENING, per_hour=per_hour, skew_s=skew_s)


def state(number: int, *devices: DeviceState, store: str = "s42") -> GatewayState:
    """A gateway's state of that minute."""
    return GatewayState(
        devices=devices,
        state_id=f"{store}-{number}",
        store=store,
        at=OPENING + timedelta(minutes=number),
        version=f"0.1.{number}",
        health="good",
        counters={"events": number},
    )


CONFIRMATION = Confirmation(
    confirm_id="c-1", store="s42", command="cmd-1", outcome="refused", reason="expired"
)
EVERYTHING: tuple[UpMessage, ...] = (
    summary(),
    summary(revision=2, n_sales=20, amount="0.30"),
    summary(revision=3, n_sales=25, amount="0.35"),
    summary(hour=1),
    summary("s43"),
    customer(),
    customer(revision=2, choices=("1095275", "1029743")),
    state(1, heard("north"), heard("south", per_hour=3)),
    state(2, heard("north", skew_s=7_200), heard("west", skew_s=None)),
    CONFIRMATION,
)


def everything_in(hq: HqStore) -> dict[str, object]:
    """All that the store holds, apart from when it came."""
    states = [
        dict(row, received_at_ms=0) for row in hq.rows(schema.SELECT_LATEST_STATES, store="")
    ]
    return {
        "summaries": hq.rows(schema.SELECT_SUMMARIES),
        "customers": hq.rows(schema.SELECT_CUSTOMERS),
        "figures": hq.rows(schema.SELECT_FIGURES, store="", day=""),
        "states": states,
        "devices": hq.rows(schema.SELECT_DEVICES, store=""),
        "confirmations": hq.rows(schema.SELECT_CONFIRMATION_COUNTS, store=""),
        "counts": hq.counts(),
    }


def milliseconds(instant: datetime) -> int:
    """A version that is given at an instant."""
    return int(instant.timestamp() * 1000)


def total(hq: HqStore, name: str, *, store: str = "", day: str = "") -> str | None:
    """A figure of all matching stores' periods together."""
    figures: tuple[Figure, ...] = figures_from(hq, store=store, day=day)
    values = [each.value for each in figures if each.name == name and not each.keys]
    return str(sum(values[1:], values[0])) if values else None


def test_repeat_changes_nothing(open_store: OpenStore) -> None:
    """A batch that comes twice leaves what it left the first time."""
    hq = open_store()
    assert hq.take(EVERYTHING, received_at=NOW)
    once = everything_in(hq)
    hq.take(EVERYTHING, received_at=NOW + HOUR)
    assert everything_in(hq) == once


def test_late_older_revision_never_overwrites(open_store: OpenStore) -> None:
    """Of a summary and a customer's day the highest revision stays, whichever comes last."""
    hq = open_store()
    hq.take([summary(revision=3, n_sales=25), customer(revision=2)], received_at=NOW)
    hq.take([summary(revision=2, n_sales=20), customer(revision=1)], received_at=NOW + HOUR)
    assert total(hq, "sales") == "25"
    assert [row["revision"] for row in hq.rows(schema.SELECT_CUSTOMERS)] == [2]


def test_higher_revision_replaces_every_cell(open_store: OpenStore) -> None:
    """A cell that the new revision no longer has is gone."""
    hq = open_store()
    hq.take([summary()], received_at=NOW)
    corrected = summary(revision=2, n_sales=11).model_copy(
        update={"cells": (SummaryCell(counts={"sales": 11}),)}
    )
    hq.take([corrected], received_at=NOW)
    (found,) = figures_from(hq)
    assert (found.keys, found.name, str(found.value)) == ((), "sales", "11")


def test_stores_and_hours_add_up_exactly(open_store: OpenStore) -> None:
    """Counts and decimal sums add up over periods and stores without a rounding error."""
    hq = open_store()
    hq.take([summary(amount="0.10"), summary(hour=1, amount="0.20")], received_at=NOW)
    hq.take([summary("s43", amount="12.345678")], received_at=NOW)
    assert total(hq, "amount", store="s42") == "0.3"
    assert total(hq, "amount") == "12.645678"
    assert total(hq, "sales") == "36"


def test_sums_beyond_64_bits_add_up_exactly(open_store: OpenStore) -> None:
    """Months of squared spend in a currency of small units end no report, of either sign."""
    hq = open_store()
    most = "99999999999.999999"
    told = [summary(hour=each, amount=most) for each in range(150)]
    hq.take([*told, summary("s43", amount=f"-{most}")], received_at=NOW)
    assert total(hq, "amount", store="s42") == "14999999999999.99985"
    assert total(hq, "amount") == "14899999999999.999851"


def arms(
    store_name: str,
    n: int,
    *,
    buyers: tuple[int, int],
    revision: int = 1,
    share: str | None = "0.5",
) -> Summary:
    """Returns a day's arms of campaign 18: n units in each, (treated, control) bought."""
    named: dict[Dimension, str] = {} if share is None else {"share": share}
    cells = tuple(
        SummaryCell(
            keys={"campaign": "18", **named, "arm": arm},
            n_visitors=n,
            counts={"units": n},
            sums={"bought": f"{m}.000000", "bought_squares": f"{m}.000000"},
        )
        for arm, m in zip(("treated", "control"), buyers, strict=True)
    )
    return Summary(
        summary_id=f"{store_name}.uplift.1.{revision}",
        store=store_name,
        kind="uplift",
        period_start=OPENING,
        period_end=OPENING + 24 * HOUR,
        revision=revision,
        k=10,
        cells=cells,
    )


def test_uplift_is_that_of_all_stores_units_together(open_store: OpenStore) -> None:
    """Arms add up over stores, the highest revision of a day alone, whatever came twice."""
    told = (
        arms("s42", 300, buyers=(90, 60)),
        arms("s43", 200, buyers=(1, 1)),
        arms("s43", 200, buyers=(60, 30), revision=2),
    )
    with closing(open_store()) as hq:
        hq.take([*told, told[0]], received_at=NOW)
        (found,) = uplifts_from(report_from(hq))
        (alone,) = uplifts_from(report_from(hq, store="s43"))
    effect = found.effects["bought"]
    assert (found.campaign, found.n_treated, found.n_control) == ("18", 500, 500)
    assert (effect.treated, effect.control) == (0.3, 0.18)
    assert effect.verdict == "more"
    assert (alone.n_treated, alone.effects["bought"].treated) == (200, 0.3)
    assert set(found.effects) == {"bought"}


@pytest.mark.parametrize("share", [None, "x", "2", "-1", "nan"])
def test_what_is_no_arm_leaves_the_other_stores_uplift(
    open_store: OpenStore, share: str | None
) -> None:
    """One store's cell without a share, or with one that is none, ends no report."""
    with closing(open_store()) as hq:
        told = (arms("s42", 300, buyers=(90, 60)), arms("s43", 9, buyers=(9, 9), share=share))
        hq.take(told, received_at=NOW)
        (found,) = uplifts_from(report_from(hq))
    assert (found.n_treated, found.effects["bought"].treated) == (300, 0.3)


def test_day_is_the_stores_own(open_store: OpenStore) -> None:
    """A period that the store wrote in its local time counts for its local day."""
    hq = open_store()
    evening = datetime.fromisoformat("2017-12-02T22:00:00-05:00")
    late = summary().model_copy(update={"period_start": evening, "period_end": evening + HOUR})
    hq.take([late], received_at=NOW)
    assert total(hq, "sales", day="2017-12-02") == "12"
    assert total(hq, "sales", day="2017-12-03") is None


def test_store_filter_matches_that_store_alone(open_store: OpenStore) -> None:
    """One store's figures hold nothing of another's."""
    hq = open_store()
    hq.take([summary(), summary("s43", n_sales=99)], received_at=NOW)
    assert total(hq, "sales", store="s42") == "12"
    assert total(hq, "sales", store="s4") is None


def test_latest_state_is_the_newest_by_its_own_time(open_store: OpenStore) -> None:
    """A state that comes late is history, not the present."""
    hq = open_store()
    hq.take([state(2)], received_at=NOW)
    hq.take([state(1), state(1, store="s43")], received_at=NOW + HOUR)
    rows = hq.rows(schema.SELECT_LATEST_STATES, store="")
    assert [(row["store"], row["version"]) for row in rows] == [("s42", "0.1.2"), ("s43", "0.1.1")]


def test_state_history_is_bounded(open_store: OpenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the newest states of a store are kept."""
    monkeypatch.setattr(store, "STATES_KEPT_PER_STORE", 3)
    hq = open_store()
    hq.take([state(number) for number in range(10)], received_at=NOW)
    assert hq.counts()["state"] == 3
    assert [row["version"] for row in hq.rows(schema.SELECT_LATEST_STATES, store="")] == ["0.1.9"]


def test_devices_are_those_of_the_newest_state(open_store: OpenStore) -> None:
    """Whichever comes last; one that it no longer names is gone, another store's is its own."""
    hq = open_store()
    hq.take([state(2, heard("north", per_hour=60), heard("west", skew_s=None))], received_at=NOW)
    late = state(1, heard("north", per_hour=1), heard("south"))
    hq.take([late, state(1, heard("north"), store="s43")], received_at=NOW + HOUR)
    told = [device_json(row) for row in hq.rows(schema.SELECT_DEVICES, store="")]
    assert [(each["store"], each["device"], each["per_hour"]) for each in told] == [
        ("s42", "north", 60.0),
        ("s42", "west", 12.5),
        ("s43", "north", 12.5),
    ]
    assert [each["skew_s"] for each in told] == [-0.4, None, -0.4]
    assert told[0]["last_seen"] == "2017-12-02T08:00:00Z"
    hq.take([state(3)], received_at=NOW)
    assert hq.rows(schema.SELECT_DEVICES, store="s42") == []


def test_what_is_wrong_with_a_device_is_kept(open_store: OpenStore) -> None:
    """Silence, drift with its count, and a clock that is off."""
    hq = open_store()
    bad = DeviceState(
        device="door", last_seen=OPENING, per_hour=0, skew_s=-1.7e9, is_silent=True,
        is_drifting=True, inside_at_closing=-143,
    )  # fmt: skip
    hq.take([state(1, bad)], received_at=NOW)
    (row,) = hq.rows(schema.SELECT_DEVICES, store="s42")
    assert device_json(row)["troubles"] == ["silent", "drifting", "clock off"]
    assert row["inside_at_closing"] == -143


def test_devices_that_no_state_names_any_more_are_forgotten(open_store: OpenStore) -> None:
    """After thirty days nothing of them is left, however many names a store went through."""
    hq = open_store()
    for day in range(0, 100, 10):
        hq.take([state(day * 24 * 60, heard(f"d{day}"))], received_at=NOW)
    rows = hq.rows("SELECT device FROM gateway_devices ORDER BY device")
    assert [row["device"] for row in rows] == ["d60", "d70", "d80", "d90"]


def test_a_device_with_an_impossible_rate_spares_the_other_states(open_store: OpenStore) -> None:
    """Its state is refused alone."""
    hq = open_store()
    bad = state(1, heard("north", per_hour=1e300))
    assert len(hq.take([bad, state(1, heard("north"), store="s43")], received_at=NOW)) == 1
    assert hq.counts()["refused"] == 1
    assert hq.rows(schema.SELECT_DEVICES, store="s42") == []


def test_tables_of_the_first_version_are_carried_over(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was kept stays, and devices are kept from then on."""
    with monkeypatch.context() as earlier:
        earlier.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:1])
        open_store().close()
    hq = open_store()
    hq.take([summary(), state(1, heard("north"))], received_at=NOW)
    assert len(hq.rows(schema.SELECT_DEVICES, store="s42")) == 1


def test_refusals_are_kept_and_bounded(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refusals are on disk with their reason; the oldest go first."""
    monkeypatch.setattr(store, "REFUSALS_KEPT", 3)
    hq = open_store()
    refusals = [refused(f"hq/{number}/up", b"x", reason="invalid") for number in range(10)]
    hq.take([], received_at=NOW, refusals=refusals)
    assert hq.rows(schema.SELECT_REFUSED_COUNTS) == [{"reason": "invalid", "n": 3}]


def test_what_did_not_come_anew_is_deleted(open_store: OpenStore) -> None:
    """A customer's day and a summary live from their newest revision on; a repeat renews none."""
    hq = open_store()
    other = customer().model_copy(update={"reference": "crm-2", "update_id": "u-other"})
    refusal = refused("hq/s42/up/nothing", b"x", reason="invalid")
    hq.take([*EVERYTHING, other], received_at=NOW, refusals=[refusal])
    later: list[UpMessage] = [summary(revision=3, n_sales=25, amount="0.35"), customer(revision=3)]
    hq.take(later, received_at=NOW + DAY)
    kept_for = 10 * DAY
    before = everything_in(hq)
    assert not any(hq.delete_old(now=NOW + kept_for, kept_for=kept_for).values())
    assert everything_in(hq) == before
    gone = hq.delete_old(now=NOW + kept_for + MOMENT, kept_for=kept_for)
    assert (gone["customers"], gone["summaries"], gone["confirmations"]) == (1, 3, 1)
    assert [row["reference"] for row in hq.rows(schema.SELECT_CUSTOMERS)] == ["crm-1"]
    # The repeat of a revision that was there already did not renew its summary.
    assert hq.rows(schema.SELECT_SUMMARIES) == []
    assert figures_from(hq, store="", day="") == ()
    assert hq.rows(schema.SELECT_REFUSED_COUNTS) == []


def test_versions_go_on_rising_after_old_ones_are_deleted(open_store: OpenStore) -> None:
    """Which commands were written is forgotten with its count, and the next is above it."""
    hq = open_store()
    pair = ("consent", "digest-of-somebody")
    (first,) = hq.next_versions([pair], at_least=milliseconds(NOW))
    now = NOW + 20 * DAY
    assert hq.delete_old(now=now, kept_for=10 * DAY)["command_versions"] == 1
    (second,) = hq.next_versions([pair], at_least=milliseconds(now))
    assert second > first


def test_erasures_are_forgotten_when_no_late_message_can_come(open_store: OpenStore) -> None:
    """Without another erasure too, and however long the rest is kept."""
    hq = open_store()
    erasure = Erasure(erasure_id="e-1", store="s42", reference="crm-9", at=NOW)
    hq.take([erasure], received_at=NOW)
    hq.delete_old(now=NOW + 8 * DAY, kept_for=400 * DAY)
    assert hq.counts()["erasure"] == 1
    hq.delete_old(now=NOW + 9 * DAY, kept_for=400 * DAY)
    assert hq.counts()["erasure"] == 0


def test_deleted_customer_is_in_no_byte_of_the_file(tmp_path: Path) -> None:
    """Deleting overwrites: the handle is gone from the file's free pages too."""
    path = tmp_path / "hq.db"
    with closing(opened_store(str(path))) as hq:
        hq.take([customer()], received_at=NOW)
        assert b"crm-1" in path.read_bytes()
        hq.delete_old(now=NOW + 9 * DAY, kept_for=8 * DAY)
    assert not [each for each in tmp_path.iterdir() if b"crm-1" in each.read_bytes()]


def test_every_table_has_its_end_and_says_so_on_the_front_page() -> None:
    """A table is deleted by age, or bounded otherwise; the README's table names it."""
    statements = "".join(each for migration in schema.MIGRATIONS for each in migration)
    tables = set(re.findall(r"CREATE TABLE (\w+)", statements))
    assert tables == {*schema.DELETE_OLD, *BOUNDED_OTHERWISE}
    page = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")
    _, _, after = page.partition("At headquarters")
    assert [table for table in sorted(tables) if f"`{table}`" not in after] == []


def test_impossible_value_spares_its_neighbours(open_store: OpenStore) -> None:
    """A message that the database cannot hold is refused alone; the batch's others are kept."""
    hq = open_store()
    giant = summary("s41").model_copy(
        update={
            "cells": (
                SummaryCell.model_construct(counts={"sales": 2**70}),
                SummaryCell(keys={"zone": "b"}),
            )
        }
    )
    kept = hq.take([giant, summary(), state(1)], received_at=NOW)
    assert {message.store for message in kept} == {"s42"}
    assert hq.counts() == {
        "summary": 1,
        "customer": 0,
        "state": 1,
        "confirm": 0,
        "erasure": 0,
        "refused": 1,
    }


def test_versions_rise_over_processes_and_clock_steps(open_store: OpenStore) -> None:
    """A version is above all earlier ones of its kind and key, even when the clock went back."""
    first, second = open_store(), open_store()
    campaign = [("campaign", "18")]
    assert first.next_versions(campaign, at_least=1_000) == (1_000,)
    assert second.next_versions(campaign * 2, at_least=500) == (1_001, 1_002)
    assert first.next_versions(campaign, at_least=2_000) == (2_000,)
    assert first.next_versions([("campaign", "19"), ("fact", "18")], at_least=7) == (7, 7)


def test_rows_outlive_the_connection(open_store: OpenStore) -> None:
    """What was taken is there when the database is opened again, tables and all."""
    hq = open_store()
    hq.take(EVERYTHING, received_at=NOW)
    before = everything_in(hq)
    hq.close()
    assert everything_in(open_store()) == before


def test_two_receivers_at_once_leave_what_one_leaves(open_store: OpenStore) -> None:
    """Receivers that take the same messages in another order never block or undo each other."""
    stores = [open_store(), open_store()]
    failures: list[StoreError] = []

    def take_all(hq: HqStore, messages: tuple[UpMessage, ...]) -> None:
        for message in messages:
            try:
                hq.take([message, *messages], received_at=NOW)
            except StoreError as error:
                failures.append(error)

    threads = [
        threading.Thread(target=take_all, args=arguments)
        for arguments in zip(stores, (EVERYTHING, EVERYTHING[::-1]), strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert total(stores[0], "sales", store="s42") == "37"
    assert stores[0].counts()["summary"] == 3


def test_lost_connection_is_opened_again(postgres_url: str) -> None:
    """When PostgreSQL ends a connection, a batch is to be tried again and is then whole."""
    name = f"hq_{next(NUMBERS)}"
    with psycopg.connect(f"{postgres_url}/postgres", autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}"')
        with closing(opened_store(f"{postgres_url}/{name}")) as hq:
            hq.take([summary()], received_at=NOW)
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                (name,),
            )
            with pytest.raises(StoreBusy):
                hq.take([summary(hour=1)], received_at=NOW)
            hq.take([summary(hour=1)], received_at=NOW)
            assert hq.counts()["summary"] == 2


def test_absent_server_is_an_environment_error() -> None:
    """A PostgreSQL that is not there is told as such, with what to do."""
    with pytest.raises(StoreBusy) as refusal:
        opened_store(f"postgresql://hq@127.0.0.1:{free_port()}/hq")
    assert refusal.value.hint
    assert refusal.value.exit_code == 3


def test_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    """A file of something else is named as unsound, and left as it is."""
    path = tmp_path / "notes.txt"
    path.write_text(
        "not a database, but long enough to be mistaken for a file with a header\n" * 9
    )
    before = path.read_bytes()
    with pytest.raises(StoreCorrupt):
        opened_store(str(path))
    assert path.read_bytes() == before


def test_newer_tables_are_refused(open_store: OpenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program older than the tables says so and touches nothing."""
    open_store()
    monkeypatch.setattr(schema, "MIGRATIONS", ())
    with pytest.raises(SchemaTooNew):
        open_store()


@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(order=st.permutations(EVERYTHING * 2))
def test_order_and_repeats_do_not_matter(
    fresh_place: Callable[[], str], order: list[UpMessage]
) -> None:
    """Messages that each come twice, in any order, leave what one orderly batch leaves."""
    with closing(opened_store(fresh_place())) as hq, closing(opened_store(fresh_place())) as plain:
        for message in order:
            hq.take([message], received_at=NOW)
        plain.take(EVERYTHING, received_at=NOW)
        assert everything_in(hq) == everything_in(plain)
        assert total(hq, "sales", store="s42") == "37"


def test_refusal_names_no_content(open_store: OpenStore) -> None:
    """What is kept of a refused message is its topic, size and reason."""
    hq = open_store()
    refusal = Refused(topic="hq/s42/up/state", reason="invalid", detail="at: missing", n_bytes=9)
    hq.take([], received_at=NOW, refusals=[refusal])
    assert hq.counts()["refused"] == 1
