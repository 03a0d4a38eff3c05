"""Rules that no message ever reaches: another one takes all of theirs, or no filter brings any."""

from __future__ import annotations

import re
from typing import Final

from edge_agent.ingest import filters
from edge_agent.ingest.compiled import Problem
from edge_agent.wire.mapping import MappingFile, Rule

_WHOLE_LEVEL: Final = re.compile(r"\{\w+\}|\+")
_REST: Final = re.compile(r"\{\w+#\}|#")


def problems_of_reach(spec: MappingFile) -> list[Problem]:
    """Returns a problem for every rule that is never reached."""
    found: list[Problem] = []
    for number, rule in enumerate(spec.rules):
        heard = None if rule.topic is None else _widest(rule.topic)
        if heard is not None and not any(filters.overlap(heard, each) for each in spec.topics):
            what = "no filter of the file's topics brings it: add one to topics"
            found.append(Problem(("rules", number, "topic"), what))
            continue
        before = enumerate(spec.rules[:number], 1)
        taker = next(((at, each) for at, each in before if _takes_all(each, rule, spec)), None)
        if taker is not None:
            what = (
                f'is never reached: rule {taker[0]} "{taker[1].name}" takes all of its messages; '
                "put it before that one, or give that one a when, or go_on = true"
            )
            found.append(Problem(("rules", number, "name"), what))
    return found


def _takes_all(first: Rule, later: Rule, spec: MappingFile) -> bool:
    if spec.mode == "all" or first.go_on or not set(first.when) <= set(later.when):
        return False
    # A rule that has to read the payload leaves what cannot be read to one that need not.
    is_read_alike = (first.format or spec.format) == (later.format or spec.format)
    if _reads(first) and not (_reads(later) and is_read_alike and first.unpack == later.unpack):
        return False
    if first.topic is None or first.topic == later.topic:
        return True
    wide = _exact(first.topic)
    return (
        wide is not None
        and later.topic is not None
        and filters.contains(wide, _widest(later.topic))
    )


def has_outcome_of_payload(rule: Rule) -> bool:
    """Returns whether what comes of a rule is made of the payload."""
    return rule.event is not None or rule.remember is not None


def _reads(rule: Rule) -> bool:
    return has_outcome_of_payload(rule) or bool(rule.when or rule.unpack or rule.each)


def _exact(topic: str) -> str | None:
    # As a filter of just the same topics; None where no filter can say it.
    levels = topic.split("/")
    found: list[str] = []
    for at, level in enumerate(levels):
        if _REST.fullmatch(level) and at == len(levels) - 1:
            found.append("#")
        elif _WHOLE_LEVEL.fullmatch(level):
            found.append("+")
        elif "{" in level or "#" in level or "+" in level:
            return None
        else:
            found.append(level)
    return "/".join(found)


def _widest(topic: str) -> str:
    # As a filter that brings all of its topics, and perhaps others.
    found: list[str] = []
    for level in topic.split("/"):
        if "#" in level:
            return "/".join([*found, "#"])
        found.append("+" if "{" in level or "+" in level else level)
    return "/".join(found)
