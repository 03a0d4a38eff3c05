"""A person's rights on a running agent, with a real broker on each link and HQ beyond."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import subprocess
import sys
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from edge_agent.hq.receiver import HqReceiver
from edge_agent.hq.store import opened_store
from edge_agent.shell.control import ask
from edge_agent.shell.mqtt_client import LinkSettings, MqttLink
from edge_agent.shell.signing import DEMO_KEY_ID, demo_private_key, sign_command
from edge_agent.wire import topics
from edge_agent.wire.consents import ConsentReceipt
from edge_agent.wire.downlink import COMMAND
from tests.integration.broker import Broker, running_broker
from tests.integration.chromium import running_chromium
from tests.integration.commands import ran
from tests.integration.running_agent import (
    STORE,
    Device,
    RunningAgent,
    device,
    event,
    visitor,
    wait_for,
)
from tests.integration.traces import found_in, traces

pytestmark = pytest.mark.broker

CARD: Final = "6400000009005"
PHONE: Final = "AC:23:3F:A0:11:22"
BASKET: Final = "31198570044"
OTHER_CARD: Final = "6400000009999"
OTHER_PHONE: Final = "AC:23:3F:A0:11:99"
OTHER_BASKET: Final = "31198570099"
HANDLE: Final = "crm-handle-0042"
MILK: Final = "1029743"
BREAD: Final = "1095275"
DAIRY: Final = topics.recommendation(STORE, "dairy-1")
HELD: Final = (
    "SELECT (SELECT count(*) FROM visitor) + (SELECT count(*) FROM link)"
    " + (SELECT count(*) FROM consent) + (SELECT count(*) FROM tombstone)"
)
EVERYTHING: Final = (
    "marketing", "personal_recommendations", "profiling", "sending_to_hq", "staff_assistance",
)  # fmt: skip


def command_line(
    agent: RunningAgent, *arguments: str, typed: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs `edge-agent visitor …` to its end, with what is piped into it."""
    return ran("visitor", *arguments, "--config", agent.config, typed=typed or "")


def answered(agent: RunningAgent, *arguments: str, typed: str) -> dict[str, Any]:
    """Returns what a command answers as JSON."""
    done = command_line(agent, *arguments, "--json", typed=typed)
    assert done.returncode in {0, 1}, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@dataclass(slots=True, kw_only=True)
