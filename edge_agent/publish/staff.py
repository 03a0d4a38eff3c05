"""A decision as the staff's handhelds get it: where help may be wanted, never who wants it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_agent.domain.time import SECOND_MS, datetime_from_ms
from edge_agent.wire.base import Cause as WireCause
from edge_agent.wire.staff import AlertKind, StaffAlert

if TYPE_CHECKING:
    from edge_agent.domain.decisions import Decision
    from edge_agent.domain.store import Zone

_KINDS: Final[dict[str, AlertKind]] = {
    "help_requested": "help_requested",
    "complaint": "complaint",
}
_TEXTS: Final = {
    "en": "Somebody may want help in {zone}",
    "fi": "Joku saattaa kaivata apua: {zone}",
}
_ASKED_TEXTS: Final = {
    "en": "Somebody asks for help in {zone}",
    "fi": "Joku pyytää apua: {zone}",
}


def alert_of(
    decision: Decision, *, zone: Zone, locale: str, story: str | None = None
) -> StaffAlert:
    """Returns the alert of a decision to call staff: unasked, asked, or for a complaint."""
    moment = decision.moment
    texts = _ASKED_TEXTS if moment.kind == "help_requested" else _TEXTS
    return StaffAlert(
        decision=decision.id,
        cause=WireCause(source=moment.cause.source, id=moment.cause.id),
        team=zone.team,
        kind=_KINDS.get(moment.kind, "long_dwell"),
        zone=zone.id,
        issued=datetime_from_ms(decision.decided_at_ms),
        valid_until=datetime_from_ms(decision.valid_until_ms),
        text=story or texts.get(locale, texts["en"]).format(zone=zone.name),
        dwell_s=None if moment.kind in _KINDS else moment.dwell_ms / SECOND_MS,
    )
