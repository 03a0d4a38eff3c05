"""MQTT topic filters: what they match, and the fewest that bring each message exactly once.

A broker may deliver a message once for every filter of ours that matches it. So filters that
others contain are left out, and filters that overlap otherwise become one that contains both;
what that one brings besides is told apart by the mappings' own filters.
Source: MQTT 5.0, section 4.7 (topic names and filters) and 3.3.4 (overlapping subscriptions).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_ONE: Final = "+"
_REST: Final = "#"


def matches(topic_filter: str, topic: str) -> bool:
    """Returns whether a filter brings a topic.

    Example:
        >>> matches("axis/+/event/#", "axis/B8A4/event/people"), matches("+/a", "b/c")
        (True, False)
    """
    levels = topic.split("/")
    if levels[0].startswith("$") and topic_filter[:1] in {_ONE, _REST}:
        return False
    wanted = topic_filter.split("/")
    for at, want in enumerate(wanted):
        if want == _REST:
            return True
        if at >= len(levels) or want not in {_ONE, levels[at]}:
            return False
    return len(wanted) == len(levels)


def contains(wide: str, narrow: str) -> bool:
    """Returns whether every topic of one filter is a topic of another.

    Example:
        >>> contains("home/#", "home/+/presence"), contains("home/+", "home/#")
        (True, False)
    """
    inner = narrow.split("/")
    outer = wide.split("/")
    for at, want in enumerate(outer):
        if want == _REST:
            return True
        if at >= len(inner) or inner[at] == _REST or want not in {_ONE, inner[at]}:
            return False
    return len(outer) == len(inner)


def overlap(first: str, second: str) -> bool:
    """Returns whether there can be a topic that both filters bring.

    Example:
        >>> overlap("a/+", "+/b"), overlap("a/#", "a"), overlap("a/+", "b/#")
        (True, True, False)
    """
    ours, theirs = first.split("/"), second.split("/")
    for at in range(max(len(ours), len(theirs))):
        here = ours[at] if at < len(ours) else None
        there = theirs[at] if at < len(theirs) else None
        if _REST in {here, there}:
            return True
        if here is None or there is None:
            return False
        if _ONE not in {here, there} and here != there:
            return False
    return True


def joined(first: str, second: str) -> str:
    """Returns a filter that contains both.

    Example:
        >>> joined("home/+/presence", "home/kitchen/#")
        'home/+/#'
    """
    ours, theirs = first.split("/"), second.split("/")
    levels: list[str] = []
    for here, there in zip(ours, theirs, strict=False):
        if _REST in {here, there}:
            return "/".join([*levels, _REST])
        levels.append(here if here == there else _ONE)
    if len(ours) != len(theirs):
        levels.append(_REST)
    return "/".join(levels)


def fewest(filters: Iterable[str]) -> tuple[str, ...]:
    """Returns filters of which no two bring the same message, and that miss none.

    Example:
        >>> fewest(["home/#", "home/+/presence", "frigate/events"])
        ('frigate/events', 'home/#')
    """
    kept: list[str] = []
    waiting = sorted(set(filters), reverse=True)
    while waiting:
        new = waiting.pop()
        twin = next((each for each in kept if overlap(each, new)), None)
        if twin is None:
            kept.append(new)
        elif not contains(twin, new):
            kept.remove(twin)
            waiting.append(new if contains(new, twin) else joined(twin, new))
    return tuple(sorted(kept))


def problem_of(topic_filter: str) -> str | None:
    """Returns why a text is no filter that a device may be heard on; None when it is one."""
    levels = topic_filter.split("/")
    if not topic_filter or "\x00" in topic_filter:
        return "no topic filter"
    if topic_filter.startswith("$"):
        return "a topic that begins with $ is the broker's own"
    if _REST in levels[:-1]:
        return "# stands last or not at all"
    if any(len(level) > 1 and set(level) & {_ONE, _REST} for level in levels):
        return "+ and # each stand for a whole level"
    return None
