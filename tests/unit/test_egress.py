"""The gate to HQ: what is on the list leaves, and nothing else."""

from __future__ import annotations

import ast
import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, cast, get_args, get_origin

import pytest
from pydantic import BaseModel

import edge_agent
from edge_agent.ports import UnitOfWork
from edge_agent.runner.egress import META_KEY, TEXTS_KEPT, HqGate
from edge_agent.sync.egress import ALLOWED, Names, Passed, Refused, checked, may_name
from edge_agent.wire.summaries import (
    Confirmation,
    CustomerUpdate,
    DeviceState,
    GatewayState,
    Interest,
    Summary,
    SummaryCell,
)
from tests.factories import CARD, PHONE, T0
from tests.fakes import FakeLink

NAMES: Final = Names(
    store="s1", zones=frozenset({"dairy"}), is_product=lambda each: each == "6400000000012"
)
AT: Final = datetime(2017, 12, 2, 15, tzinfo=UTC)
SUMMARY: Final = Summary(
    summary_id="s1.dwell.1512226800.1",
    store="s1",
    kind="dwell",
    period_start=AT,
    period_end=AT,
    revision=1,
    k=10,
    cells=(
        SummaryCell(
            keys={"zone": "dairy"},
            n_visitors=12,
            counts={"stays": 12},
            sums={"dwell_s": "120.5"},
            histogram=(1, 11),
        ),
    ),
)
CUSTOMER: Final = CustomerUpdate(
    update_id="ab" * 12,
    reference="crm-6400000009005-x",
    store="s1",
    activity_date="2017-12-02",
    revision=1,
    segments=("regulars",),
    interests=(Interest(category="GROCERY", strength=0.5),),
    choices=("5590287", "6400000000012"),
)
STATE: Final = GatewayState(
    state_id="s1.state.1512226800",
    store="s1",
    at=AT,
    version="0.1.0",
    model="ranker-2026.11.3",
    health="degraded",
    problems=("no_model",),
    counters={"accepted": 1},
    devices=(
        DeviceState(device="cam-1", last_seen=AT, per_hour=1.5, skew_s=-0.5, inside_at_closing=20),
    ),
)
CONFIRM: Final = Confirmation(
    confirm_id="c1.taken", store="s1", command="c1", outcome="taken", reason="expired"
)
SENT: Final[dict[str, tuple[str, BaseModel]]] = {
    "summary": ("hq/s1/up/summary/dwell", SUMMARY),
    "customer": ("hq/s1/up/customer", CUSTOMER),
    "state": ("hq/s1/up/state", STATE),
    "confirm": ("hq/s1/up/confirm", CONFIRM),
}


def paths_of(model: Any, path: str = "") -> set[str]:
    """Returns the paths of all that a wire model can say, as the gate names them."""
    if isinstance(model, type) and issubclass(model, BaseModel):
        found: set[str] = set()
        for name, field in model.model_fields.items():
            found |= paths_of(field.annotation, f"{path}.{name}" if path else name)
        return found
    arguments = [each for each in get_args(model) if each not in {type(None), ...}]
    if get_origin(model) is dict:
        return {f"{path}{{}}", f"{path}.*"}
    if get_origin(model) is tuple:
        return paths_of(arguments[0], f"{path}[]")
    models = [each for each in arguments if not isinstance(each, str | int)]
    return set().union(*(paths_of(each, path) for each in models)) if models else {path}


@pytest.mark.parametrize("kind", SENT)
def test_the_list_names_every_field_of_the_wire_and_no_other(kind: str) -> None:
    """A new field is refused until somebody has decided that it may leave."""
    fields = set(ALLOWED[kind])
    assert fields - {"cells[].histogram"} == paths_of(type(SENT[kind][1]))


@pytest.mark.parametrize("kind", SENT)
def test_what_the_agent_means_to_send_passes(kind: str) -> None:
    """Whole messages of every kind, and all their fields are told."""
    topic, message = SENT[kind]
    found = checked(topic, message.model_dump_json().encode(), NAMES)
    assert isinstance(found, Passed), found
    assert found.kind == kind
    assert "store" in found.fields


def spoiled(document: Any, value: Any) -> list[Any]:
    """Returns copies of a document, each with the value in the place of one of its texts."""
    found: list[Any] = []
    if isinstance(document, dict):
        for key, each in document.items():
            found += [{**document, key: spoilt} for spoilt in spoiled(each, value)]
        found.append({**document, "visitor": value})
        found.append({**document, str(value): 1})
    elif isinstance(document, list):
        for place, each in enumerate(document):
            for spoilt in spoiled(each, value):
                found.append([*document[:place], spoilt, *document[place + 1 :]])
    elif isinstance(document, str):
        found.append(value)
    return found


@pytest.mark.parametrize("value", [PHONE, CARD, "ac233fa01122", "somebody@example.org", "9" * 40])
@pytest.mark.parametrize("kind", ["summary", "customer", "state"])
def test_an_identifier_in_any_place_stops_the_message(kind: str, value: str) -> None:
    """Only a handle that HQ gave itself may look like anything at all."""
    topic, message = SENT[kind]
    document = message.model_dump(mode="json")
    spoilt = spoiled(document, value)
    assert len(spoilt) > 10
    passed = [
        each
        for each in spoilt
        if isinstance(checked(topic, json.dumps(each).encode(), NAMES), Passed)
    ]
    own_words = {"reference", "segments"}
    for each in passed:
        assert {key for key in document if document[key] != each[key]} <= own_words


