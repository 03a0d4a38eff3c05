"""The link to HQ, byte by byte: nothing raw, no identifier, nobody who did not agree to it."""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from edge_agent.domain.policy import K_FLOOR
from edge_agent.replay.identifiers import RawIdentifier
from edge_agent.wire.summaries import (
    Confirmation,
    CustomerUpdate,
    GatewayState,
    Summary,
    SummaryCell,
)
from tests.e2e.link_recorder import DOWN, UP
from tests.e2e.mqtt_bytes import PUBLISH, Published, packets, published
from tests.e2e.store import running_store
from tests.e2e.stream import STORE, Message, Morning, morning

pytestmark = pytest.mark.broker

SHORTEST: Final = 8
"""Internal ids below this length are no names; they would be found by chance."""
IMPERSONAL: Final[dict[str, type[Confirmation | GatewayState]]] = {
    "confirm": Confirmation,
    "state": GatewayState,
}
"""Messages about commands and the gateway itself; the search for names goes through them too."""
INTERNAL: Final = {
    "visitors": "SELECT id FROM visitor",
    "pseudonyms": "SELECT pseudonym FROM link",
    "visits": "SELECT id FROM visit",
    "baskets": "SELECT id FROM basket",
    "decisions": "SELECT id FROM decision",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossed:
    """What crossed the link in a morning.

    Attributes:
        up: Every byte towards HQ, and `down` every byte from it.
        internal: Names that the agent itself gave to people and what they did, by kind.
    """

    up: bytes
    down: bytes
    internal: dict[str, frozenset[str]]


def crossed_in(folder: Path, day: Morning, *, fault: str | None = None) -> Crossed:
    """Returns what crosses the HQ link in a morning."""
    with running_store(folder, fault=fault) as store:
        store.start_agent()
        store.open_day(day)
        store.publish(day.day)
        store.wait_receipt("closed")
        if fault is None:
            store.wait_drained()
        store.agent.stop()
        with closing(sqlite3.connect(store.database)) as database:
            internal = {
                kind: frozenset(str(name) for (name,) in database.execute(query))
                for kind, query in INTERNAL.items()
            }
        return Crossed(
            up=store.hq_link.bytes_of(UP), down=store.hq_link.bytes_of(DOWN), internal=internal
        )


def leaks(crossed: Crossed, day: Morning) -> list[str]:
    """Returns everything that went up and must not have; empty when nothing did."""
    up = crossed.up.lower()
    told = [
        f"{each.kind} {form!r}"
        for each in day.identifiers
        for form in forms_of(each)
        if form.lower() in up
    ]
    for kind, names in crossed.internal.items():
        told += [f"{kind}: {n}" for n in names if len(n) >= SHORTEST and n.lower().encode() in up]
    for name in event_ids(day.day):
        if name.encode() in up:
            told.append(f"event {name}")
    told += ["a CloudEvent"] if b"specversion" in up else []
    for message in publishes(crossed.up):
        told += strangers(message, day)
    return told


def forms_of(identifier: RawIdentifier) -> Iterator[bytes]:
    """Yields the spellings under which an identifier could slip through."""
    value = identifier.value
    plain = value.replace(":", "").replace("trk-", "")
    yield from {value.encode(), plain.encode(), plain[::-1].encode()}
    yield value.encode().hex().encode()
    # Base 64 depends on where in its text the value begins: the middle of each spelling stays.
    for shift in range(3):
        coded = base64.b64encode(bytes(shift) + value.encode())
        yield coded[4 : len(coded) // 4 * 4 - 4]
    if identifier.kind == "ble":
        yield bytes.fromhex(plain)


def event_ids(messages: tuple[Message, ...]) -> Iterator[str]:
    """Yields the ids of all events."""
    for message in messages:
        if "/event/" in message.topic:
            yield str(json.loads(message.payload)["id"])


def publishes(data: bytes) -> list[Published]:
    """Returns every message in the bytes of a direction; all of them must be whole packets."""
    # A connection that was never cut carries whole packets only.
    buffer = bytearray(data)
    found = [published(each) for each in packets(buffer) if each.type == PUBLISH]
    assert not buffer, "bytes that are no packet"
    return found


def strangers(message: Published, day: Morning) -> list[str]:
    """Returns what in a message is no summary, no confirmation and no consenting customer's."""
    _, store, way, kind = message.topic.split("/")[:4]
    if (store, way) != (STORE, "up"):
        return [f"topic {message.topic}"]
    try:
        if kind == "summary":
            summary = Summary.model_validate_json(message.payload)
            return [
                f"{summary.summary_id}: a cell of {cell.n_visitors}"
                for cell in summary.cells
                if not (_is_of_doors(cell) or (cell.n_visitors or 0) >= K_FLOOR)
            ]
        if kind == "customer":
            update = CustomerUpdate.model_validate_json(message.payload)
            return [] if update.reference in day.references else [f"customer {update.reference}"]
        if kind in IMPERSONAL:
            IMPERSONAL[kind].model_validate_json(message.payload)
            return []
    except ValueError as error:
        return [f"{message.topic}: {error}"]
    return [f"topic {message.topic}"]


def _is_of_doors(cell: SummaryCell) -> bool:
    """Tells whether a cell is what light barriers counted, which know no visitors at all."""
    return (
        cell.keys == {"place": "doors"}
        and cell.counts.keys() <= {"entries", "exits"}
        and not cell.sums
        and cell.histogram is None
    )


@pytest.fixture(scope="module")
def crossed(tmp_path_factory: pytest.TempPathFactory, *, baskets: int) -> Crossed:
    """A morning's bytes on the link."""
    return crossed_in(tmp_path_factory.mktemp("hq-link"), morning(baskets=baskets))


def test_nothing_raw_and_nobody_unconsented_crosses_the_hq_link(
    crossed: Crossed, *, baskets: int
) -> None:
    """In every byte that went up there are only groups of k, consenting customers and answers."""
    day = morning(baskets=baskets)
    told = leaks(crossed, day)
    assert not told, "\n".join(told)
    sent = publishes(crossed.up)
    cells = [
        cell
        for each in sent
        if "/summary/" in each.topic
        for cell in Summary.model_validate_json(each.payload).cells
    ]
    # Silence would pass as well: what may cross did cross.
    assert [cell for cell in cells if not _is_of_doors(cell)]
    assert any(each.topic.endswith("/customer") for each in sent)
    assert all(len(names) > 0 for names in crossed.internal.values())


def test_hq_names_only_consenting_customers_to_the_store(
    crossed: Crossed, *, baskets: int
) -> None:
    """What comes down names nobody either whom the store may not tell HQ about."""
    day = morning(baskets=baskets)
    told = b"".join(_claims(each.payload) for each in publishes(crossed.down)) + crossed.down
    named = {each.value for each in day.identifiers if each.value.encode() in told}
    allowed = {
        json.loads(each.payload)["data"]["visitor"]["value"]
        for each in day.opening
        if each.topic.endswith("/consent-desk")
    }
    assert named
    assert named <= allowed


def _claims(token: bytes) -> bytes:
    """Returns what a signed command says: the middle part of its compact form."""
    middle = token.split(b".")[1]
    return base64.urlsafe_b64decode(middle + b"=" * (-len(middle) % 4))
