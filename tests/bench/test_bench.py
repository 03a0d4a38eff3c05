"""The measuring itself: its events are the wire's, its figures what they are called."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from edge_agent.domain.time import DAY_MS
from edge_agent.ingest.decode import Refusal, decode_events
from edge_agent.ingest.device_mapping import reading_of, refusal_of
from edge_agent.ingest.mapping import Entry, applied
from edge_agent.wire.events import Event
from tests.bench import days, latency, mapped, mapping, people, shop_hour
from tests.bench.latency import Answering, open_loop, quantile
from tests.bench.load import EVENT_BYTES, dwelt, entered, in_hand, lifted, now_ms, screen_events
from tests.bench.measured import Aim, Measured
from tests.bench.people_stored import stored
from tests.bench.setting import ROOT
from tests.bench.wire_client import wire_client
from tests.factories import T0
from tests.integration.broker import running_broker
from tests.integration.driven_agent import driven_agent
from tests.integration.live_load import shipped

MAX_BYTES = 10_000


def decoded(payload: bytes) -> Event:
    """Returns the one event of a payload, as the agent decodes it."""
    (event,) = decode_events(payload, max_bytes=MAX_BYTES)
    assert not isinstance(event, Refusal), event
    return event


@pytest.mark.parametrize(
    "payload",
    [
        entered(1, at_ms=1.5e12, visitor=0, zone="dairy"),
        entered(123_456_789, at_ms=1.5e12 + 0.25, visitor=65_536, zone="zone-9"),
        dwelt(7, at_ms=1.5e12, visitor=299, zone="zone-0"),
        lifted(8, at_ms=1.5e12, visitor=999, product="1029743"),
    ],
)
def test_event_is_valid_and_of_the_stated_length(payload: bytes) -> None:
    """Every event of a flood is as long as the table says, and the agent takes it."""
    assert len(payload) == EVENT_BYTES
    decoded(payload)


def test_flood_repeats_no_event_and_keeps_its_order_of_time() -> None:
    """Nothing in a flood is a duplicate or late, which would be cheaper to take in."""
    events = [decoded(payload) for _, payload in screen_events("s", 500, n_visitors=20)]
    assert len({event.id for event in events}) == len(events)
    times = [event.time for event in events if event.time is not None]
    assert times == sorted(times)
    assert len(times) == len(events)


def test_every_visitor_holds_other_things() -> None:
    """No two visitors can share a remembered answer."""
    held: dict[str, list[str]] = {}
    for _, payload in in_hand("s", n_visitors=1_000):
        data = vars(decoded(payload).data)
        held.setdefault(data["visitor"].value, []).append(data["product"])
    assert len(held) == len({tuple(sorted(products)) for products in held.values()}) == 1_000


def test_hour_holds_whole_visits_and_sales() -> None:
    """The hour's events are all valid, and its people come, walk, take, pay and go."""
    n_events = shop_hour.PRESENT * shop_hour.STAY_EVENTS * 2
    types = [
        decoded(payload).type
        for topic, payload in shop_hour.hour("s", n_events)
        if not topic.endswith("/clock")
    ]
    assert len(types) == n_events
    assert types.count("sale.completed") == types.count("basket.opened")
    assert types.count("sale.completed") >= shop_hour.PRESENT
    assert {"zone.entered", "zone.dwell", "item.lifted", "basket.item_added"} <= set(types)


def test_unanswered_event_is_the_worst_latency() -> None:
    """What never came cannot better the tail."""
    assert quantile([0.001] * 98 + [math.inf] * 2, 0.99) == math.inf
    assert quantile([0.001] * 99 + [math.inf], 0.99) == 0.001


def test_every_native_message_of_the_mix_tells_one_event_of_its_own() -> None:
    """So messages and events a second are one figure; none is a repeat, late or refused."""
    mappings = {each.device: shipped(each.device) for each in mapped.SOURCES}
    states: dict[str, dict[str, Entry]] = {name: {} for name in mappings}
    received_at_ms = round(now_ms())

    def read(topic: str, payload: bytes) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        for name, each in mappings.items():
            if each.heard_on(topic) is None:
                continue
            reading = reading_of(
                each, topic, payload, state=states[name], received_at_ms=received_at_ms
            )
            assert refusal_of([reading]) is None, (name, payload)
            states[name] = applied(states[name], reading.mapped)
            found += [(event.source, event.id) for event in reading.mapped.events]
        return found

    assert [read(*message) for message in mapped.baselines("")] == [[], [], []]
    told = [read(*message) for message in mapped.native_messages("", 400)]
    assert {len(events) for events in told} == {1}
    assert len({events[0] for events in told}) == 400


def test_the_people_of_the_stream_are_known_and_learnt_of(tmp_path: Path) -> None:
    """What is measured happens: one in five is linked to his card, and his profile grows."""
    n_people = 10
    n_known = n_people // people.CARD_EVERY
    events = people.in_order(
        each for n in range(n_people) for each in people.shopping(n, T0 + n * people.APART_MS)
    )
    with driven_agent(tmp_path, now_ms=T0 - 30 * DAY_MS) as agent:
        people.make_known(agent, n_people)
        agent.tick(T0)
        people.spent_s(agent, events)
        assert agent.road.counters["accepted"] >= len(events)
        assert not agent.road.counters["dead_letters"]
        linked = "SELECT count(*) FROM link WHERE kind = 'visitor' AND since_ms >= ?"
        assert agent.rows(linked, T0) == [(n_known,)]
        baskets = "SELECT json_array_length(profile, '$.history') FROM visitor WHERE profile > ''"
        assert agent.rows(baskets) == [(people.N_EARLIER + 1,)] * n_known


