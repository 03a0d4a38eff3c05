"""Devices in their makers' own language, on a real broker: mapped, counted once, never lost."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from edge_agent.domain.time import ms_from_datetime
from tests.contract.test_devices import DEVICES
from tests.integration.broker import Broker
from tests.integration.commands import ran
from tests.integration.live_load import expected_of, mixed_load
from tests.integration.running_agent import (
    STORE,
    Device,
    RunningAgent,
    device,
    event,
    running_agent,
    visitor,
    wait_for,
)

pytestmark = pytest.mark.broker

DEAD: Final = f"store/{STORE}/deadletter"
STATE: Final = f"store/{STORE}/agent/state"
CLOCK: Final = f"store/{STORE}/clock"

ACME: Final = """
schema_version = 1
vendor = "acme"
device = "door counter"
tier = "listed"
documentation = "https://example.com"
topics = ["acme/#"]

[tables.zones]

[[rules]]
name = "totals"
topic = "acme/{door}/total"
device = "{$topic.door}"
event = "people.counted"
[rules.data]
zone = { path = "$topic.door", lookup = "zones" }
entries = { path = "n", delta = {} }

[[rules]]
name = "beam"
topic = "acme/{door}/beam"
format = "text"
when = "@ == '1'"
device = "{$topic.door}"
event = "people.counted"
[rules.data]
zone = { path = "$topic.door", lookup = "zones" }
entries = { const = 1 }

[[rules]]
name = "around"
topic = "acme/{door}/around"
each = { path = "ids", changes = true, key = "{$topic.door}", as = "seen" }
where = "$seen.change == 'entered'"
device = "{$topic.door}"
event = "zone.entered"
id = ["$seen.value", "$message.n"]
[rules.data]
zone = { path = "$topic.door", lookup = "zones" }
visitor = { kind = { const = "ble" }, value = "$seen.value" }
"""
KNOWING: Final = """
[[rules]]
name = "where a door is"
topic = "acme/{door}/config"
remember = { as = "doors", key = "{$topic.door}", value = { zone = "zone" } }

[[rules]]
name = "gate"
topic = "acme/{door}/gate"
device = "{$topic.door}"
event = "people.counted"
let.told = { text = "{$topic.door}", recall = "doors", unknown = "refuse" }
data.zone = { path = "$told.zone", lookup = "zones" }
data.entries = { path = "n", delta = {} }
"""
BADGE: Final = """
[[rules]]
name = "badge"
topic = "acme/{door}/badge"
when = "who"
event = "visitor.detected"
time = { path = "at", unit = "ms" }
[rules.data]
zone = { path = "$topic.door", lookup = "zones" }
visitor = { kind = { const = "ble" }, value = "who" }
"""
LOG: Final = """
[[rules]]
name = "log"
topic = "acme/{door}/log"
each = { path = "events", as = "event", where = "kind == 'in'" }
device = "{$topic.door}"
event = "people.counted"
[rules.data]
zone = { path = "$topic.door", lookup = "zones" }
entries = { path = "n", as = "integer" }
"""


def acme_section(folder: Path) -> str:
    """The mapping as a store's configuration names it."""
    return (
        f'[mappings.acme]\nfile = "{folder}/acme.toml"\n'
        '[mappings.acme.tables.zones]\n"north" = "dairy"\n'
    )


@pytest.fixture
def mapping(tmp_path: Path) -> Path:
    """A mapping file of the store's own."""
    path = tmp_path / "acme.toml"
    path.write_text(ACME, encoding="utf-8")
    return path


def rows(agent: RunningAgent, sql: str) -> list[tuple[Any, ...]]:
    """Rows of the agent's database, read beside it."""
    with closing(sqlite3.connect(f"file:{agent.state}/state.db?mode=ro", uri=True)) as database:
        return database.execute(sql).fetchall()


