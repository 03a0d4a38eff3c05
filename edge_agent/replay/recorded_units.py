"""The units that a day's arms were drawn for, so that other rules find people in the same ones.

Arms are drawn with the store's key, which no record holds; the unit stands in each record where a
campaign with a control group could have been said. Where it does not, it is that of the same
visitor elsewhere on the day, of the same person, or of the same time slot at the same place, as
`decide.control` would have found it. Only who is in none of them is drawn anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from edge_agent.decide.control import is_person, slot_of, unit_of
from edge_agent.domain.decisions import Place
from edge_agent.domain.ids import UnitId
from edge_agent.domain.visitor import UNKNOWN_MEMBER

if TYPE_CHECKING:
    from edge_agent.domain.decisions import Moment
    from edge_agent.domain.ids import VisitorId

# For whoever is in no recorded unit: with a key of its own, so that it is nobody's real one.
_KEY: Final = b"what-if"


class RecordedUnits:
    """Units by visitor, person and time slot."""

    def __init__(self) -> None:
        # Who has been in an arm stays in its unit; before that it may be another each time.
        self._settled: dict[str, UnitId] = {}
        self._by_visitor: dict[str, UnitId] = {}
        self._by_person: dict[str, UnitId] = {}
        self._by_slot: dict[str, UnitId] = {}
        # Of those who were asked about so far.
        self._held: dict[str, UnitId] = {}

    def note(self, told: dict[str, Any], *, slot_s: int) -> None:
        """Takes in a record, in the order of time.

        Args:
            told: The record, decoded.
            slot_s: Length of a time slot by the rules that it was decided under, seconds.
        """
        unit = _unit_in(told)
        if unit is None:
            return
        visitor, person = told["visitor"], told["member"] or told.get("holder")
        if is_person(unit):
            if person is not None:
                self._by_person.setdefault(person, unit)
        elif visitor not in self._settled:
            place = Place(**told["place"])
            self._by_slot.setdefault(slot_of(place, at_ms=told["now"], slot_s=slot_s), unit)
        self._by_visitor.setdefault(visitor, unit)
        if "arms" in told["rules"]:
            self._settled.setdefault(visitor, unit)

    def unit_at(self, told: dict[str, Any], moment: Moment, *, slot_s: int) -> UnitId:
        """Returns the unit of a recorded moment.

        Args:
            told: The record, decoded.
            moment: Its moment.
            slot_s: Length of a time slot by the rules that are asked, seconds.
        """
        held = _unit_in(told) or self._of_visitor(moment.visitor)
        if held is None:
            held = self._of_another(moment, now_ms=told["now"], slot_s=slot_s)
        unit = unit_of(moment, held=held, now_ms=told["now"], slot_s=slot_s, key=_KEY)
        if moment.visitor is not None:
            self._held[moment.visitor] = unit
        return unit

    def _of_visitor(self, visitor: VisitorId | None) -> UnitId | None:
        if visitor is None:
            return None
        known = (self._held, self._settled, self._by_visitor)
        return next((units[visitor] for units in known if visitor in units), None)

    def _of_another(self, moment: Moment, *, now_ms: int, slot_s: int) -> UnitId | None:
        person = moment.counts_to
        if person is not None and person != UNKNOWN_MEMBER:
            return self._by_person.get(person)
        return self._by_slot.get(slot_of(moment.place, at_ms=now_ms, slot_s=slot_s))


def _unit_in(told: dict[str, Any]) -> UnitId | None:
    unit = told.get("rules", {}).get("known", {}).get("unit")
    return None if unit is None else UnitId(unit)
