"""Refused messages on the road once more, after what refused them was mended.

A letter is taken as of its arrival, so that what it leads to is the same however often it is
tried: an event that came of it before is a duplicate. What is refused again stays where it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from edge_agent.errors import RequestRefused
from edge_agent.runner.dead_letters import SEALED_WITH_TOPIC, unpacked

if TYPE_CHECKING:
    from edge_agent.ports import UnitOfWork
    from edge_agent.runner.dead_letters import DeadLetters
    from edge_agent.runner.mapping_memory import Sealer
    from edge_agent.runner.people import People
    from edge_agent.runner.road import Road

# Letters of one request: events wait meanwhile.
LETTERS_AT_A_TIME: Final = 200
_COLUMNS: Final = "SELECT id, at_ms, payload, form FROM dead_letter WHERE "
_AFTER: Final = f"{_COLUMNS} (at_ms, id) > (?, ?) ORDER BY at_ms, id LIMIT {LETTERS_AT_A_TIME}"
_ONE: Final = f"{_COLUMNS} id = ?"


@dataclass(slots=True, kw_only=True)
class Letter:
    """A refused message as it comes again."""

    topic: str
    payload: bytes
    retain: bool = False
    dup: bool = False
    mid: int = 0
    generation: int = 0
    response_topic: str | None = None
    correlation: bytes | None = None


class Retries:
    """Takes letters out of the drawer and puts them on the road."""

    def __init__(
        self,
        *,
        unit: UnitOfWork,
        road: Road,
        people: People,
        sealer: Sealer,
        dead_letters: DeadLetters,
    ) -> None:
        self._unit = unit
        self._road = road
        self._people = people
        self._sealer = sealer
        self._dead_letters = dead_letters

    def some(self, after: tuple[int, str]) -> dict[str, Any]:
        """Tries the next letters, oldest first; called within a batch.

        Args:
            after: Arrival and id of the last letter that was tried.
        """
        rows = self._unit.query(_AFTER, after)
        more = [int(rows[-1][1]), str(rows[-1][0])] if len(rows) == LETTERS_AT_A_TIME else None
        return {"letters": self._all(rows), "after": more}

    def these(self, ids: tuple[str, ...]) -> dict[str, Any]:
        """Tries letters by their ids; called within a batch."""
        rows = [row for each in dict.fromkeys(ids) for row in self._unit.query(_ONE, (each,))]
        found = {str(row[0]) for row in rows}
        missing = [_told(each, "unknown") for each in dict.fromkeys(ids) if each not in found]
        return {"letters": [*self._all(sorted(rows, key=_arrival)), *missing], "after": None}

    def _all(self, rows: list[tuple[Any, ...]]) -> list[dict[str, str]]:
        # What an earlier try counted may have been rolled back since.
        self._dead_letters.count_again()
        return [self._one(str(row[0]), int(row[1]), row[2], int(row[3])) for row in rows]

    def _one(self, letter: str, at_ms: int, sealed: bytes | None, form: int) -> dict[str, str]:
        if sealed is None or form != SEALED_WITH_TOPIC:
            return _told(letter, "not_kept", detail="its payload was too large to be kept")
        key = self._people.key_of(at_ms)
        whole = None if key is None else self._sealer.decrypt(key, sealed)
        if whole is None:
            return _told(letter, "gone", detail="its day's key is destroyed")
        topic, payload = unpacked(whole)
        refusal = self._road.retry(Letter(topic=topic, payload=payload), at_ms=at_ms)
        if refusal is not None:
            return _told(letter, "refused", reason=refusal.reason, detail=refusal.detail)
        self._unit.add("dead_letter_delete", (letter,))
        self._dead_letters.note_taken_out(len(sealed))
        return _told(letter, "taken")


def retried(retries: Retries, request: dict[str, Any]) -> dict[str, Any]:
    """Returns what became of the letters that a local command asked to be tried again.

    Raises:
        RequestRefused: The request is not as it should be.
    """
    ids, after = request.get("ids"), request.get("after", [0, ""])
    match ids, after:
        case None, [int(at_ms), str(letter)]:
            return retries.some((at_ms, letter))
        case list(), _ if len(ids) <= LETTERS_AT_A_TIME and all(type(each) is str for each in ids):
            return retries.these(tuple(ids))
    raise RequestRefused(
        "the request names no letters", hint=f"give at most {LETTERS_AT_A_TIME} ids, or none"
    )


def _told(letter: str, outcome: str, **more: str) -> dict[str, str]:
    return {"id": letter, "outcome": outcome, **more}


def _arrival(row: tuple[Any, ...]) -> tuple[int, str]:
    return int(row[1]), str(row[0])
