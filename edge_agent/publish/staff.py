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


def alert_of(decision: Decision, *, zone: Zone, locale: str) -> StaffAlert:
    """Returns the alert of a long-dwell decision."""
    moment = decision.moment
    return StaffAlert(
        decision=decision.id,
        cause=WireCause(source=moment.cause.source, id=moment.cause.id),
        team=zone.team,
        kind="long_dwell",
        zone=zone.id,
        issued=datetime_from_ms(decision.decided_at_ms),
        valid_until=datetime_from_ms(decision.valid_until_ms),
        text=_TEXTS.get(locale, _TEXTS["en"]).format(zone=zone.name),
        dwell_s=moment.dwell_ms / SECOND_MS,
    )