def counted(agent: RunningAgent) -> dict[str, tuple[int, int]]:
    """Entries and exits that the agent counted, by source."""
    sql = "SELECT source, sum(entries), sum(exits) FROM people_count GROUP BY source"
    return {str(source): (int(ins), int(outs)) for source, ins, outs in rows(agent, sql)}


def refused(agent: RunningAgent) -> Counter[str]:
    """Dead letters by reason."""
    return Counter(str(reason) for (reason,) in rows(agent, "SELECT reason FROM dead_letter"))


def command(agent: RunningAgent, *arguments: str) -> tuple[int, Any, str]:
    """Runs a command on the agent's configuration; returns its exit code, JSON and messages."""
    done = ran(*arguments, "--config", agent.config, "--json")
    return done.returncode, json.loads(done.stdout) if done.stdout else None, done.stderr


def test_all_vendors_at_once_are_read_exactly_over_kill_and_reload(
    broker: Broker, tmp_path: Path
) -> None:
    """Not an event is lost, doubled or refused that a reading one by one would not refuse."""
    load = mixed_load()
    now = datetime(2026, 3, 2, 15, 5, tzinfo=UTC)
    expected = expected_of(load, now_ms=ms_from_datetime(now))
    extra = "".join(f"[mappings.{name}]\n" for name in DEVICES)
    agent = RunningAgent(folder=tmp_path / "agent", port=broker.port, extra=extra, clock="replay")
    agent.start()
    try:
        with device(broker.port) as devices:
            devices.raw(CLOCK, json.dumps({"now": now.isoformat()}).encode())
            third = len(load) // 3
            _send(devices, load[:third])
            wait_for(lambda: rows(agent, "SELECT 1 FROM inbox LIMIT 1"), what="the first events")
            agent.reload()
            _send(devices, load[third : 2 * third])
            agent.kill()
            _send(devices, load[2 * third :])
            agent.start()
            wait_for(lambda: _marks(agent) >= expected.marks, what="every event")
            wait_for(
                lambda: refused(agent).total() >= expected.refused.total(), what="every refusal"
            )
            agent.stop()
    finally:
        agent.stop()
    assert _marks(agent) == expected.marks
    assert counted(agent) == expected.counted
    assert refused(agent) == expected.refused
    assert expected.counted
    assert len(expected.marks) > len(DEVICES)


def _send(devices: Device, load: list[tuple[str, bytes]]) -> None:
    for topic, payload in load:
        devices.raw(topic, payload)


def _marks(agent: RunningAgent) -> set[int]:
    return {int(mark) for (mark,) in rows(agent, "SELECT mark FROM inbox")}


def test_a_running_total_does_not_jump_over_a_kill(
    broker: Broker, tmp_path: Path, mapping: Path
) -> None:
    """Each step of a total is counted once, also those that were sent while nobody listened."""
    with running_agent(
        tmp_path / "agent", broker.port, extra=acme_section(mapping.parent)
    ) as agent:
        with device(broker.port) as door:
            for n in range(1_000, 1_050):
                door.raw("acme/north/total", json.dumps({"n": n}).encode())
            wait_for(lambda: counted(agent), what="the first count")
            agent.kill()
            for n in range(1_050, 1_100):
                door.raw("acme/north/total", json.dumps({"n": n}).encode())
            agent.start()
            wait_for(lambda: counted(agent)["acme-north"][0] >= 99, what="the last count")
        agent.stop()
        assert counted(agent) == {"acme-north": (99, 0)}
        assert rows(agent, "SELECT DISTINCT zone FROM people_count") == [("dairy",)]


