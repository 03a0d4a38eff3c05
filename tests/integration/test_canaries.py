"""Known identifiers in every field of every event type, for a day: none is found anywhere.

Looked through: every byte of every file in the state folder, what the store's topics and HQ were
sent (the pages show nothing else), and the log; for each identifier in all its spellings,
encodings and bare hashes. The name under which a device's account publishes (`source`) is given
at enrolment and bound to its topic by the broker; it is the one field without a canary. A
complaint's story is meant for the team where its person stands, as typed: this floor has none.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import random
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, get_args

import pytest
from pydantic import BaseModel

from edge_agent.domain.time import HOUR_MS, MINUTE_MS, rfc3339_from_ms
from edge_agent.wire.base import VisitorRef
from edge_agent.wire.events import EVENT_TYPES, CloudEvent
from tests.factories import T0
from tests.integration.driven_agent import STORE, DrivenAgent, driven_agent

N_CANARIES: Final = 64
N_CANARIES_SOAK: Final = 10_000
HOURS: Final = 14
KINDS: Final = ("ble", "wifi", "track", "app", "loyalty", "receipt", "basket", "customer")
HASHES: Final = ("md5", "sha1", "sha224", "sha256", "sha384", "sha512", "sha3_256", "blake2b",
                 "blake2s")  # fmt: skip
SEPARATED: Final = 2
"""Digits between two separators, in the spelling with them."""
PLAIN: Final[dict[str, Any]] = {
    "zone": "dairy", "product": "p1", "quantity": 1, "amount": "1.00", "discount": "0.00",
    "currency": "USD", "total": "1.00", "dwell_s": 5.0, "count": 3, "length": 2, "entries": 12,
    "exits": 11, "purposes": ["profiling", "sending_to_hq"], "register": "pos-2",
    "screen": "dairy-1", "decision": "d1", "campaign": "c1", "channel": "till",
}  # fmt: skip

# Staff are called for all that they may be called for, and to a second team.
RULES: Final = """version = "v1"
[help]
lifts_and_returns = 1
queue_length = 1
[teams.floor]
acknowledge_within_s = 30
escalate_to = "office"
[teams.office]
"""
# Told on and kept nowhere, whatever stands in them.
UNKEPT: Final = frozenset({
    "instance", "lot", "business_step", "disposition", "read_point", "business_location",
    "receipt", "terminal", "programme",
})  # fmt: skip


def canaries(n: int) -> list[tuple[str, str]]:
    """Returns identifiers of every kind as devices send them, none of them by chance in a file."""
    chance = random.Random(7)
    made = []
    for number in range(n):
        kind = KINDS[number % len(KINDS)]
        digits = f"{chance.randrange(10**13):013}"
        address = ":".join(f"{chance.randrange(256):02X}" for _ in range(6))
        token = f"{chance.getrandbits(80):020x}"
        value = {"ble": address, "wifi": address, "track": f"trk-{token}", "app": f"app-{token}"}
        made.append((kind, value.get(kind, digits)))
    return made


def forms_of(value: str) -> set[bytes]:
    """Returns everything that an identifier could be found as."""
    plain = "".join(character for character in value if character.isalnum())
    pairs = [plain[at : at + SEPARATED] for at in range(0, len(plain), SEPARATED)]
    spelled = {value, plain, *(mark.join(pairs) for mark in ":-. ")}
    spelled |= {each.lower() for each in spelled} | {each.upper() for each in spelled}
    spelled.add(plain[::-1])
    found = {each.encode() for each in spelled}
    for each in {value, plain, plain.lower(), plain.upper()}:
        data = each.encode()
        found |= {data.hex().encode(), data.hex().upper().encode()}
        found.add(urllib.parse.quote(each).encode())
        found.add("".join(f"%{byte:02X}" for byte in data).encode())
        found.add(each.encode("utf-16-le"))
        for shift in range(3):
            # What lies around it decides the first and last digits of base 64.
            coded = base64.b64encode(bytes(shift) + data)[4:-4]
            found |= {coded, coded.translate(bytes.maketrans(b"+/", b"-_"))}
        for name in HASHES:
            digest = hashlib.new(name, data)
            found |= {digest.digest()[:12], digest.hexdigest()[:24].encode()}
    return {each for each in found if len(each) >= 8}


def documents(canary: tuple[str, str], at_ms: int, number: int) -> Iterator[dict[str, Any]]:
    """Yields an event of every type for each of its fields, with the canary in that field."""
    kind, value = canary
    for event_type in EVENT_TYPES:
        for field in ("", "id", "subject", "dataschema", "unknown", *_texts(event_type)):
            name = f"n{number}-{event_type.__name__}-{field}"
            yield _document(event_type, name, field, kind, value, at_ms)


def _texts(event_type: type[CloudEvent]) -> list[str]:
    data = _data_of(event_type)
    return [
        name
        for name, each in data.model_fields.items()
        if str in _types_in(each.annotation) and name not in {"currency", *UNKEPT}
    ] + (["lines"] if "lines" in data.model_fields else [])


def _types_in(annotation: Any) -> set[Any]:
    """Returns the types that an annotation is made of: a text that may be missing is one too."""
    return {annotation}.union(*(_types_in(each) for each in get_args(annotation)))


def _data_of(event_type: type[CloudEvent]) -> type[BaseModel]:
    data = event_type.model_fields["data"].annotation
    assert isinstance(data, type)
    return data


def _document(
    event_type: type[CloudEvent], name: str, field: str, kind: str, value: str, at_ms: int
) -> dict[str, Any]:
    fields = _data_of(event_type).model_fields
    data: dict[str, Any] = {}
    for each, what in fields.items():
        key = what.alias or each
        if key in PLAIN:
            data[key] = PLAIN[key]
        elif each == "visitor":
            data[key] = {"kind": kind, "value": value}
        elif each in {"basket", "complaint"} or each in UNKEPT:
            data[key] = value
        elif each == "lines":
            product = value if field == "lines" else "p1"
            line = {"product": product, "quantity": 1, "amount": "1.00"}
            data[key] = [{**line, "unit": value, "lot": value}]
        elif each in {"story", "text_version"}:
            data[key] = f"{value} is angry" if each == "story" else "v1"
    if field in fields:
        data[fields[field].alias or field] = value
    event_id = value if field == "id" else hashlib.blake2s(f"{name}".encode()).hexdigest()[:20]
    own = {"subject": value, "dataschema": value, "unknown": value}
    return {
        "specversion": "1.0",
        "id": event_id,
        "source": "pos-2",
        "type": get_args(event_type.model_fields["type"].annotation)[0],
        "time": rfc3339_from_ms(at_ms),
        "data": {**data, "extra": value},
    } | ({field: own[field]} if field in own else {})


def live(agent: DrivenAgent, canaries_: list[tuple[str, str]], *, every_field: bool) -> int:
    """Lets a day pass in which they are all in everything; returns how many events there were."""
    n_events = 0
    n_types = len(EVENT_TYPES)
    for number, canary in enumerate(canaries_):
        at_ms = T0 + number * HOURS * HOUR_MS // len(canaries_)
        for place, each in enumerate(documents(canary, at_ms, number)):
            # Every field for some, and a share of them for the others.
            if every_field or (place + number) % n_types == 0:
                where = f"store/{STORE}/event/pos-2"
                agent.raw(where, json.dumps(each).encode())
                n_events += 1
        agent.raw(f"store/{STORE}/event/pos-2", canary[1].encode())
        agent.raw(f"store/{STORE}/event/pos-2", json.dumps({"id": canary[1]}).encode())
        request = {
            "source": "pos-2", "schema_version": 1, "screen": "dairy-1",
            "visitor": {"kind": canary[0], "value": canary[1]}, "basket": canary[1],
        }  # fmt: skip
        agent.raw(f"store/{STORE}/recommend/request", json.dumps(request).encode())
        agent.turn()
        agent.tick(at_ms + MINUTE_MS)
    agent.tick(T0 + (HOURS + 2) * HOUR_MS)
    agent.turn()
    return n_events


def found_in(data: bytes, canaries_: list[tuple[str, str]]) -> list[str]:
    """Returns which of them are in some bytes, and as what."""
    # Many of a hundred forms each: looked up by their first eight bytes, at every place.
    by_start: dict[bytes, list[tuple[str, bytes]]] = {}
    for kind, value in canaries_:
        for form in forms_of(value):
            by_start.setdefault(form[:8], []).append((f"{kind} {value}", form))
    return [
        f"{whose} as {form!r}"
        for at in range(len(data) - 7)
        for whose, form in by_start.get(data[at : at + 8], ())
        if data.startswith(form, at)
    ]


def test_no_identifier_is_found_anywhere_in_any_form(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, *, soak: bool
) -> None:
    """In no file, topic, page, log line or message to HQ, though it was in every field."""
    planted = canaries(N_CANARIES_SOAK if soak else N_CANARIES)
    caplog.set_level(logging.DEBUG)
    folder = tmp_path / "state"
    rules = tmp_path / "policy.toml"
    rules.write_text(RULES, encoding="utf-8")
    with driven_agent(folder, rules=rules) as agent:
        n_events = live(agent, planted[:3], every_field=True)
        n_events += live(agent, planted[3:], every_field=False)
        hq: Any = agent.agent._hq_link
        sent = [b" ".join((topic.encode(), payload)) for topic, payload, _ in agent.sent]
        to_hq = [b" ".join((topic.encode(), payload)) for topic, payload, _ in hq.published]
        waiting = [json.dumps(each).encode() for each in agent.for_hq()]
        counters = agent.road.counters
        n_calls = agent.rows("SELECT count(*) FROM help_call")[0][0]
        dead = agent.rows("SELECT reason, count(*) FROM dead_letter GROUP BY reason")
        files = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    files += [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    logged = [f"{each.getMessage()} {vars(each)}".encode() for each in caplog.records]
    everything = b"\n".join((*sent, *to_hq, *waiting, *files, *logged))
    told = found_in(everything, planted)
    assert not told, f"{len(told)}: " + "\n".join(told[:20])
    # Silence would pass as well: events were taken, refused, told and sent.
    assert counters["accepted"] > n_events / 3
    assert dict(dead)["personal"] > 50
    assert n_calls
    assert sent
    assert to_hq
    assert counters["egress_refused"] == 0


def test_the_search_finds_what_is_there() -> None:
    """Each form of an identifier is found in bytes that hold it."""
    planted = canaries(8)
    for kind, value in planted:
        for form in forms_of(value):
            hidden = b"...." + form + b"...."
            assert [each for each in found_in(hidden, planted) if value in each], (kind, form)


def test_every_event_type_has_an_event_that_is_taken() -> None:
    """The canaries go through the door: the documents without one in a name are events."""
    for event_type in EVENT_TYPES:
        document = _document(event_type, "n", "", "ble", "AC:23:3F:A0:11:22", T0)
        event_type.model_validate_json(json.dumps(document))
    assert VisitorRef.model_fields.keys() == {"kind", "value"}
