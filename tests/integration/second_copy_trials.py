"""A store whose people were told to be left alone, and what becomes of it when its disk rots."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Final

from edge_agent.domain.time import DAY_MS, MINUTE_MS, SECOND_MS, rfc3339_from_ms
from edge_agent.errors import StoreError
from edge_agent.hq.keys import public_text
from edge_agent.shell.opening import ENDS_OF_ROT
from edge_agent.shell.signing import DEMO_KEY_ID, demo_private_key, sign_command
from edge_agent.wire import topics
from tests.factories import T0, command
from tests.integration.driven_agent import STORE, TILL, DrivenAgent, driven_agent, told

CARDS: Final = tuple(f"64000000{n:05d}" for n in range(12))
COMPLAINED: Final = CARDS[:4]
"""They have an open complaint, and their telephones are known to be theirs."""
WITHDREW: Final = CARDS[4:8]
"""They consented once, and withdrew it; what they bought is still known."""
BEFORE: Final = T0 - 3 * DAY_MS
LATER: Final = T0 + 30 * MINUTE_MS
PRODUCTS: Final = tuple(f"102974{n}" for n in range(5))
KEY: Final = demo_private_key()
DATABASE: Final = "state.db"
LOG: Final = "state.db-wal"
SECOND: Final = "state.db.second"
HQ_HEARD: Final = "hq_heard"
MORE: Final = """
[screens.kiosk-1]
zone = "dairy"
audience = "private"
"""


class SetClock:
    """A gateway's clock that stands where it is put; nothing ever corrects it."""

    present_ms = 0
    is_trusted = True
    is_in_step = True

    def __init__(self, *, floor_ms: int = 0) -> None:
        self._floor_ms = floor_ms

    def now_ms(self) -> int:
        """Returns the present instant."""
        return max(self._floor_ms, SetClock.present_ms)

    def monotonic_s(self) -> float:
        """Returns the same in seconds."""
        return self.now_ms() / SECOND_MS


def running(folder: Path, at_ms: int) -> AbstractContextManager[DrivenAgent]:
    """An agent on a folder, at an instant."""
    SetClock.present_ms = at_ms
    return driven_agent(
        folder, clock="system", extra=MORE, key=public_text(KEY), system_clock=SetClock
    )


def at(now_ms: int) -> None:
    """Moves every agent's clock on."""
    SetClock.present_ms = now_ms


def card(number: str) -> dict[str, str]:
    """Returns a loyalty card as an event names it."""
    return {"kind": "loyalty", "value": number}


def phone(number: str) -> dict[str, str]:
    """Returns the telephone of a card's holder."""
    return {"kind": "ble", "value": f"AC233F{int(number) % 1_000_000:06d}"}


def feed(agent: DrivenAgent, at_ms: int) -> None:
    """Has HQ say what is sold: of what has no title nothing is said to anybody."""
    rows = [{"product": each, "title": each, "price": "1.00"} for each in PRODUCTS]
    times = {
        "issued_at": rfc3339_from_ms(at_ms - 1),
        "expires_at": rfc3339_from_ms(at_ms + DAY_MS),
    }
    # Each is newer than the one before: no start is earlier than the one before it.
    said = command("catalogue", {"rows": rows}, version=at_ms, **times)
    signed = sign_command(said, key=KEY, key_id=DEMO_KEY_ID)
    agent.raw(topics.hq_down(STORE, "catalogue"), signed, link="hq")
    agent.turn()


def shop(agent: DrivenAgent, number: str, at_ms: int, *, when: str) -> None:
    """Has a card's holder come to the till with his telephone, show the card and pay."""
    basket = {"basket": f"{when}-{number}", "register": TILL}
    # A receipt recommends what others buy.
    product = PRODUCTS[int(number) % len(PRODUCTS)]
    item = {"product": product, "quantity": 1, "amount": "1.00"}
    line = {**item, "discount": "0.00"}
    sale = {"currency": "USD", "total": "1.00", "lines": [line]}
    here = {"visitor": phone(number), "zone": "checkout-2"}
    whose = {"visitor": card(number)}
    happens: list[tuple[str, str, dict[str, Any]]] = [
        ("ble-gw-1", "zone.entered", here),
        (TILL, "basket.opened", basket),
        (TILL, "loyalty.scanned", basket | whose),
        (TILL, "basket.item_added", basket | item),
        (TILL, "sale.completed", basket | sale | whose),
        ("ble-gw-1", "zone.left", here),
    ]
    for n, (source, kind, data) in enumerate(happens):
        agent.raw(
            topics.event(STORE, source),
            json.dumps(told(source, kind, at_ms + n, f"{when}-{number}-{n}", **data)).encode(),
        )
    agent.turn()