class Chain:
    """A store and its headquarters."""

    agent: RunningAgent
    till: Device
    hq_broker: Broker
    hq_folder: Path
    sent: list[dict[str, Any]] = field(default_factory=list)
    _version: int = 0

    def send(self, *events: dict[str, Any]) -> None:
        """Sends events and waits until the last one is on the disk."""
        self.sent += self.till.send(*events)
        last = event("pos-2", "queue.measured", zone="checkout-2", length=1)
        self.till.send(last)
        topic = topics.event_receipt(STORE, "pos-2")
        wait_for(lambda: any(each["id"] == last["id"] for each in self.till.documents(topic)))

    def command(self, kind: str, body: dict[str, Any]) -> bytes:
        """Sends one of HQ's commands, signed."""
        self._version += 1
        now = datetime.now(UTC)
        document = {
            "command": f"cmd-{self._version}-{now.timestamp()}",
            "store": STORE,
            "version": self._version,
            "issued_at": now.isoformat(),
            "expires_at": (now + timedelta(days=1)).isoformat(),
            "kind": kind,
            "body": body,
        }
        signed = sign_command(
            COMMAND.validate_json(json.dumps(document)), key=demo_private_key(), key_id=DEMO_KEY_ID
        )
        self.at_hq(topics.hq_down(STORE, kind), signed)
        return signed

    def at_hq(self, topic: str, payload: bytes) -> None:
        """Publishes on HQ's broker."""
        link = MqttLink(
            LinkSettings(host="127.0.0.1", port=self.hq_broker.port, client_id="crm"),
            subscriptions=(),
            on_message=lambda _message: None,
        )
        link.start()
        assert link.wait_connected(20)
        link.publish(topic, payload)
        wait_for(lambda: link.n_unacknowledged == 0)
        link.stop()

    def rows(self, sql: str, *parameters: Any) -> list[Any]:
        """Returns rows of the agent's database."""
        path = self.agent.state / "state.db"
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            return connection.execute(sql, parameters).fetchall()

    def count(self, sql: str, *parameters: Any) -> int:
        """Returns a number from the agent's database."""
        return int(self.rows(sql, *parameters)[0][0])

    def hq_rows(self, sql: str) -> list[Any]:
        """Returns rows of HQ's database."""
        with closing(sqlite3.connect(self.hq_folder / "hq.db")) as connection:
            return connection.execute(sql).fetchall()

    def wanted(self) -> dict[bytes, str]:
        """Returns what must not be left of the one, once he is forgotten."""
        derived = self.derived()
        assert len(derived) >= 6
        wanted = traces((CARD, PHONE, BASKET, *derived))
        assert found_in(self.agent.state, wanted), "the scan finds nothing even before"
        return wanted

    def derived(self) -> list[str]:
        """Returns the pseudonyms, ids and handle that stand for the one and not for the other."""
        card = [row[0] for row in self.rows("SELECT visitor FROM link WHERE kind = 'loyalty'")]
        his = self.rows(
            "SELECT pseudonym, visitor FROM link WHERE visitor = ?1 OR visitor IN"
            " (SELECT pseudonym FROM link WHERE kind = 'visitor' AND visitor = ?1)",
            self.member(card),
        )
        baskets = self.rows("SELECT id FROM basket WHERE member = ?", self.member(card))
        return [*(text for row in his for text in row), *(row[0] for row in baskets), HANDLE]

    def member(self, cards: list[str]) -> str:
        """Returns the one of the card holders whom HQ gave a handle."""
        for each in cards:
            profile = self.rows("SELECT profile FROM visitor WHERE id = ?", each)[0][0]
            if profile is not None and HANDLE in profile:
                return each
        raise AssertionError("nobody has the handle")

    def shop(self, *, card: str, phone: str, basket: str) -> None:
        """Lets somebody walk in, look, take, and pay with a card."""
        him, number = visitor("ble", phone), visitor("loyalty", card)
        self.send(
            event("ble-1", "zone.entered", visitor=him, zone="dairy"),
            event("ble-1", "item.lifted", visitor=him, zone="dairy", product=MILK),
            event("ble-1", "zone.left", visitor=him, zone="dairy"),
            event("ble-1", "zone.entered", visitor=him, zone="checkout-2"),
            event("pos-2", "basket.opened", basket=basket),
            event("pos-2", "basket.item_added", basket=basket, product=MILK, visitor=him),
            event("pos-2", "loyalty.scanned", basket=basket, visitor=number),
            event(
                "pos-2",
                "sale.completed",
                basket=basket,
                visitor=number,
                currency="USD",
                total="1.00",
                lines=[{"product": MILK, "quantity": 1, "amount": "1.00"}],
            ),
            event("ble-1", "zone.entered", visitor=him, zone="dairy"),
        )

    def busy_morning(self) -> None:
        """Two people shop; the one has a handle at HQ, and the till stammers his number."""
        for card in (CARD, OTHER_CARD):
            number = visitor("loyalty", card)
            self.send(event("pos-2", "consent.granted", visitor=number, purposes=EVERYTHING))
        body = {
            "visitor": visitor("loyalty", CARD),
            "reference": HANDLE,
            "history": [{"at": "2026-11-01T10:00:00Z", "products": [BREAD]}],
        }
        self.command("profile", body)
        wait_for(lambda: self.count("SELECT count(*) FROM visitor WHERE profile IS NOT NULL"))
        self.shop(card=OTHER_CARD, phone=OTHER_PHONE, basket=OTHER_BASKET)
        self.send(event("ble-1", "zone.left", visitor=visitor("ble", OTHER_PHONE), zone="dairy"))
        self.shop(card=CARD, phone=PHONE, basket=BASKET)
        self.till.raw(f"store/{STORE}/event/{CARD}", f'{{"card": "{CARD}"}}'.encode())
        self.till.raw(f"store/{STORE}/event/pos-2", f'{{"card": "{CARD}"}}'.encode())
        wait_for(lambda: self.count("SELECT count(*) FROM dead_letter") == 2)


