"""What staff were called to: the calls for help that go on, the last alert of each zone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_agent.domain.ids import ZoneId
from edge_agent.shell.call_rows import call_from

if TYPE_CHECKING:
    import sqlite3

    from edge_agent.domain.calls import Call
    from edge_agent.domain.ids import DecisionId

_CALLS: Final = (
    "SELECT id, kind, zone, teams, cause, visitor, is_signed, concern, dwell_ms, presses,"
    " opened_at_ms, ends_at_ms, escalates_at_ms, acknowledged_at_ms, closed_at_ms, outcome,"
    " is_lasting FROM help_call"
)


class CallBook:
    """Calls of staff: the disk's, and those of the batch that is open."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self._live_calls = {
            call.id: call
            for call in map(
                call_from,
                self._db.execute(f"{_CALLS} WHERE closed_at_ms IS NULL OR is_lasting ORDER BY id"),
            )
        }
        self._live: tuple[Call, ...] | None = None
        # Closed in this batch: the disk has them open still.
        self._ended_calls: dict[DecisionId, Call] = {}
        self._alerts: dict[str, tuple[ZoneId, int]] = {}
        self._last_alerts = {
            ZoneId(zone): at_ms
            for zone, at_ms in self._db.execute("SELECT zone, max(at_ms) FROM alert GROUP BY zone")
        }

    def live_calls(self) -> tuple[Call, ...]:
        """Returns the calls for help that are open, or whose matter goes on, oldest first."""
        if self._live is None:
            self._live = tuple(self._live_calls[each] for each in sorted(self._live_calls))
        return self._live

    def call(self, decision: DecisionId) -> Call | None:
        """Returns the call that a decision made, a closed one too."""
        known = self._live_calls.get(decision) or self._ended_calls.get(decision)
        if known is not None:
            return known
        row = self._db.execute(f"{_CALLS} WHERE id = ?", (decision,)).fetchone()
        return None if row is None else call_from(tuple(row))

    def has_alerted(self, cause: str) -> bool:
        """Returns whether staff were alerted for this cause already."""
        if cause in self._alerts:
            return True
        row = self._db.execute("SELECT 1 FROM alert WHERE cause = ?", (cause,)).fetchone()
        return row is not None

    def last_alert_ms(self, zone: ZoneId) -> int | None:
        """Returns when staff were last alerted to a zone."""
        return self._last_alerts.get(zone)

    # --- what a batch changes -----------------------------------------------------------------

    def put(self, call: Call) -> None:
        """Lays a call over what is known of it; it is on the disk with the batch."""
        self._live = None
        if call.is_live:
            self._live_calls[call.id] = call
        else:
            self._live_calls.pop(call.id, None)
            self._ended_calls[call.id] = call

    def note_alert(self, cause: str, zone: ZoneId, at_ms: int) -> None:
        """Remembers that staff were told."""
        self._alerts[cause] = (zone, at_ms)
        self._last_alerts[zone] = at_ms

    def forget_unsaved(self) -> None:
        """Lets go of what is on the disk by now."""
        self._alerts.clear()
        self._ended_calls.clear()
