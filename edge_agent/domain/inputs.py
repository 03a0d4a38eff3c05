"""What reaches the engine: pseudonymised events and requests, and the passing of time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_agent.domain.decisions import Cause
from edge_agent.domain.ids import BasketId, TeamId, VisitorId
from edge_agent.domain.visitor import Subject

if TYPE_CHECKING:
    from edge_agent.wire.downlink import AnyCommand
    from edge_agent.wire.events import Event
    from edge_agent.wire.offers import OfferRequest
    from edge_agent.wire.screens import RecommendRequest
    from edge_agent.wire.staff import StaffFeedback


@dataclass(frozen=True, slots=True)
class Arrival:
    """One event, its identifiers already pseudonyms.

    Attributes:
        event: The event; its raw identifiers are not read behind this point.
        at_ms: The event time that counts.
        tie: Orders events of the same instant by what they are.
        may_decide: Whether its moment is still there.
        day: Store-local day of the event, ISO 8601.
        subject: Pseudonym of the event's visitor; None when it names nobody.
        basket: Pseudonym of its basket.
        case: Keyed hash of its complaint's case number.
    """

    event: Event
    at_ms: int
    tie: int
    may_decide: bool
    day: str
    subject: Subject | None = None
    basket: BasketId | None = None
    case: str | None = None


@dataclass(frozen=True, slots=True)
class Wake:
    """Time has come: a wake-up that was asked for, or that follows from the state at start."""

    due_ms: int
    kind: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A kiosk, handheld or till asks for a recommendation."""

    request: RecommendRequest
    cause: Cause
    response_topic: str
    correlation: bytes | None
    subject: Subject | None
    basket: BasketId | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferAsked:
    """A till asks whether an offer's code is good, or takes it in.

    Attributes:
        by: Who asks, by source and a mark of the request: the same request again is the same.
    """

    request: OfferRequest
    by: str
    response_topic: str
    correlation: bytes | None
    basket: BasketId | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StaffAnswered:
    """A staff team answered an alert; `team` is whose topic it came on."""

    feedback: StaffFeedback
    at_ms: int
    team: TeamId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Commanded:
    """HQ's command, its signature, store, expiry and version already checked.

    Attributes:
        problem: Why what it defines cannot be used here; None where it can, or defines nothing.
    """

    command: AnyCommand
    day: str
    subject: Subject | None = None
    case: str | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlink:
    """Somebody says that an identifier is not the person that it was taken for.

    Attributes:
        subject: The identifier: a device's, or a card's, whose devices are all unlinked then.
        other: The one that it is not; None for all that it is linked to.
        source: Who says so, as a word without an identifier.
    """

    subject: Subject
    other: Subject | None = None
    source: str = "staff"


@dataclass(frozen=True, slots=True, kw_only=True)
class Restricted:
    """Somebody's data is to be held and not used, or used again.

    Attributes:
        visitors: All that he is known as; empty for somebody of whom nothing is held.
        subject: His identifier, under which a restriction is noted if nothing is held.
        is_lifted: Whether it ends.
    """

    visitors: tuple[VisitorId, ...]
    subject: Subject
    day: str
    at_ms: int
    is_lifted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """Somebody is about to be erased: whatever shows something for him goes back to the store."""

    visitors: tuple[VisitorId, ...]
    at_ms: int


Input = (
    Arrival
    | Wake
    | Asked
    | OfferAsked
    | StaffAnswered
    | Commanded
    | Unlink
    | Restricted
    | Forgotten
)