def test_calls_within_calls_are_counted_once() -> None:
    """The inner one's time is the outer one's already, and what is raised passes through."""
    within = people.Within()

    @within.clocked
    def inner() -> None:
        raise KeyError

    @within.clocked
    def outer() -> None:
        with pytest.raises(KeyError):
            inner()

    outer()
    assert within.n_calls == 1
    with pytest.raises(KeyError):
        inner()
    assert within.n_calls == 2


def test_stored_visitors_are_there_and_consent(tmp_path: Path) -> None:
    """An agent starts on them, takes their statements over, and knows one by his name's hash."""
    n_visitors = 50
    with driven_agent(tmp_path, now_ms=T0 - DAY_MS):
        pass
    stored(tmp_path / "state.db", n_visitors=n_visitors, until_ms=T0 - DAY_MS)
    with driven_agent(tmp_path, now_ms=T0) as agent:
        assert agent.rows("SELECT count(*) FROM visitor") == [(n_visitors,)]
        assert agent.rows("SELECT count(*) FROM consent") == [(n_visitors // 5,)]
        assert agent.rows("SELECT count(*) FROM seal") == [(n_visitors // 5,)]
        (name,) = agent.rows("SELECT id FROM visitor WHERE kind = 'loyalty' LIMIT 1")[0]
        person = agent.road.steps._state.visitor(name)
        assert len(person.profile.history) == 5
        assert len(agent.road.steps._state.links_to(person.id)) == 1


@pytest.mark.broker
def test_silent_peer_is_measured_as_endless(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events that nobody answers count, and count as taking for ever."""
    monkeypatch.setattr(latency, "PATIENCE_S", 0.1)
    with running_broker(tmp_path_factory.mktemp("broker")) as broker:
        silent = Answering("store/s/event/x", "store/s/screen/x/recommendation")
        assert open_loop(broker.port, silent, rate=100, n_events=5) == [math.inf] * 5


def test_ratio_is_taken_within_each_round() -> None:
    """A round in which the whole machine was slow does not move the ratio."""
    line = Measured(
        name="x",
        unit="events/s",
        values=(100.0, 10.0),
        baseline=(200.0, 20.0),
        aim=Aim("least", 0.5),
    )
    ratio = line.ratio
    assert ratio is not None
    assert (ratio.least, ratio.most) == (0.5, 0.5)
    assert line.is_met


def test_missed_aim_is_not_met() -> None:
    """An aim at most and an aim at least fail on their own side."""
    assert not Measured(name="x", unit="MiB", values=(121.0,), aim=Aim("most", 120.0)).is_met
    assert not Measured(name="x", unit="x", values=(0.2,), aim=Aim("least", 0.3)).is_met


@pytest.mark.broker
def test_wire_client_hears_what_it_publishes(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Messages of every length of the remaining-length field arrive whole and in order."""
    payloads = [bytes([65 + n % 26]) * length for n, length in enumerate((0, 1, 127, 20_000, 3))]
    with (
        running_broker(tmp_path_factory.mktemp("broker")) as broker,
        wire_client(broker.port, "both", subscribe=("t/+",)) as client,
    ):
        for payload in payloads:
            client.publish("t/x", payload)
        heard: list[tuple[str, bytes]] = []
        while len(heard) < len(payloads) or client.n_unacknowledged:
            found = client.turn(10.0)
            assert found or client.n_unacknowledged, "the broker is silent"
            heard.extend(found)
    assert heard == [("t/x", payload) for payload in payloads]


def test_baseline_of_a_mapping_is_json_of_the_same_content() -> None:
    """JSON is its own measure; XML and form fields are measured against what they hold."""
    assert mapping.document(b' {"a": 1}') == b' {"a": 1}'
    xml = json.loads(mapping.document(b'<a b="1"><c>2</c></a>'))
    assert (xml["name"], xml["b"], xml["inner"][0]["text"]) == ("a", "1", "2")
    assert json.loads(mapping.document(b"a=1&b=%7B%7D")) == {"a": "1", "b": "{}"}
    assert json.loads(mapping.document(b"online")) == "online"


def test_every_sample_of_every_folder_is_measured() -> None:
    """The median is over all that is supported, not over what is quick."""
    folders = sorted((ROOT / "hardware").glob("*/samples.jsonl"))
    lines = [line for each in folders for line in each.read_text(encoding="utf-8").splitlines()]
    # What clears a retained message has nothing to be compared with.
    n_lines = sum(json.loads(line)["payload"] != "" for line in lines)
    found = mapping.samples(ROOT / "hardware")
    assert len(found) == n_lines
    assert {each.device for each in found} == {each.parent.name for each in folders}


def test_interval_over_days_holds_the_ratio_and_widens_with_their_differences() -> None:
    """Equal days leave no doubt; unequal ones do, around the ratio of the sums."""
    equal = np.array([[100.0, 30.0, 50.0, 10.0]] * 20)
    assert days.interval(equal, days.hits_ratio) == pytest.approx((3.0, 3.0, 3.0))
    assert days.interval(equal, days.share_ratio) == pytest.approx((1.5, 1.5, 1.5))
    unequal = equal * np.array([[1.0, 1.0, 1.0, 1.0], [1.0, 2.0, 1.0, 1.0]] * 10)
    ratio, low, high = days.interval(unequal, days.hits_ratio)
    assert ratio == pytest.approx(4.5)
    assert 3.0 < low < ratio < high < 6.0