@pytest.mark.parametrize(
    "topic",
    [
        "hq/s1/up/event", "hq/s2/up/state", "hq/s1/down/state", "hq/s1/up/state/x", "hq/s1/up",
        "hq/s1/up/summary", "hq/s1/up/summary/raw", "store/s1/up/state", "",
    ],
)  # fmt: skip
def test_no_other_topic_is_sent_to(topic: str) -> None:
    """The kinds of the list on their own topics, of this store."""
    assert isinstance(checked(topic, STATE.model_dump_json().encode(), NAMES), Refused)


@pytest.mark.parametrize("payload", [b"", b"x", b"[]", b"1", b'"x"', b"\xff\xfe"])
def test_what_is_no_object_is_refused(payload: bytes) -> None:
    """The gate reads what it lets through."""
    assert isinstance(checked("hq/s1/up/state", payload, NAMES), Refused)


def test_names_of_things_pass_and_identifiers_do_not() -> None:
    """Short codes and words; no long runs of digits or hexadecimals, however separated."""
    for name in (
        "dairy",
        "checkout-2",
        "HeVi-osasto 12",
        "DRUG GM",
        "5590287",
        "Café & co",
        "a/b",
    ):
        assert may_name(name), name
    for text in (PHONE, PHONE.replace(":", "-"), PHONE.replace(":", ""), CARD,
                 "6400-0000-0900-5", "+358 40 123 4567", "a@b.fi", "", "x" * 65, "\u200bx",
                 "31198570044"):  # fmt: skip
        assert not may_name(text), text


class Saved:
    """A unit of work that keeps what is put in `meta`."""

    def __init__(self) -> None:
        self.meta: dict[str, str] = {}

    def add(self, table: str, row: tuple[Any, ...]) -> None:
        """Keeps a row."""
        assert table == "meta"
        self.meta[row[0]] = row[1]


def gate(link: FakeLink, counters: Counter[str], saved: str | None = None) -> HqGate:
    """Returns a gate of this store."""
    return HqGate(link, NAMES, UTC, counters=counters, saved=saved)


def test_what_left_today_is_told_across_restarts_and_what_was_refused_never_left() -> None:
    """Kinds, messages, bytes and fields as they were on the link, and no text of the refused."""
    link, counters = FakeLink(), Counter[str]()
    first = gate(link, counters)
    payload = STATE.model_dump_json().encode()
    assert first.send("m1", "hq/s1/up/state", payload, now_ms=T0)
    leak = json.dumps({"store": "s1", "visitor": CARD}).encode()
    assert not first.send("m2", "hq/s1/up/state", leak, now_ms=T0)
    assert not first.send("m2", "hq/s1/up/state", leak, now_ms=T0)
    saved = Saved()
    first.save(cast(UnitOfWork, saved))
    assert CARD not in saved.meta[META_KEY]
    again = gate(link, counters, saved.meta[META_KEY])
    assert again.send("m3", "hq/s1/up/state", payload, now_ms=T0 + 1)
    told = again.told(5, now_ms=T0 + 2)
    account = told["kinds"]["state"]
    assert (account["sent"], account["bytes"], account["refused"]) == (2, 2 * len(payload), 1)
    assert {"devices[].device", "health"} <= set(account["fields"])
    assert [each["text"] for each in told["texts"]] == [payload.decode()]
    assert [each[1] for each in link.published] == [payload, payload]
    assert counters == {"egress_refused": 1}
    assert again.told(5, now_ms=T0 + 86_400_000)["kinds"] == {}


def test_the_texts_are_bounded_and_can_be_forgotten() -> None:
    """A month's backlog must not fill the memory, nor outlive somebody who is forgotten."""
    link = FakeLink()
    one = gate(link, Counter())
    for n in range(TEXTS_KEPT + 5):
        one.send(f"m{n}", "hq/s1/up/state", STATE.model_dump_json().encode(), now_ms=T0)
    assert len(one.told(TEXTS_KEPT + 5, now_ms=T0)["texts"]) == TEXTS_KEPT
    one.forget_texts()
    assert one.told(5, now_ms=T0)["texts"] == []


def test_nothing_else_publishes_to_hq() -> None:
    """In the agent's packages two files call `publish` on a link, and one on HQ's."""
    root = Path(edge_agent.__file__).parent
    found = set()
    for folder in ("runner", "engine", "sync", "publish", "state", "ingest", "identify"):
        for path in sorted((root / folder).glob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Attribute) and node.attr == "publish":
                    found.add(f"{folder}/{path.name}: {ast.unparse(node.value)}")
    assert found == {"runner/egress.py: self._link", "runner/outbox.py: self._link"}
    source = (root / "runner" / "outbox.py").read_text(encoding="utf-8")
    assert "_link" not in source[source.index("class HqOutbox") :]
    app = (root / "app.py").read_text(encoding="utf-8")
    assert "_hq_link.publish" not in app
