"""What a store's screens show, from messages and the passing of time alone."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from edge_agent.web import board as boards
from edge_agent.web.board import Board, items_at, notice_at
from edge_agent.web.store_clock import StoreClock
from edge_agent.web.views import screen_view, store_view
from edge_agent.wire import topics

STORE = "s42"
START = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)


@dataclass
class Hands:
    """A clock's two hands, moved by the test."""

    wall: datetime = START
    monotonic: float = 100.0
    step: timedelta = field(default=timedelta(0))

    def move(self, seconds: float) -> None:
        """Lets time pass on both hands."""
        self.wall += timedelta(seconds=seconds)
        self.monotonic += seconds


@pytest.fixture
def hands() -> Hands:
    """Nine o'clock."""
    return Hands()


@pytest.fixture
def board(hands: Hands) -> Board:
    """An empty store."""
    return Board(STORE, StoreClock(wall=lambda: hands.wall, monotonic=lambda: hands.monotonic))


def recommendation(**more: Any) -> dict[str, Any]:
    """Returns a valid message for `dairy-1`."""
    issued = more.pop("issued", START)
    code = more.pop("code", "bought_together")
    offer_ends = more.pop("offer_ends", None)
    item: dict[str, Any] = {
        "rank": 1,
        "product": "1",
        "title": more.pop("title", "Milk"),
        "reason": {"code": code, "text": "x"},
    }
    if offer_ends is not None:
        item["offer"] = {"campaign": "1", "text": "2 for 1", "valid_until": offer_ends.isoformat()}
    return {
        "decision": "d1",
        "cause": {"source": "s", "id": "e"},
        "screen": "dairy-1",
        "issued": issued.isoformat(),
        "valid_until": (issued + timedelta(seconds=more.pop("life_s", 60))).isoformat(),
        "audience": "public",
        "schema_version": 1,
        "locale": "en",
        "items": [item],
        "model": "m",
        "policy": "p",
        **more,
    }


def take(board: Board, message: dict[str, Any], *, screen: str = "dairy-1") -> set[str]:
    """Applies a recommendation."""
    return board.take(topics.recommendation(STORE, screen), json.dumps(message).encode())


def titles(board: Board, screen: str = "dairy-1") -> list[str]:
    """Returns what the screen may show, the best first."""
    return [each.items[0].title for each in board.contents(screen)]


def test_content_ends_at_its_time(board: Board, hands: Hands) -> None:
    """Half-open: shown up to the end, gone at it."""
    assert take(board, recommendation()) == {"screen:dairy-1", "store"}
    hands.move(59.9)
    assert board.expire() == set()
    hands.move(0.1)
    assert board.expire() == {"screen:dairy-1", "store"}
    assert titles(board) == []


def test_step_of_wall_clock_neither_ends_nor_prolongs_content(board: Board, hands: Hands) -> None:
    """Once shown, a content lives by the monotonic clock."""
    take(board, recommendation())
    hands.wall += timedelta(days=400)
    assert board.expire() == set()
    hands.wall -= timedelta(days=20_000)
    hands.move(60)
    assert board.expire() == {"screen:dairy-1", "store"}


def test_clock_that_lags_does_not_prolong_content(board: Board, hands: Hands) -> None:
    """A machine without a battery clock wakes in 1970: a content still gets its own life only."""
    hands.wall = datetime(1970, 1, 1, tzinfo=UTC)
    take(board, recommendation(life_s=60))
    hands.move(60)
    assert board.expire() == {"screen:dairy-1", "store"}


def test_content_that_came_too_late_is_not_shown(board: Board, hands: Hands) -> None:
    """What is over when it arrives leaves the screen as it is."""
    take(board, recommendation(title="Now"))
    hands.move(30)
    take(board, recommendation(title="Old", issued=START - timedelta(hours=1)))
    assert titles(board) == ["Now"]


def test_default_outlives_its_own_end(board: Board, hands: Hands) -> None:
    """The last content that rests on nobody stands in, even when its own time is over."""
    take(board, recommendation(title="Default", code="store_default"))
    take(board, recommendation(title="Yours", decision="d2", life_s=30))
    assert titles(board) == ["Yours", "Default"]
    hands.move(3_600)
    board.expire()
    assert titles(board) == ["Default"]


