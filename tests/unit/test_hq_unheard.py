"""An HQ not heard for too long: who is identified is left alone, everybody else is served."""

from __future__ import annotations

import json
from typing import Final

import pytest

from edge_agent.domain.decisions import Decision
from edge_agent.domain.policy import Policy
from edge_agent.domain.time import DAY_MS
from edge_agent.replay.again import Knowledge
from edge_agent.replay.verification import Verifier
from tests.factories import (
    CARD,
    T0,
    at,
    complained,
    entered,
    event,
    granted,
    products,
    ref,
    request,
    sale,
    scanned_card,
    till,
    world,
)
from tests.fakes import World

DAYS: Final = Policy().hq_stale_after_days
STRANGER: Final = "AC:23:3F:A0:11:99"


def store(days: int | None) -> World:
    """Returns a store whose HQ was heard so many days ago, None being a store without one."""
    heard = world(audience="private")
    heard.hq_heard_ms = None if days is None else T0 - days * DAY_MS
    return heard


def gates(decision: Decision) -> list[str]:
    """Returns the gates that ruled everything out."""
    return [each.gate for each in decision.suppressions if each.product == "*"]


def known_on_screen(heard: World) -> Decision:
    """Returns what is decided before a screen for the phone of a consenting card holder."""
    heard.take(granted(-60))
    heard.take(till("basket.opened", 0, visitor=ref()), scanned_card(1))
    heard.take(sale(2, "d5", visitor=ref()))
    (decision,) = heard.decisions(heard.take(entered("dairy", 5)))
    return decision


@pytest.mark.parametrize(
    ("days", "is_silent"), [(None, False), (0, False), (DAYS - 1, False), (DAYS, True)]
)
def test_who_is_identified_is_left_alone_once_hq_is_silent_for_too_long(
    days: int | None, *, is_silent: bool
) -> None:
    """The gate has its own name, and the record holds the days that it saw."""
    decision = known_on_screen(store(days))
    assert gates(decision) == (["hq_unheard"] if is_silent else [])
    assert bool(decision.chosen) is not is_silent
    assert json.loads(decision.record).get("hq_silent_days") == days


def test_who_is_nobody_known_is_served_all_the_same() -> None:
    """HQ knows nothing of him that could wait there, and his record does not speak of it."""
    (decision,) = (heard := store(10 * DAYS)).decisions(heard.take(entered("dairy", 1)))
    assert decision.chosen
    assert "hq_silent_days" not in json.loads(decision.record)


def test_a_card_without_a_word_on_record_silences_its_receipt() -> None:
    """Whose it is is kept nowhere; he may have complained at HQ since."""
    heard = store(DAYS)
    heard.take(scanned_card(0))
    (decision,) = heard.decisions(heard.take(till("basket.item_added", 1, product="d0")))
    assert gates(decision) == ["hq_unheard"]
    assert heard.visitor("loyalty", CARD) is None
    plain = store(DAYS)
    (other,) = plain.decisions(plain.take(till("basket.item_added", 1, product="d0")))
    assert other.chosen


def test_a_kiosk_that_names_a_card_gets_no_offer() -> None:
    """Known here or not: the answer would be to somebody identified."""
    heard = store(DAYS)
    asked = request(visitor=ref("loyalty", CARD))
    assert gates(heard.decisions(heard.ask(asked))[0]) == ["hq_unheard"]
    heard.take(granted(1))
    assert gates(heard.decisions(heard.ask(asked, cause="b"))[0]) == ["hq_unheard"]
    assert heard.decisions(heard.ask(request(), cause="c"))[0].chosen


def test_hq_heard_again_ends_it_and_a_complaint_comes_before_it() -> None:
    """The next decision knows."""
    heard = store(DAYS)
    assert gates(known_on_screen(heard)) == ["hq_unheard"]
    heard.take(complained(6))
    (decision,) = heard.decisions(heard.take(entered("bakery", 7)))
    assert gates(decision) == ["complaint"]
    heard.take(complained(8, opened=False))
    heard.hq_heard_ms = at(9)
    (decision,) = heard.decisions(heard.take(entered("dairy", 10)))
    assert decision.chosen


def test_service_goes_on() -> None:
    """Staff come where somebody asks for help or stands long; a sale is a sale."""
    heard = store(DAYS)
    heard.take(entered("wine", 0))
    found = heard.published(heard.pass_s(180))
    assert [each.topic for each in found] == ["store/s1/staff/cellar/alert"]
    asked = event("help.requested", 181, source="button-1", zone="wine")
    assert len(heard.published(heard.take(asked))) == 1


@pytest.mark.parametrize("days", [None, 0, DAYS, DAYS + 7])
def test_a_replay_comes_to_the_same_from_the_record_alone(days: int | None) -> None:
    """Byte for byte; and a record whose days were changed does not come out again."""
    heard = store(days)
    decision = known_on_screen(heard)
    verifier = Verifier(
        Knowledge(
            scorer=heard.scorer,
            catalogue=heard.catalogue,
            departments={p.id: p.department for p in products() if p.department is not None},
            policy=heard.policy,
        )
    )
    assert verifier.differences(decision.id, decision.record) == []
    told = json.loads(decision.record)
    told["hq_silent_days"] = 0 if days and days >= DAYS else DAYS
    changed = json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert {each.what for each in verifier.differences(decision.id, changed)} >= {
        "level",
        "ruled_out",
    }


def test_no_period_is_no_setting() -> None:
    """With zero days nobody identified would ever be served."""
    with pytest.raises(ValueError, match="hq_stale_after_days"):
        Policy(hq_stale_after_days=0)
