"""A decision as the staff's handhelds get it: where help may be wanted, never who wants it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_agent.domain.time import SECOND_MS, datetime_from_ms
from edge_agent.wire.base import Cause as WireCause
from edge_agent.wire.staff import StaffAlert

if TYPE_CHECKING:
    from edge_agent.domain.decisions import Decision
    from edge_agent.domain.store import Zone

_TEXTS: Final = {
    "en": "Somebody may want help in {zone}",
    "fi": "Joku saattaa kaivata apua: {zone}",
}
_ASKED_TEXTS: Final = {
    "en": "Somebody asks for help in {zone}",
    "fi": "Joku pyytää apua: {zone}",
}


def alert_of(decision: Decision, *, zone: Zone, locale: str) -> StaffAlert:
    """Returns the alert of a decision to call staff: after a long dwell, or because asked."""
    moment = decision.moment
    is_asked = moment.kind == "help_requested"
    texts = _ASKED_TEXTS if is_asked else _TEXTS
    return StaffAlert(
        decision=decision.id,
        cause=WireCause(source=moment.cause.source, id=moment.cause.id),
        team=zone.team,
        kind="help_requested" if is_asked else "long_dwell",
        zone=zone.id,
        issued=datetime_from_ms(decision.decided_at_ms),
        valid_until=datetime_from_ms(decision.valid_until_ms),
        text=texts.get(locale, texts["en"]).format(zone=zone.name),
        dwell_s=None if is_asked else moment.dwell_ms / SECOND_MS,
    )