@pytest.mark.parametrize(
    ("code", "audience"),
    [("you_often_buy", "public"), ("bought_together", "public"), ("popular", "private")],
)
def test_nothing_personal_becomes_a_default(board: Board, code: str, audience: str) -> None:
    """What rests on somebody, or is meant for one person, never stands in for anything."""
    take(board, recommendation(code=code, audience=audience))
    assert board.screens["dairy-1"].default is None


def test_offer_that_is_over_leaves_its_item(board: Board, hands: Hands) -> None:
    """A default is shown for long; the offer that came with it is not."""
    ends = START + timedelta(seconds=90)
    take(board, recommendation(code="popular", offer_ends=ends))
    shown = board.contents("dairy-1")[0]
    assert items_at(shown, START)[0].offer is not None
    hands.move(90)
    assert items_at(shown, hands.wall)[0].offer is None


def test_notice_that_is_over_is_not_shown(board: Board, hands: Hands) -> None:
    """Its campaign has ended; the items stay."""
    ends = (START + timedelta(seconds=30)).isoformat()
    notice = {"campaign": "2", "kind": "service", "text": "Warm bread", "valid_until": ends}
    take(board, recommendation(notice=notice))
    shown = board.contents("dairy-1")[0]
    found = notice_at(shown, START)
    assert found is not None
    assert found.text == "Warm bread"
    hands.move(30)
    assert notice_at(shown, hands.wall) is None
    assert titles(board) == ["Milk"]


def test_message_for_another_screen_is_refused(board: Board) -> None:
    """A payload speaks for the screen of its topic or for none."""
    assert take(board, recommendation(), screen="wine-1") == set()
    assert board.n_refused == 1
    assert board.screens == {}


