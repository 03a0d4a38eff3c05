"""The brain: one input and the state it meets become changes and effects.

`step` is the only place that knows the order of the stages. It is a pure function: the clock, the
seed, the policy and the model are in the context, the state is read and never written, and what is
to be done comes back as data. The same inputs give the same step, byte for byte.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from edge_agent.domain.inputs import (
    Arrival,
    Asked,
    Commanded,
    Forgotten,
    OfferAsked,
    Restricted,
    StaffAnswered,
    Unlink,
    Wake,
)
from edge_agent.engine import (
    answers,
    calls,
    commands,
    feedback,
    help_by_staff,
    offers,
    presence,
    rights,
    sensors,
    till,
    timers,
)
from edge_agent.engine.context import Context
from edge_agent.engine.draft import Draft
from edge_agent.wire import events as wire

if TYPE_CHECKING:
    from edge_agent.domain.effects import Step
    from edge_agent.domain.inputs import Input
    from edge_agent.ports import State

__all__ = ["Context", "step"]

_PRESENCE = (
    wire.VisitStarted,
    wire.VisitEnded,
    wire.VisitorDetected,
    wire.ZoneEntered,
    wire.ZoneLeft,
    wire.ZoneDwell,
    wire.ItemLifted,
    wire.ItemReturned,
    wire.ItemScanned,
)
_TILL = (
    wire.BasketOpened,
    wire.BasketItemAdded,
    wire.BasketItemVoided,
    wire.LoyaltyScanned,
    wire.SaleCompleted,
    wire.SaleVoided,
)
_RIGHTS = (
    wire.ConsentGranted,
    wire.ConsentWithdrawn,
    wire.ComplaintOpened,
    wire.ComplaintClosed,
)
_FEEDBACK = (wire.ScreenShown, wire.ScreenTapped, wire.ScreenDismissed, wire.OfferRedeemed)


def step(state: State, given: Input, context: Context) -> Step:  # noqa: C901 - one case an input
    """Returns what one input leads to.

    Args:
        state: What is known before; it is only read.
        given: An event, a request, a command, staff's answer or the passing of time.
        context: Now, the seed, the policy, the store's layout, the catalogue and the scorer.
    """
    draft = Draft(state, context)
    match given:
        case Arrival():
            _arrived(draft, given)
        case Wake():
            timers.wake(draft, given)
        case Asked():
            answers.answer(draft, given)
        case OfferAsked():
            offers.asked(draft, given)
        case StaffAnswered():
            feedback.staff_answered(draft, given)
        case Commanded():
            commands.obey(draft, given)
        case Unlink():
            rights.unlink(draft, given)
        case Restricted():
            rights.restrict(draft, given)
        case Forgotten():
            rights.leave(draft, given)
        case _:
            assert_never(given)
    calls.settle(draft)
    return draft.finished()


def _arrived(draft: Draft, arrival: Arrival) -> None:
    event = arrival.event
    if isinstance(event, _PRESENCE):
        presence.sensed(draft, arrival)
    elif isinstance(event, _TILL):
        till.at_till(draft, arrival)
    elif isinstance(event, _RIGHTS):
        rights.stated(draft, arrival)
    elif isinstance(event, _FEEDBACK):
        feedback.fed_back(draft, arrival)
    elif isinstance(event, wire.HelpRequested):
        help_by_staff.requested(draft, arrival)
    else:
        sensors.measured(draft, arrival)
