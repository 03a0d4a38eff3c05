"""What holds in the store at this moment: HQ's facts, zones' levels, screens' showings."""

from __future__ import annotations

import json
import sys
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from edge_agent.domain.ids import DecisionId, ScreenId, VisitorId, ZoneId
from edge_agent.domain.store import Fact, Level, Showing

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Mapping

    from edge_agent.domain.effects import SetLevel
    from edge_agent.domain.rules import FactValue

# Since and until when the facts that are laid out hold: at no time.
NEVER: Final = (0, 0)


class Surroundings:
    """Facts by name, levels by zone and showings by screen, all of them in memory."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._showings = {each.screen: each for each in _showings(connection)}
        self._facts = {
            str(name): Fact(name=name, value=json.loads(value), valid_until_ms=valid_until_ms)
            for name, value, valid_until_ms in connection.execute(
                "SELECT name, value, valid_until_ms FROM fact ORDER BY name"
            )
        }
        self._true_facts: Mapping[str, FactValue] = MappingProxyType({})
        self._facts_hold = NEVER
        self._levels = {
            (str(kind), ZoneId(zone)): Level(value=value, at_ms=at_ms)
            for kind, zone, value, at_ms in connection.execute(
                "SELECT kind, zone, value, at_ms FROM zone_level"
            )
        }

    def facts(self, now_ms: int) -> Mapping[str, FactValue]:
        """Returns what HQ says of the day and is still true at an instant."""
        from_ms, until_ms = self._facts_hold
        if not from_ms <= now_ms < until_ms:
            true = {key: each for key, each in self._facts.items() if each.valid_until_ms > now_ms}
            self._true_facts = MappingProxyType({key: each.value for key, each in true.items()})
            ends = (each.valid_until_ms for each in true.values())
            # A clock that was put right is never behind what it said: what is over stays over.
            self._facts_hold = (now_ms, min(ends, default=sys.maxsize))
        return self._true_facts

    def level(self, kind: str, zone: ZoneId) -> Level | None:
        """Returns a zone's level as last measured: its time says whether it may be believed."""
        return self._levels.get((kind, zone))

    def showing(self, screen: ScreenId) -> Showing | None:
        """Returns what a screen shows."""
        return self._showings.get(screen)

    # --- what a batch changes -----------------------------------------------------------------

    def put_fact(self, fact: Fact) -> None:
        """Sets something that HQ says of the day."""
        self._facts[fact.name] = fact
        self._facts_hold = NEVER

    def put_level(self, level: SetLevel) -> None:
        """Sets a level; the newest measurement holds."""
        known = self._levels.get((level.kind, level.zone))
        if known is None or level.at_ms >= known.at_ms:
            measured = Level(value=level.value, at_ms=level.at_ms)
            self._levels[level.kind, level.zone] = measured

    def put_showing(self, showing: Showing) -> None:
        """Sets what a screen shows."""
        self._showings[showing.screen] = showing


def _showings(connection: sqlite3.Connection) -> Iterator[Showing]:
    for screen, decision, visitor, valid_until_ms, audience, is_shared in connection.execute(
        "SELECT screen, decision, visitor, valid_until_ms, audience, is_shared FROM showing"
    ):
        yield Showing(
            screen=ScreenId(screen),
            decision=DecisionId(decision),
            visitor=None if visitor is None else VisitorId(visitor),
            valid_until_ms=valid_until_ms,
            audience=audience,
            is_shared=bool(is_shared),
        )
