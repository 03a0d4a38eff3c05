"""Which receipt an event gets: most at once, one only after it was told three times, one refused.

A machine without I/O. The first event's receipt is withheld; its second telling is answered with
a receipt for another id, which must not end the repeats; its third with the true one. The second
event is refused. All others are committed.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from pydantic import TypeAdapter, ValidationError

from edge_agent.wire.base import Name

if TYPE_CHECKING:
    from edge_agent.conformance.reading import Told
    from edge_agent.conformance.till_record import Outcome

ANOTHER_ID: Final = "conformance-another-event"
# The telling at which a withheld receipt is given, at the earliest.
TELLINGS: Final = 3
_NAME: Final[TypeAdapter[str]] = TypeAdapter(Name)


@dataclass(slots=True)
class Desk:
    """Gives receipts.

    Attributes:
        asks_always: Whether every event gets one, asked for or not.
        withheld: The id whose receipt is withheld, once there is one.
        refused: The id that is refused, once there is one.
        is_done: Whether nothing is withheld.
    """

    asks_always: bool = False
    withheld: str | None = None
    refused: str | None = None
    is_done: bool = True
    _n_told: Counter[str] = field(default_factory=Counter)
    _misled_at_s: float | None = None

    def receipt_for(self, told: Told, *, at_s: float) -> tuple[str, Outcome] | None:
        """Returns the id and outcome of the receipt that a telling gets; None for none.

        Args:
            told: The telling.
            at_s: The present, on the monotonic clock that it was heard by.
        """
        is_asked = self.asks_always or told.raw.get("receipt") is True
        if not is_asked or not _is_name(told.id):
            # Nor does an agent name what is none: it is refused without a receipt.
            return None
        self._n_told[told.id] += 1
        if told.event is None:
            return told.id, "refused"
        if self.withheld is None:
            self.withheld = told.id
            self.is_done = False
        elif self.refused is None and told.id != self.withheld:
            self.refused = told.id
        if told.id == self.withheld:
            return self._held_back(told, at_s)
        return told.id, "refused" if told.id == self.refused else "committed"

    def _held_back(self, told: Told, at_s: float) -> tuple[str, Outcome] | None:
        if self._n_told[told.id] == 1:
            return None
        if self._misled_at_s is None:
            self._misled_at_s = at_s
            return ANOTHER_ID, "committed"
        if told.heard.at_s <= self._misled_at_s:
            # Several tellings came at once: this one was said before the other's receipt.
            return None
        self.is_done = True
        return told.id, "committed"


def _is_name(text: str) -> bool:
    try:
        _NAME.validate_python(text)
    except ValidationError:
        return False
    return True
