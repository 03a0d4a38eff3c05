"""When HQ looks for what is over: at once, then daily, and sooner where it could not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from edge_agent.errors import StoreBusy
from edge_agent.hq.retention import LOOKS_EVERY_S, RETRY_S, Retention

NOW: Final = datetime(2026, 12, 1, 3, tzinfo=UTC)


class Store:
    """Notes when it is asked; may be away."""

    def __init__(self) -> None:
        self.asked: list[tuple[datetime, timedelta]] = []
        self.is_away = False

    def delete_old(self, *, now: datetime, kept_for: timedelta) -> dict[str, int]:
        """Notes what is asked."""
        self.asked.append((now, kept_for))
        if self.is_away:
            raise StoreBusy("held by another process")
        return {"customers": 1}


class Hand:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.s = 1_000.0

    def __call__(self) -> float:
        """Returns its reading."""
        return self.s


def test_it_deletes_at_the_first_look_and_then_once_a_day() -> None:
    """However often it is asked in between."""
    store, hand = Store(), Hand()
    retention = Retention(store, keep_days=30, now=lambda: NOW, monotonic_s=hand)
    for _ in range(3):
        retention.look()
    assert store.asked == [(NOW, timedelta(days=30))]
    hand.s += LOOKS_EVERY_S - 1
    retention.look()
    assert len(store.asked) == 1
    hand.s += 1
    retention.look()
    assert len(store.asked) == 2


def test_a_database_that_is_away_is_asked_again_within_the_day() -> None:
    """Nobody's data stay a day longer because of it, and the receiver goes on."""
    store, hand = Store(), Hand()
    retention = Retention(store, now=lambda: NOW, monotonic_s=hand)
    store.is_away = True
    retention.look()
    retention.look()
    assert len(store.asked) == 1
    store.is_away = False
    hand.s += RETRY_S
    retention.look()
    hand.s += RETRY_S
    retention.look()
    assert len(store.asked) == 2