def test_equal_messages_without_a_time_are_counted_each_once(
    broker: Broker, tmp_path: Path, mapping: Path
) -> None:
    """A beam says nothing but `1`: the same millisecond or a redelivery must not confuse it."""
    n_passages = 400
    with running_agent(
        tmp_path / "agent", broker.port, extra=acme_section(mapping.parent)
    ) as agent:
        with device(broker.port) as door:
            for _ in range(n_passages // 2):
                door.raw("acme/north/beam", b"1")
            wait_for(lambda: counted(agent), what="the first count")
            agent.kill()
            for _ in range(n_passages // 2):
                door.raw("acme/north/beam", b"1")
            agent.start()
            wait_for(lambda: counted(agent)["acme-north"][0] >= n_passages, what="the last count")
        agent.stop()
        assert counted(agent) == {"acme-north": (n_passages, 0)}


def test_a_broken_file_is_refused_and_the_old_one_goes_on(
    broker: Broker, tmp_path: Path, mapping: Path
) -> None:
    """A technician's slip stops no counting, now or after a restart, and stands in the status."""
    with (
        running_agent(tmp_path / "agent", broker.port, extra=acme_section(tmp_path)) as agent,
        device(broker.port) as door,
    ):
        _count_to(agent, door, 10)
        mapping.write_text(ACME.replace("delta", "dleta"), encoding="utf-8")
        agent.reload()
        assert "acme.toml: line 18: " in agent.log
        _count_to(agent, door, 20)
        wait_for(lambda: _problems(door) == ["no_model", "mapping_refused"], what="the alarm")
        (told,) = command(agent, "status")[1]["mappings"]
        assert told["name"] == "acme"
        assert "line 18" in told["problem"]
        assert told["in_force_since"]
        agent.stop()
        agent.start()
        _count_to(agent, door, 30)
        mapping.write_text(ACME, encoding="utf-8")
        agent.reload()
        _count_to(agent, door, 40)
        wait_for(lambda: _problems(door) == ["no_model"], what="the end of the alarm")
        assert counted(agent)["acme-north"] == (40, 0)


def test_a_broken_configuration_takes_no_mapping_away(
    broker: Broker, tmp_path: Path, mapping: Path
) -> None:
    """A reload of a file that is no configuration at all changes nothing, and says so."""
    assert mapping.exists()
    with (
        running_agent(tmp_path / "agent", broker.port, extra=acme_section(tmp_path)) as agent,
        device(broker.port) as door,
    ):
        _count_to(agent, door, 10)
        agent.write_config("[nonsense]\n")
        agent.reload()
        _count_to(agent, door, 20)
        sql = "SELECT value FROM meta WHERE key = 'mapping_problem'"
        assert "nonsense" in str(rows(agent, sql))
        agent.write_config()
        agent.reload()
        assert command(agent, "status")[1]["mappings_problem"] is None


def test_a_mapping_that_was_taken_out_is_heard_no_more(
    broker: Broker, tmp_path: Path, mapping: Path
) -> None:
    """Its subscription ends, in the running agent and in the broker's kept session."""
    assert mapping.exists()
    with (
        running_agent(tmp_path / "agent", broker.port, extra=acme_section(tmp_path)) as agent,
        device(broker.port) as door,
    ):
        _count_to(agent, door, 10)
        agent.extra = ""
        agent.stop()
        agent.start()
        door.raw("acme/north/beam", b"1")
        agent.extra = acme_section(tmp_path)
        agent.write_config()
        agent.reload()
        _count_to(agent, door, 20)
        assert counted(agent)["acme-north"] == (20, 0)
        agent.stop()
        assert "not_asked_for" not in command(agent, "status")[1]["counters"]


def _count_to(agent: RunningAgent, door: Device, n: int) -> None:
    """Has the beam count until so many came in all."""
    before = counted(agent).get("acme-north", (0, 0))[0]
    for _ in range(n - before):
        door.raw("acme/north/beam", b"1")
    wait_for(lambda: counted(agent).get("acme-north", (0, 0))[0] >= n, what=f"a count of {n}")


def _problems(door: Device) -> list[str]:
    problems: list[str] = door.documents(STATE)[-1]["problems"]
    return problems


def test_an_unknown_message_is_tried_again_once_its_mapping_is_mended(
    broker: Broker, tmp_path: Path, mapping: Path
) -> None:
    """It waits sealed, names nobody to anybody, and counts once however often it is tried."""
    phone = "AC:23:3F:99:88:77"
    with (
        running_agent(tmp_path / "agent", broker.port, extra=acme_section(tmp_path)) as agent,
        device(broker.port) as door,
    ):
        at_ms = ms_from_datetime(datetime.now(UTC))
        door.raw("acme/north/badge", json.dumps({"who": phone, "at": at_ms}).encode())
        door.raw(f"acme/{phone}/nonsense", b"{}")
        wait_for(lambda: refused(agent).total() == 2, what="the dead letters")
        told = wait_for(lambda: door.documents(DEAD)[1:], what="the notices")
        assert (told[0]["reason"], told[0]["topic"]) == ("no_rule", "acme/#")
        shown = command(agent, "deadletter", "list")[1]
        assert shown["n_all"] == 2
        assert all(each["can_be_retried"] for each in shown["letters"])
        assert not phone_in(agent, phone)
        assert command(agent, "deadletter", "retry")[0] == 1
        mapping.write_text(ACME + BADGE, encoding="utf-8")
        agent.reload()
        code, done, _ = command(agent, "deadletter", "retry")
        assert (code, done["counts"]["taken"], done["counts"]["refused"]) == (1, 1, 1)
        (taken,) = (each["id"] for each in done["letters"] if each["outcome"] == "taken")
        assert len(rows(agent, "SELECT mark FROM inbox")) == 1
        assert len(rows(agent, "SELECT id FROM visitor")) == 1
        assert command(agent, "deadletter", "retry", taken)[1]["counts"]["unknown"] == 1
        door.raw("acme/north/badge", json.dumps({"who": phone, "at": at_ms}).encode())
        _count_to(agent, door, 3)
        agent.stop()
        assert command(agent, "status")[1]["counters"]["duplicates"] == 1
        assert refused(agent) == {"no_rule": 1}
        assert not phone_in(agent, phone)
        assert command(agent, "deadletter", "retry")[0] == 3


def test_an_unknown_row_is_a_dead_letter_and_its_neighbours_count(
    broker: Broker, tmp_path: Path, mapping: Path
) -> None:
    """A batch of a newer firmware: what is known is served, the rest waits for its rule."""
    mapping.write_text(ACME + LOG, encoding="utf-8")
    batch = {"events": [{"kind": "in", "n": 2}, {"kind": "fall", "n": 7}, {"kind": "in", "n": 3}]}
    with (
        running_agent(tmp_path / "agent", broker.port, extra=acme_section(tmp_path)) as agent,
        device(broker.port) as door,
    ):
        door.raw("acme/north/log", json.dumps(batch).encode())
        told = wait_for(lambda: door.documents(DEAD), what="the notice")
        assert (told[0]["reason"], told[0]["detail"]) == (
            "no_rule",
            "acme, event 2: no rule knows this row",
        )
        wait_for(lambda: counted(agent).get("acme-north") == (5, 0), what="the neighbours")
        mapping.write_text((ACME + LOG).replace("kind == 'in'", "kind != 'x'"), encoding="utf-8")
        agent.reload()
        code, done, _ = command(agent, "deadletter", "retry")
        assert (code, done["counts"]["taken"]) == (0, 1)
        wait_for(lambda: counted(agent).get("acme-north") == (12, 0), what="the one that waited")


def test_who_is_around_is_remembered_sealed(broker: Broker, tmp_path: Path, mapping: Path) -> None:
    """A set of addresses outlives a kill, and no file of the agent shows one."""
    phones = [f"AC:23:3F:11:22:{n:02X}" for n in range(20)]
    assert mapping.exists()
    with (
        running_agent(tmp_path / "agent", broker.port, extra=acme_section(tmp_path)) as agent,
        device(broker.port) as door,
    ):
        door.raw("acme/north/around", json.dumps({"ids": phones[:10], "n": 1}).encode())
        wait_for(lambda: len(rows(agent, "SELECT id FROM visitor")) == 10, what="the first ten")
        agent.kill()
        agent.start()
        door.raw("acme/north/around", json.dumps({"ids": phones, "n": 2}).encode())
        wait_for(lambda: len(rows(agent, "SELECT id FROM visitor")) == 20, what="all of them")
        assert len(rows(agent, "SELECT mark FROM inbox")) == 20
        assert rows(agent, "SELECT count(*) FROM mapping_state WHERE is_sealed = 1") == [(1,)]
        assert not [each for each in phones if phone_in(agent, each)]


def test_what_a_device_is_outlives_a_kill(broker: Broker, tmp_path: Path, mapping: Path) -> None:
    """Told once and kept by the broker before the agent was there, it is joined ever after."""
    mapping.write_text(ACME + KNOWING, encoding="utf-8")
    with device(broker.port) as door:
        door.raw("acme/west/config", b'{"zone": "north"}', retain=True)
        with running_agent(tmp_path / "agent", broker.port, extra=acme_section(tmp_path)) as agent:
            wait_for(lambda: rows(agent, "SELECT key FROM mapping_state"), what="the config")
            door.raw("acme/west/config", b"", retain=True)
            door.raw("acme/west/gate", b'{"n": 10}')
            agent.kill()
            agent.start()
            door.raw("acme/west/gate", b'{"n": 13}')
            door.raw("acme/east/gate", b'{"n": 5}')
            wait_for(lambda: counted(agent), what="the count")
            wait_for(lambda: refused(agent).total() >= 2, what="what nobody told of")
            agent.stop()
            assert counted(agent) == {"acme-west": (3, 0)}
            assert rows(agent, "SELECT DISTINCT zone FROM people_count") == [("dairy",)]
            assert refused(agent) == {"invalid": 1, "not_json": 1}


def test_devices_are_shown_and_told_to_hq(broker: Broker, tmp_path: Path, mapping: Path) -> None:
    """When each was heard, how often and how wrong its clock is: here, at HQ, after a restart."""
    assert mapping.exists()
    hq = f'[hq]\nhost = "127.0.0.1"\nport = {broker.port}\n'
    agent = RunningAgent(
        folder=tmp_path / "agent",
        port=broker.port,
        extra=acme_section(tmp_path) + hq,
        policy="summary_period_s = 2\nsummary_grace_s = 0",
    )
    agent.start()
    try:
        with device(broker.port) as store:
            for n in range(5):
                ahead = datetime.now(UTC) + timedelta(seconds=60)
                told = event(
                    "ble-1", "zone.entered", zone="dairy", visitor=visitor("ble", f"p{n}")
                )
                store.send({**told, "time": ahead.isoformat()})
            _count_to(agent, store, 20)
            shown = {each["source"]: each for each in command(agent, "status")[1]["devices"]}
            assert set(shown) == {"ble-1", "acme-north", "mapping acme"}
            assert shown["ble-1"]["skew_s"] == pytest.approx(60, abs=5)
            assert shown["acme-north"]["skew_s"] is None
            assert shown["acme-north"]["per_hour"] > 10
            assert not any(each["is_silent"] for each in shown.values())
            states = f"hq/{STORE}/up/state"
            wait_for(
                lambda: any(
                    {each["device"] for each in state["devices"]} == set(shown)
                    for state in store.documents(states)
                ),
                what="a state that names them",
            )
    finally:
        agent.stop()
    kept = {each["source"]: each for each in command(agent, "status")[1]["devices"]}
    assert kept["ble-1"]["skew_s"] == pytest.approx(60, abs=5)
    assert set(kept) == set(shown)


def phone_in(agent: RunningAgent, phone: str) -> list[Path]:
    """Files of the agent that hold somebody's address as it was sent."""
    spellings = [phone.encode(), phone.replace(":", "").lower().encode(), phone.lower().encode()]
    files = [each for each in agent.folder.rglob("*") if each.is_file()]
    return [each for each in files if any(word in each.read_bytes() for word in spellings)]