@contextmanager
def hq_of(chain: Chain) -> Iterator[HqReceiver]:
    """HQ's receiver on its database, until the block ends."""
    settings = LinkSettings(host="127.0.0.1", port=chain.hq_broker.port, client_id="hq-1")
    with closing(opened_store(str(chain.hq_folder / "hq.db"))) as store:
        receiver = HqReceiver(settings, store, demo_private_key())
        receiver.start()
        assert receiver.wait_connected(20)
        try:
            yield receiver
        finally:
            receiver.stop()


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[Chain]:
    """A running agent, its store's broker and HQ's, and who talks to it."""
    with running_chain(tmp_path) as chain:
        yield chain


@pytest.fixture(scope="module")
def empty_chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """One that knows nobody, for all that must change nothing."""
    with running_chain(tmp_path_factory.mktemp("empty")) as chain:
        yield chain


@contextmanager
def running_chain(tmp_path: Path) -> Iterator[Chain]:
    """A running agent, its store's broker and HQ's, and who talks to it, for a block."""
    raw = demo_private_key().public_key().public_bytes_raw()
    key = urlsafe_b64encode(raw).rstrip(b"=").decode()
    with (
        running_broker(tmp_path / "broker") as broker,
        running_broker(tmp_path / "hq-broker") as hq_broker,
    ):
        extra = (
            f'[hq]\nhost = "127.0.0.1"\nport = {hq_broker.port}\n'
            f'[hq.keys]\n{DEMO_KEY_ID} = "{key}"\n'
        )
        agent = RunningAgent(folder=tmp_path / "agent", port=broker.port, extra=extra)
        agent.start()
        (tmp_path / "hq").mkdir()
        with device(broker.port) as till:
            yield Chain(agent=agent, till=till, hq_broker=hq_broker, hq_folder=tmp_path / "hq")
        agent.stop()


def test_nothing_of_a_forgotten_person_is_left_anywhere(chain: Chain) -> None:
    """State, decisions, outbox, letters, copies, log, free pages, HQ: no byte in a minute."""
    with hq_of(chain):
        chain.busy_morning()
        wait_for(lambda: chain.hq_rows("SELECT * FROM customers"), what="his day at HQ")
        copy = chain.agent.state / "state.db.schema-1.bak"
        copy.write_bytes((chain.agent.state / "state.db").read_bytes())
        wanted = chain.wanted()
        begun_s = time.monotonic()
        answer = answered(chain.agent, "forget", "--kind", "loyalty", typed=CARD)
        assert answer["outcome"] == "forgotten"
        assert answer["visits"] == 1
        assert answer["purchases"] == 1
        assert answer["hq_is_told"]
        wait_for(lambda: not chain.hq_rows("SELECT * FROM customers"), what="HQ's forgetting")
        wait_for(lambda: '"erasure_confirmed"' in chain.agent.log, what="HQ's word")
        wait_for(lambda: not found_in(chain.agent.state, wanted), what="the last byte")
        assert time.monotonic() - begun_s < 60
        assert found_in(chain.hq_folder, wanted) == []
        assert not copy.exists()
        assert chain.count("SELECT count(*) FROM link WHERE kind = 'loyalty'") == 1
        assert chain.count("SELECT count(*) FROM sale") == 1
    wait_for(lambda: chain.till.documents(DAIRY)[-1]["cause"]["source"] == "operator")
    assert not any(piece in chain.agent.log.encode() for piece in wanted)


