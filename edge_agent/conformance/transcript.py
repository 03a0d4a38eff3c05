"""What was said and heard on the broker, with its times: all that a judgement rests on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from edge_agent.wire import topics


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """One message of somebody else.

    Attributes:
        at_s: When it came, on the monotonic clock.
        at: The store's time then.
        topic: Its topic as the contract names it, without the mount.
        retain: Whether its sender asked the broker to keep it.
    """

    at_s: float
    at: datetime
    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False
    response_topic: str | None = None
    correlation: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where on a broker a store's topics are.

    Attributes:
        mount: What stands before `store/`, with its last separator: a bridge or mount point.
    """

    store: str
    mount: str = ""

    def at_broker(self, topic: str) -> str:
        """Returns a topic of the contract as this broker has it."""
        return self.mount + topic

    def in_contract(self, topic: str) -> str:
        """Returns a broker's topic as the contract has it; what lies elsewhere stays whole."""
        return topic.removeprefix(self.mount)


@dataclass(frozen=True, slots=True, kw_only=True)
class Concern:
    """Which messages are of interest: on a broker that others use, most are not.

    Attributes:
        levels: Topics of which everything counts, and what lies below them.
        mark: Bytes that make a message count wherever it is published.
    """

    levels: tuple[str, ...]
    mark: bytes

    def has(self, topic: str, payload: bytes) -> bool:
        """Returns whether a message counts."""
        return self.mark in payload or any(is_below(topic, level) for level in self.levels)


def concern_of_screen(store: str, screen: str, *, run: str) -> Concern:
    """Returns what counts of a screen: its own topics, and whatever names a decision of a run."""
    own = topics.feedback(store, screen).rpartition("/")[0]
    return Concern(levels=(own, topics.event(store, screen)), mark=run.encode())


def concern_of_till(store: str, source: str) -> Concern:
    """Returns what counts of a till: its own topics, requests, and whatever names it."""
    own = (
        topics.event(store, source),
        topics.receipt_offer(store, source).rpartition("/")[0],
        topics.reply(store, source),
        topics.request(store),
    )
    return Concern(levels=own, mark=f'"{source}"'.encode())


def place_of(prefix: str) -> Place | None:
    """Returns the place that a topic prefix names; None when it is none.

    Example:
        >>> place_of("store/s42")
        Place(store='s42', mount='')
        >>> place_of("bench/7/store/s42/").mount
        'bench/7/'
    """
    head, separator, store = prefix.removesuffix("/").rpartition("/")
    mount, level = head[: -len(topics.STORE_LEVEL)], head[-len(topics.STORE_LEVEL) :]
    is_level = level == topics.STORE_LEVEL and (not mount or mount.endswith("/"))
    if not separator or not is_level or not is_level_name(store) or set(mount) & set("+#"):
        return None
    return Place(store=store, mount=mount)


def is_level_name(name: str) -> bool:
    """Returns whether a name can be one level of a topic."""
    return bool(name) and name.isprintable() and not set(name) & set("/+#")


def is_below(topic: str | None, level: str) -> bool:
    """Returns whether a topic is a level or lies below it."""
    return topic is not None and (topic == level or topic.startswith(f"{level}/"))
