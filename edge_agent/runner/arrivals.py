"""Events as the engine gets them: with their local day, and pseudonyms in the place of names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_agent.domain.inputs import Arrival
from edge_agent.domain.time import MINUTE_MS, local_time, ms_from_datetime

if TYPE_CHECKING:
    from datetime import tzinfo

    from edge_agent.runner.people import People
    from edge_agent.runner.present import Present
    from edge_agent.runner.tombstones import Tombstones
    from edge_agent.wire.base import VisitorRef
    from edge_agent.wire.events import Event

# Quarters of an hour whose local day is remembered.
_KNOWN_QUARTERS: Final = 1_000
_QUARTER_MS: Final = 15 * MINUTE_MS


class Arrivals:
    """Makes arrivals of events."""

    def __init__(
        self, zone: tzinfo, *, present: Present, people: People, tombstones: Tombstones
    ) -> None:
        self._zone = zone
        self._present = present
        self._people = people
        self._tombstones = tombstones
        self._days: dict[int, str] = {}

    def of(self, event: Event, mark: int, at_ms: int, *, may_decide: bool) -> Arrival:
        """Returns an event's arrival.

        Args:
            event: The event.
            mark: What it is known by when it comes again.
            at_ms: When it counts as having happened.
            may_decide: Whether it came in time to decide.
        """
        day = self._day(at_ms)
        # A pydantic model answers for an attribute it lacks only after 4 us: its dict is instant.
        data = vars(event.data)
        visitor: VisitorRef | None = data.get("visitor")
        basket: str | None = data.get("basket")
        case: str | None = data.get("complaint")
        if basket is None and visitor is not None and visitor.kind == "basket":
            basket = visitor.value
        people, now_ms = self._people, self._present.now_ms
        return Arrival(
            event,
            at_ms,
            mark,
            may_decide,
            day,
            people.subject(visitor, day=day, now_ms=now_ms),
            people.basket(basket, day=day, now_ms=now_ms),
            None if case is None else people.case(case),
        )

    def is_of_forgotten(self, arrival: Arrival) -> bool:
        """Returns whether it is of somebody who was forgotten, and of old."""
        if not self._tombstones:
            return False
        told = arrival.event.time
        own_ms = None if told is None else ms_from_datetime(told)
        # A time that was replaced by the arrival's says nothing of when it happened.
        at_ms = own_ms if own_ms == arrival.at_ms else None
        return self._tombstones.covers(arrival.subject, arrival.basket, at_ms=at_ms)

    def _day(self, at_ms: int) -> str:
        # A local day begins at a whole quarter of an hour everywhere on earth.
        quarter = at_ms // _QUARTER_MS
        day = self._days.get(quarter)
        if day is None:
            if len(self._days) > _KNOWN_QUARTERS:
                self._days.clear()
            day = self._days[quarter] = local_time(at_ms, self._zone).day
        return day
