"""What was said to a card's holder counts at his next visit, whatever basket he pays with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest

from edge_agent.domain.time import HOUR_MS, MINUTE_MS
from tests.factories import T0
from tests.integration.driven_agent import DrivenAgent, driven_agent, told
from tests.integration.running_agent import BUNDLE

CARD: Final = {"kind": "loyalty", "value": "card-1"}
OTHER: Final = {"kind": "loyalty", "value": "card-2"}
POLICY: Final = """version = "v1"
{caps}
[campaigns.welcome]
text = "Welcome"
products = ["1029743", "1095275"]
from = 2017-01-01
until = 2018-01-01
value = 100.0
channels = ["receipt"]
{limits}
"""
MODEL: Final = f'[model]\nbundle = "{BUNDLE}"\n'
ALL: Final = ["personal_recommendations", "profiling", "marketing"]


def agree(agent: DrivenAgent, card: dict[str, str], purposes: list[str]) -> None:
    """Has a card's holder agree."""
    name = f"c-{card['value']}"
    agent.take(
        told("desk", "consent.granted", T0 - HOUR_MS, name, visitor=card, purposes=purposes)
    )


def pays(agent: DrivenAgent, n: int, card: dict[str, str]) -> list[dict[str, Any]]:
    """Has somebody pay with his card in the n-th hour; returns the records of his receipts."""
    at_ms, basket = T0 + n * HOUR_MS, f"b{n}"
    agent.tick(at_ms)
    agent.take(told("pos-2", "basket.opened", at_ms, f"o{n}", basket=basket, register="pos-2"))
    agent.take(told("pos-2", "loyalty.scanned", at_ms + 1, f"l{n}", basket=basket, visitor=card))
    for k in (2, 3):
        what = {"basket": basket, "product": f"p{n}{k}"}
        agent.take(told("pos-2", "basket.item_added", at_ms + k, f"i{n}{k}", **what))
    query = "SELECT record FROM decision WHERE channel = 'receipt' AND at_ms >= ? ORDER BY id"
    return [json.loads(record) for (record,) in agent.rows(query, at_ms)]


@pytest.mark.parametrize(
    ("caps", "limits"),
    [
        ("", "per_visitor = 1\nredeem_within_s = 86400"),
        ("[caps]\nper_visitor_day = 1", ""),
        ("[caps]\ncooldown_s = 36000", ""),
    ],
)
def test_caps_count_every_basket_of_a_card(tmp_path: Path, caps: str, limits: str) -> None:
    """One offer over three visits and a restart; the next customer has his own."""
    rules = tmp_path / "policy.toml"
    rules.write_text(POLICY.format(caps=caps, limits=limits), encoding="utf-8")
    offered: list[int] = []
    for visits in ([(1, CARD), (2, CARD)], [(3, CARD), (4, OTHER)]):
        start_ms = T0 + (visits[0][0] - 1) * HOUR_MS + MINUTE_MS
        with driven_agent(tmp_path / "s", now_ms=start_ms, extra=MODEL, rules=rules) as agent:
            agree(agent, CARD, ALL)
            agree(agent, OTHER, ALL)
            for n, card in visits:
                said = pays(agent, n, card)
                offered.append(sum(bool(each["rules"].get("offers")) for each in said))
    assert offered == [1, 0, 0, 1]


def test_what_was_ignored_takes_consent_to_his_history(tmp_path: Path) -> None:
    """Who did not agree to be recommended by what was before is answered as anybody."""
    rules = tmp_path / "policy.toml"
    rules.write_text('version = "v1"\n[caps]\nignored_after = 1\n', encoding="utf-8")
    with driven_agent(tmp_path / "s", extra=MODEL, rules=rules) as agent:
        agree(agent, CARD, ["marketing"])
        agree(agent, OTHER, ALL)
        known = []
        for n in range(1, 5):
            said = pays(agent, n, CARD if n % 2 else OTHER)
            known.append(bool(said[0]["rules"]["known"].get("ignored")))
    assert known == [False, False, False, True]


def test_a_basket_of_nobody_known_is_given_one_code(tmp_path: Path) -> None:
    """Each line of it says the same again, after a restart too; the next basket has its own."""
    rules = tmp_path / "policy.toml"
    limits = "redeem_within_s = 86400"
    rules.write_text(POLICY.format(caps="", limits=limits), encoding="utf-8")
    codes: set[str] = set()
    for n, basket in enumerate(("b1", "b1", "b2")):
        at_ms = T0 + n * MINUTE_MS
        with driven_agent(tmp_path / "s", now_ms=at_ms, extra=MODEL, rules=rules) as agent:
            for k in (1, 2):
                what = {"basket": basket, "product": f"p{n}{k}"}
                agent.take(told("pos-2", "basket.item_added", at_ms + k, f"i{n}{k}", **what))
            printed = agent.documents("store/s1/receipt/pos-2/offer")
            codes.update(each["items"][0]["offer"]["code"] for each in printed)
            assert agent.rows("SELECT count(*) FROM offer") == [(1 + n // 2,)]
    assert len(codes) == 2
