"""The time that a decision took: measured by a stopwatch that is handed in, beside its record."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import accumulate, count, cycle

import pytest

from edge_agent.domain.effects import RecordDecision
from edge_agent.domain.rules import NEUTRAL, Rules
from edge_agent.ports import Stopwatch
from tests.factories import (
    CARD,
    campaign,
    complained,
    entered,
    event,
    lifted,
    ref,
    request,
    till,
    world,
)

RULES = Rules(version="r1", campaigns=(campaign("c1", "k3", control_share=0.5), campaign("c2")))
HAPPENED = (
    entered("dairy"),
    lifted("d0", 5),
    till("basket.opened", 10, basket="b1", visitor=ref("loyalty", CARD)),
    till("basket.item_added", 12, basket="b1", product="d1"),
    event("help.requested", 20, source="button-1", zone="wine"),
    complained(30, who=ref()),
    lifted("d1", 40),
)


def stopwatch(steps_ns: Iterable[int]) -> Stopwatch:
    """Returns a stopwatch that goes on by these steps, one each time it is looked at."""
    return accumulate(steps_ns).__next__


def day(watch: Stopwatch | None, rules: Rules = NEUTRAL) -> list[RecordDecision]:
    """Returns what is decided at a screen, a till, a kiosk and for staff, and in silence."""
    heard = world()
    heard.rules, heard.stopwatch = rules, watch
    heard.take(*HAPPENED)
    heard.ask(request())
    return [each for each in heard.effects if isinstance(each, RecordDecision)]


@pytest.mark.parametrize("rules", [NEUTRAL, RULES], ids=["neutral", "rules"])
def test_every_decision_has_the_time_between_two_looks(rules: Rules) -> None:
    """In whole microseconds, whatever asked for it and however it was found."""
    found = day(stopwatch(cycle((7_000_000, 1_834_999))), rules)
    assert {each.spent_us for each in found} == {1_834}
    assert {each.decision.level for each in found} >= {"rule", "silence"}
    channels = {each.decision.moment.place.channel for each in found}
    assert channels >= {"screen", "receipt", "reply", "staff"}


@pytest.mark.parametrize("rules", [NEUTRAL, RULES], ids=["neutral", "rules"])
@pytest.mark.parametrize(
    "make",
    [lambda: stopwatch(count(1)), lambda: stopwatch(cycle((0, 9_000_000_000)))],
    ids=["quick", "slow"],
)
def test_the_record_has_the_same_bytes_with_any_stopwatch(
    make: Callable[[], Stopwatch], rules: Rules
) -> None:
    """And the decision is the same one: only the time beside it is another."""
    bare, timed = day(None, rules), day(make(), rules)
    assert [each.decision.record for each in timed] == [each.decision.record for each in bare]
    assert timed == bare
    assert [each.spent_us for each in timed] != [each.spent_us for each in bare]


def test_without_a_stopwatch_nothing_is_measured() -> None:
    """The core has no clock of its own."""
    assert {each.spent_us for each in day(None)} == {None}
