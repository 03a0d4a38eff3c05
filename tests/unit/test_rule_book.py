"""Rule books: what is looked up together answers as if each were asked by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from edge_agent.decide.campaigns import opened
from edge_agent.decide.known import Known
from edge_agent.decide.rule_book import book_of
from edge_agent.domain.decisions import Cause, Moment, Place
from edge_agent.domain.ids import CampaignId
from edge_agent.domain.rules import Campaign, Rules

MOMENT = Moment(
    kind="request",
    cause=Cause(source="test", id="e1"),
    place=Place(channel="screen", audience="public"),
    visitor=None,
)


@dataclass(frozen=True)
class Counted:
    """A condition that holds from some hour on, and counts how often it was evaluated."""

    text: str
    names: frozenset[str]
    hour: int
    asked: list[object] = field(default_factory=list, compare=False)

    def holds(self, facts: Mapping[str, object]) -> bool:
        """Returns whether it is that late."""
        self.asked.append(facts)
        hour = facts["hour"]
        return isinstance(hour, int) and hour >= self.hour


def condition(hour: int, *more: str) -> Counted:
    """Returns a condition that holds from an hour on; of the others it only asks."""
    return Counted(f"hour >= {hour} {more}", frozenset({"hour", *more}), hour)


def campaign(
    name: str, *, begin: int = 0, end: int = 100, when: Counted | None = None
) -> Campaign:
    """Returns a campaign that is said from `begin` until `end`."""
    return Campaign(id=CampaignId(name), starts_at_ms=begin, ends_at_ms=end, text=name, when=when)


def test_conditions_hold_of_what_they_ask_whatever_others_ask_of() -> None:
    """Some ask of the same facts, some of more, some of nothing: each has its own answer."""
    late, later, with_zone = condition(9), condition(12), condition(10, "zone")
    book = book_of(
        Rules(
            campaigns=(
                campaign("always"),
                campaign("late", when=late),
                campaign("later", when=later),
                campaign("zone", when=with_zone),
            )
        )
    )
    assert book.meant({"hour": 8, "zone": "dairy"}) == {"always"}
    assert book.meant({"hour": 11, "zone": "dairy"}) == {"always", "late", "zone"}
    assert book.meant({"hour": 12, "zone": "bakery"}) == {"always", "late", "later", "zone"}


def test_facts_seen_before_are_not_evaluated_again() -> None:
    """A condition is asked once for the facts that it names, however often these come again."""
    late, with_zone = condition(9), condition(10, "zone")
    book = book_of(Rules(campaigns=(campaign("a", when=late), campaign("b", when=with_zone))))
    for zone in ("dairy", "bakery", "dairy"):
        book.meant({"hour": 11, "zone": zone})
    assert (len(late.asked), len(with_zone.asked)) == (1, 2)


def test_a_campaign_begins_and_ends_at_its_very_instants() -> None:
    """What was found of one instant is not taken for another beyond a beginning or an end."""
    rules = Rules(
        campaigns=(campaign("first", begin=10, end=20), campaign("second", begin=20, end=30))
    )
    book, known = book_of(rules), Known(facts={}, rung="model", minute_of_day=0)

    def kept(now_ms: int) -> list[str]:
        found, shut = opened(book, book.saying({}), MOMENT, known, now_ms=now_ms)
        assert {each.gate for each in shut} <= {"window"}
        return [each.id for each in found]

    of_instants = {now_ms: kept(now_ms) for now_ms in (9, 19, 10, 20, 9, 29, 30, 20, 10)}
    assert of_instants == {
        9: [],
        10: ["first"],
        19: ["first"],
        20: ["second"],
        29: ["second"],
        30: [],
    }
    reasons = {
        now_ms: [
            each.reason for each in opened(book, book.saying({}), MOMENT, known, now_ms=now_ms)[1]
        ]
        for now_ms in (0, 30)
    }
    assert reasons == {0: ["not begun", "not begun"], 30: ["over", "over"]}
