"""Who was forgotten: marks that keep what comes late from bringing anybody back.

A mark is a keyed hash of a pseudonym under a key of its own: it recognises an identifier that
comes again, and matches nothing else that is stored. It is kept for as long as anything of old
may be repeated, then it is forgotten too.

An identifier of one day is not taken at all while its mark stands. One that its person showed on
purpose may come again with what happened since: a new consent is a new beginning.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from edge_agent.domain.ids import Pseudonym
from edge_agent.domain.visitor import IDENTIFIED_KINDS, Subject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from edge_agent.domain.ids import BasketId
    from edge_agent.ports import UnitOfWork

_MARK_BYTES: Final = 16
_PURPOSE: Final = b"tombstones"
_READ: Final = "SELECT mark, at_ms FROM tombstone"


class Tombstones:
    """The marks of whoever was forgotten of late; there are few."""

    def __init__(
        self, unit: UnitOfWork, store_key: bytes, *, lasting: Callable[[Subject], str]
    ) -> None:
        """Sets up the marks.

        Args:
            unit: Reads and writes them.
            store_key: What their own key is made of.
            lasting: Returns what of a pseudonym a rotation of the store's key does not change.
        """
        self._unit = unit
        self._lasting = lasting
        self._key = blake2b(_PURPOSE, key=store_key, digest_size=32).digest()
        self._marks: dict[str, int] = {}
        self.read_again()

    def __bool__(self) -> bool:
        """Whether anybody was forgotten of late."""
        return bool(self._marks)

    def read_again(self) -> None:
        """Reads the marks from the disk, after old ones were deleted."""
        self._marks = {str(mark): int(at_ms) for mark, at_ms in self._unit.query(_READ)}

    def put(self, subjects: Iterable[Subject], *, at_ms: int) -> None:
        """Marks identifiers as those of somebody forgotten, with the batch that is open."""
        for subject in subjects:
            mark = self._mark(subject)
            self._marks[mark] = at_ms
            self._unit.add("tombstone", (mark, at_ms))

    def covers(
        self, subject: Subject | None, basket: BasketId | None, *, at_ms: int | None
    ) -> bool:
        """Returns whether something is of somebody who was forgotten, and of old.

        Args:
            subject: Whom it names.
            basket: Whose basket it names.
            at_ms: When it happened by its own account; None when it does not say.
        """
        if basket is not None:
            his = Subject(kind="basket", pseudonym=Pseudonym(basket))
            if self._mark(his) in self._marks:
                return True
        if subject is None:
            return False
        forgotten_ms = self._marks.get(self._mark(subject))
        if forgotten_ms is None:
            return False
        is_lasting = subject.kind in IDENTIFIED_KINDS
        return not is_lasting or at_ms is None or at_ms <= forgotten_ms

    def _mark(self, subject: Subject) -> str:
        text = f"{subject.kind}\x00{self._lasting(subject)}".encode()
        return blake2b(text, key=self._key, digest_size=_MARK_BYTES).hexdigest()
