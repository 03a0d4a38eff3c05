"""Which answers of a page are believed, and the messages that come of them.

A page can only speak of a decision that was sent to its screen, and each thing that can be said
of a decision is said once, however many browsers show the screen. Ids are derived from what is
said, so that a repeat after a restart is the same event and the agent drops it.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, Literal

from edge_agent.wire.base import Message, Name
from edge_agent.wire.events import ScreenDismissed, ScreenFeedbackData, ScreenShown, ScreenTapped

if TYPE_CHECKING:
    from datetime import datetime

    from edge_agent.wire.screens import Recommendation

# Decisions of a screen that a page may still answer: it answers within seconds, so that is plenty.
DECISIONS_PER_SCREEN: Final = 64
_ID_HEX: Final = 32

Verdict = Literal["news", "repeat", "unknown"]


class ScreenAnswer(Message):
    """What a screen's page posts."""

    kind: Literal["shown", "tapped", "dismissed"]
    decision: Name
    product: Name | None = None


class StaffAnswer(Message):
    """What a handheld's page posts."""

    decision: Name
    outcome: Literal["acknowledged", "helped", "not_needed", "gone"]


class Ledger:
    """What was sent to each screen, and what its pages have said of it already."""

    def __init__(self) -> None:
        self._sent: dict[str, OrderedDict[str, tuple[frozenset[str], set[tuple[str, str]]]]] = {}

    def sent(self, screen: str, recommendation: Recommendation) -> None:
        """Notes that a page of the screen was given this content."""
        decisions = self._sent.setdefault(screen, OrderedDict())
        if recommendation.decision in decisions:
            return
        products = frozenset(item.product for item in recommendation.items)
        decisions[recommendation.decision] = (products, set())
        while len(decisions) > DECISIONS_PER_SCREEN:
            decisions.popitem(last=False)

    def judge(self, screen: str, answer: ScreenAnswer) -> Verdict:
        """Tells whether an answer is news; a second time it is a repeat."""
        products, said = self._sent.get(screen, OrderedDict()).get(
            answer.decision, (frozenset(), set())
        )
        if not products or (answer.product is not None and answer.product not in products):
            return "unknown"
        key = (answer.kind, answer.product or "")
        if key in said:
            return "repeat"
        said.add(key)
        return "news"


def screen_event(
    store: str, screen: str, answer: ScreenAnswer, *, at: datetime | None
) -> ScreenShown | ScreenTapped | ScreenDismissed:
    """Returns the event that says what became of a decision on a screen."""
    said = json.dumps([store, screen, answer.decision, answer.kind, answer.product])
    event_id = hashlib.sha256(said.encode()).hexdigest()[:_ID_HEX]
    data = ScreenFeedbackData(decision=answer.decision, screen=screen, product=answer.product)
    if answer.kind == "shown":
        return ScreenShown(
            specversion="1.0", id=event_id, source=screen, time=at, type="screen.shown", data=data
        )
    if answer.kind == "tapped":
        return ScreenTapped(
            specversion="1.0", id=event_id, source=screen, time=at, type="screen.tapped", data=data
        )
    return ScreenDismissed(
        specversion="1.0", id=event_id, source=screen, time=at, type="screen.dismissed", data=data
    )