def make_store(folder: Path) -> Path:
    """Fills a state folder and leaves it as a kill would, its log not folded back."""
    live, left = folder / "live", folder / "left"
    live.mkdir(parents=True)
    with running(live, BEFORE) as agent:
        feed(agent, BEFORE)
        for n, number in enumerate(CARDS):
            at_ms = BEFORE + n * SECOND_MS
            agent.take(told("desk", "consent.granted", at_ms, f"g{n}", **_consent(number)))
        for n, number in enumerate(CARDS):
            at_ms = T0 + n * MINUTE_MS // 2
            at(at_ms)
            shop(agent, number, at_ms, when="before")
        # Half of what was said is in the file, the other half still in its log.
        agent.agent._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        at(T0 + 10 * MINUTE_MS)
        for n, number in enumerate(COMPLAINED):
            data = {"visitor": card(number), "complaint": f"case-{n}"}
            agent.take(told("desk", "complaint.opened", T0 + 10 * MINUTE_MS, f"c{n}", **data))
            if n == len(COMPLAINED) // 2:
                agent.agent._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        for n, number in enumerate(WITHDREW):
            data = {"visitor": card(number)}
            agent.take(told("desk", "consent.withdrawn", T0 + 10 * MINUTE_MS, f"w{n}", **data))
        left.mkdir()
        for name in (DATABASE, LOG, SECOND, HQ_HEARD):
            shutil.copyfile(live / name, left / name)
        shutil.copytree(live / "keys", left / "keys")
    return left


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What an agent did that was started on a rotten folder.

    Attributes:
        offers: What was said to people who must be left alone; empty is the promise.
        n_others: Offers to everybody else.
        n_personal: Those of them that used what somebody had bought before.
        problems: What its state tells.
        counters: What it counted.
        receipts: Events that a receipt's offer answered.
    """

    offers: tuple[str, ...]
    n_others: int
    n_personal: int
    problems: tuple[str, ...]
    counters: dict[str, int]
    receipts: tuple[str, ...]


def rot(folder: Path, names: tuple[str, ...], *, seed: int, n_bytes: int = 1) -> None:
    """Changes bytes at random places of files."""
    chance = Random(seed)
    for name in names:
        path = folder / name
        content = bytearray(path.read_bytes())
        for _ in range(n_bytes):
            content[chance.randrange(len(content))] ^= chance.randrange(1, 256)
        path.write_bytes(content)


def started_on(left: Path, folder: Path, *, at_ms: int = LATER) -> Outcome:
    """Starts an agent on a copy of a folder, and lets everybody come again.

    Args:
        left: What is started on; it stays as it is.
        folder: Where the copy goes; it is gone afterwards.
        at_ms: When everybody comes.
    """
    shutil.copytree(left, folder)
    try:
        return start_in(folder, at_ms=at_ms)
    finally:
        shutil.rmtree(folder)


def start_in(folder: Path, *, at_ms: int = LATER) -> Outcome:
    """Starts an agent on a folder, and lets everybody come again.

    Where it meets rot and ends, it is started once more, as its unit would, and everything comes
    again, as from a broker that heard no acknowledgement. It must not end at every start.
    """
    offered: list[str] = []
    for _ in range(1 + ENDS_OF_ROT):
        with running(folder, at_ms) as agent:
            try:
                _come_again(agent, at_ms)
                return _outcome_of(agent, at_ms, offered)
            except (StoreError, sqlite3.Error) as error:
                agent.agent._opening.note_end(error)
                offered += _on_receipts(agent)
                with suppress(sqlite3.Error):
                    offered += _on_screens(agent)
    raise AssertionError("it ended at every start")


def _come_again(agent: DrivenAgent, at_ms: int) -> None:
    feed(agent, at_ms)
    for n, number in enumerate(CARDS):
        now_ms = at_ms + n * MINUTE_MS // 2
        at(now_ms)
        here = {"visitor": phone(number), "zone": "dairy"}
        agent.take(told("ble-gw-1", "zone.entered", now_ms, f"again-{at_ms}-{number}", **here))
        shop(agent, number, now_ms + 2, when=f"again-{at_ms}")


def _outcome_of(agent: DrivenAgent, at_ms: int, offered: list[str]) -> Outcome:
    """Returns what came of it; `offered` is what was said before it ended, if it did."""
    said = [*_on_screens(agent), *_on_receipts(agent), *offered]
    used = _histories(agent, since_ms=at_ms)
    return Outcome(
        offers=(
            *(each for each in said if any(number in each for number in COMPLAINED)),
            *(each for each in used if any(number in each for number in WITHDREW)),
        ),
        n_others=sum(any(number in each for number in CARDS[8:]) for each in said),
        n_personal=sum(any(number in each for number in CARDS[8:]) for each in used),
        problems=agent.agent._problems(),
        counters=dict(agent.road.counters),
        receipts=tuple(_on_receipts(agent)),
    )


def _consent(number: str) -> dict[str, Any]:
    return {
        "visitor": card(number),
        "purposes": ["personal_recommendations", "profiling", "sending_to_hq"],
    }


def _on_screens(agent: DrivenAgent) -> list[str]:
    """Returns the causes of what was shown to somebody; a store's default is for nobody."""
    shown = [*agent.documents(topics.recommendation(STORE, "dairy-1"))]
    shown += agent.documents(topics.recommendation(STORE, "kiosk-1"))
    return [str(each["cause"]["id"]) for each in shown if not _is_default(agent, each)]


def _is_default(agent: DrivenAgent, shown: dict[str, Any]) -> bool:
    rows = agent.rows("SELECT moment FROM decision WHERE id = ?", shown["decision"])
    return rows == [("store_default",)]


def _on_receipts(agent: DrivenAgent) -> list[str]:
    topic = topics.receipt_offer(STORE, TILL)
    return [str(each["cause"]["id"]) for each in agent.documents(topic)]


def _histories(agent: DrivenAgent, *, since_ms: int) -> list[str]:
    """Returns the causes of the decisions that used what somebody had bought before."""
    rows = agent.rows("SELECT record FROM decision WHERE at_ms >= ?", since_ms)
    records = [json.loads(record) for (record,) in rows]
    return [
        str(each["cause"]["id"])
        for each in records
        if str(each["cause"]["id"]).startswith("again-") and (each["request"] or {}).get("history")
    ]
