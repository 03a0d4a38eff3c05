"""Calls for a person's help: what one is about, whom it was made to, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from edge_agent.domain.decisions import Cause, Concern, Moment
from edge_agent.domain.ids import DecisionId, TeamId, VisitorId, ZoneId

LONG_DWELL: Final = "long_dwell"
LIFT_RETURN: Final = "lift_return"
LONG_QUEUE: Final = "long_queue"
HELP_REQUESTED: Final = "help_requested"
COMPLAINT: Final = "complaint"
# Under this kind a call's wake-ups are asked for; its id is the key.
CALL_WAKE: Final = "call"

# What nobody asked for: bounded in number, spaced in time, and withdrawn when it is over.
UNASKED: Final = frozenset({LONG_DWELL, LIFT_RETURN, LONG_QUEUE})
NO_CONCERN: Final = Concern()
OUTCOMES: Final = ("helped", "not_needed", "gone", "expired")
"""What ends a call: staff's two answers, whom it was for is not there any more, or nobody came."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call, from the first alert to its outcome.

    Attributes:
        id: The decision that made it; every message about it names that.
        teams: Whom it was made to, in order; the last one is asked now.
        ends_at_ms: From then on it is worth nobody's answer.
        escalates_at_ms: When the next team is called; None where there is none.
        visitor: Whom it is for; None where a place asks and no person.
        is_signed: He asked for it himself under a name by which he is known.
        dwell_ms: How long he had stayed when it was made.
        presses: How often it was asked for before somebody answered.
        acknowledged_at_ms: When the first answer came.
        outcome: One of `OUTCOMES`; None while it is open.
        is_lasting: What it is about goes on, so that it is not told again: a long queue.
    """

    id: DecisionId
    kind: str
    zone: ZoneId
    teams: tuple[TeamId, ...]
    cause: Cause
    opened_at_ms: int
    ends_at_ms: int
    escalates_at_ms: int | None = None
    visitor: VisitorId | None = None
    is_signed: bool = False
    concern: Concern = NO_CONCERN
    dwell_ms: int = 0
    presses: int = 1
    acknowledged_at_ms: int | None = None
    closed_at_ms: int | None = None
    outcome: str | None = None
    is_lasting: bool = False

    def __post_init__(self) -> None:
        """Refuses a call to nobody, or one made to a team twice.

        Raises:
            ValueError: It is either.
        """
        if not self.teams or len(set(self.teams)) != len(self.teams):
            msg = "a call is made to at least one team, and to each of them once"
            raise ValueError(msg)

    @property
    def team(self) -> TeamId:
        """Who is asked now."""
        return self.teams[-1]

    @property
    def is_open(self) -> bool:
        """Whether it still wants an outcome."""
        return self.closed_at_ms is None

    @property
    def is_live(self) -> bool:
        """Whether it bears on what comes next: it is open, or what it told of goes on."""
        return self.is_open or self.is_lasting

    @property
    def is_asked_for(self) -> bool:
        """Whether somebody asked, in which case nothing holds it back."""
        return self.kind not in UNASKED

    @property
    def due_ms(self) -> int:
        """When time alone changes it."""
        if self.escalates_at_ms is None:
            return self.ends_at_ms
        return min(self.escalates_at_ms, self.ends_at_ms)


def alert_key(moment: Moment) -> str:
    """Returns under which name it is noted that staff were told: a stay is told of once."""
    if moment.visit is not None:
        return moment.cause.id
    return f"{moment.kind}-{moment.cause.source}-{moment.cause.id}"


def closed(call: Call, outcome: str, *, at_ms: int) -> Call:
    """Returns a call with its outcome; one that has an outcome keeps it."""
    if not call.is_open:
        return call
    return replace(call, outcome=outcome, closed_at_ms=at_ms, escalates_at_ms=None)
