"""What came of campaigns' arms, told to HQ day by day: waiting, revising, forgetting."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import pytest

from edge_agent.domain.decisions import CONTROL, TREATED
from edge_agent.domain.ids import ProductId
from edge_agent.domain.time import DAY_MS, HOUR_MS, MINUTE_MS, local_day_end_ms
from edge_agent.domain.uplift import uplifts_of
from edge_agent.shell import rights_desk
from edge_agent.shell.rows import goal_of
from edge_agent.sync.uplift import figures_of
from edge_agent.wire.summaries import Summary
from tests.factories import T0
from tests.integration.driven_agent import DrivenAgent, crowd, driven_agent, told

ARMS: Final = (TREATED, CONTROL)
NEXT_DAY: Final = T0 + DAY_MS
# The day's key, by which a late sale is matched to who was there, lives for two hours after it.
SOON: Final = "[policy]\nbought_within_s = 1800\nsummary_period_s = 600\n"
DAY_END: Final = local_day_end_ms("2017-12-02", ZoneInfo("America/New_York"))


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[DrivenAgent]:
    """An agent that is driven by hand."""
    with driven_agent(tmp_path / "state", extra=SOON) as made:
        yield made


def phones(arm: str, n: int, *, first: int = 0) -> range:
    """Returns the phones of one arm: the treated have even hundreds."""
    start = 1_000 * ARMS.index(arm) + first
    return range(start, start + n)


def expose(
    agent: DrivenAgent, numbers: range, arm: str, *, at_ms: int = T0, campaign: str = "18"
) -> None:
    """Has people come in and puts each into an arm, in a slot unit for each."""
    before = {row[0] for row in agent.rows("SELECT id FROM visitor")}
    agent.take(*crowd(at_ms, numbers))
    goal, products = goal_of(frozenset({ProductId("d1")}))
    database = agent.agent._db
    database.execute("INSERT OR IGNORE INTO goal VALUES (?, ?, ?)", (goal, products, at_ms))
    new = [row[0] for row in agent.rows("SELECT id FROM visitor ORDER BY id")]
    for visitor in (each for each in new if each not in before):
        database.execute(
            "INSERT INTO exposure VALUES (?, ?, ?, NULL, ?, 0.5, ?, ?, NULL)",
            (visitor, campaign, f"s{visitor}", arm, goal, at_ms),
        )


def buy(agent: DrivenAgent, phone: int, at_ms: int, *, amount: str = "2.00") -> None:
    """Has somebody pay for what the campaign offers."""
    who = {"kind": "track", "value": f"t{phone}"}
    basket = f"b{phone}"
    line = {"product": "d1", "quantity": 1, "amount": amount}
    agent.take(
        told("pos-2", "basket.opened", at_ms, f"o-{basket}", basket=basket, visitor=who),
        told(
            "pos-2", "sale.completed", at_ms + 1, f"s-{basket}", basket=basket, visitor=who,
            currency="USD", lines=[line], total=amount,
        ),
    )  # fmt: skip


def close(agent: DrivenAgent, until_ms: int = NEXT_DAY) -> list[Summary]:
    """Lets time pass until the day is over and its windows are; returns what HQ is told."""
    agent.tick(until_ms)
    agent.idle()
    return told_so_far(agent)


def told_so_far(agent: DrivenAgent) -> list[Summary]:
    """Returns every summary of arms that waits for HQ."""
    found = agent.summaries("uplift")
    return [Summary.model_validate_json(json.dumps(each)) for each in found]


def visitors_of(summary: Summary) -> dict[tuple[str, str], int | None]:
    """Returns how many visitors each arm has."""
    return {(c.keys["campaign"], c.keys["arm"]): c.n_visitors for c in summary.cells}


def test_a_days_arms_are_told_when_every_window_is_over(agent: DrivenAgent) -> None:
    """Both arms with their buyers, once, and the gate lets it out."""
    for arm in ARMS:
        expose(agent, phones(arm, 12), arm)
    for phone in (0, 1, 2, 1_000):
        buy(agent, phone, T0 + MINUTE_MS)
    assert close(agent, T0 + 4 * HOUR_MS) == []
    (summary,) = close(agent)
    assert visitors_of(summary) == {("18", CONTROL): 12, ("18", TREATED): 12}
    (found,) = uplifts_of(figures_of(summary.cells))
    assert found.effects["bought"].difference == pytest.approx(2 / 12)
    assert close(agent, NEXT_DAY + DAY_MS) == [summary]


def test_arms_too_small_to_leave_wait_for_the_next_days(agent: DrivenAgent) -> None:
    """Nine in control hold both arms back; with the next day's six all of them leave at once."""
    expose(agent, phones(TREATED, 12), TREATED)
    expose(agent, phones(CONTROL, 9), CONTROL)
    assert close(agent) == []
    agent.tick(NEXT_DAY)
    expose(agent, phones(TREATED, 12, first=100), TREATED, at_ms=NEXT_DAY)
    expose(agent, phones(CONTROL, 6, first=100), CONTROL, at_ms=NEXT_DAY)
    (summary,) = close(agent, NEXT_DAY + DAY_MS)
    assert visitors_of(summary) == {("18", CONTROL): 15, ("18", TREATED): 24}


