"""Whom a call for help is made to, and whether it may be made: pure rules over teams and calls.

What somebody asked for reaches a team whatever else is open. What nobody asked for waits for
room: no team ever has more open calls than `most_open` because of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_agent.domain.calls import LONG_QUEUE
from edge_agent.domain.rules import Team

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from edge_agent.domain.calls import Call
    from edge_agent.domain.ids import TeamId, VisitorId, ZoneId

# A queue is over once it is half as long as one that is told: measurements that swing around the
# limit are one queue, told once.
QUEUE_OVER_SHARE: Final = 0.5


def team_for(own: TeamId, departments: tuple[str, ...], teams: Mapping[TeamId, Team]) -> TeamId:
    """Returns the team whose topic it is: the zone's own before others, and it if nobody's.

    A team without topics answers what no other's are. One with topics is right only for a matter
    that lies within them whole.

    Args:
        own: The zone's team.
        departments: What it is about.
        teams: All teams that the rules tell of.
    """
    about = frozenset(departments)
    if not about:
        return own
    fitting = [each.id for each in teams.values() if each.topics and about <= each.topics]
    return own if own in fitting else min(fitting, default=own)


def chain_from(first: TeamId, teams: Mapping[TeamId, Team]) -> tuple[TeamId, ...]:
    """Returns who is called one after the other; where a chain closes on itself it ends."""
    chain = [first]
    while True:
        team = teams.get(chain[-1])
        following = None if team is None else team.escalate_to
        if following is None or following in chain:
            return tuple(chain)
        chain.append(following)


def has_room(team: TeamId, teams: Mapping[TeamId, Team], calls: Iterable[Call]) -> bool:
    """Returns whether one more call that nobody asked for may be made to a team."""
    most = teams[team].most_open if team in teams else 0
    return most == 0 or sum(each.is_open and each.team == team for each in calls) < most


def first_team(
    chain: tuple[TeamId, ...],
    teams: Mapping[TeamId, Team],
    calls: tuple[Call, ...],
    *,
    is_asked_for: bool,
) -> TeamId | None:
    """Returns whom a new call is made to; None when it must not be made.

    Of what was asked for the whole chain is tried for a team with room, and without one the first
    is called all the same. What nobody asked for is no reason to call somebody else's team.
    """
    if has_room(chain[0], teams, calls):
        return chain[0]
    if not is_asked_for:
        return None
    return next((each for each in chain[1:] if has_room(each, teams, calls)), chain[0])


def still_to_ask(call: Call, teams: Mapping[TeamId, Team]) -> tuple[TeamId, ...]:
    """Returns who may be called after a call's last team: the rest of the chain it began with.

    Where the rules have changed since, and that chain does not lead to its last team any more,
    it goes on from there.
    """
    chain = chain_from(call.teams[0], teams)
    if call.team not in chain:
        chain = chain_from(call.team, teams)
    rest = chain[chain.index(call.team) + 1 :]
    return tuple(each for each in rest if each not in call.teams)


def next_team(call: Call, teams: Mapping[TeamId, Team], calls: tuple[Call, ...]) -> TeamId | None:
    """Returns who is called when a call stays unanswered; None when nobody new may be."""
    rest = still_to_ask(call, teams)
    if call.is_asked_for:
        return rest[0] if rest else None
    return next((each for each in rest if has_room(each, teams, calls)), None)


def same_call(calls: Iterable[Call], *, zone: ZoneId, visitor: VisitorId | None) -> Call | None:
    """Returns the open call of a zone, or for a visitor: a second one would tell nothing new."""
    for call in calls:
        is_his = visitor is not None and call.visitor == visitor
        if call.is_open and (call.zone == zone or is_his):
            return call
    return None


def queue_told(calls: Iterable[Call], zone: ZoneId) -> Call | None:
    """Returns the call that told of the queue which a zone still has."""
    return next(
        (
            each
            for each in calls
            if (each.kind, each.zone) == (LONG_QUEUE, zone) and each.is_lasting
        ),
        None,
    )


def is_queue_over(length: int, told_from: int) -> bool:
    """Returns whether a queue that was told of is one no more."""
    return length <= told_from * QUEUE_OVER_SHARE
