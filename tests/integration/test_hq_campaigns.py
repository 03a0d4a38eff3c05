"""HQ's campaign, facts and contacts in a running store: said, redeemed once, kept, forgotten."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import pytest

from edge_agent.config import load
from edge_agent.domain.offers import CODE_DIGITS
from edge_agent.shell.health import read_health
from edge_agent.shell.kept_rules import kept_rules
from edge_agent.shell.sqlite_db import open_for_reading
from tests.integration import test_rights
from tests.integration.running_agent import STORE, event, visitor, wait_for
from tests.integration.test_rights import (
    CARD,
    DAIRY,
    EVERYTHING,
    MILK,
    PHONE,
    Chain,
    answered,
    command_line,
)

pytestmark = pytest.mark.broker

ASK: Final = f"store/{STORE}/offer/request"
REPLY: Final = f"store/{STORE}/reply/pos-2"


# A running agent, its store's broker and HQ's.
chain = test_rights.chain


def campaign(**more: Any) -> dict[str, Any]:
    """Returns a campaign of HQ's on milk, good for a day."""
    now = datetime.now(UTC)
    definition = {"redeem_within_s": 86_400, "channels": ["screen"]}
    return {
        "campaign": "milk",
        "starts_at": (now - timedelta(hours=1)).isoformat(),
        "ends_at": (now + timedelta(days=2)).isoformat(),
        "products": [MILK],
        "text": "A third off",
        "value": "1000",
        "currency": "USD",
        "definition": definition,
        **more,
    }


def confirmed(chain: Chain) -> list[tuple[str, str]]:
    """Returns what HQ is told of its commands: outcome and reason, in their order."""
    rows = chain.rows("SELECT payload FROM outbox WHERE kind = 'confirm' ORDER BY id")
    told = [json.loads(payload) for (payload,) in rows]
    return [(each["outcome"], each["reason"]) for each in told]


def tell(chain: Chain, kind: str, body: dict[str, Any]) -> tuple[str, str]:
    """Sends a command; returns how it is confirmed."""
    n_before = len(confirmed(chain))
    chain.command(kind, body)
    wait_for(lambda: len(confirmed(chain)) > n_before, what="HQ's confirmation")
    return confirmed(chain)[-1]


@pytest.fixture
def selling(chain: Chain) -> Chain:
    """The chain, whose store knows milk by a title: what has none is on no screen."""
    rows = [{"product": MILK, "title": "Milk", "price": "1.29"}]
    assert tell(chain, "catalogue", {"rows": rows}) == ("taken", "")
    return chain


def code_shown(chain: Chain) -> str:
    """Lets the one come to the dairy; returns the code that its screen shows."""
    come = event("ble-1", "zone.entered", visitor=visitor("ble", PHONE), zone="dairy")
    chain.send(come)
    offers = [each["offer"] for each in chain.till.answer(DAIRY, come["id"])["items"]]
    codes = {each["code"] for each in offers if each is not None}
    assert len(codes) == 1
    return str(codes.pop())


def asked(chain: Chain, code: str, name: str, *, action: str = "redeem") -> str:
    """Returns what the till is answered."""
    body = {"source": "pos-2", "id": name, "action": action, "code": code}
    n_before = len(chain.till.documents(REPLY))
    chain.till.raw(ASK, json.dumps(body).encode(), response_topic=REPLY, correlation=b"c")
    wait_for(lambda: len(chain.till.documents(REPLY)) > n_before, what="an answer to the till")
    found = chain.till.documents(REPLY)[-1]
    assert found["cause"] == {"source": "pos-2", "id": name}
    return str(found["outcome"])


def test_hqs_offer_is_said_and_redeemed_once_over_kill_and_forgetting(selling: Chain) -> None:
    """No policy file, no HQ when it matters: a code, a till, a killed agent, somebody gone."""
    chain = selling
    assert tell(chain, "campaign", campaign()) == ("taken", "")
    code = code_shown(chain)
    assert len(code) == CODE_DIGITS
    chain.hq_broker.stop()
    assert asked(chain, code, "c1", action="check") == "good"
    assert asked(chain, code, "r1") == "good"
    chain.agent.kill()
    chain.agent.start()
    assert asked(chain, code, "r1") == "good"
    assert asked(chain, code, "r2") == "used"
    chain.send(event("ble-1", "zone.left", visitor=visitor("ble", PHONE), zone="dairy"))
    other = code_shown(chain)
    assert other != code
    assert chain.count("SELECT count(*) FROM offer WHERE visitor IS NOT NULL") == 2
    assert answered(chain.agent, "forget", "--kind", "ble", typed=PHONE)["outcome"] == "forgotten"
    assert chain.rows("SELECT decision, visitor, basket FROM offer") == [(None,) * 3] * 2
    assert asked(chain, other, "r3") == "good"
    assert asked(chain, other, "r4") == "used"
    assert asked(chain, "0" * CODE_DIGITS, "r5") == "unknown"
    kept = json.dumps(chain.rows("SELECT * FROM offer"))
    assert code not in kept
    assert other not in kept


def test_a_question_is_answered_to_its_own_till_alone(chain: Chain) -> None:
    """An answer that another would hear, no code, no word of ours: a dead letter, no answer."""
    good = {"source": "pos-2", "id": "q1", "action": "redeem", "code": "7Q4K9ZD2M0XT"}
    for body, where in (
        (good, f"store/{STORE}/reply/pos-9"),
        ({**good, "id": "q2"}, f"store/{STORE}/reply/pos-2/+"),
        ({**good, "id": "q3"}, "elsewhere"),
        ({**good, "code": "<b>"}, REPLY),
        ({**good, "action": "steal"}, REPLY),
    ):
        chain.till.raw(ASK, json.dumps(body).encode(), response_topic=where, correlation=b"c")
    wait_for(lambda: chain.count("SELECT count(*) FROM dead_letter") == 5, what="five letters")
    assert asked(chain, good["code"], "q1") == "unknown"
    assert len(chain.till.documents(REPLY)) == 1
    letters = json.dumps(chain.rows("SELECT detail, topic, source, event FROM dead_letter"))
    assert good["code"] not in letters