def test_nobody_is_told_of_twice(agent: DrivenAgent) -> None:
    """A later day's summary holds that day's units alone, and the totals are all units."""
    for day in range(2):
        agent.tick(T0 + day * DAY_MS)
        for arm in ARMS:
            expose(agent, phones(arm, 10, first=50 * day), arm, at_ms=T0 + day * DAY_MS)
        close(agent, T0 + (day + 1) * DAY_MS)
    found = told_so_far(agent)
    assert [visitors_of(each)["18", CONTROL] for each in found] == [10, 10]
    figures = [each for summary in found for each in figures_of(summary.cells)]
    (added,) = uplifts_of(figures)
    assert (added.n_treated, added.n_control) == (20, 20)


def test_a_late_sale_of_a_few_is_held_back_and_one_of_many_is_a_revision(
    agent: DrivenAgent,
) -> None:
    """The difference of two revisions is a cell too: under k nothing is told."""
    for arm in ARMS:
        expose(agent, phones(arm, 15), arm)
    (first,) = close(agent, DAY_END + 65 * MINUTE_MS)
    buy(agent, 0, T0 + MINUTE_MS)
    assert close(agent, DAY_END + 80 * MINUTE_MS) == [first]
    for phone in range(1, 12):
        buy(agent, phone, T0 + MINUTE_MS)
    _, second = close(agent, DAY_END + 100 * MINUTE_MS)
    assert (second.revision, second.period_start) == (2, first.period_start)
    treated = next(each for each in second.cells if each.keys["arm"] == TREATED)
    assert Decimal(treated.sums["bought"]) == 12


def test_what_was_told_survives_a_start(tmp_path: Path) -> None:
    """Units that were told of are not told again, and a late sale is still a revision."""
    folder = tmp_path / "state"
    with driven_agent(folder, extra=SOON) as agent:
        for arm in ARMS:
            expose(agent, phones(arm, 12), arm)
        (first,) = close(agent, DAY_END + 65 * MINUTE_MS)
    with driven_agent(folder, now_ms=DAY_END + 70 * MINUTE_MS, extra=SOON) as agent:
        assert told_so_far(agent) == [first]
        for phone in range(10):
            buy(agent, phone, T0 + MINUTE_MS)
        found = close(agent, DAY_END + 125 * MINUTE_MS)
        assert [each.revision for each in found] == [1, 2]


def test_a_campaign_that_calls_itself_by_a_number_of_somebody_does_not_leave(
    agent: DrivenAgent,
) -> None:
    """The gate would stop the whole message for it."""
    for arm in ARMS:
        expose(agent, phones(arm, 10), arm, campaign="6400000009005")
    assert close(agent) == []


def test_the_days_are_kept_as_sums_for_the_stores_own_figures(agent: DrivenAgent) -> None:
    """What status adds up is what HQ was told."""
    for arm in ARMS:
        expose(agent, phones(arm, 10), arm)
    (summary,) = close(agent)
    ((cells,),) = agent.rows("SELECT cells FROM trial")
    assert json.loads(cells) == [each.model_dump(mode="json") for each in summary.cells]


def test_a_store_without_control_groups_is_told_nothing_of(agent: DrivenAgent) -> None:
    """No exposure, no summary, no row."""
    agent.take(*crowd(T0, range(20)))
    assert close(agent) == []
    assert agent.rows("SELECT count(*) FROM trial") == [(0,)]


def test_whoever_is_forgotten_is_in_no_arm_and_his_day_is_never_told_anew(
    agent: DrivenAgent,
) -> None:
    """His row goes, and a later revision of the day would single him out by subtraction."""
    for arm in ARMS:
        expose(agent, phones(arm, 15), arm)
    (first,) = close(agent, DAY_END + 65 * MINUTE_MS)
    desk = agent.agent._rights
    identifier = rights_desk._asked({"identifier": "t0", "kind": "track"})
    agent.loop._taking.called(lambda: desk._erase(identifier, 0))
    agent.loop._commits._writing.write()
    assert agent.rows("SELECT count(*) FROM exposure") == [(29,)]
    for phone in range(1, 12):
        buy(agent, phone, T0 + MINUTE_MS)
    assert close(agent, DAY_END + 100 * MINUTE_MS) == [first]
