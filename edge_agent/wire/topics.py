"""Topic names: built and taken apart here and nowhere else."""

from __future__ import annotations

from typing import Final

# The first level of every topic of this project on the store's broker.
STORE_LEVEL: Final = "store"
_EVENT_LEVELS: Final = 4
_SCREEN_LEVELS: Final = 5
EVENT_FILTER: Final = "store/{store}/event/+"
FEEDBACK_FILTER: Final = "store/{store}/screen/+/feedback"
STAFF_FEEDBACK_FILTER: Final = "store/{store}/staff/+/feedback"
REQUEST: Final = "store/{store}/recommend/request"
OFFER_REQUEST: Final = "store/{store}/offer/request"
CLOCK: Final = "store/{store}/clock"
# Every topic that this project gives a meaning to: a device of another make speaks on others.
OWN_FILTERS: Final = (
    "store/{store}/event/#",
    "store/{store}/screen/#",
    "store/{store}/staff/#",
    "store/{store}/receipt/#",
    "store/{store}/recommend/#",
    "store/{store}/offer/#",
    "store/{store}/reply/#",
    "store/{store}/agent/#",
    "store/{store}/deadletter",
    "store/{store}/clock",
)


def event(store: str, source: str) -> str:
    """Returns where a source publishes its canonical events."""
    return f"store/{store}/event/{source}"


def is_event(topic: str) -> bool:
    """Returns whether a source's canonical events are published there."""
    levels = topic.split("/")
    return len(levels) == _EVENT_LEVELS and levels[0] == STORE_LEVEL and levels[2] == "event"


def event_receipt(store: str, source: str) -> str:
    """Returns where a source that asks is told that its event is on disk."""
    return f"store/{store}/event/{source}/receipt"


def recommendation(store: str, screen: str) -> str:
    """Returns a screen's topic."""
    return f"store/{store}/screen/{screen}/recommendation"


def is_recommendation(topic: str) -> bool:
    """Returns whether it is a screen's topic."""
    levels = topic.split("/")
    return len(levels) == _SCREEN_LEVELS and (levels[0], levels[2], levels[4]) == (
        STORE_LEVEL,
        "screen",
        "recommendation",
    )


def feedback(store: str, screen: str) -> str:
    """Returns where a screen says what became of a recommendation."""
    return f"store/{store}/screen/{screen}/feedback"


def request(store: str) -> str:
    """Returns where kiosks, handhelds and tills ask."""
    return f"store/{store}/recommend/request"


def offer_request(store: str) -> str:
    """Returns where tills ask about an offer's code."""
    return f"store/{store}/offer/request"


def reply(store: str, source: str) -> str:
    """Returns a caller's own reply topic: only he may read it."""
    return f"store/{store}/reply/{source}"


def alert(store: str, team: str) -> str:
    """Returns a staff team's topic."""
    return f"store/{store}/staff/{team}/alert"


def staff_feedback(store: str, team: str) -> str:
    """Returns where a team answers its alerts."""
    return f"store/{store}/staff/{team}/feedback"


def receipt_offer(store: str, register: str) -> str:
    """Returns where a till is told what to print on the receipt."""
    return f"store/{store}/receipt/{register}/offer"


def agent_state(store: str) -> str:
    """Returns the agent's retained state, and its last will."""
    return f"store/{store}/agent/state"


def dead_letter(store: str) -> str:
    """Returns where refusals are told."""
    return f"store/{store}/deadletter"


def clock(store: str) -> str:
    """Returns a replay's clock."""
    return f"store/{store}/clock"


def hq_summary(store: str, kind: str) -> str:
    """Returns a summary's topic on the HQ link."""
    return f"hq/{store}/up/summary/{kind}"


def hq_up(store: str, kind: str) -> str:
    """Returns the topic of `customer`, `state` or `confirm` on the HQ link."""
    return f"hq/{store}/up/{kind}"


def hq_down(store: str, kind: str) -> str:
    """Returns the topic of a command to one store; `all` for every store."""
    return f"hq/{store}/down/{kind}"


def hq_down_filters(store: str) -> tuple[str, str]:
    """Returns the two filters that bring a store its commands."""
    return (f"hq/{store}/down/+", "hq/all/down/+")


def last_level(topic: str) -> str:
    """Returns what stands after the last separator."""
    return topic.rpartition("/")[2]


def level(topic: str, index: int) -> str:
    """Returns one level, counted from 0; empty when there is none."""
    levels = topic.split("/")
    return levels[index] if index < len(levels) else ""