def test_what_hq_gets_wrong_is_told_and_changes_nothing(chain: Chain) -> None:
    """A misspelt word, a condition that is none, another currency, a name for two things."""
    wrong = (
        (campaign(definition={"chanels": ["screen"]}), "there is no such key"),
        (campaign(definition={"when": "hour >"}), "when"),
        (campaign(currency="EUR"), "the store's currency is USD"),
        (campaign(campaign="not/a name"), "letters"),
        (campaign(products=[]), "an offer is about products"),
    )
    for body, said in wrong:
        outcome, reason = tell(chain, "campaign", body)
        assert outcome == "refused", body
        assert said in reason
    assert chain.count("SELECT count(*) FROM campaign") == 0
    assert read_health(chain.agent.state / "state.db").hq_campaigns == ()
    come = event("ble-1", "zone.entered", visitor=visitor("ble", PHONE), zone="dairy")
    chain.send(come)
    shown = chain.till.answer(DAIRY, come["id"])
    assert all(each["offer"] is None for each in shown["items"])


def test_a_campaign_is_replaced_kept_and_taken_back(selling: Chain) -> None:
    """The newest word holds, over a restart; one that is over takes it back."""
    chain = selling
    tell(chain, "campaign", campaign())
    assert tell(chain, "campaign", campaign(text="Half the price"))[0] == "taken"
    chain.agent.kill()
    chain.agent.start()
    come = event("ble-1", "zone.entered", visitor=visitor("ble", PHONE), zone="dairy")
    chain.send(come)
    texts = [each["offer"] for each in chain.till.answer(DAIRY, come["id"])["items"]]
    assert [each["text"] for each in texts if each is not None] == ["Half the price"]
    assert read_health(chain.agent.state / "state.db").hq_campaigns == ("milk",)
    over = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()
    assert tell(chain, "campaign", campaign(ends_at=over))[0] == "taken"
    assert chain.count("SELECT count(*) FROM campaign") == 0
    chain.send(event("ble-1", "zone.left", visitor=visitor("ble", PHONE), zone="dairy"))
    again = event("ble-1", "zone.entered", visitor=visitor("ble", PHONE), zone="dairy")
    chain.send(again)
    assert all(e["offer"] is None for e in chain.till.answer(DAIRY, again["id"])["items"])
    with closing(open_for_reading(chain.agent.state / "state.db")) as connection:
        kept = kept_rules(connection, load(chain.agent.config))
    records = [json.loads(record) for (record,) in chain.rows("SELECT record FROM decision")]
    ruled = {
        (each["rules"]["version"], each["rules"]["digest"]) for each in records if "rules" in each
    }
    assert ruled
    assert ruled <= {(version, each.digest) for version, each in kept.items()}


def test_a_plan_of_promotions_is_taken_and_kept(chain: Chain) -> None:
    """This week's rows; a week that is none is refused; a killed agent starts with it."""
    # The store's own: on a Sunday evening it is another one by UTC.
    week = datetime.now(ZoneInfo("America/New_York")).isocalendar().week
    rows = [{"product": MILK, "week": week, "display": True, "mailer": True}]
    assert tell(chain, "promotion", {"rows": rows}) == ("taken", "")
    assert tell(chain, "promotion", {"rows": [{**rows[0], "week": 99}]})[0] == "refused"
    chain.agent.kill()
    chain.agent.start()
    come = event("ble-1", "zone.entered", visitor=visitor("ble", PHONE), zone="dairy")
    chain.send(come)
    shown = chain.till.answer(DAIRY, come["id"])["decision"]
    record = json.loads(chain.rows("SELECT record FROM decision WHERE id = ?", shown)[0][0])
    ((number, kept),) = chain.rows("SELECT number, displayed FROM promotion_plan")
    assert record["request"]["week"] == number
    assert json.loads(kept) == [MILK]


def test_facts_and_contacts_come_down_and_stand_in_an_export(chain: Chain, tmp_path: Path) -> None:
    """HQ hears what was taken; he is told what was said to him elsewhere."""
    number = visitor("loyalty", CARD)
    until = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    fact = {"name": "weather", "value": "rain", "valid_until": until}
    assert tell(chain, "fact", fact) == ("taken", "")
    told = {
        "id": "mail-1",
        "at": (datetime.now(UTC) - timedelta(hours=2)).isoformat(),
        "channel": "e-mail",
        "campaign": "18",
        "products": [MILK],
        "outcome": "tapped",
    }
    body = {"visitor": number, "contacts": [told]}
    assert tell(chain, "contact", body)[0] == "refused"
    chain.send(event("pos-2", "consent.granted", visitor=number, purposes=EVERYTHING))
    assert tell(chain, "contact", body) == ("taken", "")
    done = command_line(chain.agent, "export", "--out", str(tmp_path / "his"), typed=f"{CARD}\n")
    assert done.returncode == 0, done.stderr
    document = json.loads((tmp_path / "his" / "visitor.json").read_text(encoding="utf-8"))
    (row,) = next(each["rows"] for each in document["sections"] if each["name"] == "contacts")
    assert (row["channel"], row["campaigns"], row["came_of_it"]) == ("e-mail", ["18"], "tapped")
    assert answered(chain.agent, "forget", "-k", "loyalty", typed=CARD)["outcome"] == "forgotten"
    assert chain.count("SELECT count(*) FROM contact") == 0
