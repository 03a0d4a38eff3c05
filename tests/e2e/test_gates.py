"""Every gate is obeyed in disorder: a shuffled morning, late events, complaints in the midst.

State and the summaries of what was so are those of the calm run. The recommendation funnel is not
compared, and cannot be: it counts what was decided, and a late event never decides. What it would
have asked for in time, nobody was told.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from edge_agent.shell.mqtt_client import Incoming, LinkSettings, MqttLink, Subscription
from tests.e2e import gates
from tests.e2e.gates_stream import GatesMorning, gates_morning
from tests.e2e.state_dump import STATE, differences
from tests.e2e.store import Outcome, running_store
from tests.e2e.stream import STORE, Message, Morning
from tests.e2e.test_disorder import summaries
from tests.integration.broker import Broker

pytestmark = pytest.mark.broker

POLICY: Final = f"""
[policy]
max_decisions_per_visit = {gates.CAP}
"""
HEARD: Final = (
    f"store/{STORE}/screen/+/recommendation",
    f"store/{STORE}/receipt/+/offer",
    f"store/{STORE}/staff/+/alert",
    f"store/{STORE}/reply/#",
)
EVERY_GATE_OPEN: Final = "gates_open"
PLANTED_BASKETS: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What a run left behind and what was heard of it."""

    database: Path
    stream: gates.Stream
    records: list[dict[str, Any]]
    heard: list[Message]
    outcome: Outcome


@contextmanager
def listening(broker: Broker) -> Iterator[list[Message]]:
    """Keeps what screens, tills, staff and askers get."""
    heard: list[Message] = []
    lock = threading.Lock()

    def keep(message: Incoming) -> None:
        with lock:
            heard.append(Message(message.topic, message.payload))

    link = MqttLink(
        LinkSettings(host=broker.host, port=broker.port, client_id="everywhere"),
        subscriptions=tuple(Subscription(topic_filter=each) for each in HEARD),
        on_message=keep,
    )
    link.start()
    assert link.wait_connected(30.0)
    try:
        yield heard
    finally:
        link.stop()


def played(folder: Path, day: GatesMorning, messages: Morning, *, fault: str | None = None) -> Run:
    """Plays one of the mornings."""
    with running_store(folder, fault=fault) as store:
        config = store.agent.config
        config.write_text(config.read_text() + POLICY)
        with listening(store.broker) as heard:
            store.start_agent()
            store.open_day(messages)
            store.publish(messages.day)
            store.close_day()
        return Run(
            database=store.database,
            stream=gates.stream_of(day, (*messages.opening, *messages.day)),
            records=gates.records_in(store.database),
            heard=heard,
            outcome=store.outcome(),
        )


@pytest.fixture(scope="module")
def day(*, baskets: int) -> GatesMorning:
    """The morning in which every gate is put to the test."""
    return gates_morning(baskets=baskets)


@pytest.fixture(scope="module")
def disturbed(tmp_path_factory: pytest.TempPathFactory, day: GatesMorning) -> Run:
    """The morning over a bad network."""
    return played(tmp_path_factory.mktemp("disturbed"), day, day.disturbed)


def test_nothing_is_recommended_to_who_has_it(disturbed: Run) -> None:
    """Neither a screen nor a receipt offers what is in hand or basket by then."""
    assert len(gates.personal(disturbed.records)) > 50
    assert not gates.shown_though_held(disturbed.stream, disturbed.records)


def test_who_complains_is_left_alone(disturbed: Run) -> None:
    """From the complaint's arrival on there is silence, for the card holder's track as well."""
    assert gates.n_silenced(disturbed.stream, disturbed.records) > 5
    assert not gates.shown_though_silent(disturbed.stream, disturbed.records)


def test_a_public_screen_rests_on_nobodys_history(disturbed: Run) -> None:
    """Somebody recognised stands before it, and it shows what anybody would get."""
    public = [r for r in disturbed.records if r["place"]["audience"] == "public"]
    assert any(record["member"] is not None and record["chosen"] for record in public)
    assert not gates.personal_in_public(public)


def test_no_late_event_decides(disturbed: Run) -> None:
    """What is behind the watermark corrects only, though there is much of it."""
    late = [each for each in disturbed.stream.arrived.values() if each.is_late]
    assert len(late) > 50
    assert not gates.decided_late(disturbed.stream, disturbed.records)


def test_the_cap_of_a_visit_holds(disturbed: Run) -> None:
    """No visit hears more than its cap over all channels."""
    assert not gates.over_the_cap(disturbed.database, disturbed.records)


def test_what_is_heard_is_what_was_decided(disturbed: Run, day: GatesMorning) -> None:
    """Screens, tills and staff get the decisions on record, and no raw identifier."""
    assert disturbed.heard
    assert not gates.told_otherwise(disturbed.heard, disturbed.records)
    everything = b"\n".join(each.payload for each in disturbed.heard)
    assert not [each for each in day.calm.identifiers if each.value.encode() in everything]


def test_lateness_changes_neither_state_nor_summaries(
    tmp_path: Path, day: GatesMorning, disturbed: Run
) -> None:
    """State, footfall, dwell and sales are those of the calm run; see the module on the funnel."""
    calm = played(tmp_path, day, day.calm).outcome
    told = differences(calm.state, disturbed.outcome.state, tables=STATE)
    told += differences(summaries(calm.hq), summaries(disturbed.outcome.hq))
    assert not told, "\n".join(told)


def test_open_gates_are_noticed(tmp_path: Path) -> None:
    """With every gate taken out, each of the checks above finds something."""
    day = gates_morning(baskets=PLANTED_BASKETS)
    run = played(tmp_path, day, day.disturbed, fault=EVERY_GATE_OPEN)
    assert gates.shown_though_held(run.stream, run.records)
    assert gates.shown_though_silent(run.stream, run.records)
    assert gates.personal_in_public(run.records)
    assert gates.decided_late(run.stream, run.records)
    assert gates.over_the_cap(run.database, run.records)