def test_replays_of_old_traffic_bring_nobody_back(chain: Chain, *, soak: bool) -> None:
    """Repeated, re-numbered, without a time, from HQ, and over a restart: he stays gone."""
    chain.busy_morning()
    his = [each for each in chain.sent if any(x in str(each) for x in (CARD, PHONE, BASKET))]
    commands = [
        ("profile", {"visitor": visitor("loyalty", CARD), "reference": HANDLE}),
        ("consent", {"visitor": visitor("loyalty", CARD), "action": "grant"}),
        (
            "complaint",
            {"visitor": visitor("loyalty", CARD), "action": "open", "complaint": "c-1"},
        ),
    ]
    said_at = datetime.now(UTC).isoformat()
    wanted = chain.wanted()
    n_links = chain.count("SELECT count(*) FROM link")
    assert answered(chain.agent, "forget", "-k", "loyalty", typed=CARD)["outcome"] == "forgotten"
    wanted = {piece: what for piece, what in wanted.items() if HANDLE.encode() not in piece}
    for n in range(1_000 // len(his) if soak else 4):
        again = [{**each, "id": f"{each['id']}-again-{n}"} for each in his]
        timeless = [{k: v for k, v in each.items() if k != "time"} for each in again]
        in_1970 = [{**each, "time": "1970-01-01T00:00:00Z"} for each in again]
        chain.send(*(his, again, timeless, in_1970)[n % 4])
        if n == 1:
            chain.agent.kill()
            chain.agent.start()
    n_taken = chain.count("SELECT count(*) FROM command")
    for kind, body in commands:
        chain.command(kind, body if kind == "profile" else {**body, "stated_at": said_at})
    wait_for(lambda: chain.count("SELECT count(*) FROM command") >= n_taken)
    wait_for(lambda: chain.count("SELECT count(*) FROM outbox WHERE kind = 'confirm'") >= 3)
    assert chain.count("SELECT count(*) FROM link") < n_links
    assert chain.count("SELECT count(*) FROM link WHERE kind = 'loyalty'") == 1
    assert chain.count("SELECT count(*) FROM link WHERE kind = 'ble'") == 1
    left = found_in(chain.agent.state, wanted)
    # The till stammered nothing this time, and what HQ is told names its own handle alone.
    assert left == []


def test_a_kill_in_the_middle_of_forgetting_is_made_good(chain: Chain) -> None:
    """Deleted and not yet off the disk when the agent is killed: the next start finishes it."""
    chain.busy_morning()
    wanted = chain.wanted()
    with closing(sqlite3.connect(chain.agent.state / "state.db")) as reader:
        # Somebody reads: the log cannot be cut, so the forgetting cannot come to its end.
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM visitor").fetchone()
        with subprocess.Popen(
            [sys.executable, "-m", "edge_agent", "visitor", "forget", "--json", "-c",
             str(chain.agent.config)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        ) as forgetting:  # fmt: skip
            assert forgetting.stdin is not None
            forgetting.stdin.write(f"{CARD}\n")
            forgetting.stdin.close()
            marked = "SELECT count(*) FROM meta WHERE key = 'erasing'"
            wait_for(lambda: chain.count(marked), what="the deletion")
            chain.agent.kill()
            assert found_in(chain.agent.state, wanted)
            reader.rollback()
            reader.close()
            chain.agent.start()
            assert forgetting.stdout is not None
            answer = json.loads(forgetting.stdout.read())
            assert forgetting.wait(60) == 0
    assert answer["outcome"] == "nothing_held", "it was asked again, and found it done"
    wanted = {piece: what for piece, what in wanted.items() if HANDLE.encode() not in piece}
    assert found_in(chain.agent.state, wanted) == []


def test_hq_that_was_away_is_told_when_it_is_back(chain: Chain) -> None:
    """Its word for him waits in the outbox alone, and goes as soon as HQ has confirmed."""
    with hq_of(chain):
        chain.busy_morning()
        wait_for(lambda: chain.hq_rows("SELECT * FROM customers"), what="his day at HQ")
    wanted = chain.wanted()
    assert answered(chain.agent, "forget", typed=CARD)["hq_is_told"]
    left = found_in(chain.agent.state, wanted)
    assert left
    assert all(HANDLE in each for each in left)
    assert chain.count("SELECT count(*) FROM outbox WHERE kind = 'erasure'") == 1
    chain.agent.stop()
    chain.agent.start()
    with hq_of(chain):
        wait_for(lambda: '"erasure_confirmed"' in chain.agent.log, what="HQ's word")
        wait_for(lambda: not found_in(chain.agent.state, wanted), what="the last byte")
        assert chain.hq_rows("SELECT * FROM customers") == []
        assert chain.count("SELECT count(*) FROM meta WHERE key = 'erasing'") == 0
        late = {
            "update_id": "late-1",
            "reference": HANDLE,
            "store": STORE,
            "activity_date": "2026-11-01",
            "revision": 9,
        }
        chain.at_hq(topics.hq_up(STORE, "customer"), json.dumps(late).encode())
        chain.at_hq(topics.hq_up(STORE, "customer"), b"a mark that it was taken")
        wait_for(lambda: chain.hq_rows("SELECT * FROM refused"), what="the message after")
        assert chain.hq_rows("SELECT * FROM customers") == []


def test_decisions_for_a_forgotten_person_stop_within_a_second(chain: Chain) -> None:
    """His screen goes back to the store, and what his phone does next is nobody's."""
    chain.busy_morning()
    begun_s = time.monotonic()
    socket = chain.agent.state / "control"
    asked = {"do": "visitor.forget", "identifier": PHONE.lower(), "kind": "ble"}
    assert ask(socket, asked)["outcome"] == "forgotten"
    assert time.monotonic() - begun_s < 1.0
    his = event("ble-1", "zone.entered", visitor=visitor("ble", PHONE), zone="bakery")
    other = event("ble-1", "zone.entered", visitor=visitor("ble", OTHER_PHONE), zone="bakery")
    chain.till.send(his, other)
    bakery = topics.recommendation(STORE, "bakery-1")
    chain.till.answer(bakery, other["id"])
    assert not any(each["cause"]["id"] == his["id"] for each in chain.till.documents(bakery))
    # The card that was read with his basket is a part of him.
    assert chain.count("SELECT count(*) FROM link WHERE kind = 'loyalty'") == 1


def test_restricted_data_is_held_and_not_used(chain: Chain) -> None:
    """Nothing is decided for him, learnt of him or sent of him, until it is lifted."""
    chain.busy_morning()
    profile = "SELECT profile FROM visitor WHERE profile LIKE ?"
    before = chain.rows(profile, f"%{HANDLE}%")
    assert answered(chain.agent, "restrict", typed=CARD)["outcome"] == "restricted"
    wait_for(lambda: chain.till.documents(DAIRY)[-1]["cause"]["source"] == "operator")
    shown = len(chain.till.heard(DAIRY))
    n_sent = chain.count("SELECT count(*) FROM customer_sent")
    chain.shop(card=CARD, phone=PHONE, basket="31198570045")
    assert len(chain.till.heard(DAIRY)) == shown
    assert chain.rows(profile, f"%{HANDLE}%") == before
    assert chain.count("SELECT count(*) FROM customer_sent") == n_sent
    held = answered(chain.agent, "show", typed=CARD)
    assert held["is_restricted"]
    assert held["rows"]["visits"] == 1
    chain.agent.kill()
    chain.agent.start()
    assert answered(chain.agent, "restrict", "--lift", typed=CARD)["outcome"] == "lifted"
    entered = event("ble-1", "zone.entered", visitor=visitor("ble", PHONE), zone="bakery")
    chain.till.send(entered)
    chain.till.answer(topics.recommendation(STORE, "bakery-1"), entered["id"])
    assert not answered(chain.agent, "show", typed=CARD)["is_restricted"]


def test_an_export_tells_all_and_of_nobody_else(chain: Chain, tmp_path: Path) -> None:
    """Two files that only their owner reads; the page stands alone, in a real browser."""
    with hq_of(chain):
        chain.busy_morning()
        wait_for(lambda: chain.hq_rows("SELECT * FROM customers"), what="his day at HQ")
    out = tmp_path / "request"
    others = [
        text
        for row in chain.rows("SELECT id FROM visitor UNION SELECT id FROM basket")
        for text in row
        if text not in chain.derived()
    ]
    assert others
    done = command_line(chain.agent, "export", "--out", str(out), typed=f"{CARD}\n")
    assert done.returncode == 0, done.stderr
    document = json.loads((out / "visitor.json").read_text(encoding="utf-8"))
    rows = {each["name"]: each["rows"] for each in document["sections"]}
    kinds = {row["kind"] for row in rows["identifiers"]}
    assert kinds == {"loyalty", "ble", "linked to your card"}
    evidence = [row for row in rows["identifiers"] if row["kind"] == "linked to your card"]
    assert [(row["source"], row["confidence"]) for row in evidence] == [("pos-2", 1.0)]
    assert len(rows["statements"]) == len(EVERYTHING)
    (receipt,) = document["consent_receipts"]
    assert receipt["standard"] == "ISO/IEC TS 27560:2023"
    assert {each["purpose"]: each["status"] for each in receipt["purposes"]} == dict.fromkeys(
        EVERYTHING, "dpv:ConsentGiven"
    )
    assert rows["profile"][0]["headquarters_handle"] == HANDLE
    assert [line["product"] for line in rows["purchases"][0]["lines"]] == [MILK]
    assert rows["visits"][0]["zones"]
    assert rows["decisions"]
    assert rows["decisions"][0]["recommended"] or rows["decisions"][0]["how"] == "default"
    assert rows["sent"][0]["message"]["reference"] == HANDLE
    page = (out / "visitor.html").read_text(encoding="utf-8")
    for text in (json.dumps(document), page, done.stdout):
        assert not any(each in text for each in others)
        assert CARD not in text
    for name in ("visitor.json", "visitor.html"):
        assert stat.S_IMODE((out / name).stat().st_mode) == 0o600
    with running_chromium() as browser:
        url = (out / "visitor.html").as_uri()
        shown = browser.open(url)
        assert "What this store holds about you" in shown.text()
        assert HANDLE in shown.text()
        assert shown.mishaps(origin=url) == []


def test_a_receipt_states_what_he_allowed_and_on_which_channel_not(
    chain: Chain, tmp_path: Path
) -> None:
    """Printed, or written for its owner alone, in the shape that is promised; not his number."""
    number = visitor("loyalty", CARD)
    said: dict[str, Any] = {"visitor": number, "purposes": ["marketing"]}
    chain.send(event("pos-2", "consent.granted", **said, basis="dpv:ExplicitlyExpressedConsent"))
    chain.send(event("pos-2", "consent.withdrawn", **said, only_on=["receipt"]))
    done = command_line(chain.agent, "receipt", typed=CARD)
    (printed,) = json.loads(done.stdout)
    receipt = ConsentReceipt.model_validate_json(json.dumps(printed))
    marketing = next(each for each in receipt.purposes if each.purpose == "marketing")
    assert marketing.status == "dpv:ConsentGiven"
    assert marketing.lawful_basis == "dpv:ExplicitlyExpressedConsent"
    assert [(each.channel, each.status) for each in marketing.channels] == [
        ("receipt", "dpv:ConsentWithdrawn")
    ]
    assert CARD not in done.stdout
    out = tmp_path / "receipt.json"
    assert command_line(chain.agent, "receipt", "--out", str(out), typed=CARD).returncode == 0
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert len(json.loads(out.read_text())) == 1
    nobody = command_line(chain.agent, "receipt", typed=OTHER_CARD)
    assert (nobody.returncode, nobody.stdout) == (1, "")
    acts = chain.rows("SELECT act, outcome FROM audit ORDER BY id")
    assert acts == [("receipt", "told"), ("receipt", "told"), ("receipt", "nothing_stated")]


def test_an_export_says_what_is_made_of_somebody_and_why(chain: Chain, tmp_path: Path) -> None:
    """Interest, value, zone, brand, price level, offers: each with the ids that it rests on."""
    come_twice(chain)
    told = said_of(chain, tmp_path)
    shown = command_line(chain.agent, "show", typed=CARD).stdout
    for row in told["derived"]:
        assert all(f"because {why}" in shown for why in row["why"])
    his = {f"basket {row['basket']} (event {row['paid_by_event']})" for row in told["purchases"]}
    visits = {f"visit {row['visit']}" for row in told["visits"]}
    decisions = {f"decision {row['decision']}" for row in told["decisions"]}
    derived = {row["what"]: row for row in told["derived"]}
    assert derived["interest"]["of"] == "GROCERY"
    assert 0 < derived["interest"]["is"] < 1
    # What headquarters told of counts as well, and names no basket of this store.
    assert derived["interest"]["rests_on"] == 3
    assert derived["interest"]["since"] == "2026-11-01T10:00:00.000Z"
    assert derived["value"]["is"] == "2.00 USD"
    # The dearest of five.
    assert derived["price level"]["is"] == 0.9
    assert (derived["brand"]["of"], derived["brand"]["is"]) == ("Alm", 1.0)
    for what in ("interest", "frequency", "value", "brand", "price level"):
        assert set(derived[what]["why"]) == his
    assert derived["usual zone"]["of"] == "bakery"
    stays = [why.partition(" (event ") for why in derived["usual zone"]["why"]]
    assert {visit for visit, _, _ in stays} == visits
    inbox = {mark for (mark,) in chain.rows("SELECT mark FROM inbox")}
    assert {int(number.removesuffix(")"), 16) for _, _, number in stays} <= inbox
    assert derived["response to offers"]["of"] == "1 of 1"
    for why in derived["response to offers"]["why"]:
        decision, _, event = why.partition(" (event ")
        assert decision in decisions
        assert event
    page = (tmp_path / "visitor.html").read_text(encoding="utf-8")
    assert all(why in page for why in (*his, *visits))


def test_without_link_or_consent_nothing_is_made_of_anybody(chain: Chain, tmp_path: Path) -> None:
    """A phone that was taken for another's has its stays; a no ends all, and what was kept."""
    come_twice(chain)
    assert answered(chain.agent, "unlink", "-k", "ble", typed=PHONE)["outcome"] == "unlinked"
    after = {row["what"] for row in said_of(chain, tmp_path)["derived"]}
    assert "interest" in after
    assert not {"usual zone", "response to offers"} & after
    number = visitor("loyalty", CARD)
    chain.send(event("pos-2", "consent.withdrawn", visitor=number, purposes=["profiling"]))
    left = said_of(chain, tmp_path)
    assert left["derived"] == []
    assert left["profile"][0]["remembered_baskets"] == []


def come_twice(chain: Chain) -> None:
    """He comes twice, buys twice, and takes up what he is offered the second time."""
    named = {"department": "GROCERY", "currency": "USD"}
    rows = [
        {"product": each, "title": each, "price": f"{n}.00", "brand": "Alm", **named}
        for n, each in enumerate(("p0", "p1", BREAD, "p3", MILK))
    ]
    chain.command("catalogue", {"rows": rows})
    wait_for(lambda: chain.count("SELECT count(*) FROM catalogue") == len(rows))
    him = visitor("ble", PHONE)
    chain.busy_morning()
    chain.send(
        event("ble-1", "zone.dwell", visitor=him, zone="bakery", dwell_s=1),
        event("ble-1", "visit.ended", visitor=him),
    )
    # Without a model it recommends what sold, as it was when the agent began.
    chain.agent.stop()
    chain.agent.start()
    chain.shop(card=CARD, phone=PHONE, basket="31198570045")
    offered = "SELECT id FROM decision WHERE visitor IS NOT NULL AND items <> '[]'"
    ((decision,),) = wait_for(lambda: chain.rows(offered))
    tapped = event("dairy-1", "screen.tapped", decision=decision, screen="dairy-1", product=MILK)
    chain.send(
        tapped,
        event("ble-1", "zone.dwell", visitor=him, zone="bakery", dwell_s=1),
        event("ble-1", "visit.ended", visitor=him),
    )


def said_of(chain: Chain, out: Path) -> dict[str, list[dict[str, Any]]]:
    """Returns the rows of an export by section."""
    done = command_line(chain.agent, "export", "--out", str(out), typed=f"{CARD}\n")
    assert done.returncode == 0, done.stderr
    document = json.loads((out / "visitor.json").read_text(encoding="utf-8"))
    return {each["name"]: each["rows"] for each in document["sections"]}


def test_acts_are_noted_and_not_about_whom(chain: Chain) -> None:
    """Who, when, what and what came of it: nothing that could be matched with anybody."""
    chain.busy_morning()
    command_line(chain.agent, "show", "--kind", "loyalty", typed=CARD)
    command_line(chain.agent, "show", "--kind", "loyalty", typed="6400000001234")
    command_line(chain.agent, "forget", "--kind", "ble", typed=PHONE)
    acts = json.loads(command_line(chain.agent, "audit", "--json").stdout)["acts"]
    told = [(each["uid"], each["act"], each["outcome"]) for each in acts]
    me = os.getuid()
    assert told == [
        (me, "forget", "forgotten"), (me, "show", "nothing_held"), (me, "show", "told"),
    ]  # fmt: skip
    columns = [row[1] for row in chain.rows("PRAGMA table_info(audit)")]
    assert columns == ["id", "at_ms", "uid", "act", "outcome"]


def test_an_identifier_that_was_taken_for_somebody_can_be_unlinked(chain: Chain) -> None:
    """The phone's visits are its own again; the card knows nothing of them."""
    chain.busy_morning()
    assert answered(chain.agent, "show", "-k", "loyalty", typed=CARD)["rows"]["visits"] == 1
    assert answered(chain.agent, "unlink", "-k", "ble", typed=PHONE)["outcome"] == "unlinked"
    assert answered(chain.agent, "show", "-k", "loyalty", typed=CARD)["rows"]["visits"] == 0
    assert answered(chain.agent, "show", "-k", "ble", typed=PHONE)["rows"]["visits"] == 1
    assert answered(chain.agent, "unlink", "-k", "ble", typed=PHONE)["outcome"] == "not_linked"


@pytest.mark.parametrize(
    ("arguments", "typed", "code", "says"),
    [
        (["show"], "", 1, "no identifier was given"),
        (["forget"], "\n", 1, "no identifier was given"),
        (["show"], "9" * 300, 1, "too long"),
        (["show"], "64000\u200b9005", 1, "that is no identifier"),
        (["show", "--kind", "passport"], CARD, 1, "there is no such kind"),
        (["show"], "6400000001234", 1, ""),
        (["restrict"], "6400000001234", 1, "nothing held"),
        (["unlink"], "6400000001234", 1, "nothing held"),
        (["export", "--out", "{config}"], CARD, 2, "is no folder"),
        (["destroy"], CARD, 2, "No such command"),
        (["forget", "--everybody"], CARD, 2, "No such option"),
        (["audit", "--limit", "0"], "", 2, "greater than or equal"),
        (["show", "a", "b"], "", 2, "unexpected extra argument"),
    ],
)
def test_a_wrong_use_is_told_and_changes_nothing(
    empty_chain: Chain, arguments: list[str], typed: str, code: int, says: str
) -> None:
    """A clear word, an exit code from 1 to 3, and never the identifier itself."""
    chain = empty_chain
    words = [each.format(config=chain.agent.config) for each in arguments]
    done = command_line(chain.agent, *words, typed=typed)
    assert done.returncode == code, done.stderr
    assert says.lower() in (done.stdout + done.stderr).lower()
    assert "Traceback" not in done.stderr
    if typed.strip():
        assert typed not in done.stdout + done.stderr
        assert typed not in chain.agent.log
    assert chain.count(HELD) == 0


def test_without_an_agent_nothing_is_promised(tmp_path: Path) -> None:
    """No agent runs, or there is no configuration: exit 3 and 2, at once."""
    agent = RunningAgent(folder=tmp_path, port=1)
    assert command_line(agent, "forget", typed=CARD).returncode == 2
    agent.write_config()
    done = command_line(agent, "forget", typed=CARD)
    assert done.returncode == 3
    assert "no agent answers" in done.stderr