def test_screens_teams_and_alerts_are_bounded(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is beyond the bounds is counted and left out; what is known goes on."""
    monkeypatch.setattr(boards, "SCREENS_MAX", 2)
    monkeypatch.setattr(boards, "ALERTS_PER_TEAM_MAX", 2)
    for name in ("a", "b", "c"):
        take(board, recommendation(screen=name), screen=name)
    assert sorted(board.screens) == ["a", "b"]
    assert board.n_refused == 1
    assert take(board, recommendation(screen="a", decision="d2"), screen="a")
    for number in range(3):
        _take_alert(board, f"a{number}")
    assert list(board.teams["floor"]) == ["a1", "a2"]


def test_a_call_is_followed_up_and_its_end_is_final(board: Board) -> None:
    """What staff said holds while a call goes on; after its end nothing brings it back."""
    _take_alert(board, "a1", status="open")
    assert board.answer("floor", "a1", "acknowledged")
    outcomes = []
    for status, outcome in (("escalated", None), ("closed", "expired"), ("withdrawn", "gone")):
        _take_alert(board, "a1", status=status, outcome=outcome)
        outcomes.append(board.teams["floor"]["a1"].outcome)
    assert outcomes == ["acknowledged", "expired", "gone"]
    for status in ("open", "acknowledged", "closed"):
        assert _take_alert(board, "a1", status=status) == set()
    assert not board.answer("floor", "a1", "helped")


def test_a_call_that_was_over_before_it_was_seen_is_not_shown(board: Board) -> None:
    """Pages that were started meanwhile have nothing to say of it."""
    for status in ("closed", "withdrawn"):
        assert _take_alert(board, status, status=status, outcome="helped") == set()
    _take_alert(board, "a1", status="acknowledged")
    assert [each.outcome for each in board.teams["floor"].values()] == ["acknowledged"]


def test_a_second_press_is_shown_and_a_repeat_is_not_news(board: Board) -> None:
    """The newest message of a call is what the page shows."""
    _take_alert(board, "a1", status="open", context={"presses": 1})
    assert _take_alert(board, "a1", status="open", context={"presses": 2}) != set()
    context = board.teams["floor"]["a1"].alert.context
    assert context is not None
    assert context.presses == 2


def test_a_story_stays_where_it_was_told(board: Board) -> None:
    """It comes once: that nobody answered does not take it from who read it."""
    _take_alert(board, "a1", kind="complaint", status="open", text="The milk was off.")
    _take_alert(board, "a1", kind="complaint", status="escalated", text="Somebody may want help")
    assert board.teams["floor"]["a1"].alert.text == "The milk was off."


def _take_alert(board: Board, decision: str, *, life_s: float = 60, **more: Any) -> set[str]:
    alert = {
        "decision": decision,
        "cause": {"source": "s", "id": "e"},
        "team": "floor",
        "kind": "long_dwell",
        "zone": "wine",
        "issued": START.isoformat(),
        "valid_until": (START + timedelta(seconds=life_s)).isoformat(),
        "text": "x",
        **more,
    }
    return board.take(topics.alert(STORE, "floor"), json.dumps(alert).encode())


def test_alert_is_answered_once_per_outcome_and_then_closed(board: Board, hands: Hands) -> None:
    """On the way, then helped; after that, or once over, nothing more is news."""
    _take_alert(board, "a1")
    assert board.answer("floor", "a1", "acknowledged")
    assert not board.answer("floor", "a1", "acknowledged")
    assert board.answer("floor", "a1", "helped")
    assert not board.answer("floor", "a1", "not_needed")
    assert not board.answer("floor", "a9", "helped")
    _take_alert(board, "a2")
    hands.move(60)
    assert board.expire() == {"team:floor", "store"}
    assert board.teams["floor"]["a2"].outcome == "expired"


def test_rate_counts_live_contents_by_minute(board: Board, hands: Hands) -> None:
    """Retained ones are no news; overtaken ones count."""
    payload = json.dumps(recommendation(life_s=600)).encode()
    topic = topics.recommendation(STORE, "dairy-1")
    board.take(topic, payload, is_retained=True)
    board.take(topic, payload)
    hands.move(60)
    board.take(topic, payload, n_replaced=4)
    assert board.per_minute()[-2:] == (1, 5)
    assert board.n_recommendations == 6


def test_replay_time_is_its_last_tick() -> None:
    """A replay's day rules what is over; its speed turns store time into real time."""
    hands = Hands()
    clock = StoreClock(wall=lambda: hands.wall, monotonic=lambda: hands.monotonic, is_replay=True)
    board = Board(STORE, clock)
    day = datetime(2017, 12, 2, 10, 0, tzinfo=UTC)

    def tick(seconds: float) -> set[str]:
        now = (day + timedelta(seconds=seconds)).isoformat()
        return board.take(topics.clock(STORE), json.dumps({"now": now}).encode())

    assert clock.now() is None
    for seconds in range(0, 110, 10):
        tick(seconds)
        hands.move(0.1)
    assert clock.rate == pytest.approx(100)
    issued = day + timedelta(seconds=100)
    take(board, recommendation(issued=issued, life_s=200))
    assert clock.left_s(issued + timedelta(seconds=200), end=None) == pytest.approx(2.0)
    hands.move(3_600)
    assert board.expire() == set()
    assert tick(300) == {"screen:dairy-1", "store"}


def test_system_clock_ignores_ticks(board: Board) -> None:
    """Who is not in a replay does not let one set its time."""
    now = datetime(2017, 12, 2, tzinfo=UTC).isoformat()
    board.take(topics.clock(STORE), json.dumps({"now": now}).encode())
    assert board.clock.now() == START
    assert board.n_refused == 1


def test_a_code_is_on_its_screen_and_not_on_the_overview(board: Board) -> None:
    """Who stands before the screen may redeem it, not whoever looks over the store's screens."""
    message = recommendation(offer_ends=START + timedelta(hours=30, minutes=5))
    message["items"][0]["offer"]["code"] = "7Q4K-9ZD2-M0XT"
    take(board, message)
    shown: Any = screen_view(board, "dairy-1")["content"]
    assert shown["items"][0]["offer"] == {
        "text": "2 for 1",
        "code": "7Q4K-9ZD2-M0XT",
        "left_h": 30,
    }
    assert "7Q4K" not in json.dumps(store_view(board))
